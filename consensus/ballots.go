package consensus

import (
	"bytes"
	"cmp"
	"slices"

	"tutti/internal/planted"
	"tutti/ledger"
)

// ReportsMax is for how many blocks after its own a block's BankHash is
// tallied (Ballots.Reported). A node that has fallen further behind restarts
// from a snapshot (PROTOCOL section 9), which brings as many.
const ReportsMax = 150

// Ballots is the vote state of a fork up to and including one block: of
// every voter the VoteState, and the reports of the newest blocks. It never
// changes once made; a child shares what its votes do not touch.
type Ballots struct {
	stakes   *Stakes
	states   []*VoteState // by voter
	retired  []retired    // sorted by account
	reports  []reports    // oldest block first, at most ReportsMax
	executed ledger.Slot
}

// retired keeps the state of an account that has lost its stake, should it
// come back: its old votes must not count again.
type retired struct {
	account ledger.Pubkey
	state   *VoteState
}

// reports are those of the votes that counted in one block.
type reports struct {
	block ledger.Slot
	made  []accountReport // as counted
}

type accountReport struct {
	account ledger.Pubkey
	Report
}

// NewBallots returns a vote state without votes: that of the genesis block, or
// of the block before the oldest one from which a node rebuilds its state.
func NewBallots(stakes *Stakes) *Ballots {
	return &Ballots{stakes: stakes, states: make([]*VoteState, stakes.Len())}
}

// Count returns the vote state of a child block that holds these votes, in
// its order, and for every vote why it has no effect, nil if it counts. The
// stakes are those of the child's epoch; fork is the lineage of its parent.
// Signatures are the caller's, as are votes that make the block invalid
// (PROTOCOL section 5); ErrNoStake is one of these reasons.
func (b *Ballots) Count(block ledger.Slot, stakes *Stakes, votes []ledger.Vote, fork Ancestry) (*Ballots, []error) {
	next := b.in(stakes)
	made := make([]accountReport, 0, len(votes))
	refused := make([]error, len(votes))
	for i := range votes {
		v := &votes[i]
		voter, state, err := next.count(v, fork)
		if err != nil {
			refused[i] = err
			continue
		}
		next.states[voter] = state
		made = append(made, accountReport{v.Account, state.report})
	}
	kept := b.reports
	if len(kept) == ReportsMax {
		kept = kept[1:]
	}
	if !planted.Is(planted.SharedReports) {
		kept = slices.Clone(kept)
	}
	next.reports = append(kept, reports{block, made})
	next.executed = next.reported()
	return next, refused
}

func (b *Ballots) count(v *ledger.Vote, fork Ancestry) (voter int, state *VoteState, err error) {
	voter, ok := b.stakes.Voter(v.Account)
	if !ok {
		return 0, nil, ErrNoStake
	}
	if b.stakes.Items[voter].Authority != v.Authority {
		return 0, nil, ErrAuthority
	}
	state, err = b.states[voter].Count(v, fork)
	return voter, state, err
}

// in returns a copy without reports whose voters are those of stakes.
func (b *Ballots) in(stakes *Stakes) *Ballots {
	if stakes == b.stakes || stakes.Epoch == b.stakes.Epoch {
		return &Ballots{stakes: b.stakes, states: slices.Clone(b.states), retired: b.retired}
	}
	next := NewBallots(stakes)
	keep := func(account ledger.Pubkey, state *VoteState) {
		if i, ok := stakes.Voter(account); ok {
			next.states[i] = state
		} else if state != nil {
			next.retired = append(next.retired, retired{account, state})
		}
	}
	for i, state := range b.states {
		keep(b.stakes.Items[i].VoteAccount, state)
	}
	for _, r := range b.retired {
		keep(r.account, r.state)
	}
	slices.SortFunc(next.retired, func(x, y retired) int {
		return bytes.Compare(x.account[:], y.account[:])
	})
	return next
}

// Stakes returns the stakes of the block's epoch.
func (b *Ballots) Stakes() *Stakes { return b.stakes }

