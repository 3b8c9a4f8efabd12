package program

import (
	"encoding/binary"
	"errors"
	"testing"

	"tutti/cluster"
	"tutti/ledger"
)

var rentOfNonce = cluster.RentExemptMinimum(NonceLength)

// nonceContext has a nonce account of alice in the given state, the sysvars,
// and what context has.
func nonceContext(data []byte, lamports ledger.Lamports) *Context {
	c := context()
	c.Load(key(8), Account{Lamports: lamports, Data: data}, true, true)
	c.Load(cluster.SysvarRecentBlockhashes, Account{Lamports: 1}, false, false)
	c.Load(cluster.SysvarRent, Account{Lamports: 1}, false, false)
	return c
}

func TestNonceInstructions(t *testing.T) {
	account, hashes, rent := key(8), cluster.SysvarRecentBlockhashes, cluster.SysvarRent
	fresh := make([]byte, NonceLength)
	state := func(change func(*Nonce)) []byte {
		n := Nonce{Authority: alice, Value: ledger.Hash{1}, LamportsPerSignature: 5000}
		change(&n)
		return n.Append(nil)
	}
	held := state(func(*Nonce) {})
	next := NextNonce(ledger.Hash{9})
	kind := func(k ledger.InstructionErrorKind) error { return fail(k) }
	type args = []any
	type keys = []ledger.Pubkey
	for _, c := range []struct {
		name     string
		data     []byte
		lamports ledger.Lamports
		tag      uint32
		args     args
		keys     keys
		want     error
		after    []byte // the data then
	}{
		{
			"initialize", fresh, rentOfNonce, initializeNonce,
			args{alice},
			keys{account, hashes, rent},
			nil,
			state(func(n *Nonce) { n.Value = next }),
		},
		{"initialize again", held, rentOfNonce, initializeNonce, args{alice}, keys{account, hashes, rent}, kind(ledger.InstructionInvalidAccountData), nil},
		{"initialize without rent", fresh, rentOfNonce - 1, initializeNonce, args{alice}, keys{account, hashes, rent}, kind(ledger.InstructionInsufficientFunds), nil},
		{"initialize without sysvar", fresh, rentOfNonce, initializeNonce, args{alice}, keys{account, hashes, hashes}, kind(ledger.InstructionInvalidArgument), nil},
		{"initialize with too few accounts", fresh, rentOfNonce, initializeNonce, args{alice}, keys{account, hashes}, kind(ledger.InstructionMissingAccount), nil},
		{"advance", held, rentOfNonce, advanceNonce, nil, keys{account, hashes, alice}, nil, state(func(n *Nonce) { n.Value = next })},
		{"advance unsigned", held, rentOfNonce, advanceNonce, nil, keys{account, hashes}, kind(ledger.InstructionMissingRequiredSignature), nil},
		{"advance twice", state(func(n *Nonce) { n.Value = next }), rentOfNonce, advanceNonce, nil, keys{account, hashes, alice}, ledger.CustomError(nonceBlockhashNotExpired), nil},
		{"advance nothing", fresh, rentOfNonce, advanceNonce, nil, keys{account, hashes, alice}, kind(ledger.InstructionInvalidAccountData), nil},
		{
			"advance makes current", state(func(n *Nonce) { n.Legacy = true }), rentOfNonce, advanceNonce, nil,
			keys{account, hashes, alice},
			nil,
			state(func(n *Nonce) { n.Value = next }),
		},
		{"authorize", held, rentOfNonce, authorizeNonce, args{bob}, keys{account, alice}, nil, state(func(n *Nonce) { n.Authority = bob })},
		{"authorize unsigned", held, rentOfNonce, authorizeNonce, args{bob}, keys{account}, kind(ledger.InstructionMissingRequiredSignature), nil},
		{
			"authorize keeps legacy", state(func(n *Nonce) { n.Legacy = true }), rentOfNonce, authorizeNonce,
			args{bob},
			keys{account, alice},
			nil,
			state(func(n *Nonce) { n.Legacy, n.Authority = true, bob }),
		},
		{
			"upgrade", state(func(n *Nonce) { n.Legacy = true }), rentOfNonce, upgradeNonce, nil,
			keys{account},
			nil,
			state(func(n *Nonce) { n.Value = NextNonce(ledger.Hash{1}) }),
		},
		{"upgrade what is current", held, rentOfNonce, upgradeNonce, nil, keys{account}, kind(ledger.InstructionInvalidArgument), nil},
		{"upgrade another's", held, rentOfNonce, upgradeNonce, nil, keys{owned}, kind(ledger.InstructionInvalidAccountOwner), nil},
		{"withdraw", held, rentOfNonce + 7, withdrawNonce, args{7}, keys{account, bob, hashes, rent, alice}, nil, held},
		{"withdraw rent", held, rentOfNonce + 7, withdrawNonce, args{8}, keys{account, bob, hashes, rent, alice}, kind(ledger.InstructionInsufficientFunds), nil},
		{
			"withdraw all", held, rentOfNonce, withdrawNonce,
			args{int(rentOfNonce)},
			keys{account, bob, hashes, rent, alice},
			nil,
			append(binary.LittleEndian.AppendUint64(nil, 1), held[8:]...),
		},
		{"withdraw unsigned", held, rentOfNonce + 7, withdrawNonce, args{7}, keys{account, bob, hashes, rent}, kind(ledger.InstructionMissingRequiredSignature), nil},
		{"withdraw all too early", state(func(n *Nonce) { n.Value = next }), rentOfNonce, withdrawNonce, args{int(rentOfNonce)}, keys{account, bob, hashes, rent, alice}, ledger.CustomError(nonceBlockhashNotExpired), nil},
		{"withdraw from a fresh one", fresh, rentOfNonce, withdrawNonce, args{5}, keys{account, bob, hashes, rent}, nil, fresh},
		{"withdraw too much from a fresh one", fresh, rentOfNonce, withdrawNonce, args{int(rentOfNonce) + 1}, keys{account, bob, hashes, rent}, kind(ledger.InstructionInsufficientFunds), nil},
		{"short data", held[:79], rentOfNonce, advanceNonce, nil, keys{account, hashes, alice}, kind(ledger.InstructionInvalidAccountData), nil},
		{
			"longer data", append(held[:80:80], 5), rentOfNonce, advanceNonce, nil,
			keys{account, hashes, alice},
			nil,
			append(state(func(n *Nonce) { n.Value = next }), 5),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := nonceContext(c.data, c.lamports)
			err := x.call(c.tag, c.args, c.keys...)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if got := x.Loaded(int(x.index(account))).Data; err == nil && string(got) != string(c.after) {
				t.Errorf("data are\n%x, want\n%x", got, c.after)
			}
		})
	}
}

// FuzzParseNonce: what parses is what Append writes.
func FuzzParseNonce(f *testing.F) {
	n := Nonce{Authority: alice, Value: ledger.Hash{1}, LamportsPerSignature: 5000}
	f.Add(n.Append(nil))
	n.Legacy = true
	f.Add(n.Append(nil))
	f.Add(make([]byte, NonceLength))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, ok := ParseNonce(data); ok && string(n.Append(nil)) != string(data[:NonceLength]) {
			t.Fatalf("%x parses as %+v", data, n)
		}
	})
}
