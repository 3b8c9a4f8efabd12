package invariant

import (
	"fmt"

	"tutti/ledger"
)

// Halts judges whether a node may halt over BankHashes (PROTOCOL section 10).
// It holds an own copy of every wrong report that accounts ever sent: no node
// can have seen more than that.
type Halts struct {
	ledger *Ledger
	claims map[ledger.Pubkey][]claim
}

// claim is a BankHash that an account has reported.
type claim struct {
	voted ledger.BlockRef
	slot  ledger.Slot
	hash  ledger.Hash
}

// NewHalts returns an empty copy for a ledger.
func NewHalts(l *Ledger) *Halts {
	return &Halts{ledger: l, claims: make(map[ledger.Pubkey][]claim)}
}

// Report takes the BankHash that an account reports of a slot on the fork of a
// block, and tells whether more than a third of the stake is now known to have
// reported another one for it.
func (h *Halts) Report(account ledger.Pubkey, voted ledger.BlockRef, slot ledger.Slot, hash ledger.Hash) (crossed bool) {
	c := claim{voted, slot, hash}
	b := h.block(c)
	if b != nil && b.Executed && b.BankHash == hash {
		return false
	}
	h.claims[account] = append(h.claims[account], c)
	return b != nil && h.Halt(b) == nil
}

// block returns the block of which a claim speaks, nil if nobody holds the
// voted one, or it is not on its fork.
func (h *Halts) block(c claim) *Block {
	b := h.ledger.blocks[c.voted]
	if b == nil {
		return nil
	}
	if at := b.At(c.slot); at != nil && at.Ref.Slot == c.slot {
		return at
	}
	return nil
}

// Against returns the stake of all accounts that have ever reported another
// BankHash than the right one for a block, one of its ancestors, or one of its
// descendants, whose links may show that they differ from the block on; and all
// stake.
func (h *Halts) Against(b *Block) (against, total ledger.Lamports) {
	stakes := h.ledger.stakesAt(b.Ref.Slot)
	for i := range stakes.Items {
		for _, c := range h.claims[stakes.Items[i].VoteAccount] {
			if at := h.block(c); at != nil && at.Executed && at.BankHash != c.hash && (b.Descends(at) || at.Descends(b)) {
				against += stakes.Items[i].Stake
				break
			}
		}
	}
	return against, stakes.TotalStake()
}

// Halt checks that an honest node may stop voting, or halt, over a block: more
// than a third of the total stake reports another BankHash.
func (h *Halts) Halt(b *Block) error {
	against, total := h.Against(b)
	if !h.ledger.stakesAt(b.Ref.Slot).exceeded(against, 1, 3) {
		return fmt.Errorf("stops over %v, where %d of %d lamports report another BankHash", b.Ref, against, total)
	}
	return nil
}
