package invariant

import (
	"fmt"
	"testing"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/ledger"
)

// ballot is a vote as an honest tower makes it.
func (w *world) ballot(t *consensus.Tower, i int, ref ledger.BlockRef) *ledger.Vote {
	t.Record(ref)
	v := &ledger.Vote{Account: account(i), Authority: t.Identity()}
	t.Fill(v)
	return v
}

// voter returns a function that casts votes of an account.
func (w *world) voter(i int) func(ledger.BlockRef, func(*ledger.Vote)) error {
	tower := consensus.NewTower(key('i', i), w.Root().Ref)
	return func(ref ledger.BlockRef, change func(*ledger.Vote)) error {
		v := w.ballot(tower, i, ref)
		if change != nil {
			change(v)
		}
		return w.votes.Cast(v)
	}
}

// cluster returns such functions of the first n accounts.
func (w *world) cluster(n int) []func(ledger.BlockRef, func(*ledger.Vote)) error {
	voters := make([]func(ledger.BlockRef, func(*ledger.Vote)) error, n)
	for i := range voters {
		voters[i] = w.voter(i)
	}
	return voters
}

func TestVotesUpAChain(t *testing.T) {
	w := newWorld(t)
	voters := w.cluster(4)
	for slot := ledger.Slot(1); slot <= 40; slot++ {
		for _, vote := range voters {
			w.fine(vote(w.ref(slot), nil))
		}
	}
	if got := w.votes.voters[account(0)].root.Ref; got != w.ref(9) || w.votes.Count() != 4*40 {
		t.Errorf("root %v, want that of 40 votes; %d votes", got, w.votes.Count())
	}
	w.votes.Prune(20)
	w.fine(w.votes.Finalized(9))
	w.broken(w.votes.Finalized(10), "finalised with")
}

// A tower that nobody follows ends with as many votes as stand above the one that
// must be followed: three, or eight where votes wait for execution. One that is
// followed for a while ends as deep above that.
func TestVotesThatNobodyFollows(t *testing.T) {
	for depth, execution := range map[ledger.Slot]cluster.Execution{3: cluster.ExecutionAsync, 8: cluster.ExecutionSync} {
		for _, test := range []struct{ followers, until, want ledger.Slot }{{2, 3, depth + 1}, {3, 3, depth + 4}} {
			w := newWorld(t)
			w.genesis.Params.Execution = execution
			voters := w.cluster(int(test.followers) + 1)
			for slot := ledger.Slot(1); slot < test.want; slot++ {
				w.fine(voters[0](w.ref(slot), nil))
				for _, follow := range voters[1:] {
					if slot <= test.until {
						w.fine(follow(w.ref(slot), nil))
					}
				}
			}
			w.broken(voters[0](w.ref(test.want), nil), fmt.Sprintf("is %d votes above that for", depth))
		}
	}
}

func TestAgreed(t *testing.T) {
	w := newWorld(t)
	for slot := ledger.Slot(1); slot <= 2; slot++ {
		w.fine(w.execute(w.ref(slot), nil))
	}
	executed := func(v *ledger.Vote) { v.BankSlot, v.BankHash = 2, w.Blocks()[w.ref(2)].BankHash }
	for i, said := range []struct{ third, twoThirds ledger.Slot }{{0, 0}, {2, 0}, {2, 0}, {2, 2}} {
		w.fine(w.voter(i)(w.ref(2), executed))
		w.fine(w.votes.Agreed(said.third, said.twoThirds))
		w.broken(w.votes.Agreed(3, said.twoThirds), "more than 1/3")
		if said.twoThirds == 0 {
			w.broken(w.votes.Agreed(0, 2), "more than 2/3")
		}
	}
}

// A node that comes back knows a newer root than its tower: settled votes are
// gone from it, and only those above are compared.
func TestVotesAfterARestart(t *testing.T) {
	w := newWorld(t)
	voters := w.cluster(5)
	vote := voters[0]
	for slot := ledger.Slot(1); slot <= 10; slot++ {
		for _, vote := range voters {
			w.fine(vote(w.ref(slot), nil))
		}
	}
	settled := func(v *ledger.Vote) {
		v.Root, v.Lockouts = 5, v.Lockouts[5:]
	}
	w.broken(w.votes.Rooted(account(0), w.Blocks()[w.ref(5)]), "2/3 have not rooted more")
	for slot := ledger.Slot(11); slot <= 37; slot++ {
		for _, vote := range voters[1:] {
			w.fine(vote(w.ref(slot), nil))
		}
	}
	w.fine(w.votes.Rooted(account(0), w.Blocks()[w.ref(5)]))
	w.fine(vote(w.ref(11), settled))
	w.broken(vote(w.ref(12), nil), "after 5:") // the root falls
}

