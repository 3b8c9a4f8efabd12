package node

import (
	"testing"

	"tutti/consensus"
	"tutti/leader"
	"tutti/ledger"
	"tutti/validator"
)

// A vote tells the slot that its voter has rooted, on the fork of the block it
// is for. So roots of votes for blocks that this node lacks say nothing of the
// blocks that it holds:
//
//	1 ─┬─ 2                own vote, and node 3's, which votes for both forks
//	   └─ 3 ─ 5 ─ … ─ 50   three of four nodes have rooted slot 5
//
// Block 2 is confirmed, before that is known or after; nobody may root it.
func TestNoRootByOtherFork(t *testing.T) {
	for _, late := range []bool{false, true} {
		c := newTestCluster(t, 4, nil)
		n := c.nodes[0]
		for _, o := range c.nodes[1:] {
			o.down = true
		}
		n.begunSlot = 1000 // it shall not lead
		c.runTo(3, 0)
		left := c.leaderBlock(0, 2, c.leaderBlock(0, 1, n.forks.Root()))
		confirm := func() {
			c.voteFor(1, 0, left.BlockRef)
			c.voteFor(3, 0, left.BlockRef)
		}
		if !late {
			confirm()
		}
		c.runTo(60, 0)
		for from := 1; from < 4; from++ {
			c.voteRoot(from, 0, ledger.BlockRef{Slot: 50, ID: ledger.Sum([]byte("of the other fork"))}, 5)
		}
		if late {
			confirm()
		}
		if !n.votedFor(left.BlockRef) || !left.Confirmed || !n.behind {
			t.Fatalf("late %t: voted %t, confirmed %t, behind %t: nothing is tested", late, n.votedFor(left.BlockRef), left.Confirmed, n.behind)
		}
		if n.rooted.Slot != 0 || n.tower.Root().Slot != 0 || count[Finalized](n) != 0 {
			t.Errorf("late %t: rooted %v, in the tower %v, %d slots finalised", late, n.rooted.BlockRef, n.tower.Root(), count[Finalized](n))
		}
	}
}

// What is finalised on another fork than the node's own root does not become
// the root, be that one in its tower alone, as after a restart, or not:
//
//	0 ─ 1 ─┬─ 2 ─── 4         its own
//	       └─── 3 ─── 6 ─ 7   with votes for 6 of three of four, which have rooted 3
func TestRootStaysOnItsFork(t *testing.T) {
	type blocks map[ledger.Slot]*validator.Block
	for _, x := range []struct {
		name  string
		tower func(blocks) ledger.BlockRef // its root; nil for a node that does not vote
		own   bool                         // 2 is rooted
		want  ledger.Slot                  // the root after it
	}{
		{"genesis", func(b blocks) ledger.BlockRef { return b[1].Parent.BlockRef }, false, 3},
		{"genesis, without votes", nil, false, 3},
		{"an older block", func(b blocks) ledger.BlockRef { return b[2].BlockRef }, false, 0},
		{"an older block, not in the tower alone", func(b blocks) ledger.BlockRef { return b[2].BlockRef }, true, 2},
		{"an older block, without votes", nil, true, 2},
		{"a newer block", func(b blocks) ledger.BlockRef { return b[4].BlockRef }, false, 0},
		{"that block", func(b blocks) ledger.BlockRef { return b[3].BlockRef }, false, 3},
		{"a later one of its fork", func(b blocks) ledger.BlockRef { return b[6].BlockRef }, false, 3},
		{"an unknown block of its slot", func(blocks) ledger.BlockRef { return ledger.BlockRef{Slot: 3} }, false, 0},
		{"an unknown block of a later slot", func(blocks) ledger.BlockRef { return ledger.BlockRef{Slot: 7} }, false, 0},
		{"an unknown block above the fork", func(blocks) ledger.BlockRef { return ledger.BlockRef{Slot: 8} }, false, 3},
	} {
		c := newTestCluster(t, 4, nil)
		n := c.nodes[0]
		for _, o := range c.nodes[1:] {
			o.down = true
		}
		n.begunSlot, n.isVoter = 1000, x.tower != nil
		c.runTo(8, 0)
		b := blocks{1: c.leaderBlock(0, 1, n.forks.Root())}
		for _, next := range [][2]ledger.Slot{{2, 1}, {4, 2}, {3, 1}, {6, 3}} {
			b[next[0]] = c.leaderBlock(0, next[0], b[next[1]])
		}
		if x.tower != nil {
			n.tower = consensus.NewTower(n.self, x.tower(b))
		}
		if x.own {
			n.root(b[2])
		}
		seven := c.makeBlock(0, 7, b[6], func(l *leader.Builder) {
			for from := 1; from < 4; from++ {
				l.RecordVotes([]ledger.Transaction{c.voteOf(from, 0, b[6].BlockRef, 3).Tx})
			}
		})
		for from := 1; from < 4; from++ {
			c.voteFor(from, 0, seven)
		}
		if n.newest.BlockRef != seven || n.newest.Ballots.Rooted() != 3 {
			t.Fatalf("%s: confirmed %v, of which slot %d is rooted", x.name, n.newest.BlockRef, n.newest.Ballots.Rooted())
		}
		if n.rooted.Slot != x.want {
			t.Errorf("%s: the root is %v, want that of slot %d", x.name, n.rooted.BlockRef, x.want)
		}
		if want := x.want != 2; count[Finalized](n) == 1 != want {
			t.Errorf("%s: %d blocks finalised", x.name, count[Finalized](n))
		}
	}
}
