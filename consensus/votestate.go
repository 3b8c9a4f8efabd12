package consensus

import (
	"errors"
	"slices"

	"tutti/ledger"
)

// LockoutsMax is the depth of a tower: one more vote makes the oldest one the
// root (FORMATS section 8).
const LockoutsMax = 31

// Why a vote does not count on a fork. The first ones have the names of
// Solana's vote program (FORMATS section 8).
var (
	ErrEmptySlots              = errors.New("vote: EmptySlots")
	ErrVoteTooOld              = errors.New("vote: VoteTooOld")
	ErrSlotsMismatch           = errors.New("vote: SlotsMismatch")
	ErrSlotHashMismatch        = errors.New("vote: SlotHashMismatch")
	ErrRootOnDifferentFork     = errors.New("vote: RootOnDifferentFork")
	ErrRootRollBack            = errors.New("vote: RootRollBack")
	ErrTooManyVotes            = errors.New("vote: TooManyVotes")
	ErrZeroConfirmations       = errors.New("vote: ZeroConfirmations")
	ErrConfirmationTooLarge    = errors.New("vote: ConfirmationTooLarge")
	ErrSlotSmallerThanRoot     = errors.New("vote: SlotSmallerThanRoot")
	ErrSlotsNotOrdered         = errors.New("vote: SlotsNotOrdered")
	ErrConfirmationsNotOrdered = errors.New("vote: ConfirmationsNotOrdered")
	ErrLockoutMismatch         = errors.New("vote: NewVoteStateLockoutMismatch")
	ErrLockoutConflict         = errors.New("vote: LockoutConflict")
	ErrConfirmationRollBack    = errors.New("vote: ConfirmationRollBack")

	ErrExtensionTooLong = errors.New("vote: extension above 128 bytes")
	ErrBankSlot         = errors.New("vote: bank slot without a block on the voted fork")
	ErrNoStake          = errors.New("vote: account without stake in this epoch")
	ErrAuthority        = errors.New("vote: not signed by the account's authority")
)

// Report is what a voter says of execution: its BankHash after the block of
// a slot. The zero value is that of a voter who has said nothing; rep(v) is
// then 0 (PROTOCOL section 9).
type Report struct {
	Slot ledger.Slot
	Hash ledger.Hash
}

// VoteState is what one account's votes that counted on a fork have led to.
// It never changes once made. A nil VoteState is that of an account of which
// no vote has counted.
type VoteState struct {
	lockouts []ledger.Lockout // oldest first, never empty
	root     ledger.Slot
	hasRoot  bool
	report   Report
}

// Lockouts returns the tower, oldest vote first. The caller must not change
// it.
func (s *VoteState) Lockouts() []ledger.Lockout {
	if s == nil {
		return nil
	}
	return s.lockouts
}

// Root returns the slot that the account has rooted.
func (s *VoteState) Root() (ledger.Slot, bool) {
	if s == nil {
		return 0, false
	}
	return s.root, s.hasRoot
}

// Last returns the slot of the last counted vote.
func (s *VoteState) Last() (ledger.Slot, bool) {
	if s == nil {
		return 0, false
	}
	return s.lockouts[len(s.lockouts)-1].Slot, true
}

// Report returns the report of the last counted vote.
func (s *VoteState) Report() Report {
	if s == nil {
		return Report{}
	}
	return s.report
}

// Count returns the state after one more vote, or the reason why the vote
// does not count on the fork (PROTOCOL section 5, without authority, stake
// and signature). The fork is that of the block that holds the vote.
//
// Only the newest AncestorsMax blocks of the fork can be looked up. As in
// Solana's vote program, lockouts on older slots are dropped unless the state
// has them already, and a root older than that becomes the state's newest
// vote at or below it, or its root. A bank slot must be one of those blocks
// or 0: genesis is on every fork.
func (s *VoteState) Count(v *ledger.Vote, fork Ancestry) (*VoteState, error) {
	if len(v.Extension) > ledger.VoteExtensionMax {
		return nil, ErrExtensionTooLong
	}
	lockouts, err := s.known(v, fork)
	if err != nil {
		return nil, err
	}
	root, hasRoot, err := s.newRoot(v, fork)
	if err != nil {
		return nil, err
	}
	if _, ok := fork.At(v.BankSlot); v.BankSlot > v.Block.Slot || v.BankSlot != 0 && !ok {
		return nil, ErrBankSlot
	}
	next := &VoteState{
		lockouts: lockouts,
		root:     root,
		hasRoot:  hasRoot,
		report:   Report{Slot: v.BankSlot, Hash: v.BankHash},
	}
	if err := next.wellFormed(); err != nil {
		return nil, err
	}
	if err := s.follows(next); err != nil {
		return nil, err
	}
	return next, nil
}

