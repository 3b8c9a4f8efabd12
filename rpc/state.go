package rpc

import (
	"slices"
	"sync"
	"time"

	"tutti/bank"
	"tutti/internal/churn"
	"tutti/ledger"
	"tutti/node"
)

// What a State remembers. Beyond these bounds the oldest is forgotten: a
// signature's status is then unknown, as if it had never been seen.
const (
	// Blocks and their outcomes are kept for the longer of 300 blocks and
	// two minutes, a blockhash's life.
	blocksKept = 300
	ageKept    = 2 * time.Minute
	// blocksMax and signaturesMax bound blocks, and outcomes in them,
	// whatever their age.
	blocksMax     = 4096
	signaturesMax = 1 << 19
	// unexecutedMax bounds the signatures of UserBlocks that are kept for
	// their levels before execution.
	unexecutedMax = 1 << 17
	// submittedMax bounds the transactions known to wait in the pool.
	submittedMax = 1 << 16
	// slotsMax bounds the slot notifications kept for slow subscribers.
	slotsMax = 128
)

// HashAge is the number of blocks for which a blockhash can be used: a
// transaction that names the last PoH hash of the block at height h executes
// in the block at height h+149 at the latest (PROTOCOL section 4 (8)), and
// lastValidBlockHeight is h+150.
const HashAge = 150

// Commitment says how settled the state is that a client asks for
// (PROTOCOL section 11).
type Commitment uint8

const (
	// Processed is what this node has executed.
	Processed Commitment = iota
	// Confirmed is confirmed and executed, with more than two thirds of the
	// stake reporting the same BankHash.
	Confirmed
	// Finalized is finalised, and executed by more than two thirds.
	Finalized
)

var commitmentNames = [...]string{"processed", "confirmed", "finalized"}

// String returns the commitment's name in the RPC.
func (c Commitment) String() string { return commitmentNames[c] }

// State is what this node knows that clients ask for. It is built from the
// node's reports alone, applied in order, and may be read by any goroutine.
type State struct {
	mu      sync.RWMutex
	changed chan struct{} // closed and replaced when there is news for subscribers

	blocks   map[ledger.BlockRef]*block
	order    []*block // of blocks, the oldest first
	outcomes int      // in blocks
	chain    []*block // confirmed blocks, ascending
	// tips are the newest block at each commitment.
	// Invariant: slots never go back, and heights only at Processed, when the
	// cluster settles on a fork that is lower than the one executed first.
	tips   [Finalized + 1]*block
	head   node.Head
	agreed node.Agreed
	health node.HealthChanged

	userBlocks map[ledger.UserBlockRef]*userBlock
	userOrder  []*userBlock // of userBlocks, the oldest first
	unexecuted int          // signatures in userBlocks
	submitted  map[ledger.Signature]struct{}
	subOrder   []submission                                // of submitted, the oldest first
	deleted    struct{ blocks, userBlocks, submitted int } // from the maps (churn.Renew)

	watches   map[ledger.Signature][]*watch
	slots     []slotNews // the newest last
	slotsGone uint64     // how many were dropped before slots[0]
}

// block is a leader block as far as this node knows it.
type block struct {
	ref, parent ledger.BlockRef
	created     time.Time
	height      uint64
	lastPoH     ledger.Hash
	confirmed   bool
	finalised   bool

	executed bool
	view     *bank.View
	// live tells whether the block is on the fork of the processed tip.
	live bool
	// outcomes has the transactions that were processed in this block: nil
	// for ok, else why it failed.
	outcomes map[ledger.Signature]*ledger.TransactionError
	// transactions counts those processed since genesis.
	transactions uint64
}

// userBlock is a UserBlock that may not be executed yet.
type userBlock struct {
	ref        ledger.UserBlockRef
	held       time.Time
	signatures map[ledger.Signature]struct{}
	recorded   bool
	namedBy    []*block
}

type submission struct {
	at        time.Time
	signature ledger.Signature
}

type slotNews struct{ slot, parent, root ledger.Slot }

// NewState returns the state at the block of a view, genesis as a rule, that
// is confirmed, rooted, executed and certified.
func NewState(view *bank.View) *State {
	b := &block{
		ref: view.Ref(), height: view.Height(), lastPoH: view.LastPoH(),
		confirmed: true, finalised: true, executed: true, live: true, view: view,
	}
	return &State{
		changed:    make(chan struct{}),
		blocks:     map[ledger.BlockRef]*block{b.ref: b},
		order:      []*block{b},
		chain:      []*block{b},
		tips:       [...]*block{b, b, b},
		userBlocks: map[ledger.UserBlockRef]*userBlock{},
		submitted:  map[ledger.Signature]struct{}{},
		watches:    map[ledger.Signature][]*watch{},
	}
}

