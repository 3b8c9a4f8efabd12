// Package bank executes leader blocks: UserBlocks → order → execution →
// receipts → BankHash. It owns the accounts, on every fork above the root.
//
//	Block                    the UserBlocks that a leader block names
//	  │ order.go             one total order: section, u, price, position, place
//	  ▼
//	jobs, slots, waves       execution.go: accounts by number, and which
//	  │                      transactions do not conflict and run at once
//	  ▼
//	judge ─▶ charge ─▶ execute   transaction.go: one outcome for each; all
//	  │                          instructions or none (package program)
//	  ▼
//	bill ─▶ reward ─▶ sysvars    fees.go, sysvar.go
//	  ▼
//	Written ─▶ LtHash, delta tree ─┐
//	Receipts ─▶ receipts tree ─────┴─▶ Link ─▶ BankHash     result.go
//	  ▼
//	layer of the state ─▶ View   state.go: forks switch by undo and redo
//
// The result equals that of sequential execution, whatever the number of
// workers: they are goroutines that start and end inside one call of Execute.
// Nothing that a transaction does can make a block unexecutable.
//
// The package does not decide which blocks to execute, check that UserBlocks
// are well formed, verify signatures, or touch a disk. What a disk must keep
// is in Result.Written and Snapshot.
package bank

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"tutti/cluster"
	"tutti/internal/planted"
	"tutti/ledger"
)

// Errors of Execute and SetRoot.
var (
	// ErrUnknown: the block named, or the parent, was not executed, or does
	// not descend from the root.
	ErrUnknown = errors.New("bank: unknown block")
	// ErrExecuted: the block was executed already.
	ErrExecuted = errors.New("bank: block executed already")
	// ErrOrder: a block's slot is not above its parent's.
	ErrOrder = errors.New("bank: slot not above the parent's")
)

// Bank holds the state of all accounts after each executed block that
// descends from the root. One goroutine uses it; the Views that it gives out
// are for all.
type Bank struct {
	params  cluster.Params
	t0      int64
	workers pool

	state  *state
	blocks map[ledger.BlockRef]*layer // the root and its descendants
	forks  []HardFork                 // by slot
}

// HardFork is a restart of the cluster after a halt (PROTOCOL section 10).
type HardFork struct {
	// Slot is that of the last block before the restart.
	Slot ledger.Slot
	// Count numbers the restarts; it is mixed into the first BankHash after it.
	Count uint64
	// T0 is when tick 0 is due from then on, in Unix nanoseconds.
	T0 int64
}

// New returns a bank that has executed block 0, with so many worker
// goroutines while it executes (at least 1).
func New(g *cluster.Genesis, workers int) (*Bank, error) {
	accounts := make([]KeyedAccount, len(g.Accounts))
	for i := range g.Accounts {
		a := &g.Accounts[i]
		accounts[i] = KeyedAccount{a.Key, &Account{
			Lamports: a.Lamports, Owner: a.Owner, Executable: a.Executable,
			RentEpoch: a.RentEpoch, Data: a.Data,
		}}
	}
	b := newBank(g, workers)
	lattice := b.setAccounts(accounts)
	id := g.Hash()
	link := Link{
		LastPoH:  id,
		Receipts: TreeRoot(nil), Delta: TreeRoot(nil),
		Accounts: ledger.Sum(lattice.Append(nil)),
	}
	past := &Past{Ref: ledger.BlockRef{ID: id}, LastPoH: id, BankHash: link.BankHash(), Link: link}
	b.plant(&layer{
		Past: past, lattice: lattice,
		stakes: [2]*epochStakes{newEpochStakes(g.Stakes(0)), newEpochStakes(g.Stakes(1))},
	})
	return b, nil
}

func newBank(g *cluster.Genesis, workers int) *Bank {
	return &Bank{
		params: g.Params, t0: g.T0, workers: newPool(workers),
		state: &state{
			accounts: make(map[ledger.Pubkey]*Account),
			recent:   make(map[ledger.Hash]ledger.Slot),
		},
		blocks: make(map[ledger.BlockRef]*layer),
	}
}

