package bank

import (
	"bytes"
	"cmp"
	"slices"

	"tutti/bank/program"
	"tutti/internal/planted"
	"tutti/ledger"
)

// burnPercent is the part of the base fees that is destroyed.
const burnPercent = 50

// bill takes from proposers what their garbage costs: 5 000 lamports for each
// signature of a transaction that they could have known to be worthless, by
// UserBlockSlot and lane, down to zero (PROTOCOL section 8, Garbage has a
// price). It is burnt.
func (x *execution) bill() {
	bills := make(map[*Recorded]ledger.Lamports)
	for i := range x.jobs {
		if j := &x.jobs[i]; x.isGarbage(j) {
			bills[j.source] += ledger.FeePerSignature * ledger.Lamports(j.tx.NumSignatures())
		}
	}
	billed := make([]*Recorded, 0, len(bills))
	for i := range x.block.UserBlocks {
		if r := &x.block.UserBlocks[i]; bills[r] > 0 {
			billed = append(billed, r)
		}
	}
	slices.SortStableFunc(billed, func(a, b *Recorded) int {
		return cmp.Or(cmp.Compare(a.Block.Ref.U, b.Block.Ref.U), cmp.Compare(a.Block.Ref.Lane, b.Block.Ref.Lane))
	})
	for _, r := range billed {
		account := x.account(r.Block.Proposer)
		paid := min(bills[r], account.Lamports)
		account.Lamports -= paid
		if account.Lamports == 0 {
			*account = program.Missing()
		}
		x.burned += paid
	}
}

// isGarbage tells whether a transaction is billed to its proposer. Those that
// may have become worthless after the proposer last looked, at the anchor, are
// not.
func (x *execution) isGarbage(j *job) bool {
	switch j.outcome {
	case BadSignature, Unpayable:
		return true
	case Duplicate:
		return x.messages[j.message].slot <= j.source.Anchor.Slot
	case BadNonce:
		n := j.slots[j.nonce]
		return !x.slots[n].nonceChanged() && !x.nonceChangedAfter(x.slots[n].key, j.source.Anchor.Slot)
	}
	return false
}

// nonceChangedAfter tells whether one of the fork's blocks after a slot, this
// one excluded, has changed a nonce account.
func (x *execution) nonceChangedAfter(key ledger.Pubkey, slot ledger.Slot) bool {
	for _, p := range slices.Backward(x.state.trail) {
		if p.Ref.Slot <= slot {
			return false
		}
		if slices.Contains(p.Nonces, key) {
			return true
		}
	}
	return false
}

// reward pays the proposers: half of the base fees and all of the priority
// fees of what executed from their UserBlocks, one deposit for each in order of
// key. A deposit that the account may not take is burnt.
func (x *execution) reward() {
	type share struct{ base, priority ledger.Lamports }
	shares := make(map[ledger.Pubkey]share)
	for i := range x.jobs {
		if j := &x.jobs[i]; j.outcome.Processed() {
			s := shares[j.source.Block.Proposer]
			shares[j.source.Block.Proposer] = share{s.base + j.base, s.priority + j.priority}
		}
	}
	proposers := make([]ledger.Pubkey, 0, len(shares))
	for key := range shares {
		proposers = append(proposers, key)
	}
	slices.SortFunc(proposers, func(a, b ledger.Pubkey) int { return bytes.Compare(a[:], b[:]) })
	for _, key := range proposers {
		s := shares[key]
		burnt := s.base * burnPercent / 100
		if !planted.Is(planted.BurnLost) {
			x.burned += burnt
		}
		if planted.Is(planted.FeeSplit) {
			burnt = 0
		}
		x.deposit(key, s.base-burnt+s.priority)
	}
}

// deposit credits a proposer, unless that account is not the System
// program's or would be rent-paying.
func (x *execution) deposit(key ledger.Pubkey, amount ledger.Lamports) {
	account := x.account(key)
	after := *account
	after.Lamports = saturatingAdd(account.Lamports, amount)
	if account.Owner != ledger.SystemProgram || after.Lamports-account.Lamports != amount ||
		!program.RentStateOf(account).MayBecome(program.RentStateOf(&after)) {
		x.burned += amount
		return
	}
	*account = after
}

// incinerate destroys what was sent to the incinerator.
func (x *execution) incinerate() {
	account := x.account(program.Incinerator)
	x.burned += account.Lamports
	*account = program.Missing()
}
