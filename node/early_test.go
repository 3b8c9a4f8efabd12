package node

import (
	"testing"
	"time"

	"tutti/ledger"
)

// A vote that comes before its block reports a BankHash, too.
func TestReportBeforeBlock(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(2 * time.Second)
	at := 0 // a node that does not lead meanwhile
	for s := ledger.Slot(4); s < 12; s++ {
		if l, _ := c.nodes[0].schedule.Leader(s); l == c.nodes[at].self {
			at, s = at+1, 4
		}
	}
	n := c.nodes[at]
	votes := true // else all but votes
	for i := range c.nodes {
		if i != at {
			c.nodes[i].filter = func(to ledger.Pubkey, m Message) bool {
				_, isVote := m.(VoteMessage)
				return to != n.self || isVote == votes
			}
		}
	}
	n.filter = func(_ ledger.Pubkey, m Message) bool {
		_, asks := m.(RepairRequest)
		return !asks || !votes
	}
	c.run(1200 * time.Millisecond)
	var reported ledger.Slot // by two thirds
	for i := range c.nodes {
		if v := c.nodes[i].lastVote.Vote; i != at && (reported == 0 || v.BankSlot < reported) {
			reported = v.BankSlot
		}
	}
	if n.agreed.TwoThirds >= reported {
		t.Fatalf("slot %d of %d is agreed on already", n.agreed.TwoThirds, reported)
	}
	votes = false
	for i := range c.nodes {
		c.nodes[i].isVoter = false
	}
	c.run(3 * time.Second)
	if n.agreed.TwoThirds < reported {
		t.Errorf("two thirds agree up to slot %d, and have reported slot %d", n.agreed.TwoThirds, reported)
	}
}
