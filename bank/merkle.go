package bank

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"tutti/ledger"
)

// The first byte of what is hashed keeps the kinds apart: leaves, the inner
// nodes of FORMATS section 1, and roots, which bind the number of leaves too.
const (
	leafPrefix = 0
	nodePrefix = 1
	rootPrefix = 2
)

// TreeRoot returns the root over hashed leaves: H(0x02 | leaf count u64 | tree
// root), the tree root of nothing being zeros (PROTOCOL section 8, Receipts).
func TreeRoot(leaves []ledger.Hash) ledger.Hash {
	return sealRoot(uint64(len(leaves)), ledger.MerkleRoot(slices.Clone(leaves)))
}

// TreeProof returns the siblings of leaf i, leaf level first: what a light client
// needs to check an outcome or an account against a BankHash (PROTOCOL section
// 11), with VerifyTreeProof. i must be the index of a leaf.
func TreeProof(leaves []ledger.Hash, i int) []ledger.Hash {
	var proof []ledger.Hash
	for level := leaves; len(level) > 1; i /= 2 {
		proof = append(proof, level[min(i^1, len(level)-1)])
		next := make([]ledger.Hash, 0, (len(level)+1)/2)
		for j := 0; j < len(level); j += 2 {
			next = append(next, node(level[j], level[min(j+1, len(level)-1)]))
		}
		level = next
	}
	return proof
}

// VerifyTreeProof tells whether leaf is number i of count leaves under root.
func VerifyTreeProof(root, leaf ledger.Hash, i, count uint64, proof []ledger.Hash) bool {
	if i >= count {
		return false
	}
	for n := count; n > 1; n = n/2 + n%2 {
		if len(proof) == 0 {
			return false
		}
		switch sibling := proof[0]; {
		case i%2 == 1:
			leaf = node(sibling, leaf)
		case i == n-1 && sibling != leaf:
			return false // the last of an odd level is its own sibling
		default:
			leaf = node(leaf, sibling)
		}
		proof, i = proof[1:], i/2
	}
	return len(proof) == 0 && sealRoot(count, leaf) == root
}

func node(left, right ledger.Hash) ledger.Hash {
	var b [65]byte
	b[0] = nodePrefix
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}

func sealRoot(count uint64, top ledger.Hash) ledger.Hash {
	b := binary.LittleEndian.AppendUint64([]byte{rootPrefix}, count)
	return sha256.Sum256(append(b, top[:]...))
}
