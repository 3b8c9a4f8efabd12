package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"tutti/cluster"
	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
)

// pending is what was saved and is not on disk yet.
type pending struct {
	sets   map[setID]*shred.Set
	blocks map[blockID]node.BlockRecord
}

type setID struct {
	key  ledger.SlotKey
	root ledger.Hash
}

type blockID struct {
	key ledger.SlotKey
	id  ledger.Hash
}

func newPending() pending {
	return pending{sets: make(map[setID]*shred.Set), blocks: make(map[blockID]node.BlockRecord)}
}

// add returns about how many bytes the record takes.
func (p *pending) add(record node.Record) int {
	switch r := record.(type) {
	case node.SetRecord:
		p.sets[setID{r.Set.Key, r.Set.Root}] = r.Set
		return setRoom + len(r.Set.Payload)
	case node.BlockRecord:
		p.blocks[blockID{r.Key, r.ID}] = r
		return 40 + 32*len(r.Roots)
	case node.EvidenceRecord:
		return len(r.A) + len(r.B)
	}
	return 64
}

func (p *pending) remove(record node.Record) {
	switch r := record.(type) {
	case node.SetRecord:
		delete(p.sets, setID{r.Set.Key, r.Set.Root})
	case node.BlockRecord:
		delete(p.blocks, blockID{r.Key, r.ID})
	}
}

// setCache keeps the sets that were rebuilt last, 78 KB each, for a while: peers
// that lack one shred of a set will ask for others.
type setCache struct {
	order []rebuiltSet // oldest first
	sets  map[setID]*shred.Set
}

type rebuiltSet struct {
	id setID
	at time.Time
}

const (
	setCacheMax = 128
	setCacheAge = 10 * time.Second
)

// expire drops the sets that were rebuilt before.
func (c *setCache) expire(before time.Time) {
	n := 0
	for n < len(c.order) && c.order[n].at.Before(before) {
		delete(c.sets, c.order[n].id)
		n++
	}
	c.order = slices.Delete(c.order, 0, n)
}

func (c *setCache) put(id setID, set *shred.Set, now time.Time) {
	if c.sets == nil {
		c.sets = make(map[setID]*shred.Set)
	}
	if c.sets[id] != nil {
		return
	}
	if len(c.order) == setCacheMax {
		delete(c.sets, c.order[0].id)
		c.order = slices.Delete(c.order, 0, 1)
	}
	c.order = append(c.order, rebuiltSet{id, now})
	c.sets[id] = set
}

// get returns the checked bytes under key, all pieces together.
func (s *Store) get(key []byte) ([]byte, error) {
	var out []byte
	err := s.of(key).View(func(txn *badger.Txn) error {
		var err error
		out, err = getIn(txn, key)
		return err
	})
	return out, err
}

