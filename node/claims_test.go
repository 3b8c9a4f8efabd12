package node

import (
	"errors"
	"testing"
	"time"

	"tutti/ledger"
	"tutti/poh"
)

// A leader block whose proof of history starts from another hash than its
// parent's last one is invalid, however its hashes are divided among workers
// (PROTOCOL section 5: "PoH and rules verify").
func TestWrongProofOfHistory(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.nodes[0].down = true
	c.run(2500 * time.Millisecond)
	c.nodes[0].down = false
	n := c.nodes[0]
	root := n.forks.Root()
	n.Step(c.now, Tick{})
	right := c.setsOn(n.Node, n.slot()-1, root.BlockRef, root.LastPoH)
	wrong := c.setsOn(n.Node, n.slot(), root.BlockRef, ledger.Hash{1})
	c.receive(0, right)
	c.receive(0, wrong)
	if n.forks.Block(ledger.BlockRef{Slot: n.slot() - 1, ID: right[len(right)-1].Root}) == nil {
		t.Error("a block with a right proof of history is not in the tree")
	}
	if n.forks.Block(ledger.BlockRef{Slot: n.slot(), ID: wrong[len(wrong)-1].Root}) != nil {
		t.Error("a block with a wrong proof of history is in the tree")
	}
	for _, r := range reported[BlockRejected](n) {
		if errors.Is(r.Err, poh.ErrInvalidEntryHash) {
			return
		}
	}
	t.Error("nothing says what is wrong with the block")
}
