package shred

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrPacked is returned by Unpack for bytes that are no packed set.
var ErrPacked = errors.New("shred: malformed packed set")

// Pack appends what must be kept of a set so that it can be made again: what
// all shreds have in common once, and of each data shred what the code is
// applied to, without the zeros at its end. A set that is little filled takes
// little room.
//
//	variant u8 | signature 64 | chained root 32 | retransmitter's signature 64, if the variant has one
//	32 × (length u16 | bytes)
//
// Of the retransmitters' signatures only that of the first shred is kept:
// they mean nothing once a shred has arrived.
func (s *Set) Pack(b []byte) []byte {
	first := s.Shred(0)
	h := first.header()
	b = append(b, first.raw[offVariant])
	b = append(b, s.Signature[:]...)
	b = append(b, s.Chained[:]...)
	if h.resigned {
		b = append(b, first.retransmitter()...)
	}
	end := signatureSize + h.keptSize()
	for _, raw := range s.Shreds[:SetData] {
		kept := raw[signatureSize:end]
		for len(kept) > 0 && kept[len(kept)-1] == 0 {
			kept = kept[:len(kept)-1]
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(len(kept)))
		b = append(b, kept...)
	}
	return b
}

// Unpack makes a set of what Pack appended. The caller compares its Root with
// the one that it expects: nothing else says that the bytes are unchanged.
// Errors are ErrPacked and those of Parse and Assemble.
func Unpack(b []byte) (*Set, error) {
	const fixed = 1 + signatureSize + rootSize
	if len(b) < fixed {
		return nil, fmt.Errorf("%w: %d bytes", ErrPacked, len(b))
	}
	resigned := b[0] == variantDataResigned
	signature, chained, b := b[1:1+signatureSize], b[1+signatureSize:fixed], b[fixed:]
	var retransmitter []byte
	if resigned {
		if len(b) < signatureSize {
			return nil, fmt.Errorf("%w: no retransmitter's signature", ErrPacked)
		}
		retransmitter, b = b[:signatureSize], b[signatureSize:]
	}
	kept := (&header{resigned: resigned}).keptSize()
	raws := newShreds()
	for _, raw := range raws[:SetData] {
		if len(b) < 2 || int(binary.LittleEndian.Uint16(b)) > min(kept, len(b)-2) {
			return nil, fmt.Errorf("%w: cut short", ErrPacked)
		}
		n := 2 + int(binary.LittleEndian.Uint16(b))
		copy(raw[signatureSize:], b[2:n])
		copy(raw[signatureSize+kept:], chained)
		b = b[n:]
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrPacked, len(b))
	}
	first, err := Parse(raws[0])
	if err != nil {
		return nil, err
	}
	if first.Resigned() != resigned {
		return nil, fmt.Errorf("%w: variant", ErrPacked)
	}
	h := first.header()
	set, err := finish(&raws, &h)
	if err != nil {
		return nil, err
	}
	copy(set.Signature[:], signature)
	for _, raw := range raws {
		copy(raw, signature)
		copy(raw[len(raw)-len(retransmitter):], retransmitter)
	}
	set.Shreds = raws
	return set, nil
}

// keptSize is the number of bytes of a data shred, from behind the signature,
// that its code shreds are made of.
func (h *header) keptSize() int { return h.proofOffsets()[0] - rootSize - signatureSize }
