// Package consensus decides what the votes say: which fork is the heaviest,
// what this node may vote for, which block is confirmed, finalised or
// certified, and how far execution lags behind. It follows Solana's Tower BFT
// (FORMATS section 8) keyed by (slot, block id), and PROTOCOL sections 5, 7,
// 9 and 10.
//
// It holds no accounts, no blocks and no keys: it never looks into a bank,
// checks no signature, and knows no clock. Whether a block may be voted for
// because its data is here is the caller's question.
//
//	votes in a block ──▶ Ballots (one VoteState per voter, per fork; finalised) ──▶ Lag
//	votes seen anywhere ─▶ ForkChoice (heaviest), Tally (confirmed),
//	                       Agreement (BankHashes)
//	own votes ─────────▶ Tower (may I vote for this block?)
package consensus

import (
	"math/bits"

	"tutti/cluster"
	"tutti/internal/planted"
	"tutti/ledger"
)

// Exceeds tells whether part/whole > num/den, without rounding.
func Exceeds(part, whole ledger.Lamports, num, den uint64) bool {
	lh, ll := bits.Mul64(uint64(part), den)
	rh, rl := bits.Mul64(uint64(whole), num)
	return lh > rh || lh == rh && ll > rl
}

// TwoThirds tells whether part is more than two thirds of whole.
func TwoThirds(part, whole ledger.Lamports) bool {
	return Exceeds(part, whole, 2, 3) || planted.Is(planted.TwoThirds) && !Exceeds(whole, part, 3, 2)
}

// OneThird tells whether part is more than a third of whole.
func OneThird(part, whole ledger.Lamports) bool {
	return Exceeds(part, whole, 1, 3) || planted.Is(planted.OneThird) && !Exceeds(whole, part, 3, 1)
}

// FourFifths tells whether part is more than 80 % of whole, which a restart
// record needs (PROTOCOL section 10).
func FourFifths(part, whole ledger.Lamports) bool { return Exceeds(part, whole, 4, 5) }

// Stakes is the vote accounts of one epoch and their stakes. A voter is
// known by its index, the place in the epoch's items. Stakes never changes
// once made.
type Stakes struct {
	*cluster.EpochStakes
	total ledger.Lamports
}

// NewStakes views an epoch's stakes by voter.
func NewStakes(e *cluster.EpochStakes) *Stakes {
	return &Stakes{EpochStakes: e, total: e.TotalStake()}
}

// Len returns the number of voters.
func (s *Stakes) Len() int { return len(s.Items) }

// Total returns the stake of all voters together.
func (s *Stakes) Total() ledger.Lamports { return s.total }

// Of returns the stake of a vote account, 0 if it has none.
func (s *Stakes) Of(account ledger.Pubkey) ledger.Lamports {
	if i, ok := s.Voter(account); ok {
		return s.Items[i].Stake
	}
	return 0
}

// Schedule tells epochs and their stakes; cluster.Schedule is one.
type Schedule interface {
	Epoch(ledger.Slot) uint64
	// Stakes returns nil for an epoch whose stakes are not known.
	Stakes(epoch uint64) *cluster.EpochStakes
}

// epochsMax is how many epochs Epochs keeps views of. Unfinalised blocks
// span two, or the node has halted.
const epochsMax = 4

// Epochs gives the Stakes of the epoch of a slot. It belongs to one
// goroutine.
type Epochs struct {
	schedule Schedule
	views    []*Stakes // newest use first
}

// NewEpochs returns the stakes of a schedule, viewed by voter.
func NewEpochs(s Schedule) *Epochs { return &Epochs{schedule: s} }

// At returns the stakes that hold in a slot, nil if they are not known.
func (e *Epochs) At(slot ledger.Slot) *Stakes {
	epoch := e.schedule.Epoch(slot)
	if planted.Is(planted.StakesEpoch) {
		epoch++
	}
	for i, v := range e.views {
		if v.Epoch == epoch {
			copy(e.views[1:i+1], e.views[:i])
			e.views[0] = v
			return v
		}
	}
	items := e.schedule.Stakes(epoch)
	if items == nil {
		return nil
	}
	if len(e.views) < epochsMax {
		e.views = append(e.views, nil)
	}
	copy(e.views[1:], e.views)
	e.views[0] = NewStakes(items)
	return e.views[0]
}
