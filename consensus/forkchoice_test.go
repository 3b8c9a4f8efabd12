package consensus

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// naiveForks recomputes everything from the list of what happened.
type naiveForks struct {
	root      ledger.BlockRef
	parent    map[ledger.BlockRef]ledger.BlockRef
	candidate map[ledger.BlockRef]bool
	votes     map[string][]ledger.BlockRef
	stakes    map[string]ledger.Lamports
}

func (n *naiveForks) under(a, b ledger.BlockRef) bool {
	for {
		if b == a {
			return true
		}
		p, ok := n.parent[b]
		if !ok || b == n.root {
			return false
		}
		b = p
	}
}

func (n *naiveForks) weight(b ledger.BlockRef) ledger.Lamports {
	var sum ledger.Lamports
	for who, votes := range n.votes {
		var newest *ledger.BlockRef
		for _, v := range votes {
			if _, ok := n.parent[v]; !ok && v != n.root {
				continue
			}
			if newest == nil || v.Slot > newest.Slot || v.Slot == newest.Slot && Compare(v, *newest) < 0 {
				newest = &v
			}
		}
		if newest != nil && n.under(b, *newest) {
			sum += n.stakes[who]
		}
	}
	return sum
}

func (n *naiveForks) best(b ledger.BlockRef) ledger.BlockRef {
	var best *ledger.BlockRef
	var most ledger.Lamports
	for c, p := range n.parent {
		if p != b || !n.candidate[c] {
			continue
		}
		if w := n.weight(c); best == nil || w > most || w == most && Compare(c, *best) < 0 {
			best, most = &c, w
		}
	}
	if best == nil {
		return b
	}
	return n.best(*best)
}

// setRoot forgets blocks, but not the votes for them: a vote for a block that
// was known when it was seen keeps older ones out.
func (n *naiveForks) setRoot(root ledger.BlockRef) {
	for b := range n.parent {
		if !n.under(root, b) {
			delete(n.parent, b)
		}
	}
	delete(n.parent, root)
	n.root = root
}

// TestForkChoiceFollowsNaiveModel: after any history of blocks, votes and
// candidates, in any order, weights and best blocks are those of a
// recomputation from nothing.
func TestForkChoiceFollowsNaiveModel(t *testing.T) {
	rng := testkit.Rand(t)
	for range 60 {
		genesis := block("0")
		f := NewForkChoice(genesis, oneEpoch("a=10 b=20 c=20 d=30"))
		n := &naiveForks{
			root: genesis, parent: map[ledger.BlockRef]ledger.BlockRef{}, candidate: map[ledger.BlockRef]bool{},
			votes: map[string][]ledger.BlockRef{}, stakes: map[string]ledger.Lamports{"a": 10, "b": 20, "c": 20, "d": 30},
		}
		blocks, parents := randomTree(rng, 40)
		added := []ledger.BlockRef{genesis}
		for step := range 200 {
			switch rng.IntN(6) {
			case 0, 1:
				i := rng.IntN(len(blocks))
				_, known := n.parent[parents[i]]
				if known = known || parents[i] == n.root; f.Add(blocks[i], parents[i]) != known {
					t.Fatalf("step %d: add %v on %v", step, blocks[i], parents[i])
				}
				if known {
					n.parent[blocks[i]] = parents[i]
					added = append(added, blocks[i])
				}
			case 2:
				b := added[rng.IntN(len(added))]
				c := rng.IntN(4) > 0
				f.SetCandidate(b, c)
				n.candidate[b] = c
			default:
				who := string(rune('a' + rng.IntN(5)))
				b := blocks[rng.IntN(len(blocks))]
				f.Vote(account(who), b)
				n.votes[who] = append(n.votes[who], b)
			}
			for _, b := range added {
				if got, want := f.weight(b), n.weight(b); got != want {
					t.Fatalf("step %d: weight of %v is %d, want %d", step, b, got, want)
				}
				if got, ok := f.BestOn(b); ok && got != n.best(b) {
					t.Fatalf("step %d: best on %v is %v, want %v", step, b, got, n.best(b))
				}
				if c := added[rng.IntN(len(added))]; f.Ancestor(b, c) != n.under(b, c) {
					t.Fatalf("step %d: %v ancestor of %v: %v", step, b, c, f.Ancestor(b, c))
				}
			}
			if f.Best() != n.best(n.root) {
				t.Fatalf("step %d: best %v, want %v", step, f.Best(), n.best(n.root))
			}
		}
		root := added[rng.IntN(len(added))]
		f.SetRoot(root)
		n.setRoot(root)
		if len(f.blocks) != len(n.parent)+1 || f.root.ref != root {
			t.Fatalf("%d blocks under %v, want %d", len(f.blocks), root, len(n.parent)+1)
		}
	}
}

