package node

import (
	"testing"
	"time"

	"tutti/cluster"
	"tutti/leader"
	"tutti/ledger"
	"tutti/shred"
	"tutti/validator"
)

// unequal gives the nodes these stakes, in SOL.
func unequal(stakes ...ledger.Lamports) func(*cluster.Options) {
	return func(o *cluster.Options) {
		for i, s := range stakes {
			o.Validators[i].Stake = s * ledger.LamportsPerSOL
		}
	}
}

// voteFor gives a node a vote of another one for a block, of a tower with no
// other vote and no root.
func (c *testCluster) voteFor(from, to int, block ledger.BlockRef) {
	c.t.Helper()
	c.voteRoot(from, to, block, 0)
}

// voteRoot does so with a vote of a tower that has rooted a slot.
func (c *testCluster) voteRoot(from, to int, block ledger.BlockRef, root ledger.Slot) {
	c.t.Helper()
	c.push(0, to, Received{From: c.nodes[from].self, Msg: c.voteOf(from, to, block, root)})
	c.run(time.Millisecond)
}

// voteOf is that vote. Its report is the root of the node that it is for.
func (c *testCluster) voteOf(from, to int, block ledger.BlockRef, root ledger.Slot) VoteMessage {
	c.t.Helper()
	executed := c.nodes[to].forks.Root()
	v := ledger.Vote{
		Account: pub(testKey("vote", from)), Authority: c.nodes[from].self, HasRoot: true, Root: root,
		BankSlot: executed.Slot, BankHash: executed.BankHash,
		Lockouts: []ledger.Lockout{{Slot: block.Slot, Confirmations: 1}}, Block: block,
	}
	m := v.Message(block.ID)
	tx, err := ledger.ParseTransaction(ledger.Sign(m.Append(nil), c.key(v.Authority)))
	if err != nil {
		c.t.Fatal(err)
	}
	return VoteMessage{Tx: tx, Vote: v}
}

// forked is a cluster of which node 0 alone runs. It has voted for the block
// of slot 1 and knows two children of it: one of slot 2, for which it has voted,
// too, and a heavier one of slot 3, with which 30 % of the stake votes.
func forked(t *testing.T) (c *testCluster, own, other *validator.Block) {
	t.Helper()
	c = newTestCluster(t, 4, unequal(20, 30, 9, 41))
	for _, n := range c.nodes[1:] {
		n.down = true
	}
	c.nodes[0].begunSlot = 1000 // it shall not lead
	c.runTo(3, 0)
	one := c.leaderBlock(0, 1, c.nodes[0].forks.Root())
	own = c.leaderBlock(0, 2, one)
	if !c.nodes[0].votedFor(own.BlockRef) {
		t.Fatal("no vote for the first block")
	}
	other = c.leaderBlock(0, 3, one)
	c.voteFor(1, 0, other.BlockRef)
	if best := c.nodes[0].choice.Best(); best != other.BlockRef {
		t.Fatalf("the heaviest block is %v", best)
	}
	return c, own, other
}

// TestBuildsOnOwnFork: a leader that may not switch forks builds on the fork of
// its own last vote as long as its votes lock it out of the heaviest (FORMATS
// section 8, docs/decisions.md). It votes there only if more than 38 % of the
// stake is on that fork.
func TestBuildsOnOwnFork(t *testing.T) {
	c, own, other := forked(t)
	n := c.nodes[0]
	if on := n.buildOn(); on != own {
		t.Errorf("locked out and not allowed to switch, it builds on %v", on.BlockRef)
	}
	child := c.leaderBlock(0, 4, own)
	if on := n.buildOn(); on != child || n.votedFor(child.BlockRef) {
		t.Errorf("it builds on %v, not on the newest block of its own fork", on.BlockRef)
	}
	c.runTo(5, 0)
	later := c.leaderBlock(0, 6, other)
	c.voteFor(1, 0, later.BlockRef)
	if on := n.buildOn(); on != later {
		t.Errorf("not allowed to switch, but no longer locked out, it builds on %v", on.BlockRef)
	}
	if n.votedFor(later.BlockRef) {
		t.Error("not allowed to switch it votes")
	}
	c.voteFor(2, 0, other.BlockRef) // 39 %
	if !n.votedFor(later.BlockRef) {
		t.Error("allowed to switch it does not vote")
	}
}

