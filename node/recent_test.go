package node

import (
	"testing"

	"tutti/consensus"
	"tutti/ledger"
	"tutti/validator"
)

// A message that was processed only on a fork that lost can be packed again;
// one that was processed on this fork cannot, for 150 blocks.
func TestRecentMessagesKnowForks(t *testing.T) {
	block := func(parent *validator.Block, height uint64, id byte) *validator.Block {
		b := &validator.Block{BlockRef: ledger.BlockRef{Slot: ledger.Slot(height), ID: ledger.Hash{id}}, Height: height}
		if parent == nil {
			b.Lineage = consensus.NewLineage(b.BlockRef)
		} else {
			b.Lineage = parent.Lineage.Extend(b.BlockRef)
		}
		return b
	}
	root := block(nil, 0, 0)
	won, lost := block(root, 1, 1), block(root, 1, 2)
	tip := block(won, 2, 3)
	r := newRecentMessages()
	once, both := ledger.Hash{1}, ledger.Hash{2}
	r.add(lost, []ledger.Hash{once, both})
	r.add(won, []ledger.Hash{both})
	for _, test := range []struct {
		on         *validator.Block
		once, both bool
	}{{root, false, false}, {lost, true, true}, {won, false, true}, {tip, false, true}} {
		if r.has(once, test.on) != test.once || r.has(both, test.on) != test.both {
			t.Errorf("on %v: %t, %t", test.on.BlockRef, r.has(once, test.on), r.has(both, test.on))
		}
	}
	r.prune(1 + processedAge)
	if !r.has(both, tip) {
		t.Error("forgotten too early")
	}
	again := block(lost, 2, 4) // executed a second time on a fork
	r.add(again, []ledger.Hash{both})
	if r.prune(2 + processedAge); r.has(both, tip) || !r.has(both, again) || len(r.blocks) != 1 {
		t.Error("forgot the wrong block")
	}
	if r.prune(3 + processedAge); r.has(both, again) || len(r.blocks)+len(r.byHeight) != 0 {
		t.Error("not forgotten")
	}
}
