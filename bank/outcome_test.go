package bank

import (
	"testing"

	"tutti/bank/program"
	"tutti/cluster"
	"tutti/ledger"
)

func TestTransferPaysAndMoves(t *testing.T) {
	w := newWorld(t, 1)
	before := w.balance(identity(0))
	r := w.run(w.priced(user(0), user(1), 3*sol, 2_000_000))
	w.expect(r, OK)
	receipt := r.Receipts[0]
	if receipt.Fee != 5000+2000 || receipt.Units != 3*program.BuiltinUnits || receipt.Error != nil {
		t.Errorf("receipt: %+v", receipt)
	}
	for _, c := range []struct {
		name string
		key  ledger.Pubkey
		want ledger.Lamports
	}{
		{"payer", user(0), 7*sol - 7000},
		{"receiver", user(1), 13 * sol},
		{"proposer", identity(0), before + 2500 + 2000},
	} {
		if got := w.balance(c.key); got != c.want {
			t.Errorf("%s has %d, want %d", c.name, got, c.want)
		}
	}
	if r.Burned != 2500 || r.SignatureCount != 1 || r.Height != 1 {
		t.Errorf("burned %d, %d signatures, height %d", r.Burned, r.SignatureCount, r.Height)
	}
}

// TestOutcomes has one row for each sentence about outcomes in PROTOCOL
// section 8: the first that matches wins.
func TestOutcomes(t *testing.T) {
	poor := testKey("poor", 0)       // can pay 5000 and no more, exactly
	rentless := testKey("poor", 1)   // would be left rent-paying
	foreign := testKey("foreign", 0) // owned by a program
	absent := testKey("absent", 0)
	nonced := func(w *world, payer ledger.Pubkey) ledger.UserTransaction {
		advance := ledger.Call{
			Program: ledger.SystemProgram,
			Accounts: []ledger.AccountMeta{
				{Key: user(5), Writable: true}, {Key: cluster.SysvarRecentBlockhashes}, {Key: payer, Signer: true},
			},
			Data: []byte{4, 0, 0, 0},
		}
		return w.transactionWith(ledger.Hash{1}, payer, advance)
	}
	bad := func(tx ledger.UserTransaction) ledger.UserTransaction {
		tx.SignatureOK = false
		return tx
	}
	for _, c := range []struct {
		name string
		txs  func(w *world) []ledger.UserTransaction
		want []Outcome
	}{
		{"bad signature before duplicate", func(w *world) []ledger.UserTransaction {
			tx := w.transfer(user(0), user(1), sol)
			return []ledger.UserTransaction{tx, bad(tx)}
		}, []Outcome{OK, BadSignature}},
		{"a bad signature is no occurrence", func(w *world) []ledger.UserTransaction {
			tx := w.transfer(user(0), user(1), sol)
			return []ledger.UserTransaction{bad(tx), tx}
		}, []Outcome{BadSignature, OK}},
		{"duplicate of ok", func(w *world) []ledger.UserTransaction {
			tx := w.transfer(user(0), user(1), sol)
			return []ledger.UserTransaction{tx, tx, tx}
		}, []Outcome{OK, Duplicate, Duplicate}},
		{"duplicate of failed", func(w *world) []ledger.UserTransaction {
			tx := w.transfer(user(0), user(1), 100*sol)
			return []ledger.UserTransaction{tx, tx}
		}, []Outcome{Failed, Duplicate}},
		{"unpayable is not processed", func(w *world) []ledger.UserTransaction {
			tx := w.transfer(absent, user(1), 1)
			return []ledger.UserTransaction{tx, w.transfer(user(0), absent, sol), tx}
		}, []Outcome{Unpayable, OK, OK}},
		{"bad nonce before unpayable", func(w *world) []ledger.UserTransaction {
			return []ledger.UserTransaction{nonced(w, absent), nonced(w, user(0))}
		}, []Outcome{BadNonce, BadNonce}},
		{"unpayable: absent", func(w *world) []ledger.UserTransaction {
			return []ledger.UserTransaction{w.transfer(absent, user(1), 0)}
		}, []Outcome{Unpayable}},
		{"unpayable: not system-owned", func(w *world) []ledger.UserTransaction {
			return []ledger.UserTransaction{w.transfer(foreign, user(1), 0)}
		}, []Outcome{Unpayable}},
		{"payable to the last lamport, then empty", func(w *world) []ledger.UserTransaction {
			tx := w.transaction(poor)
			return []ledger.UserTransaction{tx, w.transfer(poor, user(1), 0)}
		}, []Outcome{OK, Unpayable}},
		{"unpayable: by a priority fee", func(w *world) []ledger.UserTransaction {
			return []ledger.UserTransaction{w.priced(user(0), user(1), 0, 1<<63)}
		}, []Outcome{Unpayable}},
		{"unpayable: rent", func(w *world) []ledger.UserTransaction {
			return []ledger.UserTransaction{w.transfer(rentless, user(1), 0)}
		}, []Outcome{Unpayable}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1, func(o *cluster.Options) {
				o.Accounts = append(o.Accounts,
					cluster.GenesisAccount{Key: poor, Lamports: 5000},
					cluster.GenesisAccount{Key: rentless, Lamports: 890_880 + 4999},
					cluster.GenesisAccount{Key: foreign, Lamports: sol, Owner: user(9)})
			})
			w.expect(w.run(c.txs(w)...), c.want...)
		})
	}
}

