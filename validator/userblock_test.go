package validator_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"tutti/cluster"
	"tutti/ledger"
	"tutti/ledger/sigverify"
	"tutti/poh"
	"tutti/shred"
	"tutti/validator"
)

// userDraft is a UserBlock by hand: unlike proposer.Builder it can break
// every rule.
type userDraft struct {
	t      testing.TB
	params cluster.Params
	check  validator.UserBlockCheck

	signer   ed25519.PrivateKey
	chain    *poh.Chain
	shredder *shred.Shredder
	batch    []byte
	entries  []ledger.Entry
	closed   int // ticks
}

// The place of the tests' UserBlocks: lane 2 of UserBlockSlot 9, on an anchor
// whose blockhash is the newest of three.
const (
	testU    = 9
	testLane = 2
)

func newUserDraft(t testing.TB, change func(*cluster.Params)) *userDraft {
	t.Helper()
	d := &userDraft{t: t, params: cluster.LocalParams(4), signer: testKey("identity", 0)}
	if change != nil {
		change(&d.params)
	}
	anchor := testHash("blockhash", 0)
	d.check = validator.UserBlockCheck{
		Ref:         ledger.UserBlockRef{U: testU, Lane: testLane},
		Proposer:    pub(d.signer),
		Params:      &d.params,
		Blockhashes: []ledger.Hash{anchor, testHash("blockhash", 1), testHash("blockhash", 2)},
		CostMax:     d.params.UserBlockCostMax(),
	}
	d.chain = poh.New(poh.UserBlockSeed(anchor, testU, d.check.Proposer), d.params.UserBlockHashesPerTick)
	d.shredder = shred.NewShredder(shred.Config{Key: ledger.UserKey(testU, testLane), Signer: d.signer, Chained: anchor})
	return d
}

func (d *userDraft) ticks(n int) *userDraft {
	d.closed += n
	for range n {
		count, hash := d.chain.Tick()
		d.entries = append(d.entries, ledger.Entry{NumHashes: count, Hash: hash})
	}
	return d
}

func (d *userDraft) entry(txs ...ledger.Transaction) *userDraft {
	e := ledger.Entry{Transactions: txs}
	e.NumHashes, e.Hash, _ = d.chain.Record(e.Mixin())
	d.entries = append(d.entries, e)
	return d
}

// raw adds bytes behind the entries so far.
func (d *userDraft) raw(b ...byte) *userDraft {
	if len(d.entries) > 0 {
		d.batch = ledger.AppendEntries(d.batch, d.entries)
		d.entries = nil
	}
	d.batch = append(d.batch, b...)
	return d
}

// flush ends the batch, and with it the block if last.
func (d *userDraft) flush(last bool) *userDraft {
	d.t.Helper()
	d.raw()
	sets, err := d.shredder.Shred(d.batch, 0, last)
	if err != nil {
		d.t.Fatal(err)
	}
	d.batch = nil
	d.check.Sets = append(d.check.Sets, sets...)
	return d
}

// end closes the ticks that are left, and the block.
func (d *userDraft) end() *userDraft {
	d.t.Helper()
	d.ticks(max(0, ledger.TicksPerUserSlot-d.closed))
	d.flush(true)
	d.check.Ref.ID = d.shredder.Root()
	return d
}

// tamper replaces a set by a changed copy.
func (d *userDraft) tamper(i int, change func(*shred.Set)) *userDraft {
	set := *d.check.Sets[i]
	change(&set)
	d.check.Sets = slices.Clone(d.check.Sets)
	d.check.Sets[i] = &set
	return d
}

// user returns the i-th transaction of the tests.
func user(t testing.TB, i int, calls ...ledger.Call) ledger.Transaction {
	t.Helper()
	calls = append(calls, memo(string(rune('a'+i))))
	return signed(t, testKey("user", i%7), testHash("blockhash", i%3), calls...)
}

