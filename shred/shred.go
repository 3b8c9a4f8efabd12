// Package shred turns batches of a block into erasure-coded, Merkle-proven,
// signed shreds and back: Solana's Merkle shreds, to the byte (FORMATS
// section 2), in their one current geometry of 32 data and 32 code shreds.
//
// A Shredder makes sets of 64 shreds. Parse and Root check one shred that
// came from outside. Assemble makes a whole set of any 32 of its shreds, and
// gives the same verdict whichever they are.
//
// The package checks no leader's signature, since it knows no schedule, and it
// keeps nothing: package turbine collects shreds into blocks.
package shred

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"tutti/ledger"
	"tutti/ledger/sigverify"
)

// Sizes in bytes, and the geometry of a set.
const (
	// DataSize is the size of a data shred.
	DataSize = 1203
	// CodeSize is the size of a code shred.
	CodeSize = 1228
	// SetData is the number of data shreds of a set, and of its code shreds.
	SetData = 32
	// SetSize is the number of shreds of a set.
	SetSize = 2 * SetData
	// SetPayload is what the data shreds of a set hold, in bytes; 64 a shred less if
	// retransmitters sign it (FORMATS section 2).
	SetPayload = SetData * (DataSize - proofSize - rootSize - dataHeader)
	// IndexMax is one more than the highest index that a data shred or a code
	// shred can have.
	IndexMax = 32768
)

// Variants of shreds: the high nibble is the kind, the low one the length of
// the Merkle proof. In the last set of a leader block each retransmitter signs
// the Merkle root, too: "resigned".
const (
	variantData         = 0x96
	variantCode         = 0x66
	variantDataResigned = 0xb6
	variantCodeResigned = 0x76

	variantLegacyData = 0xa5
	variantLegacyCode = 0x5a
)

// Offsets in a shred.
const (
	offVariant  = 64
	offKey      = 65
	offIndex    = 73
	offVersion  = 77
	offSetIndex = 79

	offParent   = 83
	offFlags    = 85
	offSize     = 86
	dataHeader  = 88
	offNumData  = 83
	offNumCode  = 85
	offPosition = 87
	codeHeader  = 89

	signatureSize = 64
	rootSize      = 32
	proofNodes    = 6
	proofNodeSize = 20
	proofSize     = proofNodes * proofNodeSize
)

// Flags of a data shred.
const (
	flagTickMask     = 0x3f
	flagDataComplete = 0x40
	flagLast         = 0xc0
)

// Errors of Parse. Each says which rule of FORMATS section 2 the bytes break.
var (
	// ErrSize is returned for bytes that do not have the size of their variant.
	ErrSize = errors.New("shred: wrong size")
	// ErrLegacy is returned for shreds from before the Merkle variants.
	ErrLegacy = errors.New("shred: legacy variant")
	// ErrUnchained is returned for Merkle shreds without a chained root.
	ErrUnchained = errors.New("shred: unchained variant")
	// ErrGeometry is returned for sets that are not 32 data and 32 code shreds.
	ErrGeometry = errors.New("shred: set is not 32:32")
	// ErrVariant is returned for any other variant, and for a resigned one
	// where it must not be or a plain one where it must be resigned.
	ErrVariant = errors.New("shred: wrong variant")
	// ErrIndex is returned for indices out of range or not aligned to a set.
	ErrIndex = errors.New("shred: wrong index")
	// ErrParent is returned for a parent offset that leads to no parent.
	ErrParent = errors.New("shred: wrong parent offset")
	// ErrFlags is returned for flags that exclude each other or their place.
	ErrFlags = errors.New("shred: wrong flags")
	// ErrPayload is returned for a size field out of range.
	ErrPayload = errors.New("shred: wrong payload size")
	// ErrKey is returned for the slot field of a UserBlock in no possible lane.
	ErrKey = errors.New("shred: impossible lane")
)

// Shred is a view of the bytes of one shred whose header is sound. It comes
// from Parse or out of a Set; the zero Shred is none. Its methods do not copy.
type Shred struct {
	raw []byte
	// leaf is the shred's leaf of the Merkle tree if hashed says so.
	leaf   node
	hashed bool
}

