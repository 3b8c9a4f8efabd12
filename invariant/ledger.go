// Package invariant holds what the protocol promises of a ledger and of its
// voters, as checks that know nothing of how a node comes to its results: they
// take blocks, results and votes, and say which promise is broken. A
// simulation runs them over all nodes at every step, `tutti ledger verify` over
// a stored ledger, and the audit of a devnet over what its nodes say.
//
// Votes checks votes at the moment at which their senders send them, Heard
// those that come to somebody else, late or not at all.
//
// It decides nothing, and no node depends on it.
package invariant

import (
	"fmt"
	"slices"

	"tutti/bank"
	"tutti/cluster"
	"tutti/ledger"
	"tutti/validator"
)

// Block is a leader block, as all who read it must read it.
type Block struct {
	Ref     ledger.BlockRef
	Height  uint64 // number of blocks before it on its fork
	LastPoH ledger.Hash
	Entries []ledger.UserBlockRef
	// Parent is nil for block 0.
	Parent *Block

	// BankHash is set once Executed.
	BankHash ledger.Hash
	Executed bool
	Outcomes [bank.BadNonce + 1]int
	total    ledger.Lamports // of all accounts after it
	// certified says that more than two thirds of the stake voted for it or
	// for one descendant of it.
	certified bool
}

// Lamports returns what all accounts hold after the block, once it is Executed.
func (b *Block) Lamports() ledger.Lamports { return b.total }

// At returns the newest block up to a slot on the fork that ends in b, nil if
// there is none.
func (b *Block) At(slot ledger.Slot) *Block {
	for b != nil && b.Ref.Slot > slot {
		b = b.Parent
	}
	return b
}

// Descends tells whether b is a, or a descendant of it.
func (b *Block) Descends(a *Block) bool { return b.At(a.Ref.Slot) == a }

// anchors tells whether one of the newest blocks of the fork that ends in b has
// that last PoH hash (PROTOCOL section 5).
func (b *Block) anchors(hash ledger.Hash) bool {
	for range validator.AnchorDepth {
		if b == nil || b.LastPoH == hash {
			return b != nil
		}
		b = b.Parent
	}
	return false
}

// Ledger is the tree of all blocks that anybody holds, and what executing
// them came to.
type Ledger struct {
	genesis   *cluster.Genesis
	schedule  *cluster.Schedule
	root      *Block
	blocks    map[ledger.BlockRef]*Block
	users     map[ledger.UserBlockRef]*userBlock
	processed map[ledger.Signature][]*Block
}

// userBlock is what is kept of a UserBlock: its anchor, and the price of each
// transaction, that of a bundle's member being its bundler's.
type userBlock struct {
	anchor ledger.Hash
	prices []uint64
}

// New returns the ledger of a genesis whose state has that BankHash.
func New(g *cluster.Genesis, bankHash ledger.Hash) *Ledger {
	root := &Block{
		Ref: ledger.BlockRef{ID: g.Hash()}, LastPoH: g.Hash(),
		BankHash: bankHash, Executed: true, certified: true,
	}
	for i := range g.Accounts {
		root.total += g.Accounts[i].Lamports
	}
	return &Ledger{
		genesis:   g,
		schedule:  cluster.NewSchedule(g),
		root:      root,
		blocks:    map[ledger.BlockRef]*Block{root.Ref: root},
		users:     make(map[ledger.UserBlockRef]*userBlock),
		processed: make(map[ledger.Signature][]*Block),
	}
}

// Root returns block 0.
func (l *Ledger) Root() *Block { return l.root }

// Blocks returns all blocks, in no order.
func (l *Ledger) Blocks() map[ledger.BlockRef]*Block { return l.blocks }

// Block returns a block that somebody holds.
func (l *Ledger) Block(ref ledger.BlockRef) (*Block, error) {
	if b := l.blocks[ref]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("speaks of block %v, which no node holds", ref)
}

// HoldUser takes a UserBlock that is well formed: it has the same
// transactions for all, and its lane was its proposer's.
func (l *Ledger) HoldUser(b *ledger.UserBlock) error {
	if u := l.users[b.Ref]; u != nil {
		if n := len(u.prices); n != len(b.Transactions) {
			return fmt.Errorf("UserBlock %v has %d transactions, for another node %d", b.Ref, len(b.Transactions), n)
		}
		return nil
	}
	lanes := l.schedule.Proposers(b.Ref.U)
	if int(b.Ref.Lane) >= len(lanes) || lanes[b.Ref.Lane] != b.Proposer {
		return fmt.Errorf("UserBlock %v is of %v, whose lane it is not", b.Ref, b.Proposer)
	}
	u := &userBlock{anchor: b.Anchor, prices: make([]uint64, len(b.Transactions))}
	for i := range b.Transactions {
		t := &b.Transactions[i]
		if u.prices[i] = t.Budget.UnitPrice; t.Role == ledger.Member {
			u.prices[i] = u.prices[i-1]
		}
	}
	l.users[b.Ref] = u
	return nil
}

