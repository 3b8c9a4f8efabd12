package turbine

import (
	"tutti/internal/churn"
	"tutti/ledger"
	"tutti/shred"
)

// Bounds of a Collector, beside those in Limits.
const (
	// RootsMax is how many sets with one key and index are kept unless their
	// roots are wanted: two are a proof of equivocation.
	RootsMax = 2
	// WantsMax is how many ids can be wanted under one key.
	WantsMax = 16
	// KeysMax is the number of keys that are kept at once. The last quarter is
	// for leader blocks.
	KeysMax = 1 << 14
)

// Limits bounds the sets that a Collector keeps.
type Limits struct {
	// UserSetsMax is the number of sets that a UserBlock can have: F of
	// PROTOCOL section 2.
	UserSetsMax int
	// SetsMax bounds the sets with shreds, under all keys; each takes up to
	// 110 KB, a third of that once it is slim. The last quarter is for leader blocks and for what is wanted.
	SetsMax int
}

// Drop says why a shred was not taken.
type Drop uint8

// Reasons to drop a shred.
const (
	// Kept means that the shred was not dropped.
	Kept Drop = iota
	// DropOld is for keys that were pruned.
	DropOld
	// DropBeyond is for sets that a block cannot have so many of.
	DropBeyond
	// DropDuplicate is for a place of a set that was seen before.
	DropDuplicate
	// DropRoots is for a set of which RootsMax others are kept.
	DropRoots
	// DropFailed is for sets that are known to be inconsistent.
	DropFailed
	// DropFull is for sets above Limits.SetsMax, or keys above KeysMax.
	DropFull
	// Drops is the number of reasons, for tables of counters.
	Drops
)

var dropNames = [Drops]string{"kept", "old", "beyond", "duplicate", "roots", "failed", "full"}

// String returns the reason in a word, as metrics label it.
func (d Drop) String() string {
	if d < Drops {
		return dropNames[d]
	}
	return "unknown"
}

// Collector collects shreds into sets and sets into blocks. It belongs to one
// goroutine. It never looks at a map's order, so the same calls have the same
// results.
type Collector struct {
	limits Limits
	floor  ledger.Slot
	keys   map[ledger.SlotKey]*block
	sets   map[ledger.Hash]*set
	// bodies counts the sets that have shreds.
	bodies int
	// deleted counts what has left the maps of these names (churn.Renew).
	deleted struct{ keys, sets int }
}

// block is all that is known under one key: one block, or several of an
// equivocator.
type block struct {
	// sets is in order of arrival.
	sets  []*set
	wants []ledger.Hash
	// wanted holds the roots of sets of the blocks in wants: the ids, and what
	// follows from them by the roots that sets name.
	wanted map[ledger.Hash]bool
	// conflict says that a proof of equivocation was given out.
	conflict bool
}

type state uint8

const (
	collecting state = iota
	assembling
	assembled
	released
	failed
)

// set is what is known of one FEC set.
type set struct {
	root, chained ledger.Hash
	key           ledger.SlotKey
	index         uint32
	state         state
	// sample is one shred of the set, for spines and proofs.
	sample shred.Shred
	// seen has bit i set if the shred at place i came in.
	seen uint64
	// passed has bit i set if PassOn gave out the shred at place i.
	passed uint64
	// shreds is what came in while collecting.
	shreds []shred.Shred
	// whole is there while assembled; last holds from then on.
	whole *shred.Set
	last  bool
	// linked says that the set and all before it are assembled and were given
	// out.
	linked bool
}

// NewCollector returns a Collector that is empty.
func NewCollector(l Limits) *Collector {
	return &Collector{
		limits: l,
		keys:   make(map[ledger.SlotKey]*block),
		sets:   make(map[ledger.Hash]*set),
	}
}

