package consensus

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// line returns the lineage of a fork with a block in every slot, but those
// left out.
func line(from, to ledger.Slot, except ...ledger.Slot) *Lineage {
	var blocks []ledger.BlockRef
	for s := from; s <= to; s++ {
		if !slices.Contains(except, s) {
			blocks = append(blocks, block(fmt.Sprint(s)))
		}
	}
	return NewLineage(blocks...)
}

// tower makes lockouts of slot, confirmations, slot, confirmations…
func tower(numbers ...int) []ledger.Lockout {
	var ls []ledger.Lockout
	for i := 0; i < len(numbers); i += 2 {
		ls = append(ls, ledger.Lockout{Slot: ledger.Slot(numbers[i]), Confirmations: uint8(numbers[i+1])})
	}
	return ls
}

func voteOf(root int, ls []ledger.Lockout) ledger.Vote {
	v := ledger.Vote{Lockouts: ls}
	if root >= 0 {
		v.HasRoot, v.Root = true, ledger.Slot(root)
	}
	if len(ls) > 0 {
		v.Block = block(fmt.Sprint(ls[len(ls)-1].Slot))
	}
	return v
}

// TestVoteChecks has a case for each reason of FORMATS section 8, and of
// PROTOCOL sections 5 and 7, why a vote does not count.
func TestVoteChecks(t *testing.T) {
	fork := line(0, 100, 60, 61)
	many := func(n int) []ledger.Lockout {
		var ls []ledger.Lockout
		for i := range n {
			ls = append(ls, ledger.Lockout{Slot: ledger.Slot(i + 1), Confirmations: uint8(n - i)})
		}
		return ls
	}
	after := func(root int, ls []ledger.Lockout) *VoteState {
		v := voteOf(root, ls)
		s, err := (*VoteState)(nil).Count(&v, fork)
		if err != nil {
			t.Fatalf("%v: %v", ls, err)
		}
		return s
	}
	for _, c := range []struct {
		name  string
		state *VoteState
		vote  ledger.Vote
		edit  func(*ledger.Vote)
		want  error
	}{
		{name: "first", vote: voteOf(-1, tower(1, 1))},
		{name: "first with root", vote: voteOf(0, tower(1, 2, 2, 1))},
		{name: "slot 0 over root 0", vote: voteOf(0, tower(0, 2, 1, 1))},
		{name: "31 deep", vote: voteOf(0, many(31))},
		{name: "no lockouts", vote: voteOf(0, nil), want: ErrEmptySlots},
		{name: "same slot again", state: after(0, tower(5, 1)), vote: voteOf(0, tower(5, 1)), want: ErrVoteTooOld},
		{name: "older slot", state: after(0, tower(5, 1)), vote: voteOf(0, tower(4, 1)), want: ErrVoteTooOld},
		{name: "skipped slot", vote: voteOf(0, tower(59, 3, 60, 2, 62, 1)), want: ErrSlotsMismatch},
		{name: "last skipped", vote: voteOf(0, tower(59, 3, 60, 1)), want: ErrSlotsMismatch},
		{name: "above the parent", vote: voteOf(0, tower(101, 1)), want: ErrSlotsMismatch},
		{
			name: "other id", vote: voteOf(0, tower(5, 1)), want: ErrSlotHashMismatch,
			edit: func(v *ledger.Vote) { v.Block = block("5b"); v.Block.Slot = 5 },
		},
		{name: "root skipped", vote: voteOf(60, tower(62, 1)), want: ErrRootOnDifferentFork},
		{name: "root back", state: after(4, tower(5, 1)), vote: voteOf(3, tower(6, 1)), want: ErrRootRollBack},
		{name: "root gone", state: after(4, tower(5, 1)), vote: voteOf(-1, tower(6, 1)), want: ErrRootRollBack},
		{name: "root goes on", state: after(4, tower(5, 1)), vote: voteOf(5, tower(6, 1))},
		{name: "32 deep", vote: voteOf(0, many(32)), want: ErrTooManyVotes},
		{name: "confirmed 0 times", vote: voteOf(0, tower(5, 0)), want: ErrZeroConfirmations},
		{name: "confirmed 32 times", vote: voteOf(0, tower(5, 32)), want: ErrConfirmationTooLarge},
		{name: "at the root", vote: voteOf(5, tower(5, 2, 6, 1)), want: ErrSlotSmallerThanRoot},
		{name: "below the root", vote: voteOf(5, tower(4, 2, 6, 1)), want: ErrSlotSmallerThanRoot},
		{name: "slot twice", vote: voteOf(0, tower(5, 2, 5, 1)), want: ErrSlotsNotOrdered},
		{name: "slots fall", vote: voteOf(0, tower(6, 2, 5, 1)), want: ErrSlotsNotOrdered},
		{name: "confirmations equal", vote: voteOf(0, tower(5, 1, 6, 1)), want: ErrConfirmationsNotOrdered},
		{name: "confirmations rise", vote: voteOf(0, tower(5, 1, 6, 2)), want: ErrConfirmationsNotOrdered},
		{name: "in time", vote: voteOf(0, tower(5, 2, 9, 1))},
		{name: "expired inside", vote: voteOf(0, tower(5, 2, 10, 1)), want: ErrLockoutMismatch},
		{name: "breaks a lockout", state: after(0, tower(5, 2, 6, 1)), vote: voteOf(0, tower(9, 1)), want: ErrLockoutConflict},
		{name: "breaks the top only", state: after(0, tower(5, 2, 6, 1)), vote: voteOf(0, tower(5, 2, 8, 1)), want: ErrLockoutConflict},
		{name: "after expiry", state: after(0, tower(5, 2, 6, 1)), vote: voteOf(0, tower(10, 1))},
		{name: "lockout rooted", state: after(0, tower(5, 2, 6, 1)), vote: voteOf(6, tower(7, 1))},
		{name: "confirmed less", state: after(0, tower(5, 3, 6, 2)), vote: voteOf(0, tower(5, 2, 7, 1)), want: ErrConfirmationRollBack},
		{name: "extension", vote: voteOf(0, tower(5, 1)), edit: func(v *ledger.Vote) { v.Extension = make([]byte, 128) }},
		{
			name: "extension too long", vote: voteOf(0, tower(5, 1)), want: ErrExtensionTooLong,
			edit: func(v *ledger.Vote) { v.Extension = make([]byte, 129) },
		},
		{name: "bank slot", vote: voteOf(0, tower(62, 1)), edit: func(v *ledger.Vote) { v.BankSlot = 62 }},
		{
			name: "bank slot skipped", vote: voteOf(0, tower(62, 1)), want: ErrBankSlot,
			edit: func(v *ledger.Vote) { v.BankSlot = 61 },
		},
		{
			name: "bank slot above the vote", vote: voteOf(0, tower(62, 1)), want: ErrBankSlot,
			edit: func(v *ledger.Vote) { v.BankSlot = 63 },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.edit != nil {
				c.edit(&c.vote)
			}
			next, err := c.state.Count(&c.vote, fork)
			if !errors.Is(err, c.want) || (err == nil) != (next != nil) {
				t.Fatalf("state %v, error %v, want %v", next, err, c.want)
			}
		})
	}
}