// State returns the vote state of a voter, nil if no vote of it has counted.
func (b *Ballots) State(voter int) *VoteState { return b.states[voter] }

// Executed returns e(b) of PROTOCOL section 9: the highest slot that more
// than two thirds of the stake report to have executed or passed.
func (b *Ballots) Executed() ledger.Slot { return b.executed }

// Rooted returns the highest slot that more than two thirds of the stake
// have rooted, in votes counted on this fork: its block is finalised (PROTOCOL
// section 7).
func (b *Ballots) Rooted() ledger.Slot {
	return b.quantile(func(s *VoteState) ledger.Slot {
		root, _ := s.Root()
		return root
	})
}

// reported returns e(b).
func (b *Ballots) reported() ledger.Slot {
	return b.quantile(func(s *VoteState) ledger.Slot { return s.Report().Slot })
}

// quantile returns the highest slot that more than two thirds of the stake
// have reached.
func (b *Ballots) quantile(reached func(*VoteState) ledger.Slot) ledger.Slot {
	at := make([]stakedSlot, len(b.states))
	for i, s := range b.states {
		at[i] = stakedSlot{reached(s), b.stakes.Items[i].Stake}
	}
	return twoThirdsReached(at, b.stakes.Total())
}

// Reported returns the BankHash after the fork's block in that slot which
// accounts with more than two thirds of the given stakes have reported in
// votes counted on this fork, of each account the last such vote. An
// ExecutionReceipt that differs from it makes a child of this block invalid
// (PROTOCOL section 5); the stakes are those of the child's epoch.
//
// No value is binding for a block that has ReportsMax descendants or more:
// a node that came from a snapshot could not know it.
func (b *Ballots) Reported(slot ledger.Slot, stakes *Stakes) (ledger.Hash, bool) {
	said := make([]bool, stakes.Len())
	var sums []valueStake
	for i := len(b.reports) - 1; i >= 0; i-- {
		if b.reports[i].block <= slot {
			return twoThirdsOf(sums, stakes.Total())
		}
		made := b.reports[i].made
		for j := len(made) - 1; j >= 0; j-- {
			voter, ok := stakes.Voter(made[j].account)
			if !ok || made[j].Slot != slot || said[voter] {
				continue
			}
			said[voter] = true
			sums = addValue(sums, made[j].Hash, stakes.Items[voter].Stake)
		}
	}
	if len(b.reports) == ReportsMax {
		return ledger.Hash{}, false
	}
	return twoThirdsOf(sums, stakes.Total())
}

// valueStake is the stake behind one value.
type valueStake struct {
	value ledger.Hash
	stake ledger.Lamports
}

// addValue adds stake to a value; there are few of them.
func addValue(sums []valueStake, value ledger.Hash, stake ledger.Lamports) []valueStake {
	for i := range sums {
		if sums[i].value == value {
			sums[i].stake += stake
			return sums
		}
	}
	return append(sums, valueStake{value, stake})
}

func twoThirdsOf(sums []valueStake, total ledger.Lamports) (ledger.Hash, bool) {
	for _, s := range sums {
		if TwoThirds(s.stake, total) {
			return s.value, true
		}
	}
	return ledger.Hash{}, false
}

// stakedSlot is a slot that some stake has reached.
type stakedSlot struct {
	slot  ledger.Slot
	stake ledger.Lamports
}

// twoThirdsReached returns the highest slot that more than two thirds of the
// total have reached, 0 if there is none. It reorders at.
func twoThirdsReached(at []stakedSlot, total ledger.Lamports) ledger.Slot {
	slices.SortFunc(at, func(x, y stakedSlot) int { return cmp.Compare(y.slot, x.slot) })
	var sum ledger.Lamports
	for _, a := range at {
		sum += a.stake
		if TwoThirds(sum, total) || planted.Is(planted.FinalByThird) && OneThird(sum, total) {
			return a.slot
		}
	}
	return 0
}
