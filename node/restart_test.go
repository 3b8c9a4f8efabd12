package node

import (
	"strings"
	"testing"
	"time"

	"tutti/bank"
	"tutti/cluster"
	"tutti/ledger"
)

// halt has two of five nodes compute wrong BankHashes until all have halted.
func (c *testCluster) halt() {
	c.t.Helper()
	c.lie(-1, 1, 3, 4)
	c.run(4 * time.Second)
	c.health(Halted, Halted, Halted, Halted, Halted)
}

// record returns a restart record as the operators would make it, to go on so
// much later, signed by some.
func (c *testCluster) record(later time.Duration, before []*cluster.Restart, signers ...int) *cluster.Restart {
	c.t.Helper()
	r := &cluster.Restart{Genesis: c.genesis.Hash(), Count: uint64(len(before)) + 1}
	for _, n := range c.nodes {
		h, err := ParseHalt(n.disk.halt)
		if err != nil {
			c.t.Fatal(err)
		}
		if h.Certified.Slot >= r.Block.Slot {
			r.Block, r.BankHash = h.Certified, h.CertifiedHash
		}
		r.First = max(r.First, h.At+8)
	}
	r.T0 = c.now.Add(later).UnixNano() - c.genesis.Params.SlotTime(0, r.First)
	r.ShredVersion = cluster.RestartVersion(c.genesis, append(before[:len(before):len(before)], r))
	for _, i := range signers {
		r.Sign(pub(testKey("vote", i)), testKey("identity", i))
	}
	return r
}

// TestRestartAfterHalt: "a record signed by > 80 % of stake is a hard fork at
// that block … the ledger is kept, only executed again" (PROTOCOL section 10).
// Four of five nodes go on with it; the fifth, without it, does not. Then it
// happens again.
func TestRestartAfterHalt(t *testing.T) {
	c := newTestCluster(t, 5, withStakes(300, 300, 300, 300, 180))
	c.run(20 * time.Second)
	payee := pub(testKey("payee", 0))
	c.halt()
	tips := make([]*bank.View, 5)
	var tip ledger.BlockRef
	for i, n := range c.nodes {
		tips[i] = n.view
		if b := n.newest.BlockRef; b.Slot > tip.Slot {
			tip = b
		}
	}
	c.run(time.Minute)
	r := c.record(3*time.Second, nil, 0, 1, 2, 3)
	if tip.Slot <= r.Block.Slot {
		t.Fatalf("nothing to execute again: newest confirmed block %v, record of %v", tip, r.Block)
	}

	// Three of four signatures are too few.
	for i := range 4 {
		few := c.record(3*time.Second, nil, 0, 1, 2)
		if err := c.restartWith(i, few); err == nil || !strings.Contains(err.Error(), "80 %") {
			t.Errorf("record with too few signatures: %v", err)
		}
	}
	for i := range 4 {
		if err := c.restartWith(i, r); err != nil {
			t.Fatal(err)
		}
		c.nodes[i].wrong = nil
	}
	c.restart(4)
	began := c.now
	c.run(2900 * time.Millisecond)
	for i, n := range c.nodes[:4] {
		if n.slot() != r.First-1 || n.health != Healthy || count[Voted](n)+count[Broadcast](n) != 0 {
			t.Errorf("node %d in slot %d of %d is %v and has voted or made blocks before the time", i, n.slot(), r.First, n.health)
		}
		n.certified = n.forks.Root() // as if it had heard none of the votes before
		if n.checkRestart(n.forks.Block(r.Block)); n.certified.BlockRef != r.Block {
			t.Errorf("node %d: certified is %v, by the record it is %v", i, n.certified.BlockRef, r.Block)
		}
	}
	c.run(8 * time.Second)
	tx := c.transfer(testKey("faucet", 0), payee, ledger.LamportsPerSOL, c.nodes[0].newest.LastPoH)
	c.push(0, 1, Submitted{Tx: tx})
	c.run(12 * time.Second)
	c.health(Healthy, Healthy, Healthy, Healthy, Halted)
	slots := ledger.Slot((c.now.Sub(began) - 3*time.Second) / (ledger.TicksPerSlot * c.genesis.Params.TickDuration))
	for i, n := range c.nodes[:4] {
		if n.newest.Slot+3 < r.First+slots || n.agreed.TwoThirds+5 < n.newest.Slot || count[Rooted](n) == 0 {
			t.Errorf("node %d has confirmed slot %d, certified %d; it should be in slot %d", i, n.newest.Slot, n.agreed.TwoThirds, r.First+slots)
		}
		if got := n.view.Balance(payee); got != ledger.LamportsPerSOL {
			t.Errorf("node %d: payee has %d lamports", i, got)
		}
		if !n.newest.Descends(r.Block) || !n.newest.Descends(tip) {
			t.Errorf("node %d: %v does not descend from %v and %v", i, n.newest.BlockRef, r.Block, tip)
		}
		if got := count[Mismatched](n) + count[BlockRejected](n); got != 0 {
			t.Errorf("node %d: %d mismatches or rejections", i, got)
		}
		checkHardFork(t, n, r)
		if got := n.disk.restarts; len(got) != 1 || !got[0].Same(r) {
			t.Errorf("node %d has kept %v", i, got)
		}
	}
	if n := c.nodes[4]; participation(n) != 0 {
		t.Errorf("the node without the record has done %d things", participation(n))
	}
	c.sameBankHashes(c.nodes[:4])

	// A node that starts again needs no record, and one that comes later takes it.
	c.restart(0)
	if err := c.restartWith(4, r); err != nil {
		t.Fatal(err)
	}
	c.nodes[4].wrong = nil
	c.run(8 * time.Second)
	c.health(Healthy, Healthy, Healthy, Healthy, Healthy)
	for _, i := range []int{0, 4} {
		if n := c.nodes[i]; count[Voted](n) == 0 || n.agreed.TwoThirds+5 < c.nodes[1].newest.Slot {
			t.Errorf("node %d: %d votes, certified slot %d of %d", i, count[Voted](n), n.agreed.TwoThirds, c.nodes[1].newest.Slot)
		}
	}

	c.halt()
	again := c.record(time.Second, []*cluster.Restart{r}, 0, 1, 2, 3, 4)
	for i := range c.nodes {
		if err := c.restartWith(i, again); err != nil {
			t.Fatal(err)
		}
		c.nodes[i].wrong = nil
	}
	c.run(10 * time.Second)
	c.health(Healthy, Healthy, Healthy, Healthy, Healthy)
	for i, n := range c.nodes {
		if n.newest.Slot < again.First+8 || n.agreed.TwoThirds < again.First {
			t.Errorf("node %d has confirmed slot %d, certified %d; the second restart began with %d", i, n.newest.Slot, n.agreed.TwoThirds, again.First)
		}
		checkHardFork(t, n, again)
	}
	c.sameBankHashes(c.nodes)
}

