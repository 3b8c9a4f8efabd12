package turbine

import (
	"math/bits"
	"slices"
	"testing"

	"tutti/ledger"
	"tutti/shred"
)

// modelSet is what the model knows of a set: which shreds came in, and what
// became of it. It knows from fixtures which sets a block has.
type modelSet struct {
	set   *shred.Set
	seen  uint64
	state state
}

// model is a Collector that looks at everything it knows again and again.
type model struct {
	limits   Limits
	floor    ledger.Slot
	sets     []*modelSet // in order of arrival
	wants    []modelWant
	conflict map[ledger.SlotKey]bool
}

type modelWant struct {
	key ledger.SlotKey
	id  ledger.Hash
}

func (m *model) find(root ledger.Hash) *modelSet {
	for _, f := range m.sets {
		if f.set.Root == root {
			return f
		}
	}
	return nil
}

// wanted tells whether a wanted block is known to hold the set.
func (m *model) wanted(key ledger.SlotKey, root ledger.Hash) bool {
	for _, w := range m.wants {
		for at := w.id; w.key == key; {
			if at == root {
				return true
			}
			f := m.find(at)
			if f == nil || f.set.Index == 0 || m.beyond(f.set) {
				break
			}
			at = f.set.Chained
		}
	}
	return false
}

// beyond tells whether a block cannot have so many sets.
func (m *model) beyond(set *shred.Set) bool {
	return set.Key.IsUser() && int(set.Index) >= m.limits.UserSetsMax*shred.SetData
}

// held counts the sets whose shreds are kept.
func (m *model) held() (n int) {
	for _, f := range m.sets {
		if f.state < released {
			n++
		}
	}
	return n
}

// insert says what Insert should.
func (m *model) insert(set *shred.Set, at int) (drop Drop, conflict, ready bool) {
	if set.Key.Slot() < m.floor {
		return DropOld, false, false
	}
	f := m.find(set.Root)
	if f == nil {
		wanted := m.wanted(set.Key, set.Root)
		room := m.limits.SetsMax
		if set.Key.IsUser() && !wanted {
			room -= m.limits.SetsMax / 4
		}
		others := 0
		for _, g := range m.sets {
			if g.set.Key == set.Key && g.set.Index == set.Index {
				others++
			}
		}
		f = &modelSet{set: set}
		switch {
		case m.beyond(set):
			if wanted {
				f.state = failed
				m.sets = append(m.sets, f)
			}
			return DropBeyond, false, false
		case m.held() >= room:
			return DropFull, false, false
		}
		if conflict = others > 0 && !m.conflict[set.Key]; conflict {
			m.conflict[set.Key] = true
		}
		if others >= RootsMax && !wanted {
			return DropRoots, conflict, false
		}
		m.sets = append(m.sets, f)
	}
	bit := uint64(1) << at
	switch {
	case f.state == failed:
		return DropFailed, conflict, false
	case f.seen&bit != 0:
		return DropDuplicate, conflict, false
	}
	f.seen |= bit
	if ready = f.state == collecting && bits.OnesCount64(f.seen) == shred.SetData; ready {
		f.state = assembling
	}
	return Kept, conflict, ready
}

// need says what Need should of a block with those sets.
func (m *model) need(sets []*shred.Set) (n Need) {
	n.Status = Complete
	for _, set := range slices.Backward(sets) {
		f := m.find(set.Root)
		if f == nil {
			n.Status = Incomplete
			n.Gaps = append(n.Gaps, Gap{Root: set.Root, Missing: ^uint64(0)})
			return n
		}
		switch f.state {
		case failed:
			return Need{Status: Invalid, Sets: n.Sets}
		case collecting:
			n.Gaps = append(n.Gaps, Gap{Root: set.Root, Held: bits.OnesCount64(f.seen), Missing: ^f.seen})
			n.Status = Incomplete
		case assembling:
			n.Status = Incomplete
		}
		n.Sets++
	}
	return n
}

// linkable counts the sets from a block's first one on that are assembled.
func (m *model) linkable(sets []*shred.Set) int {
	for i, set := range sets {
		if f := m.find(set.Root); f == nil || f.state != assembled && f.state != released {
			return i
		}
	}
	return len(sets)
}