// Parse checks size and header of a shred. It keeps b. The signature and the
// Merkle proof are not looked at: see Root.
func Parse(b []byte) (Shred, error) {
	if len(b) < codeHeader {
		return Shred{}, fmt.Errorf("%w: %d bytes", ErrSize, len(b))
	}
	s := Shred{raw: b}
	size := CodeSize
	switch v := b[offVariant]; v {
	case variantData, variantDataResigned:
		size = DataSize
	case variantCode, variantCodeResigned:
	default:
		return Shred{}, badVariant(v)
	}
	if len(b) != size {
		return Shred{}, fmt.Errorf("%w: %d bytes, want %d", ErrSize, len(b), size)
	}
	if s.SetIndex()%SetData != 0 || s.SetIndex() >= IndexMax {
		return Shred{}, fmt.Errorf("%w: set %d", ErrIndex, s.SetIndex())
	}
	if key := s.Key(); key.IsUser() {
		if _, lane := key.User(); lane >= ledger.LanesMax {
			return Shred{}, fmt.Errorf("%w: %d", ErrKey, lane)
		}
		if s.Resigned() {
			return Shred{}, fmt.Errorf("%w: resigned in a UserBlock", ErrVariant)
		}
	}
	if s.IsData() {
		return s, s.checkData()
	}
	return s, s.checkCode()
}

func badVariant(v byte) error {
	switch {
	case v == variantLegacyData || v == variantLegacyCode:
		return fmt.Errorf("%w: %#02x", ErrLegacy, v)
	case v>>4 == 0x4 || v>>4 == 0x8:
		return fmt.Errorf("%w: %#02x", ErrUnchained, v)
	case v>>4 == 0x6 || v>>4 == 0x7 || v>>4 == 0x9 || v>>4 == 0xb:
		return fmt.Errorf("%w: variant %#02x", ErrGeometry, v)
	}
	return fmt.Errorf("%w: %#02x", ErrVariant, v)
}

func (s *Shred) checkData() error {
	if place := s.Index() - s.SetIndex(); place >= SetData {
		return fmt.Errorf("%w: data %d in set %d", ErrIndex, s.Index(), s.SetIndex())
	}
	if !parentOK(s.Key(), s.ParentOffset()) {
		return fmt.Errorf("%w: %d of %v", ErrParent, s.ParentOffset(), s.Key())
	}
	closing := s.raw[offFlags] &^ flagTickMask
	final := s.Position() == SetData-1
	if closing == flagLast&^flagDataComplete || closing != 0 && !final {
		return fmt.Errorf("%w: %#02x at place %d", ErrFlags, s.raw[offFlags], s.Position())
	}
	if final && !s.Key().IsUser() && s.LastInSlot() != s.Resigned() {
		return fmt.Errorf("%w: resigned %t, last %t", ErrVariant, s.Resigned(), s.LastInSlot())
	}
	if n := s.size(); n < dataHeader || n > s.chainedOffset() {
		return fmt.Errorf("%w: %d", ErrPayload, n)
	}
	return nil
}

func (s *Shred) checkCode() error {
	data, code := s.u16(offNumData), s.u16(offNumCode)
	if data != SetData || code != SetData {
		return fmt.Errorf("%w: %d:%d", ErrGeometry, data, code)
	}
	place := uint32(s.u16(offPosition))
	if place >= SetData || s.Index() != s.SetIndex()+place {
		return fmt.Errorf("%w: code %d at place %d in set %d", ErrIndex, s.Index(), place, s.SetIndex())
	}
	return nil
}

// parentOK tells whether a block with that key can have its parent offset
// slots before it. A UserBlock has no parent; slot 0 is its own.
func parentOK(key ledger.SlotKey, offset uint16) bool {
	if key.IsUser() || key == 0 {
		return offset == 0
	}
	return offset != 0 && uint64(offset) <= uint64(key)
}

// Raw returns the bytes of the shred. They are not to be changed, except by
// Resign.
func (s *Shred) Raw() []byte { return s.raw }

// Key returns the slot field: which leader block or UserBlock it belongs to.
func (s *Shred) Key() ledger.SlotKey {
	return ledger.SlotKey(binary.LittleEndian.Uint64(s.raw[offKey:]))
}

// Index returns the index among the data shreds or among the code shreds of
// the block.
func (s *Shred) Index() uint32 { return binary.LittleEndian.Uint32(s.raw[offIndex:]) }

// SetIndex returns the index of the first data shred of the set, a multiple of
// SetData.
func (s *Shred) SetIndex() uint32 { return binary.LittleEndian.Uint32(s.raw[offSetIndex:]) }

// Version returns the shred version of the cluster.
func (s *Shred) Version() uint16 { return s.u16(offVersion) }

// Signature returns the signature of the Merkle root.
func (s *Shred) Signature() ledger.Signature { return ledger.Signature(s.raw[:signatureSize]) }

// IsData tells whether the shred is a data shred; otherwise it is a code
// shred.
func (s *Shred) IsData() bool {
	v := s.raw[offVariant]
	return v == variantData || v == variantDataResigned
}

// Resigned tells whether the shred has room for a retransmitter's signature.
func (s *Shred) Resigned() bool {
	v := s.raw[offVariant]
	return v == variantDataResigned || v == variantCodeResigned
}

