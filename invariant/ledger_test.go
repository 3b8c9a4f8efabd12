package invariant

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"

	"tutti/bank"
	"tutti/cluster"
	"tutti/ledger"
)

// world is a ledger of five equal voters with the blocks
//
//	0 ── 1 ── 2 ── 3 ── 4 ── … ── 40
//	     └─── 5' ─ 9'
//
// where 3 names the UserBlock u5/0 with two transactions.
type world struct {
	*Ledger
	t     *testing.T
	votes *Votes
	user  ledger.UserBlockRef
}

var (
	side  = ledger.BlockRef{Slot: 5, ID: ledger.Hash{2}}
	side2 = ledger.BlockRef{Slot: 9, ID: ledger.Hash{2}}
)

func key(kind byte, i int) ledger.Pubkey {
	k := ed25519.NewKeyFromSeed(append(make([]byte, 30), kind, byte(i)))
	return ledger.Pubkey(k.Public().(ed25519.PublicKey))
}

func account(i int) ledger.Pubkey { return key('v', i) }

func newWorld(t *testing.T) *world {
	o := cluster.Options{Params: cluster.LocalParams(4), T0: 1, Faucet: key('f', 0)}
	for i := range 5 {
		o.Validators = append(o.Validators, cluster.Validator{Identity: key('i', i), VoteAccount: account(i), Stake: ledger.LamportsPerSOL})
	}
	g, err := cluster.NewGenesis(o)
	if err != nil {
		t.Fatal(err)
	}
	l := New(g, ledger.Hash{})
	w := &world{Ledger: l, t: t, votes: NewVotes(l)}
	w.user = ledger.UserBlockRef{U: 5, ID: ledger.Hash{5}}
	parent := l.Root().Ref
	for slot := ledger.Slot(1); slot <= 40; slot++ {
		var entries []ledger.UserBlockRef
		if slot == 3 {
			entries = []ledger.UserBlockRef{w.user}
		}
		w.fine(l.Hold(w.ref(slot), parent, uint64(slot), lastPoH(slot), entries))
		parent = w.ref(slot)
	}
	w.fine(l.Hold(side, w.ref(1), 2, ledger.Hash{9}, nil))
	w.fine(l.Hold(side2, side, 3, ledger.Hash{8}, nil))
	return w
}

// ref is the block of a slot on the main chain.
func (w *world) ref(slot ledger.Slot) ledger.BlockRef {
	if slot == 0 {
		return w.Root().Ref
	}
	return ledger.BlockRef{Slot: slot, ID: ledger.Hash{1, byte(slot)}}
}

func lastPoH(slot ledger.Slot) ledger.Hash { return ledger.Hash{4, byte(slot)} }

func (w *world) fine(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) broken(err error, want string) {
	w.t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		w.t.Fatalf("error is %v, want one with %q", err, want)
	}
}

// supplyUser makes the UserBlock known.
func (w *world) supplyUser() {
	w.t.Helper()
	w.fine(w.HoldUser(&ledger.UserBlock{
		Ref: w.user, Proposer: w.schedule.Proposers(5)[0], Anchor: lastPoH(2), Transactions: make([]ledger.UserTransaction, 2),
	}))
}

// result is what executing a block comes to; change may spoil it.
func (w *world) result(ref ledger.BlockRef, change func(*bank.Result)) *bank.Result {
	b := w.Blocks()[ref]
	r := &bank.Result{Ref: ref, Parent: b.Parent.Ref, ParentBankHash: b.Parent.BankHash}
	r.Link = bank.Link{Parent: b.Parent.BankHash, LastPoH: b.LastPoH}
	for _, e := range b.Entries {
		for i := range uint32(2) {
			r.Receipts = append(r.Receipts, bank.Receipt{U: e.U, Lane: e.Lane, Index: i, Signature: ledger.Signature{byte(i)}})
		}
	}
	if change != nil {
		change(r)
	}
	r.BankHash = r.Link.BankHash()
	return r
}

func (w *world) execute(ref ledger.BlockRef, change func(*bank.Result)) error {
	_, _, err := w.Execute(w.result(ref, change))
	return err
}

