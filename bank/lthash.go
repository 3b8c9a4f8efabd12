package bank

import (
	"encoding/binary"

	"lukechampine.com/blake3"

	"tutti/bank/program"
	"tutti/ledger"
)

// LtHashSize is the length of a lattice hash in bytes: 1024 lanes of 16 bits.
const LtHashSize = 2048

// LtHash is the accounts lattice hash of FORMATS section 9: the lane-wise
// sum, modulo 2¹⁶, of the values of all live accounts. Order plays no part in
// a sum, so it can be kept up by adding new values and taking old ones out.
// Four lanes share one word, the first in the lowest bits. The zero value is
// the hash of no account.
type LtHash [LtHashSize / 8]uint64

// laneTops has the highest bit of each of a word's four lanes: arithmetic
// without those bits cannot carry from one lane into the next.
const laneTops = 0x8000_8000_8000_8000

// Add puts the accounts of o in.
func (h *LtHash) Add(o *LtHash) {
	for i, b := range o {
		a := h[i]
		h[i] = ((a &^ laneTops) + (b &^ laneTops)) ^ ((a ^ b) & laneTops)
	}
}

// Sub takes the accounts of o out.
func (h *LtHash) Sub(o *LtHash) {
	for i, b := range o {
		a := h[i]
		h[i] = ((a | laneTops) - (b &^ laneTops)) ^ (^(a ^ b) & laneTops)
	}
}

// Append appends the 2048 bytes of the hash, lanes in order, little-endian.
func (h *LtHash) Append(dst []byte) []byte {
	for _, w := range h {
		dst = binary.LittleEndian.AppendUint64(dst, w)
	}
	return dst
}

// ParseLtHash reads what Append wrote; false if the length is another.
func ParseLtHash(b []byte) (LtHash, bool) {
	var h LtHash
	if len(b) != LtHashSize {
		return h, false
	}
	h.set(b)
	return h, true
}

func (h *LtHash) set(b []byte) {
	for i := range h {
		h[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
}

// accountHasher computes accounts' values; it keeps what they all need.
type accountHasher struct {
	blake *blake3.Hasher
	head  []byte
	out   [LtHashSize]byte
	value LtHash
}

// outputPart is how much of a value is made at once: the library has sixteen
// blocks of 64 bytes for the price of two, but for more it starts goroutines.
const outputPart = 1024

func newAccountHasher() *accountHasher { return &accountHasher{blake: blake3.New(32, nil)} }

// hash returns the value of an account, good until the next call, and its
// BLAKE3-256, which is the value's first 32 bytes. Both are zero for an
// account that does not exist (nil, or without lamports).
func (w *accountHasher) hash(key ledger.Pubkey, a *program.Account) (*LtHash, ledger.Hash) {
	if a == nil || a.Lamports == 0 {
		w.value = LtHash{}
		return &w.value, ledger.Hash{}
	}
	w.blake.Reset()
	w.head = binary.LittleEndian.AppendUint64(w.head[:0], uint64(a.Lamports))
	w.blake.Write(w.head)
	w.blake.Write(a.Data)
	w.head = w.head[:0]
	if a.Executable {
		w.head = append(w.head, 1)
	} else {
		w.head = append(w.head, 0)
	}
	w.head = append(w.head, a.Owner[:]...)
	w.head = append(w.head, key[:]...)
	w.blake.Write(w.head)
	output := w.blake.XOF()
	for i := 0; i < LtHashSize; i += outputPart {
		_, _ = output.Read(w.out[i : i+outputPart]) // fails only at its end, beyond 2⁶⁴ bytes
	}
	w.value.set(w.out[:])
	return &w.value, ledger.Hash(w.out[:32])
}

// AccountHash returns BLAKE3-256 of an account, which a leaf of the delta
// tree carries; zeros for an account that does not exist (nil).
func AccountHash(key ledger.Pubkey, a *Account) ledger.Hash {
	_, h := newAccountHasher().hash(key, a)
	return h
}
