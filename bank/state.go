package bank

import (
	"bytes"
	"slices"
	"sync"

	"tutti/cluster"
	"tutti/internal/churn"
	"tutti/internal/planted"
	"tutti/ledger"
)

// duplicateWindow is for how many blocks a processed transaction is
// remembered, and for how many blocks after a blockhash's own it can be used.
const duplicateWindow = 150

// Past is what later blocks and light clients need to know of an executed
// block when its transactions and accounts are gone.
type Past struct {
	Ref      ledger.BlockRef
	LastPoH  ledger.Hash
	BankHash ledger.Hash
	Link     Link
	// Processed are the message hashes of ok and failed transactions.
	Processed []ledger.Hash
	// Nonces are the durable nonce accounts that the block changed.
	Nonces []ledger.Pubkey
}

// layer is what one block changed, and where it stands among the others.
type layer struct {
	*Past
	height  uint64
	lattice LtHash
	written []AccountDelta // sorted by key
	// stakes are those of the block's epoch and of the next one.
	stakes [2]*epochStakes

	parent *layer // nil once the block is the root
	next   *layer // the rooted block after it, once there is one
}

// epochStakes adds to an epoch's stakes which nodes have some.
type epochStakes struct {
	*cluster.EpochStakes
	nodes map[ledger.Pubkey]bool
}

func newEpochStakes(e *cluster.EpochStakes) *epochStakes {
	s := &epochStakes{EpochStakes: e, nodes: make(map[ledger.Pubkey]bool)}
	for _, n := range e.Nodes() {
		s.nodes[n.Key] = true
	}
	return s
}

// find returns what the layer's block did to an account.
func (l *layer) find(key ledger.Pubkey) (*AccountDelta, bool) {
	i, ok := slices.BinarySearchFunc(l.written, key, func(d AccountDelta, k ledger.Pubkey) int {
		return bytes.Compare(d.Key[:], k[:])
	})
	if !ok {
		return nil, false
	}
	return &l.written[i], true
}

// state is all accounts as they are after one block, the tip, and the layers
// that lead from there to every other block that is known:
//
//	rooted ──▶ rooted ──▶ root ──▶ · ──▶ · ──▶ tip     accounts
//	     next       next     ╲ parent
//	                          · ◀── ·                  another fork
//
// To move the tip is to undo and redo layers, so it costs what they wrote.
// A View of any block reads through the layers between it and the tip.
//
// One goroutine changes the state; it reads without the lock, which keeps it
// apart from the readers of views.
type state struct {
	mu       sync.RWMutex
	accounts map[ledger.Pubkey]*Account
	chain    []*layer // from the root to the tip

	// trail has the blocks of chain, and before the root's at most 150 more.
	trail []*Past
	// recent gives the slot of the block that processed a message, for the
	// 150 newest blocks of trail; deleted counts what has left it (churn.Renew).
	recent  map[ledger.Hash]ledger.Slot
	deleted int
}

func (s *state) tip() *layer { return s.chain[len(s.chain)-1] }

func (s *state) root() *layer { return s.chain[0] }

// onChain returns where a block stands in chain.
func (s *state) onChain(l *layer) (int, bool) {
	i := l.height - s.root().height // far beyond the chain if below the root
	if i >= uint64(len(s.chain)) || s.chain[i] != l {
		return 0, false
	}
	return int(i), true
}

// moveTo makes a block the tip. It must descend from the root.
func (s *state) moveTo(target *layer) {
	var redo []*layer
	l := target
	at, ok := s.onChain(l)
	for !ok {
		redo = append(redo, l)
		l = l.parent
		at, ok = s.onChain(l)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.chain)-1 > at {
		s.undo()
	}
	for _, l := range slices.Backward(redo) {
		s.apply(l)
	}
}

// apply makes a child of the tip the tip. The lock is held.
func (s *state) apply(l *layer) {
	for i := range l.written {
		s.set(l.written[i].Key, l.written[i].New)
	}
	s.chain = append(s.chain, l)
	s.trail = append(s.trail, l.Past)
	for _, h := range l.Processed {
		s.recent[h] = l.Ref.Slot
	}
	if out := s.leaving(); out != nil {
		for _, h := range out.Processed {
			delete(s.recent, h)
		}
		s.deleted += len(out.Processed)
		s.recent = churn.Renew(s.recent, &s.deleted)
	}
}

