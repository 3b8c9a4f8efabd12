package bank

import (
	"errors"
	"math/rand/v2"
	"testing"

	"tutti/cluster"
	"tutti/internal/testkit"
	"tutti/ledger"
)

// tree is a random tree of blocks, with what straight execution of each
// branch gives.
type tree struct {
	*crowd
	blocks []*Block
	hashes map[ledger.BlockRef]ledger.Hash
	states map[ledger.BlockRef]map[ledger.Pubkey]Account
}

// newTree makes n blocks, each on a random earlier one; what is true of each
// comes from a bank that has executed its ancestors alone.
func newTree(t *testing.T, rng *rand.Rand, n int) *tree {
	tr := &tree{
		crowd: newCrowd(t, rng, 1), hashes: make(map[ledger.BlockRef]ledger.Hash),
		states: make(map[ledger.BlockRef]map[ledger.Pubkey]Account),
	}
	genesis := tr.tip
	tr.record(genesis, tr.world)
	parents := map[ledger.BlockRef]*Block{}
	tips := []ledger.BlockRef{genesis}
	for i := range n {
		tr.tip = tips[max(0, len(tips)-1-rng.IntN(4))]
		b := tr.crowd.block(rng.IntN(3), string(rune('a'+i)))
		tr.anchors[b.Ref] = b.LastPoH
		tr.blocks = append(tr.blocks, b)
		tips = append(tips, b.Ref)
		parents[b.Ref] = b

		var branch []*Block
		for at := b; at != nil; at = parents[at.Parent] {
			branch = append([]*Block{at}, branch...)
		}
		straight := worldOf(t, tr.genesis, 1)
		for _, at := range branch {
			straight.execute(at)
		}
		tr.record(b.Ref, straight)
	}
	return tr
}

func (tr *tree) record(ref ledger.BlockRef, w *world) {
	v, _ := w.bank.View(ref)
	state := make(map[ledger.Pubkey]Account)
	for _, k := range v.Keys() {
		a, _ := v.Account(k)
		state[k] = *a
	}
	tr.states[ref], tr.hashes[ref] = state, v.BankHash()
}

// check compares a view with what is true of its block.
func (tr *tree) check(v *View) {
	tr.t.Helper()
	want := tr.states[v.Ref()]
	if v.BankHash() != tr.hashes[v.Ref()] {
		tr.t.Fatalf("%v: BankHash %v, want %v", v.Ref(), v.BankHash(), tr.hashes[v.Ref()])
	}
	keys := v.Keys()
	if len(keys) != len(want) {
		tr.t.Fatalf("%v: %d accounts, want %d", v.Ref(), len(keys), len(want))
	}
	for i, k := range keys {
		a, ok := v.Account(k)
		w, there := want[k]
		if !ok || !there || !a.Equal(&w) || i > 0 && string(keys[i-1][:]) >= string(k[:]) {
			tr.t.Fatalf("%v: account %v is %v, want %v", v.Ref(), k, a, w)
		}
	}
	for _, k := range tr.keys {
		if _, there := want[k]; !there && v.Balance(k) != 0 {
			tr.t.Fatalf("%v: account %v should not exist", v.Ref(), k)
		}
	}
}

// TestForks executes a random tree of blocks in an order that jumps from
// fork to fork, with discards and re-executions, while the root advances: every
// block has the BankHash of straight execution, and every view that was ever
// given out stays true.
func TestForks(t *testing.T) {
	rng := testkit.Rand(t)
	for range 6 {
		tr := newTree(t, rng, 25)
		var views []*View
		for _, b := range tr.blocks {
			r, err := tr.bank.Execute(b)
			if errors.Is(err, ErrUnknown) {
				continue // a root has advanced past its fork
			}
			if err != nil {
				t.Fatal(err)
			}
			views = append(views, r.View)
			switch rng.IntN(8) {
			case 0:
				// Root some executed block.
				v := views[rng.IntN(len(views))]
				if err := tr.bank.SetRoot(v.Ref()); err == nil && tr.bank.Root() != v.Ref() {
					t.Fatalf("root is %v, want %v", tr.bank.Root(), v.Ref())
				}
			case 1, 2:
				// Forget one, and execute it again.
				if err := tr.bank.Discard(b.Ref); err != nil {
					t.Fatal(err)
				}
				if _, ok := tr.bank.View(b.Ref); ok {
					t.Fatal("a discarded block is still known")
				}
				again, err := tr.bank.Execute(b)
				if err != nil {
					t.Fatal(err)
				}
				views = append(views, again.View)
			}
			tr.check(views[rng.IntN(len(views))])
		}
		for _, v := range views {
			tr.check(v)
		}
	}
}