// known returns the vote's lockouts without those that are too old to be
// looked up, after checking that all others, the voted block above all, are
// blocks of the fork.
func (s *VoteState) known(v *ledger.Vote, fork Ancestry) ([]ledger.Lockout, error) {
	if len(v.Lockouts) == 0 {
		return nil, ErrEmptySlots
	}
	last := v.Lockouts[len(v.Lockouts)-1].Slot
	if counted, ok := s.Last(); ok && last <= counted {
		return nil, ErrVoteTooOld
	}
	if last < fork.Oldest() {
		return nil, ErrVoteTooOld
	}
	if len(v.Lockouts) > LockoutsMax {
		return nil, ErrTooManyVotes
	}
	lockouts := make([]ledger.Lockout, 0, len(v.Lockouts))
	for i, l := range v.Lockouts {
		if i > 0 && l.Slot <= v.Lockouts[i-1].Slot {
			return nil, ErrSlotsNotOrdered
		}
		if l.Slot < fork.Oldest() {
			if !s.votedFor(l.Slot) {
				continue
			}
		} else if _, ok := fork.At(l.Slot); !ok {
			return nil, ErrSlotsMismatch
		}
		lockouts = append(lockouts, l)
	}
	if id, _ := fork.At(last); v.Block.Slot != last || id != v.Block.ID {
		return nil, ErrSlotHashMismatch
	}
	return lockouts, nil
}

func (s *VoteState) votedFor(slot ledger.Slot) bool {
	return slices.ContainsFunc(s.Lockouts(), func(l ledger.Lockout) bool { return l.Slot == slot })
}

// newRoot returns the root that the vote leads to.
func (s *VoteState) newRoot(v *ledger.Vote, fork Ancestry) (ledger.Slot, bool, error) {
	root, hasRoot := v.Root, v.HasRoot
	if hasRoot && root >= fork.Oldest() {
		if _, ok := fork.At(root); !ok {
			return 0, false, ErrRootOnDifferentFork
		}
	} else if hasRoot {
		root, hasRoot = s.Root()
		for _, l := range s.Lockouts() {
			if l.Slot <= v.Root {
				root, hasRoot = l.Slot, true
			}
		}
	}
	if old, ok := s.Root(); ok && (!hasRoot || root < old) {
		return 0, false, ErrRootRollBack
	}
	return root, hasRoot, nil
}

// wellFormed checks the state by itself.
func (s *VoteState) wellFormed() error {
	for i, l := range s.lockouts {
		switch {
		case l.Confirmations == 0:
			return ErrZeroConfirmations
		case l.Confirmations > LockoutsMax:
			return ErrConfirmationTooLarge
		case s.hasRoot && s.root != 0 && l.Slot <= s.root:
			// As in Solana a root of 0 may be voted for: it is
			// every new tower's.
			return ErrSlotSmallerThanRoot
		}
		if i == 0 {
			continue
		}
		switch prev := s.lockouts[i-1]; {
		case prev.Confirmations <= l.Confirmations:
			return ErrConfirmationsNotOrdered
		case l.Slot > lockedUntil(prev.Slot, prev.Confirmations):
			return ErrLockoutMismatch
		}
	}
	return nil
}

// follows checks that next breaks no lockout of s: a vote above the new root
// that next lacks must have expired, and the others are not confirmed less.
func (s *VoteState) follows(next *VoteState) error {
	i := 0
	for _, old := range s.Lockouts() {
		if next.hasRoot && old.Slot <= next.root {
			continue
		}
		for i < len(next.lockouts) && next.lockouts[i].Slot < old.Slot {
			i++
		}
		// Invariant: i is in range, for the last vote of next is newer
		// than all of s.
		switch l := next.lockouts[i]; {
		case l.Slot > old.Slot:
			if lockedUntil(old.Slot, old.Confirmations) >= l.Slot {
				return ErrLockoutConflict
			}
		case l.Confirmations < old.Confirmations:
			return ErrConfirmationRollBack
		}
	}
	return nil
}

// unexpired returns the newest vote that a vote for slot would not pop off.
func (s *VoteState) unexpired(slot ledger.Slot) (ledger.Slot, bool) {
	lockouts := s.Lockouts()
	for i := len(lockouts) - 1; i >= 0; i-- {
		if l := lockouts[i]; lockedUntil(l.Slot, l.Confirmations) >= slot {
			return l.Slot, true
		}
	}
	return 0, false
}

// lockedUntil returns the last slot in which a vote locks its voter out of
// other forks (FORMATS section 8).
func lockedUntil(slot ledger.Slot, confirmations uint8) ledger.Slot {
	end := slot + 1<<min(confirmations, LockoutsMax)
	if end < slot {
		return ^ledger.Slot(0)
	}
	return end
}
