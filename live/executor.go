package live

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tutti/bank"
	"tutti/cluster"
	"tutti/ledger"
	"tutti/live/store"
	"tutti/node"
)

// pastMax is how many blocks a restart needs: the root and the 150 before it
// (PROTOCOL section 12).
const pastMax = 151

// executor owns the bank. It executes what the core asks for, and hands what
// became final to the store.
type executor struct {
	bank   *bank.Bank
	store  *store.Store
	orders *queue[node.Effect] // Execute, Discard and Root
	events *queue[node.Event]
	// blocks are those executed since the state that was written last, and
	// not known to be dead.
	blocks map[ledger.BlockRef]*executed
	saved  ledger.BlockRef
	// slots are those of the newest rooted blocks, oldest first, pastMax at
	// most.
	slots []ledger.Slot
	// durable holds an element when no state is on its way to the disk.
	durable chan struct{}
	// slowness is Config.Slowness.
	slowness func(*bank.Block, time.Duration) time.Duration
}

type executed struct {
	parent ledger.BlockRef
	height uint64
	record store.Executed
	keys   []ledger.Pubkey // of the accounts it wrote
}

// recoverBank returns a bank at the newest stored state, or at genesis, and
// what of it the node needs. forks are the cluster's restarts.
func recoverBank(g *cluster.Genesis, s *store.Store, forks []bank.HardFork, workers int) (*executor, *node.RootState, error) {
	x := &executor{
		store:   s,
		orders:  newQueue[node.Effect](0), // the node asks for one block at a time
		blocks:  make(map[ledger.BlockRef]*executed),
		durable: make(chan struct{}, 1),
	}
	x.durable <- struct{}{}
	loaded, ok, err := s.LoadState(pastMax)
	if err != nil {
		return nil, nil, err
	}
	b, err := bank.New(g, workers)
	if err != nil {
		return nil, nil, fmt.Errorf("bank of genesis: %w", err)
	}
	if !ok {
		for _, f := range forks {
			b.AddHardFork(f)
		}
		x.bank, x.saved = b, b.Root()
		x.slots = []ledger.Slot{x.saved.Slot}
		return x, nil, nil
	}
	root, err := node.ParseRootState(loaded.Node)
	if err != nil {
		return nil, nil, fmt.Errorf("stored state: %w", err)
	}
	snapshot := bank.Snapshot{Height: loaded.Height, Past: loaded.Past, Stakes: root.Stakes, Accounts: merge(g, loaded.Accounts), HardForks: forks}
	if uint64(len(loaded.Past)) == loaded.Height && loaded.Height < pastMax {
		snapshot.Past = append(b.Snapshot().Past[:1:1], loaded.Past...) // genesis itself is not stored
	}
	if x.bank, err = bank.Restore(g, snapshot, workers); err != nil {
		return nil, nil, fmt.Errorf("stored state: %w", err)
	}
	for i := range snapshot.Past {
		x.slots = append(x.slots, snapshot.Past[i].Ref.Slot)
	}
	x.saved = loaded.Root
	return x, root, nil
}

// merge lays stored accounts over those of genesis.
func merge(g *cluster.Genesis, stored []bank.KeyedAccount) []bank.KeyedAccount {
	all := make([]bank.KeyedAccount, 0, len(g.Accounts)+len(stored))
	for i := range g.Accounts { // both are sorted by key
		a := &g.Accounts[i]
		for len(stored) > 0 && slices.Compare(stored[0].Key[:], a.Key[:]) < 0 {
			all, stored = append(all, stored[0]), stored[1:]
		}
		if len(stored) > 0 && stored[0].Key == a.Key {
			continue
		}
		all = append(all, bank.KeyedAccount{Key: a.Key, Account: &bank.Account{
			Lamports: a.Lamports, Owner: a.Owner, Executable: a.Executable, RentEpoch: a.RentEpoch, Data: a.Data,
		}})
	}
	all = append(all, stored...)
	return slices.DeleteFunc(all, func(a bank.KeyedAccount) bool { return a.Account == nil })
}

func (x *executor) view() *bank.View {
	v, _ := x.bank.View(x.bank.Root())
	return v
}

