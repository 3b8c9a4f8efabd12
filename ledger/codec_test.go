package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// TestCompactU16 writes every value and reads it back.
func TestCompactU16(t *testing.T) {
	for n := range 1 << 16 {
		b := AppendCompactU16(nil, n)
		want := 1
		if n >= 1<<14 {
			want = 3
		} else if n >= 1<<7 {
			want = 2
		}
		got, next := compactU16(append(b, 0xff), 0)
		if len(b) != want || next != want || got != n {
			t.Fatalf("%d: %x, read as %d from %d bytes", n, b, got, next)
		}
		if _, next := compactU16(b[:want-1], 0); next <= want-1 || offsetError(next) != ErrTruncated {
			t.Fatalf("%d without its last byte: %d", n, next)
		}
	}
}

// TestCompactU16HasOneForm reads every sequence of three bytes: what is taken
// is what would have been written.
func TestCompactU16HasOneForm(t *testing.T) {
	var b [3]byte
	for v := range 1 << 24 {
		b[0], b[1], b[2] = byte(v), byte(v>>8), byte(v>>16)
		n, next := compactU16(b[:], 0)
		if next > len(b) {
			if offsetError(next) != ErrEncoding {
				t.Fatalf("%x: %v", b, offsetError(next))
			}
			continue
		}
		if n >= 1<<16 || !bytes.Equal(AppendCompactU16(b[:0:0], n), b[:next]) {
			t.Fatalf("%x is read as %d", b, n)
		}
	}
}

func TestVarintHasOneForm(t *testing.T) {
	for shift := range 64 {
		for _, v := range []uint64{1 << shift, 1<<shift - 1, 1<<shift + 1, ^uint64(0) >> shift} {
			b := binary.AppendUvarint(nil, v)
			r := reader{b: b}
			if got := r.varint(); got != v || r.end() != nil {
				t.Fatalf("%d: %x is read as %d, %v", v, b, got, r.err)
			}
			if v == 0 {
				continue
			}
			long := append(bytes.Clone(b), 0)
			long[len(b)-1] |= 0x80
			r = reader{b: long}
			if r.varint(); !errors.Is(r.err, ErrEncoding) {
				t.Fatalf("%x is taken", long)
			}
		}
	}
}

// TestReaderStaysFailed: after the first failure everything is zero, and the
// failure stays.
func TestReaderStaysFailed(t *testing.T) {
	r := reader{b: []byte{1, 2, 3}}
	if r.u32() != 0 || r.u8() != 0 || r.u16() != 0 || r.u64() != 0 || r.hash() != (Hash{}) || r.take(1) != nil {
		t.Error("something was read")
	}
	if err := r.end(); err != ErrTruncated {
		t.Error(err)
	}
}
