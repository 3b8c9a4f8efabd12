package sim

import (
	"tutti/bank"
	"tutti/ledger"
)

// liar is an executor that computes wrong BankHashes from a slot on, as a
// faulty program or machine does: what comes after a wrong one is wrong as
// well, and the links between them hold. The node that has it is the same as
// all others.
type liar struct {
	from ledger.Slot
	// value tells different mistakes apart; equal ones give equal BankHashes.
	value byte
	wrong map[ledger.BlockRef]ledger.Hash
}

// distort returns the result that the executor gives.
func (l *liar) distort(r *bank.Result) *bank.Result {
	if r.Ref.Slot < l.from {
		return r
	}
	out := *r
	if parent, ok := l.wrong[r.Parent]; ok {
		out.Link.Parent, out.ParentBankHash = parent, parent
	}
	out.Link.Delta[0] ^= l.value
	out.BankHash = out.Link.BankHash()
	if l.wrong == nil {
		l.wrong = make(map[ledger.BlockRef]ledger.Hash)
	}
	l.wrong[r.Ref] = out.BankHash
	return &out
}
