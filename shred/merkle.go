package shred

import (
	"crypto/sha256"

	"tutti/ledger"
)

// Prefixes of what is hashed in the Merkle tree of a set.
const (
	leafPrefix = "\x00SOLANA_MERKLE_SHREDS_LEAF"
	nodePrefix = "\x01SOLANA_MERKLE_SHREDS_NODE"
)

// leafMax is the longest leaf: a code shred from variant to proof.
const leafMax = CodeSize - signatureSize - proofSize

// node is a node of the tree as proofs and the nodes above have it: the root
// alone is not cut short.
type node [proofNodeSize]byte

// leaves are those leaves of a set's tree that are known: bit i of known says
// that hash[i] is that of the shred at place i.
type leaves struct {
	hash  [SetSize]node
	known uint64
}

// leafOf hashes a shred from its variant up to its proof.
func leafOf(b []byte) node {
	var buf [len(leafPrefix) + leafMax]byte
	n := copy(buf[:], leafPrefix)
	n += copy(buf[n:], b)
	sum := sha256.Sum256(buf[:n])
	return node(sum[:proofNodeSize])
}

// join hashes two nodes to the one above.
func join(left, right *node) ledger.Hash {
	var buf [len(nodePrefix) + 2*proofNodeSize]byte
	n := copy(buf[:], nodePrefix)
	n += copy(buf[n:], left[:])
	copy(buf[n:], right[:])
	return sha256.Sum256(buf[:])
}

// writeProofs builds the Merkle tree over the 64 shreds of a set, writes to
// each its proof, and returns the root. Leaves that are not known are hashed
// where they stand, with the prefix before them: that spoils signatures.
func writeProofs(raws *[SetSize][]byte, proofOffset *[2]int, l *leaves) (root ledger.Hash) {
	const from = offVariant - len(leafPrefix)
	nodes := l.hash
	for i, raw := range raws {
		if l.known>>i&1 == 0 {
			copy(raw[from:], leafPrefix)
			sum := sha256.Sum256(raw[from:proofOffset[i/SetData]])
			nodes[i] = node(sum[:proofNodeSize])
		}
	}
	width := SetSize
	for level := range proofNodes {
		for i, raw := range raws {
			at := proofOffset[i/SetData] + level*proofNodeSize
			copy(raw[at:], nodes[i>>level^1][:])
		}
		width /= 2
		for i := range width {
			root = join(&nodes[2*i], &nodes[2*i+1])
			nodes[i] = node(root[:proofNodeSize])
		}
	}
	return root
}
