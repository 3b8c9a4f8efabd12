package node

import (
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tutti/cluster"
	"tutti/leader"
	"tutti/ledger"
	"tutti/proposer"
	"tutti/shred"
	"tutti/validator"
)

// key returns the identity key of the node that has that public key.
func (c *testCluster) key(id ledger.Pubkey) ed25519.PrivateKey {
	return c.nodes[c.index(id)].cfg.Identity
}

// leaderBlock makes a block by its scheduled leader that holds nothing but
// those entries, and gives it to a node as if it had been on its disk.
func (c *testCluster) leaderBlock(to int, slot ledger.Slot, parent *validator.Block, refs ...ledger.UserBlockRef) *validator.Block {
	c.t.Helper()
	ref := c.makeBlock(to, slot, parent, func(b *leader.Builder) {
		if len(refs) > 0 {
			b.RecordUserBlocks(refs)
		}
	})
	return c.nodes[to].forks.Block(ref)
}

// makeBlock does so with a block of which record makes the first tick.
func (c *testCluster) makeBlock(to int, slot ledger.Slot, parent *validator.Block, record func(*leader.Builder)) ledger.BlockRef {
	c.t.Helper()
	all := c.signedBlock(c.nodes[to].Node, slot, parent.BlockRef, parent.LastPoH, record)
	c.load(to, all)
	return ledger.BlockRef{Slot: slot, ID: all[len(all)-1].Root}
}

// signedBlock makes such a block as a node that has taken that shred version
// would, and gives it to nobody.
func (c *testCluster) signedBlock(n *Node, slot ledger.Slot, parent ledger.BlockRef, poh ledger.Hash, record func(*leader.Builder)) (all []*shred.Set) {
	c.t.Helper()
	l, _ := n.schedule.Leader(slot)
	b := leader.NewBuilder(leader.Config{
		Slot: slot, Parent: parent, ParentPoH: poh,
		Signer: c.key(l), ShredVersion: n.shredVersion, Params: n.params,
	})
	record(b)
	for !b.Done() {
		sets, err := b.CloseTick(true)
		if err != nil {
			c.t.Fatal(err)
		}
		all = append(all, sets...)
	}
	return all
}

// load gives sets to a node and waits for what its workers make of them.
func (c *testCluster) load(to int, sets []*shred.Set) {
	for _, set := range sets {
		c.push(0, to, Loaded{set})
	}
	c.run(10 * time.Millisecond)
}

// userBlock makes a UserBlock of lane 0 by its scheduled proposer.
func (c *testCluster) userBlock(u ledger.UserSlot, anchor ledger.Hash, txs ...ledger.Transaction) (ledger.UserBlockRef, []*shred.Set) {
	c.t.Helper()
	return c.userBlockIn(u, 0, anchor, txs...)
}

// userBlockIn makes one of any lane.
func (c *testCluster) userBlockIn(u ledger.UserSlot, lane ledger.Lane, anchor ledger.Hash, txs ...ledger.Transaction) (ledger.UserBlockRef, []*shred.Set) {
	c.t.Helper()
	n := c.nodes[0]
	b := proposer.NewBuilder(proposer.Config{
		U: u, Lane: lane, Anchor: anchor, Signer: c.key(n.schedule.Proposers(u)[lane]),
		ShredVersion: n.shredVersion, Params: n.params, CostMax: n.params.UserBlockCostMax(),
	})
	pool := proposer.NewPool(len(txs))
	for _, tx := range txs {
		pooled, err := proposer.NewPooled(tx)
		if err != nil {
			c.t.Fatal(err)
		}
		if _, err := pool.Add(pooled); err != nil {
			c.t.Fatal(err)
		}
	}
	var all []*shred.Set
	for !b.Done() {
		packed, err := b.Pack(pool, func(*proposer.Pooled) proposer.Verdict { return proposer.Fits })
		if err != nil {
			c.t.Fatal(err)
		}
		closed, err := b.CloseTick()
		if err != nil {
			c.t.Fatal(err)
		}
		all = slices.Concat(all, packed, closed)
	}
	return ledger.UserBlockRef{U: u, Lane: lane, ID: all[len(all)-1].Root}, all
}

// An empty block and a skipped slot make the same last PoH hash with other
// ancestors. A UserBlock anchored there is judged on each fork with that
// fork's block: here one fork has the blockhash of its transaction, and the
// other has not.
func TestAnchorsWithEqualPoH(t *testing.T) {
	for _, shortFirst := range []bool{false, true} {
		c := newTestCluster(t, 4, nil)
		n := c.nodes[0]
		root := n.forks.Root()
		first := c.leaderBlock(0, 1, root)
		var long, short *validator.Block
		if shortFirst {
			short = c.leaderBlock(0, 2, root)
			long = c.leaderBlock(0, 2, first)
		} else {
			long = c.leaderBlock(0, 2, first)
			short = c.leaderBlock(0, 2, root)
		}
		if long.LastPoH != short.LastPoH {
			t.Fatal("no twins")
		}
		tx := c.transfer(testKey("faucet", 0), pub(testKey("payee", 0)), 1, first.LastPoH)
		ref, sets := c.userBlock(5, long.LastPoH, tx)
		c.load(0, sets)
		onShort := c.leaderBlock(0, 3, short, ref)
		onLong := c.leaderBlock(0, 3, long, ref)
		if !errors.Is(onShort.Bad, validator.ErrBlockhash) {
			t.Errorf("short fork first %v: on the fork without the blockhash: %v, missing %d", shortFirst, onShort.Bad, onShort.Missing)
		}
		if !onLong.Ready() {
			t.Errorf("short fork first %v: on the fork with it: %v, missing %d", shortFirst, onLong.Bad, onLong.Missing)
		}
		if got := n.held[ref].block; got == nil || got.Ref != ref {
			t.Errorf("held: %+v", got)
		}
	}
}

