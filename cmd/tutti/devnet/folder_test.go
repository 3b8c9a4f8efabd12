package devnet

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tutti/cluster"
	"tutti/cmd/tutti/load"
	"tutti/cmd/tutti/setup"
)

// TestPause: a ledger that stood still too long is refused with the remedy.
func TestPause(t *testing.T) {
	o := Options{Validators: 1, Params: cluster.LocalParams(1), Ledger: t.TempDir(), Reset: true}
	f, err := openFolder(&o)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(0, f.genesis.T0)
	if err := f.checkPause(start.Add(pauseMax * 400 * time.Millisecond)); err != nil {
		t.Errorf("after %d slots: %v", pauseMax, err)
	}
	var refused *setup.Error
	if err := f.checkPause(start.Add((pauseMax + 1) * 400 * time.Millisecond)); !errors.As(err, &refused) ||
		!strings.Contains(err.Error(), "--reset") {
		t.Errorf("after %d slots: %v", pauseMax+1, err)
	}
}

// TestAccounts: a new ledger has the accounts that are asked for, and an old
// one with fewer is refused.
func TestAccounts(t *testing.T) {
	o := Options{Validators: 1, Params: cluster.LocalParams(1), Ledger: t.TempDir(), Accounts: 30}
	f, err := openFolder(&o)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[uint32]bool{0: true, 29: true, 30: false} {
		if got := f.has(load.AccountKey(f.seed, i)); got != want {
			t.Errorf("account %d: %v, want %v", i, got, want)
		}
	}
	if _, err := openFolder(&o); err != nil {
		t.Errorf("opened again: %v", err)
	}
	o.Accounts = 31
	var refused *setup.Error
	if _, err := openFolder(&o); !errors.As(err, &refused) || !strings.Contains(err.Error(), "fewer than 31 accounts") {
		t.Errorf("opened with more accounts: %v", err)
	}
}