// TestBuildsWhileLockedOut is the same with a block of a slot up to which the
// last vote locks.
func TestBuildsWhileLockedOut(t *testing.T) {
	c, _, other := forked(t)
	n := c.nodes[0]
	c.voteFor(2, 0, other.BlockRef)
	if on := n.buildOn(); on != other {
		t.Errorf("it builds on %v", on.BlockRef)
	}
	if n.votedFor(other.BlockRef) {
		t.Error("it breaks its lockout")
	}
}

// TestNoGraceForBlockOfAnotherFork: a leader that holds a votable block of the
// slot before does not wait for one, though it builds on another fork
// (PROTOCOL section 1).
func TestNoGraceForBlockOfAnotherFork(t *testing.T) {
	for _, votable := range []bool{true, false} {
		c, own, other := forked(t)
		n := c.nodes[0]
		s := c.rotation(func(s ledger.Slot) bool { return c.leader(s) == 0 })
		c.runTo(s-1, 32)
		own = c.leaderBlock(0, s-2, own)
		n.tower.Record(own.BlockRef) // which locks it in slot s
		before := c.leaderBlock(0, s-1, other)
		n.key(before.Slot.Key()).seen = true
		if !votable {
			n.choice.SetCandidate(before.BlockRef, false)
		}
		n.begunSlot = 0
		for tick := uint64(0); n.begunSlot != s && tick < 64; tick++ {
			c.runTo(s, tick)
		}
		waited := c.now.Sub(n.due(uint64(s)*ledger.TicksPerSlot)) > 0
		if n.begunSlot != s || n.leadTip.parent != own || waited == votable {
			t.Errorf("votable %t: begins slot %d on %v, waited %t", votable, n.begunSlot, n.leadTip.parent.BlockRef, waited)
		}
	}
}

// twins are valid blocks of one leader for one slot.
func (c *testCluster) twins(slot ledger.Slot, parent *validator.Block, blocks int) (sets [][]*shred.Set, refs []ledger.BlockRef) {
	c.t.Helper()
	n := c.nodes[0]
	l, _ := n.schedule.Leader(slot)
	for i := range blocks {
		b := leader.NewBuilder(leader.Config{
			Slot: slot, Parent: parent.BlockRef, ParentPoH: parent.LastPoH,
			Signer: c.key(l), ShredVersion: n.shredVersion, Params: n.params,
		})
		if i > 0 { // of a block that is on no fork: mere information
			b.RecordReceipt(ledger.ExecutionReceipt{BankHash: ledger.Sum([]byte{byte(i)})})
		}
		var of []*shred.Set
		for !b.Done() {
			made, err := b.CloseTick(true)
			if err != nil {
				c.t.Fatal(err)
			}
			of = append(of, made...)
		}
		sets, refs = append(sets, of), append(refs, ledger.BlockRef{Slot: slot, ID: of[len(of)-1].Root})
	}
	return sets, refs
}

