package sim

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"

	"tutti/ledger"
	"tutti/shred"
)

// Where things stand in a shred (FORMATS section 2), for those who forge them.
const (
	signatureSize   = 64
	versionAt       = 77
	dataFlagsAt     = 85
	dataSizeAt      = 86
	dataPayloadAt   = 88
	codePayloadAt   = 89
	proofLevels     = 6
	proofNodeSize   = 20
	proofSize       = proofLevels * proofNodeSize
	chainedRootSize = 32
)

// raws are the 64 shreds of a set that somebody forges.
type raws [shred.SetSize][]byte

func rawsOf(set *shred.Set) (r raws) {
	for i, raw := range set.Shreds {
		r[i] = append([]byte(nil), raw...)
	}
	return r
}

// tail returns where the proof stands in a shred.
func tail(raw []byte, resigned bool) int {
	at := len(raw) - proofSize
	if resigned {
		at -= signatureSize
	}
	return at
}

// sign makes forged shreds a set that everybody takes for the signer's: the
// Merkle tree over them, whatever they hold, a proof in each, and a signature
// of its root. It is written from FORMATS section 2, not from package shred,
// which makes no such sets.
func (r *raws) sign(signer ed25519.PrivateKey) ledger.Hash {
	first, _ := shred.Parse(r[0])
	var nodes [shred.SetSize]ledger.Hash
	for i, raw := range r {
		nodes[i] = sha256.Sum256(append([]byte("\x00SOLANA_MERKLE_SHREDS_LEAF"), raw[signatureSize:tail(raw, first.Resigned())]...))
	}
	for level, width := 0, shred.SetSize; level < proofLevels; level++ {
		for i, raw := range r {
			copy(raw[tail(raw, first.Resigned())+level*proofNodeSize:], nodes[i>>level^1][:proofNodeSize])
		}
		width /= 2
		for i := range width {
			node := append([]byte("\x01SOLANA_MERKLE_SHREDS_NODE"), nodes[2*i][:proofNodeSize]...)
			nodes[i] = sha256.Sum256(append(node, nodes[2*i+1][:proofNodeSize]...))
		}
	}
	signature := ed25519.Sign(signer, nodes[0][:])
	for _, raw := range r {
		copy(raw, signature)
	}
	return nodes[0]
}

// parsed returns the shreds that a decoder takes, with their places.
func (r *raws) parsed() (shreds []shred.Shred) {
	for _, raw := range r {
		if s, err := shred.Parse(raw); err == nil {
			shreds = append(shreds, s)
		}
	}
	return shreds
}

// forgery is a way to make a set that decodes to different data by which of
// its shreds are used, or to data that its encoding contradicts. It changes a,
// the shreds of a sound set; b are those of another sound set for the same
// place, with other data.
type forgery struct {
	name  string
	forge func(rng *rand.Rand, a, b *raws)
}

// dataPlace and codePlace draw a shred's place in a set.
func dataPlace(rng *rand.Rand) int { return rng.IntN(shred.SetData) }
func codePlace(rng *rand.Rand) int { return shred.SetData + rng.IntN(shred.SetData) }

// forgeries are all ways.
var forgeries = []forgery{
	{"data changed after encoding", func(rng *rand.Rand, a, _ *raws) {
		raw := a[dataPlace(rng)]
		flip(rng, raw, dataPayloadAt, len(raw)-proofSize-signatureSize-chainedRootSize)
	}},
	{"code changed", func(rng *rand.Rand, a, _ *raws) {
		raw := a[codePlace(rng)]
		flip(rng, raw, codePayloadAt, len(raw)-proofSize-signatureSize-chainedRootSize)
	}},
	{"two encodings", func(rng *rand.Rand, a, b *raws) {
		places := rng.Perm(shred.SetSize)
		for _, i := range places[:1+rng.IntN(shred.SetSize-1)] {
			a[i] = b[i]
		}
	}},
	{"code of other data", func(_ *rand.Rand, a, b *raws) { copy(a[shred.SetData:], b[shred.SetData:]) }},
	{"data of other code", func(_ *rand.Rand, a, b *raws) { copy(a[:shred.SetData], b[:shred.SetData]) }},
	{"a size changed", func(rng *rand.Rand, a, _ *raws) {
		raw := a[dataPlace(rng)]
		size := binary.LittleEndian.Uint16(raw[dataSizeAt:])
		binary.LittleEndian.PutUint16(raw[dataSizeAt:], size^uint16(1+rng.IntN(7)))
	}},
	{"a tick changed", func(rng *rand.Rand, a, _ *raws) { a[dataPlace(rng)][dataFlagsAt] ^= byte(1 + rng.IntN(0x3f)) }},
	{"a version changed", func(rng *rand.Rand, a, _ *raws) { a[rng.IntN(shred.SetSize)][versionAt]++ }},
	{"a chained root changed", func(rng *rand.Rand, a, _ *raws) {
		raw := a[rng.IntN(shred.SetSize)]
		first, _ := shred.Parse(a[0])
		end := tail(raw, first.Resigned())
		flip(rng, raw, end-chainedRootSize, end)
	}},
	{"a shred of other data", func(rng *rand.Rand, a, b *raws) {
		for {
			i, j := dataPlace(rng), dataPlace(rng)
			n := len(a[i]) - proofSize - signatureSize - chainedRootSize
			if old, other := a[i][dataPayloadAt:n], b[j][dataPayloadAt:n]; !bytes.Equal(old, other) { // as padding is
				copy(old, other)
				return
			}
		}
	}},
}

// flip changes one byte between two offsets.
func flip(rng *rand.Rand, raw []byte, from, to int) {
	raw[from+rng.IntN(to-from)] ^= byte(1 + rng.IntN(255))
}
