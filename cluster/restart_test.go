package cluster

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"reflect"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

func testRestart(g *Genesis, before ...*Restart) *Restart {
	n := ledger.Slot(len(before))
	r := &Restart{
		Genesis: g.Hash(), Block: ledger.BlockRef{Slot: 10 + 100*n, ID: ledger.Hash{1, byte(n)}}, BankHash: ledger.Hash{2},
		Count: uint64(n) + 1, T0: g.T0 + int64(n) + 5, First: 40 + 100*n,
	}
	r.ShredVersion = RestartVersion(g, append(before[:len(before):len(before)], r))
	return r
}

func restartSigner(i byte) (account ledger.Pubkey, key ed25519.PrivateKey) {
	return ledger.Pubkey{i}, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{i}, 32))
}

// TestRestartSignatures: two operators sign copies of one record, which are
// merged; the stake behind it is theirs, once each.
func TestRestartSignatures(t *testing.T) {
	g := newGenesis(t, testOptions(10, 20, 30))
	var items []Staked
	for i := range byte(4) {
		account, key := restartSigner(i)
		items = append(items, Staked{VoteAccount: account, Authority: ledger.Pubkey(key.Public().(ed25519.PublicKey)), Stake: 1 << i})
	}
	stakes := NewEpochStakes(0, items, func(ledger.Pubkey) ledger.Lamports { return 0 }, 0)
	a, b := testRestart(g), testRestart(g)
	for _, i := range []byte{3, 1} {
		a.Sign(restartSigner(i))
	}
	for _, i := range []byte{3, 2} {
		b.Sign(restartSigner(i))
	}
	if err := a.Merge(b); err != nil {
		t.Fatal(err)
	}
	back, err := ParseRestart(a.Append(nil))
	if err != nil || !reflect.DeepEqual(back, a) {
		t.Fatalf("%+v, %v, want %+v", back, err, a)
	}
	if sum, err := back.Stake(stakes); sum != 2+4+8 || err != nil {
		t.Errorf("stake %d, %v", sum, err)
	}
	b.T0++
	if err := a.Merge(b); err == nil {
		t.Error("another record was merged")
	}
	if _, err := b.Stake(stakes); !errors.Is(err, ErrRestartSignature) {
		t.Errorf("a changed record: %v", err)
	}
	c := testRestart(g)
	c.Sign(restartSigner(9))
	if _, err := c.Stake(stakes); !errors.Is(err, ErrRestartSignature) {
		t.Errorf("a signer without stake: %v", err)
	}
	_, other := restartSigner(1)
	c = testRestart(g)
	c.Sign(ledger.Pubkey{2}, other)
	if _, err := c.Stake(stakes); !errors.Is(err, ErrRestartSignature) {
		t.Errorf("not the authority: %v", err)
	}
}

// TestRestartFollows: a record belongs to one genesis and to the restarts
// before it.
func TestRestartFollows(t *testing.T) {
	g := newGenesis(t, testOptions(10, 20, 30))
	first := testRestart(g)
	second := testRestart(g, first)
	if err := errors.Join(first.Follows(g, nil), second.Follows(g, []*Restart{first})); err != nil {
		t.Fatal(err)
	}
	restarts := []*Restart{first, second}
	for slot, want := range map[ledger.Slot]uint16{
		39: g.ShredVersion(), 40: first.ShredVersion, 139: first.ShredVersion, 140: second.ShredVersion,
	} {
		if got := VersionAt(g.ShredVersion(), restarts, slot); got != want {
			t.Errorf("slot %d: shred version %d, want %d", slot, got, want)
		}
	}
	if first.ShredVersion == g.ShredVersion() || second.ShredVersion == first.ShredVersion {
		t.Error("a restart leaves the shred version")
	}
	for name, change := range map[string]func(*Restart){
		"genesis":       func(r *Restart) { r.Genesis[0]++ },
		"count":         func(r *Restart) { r.Count++ },
		"block":         func(r *Restart) { r.Block.Slot = 9 },
		"slot":          func(r *Restart) { r.First = 40 },
		"t0":            func(r *Restart) { r.T0 = first.T0 - 1 },
		"shred version": func(r *Restart) { r.ShredVersion++ },
	} {
		r := *second
		change(&r)
		if err := r.Follows(g, []*Restart{first}); !errors.Is(err, ErrRestartOrder) {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

// FuzzParseRestart: no bytes make the reader of records panic, and those that
// it reads are the ones that Append writes.
func FuzzParseRestart(f *testing.F) {
	r := &Restart{Block: ledger.BlockRef{Slot: 3}, Count: 1, First: 9}
	f.Add(r.Append(nil))
	r.Sign(restartSigner(1))
	r.Sign(restartSigner(2))
	f.Add(r.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			r, err := ParseRestart(b)
			if err != nil {
				return nil
			}
			return func() []byte { return r.Append(nil) }
		})
	})
}
