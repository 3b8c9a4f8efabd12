package validator_test

import (
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"testing"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/ledger"
	"tutti/poh"
	"tutti/shred"
	"tutti/validator"
)

// testKey returns the i-th key of a kind.
func testKey(kind string, i int) ed25519.PrivateKey {
	seed := ledger.Sum([]byte(kind), binary.LittleEndian.AppendUint64(nil, uint64(i)))
	return ed25519.NewKeyFromSeed(seed[:])
}

func pub(k ed25519.PrivateKey) ledger.Pubkey { return ledger.Pubkey(k.Public().(ed25519.PublicKey)) }

func testHash(kind string, i int) ledger.Hash {
	return ledger.Sum([]byte(kind), binary.LittleEndian.AppendUint64(nil, uint64(i)))
}

// parse returns the transaction with those wire bytes.
func parse(t testing.TB, wire []byte) ledger.Transaction {
	t.Helper()
	tx, err := ledger.ParseTransaction(wire)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// signed returns a transaction of one signer that makes the calls.
func signed(t testing.TB, by ed25519.PrivateKey, blockhash ledger.Hash, calls ...ledger.Call) ledger.Transaction {
	t.Helper()
	m := ledger.NewMessage(pub(by), blockhash, calls...)
	return parse(t, ledger.Sign(m.Append(nil), by))
}

// calls of programs that the tests need.
func memo(text string) ledger.Call {
	return ledger.Call{Program: ledger.Pubkey{1: 'm', 31: 7}, Data: []byte(text)}
}

func advanceNonce(account ledger.Pubkey) ledger.Call {
	return ledger.Call{
		Program:  ledger.SystemProgram,
		Accounts: []ledger.AccountMeta{{Key: account, Writable: true}},
		Data:     binary.LittleEndian.AppendUint32(nil, 4),
	}
}

func unitPrice(price uint64) ledger.Call {
	return ledger.Call{Program: ledger.ComputeBudgetProgram, Data: binary.LittleEndian.AppendUint64([]byte{3}, price)}
}

func voteCall(tag uint32) ledger.Call {
	return ledger.Call{Program: ledger.VoteProgram, Data: binary.LittleEndian.AppendUint32(nil, tag)}
}

// world is a cluster with a chain of blocks, for blocks to be checked on.
type world struct {
	t       testing.TB
	params  cluster.Params
	stakes  *consensus.Stakes
	rules   *validator.Rules
	genesis *validator.Block
}

// newWorld returns a cluster with these stakes.
func newWorld(t testing.TB, stakes ...ledger.Lamports) *world {
	t.Helper()
	w := &world{t: t, params: cluster.LocalParams(4)}
	var items []cluster.Staked
	for i, s := range stakes {
		items = append(items, cluster.Staked{
			Identity: pub(testKey("identity", i)), VoteAccount: pub(testKey("vote", i)),
			Authority: pub(testKey("identity", i)), Stake: s,
		})
	}
	balance := func(ledger.Pubkey) ledger.Lamports { return w.params.ProposerBond }
	w.stakes = consensus.NewStakes(cluster.NewEpochStakes(0, items, balance, w.params.ProposerBond))
	w.rules = &validator.Rules{
		Params: &w.params,
		Stakes: func(ledger.Slot) *consensus.Stakes { return w.stakes },
		Signed: func(tx *ledger.Transaction) bool { return w.params.SignatureRule.VerifyTransaction(tx) },
	}
	hash := testHash("genesis", 0)
	ref := ledger.BlockRef{ID: hash}
	w.genesis = &validator.Block{
		BlockRef: ref, LastPoH: hash,
		Lineage: consensus.NewLineage(ref), Ballots: consensus.NewBallots(w.stakes),
	}
	return w
}

// vote returns a vote of a validator for a block, of a tower with no other
// vote, that reports a BankHash.
func (w *world) vote(voter int, block ledger.BlockRef, bank ledger.Slot, hash ledger.Hash) ledger.Transaction {
	authority := testKey("identity", voter)
	v := ledger.Vote{
		Account: pub(testKey("vote", voter)), Authority: pub(authority),
		Lockouts: []ledger.Lockout{{Slot: block.Slot, Confirmations: 1}},
		Block:    block, BankSlot: bank, BankHash: hash,
	}
	m := v.Message(block.ID)
	return parse(w.t, ledger.Sign(m.Append(nil), authority))
}

// draft is a leader block by hand: unlike leader.Builder it can break every
// rule.
type draft struct {
	w        *world
	slot     ledger.Slot
	parent   *validator.Block
	chain    *poh.Chain
	shredder *shred.Shredder
	closed   int // ticks
	batch    []byte
	sets     []*shred.Set
}

// draft begins a block on its parent.
func (w *world) draft(slot ledger.Slot, parent *validator.Block) *draft {
	return &draft{
		w: w, slot: slot, parent: parent,
		chain: poh.New(parent.LastPoH, w.params.HashesPerTick),
		shredder: shred.NewShredder(shred.Config{
			Key: slot.Key(), ParentOffset: uint16(slot - parent.Slot),
			Signer: testKey("identity", 0), Chained: parent.ID,
		}),
	}
}

// clone returns a draft that goes on from here by itself.
func (d *draft) clone() *draft {
	next := *d
	chain, shredder := *d.chain, *d.shredder
	next.chain, next.shredder = &chain, &shredder
	next.batch, next.sets = slices.Clone(d.batch), slices.Clone(d.sets)
	return &next
}

func (d *draft) component(c ledger.Component) *draft {
	d.batch = ledger.AppendComponent(d.batch, &c)
	return d
}

func (d *draft) ticks(n int) *draft {
	d.closed += n
	var entries []ledger.Entry
	for range n {
		e := ledger.Entry{}
		e.NumHashes, e.Hash = d.chain.Tick()
		entries = append(entries, e)
	}
	if n == 0 {
		return d
	}
	return d.component(ledger.Component{Entries: entries})
}

// votes records transactions, votes or not, as one entry.
func (d *draft) votes(txs ...ledger.Transaction) *draft {
	e := ledger.Entry{Transactions: txs}
	e.NumHashes, e.Hash, _ = d.chain.Record(e.Mixin())
	return d.component(ledger.Component{Entries: []ledger.Entry{e}})
}

func (d *draft) marker(m ledger.Marker) *draft {
	m.NumHashes, m.Hash, _ = d.chain.Record(m.Mixin())
	return d.component(ledger.Component{Marker: &m})
}

func (d *draft) names(refs ...ledger.UserBlockRef) *draft {
	return d.marker(ledger.Marker{
		Version: ledger.MarkerVersion, Kind: ledger.KindUserBlockEntries,
		Payload: ledger.AppendUserBlockEntries(nil, refs),
	})
}

func (d *draft) receipt(block ledger.BlockRef, hash ledger.Hash) *draft {
	return d.marker(ledger.Marker{
		Version: ledger.MarkerVersion, Kind: ledger.KindExecutionReceipt,
		Payload: ledger.AppendExecutionReceipt(nil, ledger.ExecutionReceipt{Block: block, BankHash: hash}),
	})
}

// flush ends the batch, and with it the block if last.
func (d *draft) flush(last bool) *draft {
	d.w.t.Helper()
	sets, err := d.shredder.Shred(d.batch, 0, last)
	if err != nil {
		d.w.t.Fatal(err)
	}
	d.batch = nil
	d.sets = append(d.sets, sets...)
	return d
}

// skipped returns how many ticks stand before the block's own.
func (d *draft) skipped() int { return int(d.slot-d.parent.Slot-1) * ledger.TicksPerSlot }

// check puts the sets one by one before the rules.
func (d *draft) check() (*validator.Block, error) {
	p := validator.Begin(d.w.rules, d.slot, d.parent)
	for _, set := range d.sets {
		var err error
		if p, err = p.Next(set); err != nil {
			return nil, err
		}
	}
	return p.Finish()
}

// block returns a valid block: what record does stands behind so many of the
// block's own ticks.
func (w *world) block(slot ledger.Slot, parent *validator.Block, after int, record func(*draft)) (*validator.Block, error) {
	w.t.Helper()
	d := w.draft(slot, parent)
	d.ticks(d.skipped() + after)
	if record != nil {
		record(d)
	}
	return d.ticks(ledger.TicksPerSlot - after).flush(true).check()
}

// grow returns the tip of a chain of n blocks, slot by slot, on a parent.
func (w *world) grow(parent *validator.Block, n int) *validator.Block {
	w.t.Helper()
	for range n {
		b, err := w.block(parent.Slot+1, parent, 0, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		parent = b
	}
	return parent
}

// userRef returns some UserBlock of that UserBlockSlot and lane.
func userRef(u ledger.UserSlot, lane ledger.Lane) ledger.UserBlockRef {
	return ledger.UserBlockRef{U: u, Lane: lane, ID: testHash("userblock", int(u)<<8|int(lane))}
}
