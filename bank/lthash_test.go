package bank

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/zeebo/blake3"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// randomLtHash gives a value with all kinds of lanes.
func randomLtHash(next func() uint64) (h LtHash) {
	for i := range h {
		h[i] = next()
	}
	return h
}

func (h *LtHash) lane(i int) uint16 { return uint16(h[i/4] >> (16 * (i % 4))) }

func TestLtHashLanes(t *testing.T) {
	rng := testkit.Rand(t)
	for range 50 {
		a, b := randomLtHash(rng.Uint64), randomLtHash(rng.Uint64)
		sum, difference := a, a
		sum.Add(&b)
		difference.Sub(&b)
		for i := range 1024 {
			if got, want := sum.lane(i), a.lane(i)+b.lane(i); got != want {
				t.Fatalf("lane %d: %d + %d = %d, not %d", i, a.lane(i), b.lane(i), want, got)
			}
			if got, want := difference.lane(i), a.lane(i)-b.lane(i); got != want {
				t.Fatalf("lane %d: %d − %d = %d, not %d", i, a.lane(i), b.lane(i), want, got)
			}
		}
		if sum.Sub(&b); sum != a {
			t.Fatal("what was added and taken out has left something")
		}
	}
}

func TestLtHashOfNothing(t *testing.T) {
	w := newAccountHasher()
	for _, a := range []*Account{nil, {Data: []byte{1}}} {
		if value, digest := w.hash(user(0), a); *value != (LtHash{}) || digest != (ledger.Hash{}) {
			t.Errorf("an account that does not exist has a value: %v", a)
		}
	}
}

// Small accounts take another way than large ones: both give BLAKE3's output.
func TestAccountValueIsBLAKE3(t *testing.T) {
	rng := testkit.Rand(t)
	w := newAccountHasher()
	for _, size := range []int{0, 1, 55, 56, 119, 120, 165, 200, 949, 950, 951, 952, 953, 1024, 2000, 70_000} {
		a := &Account{Lamports: ledger.Lamports(rng.Uint64() | 1), Owner: ledger.Pubkey{9}, Executable: size%2 == 0, Data: make([]byte, size)}
		for i := range a.Data {
			a.Data[i] = byte(rng.Uint32())
		}
		key := user(size)
		executable := byte(0)
		if a.Executable {
			executable = 1
		}
		h := blake3.New()
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(a.Lamports)))
		h.Write(a.Data)
		h.Write(append(append([]byte{executable}, a.Owner[:]...), key[:]...))
		want := make([]byte, LtHashSize)
		if _, err := h.Digest().Read(want); err != nil {
			t.Fatal(err)
		}
		if value, digest := w.hash(key, a); !bytes.Equal(value.Append(nil), want) || !bytes.Equal(digest[:], want[:32]) {
			t.Errorf("%d bytes of data: another value", size)
		}
	}
}

func TestVectorsLtHash(t *testing.T) {
	const origin = "jito-foundation/jito-solana lattice-hash"
	var file struct {
		Vectors map[string]struct {
			Input    string
			Lanes    []uint16 `json:"lt_hash_u16"`
			Checksum string   `json:"checksum_hex"`
		}
	}
	if err := json.Unmarshal(testkit.Vectors(t, origin, "agave-vectors", "lthash.json"), &file); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for name, v := range file.Vectors {
		var out [LtHashSize]byte
		h := blake3.New()
		h.WriteString(v.Input)
		h.Digest().Read(out[:])
		var value LtHash
		value.set(out[:])
		for i, lane := range v.Lanes {
			if value.lane(i) != lane {
				t.Fatalf("%s: lane %d is %d, want %d", name, i, value.lane(i), lane)
			}
		}
		sum := blake3.Sum256(value.Append(nil))
		if got := hex.EncodeToString(sum[:]); got != v.Checksum {
			t.Fatalf("%s: checksum %s, want %s", name, got, v.Checksum)
		}
		checked++
	}
	testkit.Count("lattice hash", checked, len(file.Vectors))
}

