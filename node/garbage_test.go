package node

import (
	"math"
	"slices"
	"testing"
	"time"

	"tutti/cluster"
	"tutti/ledger"
	"tutti/repair"
	"tutti/shred"
)

// garbage is a message that a node must drop.
type garbage struct {
	what string
	m    Message
	want Dropped // From is filled in
}

// signedShred is a shred by a node under any key, correctly made.
func (c *testCluster) signedShred(k ledger.SlotKey, version uint16, signer int, batch string) ShredMessage {
	c.t.Helper()
	cfg := shred.Config{Key: k, Version: version, Signer: testKey("identity", signer), Chained: ledger.Sum([]byte("chained"))}
	if !k.IsUser() {
		cfg.ParentOffset = 1
	}
	sets, err := shred.NewShredder(cfg).Shred([]byte(batch), 63, true)
	if err != nil {
		c.t.Fatal(err)
	}
	return testShred(c.t, sets[len(sets)-1], 0)
}

// vote is a vote of an account, signed by a node's identity.
func (c *testCluster) vote(account, signer int, block ledger.BlockRef) VoteMessage {
	v := ledger.Vote{
		Account: pub(testKey("vote", account)), Authority: pub(testKey("identity", signer)), Block: block,
		Lockouts: []ledger.Lockout{{Slot: block.Slot, Confirmations: 1}},
	}
	m := v.Message(block.ID)
	tx, err := ledger.ParseTransaction(ledger.Sign(m.Append(nil), testKey("identity", signer)))
	if err != nil {
		c.t.Fatal(err)
	}
	return VoteMessage{Tx: tx, Vote: v}
}

func (c *testCluster) contact(signer int, change func(*cluster.Contact)) GossipMessage {
	r := cluster.Contact{
		Version: uint64(c.now.UnixMilli()), Genesis: c.genesis.Hash(), ShredVersion: c.genesis.ShredVersion(), Addr: "127.0.0.1:9000",
	}
	change(&r)
	r.Sign(testKey("identity", signer))
	return GossipMessage{cluster.Gossip{Kind: cluster.Push, Records: []cluster.Contact{r}}}
}

