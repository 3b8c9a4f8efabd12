package bank

import (
	"encoding/binary"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/cpu"
	"lukechampine.com/blake3/guts"

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

func newAccountHasher() *accountHasher { return &accountHasher{blake: blake3.New()} }

// hash returns the value of an account, good until the next call, and its
// BLAKE3-256, which is the value's first 32 bytes. Both are zero for an
// account that does not exist (nil, or without lamports).
func (w *accountHasher) hash(key ledger.Pubkey, a *program.Account) (*LtHash, ledger.Hash) {
	if a == nil || a.Lamports == 0 {
		w.value = LtHash{}
		return &w.value, ledger.Hash{}
	}
	w.head = binary.LittleEndian.AppendUint64(w.head[:0], uint64(a.Lamports))
	if len(w.head)+len(a.Data)+accountTail <= guts.ChunkSize {
		w.head = appendTail(append(w.head, a.Data...), key, a)
		expand(&w.out, w.head)
	} else {
		w.blake.Reset()
		w.blake.Write(w.head)
		w.blake.Write(a.Data)
		w.head = appendTail(w.head[:0], key, a)
		w.blake.Write(w.head)
		// The digest of a hasher never ends, so Read cannot fail.
		_, _ = w.blake.Digest().Read(w.out[:])
	}
	w.value.set(w.out[:])
	return &w.value, ledger.Hash(w.out[:32])
}

// accountTail is the length of what is hashed behind an account's data.
const accountTail = 1 + 2*32

func appendTail(b []byte, key ledger.Pubkey, a *program.Account) []byte {
	executable := byte(0)
	if a.Executable {
		executable = 1
	}
	b = append(append(b, executable), a.Owner[:]...)
	return append(b, key[:]...)
}

// expand writes BLAKE3's output for a message of one chunk at most. The
// library makes sixteen blocks of it for the price of two.
func expand(out *[LtHashSize]byte, message []byte) {
	const part = guts.MaxSIMD * guts.BlockSize
	n := guts.CompressChunk(message, &guts.IV, 0, 0)
	n.Flags |= guts.FlagRoot
	for at := 0; at < LtHashSize; at += part {
		n.Counter = uint64(at / guts.BlockSize)
		guts.CompressBlocks((*[part]byte)(out[at:]), n)
	}
	if cpu.X86.HasAVX {
		clearUpper() // the library leaves them in use
	}
}

// AccountHash returns BLAKE3-256 of an account, which a leaf of the delta
// tree carries; zeros for an account that does not exist (nil).
func AccountHash(key ledger.Pubkey, a *Account) ledger.Hash {
	_, h := newAccountHasher().hash(key, a)
	return h
}
