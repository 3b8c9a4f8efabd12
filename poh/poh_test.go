package poh

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// entry is what a chain's entry says; a nil mixin makes it a tick.
type entry struct {
	numHashes uint64
	mixin     *ledger.Hash
	hash      ledger.Hash
}

func record(t *testing.T, c *Chain, mixin ledger.Hash) entry {
	t.Helper()
	n, h, ok := c.Record(mixin)
	if !ok {
		t.Fatal("record refused")
	}
	return entry{n, &mixin, h}
}

func tick(c *Chain) entry {
	n, h := c.Tick()
	return entry{numHashes: n, hash: h}
}

func verify(seed ledger.Hash, hashesPerTick uint64, entries []entry) (Verifier, error) {
	v := NewVerifier(seed, hashesPerTick)
	for _, e := range entries {
		if err := v.Step(e.numHashes, e.mixin, e.hash); err != nil {
			return v, err
		}
	}
	return v, v.Finish()
}

// FORMATS section 1: a plain step hashes the hash, a record hashes it with
// the mixin and counts as one, a tick is a plain step.
func TestChainByHand(t *testing.T) {
	seed, mixin := ledger.Hash{1}, ledger.Hash{2}
	c := New(seed, 4)
	c.Advance(1)
	n, got, ok := c.Record(mixin)
	one := sha256.Sum256(seed[:])
	two := sha256.Sum256(append(one[:], mixin[:]...))
	if !ok || n != 2 || got != two {
		t.Fatalf("record: %d %v %v", n, got, ok)
	}
	n, got = c.Tick()
	three := sha256.Sum256(two[:])
	four := sha256.Sum256(three[:])
	if n != 2 || got != four {
		t.Fatalf("tick: %d %v", n, got)
	}
	if c.hashes != 4 || c.Remaining() != 4 || c.Hash() != four {
		t.Fatalf("hashes %d, remaining %d", c.hashes, c.Remaining())
	}
}

// FORMATS section 1: the last hash of a tick is reserved for the tick.
func TestLastHashIsTheTicks(t *testing.T) {
	c := New(ledger.Hash{}, 5)
	if n := c.Advance(100); n != 4 || c.Remaining() != 1 {
		t.Fatalf("advanced %d, remaining %d", n, c.Remaining())
	}
	before := c.Hash()
	if _, _, ok := c.Record(ledger.Hash{9}); ok || c.Hash() != before {
		t.Fatal("a record took the tick's hash")
	}
	if n, _ := c.Tick(); n != 5 || c.Remaining() != 5 {
		t.Fatalf("tick of %d hashes, remaining %d", n, c.Remaining())
	}
}

// FORMATS section 1: in low power every tick() emits after one hash.
func TestLowPower(t *testing.T) {
	c := New(ledger.Hash{}, 0)
	var entries []entry
	for i := range 3 {
		if n := c.Advance(10); n != 0 {
			t.Fatalf("advanced %d into a tick", n)
		}
		for j := range i {
			entries = append(entries, record(t, c, ledger.Hash{byte(j)}))
		}
		entries = append(entries, tick(c))
	}
	for _, e := range entries {
		if e.numHashes != 1 {
			t.Fatalf("entry of %d hashes", e.numHashes)
		}
	}
	v, err := verify(ledger.Hash{}, 0, entries)
	if err != nil || v.Ticks() != 3 || v.Hashes() != c.hashes || v.Hash() != c.Hash() {
		t.Fatalf("%v, %d ticks, %d hashes", err, v.Ticks(), v.Hashes())
	}
}

// What a Chain makes a Verifier accepts, and not with anything changed.
func TestVerifierFollowsChain(t *testing.T) {
	rng := testkit.Rand(t)
	for range 200 {
		seed := ledger.Hash{byte(rng.Uint32())}
		hashesPerTick := 2 + rng.Uint64N(20)
		c := New(seed, hashesPerTick)
		var entries []entry
		for range 1 + rng.IntN(6) {
			for c.Remaining() > 1 && rng.IntN(3) > 0 {
				c.Advance(rng.Uint64N(4))
				if c.Remaining() > 1 {
					entries = append(entries, record(t, c, ledger.Hash{byte(rng.Uint32())}))
				}
			}
			entries = append(entries, tick(c))
		}
		v, err := verify(seed, hashesPerTick, entries)
		if err != nil || v.Hashes() != c.hashes || v.Hashes() != v.Ticks()*hashesPerTick {
			t.Fatalf("%v: %d hashes in %d ticks of %d", err, v.Hashes(), v.Ticks(), hashesPerTick)
		}
		i := rng.IntN(len(entries))
		whole := entries[i]
		changes := map[string]func(e *entry){
			"hash":  func(e *entry) { e.hash[3] ^= 1 },
			"more":  func(e *entry) { e.numHashes++ },
			"fewer": func(e *entry) { e.numHashes-- },
			"mixin": func(e *entry) {
				if e.mixin == nil {
					e.mixin = new(ledger.Hash)
				} else {
					e.mixin = nil
				}
			},
		}
		for name, change := range changes {
			change(&entries[i])
			if whole.numHashes == 1 && name == "fewer" && whole.mixin != nil {
				// A record of 0 hashes is hashed like one of 1, as in Agave;
				// only the tick's count gives it away.
				if _, err := verify(seed, hashesPerTick, entries); !errors.Is(err, ErrInvalidTickHashCount) {
					t.Fatalf("record of 0 hashes: %v", err)
				}
			} else if _, err := verify(seed, hashesPerTick, entries); err == nil {
				t.Fatalf("entry %d of %d accepted with other %s", i, len(entries), name)
			}
			entries[i] = whole
		}
	}
}

