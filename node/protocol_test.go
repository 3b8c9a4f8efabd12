package node

import (
	"slices"
	"testing"
	"time"

	"tutti/cluster"
	"tutti/ledger"
	"tutti/shred"
)

// submit gives a node a transfer from the faucet to the i-th payee.
func (c *testCluster) submit(node, payee int) {
	tx := c.transfer(testKey("faucet", 0), pub(testKey("payee", payee)), ledger.LamportsPerSOL, c.nodes[node].newest.LastPoH)
	c.push(0, node, Submitted{Tx: tx})
}

// paid checks that every payee below n has its money on every node that is up.
func (c *testCluster) paid(n int) {
	c.t.Helper()
	for i, node := range c.nodes {
		for p := range n {
			if got := node.view.Balance(pub(testKey("payee", p))); !node.down && got != ledger.LamportsPerSOL {
				c.t.Errorf("node %d: payee %d has %d lamports", i, p, got)
			}
		}
	}
}

// naming returns the first block that node i holds which names a UserBlock.
func (c *testCluster) naming(i int) ledger.BlockRef {
	c.t.Helper()
	for _, b := range reported[BlockHeld](c.nodes[i]) {
		if len(b.Entries) > 0 {
			return b.Block
		}
	}
	c.t.Fatalf("node %d holds no block that names a UserBlock", i)
	return ledger.BlockRef{}
}

// votedFor tells whether a node has voted for a block or for a descendant.
func (n *testNode) votedFor(ref ledger.BlockRef) bool {
	return slices.ContainsFunc(reported[Voted](n), func(v Voted) bool {
		b := n.forks.Block(v.Block)
		return b != nil && b.Descends(ref)
	})
}

// TestVotesOnlyWithData: a validator may vote for a block iff it holds every
// UserBlock that the block names; if one is missing: no vote, repair, and the
// block is no candidate (PROTOCOL section 7).
func TestVotesOnlyWithData(t *testing.T) {
	const lacking = 3
	c := newTestCluster(t, 4, nil)
	s := c.rotation(func(s ledger.Slot) bool { return c.leader(s) != lacking })
	c.runTo(s, 0)
	repairs := false
	c.filter(func(from, to int, m Message) bool {
		switch m := m.(type) {
		case ShredMessage:
			return to != lacking || !m.Shred.Key().IsUser()
		case RepairRequest:
			return repairs || from != lacking
		}
		return true
	})
	c.submit(0, 0)
	c.runTo(s+3, 0)
	b, n := c.naming(0), c.nodes[lacking]
	for i := range lacking {
		if !c.nodes[i].votedFor(b) {
			t.Errorf("node %d does not vote for %v", i, b)
		}
	}
	if held := n.forks.Block(b); held == nil || held.Missing != 1 {
		t.Fatalf("%v is not held, or nothing is missing: %+v", b, held)
	}
	if n.votedFor(b) || n.choice.Candidate(b) {
		t.Errorf("a vote for %v, or it is a candidate, without its UserBlock", b)
	}
	if !n.tally.Confirmed(b) {
		t.Errorf("%v is not confirmed by the others' votes", b)
	}
	repairs = true
	c.run(time.Second)
	if !n.votedFor(b) {
		t.Errorf("no vote for %v after repair", b)
	}
	c.paid(1)
}

// feedOnlyLeader runs a cluster whose node 0 feeds the shreds of its UserBlock
// that fit to the leader alone, perhaps through an accomplice. It returns the
// block that names the UserBlock. Nobody can repair anything.
func feedOnlyLeader(t *testing.T, accomplice, leaderSends bool, fits func(*shred.Shred) bool) (c *testCluster, leader int, b ledger.BlockRef) {
	t.Helper()
	c = newTestCluster(t, 5, nil)
	s := c.rotation(func(s ledger.Slot) bool { return c.leader(s) != 0 && c.leader(s) != 4 })
	leader = c.leader(s)
	c.filter(func(from, to int, m Message) bool {
		switch m := m.(type) {
		case ShredMessage:
			switch {
			case !m.Shred.Key().IsUser():
				return true
			case from == 0 && accomplice:
				if to == leader && fits(&m.Shred) {
					c.push(testLatency, leader, Received{From: c.nodes[4].self, Msg: m})
				}
				return false
			case from == 0:
				return to == leader && fits(&m.Shred)
			}
			return (from != leader || leaderSends) && (from != 4 || !accomplice)
		case RepairRequest:
			return false
		}
		return true
	})
	c.runTo(s, 0)
	c.submit(0, 0)
	c.runTo(s+3, 0)
	return c, leader, c.naming(leader)
}

