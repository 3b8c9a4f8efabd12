package sim

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"tutti/bank"
	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
)

// storeSlots is how many slots below the root a store keeps, for repair of
// others, where a scenario does not want more.
const storeSlots = 64

// unsyncedMax is how long a lazy save may take to become durable.
const unsyncedMax = time.Second

type blockKey struct {
	key ledger.SlotKey
	id  ledger.Hash
}

// store is a node's disk. It answers repair requests: a repair.Source.
type store struct {
	sets    map[ledger.Hash]*shred.Set
	highest map[ledger.SlotKey]*shred.Set // the set with the highest index
	blocks  map[blockKey][]ledger.Hash    // roots of the sets, first to last
	tower   []byte
	begun   map[bool]ledger.SlotKey // newest, of UserBlocks (true) and leader blocks
	root    ledger.BlockRef
	// evidence has the proofs of equivocation.
	evidence map[ledger.SlotKey]node.EvidenceRecord
	// halt is the newest record of a halt.
	halt []byte
	// unsynced is what was written lazily and may not be durable yet, oldest
	// first.
	unsynced []unsynced
	// state is the newest durable state of a root, next the one after it, that
	// is on its way.
	state, next *savedState
	nextAt      time.Duration
}

// unsynced is a record that a crash may take away.
type unsynced struct {
	at     time.Duration
	record node.Record
}

// savedState is from where a node goes on after a crash.
type savedState struct {
	node []byte // node.RootState
	bank bank.Snapshot
}

func newStore() *store {
	return &store{
		sets:     make(map[ledger.Hash]*shred.Set),
		highest:  make(map[ledger.SlotKey]*shred.Set),
		blocks:   make(map[blockKey][]ledger.Hash),
		begun:    make(map[bool]ledger.SlotKey),
		evidence: make(map[ledger.SlotKey]node.EvidenceRecord),
	}
}

// write makes records durable.
func (s *store) write(records []node.Record) {
	for _, r := range records {
		switch r := r.(type) {
		case node.SetRecord:
			s.sets[r.Set.Root] = r.Set
			if h := s.highest[r.Set.Key]; h == nil || r.Set.Index > h.Index {
				s.highest[r.Set.Key] = r.Set
			}
		case node.BlockRecord:
			s.blocks[blockKey{r.Key, r.ID}] = r.Roots
		case node.TowerRecord:
			s.tower = r.Bytes
		case node.BegunRecord:
			s.begun[r.Key.IsUser()] = r.Key
		case node.RootRecord:
			s.root = r.Block
		case node.EvidenceRecord:
			s.evidence[r.Key] = r
		case node.HaltRecord:
			s.halt = r.Bytes
		default:
			panic(fmt.Sprintf("sim: record of unknown type %T", r))
		}
	}
}

// writeLazily writes records that a crash may take away for a while.
func (s *store) writeLazily(now time.Duration, records []node.Record) {
	s.write(records)
	synced := 0
	for synced < len(s.unsynced) && s.unsynced[synced].at+unsyncedMax < now {
		synced++
	}
	s.unsynced = slices.Delete(s.unsynced, 0, synced)
	for _, r := range records {
		s.unsynced = append(s.unsynced, unsynced{now, r})
	}
}

// writeState writes a root's state. It is durable some time later, as a whole
// or not at all.
func (s *store) writeState(now time.Duration, state *savedState) {
	if s.next != nil {
		s.state = s.next
	}
	s.next, s.nextAt = state, now
}

// crash takes away, at random, what was not durable.
func (s *store) crash(now time.Duration, rng *rand.Rand) {
	lost := rng.Float64()
	if s.next != nil && (s.nextAt+unsyncedMax < now || rng.Float64() >= lost) {
		s.state = s.next
	}
	s.next = nil
	for _, u := range s.unsynced {
		if u.at+unsyncedMax < now || rng.Float64() >= lost {
			continue
		}
		switch r := u.record.(type) {
		case node.SetRecord:
			delete(s.sets, r.Set.Root)
			if s.highest[r.Set.Key] == r.Set {
				delete(s.highest, r.Set.Key)
			}
		case node.BlockRecord:
			delete(s.blocks, blockKey{r.Key, r.ID})
		case node.EvidenceRecord:
			delete(s.evidence, r.Key)
		}
	}
	s.unsynced = nil
}

// load returns all sets in the order in which a node wants them after a
// crash.
func (s *store) load() []*shred.Set {
	sets := make([]*shred.Set, 0, len(s.sets))
	for _, set := range s.sets {
		sets = append(sets, set)
	}
	slices.SortFunc(sets, func(a, b *shred.Set) int {
		return cmp.Or(cmp.Compare(a.Key.Slot(), b.Key.Slot()), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Index, b.Index),
			slices.Compare(a.Root[:], b.Root[:]))
	})
	return sets
}

// proofs returns the proofs of equivocation, by key.
func (s *store) proofs() []node.EvidenceRecord {
	proofs := slices.Collect(maps.Values(s.evidence))
	slices.SortFunc(proofs, func(a, b node.EvidenceRecord) int { return cmp.Compare(a.Key, b.Key) })
	return proofs
}

// prune forgets what lies so many slots below the root.
func (s *store) prune(root, kept ledger.Slot) {
	floor := root - min(root, kept)
	for k, set := range s.sets {
		if set.Key.Slot() < floor {
			delete(s.sets, k)
		}
	}
	for k := range s.highest {
		if k.Slot() < floor {
			delete(s.highest, k)
		}
	}
	for k := range s.blocks {
		if k.key.Slot() < floor {
			delete(s.blocks, k)
		}
	}
}

// holds tells whether all of a block is there.
func (s *store) holds(key ledger.SlotKey, id ledger.Hash) bool {
	roots, ok := s.blocks[blockKey{key, id}]
	for _, root := range roots {
		ok = ok && s.sets[root] != nil
	}
	return ok
}

// Set returns the shreds of a set (repair.Source).
func (s *store) Set(key ledger.SlotKey, root ledger.Hash) ([][]byte, bool) {
	set := s.sets[root]
	if set == nil || set.Key != key {
		return nil, false
	}
	return set.Shreds[:], true
}

// Spine returns the roots of a block's sets (repair.Source).
func (s *store) Spine(key ledger.SlotKey, id ledger.Hash) ([]ledger.Hash, bool) {
	roots, ok := s.blocks[blockKey{key, id}]
	return roots, ok
}

// Highest returns the root of the newest set of a slot (repair.Source).
func (s *store) Highest(key ledger.SlotKey) (ledger.Hash, bool) {
	set := s.highest[key]
	if set == nil {
		return ledger.Hash{}, false
	}
	return set.Root, true
}