// Hold takes a valid leader block. All read the same parent and entries in
// it, and each entry is legal (PROTOCOL section 5).
func (l *Ledger) Hold(ref, parent ledger.BlockRef, height uint64, lastPoH ledger.Hash, entries []ledger.UserBlockRef) error {
	if b := l.blocks[ref]; b != nil {
		if b.Parent == nil || b.Parent.Ref != parent || b.Height != height || b.LastPoH != lastPoH || !slices.Equal(b.Entries, entries) {
			return fmt.Errorf("block %v is read differently by another node", ref)
		}
		return nil
	}
	on, err := l.Block(parent)
	if err != nil {
		return err
	}
	if height != on.Height+1 || ref.Slot <= parent.Slot {
		return fmt.Errorf("block %v has height %d on %v with %d", ref, height, parent, on.Height)
	}
	b := &Block{Ref: ref, Parent: on, Height: height, LastPoH: lastPoH, Entries: slices.Clone(entries)}
	if err := l.entries(b); err != nil {
		return err
	}
	l.blocks[ref] = b
	return nil
}

// Link takes a leader block of which only the parent is known. It is for
// checks of votes: nothing can be named or executed in it.
func (l *Ledger) Link(ref, parent ledger.BlockRef) error {
	if b := l.blocks[ref]; b != nil {
		if b.Parent == nil || b.Parent.Ref != parent {
			return fmt.Errorf("block %v is read differently by another node", ref)
		}
		return nil
	}
	on, err := l.Block(parent)
	if err != nil {
		return err
	}
	if ref.Slot <= parent.Slot {
		return fmt.Errorf("block %v has parent %v", ref, parent)
	}
	l.blocks[ref] = &Block{Ref: ref, Parent: on, Height: on.Height + 1}
	return nil
}

// entries checks what a block names: no lane twice on a fork, and only in a
// section that is neither too early nor too late.
func (l *Ledger) entries(b *Block) error {
	type lane struct {
		u    ledger.UserSlot
		lane ledger.Lane
	}
	named := make(map[lane]bool)
	for x := b.Parent; x != nil && x.Ref.Slot+validator.WindowMax >= b.Ref.Slot; x = x.Parent {
		for _, e := range x.Entries {
			named[lane{e.U, e.Lane}] = true
		}
	}
	for _, e := range b.Entries {
		if named[lane{e.U, e.Lane}] {
			return fmt.Errorf("block %v names lane %d of %d again", b.Ref, e.Lane, e.U)
		}
		named[lane{e.U, e.Lane}] = true
		if int(e.Lane) >= len(l.schedule.Proposers(e.U)) {
			return fmt.Errorf("block %v names %v, whose lane nobody has", b.Ref, e)
		}
		first := b.Ref.Slot.FirstUserSlot()
		if !l.inWindow(b, e.U, first) && !l.inWindow(b, e.U, first+1) {
			return fmt.Errorf("block %v names %v outside its window", b.Ref, e)
		}
	}
	return nil
}

// inWindow tells whether a UserBlock of UserBlockSlot v may stand in section
// w of a block: 1 ≤ w−v ≤ W + the sections between whose slot was skipped.
func (l *Ledger) inWindow(b *Block, v, w ledger.UserSlot) bool {
	if v >= w || w-v > validator.WindowMax {
		return false
	}
	distance := uint64(w - v)
	for x := v + 1; x < w; x++ {
		if at := b.At(x.Slot()); at == nil || at.Ref.Slot != x.Slot() {
			distance--
		}
	}
	return distance <= l.genesis.Params.InclusionWindow
}

// Execute takes what a node computed of a block: the same as all others, on
// the parent's BankHash; each named transaction has one receipt, none takes
// effect twice on a fork, and no lamports come from nowhere. fresh is true
// for the first result of a block.
func (l *Ledger) Execute(r *bank.Result) (b *Block, fresh bool, err error) {
	if b, err = l.Block(r.Ref); err != nil {
		return nil, false, err
	}
	if b.Parent == nil || r.Parent != b.Parent.Ref || !b.Parent.Executed || b.Parent.BankHash != r.ParentBankHash {
		return b, false, fmt.Errorf("BankHash of %v links to %v of %v", r.Ref, r.ParentBankHash, r.Parent)
	}
	if r.Link.BankHash() != r.BankHash || r.Link.Parent != r.ParentBankHash || r.Link.LastPoH != b.LastPoH {
		return b, false, fmt.Errorf("BankHash of %v is not that of its link", r.Ref)
	}
	if b.Executed {
		if b.BankHash != r.BankHash {
			return b, false, fmt.Errorf("BankHash of %v is %v, another node has %v", r.Ref, r.BankHash, b.BankHash)
		}
		return b, false, nil
	}
	if err := l.receipts(b, r.Receipts); err != nil {
		return b, false, err
	}
	if err := supply(b, r); err != nil {
		return b, false, err
	}
	for _, e := range r.Stakes {
		l.schedule.AddEpoch(e)
	}
	b.BankHash, b.Executed = r.BankHash, true
	return b, true, nil
}

