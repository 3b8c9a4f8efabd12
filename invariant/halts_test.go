package invariant

import (
	"testing"

	"tutti/ledger"
)

// Only reports that are known to be wrong count, once for each account, and
// for what descends from their block.
func TestHalts(t *testing.T) {
	w := newWorld(t)
	h := NewHalts(w.Ledger)
	for slot := ledger.Slot(1); slot <= 40; slot++ {
		b := w.Blocks()[w.ref(slot)]
		b.Executed, b.BankHash = true, ledger.Hash{byte(slot)}
	}
	report := func(i int, block ledger.BlockRef, slot ledger.Slot, hash ledger.Hash) bool {
		return h.Report(account(i), block, slot, hash)
	}
	none := func(crossed bool) {
		t.Helper()
		if crossed {
			t.Error("more than a third of the stake")
		}
	}
	none(report(0, w.ref(4), 3, ledger.Hash{3}))                 // right
	none(report(0, w.ref(4), 3, ledger.Hash{9}))                 // wrong
	none(report(0, w.ref(5), 3, ledger.Hash{8}))                 // again
	none(report(1, w.ref(4), 0, ledger.Hash{}))                  // right, of block 0
	none(report(1, side2, 5, ledger.Hash{9}))                    // of another fork, executed by nobody
	none(report(2, ledger.BlockRef{Slot: 7}, 3, ledger.Hash{9})) // of no block
	none(report(2, side2, 3, ledger.Hash{9}))                    // not on its fork
	b := w.Blocks()[w.ref(6)]
	w.broken(h.Halt(b), "1000000000 of 5000000000")
	if !report(3, w.ref(8), 6, ledger.Hash{9}) {
		t.Error("two of five have another BankHash of block 6")
	}
	w.fine(h.Halt(b))
	w.fine(h.Halt(b.Parent)) // links may show it
	w.broken(h.Halt(w.Blocks()[side2]), "stops over")
}
