package validator_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"tutti/cluster"
	"tutti/internal/testkit"
	"tutti/ledger"
	"tutti/validator"
)

// modelBlock is what the model knows of a block: its place in a list, and the
// path to it.
type modelBlock struct {
	block *validator.Block
	path  []*modelBlock // ancestors, oldest first, then itself
}

// randomTree returns n blocks, each after its parent.
func randomTree(rng *rand.Rand, n int) []*modelBlock {
	var all []*modelBlock
	for i := range n {
		b := &validator.Block{
			BlockRef: ledger.BlockRef{ID: testHash("id", i)},
			LastPoH:  testHash("poh", i),
		}
		m := &modelBlock{block: b}
		if i > 0 {
			// Mostly the newest blocks grow, so that forks become deep.
			parent := all[max(0, i-1-rng.IntN(4))]
			b.Parent, b.Height = parent.block, parent.block.Height+1
			b.Slot = parent.block.Slot + 1 + ledger.Slot(rng.IntN(3))
			m.path = slices.Clone(parent.path)
		}
		for range rng.IntN(3) {
			u := ledger.UserSlot(rng.Int64N(2*int64(b.Slot) + 1))
			b.Named = append(b.Named, validator.Named{Ref: userRef(u, ledger.Lane(rng.IntN(3)))})
		}
		m.path = append(m.path, m)
		all = append(all, m)
	}
	return all
}

// newest returns the last n of a path.
func newest(path []*modelBlock, n int) []*modelBlock { return path[max(0, len(path)-n):] }

// TestForkQueries compares what a block answers about its fork with the list
// of the fork's blocks: PROTOCOL section 5, "At most one entry per (v, lane)
// on a fork", "one of the fork's 32 newest blocks, the parent being the
// newest", and section 4 (8), "the 118 newest up to and including the
// anchor's".
func TestForkQueries(t *testing.T) {
	rng := testkit.Rand(t)
	for range 5 {
		tree := randomTree(rng, 200)
		for range 60 {
			m := tree[rng.IntN(len(tree))]
			if rng.IntN(2) == 0 {
				m = tree[len(tree)-1-rng.IntN(20)]
			}
			b := m.block
			for slot := range b.Slot + 3 {
				var want *validator.Block
				for _, a := range m.path {
					if a.block.Slot <= slot {
						want = a.block
					}
				}
				if got := b.Ancestor(slot); got != want {
					t.Fatalf("ancestor of %v at %d: %v, want %v", b.BlockRef, slot, got, want)
				}
				if got := b.HasSlot(slot); got != (want.Slot == slot) {
					t.Fatalf("%v has slot %d: %t", b.BlockRef, slot, got)
				}
			}
			for _, other := range tree {
				if got := b.Descends(other.block.BlockRef); got != slices.Contains(m.path, other) {
					t.Fatalf("%v descends from %v: %t", b.BlockRef, other.block.BlockRef, got)
				}
				var want *validator.Block
				if slices.Contains(newest(m.path, 32), other) {
					want = other.block
				}
				if got := b.Anchor(other.block.LastPoH); got != want {
					t.Fatalf("%v anchors on %v: %v, want %v", b.BlockRef, other.block.BlockRef, got, want)
				}
			}
			for u := range ledger.UserSlot(40) {
				for lane := range ledger.Lane(3) {
					want := slices.ContainsFunc(m.path, func(a *modelBlock) bool {
						return slices.ContainsFunc(a.block.Named, func(n validator.Named) bool { return n.Ref == userRef(u, lane) })
					})
					if got := b.Names(u, lane); got != want {
						t.Fatalf("%v names %d/%d: %t, want %t", b.BlockRef, u, lane, got, want)
					}
				}
			}
			var want []ledger.Hash
			for _, a := range newest(m.path, 118) {
				want = append([]ledger.Hash{a.block.LastPoH}, want...)
			}
			if got := b.Blockhashes(validator.BlockhashAge); !slices.Equal(got, want) {
				t.Fatalf("blockhashes of %v: %d, want %d", b.BlockRef, len(got), len(want))
			}
		}
	}
}

