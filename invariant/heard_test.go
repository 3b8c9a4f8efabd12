package invariant

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tutti/consensus"
	"tutti/internal/testkit"
	"tutti/ledger"
)

// shown is a vote with a tower given as slot, confirmations, slot, …: on the
// main chain of a world, or on the other fork.
func shown(i int, other bool, root ledger.Slot, tower ...uint64) *ledger.Vote {
	v := &ledger.Vote{Account: account(i), HasRoot: root > 0, Root: root}
	for k := 0; k < len(tower); k += 2 {
		v.Lockouts = append(v.Lockouts, ledger.Lockout{Slot: ledger.Slot(tower[k]), Confirmations: uint8(tower[k+1])})
	}
	slot := v.Lockouts[len(v.Lockouts)-1].Slot
	v.Block = ledger.BlockRef{Slot: slot, ID: ledger.Hash{1, byte(slot)}}
	if other {
		v.Block.ID = ledger.Hash{2}
	}
	return v
}

// A node that was cut off voted for its own fork; that vote expires, the others
// root what is theirs, and the node takes over their root and votes for one of
// their forks, then for another: it has left the vote of its own fork behind.
func TestHeardLeftBehind(t *testing.T) {
	w := newWorld(t)
	third := ledger.BlockRef{Slot: 12, ID: ledger.Hash{3}}
	w.fine(w.Hold(third, w.ref(7), 8, ledger.Hash{7}, nil))
	after := shown(0, false, 6, 12, 1)
	after.Block = third
	h := NewHeard(w.Ledger)
	for _, v := range []*ledger.Vote{shown(0, true, 0, 5, 1), shown(0, false, 6, 8, 1), after} {
		w.fine(h.Take(v))
	}
	if open, errs := h.Settle(); open > 0 || len(errs) > 0 {
		t.Errorf("%d open, %v", open, errs)
	}
}

// TestHeardContradictions (FORMATS section 8): whatever the order in which
// votes are heard, those that break a promise are found, and no others. The
// forks are 1 2 3 … 40 and 1 5' 9'.
func TestHeardContradictions(t *testing.T) {
	main := func(root ledger.Slot, tower ...uint64) *ledger.Vote { return shown(0, false, root, tower...) }
	other := func(root ledger.Slot, tower ...uint64) *ledger.Vote { return shown(0, true, root, tower...) }
	for _, c := range []struct {
		name  string
		votes []*ledger.Vote
		want  string // part of the errors, if there are some
	}{
		{"a growing tower", []*ledger.Vote{main(0, 1, 1), main(0, 1, 2, 2, 1), main(0, 1, 3, 2, 2, 3, 1)}, ""},
		{"heard twice", []*ledger.Vote{main(0, 1, 1), main(0, 1, 1)}, ""},
		{"votes that were not heard", []*ledger.Vote{main(0, 1, 1), main(0, 1, 3, 2, 2, 3, 1)}, ""},
		{"a rooted vote", []*ledger.Vote{main(0, 1, 3, 2, 2, 3, 1), main(2, 3, 2, 4, 1)}, ""},
		{"expired, on another fork", []*ledger.Vote{main(0, 1, 3, 2, 1), other(0, 1, 3, 5, 1)}, ""},
		{"two blocks of one slot", []*ledger.Vote{main(0, 5, 1), other(0, 5, 1)}, "votes for 5:"},
		{"two towers for one block", []*ledger.Vote{main(0, 2, 2, 3, 1), main(0, 3, 1)}, "with tower"},
		{"a lost tower", []*ledger.Vote{main(0, 1, 3, 2, 2, 3, 1), main(0, 4, 1)}, "forgets the vote for slot"},
		{"the root of a lost tower", []*ledger.Vote{main(2, 3, 1), main(1, 3, 2, 4, 1)}, "with root 1, after root 2"},
		{"fewer confirmations", []*ledger.Vote{main(0, 1, 3, 2, 2, 3, 1), main(0, 1, 2, 2, 2, 3, 2, 4, 1)}, "takes confirmations"},
		{"a locked fork", []*ledger.Vote{main(0, 1, 2, 3, 1), other(0, 1, 3, 5, 1)}, "forgets the vote for slot 3"},
		{"a fork hidden by the tower", []*ledger.Vote{main(0, 5, 3), other(0, 5, 4, 9, 1)}, "locked out up to slot 13 by its vote for 5:"},
		{"a slot that the fork has not", []*ledger.Vote{other(0, 1, 3, 2, 2, 5, 1)}, "slot 2, which is not on that fork"},
		{"a root that the fork has not", []*ledger.Vote{other(4, 5, 1)}, "root 4, which is not on that fork"},
		{"off the root", []*ledger.Vote{main(0, 5, 1), main(5, 6, 1), other(5, 9, 1)}, "off its root at or above 5:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, reverse := range []bool{false, true} {
				votes := slices.Clone(c.votes)
				if reverse {
					slices.Reverse(votes)
				}
				w := newWorld(t)
				known := w.blocks
				w.blocks = map[ledger.BlockRef]*Block{} // none yet
				h := NewHeard(w.Ledger)
				var errs []error
				for _, v := range votes {
					if err := h.Take(v); err != nil {
						errs = append(errs, err)
					}
				}
				if _, early := h.Settle(); len(early) > 0 {
					t.Errorf("found too early: %v", early)
				}
				w.blocks = known
				open, more := h.Settle()
				if _, again := h.Settle(); open != 0 || len(again) > 0 {
					t.Errorf("%d votes are open; again: %v", open, again)
				}
				errs = append(errs, more...)
				switch text := fmt.Sprint(errs); {
				case c.want == "" && len(errs) > 0:
					t.Errorf("found %s", text)
				case !strings.Contains(text, c.want):
					t.Errorf("found %s, want %q", text, c.want)
				}
			}
		})
	}
}