// TestEquivocatingLeader: blocks are kept, repaired and voted for by id, so
// both blocks of an equivocating leader are candidates, and the votes decide.
// A leader that shows one block to half of the others and its twin to the
// other half, in all its four slots, stops nobody for long, and nobody breaks
// a lockout or confirms both.
func TestEquivocatingLeader(t *testing.T) {
	c := newTestCluster(t, 5, nil)
	s := c.rotation(func(s ledger.Slot) bool {
		return s > 4 && c.leader(s-1) != c.leader(s) && c.leader(s+4) != c.leader(s)
	})
	liar := c.leader(s)
	var honest []int
	for i := range c.nodes {
		if i != liar {
			honest = append(honest, i)
		}
	}
	c.runTo(s, 0)
	c.nodes[liar].down = true
	split := 0
	for slot := s; slot < s+4; slot++ {
		c.runTo(slot, 60)
		// On the newest block of the half that is shown the first twin.
		n := c.nodes[honest[0]]
		sets, refs := c.twins(slot, n.forks.Block(n.choice.Best()), 2)
		for i, to := range honest {
			c.deliver(liar, to, sets[i/2])
		}
		c.run(30 * time.Millisecond)
		if c.nodes[honest[0]].votedFor(refs[0]) && c.nodes[honest[3]].votedFor(refs[1]) {
			split++
		}
	}
	if split == 0 {
		t.Error("the votes were never divided: nothing is tested")
	}
	c.runTo(s+16, 0)
	for _, i := range honest {
		n := c.nodes[i]
		if len(reported[Equivocated](n)) != 4 {
			t.Errorf("node %d shows %d equivocations, want 4", i, len(reported[Equivocated](n)))
		}
		if n.newest.Slot+3 < s+16 {
			t.Errorf("node %d: in slot %d slot %d is confirmed", i, s+16, n.newest.Slot)
		}
		seen := make(map[ledger.Slot]ledger.BlockRef)
		for _, j := range honest {
			for _, b := range reported[Confirmed](c.nodes[j]) {
				if other, ok := seen[b.Block.Slot]; ok && other != b.Block {
					t.Errorf("both %v and %v are confirmed", other, b.Block)
				}
				seen[b.Block.Slot] = b.Block
			}
		}
		votes := reported[Voted](n)
		for k := range votes {
			if k > 0 && votes[k].Block.Slot <= votes[k-1].Block.Slot {
				t.Errorf("node %d votes for %v after %v", i, votes[k].Block, votes[k-1].Block)
			}
		}
	}
}

// TestThreeTwins: a leader shows three blocks of one slot to a third of the
// others each and is not heard of again. No part is more than 38 % of the stake,
// and soon no lock holds a leader on the lighter two: nobody builds there, so that
// the votes for them never land. Yet all come together.
func TestThreeTwins(t *testing.T) {
	c := newTestCluster(t, 10, nil)
	s := c.rotation(func(s ledger.Slot) bool {
		return s > 4 && c.leader(s-1) != c.leader(s) && c.leader(s+4) != c.leader(s)
	})
	liar := c.leader(s)
	c.runTo(s, 0)
	c.nodes[liar].down = true
	c.runTo(s, 60)
	parent := c.nodes[(liar+1)%10]
	sets, refs := c.twins(s, parent.forks.Block(parent.choice.Best()), 3)
	for i := range 9 {
		c.deliver(liar, (liar+1+i)%10, sets[i/3])
	}
	c.run(100 * time.Millisecond)
	for i := range 9 {
		if !c.nodes[(liar+1+i)%10].votedFor(refs[i/3]) {
			t.Fatalf("node %d does not vote for its block", (liar+1+i)%10)
		}
	}
	c.runTo(s+12, 0)
	for i, n := range c.nodes {
		if i != liar && n.newest.Slot+3 < s+12 {
			t.Errorf("node %d: in slot %d slot %d is confirmed", i, s+12, n.newest.Slot)
		}
	}
}

// TestRepeatsWhileHeldBack: a node that keeps a vote to itself repeats its last
// one. If it were lost the others would wait for it as this one waits for theirs.
func TestRepeatsWhileHeldBack(t *testing.T) {
	c := newTestCluster(t, 4, unequal(20, 30, 9, 41))
	for _, n := range c.nodes[1:] {
		n.down = true
	}
	n := c.nodes[0]
	n.begunSlot = 1000 // it shall not lead
	c.runTo(5, 0)
	b := n.forks.Root()
	for slot := ledger.Slot(1); slot <= 4; slot++ {
		b = c.leaderBlock(0, slot, b)
	}
	if !n.votedFor(b.Parent.BlockRef) || n.votedFor(b.BlockRef) {
		t.Fatal("it is not held back at the fourth block")
	}
	var repeated int
	n.filter = func(_ ledger.Pubkey, m Message) bool {
		if v, ok := m.(VoteMessage); ok && v.Vote.Block == b.Parent.BlockRef {
			repeated++
		}
		return true
	}
	c.runTo(5+2*refreshSlots+1, 0)
	if repeated != 2*(len(c.nodes)-1) {
		t.Errorf("its last vote was sent %d times, want twice to three nodes", repeated)
	}
}
