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
