package node

import (
	"slices"
	"testing"
	"time"

	"tutti/cluster"
	"tutti/ledger"
	"tutti/proposer"
)

// A tick that is full of records delays votes; it does not lose them.
func TestVotesWaitForRoom(t *testing.T) {
	c := newTestCluster(t, 1, func(o *cluster.Options) { o.Params.HashesPerTick = 2 })
	n := c.nodes[0]
	c.run(2*time.Second + 100*time.Millisecond)
	if n.leading == nil || n.leadTip.parent.Slot == 0 {
		t.Fatal("the only node does not lead")
	}
	clear(n.leadTip.voted)
	for n.leading.Room() {
		n.leading.RecordVotes([]ledger.Transaction{n.lastVote.Tx})
	}
	n.recordVotes()
	if len(n.leadTip.voted) != 0 {
		t.Error("a vote is taken as recorded in a tick that had no room for it")
	}
	if _, err := n.leading.CloseTick(true); err != nil {
		t.Fatal(err)
	}
	n.recordVotes()
	if len(n.leadTip.voted) != 1 {
		t.Error("the vote is not recorded in the next tick")
	}

	if _, err := n.leading.CloseTick(true); err != nil {
		t.Fatal(err)
	}
	clear(n.leadTip.voted)
	n.leading.RecordVotes(slices.Repeat([]ledger.Transaction{n.lastVote.Tx}, n.leading.VoteBytes()/len(n.lastVote.Tx.Raw())))
	if _, err := n.leading.CloseTick(true); err != nil {
		t.Fatal(err)
	}
	if n.recordVotes(); len(n.leadTip.voted) != 0 {
		t.Error("a vote is taken as recorded in a block that had no room for it")
	}
}

// A proposer whose turn is over forwards the transactions that still waited
// then, such as those with a blockhash newer than its anchor.
func TestForwardWhatWaited(t *testing.T) {
	c := newTestCluster(t, 2, func(o *cluster.Options) { o.Params.Proposers = 1 })
	n := c.nodes[0]
	tx := c.transfer(testKey("faucet", 0), pub(testKey("payee", 0)), 1, c.genesis.Hash())
	p, err := proposer.NewPooled(tx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.pool.Add(p); err != nil {
		t.Fatal(err)
	}
	n.pool.Take(func(*proposer.Pooled) proposer.Verdict { return proposer.Waits })
	for u := ledger.UserSlot(2); ; u++ {
		if _, ok := n.schedule.Lane(u, n.self); !ok {
			c.now = n.due(uint64(u) * ledger.TicksPerUserSlot)
			break
		}
	}
	for _, e := range n.Step(c.now, Tick{}) {
		if send, ok := e.(Send); ok {
			if m, ok := send.Msg.(TransactionMessage); ok && m.Tx.MessageHash() == p.Hash {
				return
			}
		}
	}
	t.Error("it is not forwarded")
}

// Transactions whose blockhash is too old leave the pool though dearer ones
// keep them from being looked at.
func TestExpiredLeaveThePool(t *testing.T) {
	c := newTestCluster(t, 2, nil)
	n := c.nodes[0]
	fresh := c.transfer(testKey("faucet", 0), pub(testKey("payee", 0)), 1, c.genesis.Hash())
	for _, tx := range []ledger.Transaction{c.transfer(testKey("faucet", 0), pub(testKey("payee", 0)), 2, ledger.Sum([]byte("old"))), fresh} {
		p, err := proposer.NewPooled(tx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.pool.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	n.nextRepair = time.Time{}
	n.chores()
	if n.pool.Len() != 1 || !n.pool.Has(fresh.MessageHash()) {
		t.Errorf("%d transactions are left, want the one that is not too old", n.pool.Len())
	}
}

// What comes within a tick stands in one entry of the UserBlock, the dearest first.
func TestTickIsOneEntry(t *testing.T) {
	c := newTestCluster(t, 1, nil)
	c.run(2 * time.Second)
	n := c.nodes[0]
	c.runTo(n.slot()+1, 0)
	c.submit(0, 3) // begins the UserBlock
	c.runTo(n.slot(), 3)
	faucet := testKey("faucet", 0)
	for i, price := range []uint64{1, 3, 2} {
		m := ledger.TransferMessage(pub(faucet), pub(testKey("payee", i)), 1, price*1_000_000, 450, n.newest.LastPoH)
		tx, err := ledger.ParseTransaction(ledger.Sign(m.Append(nil), faucet))
		if err != nil {
			t.Fatal(err)
		}
		c.push(time.Duration(i+1)*time.Millisecond, 0, Submitted{Tx: tx})
	}
	c.run(time.Second)
	held := reported[UserBlockHeld](n)
	if len(held) != 1 || len(held[0].Block.Transactions) != 4 {
		t.Fatalf("UserBlocks %+v, want one with four transactions", held)
	}
	txs := held[0].Block.Transactions[1:]
	for i, payee := range []int{1, 2, 0} {
		if want := pub(testKey("payee", payee)); txs[i].Key(1) != want || txs[i].Position != txs[0].Position {
			t.Errorf("transaction %d pays %s after %d hashes, want %s after %d", i, txs[i].Key(1), txs[i].Position, want, txs[0].Position)
		}
	}
}

// An own UserBlock that reaches nobody in time gives its transactions back to the
// pool, is told of, and the next one has them.
func TestMissedUserBlock(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	s := c.rotation(func(s ledger.Slot) bool { return s > 4 })
	lost := (c.leader(s) + 1) % len(c.nodes) // who leads has it and names it
	n := c.nodes[lost]
	c.runTo(s, 0)
	n.filter = func(_ ledger.Pubkey, m Message) bool {
		shred, ok := m.(ShredMessage)
		return !ok || !shred.Shred.Key().IsUser()
	}
	c.submit(lost, 0)
	for len(reported[UserBlockHeld](n)) == 0 {
		c.run(10 * time.Millisecond)
	}
	made := reported[UserBlockHeld](n)[0].Block.Ref
	for i := 0; len(reported[UserBlockMissed](n)) == 0; i++ {
		if i == 1000 {
			t.Fatal("nobody tells that it was missed")
		}
		c.run(10 * time.Millisecond)
	}
	if m := reported[UserBlockMissed](n)[0]; m.Ref != made || m.Transactions != 1 {
		t.Errorf("missed %+v, want %v with one transaction", m, made)
	}
	n.filter = nil
	c.run(3 * time.Second)
	c.paid(1)
}
