package shred

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/klauspost/reedsolomon"

	"tutti/internal/planted"
	"tutti/ledger"
)

// ErrTooFew is returned by Assemble for fewer than SetData shreds.
var ErrTooFew = errors.New("shred: too few shreds for a set")

// ErrInconsistent is returned by Assemble for a set that its leader did not
// make as the rules say: encoding what was decoded gives another Merkle root.
// The verdict is the same for every choice of shreds of that root.
var ErrInconsistent = errors.New("shred: inconsistent set")

// Set is one whole FEC set, proven: its 64 shreds are what encoding their
// data gives, and Root is their Merkle root.
type Set struct {
	Key ledger.SlotKey
	// Index is the index of the first data shred, a multiple of SetData.
	Index uint32
	Root  ledger.Hash
	// Chained is the Root of the set before; for a block's first set it is
	// the parent's id, or a UserBlock's anchor.
	Chained ledger.Hash
	// Signature is one valid signature of Root, if the caller's shreds had
	// that.
	Signature ledger.Signature
	// Version is the shred version of the cluster.
	Version uint16
	// ParentOffset is the same in all shreds of a set. That it is the same in
	// all sets of a block is for the reader of the block to check.
	ParentOffset uint16
	// Complete says that a batch ends with the set, Last that the block does.
	// Invariant: Last implies Complete.
	Complete, Last bool
	// ReferenceTick is that of the last data shred.
	ReferenceTick uint8
	// Shreds holds the data shreds, then the code shreds, each raw.
	Shreds [SetSize][]byte
	// Payload is the concatenation of what the data shreds carry.
	Payload []byte
}

// Shred returns the shred at place i, 0 to 63.
func (s *Set) Shred(i int) Shred { return Shred{raw: s.Shreds[i]} }

// header is what all shreds of a set have in common.
type header struct {
	key      ledger.SlotKey
	index    uint32
	version  uint16
	resigned bool
	chained  ledger.Hash
}

// header reads what the shred has in common with all of its set.
func (s *Shred) header() header {
	return header{
		key:      s.Key(),
		index:    s.SetIndex(),
		version:  s.Version(),
		resigned: s.Resigned(),
		chained:  s.ChainedRoot(),
	}
}

// proofOffsets returns where the proofs begin in data and in code shreds.
func (h *header) proofOffsets() [2]int {
	if h.resigned {
		return [2]int{DataSize - signatureSize - proofSize, CodeSize - signatureSize - proofSize}
	}
	return [2]int{DataSize - proofSize, CodeSize - proofSize}
}

// capacity returns the bytes of payload for which a data shred has room.
func (h *header) capacity() int { return h.proofOffsets()[0] - rootSize - dataHeader }

// codedSize is the number of bytes of each shred to which the code is applied:
// the 987 or 923 that count, and what follows them, chained root and a part of
// the proof, which are written after coding. The coder is twice as fast for a
// multiple of 64.
const codedSize = 1024

// coder is safe for concurrent use. It keeps no inverted matrices: the
// patterns of loss hardly ever repeat, and the cache would grow without end.
// It may use two goroutines, but one piece is not split: only with leave to do
// so does the library use GFNI for this many shreds, which is twice as fast.
var coder = func() reedsolomon.Encoder {
	c, err := reedsolomon.New(SetData, SetData, reedsolomon.WithInversionCache(false),
		reedsolomon.WithMaxGoroutines(2), reedsolomon.WithMinSplitSize(codedSize-1))
	if err != nil {
		panic(fmt.Sprintf("shred: coder of fixed geometry: %v", err))
	}
	return c
}()

// newShreds returns 64 zeroed shreds in one piece of memory.
func newShreds() (raws [SetSize][]byte) {
	buf := make([]byte, SetData*(DataSize+CodeSize))
	for i := range raws {
		n := DataSize
		if i >= SetData {
			n = CodeSize
		}
		raws[i], buf = buf[:n:n], buf[n:]
	}
	return raws
}

// coded returns the parts of the shreds to which the code is applied: empty,
// with room for it, of those that are not at hand.
func coded(raws *[SetSize][]byte, have uint64) (parts [SetSize][]byte) {
	for i, raw := range raws {
		at := signatureSize
		if i >= SetData {
			at = codeHeader
		}
		parts[i] = raw[at : at+codedSize*int(have>>i&1) : at+codedSize]
	}
	return parts
}

const (
	// allData has the bits of the places of data shreds.
	allData = 1<<SetData - 1
	// allShreds has the bits of all places.
	allShreds = 1<<SetSize - 1
)

