package cluster

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sort"
)

// RNG is the key stream of ChaCha with 20 or 8 rounds, read as numbers the
// way Rust's rand_chacha reads it (FORMATS section 3): the seed is the key,
// the block counter has 64 bits and starts at 0, the stream id is 0.
type RNG struct {
	key     [8]uint32
	counter uint64
	rounds  int
	block   [16]uint32
	used    int // words of block already given out
}

// NewChaCha20 returns the generator of schedules.
func NewChaCha20(seed [32]byte) *RNG {
	r := &RNG{rounds: 20}
	r.Seed(seed)
	return r
}

// NewChaCha8 returns the generator of Turbine trees.
func NewChaCha8(seed [32]byte) *RNG {
	r := &RNG{rounds: 8}
	r.Seed(seed)
	return r
}

// Seed starts the generator again from a new seed; the rounds stay.
func (r *RNG) Seed(seed [32]byte) {
	for i := range r.key {
		r.key[i] = binary.LittleEndian.Uint32(seed[4*i:])
	}
	r.counter = 0
	r.used = len(r.block)
}

// Uint64 returns the next 8 bytes of the stream, low word first.
func (r *RNG) Uint64() uint64 {
	if r.used == len(r.block) {
		r.refill()
	}
	lo, hi := r.block[r.used], r.block[r.used+1]
	r.used += 2
	return uint64(hi)<<32 | uint64(lo)
}

func (r *RNG) refill() {
	in := [16]uint32{
		0x61707865, 0x3320646e, 0x79622d32, 0x6b206574,
		r.key[0], r.key[1], r.key[2], r.key[3], r.key[4], r.key[5], r.key[6], r.key[7],
		uint32(r.counter), uint32(r.counter >> 32), 0, 0,
	}
	x := in
	for range r.rounds / 2 {
		quarter(&x[0], &x[4], &x[8], &x[12])
		quarter(&x[1], &x[5], &x[9], &x[13])
		quarter(&x[2], &x[6], &x[10], &x[14])
		quarter(&x[3], &x[7], &x[11], &x[15])
		quarter(&x[0], &x[5], &x[10], &x[15])
		quarter(&x[1], &x[6], &x[11], &x[12])
		quarter(&x[2], &x[7], &x[8], &x[13])
		quarter(&x[3], &x[4], &x[9], &x[14])
	}
	for i := range x {
		r.block[i] = x[i] + in[i]
	}
	r.counter++
	r.used = 0
}

func quarter(a, b, c, d *uint32) {
	*a += *b
	*d = bits.RotateLeft32(*d^*a, 16)
	*c += *d
	*b = bits.RotateLeft32(*b^*c, 12)
	*a += *b
	*d = bits.RotateLeft32(*d^*a, 8)
	*c += *d
	*b = bits.RotateLeft32(*b^*c, 7)
}

// SampleInstance returns a number below n > 0 with the rejection zone of a
// prepared distribution: 2⁶⁴−1 − ((2⁶⁴−n) mod n). The leader schedule uses
// it.
func (r *RNG) SampleInstance(n uint64) uint64 {
	return r.sample(n, ^uint64(0)-(-n%n))
}

// SampleTrait returns a number below n > 0 with the rejection zone of a
// single draw: (n << leading zeros of n) − 1. The weighted shuffle uses it.
func (r *RNG) SampleTrait(n uint64) uint64 {
	return r.sample(n, n<<bits.LeadingZeros64(n)-1)
}

func (r *RNG) sample(n, zone uint64) uint64 {
	for {
		if hi, lo := bits.Mul64(r.Uint64(), n); lo <= zone {
			return hi
		}
	}
}

// WeightedIndex draws indices with a probability proportional to their
// weights, with replacement.
type WeightedIndex struct {
	sums []uint64 // of the weights up to and including i
}

// NewWeightedIndex prepares the drawing. The sum of the weights must be
// above 0 and fit 64 bits.
func NewWeightedIndex(weights []uint64) *WeightedIndex {
	sums := slices.Clone(weights)
	for i := 1; i < len(sums); i++ {
		sums[i] += sums[i-1]
	}
	return &WeightedIndex{sums: sums}
}

// Sample draws one index.
func (w *WeightedIndex) Sample(r *RNG) int {
	x := r.SampleInstance(w.sums[len(w.sums)-1])
	return sort.Search(len(w.sums), func(i int) bool { return w.sums[i] > x })
}
