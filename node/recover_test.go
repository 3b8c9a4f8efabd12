package node

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tutti/bank"
	"tutti/cluster"
	"tutti/ledger"
	"tutti/shred"
	"tutti/validator"
)

// disk is what a node of the lockstep cluster would find after a crash.
type disk struct {
	tower    []byte
	begun    []ledger.SlotKey
	halt     []byte
	restarts []*cluster.Restart
	state    []byte
	snapshot bank.Snapshot
}

func (d *disk) save(b *bank.Bank, e Effect) {
	switch e := e.(type) {
	case Save:
		for _, r := range e.Records {
			switch r := r.(type) {
			case TowerRecord:
				d.tower = r.Bytes
			case BegunRecord:
				d.begun = append(d.begun, r.Key)
			case HaltRecord:
				d.halt = r.Bytes
			case RestartRecord:
				d.restarts = append(d.restarts, r.Restart)
			}
		}
	case Root:
		if e.State != nil {
			d.state, d.snapshot = e.State, b.Snapshot()
		}
	}
}

// restart replaces a node by one that knows only what was on its disk.
func (c *testCluster) restart(i int) {
	c.t.Helper()
	if err := c.restartWith(i, nil); err != nil {
		c.t.Fatal(err)
	}
}

// restartWith is restart with a restart record that the operator gives.
func (c *testCluster) restartWith(i int, record *cluster.Restart) error {
	c.t.Helper()
	old := c.nodes[i]
	recovered := Recovered{Tower: old.disk.tower, Begun: old.disk.begun, Halt: old.disk.halt, Restarts: old.disk.restarts, Evidence: old.proofs}
	b, err := bank.New(c.genesis, 1)
	if old.disk.state != nil {
		if recovered.State, err = ParseRootState(old.disk.state); err != nil {
			c.t.Fatal(err)
		}
		snapshot := old.disk.snapshot
		snapshot.HardForks = nil
		b, err = bank.Restore(c.genesis, snapshot, 1)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range HardForks(recovered.Restarts, record) {
		b.AddHardFork(f)
	}
	view, _ := b.View(b.Root())
	node, err := New(Config{
		Genesis: c.genesis, Identity: testKey("identity", i), VoteAccount: pub(testKey("vote", i)),
		Contact: cluster.Contact{Addr: "127.0.0.1:8000"}, Recovered: recovered,
		Rand: rand.New(rand.NewPCG(2, uint64(i))), Bank: view, Now: c.now, Restart: record,
	})
	if err != nil {
		return err
	}
	fresh := &testNode{Node: node, bank: b, disk: old.disk, proofs: old.proofs, sets: old.sets, spines: old.spines, wrong: old.wrong, filter: old.filter}
	c.nodes[i] = fresh
	for _, set := range sortedSets(old.sets) {
		c.step(i, Loaded{Set: set})
	}
	return nil
}

// sortedSets is the order in which a store gives its sets back.
func sortedSets(byRoot map[ledger.Hash]*shred.Set) []*shred.Set {
	var sets []*shred.Set
	for _, s := range byRoot {
		sets = append(sets, s)
	}
	slices.SortFunc(sets, func(a, b *shred.Set) int {
		return cmp.Or(cmp.Compare(a.Key.Slot(), b.Key.Slot()), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Index, b.Index))
	})
	return sets
}

// TestRestart stops one node of four, early and after its tower has rooted
// blocks, and brings it back with nothing but its disk (PROTOCOL section 12).
func TestRestart(t *testing.T) {
	for _, before := range []time.Duration{3 * time.Second, 25 * time.Second} {
		c := newTestCluster(t, 4, nil)
		c.run(before)
		faucet := testKey("faucet", 0)
		for i := range 4 {
			tx := c.transfer(faucet, pub(testKey("payee", i)), ledger.LamportsPerSOL, c.nodes[0].newest.LastPoH)
			c.push(0, i, Submitted{Tx: tx})
		}
		c.run(300 * time.Millisecond)
		last, _ := c.nodes[2].tower.Last()
		begunSlot, begunUser := c.nodes[2].begunSlot, c.nodes[2].begunUser
		c.nodes[2].down = true
		c.run(4 * time.Second)
		c.restart(2)
		if before > 20*time.Second && c.nodes[2].forks.Root().Slot == 0 {
			t.Errorf("after %v the node starts from genesis again", before)
		}
		if n := c.nodes[2]; begunUser == 0 || n.begunSlot != begunSlot || n.begunUser != begunUser {
			t.Errorf("begun were slot %d and UserBlockSlot %d; after the restart %d and %d", begunSlot, begunUser, n.begunSlot, n.begunUser)
		}
		if again, _ := c.nodes[2].tower.Last(); again != last {
			t.Errorf("last vote was %v, after the restart it is %v", last, again)
		}
		c.run(8 * time.Second)
		ahead, behind := c.nodes[0].newest, c.nodes[2].newest
		if behind.Slot+1 < ahead.Slot {
			t.Errorf("after the restart the node has confirmed slot %d, the others %d", behind.Slot, ahead.Slot)
		}
		if now, _ := c.nodes[2].tower.Last(); now.Slot+2 < ahead.Slot {
			t.Errorf("the node's last vote is for slot %d, the others have confirmed %d", now.Slot, ahead.Slot)
		}
		for i, n := range c.nodes {
			if got := count[Mismatched](n) + count[BlockRejected](n); got != 0 {
				t.Errorf("node %d: %d mismatches or rejections", i, got)
			}
			for p := range 4 {
				if got := n.view.Balance(pub(testKey("payee", p))); got != ledger.LamportsPerSOL {
					t.Errorf("node %d: payee %d has %d lamports", i, p, got)
				}
			}
		}
	}
}

