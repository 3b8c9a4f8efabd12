package consensus

import (
	"cmp"
	"slices"

	"tutti/internal/planted"
	"tutti/ledger"
)

// TallyMax is how many voted blocks the tally keeps of one voter, the newest
// ones.
const TallyMax = 32

// Tally counts votes seen anywhere, in blocks or on their way. A block is
// optimistically confirmed when more than two thirds of the stake voted for
// exactly its slot and id (PROTOCOL section 7). That a confirmed block's
// ancestors are confirmed too is for the caller to follow. What is finalised
// the votes counted on a fork tell: see Ballots.Rooted.
//
// Votes count once and in any order, so that replays do no harm.
type Tally struct {
	epochs  *Epochs
	voters  map[ledger.Pubkey]*seen
	sums    map[ledger.BlockRef]ledger.Lamports // stake that voted for exactly that block
	floor   ledger.Slot                         // votes below are not counted any more
	newest  ledger.BlockRef                     // newest confirmed block
	rooted  ledger.Slot
	rooting *Stakes // of the newest root that rooted does not know of, or nil
}

// seen is what was seen of one voter.
type seen struct {
	votes []ledger.BlockRef // in the order of Compare, at most TallyMax
	root  ledger.Slot
}

// NewTally starts with a block that is confirmed.
func NewTally(root ledger.BlockRef, epochs *Epochs) *Tally {
	return &Tally{
		epochs: epochs,
		voters: make(map[ledger.Pubkey]*seen),
		sums:   make(map[ledger.BlockRef]ledger.Lamports),
		floor:  root.Slot, newest: root,
	}
}

// Vote counts a vote whose signature was checked. It tells whether this vote
// confirmed the block. Votes of accounts without stake in the epoch of the
// voted slot are ignored.
func (t *Tally) Vote(v *ledger.Vote) (confirmed bool) {
	block := v.Block
	stakes := t.epochs.At(block.Slot)
	if stakes == nil || block.Slot <= t.floor {
		return false
	}
	stake := stakes.Of(v.Account)
	if stake == 0 {
		return false
	}
	s := t.voters[v.Account]
	if s == nil {
		s = &seen{}
		t.voters[v.Account] = s
	}
	if v.HasRoot && v.Root < block.Slot && v.Root > s.root {
		s.root, t.rooting = v.Root, stakes
	}
	if !t.remember(s, v.Account, block) {
		return false
	}
	before := t.sums[block]
	t.sums[block] = before + stake
	if TwoThirds(before, stakes.Total()) || !TwoThirds(before+stake, stakes.Total()) {
		return false
	}
	if Compare(block, t.newest) > 0 {
		t.newest = block
	}
	return true
}

// remember adds a block to those that a voter voted for; the oldest one
// makes room. It tells whether the block was new.
func (t *Tally) remember(s *seen, account ledger.Pubkey, block ledger.BlockRef) bool {
	i, found := slices.BinarySearchFunc(s.votes, block, Compare)
	if found || i == 0 && len(s.votes) == TallyMax {
		return found && planted.Is(planted.VoteTwice)
	}
	s.votes = slices.Insert(s.votes, i, block)
	if len(s.votes) > TallyMax {
		t.forget(account, s.votes[0])
		s.votes = slices.Delete(s.votes, 0, 1)
	}
	return true
}

// forget takes a voter's stake off a block, unless that block is confirmed:
// its votes are kept until Prune.
func (t *Tally) forget(account ledger.Pubkey, block ledger.BlockRef) {
	stakes := t.epochs.At(block.Slot)
	if stakes == nil {
		delete(t.sums, block)
		return
	}
	if TwoThirds(t.sums[block], stakes.Total()) {
		return
	}
	if t.sums[block] -= stakes.Of(account); t.sums[block] == 0 {
		delete(t.sums, block)
	}
}

// Stake returns the stake that was seen to vote for exactly this block.
func (t *Tally) Stake(block ledger.BlockRef) ledger.Lamports { return t.sums[block] }

// Confirmed tells whether a block is optimistically confirmed by votes for
// itself. Blocks below the last Prune are forgotten.
func (t *Tally) Confirmed(block ledger.BlockRef) bool {
	stakes := t.epochs.At(block.Slot)
	return stakes != nil && TwoThirds(t.sums[block], stakes.Total())
}

// Rooted returns the highest slot that more than two thirds of the stake say
// to have rooted, 0 before. It never decreases. On which fork they have is not
// known, as votes name the slot of their root alone: it tells that there are
// blocks which others have rooted, not which block is finalised.
func (t *Tally) Rooted() ledger.Slot {
	if t.rooting == nil {
		return t.rooted
	}
	at := make([]stakedSlot, t.rooting.Len())
	for i := range at {
		v := &t.rooting.Items[i]
		at[i].stake = v.Stake
		if s := t.voters[v.VoteAccount]; s != nil {
			at[i].slot = s.root
		}
	}
	t.rooted = max(t.rooted, twoThirdsReached(at, t.rooting.Total()))
	t.rooting = nil
	return t.rooted
}

// Seen returns the blocks for which votes were seen, in the order of Compare.
func (t *Tally) Seen() []ledger.BlockRef {
	blocks := make([]ledger.BlockRef, 0, len(t.sums))
	for b := range t.sums {
		blocks = append(blocks, b)
	}
	slices.SortFunc(blocks, Compare)
	return blocks
}

// Prune forgets votes for blocks up to and including the root's slot.
func (t *Tally) Prune(root ledger.Slot) {
	if root <= t.floor {
		return
	}
	t.floor = root
	for b := range t.sums {
		if b.Slot <= root {
			delete(t.sums, b)
		}
	}
	for account, s := range t.voters {
		n, _ := slices.BinarySearchFunc(s.votes, root+1, func(b ledger.BlockRef, slot ledger.Slot) int {
			return cmp.Compare(b.Slot, slot)
		})
		s.votes = slices.Delete(s.votes, 0, n)
		if stakes := t.epochs.At(root); len(s.votes) == 0 && stakes != nil && stakes.Of(account) == 0 {
			delete(t.voters, account)
		}
	}
}
