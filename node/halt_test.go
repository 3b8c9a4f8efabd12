package node

import (
	"errors"
	"slices"
	"testing"
	"time"

	"tutti/bank"
	"tutti/cluster"
	"tutti/consensus"
	"tutti/internal/testkit"
	"tutti/ledger"
)

// liar makes an executor's results wrong, from a slot on, so often; what
// comes after a wrong BankHash is wrong as well.
type liar struct {
	from  ledger.Slot
	left  int // further wrong executions; negative: for ever
	value byte
	wrong map[ledger.BlockRef]ledger.Hash
}

func (l *liar) distort(r *bank.Result) *bank.Result {
	out := *r
	delete(l.wrong, r.Ref)
	parent, ok := l.wrong[r.Parent]
	if ok {
		out.Link.Parent, out.ParentBankHash = parent, parent
	} else if r.Ref.Slot < l.from || l.left == 0 {
		return r
	} else {
		l.left--
		out.Link.Delta[0] ^= l.value
	}
	out.BankHash = out.Link.BankHash()
	l.wrong[r.Ref] = out.BankHash
	return &out
}

// lie has nodes compute wrong BankHashes from the running slot on.
func (c *testCluster) lie(times int, value byte, nodes ...int) {
	for _, i := range nodes {
		c.nodes[i].wrong = &liar{from: c.nodes[i].slot() + 1, left: times, value: value, wrong: make(map[ledger.BlockRef]ledger.Hash)}
	}
}

// withStakes gives the nodes so many SOL each.
func withStakes(sol ...ledger.Lamports) func(*cluster.Options) {
	return func(o *cluster.Options) {
		for i := range o.Validators {
			o.Validators[i].Stake = sol[i] * ledger.LamportsPerSOL
		}
	}
}

// health fails unless the nodes are in that health, in their order.
func (c *testCluster) health(want ...Health) {
	c.t.Helper()
	got := make([]Health, len(c.nodes))
	for i, n := range c.nodes {
		got[i] = n.health
	}
	if !slices.Equal(got, want) {
		c.t.Fatalf("slot %d: health %v, want %v", c.nodes[0].slot(), got, want)
	}
}

// participation counts what a node that has halted may not do any more.
func participation(n *testNode) int {
	return count[Voted](n) + count[Rooted](n) + count[Broadcast](n)
}

// TestGoesBack: more than two thirds of the stake have one other value: "back
// to the last certified block, execute again" (PROTOCOL section 10, case 2).
// It helps at the second try, and the node has not voted for its mistake.
func TestGoesBack(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(3 * time.Second)
	c.lie(2, 1, 3)
	faucet := testKey("faucet", 0)
	for i := range 4 {
		tx := c.transfer(faucet, pub(testKey("payee", i)), ledger.LamportsPerSOL, c.nodes[0].newest.LastPoH)
		c.push(0, i, Submitted{Tx: tx})
	}
	c.run(5 * time.Second)
	c.health(Healthy, Healthy, Healthy, Healthy)
	n := c.nodes[3]
	back := reported[WentBack](n)
	if len(back) != 2 || back[1].Try != 2 || back[0].To.Slot >= back[0].Wrong.Slot || back[0].Own == back[0].Other {
		t.Fatalf("went back: %+v", back)
	}
	if n.agreed.TwoThirds+4 < c.nodes[0].newest.Slot || n.retries != 0 {
		t.Errorf("certified up to slot %d of %d, %d tries", n.agreed.TwoThirds, c.nodes[0].newest.Slot, n.retries)
	}
	for p := range 4 {
		if got := n.view.Balance(pub(testKey("payee", p))); got != ledger.LamportsPerSOL {
			t.Errorf("payee %d has %d lamports", p, got)
		}
	}
	last := reported[Voted](n)[count[Voted](n)-1]
	if b := c.nodes[0].forks.Block(last.Block).Ancestor(last.BankSlot); last.BankHash != b.BankHash {
		t.Errorf("its last vote reports %v of slot %d, others have %v", last.BankHash, last.BankSlot, b.BankHash)
	}
	if n.disk.halt != nil {
		t.Error("it has written a record of a halt")
	}
}

