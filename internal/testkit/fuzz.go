package testkit

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"slices"
	"testing"
)

// Neighbours is how many inputs beside the given one Decode tries.
const Neighbours = 15

// What a decoder may allocate for an input: AllocationFactor times its length
// and AllocationBase bytes for errors, closures and the first elements of lists.
const (
	AllocationFactor = 4
	AllocationBase   = 4 << 10
)

// exactly is the share of inputs, one of so many, whose allocations are
// counted exactly, which stops the world.
const exactly = 16

// screenSlack is what the runtime's cheap counter may lag behind: it sees a
// span of small objects when the next one is begun.
const screenSlack = 256 << 10

// Decode is the body of a decoder's fuzz target. decode reads bytes; it returns
// nil if it refuses them, else a function that writes what was read. Decode
// calls it for the input and for Neighbours inputs near it, always the same
// ones, since the fuzzing engine itself costs far more than a decoder does. It
// fails the test if
//
//   - what is written is not what was read: a value has one form of bytes;
//   - decode changes its input;
//   - decode allocates more than AllocationFactor times the input's length and
//     AllocationBase. A cheap counter sees every input, and finds lengths that
//     are believed; one input of sixteen, drawn by its content, is counted to
//     the byte.
func Decode(t testing.TB, in []byte, decode func([]byte) (encode func() []byte)) {
	t.Helper()
	rng := rand.New(rand.NewPCG(sum(in), uint64(len(in))))
	variant := make([]byte, 0, 2*len(in)+neighbourGrowth)
	before := make([]byte, 0, cap(variant))

	allowed, read := uint64(screenSlack), allocated()
	for i := range 1 + Neighbours {
		variant = append(variant[:0], in...)
		if i > 0 {
			variant = neighbour(rng, variant)
		}
		before = append(before[:0], variant...)
		encode := decode(variant)
		if !bytes.Equal(variant, before) {
			t.Fatalf("decoding %x made it %x", before, variant)
		}
		// Writing costs about what was read, and grows it step by step.
		allowed += allowance(len(variant))
		if encode == nil {
			continue
		}
		allowed += 4 * allowance(len(variant))
		if again := encode(); !bytes.Equal(again, variant) {
			t.Fatalf("read  %x\nwrote %x", variant, again)
		}
	}
	if Drawn(in) || allocated()-read > allowed {
		Allocates(t, in, func(b []byte) { decode(b) })
	}
}

// Drawn tells of one input of sixteen, drawn by its content, that its
// allocations are to be counted to the byte.
func Drawn(in []byte) bool { return sum(in)%exactly == 0 }

func sum(in []byte) uint64 {
	h := fnv.New64a()
	h.Write(in)
	return h.Sum64()
}

// Allocates fails the test if f allocates more for an input than a decoder
// may. Of some calls the cheapest counts, since others allocate, too.
func Allocates(t testing.TB, in []byte, f func([]byte)) {
	t.Helper()
	var least uint64
	for i := range 4 {
		var from, to runtime.MemStats
		runtime.ReadMemStats(&from)
		f(in)
		runtime.ReadMemStats(&to)
		n := to.TotalAlloc - from.TotalAlloc
		if least = min(least, n); i == 0 {
			least = n
		}
		if least <= allowance(len(in)) {
			return
		}
	}
	t.Fatalf("%d bytes allocated for an input of %d, %d allowed: %x", least, len(in), allowance(len(in)), in)
}

func allowance(n int) uint64 { return uint64(AllocationFactor*n + AllocationBase) }

// allocated is how many bytes this process has allocated, nearly.
func allocated() uint64 {
	sample := [1]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample[:])
	return sample[0].Value.Uint64()
}

// neighbourGrowth is the most that neighbour makes an input longer by, beside
// doubling it.
const neighbourGrowth = 16

// neighbour changes an input as decoders are sensitive to: its end, a bit, a
// number of any size in any place, a part that is missing or stands twice.
func neighbour(rng *rand.Rand, b []byte) []byte {
	if len(b) == 0 {
		return append(b, byte(rng.Uint32()))
	}
	at := rng.IntN(len(b))
	if rng.IntN(4) == 0 {
		at = min(at, 8*rng.IntN(9)) // heads matter more
	}
	end := at + 1 + rng.IntN(min(64, len(b)-at))
	switch rng.IntN(8) {
	case 0:
		return b[:at]
	case 1:
		return append(b, byte(rng.Uint32()))
	case 2:
		b[at] ^= 1 << rng.IntN(8)
	case 3:
		b[at] = byte(rng.Uint32())
	case 4:
		return slices.Delete(b, at, end)
	case 5:
		return slices.Insert(b, at, b[at:end]...)
	case 6:
		number(rng, b[at:])
	case 7:
		return append(b[:at], b[rng.IntN(len(b)):]...)
	}
	return b
}

// number puts an integer that is often wrong into the front of b.
func number(rng *rand.Rand, b []byte) {
	v := [...]uint64{0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 1 << 31, 1<<32 - 1, 1 << 63, 1<<64 - 1, uint64(len(b))}[rng.IntN(12)]
	if rng.IntN(3) == 0 {
		v += rng.Uint64N(5) - 2
	}
	var wide [8]byte
	binary.LittleEndian.PutUint64(wide[:], v)
	copy(b, wide[:1<<rng.IntN(4)])
}