// TestVoteOlderThanKnown: what is older than the newest 512 blocks cannot be
// looked up (FORMATS section 8).
func TestVoteOlderThanKnown(t *testing.T) {
	fork := line(0, 600)
	if fork.Oldest() != 89 {
		t.Fatalf("oldest %d", fork.Oldest())
	}
	state := &VoteState{lockouts: tower(40, 31, 50, 30, 60, 29), root: 30, hasRoot: true}
	for _, c := range []struct {
		name string
		vote ledger.Vote
		want string
	}{
		{"kept", voteOf(30, tower(40, 31, 50, 30, 60, 29, 100, 1)), "root 30 [{40 31} {50 30} {60 29} {100 1}]"},
		{"unknown dropped", voteOf(30, tower(40, 31, 50, 30, 60, 29, 70, 28, 100, 1)), "root 30 [{40 31} {50 30} {60 29} {100 1}]"},
		{"root becomes a vote", voteOf(55, tower(60, 29, 100, 1)), "root 50 [{60 29} {100 1}]"},
		{"root becomes the old root", voteOf(35, tower(40, 31, 50, 30, 60, 29, 100, 1)), "root 30 [{40 31} {50 30} {60 29} {100 1}]"},
		{"root rolled back", voteOf(20, tower(40, 31, 50, 30, 60, 29, 100, 1)), "root 30 [{40 31} {50 30} {60 29} {100 1}]"},
		{"vote too old", voteOf(30, tower(88, 1)), "vote: VoteTooOld"},
		{"genesis reported", voteOf(89, tower(100, 1)), "root 89 [{100 1}]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			next, err := state.Count(&c.vote, fork)
			got := fmt.Sprint(err)
			if err == nil {
				root, _ := next.Root()
				got = fmt.Sprintf("root %d %v", root, next.Lockouts())
			}
			if got != c.want {
				t.Fatalf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestHonestVotesCount: a node that keeps its lockouts is never refused, with
// any of its votes lost on the way, and the state ends as its tower.
func TestHonestVotesCount(t *testing.T) {
	rng := testkit.Rand(t)
	for range 200 {
		fork := NewLineage(block("0"))
		tw := NewTower(account("a"), block("0"))
		var state *VoteState
		for slot := ledger.Slot(1); slot < 300; slot++ {
			if rng.IntN(3) == 0 {
				continue
			}
			b := block(fmt.Sprint(slot))
			fork = fork.Extend(b)
			if rng.IntN(3) == 0 {
				continue
			}
			tw.Record(b)
			if rng.IntN(4) == 0 {
				continue
			}
			var v ledger.Vote
			tw.Fill(&v)
			next, err := state.Count(&v, fork)
			if err != nil {
				t.Fatalf("%v after %v: %v", v.Lockouts, state.Lockouts(), err)
			}
			if state = next; !slices.Equal(state.Lockouts(), v.Lockouts) || state.root != tw.Root().Slot {
				t.Fatalf("state %v, tower %v", state, v)
			}
		}
	}
}

func TestLockedUntil(t *testing.T) {
	for _, c := range []struct {
		slot          ledger.Slot
		confirmations uint8
		want          ledger.Slot
	}{
		{10, 1, 12}, {10, 31, 10 + 1<<31}, {10, 255, 10 + 1<<31}, {1<<64 - 2, 1, 1<<64 - 1}, {1<<64 - 1, 1, 1<<64 - 1},
	} {
		if got := lockedUntil(c.slot, c.confirmations); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