// TestUserBlock: a block that obeys every rule, and what is known of it then.
func TestUserBlock(t *testing.T) {
	d := newUserDraft(t, nil)
	a, b, c := user(t, 0), user(t, 1, unitPrice(7)), user(t, 2)
	forged := bytes.Clone(c.Raw())
	forged[3] ^= 1
	d.ticks(3).entry(a, b).flush(false)
	d.ticks(9).entry(parse(t, forged)).ticks(20).end()
	block, err := d.check.Check()
	if err != nil {
		t.Fatal(err)
	}
	for i := range block.Transactions {
		if block.Transactions[i].SignatureOK {
			t.Errorf("signature of transaction %d counts before it is verified", i)
		}
	}
	// In two parts, as a node has it done.
	verified := 0
	for part := range slices.Chunk(block.Transactions, 2) {
		verified += validator.VerifySignatures(sigverify.NewVerifier(d.check.Params.SignatureRule), part)
	}
	if block.Ref != d.check.Ref || block.Proposer != pub(d.signer) || block.Anchor != testHash("blockhash", 0) {
		t.Errorf("block %v by %v on %v", block.Ref, block.Proposer, block.Anchor)
	}
	// "Signatures, and all that depends on accounts, are not part of it."
	wants := []struct {
		raw      []byte
		position uint64
		ok       bool
	}{{a.Raw(), 301, true}, {b.Raw(), 301, true}, {forged, 1201, false}}
	if len(block.Transactions) != len(wants) {
		t.Fatalf("%d transactions", len(block.Transactions))
	}
	var cost uint64
	for i, want := range wants {
		got := &block.Transactions[i]
		if !bytes.Equal(got.Raw(), want.raw) || got.Index != uint32(i) || got.Position != want.position || got.SignatureOK != want.ok {
			t.Errorf("transaction %d: index %d, position %d, signature %t", i, got.Index, got.Position, got.SignatureOK)
		}
		if got.Hash != got.MessageHash() || got.Role != ledger.NoBundle {
			t.Errorf("transaction %d: hash %v, role %d", i, got.Hash, got.Role)
		}
		// "cost = requested CU + 720 · signatures + 300 · writable accounts +
		// ⌊bytes/4⌋": one signature and one writable account here.
		cost += uint64(got.Budget.UnitLimit) + 720 + 300 + uint64(len(want.raw)/4)
	}
	if block.Transactions[1].Budget.UnitPrice != 7 || block.Transactions[0].Budget.UnitLimit != 200_000 {
		t.Error("compute budgets were not read")
	}
	if block.Cost != cost || verified != 3 {
		t.Errorf("cost %d, want %d; %d signatures verified", block.Cost, cost, verified)
	}
	payload := 0
	for _, set := range d.check.Sets {
		for i := range shred.SetData {
			payload += int(binary.LittleEndian.Uint16(set.Shreds[i][86:])) - 88
		}
	}
	if block.Payload != payload {
		t.Errorf("payload %d, want Σ (size − 88) = %d", block.Payload, payload)
	}

	d.check.Own = true
	if block, err := d.check.Check(); err != nil || !block.Transactions[0].SignatureOK {
		t.Errorf("own block: %v", err)
	}
}

// TestEmptyUserBlock: nothing says that a block must hold a transaction.
func TestEmptyUserBlock(t *testing.T) {
	for _, hashes := range []uint64{0, 2, 100} {
		d := newUserDraft(t, func(p *cluster.Params) { p.UserBlockHashesPerTick = hashes }).end()
		if block, err := d.check.Check(); err != nil || len(block.Transactions) != 0 {
			t.Errorf("%d hashes per tick: %v", hashes, err)
		}
	}
}