// TestStateSurvives: a node that comes back has all of the root's state,
// UserBlocks named before it included, since those may not be named again.
func TestStateSurvives(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(3 * time.Second)
	c.push(0, 1, Submitted{Tx: c.transfer(testKey("faucet", 0), pub(testKey("payee", 0)), 1, c.nodes[0].newest.LastPoH)})
	c.run(25 * time.Second)
	stored, err := ParseRootState(c.nodes[2].disk.state)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(stored.History, func(p PastBlock) bool { return len(p.Named) > 0 }) {
		t.Fatal("no block of the state names anything")
	}
	c.restart(2)
	if got := c.nodes[2].rootState().Append(nil); !bytes.Equal(got, c.nodes[2].disk.state) {
		t.Errorf("root %v has another state than was stored", c.nodes[2].forks.Root().BlockRef)
	}
}

// A tower may root more than two thirds of the stake have shown to have
// rooted. A restart from that root finalises nothing.
func TestRestartAboveFinal(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(25 * time.Second)
	n := c.nodes[2]
	final := n.final
	n.down = true
	state := n.rootState()
	state.Final = 3
	n.disk.state, n.disk.snapshot = state.Append(nil), n.bank.Snapshot()
	if state.Root().Slot <= state.Final {
		t.Fatalf("root %v", state.Root())
	}
	c.restart(2)
	n = c.nodes[2]
	c.step(2, Tick{})
	if n.final != 3 || n.head.Finalized != 3 {
		t.Errorf("finalised %d, shown %d, want slot 3", n.final, n.head.Finalized)
	}
	c.run(2 * time.Second)
	if n.final < final {
		t.Errorf("finalised %d after the restart, %d before", n.final, final)
	}
}

// A node that comes back does not know the BankHashes of blocks below its
// root: reports of them are neither right nor wrong.
func TestReportBelowRestart(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(25 * time.Second)
	c.restart(2)
	n := c.nodes[2]
	root := n.forks.Root()
	if root.Slot == 0 {
		t.Fatal("the node starts from genesis again")
	}
	v := ledger.Vote{Account: pub(testKey("vote", 0)), Block: root.BlockRef, BankHash: ledger.Hash{1}}
	for _, b := range []*validator.Block{root, root.Parent} {
		n.out, v.BankSlot = nil, b.Slot
		n.hearReport(&v, nil)
		if mismatches, want := len(n.out), b == root; mismatches > 0 != want {
			t.Errorf("root is slot %d: another BankHash of slot %d, and %d mismatches", root.Slot, b.Slot, mismatches)
		}
	}
}

// A node that is down again and again does not fall back to an ever older
// root: its tower, out of which votes expire each time, roots too little.
func TestRestartsKeepUp(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(20 * time.Second)
	for range 5 {
		c.nodes[2].down = true
		c.run(8 * time.Second)
		c.restart(2)
		c.run(5 * time.Second)
	}
	n := c.nodes[2]
	if count[Voted](n) == 0 {
		t.Error("it does not vote any more")
	}
	n.down = true
	c.restart(2)
	root, others := c.nodes[2].forks.Root().Slot, c.nodes[0].forks.Root().Slot
	if root+rootStateInterval+8 < others {
		t.Errorf("it starts from slot %d, the others have rooted %d", root, others)
	}
	for i, n := range c.nodes {
		if got := count[Mismatched](n) + count[BlockRejected](n); got != 0 {
			t.Errorf("node %d: %d mismatches or rejections", i, got)
		}
	}
}
