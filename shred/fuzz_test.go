package shred

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
	"math/rand/v2"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// FuzzParse checks that Parse accepts only headers that its accessors give
// back to the byte.
func FuzzParse(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, set := range []*Set{
		testSet(f, rng, leaderKey, 3000, false),
		testSet(f, rng, leaderKey, 3000, true),
		testSet(f, rng, userKey, 3000, true),
	} {
		for _, i := range []int{0, 31, 32, 63} {
			f.Add(set.Shreds[i])
		}
	}
	var proofs Proofs
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			s, err := Parse(b)
			if err != nil {
				return nil
			}
			return func() []byte {
				if s.Key().IsUser() && s.Resigned() || s.Position() < 0 || s.Position() >= SetSize {
					t.Fatal("impossible header")
				}
				root, err := s.Root()
				if got, errGot := proofs.Root(&s); err != nil || errGot != nil || got != root {
					t.Fatalf("roots %v and %v, %v, %v", root, got, err, errGot)
				}
				return headerAgain(&s, bytes.Clone(b))
			}
		})
		if s, err := Parse(b); err == nil && b[0]%16 == 0 { // signing is dear
			if err := Resign(bytes.Clone(b), testSigner); (err == nil) != s.Resigned() {
				t.Fatal(err)
			}
		}
	})
}

// headerAgain writes what the accessors of s say into a shred's header.
func headerAgain(s *Shred, got []byte) []byte {
	variant := map[[2]bool]byte{
		{true, false}: variantData, {true, true}: variantDataResigned,
		{false, false}: variantCode, {false, true}: variantCodeResigned,
	}
	got[offVariant] = variant[[2]bool{s.IsData(), s.Resigned()}]
	h := s.header()
	putCommon(got, &h, s.SetIndex()+uint32(s.Position()%SetData))
	if s.IsData() {
		binary.LittleEndian.PutUint16(got[offParent:], s.ParentOffset())
		flags := s.ReferenceTick()
		switch {
		case s.LastInSlot():
			flags |= flagLast
		case s.DataComplete():
			flags |= flagDataComplete
		}
		got[offFlags] = flags
		binary.LittleEndian.PutUint16(got[offSize:], uint16(dataHeader+len(s.Payload())))
	} else {
		binary.LittleEndian.PutUint16(got[offNumData:], SetData)
		binary.LittleEndian.PutUint16(got[offNumCode:], SetData)
		binary.LittleEndian.PutUint16(got[offPosition:], uint16(s.Position()-SetData))
	}
	return got
}