// TestRestartRefused: what is wrong with a record is found before anything is
// changed, or, if only execution shows it, before the node votes.
func TestRestartRefused(t *testing.T) {
	c := newTestCluster(t, 5, nil)
	c.run(2 * time.Second)
	c.halt()
	all := []int{0, 1, 2, 3, 4}
	for name, test := range map[string]struct {
		change func(*cluster.Restart)
		want   string
	}{
		"80 %":                {func(r *cluster.Restart) { r.Signatures = r.Signatures[1:] }, "signed by 4000000000000 of 5000000000000"},
		"a changed record":    {func(r *cluster.Restart) { r.T0++ }, "bad signature"},
		"another's signature": {func(r *cluster.Restart) { r.Sign(pub(testKey("vote", 0)), testKey("identity", 1)) }, "has authority"},
		"no stake":            {func(r *cluster.Restart) { r.Sign(pub(testKey("vote", 7)), testKey("identity", 1)) }, "has no stake"},
		"a slot that was": {func(r *cluster.Restart) {
			r.First -= 8
			c.signAll(r)
		}, "has halted in slot"},
		"a block below the state": {func(r *cluster.Restart) {
			r.Block = ledger.BlockRef{}
			r.ShredVersion = cluster.RestartVersion(c.genesis, []*cluster.Restart{r})
			c.signAll(r)
		}, "the state on disk is"},
		"a second restart": {func(r *cluster.Restart) { r.Count++ }, "the ledger has seen 0"},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.record(time.Second, nil, all...)
			test.change(r)
			if err := c.restartWith(0, r); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	r := c.record(time.Second, nil)
	r.BankHash[0]++
	c.signAll(r)
	if err := c.restartWith(0, r); err != nil {
		t.Fatal(err)
	}
	c.run(10 * time.Second)
	n := c.nodes[0]
	if h := reported[HealthChanged](n); n.health != Wrong || count[Voted](n) != 0 || len(h) != 1 || !strings.Contains(h[0].Cause, "restart record has BankHash") {
		t.Errorf("another BankHash in the record: node is %v, %d votes, %+v", n.health, count[Voted](n), h)
	}
}

func (c *testCluster) signAll(r *cluster.Restart) {
	for i := range c.nodes {
		r.Sign(pub(testKey("vote", i)), testKey("identity", i))
	}
}

// checkHardFork fails unless the count stands in the link of the first block
// after the restart's, and in no other that was executed since.
func checkHardFork(t *testing.T, n *testNode, r *cluster.Restart) {
	t.Helper()
	found := 0
	for _, x := range reported[BankComputed](n) {
		var want uint64
		if x.Result.Parent == r.Block {
			want = r.Count
			found++
		}
		if x.Result.Link.HardForks != want {
			t.Errorf("block %v on %v: hard forks %d, want %d", x.Result.Ref, x.Result.Parent, x.Result.Link.HardForks, want)
		}
	}
	if found == 0 {
		t.Errorf("no block was executed on %v", r.Block)
	}
}

// sameBankHashes fails if nodes have computed different BankHashes of a block.
func (c *testCluster) sameBankHashes(nodes []*testNode) {
	c.t.Helper()
	seen := make(map[ledger.BlockRef]ledger.Hash)
	for i, n := range nodes {
		for _, x := range reported[BankComputed](n) {
			ref := x.Result.Ref
			if other, ok := seen[ref]; ok && other != x.Result.BankHash {
				c.t.Errorf("node %d: BankHash of %v is %v, another's %v", i, ref, x.Result.BankHash, other)
			}
			seen[ref] = x.Result.BankHash
		}
	}
}
