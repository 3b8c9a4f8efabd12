package repair

import (
	"testing"

	"tutti/internal/testkit"
)

// FuzzRequest: no bytes make ParseRequest panic, and those that it reads are
// the ones that Append writes.
func FuzzRequest(f *testing.F) {
	for kind := Spine; kind <= Highest; kind++ {
		r := Request{Nonce: 1, Kind: kind, Key: storedKey, Root: root("a"), Mask: 1 << 40}
		f.Add(r.Append(nil))
	}
	f.Add([]byte("request"))
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			r, err := ParseRequest(b)
			if err != nil {
				return nil
			}
			return func() []byte {
				if out, ok := Answer(stored{}, r); ok && (out.Nonce != r.Nonce || len(out.Shreds) > ShredsMax) {
					t.Fatalf("%d shreds", len(out.Shreds))
				}
				return r.Append(nil)
			}
		})
	})
}

// FuzzResponse: no bytes make ParseResponse panic, and those that it reads
// are the ones that Append writes.
func FuzzResponse(f *testing.F) {
	for _, shreds := range [][][]byte{nil, {{}}, {[]byte("a"), []byte("bc")}, make([][]byte, ShredsMax)} {
		r := Response{Nonce: 9, Shreds: shreds}
		f.Add(r.Append(nil))
	}
	f.Add([]byte{0, 0, 0, 0, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			r, err := ParseResponse(b)
			if err != nil {
				return nil
			}
			if len(r.Shreds) > ShredsMax {
				t.Fatalf("%d shreds", len(r.Shreds))
			}
			return func() []byte { return r.Append(nil) }
		})
	})
}
