package rpc

import (
	"testing"
	"time"

	"tutti/ledger"
	"tutti/node"
)

// level returns what is known of a transaction as "level commitment".
func (w *world) level(tx ledger.Transaction) string {
	s := w.state.Statuses([]ledger.Signature{tx.Signature(0)})[0]
	if !s.Processed() {
		return string(s.Level)
	}
	return string(s.Level) + ", " + s.Commitment.String()
}

func (w *world) slots() [3]ledger.Slot {
	return [3]ledger.Slot{w.state.At(Processed).Slot, w.state.At(Confirmed).Slot, w.state.At(Finalized).Slot}
}

// PROTOCOL section 11, level by level.
func TestLevels(t *testing.T) {
	w := newWorld(t)
	tx := transfer(faucet, alice, 5e9, 500, w.bank.Root().ID)
	b := w.block(nil, 1, 0, tx)
	check := func(level string, slots [3]ledger.Slot, balances [3]ledger.Lamports) {
		t.Helper()
		if got := w.level(tx); got != level {
			t.Errorf("level %q, want %q", got, level)
		}
		if got := w.slots(); got != slots {
			t.Errorf("slots %v, want %v", got, slots)
		}
		for c, want := range balances {
			if got := w.state.At(Commitment(c)).View.Balance(pubkeyOf(alice)); got != want {
				t.Errorf("%s balance %d, want %d", Commitment(c), got, want)
			}
		}
	}
	zero := [3]ledger.Lamports{}
	check("", [3]ledger.Slot{}, zero)
	w.state.Submitted(w.now, tx.Signature(0))
	check("pending", [3]ledger.Slot{}, zero)
	w.apply(b.userHeld())
	check("pending", [3]ledger.Slot{}, zero)
	w.apply(b.recorded())
	check("recorded", [3]ledger.Slot{}, zero)
	w.apply(b.held())
	check("recorded", [3]ledger.Slot{}, zero)
	w.apply(b.confirmed())
	check("confirmed", [3]ledger.Slot{}, zero)
	w.apply(b.computed())
	check("executed, processed", [3]ledger.Slot{1, 0, 0}, [3]ledger.Lamports{5e9, 0, 0})
	w.apply(node.Agreed{Third: 1})
	check("executed 1/3, processed", [3]ledger.Slot{1, 0, 0}, [3]ledger.Lamports{5e9, 0, 0})
	w.apply(node.Agreed{Third: 1, TwoThirds: 1})
	check("executed 2/3, confirmed", [3]ledger.Slot{1, 1, 0}, [3]ledger.Lamports{5e9, 5e9, 0})
	w.apply(b.final())
	check("safe, finalized", [3]ledger.Slot{1, 1, 1}, [3]ledger.Lamports{5e9, 5e9, 5e9})
}

// Recorded → confirmed and recorded → executed are independent: either may
// come first (PROTOCOL section 8).
func TestExecutionBeforeConfirmation(t *testing.T) {
	w := newWorld(t)
	tx := transfer(faucet, alice, 5e9, 500, w.bank.Root().ID)
	b := w.block(nil, 1, 0, tx)
	w.apply(b.userHeld(), b.held(), b.computed(), node.Agreed{Third: 1, TwoThirds: 1}, b.final())
	if got := w.level(tx); got != "executed 2/3, processed" {
		t.Errorf("before confirmation: %s", got)
	}
	if got := w.slots(); got != [3]ledger.Slot{1, 0, 0} {
		t.Errorf("before confirmation: %v", got)
	}
	w.apply(b.confirmed())
	if got := w.level(tx); got != "safe, finalized" {
		t.Errorf("after confirmation: %s", got)
	}
}