// Inserted says what became of a shred.
type Inserted struct {
	// New says that the shred was not seen before and is to be forwarded, also
	// if its set needs it no more, unless it was Passed on before it came.
	New, Passed bool
	// Drop is why it is not New.
	Drop Drop
	// Shred is the shred that is to be forwarded: the one inserted, or a copy
	// that has the signature of the set's first shred.
	Shred shred.Shred
	// Ready has the shreds of which the set is to be assembled now, once: call
	// Assembled or Failed with what comes out.
	Ready []shred.Shred
	// Conflict is a proof of equivocation, given once per key: two shreds of
	// one key and set index with different roots.
	Conflict *[2]shred.Shred
}

// Known tells whether a shred of the set was inserted under that key, so that
// the signature of its root need not be checked again. A tree can have leaves
// with the keys of others, whose signer has not signed it.
func (c *Collector) Known(key ledger.SlotKey, root ledger.Hash) bool {
	f := c.sets[root]
	return f != nil && f.key == key
}

// Refuses tells why a shred would be dropped although its root is signed, so
// that its signature need not be checked; Kept if nothing is known against it.
func (c *Collector) Refuses(s *shred.Shred, root ledger.Hash) Drop {
	key := s.Key()
	b := c.keys[key]
	switch {
	case key.Slot() < c.floor:
		return DropOld
	case c.sets[root] != nil || b != nil && b.wanted[root]:
		return Kept
	case int(s.SetIndex()) >= c.setsMax(key)*shred.SetData:
		return DropBeyond
	case c.bodies >= c.bodiesMax(key):
		return DropFull
	case b != nil && b.conflict && b.count(s.SetIndex()) >= RootsMax:
		return DropRoots
	}
	return Kept
}

// bodiesMax is how many sets may have shreds before a new one under key is
// refused that nobody wants.
func (c *Collector) bodiesMax(key ledger.SlotKey) int {
	if key.IsUser() {
		return c.limits.SetsMax - c.limits.SetsMax/4
	}
	return c.limits.SetsMax
}

// count returns how many sets have that index.
func (b *block) count(index uint32) (n int) {
	for _, f := range b.sets {
		if f.index == index {
			n++
		}
	}
	return n
}

// Insert takes a shred whose proof leads to root, and keeps its bytes. The
// caller has checked that the scheduled signer signed the root, unless it is
// Known, and that the key lies in the time that it cares for.
//
// A key can make several valid signatures of one root. Only that of the first
// shred has been checked; the others take it over.
func (c *Collector) Insert(s shred.Shred, root ledger.Hash) Inserted {
	key := s.Key()
	if key.Slot() < c.floor {
		return Inserted{Drop: DropOld}
	}
	in := Inserted{New: true, Shred: s}
	f := c.sets[root]
	if f == nil {
		f, in.Drop, in.Conflict = c.open(&s, root)
		if f == nil {
			return Inserted{Drop: in.Drop, Conflict: in.Conflict}
		}
	}
	if f.state != failed && !f.holds(&s) {
		// Leaves of one tree with different headers: whoever encodes the set
		// again finds another root.
		c.fail(f)
	}
	bit := uint64(1) << s.Position()
	switch {
	case f.state == failed:
		return Inserted{Drop: DropFailed, Conflict: in.Conflict}
	case f.seen&bit != 0:
		return Inserted{Drop: DropDuplicate, Conflict: in.Conflict}
	}
	if sig := f.sample.Signature(); s.Signature() != sig {
		in.Shred = s.WithSignature(sig)
	}
	f.seen |= bit
	in.Passed = f.passed&bit != 0
	if f.state != collecting {
		return in
	}
	f.shreds = append(f.shreds, in.Shred)
	if len(f.shreds) == shred.SetData {
		f.state = assembling
		in.Ready, f.shreds = f.shreds, nil
	}
	return in
}

// holds tells whether the header of s is that of the set.
func (f *set) holds(s *shred.Shred) bool {
	return s.Key() == f.key && s.SetIndex() == f.index && s.ChainedRoot() == f.chained &&
		s.Version() == f.sample.Version() && s.Resigned() == f.sample.Resigned()
}

