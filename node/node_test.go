package node

import (
	"container/heap"
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"tutti/bank"
	"tutti/cluster"
	"tutti/ledger"
	"tutti/repair"
	"tutti/shred"
)

// testCluster runs nodes against each other with a fixed latency: just enough
// of a driver to test what one node decides among others. Whole-cluster
// behaviour is sim's subject.
type testCluster struct {
	t       testing.TB
	genesis *cluster.Genesis
	now     time.Time
	nodes   []*testNode
	queue   deliveries
	seq     int
}

type testNode struct {
	*Node
	bank      *bank.Bank
	sets      map[ledger.Hash]*shred.Set
	spines    map[ledger.Hash][]ledger.Hash
	reports   []any
	proofs    []EvidenceRecord
	disk      disk
	down      bool
	busy      time.Duration // what execution of a block takes, beside a millisecond
	verifying time.Duration // that signatures of a UserBlock take
	// wrong makes the results of this node's executor wrong, if it is set.
	wrong *liar
	// filter drops messages that this node sends, if it returns false.
	filter func(to ledger.Pubkey, m Message) bool
}

type delivery struct {
	at  time.Time
	seq int
	to  int
	ev  Event
}

type deliveries []delivery

func (d deliveries) Len() int { return len(d) }
func (d deliveries) Less(i, j int) bool {
	return d[i].at.Before(d[j].at) || d[i].at.Equal(d[j].at) && d[i].seq < d[j].seq
}
func (d deliveries) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deliveries) Push(x any)   { *d = append(*d, x.(delivery)) }
func (d *deliveries) Pop() any {
	old := *d
	x := old[len(old)-1]
	*d = old[:len(old)-1]
	return x
}

func testKey(name string, i int) ed25519.PrivateKey {
	seed := ledger.Sum([]byte(name), binary.LittleEndian.AppendUint64(nil, uint64(i)))
	return ed25519.NewKeyFromSeed(seed[:])
}

func pub(k ed25519.PrivateKey) ledger.Pubkey { return ledger.Pubkey(k.Public().(ed25519.PublicKey)) }

const testLatency = 5 * time.Millisecond