// A root that neither the account's own votes nor the others' make is noticed
// with the first vote that shows it, and so is one that is held back.
func TestRootsThatVotesDoNotMake(t *testing.T) {
	w := newWorld(t)
	vote := w.voter(0)
	w.fine(vote(w.ref(1), nil))
	early := func(v *ledger.Vote) { v.Root, v.Lockouts = 1, v.Lockouts[1:] }
	w.broken(vote(w.ref(2), early), "but its votes root")

	w = newWorld(t)
	voters := w.cluster(4)
	for slot := ledger.Slot(1); slot <= 31; slot++ {
		for _, vote := range voters {
			w.fine(vote(w.ref(slot), nil))
		}
	}
	w.broken(voters[0](w.ref(32), func(v *ledger.Vote) { v.Root = 0 }), "but its votes root")
}

func TestVoteViolations(t *testing.T) {
	t.Run("locked out", func(t *testing.T) {
		w := newWorld(t)
		for i := range 3 {
			w.fine(w.voter(i+1)(side, nil))
		}
		vote := w.voter(0)
		w.fine(vote(w.ref(2), nil))
		w.fine(vote(w.ref(3), nil)) // locks until 5, and 2 until 6
		w.broken(vote(side, nil), "locked out")
	})
	t.Run("switch with proof", func(t *testing.T) {
		w := newWorld(t)
		for i := range 2 {
			w.fine(w.voter(i+1)(side, nil))
		}
		vote := w.voter(0)
		w.fine(vote(w.ref(2), nil)) // locks until 4
		w.fine(vote(side, nil))
	})
	t.Run("switch without proof", func(t *testing.T) {
		w := newWorld(t)
		w.fine(w.voter(1)(side, nil)) // a fifth of the stake
		vote := w.voter(0)
		w.fine(vote(w.ref(2), nil))
		w.broken(vote(side, nil), "leaves the fork")
	})
	t.Run("switch with expired votes", func(t *testing.T) {
		w := newWorld(t)
		for i := range 2 {
			w.fine(w.voter(i+1)(side, nil)) // locks until 7
		}
		vote := w.voter(0)
		w.fine(vote(w.ref(8), nil))
		w.broken(vote(side2, nil), "leaves the fork")
	})
	t.Run("older vote", func(t *testing.T) {
		w := newWorld(t)
		vote := w.voter(0)
		w.fine(vote(w.ref(2), nil))
		w.broken(w.voter(0)(w.ref(2), nil), "after a vote")
	})
	t.Run("tower that the votes do not make", func(t *testing.T) {
		w := newWorld(t)
		w.fine(w.voter(0)(w.ref(1), nil))
		w.broken(w.voter(0)(w.ref(2), nil), "not what its votes make")
	})
	t.Run("root off the fork", func(t *testing.T) {
		w := newWorld(t)
		w.broken(w.voter(0)(side, func(v *ledger.Vote) { v.Root = 4 }), "which its fork has not")
	})
	t.Run("unknown block", func(t *testing.T) {
		w := newWorld(t)
		w.broken(w.voter(0)(ledger.BlockRef{Slot: 3}, nil), "which no node holds")
	})
	t.Run("bank slot above the slot", func(t *testing.T) {
		w := newWorld(t)
		w.broken(w.voter(0)(w.ref(1), func(v *ledger.Vote) { v.BankSlot = 2 }), "not on its fork")
	})
	t.Run("bank slot off the fork", func(t *testing.T) {
		w := newWorld(t)
		w.broken(w.voter(0)(side, func(v *ledger.Vote) { v.BankSlot = 3 }), "not on its fork")
	})
	t.Run("BankHash that nobody has", func(t *testing.T) {
		w := newWorld(t)
		w.broken(w.voter(0)(w.ref(2), func(v *ledger.Vote) { v.BankSlot = 1 }), "reports BankHash")
	})
}

