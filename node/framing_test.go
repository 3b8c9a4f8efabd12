package node

import (
	"testing"
	"time"

	"tutti/cluster"
	"tutti/ledger"
	"tutti/shred"
)

// framing is two nodes' work: by the leader of slot 1 two sets that it signed,
// and by the leader of slot 5, another node, one that it signed.
func framing(t *testing.T) (c *testCluster, mine [2]*shred.Set, other *shred.Set) {
	t.Helper()
	c = newTestCluster(t, 4, nil)
	c.now = c.now.Add(5 * 400 * time.Millisecond)
	n := c.nodes[0]
	root := n.forks.Root()
	first := c.setsOn(n.Node, 1, root.BlockRef, root.LastPoH)
	victim := ledger.Slot(5)
	for {
		a, _ := n.schedule.Leader(1)
		if b, _ := n.schedule.Leader(victim); a != b {
			break
		}
		victim++
	}
	c.now = c.now.Add(time.Duration(victim) * 400 * time.Millisecond)
	mine = [2]*shred.Set{first[0], first[1]}
	return c, mine, c.setsOn(n.Node, victim, root.BlockRef, root.LastPoH)[0]
}

// A tree that one node signed can have leaves with the key of another. They
// prove nothing against that one, and do not tell that it has begun its slot.
func TestRootOfAnotherSigner(t *testing.T) {
	c, mine, other := framing(t)
	n := c.nodes[0]
	c.receive(0, mine[:])
	if !n.collector.Known(mine[0].Key, mine[0].Root) {
		t.Fatal("the set is not known")
	}
	// What DecodeMessage makes of leaves with the other's key in those trees.
	leaf := func(i int, of *shred.Set) ShredMessage {
		s := other.Shred(i)
		return ShredMessage{Shred: s.WithSignature(of.Signature), Root: of.Root}
	}
	n.Step(c.now, Received{From: c.nodes[1].self, Msg: leaf(0, mine[0])})
	if n.seenShred(other.Key.Slot()) {
		t.Errorf("a shred that the leader of slot %d has not signed counts as its", other.Key.Slot())
	}
	n.Step(c.now, Received{From: c.nodes[1].self, Msg: EvidenceMessage{A: leaf(0, mine[0]), B: leaf(1, mine[1])}})
	if n.equivocating[other.Key] {
		t.Error("two roots that another node signed count as proof")
	}
}

// A proof from another cluster, where the same key may sign for the same slot,
// is none here.
func TestEvidenceOfAnotherCluster(t *testing.T) {
	c, _, _ := framing(t)
	n := c.nodes[0]
	root := n.forks.Root()
	at := func(version uint16, parent ledger.BlockRef) ShredMessage {
		copied := *n.Node
		copied.shredVersion = version
		set := c.setsOn(&copied, 2, parent, root.LastPoH)[0]
		return ShredMessage{Shred: set.Shred(0), Root: set.Root}
	}
	version, fork := n.shredVersion, ledger.BlockRef{Slot: 1}
	n.Step(c.now, Received{From: c.nodes[1].self, Msg: EvidenceMessage{A: at(version, root.BlockRef), B: at(version+1, fork)}})
	if len(n.equivocating) != 0 {
		t.Error("a shred of another version is proof")
	}
	n.Step(c.now, Received{From: c.nodes[1].self, Msg: EvidenceMessage{A: at(version, root.BlockRef), B: at(version, fork)}})
	if len(n.equivocating) != 1 {
		t.Error("the proof does not count")
	}
}

// Proofs of keys of which no shred came are forgotten, too.
func TestEvidenceIsForgotten(t *testing.T) {
	c := newTestCluster(t, 4, func(o *cluster.Options) { o.Params.TickDuration /= 2 })
	c.run(time.Second)
	n := c.nodes[0]
	old := (n.slot() - 1).Key()
	n.equivocating[old] = true
	delete(n.keys, old)
	c.run(13 * time.Second)
	if n.floor() <= old.Slot() {
		t.Fatalf("the floor is at %d", n.floor())
	}
	if n.equivocating[old] {
		t.Error("still known")
	}
}
