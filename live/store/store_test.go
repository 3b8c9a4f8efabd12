package store

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/goleak"

	"tutti/bank"
	"tutti/cluster"
	"tutti/internal/testkit"
	"tutti/ledger"
	"tutti/node"
	"tutti/repair"
	"tutti/shred"
)

// childEnv makes the test binary a process that saves and is killed.
const childEnv = "TUTTI_STORE_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

var (
	_       repair.Source = (*Store)(nil)
	genesis               = ledger.Hash{7}
	signer                = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
)

func testOptions(dir string) Options { return Options{Dir: dir, Genesis: genesis, FreeMin: 1} }

// testStore is a store whose Run is on.
type testStore struct {
	*Store
	t    testing.TB
	stop func()
}

func openTest(t testing.TB, opt Options) *testStore {
	t.Helper()
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	return &testStore{Store: s, t: t}
}

func (s *testStore) run() *testStore {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.stop = func() {
		s.t.Helper()
		cancel()
		if err := errors.Join(<-done, s.Close()); err != nil {
			s.t.Errorf("stop: %v", err)
		}
	}
	return s
}

// save waits until the records are durable.
func (s *testStore) save(records ...node.Record) {
	done := make(chan struct{})
	s.Save(records, false, func() { close(done) })
	<-done
}

func (s *testStore) put(st *State) {
	done := make(chan struct{})
	s.PutState(st, func() { close(done) })
	<-done
}

// testSets are the sets of one small block.
func testSets(t testing.TB, key ledger.SlotKey, n int) []*shred.Set {
	t.Helper()
	offset := uint16(1)
	if key.IsUser() {
		offset = 0
	}
	sh := shred.NewShredder(shred.Config{Key: key, ParentOffset: offset, Version: 1, Signer: signer})
	var sets []*shred.Set
	for i := range n {
		made, err := sh.Shred(binary.LittleEndian.AppendUint64([]byte{byte(i)}, uint64(key)), uint8(i), i == n-1)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, made...)
	}
	return sets
}

func blockOf(sets []*shred.Set) node.BlockRecord {
	r := node.BlockRecord{Key: sets[0].Key, ID: sets[len(sets)-1].Root}
	for _, set := range sets {
		r.Roots = append(r.Roots, set.Root)
	}
	if !r.Key.IsUser() {
		r.Parent = ledger.BlockRef{Slot: r.Key.Slot() - 1, ID: ledger.Hash{1}}
	}
	return r
}

func records(sets []*shred.Set) []node.Record {
	var out []node.Record
	for _, set := range sets {
		out = append(out, node.SetRecord{Set: set})
	}
	return append(out, blockOf(sets))
}

func (s *testStore) checkBlock(sets []*shred.Set) {
	s.t.Helper()
	want := blockOf(sets)
	got, err := s.Block(want.Key, want.ID)
	if err != nil || !reflect.DeepEqual(got, want) {
		s.t.Errorf("block %s: %+v, %v", want.Key, got, err)
	}
	if roots, ok := s.Spine(want.Key, want.ID); !ok || !slices.Equal(roots, want.Roots) {
		s.t.Errorf("spine of %s: %t", want.Key, ok)
	}
	if root, ok := s.Highest(want.Key); !ok || root != want.ID {
		s.t.Errorf("highest of %s: %s, %t", want.Key, root, ok)
	}
	for _, set := range sets {
		raw, ok := s.Set(set.Key, set.Root)
		if !ok || len(raw) != shred.SetSize {
			s.t.Errorf("set %d of %s: %d shreds, %t", set.Index, set.Key, len(raw), ok)
			continue
		}
		for i := range raw {
			if !bytes.Equal(raw[i], set.Shreds[i]) {
				s.t.Errorf("shred %d of set %d of %s differs", i, set.Index, set.Key)
			}
		}
	}
}