// TestForks adds blocks to a tree and moves its root, and compares with a
// model: what descends from the root stays, and below it as many ancestors as
// anchors and blockhashes reach back to.
func TestForks(t *testing.T) {
	rng := testkit.Rand(t)
	params := cluster.LocalParams(4)
	for range 3 {
		tree := randomTree(rng, 900)
		root := tree[0]
		f := validator.NewForks(&params, root.block)
		in := []*modelBlock{root}
		for _, m := range tree[1:] {
			if f.Block(m.block.Parent.BlockRef) != m.block.Parent || !slices.Contains(m.path, root) {
				continue // its parent was dropped
			}
			f.Add(m.block)
			in = append(in, m)
			if rng.IntN(40) != 0 {
				continue
			}
			tips := slices.SortedFunc(slices.Values(in), func(x, y *modelBlock) int { return cmp.Compare(x.block.Height, y.block.Height) })
			next := tips[rng.IntN(len(tips))]
			if !slices.Contains(next.path, root) || next == root {
				continue
			}
			root = next
			f.SetRoot(root.block)
			kept := newest(root.path, validator.HistoryDepth+1)
			in = slices.DeleteFunc(in, func(x *modelBlock) bool {
				return !slices.Contains(x.path, root) && !slices.Contains(kept, x)
			})
			compareForks(t, f, root, in, tree)
		}
		compareForks(t, f, root, in, tree)
	}
}

func compareForks(t *testing.T, f *validator.Forks, root *modelBlock, in, tree []*modelBlock) {
	t.Helper()
	if f.Root() != root.block || f.Len() != len(in) {
		t.Fatalf("root %v, %d blocks, want %v, %d", f.Root().BlockRef, f.Len(), root.block.BlockRef, len(in))
	}
	for _, m := range tree {
		var want *validator.Block
		if slices.Contains(in, m) {
			want = m.block
		}
		if got := f.Block(m.block.BlockRef); got != want {
			t.Fatalf("block %v: %v, want %v", m.block.BlockRef, got, want)
		}
		got := f.ByPoH(m.block.LastPoH)
		if want == nil && len(got) > 0 || want != nil && (len(got) != 1 || got[0] != want) {
			t.Fatalf("blocks with last hash of %v: %v, want %v", m.block.BlockRef, got, want)
		}
	}
	// What was dropped is not held by what stays.
	oldest := root.block
	n := 0
	for oldest.Parent != nil {
		oldest = oldest.Parent
		n++
	}
	if n > validator.HistoryDepth || f.Block(oldest.BlockRef) == nil {
		t.Fatalf("%d blocks below the root", n)
	}
	// The newest anchor's oldest blockhash is still there.
	if depth := min(len(root.path), validator.AnchorDepth+validator.BlockhashAge); len(root.block.Blockhashes(depth)) != depth {
		t.Fatalf("%d blockhashes below the root, want %d", len(root.block.Blockhashes(depth)), depth)
	}
}

// TestEqualPoH: blocks of one slot and parent that hold the same have the
// same last hash; the index by it outlives each of them.
func TestEqualPoH(t *testing.T) {
	w := newWorld(t, 1)
	one := w.grow(w.genesis, 1)
	d := w.draft(2, one).ticks(64).flush(true)
	e := w.draft(2, one).ticks(10).flush(false).ticks(54).flush(true)
	f := validator.NewForks(&w.params, w.genesis)
	f.Add(one)
	var twins []*validator.Block
	for _, x := range []*draft{d, e} {
		b, err := x.check()
		if err != nil {
			t.Fatal(err)
		}
		f.Add(b)
		twins = append(twins, b)
	}
	if twins[0].LastPoH != twins[1].LastPoH || twins[0].ID == twins[1].ID {
		t.Fatal("not twins")
	}
	if got := f.ByPoH(twins[0].LastPoH); !slices.Equal(got, twins) {
		t.Errorf("by hash: %v", got)
	}
	f.SetRoot(twins[1])
	if got := f.ByPoH(twins[0].LastPoH); !slices.Equal(got, twins[1:]) || f.Block(twins[0].BlockRef) != nil {
		t.Errorf("by hash after the other was rooted: %v", got)
	}
}

// TestEqualPoHOtherAncestors: a skipped slot and an empty block are the same
// ticks, so two blocks can share their last hash and differ in blockhashes and
// in lag. On a fork the anchor is never in doubt.
func TestEqualPoHOtherAncestors(t *testing.T) {
	w := newWorld(t, 1)
	long := w.grow(w.genesis, 2)
	short, err := w.block(2, w.genesis, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if long.LastPoH != short.LastPoH || long.ID == short.ID {
		t.Fatal("not twins")
	}
	if len(long.Blockhashes(validator.BlockhashAge)) != 3 || len(short.Blockhashes(validator.BlockhashAge)) != 2 || long.Lag != 2 || short.Lag != 1 {
		t.Errorf("lags %d, %d", long.Lag, short.Lag)
	}
	for _, tip := range []*validator.Block{long, short} {
		if got := w.grow(tip, 3).Anchor(tip.LastPoH); got != tip {
			t.Errorf("anchor on the fork of %v: %v", tip.BlockRef, got)
		}
	}
}
