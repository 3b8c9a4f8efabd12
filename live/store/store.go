// Package store keeps a node's ledger on disk: FEC sets, blocks, evidence,
// account state and receipts in badger, the tower and what goes with it in a
// small file beside it. It writes what it is told, in order, in groups; it
// decides nothing.
//
//	Save ─▶ queue ─▶ group ─▶ blocks (synced) ─▶ state (synced) ─▶ tower file ─▶ done
//	          └─▶ readable at once
//
// There are two badger databases. What belongs to slots goes to blocks: it is
// written in about the order of its keys, so that badger merges it with little
// else. All keys of state are written again and again, and it is small. What
// makes a commit count is in state, and is written last.
//
// Any storage error ends Run: after a failed sync nobody knows what is on the
// disk, so nothing is tried again.
package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"tutti/ledger"
	"tutti/node"
)

const (
	// LimitDefault is how many shreds are kept if nothing is said: as code
	// shreds are rebuilt, about 6 GB.
	LimitDefault = 10_000_000
	// FreeMin is how much of the disk must stay free, in bytes: badger does
	// not survive a full one.
	FreeMin = 1 << 30

	lazyWaitMax  = 50 * time.Millisecond // that a Lazy Save may wait for company
	lazyBytesMax = 1 << 20
	freeCheck    = time.Second
	blocksName   = "blocks"
	stateName    = "state"
)

// Options say where a ledger is and how much of it is kept.
type Options struct {
	Dir     string
	Genesis ledger.Hash
	// ShredsMax is how many shreds are kept, code shreds counted; 0 keeps all.
	ShredsMax int
	// NoTower has a ledger opened whose tower file is missing, which is an
	// error otherwise: nothing is known any more of what its node voted for.
	NoTower bool
	// FreeMin overrides the constant of that name if it is not 0.
	FreeMin uint64
	// Committed, if not nil, is told by Run how long each commit took.
	Committed func(took time.Duration)
}

// Store is an open ledger. Its methods may be called on any goroutine.
type Store struct {
	opt           Options
	blocks, state *badger.DB

	mu      sync.Mutex
	queue   []request
	queued  int // bytes, about
	urgent  bool
	wake    chan struct{}
	pending pending
	cache   setCache

	// Owned by Run, after Open.
	memory  memory
	shreds  int         // stored, code shreds counted
	keep    ledger.Slot // nothing from this slot on is pruned
	pruned  ledger.Slot // no key has a slot below
	pruning bool
	mark    mark
	latest  map[ledger.Pubkey]version
	packed  []byte // of the set that was written last
	stats   Stats
}

// request is one Save or PutState.
type request struct {
	records []node.Record
	state   *State
	lazy    bool
	done    func()
}

// Errors of Open besides ErrTower and ErrCorrupt. Each says what to do.
var (
	ErrInUse        = errors.New("ledger in use")
	ErrOtherGenesis = errors.New("ledger of another genesis")
	ErrLost         = errors.New("ledger lost its end")
	ErrDiskFull     = errors.New("disk nearly full")
	ErrNoLedger     = errors.New("no ledger")
	ErrLayout       = errors.New("ledger of another layout")
	ErrUnopened     = errors.New("ledger does not open")
)

// Open opens the ledger in a directory, or makes one. LoadState, if it is
// called, comes before Run.
func Open(opt Options) (*Store, error) {
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make ledger directory: %w", err)
	}
	if err := os.Chmod(opt.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("ledger directory: %w", err)
	}
	if opt.FreeMin == 0 {
		opt.FreeMin = FreeMin
	}
	if err := checkFree(opt); err != nil {
		return nil, err
	}
	s, err := open(opt, false)
	if err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// OpenReadOnly opens a ledger to look at it. It fails while a node runs on
// it.
func OpenReadOnly(dir string) (*Store, error) {
	for _, name := range []string{blocksName, stateName} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("%w in %s, %s is missing: name the directory that a node was started with", ErrNoLedger, dir, name)
		}
	}
	s, err := open(Options{Dir: dir}, true)
	if err != nil {
		return nil, err
	}
	b, err := s.get([]byte{keyGenesis})
	if err != nil || len(b) != 32 {
		return nil, errors.Join(corrupt([]byte{keyGenesis}, "no genesis hash"), err, s.Close())
	}
	s.opt.Genesis = ledger.Hash(b)
	if s.memory, _, err = readMemory(dir); err == nil {
		err = s.checkCommit()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func open(opt Options, readOnly bool) (*Store, error) {
	blocks, err := openDatabase(opt.Dir, blocksName, readOnly)
	if err != nil {
		return nil, err
	}
	state, err := openDatabase(opt.Dir, stateName, readOnly)
	if err != nil {
		return nil, errors.Join(err, blocks.Close())
	}
	return &Store{
		opt: opt, blocks: blocks, state: state, wake: make(chan struct{}, 1), pending: newPending(),
		latest: make(map[ledger.Pubkey]version),
	}, nil
}

func openDatabase(ledgerDir, name string, readOnly bool) (*badger.DB, error) {
	dir := filepath.Join(ledgerDir, name)
	if !readOnly {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make ledger directory: %w", err)
		}
		if err := sweep(dir); err != nil {
			return nil, err
		}
	}
	opt := badgerOptions(dir).WithReadOnly(readOnly)
	if name == blocksName {
		// As keys rise, a new table overlaps few others: merging it with one large
		// level rewrites little. With tables of 8 MiB and merges of three a time
		// each merge is short.
		opt = opt.WithBaseLevelSize(256 << 20).WithBaseTableSize(8 << 20).WithNumLevelZeroTables(3)
	}
	db, err := badger.Open(opt)
	if err != nil {
		if strings.Contains(err.Error(), "directory lock") {
			return nil, fmt.Errorf("%w: %s belongs to a running process; stop it first", ErrInUse, ledgerDir)
		}
		return nil, fmt.Errorf("%w: %s: %w; if this user may read and write it, the disk has damaged it: move the folders %s and %s away and let the node fetch the blocks again, the tower file stays",
			ErrUnopened, dir, err, blocksName, stateName)
	}
	return db, nil
}