func TestSavedIsReadableAtOnceAndAfterReopening(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, testOptions(dir))
	leader, user := testSets(t, ledger.Slot(5).Key(), 3), testSets(t, ledger.UserKey(11, 2), 2)
	s.Save(records(leader), true, nil) // Run is not on: nothing is written yet
	s.Save(records(user), true, nil)
	s.checkBlock(leader)
	s.checkBlock(user)
	s.run()
	evidence := node.EvidenceRecord{Key: user[0].Key, A: user[0].Shreds[0], B: user[1].Shreds[0]}
	root := ledger.BlockRef{Slot: 5, ID: leader[2].Root}
	s.save(evidence, node.RootRecord{Block: root}, node.TowerRecord{Bytes: []byte("tower")},
		node.BegunRecord{Key: ledger.Slot(6).Key()}, node.BegunRecord{Key: ledger.UserKey(13, 1)})
	if got, err := s.Halt(); err != nil || got != nil {
		t.Errorf("halt %q, %v", got, err)
	}
	s.save(node.HaltRecord{Bytes: []byte("older")})
	s.save(node.HaltRecord{Bytes: []byte("newer")})
	if got, err := s.Restarts(); err != nil || got != nil {
		t.Errorf("restarts %v, %v", got, err)
	}
	s.save(node.RestartRecord{Restart: &cluster.Restart{Count: 1, First: 9}})
	s.save(node.RestartRecord{Restart: &cluster.Restart{Count: 2, First: 11}})
	s.checkBlock(leader)
	s.stop()

	s = openTest(t, testOptions(dir))
	defer s.Close()
	if got, err := s.Restarts(); err != nil || len(got) != 2 || got[0].First != 9 || got[1].First != 11 {
		t.Errorf("restarts %v, %v", got, err)
	}
	s.checkBlock(leader)
	s.checkBlock(user)
	if got, err := s.Root(); err != nil || got != root {
		t.Errorf("root %v, %v", got, err)
	}
	if got, err := s.Halt(); err != nil || string(got) != "newer" {
		t.Errorf("halt %q, %v", got, err)
	}
	if got := s.Tower(); string(got) != "tower" {
		t.Errorf("tower %q", got)
	}
	if got, want := s.Begun(), []ledger.SlotKey{6, ledger.UserKey(13, 0)}; !slices.Equal(got, want) {
		t.Errorf("begun %v, want %v", got, want)
	}
	first, last, shreds, ok, err := s.Bounds()
	if err != nil || !ok || first != 5 || last != 5 || shreds != 5*shred.SetSize {
		t.Errorf("bounds %d…%d, %d shreds, %t, %v", first, last, shreds, ok, err)
	}
	if got, err := s.Evidence(5); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], evidence) {
		t.Errorf("evidence %v, %v", got, err)
	}
	if got, err := s.Evidence(6); err != nil || len(got) != 0 {
		t.Errorf("evidence above it: %v, %v", got, err)
	}
	var kinds []Kind
	for e, err := range s.Entries(0, 5) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, e.Kind)
		if e.Kind == KindEvidence {
			if got, err := e.Evidence(); err != nil || !reflect.DeepEqual(got, evidence) {
				t.Errorf("evidence %v, %v", got, err)
			}
		}
	}
	if string(kindsOf(kinds)) != "BBESSSSS" {
		t.Errorf("entries %q", kindsOf(kinds))
	}
	if _, err := s.LoadSet(5, ledger.Hash{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent set: %v", err)
	}
	if _, ok := s.Highest(77); ok {
		t.Error("highest of an absent slot")
	}
}

func kindsOf(kinds []Kind) []byte {
	var b []byte
	for _, k := range kinds {
		b = append(b, byte(k))
	}
	return b
}

func TestGroupsKeepTheOrder(t *testing.T) {
	s := openTest(t, testOptions(t.TempDir()))
	const n = 300
	done := make(chan int, n)
	for i := range n { // before Run, so that one group takes many
		s.Save([]node.Record{
			node.RootRecord{Block: ledger.BlockRef{Slot: ledger.Slot(i)}},
			node.TowerRecord{Bytes: binary.LittleEndian.AppendUint32(nil, uint32(i))},
		}, i%3 == 0, func() { done <- i })
	}
	s.run()
	for i := range n {
		if got := <-done; got != i {
			t.Fatalf("save %d done, want %d", got, i)
		}
	}
	if commits := s.Stats().Commits.Load(); commits > n/10 {
		t.Errorf("%d saves in %d commits", n, commits)
	}
	s.stop()
	root, err := openRoot(s.opt)
	if err != nil || root.Slot != n-1 {
		t.Errorf("root %v, %v", root, err)
	}
}

func openRoot(opt Options) (ledger.BlockRef, error) {
	s, err := Open(opt)
	if err != nil {
		return ledger.BlockRef{}, err
	}
	root, err := s.Root()
	return root, errors.Join(err, s.Close())
}

