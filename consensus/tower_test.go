package consensus

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// naivePush is process_next_vote_slot of FORMATS section 8, word by word.
func naivePush(votes []ledger.Lockout, root ledger.Slot, slot ledger.Slot) ([]ledger.Lockout, ledger.Slot) {
	votes = slices.Clone(votes)
	for len(votes) > 0 {
		top := votes[len(votes)-1]
		lockout := ledger.Slot(1)
		for range top.Confirmations {
			lockout *= 2
		}
		if top.Slot+lockout >= slot {
			break
		}
		votes = votes[:len(votes)-1]
	}
	if len(votes) == 31 {
		root, votes = votes[0].Slot, votes[1:]
	}
	votes = append(votes, ledger.Lockout{Slot: slot, Confirmations: 1})
	depth := len(votes)
	for i := range votes {
		if depth > i+int(votes[i].Confirmations) {
			votes[i].Confirmations++
		}
	}
	return votes, root
}

func TestTowerFollowsNaiveModel(t *testing.T) {
	rng := testkit.Rand(t)
	for range 100 {
		tw := NewTower(account("a"), block("0"))
		var votes []ledger.Lockout
		var root, slot ledger.Slot
		for range 200 {
			slot += ledger.Slot(1 + rng.IntN(3)*rng.IntN(3))
			if rng.IntN(20) == 0 {
				slot += ledger.Slot(rng.IntN(2000))
			}
			before := tw.Root()
			made, rooted := tw.Record(block(fmt.Sprint(slot)))
			votes, root = naivePush(votes, root, slot)
			var v ledger.Vote
			tw.Fill(&v)
			if !slices.Equal(v.Lockouts, votes) || v.Root != root || !ordered(tw.votes) {
				t.Fatalf("slot %d: tower %v, want %v", slot, v, votes)
			}
			if rooted != (tw.Root() != before) || rooted && made != tw.Root() {
				t.Fatalf("slot %d: root %v, %v", slot, made, rooted)
			}
		}
	}
}

// TestNoContradiction lets a node vote along random trees, restarting now
// and then from its bytes, and checks every pair of its votes against the
// lockout rule by itself.
func TestNoContradiction(t *testing.T) {
	rng := testkit.Rand(t)
	type vote struct {
		ref   ledger.BlockRef
		until ledger.Slot
	}
	switched := 0
	for range 60 {
		s := newScene("me=60 b=40")
		refs := []ledger.BlockRef{block("0")}
		var said []vote
		for slot := 1; slot < 120; slot++ {
			parent := refs[max(0, len(refs)-1-rng.IntN(4))]
			if !s.forks.Has(parent) {
				parent = s.forks.root.ref
			}
			ref := block(fmt.Sprint(slot))
			line := []string{name(ref), "on", name(parent), "me:" + name(parent), "b:" + name(parent)}
			s.add(line)
			refs = append(refs, ref)
			if rng.IntN(5) == 0 {
				restored, err := ParseTower(s.tower.Append(nil))
				if err != nil {
					t.Fatal(err)
				}
				s.tower = restored
			}
			candidate := refs[len(refs)-1-rng.IntN(min(len(refs), 3))]
			d := s.tower.Decide(candidate, s.forks, s.vote)
			if !d.OK() {
				continue
			}
			if d.Verdict == SwitchFork {
				switched++
			}
			for _, v := range said {
				if v.ref.Slot >= candidate.Slot || v.until >= candidate.Slot && !s.lineage[candidate].Has(v.ref) {
					t.Fatalf("vote for %v contradicts that for %v, locked until %d", candidate, v.ref, v.until)
				}
			}
			if root, ok := s.tower.Record(candidate); ok {
				s.forks.SetRoot(root)
			}
			said = append(said, vote{ref: candidate})
			for i := range said {
				for _, v := range s.tower.votes {
					if v.Block == said[i].ref {
						said[i].until = v.lockedUntil()
					}
				}
			}
		}
	}
	if switched == 0 {
		t.Fatal("no fork was switched: the test does not test")
	}
}

func TestRecordTwicePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("a second vote for one slot was recorded")
		}
	}()
	tw := NewTower(account("a"), block("0"))
	tw.Record(block("5"))
	tw.Record(block("5b"))
}

func savedTower() *Tower {
	tw := NewTower(account("a"), block("0"))
	for slot := range 40 {
		tw.Record(block(fmt.Sprint(slot*2 + 1)))
	}
	tw.SetTransaction([]byte("transaction"))
	return tw
}

// TestTowerBytes: every flipped bit and every cut is found.
func TestTowerBytes(t *testing.T) {
	tw := savedTower()
	b := tw.Append([]byte("x"))[1:]
	got, err := ParseTower(b)
	if err != nil || !bytes.Equal(got.Append(nil), b) || string(got.Transaction()) != "transaction" {
		t.Fatalf("%v %v", got, err)
	}
	if len(b) > TowerMax {
		t.Fatalf("%d bytes", len(b))
	}
	for i := range b {
		for bit := range 8 {
			bad := slices.Clone(b)
			bad[i] ^= 1 << bit
			if _, err := ParseTower(bad); err == nil {
				t.Fatalf("bit %d of byte %d is not noticed", bit, i)
			}
		}
		if _, err := ParseTower(b[:i]); err == nil {
			t.Fatalf("a cut at %d is not noticed", i)
		}
	}
}