// TestGarbage: what a peer sends may always be dropped, and what it must not
// send is dropped with its reason and changes nothing.
func TestGarbage(t *testing.T) {
	const self, peer = 0, 2
	c := newTestCluster(t, 4, nil)
	s := c.rotation(func(s ledger.Slot) bool { return s > 4 && c.leader(s) == peer })
	c.runTo(s, 0)
	n := c.nodes[self]
	var voted ledger.BlockRef // by the peer, as this node has seen
	for _, seen := range reported[VoteSeen](n) {
		if seen.Voter == pub(testKey("vote", peer)) {
			voted = seen.Block
		}
	}
	replayed := n.ballots[pub(testKey("vote", peer))].votes[0]
	if replayed.Vote.Block != voted {
		t.Fatalf("the peer's last vote is for %v, but %v is kept", voted, replayed.Vote.Block)
	}
	version := c.genesis.ShredVersion()
	u := (s + 1).FirstUserSlot()
	lane, _ := n.schedule.Lane(u, c.nodes[peer].self)
	user := c.signedShred(ledger.UserKey(u, lane), version, peer, "a UserBlock")
	twin := c.signedShred(ledger.UserKey(u, lane), version, peer, "its twin")
	far := c.signedShred((s + slotsAhead + 1).Key(), version, peer, "a block")
	asked := n.planner.Ask(c.now, repair.Subject{Kind: repair.Shreds, Key: user.Shred.Key(), Root: twin.Root}, 1, c.nodes[peer].self)
	askedOther := n.planner.Ask(c.now, repair.Subject{Kind: repair.Shreds, Key: user.Shred.Key(), Root: user.Root}, 1, c.nodes[1].self)

	for _, x := range []garbage{
		{"shred of another version", c.signedShred(s.Key(), version+1, peer, "a block"), Dropped{What: "shred", Reason: "version"}},
		{"block by another signer", c.signedShred(s.Key(), version, 3, "a block"), Dropped{What: "shred", Reason: "signature"}},
		{"UserBlock by another signer", c.signedShred(ledger.UserKey(u, lane), version, 3, "a block"), Dropped{What: "shred", Reason: "signature"}},
		{"lane that is too high", c.signedShred(ledger.UserKey(u, 4), version, peer, "a UserBlock"), Dropped{What: "shred", Reason: "lane"}},
		{"highest lane", c.signedShred(ledger.UserKey(u, 1<<15-1), version, peer, "a UserBlock"), Dropped{What: "shred", Reason: "lane"}},
		{"block of a far slot", far, Dropped{What: "shred", Reason: "slot"}},
		{"block of the farthest slot", c.signedShred(ledger.Slot(1<<63-1).Key(), version, peer, "a block"), Dropped{What: "shred", Reason: "slot"}},
		{"UserBlock of a far slot", c.signedShred(ledger.UserKey((s+slotsAhead+1).FirstUserSlot(), 0), version, peer, "x"), Dropped{What: "shred", Reason: "slot"}},
		{"UserBlock of the farthest slot", c.signedShred(ledger.UserKey(1<<48-1, 0), version, peer, "x"), Dropped{What: "shred", Reason: "slot"}},

		{"replayed vote", replayed, Dropped{What: "vote", Reason: "duplicate"}},
		{"vote with a foreign authority", c.vote(peer, 3, ledger.BlockRef{Slot: s, ID: user.Root}), Dropped{What: "vote", Reason: "authority"}},
		{"vote of an account without stake", c.vote(9, peer, ledger.BlockRef{Slot: s, ID: user.Root}), Dropped{What: "vote", Reason: "stake"}},
		{"vote for a far slot", c.vote(peer, peer, ledger.BlockRef{Slot: s + slotsAhead + 1}), Dropped{What: "vote", Reason: "slot"}},
		{"vote for the farthest slot", c.vote(peer, peer, ledger.BlockRef{Slot: math.MaxUint64}), Dropped{What: "vote", Reason: "slot"}},
		{"vote for the root", c.vote(peer, peer, n.forks.Root().BlockRef), Dropped{What: "vote", Reason: "slot"}},

		{"answer that was not asked for", RepairResponse{Nonce: 1 << 30, Shreds: []ShredMessage{user}}, Dropped{What: "response", Reason: "not asked for"}},
		{"answer that another was asked for", RepairResponse{Nonce: askedOther.Nonce, Shreds: []ShredMessage{user}}, Dropped{What: "response", Reason: "not asked for"}},
		{"answer of other shreds", RepairResponse{Nonce: asked.Nonce, Shreds: []ShredMessage{user}}, Dropped{What: "response", Reason: "other shreds"}},
		{"answer, once more", RepairResponse{Nonce: asked.Nonce, Shreds: []ShredMessage{twin}}, Dropped{What: "response", Reason: "not asked for"}},

		{"proof of one root", EvidenceMessage{A: user, B: user}, Dropped{What: "evidence", Reason: "proof"}},
		{"proof of two keys", EvidenceMessage{A: user, B: c.signedShred(ledger.UserKey(u+1, lane), version, peer, "x")}, Dropped{What: "evidence", Reason: "proof"}},
		{"proof that the proposer has not signed", EvidenceMessage{A: user, B: c.signedShred(ledger.UserKey(u, lane), version, 3, "x")}, Dropped{What: "evidence", Reason: "proof"}},
		{"proof of a lane that is too high", EvidenceMessage{A: c.signedShred(ledger.UserKey(u, 4), version, peer, "x"), B: c.signedShred(ledger.UserKey(u, 4), version, peer, "y")}, Dropped{What: "evidence", Reason: "proof"}},
		{"proof of a far slot", EvidenceMessage{A: far, B: c.signedShred(far.Shred.Key(), version, peer, "y")}, Dropped{What: "evidence", Reason: "proof"}},

		{"contact of another cluster", c.contact(3, func(r *cluster.Contact) { r.Genesis[0]++ }), Dropped{What: "contact", Reason: cluster.ErrOtherCluster.Error()}},
		{"contact of another version", c.contact(3, func(r *cluster.Contact) { r.ShredVersion++ }), Dropped{What: "contact", Reason: cluster.ErrOtherVersion.Error()}},
		{"contact of tomorrow", c.contact(3, func(r *cluster.Contact) { r.Version += uint64((24 * time.Hour).Milliseconds()) }), Dropped{What: "contact", Reason: cluster.ErrFromFuture.Error()}},
	} {
		x.want.From = c.nodes[peer].self
		n.Step(c.now, Tick{}) // so that nothing else is due
		known, held := n.collector.Usage()
		keys, resigned := len(n.keys), len(n.resigned)
		effects := n.Step(c.now, Received{From: x.want.From, Msg: x.m})
		if len(effects) != 1 || effects[0] != (Report{Of: x.want}) {
			t.Errorf("%s: %+v, want only %+v", x.what, effects, x.want)
		}
		if k, h := n.collector.Usage(); k != known || h != held || len(n.keys) != keys || len(n.resigned) != resigned {
			t.Errorf("%s: it is remembered", x.what)
		}
	}
	if n.equivocating[user.Shred.Key()] {
		t.Error("a proposer is taken for an equivocator")
	}
}

