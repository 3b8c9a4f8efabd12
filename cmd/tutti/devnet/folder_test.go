package devnet

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tutti/cluster"
	"tutti/cmd/tutti/load"
	"tutti/cmd/tutti/setup"
	"tutti/leader"
)

// TestPause: a ledger that stood still too long is refused with the remedy.
func TestPause(t *testing.T) {
	o := Options{Validators: 1, Params: cluster.LocalParams(1), Ledger: t.TempDir(), Reset: true}
	f, err := openFolder(&o)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(0, f.genesis.T0)
	if err := f.checkPause(start.Add(leader.PauseMax * 400 * time.Millisecond)); err != nil {
		t.Errorf("after %d slots: %v", leader.PauseMax, err)
	}
	var refused *setup.Error
	if err := f.checkPause(start.Add((leader.PauseMax + 1) * 400 * time.Millisecond)); !errors.As(err, &refused) ||
		!strings.Contains(err.Error(), "--reset") {
		t.Errorf("after %d slots: %v", leader.PauseMax+1, err)
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

// TestReset: what cannot run leaves nothing behind, and whatever an earlier run
// left, whole or not, --reset makes a new ledger of it. Other files stay.
func TestReset(t *testing.T) {
	o := Options{Validators: 2, Params: cluster.LocalParams(99), Ledger: t.TempDir()}
	var refused *setup.Error
	if _, err := openFolder(&o); !errors.As(err, &refused) {
		t.Errorf("99 proposers: %v", err)
	}
	if entries, err := os.ReadDir(o.Ledger); len(entries) > 0 {
		t.Fatalf("what failed left %v, %v", entries, err)
	}
	o.Params = cluster.LocalParams(1)
	f, err := openFolder(&o)
	if err != nil {
		t.Fatal(err)
	}
	summary := filepath.Join(o.Ledger, "summary.json")
	for what, spoil := range map[string]func() error{
		"nothing spoilt":   func() error { return os.WriteFile(summary, nil, 0o644) },
		"broken genesis":   func() error { return os.Truncate(filepath.Join(o.Ledger, genesisFile), 100) },
		"no genesis":       func() error { return os.Remove(filepath.Join(o.Ledger, genesisFile)) },
		"seed cut off":     func() error { return os.Truncate(filepath.Join(o.Ledger, seedFile), 0) },
		"last node's keys": func() error { return os.RemoveAll(f.node(1)) },
	} {
		before := f.genesis.Hash()
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		o.Reset = false
		if _, err := openFolder(&o); err != nil && !strings.Contains(err.Error(), "--reset makes a new ledger") {
			t.Errorf("%s: %v", what, err)
		}
		o.Reset = true
		if f, err = openFolder(&o); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if f.continued || f.genesis.Hash() == before {
			t.Errorf("%s: the old ledger goes on", what)
		}
	}
	if _, err := os.Stat(summary); err != nil {
		t.Error(err)
	}
	// A folder of somebody else is not touched.
	if err := os.Remove(filepath.Join(o.Ledger, seedFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := openFolder(&o); !errors.As(err, &refused) || !strings.Contains(err.Error(), "holds no devnet") {
		t.Errorf("without a seed: %v", err)
	}
	if _, err := os.Stat(f.node(0, identityFile)); err != nil {
		t.Error(err)
	}
}
