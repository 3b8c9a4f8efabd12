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

// leafHash hashes a shred from its variant up to its proof.
func leafHash(b []byte) ledger.Hash {
	var buf [len(leafPrefix) + leafMax]byte
	n := copy(buf[:], leafPrefix)
	n += copy(buf[n:], b)
	return sha256.Sum256(buf[:n])
}

// nodeHash joins two nodes, each cut to proofNodeSize bytes.
func nodeHash(left, right []byte) ledger.Hash {
	var buf [len(nodePrefix) + 2*proofNodeSize]byte
	n := copy(buf[:], nodePrefix)
	n += copy(buf[n:], left)
	copy(buf[n:], right)
	return sha256.Sum256(buf[:])
}

// writeProofs builds the Merkle tree over the 64 shreds of a set, writes to
// each its proof, and returns the root.
func writeProofs(raws *[SetSize][]byte, proofOffset *[2]int) ledger.Hash {
	var nodes [SetSize]ledger.Hash
	for i, raw := range raws {
		nodes[i] = leafHash(raw[offVariant:proofOffset[i/SetData]])
	}
	width := SetSize
	for level := range proofNodes {
		for i, raw := range raws {
			at := proofOffset[i/SetData] + level*proofNodeSize
			copy(raw[at:], nodes[i>>level^1][:proofNodeSize])
		}
		width /= 2
		for i := range width {
			nodes[i] = nodeHash(nodes[2*i][:proofNodeSize], nodes[2*i+1][:proofNodeSize])
		}
	}
	return nodes[0]
}