// TestUserBlockRules: PROTOCOL section 4, rules (2) to (8). Rule (1), and that
// sets chain and re-encode (2), are checked shred by shred, before.
func TestUserBlockRules(t *testing.T) {
	a, b, c := user(t, 0), user(t, 1), user(t, 2)
	resigned := parse(t, append(append([]byte{1}, make([]byte, 64)...), a.Message()...))
	own := nonceOf(testLane, 0)
	durable := func(i int, account ledger.Pubkey, calls ...ledger.Call) ledger.Transaction {
		return signed(t, testKey("user", i), testHash("nonce", i), append([]ledger.Call{advanceNonce(account)}, calls...)...)
	}
	m1, m2 := a.MessageHash(), b.MessageHash()
	type errs []error
	cases := []struct {
		rule string
		make func(*userDraft)
		errs errs
	}{
		{"2: no set", func(*userDraft) {}, errs{validator.ErrLast}},
		{"2: the last set is missing", func(d *userDraft) { d.ticks(5).flush(false).end(); d.check.Sets = d.check.Sets[:1] }, errs{validator.ErrLast}},
		{"2: a last set in the middle", func(d *userDraft) {
			d.ticks(5).flush(false).end().tamper(0, func(s *shred.Set) { s.Last = true })
		}, errs{validator.ErrLast}},

		// (3) "every batch is exactly one bincode Vec<Entry> of count ≥ 1, no
		// markers, no trailing bytes, every data shred's payload belongs to a
		// batch, the last ends at LAST_SHRED (reference ticks are not checked)"
		{"3: a trailing byte", func(d *userDraft) { d.entry(a).raw(0).flush(false).end() }, errs{validator.ErrUserBatch}},
		{"3: a trailing byte at the end", func(d *userDraft) { d.entry(a).ticks(32).raw(0).end() }, errs{validator.ErrUserBatch}},
		{"3: two vectors in a batch", func(d *userDraft) { d.entry(a).raw().ticks(1).flush(false).end() }, errs{validator.ErrUserBatch}},
		{"3: half an entry", func(d *userDraft) { d.entry(a).raw(); d.batch = d.batch[:len(d.batch)-1]; d.flush(false).end() }, errs{validator.ErrUserBatch}},
		{"3: an empty batch", func(d *userDraft) { d.raw(make([]byte, 8)...).flush(false).end() }, errs{validator.ErrUserBatch}},
		{"3: no batch", func(d *userDraft) { d.flush(false).end() }, errs{validator.ErrUserBatch}},
		{"3: a marker", func(d *userDraft) {
			m := ledger.Marker{Version: ledger.MarkerVersion, Kind: ledger.KindUserBlockEntries, Payload: ledger.AppendUserBlockEntries(nil, []ledger.UserBlockRef{{}})}
			m.NumHashes, m.Hash, _ = d.chain.Record(m.Mixin())
			d.raw(ledger.AppendComponent(nil, &ledger.Component{Marker: &m})...).flush(false).end()
		}, errs{validator.ErrUserBatch}},
		{"3: payload behind the last batch", func(d *userDraft) {
			d.end().tamper(0, func(s *shred.Set) { s.Complete = false })
		}, errs{validator.ErrUserLeftover}},
		{"3: a batch in two parts", func(d *userDraft) {
			d.entry(a).ticks(3).raw()
			all := d.batch
			d.batch = nil
			d.raw(all[:70]...).flush(false).raw(all[70:]...).flush(false)
			d.end().tamper(0, func(s *shred.Set) { s.Complete = false })
		}, nil},
		{"3: batches cut elsewhere", func(d *userDraft) {
			d.entry(a).flush(false).entry(b).flush(false).entry(c).ticks(32).flush(true)
		}, nil},
		// "transactions sanitise, parse their compute budget, repeat no static
		// account, lock ≤ 64"
		{"3: program is the payer", func(d *userDraft) {
			d.entry(message(t, func(m *ledger.Message) { m.Instructions[0].Program = 0 })).end()
		}, errs{validator.ErrUserTx, ledger.TransactionError{Kind: ledger.SanitizeFailure}}},
		{
			"3: a compute budget of two prices", func(d *userDraft) { d.entry(a, user(t, 4, unitPrice(1), unitPrice(2))).end() },
			errs{validator.ErrUserTx, ledger.TransactionError{Kind: ledger.DuplicateInstruction, Index: 1}},
		},
		{"3: a static account twice", func(d *userDraft) {
			d.entry(message(t, func(m *ledger.Message) { m.Keys = append(m.Keys, m.Keys[1]); m.Header[2]++ })).end()
		}, errs{validator.ErrUserTx, ledger.TransactionError{Kind: ledger.AccountLoadedTwice}}},
		{"3: 65 accounts", func(d *userDraft) { d.entry(loading(t, 65)).end() }, errs{validator.ErrUserTx, ledger.TransactionError{Kind: ledger.TooManyAccountLocks}}},
		{"3: 64 accounts", func(d *userDraft) { d.entry(loading(t, 64)).end() }, nil},
		{"3: version 1", func(d *userDraft) {
			d.entry(a).raw()
			d.batch[8+48+1+64] = 0x81
			d.flush(false).end()
		}, errs{validator.ErrUserBatch, ledger.ErrVersion1}},
		{"3: a vote behind other instructions", func(d *userDraft) { d.entry(user(t, 0, memo("x"), voteCall(64))).end() }, errs{validator.ErrUserTx, validator.ErrVoteInBlock}},
		{"3: a vote program's short instruction", func(d *userDraft) {
			d.entry(user(t, 0, ledger.Call{Program: ledger.VoteProgram, Data: []byte{64, 0, 0}})).end()
		}, nil},
		{"3: a vote's tag for another program", func(d *userDraft) {
			d.entry(user(t, 0, ledger.Call{Program: ledger.Pubkey{5}, Data: []byte{64, 0, 0, 0}})).end()
		}, nil},

		// (4) "PoH verifies from the seed": H("tutti userblock" | anchor | u |
		// proposer key), "exactly 32 ticks".
		{"4: another UserBlockSlot's chain", func(d *userDraft) { d.end(); d.check.Ref.U++ }, errs{validator.ErrUserPoH, poh.ErrInvalidEntryHash}},
		{"4: another proposer's chain", func(d *userDraft) { d.end(); d.check.Proposer[0]++ }, errs{validator.ErrUserPoH, poh.ErrInvalidEntryHash}},
		{"4: another anchor's chain", func(d *userDraft) { d.end().tamper(0, func(s *shred.Set) { s.Chained[0]++ }) }, errs{validator.ErrUserPoH, poh.ErrInvalidEntryHash}},
		{"4: a wrong hash", func(d *userDraft) { d.ticks(3); d.entries[2].Hash[0]++; d.end() }, errs{validator.ErrUserPoH, poh.ErrInvalidEntryHash}},
		{"4: a wrong hash of the last tick", func(d *userDraft) { d.ticks(32); d.entries[31].Hash[0]++; d.end() }, errs{validator.ErrUserPoH, poh.ErrInvalidEntryHash}},
		{"4: other transactions than were mixed in", func(d *userDraft) { d.entry(a); d.entries[0].Transactions = []ledger.Transaction{b}; d.end() }, errs{validator.ErrUserPoH, poh.ErrInvalidEntryHash}},
		{"4: a tick of 99 hashes", func(d *userDraft) { d.ticks(3); d.entries[2].NumHashes--; d.end() }, errs{validator.ErrUserPoH, poh.ErrInvalidTickHashCount}},
		{"4: a tick of 2⁶⁴−1 hashes", func(d *userDraft) { d.ticks(3); d.entries[2].NumHashes = 1<<64 - 1; d.end() }, errs{validator.ErrUserPoH, poh.ErrInvalidTickHashCount}},
		{"4: an entry in a tick's last hash", func(d *userDraft) {
			d.chain.Advance(99)
			d.entries = append(d.entries, ledger.Entry{NumHashes: 100, Transactions: []ledger.Transaction{a}})
			d.end()
		}, errs{validator.ErrUserPoH, poh.ErrInvalidTickHashCount}},
		{"4: 31 ticks", func(d *userDraft) { d.ticks(31).flush(true) }, errs{validator.ErrUserPoH}},
		{"4: 31 ticks and an entry", func(d *userDraft) { d.ticks(31).entry(a).flush(true) }, errs{validator.ErrUserPoH, poh.ErrTrailingEntry}},
		{"4: 33 ticks", func(d *userDraft) { d.ticks(33).flush(true) }, errs{validator.ErrUserPoH}},
		{"4: 33 ticks in two batches", func(d *userDraft) { d.ticks(32).flush(false).ticks(1).flush(true) }, errs{validator.ErrUserPoH}},
		{"4: an entry behind the last tick", func(d *userDraft) { d.ticks(32).entry(a).flush(true) }, errs{validator.ErrUserPoH}},
		{"4: an entry before the last tick", func(d *userDraft) { d.ticks(31).entry(a).ticks(1).flush(true) }, nil},

		// (6) "no message hash twice"
		{"6: twice in an entry", func(d *userDraft) { d.entry(a, b, a).end() }, errs{validator.ErrRepeated}},
		{"6: twice in two batches", func(d *userDraft) { d.entry(a).ticks(9).flush(false).entry(b, a).end() }, errs{validator.ErrRepeated}},
		{"6: twice with two signatures", func(d *userDraft) { d.entry(a, resigned).end() }, errs{validator.ErrRepeated}},

		// (7) "bundles well formed (section 8)"
		{"7: a bundle", func(d *userDraft) { d.entry(user(t, 5, ledger.BundleCall([]ledger.Hash{m1, m2})), a, b).end() }, nil},
		{"7: a bundle without its members", func(d *userDraft) { d.entry(user(t, 5, ledger.BundleCall([]ledger.Hash{m1, m2})), a).end() }, errs{ledger.ErrBundle}},
		{"7: its members stand in the next entry", func(d *userDraft) { d.entry(user(t, 5, ledger.BundleCall([]ledger.Hash{m1, m2}))).entry(a, b).end() }, errs{ledger.ErrBundle}},
		{"7: a Bundle instruction anywhere else", func(d *userDraft) { d.entry(c, user(t, 5, ledger.BundleCall([]ledger.Hash{m1, m2})), a, b).end() }, errs{ledger.ErrBundle}},

		// (8) "every transaction's blockhash is one of the 118 newest […] — or it
		// is a durable-nonce transaction (first instruction AdvanceNonce), which
		// may stand only in lane H(nonce account)[0] mod N, once per nonce
		// account."
		{"8: an unknown blockhash", func(d *userDraft) {
			d.entry(a, signed(t, testKey("user", 0), testHash("blockhash", 3), memo("x"))).end()
		}, errs{validator.ErrBlockhash}},
		{"8: durable nonces in their lane", func(d *userDraft) { d.entry(durable(0, own), durable(1, nonceOf(testLane, 1))).end() }, nil},
		{"8: a durable nonce in another lane", func(d *userDraft) { d.entry(durable(0, nonceOf(testLane+1, 0))).end() }, errs{validator.ErrNonceLane}},
		{"8: a nonce account twice", func(d *userDraft) { d.entry(durable(0, own)).ticks(4).entry(durable(0, own, memo("x"))).end() }, errs{validator.ErrNonceTwice}},
		{"8: AdvanceNonce is not first", func(d *userDraft) {
			d.entry(signed(t, testKey("user", 0), testHash("nonce", 0), memo("x"), advanceNonce(own))).end()
		}, errs{validator.ErrBlockhash}},
		{"8: AdvanceNonce with a recent blockhash, in any lane", func(d *userDraft) {
			d.entry(signed(t, testKey("user", 0), testHash("blockhash", 2), advanceNonce(nonceOf(testLane+1, 0)))).end()
		}, nil},
	}
	for _, c := range cases {
		t.Run(c.rule, func(t *testing.T) {
			d := newUserDraft(t, nil)
			c.make(d)
			block, err := d.check.Check()
			if len(c.errs) == 0 && err != nil {
				t.Fatal(err)
			}
			for _, want := range c.errs {
				if !errors.Is(err, want) {
					t.Fatalf("got %v, want %v", err, want)
				}
			}
			if (err == nil) != (block != nil) {
				t.Errorf("block %v with error %v", block, err)
			}
		})
	}
}