// A block that names a UserBlock before its anchor's verdict is there waits
// for it, wherever the UserBlock was judged before.
func TestUserBlockComesAfterBlocks(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	root := c.nodes[0].forks.Root()
	first := c.leaderBlock(0, 1, root)
	long := c.leaderBlock(0, 2, first)
	short := c.leaderBlock(0, 2, root)
	tx := c.transfer(testKey("faucet", 0), pub(testKey("payee", 0)), 1, first.LastPoH)
	ref, sets := c.userBlock(5, long.LastPoH, tx)
	onShort := c.leaderBlock(0, 3, short, ref)
	onLong := c.leaderBlock(0, 3, long, ref)
	if onShort.Ready() || onLong.Ready() || onShort.Bad != nil || onLong.Bad != nil {
		t.Fatal("judged without the UserBlock")
	}
	c.load(0, sets)
	if !errors.Is(onShort.Bad, validator.ErrBlockhash) || !onLong.Ready() {
		t.Errorf("short: %v, missing %d; long: %v, missing %d", onShort.Bad, onShort.Missing, onLong.Bad, onLong.Missing)
	}
}

// TestVotesOfBlock: the votes in a leader block that did not come before are
// verified by the workers; until then nothing of the block counts, and one bad
// signature makes it invalid.
func TestVotesOfBlock(t *testing.T) {
	vote := func(c *testCluster, voter, signer int, b *validator.Block) ledger.Transaction {
		v := ledger.Vote{
			Account: pub(testKey("vote", voter)), Authority: pub(testKey("identity", voter)),
			Lockouts: []ledger.Lockout{{Slot: b.Slot, Confirmations: 1}}, Block: b.BlockRef,
		}
		m := v.Message(b.LastPoH)
		raw := ledger.Sign(m.Append(nil), testKey("identity", voter))
		copy(raw[1:65], ed25519.Sign(testKey("identity", signer), m.Append(nil)))
		tx, err := ledger.ParseTransaction(raw)
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	for _, forger := range []int{2, 1} {
		c := newTestCluster(t, 4, nil)
		n := c.nodes[0]
		parent := c.leaderBlock(0, 1, n.forks.Root())
		before := len(n.reports)
		ref := c.makeBlock(0, 2, parent, func(b *leader.Builder) {
			b.RecordVotes([]ledger.Transaction{vote(c, 1, 1, parent), vote(c, 2, forger, parent)})
		})
		b := n.forks.Block(ref)
		seen, rejected := 0, error(nil)
		for _, r := range n.reports[before:] {
			switch r := r.(type) {
			case VoteSeen:
				if r.Voter != n.cfg.VoteAccount {
					seen++
				}
			case BlockHeld:
				if r.Verified != 2 || r.Votes != 2 {
					t.Errorf("verified %d of %d votes", r.Verified, r.Votes)
				}
			case BlockRejected:
				rejected = r.Err
			}
		}
		if forger == 2 && (b == nil || seen != 2 || rejected != nil) {
			t.Errorf("good votes: block %v, %d seen, %v", b, seen, rejected)
		}
		if forger != 2 && (b != nil || seen != 0 || !errors.Is(rejected, validator.ErrVoteSignature)) {
			t.Errorf("a forged vote: block %v, %d seen, %v", b, seen, rejected)
		}
		if len(n.checking) != 0 {
			t.Error("a set is still being checked")
		}
	}
}

// TestShredsSentOnce: a node sends a shred at most once to each other, however
// it came by it, and what is lost on the way to one node is not missing below:
// it passes on what it has recovered.
func TestShredsSentOnce(t *testing.T) {
	type copied struct {
		from, to, root ledger.Hash
		place          int
	}
	c := newTestCluster(t, 8, func(o *cluster.Options) { o.Params.Fanout = 2 })
	sent := make(map[copied]int)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range c.nodes {
		n.filter = func(to ledger.Pubkey, m Message) bool {
			s, ok := m.(ShredMessage)
			if !ok {
				return true
			}
			sent[copied{ledger.Hash(n.self), ledger.Hash(to), s.Root, s.Shred.Position()}]++
			return rng.IntN(10) > 1
		}
	}
	c.run(2 * time.Second)
	for i := range 20 {
		tx := c.transfer(testKey("faucet", 0), pub(testKey("payee", i)), ledger.LamportsPerSOL, c.nodes[0].newest.LastPoH)
		c.push(time.Duration(i)*100*time.Millisecond, i%8, Submitted{Tx: tx})
	}
	c.run(3 * time.Second)
	for k, times := range sent {
		if times > 1 {
			t.Fatalf("%v sent place %d of set %v to %v %d times", ledger.Pubkey(k.from), k.place, k.root, ledger.Pubkey(k.to), times)
		}
	}
	seen, repaired := 0, 0
	for _, n := range c.nodes {
		for _, r := range n.reports {
			if r, ok := r.(ShredSeen); ok {
				seen++
				if r.Repaired {
					repaired++
				}
			}
		}
	}
	if repaired*1000 > seen {
		t.Errorf("%d of %d shreds were repaired", repaired, seen)
	}
	t.Logf("%d shreds sent, %d of %d seen were repaired", len(sent), repaired, seen)
}
