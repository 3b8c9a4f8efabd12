//go:build planted

package sim

import (
	"errors"
	"strings"
	"testing"

	"tutti/internal/planted"
)

// TestPlanted plants some of the bugs that a second of a healthy cluster
// shows; `make bugs` plants them all.
func TestPlanted(t *testing.T) {
	for bug, want := range map[planted.Bug]string{
		"":                    "",
		planted.BurnLost:      "and burns",
		planted.ReceiptOrder:  "comes later",
		planted.TwoThirds:     "without the votes for it",
		planted.VoteUnsynced:  "TowerRecord lazily",
		planted.BegunUnsynced: "BegunRecord lazily",
		planted.TickEarly:     "when it is due",
		planted.BankParent:    "not that of its link",
	} {
		t.Run(string(bug), func(t *testing.T) {
			planted.Plant(bug)
			defer planted.Plant("")
			cfg := small(4) // all six have the same stake
			cfg.Validators, cfg.Slots = 6, 6
			s, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Run()
			var v *Violation
			if want == "" && err != nil || want != "" && (!errors.As(err, &v) || !strings.Contains(v.What, want)) {
				t.Errorf("error is %v, want one with %q", err, want)
			}
		})
	}
}