// setAccounts fills the state and returns the accounts lattice hash.
func (b *Bank) setAccounts(accounts []KeyedAccount) (lattice LtHash) {
	deltas := make([]AccountDelta, len(accounts))
	for i, a := range accounts {
		b.state.accounts[a.Key] = a.Account
		deltas[i] = AccountDelta{Key: a.Key, New: a.Account}
	}
	b.workers.hashChanges(&lattice, deltas)
	return lattice
}

// plant makes a block the root and the tip of an empty state.
func (b *Bank) plant(root *layer) {
	b.state.chain = []*layer{root}
	b.state.trail = append(b.state.trail, root.Past)
	b.blocks[root.Ref] = root
}

// AddHardFork tells the bank of a restart. It must come before the first
// block after it is executed.
func (b *Bank) AddHardFork(f HardFork) {
	b.forks = append(b.forks, f)
	slices.SortFunc(b.forks, func(a, b HardFork) int {
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Count, b.Count))
	})
}

// hardFork returns the newest restart before a slot, nil if there is none.
func (b *Bank) hardFork(slot ledger.Slot) *HardFork {
	for i := range slices.Backward(b.forks) {
		if b.forks[i].Slot < slot {
			return &b.forks[i]
		}
	}
	return nil
}

// hardForks returns the sum of the counts of the restarts between two
// blocks.
func (b *Bank) hardForks(parent, slot ledger.Slot) (sum uint64) {
	for _, f := range b.forks {
		if parent <= f.Slot && f.Slot < slot {
			sum += f.Count
		}
	}
	return sum
}

// Execute executes a block whose parent was executed, on whichever fork, and
// keeps its state. The block's bytes must not change as long as the bank or
// its results are in use.
func (b *Bank) Execute(block *Block) (*Result, error) {
	parent, ok := b.blocks[block.Parent]
	switch {
	case !ok:
		return nil, fmt.Errorf("parent %v of %v: %w", block.Parent, block.Ref, ErrUnknown)
	case b.blocks[block.Ref] != nil:
		return nil, fmt.Errorf("%v: %w", block.Ref, ErrExecuted)
	case block.Ref.Slot <= block.Parent.Slot:
		return nil, fmt.Errorf("%v on %v: %w", block.Ref, block.Parent, ErrOrder)
	}
	b.state.moveTo(parent)
	stakes, fresh := b.stakesAt(parent, b.params.Epoch(block.Ref.Slot))
	x := b.newExecution(block, parent, stakes[0])
	x.openSysvars()
	x.load()
	x.run()
	x.bill()
	x.reward()
	x.closeSysvars()
	x.incinerate()
	return b.freeze(x, stakes, fresh), nil
}

// stakesAt returns the stakes of a block's epoch and the next one, and those
// that its parent, as the last of its epoch, decides.
func (b *Bank) stakesAt(parent *layer, epoch uint64) (stakes [2]*epochStakes, fresh []*cluster.EpochStakes) {
	stakes = parent.stakes
	for e := b.params.Epoch(parent.Ref.Slot); e < epoch; e++ {
		next := cluster.StakesFrom(e+2, func(yield func(cluster.Account) bool) {
			for key, a := range b.state.accounts {
				if !yield(cluster.Account{Key: key, Owner: a.Owner, Lamports: a.Lamports, Data: a.Data}) {
					return
				}
			}
		}, b.params.ProposerBond)
		fresh = append(fresh, next)
		stakes = [2]*epochStakes{stakes[1], newEpochStakes(next)}
	}
	return stakes, fresh
}

