package sigverify

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// privateKey returns the i-th key of the tests.
func privateKey(i int) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	binary.LittleEndian.PutUint64(seed, uint64(i))
	return ed25519.NewKeyFromSeed(seed)
}

// signed returns n good items: messages of the size of a transfer's, signed
// by different keys.
func signed(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		key := privateKey(i)
		msg := bytes.Repeat([]byte{byte(i)}, 150)
		items[i] = Item{Pub: key.Public().(ed25519.PublicKey), Msg: msg, Sig: ed25519.Sign(key, msg)}
	}
	return items
}

var rules = []Rule{Simd0376, Strict}

func TestVerify(t *testing.T) {
	good := signed(1)[0]
	change := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i] ^= 1
		return b
	}
	// S + L is the same number modulo L, and must not pass for S.
	order := [32]byte{
		0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
		31: 0x10,
	}
	malleable := bytes.Clone(good.Sig)
	carry := 0
	for i, b := range order {
		carry += int(malleable[32+i]) + int(b)
		malleable[32+i] = byte(carry)
		carry >>= 8
	}
	// The identity, of order 1, as key and R: S = 0 satisfies the equation.
	identity := append([]byte{1}, make([]byte, 31)...)
	// The same point with y = p+1.
	overflow := append([]byte{0xee}, bytes.Repeat([]byte{0xff}, 31)...)
	overflow[31] = 0x7f

	cases := []struct {
		name string
		Item
		want bool
	}{
		{"good", good, true},
		{"other key", Item{change(good.Pub, 0), good.Msg, good.Sig}, false},
		{"other message", Item{good.Pub, change(good.Msg, 7), good.Sig}, false},
		{"other R", Item{good.Pub, good.Msg, change(good.Sig, 3)}, false},
		{"other S", Item{good.Pub, good.Msg, change(good.Sig, 40)}, false},
		{"S not below the order", Item{good.Pub, good.Msg, malleable}, false},
		{"small-order key and R", Item{identity, good.Msg, append(identity, make([]byte, 32)...)}, false},
		{"non-canonical key", Item{overflow, good.Msg, append(identity, make([]byte, 32)...)}, false},
		{"no key", Item{nil, good.Msg, good.Sig}, false},
		{"short key", Item{good.Pub[:31], good.Msg, good.Sig}, false},
		{"long key", Item{append(bytes.Clone(good.Pub), 0), good.Msg, good.Sig}, false},
		{"no signature", Item{good.Pub, good.Msg, nil}, false},
		{"short signature", Item{good.Pub, good.Msg, good.Sig[:63]}, false},
		{"long signature", Item{good.Pub, good.Msg, append(bytes.Clone(good.Sig), 0)}, false},
	}
	for _, r := range rules {
		v := NewVerifier(r)
		for _, c := range cases {
			if got := r.Verify(c.Pub, c.Msg, c.Sig); got != c.want {
				t.Errorf("%v, %s: %v", r, c.name, got)
			}
			// Alone, and between good ones, which it must not drag along.
			for k, batch := range [][]Item{{c.Item}, {good, c.Item, good}, {good, c.Item, good}, {c.Item, c.Item, c.Item}} {
				ok := make([]bool, len(batch))
				if k < 2 {
					r.VerifyBatch(batch, ok)
				} else {
					v.VerifyBatch(batch, ok) // which has seen good keys before
				}
				for i := range batch {
					want := c.want || (k == 1 || k == 2) && i != 1
					if ok[i] != want {
						t.Errorf("%v, %s, batch of %d: item %d is %v", r, c.name, len(batch), i, ok[i])
					}
				}
			}
		}
	}
}

func TestVerifyBatchFindsTheBadOnes(t *testing.T) {
	rng := testkit.Rand(t)
	for _, r := range rules {
		v := NewVerifier(r)
		for round := range 40 {
			items := signed(1 + rng.IntN(300))
			good := []int{4, 200}[rng.IntN(2)] // for each bad one
			want := make([]bool, len(items))
			for i := range items {
				want[i] = rng.IntN(good) > 0
				if !want[i] {
					items[i].Sig[rng.IntN(64)] ^= 1 << rng.IntN(8)
				}
			}
			ok := make([]bool, len(items))
			if round%2 == 0 {
				r.VerifyBatch(items, ok)
			} else {
				v.VerifyBatch(items, ok)
			}
			for i := range items {
				if ok[i] != want[i] {
					t.Fatalf("%v: item %d of %d is %v", r, i, len(items), ok[i])
				}
			}
		}
		r.VerifyBatch(nil, nil)
	}
}

