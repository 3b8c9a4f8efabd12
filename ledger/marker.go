package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MarkerKind says what a marker in a leader block holds.
type MarkerKind uint8

// The kinds of markers; any other makes a block invalid.
const (
	// KindUserBlockEntries: the payload is a list of UserBlockRefs.
	KindUserBlockEntries MarkerKind = 1
	// KindExecutionReceipt: the payload is an ExecutionReceipt.
	KindExecutionReceipt MarkerKind = 2
)

const (
	// MarkerVersion is the only version of markers.
	MarkerVersion = 1
	// UserBlockEntriesMax is the most UserBlocks that one marker names.
	UserBlockEntriesMax = 512

	userBlockRefSize     = 8 + 2 + 32
	executionReceiptSize = 8 + 32 + 32
)

// ErrMarker: a marker has a version or kind that is not known, or a payload
// of the wrong size.
var ErrMarker = errors.New("ledger: unknown or malformed marker")

// Marker is what a leader records in its PoH beside votes (PROTOCOL section
// 5). NumHashes and Hash are as in an Entry.
type Marker struct {
	NumHashes uint64
	Hash      Hash
	Version   uint16
	Kind      MarkerKind
	Payload   []byte
}

// Mixin returns what the marker mixes into the PoH.
func (m *Marker) Mixin() Hash {
	head := append(make([]byte, 0, 16), "tutti marker"...)
	head = binary.LittleEndian.AppendUint16(head, m.Version)
	return Sum(append(head, byte(m.Kind)), m.Payload)
}

// Component is a part of a leader block's batch: entries, or one marker if
// Marker is set.
type Component struct {
	Entries []Entry
	Marker  *Marker
}

// AppendComponent appends a component's bytes (PROTOCOL section 5).
func AppendComponent(dst []byte, c *Component) []byte {
	m := c.Marker
	if m == nil {
		return AppendEntries(dst, c.Entries)
	}
	dst = binary.LittleEndian.AppendUint64(dst, 0)
	dst = binary.LittleEndian.AppendUint16(dst, m.Version)
	dst = append(dst, byte(m.Kind))
	dst = binary.LittleEndian.AppendUint64(dst, m.NumHashes)
	dst = append(dst, m.Hash[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m.Payload)))
	return append(dst, m.Payload...)
}

// ParseBatch reads b as one or more components back to back, without trailing
// bytes. Transactions and payloads alias b. Payloads are not looked into, and
// transactions are not sanitised.
func ParseBatch(b []byte) ([]Component, error) {
	r := reader{b: b}
	var cs []Component
	for more := true; more; more = len(r.b) > 0 {
		var c Component
		if n := r.count(EntryHead); n > 0 {
			c.Entries = parseEntries(&r, n)
		} else if r.err == nil {
			c.Marker = parseMarker(&r)
		}
		if r.err != nil {
			return nil, r.err
		}
		cs = append(cs, c)
	}
	return cs, nil
}

// parseMarker reads what follows the count of 0.
func parseMarker(r *reader) *Marker {
	m := &Marker{Version: r.u16(), Kind: MarkerKind(r.u8())}
	if r.err == nil && (m.Version != MarkerVersion || m.Kind != KindUserBlockEntries && m.Kind != KindExecutionReceipt) {
		r.fail(fmt.Errorf("version %d, kind %d: %w", m.Version, m.Kind, ErrMarker))
	}
	m.NumHashes = r.u64()
	m.Hash = r.hash()
	size := r.u32()
	if uint64(size) > uint64(len(r.b)) {
		r.fail(ErrTruncated)
		return m
	}
	m.Payload = r.take(int(size))
	return m
}

// AppendUserBlockEntries appends the payload of a KindUserBlockEntries marker.
func AppendUserBlockEntries(dst []byte, refs []UserBlockRef) []byte {
	for _, r := range refs {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(r.U))
		dst = binary.LittleEndian.AppendUint16(dst, uint16(r.Lane))
		dst = append(dst, r.ID[:]...)
	}
	return dst
}

// ParseUserBlockEntries reads the payload of a KindUserBlockEntries marker:
// 1 to UserBlockEntriesMax references.
func ParseUserBlockEntries(b []byte) ([]UserBlockRef, error) {
	n := len(b) / userBlockRefSize
	if len(b)%userBlockRefSize != 0 || n < 1 || n > UserBlockEntriesMax {
		return nil, fmt.Errorf("UserBlockEntries of %d bytes: %w", len(b), ErrMarker)
	}
	r := reader{b: b}
	refs := make([]UserBlockRef, n)
	for i := range refs {
		refs[i] = UserBlockRef{U: UserSlot(r.u64()), Lane: Lane(r.u16()), ID: r.hash()}
	}
	return refs, nil
}

// ExecutionReceipt is a leader's statement of a block's BankHash.
type ExecutionReceipt struct {
	Block    BlockRef
	BankHash Hash
}

// AppendExecutionReceipt appends the payload of a KindExecutionReceipt marker.
func AppendExecutionReceipt(dst []byte, e ExecutionReceipt) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Block.Slot))
	dst = append(dst, e.Block.ID[:]...)
	return append(dst, e.BankHash[:]...)
}

// ParseExecutionReceipt reads the payload of a KindExecutionReceipt marker.
func ParseExecutionReceipt(b []byte) (ExecutionReceipt, error) {
	if len(b) != executionReceiptSize {
		return ExecutionReceipt{}, fmt.Errorf("ExecutionReceipt of %d bytes: %w", len(b), ErrMarker)
	}
	r := reader{b: b}
	return ExecutionReceipt{
		Block:    BlockRef{Slot: Slot(r.u64()), ID: r.hash()},
		BankHash: r.hash(),
	}, nil
}
