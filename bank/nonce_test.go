package bank

import (
	"slices"
	"testing"

	"tutti/bank/program"
	"tutti/cluster"
	"tutti/ledger"
)

var nonceKey = testKey("nonce", 0)

// nonceWorld has a nonce account with authority user 1 and value {7}.
func nonceWorld(t *testing.T) *world {
	n := program.Nonce{Authority: user(1), Value: ledger.Hash{7}, LamportsPerSignature: 5000}
	return newWorld(t, 1, func(o *cluster.Options) {
		o.Accounts = append(o.Accounts, cluster.GenesisAccount{Key: nonceKey, Lamports: sol, Data: n.Append(nil)})
	})
}

func advanceCall(nonce, authority ledger.Pubkey) ledger.Call {
	return ledger.Call{
		Program: ledger.SystemProgram,
		Accounts: []ledger.AccountMeta{
			{Key: nonce, Writable: true}, {Key: cluster.SysvarRecentBlockhashes}, {Key: authority, Signer: true},
		},
		Data: []byte{4, 0, 0, 0},
	}
}

func (w *world) durable(value ledger.Hash, payer, authority ledger.Pubkey, calls ...ledger.Call) ledger.UserTransaction {
	return w.transactionWith(value, payer, append([]ledger.Call{advanceCall(nonceKey, authority)}, calls...)...)
}

func (w *world) nonce() program.Nonce {
	w.t.Helper()
	n, ok := program.ParseNonce(w.account(nonceKey).Data)
	if !ok {
		w.t.Fatal("no nonce is left")
	}
	return n
}

func TestDurableTransaction(t *testing.T) {
	w := nonceWorld(t)
	next := program.NextNonce(w.blockhash())
	tx := w.durable(ledger.Hash{7}, user(0), user(1), transferCall(user(0), user(2), 1))
	w.expect(w.run(tx), OK)
	if got := w.nonce().Value; got != next {
		t.Errorf("the nonce is %v, want %v", got, next)
	}
	// The next one goes by the new value, whatever the blockhash.
	w.run()
	w.expect(w.run(w.durable(next, user(0), user(1))), OK)
}

func TestDurableTransactionThatFails(t *testing.T) {
	w := nonceWorld(t)
	next := program.NextNonce(w.blockhash())
	r := w.run(w.durable(ledger.Hash{7}, user(0), user(1), transferCall(user(0), user(2), 100*sol)))
	w.expect(r, Failed)
	if got := w.nonce().Value; got != next {
		t.Error("the advance of a failed transaction's nonce is not kept")
	}
	if w.balance(user(0)) != 10*sol-10_000 {
		t.Error("its fee is not kept")
	}

	// So also if the programs cannot be loaded, and for a bundler.
	w = nonceWorld(t)
	r = w.run(w.durable(ledger.Hash{7}, user(0), user(1), ledger.Call{Program: testKey("none", 0)}))
	w.expectError(r, 0, ledger.TransactionError{Kind: ledger.ProgramAccountNotFound})
	if got := w.nonce().Value; got != next {
		t.Error("the advance is not kept when loading fails")
	}
}

// TestAdvanceOfFailedIsNotShared: views of earlier blocks, and other forks, see
// the nonce as it was, and the block says that it wrote it.
func TestAdvanceOfFailedIsNotShared(t *testing.T) {
	w := nonceWorld(t)
	before, _ := w.bank.View(w.tip)
	r := w.run(w.durable(ledger.Hash{7}, user(0), user(1), transferCall(user(0), user(2), 100*sol)))
	w.expect(r, Failed)
	a, _ := before.Account(nonceKey)
	if n, _ := program.ParseNonce(a.Data); n.Value != (ledger.Hash{7}) {
		t.Error("the block before has the nonce advanced")
	}
	if !slices.ContainsFunc(r.Written, func(d AccountDelta) bool { return d.Key == nonceKey }) {
		t.Error("the nonce is not among what the block wrote")
	}
}

