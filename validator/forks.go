// Package validator answers what the SIMD asks of a voter: does this leader
// block obey the rules, and is every UserBlock that it names here? It keeps
// the tree of valid leader blocks above the root. It does not choose between
// forks: consensus does. It executes nothing.
package validator

import (
	"errors"
	"fmt"
	"slices"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/internal/planted"
	"tutti/ledger"
)

// Bounds of PROTOCOL sections 4 and 5, in blocks of the fork.
const (
	// AnchorDepth is how many of a fork's newest blocks, the parent of the
	// block with the entry being the newest, may anchor a UserBlock.
	AnchorDepth = 32
	// BlockhashAge is how many blockhashes, up to the anchor's, the
	// transactions of a UserBlock may use.
	BlockhashAge = 118
	// WindowMax is the greatest distance, in UserBlockSlots, between a
	// UserBlock and the section that records it.
	WindowMax = 16
	// HistoryDepth is how many blocks below the root stay in the tree: what
	// anchors and blockhashes reach back to.
	HistoryDepth = AnchorDepth + BlockhashAge
)

// Named is a UserBlockEntry: which UserBlock, in which section.
type Named struct {
	Ref     ledger.UserBlockRef
	Section ledger.UserSlot
}

// Block is a leader block whose proof of history and rules hold. Blocks are
// immutable but for the fields that say so.
type Block struct {
	ledger.BlockRef
	Parent  *Block // nil for block 0 and for the oldest block kept
	Height  uint64 // blocks since genesis
	LastPoH ledger.Hash
	Named   []Named // in the order of the leader's PoH
	// Lineage is the block and its ancestors as votes are checked against.
	Lineage *consensus.Lineage
	// Ballots are the counted votes on this fork, this block's included.
	Ballots *consensus.Ballots
	// Lag is Λ: the blocks after the newest one that > 2/3 of the stake has
	// executed (PROTOCOL section 9).
	Lag int

	// Missing counts the named UserBlocks that this node does not hold. It
	// changes as they come.
	Missing int
	// Bad is set once a named UserBlock turns out not to be allowed here:
	// the block is then as invalid as if its own bytes were.
	Bad error
	// Executed and BankHash are set when this node has executed the block.
	Executed bool
	BankHash ledger.Hash
	// Confirmed is set when the block is optimistically confirmed.
	Confirmed bool
}

// Ready tells whether the block itself names nothing that is missing.
func (b *Block) Ready() bool { return b.Missing == 0 && b.Bad == nil }

// Ancestor returns the newest block on b's fork, b included, whose slot is
// not above slot; nil if it is not kept any more.
func (b *Block) Ancestor(slot ledger.Slot) *Block {
	for b != nil && b.Slot > slot {
		b = b.Parent
	}
	return b
}

// Descends tells whether b is ref or descends from it.
func (b *Block) Descends(ref ledger.BlockRef) bool {
	a := b.Ancestor(ref.Slot)
	return a != nil && a.BlockRef == ref
}

// HasSlot tells whether slot has a block on the fork that ends in b.
func (b *Block) HasSlot(slot ledger.Slot) bool {
	a := b.Ancestor(slot)
	return a != nil && a.Slot == slot
}

// Names tells whether the fork that ends in b already names a UserBlock for
// that UserBlockSlot and lane.
func (b *Block) Names(u ledger.UserSlot, lane ledger.Lane) bool {
	for ; b != nil && b.Slot >= u.Slot(); b = b.Parent {
		for i := range b.Named {
			if b.Named[i].Ref.U == u && b.Named[i].Ref.Lane == lane && !planted.Is(planted.LaneTwice) {
				return true
			}
		}
	}
	return false
}

// Anchor returns the block among the AnchorDepth newest of the fork that
// ends in b whose last PoH hash that is, or nil.
func (b *Block) Anchor(hash ledger.Hash) *Block {
	depth := AnchorDepth
	if planted.Is(planted.AnchorDepth) {
		depth++
	}
	for range depth {
		if b == nil || b.LastPoH == hash {
			return b
		}
		b = b.Parent
	}
	return nil
}

// Blockhashes returns the n newest blockhashes of the fork that ends in b,
// b's own last PoH hash being the newest.
func (b *Block) Blockhashes(n int) []ledger.Hash {
	out := make([]ledger.Hash, 0, n)
	for ; b != nil && len(out) < n; b = b.Parent {
		out = append(out, b.LastPoH)
	}
	return out
}

// Why an entry may not stand where it stands (PROTOCOL section 5).
var (
	ErrTooEarly = errors.New("UserBlock named before its UserBlockSlot has passed")
	ErrTooLate  = errors.New("UserBlock named after its inclusion window")
	ErrTwice    = errors.New("UserBlock lane named twice on a fork")
	ErrAnchor   = errors.New("UserBlock's anchor is not among the fork's newest blocks")
	ErrLag      = errors.New("UserBlock named while execution is too far behind")
	ErrEpoch    = errors.New("UserBlock named while the last epoch is not known to be executed")
	ErrLane     = errors.New("UserBlock lane does not exist")
)