// TestHeardTowers: whatever towers vote for, by their own rules, is no
// contradiction, if only some votes are heard and in any order; and what stands
// behind them is there.
func TestHeardTowers(t *testing.T) {
	rng := testkit.Rand(t)
	for range 50 {
		w := newWorld(t)
		h := NewHeard(w.Ledger)
		var cast []*ledger.Vote
		for i := range 5 {
			tower := consensus.NewTower(key('i', i), w.Root().Ref)
			for slot := ledger.Slot(1); slot <= 40; slot++ {
				if v := w.ballot(tower, i, w.ref(slot)); rng.IntN(3) > 0 || slot == 40 {
					cast = append(cast, v)
				}
			}
		}
		rng.Shuffle(len(cast), func(i, j int) { cast[i], cast[j] = cast[j], cast[i] })
		for _, v := range cast {
			w.fine(h.Take(v))
			if open, errs := h.Settle(); open > 0 || len(errs) > 0 {
				t.Fatalf("%d votes open, %v", open, errs)
			}
		}
		h.Confirmed(w.Blocks()[w.ref(40)])
		h.Finalized(9)
		if errs := h.Unproven(); len(errs) > 0 {
			t.Fatal(errs)
		}
		if h.Count() != len(cast) || h.Accounts() != 5 {
			t.Errorf("%d votes of %d accounts, want %d", h.Count(), h.Accounts(), len(cast))
		}
	}
}

// unproven checks what is, and that a later vote proves it.
func (w *world) unproven(h *Heard, want string, last ...*ledger.Vote) {
	w.t.Helper()
	if open, errs := h.Settle(); open > 0 || len(errs) > 0 {
		w.t.Fatalf("%d votes open, %v", open, errs)
	}
	if errs := h.Unproven(); len(errs) != 1 || !strings.Contains(errs[0].Error(), want) {
		w.t.Fatalf("unproven: %v, want %q", errs, want)
	}
	for _, v := range last {
		w.fine(h.Take(v))
	}
	h.Settle()
	if errs := h.Unproven(); len(errs) > 0 {
		w.t.Fatalf("unproven: %v", errs)
	}
}