// Two keys that share a place stay known; a third one takes the place of the
// one that came less lately.
func TestKnownKeys(t *testing.T) {
	v := NewVerifier(Simd0376)
	byPlace := make(map[uint64][][]byte)
	var three [][]byte
	for i := 0; three == nil; i++ {
		pub := privateKey(i).Public().(ed25519.PublicKey)
		at := binary.LittleEndian.Uint64(pub) % pairsMax
		if byPlace[at] = append(byPlace[at], pub); len(byPlace[at]) == 3 {
			three = byPlace[at]
		}
	}
	for i, step := range []struct {
		key   int
		known bool
	}{{0, false}, {1, false}, {0, true}, {1, true}, {1, true}, {0, true}, {2, false}, {0, true}, {2, true}, {1, false}} {
		if known := v.recall(three[step.key]) != nil; known != step.known {
			t.Errorf("step %d: key %d is known: %t", i, step.key, known)
		}
	}
}

func TestVerifyTransaction(t *testing.T) {
	from, to := privateKey(1), privateKey(2)
	key := func(k ed25519.PrivateKey) ledger.Pubkey { return ledger.Pubkey(k.Public().(ed25519.PublicKey)) }
	m := ledger.NewMessage(key(from), ledger.Hash{1}, ledger.Call{
		Program:  ledger.SystemProgram,
		Accounts: []ledger.AccountMeta{{Key: key(to), Signer: true}},
		Data:     []byte{1},
	})
	message := m.Append(nil)
	cases := []struct {
		name string
		wire []byte
		want bool
	}{
		{"both", ledger.Sign(message, from, to), true},
		{"swapped", ledger.Sign(message, to, from), false},
		{"one too few", ledger.Sign(message, from), false},
		{"none", ledger.Sign(message), false},
		{"too many", ledger.Sign(message, from, to, from, to), false},
	}
	for _, r := range rules {
		for _, c := range cases {
			tx, err := ledger.ParseTransaction(c.wire)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.VerifyTransaction(&tx); got != c.want {
				t.Errorf("%v, %s: %v", r, c.name, got)
			}
		}
	}
}

func TestRuleNames(t *testing.T) {
	for _, r := range rules {
		if got, err := ParseRule(r.String()); got != r || err != nil || !r.Valid() {
			t.Errorf("%v: %v, %v", r, got, err)
		}
	}
	if _, err := ParseRule("zip215"); err == nil {
		t.Error("zip215 is a rule")
	}
	if r := Rule(2); r.Valid() || r.String() != "rule 2" {
		t.Errorf("%v is a rule", r)
	}
}

// FuzzBatchIsSingle changes one byte of a batch and compares the verdicts.
func FuzzBatchIsSingle(f *testing.F) {
	f.Add(uint8(0), uint16(0), byte(0))
	f.Add(uint8(3), uint16(5), byte(0x80))
	f.Add(uint8(7), uint16(40), byte(1))
	f.Add(uint8(7), uint16(95), byte(0x20))
	items := signed(8)
	f.Fuzz(func(t *testing.T, which uint8, at uint16, flip byte) {
		batch := append([]Item(nil), items...)
		it := &batch[int(which)%len(batch)]
		both := append(bytes.Clone(it.Pub), it.Sig...)
		both[int(at)%len(both)] ^= flip
		it.Pub, it.Sig = both[:32], both[32:]
		v := NewVerifier(Simd0376)
		for range 3 { // keys become known
			ok := make([]bool, len(batch))
			v.VerifyBatch(batch, ok)
			for i, x := range batch {
				if want := Simd0376.Verify(x.Pub, x.Msg, x.Sig); ok[i] != want {
					t.Errorf("item %d: batch %v, single %v", i, ok[i], want)
				}
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	it := signed(1)[0]
	for _, r := range rules {
		b.Run(r.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !r.Verify(it.Pub, it.Msg, it.Sig) {
					b.Fatal("refused")
				}
			}
		})
	}
}

func BenchmarkVerifyBatch(b *testing.B) {
	for _, n := range []int{8, 64, 256, 1024} {
		items, ok := signed(n), make([]bool, n)
		for _, known := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/known=%t", n, known), func(b *testing.B) {
				b.ReportAllocs()
				v := NewVerifier(Simd0376)
				if known {
					v.VerifyBatch(items, ok)
					v.VerifyBatch(items, ok)
				} else {
					v.keys = nil
				}
				cpu := testkit.StartCPU()
				for b.Loop() {
					v.VerifyBatch(items, ok)
				}
				cpu.Report(b, "sig", n)
			})
		}
	}
}

// One bad signature may not make all others as dear as single ones.
func BenchmarkVerifyBatchWithABadOne(b *testing.B) {
	for _, n := range []int{64, 256, 1024} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			items, ok := signed(n), make([]bool, n)
			items[n/2].Sig[40] ^= 1
			v := NewVerifier(Simd0376)
			v.VerifyBatch(items, ok)
			v.VerifyBatch(items, ok)
			cpu := testkit.StartCPU()
			for b.Loop() {
				v.VerifyBatch(items, ok)
			}
			cpu.Report(b, "sig", n)
		})
	}
}