// TestSwitchBack: A→B, A→C, back to B→D gives what A→B→D gives.
func TestSwitchBack(t *testing.T) {
	c := newCrowd(t, testkit.Rand(t), 2)
	b := c.block(0, "b")
	genesis := c.tip
	c.execute(b)
	c.tip = genesis
	other := c.block(2, "c")
	c.execute(other)
	c.tip = b.Ref
	d := c.block(5, "d")
	got := c.execute(d).BankHash

	straight := worldOf(t, c.genesis, 1)
	straight.execute(b)
	if want := straight.execute(d).BankHash; got != want {
		t.Errorf("BankHash after switching %v, straight %v", got, want)
	}
}

// TestSwitchCostsWhatWasTouched: to undo and redo a block changes as many
// entries of the state as it wrote, however many there are.
func TestSwitchCostsWhatWasTouched(t *testing.T) {
	w := newWorld(t, 1)
	a := w.run(w.transfer(user(0), user(1), sol))
	if got := len(a.Written); got > 12 {
		t.Errorf("a block with one transfer wrote %d accounts", got)
	}
	for _, d := range a.Written {
		if d.Key == user(2) {
			t.Error("an account that nobody named is written")
		}
	}
}

func TestExecuteRefuses(t *testing.T) {
	w := newWorld(t, 1)
	b := w.block(0, "")
	w.execute(b)
	for name, c := range map[string]struct {
		block *Block
		want  error
	}{
		"unknown parent": {&Block{Ref: ledger.BlockRef{Slot: 9}, Parent: ledger.BlockRef{Slot: 8}}, ErrUnknown},
		"executed":       {b, ErrExecuted},
		"slot":           {&Block{Ref: ledger.BlockRef{Slot: 1, ID: ledger.Hash{9}}, Parent: b.Ref}, ErrOrder},
	} {
		if _, err := w.bank.Execute(c.block); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := w.bank.SetRoot(ledger.BlockRef{Slot: 77}); !errors.Is(err, ErrUnknown) {
		t.Errorf("root of nothing: %v", err)
	}
	if err := w.bank.Discard(w.bank.Root()); !errors.Is(err, ErrUnknown) {
		t.Errorf("discard of the root: %v", err)
	}
}

// TestViewsAreForAll reads views while blocks are executed and roots
// advance; the race detector watches.
func TestViewsAreForAll(t *testing.T) {
	c := newCrowd(t, testkit.Rand(t), 2)
	stop := make(chan struct{})
	views := make(chan *View, 1)
	done := make(chan bool)
	go func() {
		defer close(done)
		var held []*View
		for {
			select {
			case <-stop:
				return
			case v := <-views:
				held = append(held, v)
			default:
				for _, v := range held {
					for _, k := range c.keys[:3] {
						v.Balance(k)
					}
				}
			}
		}
	}()
	for i := range 20 {
		r := c.execute(c.block(0, ""))
		views <- r.View
		if i%5 == 4 {
			if err := c.bank.SetRoot(c.tip); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	<-done
}

// TestSnapshot: a bank made from a snapshot goes on as the one that it was
// made of, duplicates of blocks before it included.
func TestSnapshot(t *testing.T) {
	rng := testkit.Rand(t)
	for _, blocks := range []int{1, 5, 160} {
		c := newCrowd(t, rng, 2)
		for range blocks {
			c.execute(c.block(rng.IntN(2), ""))
			if len(c.earlier) > 200 {
				c.earlier = c.earlier[100:]
			}
		}
		if err := c.bank.SetRoot(c.tip); err != nil {
			t.Fatal(err)
		}
		s := c.bank.Snapshot()
		if want := min(blocks, duplicateWindow) + 1; len(s.Past) != want {
			t.Errorf("after %d blocks %d are in the snapshot, want %d", blocks, len(s.Past), want)
		}
		restored, err := Restore(c.genesis, s, 1)
		if err != nil {
			t.Fatal(err)
		}
		if h, ok := restored.BankHash(s.Past[0].Ref); !ok || h != s.Past[0].BankHash {
			t.Error("the BankHash of an old block is lost")
		}
		for range 3 {
			b := c.block(0, "")
			want := c.execute(b)
			got, err := restored.Execute(b)
			if err != nil {
				t.Fatal(err)
			}
			if got.BankHash != want.BankHash || got.Height != want.Height {
				t.Fatalf("restored: %v at height %d, want %v at %d", got.BankHash, got.Height, want.BankHash, want.Height)
			}
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	c := newCrowd(t, testkit.Rand(t), 1)
	c.execute(c.block(0, ""))
	if err := c.bank.SetRoot(c.tip); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Snapshot){
		"no block":          func(s *Snapshot) { s.Past = nil },
		"no stakes":         func(s *Snapshot) { s.Stakes[1] = nil },
		"another balance":   func(s *Snapshot) { s.Accounts[0].Account = &Account{Lamports: 1} },
		"an account less":   func(s *Snapshot) { s.Accounts = s.Accounts[1:] },
		"an account twice":  func(s *Snapshot) { s.Accounts = append(s.Accounts, s.Accounts[0]) },
		"no account":        func(s *Snapshot) { s.Accounts[0].Account = nil },
		"another BankHash":  func(s *Snapshot) { s.Past[1].BankHash[0]++ },
		"another link":      func(s *Snapshot) { s.Past[0].Link.Signatures++ },
		"another blockhash": func(s *Snapshot) { s.Past[0].LastPoH[0]++ },
		"another order":     func(s *Snapshot) { s.Past[0], s.Past[1] = s.Past[1], s.Past[0] },
	} {
		s := c.bank.Snapshot()
		change(&s)
		if _, err := Restore(c.genesis, s, 1); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHardFork: a restart is mixed into the first BankHash after its block,
// and moves the clock.
func TestHardFork(t *testing.T) {
	w := newWorld(t, 1)
	w.run()
	if err := w.bank.SetRoot(w.tip); err != nil {
		t.Fatal(err)
	}
	b := w.block(1, "")
	plain := w.execute(b)
	if err := w.bank.Discard(b.Ref); err != nil {
		t.Fatal(err)
	}
	w.tip = b.Parent
	w.bank.AddHardFork(HardFork{Slot: b.Parent.Slot, Count: 3, T0: w.genesis.T0 + 3600e9})
	forked := w.execute(b)
	if forked.Link.HardForks != 3 || forked.BankHash == plain.BankHash {
		t.Errorf("hard fork is not mixed in: %+v", forked.Link)
	}
	if got, want := w.clock().now-w.genesis.UnixTimestamp(b.Ref.Slot), int64(3600); got != want {
		t.Errorf("the clock moved by %d s, want %d", got, want)
	}
	restart := w.account(cluster.SysvarLastRestartSlot)
	if got := string(restart.Data); got != string(le64(uint64(b.Parent.Slot))) {
		t.Errorf("LastRestartSlot is %x", got)
	}
	if next := w.run(); next.Link.HardForks != 0 {
		t.Error("hard fork is mixed in twice")
	}
	if h := w.bank.Snapshot().HardForks; len(h) != 1 {
		t.Errorf("snapshot has %d hard forks", len(h))
	}
}