func newTestCluster(t testing.TB, n int, change func(*cluster.Options)) *testCluster {
	t.Helper()
	o := cluster.Options{
		CreationTime: 1_700_000_000,
		T0:           1_700_000_000_000_000_000,
		Params:       cluster.LocalParams(n),
		Faucet:       pub(testKey("faucet", 0)),
	}
	for i := range n {
		o.Validators = append(o.Validators, cluster.Validator{
			Identity:    pub(testKey("identity", i)),
			VoteAccount: pub(testKey("vote", i)),
			Authority:   pub(testKey("identity", i)),
			Stake:       1000 * ledger.LamportsPerSOL,
		})
	}
	if change != nil {
		change(&o)
	}
	g, err := cluster.NewGenesis(o)
	if err != nil {
		t.Fatal(err)
	}
	c := &testCluster{t: t, genesis: g, now: time.Unix(0, g.T0)}
	for i := range n {
		b, err := bank.New(g, 1)
		if err != nil {
			t.Fatal(err)
		}
		view, ok := b.View(b.Root())
		if !ok {
			t.Fatal("a new bank has no view of its root")
		}
		node, err := New(Config{
			Genesis: g, Identity: testKey("identity", i), VoteAccount: pub(testKey("vote", i)),
			Contact: cluster.Contact{Addr: "127.0.0.1:8000"},
			Rand:    rand.New(rand.NewPCG(1, uint64(i))), Bank: view, Now: c.now,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.nodes = append(c.nodes, &testNode{
			Node: node, bank: b,
			sets: make(map[ledger.Hash]*shred.Set), spines: make(map[ledger.Hash][]ledger.Hash),
		})
	}
	return c
}

func (c *testCluster) push(after time.Duration, to int, ev Event) {
	c.seq++
	heap.Push(&c.queue, delivery{c.now.Add(after), c.seq, to, ev})
}

func (c *testCluster) index(k ledger.Pubkey) int {
	for i, n := range c.nodes {
		if n.self == k {
			return i
		}
	}
	return -1
}

// run runs the cluster for so long.
func (c *testCluster) run(d time.Duration) {
	end := c.now.Add(d)
	for c.now.Before(end) {
		next := end
		for _, n := range c.nodes {
			if w := n.Wake(); !n.down && w.Before(next) {
				next = w
			}
		}
		if len(c.queue) > 0 && !next.Before(c.queue[0].at) {
			x := heap.Pop(&c.queue).(delivery)
			c.now = x.at
			c.step(x.to, x.ev)
			continue
		}
		if next.After(c.now) {
			c.now = next
		}
		for i, n := range c.nodes {
			if !n.down && !n.Wake().After(c.now) {
				c.step(i, Tick{})
				if !n.Wake().After(c.now) {
					c.t.Fatalf("node %d wants to be woken at %v, which is not after now %v", i, n.Wake(), c.now)
				}
			}
		}
	}
}

func (c *testCluster) step(i int, ev Event) {
	n := c.nodes[i]
	if n.down {
		return
	}
	for _, e := range n.Step(c.now, ev) {
		switch e := e.(type) {
		case Save:
			for _, r := range e.Records {
				switch r := r.(type) {
				case SetRecord:
					n.sets[r.Set.Root] = r.Set
				case BlockRecord:
					n.spines[r.ID] = r.Roots
				case EvidenceRecord:
					n.proofs = append(n.proofs, r)
				}
			}
		case Send:
			raw := EncodeMessage(nil, e.Msg)
			m, err := (&Decoder{}).DecodeMessage(raw)
			if err != nil {
				c.t.Fatalf("node %d sends a message that does not decode: %v", i, err)
			}
			for _, to := range e.To {
				if n.filter == nil || n.filter(to, m) {
					c.push(testLatency, c.index(to), Received{From: n.self, Msg: m})
				}
			}
		case Answer:
			if r, ok := repair.Answer(n, e.Request); ok {
				m, err := (&Decoder{}).DecodeMessage(append([]byte{kindRepairResponse}, r.Append(nil)...))
				if err != nil {
					c.t.Fatalf("node %d answers what does not decode: %v", i, err)
				}
				c.push(testLatency, c.index(e.To), Received{From: n.self, Msg: m})
			}
		case Execute:
			r, err := n.bank.Execute(e.Block)
			if err != nil {
				c.t.Fatalf("node %d: %v", i, err)
			}
			if n.wrong != nil {
				r = n.wrong.distort(r)
			}
			c.push(time.Millisecond+n.busy, i, Executed{r})
		case Discard:
			if err := n.bank.Discard(e.Block); err != nil {
				c.t.Fatalf("node %d: discard: %v", i, err)
			}
		case Work:
			after := time.Millisecond
			if _, ok := e.Job.(SignatureJob); ok {
				after += n.verifying
			}
			c.push(after, i, e.Job.Run())
		case Root:
			if err := n.bank.SetRoot(e.Block); err != nil {
				c.t.Fatalf("node %d: root: %v", i, err)
			}
		case Report:
			n.reports = append(n.reports, e.Of)
		case Dial:
		default:
			c.t.Fatalf("effect of unknown type %T", e)
		}
		n.disk.save(n.bank, e)
	}
}

func (n *testNode) Set(_ ledger.SlotKey, root ledger.Hash) ([][]byte, bool) {
	s := n.sets[root]
	if s == nil {
		return nil, false
	}
	return s.Shreds[:], true
}

func (n *testNode) Spine(_ ledger.SlotKey, id ledger.Hash) ([]ledger.Hash, bool) {
	r, ok := n.spines[id]
	return r, ok
}

func (n *testNode) Highest(ledger.SlotKey) (ledger.Hash, bool) { return ledger.Hash{}, false }

// count returns how many reports of type T the node made.
func count[T any](n *testNode) int { return len(reported[T](n)) }

// reported returns the reports of type T that the node made.
func reported[T any](n *testNode) (found []T) {
	for _, r := range n.reports {
		if r, ok := r.(T); ok {
			found = append(found, r)
		}
	}
	return found
}

// filter drops the messages between nodes for which pass returns false.
func (c *testCluster) filter(pass func(from, to int, m Message) bool) {
	for i, n := range c.nodes {
		n.filter = func(to ledger.Pubkey, m Message) bool { return pass(i, c.index(to), m) }
	}
}

// leader returns which node leads a slot.
func (c *testCluster) leader(s ledger.Slot) int {
	k, ok := c.nodes[0].schedule.Leader(s)
	if !ok {
		c.t.Fatalf("slot %d has no leader", s)
	}
	return c.index(k)
}

// rotation returns the next slot in which a leader begins that fits.
func (c *testCluster) rotation(fits func(first ledger.Slot) bool) ledger.Slot {
	s := c.nodes[0].slot()/4*4 + 4
	for !fits(s) {
		s += 4
	}
	return s
}

// runTo runs the cluster until a tick of a slot is due.
func (c *testCluster) runTo(s ledger.Slot, tick uint64) {
	c.run(c.nodes[0].due(uint64(s)*ledger.TicksPerSlot + tick).Sub(c.now))
}

func (c *testCluster) transfer(payer ed25519.PrivateKey, to ledger.Pubkey, lamports ledger.Lamports, blockhash ledger.Hash) ledger.Transaction {
	m := ledger.TransferMessage(pub(payer), to, lamports, 1, 450, blockhash)
	tx, err := ledger.ParseTransaction(ledger.Sign(m.Append(nil), payer))
	if err != nil {
		c.t.Fatal(err)
	}
	return tx
}

// TestTransfer follows one transaction from a client to every node's bank.
func TestTransfer(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(2 * time.Second)
	to := pub(testKey("payee", 0))
	tx := c.transfer(testKey("faucet", 0), to, 5*ledger.LamportsPerSOL, c.nodes[0].newest.LastPoH)
	c.push(0, 1, Submitted{Tx: tx, Token: 7})
	c.run(3 * time.Second)
	for i, n := range c.nodes {
		if got := n.view.Balance(to); got != 5*ledger.LamportsPerSOL {
			t.Errorf("node %d: payee has %d lamports", i, got)
		}
		if got := count[BlockRejected](n) + count[UserBlockRejected](n) + count[Mismatched](n); got != 0 {
			t.Errorf("node %d: %d rejections or mismatches", i, got)
		}
		if n.newest.Slot < 9 {
			t.Errorf("node %d: newest confirmed slot is %d after 5 s", i, n.newest.Slot)
		}
	}
	for _, r := range c.nodes[0].reports {
		switch r.(type) {
		case ShredSeen, SetCompleted, VoteSeen, Head:
		default:
			t.Logf("%T %+v", r, r)
		}
	}
}