// TestHeardProofs: what needs other votes is unproven without the last of
// them. All five have the same stake.
func TestHeardProofs(t *testing.T) {
	t.Run("switch", func(t *testing.T) {
		w := newWorld(t)
		h := NewHeard(w.Ledger)
		w.fine(h.Take(shown(1, true, 0, 5, 1))) // a fifth; 38 % need two
		w.fine(h.Take(shown(0, false, 0, 3, 1)))
		w.fine(h.Take(shown(0, true, 0, 9, 1)))
		w.unproven(h, "leaves the fork of the last vote, for 3:", shown(2, true, 0, 5, 1))
	})
	t.Run("threshold", func(t *testing.T) {
		w := newWorld(t)
		h := NewHeard(w.Ledger)
		w.fine(h.Take(shown(0, false, 0, 1, 9, 2, 8, 3, 7, 4, 6, 5, 5, 6, 4, 7, 3, 8, 2, 9, 1)))
		w.fine(h.Take(shown(1, false, 0, 4, 1)))
		w.fine(h.Take(shown(2, true, 0, 5, 1)))
		w.unproven(h, "is 8 votes above that for 1:", shown(3, false, 0, 2, 1))
	})
	t.Run("root", func(t *testing.T) {
		w := newWorld(t)
		h := NewHeard(w.Ledger)
		w.fine(h.Take(shown(0, false, 0, 5, 1)))
		w.fine(h.Take(shown(0, false, 5, 7, 1)))
		w.fine(h.Take(shown(1, false, 5, 7, 1)))
		w.fine(h.Take(shown(2, false, 6, 7, 1)))
		w.unproven(h, "shows a root that its tower does not make", shown(3, false, 6, 7, 1))
	})
	t.Run("confirmed", func(t *testing.T) {
		w := newWorld(t)
		h := NewHeard(w.Ledger)
		h.Confirmed(w.Blocks()[w.ref(3)])
		for i := range 3 {
			w.fine(h.Take(shown(i, false, 0, 4, 1)))
		}
		w.unproven(h, "is called confirmed", shown(3, false, 0, 4, 2, 5, 1)) // its tower has the vote for 4
	})
	t.Run("finalised", func(t *testing.T) {
		w := newWorld(t)
		h := NewHeard(w.Ledger)
		h.Finalized(2)
		for i := range 3 {
			w.fine(h.Take(shown(i, false, 2, 4, 1)))
		}
		w.unproven(h, "is called finalised", shown(3, false, 3, 4, 1))
	})
}

// TestHeardPrune: of each account the newest vote below stays to compare with.
func TestHeardPrune(t *testing.T) {
	w := newWorld(t)
	h := NewHeard(w.Ledger)
	for _, v := range []*ledger.Vote{shown(0, false, 0, 1, 1), shown(0, false, 0, 1, 2, 2, 1), shown(0, false, 0, 1, 3, 2, 2, 3, 1)} {
		w.fine(h.Take(v))
	}
	h.Settle()
	h.Prune(4)
	if n := len(slices.Collect(h.Of(account(0)))); n != 1 || h.Count() != 3 {
		t.Errorf("%d votes are kept, %d counted", n, h.Count())
	}
	w.fine(h.Take(shown(0, false, 0, 3, 1))) // is not looked at any more
	w.broken(h.Take(shown(0, false, 0, 5, 1)), "forgets the vote for slot 1")
}

// TestLink: blocks of which only parents are known.
func TestLink(t *testing.T) {
	w := newWorld(t)
	next := ledger.BlockRef{Slot: 42, ID: ledger.Hash{3}}
	w.broken(w.Link(next, ledger.BlockRef{Slot: 41}), "which no node holds")
	w.broken(w.Link(ledger.BlockRef{Slot: 40}, w.ref(40)), "has parent")
	w.fine(w.Link(next, w.ref(40)))
	w.fine(w.Link(next, w.ref(40)))
	w.broken(w.Link(next, w.ref(39)), "read differently")
	if b := w.Blocks()[next]; b.Height != 41 || b.Parent.Ref != w.ref(40) {
		t.Errorf("%+v", b)
	}
}
