package rpc

import (
	"tutti/bank"
	"tutti/ledger"
	"tutti/node"
)

// Point is the newest block at a commitment, and the state after it.
type Point struct {
	Slot    ledger.Slot
	Height  uint64
	LastPoH ledger.Hash
	View    *bank.View
	// Transactions counts those processed since genesis.
	Transactions uint64
}

// At returns the newest block at a commitment.
func (s *State) At(c Commitment) Point {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tips[c].point()
}

func (b *block) point() Point {
	return Point{b.ref.Slot, b.height, b.lastPoH, b.view, b.transactions}
}

// Latest returns the block whose last PoH hash a new transaction should name.
// A UserBlock's transactions may name only blocks up to its anchor, the
// newest confirmed one (PROTOCOL section 4 (8)); so for Processed it is the
// newest block that is both executed here and confirmed.
func (s *State) Latest(c Commitment) Point {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c == Processed {
		for i := len(s.chain) - 1; i >= 0; i-- {
			if b := s.chain[i]; b.executed && b.ref.Slot >= s.tips[Confirmed].ref.Slot {
				return b.point()
			}
		}
		c = Confirmed
	}
	return s.tips[c].point()
}

// Usable tells whether a transaction that names the hash could still be
// executed in the state at a commitment.
func (s *State) Usable(hash ledger.Hash, c Commitment) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	tip := s.tips[c]
	for b := tip; b != nil && b.height+HashAge >= tip.height; b = s.parent(b) {
		if b.lastPoH == hash {
			return true
		}
	}
	return false
}

// known is Usable for any block that this node holds, executed or not: the
// client may have asked a node that is ahead.
func (s *State) known(hash ledger.Hash) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, b := range s.order {
		if b.lastPoH == hash && b.height+HashAge >= s.tips[Processed].height {
			return true
		}
	}
	return s.tips[Finalized].lastPoH == hash
}

// Level is how far a transaction has come (PROTOCOL section 11).
type Level string

// The levels, in order. Unknown is the level of a signature that was never
// seen, or long ago.
const (
	Unknown           Level = ""
	Pending           Level = "pending"
	Recorded          Level = "recorded"
	OrderConfirmed    Level = "confirmed"
	Executed          Level = "executed"
	ExecutedThird     Level = "executed 1/3"
	ExecutedTwoThirds Level = "executed 2/3"
	Safe              Level = "safe"
)

// Status is what is known of a transaction. Slot and what follows have a
// meaning from Executed on.
type Status struct {
	Level         Level
	Slot          ledger.Slot
	Confirmations uint64 // blocks built on the transaction's
	Commitment    Commitment
	Err           *ledger.TransactionError
}

// Processed tells whether the transaction was executed, with success or not.
func (s *Status) Processed() bool {
	switch s.Level {
	case Unknown, Pending, Recorded, OrderConfirmed:
		return false
	}
	return true
}

// Statuses returns the status of each of the signatures.
func (s *State) Statuses(signatures []ledger.Signature) []Status {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]Status, len(signatures))
	for i, signature := range signatures {
		out[i] = s.status(signature)
	}
	return out
}

func (s *State) status(signature ledger.Signature) Status {
	for i := len(s.order) - 1; i >= 0; i-- {
		b := s.order[i]
		err, ok := b.outcomes[signature]
		if !ok || !s.reaches(b, Processed) {
			continue
		}
		status := Status{Level: Executed, Slot: b.ref.Slot, Err: err}
		if tip := s.tips[Processed].height; tip > b.height {
			status.Confirmations = tip - b.height
		}
		switch {
		case s.reaches(b, Finalized):
			status.Level, status.Commitment = Safe, Finalized
		case s.reaches(b, Confirmed):
			status.Level, status.Commitment = ExecutedTwoThirds, Confirmed
		case s.agreed.TwoThirds >= b.ref.Slot:
			status.Level = ExecutedTwoThirds
		case s.agreed.Third >= b.ref.Slot:
			status.Level = ExecutedThird
		}
		return status
	}
	return Status{Level: s.unexecutedLevel(signature)}
}

// unexecutedLevel is the level of a transaction without an outcome.
func (s *State) unexecutedLevel(signature ledger.Signature) Level {
	level := Unknown
	if _, ok := s.submitted[signature]; ok {
		level = Pending
	}
	for _, u := range s.userOrder {
		if _, ok := u.signatures[signature]; !ok {
			continue
		}
		for _, b := range u.namedBy {
			if b.confirmed {
				return OrderConfirmed
			}
		}
		switch {
		case u.recorded:
			level = Recorded
		case level == Unknown:
			level = Pending
		}
	}
	return level
}

// behind is the number of slots by which execution trails the heaviest fork;
// ok is false as long as the node has not seen any.
func (s *State) behind() (slots uint64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	head, done := s.head.Slot, s.tips[Processed].ref.Slot
	if head > done {
		slots = uint64(head - done)
	}
	return slots, head > 0 || done > 0
}

// unwell returns why the node does not vote; ok is false if it does.
func (s *State) unwell() (health node.HealthChanged, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.health, s.health.Health != node.Healthy
}

// watch waits for one transaction to reach a commitment.
type watch struct {
	signature  ledger.Signature
	commitment Commitment
	held       bool     // a proposer has it
	found      []*block // executed blocks, of any fork, in which it was processed
}

// watch begins to watch a signature; unwatch ends it.
func (s *State) watch(signature ledger.Signature, c Commitment) *watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &watch{signature: signature, commitment: c, held: s.unexecutedLevel(signature) != Unknown}
	for _, b := range s.order {
		if _, ok := b.outcomes[signature]; ok {
			w.held, w.found = true, append(w.found, b)
		}
	}
	s.watches[signature] = append(s.watches[signature], w)
	return w
}

func (s *State) unwatch(w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := s.watches[w.signature][:0:0]
	for _, o := range s.watches[w.signature] {
		if o != w {
			rest = append(rest, o)
		}
	}
	if len(rest) == 0 {
		delete(s.watches, w.signature)
		return
	}
	s.watches[w.signature] = rest
}

// sighting is what a watch has to tell.
type sighting struct {
	held bool
	done bool
	slot ledger.Slot // of the newest executed block, or of the transaction's
	err  *ledger.TransactionError
}

func (s *State) look(w *watch) sighting {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := sighting{held: w.held, slot: s.tips[Processed].ref.Slot}
	for _, b := range w.found {
		// It may have gone again, when the block was executed again.
		if err, ok := b.outcomes[w.signature]; ok && s.reaches(b, w.commitment) {
			return sighting{held: true, done: true, slot: b.ref.Slot, err: err}
		}
	}
	return out
}

// slotsSince returns the slot news from number next on, and the number after
// them. Those that are too old are left out.
func (s *State) slotsSince(next uint64) ([]slotNews, uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	end := s.slotsGone + uint64(len(s.slots))
	if next >= end {
		return nil, end
	}
	from := max(next, s.slotsGone) - s.slotsGone
	return append([]slotNews(nil), s.slots[from:]...), end
}
