package turbine

import (
	"math/bits"

	"tutti/ledger"
	"tutti/shred"
)

// Status is how far a block has come.
type Status uint8

// Stages of a block.
const (
	// Incomplete blocks lack shreds, or sets that are being assembled.
	Incomplete Status = iota
	// Complete blocks have all their sets.
	Complete
	// Invalid blocks can never be complete: a set is inconsistent or not at
	// its place, there are too many, or the last one is not marked as such.
	Invalid
)

// Gap is a set that lacks shreds.
type Gap struct {
	Root ledger.Hash
	// Held counts the shreds that came in; shred.SetData are enough. If it is
	// 0 the set is known only by the next one, which names it, or as a wanted
	// id.
	Held int
	// Missing has bit i set if the shred at place i did not come in.
	Missing uint64
}

// Need is what a block lacks.
type Need struct {
	Status Status
	// Gaps goes from the last set to the first. Only its final element can
	// have no shred at all: what comes before that set is unknown, and asking
	// for the spine of the block tells.
	Gaps []Gap
	// Sets counts the sets that are known, whole or not.
	Sets int
}

// Need returns what is missing of the block id under key.
func (c *Collector) Need(key ledger.SlotKey, id ledger.Hash) Need {
	sets, status, unknown := c.walk(key, id)
	n := Need{Status: status, Sets: len(sets)}
	if status != Incomplete {
		return n
	}
	for _, f := range sets {
		if f.state == collecting {
			n.Gaps = append(n.Gaps, f.gap())
		}
	}
	if unknown != nil {
		n.Gaps = append(n.Gaps, Gap{Root: *unknown, Missing: ^uint64(0)})
	}
	return n
}

// Seen is what has come in under a key whose block's id need not be known.
type Seen struct {
	// Index is the highest index of a set.
	Index uint32
	// Last says that a set is there which ends a block.
	Last bool
	// Gaps are the sets that lack shreds, in order of arrival, each with the
	// one before it if that is unknown.
	Gaps []Gap
}

// Missing returns what has come in under key and what is missing there. It
// returns false if nothing has come in.
func (c *Collector) Missing(key ledger.SlotKey) (Seen, bool) {
	var out Seen
	b := c.keys[key]
	if b == nil || len(b.sets) == 0 {
		return out, false
	}
	for _, f := range b.sets {
		out.Index = max(out.Index, f.index)
		out.Last = out.Last || f.last
		switch {
		case f.state == failed:
			continue
		case f.state == collecting:
			out.Gaps = append(out.Gaps, f.gap())
		}
		if f.index > 0 && c.sets[f.chained] == nil {
			out.Gaps = append(out.Gaps, Gap{Root: f.chained, Missing: ^uint64(0)})
		}
	}
	return out, true
}

// Chain returns the sets of the block id under key, first to last. It returns
// nil if the block is not complete, or was released. Sets that are slim have
// no Shreds.
func (c *Collector) Chain(key ledger.SlotKey, id ledger.Hash) []*shred.Set {
	sets, status, _ := c.walk(key, id)
	if status != Complete {
		return nil
	}
	chain := make([]*shred.Set, len(sets))
	for i, f := range sets {
		if f.whole == nil {
			return nil
		}
		chain[len(sets)-1-i] = f.whole
	}
	return chain
}

// Parent returns the parent that the leader block id under key names, as soon
// as one shred of its first set is here and the sets between are known: long
// before the block is complete. Nobody has checked yet that there is such a
// block.
func (c *Collector) Parent(key ledger.SlotKey, id ledger.Hash) (parent ledger.BlockRef, ok bool) {
	sets, status, unknown := c.walk(key, id)
	if key.IsUser() || status == Invalid || unknown != nil {
		return parent, false
	}
	first := sets[len(sets)-1]
	if !first.sample.IsData() {
		return parent, false
	}
	return ledger.BlockRef{Slot: key.Slot() - ledger.Slot(first.sample.ParentOffset()), ID: first.chained}, true
}

// Set returns the 64 raw shreds of a set, or false if it is not assembled, or
// slim.
func (c *Collector) Set(key ledger.SlotKey, root ledger.Hash) ([][]byte, bool) {
	f := c.sets[root]
	if f == nil || f.key != key || f.whole == nil || f.whole.Shreds[0] == nil {
		return nil, false
	}
	return f.whole.Shreds[:], true
}

// walk follows the block id under key from its last set to its first. It
// returns the sets, how far the block has come, and the root at which the walk
// ended if that is unknown.
func (c *Collector) walk(key ledger.SlotKey, id ledger.Hash) (sets []*set, status Status, unknown *ledger.Hash) {
	status = Complete
	for root := id; ; {
		f := c.sets[root]
		if f == nil {
			return sets, Incomplete, &root
		}
		misplaced := f.key != key || len(sets) > 0 && !sets[len(sets)-1].precededBy(f)
		proven := f.state == assembled || f.state == released
		if misplaced || f.state == failed || proven && f.last != (root == id) {
			return sets, Invalid, nil
		}
		if !proven {
			status = Incomplete
		}
		sets = append(sets, f)
		if f.index == 0 {
			return sets, status, nil
		}
		root = f.chained
	}
}

func (f *set) gap() Gap {
	return Gap{Root: f.root, Held: bits.OnesCount64(f.seen), Missing: ^f.seen}
}
