package shred

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
	"tutti/ledger/sigverify"
)

const testVersion = 7

var (
	testSigner = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	leaderKey  = ledger.Slot(1000).Key()
	userKey    = ledger.UserKey(2001, 3)
)

func testConfig(key ledger.SlotKey) Config {
	c := Config{Key: key, Version: testVersion, Signer: testSigner, Chained: ledger.Sum([]byte("parent"))}
	if !key.IsUser() {
		c.ParentOffset = 2
	}
	return c
}

// testSet returns one set of random payload.
func testSet(t testing.TB, rng *rand.Rand, key ledger.SlotKey, n int, last bool) *Set {
	t.Helper()
	sets, err := NewShredder(testConfig(key)).Shred(randomBytes(rng, n), 9, last)
	if err != nil || len(sets) != 1 {
		t.Fatalf("%d sets, %v", len(sets), err)
	}
	return sets[0]
}

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func shredsOf(set *Set) []Shred {
	shreds := make([]Shred, SetSize)
	for i := range shreds {
		shreds[i] = set.Shred(i)
	}
	return shreds
}

// pick returns n random shreds of all.
func pick(rng *rand.Rand, all []Shred, n int) []Shred {
	picked := make([]Shred, 0, n)
	for _, i := range rng.Perm(len(all))[:n] {
		picked = append(picked, all[i])
	}
	return picked
}

func equalSets(t *testing.T, got, want *Set) {
	t.Helper()
	for i := range want.Shreds {
		if !bytes.Equal(got.Shreds[i], want.Shreds[i]) {
			t.Fatalf("shred at place %d differs", i)
		}
	}
	a, b := *got, *want
	a.Shreds, b.Shreds = [SetSize][]byte{}, [SetSize][]byte{}
	if x, y := fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b); x != y {
		t.Fatalf("set is\n%.200s, want\n%.200s", x, y)
	}
}

// FORMATS section 2, "Shredding": how batches are divided into sets.
func TestShredderSets(t *testing.T) {
	const plain, resigned = 32 * 963, 32 * 899
	for _, tc := range []struct {
		key  ledger.SlotKey
		size int
		last bool
		want []int
	}{
		{leaderKey, 0, false, []int{0}},
		{leaderKey, 1, false, []int{1}},
		{leaderKey, plain, false, []int{plain}},
		{leaderKey, plain + 1, false, []int{plain, 1}},
		{leaderKey, 0, true, []int{0}},
		{leaderKey, resigned, true, []int{resigned}},
		{leaderKey, resigned + 1, true, []int{1, resigned}},
		{leaderKey, resigned + plain, true, []int{plain, resigned}},
		{leaderKey, resigned + plain + 5, true, []int{plain, 5, resigned}},
		{userKey, 0, true, []int{0}},
		{userKey, plain, true, []int{plain}},
		{userKey, 2*plain + 7, true, []int{plain, plain, 7}},
		{userKey, 2*plain + 7, false, []int{plain, plain, 7}},
	} {
		t.Run(fmt.Sprintf("%v/%d/%t", tc.key, tc.size, tc.last), func(t *testing.T) {
			batch := randomBytes(testkit.Rand(t), tc.size)
			s := NewShredder(testConfig(tc.key))
			sets, err := s.Shred(batch, 70, tc.last)
			if err != nil {
				t.Fatal(err)
			}
			if len(sets) != len(tc.want) {
				t.Fatalf("%d sets, want %d", len(sets), len(tc.want))
			}
			chained := testConfig(tc.key).Chained
			var payload []byte
			for i, set := range sets {
				final := i == len(sets)-1
				if len(set.Payload) != tc.want[i] || set.Complete != final || set.Last != (final && tc.last) {
					t.Errorf("set %d: %d bytes, complete %t, last %t", i, len(set.Payload), set.Complete, set.Last)
				}
				if set.Chained != chained || set.Index != uint32(i*SetData) {
					t.Errorf("set %d: index %d, chained %v", i, set.Index, set.Chained)
				}
				checkShreds(t, set, final && tc.last && !tc.key.IsUser())
				chained = set.Root
				payload = append(payload, set.Payload...)
			}
			if !bytes.Equal(payload, batch) {
				t.Error("payload is not the batch")
			}
			if s.Root() != chained || s.Sets() != len(sets) {
				t.Errorf("Root %v, Sets %d", s.Root(), s.Sets())
			}
		})
	}
}