// receipts checks that each transaction that a block names has one receipt,
// those of one UserBlock dearest first, that only processed ones pay, and that
// they are processed once on a fork.
func (l *Ledger) receipts(b *Block, receipts []bank.Receipt) error {
	type place struct {
		u     ledger.UserSlot
		lane  ledger.Lane
		index uint32
	}
	left := make(map[place]uint64) // their prices
	for _, ref := range b.Entries {
		u := l.users[ref]
		if u == nil {
			return fmt.Errorf("%v is executed without UserBlock %v", b.Ref, ref)
		}
		if !b.Parent.anchors(u.anchor) {
			return fmt.Errorf("%v names UserBlock %v, whose anchor is not among the %d blocks before it", b.Ref, ref, validator.AnchorDepth)
		}
		for i, price := range u.prices {
			left[place{ref.U, ref.Lane, uint32(i)}] = price
		}
	}
	type occurrence struct {
		index uint32
		price uint64
	}
	newest := make(map[place]occurrence) // of a UserBlock
	for i := range receipts {
		x := &receipts[i]
		at := place{x.U, x.Lane, x.Index}
		price, ok := left[at]
		if !ok {
			return fmt.Errorf("%v has a receipt for transaction %+v, which is not there or has one", b.Ref, at)
		}
		delete(left, at)
		of := place{u: x.U, lane: x.Lane}
		if before, ok := newest[of]; ok && (price > before.price || price == before.price && x.Index < before.index) {
			return fmt.Errorf("%v executes transaction %+v behind %d, which is cheaper or comes later", b.Ref, at, before.index)
		}
		newest[of] = occurrence{x.Index, price}
		b.Outcomes[x.Outcome]++
		if !x.Outcome.Processed() {
			if x.Fee != 0 || x.Units != 0 {
				return fmt.Errorf("transaction %v was not processed in %v, but paid %d", x.Signature, b.Ref, x.Fee)
			}
			continue
		}
		for _, before := range l.processed[x.Signature] {
			if b.Descends(before) {
				return fmt.Errorf("transaction %v is processed in %v and in %v", x.Signature, before.Ref, b.Ref)
			}
		}
		l.processed[x.Signature] = append(l.processed[x.Signature], b)
	}
	if len(left) > 0 {
		return fmt.Errorf("%v has no receipt for %d of its transactions", b.Ref, len(left))
	}
	return nil
}

// supply checks that a block changes the sum of all lamports by what it burns
// alone.
func supply(b *Block, r *bank.Result) error {
	total := b.Parent.total
	for i := range r.Written {
		if old := r.Written[i].Old; old != nil {
			total -= old.Lamports
		}
		if account := r.Written[i].New; account != nil {
			total += account.Lamports
		}
	}
	if total+r.Burned != b.Parent.total {
		return fmt.Errorf("%v makes %d lamports of %d and burns %d", r.Ref, total, b.Parent.total, r.Burned)
	}
	b.total = total
	return nil
}

// Supply checks that the accounts after a block hold all that genesis held
// and that was not burned since. It looks at every account.
func (l *Ledger) Supply(v *bank.View) error {
	b, err := l.Block(v.Ref())
	if err != nil {
		return err
	}
	var sum ledger.Lamports
	for _, key := range v.Keys() {
		sum += v.Balance(key)
	}
	if sum != b.total || v.BankHash() != b.BankHash {
		return fmt.Errorf("the accounts after %v hold %d lamports, not %d", b.Ref, sum, b.total)
	}
	return nil
}

// Chain is a set of blocks that must all lie on one fork. The zero value is
// the set of block 0 alone.
type Chain struct{ tip *Block }

// Tip returns the newest block of the set, nil if it is empty.
func (c *Chain) Tip() *Block { return c.tip }

// Add puts a block in, or tells which block of the set it contradicts.
func (c *Chain) Add(b *Block) (conflict *Block) {
	switch {
	case c.tip == nil || b.Descends(c.tip):
		c.tip = b
	case !c.tip.Descends(b):
		return c.tip
	}
	return nil
}
