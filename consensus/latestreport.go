package consensus

import (
	"slices"

	"tutti/ledger"
)

// latestReport is what one voter reported last, and what of before still counts
// as long as that cannot be compared.
type latestReport struct {
	voted  ledger.Slot
	value  Value
	signed []byte
	// agreed is the newest value reported before that is this node's own, the
	// zero Value if there is none, and awaited are those reported since then of
	// blocks that this node had not executed, in ascending order of slots.
	agreed  Value
	awaited []Value
	// differed says that a value reported before was found to be another than
	// this node's, and nothing later could be compared.
	differed bool
}

// compared forgets what was reported before the value that counts.
func (r *latestReport) compared() { r.agreed, r.awaited, r.differed = Value{}, nil, false }

// executed takes this node's own result of a block on which the voter has
// reported: now, or before.
func (r *latestReport) executed(l Link) {
	if r.value.Block == l.Block {
		r.compared()
		return
	}
	for i, v := range r.awaited {
		if v.Block == l.Block {
			r.agreed, r.differed = Value{}, v.Hash != l.Hash
			if !r.differed {
				r.agreed = v
			}
			r.awaited = slices.Delete(r.awaited, 0, i+1)
			return
		}
	}
}

// thin drops the awaited value that is missed least: its neighbours are nearest
// to each other.
func (r *latestReport) thin() {
	gap := func(i int) ledger.Slot { return r.awaited[i+1].Block.Slot - r.awaited[i-1].Block.Slot }
	least := 1
	for i := 2; i < len(r.awaited)-1; i++ {
		if gap(i) < gap(least) {
			least = i
		}
	}
	r.awaited = slices.Delete(r.awaited, least, least+1)
}

// next takes the voter's next report. before says how the one until now compares
// with what this node has.
func (r *latestReport) next(voted ledger.Slot, value Value, signed []byte, before Stance) {
	switch {
	case value == r.value:
	case before == Says:
		r.agreed = r.value
	case before == Differs:
		r.differed = true
	case r.value == Value{}:
	default:
		r.awaited = append(r.awaited, r.value)
		if len(r.awaited) > awaitedMax {
			r.thin()
		}
	}
	r.voted, r.value, r.signed = voted, value, signed
	// Who reports an earlier block has gone back, or to another fork.
	r.awaited = slices.DeleteFunc(r.awaited, func(v Value) bool { return v.Block.Slot >= value.Block.Slot })
	if r.agreed.Block.Slot >= value.Block.Slot {
		r.agreed = Value{}
	}
}
