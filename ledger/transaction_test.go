package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/zeebo/blake3"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// privateKey returns the i-th key of the tests.
func privateKey(i int) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	binary.LittleEndian.PutUint64(seed, uint64(i))
	return ed25519.NewKeyFromSeed(seed)
}

func pubkey(k ed25519.PrivateKey) ledger.Pubkey { return ledger.Pubkey(k.Public().(ed25519.PublicKey)) }

func key(b byte) ledger.Pubkey { return ledger.Pubkey{31: b, 0: 0xaa} }

// transferWire returns a signed transfer of 215 bytes, the commonest
// transaction there is.
func transferWire() []byte {
	from := privateKey(1)
	m := ledger.TransferMessage(pubkey(from), key(2), 5, 0, 0, ledger.Hash{3})
	return ledger.Sign(m.Append(nil), from)
}

func parse(t testing.TB, wire []byte) ledger.Transaction {
	t.Helper()
	tx, err := ledger.ParseTransaction(wire)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// parseMessage returns the transaction of calls paid by key 1, with empty
// signatures: nothing here verifies them.
func parseMessage(t testing.TB, m ledger.Message) ledger.Transaction {
	t.Helper()
	wire := ledger.AppendCompactU16(nil, int(m.Header[0]))
	wire = append(wire, make([]byte, 64*int(m.Header[0]))...)
	return parse(t, m.Append(wire))
}

// randomSolanaTransaction builds a transaction with solana-go: legacy, or v0
// with lookup tables.
func randomSolanaTransaction(t testing.TB, rng *rand.Rand) (*solana.Transaction, bool) {
	t.Helper()
	random := func() (k solana.PublicKey) {
		for i := range k {
			k[i] = byte(rng.Uint32())
		}
		return k
	}
	v0 := rng.IntN(2) == 0
	var pool []solana.PublicKey
	for range 1 + rng.IntN(8) {
		pool = append(pool, random())
	}
	opts := []solana.TransactionOption{solana.TransactionPayer(random())}
	if v0 {
		tables := map[solana.PublicKey]solana.PublicKeySlice{}
		for range 1 + rng.IntN(3) {
			var table solana.PublicKeySlice
			for range 1 + rng.IntN(40) {
				table = append(table, random())
			}
			tables[random()] = table
			pool = append(pool, table...)
		}
		opts = append(opts, solana.TransactionAddressTables(tables))
	}
	var calls []solana.Instruction
	for range 1 + rng.IntN(3) {
		var metas solana.AccountMetaSlice
		for range rng.IntN(6) {
			metas = append(metas, solana.NewAccountMeta(pool[rng.IntN(len(pool))], rng.IntN(2) == 0, rng.IntN(8) == 0))
		}
		data := make([]byte, rng.IntN(140))
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		calls = append(calls, solana.NewInstruction(random(), metas, data))
	}
	tx, err := solana.NewTransaction(calls, solana.Hash(random()), opts...)
	if err != nil {
		t.Fatal(err)
	}
	for range tx.Message.Header.NumRequiredSignatures {
		var s solana.Signature
		for i := range s {
			s[i] = byte(rng.Uint32())
		}
		tx.Signatures = append(tx.Signatures, s)
	}
	return tx, tx.Message.IsVersioned()
}

// TestParseWhatSolanaGoBuilds reads transactions of an independent encoder
// and compares every field.
func TestParseWhatSolanaGoBuilds(t *testing.T) {
	rng := testkit.Rand(t)
	versions := map[int]int{}
	for range 3000 {
		want, v0 := randomSolanaTransaction(t, rng)
		wire, err := want.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ledger.ParseTransaction(wire)
		if len(wire) > ledger.TransactionMax {
			if !errors.Is(err, ledger.ErrTooLarge) {
				t.Fatalf("%d bytes: %v", len(wire), err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%x: %v", wire, err)
		}
		versions[got.Version()]++
		if (got.Version() == 0) != v0 {
			t.Fatalf("version %d", got.Version())
		}
		// Decoded again, its keys are the static ones alone.
		if want, err = solana.TransactionFromBytes(wire); err != nil {
			t.Fatal(err)
		}
		compare(t, &got, want, wire)

		// The same transaction with more behind it.
		again, n, err := ledger.ParseTransactionPrefix(append(bytes.Clone(wire), wire...))
		if err != nil || n != len(wire) || !bytes.Equal(again.Raw(), wire) {
			t.Fatalf("prefix: %d bytes, %v", n, err)
		}
		if _, err := ledger.ParseTransaction(append(bytes.Clone(wire), 0)); err == nil {
			t.Fatal("trailing byte taken")
		}
		for range 5 {
			if _, err := ledger.ParseTransaction(wire[:rng.IntN(len(wire))]); err == nil {
				t.Fatal("truncated transaction taken")
			}
		}
	}
	if versions[0] < 100 || versions[-1] < 100 {
		t.Fatalf("too few of a version: %v", versions)
	}
}

func compare(t *testing.T, got *ledger.Transaction, want *solana.Transaction, wire []byte) {
	t.Helper()
	equal := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Fatalf("%s differ: %x", what, wire)
		}
	}
	m := &want.Message
	message, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	equal("raw bytes", bytes.Equal(got.Raw(), wire))
	equal("messages", bytes.Equal(got.Message(), message))
	equal("numbers of signatures", got.NumSignatures() == len(want.Signatures))
	for i, s := range want.Signatures {
		equal("signatures", got.Signature(i) == ledger.Signature(s))
	}
	static := m.AccountKeys
	equal("numbers of keys", got.NumKeys() == len(static))
	for i, k := range static {
		equal("keys", got.Key(i) == ledger.Pubkey(k))
		h := m.Header
		signer := i < int(h.NumRequiredSignatures)
		writable := i < int(h.NumRequiredSignatures-h.NumReadonlySignedAccounts) ||
			!signer && i < len(static)-int(h.NumReadonlyUnsignedAccounts)
		equal("signers", got.IsSigner(i) == signer)
		equal("writable", got.IsWritable(i) == writable)
	}
	equal("blockhashes", got.RecentBlockhash() == ledger.Hash(m.RecentBlockhash))
	equal("numbers of instructions", got.NumInstructions() == len(m.Instructions))
	for i, in := range got.Instructions() {
		w := m.Instructions[i]
		equal("programs", uint16(in.Program) == w.ProgramIDIndex)
		equal("data", bytes.Equal(in.Data, w.Data))
		equal("numbers of accounts", len(in.Accounts) == len(w.Accounts))
		for j, a := range w.Accounts {
			equal("accounts", uint16(in.Accounts[j]) == a)
		}
	}
	writable, readonly := 0, 0
	equal("numbers of lookups", got.NumLookups() == len(m.AddressTableLookups))
	for i, l := range got.Lookups() {
		w := m.AddressTableLookups[i]
		equal("tables", l.Table == ledger.Pubkey(w.AccountKey))
		equal("writable lookups", bytes.Equal(l.Writable, w.WritableIndexes))
		equal("readonly lookups", bytes.Equal(l.Readonly, w.ReadonlyIndexes))
		writable += len(l.Writable)
		readonly += len(l.Readonly)
	}
	equal("lookup counts", got.NumLookupKeys() == writable+readonly)
	equal("sanitising", (got.Sanitize() == nil) == (want.Sanitize() == nil))
	hash := blake3.Sum256(append([]byte("solana-tx-message-v1"), message...))
	equal("message hashes", got.MessageHash() == hash)
}

// TestSolanaGoReadsWhatWeBuild is the other way round.
func TestSolanaGoReadsWhatWeBuild(t *testing.T) {
	from := privateKey(1)
	m := ledger.TransferMessage(pubkey(from), key(2), 77, 1000, 200_000, ledger.Hash{9})
	wire := ledger.Sign(m.Append(nil), from)
	if !bytes.Equal(wire[1:65], ed25519.Sign(from, m.Append(nil))) {
		t.Error("not the signature of crypto/ed25519")
	}
	tx, err := solana.TransactionFromBytes(wire)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.VerifySignatures(); err != nil {
		t.Fatal(err)
	}
	if err := tx.Sanitize(); err != nil {
		t.Fatal(err)
	}
	last := tx.Message.Instructions[2]
	metas, err := last.ResolveInstructionAccounts(&tx.Message)
	if err != nil {
		t.Fatal(err)
	}
	if len(metas) != 2 || ledger.Pubkey(metas[1].PublicKey) != key(2) || !metas[0].IsSigner || !metas[1].IsWritable || metas[1].IsSigner {
		t.Errorf("accounts %v", metas)
	}
	if want := append([]byte{2, 0, 0, 0, 77}, make([]byte, 7)...); !bytes.Equal(last.Data, want) {
		t.Errorf("data %x", last.Data)
	}
	budget, err := func() (ledger.ComputeBudget, error) { tx := parse(t, wire); return tx.ComputeBudget() }()
	if err != nil || budget.UnitLimit != 200_000 || budget.UnitPrice != 1000 {
		t.Errorf("budget %+v, %v", budget, err)
	}
	if n := len(transferWire()); n != 215 {
		t.Errorf("a plain transfer takes %d bytes", n)
	}
	// To oneself: the key must stand there once.
	m = ledger.TransferMessage(pubkey(from), pubkey(from), 1, 0, 0, ledger.Hash{})
	self := parse(t, ledger.Sign(m.Append(nil), from))
	if err := errors.Join(self.Sanitize(), self.LocksOK()); err != nil || self.NumKeys() != 2 {
		t.Errorf("transfer to oneself: %d keys, %v", self.NumKeys(), err)
	}
}

func TestParseTransactionRefuses(t *testing.T) {
	good := transferWire()
	at := func(i int, b ...byte) []byte { return append(append(bytes.Clone(good[:i]), b...), good[i+1:]...) }
	const message = 1 + 64
	const numKeys = message + 3
	cases := []struct {
		name string
		wire []byte
		want error
	}{
		{"nothing", nil, ledger.ErrTruncated},
		{"one byte", []byte{1}, ledger.ErrTruncated},
		{"trailing byte", append(bytes.Clone(good), 0), ledger.ErrTrailing},
		{"too long", append(bytes.Clone(good), make([]byte, ledger.TransactionMax)...), ledger.ErrTooLarge},
		{"version 1, byte in front", append([]byte{0x81}, good...), ledger.ErrVersion1},
		{"version 1, one byte", []byte{0x81}, ledger.ErrVersion1},
		{"version 1, byte in the message", at(message, 0x81), ledger.ErrVersion1},
		{"version 2", at(message, 0x82), ledger.ErrVersion},
		{"off-chain message", at(message, 0xff), ledger.ErrVersion},
		{"128 signatures", append([]byte{0x80, 1}, make([]byte, 1200)...), ledger.ErrVersion},
		{"signatures past the end", at(0, 4), ledger.ErrTruncated},
		{"keys past the end", at(numKeys, 6), ledger.ErrTruncated},
		{"keys in two bytes", at(numKeys, 0x83, 0), ledger.ErrEncoding},
		{"keys in four bytes", at(numKeys, 0x80, 0x80, 0x80), ledger.ErrEncoding},
		{"70000 keys", at(numKeys, 0xf0, 0xa2, 4), ledger.ErrEncoding},
	}
	for _, c := range cases {
		if _, err := ledger.ParseTransaction(c.wire); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for n := range good {
		if _, _, err := ledger.ParseTransactionPrefix(good[:n]); !errors.Is(err, ledger.ErrTruncated) {
			t.Errorf("first %d bytes: %v", n, err)
		}
	}
	// One instruction of the largest size that fits, and one byte more.
	sized := func(n int) []byte {
		m := ledger.NewMessage(key(1), ledger.Hash{}, ledger.Call{Program: key(2), Data: make([]byte, n)})
		return ledger.Sign(m.Append(nil), privateKey(1))
	}
	fit := ledger.TransactionMax - len(sized(0)) - 1
	if _, err := ledger.ParseTransaction(sized(fit)); err != nil {
		t.Errorf("%d bytes: %v", len(sized(fit)), err)
	}
	if _, err := ledger.ParseTransaction(sized(fit + 1)); !errors.Is(err, ledger.ErrTooLarge) {
		t.Errorf("%d bytes: %v", len(sized(fit+1)), err)
	}
}

func TestSanitize(t *testing.T) {
	base := func() ledger.Message {
		return ledger.Message{
			Header:       [3]byte{1, 0, 1},
			Keys:         []ledger.Pubkey{key(1), key(2), key(3)},
			Instructions: []ledger.Instruction{{Program: 2, Accounts: []byte{0, 1}}},
		}
	}
	cases := []struct {
		name   string
		change func(*ledger.Message)
		ok     bool
	}{
		{"as it is", func(*ledger.Message) {}, true},
		{"no instruction", func(m *ledger.Message) { m.Instructions = nil }, true},
		{"no signature", func(m *ledger.Message) { m.Header[0] = 0 }, false},
		{"read-only payer", func(m *ledger.Message) { m.Header[1] = 1 }, false},
		{"signers and read-only keys overlap", func(m *ledger.Message) { m.Header[2] = 3 }, false},
		{"signers and read-only keys touch", func(m *ledger.Message) { m.Header[2] = 2 }, true},
		{"payer is the program", func(m *ledger.Message) { m.Instructions[0].Program = 0 }, false},
		{"program past the keys", func(m *ledger.Message) { m.Instructions[0].Program = 3 }, false},
		{"account past the keys", func(m *ledger.Message) { m.Instructions[0].Accounts[1] = 3 }, false},
		{"no key", func(m *ledger.Message) { *m = ledger.Message{} }, false},
	}
	for _, c := range cases {
		m := base()
		c.change(&m)
		tx := parseMessage(t, m)
		err := tx.Sanitize()
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && !errors.Is(err, ledger.TransactionError{Kind: ledger.SanitizeFailure}) {
			t.Errorf("%s: %v is no SanitizeFailure", c.name, err)
		}
	}
	m := base()
	tx := parse(t, m.Append(make([]byte, 1)))
	if tx.Sanitize() == nil {
		t.Error("fewer signatures than required pass")
	}
	tx = parse(t, m.Append(append([]byte{2}, make([]byte, 128)...)))
	if tx.Sanitize() == nil {
		t.Error("more signatures than required pass")
	}
}

// v0Wire returns a version 0 transaction of one instruction on account 3,
// with two static keys and the given lookups behind it.
func v0Wire(lookups ...ledger.Lookup) []byte {
	m := ledger.Message{
		Header:       [3]byte{1, 0, 1},
		Keys:         []ledger.Pubkey{key(1), key(2)},
		Instructions: []ledger.Instruction{{Program: 1, Accounts: []byte{0, 3}}},
	}
	b := append([]byte{1}, make([]byte, 64)...)
	b = m.Append(append(b, 0x80))
	b = ledger.AppendCompactU16(b, len(lookups))
	for _, l := range lookups {
		b = append(b, l.Table[:]...)
		b = append(ledger.AppendCompactU16(b, len(l.Writable)), l.Writable...)
		b = append(ledger.AppendCompactU16(b, len(l.Readonly)), l.Readonly...)
	}
	return b
}

func TestSanitizeLookups(t *testing.T) {
	many := make([]byte, 255)
	cases := []struct {
		name    string
		lookups []ledger.Lookup
		ok      bool
		locks   bool
	}{
		{"account 3 is looked up", []ledger.Lookup{{Writable: []byte{7}, Readonly: []byte{8}}}, true, true},
		{"account 3 does not exist", []ledger.Lookup{{Writable: []byte{7}}}, false, true},
		{"no lookup", nil, false, true},
		{"lookup of nothing", []ledger.Lookup{{Writable: []byte{7, 8}}, {}}, false, true},
		{"256 keys", []ledger.Lookup{{Writable: many[:254]}}, true, false},
		{"257 keys", []ledger.Lookup{{Readonly: many}}, false, false},
		{"64 keys", []ledger.Lookup{{Readonly: many[:40]}, {Writable: many[:22]}}, true, true},
		{"65 keys", []ledger.Lookup{{Readonly: many[:40]}, {Writable: many[:23]}}, true, false},
	}
	for _, c := range cases {
		tx := parse(t, v0Wire(c.lookups...))
		if err := tx.Sanitize(); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := tx.LocksOK(); (err == nil) != c.locks {
			t.Errorf("%s: locks: %v", c.name, err)
		}
	}
	// A program may not come from a table.
	wire := v0Wire(ledger.Lookup{Writable: []byte{1, 2}})
	tx := parse(t, wire)
	program := bytes.Index(wire, []byte{1, 1, 2, 0, 3, 0}) + 1
	wire[program] = 2
	if tx.Sanitize() == nil {
		t.Error("program from a lookup table passes")
	}
}

func TestLocksOKFindsRepeatedKeys(t *testing.T) {
	tx := parseMessage(t, ledger.Message{
		Header: [3]byte{1, 0, 0},
		Keys:   []ledger.Pubkey{key(1), key(2), key(3), key(2)},
	})
	if err := tx.LocksOK(); err != (ledger.TransactionError{Kind: ledger.AccountLoadedTwice}) {
		t.Error(err)
	}
	wide := parse(t, v0Wire(ledger.Lookup{Writable: make([]byte, 63)}))
	if err := wide.LocksOK(); err != (ledger.TransactionError{Kind: ledger.TooManyAccountLocks}) {
		t.Error(err)
	}
}

func TestDurableNonce(t *testing.T) {
	nonce := ledger.AccountMeta{Key: key(9), Writable: true}
	advance := ledger.Call{
		Program:  ledger.SystemProgram,
		Accounts: []ledger.AccountMeta{nonce, {Key: key(1), Signer: true}},
		Data:     []byte{4, 0, 0, 0},
	}
	with := func(change func(*ledger.Call)) ledger.Call { c := advance; change(&c); return c }
	other := ledger.Call{Program: key(8)}
	cases := []struct {
		name  string
		calls []ledger.Call
		want  bool
	}{
		{"first", []ledger.Call{advance, other}, true},
		{"second", []ledger.Call{other, advance}, false},
		{"none", nil, false},
		{"longer data", []ledger.Call{with(func(c *ledger.Call) { c.Data = []byte{4, 0, 0, 0, 1} })}, true},
		{"shorter data", []ledger.Call{with(func(c *ledger.Call) { c.Data = []byte{4, 0, 0} })}, false},
		{"other tag", []ledger.Call{with(func(c *ledger.Call) { c.Data = []byte{4, 1, 0, 0} })}, false},
		{"other program", []ledger.Call{with(func(c *ledger.Call) { c.Program = key(7) })}, false},
		{"no account", []ledger.Call{with(func(c *ledger.Call) { c.Accounts = nil })}, false},
		{"read-only account", []ledger.Call{with(func(c *ledger.Call) {
			c.Accounts = []ledger.AccountMeta{{Key: key(9)}}
		})}, false},
	}
	for _, c := range cases {
		tx := parseMessage(t, ledger.NewMessage(key(1), ledger.Hash{}, c.calls...))
		got, ok := tx.DurableNonce()
		if ok != c.want || ok && got != key(9) {
			t.Errorf("%s: %v, %v", c.name, got, ok)
		}
	}
}

func TestHasVote(t *testing.T) {
	votes := map[uint32]bool{2: true, 6: true, 8: true, 9: true, 12: true, 13: true, 14: true, 15: true, 64: true}
	for tag := range uint32(80) {
		call := ledger.Call{Program: ledger.VoteProgram, Data: binary.LittleEndian.AppendUint32(nil, tag)}
		tx := parseMessage(t, ledger.NewMessage(key(1), ledger.Hash{}, ledger.Call{Program: key(8)}, call))
		if got := tx.HasVote(); got != votes[tag] {
			t.Errorf("tag %d: %v", tag, got)
		}
		call.Program = ledger.SystemProgram
		tx = parseMessage(t, ledger.NewMessage(key(1), ledger.Hash{}, call))
		if tx.HasVote() {
			t.Errorf("tag %d of another program is a vote", tag)
		}
	}
	tx := parseMessage(t, ledger.NewMessage(key(1), ledger.Hash{}, ledger.Call{Program: ledger.VoteProgram, Data: []byte{2, 0}}))
	if tx.HasVote() {
		t.Error("two bytes are a vote")
	}
}

func TestNewMessageGroupsKeys(t *testing.T) {
	m := ledger.NewMessage(key(1), ledger.Hash{5},
		ledger.Call{Program: key(20), Accounts: []ledger.AccountMeta{{Key: key(2)}, {Key: key(3), Signer: true}}},
		ledger.Call{Program: key(20), Accounts: []ledger.AccountMeta{
			{Key: key(4), Writable: true},
			{Key: key(5), Signer: true, Writable: true},
			{Key: key(2), Writable: true},
			{Key: key(1)},
		}},
	)
	want := []ledger.Pubkey{key(1), key(5), key(3), key(2), key(4), key(20)}
	if len(m.Keys) != len(want) {
		t.Fatalf("keys %v", m.Keys)
	}
	for i := range want {
		if m.Keys[i] != want[i] {
			t.Errorf("key %d is %v", i, m.Keys[i])
		}
	}
	if m.Header != [3]byte{3, 1, 1} {
		t.Errorf("header %v", m.Header)
	}
	if got := m.Instructions[1]; got.Program != 5 || !bytes.Equal(got.Accounts, []byte{4, 1, 3, 0}) {
		t.Errorf("instruction %v", got)
	}
	tx := parseMessage(t, m)
	if err := errors.Join(tx.Sanitize(), tx.LocksOK()); err != nil {
		t.Error(err)
	}
}

func TestIndexOutOfRangePanics(t *testing.T) {
	tx := parse(t, transferWire())
	for name, f := range map[string]func(){
		"key":       func() { tx.Key(3) },
		"signature": func() { tx.Signature(1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	wire := transferWire()
	sum := 0
	if n := testing.AllocsPerRun(100, func() {
		tx, err := ledger.ParseTransaction(wire)
		if err != nil || tx.Sanitize() != nil || tx.LocksOK() != nil {
			t.Fatal("refused")
		}
		budget, _ := tx.ComputeBudget()
		sum += int(tx.Cost(budget)) + int(tx.MessageHash()[0])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// naiveTransaction returns how many bytes the transaction at the front of b
// takes, and its keys and instructions, read as FORMATS section 1 tells it.
func naiveTransaction(b []byte) (n int, keys []ledger.Pubkey, instructions []ledger.Instruction, lookups []ledger.Lookup, ok bool) {
	rest := b[:min(len(b), ledger.TransactionMax)]
	defer func() { ok = recover() == nil && ok }() // an index out of range: too short
	take := func(n int) []byte {
		out := rest[:n:n]
		rest = rest[n:]
		return out
	}
	bad := false
	compact := func() (n int) {
		for shift := 0; shift < 21; shift += 7 {
			c := int(take(1)[0])
			n |= c & 0x7f << shift
			if c < 0x80 {
				bad = bad || c == 0 && shift > 0 || n > 0xffff
				return n
			}
		}
		bad = true
		return 0
	}
	signatures := int(take(1)[0])
	take(64 * signatures)
	versioned := rest[0] == 0x80
	if versioned {
		take(1)
	}
	if first := take(3)[0]; signatures >= 0x80 || first >= 0x80 && !versioned {
		return 0, nil, nil, nil, false
	}
	for range compact() {
		keys = append(keys, ledger.Pubkey(take(32)))
	}
	take(32)
	for range compact() {
		in := ledger.Instruction{Program: take(1)[0]}
		in.Accounts = take(compact())
		in.Data = take(compact())
		instructions = append(instructions, in)
	}
	if versioned {
		for range compact() {
			l := ledger.Lookup{Table: ledger.Pubkey(take(32))}
			l.Writable = take(compact())
			l.Readonly = take(compact())
			lookups = append(lookups, l)
		}
	}
	return min(len(b), ledger.TransactionMax) - len(rest), keys, instructions, lookups, !bad
}

// FuzzTransaction: no bytes make ParseTransaction panic, it reads what a naive
// decoder reads, and its parts make up the bytes again. Nothing that a
// sanitised transaction says panics either.
func FuzzTransaction(f *testing.F) {
	f.Add(transferWire())
	f.Add(v0Wire(ledger.Lookup{Writable: []byte{7}, Readonly: []byte{8}}))
	f.Add(append(transferWire(), transferWire()...))
	f.Add(append([]byte{0x81}, transferWire()...))
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			tx, n, err := ledger.ParseTransactionPrefix(b)
			if err != nil {
				return nil
			}
			return func() []byte { return append(reserialise(&tx), b[n:]...) }
		})
		tx, n, err := ledger.ParseTransactionPrefix(b)
		size, keys, instructions, lookups, ok := naiveTransaction(b)
		if ok != (err == nil) {
			t.Fatalf("parsed: %v; naively: %t", err, ok)
		}
		if err != nil {
			return
		}
		if n != size || tx.NumKeys() != len(keys) || tx.NumInstructions() != len(instructions) || tx.NumLookups() != len(lookups) {
			t.Fatalf("%d bytes, %d keys, %d instructions, %d lookups, naively %d, %v, %v, %v",
				n, tx.NumKeys(), tx.NumInstructions(), tx.NumLookups(), size, keys, instructions, lookups)
		}
		for i, in := range tx.Instructions() {
			if want := instructions[i]; in.Program != want.Program || !bytes.Equal(in.Accounts, want.Accounts) || !bytes.Equal(in.Data, want.Data) {
				t.Fatalf("instruction %d: %+v, naively %+v", i, in, want)
			}
		}
		if exact, err := ledger.ParseTransaction(b[:n]); err != nil || exact.MessageHash() != tx.MessageHash() {
			t.Fatal(err)
		}
		if tx.Sanitize() != nil {
			return
		}
		_ = tx.LocksOK()
		tx.DurableNonce()
		tx.HasVote()
		tx.RefusesBundle()
		tx.BundleInstruction()
		_, _ = ledger.ParseVote(&tx)
		if tx.NumWritable() < 1 || tx.BaseFee() < ledger.FeePerSignature {
			t.Fatalf("%d writable accounts, fee %d", tx.NumWritable(), tx.BaseFee())
		}
		if budget, err := tx.ComputeBudget(); err == nil {
			tx.Cost(budget)
			budget.PriorityFee()
		} else if !errors.As(err, new(ledger.TransactionError)) {
			t.Fatalf("%v is no TransactionError", err)
		}
	})
}

// reserialise writes a transaction from its parts, without Raw.
func reserialise(t *ledger.Transaction) []byte {
	b := ledger.AppendCompactU16(nil, t.NumSignatures())
	for i := range t.NumSignatures() {
		s := t.Signature(i)
		b = append(b, s[:]...)
	}
	if t.Version() == 0 {
		b = append(b, 0x80)
	}
	m := ledger.Message{
		Header: [3]byte{
			byte(t.NumRequiredSignatures()), byte(t.NumReadonlySigned()), byte(t.NumReadonlyUnsigned()),
		},
		Blockhash: t.RecentBlockhash(),
	}
	for i := range t.NumKeys() {
		m.Keys = append(m.Keys, t.Key(i))
	}
	for _, in := range t.Instructions() {
		m.Instructions = append(m.Instructions, in)
	}
	b = m.Append(b)
	if t.Version() < 0 {
		return b
	}
	b = ledger.AppendCompactU16(b, t.NumLookups())
	for _, l := range t.Lookups() {
		b = append(b, l.Table[:]...)
		b = append(ledger.AppendCompactU16(b, len(l.Writable)), l.Writable...)
		b = append(ledger.AppendCompactU16(b, len(l.Readonly)), l.Readonly...)
	}
	return b
}

func BenchmarkParseTransfer(b *testing.B) {
	wire := transferWire()
	b.ReportAllocs()
	cpu := testkit.StartCPU()
	for b.Loop() {
		if _, err := ledger.ParseTransaction(wire); err != nil {
			b.Fatal(err)
		}
	}
	cpu.Report(b, "tx", 1)
}

func BenchmarkSanitizeTransfer(b *testing.B) {
	tx := parse(b, transferWire())
	b.ReportAllocs()
	for b.Loop() {
		if err := tx.Sanitize(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMessageHash(b *testing.B) {
	tx := parse(b, transferWire())
	b.ReportAllocs()
	cpu := testkit.StartCPU()
	for b.Loop() {
		tx.MessageHash()
	}
	cpu.Report(b, "tx", 1)
}
