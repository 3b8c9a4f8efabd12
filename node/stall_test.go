package node

import (
	"testing"
	"time"

	"tutti/validator"
)

// stalled runs a cluster of which half of the stake has gone away for so
// long. Clients go on. The reports of node 0 are those since UserBlocks could
// be named no more.
func stalled(t *testing.T, seconds int) *testCluster {
	t.Helper()
	c := newTestCluster(t, 4, nil)
	c.run(3 * time.Second)
	c.nodes[2].down, c.nodes[3].down = true, true
	n := c.nodes[0]
	height := func() uint64 { return n.forks.Block(n.choice.Best()).Height }
	for i := range seconds {
		c.submit(i%2, i)
		c.run(time.Second)
		if height() < n.newest.Height+validator.AnchorDepth+3 {
			n.reports = nil
		}
	}
	if height() < n.newest.Height+validator.AnchorDepth+8 {
		t.Fatalf("block %d is confirmed, of %d", n.newest.Height, height())
	}
	return c
}

// While half of the stake is away nothing is confirmed or rooted. What the
// others keep in memory is bounded, however long that lasts: leader blocks are
// let go of once they are stored, and nobody makes UserBlocks that no leader
// can name any more.
func TestLongStall(t *testing.T) {
	n := stalled(t, 50).nodes[0]
	if made := count[UserBlockHeld](n); made != 0 {
		t.Errorf("%d UserBlocks are made that nobody can name", made)
	}
	if keys, sets := n.collector.Usage(); sets > 100 {
		t.Errorf("%d sets under %d keys are kept", sets, keys)
	}
}
