package bank

import (
	"math"
	"testing"

	"tutti/cluster"
	"tutti/ledger"
)

// FuzzExecute executes any transaction that is well formed, beside a lookup
// table with any data: nothing can make a block unexecutable, and lamports are
// burnt or still there.
func FuzzExecute(f *testing.F) {
	table := testKey("table", 0)
	w := newWorld(f, 1)
	other := w.transfer(user(0), user(1), 1)
	lookup := w.lookup(1, table, []byte{0}, []byte{1})
	durable := w.transactionWith(ledger.Hash{7}, user(0), advanceCall(user(5), user(0)))
	f.Add(other.Raw(), tableData(math.MaxUint64, 0, 0, user(1), user(2)))
	f.Add(lookup.Raw(), tableData(math.MaxUint64, 0, 0, user(1), user(2)))
	f.Add(lookup.Raw(), tableData(0, 1, 9, user(1))[:60])
	f.Add(durable.Raw(), []byte(nil))
	f.Fuzz(func(t *testing.T, raw, data []byte) {
		tx, err := ledger.ParseTransaction(raw)
		if err != nil || tx.Sanitize() != nil || tx.LocksOK() != nil {
			return
		}
		budget, err := tx.ComputeBudget()
		if err != nil {
			return
		}
		w := newWorld(t, 1, func(o *cluster.Options) {
			o.Accounts = append(o.Accounts, cluster.GenesisAccount{
				Key: table, Lamports: sol, Owner: ledger.LookupTableProgram, Data: data[:min(len(data), 9000)],
			})
		})
		supply := func(v *View) (sum ledger.Lamports) {
			for _, k := range v.Keys() {
				sum += v.Balance(k)
			}
			return sum
		}
		before, _ := w.bank.View(w.tip)
		r := w.run(ledger.UserTransaction{Transaction: tx, Hash: tx.MessageHash(), Budget: budget, SignatureOK: true})
		if supply(r.View)+r.Burned != supply(before) {
			t.Fatalf("%d lamports are there and %d burnt, %d were there", supply(r.View), r.Burned, supply(before))
		}
	})
}