// Names checks that a block of that slot may name UserBlocks at all: not while
// its parent lags too far behind (PROTOCOL section 9), nor from the middle of
// an epoch on while the one before is not reported (section 10).
func Names(p *cluster.Params, parent *Block, slot ledger.Slot) error {
	epoch := p.Epoch(slot)
	switch {
	case consensus.VotesOnly(parent.Lag, int(p.LagZero)):
		return ErrLag
	case epoch >= 1 && slot >= p.FirstSlot(epoch)+ledger.Slot(p.SlotsPerEpoch/2) && !parent.Reported(p.FirstSlot(epoch)):
		return ErrEpoch
	}
	return nil
}

// Reported tells whether more than two thirds of the stake have executed, as
// votes counted up to b report, all blocks of b's fork below a slot.
func (b *Block) Reported(below ledger.Slot) bool {
	return b.Lag == 0 || b.Lineage.Block(min(b.Lag, b.Lineage.Len())-1).Slot >= below
}

// Window checks that a UserBlock of UserBlockSlot v may be named in section
// w of a block of slot ⌊w/2⌋ on parent: 1 ≤ w−v ≤ W+k and w−v ≤ 16, where k
// counts the UserBlockSlots between them whose slot has no block on the fork.
// SIMD-0023: "UserBlocks that were received from the previous UserBlockSlot".
func Window(p *cluster.Params, parent *Block, v, w ledger.UserSlot) error {
	if v >= w {
		return ErrTooEarly
	}
	distance := uint64(w - v)
	if distance > WindowMax {
		return ErrTooLate
	}
	var skipped uint64
	for x := v + 1; x < w; x++ {
		if x.Slot() != w.Slot() && !parent.HasSlot(x.Slot()) {
			skipped++
		}
	}
	if planted.Is(planted.WindowWide) {
		skipped++
	}
	if distance > p.InclusionWindow+skipped {
		return ErrTooLate
	}
	return nil
}

// Forks is the tree of valid blocks from some way below the root.
type Forks struct {
	params *cluster.Params
	blocks map[ledger.BlockRef]*Block
	byPoH  map[ledger.Hash][]*Block
	root   *Block
}

// NewForks returns a tree that holds only root, which is valid by
// definition.
func NewForks(p *cluster.Params, root *Block) *Forks {
	f := &Forks{
		params: p,
		blocks: make(map[ledger.BlockRef]*Block),
		byPoH:  make(map[ledger.Hash][]*Block),
		root:   root,
	}
	for b := root; b != nil; b = b.Parent {
		f.add(b)
	}
	return f
}

func (f *Forks) add(b *Block) {
	f.blocks[b.BlockRef] = b
	f.byPoH[b.LastPoH] = append(f.byPoH[b.LastPoH], b)
}

// Root returns the root of the tree.
func (f *Forks) Root() *Block { return f.root }

// Block returns the block, or nil.
func (f *Forks) Block(ref ledger.BlockRef) *Block { return f.blocks[ref] }

// ByPoH returns the blocks whose last PoH hash that is, in the order in which
// they came. They have the same ticks and records, but not always the same
// ancestors: a run of bare ticks can be a skipped slot or an empty block. Who
// needs the one on a certain fork asks for its Anchor.
func (f *Forks) ByPoH(hash ledger.Hash) []*Block { return f.byPoH[hash] }

// Len returns the number of blocks in the tree.
func (f *Forks) Len() int { return len(f.blocks) }

// Add puts a checked block into the tree.
func (f *Forks) Add(b *Block) {
	if f.blocks[b.BlockRef] != nil {
		panic(fmt.Sprintf("validator: block %v added twice", b.BlockRef))
	}
	f.add(b)
}

// Descendants returns the blocks that descend from b, by slot, then id.
func (f *Forks) Descendants(b *Block) (all []*Block) {
	for _, x := range f.blocks {
		if x != b && x.Descends(b.BlockRef) {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(x, y *Block) int { return consensus.Compare(x.BlockRef, y.BlockRef) })
	return all
}

// SetRoot makes b the root: blocks that do not descend from it are dropped,
// but for its HistoryDepth newest ancestors.
func (f *Forks) SetRoot(b *Block) {
	f.root = b
	keep := make(map[*Block]bool)
	oldest := b
	for range HistoryDepth {
		keep[oldest] = true
		if oldest.Parent == nil {
			break
		}
		oldest = oldest.Parent
	}
	keep[oldest] = true
	oldest.Parent = nil
	for ref, x := range f.blocks {
		if keep[x] || x.Descends(b.BlockRef) {
			continue
		}
		delete(f.blocks, ref)
		f.drop(x)
	}
}

func (f *Forks) drop(b *Block) {
	var left []*Block
	for _, x := range f.byPoH[b.LastPoH] {
		if x != b {
			left = append(left, x)
		}
	}
	if len(left) == 0 {
		delete(f.byPoH, b.LastPoH)
		return
	}
	f.byPoH[b.LastPoH] = left
}
