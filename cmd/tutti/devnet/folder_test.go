package devnet

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tutti/cluster"
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
	var refused *SetupError
	if err := f.checkPause(start.Add((pauseMax + 1) * 400 * time.Millisecond)); !errors.As(err, &refused) ||
		!strings.Contains(err.Error(), "--reset") {
		t.Errorf("after %d slots: %v", pauseMax+1, err)
	}
}