// Apply takes in a report of the node; those that clients do not ask about
// are ignored.
func (s *State) Apply(now time.Time, report any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.take(now, report) {
		s.advance()
		s.announce()
	}
	s.forget(now)
}

// take does the work of Apply; it tells whether subscribers may want to know.
func (s *State) take(now time.Time, report any) bool {
	switch r := report.(type) {
	case node.UserBlockHeld:
		return s.userBlockHeld(now, r.Block)
	case node.UserBlockRecorded:
		if u := s.userBlocks[r.Ref]; u != nil {
			u.recorded = true
		}
		return false
	case node.BlockHeld:
		s.blockHeld(now, &r)
		return false
	case node.Confirmed:
		s.confirm(now, r.Block)
		return true
	case node.BankComputed:
		s.execute(now, r.Result)
		return true
	case node.Agreed:
		s.agreed = r
		return true
	case node.HealthChanged:
		s.health = r
		return false
	case node.Finalized:
		for b := s.blocks[r.Block]; b != nil && !b.finalised; b = s.parent(b) {
			b.finalised = true
		}
		return true
	case node.Head:
		s.head = r
	}
	return false
}

func (s *State) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Submitted notes that this node's proposer has taken a transaction.
func (s *State) Submitted(now time.Time, signature ledger.Signature) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.submitted[signature]; ok {
		return
	}
	s.submitted[signature] = struct{}{}
	s.subOrder = append(s.subOrder, submission{now, signature})
	if s.receive(signature) {
		s.announce()
	}
}

// Changed returns a channel that is closed at the next change that a
// subscriber may wait for.
func (s *State) Changed() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changed
}

// userBlockHeld tells whether somebody waits for one of the transactions.
func (s *State) userBlockHeld(now time.Time, ub *ledger.UserBlock) bool {
	if s.userBlocks[ub.Ref] != nil {
		return false
	}
	awaited := false
	u := &userBlock{ref: ub.Ref, held: now, signatures: make(map[ledger.Signature]struct{}, len(ub.Transactions))}
	for i := range ub.Transactions {
		signature := ub.Transactions[i].Signature(0)
		u.signatures[signature] = struct{}{}
		awaited = s.receive(signature) || awaited
	}
	s.userBlocks[ub.Ref] = u
	s.userOrder = append(s.userOrder, u)
	s.unexecuted += len(u.signatures)
	return awaited
}

// receive tells the watches of a signature, if it has any, that a proposer
// has the transaction.
func (s *State) receive(signature ledger.Signature) bool {
	watches := s.watches[signature]
	for _, w := range watches {
		w.held = true
	}
	return len(watches) > 0
}

// block returns the block named by ref; it is made if it is not known.
func (s *State) block(now time.Time, ref ledger.BlockRef) *block {
	b := s.blocks[ref]
	if b == nil {
		b = &block{ref: ref, created: now}
		s.blocks[ref] = b
		s.order = append(s.order, b)
	}
	return b
}

func (s *State) blockHeld(now time.Time, r *node.BlockHeld) {
	b := s.block(now, r.Block)
	b.parent, b.height, b.lastPoH = r.Parent, r.Height, r.LastPoH
	for _, e := range r.Entries {
		if u := s.userBlocks[e]; u != nil {
			u.recorded = true
			u.namedBy = append(u.namedBy, b)
		}
	}
}

func (s *State) confirm(now time.Time, ref ledger.BlockRef) {
	b := s.block(now, ref)
	if b.confirmed {
		return
	}
	b.confirmed = true
	// Ancestors come before a block, so this moves nothing as a rule.
	s.chain = append(s.chain, b)
	for i := len(s.chain) - 1; i > 0 && s.chain[i].ref.Slot < s.chain[i-1].ref.Slot; i-- {
		s.chain[i], s.chain[i-1] = s.chain[i-1], s.chain[i]
	}
}

