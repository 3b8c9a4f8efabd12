package consensus

import (
	"fmt"
	"slices"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

func seenVote(who, b string, root int) *ledger.Vote {
	v := &ledger.Vote{Account: account(who), Block: block(b)}
	if root >= 0 {
		v.HasRoot, v.Root = true, ledger.Slot(root)
	}
	return v
}

// TestConfirmed: more than two thirds for exactly slot and id, each account
// once (PROTOCOL section 7).
func TestConfirmed(t *testing.T) {
	y := NewTally(block("0"), oneEpoch("a=66 b=1 c=33"))
	for _, c := range []struct {
		who, block string
		confirmed  bool
		newest     string
	}{
		{"a", "5", false, "0"},
		{"a", "5", false, "0"}, // replayed
		{"c", "5b", false, "0"},
		{"z", "5", false, "0"}, // no stake
		{"b", "5", true, "5"},
		{"c", "5", false, "5"}, // already
		{"b", "4", false, "5"},
		{"a", "4", true, "5"}, // older, later
		{"a", "0", false, "5"},
	} {
		if got := y.Vote(seenVote(c.who, c.block, -1)); got != c.confirmed || name(y.newest) != c.newest {
			t.Fatalf("%+v: %v, newest %v", c, got, y.newest)
		}
	}
	if !y.Confirmed(block("5")) || y.Confirmed(block("5b")) || y.Stake(block("5b")) != 33 {
		t.Fatal("confirmed")
	}
	if got := names(y.Seen()); got != "4 5 5b" {
		t.Fatal(got)
	}
	y.Prune(5)
	if len(y.Seen()) != 0 || y.newest != block("5") || y.Vote(seenVote("a", "5", -1)) {
		t.Fatal("pruned")
	}
}

// TestRooted: more than two thirds have a root at or above it.
func TestRooted(t *testing.T) {
	y := NewTally(block("0"), oneEpoch("a=34 b=33 c=33"))
	for _, c := range []struct {
		who, block string
		root       int
		want       ledger.Slot
	}{
		{"a", "10", 5, 0},
		{"b", "10", 7, 5},
		{"c", "10", 6, 5},
		{"a", "9", 4, 5},   // replayed
		{"a", "11", 11, 5}, // nonsense: a root above the vote
		{"a", "12", 9, 7},
	} {
		y.Vote(seenVote(c.who, c.block, c.root))
		if got := y.Rooted(); got != c.want {
			t.Fatalf("%+v: %d", c, got)
		}
	}
}

// TestTallyOrder: votes count the same in any order and any number of times,
// while no voter has more than TallyMax blocks.
func TestTallyOrder(t *testing.T) {
	rng := testkit.Rand(t)
	for range 50 {
		var votes []*ledger.Vote
		for range 150 {
			who := string(rune('a' + rng.IntN(4)))
			slot := 1 + rng.IntN(30)
			id := fmt.Sprint(slot)
			votes = append(votes, seenVote(who, id, rng.IntN(slot)))
		}
		want := make(map[ledger.BlockRef]map[ledger.Pubkey]bool)
		stakes := oneEpoch("a=1 b=2 c=3 d=4").At(0)
		for _, v := range votes {
			if want[v.Block] == nil {
				want[v.Block] = make(map[ledger.Pubkey]bool)
			}
			want[v.Block][v.Account] = true
		}
		var rooted ledger.Slot
		for run := range 3 {
			y := NewTally(block("0"), oneEpoch("a=1 b=2 c=3 d=4"))
			rng.Shuffle(len(votes), func(i, j int) { votes[i], votes[j] = votes[j], votes[i] })
			for _, v := range slices.Concat(votes, votes) {
				y.Vote(v)
			}
			for b, who := range want {
				var sum ledger.Lamports
				for k := range who {
					sum += stakes.Of(k)
				}
				if y.Stake(b) != sum || y.Confirmed(b) != (sum > 6) {
					t.Fatalf("%v: %d, want %d", b, y.Stake(b), sum)
				}
			}
			if run > 0 && y.Rooted() != rooted {
				t.Fatal(y.Rooted(), rooted)
			}
			rooted = y.Rooted()
		}
	}
}

// TestTallyIsBounded: a voter that votes for everything fills its own table
// only, and cannot make others' votes be forgotten.
func TestTallyIsBounded(t *testing.T) {
	y := NewTally(block("0"), oneEpoch("a=33 b=67"))
	y.Vote(seenVote("b", "1", -1))
	for slot := 1; slot < 5000; slot++ {
		y.Vote(seenVote("a", fmt.Sprint(slot), -1))
	}
	if len(y.sums) > TallyMax+1 || len(y.voters[account("a")].votes) != TallyMax {
		t.Fatal(len(y.sums))
	}
	if !y.Confirmed(block("1")) || y.Stake(block("100")) != 0 || y.Stake(block("4999")) != 33 {
		t.Fatal("forgotten")
	}
	if y.Vote(seenVote("a", "100", -1)); y.Stake(block("100")) != 0 {
		t.Fatal("an old vote made room for itself")
	}
	y.Prune(4990)
	if len(y.sums) != 9 {
		t.Fatal(names(y.Seen()))
	}
}
