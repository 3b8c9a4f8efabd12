package ledger_test

import (
	"errors"
	"testing"

	"tutti/ledger"
)

// plain returns a transaction that makes the given calls; n tells it from
// others.
func plain(t *testing.T, n byte, calls ...ledger.Call) ledger.Transaction {
	t.Helper()
	calls = append(calls, ledger.Call{Program: key(200), Data: []byte{n}})
	return parseMessage(t, ledger.NewMessage(key(1), ledger.Hash{}, calls...))
}

// TestBundleSize follows PROTOCOL section 8, Bundles.
func TestBundleSize(t *testing.T) {
	var members []ledger.Transaction
	var names []ledger.Hash
	for i := range byte(6) {
		members = append(members, plain(t, i))
		names = append(names, members[i].MessageHash())
	}
	refusing := plain(t, 50, ledger.RefuseBundleCall())
	bundler := func(names ...ledger.Hash) ledger.Transaction { return plain(t, 100, ledger.BundleCall(names)) }
	entry := func(first ledger.Transaction, rest ...ledger.Transaction) []ledger.Transaction {
		return append([]ledger.Transaction{first}, rest...)
	}
	nested := bundler(names[2:4]...)
	swapped := ledger.BundleCall(names[:2])
	swapped.Data[1] = 3
	cases := []struct {
		name string
		txs  []ledger.Transaction
		size int
		ok   bool
	}{
		{"nothing", nil, 0, true},
		{"no bundle", members[:3], 0, true},
		{"two members", entry(bundler(names[:2]...), members[:2]...), 2, true},
		{"five members", entry(bundler(names[:5]...), members[:5]...), 5, true},
		{"one member", entry(bundler(names[:1]...), members[:1]...), 0, false},
		{"no member", entry(bundler()), 0, false},
		{"six members", entry(bundler(names...), members...), 0, false},
		{"a member is missing", entry(bundler(names[:3]...), members[:2]...), 0, false},
		{"one more in the entry", entry(bundler(names[:2]...), members[:3]...), 0, false},
		{"other order", entry(bundler(names[1], names[0]), members[:2]...), 0, false},
		{"other member", entry(bundler(names[:2]...), members[0], members[2]), 0, false},
		{"wrong count", entry(plain(t, 9, swapped), members[:2]...), 0, false},
		{"not first", entry(members[5], bundler(names[:2]...), members[0], members[1]), 0, false},
		{"bundler in a bundle", entry(bundler(nested.MessageHash(), names[0]), nested, members[0]), 0, false},
		{"two bundle instructions", entry(plain(t, 9, ledger.BundleCall(names[:2]), ledger.BundleCall(names[:2])), members[:2]...), 0, false},
		{"refusal outside of a bundle", entry(refusing), 0, true},
		{"refusal by a member stands, and aborts when executed", entry(bundler(refusing.MessageHash(), names[0]), refusing, members[0]), 2, true},
		{"unknown tag", entry(plain(t, 9, ledger.Call{Program: ledger.BundleProgram, Data: []byte{3}})), 0, false},
		{"no tag", entry(plain(t, 9, ledger.Call{Program: ledger.BundleProgram})), 0, false},
		{"long refusal", entry(plain(t, 9, ledger.Call{Program: ledger.BundleProgram, Data: []byte{2, 0}})), 0, false},
	}
	for _, c := range cases {
		hashes := make([]ledger.Hash, len(c.txs))
		for i := range c.txs {
			hashes[i] = c.txs[i].MessageHash()
		}
		got, err := ledger.BundleSize(c.txs, hashes)
		if (err == nil) != c.ok || got != c.size || err != nil && !errors.Is(err, ledger.ErrBundle) {
			t.Errorf("%s: %d, %v", c.name, got, err)
		}
	}
	if !refusing.RefusesBundle() || members[0].RefusesBundle() {
		t.Error("refusals are confused")
	}
	second := plain(t, 9, ledger.Call{Program: key(3)}, ledger.BundleCall(names[:2]))
	if i, ok := second.BundleInstruction(); !ok || i != 1 {
		t.Errorf("bundle instruction %d, %v", i, ok)
	}
	if _, ok := members[0].BundleInstruction(); ok {
		t.Error("a plain transaction has a bundle instruction")
	}
}