// message returns a transaction whose message was changed before it was
// signed.
func message(t testing.TB, change func(*ledger.Message)) ledger.Transaction {
	t.Helper()
	by := testKey("user", 3)
	m := ledger.NewMessage(pub(by), testHash("blockhash", 0), memo("x"))
	change(&m)
	return parse(t, ledger.Sign(m.Append(nil), by))
}

// loading returns a transaction of version 0 that loads n accounts, most of
// them from a lookup table.
func loading(t testing.TB, n int) ledger.Transaction {
	t.Helper()
	by := testKey("user", 0)
	m := ledger.NewMessage(pub(by), testHash("blockhash", 0), memo("x"))
	wire := append([]byte{0x80}, m.Append(nil)...)
	wire = append(wire, 1)
	wire = append(wire, make([]byte, 32)...)
	count := n - len(m.Keys)
	wire = append(wire, 1, 0, byte(count-1))
	for i := range count - 1 {
		wire = append(wire, byte(i+1))
	}
	return parse(t, ledger.Sign(wire, by))
}

// nonceOf returns the i-th nonce account whose lane that is.
func nonceOf(lane ledger.Lane, i int) ledger.Pubkey {
	for n := 0; ; n++ {
		account := ledger.Pubkey(testHash("nonce account", n))
		if ledger.Lane(ledger.Sum(account[:])[0]%4) != lane {
			continue
		}
		if i == 0 {
			return account
		}
		i--
	}
}

