package node

import (
	"testing"
	"time"

	"tutti/cluster"
	"tutti/ledger"
)

// A tick that is full of records delays votes; it does not lose them.
func TestVotesWaitForRoom(t *testing.T) {
	c := newTestCluster(t, 1, func(o *cluster.Options) { o.Params.HashesPerTick = 2 })
	n := c.nodes[0]
	c.run(2*time.Second + 100*time.Millisecond)
	if n.leading == nil || n.leadTip.parent.Slot == 0 {
		t.Fatal("the only node does not lead")
	}
	clear(n.leadTip.voted)
	for n.leading.Room() {
		n.leading.RecordVotes([]ledger.Transaction{n.lastVote.Tx})
	}
	n.recordVotes()
	if len(n.leadTip.voted) != 0 {
		t.Error("a vote is taken as recorded in a tick that had no room for it")
	}
	if _, err := n.leading.CloseTick(true); err != nil {
		t.Fatal(err)
	}
	n.recordVotes()
	if len(n.leadTip.voted) != 1 {
		t.Error("the vote is not recorded in the next tick")
	}
}