// TestVectorsSnapshot recomputes, from a snapshot that Agave made, the value
// of each account, their sum, and the bank hash (FORMATS section 9).
func TestVectorsSnapshot(t *testing.T) {
	const origin = "Syndica/sig data/test-data"
	type bankFields struct {
		Slot       uint64
		ParentSlot uint64 `json:"parent_slot"`
		Hash       string
		ParentHash string `json:"parent_hash"`
		Signatures uint64 `json:"signature_count"`
		Blockhash  struct {
			Last string `json:"last_hash"`
		} `json:"blockhash_queue"`
		HardForks []struct{ Slot, Count uint64 } `json:"hard_forks"`
	}
	var file struct {
		Bank  bankFields `json:"bank_fields"`
		Extra struct {
			LtHash string `json:"accounts_lt_hash"`
		} `json:"extra_fields"`
		Accounts struct {
			Live    []int `json:"live_indices"`
			Entries []struct {
				Index      int
				Slot       uint64
				Pubkey     string
				Lamports   uint64
				Owner      string
				Executable bool
				Data       string `json:"data_hex"`
				First32    string `json:"account_lt_hash_first_32_hex"`
			}
		}
	}
	raw := testkit.Vectors(t, origin, "sig-snapshot-v4.2.0-beta.1", "test-snapshot-v4.2.0-beta.1.json")
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	live := make(map[int]bool)
	for _, i := range file.Accounts.Live {
		live[i] = true
	}
	hasher := newAccountHasher()
	var sum LtHash
	for _, e := range file.Accounts.Entries {
		data, err := hex.DecodeString(e.Data)
		if err != nil {
			t.Fatal(err)
		}
		value, digest := hasher.hash(ledger.MustPubkey(e.Pubkey), &Account{
			Lamports: ledger.Lamports(e.Lamports), Owner: ledger.MustPubkey(e.Owner),
			Executable: e.Executable, Data: data,
		})
		if got := hex.EncodeToString(digest[:]); got != e.First32 {
			t.Errorf("account %s: %s, want %s", e.Pubkey, got, e.First32)
		}
		if live[e.Index] {
			sum.Add(value)
		}
	}
	testkit.Count("account lattice hashes", len(file.Accounts.Entries), len(file.Accounts.Entries))
	if got := hex.EncodeToString(sum.Append(nil)); got != file.Extra.LtHash {
		t.Errorf("sum is %.32s…, want %.32s…", got, file.Extra.LtHash)
	}

	// Agave's inner hash has no receipts and no delta.
	parse := func(s string) ledger.Hash {
		h, err := ledger.ParseHash(s)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	b := file.Bank
	parent, last := parse(b.ParentHash), parse(b.Blockhash.Last)
	inner := ledger.Sum(parent[:], le64(b.Signatures), last[:])
	got := ledger.Sum(inner[:], sum.Append(nil))
	forks := uint64(0)
	for _, f := range b.HardForks {
		if b.ParentSlot < f.Slot && f.Slot <= b.Slot {
			forks += f.Count
		}
	}
	if forks > 0 {
		got = ledger.Sum(got[:], le64(forks))
	}
	if want := parse(b.Hash); got != want {
		t.Errorf("bank hash %v, want %v", got, want)
	}
	testkit.Count("bank hash of an Agave snapshot", 1, 1)
}

// BenchmarkLtHashUpdate is what one account costs that a block changes: old
// value out, new one in, and the leaf of the delta tree.
func BenchmarkLtHashUpdate(b *testing.B) {
	w := newAccountHasher()
	key, before, after := user(0), &Account{Lamports: 1}, &Account{Lamports: 2}
	var sum LtHash
	b.ReportAllocs()
	cpu := testkit.StartCPU()
	for b.Loop() {
		value, _ := w.hash(key, before)
		sum.Sub(value)
		value, digest := w.hash(key, after)
		sum.Add(value)
		deltaLeaf(key, digest) // SHA-256 is slow if the hasher leaves vector registers in use
	}
	cpu.Report(b, "account", 1)
}

func BenchmarkLtHashAdd(b *testing.B) {
	var sum LtHash
	value := sum
	for b.Loop() {
		sum.Add(&value)
	}
}
