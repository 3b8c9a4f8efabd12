package node

import (
	"testing"
	"time"

	"tutti/leader"
	"tutti/ledger"
	"tutti/shred"
)

// setsOn makes a leader block without records by its scheduled leader.
func (c *testCluster) setsOn(n *Node, slot ledger.Slot, parent ledger.BlockRef, poh ledger.Hash) []*shred.Set {
	c.t.Helper()
	return c.signedBlock(n, slot, parent, poh, func(*leader.Builder) {})
}

// receive gives all shreds of sets to a node, as from their tree.
func (c *testCluster) receive(to int, sets []*shred.Set) {
	for _, set := range sets {
		signer, _ := c.nodes[to].signer(set.Key)
		for i := range set.Shreds {
			c.push(0, to, Received{From: signer, Msg: ShredMessage{Shred: set.Shred(i), Root: set.Root}})
		}
	}
	c.run(10 * time.Millisecond)
}

// A leader that builds on a block below the root, which after a restart is
// known only as far as anchors need it, makes a block that is on no fork.
func TestBlockForksOffBelowRoot(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(25 * time.Second)
	for i, restart := range []bool{false, true} {
		if restart {
			c.nodes[2].down = true
			c.restart(2)
		}
		n := c.nodes[2]
		old := n.forks.Root().Parent
		if old == nil {
			t.Fatal("no block below the root")
		}
		slot := n.slot() - ledger.Slot(i)
		sets := c.setsOn(n.Node, slot, old.BlockRef, old.LastPoH)
		c.receive(2, sets)
		if n.forks.Block(ledger.BlockRef{Slot: slot, ID: sets[len(sets)-1].Root}) != nil {
			t.Errorf("restarted %v: a block on %v, below the root %v, is in the tree", restart, old.BlockRef, n.forks.Root().BlockRef)
		}
		if _, ok := n.dead[sets[0].Root]; !ok {
			t.Errorf("restarted %v: the block is not remembered as dead", restart)
		}
	}
}