// prune forgets what is below a slot.
func (m *model) prune(slot ledger.Slot) {
	if slot <= m.floor {
		return
	}
	m.floor = slot
	m.sets = slices.DeleteFunc(m.sets, func(f *modelSet) bool { return f.set.Key.Slot() < slot })
	m.wants = slices.DeleteFunc(m.wants, func(w modelWant) bool { return w.key.Slot() < slot })
	for key := range m.conflict {
		if key.Slot() < slot {
			delete(m.conflict, key)
		}
	}
}

// wire is a shred on its way to a Collector, as in a node: whatever is
// damaged in it, its proof leads to another root, which nobody signed.
func wire(t testing.TB, set *shred.Set, at int, damage uint16) (s shred.Shred, ok bool) {
	t.Helper()
	raw := slices.Clone(set.Shreds[at])
	if damage > 0 {
		raw[64+int(damage)%(len(raw)-64)] ^= byte(damage>>8) | 1
	}
	s, err := shred.Parse(raw)
	if err != nil {
		return s, false
	}
	root, err := s.Root()
	return s, err == nil && root == set.Root
}

// modelBlock is a block of FuzzCollectorModel: sets and how many of them form
// it; the set at bad, if any, does not assemble.
type modelBlock struct {
	sets []*shred.Set
	bad  int
}

// play gives a Collector and the model the same script and compares them
// after each step of three bytes.
func play(t *testing.T, blocks []modelBlock, script []byte) {
	limits := Limits{UserSetsMax: 4, SetsMax: 8}
	c := NewCollector(limits)
	m := &model{limits: limits, conflict: make(map[ledger.SlotKey]bool)}
	given := make(map[ledger.Hash]bool)
	for ; len(script) >= 3; script = script[3:] {
		op, x := script[0], script[2]
		b := &blocks[int(script[1])%len(blocks)]
		set := b.sets[int(script[1])/len(blocks)%len(b.sets)]
		key, id := set.Key, lastRoot(b.sets)
		switch op % 8 {
		case 0, 1, 2, 3: // shreds from place x on, every step-th, one or many
			for i := range []int{1, 8, 32, 64}[op%4] {
				at := (int(x) + i*(1+2*int(op>>5))) % shred.SetSize
				damage := uint16(0)
				if op&16 != 0 && i%5 == 0 {
					damage = uint16(x)<<8 | uint16(i) | 1
				}
				s, ok := wire(t, set, at, damage)
				if !ok {
					continue // the receiver drops it
				}
				drop, conflict, ready := m.insert(set, at)
				in := c.Insert(s, set.Root)
				if in.Drop != drop || in.New != (drop == Kept) || (in.Conflict != nil) != conflict || (in.Ready != nil) != ready {
					t.Fatalf("%v/%d at %d: %v, conflict %t, ready %t; model: %v, %t, %t",
						key, set.Index, at, in.Drop, in.Conflict != nil, in.Ready != nil, drop, conflict, ready)
				}
			}
		case 4: // the set is assembled, or fails
			f := m.find(set.Root)
			if f == nil || f.state != assembling {
				break
			}
			if b.bad >= 0 && b.sets[b.bad] == set {
				f.state = failed
				c.Failed(set.Root)
				break
			}
			f.state = assembled
			linked := c.Assembled(set)
			for _, l := range linked {
				if given[l.Root] {
					t.Fatal("a set was given out twice")
				}
				given[l.Root] = true
			}
			for i := range blocks {
				for j, s := range blocks[i].sets {
					if s.Key == key && given[s.Root] != (j < m.linkable(blocks[i].sets)) {
						t.Fatalf("set %d of %d: given out %t", j, len(blocks[i].sets), given[s.Root])
					}
				}
			}
		case 5:
			w := modelWant{key, id}
			ok := key.Slot() >= m.floor
			if ok && !slices.Contains(m.wants, w) {
				m.wants = append(m.wants, w)
			}
			if c.Want(key, id) != ok {
				t.Fatalf("wanted: %t", !ok)
			}
		case 6: // a whole block is stored
			if m.need(b.sets).Status != Complete {
				break
			}
			c.Release(key, id)
			for _, s := range b.sets {
				m.find(s.Root).state = released
			}
		case 7:
			if x < 8 {
				m.prune(key.Slot() + ledger.Slot(x%2))
				c.PruneBelow(key.Slot() + ledger.Slot(x%2))
				for root := range given {
					if m.find(root) == nil {
						delete(given, root)
					}
				}
			}
		}
		compare(t, c, m, blocks)
	}
}