func anyShred(*shred.Shred) bool { return true }

// TestLeaderBroadcasts: before naming a UserBlock the leader has broadcast
// those of its shreds that no retransmitter gave it: a proposer that feeds
// only the leader cannot kill the slot (PROTOCOL section 5), be it through
// somebody who is not the retransmitter, or with half of the shreds: others
// need not get all of them either.
func TestLeaderBroadcasts(t *testing.T) {
	for _, x := range []struct {
		what       string
		accomplice bool
		fits       func(*shred.Shred) bool
	}{
		{"all", false, anyShred},
		{"all through an accomplice", true, anyShred},
		{"half", false, func(s *shred.Shred) bool { return !s.IsData() }},
	} {
		c, leader, b := feedOnlyLeader(t, x.accomplice, true, x.fits)
		for i, n := range c.nodes {
			if i == 4 && x.accomplice {
				continue
			}
			if !n.votedFor(b) {
				t.Errorf("%s: node %d does not vote for %v", x.what, i, b)
			}
			seen := 0
			for _, s := range reported[ShredSeen](n) {
				if s.Key.IsUser() {
					seen++
				}
			}
			if i != 0 && i != leader && !x.accomplice && seen != shred.SetSize {
				t.Errorf("%s: node %d sees %d shreds of the UserBlock", x.what, i, seen)
			}
		}
	}
}

// TestLeaderWithholds: a leader that names what nobody else holds loses its
// block, not the cluster: votes go on for others.
func TestLeaderWithholds(t *testing.T) {
	c, leader, b := feedOnlyLeader(t, false, false, anyShred)
	for i, n := range c.nodes {
		if got, want := n.votedFor(b), i == 0 || i == leader; got != want {
			t.Errorf("node %d votes for %v: %v, want %v", i, b, got, want)
		}
	}
	c.filter(func(_, _ int, m Message) bool { return true })
	c.run(3 * time.Second)
	for i, n := range c.nodes {
		if n.newest.Slot < b.Slot+4 {
			t.Errorf("node %d: newest confirmed block is %v", i, n.newest.BlockRef)
		}
	}
	c.paid(1)
}

// TestVoteReportsOlderBank: bank_slot may be below the voted slot, for voting
// never waits for execution; with execution=sync it does (PROTOCOL section 7).
func TestVoteReportsOlderBank(t *testing.T) {
	for _, execution := range []cluster.Execution{cluster.ExecutionAsync, cluster.ExecutionSync} {
		c := newTestCluster(t, 4, func(o *cluster.Options) { o.Params.Execution = execution })
		c.run(3 * time.Second)
		for i, n := range c.nodes {
			votes := reported[Voted](n)
			if len(votes) < 5 {
				t.Errorf("%v: node %d votes %d times in 3 s", execution, i, len(votes))
			}
			for _, v := range votes {
				behind := v.BankSlot < v.Block.Slot
				if behind != (execution == cluster.ExecutionAsync) || v.BankSlot+2 < v.Block.Slot {
					t.Errorf("%v: node %d votes for %v with bank slot %d", execution, i, v.Block, v.BankSlot)
				}
			}
		}
	}
}

