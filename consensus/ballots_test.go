package consensus

import (
	"fmt"
	"reflect"
	"slices"
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
	if b.Rooted() != 0 {
		t.Fatal(b.Rooted())
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

// TestBallotsBytes: what is read back is what was written, through epochs in
// which accounts lose their stake, and it counts later votes alike.
func TestBallotsBytes(t *testing.T) {
	rng := testkit.Rand(t)
	for range 4 {
		lists := []string{"a=4 b=3 c=2 d=1", "b=3 d=3 e=1", "a=1 d=3 c=9"}
		b, stakes := NewBallots(NewStakes(stakesOf(0, lists[0]))), NewStakes(stakesOf(0, lists[0]))
		fork := NewLineage(block("0"))
		for slot := 1; slot < 200; slot++ {
			if slot%60 == 0 {
				stakes = NewStakes(stakesOf(uint64(slot/60), lists[slot/60%len(lists)]))
			}
			var votes []ledger.Vote
			for _, it := range stakes.Items {
				j, ok := b.Stakes().Voter(it.VoteAccount)
				if !ok || rng.IntN(3) == 0 {
					continue
				}
				tw := countedTower(it.VoteAccount, block("0"), b.State(j), fork)
				tw.root.Slot, _ = b.State(j).Root()
				if tip := fork.Block(0); tip.Slot > 0 {
					tw.Record(tip)
					v := ledger.Vote{Account: it.VoteAccount, Authority: it.VoteAccount}
					tw.Fill(&v)
					v.BankSlot = ledger.Slot(rng.IntN(slot))
					v.BankHash = value(fmt.Sprint(v.BankSlot))
					votes = append(votes, v)
				}
			}
			parsed, err := ParseBallots(b.Append(nil), b.stakes)
			if err != nil || !reflect.DeepEqual(parsed, b) {
				t.Fatalf("slot %d: %v\n%+v\n%+v", slot, err, parsed, b)
			}
			again := NewLineage(fork.Refs()...)
			next, _ := parsed.Count(ledger.Slot(slot), stakes, votes, again)
			b, _ = b.Count(ledger.Slot(slot), stakes, votes, fork)
			if !reflect.DeepEqual(next, b) {
				t.Fatalf("slot %d: the vote state that was read counts otherwise", slot)
			}
			fork = fork.Extend(block(fmt.Sprint(slot)))
		}
	}
}

// TestBallotsBytesRefused: bytes that Append does not write.
func TestBallotsBytesRefused(t *testing.T) {
	one, two := NewStakes(stakesOf(0, "a=2 b=1")), NewStakes(stakesOf(1, "b=1"))
	v := voteOf(0, tower(5, 1))
	v.Account, v.Authority = account("a"), account("a")
	b, _ := NewBallots(one).Count(30, one, []ledger.Vote{v}, line(0, 40))
	good := b.Append(nil)
	if _, err := ParseBallots(good, one); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(b []byte) []byte{
		"nothing":          func([]byte) []byte { return nil },
		"version":          func(b []byte) []byte { b[0]++; return b },
		"cut short":        func(b []byte) []byte { return b[:len(b)-1] },
		"a byte more":      func(b []byte) []byte { return append(b, 0) },
		"fewer voters":     func(b []byte) []byte { b[1] = 1; return b },
		"too many voters":  func(b []byte) []byte { b[4] = 0xff; return b },
		"other voter":      func(b []byte) []byte { b[5]++; return b },
		"too many votes":   func(b []byte) []byte { b[37] = LockoutsMax + 1; return b },
		"no confirmations": func(b []byte) []byte { b[46] = 0; return b },
	} {
		if _, err := ParseBallots(change(slices.Clone(good)), one); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	if _, err := ParseBallots(good, two); err == nil {
		t.Error("stakes of another epoch: read")
	}
}

// TestRefs: a lineage is made again of its blocks.
func TestRefs(t *testing.T) {
	for _, n := range []int{1, chunkLen, chunkLen + 1, AncestorsMax, AncestorsMax + 100} {
		l := line(0, ledger.Slot(n-1))
		again := NewLineage(l.Refs()...)
		if again.Len() != l.Len() || again.Block(0) != l.Block(0) || again.Oldest() != l.Oldest() {
			t.Fatalf("%d blocks: %d from %d, want %d from %d", n, again.Len(), again.Oldest(), l.Len(), l.Oldest())
		}
	}
}