func TestDuplicateWindow(t *testing.T) {
	w := newWorld(t, 1)
	tx := w.transfer(user(0), user(1), sol)
	first := w.run(tx)
	w.expect(first, OK)
	for range duplicateWindow - 1 {
		w.run()
	}
	w.expect(w.run(tx), Duplicate) // the 150th block after it
	w.expect(w.run(tx), OK)        // the 151st
	w.expect(w.run(tx), Duplicate)

	// Roots do not shorten the window, and it follows forks.
	if err := w.bank.SetRoot(w.tip); err != nil {
		t.Fatal(err)
	}
	w.expect(w.run(tx), Duplicate)
}

func TestDuplicatesFollowForks(t *testing.T) {
	w := newWorld(t, 1)
	w.run()
	base := w.tip
	tx := w.transfer(user(0), user(1), sol)
	w.expect(w.run(tx), OK)
	w.expect(w.run(tx), Duplicate)
	a := w.tip
	w.tip = base
	w.execute(w.block(3, "other"))
	w.expect(w.run(tx), OK)
	w.tip = a
	w.expect(w.run(tx), Duplicate)
}

// TestReserve follows PROTOCOL section 8, Reserve, with a reserve of
// 1 000 000 lamports.
func TestReserve(t *testing.T) {
	const reserve = 1_000_000
	broken := func(i uint8) *ledger.TransactionError {
		return &ledger.TransactionError{Kind: ledger.InsufficientFundsForRent, Index: i}
	}
	fresh := testKey("fresh", 0)
	assign := func(key ledger.Pubkey) ledger.Call {
		owner := user(99)
		return ledger.Call{
			Program:  ledger.SystemProgram,
			Accounts: []ledger.AccountMeta{{Key: key, Signer: true, Writable: true}},
			Data:     append([]byte{1, 0, 0, 0}, owner[:]...),
		}
	}
	allocate := func(key ledger.Pubkey) ledger.Call {
		return ledger.Call{
			Program:  ledger.SystemProgram,
			Accounts: []ledger.AccountMeta{{Key: key, Signer: true, Writable: true}},
			Data:     append([]byte{8, 0, 0, 0}, le64(10)...),
		}
	}
	for _, c := range []struct {
		name    string
		reserve ledger.Lamports
		calls   []ledger.Call
		want    *ledger.TransactionError
	}{
		{"down to it", reserve, []ledger.Call{transferCall(user(0), user(1), 10*sol-5000-reserve)}, nil},
		{"below it", reserve, []ledger.Call{transferCall(user(0), user(1), 10*sol-5000-reserve+1)}, broken(0)},
		{"switched off", 0, []ledger.Call{transferCall(user(0), user(1), 10*sol-5000)}, nil},
		{"in the meantime only", reserve, []ledger.Call{
			transferCall(user(0), user(1), 10*sol-10_000), transferCall(user(1), user(0), reserve),
		}, nil},
		{"of a signer that does not pay", reserve, []ledger.Call{transferCall(user(1), user(0), 10*sol)}, broken(1)},
		{"after Agave's rent check", reserve, []ledger.Call{
			transferCall(user(0), user(1), 10*sol-10_000), transferCall(user(1), fresh, 1),
		}, broken(2)},
		{"a signer that held something is not assigned", reserve, []ledger.Call{assign(user(1))}, broken(1)},
		{"nor allocated", reserve, []ledger.Call{allocate(user(1))}, broken(1)},
		{"unless switched off", 0, []ledger.Call{allocate(user(1)), assign(user(1))}, nil},
		{"an empty signer may be", reserve, []ledger.Call{allocate(fresh), assign(fresh), transferCall(user(0), fresh, sol)}, nil},
		{"and emptied again", reserve, []ledger.Call{transferCall(user(0), fresh, sol), transferCall(fresh, user(0), sol)}, nil},
		{"proposer bond", reserve, []ledger.Call{transferCall(identity(1), user(0), 995*sol)}, nil},
		{"below the bond", reserve, []ledger.Call{transferCall(identity(1), user(0), 995*sol+1)}, broken(0)},
		{"below the bond without reserve", 0, []ledger.Call{transferCall(identity(1), user(0), 995*sol+1)}, broken(0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1, func(o *cluster.Options) { o.Params.Reserve = c.reserve })
			payer := user(0)
			if c.calls[0].Accounts[0].Key == identity(1) {
				// The fee is another's, so that the bond is met exactly.
				payer = user(2)
				if c.want != nil {
					c.want = broken(1)
				}
			}
			r := w.run(w.transaction(payer, c.calls...))
			if c.want == nil {
				w.expect(r, OK)
			} else {
				w.expectError(r, 0, *c.want)
			}
		})
	}
}

