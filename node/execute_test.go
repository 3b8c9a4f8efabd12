package node

import (
	"errors"
	"math"
	"testing"

	"tutti/ledger"
	"tutti/proposer"
)

// held returns a UserBlock of those transactions as one that a node holds.
func held(t *testing.T, txs ...ledger.Transaction) *heldUserBlock {
	t.Helper()
	b := &ledger.UserBlock{}
	for _, tx := range txs {
		budget, err := tx.ComputeBudget()
		if err != nil {
			t.Fatal(err)
		}
		b.Transactions = append(b.Transactions, ledger.UserTransaction{
			Transaction: tx, Hash: tx.MessageHash(), Budget: budget, SignatureOK: true,
		})
	}
	return &heldUserBlock{block: b}
}

// The fees that a payer has under way elsewhere cannot wrap, and what is
// counted is discounted.
func TestFeesUnderWay(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	n := c.nodes[0]
	payer, payee := testKey("faucet", 0), pub(testKey("payee", 0))
	dear := func(lamports ledger.Lamports) ledger.Transaction {
		m := ledger.TransferMessage(pub(payer), payee, lamports, math.MaxUint64, 1_400_000, n.genesisHash)
		tx, err := ledger.ParseTransaction(ledger.Sign(m.Append(nil), payer))
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	cheap, err := proposer.NewPooled(c.transfer(payer, payee, 1, n.genesisHash))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.solvent(cheap); err != nil {
		t.Fatalf("before: %v", err)
	}
	// Twice the dearest fee there is would leave almost nothing of 64 bits.
	h := held(t, dear(1), dear(2))
	n.countFees(h)
	if err := n.solvent(cheap); !errors.Is(err, ErrPayerBusy) {
		t.Errorf("with dear fees under way: %v", err)
	}
	n.discountFees(h)
	n.discountFees(h)
	if len(n.seenFees) != 0 {
		t.Errorf("left over: %v", n.seenFees)
	}
	// What the payer has not signed does not keep it busy.
	h.block.Transactions[0].SignatureOK = false
	h.block.Transactions[1].SignatureOK = false
	n.countFees(h)
	if err := n.solvent(cheap); err != nil {
		t.Errorf("with forged transactions under way: %v", err)
	}
}
