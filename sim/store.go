package sim

import (
	"fmt"

	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
)

// storeSlots is how many slots below the root a store keeps, for repair of
// others.
const storeSlots = 32

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
		default:
			panic(fmt.Sprintf("sim: record of unknown type %T", r))
		}
	}
}

// prune forgets what lies storeSlots below the root.
func (s *store) prune(root ledger.Slot) {
	floor := root - min(root, storeSlots)
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