// undo makes the tip's parent the tip. The lock is held.
func (s *state) undo() {
	l := s.tip()
	for i := range l.written {
		if i == 0 && planted.Is(planted.UndoAccount) {
			continue
		}
		s.set(l.written[i].Key, l.written[i].Old)
	}
	for _, h := range l.Processed {
		if !planted.Is(planted.UndoStatus) {
			delete(s.recent, h)
		}
	}
	if out := s.leaving(); out != nil {
		for _, h := range out.Processed {
			s.recent[h] = out.Ref.Slot
		}
	}
	s.chain = s.chain[:len(s.chain)-1]
	s.trail = s.trail[:len(s.trail)-1]
}

// leaving returns the block that the tip has pushed out of the window, nil if
// there is none.
func (s *state) leaving() *Past {
	i := len(s.trail) - 1 - duplicateWindow
	if planted.Is(planted.StatusAge) {
		i++
	}
	if i >= 0 {
		return s.trail[i]
	}
	return nil
}

func (s *state) set(key ledger.Pubkey, a *Account) {
	if a == nil {
		delete(s.accounts, key)
	} else {
		s.accounts[key] = a
	}
}

// setRoot makes a block of chain the root.
func (s *state) setRoot(at int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range at {
		s.chain[i].next = s.chain[i+1]
		s.chain[i+1].parent = nil
	}
	s.chain = slices.Clone(s.chain[at:])
	if surplus := len(s.trail) - len(s.chain) - duplicateWindow; surplus > 0 {
		s.trail = slices.Clone(s.trail[surplus:])
	}
}

// View is the state of accounts after one block, for any number of readers,
// at any time: it stays as it is while other blocks are executed, forks are
// switched and roots advance.
type View struct {
	state *state
	layer *layer
}

// Ref returns the block whose state it is.
func (v *View) Ref() ledger.BlockRef { return v.layer.Ref }

// Height returns the number of blocks before it on its fork.
func (v *View) Height() uint64 { return v.layer.height }

// BankHash returns the block's BankHash.
func (v *View) BankHash() ledger.Hash { return v.layer.BankHash }

// LastPoH returns the block's last PoH hash, which is a blockhash.
func (v *View) LastPoH() ledger.Hash { return v.layer.LastPoH }

// Account returns an account, which must not be changed.
func (v *View) Account(key ledger.Pubkey) (*Account, bool) {
	v.state.mu.RLock()
	defer v.state.mu.RUnlock()
	a := v.state.read(v.layer, key)
	return a, a != nil
}

// Balance returns the lamports of an account, 0 if there is none.
func (v *View) Balance(key ledger.Pubkey) ledger.Lamports {
	if a, ok := v.Account(key); ok {
		return a.Lamports
	}
	return 0
}

// read returns an account as it was after l's block. The lock is held.
//
// Going from l towards the root, the first layer that has the key on the way
// says what it is; where that way meets the rooted blocks or the chain, the
// first layer from there on towards the tip says what it was before.
func (s *state) read(l *layer, key ledger.Pubkey) *Account {
	at, ok := s.onChain(l)
	for !ok && l.next == nil {
		if d, ok := l.find(key); ok {
			return d.New
		}
		l = l.parent
		at, ok = s.onChain(l)
	}
	for ; l.next != nil; l = l.next {
		if d, ok := l.next.find(key); ok {
			return d.Old
		}
	}
	for _, l := range s.chain[at+1:] {
		if d, ok := l.find(key); ok {
			return d.Old
		}
	}
	return s.accounts[key]
}

// Keys returns the keys of all accounts that there are, sorted.
func (v *View) Keys() []ledger.Pubkey {
	v.state.mu.RLock()
	seen := make(map[ledger.Pubkey]bool, len(v.state.accounts))
	keys := make([]ledger.Pubkey, 0, len(v.state.accounts))
	add := func(k ledger.Pubkey) {
		if !seen[k] && v.state.read(v.layer, k) != nil {
			seen[k] = true
			keys = append(keys, k)
		}
	}
	for k := range v.state.accounts {
		add(k)
	}
	// What the tip has no more stands in a layer between it and v.
	addAll := func(l *layer) {
		for i := range l.written {
			add(l.written[i].Key)
		}
	}
	last := v.layer
	for ; last.parent != nil; last = last.parent {
		addAll(last)
	}
	for l := last; l != nil; l = l.next {
		addAll(l)
	}
	for _, l := range v.state.chain {
		addAll(l)
	}
	v.state.mu.RUnlock()
	slices.SortFunc(keys, func(a, b ledger.Pubkey) int { return bytes.Compare(a[:], b[:]) })
	return keys
}