// TestLastBlockGoesToNextLeader: who builds on the last block of a leader's turn
// gets all shreds of it from its maker, not only those whose tree it is the root of.
func TestLastBlockGoesToNextLeader(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	s := c.rotation(func(s ledger.Slot) bool { return s > 4 && c.leader(s) != c.leader(s+4) })
	next := c.nodes[c.leader(s+4)].self
	sent := make(map[ledger.Slot]map[int]bool) // by slot, positions in a set
	c.nodes[c.leader(s)].filter = func(to ledger.Pubkey, m Message) bool {
		if m, ok := m.(ShredMessage); ok && to == next && !m.Shred.Key().IsUser() {
			slot := m.Shred.Key().Slot()
			if sent[slot] == nil {
				sent[slot] = make(map[int]bool)
			}
			sent[slot][m.Shred.Position()] = true
		}
		return true
	}
	c.runTo(s+4, 32)
	if last, before := len(sent[s+3]), len(sent[s+2]); last != shred.SetSize || before == 0 || before >= shred.SetSize {
		t.Errorf("the next leader gets %d shreds of a set of the last block, %d of the one before", last, before)
	}
}

// TestSkippedLeader: the next leader begins on the heaviest block, and
// skipping a leader destroys no UserBlock (PROTOCOL section 5).
func TestSkippedLeader(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	s := c.rotation(func(s ledger.Slot) bool {
		return s > 4 && c.leader(s-1) != c.leader(s) && c.leader(s+4) != c.leader(s)
	})
	skipped := c.leader(s)
	c.runTo(s, 0)
	c.nodes[skipped].down = true
	payees := 0
	for u := range uint64(8) {
		c.runTo(s, u*ledger.TicksPerUserSlot)
		for i := range c.nodes {
			if i != skipped {
				c.submit(i, payees)
				payees++
			}
		}
	}
	c.runTo(s+7, 0)
	for i, n := range c.nodes {
		if i == skipped {
			continue
		}
		first := n.newest
		for first.Parent != nil && first.Parent.Slot >= s {
			first = first.Parent
		}
		if first.Slot != s+4 || first.Parent.Slot != s-1 {
			t.Fatalf("node %d: the block after slot %d is %v on %v", i, s-1, first.BlockRef, first.Parent.BlockRef)
		}
		made := 0
		for _, held := range reported[UserBlockHeld](n) {
			ref := held.Block.Ref
			if !held.Own || ref.U.Slot() < s || ref.U.Slot() >= s+4 {
				continue
			}
			made++
			if !first.Names(ref.U, ref.Lane) {
				t.Errorf("node %d: its UserBlock %v is not in %v", i, ref, first.BlockRef)
			}
		}
		if made < 7 {
			t.Errorf("node %d made %d UserBlocks in 4 slots", i, made)
		}
	}
	c.run(2 * time.Second)
	c.paid(payees)
}

// deliver gives all shreds of sets to a node as if another had sent them.
func (c *testCluster) deliver(from, to int, sets []*shred.Set) {
	for _, set := range sets {
		for i := range set.Shreds {
			c.push(testLatency, to, Received{From: c.nodes[from].self, Msg: testShred(c.t, set, i)})
		}
	}
}

