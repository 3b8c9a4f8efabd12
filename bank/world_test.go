package bank

import (
	"encoding/binary"
	"testing"
	"time"

	"tutti/cluster"
	"tutti/ledger"
)

const sol = ledger.LamportsPerSOL

// testKey returns a key that nothing else has.
func testKey(kind string, n int) ledger.Pubkey {
	return ledger.Pubkey(ledger.Sum([]byte(kind), binary.LittleEndian.AppendUint64(nil, uint64(n))))
}

func identity(n int) ledger.Pubkey { return testKey("identity", n) }
func user(n int) ledger.Pubkey     { return testKey("user", n) }

// world makes blocks for a bank and executes them.
type world struct {
	t       testing.TB
	genesis *cluster.Genesis
	bank    *Bank
	anchors map[ledger.BlockRef]ledger.Hash
	tip     ledger.BlockRef
}

// newWorld has 4 validators whose identities hold 1000 SOL, and users 0…99
// with 10 SOL each. The options can be changed.
func newWorld(t testing.TB, workers int, change ...func(*cluster.Options)) *world {
	t.Helper()
	o := cluster.Options{
		Params: cluster.LocalParams(4),
		T0:     time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano(),
		Faucet: testKey("faucet", 0),
	}
	o.Params.SlotsPerEpoch, o.Params.LagZero = 1024, 8
	for i := range 4 {
		o.Validators = append(o.Validators, cluster.Validator{
			Identity: identity(i), VoteAccount: testKey("vote", i), Stake: 100 * sol,
		})
	}
	for i := range 100 {
		o.Accounts = append(o.Accounts, cluster.GenesisAccount{Key: user(i), Lamports: 10 * sol})
	}
	for _, f := range change {
		f(&o)
	}
	g, err := cluster.NewGenesis(o)
	if err != nil {
		t.Fatal(err)
	}
	return worldOf(t, g, workers)
}

func worldOf(t testing.TB, g *cluster.Genesis, workers int) *world {
	t.Helper()
	b, err := New(g, workers)
	if err != nil {
		t.Fatal(err)
	}
	return &world{
		t: t, genesis: g, bank: b, tip: b.Root(),
		anchors: map[ledger.BlockRef]ledger.Hash{b.Root(): g.Hash()},
	}
}

// balance returns an account's lamports after the newest block.
func (w *world) balance(key ledger.Pubkey) ledger.Lamports { return w.account(key).Lamports }

func (w *world) account(key ledger.Pubkey) Account {
	v, ok := w.bank.View(w.tip)
	if !ok {
		w.t.Fatalf("no view of %v", w.tip)
	}
	if a, ok := v.Account(key); ok {
		return *a
	}
	return Account{}
}

// blockhash is the newest one.
func (w *world) blockhash() ledger.Hash { return w.anchors[w.tip] }

// block makes a block of the next slot after skipped ones on the tip, with
// an id that salt tells from others.
func (w *world) block(skipped int, salt string, userBlocks ...*ledger.UserBlock) *Block {
	slot := w.tip.Slot + 1 + ledger.Slot(skipped)
	name := binary.LittleEndian.AppendUint64([]byte(salt), uint64(slot))
	b := &Block{
		Ref:     ledger.BlockRef{Slot: slot, ID: ledger.Sum([]byte("id"), name, w.tip.ID[:])},
		Parent:  w.tip,
		LastPoH: ledger.Sum([]byte("poh"), name, w.tip.ID[:]),
	}
	for i, u := range userBlocks {
		u.Ref = ledger.UserBlockRef{U: slot.FirstUserSlot(), Lane: ledger.Lane(i), ID: ledger.Sum(name, []byte{byte(i)})}
		u.Anchor = w.anchors[w.tip]
		b.UserBlocks = append(b.UserBlocks, Recorded{Section: u.Ref.U + 1, Block: u, Anchor: w.tip})
	}
	return b
}

// execute executes a block and makes it the tip.
func (w *world) execute(b *Block) *Result {
	w.t.Helper()
	r, err := w.bank.Execute(b)
	if err != nil {
		w.t.Fatal(err)
	}
	w.tip = b.Ref
	w.anchors[b.Ref] = b.LastPoH
	return r
}

// run executes a block with one UserBlock of identity 0.
func (w *world) run(txs ...ledger.UserTransaction) *Result {
	w.t.Helper()
	return w.execute(w.block(0, "", userBlock(0, txs...)))
}

