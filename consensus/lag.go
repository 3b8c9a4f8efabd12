package consensus

import (
	"math/bits"

	"tutti/internal/planted"
)

// Lag is Λ(b) of PROTOCOL section 9: the number of blocks on the fork after
// e(b), up to and including b. It counts no further than AncestorsMax.
func Lag(block *Lineage, ballots *Ballots) int { return block.After(ballots.Executed()) }

// CostMax returns c′: how much a UserBlock may cost that is anchored at a
// block with that lag, if cost is the share c of one that does not lag. full
// and zero are the genesis parameters lag_full and lag_zero.
func CostMax(cost uint64, lag, full, zero int) uint64 {
	switch {
	case lag <= full || planted.Is(planted.LagIgnored):
		return cost
	case lag >= zero:
		return 0
	}
	hi, lo := bits.Mul64(cost, uint64(zero-lag))
	quo, _ := bits.Div64(hi, lo, uint64(zero-full))
	return quo
}

// VotesOnly tells whether a block may name no UserBlock because of its
// parent's lag (PROTOCOL section 9).
func VotesOnly(parentLag, zero int) bool { return parentLag >= zero }
