package node

import (
	"testing"
	"time"

	"tutti/ledger"
)

// Blocks of several slots can name the same parent's id with different slots:
// the lie of one does not hide where the other's parent is.
func TestParentOfTwoSlots(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	n := c.nodes[0]
	c.nodes[0].down = true
	c.run(2500 * time.Millisecond)
	c.nodes[0].down = false
	parent := c.nodes[1].newest
	child := c.setsOn(n.Node, parent.Slot+1, parent.BlockRef, parent.LastPoH)
	liar := c.setsOn(n.Node, parent.Slot+2, ledger.BlockRef{Slot: parent.Slot - 1, ID: parent.ID}, parent.LastPoH)
	n.Step(c.now, Tick{})
	n.continueBlock(liar[0], false)
	n.continueBlock(child[0], false)
	for _, w := range n.wants() {
		if w.key == parent.Slot.Key() && w.id == parent.ID {
			return
		}
	}
	t.Errorf("%v is not asked for: %+v", parent.BlockRef, n.wants())
}
