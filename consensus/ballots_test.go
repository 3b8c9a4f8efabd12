package consensus

import (
	"fmt"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// TestExecuted compares e(b) with its definition: the highest slot that more
// than two thirds of the stake have rep at or above (PROTOCOL section 9).
func TestExecuted(t *testing.T) {
	rng := testkit.Rand(t)
	for range 500 {
		n := 1 + rng.IntN(12)
		at := make([]stakedSlot, n)
		var total ledger.Lamports
		for i := range at {
			at[i] = stakedSlot{ledger.Slot(rng.IntN(10)), ledger.Lamports(1 + rng.IntN(4))}
			total += at[i].stake
		}
		want := ledger.Slot(0)
		for slot := range ledger.Slot(10) {
			var sum ledger.Lamports
			for _, a := range at {
				if a.slot >= slot {
					sum += a.stake
				}
			}
			if sum*3 > total*2 {
				want = slot
			}
		}
		if got := twoThirdsReached(at, total); got != want {
			t.Fatalf("%v: %d, want %d", at, got, want)
		}
	}
}

// TestReported: the value that an ExecutionReceipt must not contradict
// (PROTOCOL section 5).
func TestReported(t *testing.T) {
	s := newScene("a=34 b=33 c=33")
	add := func(slot int, votes ...ledger.Vote) *Ballots {
		parent, b := block(fmt.Sprint(slot-1)), block(fmt.Sprint(slot))
		next, refused := s.ballots[parent].Count(b.Slot, s.epochs.At(b.Slot), votes, s.lineage[parent])
		for _, err := range refused {
			if err != nil {
				t.Fatal(err)
			}
		}
		s.ballots[b], s.lineage[b] = next, s.lineage[parent].Extend(b)
		return next
	}
	says := func(who string, slot int, of ledger.Slot, v string) ledger.Vote {
		vote := s.cast(who, block(fmt.Sprint(slot-1)), block(fmt.Sprint(slot-1)))
		vote.BankSlot, vote.BankHash = of, value(v)
		return vote
	}
	check := func(b *Ballots, slot ledger.Slot, want string) {
		t.Helper()
		got, ok := b.Reported(slot, b.Stakes())
		if ok != (want != "") || ok && got != value(want) {
			t.Fatalf("slot %d: %v %v, want %q", slot, got, ok, want)
		}
	}
	add(1)
	add(2, says("a", 2, 1, "x"))
	b := add(3, says("a", 3, 2, "y"), says("b", 3, 1, "x"))
	check(b, 1, "x") // a has reported a later slot since: still counts
	check(b, 2, "")
	b = add(4, says("a", 4, 1, "z"), says("c", 4, 1, "x"))
	check(b, 1, "") // a has executed again
	b = add(5, says("a", 5, 1, "x"), says("b", 5, 1, "w"))
	check(b, 1, "x")
	check(b, 0, "")
	if b.Rep(2) != 1 || b.ReportedBy(1) != 100 || b.ReportedBy(2) != 0 || b.Rooted() != 0 {
		t.Fatal(b.Rep(2), b.ReportedBy(1), b.Rooted())
	}
	// The last block of which the children can know what was reported.
	for slot := 6; slot <= ReportsMax; slot++ {
		b = add(slot)
	}
	check(b, 1, "x")
	if b = add(ReportsMax + 1); len(b.reports) != ReportsMax {
		t.Fatal(len(b.reports))
	}
	check(b, 1, "")
}

// TestRetiredVotesStayOld: an account that loses its stake and gets it back
// cannot have its old votes counted again.
func TestRetiredVotesStayOld(t *testing.T) {
	one, two := NewStakes(stakesOf(0, "a=1 b=1")), NewStakes(stakesOf(1, "b=1"))
	three := NewStakes(stakesOf(2, "a=1 c=1"))
	fork := line(0, 40)
	v := voteOf(0, tower(5, 1))
	v.Account, v.Authority = account("a"), account("a")
	b, refused := NewBallots(one).Count(30, one, []ledger.Vote{v, v}, fork)
	if refused[0] != nil || refused[1] != ErrVoteTooOld {
		t.Fatal(refused)
	}
	b, refused = b.Count(32, two, []ledger.Vote{v}, fork)
	if refused[0] != ErrNoStake || b.Executed() != 0 {
		t.Fatal(refused)
	}
	b, refused = b.Count(64, three, []ledger.Vote{v}, fork)
	if refused[0] != ErrVoteTooOld || len(b.retired) != 0 {
		t.Fatal(refused, b.retired)
	}
	v.Authority = account("z")
	if _, refused = b.Count(65, three, []ledger.Vote{v}, fork); refused[0] != ErrAuthority {
		t.Fatal(refused)
	}
}