// checkShreds checks each shred of a set on its own.
func checkShreds(t *testing.T, set *Set, resigned bool) {
	t.Helper()
	for i, raw := range set.Shreds {
		s, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		root, err := s.Root()
		if err != nil || root != set.Root {
			t.Fatalf("place %d: root %v, %v", i, root, err)
		}
		if s.Key() != set.Key || s.SetIndex() != set.Index || s.Position() != i || s.IsData() != (i < SetData) ||
			s.Version() != testVersion || s.ChainedRoot() != set.Chained || s.Resigned() != resigned ||
			s.Index() != set.Index+uint32(i%SetData) || s.Signature() != set.Signature {
			t.Fatalf("place %d: header", i)
		}
		if s.IsData() {
			final := i == SetData-1
			if s.ParentOffset() != set.ParentOffset || s.ReferenceTick() != 63 ||
				s.DataComplete() != (final && set.Complete) || s.LastInSlot() != (final && set.Last) {
				t.Fatalf("place %d: data header", i)
			}
		}
	}
	pub := testSigner.Public().(ed25519.PublicKey)
	if !sigverify.Strict.Verify(pub, set.Root[:], set.Signature[:]) {
		t.Fatal("signature")
	}
}

func TestShredderRefuses(t *testing.T) {
	s := NewShredder(testConfig(leaderKey))
	if _, err := s.Shred(make([]byte, IndexMax*963+1), 0, false); !errors.Is(err, ErrTooLong) {
		t.Errorf("%v, want ErrTooLong", err)
	}
	if s.Sets() != 0 {
		t.Errorf("%d sets after a refusal", s.Sets())
	}
	if _, err := s.Shred(nil, 0, true); err != nil {
		t.Error(err)
	}
	if _, err := s.Shred(nil, 0, true); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
	for _, c := range []Config{
		{Key: 5, ParentOffset: 0, Signer: testSigner},
		{Key: 5, ParentOffset: 6, Signer: testSigner},
		{Key: 0, ParentOffset: 1, Signer: testSigner},
		{Key: userKey, ParentOffset: 1, Signer: testSigner},
	} {
		if _, err := NewShredder(c).Shred(nil, 0, true); !errors.Is(err, ErrParent) {
			t.Errorf("offset %d of %v: %v, want ErrParent", c.ParentOffset, c.Key, err)
		}
	}
}