// open begins the set of a shred whose root is new.
func (c *Collector) open(s *shred.Shred, root ledger.Hash) (*set, Drop, *[2]shred.Shred) {
	b := c.keys[s.Key()]
	wanted := b != nil && b.wanted[root]
	if int(s.SetIndex()) >= c.setsMax(s.Key())*shred.SetData {
		if wanted {
			// The block that is wanted is too long: remember it as failed.
			f := c.add(b, s, root)
			c.fail(f)
		}
		return nil, DropBeyond, nil
	}
	bodiesMax := c.limits.SetsMax
	if !wanted {
		bodiesMax = c.bodiesMax(s.Key())
	}
	if c.bodies >= bodiesMax {
		return nil, DropFull, nil
	}
	if b == nil {
		if b = c.block(s.Key()); b == nil {
			return nil, DropFull, nil
		}
	}
	conflict, others := b.conflicts(s)
	if others >= RootsMax && !wanted {
		return nil, DropRoots, conflict
	}
	f := c.add(b, s, root)
	if wanted {
		c.want(b, root)
	}
	return f, Kept, conflict
}

// conflicts returns how many other sets have the key and the set index of s,
// and a proof of it if none was given out before.
func (b *block) conflicts(s *shred.Shred) (proof *[2]shred.Shred, others int) {
	for _, f := range b.sets {
		if f.index != s.SetIndex() {
			continue
		}
		others++
		if !b.conflict {
			b.conflict = true
			proof = &[2]shred.Shred{f.sample, *s}
		}
	}
	return proof, others
}

// block returns what is known under key, or nil if that is new and there are
// too many keys.
func (c *Collector) block(key ledger.SlotKey) *block {
	b := c.keys[key]
	keysMax := KeysMax
	if key.IsUser() {
		keysMax -= keysMax / 4
	}
	if b == nil && len(c.keys) < keysMax {
		b = &block{wanted: make(map[ledger.Hash]bool)}
		c.keys[key] = b
	}
	return b
}

func (c *Collector) add(b *block, s *shred.Shred, root ledger.Hash) *set {
	f := &set{
		root:    root,
		chained: s.ChainedRoot(),
		key:     s.Key(),
		index:   s.SetIndex(),
		sample:  *s,
	}
	b.sets = append(b.sets, f)
	c.sets[root] = f
	c.bodies++
	return f
}

func (c *Collector) setsMax(key ledger.SlotKey) int {
	if key.IsUser() {
		return c.limits.UserSetsMax
	}
	return ledger.LeaderSetsMax
}

// Assembled takes a set that was Ready, or one that the node has made or
// stored itself. It returns the sets that now follow each other without a gap
// from the first set of a block on, and were not returned before. Each comes
// after the one that it names; under equivocation sets of several blocks can
// be among them.
func (c *Collector) Assembled(whole *shred.Set) []*shred.Set {
	if whole.Key.Slot() < c.floor {
		return nil
	}
	f := c.sets[whole.Root]
	if f == nil {
		b := c.block(whole.Key)
		if b == nil {
			return nil
		}
		s := whole.Shred(0)
		f = c.add(b, &s, whole.Root)
		f.seen = ^uint64(0)
		if b.wanted[whole.Root] {
			c.want(b, whole.Root)
		}
	}
	if f.state != collecting && f.state != assembling {
		return nil
	}
	f.state = assembled
	f.whole, f.last = whole, whole.Last
	f.sample, f.shreds = whole.Shred(0), nil
	return c.link(f)
}

// PassOn returns the places, as bits, of the shreds of a recovered set that
// have not come: the node forwards what was recovered, once, and those shreds
// not any more.
func (c *Collector) PassOn(root ledger.Hash) (missing uint64) {
	f := c.sets[root]
	if f == nil || f.state == failed {
		return 0
	}
	missing = ^(f.seen | f.passed)
	f.passed |= missing
	return missing
}

// link returns f and what follows it if all before f is linked.
func (c *Collector) link(f *set) []*shred.Set {
	b := c.keys[f.key]
	if !f.follows(c.sets[f.chained]) {
		return nil
	}
	f.linked = true
	chain := []*shred.Set{f.whole}
	for i := 0; i < len(chain); i++ {
		before := c.sets[chain[i].Root]
		for _, next := range b.sets {
			if next.state == assembled && !next.linked && next.index > 0 && next.chained == before.root && next.follows(before) {
				next.linked = true
				chain = append(chain, next.whole)
			}
		}
	}
	return chain
}

