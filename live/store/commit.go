package store

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
)

// Stats counts what a store did. All of it may be read at any time.
type Stats struct {
	Commits, Records, Bytes atomic.Uint64
	SetsRead, SetsMissing   atomic.Uint64 // for others' repair
	CorruptRead             atomic.Uint64
	Pruned                  atomic.Uint64 // entries
	Shreds                  atomic.Int64  // stored now, code shreds counted
	Backlog                 atomic.Int64  // requests of the newest group
}

// Stats returns the counters.
func (s *Store) Stats() *Stats { return &s.stats }

// writer collects the entries of one commit: first those of blocks are
// written, then those of state. Badger writes either in this order, in as many
// transactions as it needs; after a crash a prefix of them is there, so what
// makes the rest count comes last.
type writer struct {
	store   *Store
	blocks  *badger.WriteBatch
	written int         // entries set in blocks
	highest ledger.Slot // of them
	state   []entry     // kept here, as a batch of badger may be written before Flush
	bytes   int
	err     error
}

// entry is one of state; one without a value is removed.
type entry struct{ key, value []byte }

func (s *Store) newWriter() *writer { return &writer{store: s, blocks: s.blocks.NewWriteBatch()} }

func (w *writer) set(key, value []byte) {
	w.bytes += len(key) + len(value)
	if key[0] != keyData {
		w.state = append(w.state, entry{key, value})
		return
	}
	if w.err == nil {
		w.err = w.blocks.Set(key, value)
	}
	w.written++
	w.highest = max(w.highest, slotOf(key))
}

func (w *writer) remove(key []byte) {
	if key[0] != keyData {
		w.state = append(w.state, entry{key: key})
	} else if w.err == nil {
		w.err = w.blocks.Delete(key)
	}
}

// flush makes all durable. It may be called once.
func (w *writer) flush() error {
	if w.err == nil {
		w.err = w.blocks.Flush()
	}
	w.blocks.Cancel()
	if w.err != nil || len(w.state) == 0 {
		return w.err
	}
	batch := w.store.state.NewWriteBatch()
	defer batch.Cancel()
	for _, e := range w.state {
		var err error
		if e.value == nil {
			err = batch.Delete(e.key)
		} else {
			err = batch.Set(e.key, e.value)
		}
		if err != nil {
			return err
		}
	}
	return batch.Flush()
}

// mark is the number of a commit that the highest slot of blocks holds, as the
// last entry of that commit. state names it: so a lost end of either database
// is noticed, which badger cuts off a damaged log without a word.
type mark struct {
	commit uint64 // 0: nothing was ever written to blocks
	slot   ledger.Slot
}

// number puts the commit's number into what it writes.
func (w *writer) number(commit uint64, newest mark) mark {
	if w.written > 0 {
		newest = mark{commit, max(newest.slot, w.highest)}
		key := dataKey(newest.slot, kindMark)
		w.set(key, seal(key, 0, binary.LittleEndian.AppendUint64(nil, commit)))
	}
	key := []byte{keyCommit}
	b := binary.LittleEndian.AppendUint64(nil, commit)
	b = binary.LittleEndian.AppendUint64(b, newest.commit)
	w.set(key, seal(key, 0, binary.LittleEndian.AppendUint64(b, uint64(newest.slot))))
	return newest
}

// put stores a value of any length and returns its number of pieces after
// the first. They come before it.
func (w *writer) put(key, b []byte) (more uint16) {
	n := max(0, (len(b)-1)/pieceMax)
	if n > math.MaxUint16 {
		panic(fmt.Sprintf("store: value of %d bytes", len(b)))
	}
	for i := n; i > 0; i-- {
		k := pieceKey(key, uint16(i))
		w.set(k, seal(k, 0, b[i*pieceMax:min(len(b), (i+1)*pieceMax)]))
	}
	w.set(key, seal(key, uint16(n), b[:min(len(b), pieceMax)]))
	return uint16(n)
}