// FuzzAssemble plays a network to a receiver of one set: each byte of the
// script sends the shred at a place, its high bits tell whether it is damaged
// on the way, and where. Whatever has a sound proof is kept. The receiver
// must get exactly the set that was sent, or know why not.
func FuzzAssemble(f *testing.F) {
	whole := make([]byte, SetSize)
	for i := range whole {
		whole[i] = byte(i)
	}
	f.Add(byte(0), whole)
	f.Add(byte(1), whole[SetData:])
	f.Add(byte(2), whole[16:48])
	f.Add(byte(3), append(bytes.Repeat([]byte{64}, 9), whole[:SetData]...))
	f.Add(byte(4), bytes.Repeat([]byte{1, 2, 255, 130}, 16))
	f.Add(byte(5), whole)
	rng := rand.New(rand.NewPCG(2, 2))
	sent := []*Set{
		testSet(f, rng, leaderKey, 30_000, false),
		testSet(f, rng, leaderKey, 100, true),
		testSet(f, rng, userKey, 30_000, true),
		testSet(f, rng, userKey, 0, false),
	}
	bad := [][]Shred{
		forge(sent[0], func(r *[SetSize][]byte) { r[60][700] ^= 1 }),
		forge(sent[1], func(r *[SetSize][]byte) { r[5][offParent]++; reencode(sent[1], r) }),
	}
	f.Fuzz(func(t *testing.T, which byte, script []byte) {
		n := int(which) % (len(sent) + len(bad))
		var all []Shred
		if n < len(sent) {
			all = shredsOf(sent[n])
		} else {
			all = bad[n-len(sent)]
		}
		root, err := all[0].Root()
		if err != nil {
			t.Fatal(err)
		}
		var kept []Shred
		var places uint64
		for i, b := range script {
			if i == 4*SetSize {
				break
			}
			raw := bytes.Clone(all[int(b)%SetSize].Raw())
			if b >= SetSize {
				// Behind the signature, whose check is the caller's, up to the
				// end of the proof.
				s := all[int(b)%SetSize]
				end := s.proofOffset() + proofSize
				raw[signatureSize+(i*131+int(b))%(end-signatureSize)] ^= b >> 2
			}
			s, err := Parse(raw)
			if err != nil {
				continue
			}
			if got, err := s.Root(); err != nil || got != root {
				continue
			}
			kept = append(kept, s)
			places |= 1 << s.Position()
		}
		set, err := Assemble(kept)
		switch {
		case bits.OnesCount64(places) < SetData:
			if !errors.Is(err, ErrTooFew) {
				t.Fatalf("%d places: %v, want ErrTooFew", bits.OnesCount64(places), err)
			}
		case n >= len(sent):
			if !errors.Is(err, ErrInconsistent) {
				t.Fatalf("%v, want ErrInconsistent", err)
			}
		case err != nil:
			t.Fatal(err)
		default:
			equalSets(t, set, sent[n])
		}
	})
}

// FuzzShredder checks that batches of any sizes come back whole, in sets that
// chain.
func FuzzShredder(f *testing.F) {
	f.Add(uint64(leaderKey), []byte{0, 1, 200, 255})
	f.Add(uint64(userKey), []byte{255, 255, 3})
	f.Add(uint64(0), []byte{9})
	f.Fuzz(func(t *testing.T, key uint64, sizes []byte) {
		k := ledger.SlotKey(key)
		if _, lane := k.User(); k.IsUser() && lane >= ledger.LanesMax {
			return
		}
		c := testConfig(k)
		if c.ParentOffset = 1; k.IsUser() || k == 0 {
			c.ParentOffset = 0
		}
		s := NewShredder(c)
		chained := c.Chained
		for i, size := range sizes[:min(len(sizes), 4)] {
			batch := bytes.Repeat([]byte{byte(i), size}, int(size)*200)
			sets, err := s.Shred(batch, size, i == len(sizes)-1)
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for _, set := range sets {
				if set.Chained != chained {
					t.Fatal("sets do not chain")
				}
				chained = set.Root
				again, err := Assemble(shredsOf(set)[int(size)%SetData:][:SetData])
				if err != nil {
					t.Fatal(err)
				}
				equalSets(t, again, set)
				got = append(got, again.Payload...)
			}
			if !bytes.Equal(got, batch) {
				t.Fatal("batch differs")
			}
		}
	})
}

// FuzzUnpack checks that what Unpack accepts is a sound set that packs to the
// same bytes, up to zeros that need not have been written.
func FuzzUnpack(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, set := range []*Set{
		testSet(f, rng, leaderKey, 300, false),
		testSet(f, rng, leaderKey, 300, true),
		testSet(f, rng, userKey, 300, true),
	} {
		f.Add(set.Pack(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := Unpack(b)
		if err != nil {
			return
		}
		packed := set.Pack(nil)
		again, err := Unpack(packed)
		if err != nil {
			t.Fatal(err)
		}
		equalSets(t, again, set)
		if len(packed) > len(b) {
			t.Errorf("%d bytes became %d", len(b), len(packed))
		}
		for i := range set.Shreds {
			s, err := Parse(set.Shreds[i])
			if err != nil {
				t.Fatal(err)
			}
			if root, err := s.Root(); err != nil || root != set.Root {
				t.Fatalf("shred %d: root %v, %v", i, root, err)
			}
		}
	})
}