// TestEquivocatingProposer: both signed roots make a proof, which is stored,
// sent to others and shown; a leader that knows a proof records neither, even
// if it has only ever seen one of the blocks (PROTOCOL section 4).
func TestEquivocatingProposer(t *testing.T) {
	for _, leaderSeesBoth := range []bool{true, false} {
		c := newTestCluster(t, 4, nil)
		liarOf := func(s ledger.Slot) int { return c.index(c.nodes[0].schedule.Proposers(s.FirstUserSlot())[0]) }
		s := c.rotation(func(s ledger.Slot) bool { return c.leader(s) != liarOf(s) })
		c.runTo(s, 0)
		leader, liar := c.leader(s), liarOf(s)
		anchor := c.nodes[leader].anchor().LastPoH
		var refs [2]ledger.UserBlockRef
		var sets [2][]*shred.Set
		for i := range refs {
			tx := c.transfer(testKey("faucet", 0), pub(testKey("payee", i)), ledger.LamportsPerSOL, anchor)
			refs[i], sets[i] = c.userBlock(s.FirstUserSlot(), anchor, tx)
		}
		key := sets[0][0].Key
		sent := make(map[int]int)
		c.filter(func(from, _ int, m Message) bool {
			switch m := m.(type) {
			case EvidenceMessage:
				sent[from]++
			case ShredMessage:
				return leaderSeesBoth || m.Root != sets[1][0].Root
			}
			return true
		})
		witness := 0
		for to := range c.nodes {
			if to == liar {
				continue
			}
			if to != leader {
				witness = to
			}
			c.deliver(liar, to, sets[0])
		}
		c.deliver(liar, witness, sets[1])
		c.run(2 * time.Second)
		if c.nodes[leader].held[refs[0]] == nil {
			t.Error("the leader does not hold the first block: nothing is tested")
		}
		for i, n := range c.nodes {
			if i == liar {
				continue
			}
			if got := reported[Equivocated](n); len(got) != 1 || got[0] != (Equivocated{Key: key, Signer: c.nodes[liar].self}) {
				t.Errorf("node %d shows %+v", i, got)
			}
			if sent[i] == 0 {
				t.Errorf("node %d sends no proof", i)
			}
			if len(n.proofs) != 1 || n.proofs[0].Key != key || !proves(t, n.proofs[0], sets[0][0].Root, sets[1][0].Root) {
				t.Errorf("node %d stores %d proofs: %+v", i, len(n.proofs), n.proofs)
			}
			for _, b := range reported[BlockHeld](n) {
				if slices.Contains(b.Entries, refs[0]) || slices.Contains(b.Entries, refs[1]) {
					t.Errorf("node %d: %v names %v", i, b.Block, b.Entries)
				}
			}
		}
	}
}

// proves tells whether the shreds of a proof lead to these roots.
func proves(t *testing.T, e EvidenceRecord, x, y ledger.Hash) bool {
	t.Helper()
	a, err := (&Decoder{}).decodeShred(e.A)
	if err != nil {
		t.Fatal(err)
	}
	b, err := (&Decoder{}).decodeShred(e.B)
	if err != nil {
		t.Fatal(err)
	}
	return a.Root == x && b.Root == y || a.Root == y && b.Root == x
}

// TestGrace: a leader that does not hold a votable block of the slot before,
// but a correctly signed shred of it, waits for that block at most grace
// ticks; then it begins on the heaviest votable block that it holds
// (PROTOCOL section 1).
func TestGrace(t *testing.T) {
	const never = 1 << 20
	for _, x := range []struct {
		what   string
		first  int    // shreds of the block before that arrive in time
		late   uint64 // tick in which the others arrive
		from   uint64 // tick in which the leader begins, at the earliest
		to     uint64 // and at the latest
		onLast bool   // on the block before
	}{
		{"in time", never, never, 0, 3, true}, // its last shreds are sent when tick 0 is due
		{"late", 1, 10, 10, 11, true},
		{"too late", 1, 40, 32, 32, false},
		{"never", 1, never, 32, 32, false},
		{"nothing of it", 0, never, 0, 0, false},
	} {
		c := newTestCluster(t, 4, nil)
		s := c.rotation(func(s ledger.Slot) bool { return s > 4 && c.leader(s-1) != c.leader(s) })
		leader := c.leader(s)
		n := c.nodes[leader]
		arrived := 0
		c.filter(func(from, to int, m Message) bool {
			switch m := m.(type) {
			case ShredMessage:
				if m.Shred.Key() != (s-1).Key() || to != leader {
					break
				}
				if arrived++; arrived <= x.first {
					break
				}
				if x.late != never {
					at := n.due(uint64(s)*ledger.TicksPerSlot + x.late)
					c.push(at.Sub(c.now), to, Received{From: c.nodes[from].self, Msg: m})
				}
				return false
			case RepairRequest:
				return from != leader
			}
			return true
		})
		tick := uint64(0)
		for c.runTo(s, tick); !slices.Contains(n.disk.begun, s.Key()) && tick < 64; {
			tick++
			c.runTo(s, tick)
		}
		parent := n.leadTip.parent.Slot
		if tick < x.from || tick > x.to || (parent == s-1) != x.onLast {
			t.Errorf("block before %s: slot %d begins in tick %d on slot %d", x.what, s, tick, parent)
		}
	}
}
