package consensus

import (
	"bytes"
	"cmp"
	"slices"

	"tutti/ledger"
)

// PendingMax is how many votes for blocks that are not known yet are kept
// of one voter, the newest ones.
const PendingMax = 32

// ForkChoice finds the heaviest fork (FORMATS section 8). The stake of a
// voter lies at the newest vote seen of it, wherever it was seen; a subtree
// weighs what lies in it, and from the root on the heaviest child that is a
// candidate leads to the best block.
//
//	root ── a(60) ── b(60)    best of root: b
//	  └──── c(40)
//
// Votes for a block that is no candidate still weigh for its ancestors.
type ForkChoice struct {
	epochs *Epochs
	root   *fork
	blocks map[ledger.BlockRef]*fork
	voters []voter
	index  map[ledger.Pubkey]int // into voters
}

// fork is a block in the tree.
type fork struct {
	ref       ledger.BlockRef
	parent    *fork // nil at the root
	children  []*fork
	candidate bool
	weight    ledger.Lamports // of the subtree
	best      *fork           // along the heaviest candidates, itself if there are none
}

type voter struct {
	account ledger.Pubkey
	newest  ledger.BlockRef // newest vote for a block that was known
	voted   bool            // newest is set
	at      *fork           // where the stake lies, nil if newest was pruned
	stake   ledger.Lamports // what lies there
	pending []ledger.BlockRef
}

// NewForkChoice starts a tree at a root.
func NewForkChoice(root ledger.BlockRef, epochs *Epochs) *ForkChoice {
	r := &fork{ref: root, candidate: true}
	r.best = r
	return &ForkChoice{
		epochs: epochs,
		root:   r,
		blocks: map[ledger.BlockRef]*fork{root: r},
		index:  make(map[ledger.Pubkey]int),
	}
}

// Add puts a block into the tree, with the votes that were seen before it.
// It is no candidate until SetCandidate says so. Add tells whether the
// parent is known; a block that is there already stays as it is.
func (f *ForkChoice) Add(ref, parent ledger.BlockRef) bool {
	p := f.blocks[parent]
	if p == nil || ref.Slot <= parent.Slot {
		return false
	}
	if f.blocks[ref] != nil {
		return true
	}
	b := &fork{ref: ref, parent: p}
	b.best = b
	f.blocks[ref] = b
	i, _ := slices.BinarySearchFunc(p.children, ref, func(c *fork, r ledger.BlockRef) int { return Compare(c.ref, r) })
	p.children = slices.Insert(p.children, i, b)
	for i := range f.voters {
		v := &f.voters[i]
		if j := slices.Index(v.pending, ref); j >= 0 {
			v.pending = slices.Delete(v.pending, j, j+1)
			f.apply(v, b)
		}
	}
	return true
}

// SetCandidate tells whether a block may be voted for and built on, as far
// as it alone is concerned. The descendants of a block that is no candidate
// are none either, whatever was said of them.
func (f *ForkChoice) SetCandidate(ref ledger.BlockRef, candidate bool) {
	b := f.blocks[ref]
	if b == nil || b == f.root || b.candidate == candidate {
		return
	}
	b.candidate = candidate
	b.parent.choose()
}

// Vote takes a vote of an account for a block, known or not. The newest slot
// wins, in one slot the smallest id; the stake is that of the slot's epoch.
// A vote of an account without stake is ignored.
func (f *ForkChoice) Vote(account ledger.Pubkey, ref ledger.BlockRef) {
	stakes := f.epochs.At(ref.Slot)
	if stakes == nil || stakes.Of(account) == 0 || ref.Slot < f.root.ref.Slot {
		return
	}
	i, ok := f.index[account]
	if !ok {
		i = len(f.voters)
		f.index[account] = i
		f.voters = append(f.voters, voter{account: account})
	}
	v := &f.voters[i]
	if b := f.blocks[ref]; b != nil {
		f.apply(v, b)
	} else if v.before(ref) {
		v.wait(ref)
	}
}

// before tells whether ref wins over the voter's newest vote.
func (v *voter) before(ref ledger.BlockRef) bool {
	return !v.voted || ref.Slot > v.newest.Slot || ref.Slot == v.newest.Slot && Compare(ref, v.newest) < 0
}

// wait keeps a vote for a block that is not known, oldest first.
func (v *voter) wait(ref ledger.BlockRef) {
	i, found := slices.BinarySearchFunc(v.pending, ref, Compare)
	if found {
		return
	}
	v.pending = slices.Insert(v.pending, i, ref)
	if len(v.pending) > PendingMax {
		v.pending = slices.Delete(v.pending, 0, 1)
	}
}

// apply moves the voter's stake to a block, unless it voted later.
func (f *ForkChoice) apply(v *voter, b *fork) {
	if !v.before(b.ref) {
		return
	}
	f.lift(v)
	v.newest, v.voted, v.at = b.ref, true, b
	v.stake = 0
	if stakes := f.epochs.At(b.ref.Slot); stakes != nil {
		v.stake = stakes.Of(v.account)
	}
	for p := b; p != nil; p = p.parent {
		p.weight += v.stake
	}
	b.choose()
	v.pending = slices.DeleteFunc(v.pending, func(ref ledger.BlockRef) bool { return !v.before(ref) })
}