func TestBlocks(t *testing.T) {
	entry := func(u ledger.UserSlot, lane ledger.Lane) ledger.UserBlockRef {
		return ledger.UserBlockRef{U: u, Lane: lane, ID: ledger.Hash{7}}
	}
	tests := []struct {
		name, want string
		slot       ledger.Slot
		parent     ledger.Slot
		height     uint64
		entries    []ledger.UserBlockRef
	}{
		{"next", "", 41, 40, 41, []ledger.UserBlockRef{entry(81, 0), entry(82, 3)}},
		{"late after a skipped slot", "", 42, 40, 41, []ledger.UserBlockRef{entry(81, 0)}},
		{"height", "has height", 41, 40, 42, nil},
		{"orphan", "which no node holds", 41, 60, 42, nil},
		{"own section", "outside its window", 41, 40, 41, []ledger.UserBlockRef{entry(83, 0)}},
		{"too late", "outside its window", 41, 40, 41, []ledger.UserBlockRef{entry(80, 0)}},
		{"lane twice", "again", 41, 40, 41, []ledger.UserBlockRef{entry(81, 0), {U: 81, ID: ledger.Hash{8}}}},
		{"lane of nobody", "whose lane nobody has", 41, 40, 41, []ledger.UserBlockRef{entry(81, 4)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			ref := ledger.BlockRef{Slot: test.slot, ID: ledger.Hash{99}}
			err := w.Hold(ref, w.ref(test.parent), test.height, ledger.Hash{}, test.entries)
			if test.want != "" {
				w.broken(err, test.want)
				return
			}
			w.fine(err)
			w.fine(w.Hold(ref, w.ref(test.parent), test.height, ledger.Hash{}, test.entries))
			w.broken(w.Hold(ref, w.ref(test.parent), test.height, ledger.Hash{1}, test.entries), "read differently")
		})
	}
}

func TestLaneIsNamedOnceOnAFork(t *testing.T) {
	w := newWorld(t)
	name := []ledger.UserBlockRef{{U: 81}}
	a, b := ledger.BlockRef{Slot: 41, ID: ledger.Hash{98}}, ledger.BlockRef{Slot: 42, ID: ledger.Hash{99}}
	w.fine(w.Hold(a, w.ref(40), 41, ledger.Hash{}, name))
	w.fine(w.Hold(b, w.ref(40), 41, ledger.Hash{}, name)) // slot 41 is skipped
	w.broken(w.Hold(ledger.BlockRef{Slot: 42}, a, 42, ledger.Hash{}, name), "again")
}

func TestUserBlocks(t *testing.T) {
	w := newWorld(t)
	w.supplyUser()
	w.broken(w.HoldUser(&ledger.UserBlock{Ref: w.user, Proposer: w.schedule.Proposers(5)[0]}), "for another node")
	w.broken(w.HoldUser(&ledger.UserBlock{Ref: ledger.UserBlockRef{U: 5, Lane: 1}, Proposer: w.schedule.Proposers(5)[0]}), "whose lane it is not")
	w.broken(w.HoldUser(&ledger.UserBlock{Ref: ledger.UserBlockRef{U: 5, Lane: 9}, Proposer: w.schedule.Proposers(5)[0]}), "whose lane it is not")
}