func getIn(txn *badger.Txn, key []byte) ([]byte, error) {
	var out []byte
	var more uint16
	for piece := uint16(0); piece <= more; piece++ {
		k := key
		if piece > 0 {
			k = pieceKey(key, piece)
		}
		item, err := txn.Get(k)
		if piece > 0 && errors.Is(err, badger.ErrKeyNotFound) {
			return nil, corrupt(k, "piece missing")
		}
		if err != nil {
			return nil, err
		}
		err = item.Value(func(value []byte) error {
			n, b, err := unseal(k, value)
			if piece == 0 {
				more = n
			}
			out = append(out, b...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// keys calls do for the keys with a prefix, in order, until it returns false.
// The key must not be kept.
func (s *Store) keys(prefix []byte, do func(key []byte) bool) error {
	return s.keysFrom(prefix, prefix, do)
}

// keysFrom is keys that begins at a key.
func (s *Store) keysFrom(from, prefix []byte, do func(key []byte) bool) error {
	return s.of(prefix).View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
		defer it.Close()
		for it.Seek(from); it.Valid(); it.Next() {
			if !do(it.Item().Key()) {
				return nil
			}
		}
		return nil
	})
}

// Set returns the 64 raw shreds of a set. With Spine and Highest it makes the
// store a repair.Source; what is corrupt is as good as absent there, and
// counted.
func (s *Store) Set(key ledger.SlotKey, root ledger.Hash) ([][]byte, bool) {
	set, err := s.LoadSet(key, root)
	if err != nil {
		if errors.Is(err, ErrCorrupt) {
			s.stats.CorruptRead.Add(1)
		}
		s.stats.SetsMissing.Add(1)
		return nil, false
	}
	s.stats.SetsRead.Add(1)
	return set.Shreds[:], true
}

// ErrNotFound is returned for what is not stored.
var ErrNotFound = errors.New("not in the ledger")

// LoadSet returns a set, rebuilt from what is stored and checked against
// its root.
func (s *Store) LoadSet(key ledger.SlotKey, root ledger.Hash) (*shred.Set, error) {
	id := setID{key, root}
	s.mu.Lock()
	set := s.pending.sets[id]
	if set == nil {
		set = s.cache.sets[id]
	}
	s.mu.Unlock()
	if set != nil {
		return set, nil
	}
	var found []byte
	err := s.keys(setPrefix(key), func(k []byte) bool {
		if len(k) == setKeySize && ledger.Hash(k[setKeySize-32:]) == root {
			found = append([]byte(nil), k...)
		}
		return found == nil
	})
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, fmt.Errorf("%w: set of %s", ErrNotFound, key)
	}
	raw, err := s.get(found)
	if err != nil {
		return nil, err
	}
	if set, err = rebuild(found, raw); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.cache.put(id, set, time.Now())
	s.mu.Unlock()
	return set, nil
}

// rebuild makes the set that is stored under key.
func rebuild(key, raw []byte) (*shred.Set, error) {
	set, err := shred.Unpack(raw)
	if err != nil {
		return nil, corrupt(key, err.Error())
	}
	if set.Root != ledger.Hash(key[setKeySize-32:]) {
		return nil, corrupt(key, "set of another root")
	}
	return set, nil
}

// Spine returns the roots of a stored block's sets, first to last.
func (s *Store) Spine(key ledger.SlotKey, id ledger.Hash) ([]ledger.Hash, bool) {
	r, err := s.Block(key, id)
	return r.Roots, err == nil
}

// Block returns what is recorded of a block or UserBlock.
func (s *Store) Block(key ledger.SlotKey, id ledger.Hash) (node.BlockRecord, error) {
	s.mu.Lock()
	r, ok := s.pending.blocks[blockID{key, id}]
	s.mu.Unlock()
	if ok {
		return r, nil
	}
	k := blockKey(key, id)
	b, err := s.get(k)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return r, fmt.Errorf("%w: block %s", ErrNotFound, key)
	}
	if err != nil {
		return r, err
	}
	return parseBlock(k, b)
}

func parseBlock(k, b []byte) (node.BlockRecord, error) {
	if len(b) < 40 || (len(b)-40)%32 != 0 {
		return node.BlockRecord{}, corrupt(k, "length of a block record")
	}
	r := node.BlockRecord{
		Key:    ledger.SlotKey(binary.BigEndian.Uint64(k[dataPrefixSize:])),
		ID:     ledger.Hash(k[dataPrefixSize+8:]),
		Parent: parseRef(b),
	}
	for b = b[40:]; len(b) > 0; b = b[32:] {
		r.Roots = append(r.Roots, ledger.Hash(b))
	}
	return r, nil
}

func parseRef(b []byte) ledger.BlockRef {
	return ledger.BlockRef{Slot: ledger.Slot(binary.LittleEndian.Uint64(b)), ID: ledger.Hash(b[8:40])}
}

// Highest returns the root of the stored set of the highest index.
func (s *Store) Highest(key ledger.SlotKey) (ledger.Hash, bool) {
	var root ledger.Hash
	highest := int64(-1)
	s.mu.Lock()
	for id, set := range s.pending.sets {
		if id.key == key && int64(set.Index) > highest {
			highest, root = int64(set.Index), id.root
		}
	}
	s.mu.Unlock()
	prefix := setPrefix(key)
	err := s.keys(prefix, func(k []byte) bool {
		if len(k) == setKeySize {
			if index := int64(binary.BigEndian.Uint32(k[len(prefix):])); index > highest {
				highest, root = index, ledger.Hash(k[setKeySize-32:])
			}
		}
		return true
	})
	return root, err == nil && highest >= 0
}

// Root returns the newest RootRecord, or the zero BlockRef.
func (s *Store) Root() (ledger.BlockRef, error) {
	b, err := s.get([]byte{keyRoot})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return ledger.BlockRef{}, nil
	}
	if err != nil || len(b) != 40 {
		return ledger.BlockRef{}, errors.Join(corrupt([]byte{keyRoot}, "root"), err)
	}
	return parseRef(b), nil
}