// userBlock makes a UserBlock of an identity; each transaction is an entry of
// its own, but the members of a bundle stand with their bundler.
func userBlock(proposer int, txs ...ledger.UserTransaction) *ledger.UserBlock {
	b := &ledger.UserBlock{Proposer: identity(proposer), Transactions: txs}
	position := uint64(0)
	for i := range txs {
		if txs[i].Role != ledger.Member {
			position += 10
		}
		txs[i].Index, txs[i].Position = uint32(i), position
	}
	return b
}

// transaction makes a transaction whose signatures count as good.
func (w *world) transaction(payer ledger.Pubkey, calls ...ledger.Call) ledger.UserTransaction {
	return w.transactionWith(w.blockhash(), payer, calls...)
}

func (w *world) transactionWith(blockhash ledger.Hash, payer ledger.Pubkey, calls ...ledger.Call) ledger.UserTransaction {
	w.t.Helper()
	m := ledger.NewMessage(payer, blockhash, calls...)
	raw := ledger.AppendCompactU16(nil, int(m.Header[0]))
	raw = append(raw, make([]byte, 64*int(m.Header[0]))...)
	return w.parse(m.Append(raw))
}

func (w *world) parse(raw []byte) ledger.UserTransaction {
	w.t.Helper()
	tx, err := ledger.ParseTransaction(raw)
	if err == nil {
		err = tx.Sanitize()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	budget, err := tx.ComputeBudget()
	if err != nil {
		w.t.Fatal(err)
	}
	return ledger.UserTransaction{Transaction: tx, Hash: tx.MessageHash(), Budget: budget, SignatureOK: true}
}

// transfer makes a transaction that moves lamports.
func (w *world) transfer(from, to ledger.Pubkey, lamports ledger.Lamports) ledger.UserTransaction {
	return w.transaction(from, transferCall(from, to, lamports))
}

// priced is transfer with a compute-unit price and a limit of 1000 units, so
// that the priority fee is price/1000 lamports.
func (w *world) priced(from, to ledger.Pubkey, lamports ledger.Lamports, price uint64) ledger.UserTransaction {
	return w.transaction(from, append(priceCalls(price), transferCall(from, to, lamports))...)
}

func priceCalls(price uint64) []ledger.Call {
	return []ledger.Call{
		{Program: ledger.ComputeBudgetProgram, Data: binary.LittleEndian.AppendUint32([]byte{2}, 1000)},
		{Program: ledger.ComputeBudgetProgram, Data: binary.LittleEndian.AppendUint64([]byte{3}, price)},
	}
}

func transferCall(from, to ledger.Pubkey, lamports ledger.Lamports) ledger.Call {
	return ledger.Call{
		Program:  ledger.SystemProgram,
		Accounts: []ledger.AccountMeta{{Key: from, Signer: true, Writable: true}, {Key: to, Writable: true}},
		Data:     binary.LittleEndian.AppendUint64([]byte{2, 0, 0, 0}, uint64(lamports)),
	}
}

// bundle makes a bundle of members: its bundler pays at a price for 1000
// units of its own, and runs further calls.
func (w *world) bundle(bundler ledger.Pubkey, price uint64, calls []ledger.Call, members ...ledger.UserTransaction) []ledger.UserTransaction {
	hashes := make([]ledger.Hash, len(members))
	for i := range members {
		members[i].Role = ledger.Member
		hashes[i] = members[i].Hash
	}
	all := append(priceCalls(price), ledger.BundleCall(hashes))
	first := w.transaction(bundler, append(all, calls...)...)
	first.Role, first.BundleSize = ledger.Bundler, uint8(len(members))
	return append([]ledger.UserTransaction{first}, members...)
}

// expect compares outcomes.
func (w *world) expect(r *Result, want ...Outcome) {
	w.t.Helper()
	if len(r.Receipts) != len(want) {
		w.t.Fatalf("%d receipts, want %d", len(r.Receipts), len(want))
	}
	for i, o := range want {
		if got := r.Receipts[i]; got.Outcome != o {
			w.t.Errorf("receipt %d is %v (%v), want %v", i, got.Outcome, got.Error, o)
		}
	}
}

// expectError compares the error of a receipt.
func (w *world) expectError(r *Result, i int, want ledger.TransactionError) {
	w.t.Helper()
	if got := r.Receipts[i]; got.Outcome != Failed || *got.Error != want {
		w.t.Errorf("receipt %d is %v (%v), want failed: %v", i, got.Outcome, got.Error, want)
	}
}
