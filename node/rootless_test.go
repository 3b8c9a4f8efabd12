package node

import (
	"math/rand/v2"
	"testing"
	"time"

	"tutti/cluster"
)

// A node without a vote account has no tower: its root follows what the
// others finalise, or it would keep everything for ever.
func TestRootWithoutVotes(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	n := c.nodes[3]
	view, _ := n.bank.View(n.bank.Root())
	node, err := New(Config{
		Genesis: c.genesis, Identity: testKey("identity", 3), Contact: cluster.Contact{Addr: "127.0.0.1:8000"},
		Rand: rand.New(rand.NewPCG(1, 3)), Bank: view, Now: c.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Node = node
	c.run(25 * time.Second)
	if count[Voted](n) != 0 {
		t.Error("it votes")
	}
	voter := c.nodes[0].forks.Root().Slot
	if got := n.forks.Root().Slot; voter == 0 || got+8 < voter {
		t.Errorf("its root is at slot %d, that of a voter at %d", got, voter)
	}
	if got, want := n.forks.Len(), c.nodes[0].forks.Len(); got > want+8 {
		t.Errorf("it keeps %d blocks, a voter %d", got, want)
	}
}