func TestRebuiltSetsAreForgotten(t *testing.T) {
	var c setCache
	now := time.Unix(0, 0)
	for i := range setCacheMax + 10 {
		c.put(setID{root: ledger.Hash{byte(i), byte(i >> 8)}}, new(shred.Set), now.Add(time.Duration(i)*time.Second))
	}
	if len(c.sets) != setCacheMax || len(c.order) != setCacheMax {
		t.Errorf("%d sets, want %d", len(c.sets), setCacheMax)
	}
	c.expire(now.Add((setCacheMax + 5) * time.Second))
	if len(c.sets) != 5 || len(c.order) != 5 || c.sets[c.order[0].id] == nil {
		t.Errorf("%d sets are left, want the last 5", len(c.sets))
	}
}

func TestLazySavesBecomeDurable(t *testing.T) {
	s := openTest(t, testOptions(t.TempDir())).run()
	defer s.stop()
	done := make(chan struct{})
	s.Save(records(testSets(t, 1, 1)), true, func() { close(done) })
	<-done
}

func TestLedgerOfAnotherGenesis(t *testing.T) {
	opt := testOptions(t.TempDir())
	openTest(t, opt).run().stop()
	opt.Genesis = ledger.Hash{8}
	if _, err := Open(opt); !errors.Is(err, ErrOtherGenesis) {
		t.Errorf("opened: %v", err)
	}
}