// commit makes a group durable, then its tower file, then calls back.
func (s *Store) commit(group []request) error {
	if len(group) == 0 {
		return nil
	}
	began := time.Now()
	s.stats.Backlog.Store(int64(len(group)))
	w := s.newWriter()
	firm, sets := false, 0
	var states []*State
	for _, r := range group {
		firm = firm || !r.lazy
		for _, record := range r.records {
			if _, ok := record.(node.SetRecord); ok {
				sets++
			}
			s.write(w, record)
			s.stats.Records.Add(1)
		}
		if r.state != nil {
			s.writeState(w, r.state)
			states = append(states, r.state)
		}
	}
	s.memory.commit++
	s.mark = w.number(s.memory.commit, s.mark)
	if err := w.flush(); err != nil {
		return fmt.Errorf("commit to ledger: %w", err)
	}
	if firm {
		if err := writeMemory(s.opt.Dir, &s.memory); err != nil {
			return err
		}
	}
	s.shreds += sets * shred.SetSize
	s.stats.Shreds.Store(int64(s.shreds))
	s.stats.Commits.Add(1)
	if s.opt.Committed != nil {
		s.opt.Committed(time.Since(began))
	}
	s.stats.Bytes.Add(uint64(w.bytes))

	s.mu.Lock()
	for _, r := range group {
		for _, record := range r.records {
			s.pending.remove(record)
		}
	}
	s.mu.Unlock()
	for _, r := range group {
		if r.done != nil {
			r.done()
		}
	}
	for _, state := range states {
		if err := s.stateWritten(state); err != nil {
			return err
		}
	}
	return nil
}

// write adds a record to a commit, or to what the tower file will hold.
func (s *Store) write(w *writer, record node.Record) {
	switch r := record.(type) {
	case node.SetRecord:
		key := setKey(r.Set.Key, r.Set.Index, r.Set.Root)
		s.packed = r.Set.Pack(s.packed[:0])
		w.set(key, seal(key, 0, s.packed))
	case node.BlockRecord:
		w.put(blockKey(r.Key, r.ID), appendBlock(nil, &r))
	case node.EvidenceRecord:
		b := binary.LittleEndian.AppendUint16(nil, uint16(len(r.A)))
		w.put(evidenceKey(r.Key), append(append(b, r.A...), r.B...))
	case node.RootRecord:
		w.put([]byte{keyRoot}, appendRef(nil, r.Block))
	case node.HaltRecord:
		w.put([]byte{keyHalt}, r.Bytes)
	case node.RestartRecord:
		w.put(restartKey(r.Restart.Count), r.Restart.Append(nil))
	case node.TowerRecord:
		s.memory.tower = r.Bytes
	case node.BegunRecord:
		if r.Key.IsUser() {
			u, _ := r.Key.User()
			s.memory.begunUser = max(s.memory.begunUser, u)
		} else {
			s.memory.begunSlot = max(s.memory.begunSlot, r.Key.Slot())
		}
	default:
		panic(fmt.Sprintf("store: record of unknown type %T", record))
	}
}

func appendRef(b []byte, ref ledger.BlockRef) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(ref.Slot)), ref.ID[:]...)
}

func appendBlock(b []byte, r *node.BlockRecord) []byte {
	b = appendRef(b, r.Parent)
	for _, root := range r.Roots {
		b = append(b, root[:]...)
	}
	return b
}

// pruneMax bounds the entries that are deleted after one commit.
const pruneMax = 2048

// prune deletes the oldest slots, a bounded number of entries at a time, once
// there are 2 % more shreds than allowed, and until there are not more.
// Account state is never pruned, nor is anything from which a restart goes
// on. It is only here that entries of slots are deleted; one that badger
// brought back would be deleted again after the next start.
func (s *Store) prune() error {
	limit := s.opt.ShredsMax
	s.pruning = limit > 0 && (s.shreds > limit+limit/50 || s.pruning && s.shreds > limit)
	if !s.pruning {
		return nil
	}
	w := s.newWriter()
	removed, sets := 0, 0
	err := s.keysFrom(dataKey(s.pruned, 0), []byte{keyData}, func(key []byte) bool {
		slot := slotOf(key)
		if slot >= s.keep || removed >= pruneMax || s.shreds-sets*shred.SetSize <= limit {
			return false
		}
		if len(key) == setKeySize && key[dataPrefixSize-1] == kindSet {
			sets++
		}
		removed++
		s.pruned = slot
		w.remove(append([]byte(nil), key...))
		return true
	})
	if err != nil {
		w.blocks.Cancel()
		return err
	}
	if err := w.flush(); err != nil {
		return fmt.Errorf("prune ledger: %w", err)
	}
	s.shreds -= sets * shred.SetSize
	s.stats.Shreds.Store(int64(s.shreds))
	s.stats.Pruned.Add(uint64(removed))
	return nil
}

// count finds out how many shreds are stored.
func (s *Store) count() error {
	s.shreds = 0
	err := s.keys([]byte{keyData}, func(key []byte) bool {
		if len(key) == setKeySize && key[dataPrefixSize-1] == kindSet {
			s.shreds += shred.SetSize
		}
		return true
	})
	s.stats.Shreds.Store(int64(s.shreds))
	return err
}
