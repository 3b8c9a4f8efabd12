package bank

import (
	"testing"

	"tutti/bank/program"
	"tutti/ledger"
)

// bundlePrice makes the priority fee of a bundle with n members, of 1000
// units each like its bundler, n+1 times 2000 lamports.
const bundlePrice = 2_000_000

func (w *world) member(from, to ledger.Pubkey, lamports ledger.Lamports) ledger.UserTransaction {
	return w.priced(from, to, lamports, 0)
}

func TestBundleSucceeds(t *testing.T) {
	w := newWorld(t, 1)
	proposer := w.balance(identity(0))
	tip := transferCall(user(0), user(9), sol/2)
	r := w.run(w.bundle(user(0), bundlePrice, []ledger.Call{tip},
		w.member(user(1), user(2), sol), w.priced(user(3), user(4), sol, 7_000_000))...)
	w.expect(r, OK, OK, OK)
	for i, want := range []ledger.Lamports{5000 + 6000, 5000, 5000} {
		if got := r.Receipts[i].Fee; got != want {
			t.Errorf("fee %d is %d, want %d: members pay no priority fee", i, got, want)
		}
	}
	if got, want := w.balance(identity(0))-proposer, ledger.Lamports(3*2500+6000); got != want {
		t.Errorf("proposer got %d, want %d", got, want)
	}
	if w.balance(user(9)) != 10*sol+sol/2 || w.balance(user(2)) != 11*sol {
		t.Error("effects are missing")
	}
}

func TestBundleAborts(t *testing.T) {
	const whole = 3*5000 + 6000
	at := func(place uint32) *ledger.TransactionError {
		e := ledger.InstructionFailure(2, ledger.CustomError(place))
		return &e
	}
	own := ledger.InstructionFailure(3, ledger.CustomError(1))
	refuse := func(w *world, from, to ledger.Pubkey) ledger.UserTransaction {
		return w.transaction(from, append(priceCalls(0), ledger.RefuseBundleCall(), transferCall(from, to, 1))...)
	}
	for _, c := range []struct {
		name    string
		tip     ledger.Lamports
		members func(w *world) (a, b ledger.UserTransaction)
		want    *ledger.TransactionError
	}{
		{"first member fails", 1, func(w *world) (a, b ledger.UserTransaction) {
			return w.member(user(1), user(2), 100*sol), w.member(user(3), user(4), sol)
		}, at(1)},
		{"second member fails", 1, func(w *world) (a, b ledger.UserTransaction) {
			return w.member(user(1), user(2), sol), w.member(user(3), user(4), 100*sol)
		}, at(2)},
		{"bad signature", 1, func(w *world) (a, b ledger.UserTransaction) {
			a = w.member(user(1), user(2), sol)
			a.SignatureOK = false
			return a, w.member(user(3), user(4), sol)
		}, at(1)},
		{"unpayable", 1, func(w *world) (a, b ledger.UserTransaction) {
			return w.member(user(1), user(2), sol), w.member(testKey("absent", 0), user(4), 0)
		}, at(2)},
		{"refuses", 1, func(w *world) (a, b ledger.UserTransaction) {
			return w.member(user(1), user(2), sol), refuse(w, user(3), user(4))
		}, at(2)},
		{"the bundler itself fails", 100 * sol, func(w *world) (a, b ledger.UserTransaction) {
			return w.member(user(1), user(2), sol), w.member(user(3), user(4), sol)
		}, &own},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1)
			proposer := w.balance(identity(0))
			a, b := c.members(w)
			r := w.run(w.bundle(user(0), bundlePrice, []ledger.Call{transferCall(user(0), user(9), c.tip)}, a, b)...)
			w.expect(r, Failed, BundleAborted, BundleAborted)
			w.expectError(r, 0, *c.want)
			if got := r.Receipts[0].Fee; got != whole {
				t.Errorf("bundler pays %d, want %d", got, whole)
			}
			for i := 1; i <= 2; i++ {
				if r.Receipts[i].Fee != 0 || r.Receipts[i].Units != 0 || r.Receipts[i].Error != nil {
					t.Errorf("receipt of an aborted member: %+v", r.Receipts[i])
				}
			}
			if w.balance(user(0)) != 10*sol-whole {
				t.Error("the bundler pays another amount")
			}
			for _, i := range []int{1, 2, 3, 4, 9} {
				if w.balance(user(i)) != 10*sol {
					t.Errorf("user %d is touched", i)
				}
			}
			// Half of the base fees is burnt, nothing is billed.
			if got, want := w.balance(identity(0))-proposer, ledger.Lamports(3*2500+6000); got != want {
				t.Errorf("proposer got %d, want %d", got, want)
			}
			if r.SignatureCount != 1 {
				t.Errorf("%d signatures", r.SignatureCount)
			}
			// Members may come again, the bundler is processed.
			if a.SignatureOK {
				a.Role = ledger.NoBundle
				want := OK
				if c.want == at(1) || c.name == "first member fails" {
					want = Failed
				}
				w.expect(w.run(a), want)
			}
		})
	}
}