// TestGivesUp: "3 times at most, then stop voting with the evidence on disk;
// the network goes on". Started again, with what made it wrong gone, the node
// comes back.
func TestGivesUp(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(20 * time.Second)
	c.lie(-1, 1, 3)
	c.run(5 * time.Second)
	c.health(Healthy, Healthy, Healthy, Wrong)
	n := c.nodes[3]
	if back := reported[WentBack](n); len(back) != retriesMax {
		t.Fatalf("went back: %+v", back)
	}
	before, others := participation(n), c.nodes[0].newest.Slot
	c.run(10 * time.Second)
	c.health(Healthy, Healthy, Healthy, Wrong)
	if got := participation(n); got != before {
		t.Errorf("it has done %d things since it gave up", got-before)
	}
	if got := c.nodes[0].newest.Slot; got < others+15 {
		t.Errorf("the others have confirmed slot %d, then %d", others, got)
	}
	halt, err := ParseHalt(n.disk.halt)
	if err != nil || halt.Health != Wrong || halt.Block.Slot <= halt.Certified.Slot {
		t.Fatalf("%+v, %v", halt, err)
	}
	c.checkEvidence(halt, 750)
	c.restart(3)
	c.nodes[3].wrong = nil
	c.run(5 * time.Second)
	c.health(Healthy, Healthy, Healthy, Healthy)
	if n := c.nodes[3]; count[Voted](n) == 0 || n.agreed.TwoThirds+4 < c.nodes[0].newest.Slot {
		t.Errorf("started again: %d votes, certified up to slot %d of %d", count[Voted](n), n.agreed.TwoThirds, c.nodes[0].newest.Slot)
	}
}

// checkEvidence checks that a halt holds signed votes of both sides, and so
// much stake, in thousandths, against the node.
func (c *testCluster) checkEvidence(h *Halt, permille ledger.Lamports) {
	c.t.Helper()
	var total, against ledger.Lamports
	stakes := c.nodes[0].epochs.At(h.Block.Slot)
	total = stakes.Total()
	with := false
	for _, w := range h.Testimonies {
		if tx, err := ledger.ParseTransaction(w.Signed); err == nil {
			v, err := ledger.ParseVote(&tx)
			if err != nil || v.Account != w.Account || v.BankHash != w.Report.Hash || v.BankSlot != w.Report.Block.Slot {
				c.t.Errorf("testimony of %v: %+v, %v", w.Account, v, err)
			}
		} else if r, err := ledger.ParseReport(w.Signed); err != nil || r.Account != w.Account || r.BankHash != w.Report.Hash {
			c.t.Errorf("testimony of %v: %+v, %v", w.Account, r, err)
		}
		if w.Opinion.Stance == consensus.Says && w.Opinion.Value == h.BankHash {
			with = true
		} else if w.Opinion.Stance != consensus.Silent {
			against += w.Opinion.Stake
		}
	}
	if against*1000 < permille*total || !with && permille < 700 {
		c.t.Errorf("evidence of %d of %d lamports against the node, with it: %v", against, total, with)
	}
}

