package bank

import (
	"cmp"
	"slices"

	"tutti/internal/planted"
	"tutti/ledger"
)

// unit is what the order sorts and the scheduler places: one transaction, or
// a bundle, which is judged and run as a whole.
type unit struct {
	block int32 // index in Block.UserBlocks
	first int32 // index of the first transaction in the UserBlock
	count int32
}

// order returns the transactions of a block in the order in which they are
// executed (PROTOCOL section 8, Order): sections in order; in a section
// UserBlocks by u; within one u all transactions by compute-unit price, highest
// first, then by UserBlock PoH position, then by the UserBlock's place in the
// leader's PoH, then by their place in the UserBlock. A bundle stands where its
// bundler does.
func order(recorded []Recorded) []unit {
	type place struct {
		section, u ledger.UserSlot
		price      uint64
		position   uint64
		unit
	}
	n := 0
	for i := range recorded {
		n += len(recorded[i].Block.Transactions)
	}
	places := make([]place, 0, n)
	for i := range recorded {
		r := &recorded[i]
		for t := 0; t < len(r.Block.Transactions); {
			tx := &r.Block.Transactions[t]
			count := 1
			if tx.Role == ledger.Bundler {
				count += int(tx.BundleSize)
			}
			places = append(places, place{
				section: r.Section, u: r.Block.Ref.U,
				price: tx.Budget.UnitPrice, position: tx.Position,
				unit: unit{int32(i), int32(t), int32(count)},
			})
			t += count
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		switch {
		case a.section != b.section:
			return cmp.Compare(a.section, b.section)
		case a.u != b.u:
			return cmp.Compare(a.u, b.u)
		case a.price != b.price && !planted.Is(planted.FeeOrder):
			return cmp.Compare(b.price, a.price)
		case a.position != b.position:
			return cmp.Compare(a.position, b.position)
		case a.block != b.block:
			return cmp.Compare(a.block, b.block)
		}
		return cmp.Compare(a.first, b.first)
	})
	units := make([]unit, len(places))
	for i := range places {
		units[i] = places[i].unit
	}
	return units
}