func TestBundleWithDuplicateAborts(t *testing.T) {
	w := newWorld(t, 1)
	done := w.member(user(1), user(2), sol)
	w.run(done)
	r := w.run(w.bundle(user(0), 0, nil, w.member(user(3), user(4), sol), done)...)
	w.expect(r, Failed, BundleAborted, BundleAborted)
	w.expectError(r, 0, ledger.InstructionFailure(2, ledger.CustomError(2)))
}

func TestBundlerIsJudgedFirst(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *world, txs []ledger.UserTransaction)
		want   Outcome
	}{
		{"bad signature", func(_ *world, txs []ledger.UserTransaction) { txs[0].SignatureOK = false }, BadSignature},
		{"duplicate", func(w *world, txs []ledger.UserTransaction) {
			alone := txs[0]
			alone.Role, alone.BundleSize = ledger.NoBundle, 0
			w.run(alone)
		}, Duplicate},
		{"unpayable", func(w *world, txs []ledger.UserTransaction) {
			w.run(w.transfer(user(0), user(8), 9*sol+sol/2+499_000_000-15_000))
		}, Unpayable},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1)
			txs := w.bundle(user(0), bundlePrice, nil, w.member(user(1), user(2), sol), w.member(user(3), user(4), sol))
			if c.name == "unpayable" {
				// Can pay 5 000 × all signatures, but not with the price.
				txs = w.bundle(user(0), 300_000_000, nil, w.member(user(1), user(2), sol), w.member(user(3), user(4), sol))
			}
			c.change(w, txs)
			before := w.balance(user(0))
			r := w.run(txs...)
			w.expect(r, c.want, BundleAborted, BundleAborted)
			if w.balance(user(0)) != before || w.balance(user(1)) != 10*sol {
				t.Error("something is paid")
			}
		})
	}
}

// TestBundleKeepsTogether: a bundle stands at its bundler's price, and nothing
// gets in between.
func TestBundleKeepsTogether(t *testing.T) {
	w := newWorld(t, 1)
	txs := []ledger.UserTransaction{w.priced(user(5), user(6), 1, 3_000_000), w.priced(user(5), user(6), 2, 1_000_000)}
	txs = append(txs, w.bundle(user(0), bundlePrice, nil,
		w.priced(user(1), user(2), 1, 9_000_000), w.member(user(3), user(4), 1))...)
	r := w.run(txs...)
	w.expect(r, OK, OK, OK, OK, OK)
	for i, index := range []uint32{0, 2, 3, 4, 1} {
		if r.Receipts[i].Index != index {
			t.Errorf("place %d is index %d, want %d", i, r.Receipts[i].Index, index)
		}
	}
	if r.Receipts[1].Units != 3*program.BuiltinUnits {
		t.Errorf("bundler used %d units", r.Receipts[1].Units)
	}
}