// What was executed on a fork that lost has no status.
func TestForkSwitch(t *testing.T) {
	w := newWorld(t)
	lost := transfer(faucet, alice, 5e9, 500, w.bank.Root().ID)
	both := transfer(faucet, bob, 5e9, 501, w.bank.Root().ID)
	a1 := w.block(nil, 1, 'a', both)
	a2 := w.block(a1, 2, 'a', lost)
	w.apply(a1.held(), a1.computed(), a2.held(), a2.computed())
	if w.level(lost) != "executed, processed" || w.level(both) != "executed, processed" {
		t.Fatalf("%q %q", w.level(lost), w.level(both))
	}
	b3 := w.block(nil, 3, 'b', both)
	w.apply(b3.held(), b3.computed())
	if got := w.state.At(Processed); got.Slot != 2 || got.Height != 2 {
		t.Errorf("the height went back: %d %d", got.Slot, got.Height)
	}
	b4 := w.block(b3, 4, 'b')
	w.apply(b4.held(), b4.computed())
	if got := w.state.At(Processed); got.Slot != 4 || got.Height != 2 {
		t.Errorf("slot %d, height %d", got.Slot, got.Height)
	}
	if w.level(lost) != "" {
		t.Errorf("lost transaction is %q", w.level(lost))
	}
	if s := w.state.Statuses([]ledger.Signature{both.Signature(0)})[0]; s.Slot != 3 {
		t.Errorf("transaction of both forks stands in slot %d", s.Slot)
	}
	if got := w.state.At(Processed).View.Balance(pubkeyOf(alice)); got != 0 {
		t.Errorf("balance of the lost fork: %d", got)
	}
}

// A UserBlock's transactions may name only blocks up to the newest confirmed
// one (PROTOCOL section 4 (8)), so no newer blockhash is handed out.
func TestLatestIsConfirmed(t *testing.T) {
	w := newWorld(t)
	b1 := w.block(nil, 1, 0)
	b2 := w.block(b1, 2, 0)
	b3 := w.block(b2, 3, 0)
	w.apply(b1.held(), b1.computed(), b2.held(), b2.computed(), b3.held(), b3.confirmed())
	want := func(c Commitment, slot ledger.Slot) {
		t.Helper()
		if got := w.state.Latest(c); got.Slot != slot {
			t.Errorf("%s: slot %d, want %d", c, got.Slot, slot)
		}
	}
	want(Processed, 0)
	w.apply(b1.confirmed())
	want(Processed, 1)
	want(Confirmed, 0)
	w.apply(node.Agreed{TwoThirds: 2})
	want(Confirmed, 1)
	want(Finalized, 0)
	if got := w.state.Latest(Confirmed).LastPoH; got != b1.lastPoH() {
		t.Errorf("blockhash %v", got)
	}
	if !w.state.Usable(b1.lastPoH(), Processed) || w.state.Usable(b1.lastPoH(), Finalized) || w.state.Usable(b3.lastPoH(), Processed) {
		t.Error("usable blockhashes are wrong")
	}
	if !w.state.known(b3.lastPoH()) {
		t.Error("a block that is held is not known")
	}
}

// Of two blocks of one slot the confirmed one wins, whichever was executed
// first.
func TestForksOfOneSlot(t *testing.T) {
	w := newWorld(t)
	tx := transfer(faucet, alice, 5e9, 500, w.bank.Root().ID)
	a, b := w.block(nil, 1, 'a'), w.block(nil, 1, 'b', tx)
	w.apply(a.held(), a.computed(), b.held(), b.computed())
	if w.level(tx) != "" {
		t.Errorf("before: %q", w.level(tx))
	}
	w.apply(b.confirmed(), node.Agreed{TwoThirds: 1})
	if got := w.state.At(Processed).View.Balance(pubkeyOf(alice)); w.level(tx) != "executed 2/3, confirmed" || got != 5e9 {
		t.Errorf("after: %q, %d", w.level(tx), got)
	}
}

// What is confirmed on another fork than a finalised block is not finalised,
// though its slot is not above it; the block's ancestors are.
func TestFinalisedFork(t *testing.T) {
	w := newWorld(t)
	lost := transfer(faucet, alice, 5e9, 500, w.bank.Root().ID)
	kept := transfer(faucet, bob, 5e9, 501, w.bank.Root().ID)
	a1, b2 := w.block(nil, 1, 'a', lost), w.block(nil, 2, 'b', kept)
	b3 := w.block(b2, 3, 'b')
	for _, m := range []*made{b2, b3, a1} {
		w.apply(m.held(), m.computed(), m.confirmed())
	}
	w.apply(node.Agreed{TwoThirds: 3})
	if got := w.slots(); got != [3]ledger.Slot{3, 3, 0} {
		t.Errorf("before: %v", got)
	}
	w.apply(b3.final())
	if got := w.slots(); got != [3]ledger.Slot{3, 3, 3} || w.level(kept) != "safe, finalized" {
		t.Errorf("after: %v, %q", got, w.level(kept))
	}
	if b := w.state.blocks[a1.ref]; w.state.reaches(b, Finalized) {
		t.Error("a block of the other fork is finalised")
	}
}