// TestForkChoiceOrder: the same blocks and votes lead to the same choice in
// whatever order they come.
func TestForkChoiceOrder(t *testing.T) {
	rng := testkit.Rand(t)
	for range 40 {
		blocks, parents := randomTree(rng, 30)
		type vote struct {
			who string
			ref ledger.BlockRef
		}
		var votes []vote
		for range 50 {
			votes = append(votes, vote{string(rune('a' + rng.IntN(4))), blocks[rng.IntN(len(blocks))]})
		}
		run := func() string {
			f := NewForkChoice(block("0"), oneEpoch("a=10 b=20 c=20 d=30"))
			rng.Shuffle(len(votes), func(i, j int) { votes[i], votes[j] = votes[j], votes[i] })
			v := 0
			for i := range blocks {
				for v < len(votes) && rng.IntN(3) > 0 {
					f.Vote(account(votes[v].who), votes[v].ref)
					v++
				}
				f.Add(blocks[i], parents[i])
				f.SetCandidate(blocks[i], true)
			}
			for ; v < len(votes); v++ {
				f.Vote(account(votes[v].who), votes[v].ref)
			}
			s := fmt.Sprint(f.Best())
			for _, b := range blocks {
				s += fmt.Sprint(" ", f.weight(b))
			}
			return s
		}
		if a, b := run(), run(); a != b {
			t.Fatalf("%s\n%s", a, b)
		}
	}
}

// randomTree returns blocks with their parents, parents first.
func randomTree(rng *rand.Rand, n int) (blocks, parents []ledger.BlockRef) {
	all := []ledger.BlockRef{block("0")}
	for len(blocks) < n {
		parent := all[max(0, len(all)-1-rng.IntN(8))]
		b := block(fmt.Sprintf("%d%c", int(parent.Slot)+1+rng.IntN(3), 'a'+rng.IntN(26)))
		if slices.Contains(all, b) {
			continue
		}
		all = append(all, b)
		blocks, parents = append(blocks, b), append(parents, parent)
	}
	return blocks, parents
}

// TestPendingVotesAreBounded: a voter that votes for blocks nobody knows
// fills its own table only.
func TestPendingVotesAreBounded(t *testing.T) {
	f := NewForkChoice(block("0"), oneEpoch("a=10 b=20"))
	f.Vote(account("b"), block("1"))
	for slot := range 10_000 {
		f.Vote(account("a"), block(fmt.Sprint(slot+1)))
		f.Vote(account("nobody"), block(fmt.Sprint(slot+1)))
	}
	if n := len(f.voters[1].pending); n != PendingMax || len(f.voters) != 2 {
		t.Fatal(n, len(f.voters))
	}
	f.Add(block("1"), block("0"))
	f.Add(block("10000"), block("1"))
	if f.weight(block("1")) != 30 || f.weight(block("10000")) != 10 || len(f.voters[1].pending) != 0 {
		t.Fatal(f.weight(block("1")), f.weight(block("10000")))
	}
}

// TestForkChoiceEpochs: a vote weighs what its account has in the epoch of
// the voted slot.
func TestForkChoiceEpochs(t *testing.T) {
	s := newScene("a=60 b=40", "b=90 c=10")
	f := s.forks
	f.Add(block("31"), block("0"))
	f.Add(block("32"), block("31"))
	f.Vote(account("a"), block("31"))
	f.Vote(account("b"), block("31"))
	if f.weight(block("31")) != 100 {
		t.Fatal(f.weight(block("31")))
	}
	f.Vote(account("a"), block("32"))
	f.Vote(account("b"), block("32"))
	f.Vote(account("c"), block("32"))
	f.Vote(account("c"), block("64"))
	if f.weight(block("32")) != 100 || f.weight(block("31")) != 160 {
		t.Fatal(f.weight(block("32")), f.weight(block("31")))
	}
}

// BenchmarkForkChoiceVote extends a chain of 150 blocks above the root by a
// block with a vote for it.
func BenchmarkForkChoiceVote(b *testing.B) {
	tip := ledger.BlockRef{}
	f := NewForkChoice(tip, oneEpoch("a=10 b=20 c=30"))
	behind := []ledger.BlockRef{tip}
	for b.Loop() {
		next := ledger.BlockRef{Slot: tip.Slot + 1}
		f.Add(next, tip)
		f.SetCandidate(next, true)
		f.Vote(account("a"), next)
		tip = next
		if behind = append(behind, tip); len(behind) > 150 {
			f.SetRoot(behind[1])
			behind = behind[1:]
		}
	}
}