// TestRetransmitterSigns: the last set of a leader block carries the signature
// of the node that passed it on, and that of nobody else (FORMATS section 2).
func TestRetransmitterSigns(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	s := c.rotation(func(s ledger.Slot) bool { return c.leader(s) != 0 })
	c.runTo(s, 0)
	n, leader := c.nodes[0], c.leader(s)
	sets, err := shred.NewShredder(shred.Config{
		Key: s.Key(), ParentOffset: 1, Version: n.shredVersion,
		Signer: testKey("identity", leader), Chained: n.newest.ID,
	}).Shred([]byte("a block"), 63, true)
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	set := sets[len(sets)-1]
	for i := range set.Shreds {
		m := testShred(t, set, i)
		place := n.trees.of(n.Node, s.Key()).Place(s.Key(), m.Shred.IsData(), m.Shred.Index(), c.nodes[leader].self, n.self)
		if place.Depth == 0 {
			continue
		}
		passed++
		parent := c.index(place.Parent)
		for _, x := range []struct {
			signer int
			want   bool
		}{{-1, false}, {leader, false}, {0, false}, {parent, true}} {
			raw := slices.Clone(m.Shred.Raw())
			if x.signer >= 0 {
				if err := shred.Resign(raw, testKey("identity", x.signer)); err != nil {
					t.Fatal(err)
				}
			}
			signed, err := (&Decoder{}).decodeShred(raw)
			if err != nil {
				t.Fatal(err)
			}
			seen := false
			for _, e := range n.Step(c.now, Received{From: place.Parent, Msg: signed}) {
				if r, ok := e.(Report); ok {
					_, accepted := r.Of.(ShredSeen)
					seen = seen || accepted
				}
			}
			if seen != x.want {
				t.Fatalf("shred %d from node %d, signed by node %d: accepted %v", i, parent, x.signer, seen)
			}
		}
	}
	if passed == 0 {
		t.Fatal("no shred is passed on to the node")
	}
}

// TestRequestsAreLimited: of one peer answersMax requests are answered in a
// round.
func TestRequestsAreLimited(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(time.Second)
	n := c.nodes[0]
	n.Step(c.now, Tick{})
	clear(n.answered)
	ask := func(peer int) (answered bool) {
		request := RepairRequest{repair.Request{Kind: repair.Highest, Key: 1}}
		for _, e := range n.Step(c.now, Received{From: c.nodes[peer].self, Msg: request}) {
			_, answer := e.(Answer)
			answered = answered || answer
		}
		return answered
	}
	for i := range answersMax + 3 {
		if got := ask(1); got != (i < answersMax) {
			t.Fatalf("request %d: answered %v", i, got)
		}
	}
	if !ask(2) {
		t.Error("another peer is not answered")
	}
	c.run(repairInterval)
	if !ask(1) {
		t.Error("no answer in the next round")
	}
}

// TestProofsAreComplete: a proof whose roots are known to be signed, but which
// does not carry the signatures, would convince nobody else.
func TestProofsAreComplete(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	s := c.rotation(func(s ledger.Slot) bool { return c.leader(s) == 0 })
	c.runTo(s, 0)
	n, u := c.nodes[0], s.FirstUserSlot()
	lane, _ := n.schedule.Lane(u, c.nodes[1].self)
	a := c.signedShred(ledger.UserKey(u, lane), n.shredVersion, 1, "a UserBlock")
	b := c.signedShred(ledger.UserKey(u, lane), n.shredVersion, 1, "its twin")
	n.Step(c.now, Received{From: c.nodes[1].self, Msg: a})
	stripped := ShredMessage{Shred: a.Shred.WithSignature(ledger.Signature{}), Root: a.Root}
	for _, proof := range []EvidenceMessage{{A: stripped, B: b}, {A: b, B: stripped}} {
		if n.Step(c.now, Received{From: c.nodes[2].self, Msg: proof}); n.equivocating[a.Shred.Key()] {
			t.Fatal("a proof without a signature counts")
		}
	}
	if n.Step(c.now, Received{From: c.nodes[2].self, Msg: EvidenceMessage{A: a, B: b}}); !n.equivocating[a.Shred.Key()] {
		t.Error("the proof does not count")
	}
}