func TestReserveOfWhoHasLess(t *testing.T) {
	small := testKey("small", 0)
	w := newWorld(t, 1, func(o *cluster.Options) {
		o.Accounts = append(o.Accounts, cluster.GenesisAccount{Key: small, Lamports: 900_000 + 2*5000})
	})
	// Fees may go below the reserve; other things may not go below what is
	// left after them.
	r := w.run(w.transfer(small, small, 1), w.transfer(small, user(1), 1))
	w.expect(r, OK, Failed)
	if got := w.balance(small); got != 900_000 {
		t.Errorf("%d lamports are left", got)
	}
}

func TestFailedKeepsFeeAlone(t *testing.T) {
	w := newWorld(t, 1)
	r := w.run(w.transaction(user(0), transferCall(user(0), user(1), sol), transferCall(user(0), user(1), 100*sol)))
	w.expectError(r, 0, ledger.InstructionFailure(1, ledger.CustomError(1)))
	if w.balance(user(0)) != 10*sol-5000 || w.balance(user(1)) != 10*sol {
		t.Error("effects of a failed transaction are kept, or its fee is not")
	}
	if r.Receipts[0].Units != 2*program.BuiltinUnits {
		t.Errorf("%d units", r.Receipts[0].Units)
	}
}

func TestLoadingFails(t *testing.T) {
	loaded := func(n uint32) ledger.Call {
		return ledger.Call{Program: ledger.ComputeBudgetProgram, Data: []byte{4, byte(n), byte(n >> 8), 0, 0}}
	}
	kind := func(k ledger.TransactionErrorKind) ledger.TransactionError { return ledger.TransactionError{Kind: k} }
	for _, c := range []struct {
		name  string
		calls []ledger.Call
		want  ledger.TransactionError
	}{
		{"no program", []ledger.Call{{Program: testKey("none", 0)}}, kind(ledger.ProgramAccountNotFound)},
		{"no program's owner", []ledger.Call{{Program: cluster.SysvarClock}}, kind(ledger.InvalidProgramForExecution)},
		{"a user as program", []ledger.Call{{Program: user(1)}}, kind(ledger.InvalidProgramForExecution)},
		// Payer 64, System program 64 + 14, ComputeBudget 64 + 22.
		{"too many bytes", []ledger.Call{loaded(227), transferCall(user(0), user(0), 0)}, kind(ledger.MaxLoadedAccountsDataSizeExceeded)},
		{
			"the builtin that is not executed here",
			[]ledger.Call{{Program: ledger.VoteProgram, Data: []byte{0}}},
			ledger.InstructionFailure(0, ledger.InstructionError{Kind: ledger.InstructionUnsupportedProgramId}),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.expectError(w.run(w.transaction(user(0), c.calls...)), 0, c.want)
			if w.balance(user(0)) != 10*sol-5000 {
				t.Error("the fee is not kept")
			}
		})
	}
	w := newWorld(t, 1)
	w.expect(w.run(w.transaction(user(0), loaded(228), transferCall(user(0), user(0), 0))), OK)
}

func TestUnitLimit(t *testing.T) {
	w := newWorld(t, 1)
	limit := ledger.Call{Program: ledger.ComputeBudgetProgram, Data: []byte{2, 200, 0, 0, 0}}
	r := w.run(w.transaction(user(0), limit, transferCall(user(0), user(1), 1)))
	w.expectError(r, 0, ledger.InstructionFailure(1,
		ledger.InstructionError{Kind: ledger.InstructionComputationalBudgetExceeded}))
	if r.Receipts[0].Units != 200 {
		t.Errorf("%d units", r.Receipts[0].Units)
	}
}

func TestNewAccountMustBeRentExempt(t *testing.T) {
	w := newWorld(t, 1)
	r := w.run(w.transfer(user(0), testKey("new", 0), 890_879), w.transfer(user(0), testKey("new", 0), 890_880))
	w.expect(r, Failed, OK)
	w.expectError(r, 0, ledger.TransactionError{Kind: ledger.InsufficientFundsForRent, Index: 1})
}

// TestReadersBeforeAWriter: a transaction that only reads an account, and has to
// wait for another reason, reads it as it is before one behind it writes it.
func TestReadersBeforeAWriter(t *testing.T) {
	for _, workers := range []int{1, 2, 4} {
		w := newWorld(t, workers)
		absent := testKey("program", 0)
		r := w.run(
			w.transaction(user(0), transferCall(user(0), user(2), 1)),
			w.transaction(user(0), ledger.Call{Program: absent}), // waits for its payer
			w.transaction(user(1), transferCall(user(1), absent, sol)),
		)
		w.expect(r, OK, Failed, OK)
		w.expectError(r, 1, ledger.TransactionError{Kind: ledger.ProgramAccountNotFound})
	}
}
