package node

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"tutti/bank/program"
	"tutti/cluster"
	"tutti/ledger"
)

// systemCall returns an instruction of the System program.
func systemCall(tag uint32, data []byte, accounts ...ledger.AccountMeta) ledger.Call {
	return ledger.Call{
		Program: ledger.SystemProgram, Accounts: accounts,
		Data: append(binary.LittleEndian.AppendUint32(nil, tag), data...),
	}
}

func transferCall(from, to ledger.Pubkey, lamports uint64) ledger.Call {
	return systemCall(2, binary.LittleEndian.AppendUint64(nil, lamports),
		ledger.AccountMeta{Key: from, Signer: true, Writable: true}, ledger.AccountMeta{Key: to, Writable: true})
}

// transaction signs calls; the first signer pays.
func (c *testCluster) transaction(blockhash ledger.Hash, signers []ed25519.PrivateKey, calls ...ledger.Call) ledger.Transaction {
	c.t.Helper()
	m := ledger.NewMessage(pub(signers[0]), blockhash, calls...)
	tx, err := ledger.ParseTransaction(ledger.Sign(m.Append(nil), signers...))
	if err != nil {
		c.t.Fatal(err)
	}
	return tx
}

// createNonce makes a nonce account of the faucet.
func (c *testCluster) createNonce(nonce ed25519.PrivateKey) {
	c.t.Helper()
	faucet := testKey("faucet", 0)
	system := ledger.SystemProgram
	create := binary.LittleEndian.AppendUint64(nil, uint64(ledger.LamportsPerSOL))
	create = binary.LittleEndian.AppendUint64(create, program.NonceLength)
	authority := pub(faucet)
	tx := c.transaction(c.nodes[0].newest.LastPoH, []ed25519.PrivateKey{faucet, nonce},
		systemCall(0, append(create, system[:]...),
			ledger.AccountMeta{Key: pub(faucet), Signer: true, Writable: true}, ledger.AccountMeta{Key: pub(nonce), Signer: true, Writable: true}),
		systemCall(6, authority[:],
			ledger.AccountMeta{Key: pub(nonce), Writable: true}, ledger.AccountMeta{Key: cluster.SysvarRecentBlockhashes}, ledger.AccountMeta{Key: cluster.SysvarRent}),
	)
	c.push(0, 0, Submitted{Tx: tx})
	c.run(3 * time.Second)
}

// nonceValue returns the value of a nonce account on a node.
func (c *testCluster) nonceValue(n *testNode, nonce ledger.Pubkey) ledger.Hash {
	c.t.Helper()
	a, ok := n.view.Account(nonce)
	if !ok {
		c.t.Fatal("no nonce account")
	}
	v, ok := program.ParseNonce(a.Data)
	if !ok {
		c.t.Fatal("no nonce")
	}
	return v.Value
}

func advanceCall(nonce, authority ledger.Pubkey) ledger.Call {
	return systemCall(4, nil, ledger.AccountMeta{Key: nonce, Writable: true},
		ledger.AccountMeta{Key: cluster.SysvarRecentBlockhashes}, ledger.AccountMeta{Key: authority, Signer: true})
}

// lastRefusal returns why the node last refused a transaction.
func lastRefusal(n *testNode) (err error) {
	for _, r := range n.reports {
		if r, ok := r.(Refused); ok {
			err = r.Err
		}
	}
	return err
}

