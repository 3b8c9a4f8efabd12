package invariant

import (
	"math/big"

	"tutti/cluster"
	"tutti/ledger"
)

// What the nodes count votes with is not used here: it is among what is
// checked.

// stakes are those of an epoch.
type stakes struct{ *cluster.EpochStakes }

// stakesAt returns the stakes that hold in a slot.
func (l *Ledger) stakesAt(slot ledger.Slot) stakes {
	return stakes{l.schedule.Stakes(l.schedule.Epoch(slot))}
}

// of returns the stake of a vote account, 0 if it has none.
func (s stakes) of(account ledger.Pubkey) ledger.Lamports {
	if i, ok := s.Voter(account); ok {
		return s.Items[i].Stake
	}
	return 0
}

// exceeded tells whether part is more than num/den of the stakes.
func (s stakes) exceeded(part ledger.Lamports, num, den uint64) bool {
	product := func(a ledger.Lamports, b uint64) *big.Int {
		x := new(big.Int).SetUint64(uint64(a))
		return x.Mul(x, new(big.Int).SetUint64(b))
	}
	return product(part, den).Cmp(product(s.TotalStake(), num)) > 0
}
