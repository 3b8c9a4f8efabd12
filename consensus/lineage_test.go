package consensus

import (
	"fmt"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// TestLineage compares lineages of a random tree with lists.
func TestLineage(t *testing.T) {
	rng := testkit.Rand(t)
	type fork struct {
		l    *Lineage
		list []ledger.BlockRef
	}
	start := block("0")
	forks := []fork{{NewLineage(start), []ledger.BlockRef{start}}}
	for range 1500 {
		f := forks[max(0, len(forks)-1-rng.IntN(3)*rng.IntN(3))]
		slot := f.l.Block(0).Slot + ledger.Slot(1+rng.IntN(2))
		b := block(fmt.Sprint(slot, string(rune('a'+rng.IntN(26))))[:len(fmt.Sprint(slot))+1])
		list := append(f.list[:len(f.list):len(f.list)], b)
		forks = append(forks, fork{f.l.Extend(b), list})
	}
	for i, f := range forks {
		if i%50 != 0 && i < len(forks)-5 {
			continue
		}
		known := f.list[max(0, len(f.list)-AncestorsMax):]
		if f.l.Len() != len(known) || f.l.Oldest() != known[0].Slot || f.l.Block(0) != known[len(known)-1] {
			t.Fatalf("len %d oldest %d tip %v", f.l.Len(), f.l.Oldest(), f.l.Block(0))
		}
		at := make(map[ledger.Slot]ledger.Hash)
		for j, b := range known {
			at[b.Slot] = b.ID
			if got := f.l.Block(len(known) - 1 - j); got != b {
				t.Fatalf("block %d is %v, want %v", j, got, b)
			}
		}
		after := len(known)
		for slot := range f.l.Block(0).Slot + 3 {
			want, ok := at[slot]
			if ok {
				after--
			}
			got, has := f.l.At(slot)
			if has != ok || ok && got != want || f.l.Has(ledger.BlockRef{Slot: slot, ID: want}) != ok {
				t.Fatalf("slot %d: %v %v, want %v %v", slot, got, has, want, ok)
			}
			if f.l.After(slot) != after {
				t.Fatalf("%d blocks after slot %d, want %d", f.l.After(slot), slot, after)
			}
		}
	}
}

func TestCostMax(t *testing.T) {
	for _, c := range []struct {
		cost       uint64
		lag        int
		full, zero int
		want       uint64
	}{
		{6_000_000, 0, 4, 32, 6_000_000},
		{6_000_000, 4, 4, 32, 6_000_000},
		{6_000_000, 5, 4, 32, 5_785_714},
		{6_000_000, 18, 4, 32, 3_000_000},
		{6_000_000, 31, 4, 32, 214_285},
		{6_000_000, 32, 4, 32, 0},
		{6_000_000, 512, 4, 32, 0},
		{7, 5, 4, 4, 0},
		{1<<64 - 1, 5, 4, 32, 17787931785362781914},
	} {
		if got := CostMax(c.cost, c.lag, c.full, c.zero); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
	if VotesOnly(31, 32) || !VotesOnly(32, 32) {
		t.Error("VotesOnly")
	}
}