// follows tells whether f is a block's first set, or the next one after a set
// that is linked.
func (f *set) follows(before *set) bool {
	if f.index == 0 {
		return true
	}
	return before != nil && before.linked && !before.last && f.precededBy(before)
}

// precededBy tells whether before, which f names, is at the place before f.
func (f *set) precededBy(before *set) bool {
	return before.key == f.key && before.index+shred.SetData == f.index
}

// Failed says that a set that was Ready is inconsistent. It is remembered by
// its root until its key is pruned.
func (c *Collector) Failed(root ledger.Hash) {
	if f := c.sets[root]; f != nil && (f.state == collecting || f.state == assembling) {
		c.fail(f)
	}
}

func (c *Collector) fail(f *set) {
	c.free(f)
	f.state = failed
}

// free forgets the shreds of a set.
func (c *Collector) free(f *set) {
	if f.state < released {
		c.bodies--
	}
	f.shreds, f.whole = nil, nil
}

// Want says that the block id under key is to be collected, whatever else is
// kept under that key. It returns false if WantsMax or KeysMax is reached or
// the key is pruned.
func (c *Collector) Want(key ledger.SlotKey, id ledger.Hash) bool {
	if key.Slot() < c.floor {
		return false
	}
	b := c.block(key)
	if b == nil {
		return false
	}
	for _, w := range b.wants {
		if w == id {
			return true
		}
	}
	if len(b.wants) == WantsMax {
		return false
	}
	b.wants = append(b.wants, id)
	c.want(b, id)
	return true
}

// want marks root as wanted, and what it is known to follow.
func (c *Collector) want(b *block, root ledger.Hash) {
	for {
		b.wanted[root] = true
		f := c.sets[root]
		if f == nil || f.index == 0 {
			return
		}
		before := c.sets[f.chained]
		if before != nil && !f.precededBy(before) {
			return
		}
		root = f.chained
	}
}

// Release forgets the shreds of a block that is stored elsewhere: Chain and
// Set return nothing any more, but the block stays known as complete.
func (c *Collector) Release(key ledger.SlotKey, id ledger.Hash) {
	for f := c.sets[id]; f != nil && f.key == key; f = c.sets[f.chained] {
		if f.state == assembled {
			c.free(f)
			f.state = released
			f.sample = f.sample.Clone() // lets go of the set's memory
		}
		if f.index == 0 {
			return
		}
	}
}

// SlimBelow lets go of the shreds of assembled sets of keys below slot: what
// they carry is still there, but the sets that Chain returns have no Shreds.
func (c *Collector) SlimBelow(slot ledger.Slot) {
	for key, b := range c.keys {
		if key.Slot() >= slot {
			continue
		}
		for _, f := range b.sets {
			if f.state == assembled && f.whole.Shreds[0] != nil {
				slim := *f.whole
				slim.Shreds = [shred.SetSize][]byte{}
				f.whole, f.sample = &slim, f.sample.Clone()
			}
		}
	}
}

// PruneBelow forgets all keys whose slot is below slot, a UserBlock's being
// that of which its UserBlockSlot is a half. Their shreds are dropped from
// now on.
func (c *Collector) PruneBelow(slot ledger.Slot) {
	if slot <= c.floor {
		return
	}
	c.floor = slot
	for key, b := range c.keys {
		if key.Slot() >= slot {
			continue
		}
		for _, f := range b.sets {
			c.free(f)
			delete(c.sets, f.root)
		}
		delete(c.keys, key)
		c.deleted.sets += len(b.sets)
		c.deleted.keys++
	}
	c.sets = churn.Renew(c.sets, &c.deleted.sets)
	c.keys = churn.Renew(c.keys, &c.deleted.keys)
}

// Usage returns how many keys and how many sets with shreds are kept.
func (c *Collector) Usage() (keys, sets int) { return len(c.keys), c.bodies }