func TestStatusOfFailure(t *testing.T) {
	w := newWorld(t)
	b1 := w.block(nil, 1, 0, transfer(faucet, alice, 1e9, 500, w.bank.Root().ID))
	tx := transfer(alice, bob, 2e9, 500, w.bank.Root().ID)
	b2 := w.block(b1, 2, 0, tx)
	w.all(b1)
	w.all(b2)
	s := w.state.Statuses([]ledger.Signature{tx.Signature(0)})[0]
	if s.Err == nil || s.Err.Error() != "Error processing Instruction 1: custom program error: 0x1" {
		t.Errorf("error %v", s.Err)
	}
	if got := w.state.At(Finalized).Transactions; got != 2 {
		t.Errorf("%d transactions", got)
	}
}

// The same transaction in two UserBlocks shows as one status and counts once.
func TestDuplicateInclusion(t *testing.T) {
	w := newWorld(t)
	tx := transfer(faucet, alice, 1e9, 500, w.bank.Root().ID)
	b1 := w.block(nil, 1, 0, tx)
	b2 := w.block(b1, 2, 0, tx)
	w.all(b1)
	w.all(b2)
	if s := w.state.Statuses([]ledger.Signature{tx.Signature(0)})[0]; s.Slot != 1 || s.Confirmations != 1 {
		t.Errorf("slot %d, %d confirmations", s.Slot, s.Confirmations)
	}
	if got := w.state.At(Processed).Transactions; got != 1 {
		t.Errorf("%d transactions", got)
	}
}

// What State remembers is bounded, by age and by number.
func TestForgets(t *testing.T) {
	w := newWorld(t)
	w.now = w.now.Add(time.Hour)
	tx := transfer(faucet, alice, 1e9, 500, w.bank.Root().ID)
	parent := w.block(nil, 1, 0, tx)
	w.all(parent)
	waiting := transfer(faucet, alice, 1e9, 501, w.bank.Root().ID)
	w.state.Submitted(w.now, waiting.Signature(0))
	for slot := ledger.Slot(2); slot <= blocksKept+3; slot++ {
		parent = w.block(parent, slot, 0)
		w.all(parent)
	}
	if got := w.level(tx); got != "safe, finalized" {
		t.Errorf("before its time: %q", got)
	}
	w.now = w.now.Add(ageKept + time.Second)
	parent = w.block(parent, blocksKept+4, 0)
	w.all(parent)
	if w.level(tx) != "" || w.level(waiting) != "" {
		t.Errorf("remembers %q and %q", w.level(tx), w.level(waiting))
	}
	s := w.state
	if len(s.blocks) != len(s.order) || len(s.order) > blocksKept || len(s.chain) > blocksKept || s.outcomes != 0 ||
		len(s.userBlocks) != 1 || len(s.userOrder) != 1 || len(s.submitted)+len(s.subOrder) != 0 || len(s.slots) > slotsMax {
		t.Errorf("%d blocks, %d in order, %d in chain, %d outcomes, %d userblocks", len(s.blocks), len(s.order), len(s.chain), s.outcomes, len(s.userBlocks))
	}
	for _, b := range s.order {
		if b.view != nil && b != s.tips[Finalized] {
			t.Fatalf("slot %d still has its view", b.ref.Slot)
		}
	}
	if got := s.At(Finalized); got.Slot != blocksKept+4 || got.Height != blocksKept+4 {
		t.Errorf("tip %d, height %d", got.Slot, got.Height)
	}
}

// Confirmation may be seen before the block itself.
func TestConfirmedBeforeHeld(t *testing.T) {
	w := newWorld(t)
	b1 := w.block(nil, 1, 0)
	b2 := w.block(b1, 2, 0)
	w.apply(b1.confirmed(), b2.confirmed(), node.Agreed{TwoThirds: 2})
	if got := w.slots(); got != [3]ledger.Slot{} {
		t.Errorf("before execution: %v", got)
	}
	w.apply(b1.held(), b1.final(), b1.computed())
	if got := w.slots(); got != [3]ledger.Slot{1, 1, 1} {
		t.Errorf("after one: %v", got)
	}
	w.apply(b2.held(), b2.final(), b2.computed())
	if got := w.slots(); got != [3]ledger.Slot{2, 2, 2} {
		t.Errorf("after both: %v", got)
	}
}
