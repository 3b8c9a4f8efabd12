package bank

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"tutti/cluster"
	"tutti/internal/testkit"
	"tutti/ledger"
)

// tableData is a lookup table's data.
func tableData(closed, extended uint64, old uint8, addresses ...ledger.Pubkey) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1)
	b = binary.LittleEndian.AppendUint64(b, closed)
	b = binary.LittleEndian.AppendUint64(b, extended)
	b = append(b, old)
	b = append(b, make([]byte, tableHeader-len(b))...)
	for _, a := range addresses {
		b = append(b, a[:]...)
	}
	return b
}

// lookup makes a version 0 transaction of user 0: a transfer to key 2, the
// first that the table's indices load.
func (w *world) lookup(amount ledger.Lamports, table ledger.Pubkey, writable, readonly []byte) ledger.UserTransaction {
	payer := user(0)
	raw := append([]byte{1}, make([]byte, 64)...)
	raw = append(raw, 0x80, 1, 0, 1, 2)
	raw = append(raw, payer[:]...)
	raw = append(raw, ledger.SystemProgram[:]...)
	hash := w.blockhash()
	raw = append(raw, hash[:]...)
	call := transferCall(payer, payer, amount)
	raw = append(raw, 1, 1, 2, 0, 2, byte(len(call.Data)))
	raw = append(raw, call.Data...)
	raw = append(raw, 1)
	raw = append(raw, table[:]...)
	raw = append(append(raw, byte(len(writable))), writable...)
	raw = append(append(raw, byte(len(readonly))), readonly...)
	return w.parse(raw)
}

func TestLookups(t *testing.T) {
	table := testKey("table", 0)
	const never = math.MaxUint64
	kind := func(k ledger.TransactionErrorKind) *ledger.TransactionError { return &ledger.TransactionError{Kind: k} }
	readonly := ledger.InstructionFailure(0, ledger.InstructionError{Kind: ledger.InstructionReadonlyLamportChange})
	for _, c := range []struct {
		name               string
		owner              ledger.Pubkey
		data               []byte
		writable, readonly []byte
		want               *ledger.TransactionError
	}{
		{"fine", ledger.LookupTableProgram, tableData(never, 0, 0, user(1), user(2)), []byte{1}, []byte{0}, nil},
		{"read only", ledger.LookupTableProgram, tableData(never, 0, 0, user(1)), nil, []byte{0}, &readonly},
		{"owner", user(9), tableData(never, 0, 0, user(1)), []byte{0}, nil, kind(ledger.InvalidAddressLookupTableOwner)},
		{"index", ledger.LookupTableProgram, tableData(never, 0, 0, user(1)), []byte{1}, nil, kind(ledger.InvalidAddressLookupTableIndex)},
		{"read-only index", ledger.LookupTableProgram, tableData(never, 0, 0, user(1)), []byte{0}, []byte{1}, kind(ledger.InvalidAddressLookupTableIndex)},
		{"no table", ledger.LookupTableProgram, make([]byte, 56), []byte{0}, nil, kind(ledger.InvalidAddressLookupTableData)},
		{"short", ledger.LookupTableProgram, tableData(never, 0, 0)[:55], []byte{0}, nil, kind(ledger.InvalidAddressLookupTableData)},
		{"ragged", ledger.LookupTableProgram, tableData(never, 0, 0, user(1))[:80], []byte{0}, nil, kind(ledger.InvalidAddressLookupTableData)},
		{"added in this slot", ledger.LookupTableProgram, tableData(never, 2, 1, user(1), user(2)), []byte{1}, nil, kind(ledger.InvalidAddressLookupTableIndex)},
		{"there before", ledger.LookupTableProgram, tableData(never, 2, 1, user(1), user(2)), []byte{0}, nil, nil},
		{"added before", ledger.LookupTableProgram, tableData(never, 1, 1, user(1), user(2)), []byte{1}, nil, nil},
		{"closing", ledger.LookupTableProgram, tableData(1, 0, 0, user(1)), []byte{0}, nil, nil},
		{"closing now", ledger.LookupTableProgram, tableData(2, 0, 0, user(1)), []byte{0}, nil, nil},
		{"loaded twice", ledger.LookupTableProgram, tableData(never, 0, 0, user(1), user(1)), []byte{0}, []byte{1}, kind(ledger.AccountLoadedTwice)},
		{"static key loaded", ledger.LookupTableProgram, tableData(never, 0, 0, user(0)), []byte{0}, nil, kind(ledger.AccountLoadedTwice)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1, func(o *cluster.Options) {
				o.Accounts = append(o.Accounts, cluster.GenesisAccount{
					Key: table, Lamports: sol, Owner: c.owner, Data: c.data,
				})
			})
			w.run()
			r := w.run(w.lookup(sol, table, c.writable, c.readonly))
			if c.want != nil {
				w.expectError(r, 0, *c.want)
				return
			}
			w.expect(r, OK)
			to := ledger.Pubkey(c.data[tableHeader+32*int(c.writable[0]):][:32])
			if w.balance(to) != 11*sol {
				t.Error("the loaded account has not got the lamports")
			}
		})
	}
	w := newWorld(t, 1)
	w.expectError(w.run(w.lookup(1, table, []byte{0}, nil)), 0,
		ledger.TransactionError{Kind: ledger.AddressLookupTableNotFound})
}