// seal makes the rest of a set from its data shreds: code shreds, chained
// roots and proofs. It returns the Merkle root. Signatures are to be written
// after it.
func seal(raws *[SetSize][]byte, h *header, l *leaves) (ledger.Hash, error) {
	parts := coded(raws, allShreds)
	if err := coder.Encode(parts[:]); err != nil {
		return ledger.Hash{}, fmt.Errorf("shred: encode: %w", err)
	}
	variant := byte(variantCode)
	if h.resigned {
		variant = variantCodeResigned
	}
	for i, raw := range raws[SetData:] {
		raw[offVariant] = variant
		putCommon(raw, h, h.index+uint32(i))
		binary.LittleEndian.PutUint16(raw[offNumData:], SetData)
		binary.LittleEndian.PutUint16(raw[offNumCode:], SetData)
		binary.LittleEndian.PutUint16(raw[offPosition:], uint16(i))
	}
	offsets := h.proofOffsets()
	for i, raw := range raws {
		copy(raw[offsets[i/SetData]-rootSize:], h.chained[:])
	}
	return writeProofs(raws, &offsets, l), nil
}

func putCommon(raw []byte, h *header, index uint32) {
	binary.LittleEndian.PutUint64(raw[offKey:], uint64(h.key))
	binary.LittleEndian.PutUint32(raw[offIndex:], index)
	binary.LittleEndian.PutUint16(raw[offVersion:], h.version)
	binary.LittleEndian.PutUint32(raw[offSetIndex:], h.index)
}

// Assemble makes a whole set of at least SetData distinct shreds that have
// one Merkle root, as Root gave it. Of the first SetData of them it recovers the
// data, encodes all 64 shreds again, also when all data shreds are there, and
// compares the Merkle root (PROTOCOL section 4, rule 2). Shreds whose Root was
// asked before are not hashed again: of those that are used the encoding gives
// the very bytes that came. It copies the shreds and returns ErrTooFew or
// ErrInconsistent.
func Assemble(shreds []Shred) (*Set, error) {
	if len(shreds) < SetData {
		return nil, fmt.Errorf("%w: %d", ErrTooFew, len(shreds))
	}
	h := shreds[0].header()
	root, err := shreds[0].Root()
	if err != nil {
		return nil, err
	}
	raws := newShreds()
	var have uint64
	var known leaves
	for i := range shreds {
		s := &shreds[i]
		if s.header() != h {
			return nil, fmt.Errorf("%w: headers differ", ErrInconsistent)
		}
		place := s.Position()
		if have>>place&1 == 1 || bits.OnesCount64(have) == SetData {
			continue
		}
		have |= 1 << place
		copy(raws[place], s.raw)
		if s.hashed {
			known.hash[place] = s.leaf
			known.known |= 1 << place
		}
	}
	if err := recoverData(&raws, have, &h); err != nil {
		return nil, err
	}
	set, err := readData(&raws, &h)
	if err != nil {
		return nil, err
	}
	if set.Root, err = seal(&raws, &h, &known); err != nil {
		return nil, err
	}
	if set.Root != root && !planted.Is(planted.Reencoding) {
		return nil, fmt.Errorf("%w: root %v, signed was %v", ErrInconsistent, set.Root, root)
	}
	set.Signature = shreds[0].Signature()
	for i, raw := range raws {
		copy(raw, set.Signature[:])
		if h.resigned && have>>i&1 == 0 {
			copy(raw[len(raw)-signatureSize:], shreds[0].retransmitter())
		}
	}
	set.Shreds = raws
	return set, nil
}

// finish makes the rest of a set whose data shreds are there, but for
// signatures.
func finish(raws *[SetSize][]byte, h *header) (*Set, error) {
	set, err := readData(raws, h)
	if err != nil {
		return nil, err
	}
	set.Root, err = seal(raws, h, &leaves{})
	return set, err
}

// recoverData fills in the data shreds that are missing.
func recoverData(raws *[SetSize][]byte, have uint64, h *header) error {
	if n := bits.OnesCount64(have); n < SetData {
		return fmt.Errorf("%w: %d distinct", ErrTooFew, n)
	}
	if have == allData {
		return nil
	}
	parts := coded(raws, have)
	if err := coder.ReconstructData(parts[:]); err != nil {
		return fmt.Errorf("shred: recover: %w", err)
	}
	return nil
}

// readData checks the headers of all data shreds of a set, received or
// recovered, and reads what they say.
func readData(raws *[SetSize][]byte, h *header) (*Set, error) {
	set := &Set{Key: h.key, Index: h.index, Chained: h.chained, Version: h.version}
	var sizes int
	for i, raw := range raws[:SetData] {
		copy(raw[h.proofOffsets()[0]-rootSize:], h.chained[:])
		s, err := Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: data %d: %w", ErrInconsistent, i, err)
		}
		if i == 0 {
			set.ParentOffset = s.ParentOffset()
		}
		if !s.IsData() || s.header() != *h || s.Position() != i || s.ParentOffset() != set.ParentOffset {
			return nil, fmt.Errorf("%w: header of data %d", ErrInconsistent, i)
		}
		sizes += len(s.Payload())
	}
	final := Shred{raw: raws[SetData-1]}
	set.Complete, set.Last = final.DataComplete(), final.LastInSlot()
	set.ReferenceTick = final.ReferenceTick()
	set.Payload = make([]byte, 0, sizes)
	for _, raw := range raws[:SetData] {
		s := Shred{raw: raw}
		set.Payload = append(set.Payload, s.Payload()...)
	}
	return set, nil
}