// of returns the database of a key, or of all keys with a prefix.
func (s *Store) of(key []byte) *badger.DB {
	if key[0] == keyData {
		return s.blocks
	}
	return s.state
}

// badgerOptions are those that were found to lose nothing on power loss and
// to notice flipped bits. Nothing goes to the value log: it has no checksums.
func badgerOptions(dir string) badger.Options {
	return badger.DefaultOptions(dir).
		WithSyncWrites(true).
		WithMemTableSize(memTableSize(dir)).
		WithNumMemtables(3).
		WithValueThreshold(1 << 20). // above pieceMax
		WithValueLogFileSize(16 << 20).
		WithNumVersionsToKeep(1).
		WithBlockSize(64 << 10). // with room for the longest values: a block that grows is copied each time
		WithCompression(options.None).
		WithChecksumVerificationMode(options.OnTableAndBlockRead).
		WithBlockCacheSize(16 << 20).
		WithIndexCacheSize(32 << 20).
		WithDetectConflicts(false).
		WithNumCompactors(2).
		WithMetricsEnabled(false).
		WithLogger(nil)
}

// Sizes of memory tables. The sync of a commit is over a whole one. badger takes
// values of 1 MiB if they are at most 15 % of it.
const memTableMin, memTableMax = 7 << 20, 9 << 20

// memTableSize draws the size of memory tables: validators that store the same,
// on one machine or one disk, should not all write theirs out and merge them in
// the same moment. After a kill it is the largest, since those that were left have
// to fit.
func memTableSize(dir string) int64 {
	if left, err := filesOf(dir, ".mem"); err != nil || len(left) > 0 {
		return memTableMax
	}
	return memTableMin + rand.Int64N(memTableMax-memTableMin)
}