func TestExecution(t *testing.T) {
	var zero *bank.Account
	lamports := func(n ledger.Lamports) *bank.Account { return &bank.Account{Lamports: n} }
	tests := []struct {
		name, want string
		change     func(*bank.Result)
	}{
		{"as all", "", nil},
		{"parent", "links to", func(r *bank.Result) { r.ParentBankHash = ledger.Hash{1} }},
		{"link", "not that of its link", func(r *bank.Result) { r.Link.LastPoH = ledger.Hash{} }},
		{"receipt missing", "no receipt for 1", func(r *bank.Result) { r.Receipts = r.Receipts[:1] }},
		{"receipt twice", "not there or has one", func(r *bank.Result) { r.Receipts[1].Index = 0 }},
		{"receipt of another", "not there or has one", func(r *bank.Result) { r.Receipts[1].Lane = 1 }},
		{"later one first", "comes later", func(r *bank.Result) { slices.Reverse(r.Receipts) }},
		{"processed twice", "is processed in", func(r *bank.Result) { r.Receipts[1].Signature = r.Receipts[0].Signature }},
		{"second time a duplicate", "", func(r *bank.Result) {
			r.Receipts[1].Signature, r.Receipts[1].Outcome = r.Receipts[0].Signature, bank.Duplicate
		}},
		{"duplicate that pays", "but paid", func(r *bank.Result) { r.Receipts[1].Outcome, r.Receipts[1].Fee = bank.Duplicate, 1 }},
		{"lamports move", "", func(r *bank.Result) {
			r.Written = []bank.AccountDelta{{Old: lamports(5), New: lamports(2)}, {Old: zero, New: lamports(2)}}
			r.Burned = 1
		}},
		{"lamports from nowhere", "makes", func(r *bank.Result) { r.Written = []bank.AccountDelta{{Old: zero, New: lamports(2)}} }},
		{"lamports gone", "makes", func(r *bank.Result) { r.Written = []bank.AccountDelta{{Old: lamports(2), New: zero}} }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.supplyUser()
			w.fine(w.execute(w.ref(1), nil))
			w.fine(w.execute(w.ref(2), nil))
			err := w.execute(w.ref(3), test.change)
			if test.want != "" {
				w.broken(err, test.want)
				return
			}
			w.fine(err)
			_, fresh, err := w.Execute(w.result(w.ref(3), test.change))
			w.fine(err)
			if fresh {
				t.Error("the second result is fresh")
			}
			w.broken(w.execute(w.ref(3), func(r *bank.Result) { r.Link.Signatures = 77 }), "another node has")
			w.broken(w.execute(w.ref(5), nil), "links to") // 4 is not executed
		})
	}
	t.Run("cheaper one first", func(t *testing.T) {
		w := newWorld(t)
		b := ledger.UserBlock{Ref: w.user, Proposer: w.schedule.Proposers(5)[0], Anchor: lastPoH(2), Transactions: make([]ledger.UserTransaction, 3)}
		b.Transactions[1].Role, b.Transactions[1].Budget.UnitPrice = ledger.Member, 9 // as dear as the one before
		b.Transactions[2].Budget.UnitPrice = 7
		w.fine(w.HoldUser(&b))
		w.fine(w.execute(w.ref(1), nil))
		w.fine(w.execute(w.ref(2), nil))
		third := bank.Receipt{U: 5, Index: 2, Signature: ledger.Signature{9}}
		w.broken(w.execute(w.ref(3), func(r *bank.Result) { r.Receipts = append(r.Receipts, third) }), "is cheaper")
	})
	t.Run("anchor too old", func(t *testing.T) {
		for _, anchor := range []ledger.Slot{8, 9} {
			w := newWorld(t)
			user := ledger.UserBlockRef{U: 81, ID: ledger.Hash{6}}
			last := ledger.BlockRef{Slot: 41}
			w.fine(w.HoldUser(&ledger.UserBlock{Ref: user, Proposer: w.schedule.Proposers(81)[0], Anchor: lastPoH(anchor)}))
			w.fine(w.Hold(last, w.ref(40), 41, ledger.Hash{}, []ledger.UserBlockRef{user}))
			w.supplyUser()
			for slot := ledger.Slot(1); slot <= 40; slot++ {
				w.fine(w.execute(w.ref(slot), nil))
			}
			err := w.execute(last, func(r *bank.Result) { r.Receipts = nil })
			if anchor == 9 {
				w.fine(err)
			} else {
				w.broken(err, "whose anchor")
			}
		}
	})
	t.Run("without its UserBlock", func(t *testing.T) {
		w := newWorld(t)
		w.fine(w.execute(w.ref(1), nil))
		w.fine(w.execute(w.ref(2), nil))
		w.broken(w.execute(w.ref(3), nil), "without UserBlock")
	})
}

func TestSupplyOfGenesis(t *testing.T) {
	w := newWorld(t)
	b, err := bank.New(w.genesis, 1)
	w.fine(err)
	view, _ := b.View(b.Root())
	l := New(w.genesis, view.BankHash())
	w.fine(l.Supply(view))
	l.root.total++
	w.broken(l.Supply(view), "lamports")
}

func TestChain(t *testing.T) {
	w := newWorld(t)
	var c Chain
	for _, slot := range []ledger.Slot{4, 2, 7} {
		if other := c.Add(w.Blocks()[w.ref(slot)]); other != nil {
			t.Fatalf("%d contradicts %v", slot, other.Ref)
		}
	}
	if c.Tip().Ref != w.ref(7) || c.Add(w.Blocks()[side]) == nil {
		t.Error("a block of another fork fits")
	}
}