// TestDamagedManifest: badger's own words do not say what helps.
func TestDamagedManifest(t *testing.T) {
	opt := testOptions(t.TempDir())
	openTest(t, opt).Close()
	if err := os.WriteFile(filepath.Join(opt.Dir, stateName, badger.ManifestFilename), make([]byte, 64), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(opt); !errors.Is(err, ErrUnopened) || !strings.Contains(err.Error(), "bad magic; ") || !strings.Contains(err.Error(), "fetch the blocks again") {
		t.Errorf("opened: %v", err)
	}
}

func TestLedgerInUse(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := openTest(t, opt)
	defer s.Close()
	if _, err := Open(opt); !errors.Is(err, ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := OpenReadOnly(opt.Dir); !errors.Is(err, ErrInUse) {
		t.Errorf("opened to read: %v", err)
	}
	if _, err := OpenReadOnly(t.TempDir()); !errors.Is(err, ErrNoLedger) {
		t.Errorf("opened nothing: %v", err)
	}
}

func TestDiskMustHaveRoom(t *testing.T) {
	opt := testOptions(t.TempDir())
	opt.FreeMin = 1 << 60
	if _, err := Open(opt); !errors.Is(err, ErrDiskFull) {
		t.Errorf("opened: %v", err)
	}
}

func TestTowerFile(t *testing.T) {
	made := func(t *testing.T) (Options, string) {
		opt := testOptions(t.TempDir())
		s := openTest(t, opt).run()
		s.save(node.TowerRecord{Bytes: []byte("first")})
		s.save(node.TowerRecord{Bytes: []byte("second")})
		s.stop()
		return opt, filepath.Join(opt.Dir, towerName)
	}
	t.Run("every truncation and every flipped byte is found", func(t *testing.T) {
		opt, path := made(t)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			flipped := bytes.Clone(whole)
			flipped[i] ^= 1
			for _, b := range [][]byte{whole[:i], flipped} {
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				if _, _, err := readMemory(opt.Dir); !errors.Is(err, ErrTower) {
					t.Fatalf("byte %d: %v", i, err)
				}
			}
		}
		if _, err := Open(opt); !errors.Is(err, ErrTower) {
			t.Errorf("opened with a damaged tower: %v", err)
		}
	})
	t.Run("missing", func(t *testing.T) {
		opt, path := made(t)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(opt); !errors.Is(err, ErrTower) {
			t.Errorf("opened without its tower: %v", err)
		}
		opt.NoTower = true
		s := openTest(t, opt)
		if got := s.Tower(); got != nil {
			t.Errorf("tower is %q", got)
		}
		s.run().stop()
		opt.NoTower = false
		openTest(t, opt).run().stop()
	})
	t.Run("the generation before is kept", func(t *testing.T) {
		opt, path := made(t)
		if err := os.Rename(filepath.Join(opt.Dir, towerPrevious), path); err != nil {
			t.Fatal(err)
		}
		s := openTest(t, opt)
		defer s.Close()
		if got := s.Tower(); string(got) != "first" {
			t.Errorf("tower %q", got)
		}
	})
	t.Run("outlives its ledger", func(t *testing.T) {
		opt, _ := made(t)
		for _, name := range []string{blocksName, stateName} {
			if err := os.RemoveAll(filepath.Join(opt.Dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		s := openTest(t, opt)
		defer s.Close()
		if got := s.Tower(); string(got) != "second" {
			t.Errorf("tower %q", got)
		}
	})
	t.Run("witnesses that the ledger lost its end", func(t *testing.T) {
		opt, _ := made(t)
		m, _, err := readMemory(opt.Dir)
		if err != nil {
			t.Fatal(err)
		}
		m.commit++
		if err := writeMemory(opt.Dir, &m); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(opt); !errors.Is(err, ErrLost) {
			t.Errorf("opened: %v", err)
		}
	})
}

// Either database without the other's newest commit is no ledger.
func TestDatabasesMustBelongTogether(t *testing.T) {
	for _, tc := range []struct {
		keep, put string
		tower     bool // of the older copy, too
		want      string
	}{
		{keep: "all"},
		{keep: blocksName, put: stateName, tower: true}, // a kill between the two
		{keep: stateName, put: blocksName, want: "blocks ends before commit 3"},
		{keep: blocksName, put: stateName, want: "state ends at commit 1"},
		{keep: stateName, want: "blocks ends before commit 3"},
		{keep: blocksName, want: "no genesis hash in state"},
	} {
		opt := testOptions(t.TempDir())
		s := openTest(t, opt).run()
		older, newer := testSets(t, 3, 2), testSets(t, 4, 1)
		s.save(records(older)...)
		s.stop()
		copied := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(copied, os.DirFS(opt.Dir)); err != nil {
			t.Fatal(err)
		}
		s = openTest(t, opt).run()
		s.save(records(newer)...)
		s.save(records(older)...) // as after a repair: lower slots come later
		s.stop()
		for _, name := range []string{blocksName, stateName} {
			path := filepath.Join(opt.Dir, name)
			if name == tc.keep || tc.keep == "all" {
				continue
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if name == tc.put {
				if err := os.Rename(filepath.Join(copied, name), path); err != nil {
					t.Fatal(err)
				}
			}
		}
		if tc.tower {
			if err := os.Rename(filepath.Join(copied, towerName), filepath.Join(opt.Dir, towerName)); err != nil {
				t.Fatal(err)
			}
		}
		got, err := Open(opt)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s kept: %v", tc.keep, err)
				continue
			}
			(&testStore{Store: got, t: t}).checkBlock(older)
			if err := got.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s kept, %s of an older copy: %v, want %q", tc.keep, cmp.Or(tc.put, "nothing"), err, tc.want)
		}
	}
}

func TestLedgerOfAnEarlierBuild(t *testing.T) {
	opt := testOptions(t.TempDir())
	db, err := badger.Open(badgerOptions(filepath.Join(opt.Dir, blocksName)))
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(txn *badger.Txn) error {
		return txn.Set([]byte{keyGenesis}, seal([]byte{keyGenesis}, 0, genesis[:]))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReadOnly(opt.Dir); !errors.Is(err, ErrNoLedger) || !strings.Contains(err.Error(), stateName) {
		t.Errorf("opened to read: %v", err)
	}
	if _, err := Open(opt); !errors.Is(err, ErrLayout) {
		t.Errorf("opened: %v", err)
	}
}

func TestEmptyFilesOfAKillAreSwept(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := openTest(t, opt).run()
	sets := testSets(t, 3, 1)
	s.save(records(sets)...)
	s.stop()
	for _, name := range []string{"00042.mem", "000042.vlog"} {
		if err := os.WriteFile(filepath.Join(opt.Dir, blocksName, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = openTest(t, opt)
	defer s.Close()
	s.checkBlock(sets)
}

// A memory table that a kill left may be as large as any: it has to fit into what
// opens the ledger again.
func TestMemoryTablesOfAKillFit(t *testing.T) {
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "ledger[1]")
	written, err := badger.Open(badgerOptions(filepath.Join(dir, blocksName)).WithMemTableSize(memTableMax))
	if err != nil {
		t.Fatal(err)
	}
	const size = 256 << 10
	const count = memTableMax/size + 1
	value := make([]byte, size-256)
	for i := range byte(count) {
		if i == count-1 {
			value = make([]byte, 1<<20-256) // the table was not full yet, and now holds much more
		}
		if err := written.Update(func(txn *badger.Txn) error { return txn.Set([]byte{keyData, i}, value) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil { // as a kill leaves it
		t.Fatal(err)
	}
	if err := written.Close(); err != nil {
		t.Fatal(err)
	}
	sizes := make(map[int64]bool)
	for i := range 5 {
		db, err := openDatabase(image, blocksName, false)
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(func(txn *badger.Txn) error {
			for i := range byte(count) {
				if _, err := txn.Get([]byte{keyData, i}); err != nil {
					return fmt.Errorf("value %d: %w", i, err)
				}
			}
			return nil
		})
		size := db.Opts().MemTableSize
		sizes[size] = true
		if i == 0 && size != memTableMax || size < memTableMin || size > memTableMax {
			t.Errorf("opened %d times: memory tables of %d bytes", i+1, size)
		}
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if len(sizes) < 3 {
		t.Errorf("memory tables of %v bytes in five runs: they do not differ", sizes)
	}
}

func TestPrivateDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	openTest(t, testOptions(dir)).run().stop()
	for _, path := range []string{dir, filepath.Join(dir, blocksName)} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

func TestPruneDeletesTheOldestSlotsThatNothingNeeds(t *testing.T) {
	opt := testOptions(t.TempDir())
	opt.ShredsMax = 6 * shred.SetSize
	s := openTest(t, opt).run()
	var blocks [][]*shred.Set
	for slot := ledger.Slot(1); slot <= 10; slot++ {
		blocks = append(blocks, testSets(t, slot.Key(), 1))
		s.save(records(blocks[slot-1])...)
	}
	if first, _, shreds, _, err := s.Bounds(); err != nil || first != 1 || shreds != 10*shred.SetSize {
		t.Errorf("before any state: from slot %d, %d shreds, %v", first, shreds, err)
	}
	state := testState(7, nil, nil)
	state.Keep = 4
	s.put(state)
	s.save() // a commit after the state
	s.stop() // and its pruning
	s = openTest(t, opt).run()
	if first, last, shreds, _, err := s.Bounds(); err != nil || first != 4 || last != 10 || shreds != 7*shred.SetSize {
		t.Errorf("needed from 4 on: %d…%d, %d shreds, %v", first, last, shreds, err)
	}
	state = testState(9, nil, nil)
	state.Keep = 9
	s.put(state)
	s.save()
	s.stop()
	s = openTest(t, opt)
	defer s.Close()
	if first, last, shreds, _, err := s.Bounds(); err != nil || first != 5 || last != 10 || shreds != 6*shred.SetSize {
		t.Errorf("at most 6 sets: %d…%d, %d shreds, %v", first, last, shreds, err)
	}
	for _, sets := range blocks[4:] {
		s.checkBlock(sets)
	}
}

func TestDamageIsFound(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := openTest(t, opt).run()
	sets := testSets(t, 3, 1)
	s.save(records(sets)...)
	s.stop()
	for _, test := range []struct {
		kind   Kind
		offset int
		mend   bool
	}{{KindSet, 0, false}, {KindBlock, 0, false}, {KindSet, 200, true}, {KindSet, 600, true}} {
		var entry Entry
		r, err := OpenReadOnly(opt.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if r.Genesis() != genesis {
			t.Errorf("genesis %s", r.Genesis())
		}
		for e := range r.Entries(0, 10) {
			if e.Kind == test.kind {
				entry = e
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if err := Damage(opt.Dir, &entry, test.offset, test.mend); err != nil {
			t.Fatal(err)
		}
		if r, err = OpenReadOnly(opt.Dir); err != nil {
			t.Fatal(err)
		}
		found := false
		for e, err := range r.Entries(0, 10) {
			if err == nil && e.Kind == KindSet {
				_, err = e.Set()
			}
			found = found || errors.Is(err, ErrCorrupt) && e.Kind == test.kind && e.Hash == entry.Hash
		}
		if !found {
			t.Errorf("%+v: not found", test)
		}
		if _, ok := r.Set(3, sets[0].Root); ok && test.kind == KindSet {
			t.Errorf("%+v: served to peers", test)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if err := Damage(opt.Dir, &entry, test.offset, true); err != nil { // flipped back
			t.Fatal(err)
		}
	}
	s = openTest(t, opt)
	defer s.Close()
	s.checkBlock(sets)
}

// testState is a state with a chain of blocks, the last of which is the root.
func testState(root ledger.Slot, accounts []bank.KeyedAccount, blocks []Executed) *State {
	ref := ledger.BlockRef{Slot: root, ID: ledger.Hash{byte(root)}}
	if blocks == nil {
		blocks = []Executed{{Past: bank.Past{Ref: ref, BankHash: ledger.Hash{1, byte(root)}}}}
	}
	return &State{Root: ref, Height: uint64(root), Node: []byte("node"), Accounts: accounts, Blocks: blocks}
}

func TestStateIsLoadedAsItWas(t *testing.T) {
	rng := testkit.Rand(t)
	opt := testOptions(t.TempDir())
	s := openTest(t, opt).run()
	want := map[ledger.Pubkey]*bank.Account{}
	var past []bank.Past
	var newest Executed
	for root := ledger.Slot(1); root <= 12; root++ {
		var changed []bank.KeyedAccount
		for i := range 40 {
			key := ledger.Pubkey{byte(i)}
			if rng.IntN(3) > 0 {
				continue
			}
			a := randomAccount(rng)
			changed = append(changed, bank.KeyedAccount{Key: key, Account: a})
			want[key] = a
		}
		newest = randomExecuted(rng, root)
		if len(past) > 0 {
			newest.Link.Parent = past[len(past)-1].BankHash
		}
		past = append(past, newest.Past)
		s.put(testState(root, changed, []Executed{newest}))
		if root%4 == 0 {
			s.stop()
			s = openTest(t, opt)
			checkState(t, s, root, want, past)
			s.run()
		}
	}
	s.stop()
	s = openTest(t, opt)
	defer s.Close()
	got, err := s.Executed(newest.Ref)
	if err != nil || !reflect.DeepEqual(got, newest) {
		t.Errorf("executed block %v: %v", newest.Ref, err)
	}
	versions := 0
	if err := s.keys([]byte{keyAccount}, func(k []byte) bool {
		if len(k) == accountKeySize {
			versions++
		}
		return true
	}); err != nil || versions != len(want) {
		t.Errorf("%d versions of %d accounts, %v", versions, len(want), err)
	}
}

func checkState(t *testing.T, s *testStore, root ledger.Slot, want map[ledger.Pubkey]*bank.Account, past []bank.Past) {
	t.Helper()
	l, ok, err := s.LoadState(5)
	if err != nil || !ok {
		t.Fatalf("no state: %v", err)
	}
	if l.Root.Slot != root || l.Height != uint64(root) || string(l.Node) != "node" {
		t.Errorf("root %v, height %d, node %q", l.Root, l.Height, l.Node)
	}
	if len(l.Accounts) != len(want) {
		t.Errorf("%d accounts, want %d", len(l.Accounts), len(want))
	}
	for i, a := range l.Accounts {
		if i > 0 && bytes.Compare(l.Accounts[i-1].Key[:], a.Key[:]) >= 0 {
			t.Error("accounts not sorted")
		}
		w := want[a.Key]
		if (a.Account == nil) != (w == nil) || w != nil && !w.Equal(a.Account) {
			t.Errorf("account %s differs", a.Key)
		}
	}
	if w := past[max(0, len(past)-5):]; !reflect.DeepEqual(l.Past, w) {
		t.Errorf("past of %d blocks, want %d, or they differ", len(l.Past), len(w))
	}
}

func randomAccount(rng *rand.Rand) *bank.Account {
	if rng.IntN(5) == 0 {
		return nil
	}
	size := rng.IntN(100)
	if rng.IntN(10) == 0 {
		size = rng.IntN(3 * pieceMax) // several pieces
	}
	a := &bank.Account{Lamports: ledger.Lamports(rng.Uint64() | 1), Executable: rng.IntN(2) == 0, RentEpoch: rng.Uint64(), Data: make([]byte, size)}
	for i := range a.Data {
		a.Data[i] = byte(rng.Uint32())
	}
	return a
}

func randomExecuted(rng *rand.Rand, slot ledger.Slot) Executed {
	ref := ledger.BlockRef{Slot: slot, ID: ledger.Hash{byte(slot)}}
	x := Executed{Past: bank.Past{Ref: ref, LastPoH: ledger.Hash{2, byte(slot)}, BankHash: ledger.Hash{3, byte(slot)}}}
	x.Link = bank.Link{Signatures: rng.Uint64(), LastPoH: x.LastPoH, Receipts: ledger.Hash{4}, Delta: ledger.Hash{5}, Accounts: ledger.Hash{6}, HardForks: 1}
	for range rng.IntN(3) {
		x.Nonces = append(x.Nonces, ledger.Pubkey{byte(rng.Uint32())})
	}
	for range rng.IntN(20) {
		r := bank.Receipt{
			Outcome: bank.Outcome(rng.IntN(7)), MessageHash: ledger.Hash{byte(rng.Uint32())}, Signature: ledger.Signature{byte(rng.Uint32())},
			U: ledger.UserSlot(rng.Uint64()), Lane: 3, Index: rng.Uint32(), Fee: 5000, Units: 150,
		}
		if r.Outcome == bank.Failed {
			r.Error = &ledger.TransactionError{Kind: ledger.AccountNotFound}
		}
		if r.Outcome.Processed() {
			x.Processed = append(x.Processed, r.MessageHash)
		}
		x.Receipts = append(x.Receipts, r)
	}
	return x
}

// What is executed is written when blocks newer by executedLater are, and lies
// beside them: an iteration over slots finds it all the same, and bounds are those of
// blocks.
func TestExecutedBlocksLieLater(t *testing.T) {
	rng := testkit.Rand(t)
	s := openTest(t, testOptions(t.TempDir())).run()
	const newest = 2 * executedLater
	for slot := ledger.Slot(1); slot <= newest; slot++ {
		s.save(records(testSets(t, slot.Key(), 1))...)
		if slot > executedLater {
			s.put(testState(slot-executedLater, nil, []Executed{randomExecuted(rng, slot-executedLater)}))
		}
	}
	defer s.Close()
	defer s.stop()
	for _, r := range [][2]ledger.Slot{{0, math.MaxUint64}, {1, 1}, {30, 40}, {executedLater, newest}} {
		var executed, blocks []ledger.Slot
		for e, err := range s.Entries(r[0], r[1]) {
			switch {
			case err != nil:
				t.Fatal(err)
			case e.Kind == KindExecuted:
				executed = append(executed, e.Slot)
			case e.Kind == KindBlock:
				blocks = append(blocks, e.Slot)
			}
		}
		var wantBlocks, wantExecuted []ledger.Slot
		for slot := max(1, r[0]); slot <= min(newest, r[1]); slot++ {
			wantBlocks = append(wantBlocks, slot)
			if slot <= newest-executedLater {
				wantExecuted = append(wantExecuted, slot)
			}
		}
		if !slices.Equal(executed, wantExecuted) || !slices.Equal(blocks, wantBlocks) {
			t.Errorf("slots %d to %d: executed %v and blocks %v, want %v and %v", r[0], r[1], executed, blocks, wantExecuted, wantBlocks)
		}
	}
	at := ledger.BlockRef{Slot: newest - executedLater}
	if k := executedKey(at); slotOf(k) != newest {
		t.Errorf("key of the executed block of slot %d stands at slot %d, not %d", at.Slot, slotOf(k), newest)
	}
	if first, last, _, ok, err := s.Bounds(); first != 1 || last != newest || !ok || err != nil {
		t.Errorf("bounds %d to %d, %t, %v", first, last, ok, err)
	}
}

// Earlier builds put executed blocks at their own slot.
func TestExecutedBlocksOfAnEarlierBuild(t *testing.T) {
	s := openTest(t, testOptions(t.TempDir()))
	defer s.Close()
	x := randomExecuted(testkit.Rand(t), 60)
	w := s.newWriter()
	s.writeState(w, testState(x.Ref.Slot, nil, []Executed{x}))
	w.put(append(dataKey(x.Ref.Slot, kindExecuted), x.Ref.ID[:]...), appendExecuted(nil, &x))
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.LoadState(1); !errors.Is(err, ErrLayout) {
		t.Errorf("error %v, want one of the ledger's layout", err)
	}
}

// Nothing of state is there before all of blocks is, however much of it badger
// takes at once.
func TestStateWaitsForBlocks(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := openTest(t, opt)
	var accounts []bank.KeyedAccount
	for i := range 1500 {
		accounts = append(accounts, bank.KeyedAccount{
			Key: ledger.Pubkey{byte(i), byte(i >> 8)}, Account: &bank.Account{Lamports: 1, Data: make([]byte, 1000)},
		})
	}
	w := s.newWriter()
	s.writeState(w, testState(16, accounts, nil))
	s.writeState(w, testState(32, accounts, nil)) // with more than fits a transaction behind the first head
	w.blocks.Cancel()                             // as a kill does
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, opt)
	defer s.Close()
	if _, ok, err := s.LoadState(1); ok || err != nil {
		t.Errorf("a state that was not committed: %t, %v", ok, err)
	}
}

// A crash between the accounts of a state and its head leaves the state
// before.
func TestHalfWrittenStateDoesNotCount(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := openTest(t, opt).run()
	key := ledger.Pubkey{1}
	first := &bank.Account{Lamports: 1}
	s.put(testState(1, []bank.KeyedAccount{{Key: key, Account: first}}, nil))
	s.stop()

	s = openTest(t, opt)
	w := s.newWriter()
	w.put(accountKey(key, 2), appendAccount(nil, &bank.Account{Lamports: 2}))
	w.put(accountKey(ledger.Pubkey{2}, 2), appendAccount(nil, &bank.Account{Data: make([]byte, 2*pieceMax)}))
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time nothing of it is left
		l, ok, err := s.LoadState(1)
		if err != nil || !ok || l.Root.Slot != 1 || len(l.Accounts) != 1 || !l.Accounts[0].Account.Equal(first) {
			t.Fatalf("loaded %+v, %t, %v", l, ok, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openTest(t, opt)
		if n := s.countAccounts(); n != 1 {
			t.Errorf("%d account entries left", n)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// countAccounts counts the entries of accounts, pieces included.
func (s *testStore) countAccounts() (n int) {
	if err := s.keys([]byte{keyAccount}, func([]byte) bool { n++; return true }); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func FuzzParse(f *testing.F) {
	x := randomExecuted(rand.New(rand.NewPCG(1, 2)), 3)
	f.Add(appendExecuted(nil, &x))
	f.Add(appendAccount(nil, &bank.Account{Lamports: 3, Data: []byte{1}}))
	f.Add((&memory{commit: 1, tower: []byte{1}}).append(nil))
	f.Add(appendBlock(nil, &node.BlockRecord{Roots: []ledger.Hash{{1}}}))
	key := blockKey(3, ledger.Hash{1})
	parsers := []func([]byte) func() []byte{
		func(b []byte) func() []byte {
			x, err := parseExecuted(key, b)
			if err != nil {
				return nil
			}
			return func() []byte { return appendExecuted(nil, &x) }
		},
		func(b []byte) func() []byte {
			a, err := parseAccount(key, b)
			if err != nil {
				return nil
			}
			return func() []byte { return appendAccount(nil, a) }
		},
		func(b []byte) func() []byte {
			m, err := parseMemory(b)
			if err != nil {
				return nil
			}
			return func() []byte { return m.append(nil) }
		},
		func(b []byte) func() []byte {
			r, err := parseBlock(key, b)
			if err != nil {
				return nil
			}
			return func() []byte { return appendBlock(nil, &r) }
		},
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range parsers {
			testkit.Decode(t, b, parse)
		}
	})
}

// child saves for ever and prints the number of each save that is durable.
func child(dir string) error {
	s, err := Open(testOptions(dir))
	if err != nil {
		return err
	}
	root, err := s.Root()
	if err != nil {
		return err
	}
	running := make(chan error, 1)
	go func() { running <- s.Run(context.Background()) }()
	for n := uint64(root.Slot) + 1; ; n++ {
		done := make(chan struct{})
		s.Save([]node.Record{
			node.EvidenceRecord{Key: ledger.SlotKey(n), A: make([]byte, 10_000)},
		}, true, nil)
		s.Save([]node.Record{
			node.RootRecord{Block: ledger.BlockRef{Slot: ledger.Slot(n)}},
			node.TowerRecord{Bytes: binary.LittleEndian.AppendUint64(nil, n)},
		}, false, func() { close(done) })
		select {
		case <-done:
			fmt.Println(n)
		case err := <-running:
			return err
		}
	}
}

func TestKilledAtAnyMomentNothingDurableIsLost(t *testing.T) {
	rng := testkit.Rand(t)
	dir := t.TempDir()
	last := uint64(0)
	for range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for stop := last + 1 + uint64(rng.IntN(60)); last < stop && lines.Scan(); {
			if last, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			if n, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
				last = n
			}
		}
		if _, err := io.Copy(io.Discard, out); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("child ended by itself")
		}
		s := openTest(t, testOptions(dir))
		root, err := s.Root()
		if err != nil || uint64(root.Slot) < last {
			t.Errorf("root %d after save %d was durable, %v", root.Slot, last, err)
		}
		if tower := s.Tower(); len(tower) != 8 || binary.LittleEndian.Uint64(tower) < last || binary.LittleEndian.Uint64(tower) > uint64(root.Slot) {
			t.Errorf("tower %x after save %d was durable, root %d", tower, last, root.Slot)
		}
		for e, err := range s.Entries(0, root.Slot) {
			if err != nil {
				t.Errorf("entry of slot %d: %v", e.Slot, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