// freeze computes the block's hashes, adds its layer to the state, and makes
// the result.
func (b *Bank) freeze(x *execution, stakes [2]*epochStakes, fresh []*cluster.EpochStakes) *Result {
	past := &Past{Ref: x.block.Ref, LastPoH: x.block.LastPoH}
	l := &layer{
		Past: past, height: x.parent.height + 1, lattice: x.parent.lattice,
		written: x.changes(), stakes: stakes, parent: x.parent,
	}
	delta := b.workers.hashChanges(&l.lattice, l.written)
	receipts, signatures := x.receipts()
	leaves := make([]ledger.Hash, len(receipts))
	b.workers.run(len(receipts), func(_ *worker, from, to int) {
		for i := from; i < to; i++ {
			leaves[i] = receipts[i].Leaf()
		}
	})
	past.Link = Link{
		Parent: x.parent.BankHash, Signatures: signatures, LastPoH: x.block.LastPoH,
		Receipts: TreeRoot(leaves), Delta: TreeRoot(delta),
		Accounts:  ledger.Sum(l.lattice.Append(nil)),
		HardForks: b.hardForks(x.parent.Ref.Slot, x.block.Ref.Slot),
	}
	if planted.Is(planted.BankParent) {
		past.Link.Parent = x.parent.Link.Parent
	}
	past.BankHash = past.Link.BankHash()
	for i := range receipts {
		if receipts[i].Outcome.Processed() {
			past.Processed = append(past.Processed, receipts[i].MessageHash)
		}
	}
	for i := range l.written {
		if l.written[i].isNonce() {
			past.Nonces = append(past.Nonces, l.written[i].Key)
		}
	}
	b.blocks[l.Ref] = l
	b.state.moveTo(l)
	return &Result{
		Ref: l.Ref, Parent: x.parent.Ref, Height: l.height,
		BankHash: l.BankHash, ParentBankHash: x.parent.BankHash, Link: past.Link,
		Receipts: receipts, Processed: past.Processed, Nonces: past.Nonces, Written: l.written, View: &View{b.state, l},
		Burned: x.burned, SignatureCount: signatures, Stakes: fresh,
	}
}

// Root returns the root.
func (b *Bank) Root() ledger.BlockRef { return b.state.root().Ref }

// BankHash returns the BankHash of an executed block: the root, one that
// descends from it, or one of the 150 before it.
func (b *Bank) BankHash(ref ledger.BlockRef) (ledger.Hash, bool) {
	if l, ok := b.blocks[ref]; ok {
		return l.BankHash, true
	}
	for _, p := range b.state.trail {
		if p.Ref == ref {
			return p.BankHash, true
		}
	}
	return ledger.Hash{}, false
}

// View returns the state after an executed block that is the root or descends
// from it.
func (b *Bank) View(ref ledger.BlockRef) (*View, bool) {
	l, ok := b.blocks[ref]
	if !ok {
		return nil, false
	}
	return &View{b.state, l}, true
}

// SetRoot makes an executed block the root and forgets those that do not
// descend from it. Views of them stay as they are.
func (b *Bank) SetRoot(ref ledger.BlockRef) error {
	root, ok := b.blocks[ref]
	if !ok {
		return fmt.Errorf("root %v: %w", ref, ErrUnknown)
	}
	at, ok := b.state.onChain(root)
	if !ok {
		b.state.moveTo(root)
		at = len(b.state.chain) - 1
	}
	b.forget(func(l *layer) bool { return !descends(l, root) })
	b.state.setRoot(at)
	return nil
}

// Discard forgets an executed block and all that descend from it, so that
// they can be executed again. The root cannot be discarded.
func (b *Bank) Discard(ref ledger.BlockRef) error {
	l, ok := b.blocks[ref]
	if !ok || l == b.state.root() {
		return fmt.Errorf("discard %v: %w", ref, ErrUnknown)
	}
	if descends(b.state.tip(), l) {
		b.state.moveTo(l.parent)
	}
	b.forget(func(d *layer) bool { return descends(d, l) })
	return nil
}

// forget removes blocks from those that are known.
func (b *Bank) forget(drop func(*layer) bool) {
	for ref, l := range b.blocks {
		if drop(l) {
			delete(b.blocks, ref)
		}
	}
}

// descends tells whether l is a block or descends from it.
func descends(l, from *layer) bool {
	for l != nil && l.height > from.height {
		l = l.parent
	}
	return l == from
}