// Halt returns the newest HaltRecord, or nil.
func (s *Store) Halt() ([]byte, error) {
	b, err := s.get([]byte{keyHalt})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read record of the halt: %w", err)
	}
	return b, nil
}

// Restarts returns all RestartRecords, oldest first.
func (s *Store) Restarts() (restarts []*cluster.Restart, err error) {
	for {
		key := restartKey(uint64(len(restarts)) + 1)
		b, err := s.get(key)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return restarts, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read restart record: %w", err)
		}
		r, err := cluster.ParseRestart(b)
		if err != nil {
			return nil, corrupt(key, err.Error())
		}
		restarts = append(restarts, r)
	}
}

// Evidence returns the EvidenceRecords on disk from a slot on, by key. One that
// is corrupt is left out, and counted: other nodes have it, too.
func (s *Store) Evidence(from ledger.Slot) ([]node.EvidenceRecord, error) {
	var keys [][]byte
	err := s.keysFrom(dataKey(from, 0), []byte{keyData}, func(k []byte) bool {
		if e, ok := parseKey(k); ok && e.Kind == KindEvidence {
			keys = append(keys, slices.Clone(k))
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	var found []node.EvidenceRecord
	for _, k := range keys {
		e, _ := parseKey(k)
		if e.Bytes, err = s.get(k); err == nil {
			var r node.EvidenceRecord
			if r, err = e.Evidence(); err == nil {
				found = append(found, r)
			}
		}
		if errors.Is(err, ErrCorrupt) {
			s.stats.CorruptRead.Add(1)
		} else if err != nil {
			return nil, fmt.Errorf("read proof of equivocation: %w", err)
		}
	}
	return found, nil
}

// Tower returns the newest TowerRecord as of Open, or nil.
func (s *Store) Tower() []byte {
	if len(s.memory.tower) == 0 {
		return nil
	}
	return s.memory.tower
}

// Begun returns the newest keys begun as of Open: of a leader block and of a
// UserBlock. The lane is lost: one node has one.
func (s *Store) Begun() []ledger.SlotKey {
	return []ledger.SlotKey{s.memory.begunSlot.Key(), ledger.UserKey(s.memory.begunUser, 0)}
}

// Kind is what an Entry of the ledger is.
type Kind byte

// Kinds of entries that belong to a slot.
const (
	KindBlock    Kind = kindBlock
	KindEvidence Kind = kindEvidence
	KindExecuted Kind = kindExecuted
	KindSet      Kind = kindSet
)

// Entry is one stored value that belongs to a slot.
type Entry struct {
	Kind Kind
	Slot ledger.Slot
	Key  ledger.SlotKey // not for KindExecuted
	Hash ledger.Hash    // id of the block, or root of the set; not for KindEvidence
	// Index is a set's.
	Index uint32
	// Bytes are what is stored, without checksum.
	Bytes []byte
	key   []byte
}

// Set returns the set of a KindSet, rebuilt and checked.
func (e *Entry) Set() (*shred.Set, error) { return rebuild(e.key, e.Bytes) }

// Block returns the record of a KindBlock.
func (e *Entry) Block() (node.BlockRecord, error) { return parseBlock(e.key, e.Bytes) }

// Executed returns the block of a KindExecuted.
func (e *Entry) Executed() (Executed, error) { return parseExecuted(e.key, e.Bytes) }

// Evidence returns the record of a KindEvidence.
func (e *Entry) Evidence() (node.EvidenceRecord, error) {
	r := node.EvidenceRecord{Key: e.Key}
	if len(e.Bytes) < 2 || len(e.Bytes) < 2+int(binary.LittleEndian.Uint16(e.Bytes)) {
		return r, corrupt(e.key, "evidence")
	}
	n := 2 + int(binary.LittleEndian.Uint16(e.Bytes))
	r.A, r.B = e.Bytes[2:n], e.Bytes[n:]
	return r, nil
}

// Entries iterates over what is on disk of the slots from…to, both included,
// by slot, then kind, then key; but executed blocks come executedLater slots
// after their own. A corrupt value comes as an Entry without Bytes and an error
// that wraps ErrCorrupt; the iteration goes on after it.
func (s *Store) Entries(from, to ledger.Slot) iter.Seq2[Entry, error] {
	last := max(to, to+executedLater) // or no bound
	return func(yield func(Entry, error) bool) {
		err := s.blocks.View(func(txn *badger.Txn) error {
			it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{keyData}})
			defer it.Close()
			for it.Seek(dataKey(from, 0)); it.Valid(); it.Next() {
				k := it.Item().KeyCopy(nil)
				if slotOf(k) > last {
					return nil
				}
				e, ok := parseKey(k)
				if !ok || e.Slot < from || e.Slot > to {
					continue // a piece of the value before, or of another slot
				}
				var err error
				e.Bytes, err = getIn(txn, e.key)
				if err != nil {
					e.Bytes = nil
				}
				if !yield(e, err) {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield(Entry{}, fmt.Errorf("read ledger: %w", err))
		}
	}
}

func parseKey(k []byte) (e Entry, ok bool) {
	if len(k) < dataPrefixSize {
		return e, false
	}
	e = Entry{Kind: Kind(k[dataPrefixSize-1]), Slot: slotOf(k), key: k}
	rest := k[dataPrefixSize:]
	if e.Kind == kindExecuted {
		e.Slot -= min(e.Slot, executedLater)
	}
	switch {
	case e.Kind == kindBlock && len(k) == blockKeySize:
		e.Hash = ledger.Hash(rest[8:])
	case e.Kind == kindEvidence && len(k) == evidenceKeySize:
	case e.Kind == kindSet && len(k) == setKeySize:
		e.Index, e.Hash = binary.BigEndian.Uint32(rest[8:]), ledger.Hash(rest[12:])
	case e.Kind == kindExecuted && len(k) == executedKeySize:
		e.Hash = ledger.Hash(rest)
		return e, true
	default:
		return e, false
	}
	e.Key = ledger.SlotKey(binary.BigEndian.Uint64(rest))
	return e, true
}

// Bounds returns the lowest and the highest slot of which anything but an
// executed block is stored, and the number of shreds, code shreds counted; ok is
// false for an empty ledger.
func (s *Store) Bounds() (first, last ledger.Slot, shreds int, ok bool, err error) {
	err = s.keys([]byte{keyData}, func(k []byte) bool {
		e, _ := parseKey(k)
		if e.Kind == kindExecuted || e.Kind == kindMark {
			return true
		}
		if !ok {
			first, ok = e.Slot, true
		}
		last = e.Slot
		if e.Kind == kindSet {
			shreds += shred.SetSize
		}
		return true
	})
	return first, last, shreds, ok, err
}

// empty tells whether nothing is in a database.
func empty(db *badger.DB) (none bool, err error) {
	err = db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		it.Rewind()
		none = !it.Valid()
		return nil
	})
	return none, err
}