// TestClosedTable: a table that was closed is gone once SlotHashes has
// forgotten the slot, or never had it.
func TestClosedTable(t *testing.T) {
	table := testKey("table", 0)
	w := newWorld(t, 1, func(o *cluster.Options) {
		o.Accounts = append(o.Accounts, cluster.GenesisAccount{
			Key: table, Lamports: sol, Owner: ledger.LookupTableProgram, Data: tableData(3, 0, 0, user(1)),
		})
	})
	w.run()
	w.execute(w.block(2, "")) // slot 3 has no block
	w.expectError(w.run(w.lookup(1, table, []byte{0}, nil)), 0,
		ledger.TransactionError{Kind: ledger.AddressLookupTableNotFound})
}

// TestBundleUndoesWhatItLookedUp: accounts that a member loaded from a table
// are put back when the bundle aborts.
func TestBundleUndoesWhatItLookedUp(t *testing.T) {
	table := testKey("table", 0)
	w := newWorld(t, 1, func(o *cluster.Options) {
		o.Accounts = append(o.Accounts, cluster.GenesisAccount{
			Key: table, Lamports: sol, Owner: ledger.LookupTableProgram,
			Data: tableData(math.MaxUint64, 0, 0, testKey("loaded", 0), user(2)),
		})
	})
	r := w.run(w.bundle(user(5), 0, nil,
		w.lookup(sol, table, []byte{0}, nil), w.lookup(sol, table, []byte{0, 1}, nil), w.member(user(3), user(4), 100*sol))...)
	w.expect(r, Failed, BundleAborted, BundleAborted, BundleAborted)
	w.expectError(r, 0, ledger.InstructionFailure(2, ledger.CustomError(3)))
	if w.balance(testKey("loaded", 0)) != 0 || w.balance(user(2)) != 10*sol || w.balance(user(0)) != 10*sol {
		t.Error("a looked up account is not put back")
	}
}

// TestLookupsInParallel: what tables name conflicts with what others name
// outright, in bundles too, whatever the number of workers.
func TestLookupsInParallel(t *testing.T) {
	rng := testkit.Rand(t)
	table := testKey("table", 0)
	w := newWorld(t, 1, func(o *cluster.Options) {
		var all []ledger.Pubkey
		for i := range 20 {
			all = append(all, user(i))
		}
		o.Accounts = append(o.Accounts, cluster.GenesisAccount{
			Key: table, Lamports: sol, Owner: ledger.LookupTableProgram, Data: tableData(math.MaxUint64, 0, 0, all...),
		})
	})
	others := []*world{worldOf(t, w.genesis, 2), worldOf(t, w.genesis, 4)}
	outcomes := make(map[Outcome]int)
	for range 20 {
		var txs []ledger.UserTransaction
		one := func() ledger.UserTransaction {
			amount := ledger.Lamports(rng.Uint64N(uint64(sol)))
			if rng.IntN(3) == 0 {
				return w.lookup(amount, table, []byte{byte(1 + rng.IntN(19))}, nil)
			}
			return w.priced(user(rng.IntN(20)), user(rng.IntN(20)), amount, 0)
		}
		for range 60 {
			if rng.IntN(6) > 0 {
				txs = append(txs, one())
				continue
			}
			txs = append(txs, w.bundle(user(rng.IntN(20)), 0, nil, one(), one())...)
		}
		txs = slices.CompactFunc(txs, func(a, b ledger.UserTransaction) bool { return a.Hash == b.Hash })
		b := w.block(0, "", userBlock(0, txs...))
		r := w.execute(b)
		for _, x := range r.Receipts {
			outcomes[x.Outcome]++
		}
		for _, o := range others {
			if got := o.execute(b).BankHash; got != r.BankHash {
				t.Fatalf("%d workers give another result", len(o.bank.workers))
			}
		}
	}
	t.Logf("outcomes: %v", outcomes)
}