// FORMATS section 2 and PROTOCOL section 4: what Parse rejects, one case a
// rule.
func TestParseRejects(t *testing.T) {
	rng := testkit.Rand(t)
	leader := testSet(t, rng, leaderKey, 100, false)
	last := testSet(t, rng, leaderKey, 100, true)
	user := testSet(t, rng, userKey, 100, true)
	u16 := func(at int, v uint16) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint16(b[at:], v); return b }
	}
	u32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
	}
	u64 := func(at int, v uint64) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint64(b[at:], v); return b }
	}
	u8 := func(at int, v byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] = v; return b }
	}
	for _, tc := range []struct {
		name   string
		raw    []byte
		change func([]byte) []byte
		want   error
	}{
		{"empty", leader.Shreds[0], func([]byte) []byte { return nil }, ErrSize},
		{"short header", leader.Shreds[0], func(b []byte) []byte { return b[:dataHeader] }, ErrSize},
		{"data short", leader.Shreds[0], func(b []byte) []byte { return b[:DataSize-1] }, ErrSize},
		{"data long", leader.Shreds[0], func(b []byte) []byte { return append(b, 0) }, ErrSize},
		{"code short", leader.Shreds[32], func(b []byte) []byte { return b[:DataSize] }, ErrSize},
		{"data in the size of code", leader.Shreds[32], u8(offVariant, variantData), ErrSize},
		{"legacy data", leader.Shreds[0], u8(offVariant, 0xa5), ErrLegacy},
		{"legacy code", leader.Shreds[32], u8(offVariant, 0x5a), ErrLegacy},
		{"unchained data", leader.Shreds[0], u8(offVariant, 0x86), ErrUnchained},
		{"unchained code", leader.Shreds[32], u8(offVariant, 0x46), ErrUnchained},
		{"proof of 5", leader.Shreds[0], u8(offVariant, 0x95), ErrGeometry},
		{"code proof of 7", leader.Shreds[32], u8(offVariant, 0x67), ErrGeometry},
		{"unknown variant", leader.Shreds[0], u8(offVariant, 0x16), ErrVariant},
		{"33 data", leader.Shreds[32], u16(offNumData, 33), ErrGeometry},
		{"31 code", leader.Shreds[32], u16(offNumCode, 31), ErrGeometry},
		{"set not aligned", leader.Shreds[0], u32(offSetIndex, 1), ErrIndex},
		{"set out of range", leader.Shreds[0], u32(offSetIndex, IndexMax), ErrIndex},
		{"data before its set", leader.Shreds[0], u32(offSetIndex, 32), ErrIndex},
		{"data behind its set", leader.Shreds[0], u32(offIndex, 32), ErrIndex},
		{"code position out of range", leader.Shreds[32], u16(offPosition, 32), ErrIndex},
		{"code index not its position", leader.Shreds[32], u32(offIndex, 1), ErrIndex},
		{"no parent", leader.Shreds[0], u16(offParent, 0), ErrParent},
		{"parent before slot 0", leader.Shreds[0], u16(offParent, 1001), ErrParent},
		{"parent of slot 0", leader.Shreds[0], u64(offKey, 0), ErrParent},
		{"parent of a UserBlock", user.Shreds[0], u16(offParent, 1), ErrParent},
		{"last without complete", leader.Shreds[31], u8(offFlags, 0x80), ErrFlags},
		{"complete inside a set", leader.Shreds[30], u8(offFlags, flagDataComplete), ErrFlags},
		{"last inside a set", user.Shreds[30], u8(offFlags, flagLast), ErrFlags},
		{"last not resigned", leader.Shreds[31], u8(offFlags, flagLast), ErrVariant},
		{"resigned not last", last.Shreds[31], u8(offFlags, flagDataComplete), ErrVariant},
		{"resigned UserBlock data", user.Shreds[0], u8(offVariant, variantDataResigned), ErrVariant},
		{"resigned UserBlock code", user.Shreds[32], u8(offVariant, variantCodeResigned), ErrVariant},
		{"size below header", leader.Shreds[0], u16(offSize, dataHeader-1), ErrPayload},
		{"size above capacity", leader.Shreds[0], u16(offSize, 1052), ErrPayload},
		{"size above resigned capacity", last.Shreds[0], u16(offSize, 988), ErrPayload},
		{"lane out of range", user.Shreds[0], u64(offKey, uint64(ledger.UserKey(1, ledger.LanesMax))), ErrKey},
	} {
		b := tc.change(bytes.Clone(tc.raw))
		if _, err := Parse(b); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

// FORMATS section 2: any 32 shreds of a set give all of it back.
func TestAssembleAnyShreds(t *testing.T) {
	rng := testkit.Rand(t)
	for _, set := range []*Set{
		testSet(t, rng, leaderKey, 20_000, false),
		testSet(t, rng, leaderKey, 20_000, true),
		testSet(t, rng, userKey, 1, true),
		testSet(t, rng, userKey, 32*963, false),
	} {
		all := shredsOf(set)
		for i := range 60 {
			n := SetData + rng.IntN(SetData+1)
			choice := pick(rng, all, n)
			switch i {
			case 0:
				choice = all[:SetData]
			case 1:
				choice = all[SetData:]
			case 2:
				choice = append(choice, choice...)
			}
			if i%2 == 1 {
				askRoots(choice)
			}
			got, err := Assemble(choice)
			if err != nil {
				t.Fatal(err)
			}
			equalSets(t, got, set)
		}
		got, err := Unpack(set.Pack(nil))
		if err != nil {
			t.Fatal(err)
		}
		equalSets(t, got, set)
	}
}

// Proofs finds the root that Shred.Root finds, for shreds of sets that come
// mixed, with proofs of other trees and changed ones among them.
func TestProofs(t *testing.T) {
	rng := testkit.Rand(t)
	var sent []Shred
	for i := range 2 * proofTrees {
		key := userKey
		if i%2 == 0 {
			key = leaderKey
		}
		// Two sets of one key and index each, as an equivocator makes them.
		for range 2 {
			set := testSet(t, rng, key+ledger.SlotKey(i/8), 100*i, i%3 == 0)
			sent = append(sent, pick(rng, shredsOf(set), 1+rng.IntN(SetSize))...)
		}
	}
	rng.Shuffle(len(sent), func(i, j int) {
		if rng.IntN(4) == 0 {
			sent[i], sent[j] = sent[j], sent[i]
		}
	})
	var p Proofs
	for i, s := range sent {
		if rng.IntN(4) == 0 {
			s = s.Clone()
			at := offVariant + 1 + rng.IntN(len(s.raw)-offVariant-1)
			if rng.IntN(2) == 0 {
				at = s.proofOffset() + rng.IntN(proofSize)
			}
			s.raw[at] ^= 1 << rng.IntN(8)
			if _, err := Parse(s.raw); err != nil {
				continue
			}
		}
		got := s
		got.hashed = false
		root, err := p.Root(&got)
		want, wantErr := s.Root()
		if root != want || err != nil || wantErr != nil || got.leaf != s.leaf {
			t.Fatalf("shred %d: root %v, want %v", i, root, want)
		}
	}
	if _, err := p.Root(&Shred{}); !errors.Is(err, ErrSize) {
		t.Errorf("no shred: %v", err)
	}
}

// Sets are signed with another library than everything else.
func TestSignatureIsThatOfTheStandardLibrary(t *testing.T) {
	rng := testkit.Rand(t)
	for range 50 {
		c := testConfig(leaderKey)
		c.Signer = ed25519.NewKeyFromSeed(randomBytes(rng, ed25519.SeedSize))
		sets, err := NewShredder(c).Shred(randomBytes(rng, 100), 0, true)
		if err != nil {
			t.Fatal(err)
		}
		for i, raw := range sets[0].Shreds {
			want := ed25519.Sign(c.Signer, sets[0].Root[:])
			if !bytes.Equal(sets[0].Signature[:], want) || !bytes.Equal(raw[:signatureSize], want) {
				t.Fatalf("signature of place %d is %x, want %x", i, raw[:signatureSize], want)
			}
		}
	}
}

func TestAssembleTooFew(t *testing.T) {
	all := shredsOf(testSet(t, testkit.Rand(t), userKey, 100, true))
	if _, err := Assemble(nil); !errors.Is(err, ErrTooFew) {
		t.Errorf("none: %v", err)
	}
	if _, err := Assemble(all[10:41]); !errors.Is(err, ErrTooFew) {
		t.Errorf("31: %v", err)
	}
	if _, err := Assemble(append(all[10:41:41], all[10])); !errors.Is(err, ErrTooFew) {
		t.Errorf("31 and one of them again: %v", err)
	}
}

func TestPackedSetsTakeNoRoomForPadding(t *testing.T) {
	rng := testkit.Rand(t)
	for _, size := range []int{0, 1, 100, 20_000, 30_816} {
		packed := testSet(t, rng, userKey, size, true).Pack(nil)
		const common, shredHeader = 1 + signatureSize + rootSize, 2 + dataHeader - signatureSize
		if most := common + SetData*shredHeader + size; len(packed) > most {
			t.Errorf("%d bytes of payload take %d, want %d at most", size, len(packed), most)
		}
	}
}

func TestUnpackRejects(t *testing.T) {
	rng := testkit.Rand(t)
	for _, key := range []ledger.SlotKey{userKey, leaderKey} {
		set := testSet(t, rng, key, 3000, true)
		good := set.Pack(nil)
		for n := range good {
			if _, err := Unpack(good[:n]); err == nil {
				t.Fatalf("%d of %d bytes are a set", n, len(good))
			}
		}
		if _, err := Unpack(append(bytes.Clone(good), 0)); !errors.Is(err, ErrPacked) {
			t.Errorf("a byte too many: %v", err)
		}
		swapped := bytes.Clone(good)
		swapped[0] ^= variantData ^ variantDataResigned
		if _, err := Unpack(swapped); err == nil {
			t.Error("took another variant")
		}
		for range 200 {
			bad := bytes.Clone(good)
			bad[len(bad)-1-rng.IntN(2000)] ^= 1 << rng.IntN(8)
			if got, err := Unpack(bad); err == nil && got.Root == set.Root {
				t.Fatal("a flipped bit gives the same root")
			}
		}
	}
}

// forge changes a set as a leader could who does not keep to the code, and
// proves the result.
func forge(set *Set, change func(raws *[SetSize][]byte)) []Shred {
	raws := newShreds()
	for i := range raws {
		copy(raws[i], set.Shreds[i])
	}
	change(&raws)
	first := set.Shred(0)
	h := first.header()
	offsets := h.proofOffsets()
	root := writeProofs(&raws, &offsets, &leaves{})
	var sound []Shred
	for _, raw := range raws {
		copy(raw, ed25519.Sign(testSigner, root[:]))
		if s, err := Parse(raw); err == nil {
			sound = append(sound, s)
		}
	}
	return sound
}

// reencode makes the code shreds agree with changed data shreds, and nothing
// else.
func reencode(set *Set, raws *[SetSize][]byte) {
	first := set.Shred(0)
	h := first.header()
	tails := newShreds()
	for i := range raws {
		copy(tails[i], raws[i])
	}
	parts := coded(&tails, allShreds)
	if err := coder.Encode(parts[:]); err != nil {
		panic(err)
	}
	n := h.proofOffsets()[0] - rootSize - signatureSize
	for i := SetData; i < SetSize; i++ {
		copy(raws[i][codeHeader:codeHeader+n], tails[i][codeHeader:])
	}
}

// askRoots lets shreds keep their hashes, as those that came from outside do.
func askRoots(shreds []Shred) {
	for i := range shreds {
		if _, err := shreds[i].Root(); err != nil {
			panic(err) // they came from Parse
		}
	}
}

// PROTOCOL section 4, rule 2: an inconsistent set fails whichever shreds were
// used, also when all its data shreds are there.
func TestAssembleInconsistent(t *testing.T) {
	rng := testkit.Rand(t)
	for name, change := range map[string]func(set *Set, raws *[SetSize][]byte){
		"code shred":     func(_ *Set, r *[SetSize][]byte) { r[40][500] ^= 1 },
		"all code":       func(_ *Set, r *[SetSize][]byte) { copy(r[32][codeHeader:], randomBytes(rng, 900)) },
		"data shred":     func(_ *Set, r *[SetSize][]byte) { r[7][500] ^= 1 },
		"padding":        func(_ *Set, r *[SetSize][]byte) { r[31][900] ^= 1 },
		"data version":   func(_ *Set, r *[SetSize][]byte) { r[7][offVersion]++ },
		"code version":   func(_ *Set, r *[SetSize][]byte) { r[47][offVersion]++ },
		"chained root":   func(_ *Set, r *[SetSize][]byte) { r[7][DataSize-proofSize-signatureSize-1]++ },
		"parent, coded":  func(s *Set, r *[SetSize][]byte) { r[7][offParent]++; reencode(s, r) },
		"version, coded": func(s *Set, r *[SetSize][]byte) { r[7][offVersion]++; reencode(s, r) },
		"size, coded":    func(s *Set, r *[SetSize][]byte) { r[7][offSize+1] = 0xff; reencode(s, r) },
		"index, coded":   func(s *Set, r *[SetSize][]byte) { r[7][offIndex]++; reencode(s, r) },
		"flags, coded":   func(s *Set, r *[SetSize][]byte) { r[7][offFlags] |= flagLast; reencode(s, r) },
		"variant, coded": func(s *Set, r *[SetSize][]byte) { r[7][offVariant] = variantData; reencode(s, r) },
		"last, coded":    func(s *Set, r *[SetSize][]byte) { r[31][offFlags] = flagDataComplete; reencode(s, r) },
		"swapped, coded": func(s *Set, r *[SetSize][]byte) { r[3], r[4] = r[4], r[3]; reencode(s, r) },
		"two of a place": func(_ *Set, r *[SetSize][]byte) { copy(r[33], r[32]) },
	} {
		t.Run(name, func(t *testing.T) {
			set := testSet(t, rng, leaderKey, 25_000, true)
			sound := forge(set, func(raws *[SetSize][]byte) { change(set, raws) })
			if len(sound) < SetSize-2 {
				t.Fatalf("only %d shreds parse", len(sound))
			}
			for i := range 40 {
				choice := pick(rng, sound, SetData+rng.IntN(len(sound)-SetData+1))
				if i%2 == 1 {
					askRoots(choice)
				}
				if _, err := Assemble(choice); !errors.Is(err, ErrInconsistent) && !errors.Is(err, ErrTooFew) {
					t.Fatalf("%v, want ErrInconsistent", err)
				}
			}
		})
	}
	// What a leader may choose, such as the padding, does not matter if it is
	// encoded.
	for _, size := range []int{25_000, 100} {
		set := testSet(t, rng, leaderKey, size, true)
		sound := forge(set, func(r *[SetSize][]byte) { r[31][900] ^= 1; reencode(set, r) })
		for range 40 {
			if _, err := Assemble(pick(rng, sound, SetData)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// FORMATS section 2: a retransmitter signs the Merkle root of the last set of
// a leader block, and comparison ignores that.
func TestResign(t *testing.T) {
	rng := testkit.Rand(t)
	set := testSet(t, rng, leaderKey, 100, true)
	identity := ed25519.NewKeyFromSeed(randomBytes(rng, ed25519.SeedSize))
	pub := ledger.Pubkey(identity.Public().(ed25519.PublicKey))
	for i := range set.Shreds {
		was := set.Shred(i)
		raw := bytes.Clone(set.Shreds[i])
		if err := Resign(raw, identity); err != nil {
			t.Fatal(err)
		}
		s, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		root, err := s.Root()
		if err != nil || root != set.Root {
			t.Errorf("root %v, %v", root, err)
		}
		if was.VerifyRetransmitter(sigverify.Strict, pub) || !s.VerifyRetransmitter(sigverify.Strict, pub) {
			t.Errorf("place %d: retransmitter", i)
		}
		if bytes.Equal(s.Raw(), was.Raw()) {
			t.Errorf("place %d: comparison", i)
		}
	}
	plain := testSet(t, rng, userKey, 100, true)
	if err := Resign(plain.Shreds[0], identity); !errors.Is(err, ErrVariant) {
		t.Errorf("%v, want ErrVariant", err)
	}
	if err := Resign(nil, identity); !errors.Is(err, ErrSize) {
		t.Errorf("%v, want ErrSize", err)
	}
	s := plain.Shred(0)
	if s.VerifyRetransmitter(sigverify.Strict, pub) {
		t.Error("plain shred has a retransmitter")
	}
}

func TestRootDoesNotAllocate(t *testing.T) {
	set := testSet(t, testkit.Rand(t), userKey, 100, true)
	allocs := testing.AllocsPerRun(100, func() {
		s, err := Parse(set.Shreds[40])
		if err != nil {
			t.Fatal(err)
		}
		if root, err := s.Root(); err != nil || root != set.Root {
			t.Fatal(root, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkShred(b *testing.B) {
	batch := randomBytes(testkit.Rand(b), 32*963)
	cpu := testkit.StartCPU()
	for b.Loop() {
		if _, err := NewShredder(testConfig(userKey)).Shred(batch, 0, true); err != nil {
			b.Fatal(err)
		}
	}
	cpu.Report(b, "set", 1)
}

// BenchmarkCheck is what a receiver of all 64 shreds does before it collects
// them: parse, proof, one signature.
func BenchmarkCheck(b *testing.B) {
	set := testSet(b, testkit.Rand(b), userKey, 32*963, true)
	pub := testSigner.Public().(ed25519.PublicKey)
	cpu := testkit.StartCPU()
	for b.Loop() {
		for _, raw := range set.Shreds {
			s, err := Parse(raw)
			if err != nil {
				b.Fatal(err)
			}
			if root, err := s.Root(); err != nil || root != set.Root {
				b.Fatal(root, err)
			}
		}
		if !sigverify.Simd0376.Verify(pub, set.Root[:], set.Signature[:]) {
			b.Fatal("signature")
		}
	}
	cpu.Report(b, "set", 1)
}

// BenchmarkProofs is that of a receiver that remembers proofs.
func BenchmarkProofs(b *testing.B) {
	set := testSet(b, testkit.Rand(b), userKey, 32*963, true)
	pub := testSigner.Public().(ed25519.PublicKey)
	var proofs Proofs
	cpu := testkit.StartCPU()
	for b.Loop() {
		clear(proofs.trees[:])
		for _, raw := range set.Shreds {
			s, err := Parse(raw)
			if err != nil {
				b.Fatal(err)
			}
			if root, err := proofs.Root(&s); err != nil || root != set.Root {
				b.Fatal(root, err)
			}
		}
		if !sigverify.Simd0376.Verify(pub, set.Root[:], set.Signature[:]) {
			b.Fatal("signature")
		}
	}
	cpu.Report(b, "set", 1)
}

// BenchmarkAssemble recovers sets of shreds whose proofs were checked before.
func BenchmarkAssemble(b *testing.B) {
	rng := testkit.Rand(b)
	all := shredsOf(testSet(b, rng, userKey, 32*963, true))
	askRoots(all)
	run := func(name string, choice func() []Shred) {
		b.Run(name, func(b *testing.B) {
			choices := make([][]Shred, 256)
			for i := range choices {
				choices[i] = choice()
			}
			i := 0
			cpu := testkit.StartCPU()
			for b.Loop() {
				if _, err := Assemble(choices[i%len(choices)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
			cpu.Report(b, "set", 1)
		})
	}
	run("data", func() []Shred { return all[:SetData] })
	run("code", func() []Shred { return all[SetData:] })
	run("random", func() []Shred { return pick(rng, all, SetData) })
}
