package consensus

import (
	"slices"
	"sort"

	"tutti/ledger"
)

// AncestorsMax is how many of a fork's newest blocks a vote may name, as in
// Solana's SlotHashes sysvar (FORMATS section 8).
const AncestorsMax = 512

// Ancestry is what a vote is checked against: the AncestorsMax newest blocks
// of the fork, the parent of the block that holds the vote being the newest.
type Ancestry interface {
	// At returns the id of the fork's block in a slot, false if the slot
	// has none or is below Oldest.
	At(ledger.Slot) (ledger.Hash, bool)
	// Oldest returns the lowest slot that At knows.
	Oldest() ledger.Slot
}

const chunkLen = 64

// Lineage is a block and its newest ancestors, AncestorsMax blocks in all.
// It never changes once made; relatives share most of their memory.
type Lineage struct {
	older  []*[chunkLen]ledger.BlockRef // oldest first, full
	newest []ledger.BlockRef            // oldest first, 1…chunkLen
}

// NewLineage starts with the blocks of a fork, oldest first: the genesis
// block, or the newest blocks up to a root. There must be one at least.
func NewLineage(blocks ...ledger.BlockRef) *Lineage {
	if len(blocks) == 0 {
		panic("consensus: lineage of no block")
	}
	l := &Lineage{}
	for _, b := range blocks {
		l = l.Extend(b)
	}
	return l
}

// Extend returns the lineage of a child.
func (l *Lineage) Extend(child ledger.BlockRef) *Lineage {
	next := &Lineage{older: l.older}
	if len(l.newest) < chunkLen {
		next.newest = append(slices.Clone(l.newest), child)
		return next
	}
	older := l.older
	if len(older) == AncestorsMax/chunkLen {
		older = older[1:]
	}
	next.older = append(slices.Clone(older), (*[chunkLen]ledger.BlockRef)(l.newest))
	next.newest = []ledger.BlockRef{child}
	return next
}

// Len returns how many blocks are known, at most AncestorsMax.
func (l *Lineage) Len() int { return min(l.all(), AncestorsMax) }

// Block returns the i-th newest block; 0 is the block itself.
func (l *Lineage) Block(i int) ledger.BlockRef { return l.get(l.all() - 1 - i) }

// Oldest returns the slot of the oldest block that is known.
func (l *Lineage) Oldest() ledger.Slot { return l.Block(l.Len() - 1).Slot }

// At returns the id of the block in a slot.
func (l *Lineage) At(slot ledger.Slot) (ledger.Hash, bool) {
	after := l.After(slot)
	if after == l.Len() {
		return ledger.Hash{}, false
	}
	b := l.Block(after)
	return b.ID, b.Slot == slot
}

// Has tells whether b is the block or one of its known ancestors.
func (l *Lineage) Has(b ledger.BlockRef) bool {
	id, ok := l.At(b.Slot)
	return ok && id == b.ID
}

// After returns how many of the known blocks have a higher slot. With
// e(b) of Ballots.Executed as the slot it is the lag Λ(b) of PROTOCOL
// section 9, which counts no further than AncestorsMax.
func (l *Lineage) After(slot ledger.Slot) int {
	return sort.Search(l.Len(), func(i int) bool { return l.Block(i).Slot <= slot })
}

func (l *Lineage) all() int { return len(l.older)*chunkLen + len(l.newest) }

func (l *Lineage) get(i int) ledger.BlockRef {
	if c := i / chunkLen; c < len(l.older) {
		return l.older[c][i%chunkLen]
	}
	return l.newest[i-len(l.older)*chunkLen]
}

// Refs returns the known blocks, oldest first: NewLineage takes them back.
func (l *Lineage) Refs() []ledger.BlockRef {
	refs := make([]ledger.BlockRef, l.Len())
	for i := range refs {
		refs[len(refs)-1-i] = l.Block(i)
	}
	return refs
}