// TestVoteTags: rule (3), "none has a Vote instruction with tag 2, 6, 8, 9,
// 12–15 or 64". SIMD-0023 "New Terminology": a UserBlock is "a block full of
// none vote transactions".
func TestVoteTags(t *testing.T) {
	votes := []uint32{2, 6, 8, 9, 12, 13, 14, 15, 64}
	for tag := range uint32(70) {
		d := newUserDraft(t, nil).entry(user(t, 0, voteCall(tag))).end()
		_, err := d.check.Check()
		if slices.Contains(votes, tag) != errors.Is(err, validator.ErrVoteInBlock) || !slices.Contains(votes, tag) && err != nil {
			t.Errorf("tag %d: %v", tag, err)
		}
	}
}

// TestUserBlockLimits: rule (5), "payload, count, FEC sets and Σ cost within
// limits": each at its limit and one beyond.
func TestUserBlockLimits(t *testing.T) {
	build := func() *userDraft {
		d := newUserDraft(t, nil)
		d.entry(user(t, 0), user(t, 1)).ticks(7).flush(false)
		return d.entry(user(t, 2)).ticks(2).flush(false).end()
	}
	d := build()
	block, err := d.check.Check()
	if err != nil {
		t.Fatal(err)
	}
	if len(d.check.Sets) != 3 || len(block.Transactions) != 3 {
		t.Fatalf("%d sets, %d transactions", len(d.check.Sets), len(block.Transactions))
	}
	for _, c := range []struct {
		limit string
		set   func(d *userDraft, less int)
	}{
		{"cost", func(d *userDraft, less int) { d.check.CostMax = block.Cost - uint64(less) }},
		{"payload", func(d *userDraft, less int) { d.params.PayloadMax = block.Payload - less }},
		{"count", func(d *userDraft, less int) { d.params.TransactionsMax = 3 - less }},
		{"FEC sets", func(d *userDraft, less int) { d.params.FECSetsMax = 3 - less }},
	} {
		at, beyond := build(), build()
		c.set(at, 0)
		c.set(beyond, 1)
		if _, err := at.check.Check(); err != nil {
			t.Errorf("%s at its limit: %v", c.limit, err)
		}
		if _, err := beyond.check.Check(); !errors.Is(err, validator.ErrLimits) {
			t.Errorf("%s beyond its limit: %v", c.limit, err)
		}
	}
}

