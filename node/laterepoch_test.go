package node

import (
	"testing"
	"time"

	"tutti/cluster"
	"tutti/ledger"
)

// After a restart a node can find sets of an epoch whose stakes it does not
// know any more: they are decided by blocks that it has yet to execute again.
// The sets wait for that.
func TestLoadedOfUnknownEpoch(t *testing.T) {
	c := newTestCluster(t, 4, func(o *cluster.Options) {
		o.T0 += int64(time.Hour) // nobody makes or votes anything
		o.Params.SlotsPerEpoch, o.Params.LagZero = 32, 8
	})
	n := c.nodes[0]
	root := n.forks.Root()
	genesis := c.genesis.Stakes(0)
	coming := *genesis
	coming.Epoch = 2

	// Another node knows the stakes already.
	c.nodes[1].schedule.AddEpoch(&coming)
	slot := ledger.Slot(2*32 + 1)
	block := c.setsOn(c.nodes[1].Node, slot, root.BlockRef, root.LastPoH)
	c.nodes[0], c.nodes[1] = c.nodes[1], c.nodes[0]
	ref, user := c.userBlock(slot.FirstUserSlot(), root.LastPoH)
	c.nodes[0], c.nodes[1] = c.nodes[1], c.nodes[0]
	c.load(0, append(user, block...))

	n.stakes[root.BlockRef] = []*cluster.EpochStakes{&coming}
	n.out = nil
	n.decideStakes(root)
	for _, e := range n.out {
		if w, ok := e.(Work); ok {
			c.push(0, 0, w.Job.Run())
		}
	}
	c.run(10 * time.Millisecond)
	if n.forks.Block(ledger.BlockRef{Slot: slot, ID: block[len(block)-1].Root}) == nil {
		t.Error("the block is not in the tree once its epoch's stakes are known")
	}
	if h := n.held[ref]; h == nil || h.block == nil {
		t.Errorf("the UserBlock is not held: %+v", h)
	}
}