// run carries out orders until ctx ends.
func (x *executor) run(ctx context.Context, took func(time.Duration)) error {
	var orders []node.Effect
	for {
		select {
		case <-x.orders.ready:
		case <-ctx.Done():
			return nil
		}
		orders = x.orders.take(orders[:0], 64)
		for _, order := range orders {
			var err error
			switch order := order.(type) {
			case node.Execute:
				err = x.execute(ctx, order.Block, took)
			case node.Discard:
				err = x.discard(order.Block)
			case node.Root:
				err = x.root(ctx, order)
			}
			if err != nil {
				return err
			}
		}
		clear(orders)
	}
}

func (x *executor) execute(ctx context.Context, block *bank.Block, took func(time.Duration)) error {
	began := time.Now()
	r, err := x.bank.Execute(block)
	if err != nil {
		return fmt.Errorf("execute %v: %w", block.Ref, err)
	}
	if x.slowness != nil {
		select {
		case <-time.After(x.slowness(block, time.Since(began))):
		case <-ctx.Done():
		}
	}
	took(time.Since(began))
	e := &executed{
		parent: r.Parent,
		height: r.Height,
		record: store.Executed{
			Past:     bank.Past{Ref: r.Ref, LastPoH: r.Link.LastPoH, BankHash: r.BankHash, Link: r.Link, Nonces: r.Nonces},
			Receipts: r.Receipts,
		},
	}
	for i := range r.Written {
		e.keys = append(e.keys, r.Written[i].Key)
	}
	x.blocks[r.Ref] = e
	x.events.put(node.Executed{Result: r})
	return nil
}

// discard forgets a block's result and those of its descendants.
func (x *executor) discard(ref ledger.BlockRef) error {
	if err := x.bank.Discard(ref); err != nil {
		return fmt.Errorf("discard %v: %w", ref, err)
	}
	var gone []ledger.BlockRef
	for block := range x.blocks {
		if x.descends(block, ref) {
			gone = append(gone, block)
		}
	}
	for _, block := range gone {
		delete(x.blocks, block)
	}
	return nil
}

// descends tells whether a block that was executed is ref or descends from
// it.
func (x *executor) descends(block, ref ledger.BlockRef) bool {
	for block.Slot > ref.Slot && x.blocks[block] != nil {
		block = x.blocks[block].parent
	}
	return block == ref
}

// root moves the bank's root and writes its state if the order carries the
// node's part of it.
func (x *executor) root(ctx context.Context, order node.Root) error {
	if err := x.bank.SetRoot(order.Block); err != nil {
		return fmt.Errorf("root %v: %w", order.Block, err)
	}
	var path []*executed // newest first
	alive := make(map[ledger.BlockRef]bool)
	for ref := order.Block; ref != x.saved; {
		e := x.blocks[ref]
		if e == nil {
			return fmt.Errorf("root %v: its ancestor %v was never executed", order.Block, ref)
		}
		path, alive[ref] = append(path, e), true
		ref = e.parent
	}
	for ref := range x.blocks {
		if ref.Slot <= order.Block.Slot && !alive[ref] {
			delete(x.blocks, ref)
		}
	}
	if order.State == nil || len(path) == 0 {
		return nil
	}
	select {
	case <-x.durable: // at most one state is on its way
	case <-ctx.Done():
		return nil
	}
	view, _ := x.bank.View(order.Block)
	state := &store.State{Root: order.Block, Height: path[0].height, Node: order.State}
	var keys []ledger.Pubkey
	for _, e := range slices.Backward(path) {
		state.Blocks = append(state.Blocks, e.record)
		x.slots = append(x.slots, e.record.Ref.Slot)
		keys = append(keys, e.keys...)
		delete(x.blocks, e.record.Ref)
	}
	x.slots = x.slots[max(0, len(x.slots)-pastMax):]
	state.Keep = x.slots[0]
	slices.SortFunc(keys, func(a, b ledger.Pubkey) int { return slices.Compare(a[:], b[:]) })
	for _, key := range slices.Compact(keys) {
		account, _ := view.Account(key)
		state.Accounts = append(state.Accounts, bank.KeyedAccount{Key: key, Account: account})
	}
	x.saved = order.Block
	x.store.PutState(state, func() { x.durable <- struct{}{} })
	return nil
}
