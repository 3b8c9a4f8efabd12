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