// Position returns the place in the set: data shreds have 0 to 31, code shreds
// 32 to 63.
func (s *Shred) Position() int {
	place := int(s.Index() - s.SetIndex())
	if s.IsData() {
		return place
	}
	return SetData + place
}

// ParentOffset returns the distance to the parent's slot that a data shred
// states.
func (s *Shred) ParentOffset() uint16 { return s.u16(offParent) }

// ReferenceTick returns the tick, from the block's start, in which a data
// shred says it was made.
func (s *Shred) ReferenceTick() uint8 { return s.raw[offFlags] & flagTickMask }

// DataComplete tells whether a batch ends with this data shred.
func (s *Shred) DataComplete() bool { return s.raw[offFlags]&flagDataComplete != 0 }

// LastInSlot tells whether the block ends with this data shred.
func (s *Shred) LastInSlot() bool { return s.raw[offFlags]&flagLast == flagLast }

// Payload returns the part of the batch that a data shred carries.
func (s *Shred) Payload() []byte { return s.raw[dataHeader:s.size()] }

// ChainedRoot returns the Merkle root of the set before this one; of a block's
// first set it is the parent's id, or a UserBlock's anchor.
func (s *Shred) ChainedRoot() ledger.Hash {
	return ledger.Hash(s.raw[s.chainedOffset():][:rootSize])
}

// Root returns the Merkle root to which the shred's proof leads. Any proof
// leads to some root: the root is what the leader signed, or it is nothing.
// The error is always nil for a Shred that came from Parse. The first call
// keeps a hash of the shred for Assemble and for the next: no other goroutine
// may use this variable meanwhile.
func (s *Shred) Root() (ledger.Hash, error) {
	if len(s.raw) == 0 {
		return ledger.Hash{}, ErrSize
	}
	var root ledger.Hash
	below := s.leafNode()
	for level := range proofNodes {
		root = s.join(level, &below)
		below = node(root[:proofNodeSize])
	}
	return root, nil
}

// leafNode returns the shred's leaf of the Merkle tree, hashed once.
func (s *Shred) leafNode() node {
	if !s.hashed {
		s.leaf, s.hashed = leafOf(s.raw[offVariant:s.proofOffset()]), true
	}
	return s.leaf
}

// sibling returns the proof's node of a level, 0 for that of the leaves.
func (s *Shred) sibling(level int) node {
	return node(s.raw[s.proofOffset()+level*proofNodeSize:])
}

// join hashes the shred's node of a level with its sibling.
func (s *Shred) join(level int, own *node) ledger.Hash {
	sibling := s.sibling(level)
	if s.Position()>>level&1 == 0 {
		return join(own, &sibling)
	}
	return join(&sibling, own)
}

// Resign writes the retransmitter's signature of the Merkle root into the
// bytes of a resigned shred. Nobody else may use the bytes meanwhile.
func Resign(raw []byte, identity ed25519.PrivateKey) error {
	s, err := Parse(raw)
	if err != nil {
		return err
	}
	if !s.Resigned() {
		return fmt.Errorf("%w: no room for a retransmitter's signature", ErrVariant)
	}
	root, err := s.Root()
	if err != nil {
		return err
	}
	copy(s.retransmitter(), ed25519.Sign(identity, root[:]))
	return nil
}

// VerifyRetransmitter tells whether the shred is a resigned one that carries
// identity's signature of its Merkle root.
func (s *Shred) VerifyRetransmitter(rule sigverify.Rule, identity ledger.Pubkey) bool {
	root, err := s.Root()
	if err != nil || !s.Resigned() {
		return false
	}
	return rule.Verify(identity[:], root[:], s.retransmitter())
}

// Clone returns a copy with bytes of its own.
func (s *Shred) Clone() Shred {
	c := *s
	c.raw = slices.Clone(s.raw)
	return c
}

// WithSignature returns a copy of the shred with another signature of the
// same Merkle root. A key can make several valid ones, and the Merkle tree
// does not cover them.
func (s *Shred) WithSignature(sig ledger.Signature) Shred {
	c := s.Clone()
	copy(c.raw, sig[:])
	return c
}

func (s *Shred) u16(at int) uint16 { return binary.LittleEndian.Uint16(s.raw[at:]) }

func (s *Shred) size() int { return int(s.u16(offSize)) }

func (s *Shred) proofOffset() int {
	if s.Resigned() {
		return len(s.raw) - signatureSize - proofSize
	}
	return len(s.raw) - proofSize
}

func (s *Shred) chainedOffset() int { return s.proofOffset() - rootSize }

func (s *Shred) retransmitter() []byte { return s.raw[len(s.raw)-signatureSize:] }
