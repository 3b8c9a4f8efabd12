package bank

import (
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// naiveOrder sorts by one key after the other, the least significant first,
// as PROTOCOL section 8 (Order) names them.
func naiveOrder(recorded []Recorded) []unit {
	type item struct {
		unit
		r  *Recorded
		tx *ledger.UserTransaction
	}
	var items []item
	for i := range recorded {
		txs := recorded[i].Block.Transactions
		for t := range txs {
			if txs[t].Role == ledger.Member {
				items[len(items)-1].count++
				continue
			}
			items = append(items, item{unit{int32(i), int32(t), 1}, &recorded[i], &txs[t]})
		}
	}
	for _, less := range []func(a, b item) bool{
		func(a, b item) bool { return a.first < b.first },
		func(a, b item) bool { return a.block < b.block },
		func(a, b item) bool { return a.tx.Position < b.tx.Position },
		func(a, b item) bool { return a.tx.Budget.UnitPrice > b.tx.Budget.UnitPrice },
		func(a, b item) bool { return a.r.Block.Ref.U < b.r.Block.Ref.U },
		func(a, b item) bool { return a.r.Section < b.r.Section },
	} {
		sort.SliceStable(items, func(i, j int) bool { return less(items[i], items[j]) })
	}
	var units []unit
	for _, it := range items {
		units = append(units, it.unit)
	}
	return units
}

func randomRecorded(rng *rand.Rand) []Recorded {
	recorded := make([]Recorded, rng.IntN(8))
	section := ledger.UserSlot(10)
	for i := range recorded {
		section += ledger.UserSlot(rng.IntN(2))
		b := &ledger.UserBlock{Ref: ledger.UserBlockRef{U: section - 1 - ledger.UserSlot(rng.IntN(3)), Lane: ledger.Lane(i)}}
		position := uint64(0)
		for range rng.IntN(12) {
			position += rng.Uint64N(3)
			tx := ledger.UserTransaction{Position: position, Index: uint32(len(b.Transactions))}
			tx.Budget.UnitPrice = rng.Uint64N(4)
			if rng.IntN(5) == 0 {
				tx.Role, tx.BundleSize = ledger.Bundler, uint8(2+rng.IntN(4))
			}
			b.Transactions = append(b.Transactions, tx)
			for range tx.BundleSize {
				member := ledger.UserTransaction{Position: position, Role: ledger.Member, Index: uint32(len(b.Transactions))}
				member.Budget.UnitPrice = rng.Uint64N(100)
				b.Transactions = append(b.Transactions, member)
			}
		}
		recorded[i] = Recorded{Section: section, Block: b}
	}
	return recorded
}

func TestOrder(t *testing.T) {
	rng := testkit.Rand(t)
	for range 2000 {
		recorded := randomRecorded(rng)
		if got, want := order(recorded), naiveOrder(recorded); !slices.Equal(got, want) {
			t.Fatalf("order is %v, want %v", got, want)
		}
	}
}

func BenchmarkOrder(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	recorded := make([]Recorded, 8)
	for i := range recorded {
		u := &ledger.UserBlock{Ref: ledger.UserBlockRef{U: ledger.UserSlot(i % 2)}}
		for t := range 2000 {
			tx := ledger.UserTransaction{Position: uint64(t), Index: uint32(t)}
			tx.Budget.UnitPrice = rng.Uint64N(1000)
			u.Transactions = append(u.Transactions, tx)
		}
		recorded[i].Block = u
	}
	for b.Loop() {
		order(recorded)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/16_000, "ns/tx")
}