func TestVerifierRules(t *testing.T) {
	seed := ledger.Hash{7}
	whole := func() []entry {
		c := New(seed, 4)
		c.Advance(1)
		return []entry{record(t, c, ledger.Hash{1}), tick(c), tick(c)}
	}
	shifted := New(seed, 1000) // a chain whose ticks stand elsewhere
	shifted.Advance(4)
	late := record(t, shifted, ledger.Hash{1})
	for name, c := range map[string]struct {
		entries []entry
		want    error
	}{
		"whole":                     {whole(), nil},
		"nothing":                   {nil, nil},
		"wrong hash":                {[]entry{{2, &ledger.Hash{1}, ledger.Hash{}}}, ErrInvalidEntryHash},
		"other mixin":               {[]entry{{2, &ledger.Hash{2}, whole()[0].hash}}, ErrInvalidEntryHash},
		"tick too early":            {[]entry{{3, nil, ledger.Hash{}}}, ErrInvalidTickHashCount},
		"tick too late":             {[]entry{{5, nil, ledger.Hash{}}}, ErrInvalidTickHashCount},
		"tick without hashes":       {[]entry{{0, nil, seed}}, ErrInvalidTickHashCount},
		"record on the tick's hash": {[]entry{{4, &ledger.Hash{1}, ledger.Hash{}}}, ErrInvalidTickHashCount},
		"record past the tick":      {[]entry{late}, ErrInvalidTickHashCount},
		"absurd count":              {[]entry{{math.MaxUint64, &ledger.Hash{}, seed}}, ErrInvalidTickHashCount},
		"record behind the last":    {whole()[:1], ErrTrailingEntry},
	} {
		if _, err := verify(seed, 4, c.entries); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := verify(seed, 0, []entry{{math.MaxUint64, nil, seed}}); !errors.Is(err, ErrInvalidTickHashCount) {
		t.Errorf("absurd count in low power: %v", err)
	}
}

// FORMATS section 1: an entry without hashes and transactions repeats the
// hash before it; one without hashes but with transactions is hashed once.
func TestVerifyEntryWithoutHashes(t *testing.T) {
	prev, mixin := ledger.Hash{1}, ledger.Hash{2}
	if !VerifyEntry(prev, 0, nil, prev) || VerifyEntry(prev, 0, nil, mixin) {
		t.Error("empty entry")
	}
	want := ledger.Sum(prev[:], mixin[:])
	if !VerifyEntry(prev, 0, &mixin, want) || !VerifyEntry(prev, 1, &mixin, want) || VerifyEntry(prev, 2, &mixin, want) {
		t.Error("record without hashes")
	}
}

// PROTOCOL section 4: H("tutti userblock" | anchor | u u64 | proposer key).
func TestUserBlockSeed(t *testing.T) {
	anchor, proposer := ledger.Hash{1, 2}, ledger.Pubkey{3, 4}
	b := []byte("tutti userblock")
	b = append(b, anchor[:]...)
	b = append(b, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0)
	b = append(b, proposer[:]...)
	if got := UserBlockSeed(anchor, 0x123456, proposer); got != sha256.Sum256(b) {
		t.Errorf("seed %v", got)
	}
}

func TestVectorsMainnet(t *testing.T) {
	raw := testkit.Vectors(t, "firedancer-io/radiance", "agave-vectors", "poh-mainnet.json")
	var file struct {
		Cases []struct {
			Name, Pre, Post string
			Steps           []struct {
				Append uint64
				Mixin  string
			}
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, c := range file.Cases {
		chain := New(hashOf(t, c.Pre), math.MaxUint64)
		verifier := NewVerifier(chain.Hash(), math.MaxUint64)
		for _, s := range c.Steps {
			chain.Advance(s.Append)
			if s.Mixin == "" {
				continue
			}
			mixin := hashOf(t, s.Mixin)
			e := record(t, chain, mixin)
			if err := verifier.Step(e.numHashes, &mixin, e.hash); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		}
		if chain.Hash() != hashOf(t, c.Post) {
			t.Errorf("%s: hash %x, want %s", c.Name, chain.Hash(), c.Post)
			continue
		}
		checked++
	}
	testkit.Count("PoH of mainnet slots 0 and 1", checked, len(file.Cases))
}

func hashOf(t *testing.T, s string) (h ledger.Hash) {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) {
		t.Fatalf("hash %q: %v", s, err)
	}
	return ledger.Hash(b)
}

func BenchmarkAdvance(b *testing.B) {
	c := New(ledger.Hash{}, math.MaxUint64)
	cpu := testkit.StartCPU()
	for b.Loop() {
		c.Advance(100)
	}
	cpu.Report(b, "hash", 100)
}

func BenchmarkVerifySlot(b *testing.B) {
	c := New(ledger.Hash{}, 100)
	var entries []entry
	for range ledger.TicksPerSlot {
		for range 4 {
			c.Advance(10)
			var mixin ledger.Hash
			n, h, _ := c.Record(mixin)
			entries = append(entries, entry{n, &mixin, h})
		}
		n, h := c.Tick()
		entries = append(entries, entry{numHashes: n, hash: h})
	}
	cpu := testkit.StartCPU()
	for b.Loop() {
		if _, err := verify(ledger.Hash{}, 100, entries); err != nil {
			b.Fatal(err)
		}
	}
	cpu.Report(b, "hash", 100*ledger.TicksPerSlot)
}