// TestDurableTransaction follows a durable-nonce transaction from a node that
// has not its lane: it is forwarded once, executes once, and never again
// (PROTOCOL section 4 (8)).
func TestDurableTransaction(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(2 * time.Second)
	faucet, nonce, payee := testKey("faucet", 0), testKey("nonce", 0), pub(testKey("payee", 0))
	c.createNonce(nonce)
	old := c.nonceValue(c.nodes[0], pub(nonce))
	tx := c.transaction(old, []ed25519.PrivateKey{faucet}, advanceCall(pub(nonce), pub(faucet)), transferCall(pub(faucet), payee, uint64(ledger.LamportsPerSOL)))
	other := c.transaction(old, []ed25519.PrivateKey{faucet}, advanceCall(pub(nonce), pub(faucet)), transferCall(pub(faucet), payee, 2*uint64(ledger.LamportsPerSOL)))

	// A node that has another lane, and is not about to get this one.
	client := -1
	for i, n := range c.nodes {
		if h, err := n.nonceHolder(pub(nonce)); err != nil {
			t.Fatal(err)
		} else if h != n.self {
			client = i
		}
	}
	forwarded := 0
	for _, n := range c.nodes {
		n.filter = func(_ ledger.Pubkey, m Message) bool {
			if m, ok := m.(TransactionMessage); ok && m.Tx.Signature(0) == tx.Signature(0) {
				forwarded++
			}
			return true
		}
	}
	c.push(0, client, Submitted{Tx: tx, Token: 1})
	c.push(time.Millisecond, client, Submitted{Tx: other, Token: 2})
	c.run(4 * time.Second)
	if forwarded != 1 {
		t.Errorf("forwarded %d times", forwarded)
	}
	for i, n := range c.nodes {
		// One of the two is executed: they spend the same value.
		if got := n.view.Balance(payee); got != ledger.LamportsPerSOL && got != 2*ledger.LamportsPerSOL {
			t.Errorf("node %d: payee has %d lamports", i, got)
		}
		if c.nonceValue(n, pub(nonce)) == old {
			t.Errorf("node %d: the nonce is not advanced", i)
		}
		if got := count[BlockRejected](n) + count[UserBlockRejected](n); got != 0 {
			t.Errorf("node %d: %d rejections", i, got)
		}
	}
	before := c.nodes[0].view.Balance(payee)
	for i := range c.nodes {
		c.push(0, i, Submitted{Tx: tx, Token: 3})
		c.push(0, i, Submitted{Tx: other, Token: 4})
	}
	c.run(4 * time.Second)
	for i, n := range c.nodes {
		if n.view.Balance(payee) != before {
			t.Errorf("node %d: a replay was executed", i)
		}
		if err := lastRefusal(n); !errors.Is(err, ErrNonce) && !errors.Is(err, ErrProcessed) {
			t.Errorf("node %d: the replay is refused with %v", i, err)
		}
	}
}

// A durable transaction that comes just before its lane moves on, or that a
// peer took for somebody else's, is relayed to whoever has the lane then.
func TestDurableTransactionFollowsItsLane(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(2 * time.Second)
	faucet, nonce, payee := testKey("faucet", 0), testKey("nonce", 1), pub(testKey("payee", 0))
	c.createNonce(nonce)
	tx := c.transaction(c.nonceValue(c.nodes[0], pub(nonce)), []ed25519.PrivateKey{faucet},
		advanceCall(pub(nonce), pub(faucet)), transferCall(pub(faucet), payee, uint64(ledger.LamportsPerSOL)))
	for i, n := range c.nodes {
		if h, _ := n.nonceHolder(pub(nonce)); h != n.self {
			from := c.nodes[(i+1)%4].self
			c.push(0, i, Received{From: from, Msg: TransactionMessage{Tx: tx}})
			break
		}
	}
	c.run(4 * time.Second)
	if got := c.nodes[0].view.Balance(payee); got != ledger.LamportsPerSOL {
		t.Errorf("payee has %d lamports", got)
	}
}

func TestDurableTransactionRefused(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.run(2 * time.Second)
	faucet, nonce := testKey("faucet", 0), testKey("nonce", 0)
	c.createNonce(nonce)
	value := c.nonceValue(c.nodes[0], pub(nonce))
	transfer := transferCall(pub(faucet), pub(testKey("payee", 0)), 5)
	stranger := testKey("stranger", 0)
	for name, test := range map[string]struct {
		value   ledger.Hash
		signers []ed25519.PrivateKey
		calls   []ledger.Call
		want    error
	}{
		"other value":      {ledger.Hash{1}, nil, []ledger.Call{advanceCall(pub(nonce), pub(faucet)), transfer}, ErrNonce},
		"no account":       {value, nil, []ledger.Call{advanceCall(pub(stranger), pub(faucet)), transfer}, ErrNonce},
		"no nonce account": {value, nil, []ledger.Call{advanceCall(pub(faucet), pub(faucet)), transfer}, ErrNonce},
		"other authority":  {value, []ed25519.PrivateKey{stranger}, []ledger.Call{advanceCall(pub(nonce), pub(stranger)), transfer}, ErrNonce},
		"advance is not first": {
			value, nil,
			[]ledger.Call{transfer, advanceCall(pub(nonce), pub(faucet))},
			ledger.TransactionError{Kind: ledger.BlockhashNotFound},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tx := c.transaction(test.value, append([]ed25519.PrivateKey{faucet}, test.signers...), test.calls...)
			if _, err := c.nodes[0].admit(tx); !errors.Is(err, test.want) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
