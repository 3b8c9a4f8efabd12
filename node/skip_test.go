package node

import (
	"testing"
	"time"

	"tutti/cluster"
)

// After 65 535 slots without a block no parent can be named any more: nobody
// makes a block, and nobody stops.
func TestStoodStill(t *testing.T) {
	c := newTestCluster(t, 4, func(o *cluster.Options) { o.Params.SlotsPerEpoch = 432_000 })
	slot := 64 * c.genesis.Params.TickDuration
	c.now = c.now.Add((skipMax + 1) * slot)
	c.run(4 * time.Second)
	for i, n := range c.nodes {
		if got := count[BlockHeld](n); got != 0 {
			t.Errorf("node %d holds %d blocks", i, got)
		}
	}
}
