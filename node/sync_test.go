package node

import (
	"testing"
	"time"

	"tutti/cluster"
	"tutti/ledger"
)

// With execution=sync votes and blocks stand on executed blocks only, and the
// ledger goes on however slow execution is (PROTOCOL sections 1 and 7).
func TestSyncWithSlowExecution(t *testing.T) {
	for _, tc := range []struct {
		busy  time.Duration
		slots ledger.Slot // confirmed in 10 s at least, of 25
	}{{0, 22}, {100 * time.Millisecond, 20}, {300 * time.Millisecond, 8}, {700 * time.Millisecond, 8}} {
		c := newTestCluster(t, 4, func(o *cluster.Options) { o.Params.Execution = cluster.ExecutionSync })
		for _, n := range c.nodes {
			n.busy = tc.busy
		}
		c.run(10 * time.Second)
		for i, n := range c.nodes {
			if n.newest.Slot < tc.slots {
				t.Errorf("%v to execute: node %d has confirmed slot %d", tc.busy, i, n.newest.Slot)
			}
			for _, v := range reported[Voted](n) {
				if v.BankSlot != v.Block.Slot {
					t.Errorf("%v to execute: node %d votes for %v with bank slot %d", tc.busy, i, v.Block, v.BankSlot)
				}
			}
		}
	}
}
