package shred

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
	"tutti/ledger/sigverify"
)

// Origins of the conformance data.
const (
	firedancer = "firedancer-io/firedancer"
	sig        = "Syndica/sig"
)

// pcapFrames returns the payloads of a pcap file of UDP over IPv4 over
// Ethernet.
func pcapFrames(t testing.TB, b []byte) [][]byte {
	t.Helper()
	const fileHeader, recordHeader, packetHeaders = 24, 16, 42
	if len(b) < fileHeader || binary.LittleEndian.Uint32(b) != 0xa1b2c3d4 {
		t.Fatal("not a little-endian pcap file")
	}
	var frames [][]byte
	for b = b[fileHeader:]; len(b) > 0; {
		n := int(binary.LittleEndian.Uint32(b[8:]))
		frames = append(frames, b[recordHeader+packetHeaders:recordHeader+n])
		b = b[recordHeader+n:]
	}
	return frames
}

// arMembers returns the files in an ar archive.
func arMembers(t testing.TB, b []byte) [][]byte {
	t.Helper()
	const magic, header = "!<arch>\n", 60
	if !bytes.HasPrefix(b, []byte(magic)) {
		t.Fatal("not an ar archive")
	}
	var files [][]byte
	for b = b[len(magic):]; len(b) >= header; {
		n, err := strconv.Atoi(strings.TrimSpace(string(b[48:58])))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b[header:header+n])
		b = b[min(len(b), header+n+n%2):]
	}
	return files
}

// FORMATS section 2: an independent shredder's 512 shreds, byte for byte.
func TestVectorsGolden(t *testing.T) {
	batch := testkit.Vectors(t, firedancer, "shreds-golden", "demo-shreds.bin")
	key := testkit.Vectors(t, firedancer, "shreds-golden", "demo-shreds.key")
	want := pcapFrames(t, testkit.Vectors(t, firedancer, "shreds-golden", "demo-shreds.pcap"))
	var chained ledger.Hash
	for i := range 32 {
		chained[i] = byte((i + 1) % 16)
	}
	s := NewShredder(Config{Version: 6051, Signer: ed25519.NewKeyFromSeed(key[:32]), Chained: chained})
	sets, err := s.Shred(batch, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for i, set := range sets {
		for j, raw := range set.Shreds {
			at := i*SetSize + j
			if at >= len(want) || !bytes.Equal(raw, want[at]) {
				t.Fatalf("set %d, place %d differs", i, j)
			}
			checked++
			parsed, err := Parse(raw)
			if err != nil {
				t.Fatalf("set %d, place %d: %v", i, j, err)
			}
			root, err := parsed.Root()
			if err != nil || root != set.Root {
				t.Fatalf("set %d, place %d: root %v, %v", i, j, root, err)
			}
			sig := parsed.Signature()
			if j == 0 && !sigverify.Strict.Verify(key[32:], root[:], sig[:]) {
				t.Fatalf("set %d: signature", i)
			}
		}
	}
	testkit.Count("shreds-golden: rebuilt", checked, len(want))
	if checked != 512 || len(want) != 512 {
		t.Fatalf("%d of %d shreds", checked, len(want))
	}
	root := s.Root()
	if got := hex.EncodeToString(root[:]); got != "7f92e8713ad169c34664ebd783386f6188baf62c615d52d0505f93b15fb52de6" {
		t.Fatalf("block id %s", got)
	}
}

// FORMATS section 2: a set captured on mainnet, of which 59 shreds arrived,
// is the same whichever 32 of them it is recovered from.
func TestVectorsCapturedSet(t *testing.T) {
	b := testkit.Vectors(t, sig, "sig-fecset-410010000", "shreds.bin")
	var shreds []Shred
	for len(b) > 0 {
		n := int(binary.LittleEndian.Uint64(b))
		s, err := Parse(b[8 : 8+n])
		if err != nil {
			t.Fatal(err)
		}
		shreds = append(shreds, s)
		b = b[8+n:]
	}
	if len(shreds) != 59 {
		t.Fatalf("%d shreds", len(shreds))
	}
	root, err := shreds[0].Root()
	if err != nil {
		t.Fatal(err)
	}
	const choices = 1000
	rng := testkit.Rand(t)
	var first *Set
	for range choices {
		rng.Shuffle(len(shreds), func(i, j int) { shreds[i], shreds[j] = shreds[j], shreds[i] })
		set, err := Assemble(shreds[:SetData])
		if err != nil {
			t.Fatal(err)
		}
		if set.Root != root || set.Key != 410010000 || set.Index != 0 || set.Version != 57087 || set.ParentOffset != 1 {
			t.Fatalf("set %+v", set)
		}
		if !set.Complete || set.Last || len(set.Payload) != 29430 {
			t.Fatalf("complete %t, last %t, %d bytes", set.Complete, set.Last, len(set.Payload))
		}
		for i := range shreds {
			if !bytes.Equal(set.Shreds[shreds[i].Position()], shreds[i].Raw()) {
				t.Fatalf("place %d differs from what was captured", shreds[i].Position())
			}
		}
		if first == nil {
			first = set
		}
		for i := range set.Shreds {
			if !bytes.Equal(set.Shreds[i], first.Shreds[i]) {
				t.Fatalf("place %d differs between two choices", i)
			}
		}
	}
	testkit.Count("sig-fecset-410010000: choices of 32 of 59", choices, choices)
}

// FORMATS section 2: the archive's shreds, of variant 0x85, have no chained
// root and are rejected.
func TestVectorsUnchainedRejected(t *testing.T) {
	files := arMembers(t, testkit.Vectors(t, firedancer, "shreds-golden", "legacy-must-be-rejected.ar"))
	if len(files) == 0 {
		t.Fatal("empty archive")
	}
	for i, f := range files {
		if _, err := Parse(f); !errors.Is(err, ErrUnchained) {
			t.Fatalf("file %d, variant %#x: %v, want ErrUnchained", i, f[offVariant], err)
		}
	}
	testkit.Count("shreds-golden: legacy rejected", len(files), len(files))
}

// FORMATS section 2: sets of 16:16 are rejected.
func TestVectorsOldGeometryRejected(t *testing.T) {
	names := []string{"id.bin", "pay1.bin", "pay2.bin"}
	for _, name := range names {
		b := testkit.Vectors(t, firedancer, "fd-eqvoc", name)
		if _, err := Parse(b); !errors.Is(err, ErrGeometry) {
			t.Fatalf("%s: %v, want ErrGeometry", name, err)
		}
	}
	testkit.Count("fd-eqvoc: 16:16 rejected", len(names), len(names))
}