// lift takes the voter's stake off the tree.
func (f *ForkChoice) lift(v *voter) {
	for p := v.at; p != nil; p = p.parent {
		p.weight -= v.stake
	}
	if v.at != nil {
		v.at.choose()
		v.at = nil
	}
}

// choose finds the best blocks anew from b up to the root.
func (b *fork) choose() {
	for ; b != nil; b = b.parent {
		var heaviest *fork
		for _, c := range b.children {
			if c.candidate && (heaviest == nil || c.weight > heaviest.weight) {
				heaviest = c
			}
		}
		if heaviest == nil {
			b.best = b
		} else {
			b.best = heaviest.best
		}
	}
}

// behind returns the stake, by one epoch's stakes, of the voters whose newest vote
// is for a block or for a descendant of it.
func (f *ForkChoice) behind(ref ledger.BlockRef, stakes *Stakes) (stake ledger.Lamports) {
	b := f.blocks[ref]
	if b == nil {
		return 0
	}
	for i := range f.voters {
		at := f.voters[i].at
		for at != nil && at.ref.Slot > ref.Slot {
			at = at.parent
		}
		if at == b {
			stake += stakes.Of(f.voters[i].account)
		}
	}
	return stake
}

// Best returns the heaviest candidate.
func (f *ForkChoice) Best() ledger.BlockRef { return f.root.best.ref }

// BestOn returns the heaviest candidate among a block and its descendants,
// false if the block is unknown or itself no candidate.
func (f *ForkChoice) BestOn(ref ledger.BlockRef) (ledger.BlockRef, bool) {
	b := f.blocks[ref]
	if b == nil {
		return ledger.BlockRef{}, false
	}
	for p := b; p != nil; p = p.parent {
		if !p.candidate {
			return ledger.BlockRef{}, false
		}
	}
	return b.best.ref, true
}

// Candidate tells whether a block and all its ancestors are candidates.
func (f *ForkChoice) Candidate(ref ledger.BlockRef) bool {
	_, ok := f.BestOn(ref)
	return ok
}

// Candidates returns the blocks of a slot that are candidates with all their
// ancestors, in the order of Compare.
func (f *ForkChoice) Candidates(slot ledger.Slot) (refs []ledger.BlockRef) {
	for ref := range f.blocks {
		if ref.Slot == slot && f.Candidate(ref) {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, Compare)
	return refs
}

// Has tells whether a block is in the tree.
func (f *ForkChoice) Has(ref ledger.BlockRef) bool { return f.blocks[ref] != nil }

// Ancestor tells whether a is b or one of its ancestors, as far as the tree
// goes: false if one of them is not in it.
func (f *ForkChoice) Ancestor(a, b ledger.BlockRef) bool {
	x, y := f.blocks[a], f.blocks[b]
	if x == nil {
		return false
	}
	for y != nil && y.ref.Slot > a.Slot {
		y = y.parent
	}
	return x == y
}

// common returns the newest common ancestor of two blocks of the tree.
func common(a, b *fork) *fork {
	for a != b {
		if a.ref.Slot >= b.ref.Slot && a.parent != nil {
			a = a.parent
		} else {
			b = b.parent
		}
	}
	return a
}

// SetRoot makes a block the root and forgets all but its descendants. It
// returns the blocks that were forgotten, in the order of Compare; ok is
// false, and nothing happens, if the block is not in the tree.
func (f *ForkChoice) SetRoot(ref ledger.BlockRef) (pruned []ledger.BlockRef, ok bool) {
	root := f.blocks[ref]
	if root == nil {
		return nil, false
	}
	root.parent, root.candidate = nil, true
	kept := make(map[ledger.BlockRef]*fork)
	for queue := []*fork{root}; len(queue) > 0; queue = queue[1:] {
		kept[queue[0].ref] = queue[0]
		queue = append(queue, queue[0].children...)
	}
	for old := range f.blocks {
		if kept[old] == nil {
			pruned = append(pruned, old)
		}
	}
	slices.SortFunc(pruned, Compare)
	f.root, f.blocks = root, kept
	for i := range f.voters {
		v := &f.voters[i]
		if v.at != nil && kept[v.at.ref] == nil {
			v.at = nil
		}
		v.pending = slices.DeleteFunc(v.pending, func(p ledger.BlockRef) bool { return p.Slot <= ref.Slot })
	}
	return pruned, true
}

// Compare orders blocks by slot, then by id. Of equally heavy forks the
// smaller one wins.
func Compare(a, b ledger.BlockRef) int {
	if c := cmp.Compare(a.Slot, b.Slot); c != 0 {
		return c
	}
	return bytes.Compare(a.ID[:], b.ID[:])
}
