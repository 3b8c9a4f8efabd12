package node

import (
	"slices"
	"testing"
	"time"

	"tutti/ledger"
)

// Nobody waits for the signatures of a UserBlock's transactions but execution
// (PROTOCOL section 4): a node that is slow to verify them votes in time.
func TestVotesDoNotWaitForSignatures(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	const slow, proposer = 0, 1
	c.run(2 * time.Second)
	c.nodes[slow].verifying = 3 * time.Second
	to := pub(testKey("payee", 0))
	c.push(0, proposer, Submitted{Tx: c.transfer(testKey("faucet", 0), to, 5*ledger.LamportsPerSOL, c.nodes[slow].newest.LastPoH)})
	c.run(2 * time.Second)
	named := slices.DeleteFunc(reported[BlockHeld](c.nodes[slow]), func(b BlockHeld) bool { return len(b.Entries) == 0 })
	if len(named) != 1 {
		t.Fatalf("%d blocks name UserBlocks", len(named))
	}
	if !slices.ContainsFunc(reported[Voted](c.nodes[slow]), func(v Voted) bool { return v.Block == named[0].Block }) {
		t.Error("the slow node has not voted for the block")
	}
	if got := c.nodes[slow].view.Balance(to); got != 0 {
		t.Errorf("payee has %d lamports before signatures were verified", got)
	}
	c.run(3 * time.Second)
	for i, n := range c.nodes {
		if got := n.view.Balance(to); got != 5*ledger.LamportsPerSOL {
			t.Errorf("node %d: payee has %d lamports", i, got)
		}
		if len(n.seenFees) != 0 {
			t.Errorf("node %d: fees of %d payers count as under way", i, len(n.seenFees))
		}
	}
}