// TestHalts: more than a third is against everybody, and no value can reach
// two thirds: "halt at once: stop voting and producing, keep serving repair,
// both sides' signed votes on disk; the halt survives restarts" (case 3).
func TestHalts(t *testing.T) {
	for name, lies := range map[string]func(c *testCluster){
		"one other value":  func(c *testCluster) { c.lie(-1, 1, 3, 4) },
		"two other values": func(c *testCluster) { c.lie(-1, 1, 3); c.lie(-1, 2, 4) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestCluster(t, 5, nil)
			c.run(20 * time.Second)
			lies(c)
			c.run(2 * time.Second)
			c.health(Halted, Halted, Halted, Halted, Halted)
			var before []int
			for _, n := range c.nodes {
				before = append(before, participation(n))
				halt, err := ParseHalt(n.disk.halt)
				if err != nil || halt.Health != Halted {
					t.Fatalf("%+v, %v", halt, err)
				}
				c.checkEvidence(halt, 334)
			}
			root := c.nodes[0].forks.Root().Slot
			c.run(10 * time.Second)
			for i, n := range c.nodes {
				if got := participation(n); got != before[i] {
					t.Errorf("node %d has done %d things since it halted", i, got-before[i])
				}
			}
			c.restart(0)
			n := c.nodes[0]
			n.wrong = nil
			c.run(5 * time.Second)
			c.health(Halted, Halted, Halted, Halted, Halted)
			if got := participation(n); got != 0 || n.forks.Root().Slot > root {
				t.Errorf("started again it has done %d things, its root is slot %d", got, n.forks.Root().Slot)
			}
			if h := reported[HealthChanged](n); len(h) != 1 || h[0].Health != Halted || h[0].Cause == "" {
				t.Errorf("started again it says %+v", h)
			}
			// It serves what it has: state up to the halt, and repair.
			if n.view.Ref().Slot+2 < n.stoppedAt-5 {
				t.Errorf("it shows the state after slot %d, it halted in slot %d", n.view.Ref().Slot, n.stoppedAt)
			}
			tx := c.transfer(testKey("faucet", 0), pub(testKey("payee", 0)), 1, n.newest.LastPoH)
			c.push(0, 0, Submitted{Tx: tx, Token: 7})
			c.run(time.Millisecond)
			if r := reported[Refused](n); len(r) != 1 || !errors.Is(r[0].Err, ErrHalted) {
				t.Errorf("a transaction: %+v", r)
			}
		})
	}
}

// TestOneThirdDoesNotHalt: exactly a third of the stake is not more than a
// third.
func TestOneThirdDoesNotHalt(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.run(3 * time.Second)
	c.lie(-1, 1, 2)
	c.run(40 * time.Second)
	for _, n := range c.nodes[:2] {
		if n.health != Healthy || count[Mismatched](n) == 0 {
			t.Errorf("%v, %d mismatches", n.health, count[Mismatched](n))
		}
	}
	// Of all stake, two thirds are exactly what is left without the liar.
	if n := c.nodes[2]; n.health != Halted {
		t.Errorf("the liar, against whom are two thirds, is %v", n.health)
	}
}