// compare holds all that a Collector says, and keeps, against the model.
func compare(t *testing.T, c *Collector, m *model, blocks []modelBlock) {
	t.Helper()
	for i := range blocks {
		sets := blocks[i].sets
		got, want := c.Need(sets[0].Key, lastRoot(sets)), m.need(sets)
		if got.Status != want.Status || got.Status != Invalid && got.Sets != want.Sets || !slices.Equal(got.Gaps, want.Gaps) {
			t.Fatalf("block %d needs %+v, model %+v", i, got, want)
		}
		whole := !slices.ContainsFunc(sets, func(s *shred.Set) bool { f := m.find(s.Root); return f == nil || f.state != assembled })
		if chain := c.Chain(sets[0].Key, lastRoot(sets)); (chain != nil) != whole || whole && !slices.Equal(rootsOf(chain), rootsOf(sets)) {
			t.Fatalf("block %d: chain of %d, whole %t", i, len(chain), whole)
		}
		for _, s := range sets {
			if c.Known(s.Key, s.Root) != (m.find(s.Root) != nil) {
				t.Fatal("a set is known to one alone")
			}
		}
	}
	if _, bodies := c.Usage(); bodies != m.held() || bodies > m.limits.SetsMax || len(c.sets) != len(m.sets) {
		t.Fatalf("%d sets, %d with shreds; model %d, %d", len(c.sets), bodies, len(m.sets), m.held())
	}
	shreds := 0
	for _, f := range c.sets {
		if shreds += len(f.shreds); len(f.shreds) >= shred.SetData || f.state != collecting && f.shreds != nil || (f.whole != nil) != (f.state == assembled) {
			t.Fatalf("a set in state %d keeps %d shreds, whole %t", f.state, len(f.shreds), f.whole != nil)
		}
	}
	if shreds > m.limits.SetsMax*(shred.SetData-1) {
		t.Fatalf("%d shreds are kept", shreds)
	}
}

// FuzzCollectorModel plays scripts to a Collector and to a naive model of it:
// shreds of equivocating, broken and overlong blocks in any order, whole,
// damaged or twice, with assembly late, wants, releases and pruning between.
func FuzzCollectorModel(f *testing.F) {
	next := leaderKey + 1
	blocks := []modelBlock{
		{makeBlock(f, userKey, "abc"), -1},
		{makeBlock(f, userKey, "abxy"), -1},
		{makeBlock(f, userKey, "pqrstu"), -1}, // more sets than a UserBlock may have
		{makeBlock(f, leaderKey, "abc"), -1},
		{makeBlock(f, next, "ab"), 1},
		{makeBlock(f, next, "de"), -1},
		{makeBlock(f, next, "f"), -1},
	}
	blocks[2].sets = blocks[2].sets[:6]
	f.Add([]byte{2, 0, 0, 4, 0, 0, 2, 7, 0, 4, 7, 0, 2, 14, 0, 4, 14, 0, 6, 0, 0})
	f.Add([]byte{5, 2, 0, 2, 37, 0, 2, 30, 0, 2, 2, 0, 4, 2, 0})
	f.Add([]byte{3, 4, 0, 3, 5, 0, 3, 6, 0, 5, 6, 0, 3, 6, 0, 4, 4, 0, 3, 11, 0, 4, 11, 0, 7, 4, 1})
	f.Add([]byte{18, 0, 7, 50, 0, 9, 4, 0, 0, 0, 1, 1, 1, 8, 1, 2, 15, 1})
	f.Fuzz(func(t *testing.T, script []byte) { play(t, blocks, script[:min(len(script), 300)]) })
}
