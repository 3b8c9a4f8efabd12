package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const (
	// EntryHead is the size of an entry without its transactions, in bytes.
	EntryHead = 8 + 32 + 8
	// BatchHead is the size of the count in front of a batch of entries.
	BatchHead = 8
)

// Entry is one entry of a PoH stream: hashes since the entry before it, the
// hash then, and the transactions that it records. Without transactions it is
// a tick (FORMATS section 1).
type Entry struct {
	NumHashes    uint64
	Hash         Hash
	Transactions []Transaction
}

// Mixin returns what the entry mixes into the PoH: the Merkle root over all
// signatures of its transactions in order, zeros for a tick.
func (e *Entry) Mixin() Hash {
	n := 0
	for i := range e.Transactions {
		n += e.Transactions[i].NumSignatures()
	}
	leaves := make([]Hash, 0, n)
	var leaf [65]byte
	for i := range e.Transactions {
		t := &e.Transactions[i]
		for s := range t.NumSignatures() {
			copy(leaf[1:], t.SignatureBytes(s))
			leaves = append(leaves, sha256.Sum256(leaf[:]))
		}
	}
	return MerkleRoot(leaves)
}

// MerkleRoot returns the root of Solana's Merkle tree over leaves that are
// already hashed, and overwrites them: a node is H(0x01 | left | right), the
// last of an odd level is paired with itself, and the root of no leaves is
// zeros (FORMATS section 1).
func MerkleRoot(leaves []Hash) Hash {
	if len(leaves) == 0 {
		return Hash{}
	}
	var node [65]byte
	node[0] = 1
	for len(leaves) > 1 {
		n := 0
		for i := 0; i < len(leaves); i += 2 {
			copy(node[1:], leaves[i][:])
			copy(node[33:], leaves[min(i+1, len(leaves)-1)][:])
			leaves[n] = sha256.Sum256(node[:])
			n++
		}
		leaves = leaves[:n]
	}
	return leaves[0]
}

// AppendEntries appends a batch of entries as bincode has it. A batch of
// none is not one: a count of 0 announces a marker.
func AppendEntries(dst []byte, entries []Entry) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(entries)))
	for i := range entries {
		e := &entries[i]
		dst = binary.LittleEndian.AppendUint64(dst, e.NumHashes)
		dst = append(dst, e.Hash[:]...)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(len(e.Transactions)))
		for j := range e.Transactions {
			dst = append(dst, e.Transactions[j].Raw()...)
		}
	}
	return dst
}

// ParseEntries reads b as exactly one batch of at least one entry. The
// transactions alias b and are not sanitised.
func ParseEntries(b []byte) ([]Entry, error) {
	r := reader{b: b}
	n := r.count(EntryHead)
	if r.err == nil && n == 0 {
		return nil, fmt.Errorf("batch without entries: %w", ErrEncoding)
	}
	entries := parseEntries(&r, n)
	if err := r.end(); err != nil {
		return nil, err
	}
	return entries, nil
}

// parseEntries reads n entries, whose count has been checked by the reader.
func parseEntries(r *reader, n int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		e := &entries[i]
		e.NumHashes = r.u64()
		e.Hash = r.hash()
		txs := r.count(TransactionMin)
		if txs == 0 {
			continue
		}
		e.Transactions = make([]Transaction, txs)
		for j := range e.Transactions {
			size, err := e.Transactions[j].parse(r.b)
			if err != nil {
				r.fail(err)
				return nil
			}
			r.take(size)
		}
	}
	return entries
}
