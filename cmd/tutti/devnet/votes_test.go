package devnet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tutti/consensus"
	"tutti/internal/testkit"
	"tutti/ledger"
)

// fork makes a chain of blocks on a parent, named by slot and letter.
func (t tree) fork(parent blockRef, letter string, slots ...ledger.Slot) (tip blockRef) {
	for _, s := range slots {
		b := blockRef{s, fmt.Sprint(letter, s)}
		t[b] = parent
		parent = b
	}
	return parent
}

// voteOf is a vote with a tower given as slot, confirmations, slot, …
func voteOf(letter string, root ledger.Slot, tower ...uint64) *vote {
	x := &vote{root: root}
	for i := 0; i < len(tower); i += 2 {
		x.lockouts = append(x.lockouts, ledger.Lockout{Slot: ledger.Slot(tower[i]), Confirmations: uint8(tower[i+1])})
	}
	x.block.slot = x.lockouts[len(x.lockouts)-1].Slot
	x.block.id = fmt.Sprint(letter, x.block.slot)
	return x
}

// TestVoteContradictions (FORMATS section 8): whatever the order in which
// votes are seen, those that break a promise are found, and no others.
func TestVoteContradictions(t *testing.T) {
	for _, c := range []struct {
		name  string
		votes []*vote
		want  string // part of the errors, if there are some
	}{
		{"a growing tower", []*vote{voteOf("a", 0, 1, 1), voteOf("a", 0, 1, 2, 2, 1), voteOf("a", 0, 1, 3, 2, 2, 3, 1)}, ""},
		{"seen twice", []*vote{voteOf("a", 0, 1, 1), voteOf("a", 0, 1, 1)}, ""},
		{"votes that were not seen", []*vote{voteOf("a", 0, 1, 1), voteOf("a", 0, 1, 3, 2, 2, 3, 1)}, ""},
		{"a rooted vote", []*vote{voteOf("a", 0, 1, 3, 2, 2, 3, 1), voteOf("a", 2, 3, 2, 4, 1)}, ""},
		{"expired, on another fork", []*vote{voteOf("a", 0, 1, 2, 2, 1), voteOf("b", 0, 1, 2, 5, 1)}, ""},
		{"two blocks of one slot", []*vote{voteOf("a", 0, 3, 1), voteOf("b", 0, 3, 1)}, "votes for 3/"},
		{"two towers for one block", []*vote{voteOf("a", 0, 2, 2, 3, 1), voteOf("a", 0, 3, 1)}, "with tower"},
		{"a lost tower", []*vote{voteOf("a", 0, 1, 3, 2, 2, 3, 1), voteOf("a", 0, 4, 1)}, "forgets the vote for slot"},
		{"the root of a lost tower", []*vote{voteOf("a", 2, 3, 1), voteOf("a", 1, 3, 2, 4, 1)}, "with root 1, after root 2"},
		{"fewer confirmations", []*vote{voteOf("a", 0, 1, 3, 2, 2, 3, 1), voteOf("a", 0, 1, 2, 2, 2, 3, 2, 4, 1)}, "takes confirmations"},
		{"a locked fork", []*vote{voteOf("a", 0, 1, 2, 2, 1), voteOf("b", 0, 1, 3, 4, 1)}, "forgets the vote for slot 2"},
		{"the fork hidden by the tower", []*vote{voteOf("a", 0, 3, 1), voteOf("b", 0, 3, 2, 5, 1)}, "locked out up to slot 5 by its vote for 3/a3"},
		{"a slot that the fork has not", []*vote{voteOf("b", 0, 1, 3, 2, 2, 5, 1)}, "slot 2, which is not on that fork"},
		{"off the root", []*vote{voteOf("a", 0, 2, 1), voteOf("a", 2, 3, 1), voteOf("b", 2, 6, 1)}, "off its root at or above 2/a2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, reverse := range []bool{false, true} {
				list := slices.Clone(c.votes)
				if reverse {
					slices.Reverse(list)
				}
				v := votes{blocks: tree{}, voters: map[string][]*vote{}}
				var errs []error
				for _, x := range list {
					again := *x
					if err := v.take("account", &again); err != nil {
						errs = append(errs, err)
					}
				}
				if _, more := v.place(); len(more) > 0 { // no block is known yet
					t.Errorf("found too early: %v", more)
				}
				// a: 1 2 3 4 5    b: 1 3 4 5 6, with other blocks from 3 on
				one := v.blocks.fork(blockRef{}, "a", 1)
				v.blocks.fork(one, "a", 2, 3, 4, 5)
				v.blocks.fork(one, "b", 3, 4, 5, 6)
				unplaced, more := v.place()
				errs = append(errs, more...)
				if unplaced != 0 {
					t.Errorf("%d votes could not be placed", unplaced)
				}
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

// TestVotesOfTowers: whatever a tower votes for, by its own rules, is no
// contradiction, if only some votes are seen and in any order.
func TestVotesOfTowers(t *testing.T) {
	rng := testkit.Rand(t)
	for range 50 {
		v := votes{blocks: tree{}, voters: map[string][]*vote{}}
		tower := consensus.NewTower(ledger.Pubkey{}, ledger.BlockRef{})
		var tip blockRef
		var cast []*vote
		for s := ledger.Slot(1); s < 120; s++ {
			if rng.IntN(4) == 0 {
				continue // skipped
			}
			tip = v.blocks.fork(tip, "a", s)
			if rng.IntN(4) == 0 {
				continue // not voted for
			}
			tower.Record(ledger.BlockRef{Slot: s})
			var shown ledger.Vote
			tower.Fill(&shown)
			if rng.IntN(3) > 0 {
				cast = append(cast, &vote{block: tip, root: shown.Root, lockouts: shown.Lockouts})
			}
		}
		rng.Shuffle(len(cast), func(i, j int) { cast[i], cast[j] = cast[j], cast[i] })
		for _, x := range cast {
			if err := v.take("account", x); err != nil {
				t.Fatal(err)
			}
		}
		if unplaced, errs := v.place(); unplaced > 0 || len(errs) > 0 {
			t.Fatalf("%d votes not placed, %v", unplaced, errs)
		}
	}
}

// TestFaultPlan: a seed decides everything, and more faults of a kind only
// come behind.
func TestFaultPlan(t *testing.T) {
	f := Faults{Kills: 3, Seed: rand.Uint64()}
	few := f.plan(4)
	f.Kills, f.Pauses, f.Pairs, f.Alls = 40, 1, 1, 1
	many, again := f.plan(4), f.plan(4)
	if fmt.Sprint(many) != fmt.Sprint(again) || fmt.Sprint(many[:3]) != fmt.Sprint(few) {
		t.Errorf("seed %d: %v, then %v, %v", f.Seed, few, many, again)
	}
	killed := map[int]int{}
	for _, x := range many[:40] {
		killed[x.nodes[0]]++
		if len(x.nodes) != 1 || x.wait < 0 || x.wait >= waitMax || x.down < downMin || x.down >= downMax {
			t.Errorf("fault %+v", x)
		}
	}
	if len(killed) != 4 {
		t.Errorf("seed %d: validators %v are killed", f.Seed, killed)
	}
	if rest := many[40:]; rest[0].kind != pause || rest[0].down != pauseTime || len(rest[1].nodes) != 2 || len(rest[2].nodes) != 4 {
		t.Errorf("other faults: %+v", rest)
	}
}