// TestStalls: more than a third is against me, but with those who are silent
// another value can still reach two thirds: "stop tower votes, keep sending
// signed reports, and act as in (3) after 32 slots of own clock" (case 4).
func TestStalls(t *testing.T) {
	stall := func(t *testing.T) *testCluster {
		c := newTestCluster(t, 3, withStakes(300, 400, 300))
		c.run(3 * time.Second)
		c.nodes[2].down = true
		c.run(2 * time.Second)
		c.lie(-1, 1, 1)
		for range 60 { // node 2 may be the leader
			if c.nodes[0].health == Healthy {
				c.run(100 * time.Millisecond)
			}
		}
		c.health(Stalled, Healthy, Healthy)
		return c
	}
	t.Run("for ever", func(t *testing.T) {
		c := stall(t)
		n := c.nodes[0]
		votes, since, at := count[Voted](n), n.stalledAt, n.slot()
		reports := 0
		n.filter = func(to ledger.Pubkey, m Message) bool {
			switch m := m.(type) {
			case ReportMessage:
				if m.Account != n.cfg.VoteAccount || m.At != n.slot() {
					t.Errorf("in slot %d: %+v", n.slot(), m)
				}
				reports++
			case VoteMessage:
				if m.Vote.Account == n.cfg.VoteAccount { // and not what others said, once it has halted
					t.Error("it votes")
				}
			}
			return true
		}
		c.runTo(since+stalledSlots-1, 63)
		c.health(Stalled, Healthy, Healthy)
		if got, want := reports, 2*int(n.slot()-at); count[Voted](n) != votes || got < want-2 || got > want+2 {
			t.Errorf("%d votes; %d reports to two peers in %d slots", count[Voted](n)-votes, got, n.slot()-at)
		}
		c.runTo(since+stalledSlots, 16)
		c.health(Halted, Healthy, Healthy)
		halt, err := ParseHalt(n.disk.halt)
		if err != nil {
			t.Fatal(err)
		}
		c.checkEvidence(halt, 400)
		// The other side has heard the reports.
		r := c.nodes[1].agreement.Testimonies(halt.Block)
		if !slices.ContainsFunc(r, func(w consensus.Testimony) bool {
			_, err := ledger.ParseReport(w.Signed)
			return err == nil && w.Account == n.cfg.VoteAccount && w.Opinion.Stance != consensus.Silent
		}) {
			t.Errorf("the other side has %+v", r)
		}
	})
	t.Run("until no value can win", func(t *testing.T) {
		c := stall(t)
		c.restart(2)
		c.run(6 * time.Second)
		if h := c.nodes[0].health; h != Halted {
			t.Errorf("it is %v", h)
		}
	})
	t.Run("until the others agree", func(t *testing.T) {
		c := stall(t)
		c.nodes[1].down = true
		c.restart(1)
		c.nodes[1].wrong = nil
		c.run(6 * time.Second)
		c.health(Healthy, Healthy, Healthy)
		n := c.nodes[0]
		votes := count[Voted](n)
		c.run(4 * time.Second)
		if h := reported[HealthChanged](n); count[Voted](n) < votes+5 || len(h) != 2 || h[1].Health != Healthy {
			t.Errorf("%d more votes; %+v", count[Voted](n)-votes, h)
		}
	})
	t.Run("until it finds itself wrong", func(t *testing.T) {
		c := stall(t)
		c.restart(2)
		c.nodes[2].wrong = c.nodes[1].wrong
		c.run(8 * time.Second)
		if n := c.nodes[0]; n.health != Wrong || count[WentBack](n) != retriesMax {
			t.Errorf("it is %v, %d times back", n.health, count[WentBack](n))
		}
	})
}

// TestAsksForLinks: voters report different blocks; the links of their
// BankHashes tell from which block on they differ, and so that it is one value
// that more than two thirds of the stake have.
func TestAsksForLinks(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(3 * time.Second)
	asked, answered := 0, 0
	c.filter(func(from, to int, m Message) bool {
		switch m.(type) {
		case LinksRequest:
			asked++
		case LinksResponse:
			answered++
		}
		return true
	})
	for _, i := range []int{0, 1, 2} { // their reports reach node 3 late
		c.nodes[i].busy = time.Duration(i) * 300 * time.Millisecond
	}
	c.lie(1, 1, 3)
	c.run(6 * time.Second)
	c.health(Healthy, Healthy, Healthy, Healthy)
	n := c.nodes[3]
	if back := reported[WentBack](n); len(back) != 1 {
		t.Errorf("went back: %+v", back)
	}
	if asked == 0 || answered == 0 {
		t.Errorf("asked %d times for links, %d answers", asked, answered)
	}
}

// TestCertifiesWhileBehind: a node that executes each block later than the others
// report the next ones certifies what it has executed all the same.
func TestCertifiesWhileBehind(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(3 * time.Second)
	n := c.nodes[3]
	n.busy = 2 * time.Second
	c.run(4 * time.Second)
	n.busy = 390 * time.Millisecond // of 400: what it is behind it stays
	c.run(8 * time.Second)
	executed := n.view.Ref().Slot
	if others := c.nodes[0].view.Ref().Slot; executed+4 > others {
		t.Fatalf("node 3 has executed slot %d, the others %d: it is not behind", executed, others)
	}
	if n.certified.Slot+1 < executed {
		t.Errorf("slot %d is executed, and %d certified", executed, n.certified.Slot)
	}
}

