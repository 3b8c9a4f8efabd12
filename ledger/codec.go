package ledger

import (
	"encoding/binary"
	"errors"
)

// What can be wrong with outside bytes. Every parser of this package returns
// one of these, or an error that wraps one.
var (
	// ErrTruncated: the bytes end before the value does.
	ErrTruncated = errors.New("ledger: truncated")
	// ErrTrailing: bytes are left behind the value.
	ErrTrailing = errors.New("ledger: trailing bytes")
	// ErrTooLarge: the value is longer than its format allows.
	ErrTooLarge = errors.New("ledger: too large")
	// ErrEncoding: a number or tag is not in its one allowed form.
	ErrEncoding = errors.New("ledger: not canonical")
)

// AppendCompactU16 appends n as Solana's compact-u16 (short-vec length):
// groups of 7 bits, lowest first, at most 3 bytes. n must be below 1<<16.
func AppendCompactU16(dst []byte, n int) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

// compactU16 reads a compact-u16 at an offset of b and returns it with the
// offset behind it. Longer forms than necessary are refused, as in Solana.
// A failure is an offset above len(b), which offsetError explains: walking on
// from there fails again and again, so a walk needs to look only at its end.
func compactU16(b []byte, at int) (n, next int) {
	if uint(at) < uint(len(b)) && b[at] < 0x80 {
		return int(b[at]), at + 1
	}
	return compactU16Long(b, at)
}

// notCanonical is the offset behind a compact-u16 that is not one. No walk
// gets near it otherwise.
const notCanonical = 1 << 40

func compactU16Long(b []byte, at int) (n, next int) {
	for i := range 3 {
		if at >= len(b) {
			return 0, max(at, len(b)+1)
		}
		c := int(b[at])
		at++
		if c == 0 && i > 0 {
			break
		}
		n |= c & 0x7f << (7 * i)
		if c < 0x80 {
			if n > 0xffff {
				break
			}
			return n, at
		}
	}
	return 0, notCanonical
}

// offsetError tells why an offset lies outside of the bytes.
func offsetError(at int) error {
	if at >= notCanonical {
		return ErrEncoding
	}
	return ErrTruncated
}

// reader takes little-endian values off the front of b. The first failure
// stays in err, and everything read after it is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// take returns the next n bytes, which alias the input.
func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail(ErrTruncated)
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) hash() (h Hash) {
	copy(h[:], r.take(len(h)))
	return h
}

// count reads a u64 length of elements that take at least size bytes each,
// so that no allocation exceeds what the input can hold.
func (r *reader) count(size int) int {
	n := r.u64()
	if n > uint64(len(r.b)/size) {
		r.fail(ErrTruncated)
		return 0
	}
	return int(n)
}

func (r *reader) compactU16() int {
	n, next := compactU16(r.b, 0)
	if next > len(r.b) {
		r.fail(offsetError(next))
		return 0
	}
	r.b = r.b[next:]
	return n
}

// varint reads Solana's serde_varint u64: LEB128 in its shortest form.
func (r *reader) varint() uint64 {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		c := r.u8()
		if r.err != nil {
			return 0
		}
		if shift == 63 && c > 1 || shift > 0 && c == 0 {
			break
		}
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	r.fail(ErrEncoding)
	return 0
}

// end returns the first failure, or ErrTrailing if bytes are left.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		return ErrTrailing
	}
	return r.err
}