// TestBlockhashAge: rule (8), "one of the 118 newest up to and including the
// anchor's"; "one with a newer blockhash waits in the pool".
func TestBlockhashAge(t *testing.T) {
	var slots []ledger.Slot
	for s := range ledger.Slot(130) {
		slots = append(slots, 2*s) // blocks are counted, not slots
	}
	tip := fork(slots...)
	anchor := tip.Parent.Parent
	for _, c := range []struct {
		rule string
		age  int // 1: the anchor's own
		ok   bool
	}{{"newer than the anchor", 0, false}, {"the anchor's", 1, true}, {"the 118th", 118, true}, {"the 119th", 119, false}} {
		block := anchor
		for range c.age - 1 {
			block = block.Parent
		}
		if c.age == 0 {
			block = tip.Parent
		}
		d := newUserDraft(t, nil)
		d.check.Blockhashes = anchor.Blockhashes(validator.BlockhashAge)
		d.entry(signed(t, testKey("user", 0), block.LastPoH, memo("x"))).end()
		_, err := d.check.Check()
		if c.ok && err != nil || !c.ok && !errors.Is(err, validator.ErrBlockhash) {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
}

// TestNonceLane: rule (8), "lane H(nonce account)[0] mod N".
func TestNonceLane(t *testing.T) {
	for n := 1; n <= ledger.LanesMax; n++ {
		account := ledger.Pubkey(testHash("account", n))
		want := int(ledger.Sum(account[:])[0]) % n
		if got := validator.NonceLane(account, n); int(got) != want {
			t.Errorf("N = %d: lane %d, want %d", n, got, want)
		}
	}
}

// TestBundleRoles: what execution is told of a bundle.
func TestBundleRoles(t *testing.T) {
	var members []ledger.Transaction
	var hashes []ledger.Hash
	for i := range 5 {
		members = append(members, user(t, i))
		hashes = append(hashes, members[i].MessageHash())
	}
	d := newUserDraft(t, nil).entry(user(t, 10))
	d.entry(append([]ledger.Transaction{user(t, 11, ledger.BundleCall(hashes))}, members...)...)
	d.entry(user(t, 12)).end()
	block, err := d.check.Check()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []ledger.BundleRole{0, ledger.Bundler, ledger.Member, ledger.Member, ledger.Member, ledger.Member, ledger.Member, 0} {
		size := uint8(0)
		if want == ledger.Bundler {
			size = 5
		}
		if tx := &block.Transactions[i]; tx.Role != want || tx.BundleSize != size {
			t.Errorf("transaction %d: role %d, size %d", i, tx.Role, tx.BundleSize)
		}
	}
}

// TestLowPowerUserBlock: with userblock_hashes_per_tick = 0 every entry has
// exactly one hash.
func TestLowPowerUserBlock(t *testing.T) {
	low := func(p *cluster.Params) { p.UserBlockHashesPerTick = 0 }
	d := newUserDraft(t, low).entry(user(t, 0)).entry(user(t, 1)).ticks(1).entry(user(t, 2)).end()
	block, err := d.check.Check()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint64{1, 2, 4} {
		if got := block.Transactions[i].Position; got != want {
			t.Errorf("transaction %d at %d, want %d", i, got, want)
		}
	}
	for _, n := range []uint64{0, 2} {
		d := newUserDraft(t, low).ticks(1)
		d.entries[0].NumHashes = n
		if _, err := d.end().check.Check(); !errors.Is(err, poh.ErrInvalidTickHashCount) {
			t.Errorf("a tick of %d hashes: %v", n, err)
		}
	}
}