func (s *State) execute(now time.Time, r *bank.Result) {
	b := s.block(now, r.Ref)
	b.parent, b.height, b.lastPoH = r.Parent, r.Height, r.Link.LastPoH
	s.outcomes -= len(b.outcomes)
	b.executed, b.view = true, r.View
	b.outcomes = map[ledger.Signature]*ledger.TransactionError{}
	for i := range r.Receipts {
		receipt := &r.Receipts[i]
		if !receipt.Outcome.Processed() {
			continue
		}
		if _, again := b.outcomes[receipt.Signature]; again {
			continue
		}
		b.outcomes[receipt.Signature] = receipt.Error
		for _, w := range s.watches[receipt.Signature] {
			w.found = append(w.found, b)
		}
	}
	s.outcomes += len(b.outcomes)
	b.transactions = uint64(len(b.outcomes))
	if parent := s.blocks[r.Parent]; parent != nil {
		b.transactions += parent.transactions
	}
	s.moveProcessed(b, false)
}

// moveProcessed makes b the newest executed block if it is newer and not
// lower, or if the cluster has settled on it. So after a change of forks the
// tip stays on the old one until the new one has caught up with it: clients
// that poll the height do not see it go back.
func (s *State) moveProcessed(b *block, settled bool) {
	tip := s.tips[Processed]
	if b == tip || b.ref.Slot < tip.ref.Slot {
		return
	}
	if !settled && (b.ref.Slot == tip.ref.Slot || b.height < tip.height) {
		return
	}
	if b.parent != tip.ref {
		for _, o := range s.order {
			o.live = false
		}
		for a := s.blocks[b.parent]; a != nil; a = s.parent(a) {
			a.live = true
		}
	}
	b.live = true
	s.tips[Processed] = b
	s.slots = append(s.slots, slotNews{b.ref.Slot, b.parent.Slot, s.tips[Finalized].ref.Slot})
	if len(s.slots) > slotsMax {
		s.slots = s.slots[1:]
		s.slotsGone++
	}
}

// parent returns the block before b, nil if it is not known any more.
func (s *State) parent(b *block) *block {
	if b.ref.Slot == 0 {
		return nil
	}
	return s.blocks[b.parent]
}

// reaches tells whether b is executed, and at commitment c.
func (s *State) reaches(b *block, c Commitment) bool {
	if !b.executed {
		return false
	}
	if c == Processed && b.live {
		return true
	}
	if !b.confirmed || c == Finalized && !b.finalised {
		return false
	}
	// What has been shown stays, even if voters change their reports.
	return b.ref.Slot <= max(s.agreed.TwoThirds, s.tips[max(c, Confirmed)].ref.Slot)
}

// advance moves the tips of the confirmed chain, and lets go of the views
// that no query can ask for any more.
func (s *State) advance() {
	for c := Confirmed; c <= Finalized; c++ {
		for i := len(s.chain) - 1; i >= 0 && s.chain[i].ref.Slot > s.tips[c].ref.Slot; i-- {
			if s.reaches(s.chain[i], c) {
				s.tips[c] = s.chain[i]
				break
			}
		}
	}
	s.moveProcessed(s.tips[Confirmed], true)
	for _, b := range s.order {
		if b.ref.Slot < s.tips[Finalized].ref.Slot {
			b.view = nil
		}
	}
}

// forget drops what is over the bounds.
func (s *State) forget(now time.Time) {
	for len(s.order) > 1 {
		b := s.order[0]
		old := len(s.order) > blocksKept && now.Sub(b.created) > ageKept
		if !old && len(s.order) <= blocksMax && s.outcomes <= signaturesMax {
			break
		}
		s.order[0] = nil
		s.order = s.order[1:]
		s.outcomes -= len(b.outcomes)
		delete(s.blocks, b.ref)
		s.deleted.blocks++
		if i := slices.Index(s.chain, b); i >= 0 {
			s.chain = slices.Delete(s.chain, i, i+1)
		}
	}
	for len(s.userOrder) > 0 {
		u := s.userOrder[0]
		if s.unexecuted <= unexecutedMax && now.Sub(u.held) <= ageKept {
			break
		}
		s.userOrder[0] = nil
		s.userOrder = s.userOrder[1:]
		s.unexecuted -= len(u.signatures)
		delete(s.userBlocks, u.ref)
		s.deleted.userBlocks++
	}
	for len(s.subOrder) > 0 && (len(s.subOrder) > submittedMax || now.Sub(s.subOrder[0].at) > ageKept) {
		delete(s.submitted, s.subOrder[0].signature)
		s.subOrder = s.subOrder[1:]
		s.deleted.submitted++
	}
	s.blocks = churn.Renew(s.blocks, &s.deleted.blocks)
	s.userBlocks = churn.Renew(s.userBlocks, &s.deleted.userBlocks)
	s.submitted = churn.Renew(s.submitted, &s.deleted.submitted)
}
