package turbine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tutti/ledger"
	"tutti/shred"
)

// fuzzBlock is a block that FuzzCollector sends. A bad one has a set in which
// assembly fails.
type fuzzBlock struct {
	key  ledger.SlotKey
	sets []*shred.Set
	bad  int
}

// fuzzRun plays a script to a Collector, checks what must always hold, and
// returns a trace.
func fuzzRun(t *testing.T, blocks []fuzzBlock, limits Limits, script []byte) string {
	var trace strings.Builder
	c := NewCollector(limits)
	type place struct {
		root ledger.Hash
		at   int
	}
	seen := make(map[place]bool)
	ready := make(map[ledger.Hash]bool)
	linked := make(map[ledger.Hash]bool)
	conflicts := make(map[ledger.SlotKey]bool)
	type job struct {
		block *fuzzBlock
		set   int
	}
	var jobs []job
	floor := ledger.Slot(0)

	for len(script) >= 3 {
		op, b, x := script[0], &blocks[int(script[1])%len(blocks)], int(script[2])
		script = script[3:]
		n := x % len(b.sets)
		set := b.sets[n]
		id := lastRoot(b.sets)
		switch op % 8 {
		case 0, 1, 2, 3:
			// A run of shreds of one set, from some place on.
			for i := range 24 {
				at := (x>>2 + i + 24*int(op>>4)) % shred.SetSize
				in := c.Insert(set.Shred(at), set.Root)
				fmt.Fprintf(&trace, "%v/%d:%v ", b.key, at, in.Drop)
				if in.New != (in.Drop == Kept) {
					t.Fatalf("new %t, dropped %v", in.New, in.Drop)
				}
				if in.New && seen[place{set.Root, at}] {
					t.Fatal("a shred was new twice")
				}
				if in.New {
					seen[place{set.Root, at}] = true
				}
				if in.Conflict != nil {
					if conflicts[b.key] {
						t.Fatal("equivocation was proven twice")
					}
					conflicts[b.key] = true
				}
				if in.Ready == nil {
					continue
				}
				if ready[set.Root] || len(in.Ready) != shred.SetData {
					t.Fatal("a set was ready twice, or too early")
				}
				ready[set.Root] = true
				places := make(map[int]bool)
				for _, s := range in.Ready {
					places[s.Position()] = true
				}
				if len(places) != shred.SetData {
					t.Fatal("a place twice")
				}
				jobs = append(jobs, job{b, n})
			}
		case 4:
			// One of the sets that are being assembled is done.
			if len(jobs) == 0 {
				break
			}
			j := jobs[x%len(jobs)]
			jobs = slices.Delete(jobs, x%len(jobs), x%len(jobs)+1)
			done := j.block.sets[j.set]
			if j.set == j.block.bad {
				c.Failed(done.Root)
				break
			}
			for _, l := range c.Assembled(done) {
				if linked[l.Root] || l.Index > 0 && !linked[l.Chained] {
					t.Fatal("a set was linked twice, or before the one it names")
				}
				linked[l.Root] = true
				fmt.Fprintf(&trace, "linked %v ", l.Root)
			}
		case 5:
			fmt.Fprintf(&trace, "want %t ", c.Want(b.key, id))
		case 6:
			if x%16 == 0 {
				c.Release(b.key, id)
			}
		case 7:
			if x < 3 {
				floor = max(floor, b.key.Slot())
				c.PruneBelow(floor)
				for i := range blocks {
					for _, set := range blocks[i].sets {
						if blocks[i].key.Slot() < floor && c.Known(set.Key, set.Root) {
							t.Fatal("a pruned set is known")
						}
					}
				}
			}
		}
		if keys, bodies := c.Usage(); keys > len(blocks) || bodies > limits.SetsMax {
			t.Fatalf("%d keys, %d sets", keys, bodies)
		}
		need := c.Need(b.key, id)
		fmt.Fprintf(&trace, "need %+v\n", need)
		chain := c.Chain(b.key, id)
		if chain != nil && (need.Status != Complete || !slices.Equal(rootsOf(chain), rootsOf(b.sets))) {
			t.Fatal("wrong chain")
		}
		if need.Status == Complete && b.bad >= 0 || need.Status == Invalid && b.bad < 0 {
			t.Fatalf("status %v", need.Status)
		}
		if need.Status == Incomplete && len(need.Gaps) == 0 && !slices.ContainsFunc(jobs, func(j job) bool { return j.block.key == b.key }) {
			t.Fatal("incomplete without a gap")
		}
		if missing, ok := c.Missing(b.key); ok {
			fmt.Fprintf(&trace, "missing %+v\n", missing)
		}
	}
	return trace.String()
}

// FuzzCollector inserts shreds of several blocks, equivocating and broken ones
// among them, in any order with duplicates, and assembles in any order.
// The same script gives the same trace.
func FuzzCollector(f *testing.F) {
	blocks := []fuzzBlock{
		{userKey, makeBlock(f, userKey, "abc"), -1},
		{userKey, makeBlock(f, userKey, "abxy"), -1},
		{userKey, makeBlock(f, userKey, "pq"), -1},
		{leaderKey, makeBlock(f, leaderKey, "abc"), -1},
		{leaderKey + 1, makeBlock(f, leaderKey+1, "ab"), 1},
		{leaderKey + 1, makeBlock(f, leaderKey+1, "de"), -1},
	}
	f.Add([]byte{0, 0, 0, 16, 0, 0, 4, 0, 0, 0, 0, 1, 16, 0, 1, 4, 0, 0, 0, 0, 2, 16, 0, 2, 4, 0, 0, 6, 0, 0})
	f.Add([]byte{0, 4, 1, 16, 4, 1, 4, 0, 0, 0, 5, 0, 0, 5, 1, 5, 4, 0})
	f.Add([]byte{0, 0, 0, 0, 1, 2, 0, 2, 1, 5, 2, 0, 0, 2, 1, 0, 2, 0, 7, 3, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		script = script[:min(len(script), 600)]
		limits := Limits{UserSetsMax: 4, SetsMax: 12}
		first := fuzzRun(t, blocks, limits, script)
		if again := fuzzRun(t, blocks, limits, script); again != first {
			t.Fatal("two runs differ")
		}
	})
}
