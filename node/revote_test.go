package node

import (
	"testing"
	"time"

	"tutti/ledger"
)

// The last vote may not have left, or not have arrived, before a restart: it
// is sent again as any other.
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
	c.run(5 * time.Second)
	if sent < 3 {
		t.Errorf("the last vote is sent to %d peers, want all 3", sent)
	}
}
