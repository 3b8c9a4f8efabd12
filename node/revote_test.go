package node

import (
	"testing"
	"time"

	"tutti/ledger"
)

// The last vote may not have left, or not have arrived, before a restart: it
// is sent again as any other, also while the node listens before it votes anew:
// others that come back must hear it.
func TestVoteAgainAfterRestart(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(3 * time.Second)
	n := c.nodes[2]
	want := string(n.lastVote.Tx.Raw())
	n.down = true
	for i := range c.nodes {
		if i != 2 {
			c.nodes[i].down = true
		}
	}
	c.queue = nil
	c.restart(2)
	sent := 0
	c.nodes[2].filter = func(_ ledger.Pubkey, m Message) bool {
		if m, ok := m.(VoteMessage); ok && string(m.Tx.Raw()) == want {
			sent++
		}
		return true
	}
	c.run(2 * time.Second) // five slots
	if !c.nodes[2].behind {
		t.Error("it does not listen: nothing is tested")
	}
	if sent != 3 { // beside the one at its start, before the filter
		t.Errorf("the last vote is sent to %d peers again, want all 3", sent)
	}
}