// sweep removes empty files that a kill at the wrong moment leaves: badger
// 4.9.6 does not open with them (its issue 2207).
func sweep(dir string) error {
	names, err := filesOf(dir, ".mem", ".vlog")
	if err != nil {
		return fmt.Errorf("sweep ledger: %w", err)
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err == nil && info.Size() == 0 {
			err = os.Remove(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweep ledger: %w", err)
		}
	}
	return nil
}

// filesOf returns the files of a directory whose names end so.
func filesOf(dir string, ends ...string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if slices.Contains(ends, filepath.Ext(e.Name())) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names, err
}

func checkFree(opt Options) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(opt.Dir, &fs); err != nil {
		return fmt.Errorf("free space of %s: %w", opt.Dir, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < opt.FreeMin {
		return fmt.Errorf("%w: %d MiB free at %s, needed are %d; make room or lower --limit-ledger-size",
			ErrDiskFull, free>>20, opt.Dir, opt.FreeMin>>20)
	}
	return nil
}

// check compares the ledger with its genesis and its tower file, and writes
// both into a new one.
func (s *Store) check() error {
	var found bool
	var err error
	if s.memory, found, err = readMemory(s.opt.Dir); err != nil {
		return err
	}
	b, err := s.get([]byte{keyGenesis})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return s.create()
	}
	if err != nil {
		return err
	}
	if len(b) != 32 {
		return corrupt([]byte{keyGenesis}, "no genesis hash")
	}
	if ledger.Hash(b) != s.opt.Genesis {
		return fmt.Errorf("%w: %s is of %s, this genesis is %s; name another --ledger or move that one away",
			ErrOtherGenesis, s.opt.Dir, ledger.Hash(b), s.opt.Genesis)
	}
	if err := s.checkCommit(); err != nil {
		return err
	}
	if !found && !s.opt.NoTower {
		return fmt.Errorf("%w: %s is missing; put it back (%s is one vote older), or never vote with this identity again",
			ErrTower, filepath.Join(s.opt.Dir, towerName), towerPrevious)
	}
	if !found {
		if err := writeMemory(s.opt.Dir, &s.memory); err != nil {
			return err
		}
	}
	return s.count()
}

// lost returns the error for a ledger of which something durable is missing.
func (s *Store) lost(what string) error {
	return fmt.Errorf("%w: %s: %s; move the folders %s and %s away and let the node fetch the blocks again, the tower file stays",
		ErrLost, s.opt.Dir, what, blocksName, stateName)
}

// create begins a ledger. A tower file that outlived its ledger is kept.
func (s *Store) create() error {
	if s.blocks.View(func(txn *badger.Txn) error { _, err := txn.Get([]byte{keyGenesis}); return err }) == nil {
		return fmt.Errorf("%w: %s was written by an earlier build; move it away and let the node fetch the blocks again, the tower file stays",
			ErrLayout, filepath.Join(s.opt.Dir, blocksName))
	}
	for _, db := range []*badger.DB{s.blocks, s.state} {
		if none, err := empty(db); err != nil {
			return fmt.Errorf("begin ledger: %w", err)
		} else if !none {
			return s.lost("no genesis hash in " + stateName)
		}
	}
	s.memory.commit = 0
	if err := writeMemory(s.opt.Dir, &s.memory); err != nil {
		return err
	}
	key := []byte{keyGenesis}
	err := s.state.Update(func(txn *badger.Txn) error { return txn.Set(key, seal(key, 0, s.opt.Genesis[:])) })
	if err != nil {
		return fmt.Errorf("begin ledger: %w", err)
	}
	return syncDir(s.opt.Dir)
}

// checkCommit finds out the number of the newest commit, and checks that state
// has what the tower file has seen, and blocks what state has seen.
func (s *Store) checkCommit() error {
	b, err := s.get([]byte{keyCommit})
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		b = make([]byte, 24)
	case err != nil || len(b) != 24:
		return errors.Join(corrupt([]byte{keyCommit}, "commit number"), err)
	}
	commit := binary.LittleEndian.Uint64(b)
	if commit < s.memory.commit {
		return s.lost(fmt.Sprintf("%s ends at commit %d, its tower file has seen %d", stateName, commit, s.memory.commit))
	}
	s.memory.commit = commit
	s.mark = mark{binary.LittleEndian.Uint64(b[8:]), ledger.Slot(binary.LittleEndian.Uint64(b[16:]))}
	if s.mark.commit == 0 {
		return nil
	}
	key := dataKey(s.mark.slot, kindMark)
	b, err = s.get(key)
	if err == nil && len(b) != 8 {
		err = corrupt(key, "commit number")
	}
	if err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
		return err
	}
	if err != nil || binary.LittleEndian.Uint64(b) < s.mark.commit {
		return s.lost(fmt.Sprintf("%s ends before commit %d", blocksName, s.mark.commit))
	}
	return nil
}

// Genesis returns the hash of the genesis whose ledger it is.
func (s *Store) Genesis() ledger.Hash { return s.opt.Genesis }

// Close closes a store whose Run is not running.
func (s *Store) Close() error { return errors.Join(s.blocks.Close(), s.state.Close()) }

// Save queues records to be written after all that was queued before, and
// returns at once; what it took can be read at once. done, if not nil, is
// called on the store's goroutine when the records are durable. Records of a
// lazy Save may wait a little for others.
func (s *Store) Save(records []node.Record, lazy bool, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		s.queued += s.pending.add(r)
	}
	s.enqueue(request{records: records, lazy: lazy, done: done})
}

// PutState queues the state of a rooted block; see Save.
func (s *Store) PutState(state *State, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enqueue(request{state: state, done: done})
}

func (s *Store) enqueue(r request) {
	s.queue = append(s.queue, r)
	s.urgent = s.urgent || !r.lazy || s.queued >= lazyBytesMax
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Backlog returns how many bytes wait to be written, about. Who finds it too
// long takes no more work on.
func (s *Store) Backlog() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued
}

// Run writes what is queued until ctx ends, and then the rest. It returns the
// first storage error.
func (s *Store) Run(ctx context.Context) error {
	lazy := time.NewTimer(0)
	<-lazy.C
	defer lazy.Stop()
	waiting := false
	free := time.NewTicker(freeCheck)
	defer free.Stop()
	for {
		due := false
		select {
		case <-s.wake:
		case <-lazy.C:
			due, waiting = true, false
		case now := <-free.C:
			s.mu.Lock()
			s.cache.expire(now.Add(-setCacheAge))
			s.mu.Unlock()
			if err := checkFree(s.opt); err != nil {
				return err
			}
			continue
		case <-ctx.Done():
			return s.commit(s.take(true))
		}
		group := s.take(due)
		if group == nil {
			if !waiting {
				waiting = true
				lazy.Reset(lazyWaitMax)
			}
			continue
		}
		if err := s.commit(group); err != nil {
			return err
		}
		if err := s.prune(); err != nil {
			return err
		}
	}
}

// take returns all requests if one is urgent or force is set.
func (s *Store) take(force bool) []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.urgent && !force {
		return nil
	}
	group := s.queue
	s.queue, s.queued, s.urgent = nil, 0, false
	return group
}

// setRoom is what a stored set takes besides its payload, about.
const setRoom = 1 << 10