func TestBadNonce(t *testing.T) {
	for name, f := range map[string]func(w *world) ledger.UserTransaction{
		"another value": func(w *world) ledger.UserTransaction {
			return w.durable(ledger.Hash{8}, user(0), user(1))
		},
		"another authority": func(w *world) ledger.UserTransaction {
			return w.durable(ledger.Hash{7}, user(0), user(0))
		},
		"authority signs another instruction": func(w *world) ledger.UserTransaction {
			return w.durable(ledger.Hash{7}, user(0), user(0), transferCall(user(1), user(0), 1))
		},
		"no nonce account": func(w *world) ledger.UserTransaction {
			return w.transactionWith(ledger.Hash{7}, user(0), advanceCall(user(3), user(1)))
		},
		"no account": func(w *world) ledger.UserTransaction {
			return w.transactionWith(ledger.Hash{7}, user(0), advanceCall(testKey("absent", 0), user(1)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := nonceWorld(t)
			r, gain := w.gain(w.block(0, "", userBlock(1, f(w))))
			w.expect(r, BadNonce)
			if signatures := int64(r.Receipts[0].Fee); signatures != 0 || gain[1] > -5000 {
				t.Errorf("fee %d, proposer gains %d", signatures, gain[1])
			}
		})
	}
}

// TestBadNonceThatWasGoodIsNotBilled: its nonce account changed in this
// block, or in one after the anchor's.
func TestBadNonceThatWasGoodIsNotBilled(t *testing.T) {
	w := nonceWorld(t)
	txs := []ledger.UserTransaction{
		w.durable(ledger.Hash{7}, user(0), user(1)),
		w.durable(ledger.Hash{7}, user(2), user(1)),
		w.durable(ledger.Hash{7}, user(3), user(1)),
		w.durable(ledger.Hash{7}, user(4), user(1)),
	}
	anchor := w.tip
	r, gain := w.gain(w.block(0, "", userBlock(0, txs[0]), userBlock(1, txs[1])))
	w.expect(r, OK, BadNonce)
	if gain[1] != 0 {
		t.Errorf("billed %d in the same block", -gain[1])
	}
	b := w.block(0, "", userBlock(1, txs[2]))
	b.UserBlocks[0].Anchor = anchor
	if _, gain = w.gain(b); gain[1] != 0 {
		t.Errorf("billed %d in the next block, anchored before", -gain[1])
	}
	if _, gain = w.gain(w.block(0, "", userBlock(1, txs[3]))); gain[1] != -10_000 {
		t.Errorf("billed %d when anchored after, want 10000", -gain[1])
	}
}

// TestNonceAdvancesOncePerBlock: the value that it would advance to is
// refused, since it would not change.
func TestNonceAdvancesOncePerBlock(t *testing.T) {
	w := nonceWorld(t)
	next := program.NextNonce(w.blockhash())
	r := w.run(w.durable(ledger.Hash{7}, user(0), user(1)), w.durable(next, user(2), user(1)))
	w.expect(r, OK, BadNonce)
}

// TestAdvanceWithARecentBlockhash is an ordinary transaction, as Agave has
// it: the blockhash is looked at first.
func TestAdvanceWithARecentBlockhash(t *testing.T) {
	w := nonceWorld(t)
	tx := w.transaction(user(0), advanceCall(nonceKey, user(1)))
	w.expect(w.run(tx), OK)
	for range duplicateWindow + 1 {
		w.run()
	}
	w.expect(w.run(tx), BadNonce) // no longer recent
}

func TestNoncePayer(t *testing.T) {
	rent := cluster.RentExemptMinimum(program.NonceLength)
	for _, c := range []struct {
		held ledger.Lamports
		want Outcome
	}{{rent + 5000, OK}, {rent + 4999, Unpayable}} {
		n := program.Nonce{Authority: user(1), Value: ledger.Hash{7}}
		w := newWorld(t, 1, func(o *cluster.Options) {
			o.Accounts = append(o.Accounts, cluster.GenesisAccount{Key: nonceKey, Lamports: c.held, Data: n.Append(nil)})
		})
		w.expect(w.run(w.transaction(nonceKey)), c.want)
	}
	// 80 bytes that are no nonce do not pay, other lengths do not either.
	for _, length := range []int{80, 81} {
		w := newWorld(t, 1, func(o *cluster.Options) {
			o.Accounts = append(o.Accounts, cluster.GenesisAccount{Key: nonceKey, Lamports: sol, Data: make([]byte, length)})
		})
		w.expect(w.run(w.transaction(nonceKey)), Unpayable)
	}
}
