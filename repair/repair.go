// Package repair says what is missing, whom to ask for it, and what to answer
// (PROTOCOL section 6). Everything is asked for by Merkle root: a wanted block
// id is the root of its last FEC set, and each set names the one before it.
// Only a slot whose block id nobody has told us is asked for by its number.
// The package keeps no shreds and knows no network.
package repair

import (
	"encoding/binary"
	"errors"
	"fmt"

	"tutti/ledger"
)

// Kind is what a request asks for.
type Kind uint8

// Kinds of request.
const (
	// Spine asks for one shred of every FEC set of the block Root, last to
	// first, so that all its roots become known in one round trip.
	Spine Kind = 1
	// Shreds asks for the shreds of the set Root that Mask names.
	Shreds Kind = 2
	// Highest asks for one shred of the newest set known of a slot whose
	// block id is unknown.
	Highest Kind = 3
)

// ShredsMax bounds the shreds of one answer: half a set, all that is needed
// to recover it, or a spine of the longest block.
const ShredsMax = 192

// Request asks a peer for shreds.
type Request struct {
	Nonce uint32
	Kind  Kind
	Key   ledger.SlotKey
	Root  ledger.Hash
	// Mask has bit i set if the shred at place i of the set (data 0…31, code
	// 32…63) is wanted. Only for Shreds.
	Mask uint64
}

// Response answers the Request of the same Nonce with raw shreds.
type Response struct {
	Nonce  uint32
	Shreds [][]byte
}

const requestSize = 4 + 1 + 8 + 32 + 8

// ErrMalformed is returned for bytes that are no request or response.
var ErrMalformed = errors.New("malformed repair message")

// Append serialises the request: nonce u32, kind u8, slot field u64, root,
// mask u64, little-endian.
func (r *Request) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, r.Nonce)
	b = append(b, byte(r.Kind))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Key))
	b = append(b, r.Root[:]...)
	return binary.LittleEndian.AppendUint64(b, r.Mask)
}

// ParseRequest reads exactly one request.
func ParseRequest(b []byte) (Request, error) {
	var r Request
	if len(b) != requestSize {
		return r, fmt.Errorf("%w: request of %d bytes", ErrMalformed, len(b))
	}
	r.Nonce = binary.LittleEndian.Uint32(b)
	r.Kind = Kind(b[4])
	r.Key = ledger.SlotKey(binary.LittleEndian.Uint64(b[5:]))
	copy(r.Root[:], b[13:])
	r.Mask = binary.LittleEndian.Uint64(b[45:])
	if r.Kind < Spine || r.Kind > Highest {
		return r, fmt.Errorf("%w: kind %d", ErrMalformed, r.Kind)
	}
	return r, nil
}

// Append serialises the response: nonce u32, count u16, then each shred with
// its length u16.
func (r *Response) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, r.Nonce)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.Shreds)))
	for _, s := range r.Shreds {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return b
}

// ParseResponse reads exactly one response. The shreds alias b.
func ParseResponse(b []byte) (Response, error) {
	var r Response
	if len(b) < 6 {
		return r, fmt.Errorf("%w: response of %d bytes", ErrMalformed, len(b))
	}
	r.Nonce = binary.LittleEndian.Uint32(b)
	n := int(binary.LittleEndian.Uint16(b[4:]))
	b = b[6:]
	if n > ShredsMax || n*2 > len(b) {
		return r, fmt.Errorf("%w: %d shreds", ErrMalformed, n)
	}
	r.Shreds = make([][]byte, 0, n)
	for range n {
		if len(b) < 2 {
			return r, fmt.Errorf("%w: cut short", ErrMalformed)
		}
		size := int(binary.LittleEndian.Uint16(b))
		if len(b) < 2+size {
			return r, fmt.Errorf("%w: cut short", ErrMalformed)
		}
		r.Shreds = append(r.Shreds, b[2:2+size:2+size])
		b = b[2+size:]
	}
	if len(b) != 0 {
		return r, fmt.Errorf("%w: %d bytes left over", ErrMalformed, len(b))
	}
	return r, nil
}

// Source is where answers come from: the node's stored blocks.
type Source interface {
	// Set returns the 64 raw shreds of the set with that root, or false.
	Set(key ledger.SlotKey, root ledger.Hash) ([][]byte, bool)
	// Spine returns the roots of the block's sets, first to last, or false.
	Spine(key ledger.SlotKey, id ledger.Hash) ([]ledger.Hash, bool)
	// Highest returns the root of the set with the highest index that is
	// stored for the slot, or false.
	Highest(key ledger.SlotKey) (ledger.Hash, bool)
}

// Answer serves a request from src. It returns false if nothing that was
// asked for is there: the asker will try another peer.
func Answer(src Source, r Request) (Response, bool) {
	out := Response{Nonce: r.Nonce}
	switch r.Kind {
	case Spine:
		roots, ok := src.Spine(r.Key, r.Root)
		if !ok {
			return out, false
		}
		for i := len(roots) - 1; i >= 0 && len(out.Shreds) < ShredsMax; i-- {
			if set, ok := src.Set(r.Key, roots[i]); ok {
				out.Shreds = append(out.Shreds, set[0])
			}
		}
	case Shreds:
		set, ok := src.Set(r.Key, r.Root)
		if !ok {
			return out, false
		}
		for i, s := range set {
			if r.Mask&(1<<i) != 0 {
				out.Shreds = append(out.Shreds, s)
			}
		}
	case Highest:
		root, ok := src.Highest(r.Key)
		if !ok {
			return out, false
		}
		if set, ok := src.Set(r.Key, root); ok {
			out.Shreds = append(out.Shreds, set[0])
		}
	}
	return out, len(out.Shreds) > 0
}
