package node

import (
	"testing"
	"time"

	"tutti/cluster"
	"tutti/leader"
	"tutti/ledger"
	"tutti/repair"
	"tutti/shred"
	"tutti/turbine"
	"tutti/validator"
)

// ghosts returns a valid leader block that names a UserBlock which nobody has
// in every lane of every UserBlockSlot that it may name.
func (c *testCluster) ghosts(slot ledger.Slot, parent *validator.Block) []*shred.Set {
	c.t.Helper()
	n := c.nodes[0]
	l, _ := n.schedule.Leader(slot)
	b := leader.NewBuilder(leader.Config{
		Slot: slot, Parent: parent.BlockRef, ParentPoH: parent.LastPoH,
		Signer: c.key(l), ShredVersion: n.shredVersion, Params: n.params,
	})
	named := make(map[ledger.UserSlot]bool)
	var all []*shred.Set
	for !b.Done() {
		var refs []ledger.UserBlockRef
		for w, back := b.Section(), ledger.UserSlot(1); back <= validator.WindowMax; back++ {
			if validator.Window(n.params, parent, w-back, w) != nil || named[w-back] {
				continue
			}
			named[w-back] = true
			for lane := range ledger.Lane(n.params.Proposers) {
				if !parent.Names(w-back, lane) {
					refs = append(refs, ledger.UserBlockRef{U: w - back, Lane: lane, ID: ledger.Sum([]byte{byte(w - back), byte(lane), byte(slot)})})
				}
			}
		}
		if len(refs) > 0 {
			b.RecordUserBlocks(refs)
		}
		sets, err := b.CloseTick(true)
		if err != nil {
			c.t.Fatal(err)
		}
		all = append(all, sets...)
	}
	return all
}

// A leader that names what nobody has costs its slot and nothing else: those
// who look for it go on repairing what there is, and forget it when the slot is
// behind the root (PROTOCOL section 7).
func TestGhosts(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(2 * time.Second)
	s := c.rotation(func(s ledger.Slot) bool { return c.leader(s) == 3 && s > 12 })
	c.runTo(s-4, 0)
	c.nodes[3].down = true
	parent := c.nodes[0].newest
	for parent.Slot > s-9 {
		parent = parent.Parent
	}
	c.runTo(s+2, 10)
	for x := s; x < s+3; x++ { // three blocks side by side
		sets := c.ghosts(x, parent)
		for to := range 3 {
			c.receive(to, sets)
		}
	}
	n := c.nodes[0]
	if got := len(n.wanting); got <= wantsMax {
		t.Fatalf("%d ghosts are wanted, want more than are asked for in a round", got)
	}
	// From now on node 0 gets UserBlocks of others by repair alone.
	c.filter(func(_, to int, m Message) bool {
		x, ok := m.(ShredMessage)
		return !ok || to != 0 || !x.Shred.Key().IsUser()
	})
	n.reports = nil
	busiest := 0
	for i := range 70 {
		c.submit(1+i%2, i)
		c.run(500 * time.Millisecond)
		if i > 10 {
			busiest = max(busiest, n.Usage().Requests)
		}
	}
	others := 0
	for _, h := range reported[UserBlockHeld](n) {
		if !h.Own {
			others++
		}
	}
	if others < 40 {
		t.Errorf("node 0 repaired %d UserBlocks in 35 s", others)
	}
	if last, _ := n.tower.Last(); last.Slot+4 < n.slot() {
		t.Errorf("last vote in slot %d, now is slot %d", last.Slot, n.slot())
	}
	if busiest > repair.OutstandingMax*3/4 {
		t.Errorf("%d requests under way", busiest)
	}
	if n.rooted.Slot < s+3+userBlockSlack {
		t.Fatalf("root %d, the ghosts are in slot %d", n.rooted.Slot, s)
	}
	for ref := range n.wanting {
		if ref.U.Slot() < n.floor() {
			t.Errorf("%v is still wanted, the root is slot %d", ref, n.rooted.Slot)
		}
	}
}

// A node asks for a block of which it has only heard that voters with more than
// a twentieth of the stake voted for it, as it does after a partition in which
// others made a fork (PROTOCOL section 6), but not while the block's shreds are
// on their way. Of such blocks it asks for few in a slot, so that voters who
// name what nobody has leave room for what there is.
func TestAsksForWhatFewVotedFor(t *testing.T) {
	c := newTestCluster(t, 10, func(o *cluster.Options) {
		o.Validators[1].Stake /= 2 // 1/19
		o.Validators[2].Stake /= 3
	})
	c.run(2 * time.Second)
	n := c.nodes[0]
	slot := n.slot()
	asked := make(map[ledger.Hash]ledger.Slot) // in which slot it was first
	c.filter(func(from, _ int, m Message) bool {
		if r, ok := m.(RepairRequest); ok && from == 0 && r.Key == slot.Key() {
			if _, again := asked[r.Root]; !again {
				asked[r.Root] = n.slot()
			}
		}
		return true
	})
	few, fewer, many := ledger.Sum([]byte("few")), ledger.Sum([]byte("fewer")), ledger.Sum([]byte("many"))
	c.voteFor(1, 0, ledger.BlockRef{Slot: slot, ID: few})
	c.voteFor(2, 0, ledger.BlockRef{Slot: slot, ID: fewer})
	c.runTo(slot+1, 0)
	if len(asked) > 0 {
		t.Errorf("asked %v for a block of slot %d, which may be on its way", asked, slot)
	}
	c.run(time.Second)
	if _, ok := asked[few]; !ok {
		t.Error("a block for which more than a twentieth of the stake voted is not asked for")
	}
	if _, ok := asked[fewer]; ok {
		t.Error("a block for which less than a twentieth of the stake voted is asked for")
	}
	for i := range byte(turbine.WantsMax) {
		for from := 3; from < 5; from++ {
			c.voteFor(from, 0, ledger.BlockRef{Slot: slot, ID: ledger.Hash{byte(from), i}})
		}
		c.run(100 * time.Millisecond)
	}
	if len(asked) != fewVotedMax {
		t.Errorf("%d blocks of a slot are asked for, want %d", len(asked), fewVotedMax)
	}
	for from := 5; from < 9; from++ {
		c.voteFor(from, 0, ledger.BlockRef{Slot: slot, ID: many})
	}
	c.run(time.Second)
	if _, ok := asked[many]; !ok {
		t.Error("a block for which a third of the stake voted is not asked for")
	}
}
