package node

import (
	"testing"
	"time"

	"tutti/ledger"
)

// Half of the stake comes back after a stall. If it voted before it has caught
// up, for blocks that it builds on where it left, it would lock itself out of
// the others' fork for longer than it was away.
func TestBackAfterLongStall(t *testing.T) {
	c := stalled(t, 50)
	confirmed := c.nodes[0].newest.Slot
	c.restart(2)
	c.restart(3)
	c.run(25 * time.Second)
	for i, n := range c.nodes {
		if n.newest.Slot < confirmed+ledger.Slot(2.5*(50+20)) {
			t.Errorf("node %d: slot %d was confirmed before, slot %d is after", i, confirmed, n.newest.Slot)
		}
		if n.forks.Root().Slot == 0 {
			t.Errorf("node %d has rooted nothing", i)
		}
	}
}

// A node that is behind asks for a block's parent as soon as it knows of it: a
// round trip for each block, not two and more.
func TestCatchUpOverLongLinks(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(3 * time.Second)
	c.nodes[2].down = true
	c.run(10 * time.Second) // 25 slots
	c.filter(func(from, to int, m Message) bool {
		if _, ok := m.(RepairResponse); ok {
			c.push(250*time.Millisecond, to, Received{From: c.nodes[from].self, Msg: m})
			return false
		}
		return true
	})
	c.restart(2)
	c.run(2 * time.Second)
	if ahead, behind := c.nodes[0].newest.Slot, c.nodes[2].newest.Slot; behind+2 < ahead {
		t.Errorf("2 s after its restart the node has confirmed slot %d, the others %d", behind, ahead)
	}
}

// A node that was cut off learns from others' votes that they have rooted what
// it lacks. Until it has caught up it neither votes nor leads on the fork that
// it made alone: each such vote would lock it there for longer.
func TestNoVotesOnALeftFork(t *testing.T) {
	const alone = 3
	c := newTestCluster(t, 4, nil)
	c.run(5 * time.Second)
	cut := true
	c.filter(func(from, to int, m Message) bool {
		if cut && (from == alone || to == alone) {
			return false
		}
		if _, ok := m.(RepairResponse); ok { // catching up takes a while
			c.push(time.Second, to, Received{From: c.nodes[from].self, Msg: m})
			return false
		}
		return true
	})
	c.run(30 * time.Second) // 75 slots: the others root what it lacks
	turn := c.rotation(func(s ledger.Slot) bool { return c.leader(s) == alone })
	c.runTo(turn-1, 0)
	cut = false
	c.runTo(turn, 0) // it has heard of that
	n := c.nodes[alone]
	voted, begun := len(reported[Voted](n)), n.begunSlot
	if voted < 15 || begun < c.nodes[0].newest.Slot/2 {
		t.Fatalf("%d votes, own block in slot %d: nothing is tested", voted, begun)
	}
	c.run(12 * time.Second)
	if n.newest.Slot+2 < c.nodes[0].newest.Slot {
		t.Fatalf("confirmed slot %d, the others %d", n.newest.Slot, c.nodes[0].newest.Slot)
	}
	left := func(b ledger.BlockRef) bool {
		on := n.newest.Ancestor(b.Slot)
		return b.Slot <= n.newest.Slot && (on == nil || on.BlockRef != b)
	}
	for _, v := range reported[Voted](n)[voted:] {
		if left(v.Block) {
			t.Errorf("votes for %v, which the others have left", v.Block)
		}
	}
	for _, b := range reported[BlockHeld](n) {
		if b.Own && b.Block.Slot > begun && left(b.Block) {
			t.Errorf("makes %v, on %v, which the others have left", b.Block, b.Parent)
		}
	}
}