// TestGoesBackWhileBehind: a node that is wrong once, and executes later than the
// others report, finds out all the same.
func TestGoesBackWhileBehind(t *testing.T) {
	c := newTestCluster(t, 4, withStakes(330, 330, 330, 10)) // it hardly leads
	c.run(3 * time.Second)
	n := c.nodes[3]
	n.busy = 2 * time.Second
	c.run(4 * time.Second)
	n.busy = 390 * time.Millisecond
	c.run(2 * time.Second)
	c.lie(1, 1, 3)
	n.wrong.from = n.view.Ref().Slot + 2
	c.run(12 * time.Second)
	if others := c.nodes[0].view.Ref().Slot; n.view.Ref().Slot+4 > others {
		t.Fatalf("node 3 has executed slot %d, the others %d: it is not behind", n.view.Ref().Slot, others)
	}
	if back := reported[WentBack](n); len(back) != 1 || n.health != Healthy || n.certified.Slot <= n.wrong.from {
		t.Errorf("wrong in slot %d: %v, went back %+v, certified %d", n.wrong.from, n.health, back, n.certified.Slot)
	}
}

// TestNoFalseHalt: lag, forks, lost and replayed votes are no reason to halt,
// nor to go back.
func TestNoFalseHalt(t *testing.T) {
	rng := testkit.Rand(t)
	for range 4 {
		c := newTestCluster(t, 4, func(o *cluster.Options) { o.Params.SlotsPerEpoch, o.Params.LagZero = 32, 8 })
		for _, n := range c.nodes {
			n.busy = time.Duration(rng.IntN(900)) * time.Millisecond
		}
		var old []VoteMessage
		c.filter(func(from, to int, m Message) bool {
			if v, ok := m.(VoteMessage); ok {
				old = append(old, v)
			}
			if len(old) > 0 && rng.IntN(8) == 0 {
				c.push(time.Duration(rng.IntN(3000))*time.Millisecond, to, Received{From: c.nodes[from].self, Msg: old[rng.IntN(len(old))]})
			}
			return rng.IntN(10) > 0
		})
		for i := range 6 {
			c.run(time.Duration(1+rng.IntN(3)) * time.Second)
			if i%3 == 1 {
				c.nodes[rng.IntN(4)].down = true
				c.run(time.Second)
			}
			for i, n := range c.nodes {
				if n.down {
					c.restart(i)
					c.nodes[i].filter = n.filter
				}
			}
		}
		for i, n := range c.nodes {
			if n.health != Healthy || count[WentBack](n)+count[Mismatched](n)+count[HealthChanged](n) > 0 {
				t.Errorf("node %d is %v: %+v %+v", i, n.health, reported[WentBack](n), reported[Mismatched](n))
			}
		}
	}
}

// TestEpochEnds: half of the stake executes nothing from the end of epoch 0
// on. Nothing is named any more, "if E ends first, nodes halt" (PROTOCOL
// section 10).
func TestEpochEnds(t *testing.T) {
	c := newTestCluster(t, 4, func(o *cluster.Options) { o.Params.SlotsPerEpoch, o.Params.LagFull, o.Params.LagZero = 32, 4, 8 })
	c.runTo(30, 0)
	c.nodes[2].busy, c.nodes[3].busy = time.Hour, time.Hour
	c.runTo(63, 63)
	c.health(Healthy, Healthy, Healthy, Healthy)
	if got := c.nodes[0].newest.Slot; got < 58 {
		t.Fatalf("slot %d is confirmed", got)
	}
	c.runTo(64+overdueSlots+4, 0)
	c.health(Halted, Halted, Halted, Halted)
	halt, err := ParseHalt(c.nodes[3].disk.halt)
	if err != nil || halt.Block.Slot >= 64 {
		t.Errorf("%+v, %v", halt, err)
	}
}

// FuzzHalt: no bytes make ParseHalt panic, and those that it reads are the
// ones that Append writes.
func FuzzHalt(f *testing.F) {
	h := Halt{Health: Halted, At: 7, Cause: "why", Block: ledger.BlockRef{Slot: 6, ID: ledger.Hash{1}}}
	f.Add(h.Append(nil))
	h.Testimonies = []consensus.Testimony{{Opinion: consensus.Opinion{Stake: 3, Stance: consensus.Differs}, Signed: []byte("vote")}, {}}
	f.Add(h.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			h, err := ParseHalt(b)
			if err != nil {
				return nil
			}
			return func() []byte { return h.Append(nil) }
		})
	})
}
