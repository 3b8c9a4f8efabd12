package node

import (
	"testing"
	"time"

	"tutti/ledger"
)

// A proof that is found while most others cannot be reached, as in a part that
// is cut off, gets around once they can: it is not only sent when it is new.
func TestProofAfterACut(t *testing.T) {
	const finder, liar = 0, 3
	c := newTestCluster(t, 4, nil)
	s := c.rotation(func(s ledger.Slot) bool { return c.leader(s) == liar })
	c.runTo(s, 0)
	cut := true
	c.filter(func(from, to int, _ Message) bool { return !cut || from != finder && to != finder })
	a := c.signedShred(s.Key(), c.nodes[finder].shredVersion, liar, "one")
	b := c.signedShred(s.Key(), c.nodes[finder].shredVersion, liar, "other")
	c.push(0, finder, Received{From: c.nodes[liar].self, Msg: a})
	c.push(0, finder, Received{From: c.nodes[liar].self, Msg: b})
	c.run(2 * time.Second)
	for i, n := range c.nodes {
		if got, want := len(n.proofs), map[int]int{finder: 1}[i]; got != want {
			t.Fatalf("node %d has %d proofs during the cut", i, got)
		}
	}
	cut = false
	c.runTo(c.nodes[finder].slot()+4, 0)
	for i, n := range c.nodes {
		if len(n.proofs) != 1 || n.proofs[0].Key != s.Key() {
			t.Errorf("node %d has %d proofs after it", i, len(n.proofs))
		}
	}
}

// A proof outlives a restart: its UserBlocks are not named, it is repeated until
// its slot is rooted, and it is no news.
func TestProofAfterARestart(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	const finder, liar = 0, 1
	s := c.rotation(func(s ledger.Slot) bool { return c.leader(s) == liar })
	c.runTo(s, 1)
	for i, n := range c.nodes {
		n.down = i != finder
	}
	proof := c.signedProof(s)
	c.push(0, finder, Received{From: c.nodes[liar].self, Msg: proof})
	c.run(time.Millisecond)
	c.restart(finder)
	c.push(0, finder, Received{From: c.nodes[liar].self, Msg: proof})
	c.run(time.Millisecond)
	n := c.nodes[finder]
	if !n.equivocating[s.Key()] || len(n.Node.proofs) != 1 || len(n.proofs) != 1 || count[Equivocated](n) != 0 {
		t.Errorf("known %t, %d to repeat, %d stored, %d found anew",
			n.equivocating[s.Key()], len(n.Node.proofs), len(n.proofs), count[Equivocated](n))
	}
	c.filter(func(from, to int, m Message) bool { _, ok := m.(EvidenceMessage); return ok })
	for i, n := range c.nodes {
		n.down = false
		if i != finder && n.equivocating[s.Key()] {
			t.Fatalf("node %d has the proof already", i)
		}
	}
	c.run(2 * time.Second)
	for i, n := range c.nodes {
		if !n.equivocating[s.Key()] {
			t.Errorf("node %d does not hear of it", i)
		}
	}
	n.proofs[0].Key = s.Key() - userBlockSlack - 1
	n.Node.equivocating, n.Node.proofs = map[ledger.SlotKey]bool{}, nil
	n.forks.Root().Slot = s
	if err := n.restoreProofs(n.proofs); err != nil || len(n.Node.equivocating)+len(n.Node.proofs) != 0 {
		t.Errorf("below the floor: %v, %v", n.Node.equivocating, err)
	}
	n.proofs[0].Key = s.Key()
	if err := n.restoreProofs(n.proofs); err != nil || len(n.Node.equivocating) != 1 || len(n.Node.proofs) != 0 {
		t.Errorf("at the root: %v, %d to repeat, %v", n.Node.equivocating, len(n.Node.proofs), err)
	}
}

// Many proofs are sent a few at a time, all to one peer before the next, and
// none of a slot that is rooted.
func TestProofsAreRepeatedInTurn(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	n := c.nodes[0].Node
	for i := range proofsPerRound + 2 {
		n.proofs = append(n.proofs, c.signedProof(ledger.Slot(i+1)))
	}
	type sent struct {
		to    ledger.Pubkey
		slots []ledger.Slot
	}
	var rounds []sent
	for range 7 {
		n.out = nil
		n.repeatProofs()
		var r sent
		for _, e := range n.out {
			send := e.(Send)
			r.to = send.To[0]
			proof := send.Msg.(EvidenceMessage)
			r.slots = append(r.slots, proof.A.Shred.Key().Slot())
		}
		rounds = append(rounds, r)
	}
	peers := n.stakedPeers()
	for i, r := range rounds {
		want, first := proofsPerRound, ledger.Slot(1)
		if i%2 == 1 {
			want, first = 2, proofsPerRound+1
		}
		if r.to != peers[i/2%3] || len(r.slots) != want || r.slots[0] != first {
			t.Errorf("round %d: %v to %v", i, r.slots, r.to)
		}
	}
	n.forgetProofs(proofsPerRound + 1)
	if len(n.proofs) != 1 || n.proofs[0].A.Shred.Key().Slot() != proofsPerRound+2 {
		t.Errorf("%d proofs are left", len(n.proofs))
	}
	for range 3 {
		n.repeatProofs()
	}
}

// signedProof is a proof against node 1, whether or not it leads that slot.
func (c *testCluster) signedProof(s ledger.Slot) EvidenceMessage {
	v := c.nodes[0].shredVersion
	return EvidenceMessage{A: c.signedShred(s.Key(), v, 1, "one"), B: c.signedShred(s.Key(), v, 1, "other")}
}
