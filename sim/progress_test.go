package sim

import (
	"strings"
	"testing"

	"tutti/invariant"
	"tutti/ledger"
)

// healed is a scene in which all has healed in slot 5: of five equal voters
// some have voted for 4, and some, from then on locked out, for 5'.
type healed struct {
	*scene
	h *healing
}

func newHealed(t *testing.T, away int) *healed {
	x := &healed{scene: newScene(t)}
	for i := range x.genesis.Validators {
		x.genesis.Validators[i].Stake = stakeMin
		block := x.ref(4)
		if i < away {
			block = x.side()
		}
		// Votes for every block up to it would lock for longer; one is enough.
		x.fine(x.votes.Cast(&ledger.Vote{
			Account: x.genesis.Validators[i].VoteAccount, HasRoot: true, Block: block,
			Lockouts: []ledger.Lockout{{Slot: block.Slot, Confirmations: 1}}, BankHash: x.ledger.Root().BankHash,
		}))
	}
	x.sim.heal(&phase{end: 5})
	x.h = x.sim.healing
	x.h.most, x.h.all, x.h.more = newClock(progressSlots), newClock(progressSlotsAll), progressSlots
	x.h.confirmed.meet(0) // when towers were full
	return x
}

// at judges in a slot, in which so many nodes have made progress.
func (x *healed) at(slot ledger.Slot, forward int) error {
	for i := range forward {
		x.nodes[i].confirmed, x.nodes[i].highest = slot, &invariant.Block{Ref: ledger.BlockRef{Slot: 1}}
	}
	x.sim.now = x.sim.slotAt(slot)
	return x.sim.judge(x.h)
}

func TestProgressInTime(t *testing.T) {
	t.Run("met", func(t *testing.T) {
		x := newHealed(t, 0)
		x.fine(x.at(10, 3))
		x.fine(x.at(14, 4))
		x.fine(x.at(30, 5))
		x.sim.unwatch()
		want := "healed 1; confirmed by 2/3: 1 in time (worst 0), 0 excused, 0 not judged; rooted by 2/3: 1 in time (worst 9), 0 excused, 0 not judged; by all: 1 in time (worst 25), 0 excused, 0 not judged"
		if got := x.sim.progress.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	t.Run("late", func(t *testing.T) {
		x := newHealed(t, 0)
		x.fine(x.at(20, 3))
		x.broken(x.at(21, 3), "all has healed in slot 5, but node 3 has confirmed slot 0")
	})
	t.Run("last node late", func(t *testing.T) {
		x := newHealed(t, 0)
		x.fine(x.at(21, 4))
		x.fine(x.at(36, 4))
		x.broken(x.at(37, 4), "but node 4")
	})
	t.Run("not judged", func(t *testing.T) {
		x := newHealed(t, 0)
		x.fine(x.at(21, 4))
		x.sim.unwatch() // there is chaos again
		x.fine(x.at(60, 4))
		if got := x.sim.progress.String(); !strings.Contains(got, "by all: 0 in time, 0 excused, 1 not judged") {
			t.Errorf("%s", got)
		}
	})
}

// A lock excuses 2/3 only if it keeps them from one fork, and only while it
// lasts.
func TestProgressExcused(t *testing.T) {
	t.Run("a fifth is locked", func(t *testing.T) {
		x := newHealed(t, 1)
		x.fine(x.at(6, 0))
		x.broken(x.at(21, 0), "all has healed")
	})
	t.Run("locks that ended", func(t *testing.T) {
		x := newHealed(t, 2) // until slot 7
		x.fine(x.at(6, 0))
		x.fine(x.at(7, 0))
		x.fine(x.at(21, 0)) // 2/3 were out of reach in slot 6
		x.broken(x.at(22, 0), "no fork could get 2/3 up to slot 6")
	})
	t.Run("slots of leaders that are barred", func(t *testing.T) {
		x := newHealed(t, 0)
		x.h.barred = []ledger.Slot{6, 8}
		x.fine(x.at(22, 0))
		x.broken(x.at(23, 0), "2 slots led by")
	})
	t.Run("slots of leaders that were barred while no fork could get 2/3", func(t *testing.T) {
		x := newHealed(t, 2)
		x.h.barred = []ledger.Slot{5}
		x.fine(x.at(6, 0))
		x.fine(x.at(21, 0))
		x.broken(x.at(22, 0), "no fork could get 2/3 up to slot 6")
	})
	t.Run("votes that expired", func(t *testing.T) {
		x := newHealed(t, 0)
		x.h.confirmed = newClock(progressSlots) // towers have one vote
		for i := range x.nodes {
			x.nodes[i].confirmed = 20
		}
		x.fine(x.at(20, 0))
		x.fine(x.at(5+firstRootSlots-1, 0))
		x.broken(x.at(5+firstRootSlots, 0), "all has healed")
	})
	t.Run("nothing confirmed while votes expired", func(t *testing.T) {
		x := newHealed(t, 0)
		x.h.confirmed = newClock(progressSlots)
		x.fine(x.at(20, 3))
		x.broken(x.at(21, 3), "all has healed")
	})
	t.Run("met late", func(t *testing.T) {
		x := newHealed(t, 2)
		x.h.confirmed = newClock(progressSlots)
		x.fine(x.at(6, 0))
		x.fine(x.at(21, 0))
		x.fine(x.at(22, 5))
		x.sim.unwatch()
		if got := x.sim.progress.String(); !strings.Contains(got, "confirmed by 2/3: 0 in time, 1 excused (worst 17), 0 not judged; rooted by 2/3: 0 in time, 1 excused") {
			t.Errorf("%s", got)
		}
	})
}

// TestSince counts slots from one of them on, but for those that do not count,
// and none before everything had healed.
func TestSince(t *testing.T) {
	h := &healing{healed: 10, barred: []ledger.Slot{11, 12, 15}}
	for from, want := range map[ledger.Slot]ledger.Slot{0: 7, 10: 7, 11: 6, 12: 6, 13: 6, 15: 4, 16: 4, 20: 0} {
		if got := h.since(20, from); got != want {
			t.Errorf("from %d: %d slots, want %d", from, got, want)
		}
	}
}
