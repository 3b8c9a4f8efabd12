package consensus

import (
	"math"
	"math/big"
	"testing"

	"tutti/cluster"
	"tutti/internal/testkit"
	"tutti/ledger"
)

func TestExceeds(t *testing.T) {
	for _, c := range []struct {
		part, whole ledger.Lamports
		num, den    uint64
		want        bool
	}{
		{2, 3, 2, 3, false},
		{201, 300, 2, 3, true},
		{1, 3, 1, 3, false},
		{2, 5, 1, 3, true},
		{38, 100, 38, 100, false},
		{39, 100, 38, 100, true},
		{0, 0, 2, 3, false},
		{math.MaxUint64, math.MaxUint64, 38, 100, true},
		{math.MaxUint64 / 3, math.MaxUint64, 1, 3, false},
		{math.MaxUint64/3 + 1, math.MaxUint64, 1, 3, true},
	} {
		if got := Exceeds(c.part, c.whole, c.num, c.den); got != c.want {
			t.Errorf("%d of %d > %d/%d: %v", c.part, c.whole, c.num, c.den, got)
		}
	}
	rng := testkit.Rand(t)
	for range 1000 {
		part, whole := rng.Uint64(), rng.Uint64()
		a := new(big.Int).Mul(new(big.Int).SetUint64(part), big.NewInt(3))
		b := new(big.Int).Mul(new(big.Int).SetUint64(whole), big.NewInt(2))
		if TwoThirds(ledger.Lamports(part), ledger.Lamports(whole)) != (a.Cmp(b) > 0) {
			t.Fatal(part, whole)
		}
	}
}

// Exactly a third, or two, is not more than that.
func TestThirds(t *testing.T) {
	for part := range ledger.Lamports(7) {
		if got := OneThird(part, 6); got != (part >= 3) {
			t.Errorf("%d of 6 is more than a third: %v", part, got)
		}
		if got := TwoThirds(part, 6); got != (part >= 5) {
			t.Errorf("%d of 6 is more than two thirds: %v", part, got)
		}
	}
}

func TestEpochs(t *testing.T) {
	sched := schedule{slots: 32}
	for i := range 8 {
		sched.epochs = append(sched.epochs, stakesOf(uint64(i), "a=1 b=2"))
	}
	epochs := NewEpochs(sched)
	if epochs.At(8*32) != nil {
		t.Fatal("stakes of an epoch that is not known")
	}
	rng := testkit.Rand(t)
	for range 1000 {
		slot := ledger.Slot(rng.IntN(8 * 32))
		if s := epochs.At(slot); s.Epoch != uint64(slot)/32 || s.Total() != 3 || epochs.At(slot) != s {
			t.Fatalf("slot %d: %+v", slot, s)
		}
		if len(epochs.views) > epochsMax {
			t.Fatal(len(epochs.views))
		}
	}
	s := epochs.At(0)
	if s.Len() != 2 || s.Of(account("b")) != 2 || s.Of(account("z")) != 0 {
		t.Fatal(s)
	}
	var _ Schedule = (*cluster.Schedule)(nil)
}