func TestConfirmedNeedsItsVotes(t *testing.T) {
	w := newWorld(t)
	b := w.Blocks()[w.ref(2)]
	for i := range 3 {
		w.fine(w.voter(i)(w.ref(3), nil))
		w.broken(w.votes.Confirmed(b), "without the votes")
	}
	w.fine(w.voter(3)(w.ref(4), nil)) // 3 of 5 for slot 3, 1 for slot 4
	w.broken(w.votes.Confirmed(b), "without the votes")
	w.fine(w.voter(4)(w.ref(3), nil))
	w.fine(w.votes.Confirmed(b))
	w.broken(w.votes.Confirmed(w.Blocks()[w.ref(4)]), "without the votes")
	w.fine(w.votes.Finalized(0))
}

func TestLocked(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		vote := w.voter(i)
		for slot := ledger.Slot(2); slot <= 4; slot++ {
			w.fine(vote(w.ref(slot), nil))
		}
	}
	alone := w.voter(3)
	w.fine(alone(side, nil))
	w.fine(alone(side2, nil)) // pops 5
	for _, test := range []struct {
		i    int
		now  ledger.Slot
		want bool
	}{
		{3, 9, true},   // locked until 11; slot 2 of the others, too: until 10
		{3, 11, false}, // the others' votes have expired
		{0, 9, false},  // a fifth is no third
		{4, 9, false},  // has not voted
	} {
		if got := w.votes.Locked(account(test.i), test.now); got != test.want {
			t.Errorf("voter %d in slot %d is locked: %v", test.i, test.now, got)
		}
	}
	w.fine(alone(w.ref(12), nil)) // its lock has expired, and that of the others holds it no more
	if w.votes.Locked(account(3), 12) {
		t.Error("voter 3 is locked on the others' fork")
	}
}

// A lock counts while it lasts, and for as much as it holds back.
func TestJoinable(t *testing.T) {
	all := func(ledger.Pubkey) bool { return true }
	w := newWorld(t)
	if !w.votes.Joinable(1, all) {
		t.Error("nobody has voted, but no fork can get 2/3")
	}
	for i := range 4 {
		w.fine(w.voter(i)(w.ref(8), nil)) // locks until 10
	}
	w.fine(w.voter(4)(side2, nil)) // locks until 11
	if !w.votes.Joinable(9, all) {
		t.Error("a lock of one in five keeps the others from 2/3")
	}
	for _, test := range []struct {
		now  ledger.Slot
		want bool
	}{{9, false}, {10, false}, {11, true}, {12, true}} {
		if got := w.votes.Joinable(test.now, func(a ledger.Pubkey) bool { return a != account(0) }); got != test.want {
			t.Errorf("slot %d, four able to vote, of whom one is locked out: a fork can get 2/3: %v", test.now, got)
		}
	}
}

// Who voted for a lighter fork leads there until its own votes there have expired,
// or enough others are locked out of it, or have gone there.
func TestBarred(t *testing.T) {
	for _, test := range []struct {
		name   string
		main   ledger.Slot // voted for by three others
		barred bool
	}{
		{"their locks have expired", 6, true}, // in slot 8
		{"their locks have not", 7, false},
	} {
		w := newWorld(t)
		alone := w.voter(4)
		w.fine(alone(side2, nil)) // slot 9
		if w.votes.Barred(account(4), 10) {
			t.Errorf("%s: barred from a fork for which nobody voted", test.name)
		}
		for i := range 3 {
			w.fine(w.voter(i)(w.ref(test.main), nil))
		}
		if got := w.votes.Barred(account(4), 10); got != test.barred {
			t.Errorf("%s: barred %t, want %t", test.name, got, test.barred)
		}
		if w.votes.Barred(account(4), 12) {
			t.Errorf("%s: barred though its own vote has expired", test.name)
		}
		if w.votes.Barred(account(0), 10) || w.votes.Barred(account(3), 10) {
			t.Errorf("%s: who is on the heaviest fork is barred from it, or who has not voted", test.name)
		}
	}
}

// Whatever the dishonest send, they count as if they had voted for everything,
// and once: honest votes that fall short with that fall short.
func TestDistrustedVotes(t *testing.T) {
	w := newWorld(t)
	w.votes.Distrust(account(0))
	b := w.Blocks()[w.ref(3)]
	for i := 1; i <= 2; i++ {
		w.fine(w.voter(i)(b.Ref, nil))
		w.broken(w.votes.Confirmed(b), "without the votes")
	}
	w.fine(w.voter(3)(b.Ref, nil))
	w.fine(w.votes.Confirmed(b))
}
