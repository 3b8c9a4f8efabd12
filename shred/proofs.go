package shred

import "tutti/ledger"

// proofTrees is how many sets' trees a Proofs remembers; each takes 2.7 KB.
const proofTrees = 32

// Proofs says what Shred.Root says, and remembers what it has hashed: a set's
// proofs have most nodes in common, of the 384 that its 64 shreds lead through
// 63 are different. It belongs to one goroutine. The zero Proofs is ready; nil remembers
// nothing.
type Proofs struct{ trees [proofTrees]tree }

// tree is what is known of the Merkle tree of the set that came last of those
// that share a place.
type tree struct {
	root ledger.Hash
	// nodes has the children of node n at 2n and 2n+1: the root's at 2 and 3,
	// the leaves from SetSize on. With a node its sibling is known, and all
	// pairs above: together they hash to the root.
	nodes [2 * SetSize]node
	known [2 * SetSize]bool
}

// Root returns the Merkle root to which the shred's proof leads, and keeps the
// shred's hash, as Shred.Root does.
func (p *Proofs) Root(s *Shred) (root ledger.Hash, err error) {
	if p == nil || len(s.raw) == 0 {
		return s.Root()
	}
	place := uint64(s.Key()) + uint64(s.SetIndex()/SetData)
	t := &p.trees[place*0x9e3779b97f4a7c15>>32%proofTrees]
	at := SetSize + s.Position()
	var way [proofNodes]node
	below, level := s.leafNode(), 0
	for ; level < proofNodes; level++ {
		if t.known[at>>level] && t.agrees(s, at, level, below) {
			root = t.root
			break
		}
		way[level] = below
		root = s.join(level, &below)
		below = node(root[:proofNodeSize])
	}
	if root != t.root {
		*t = tree{root: root}
	}
	for l := range level {
		t.nodes[at>>l], t.nodes[at>>l^1] = way[l], s.sibling(l)
		t.known[at>>l], t.known[at>>l^1] = true, true
	}
	return root, nil
}

// agrees tells whether what is left of the shred's proof, from a level on, is
// what the tree has.
func (t *tree) agrees(s *Shred, at, level int, below node) bool {
	if below != t.nodes[at>>level] {
		return false
	}
	for l := level; l < proofNodes; l++ {
		if s.sibling(l) != t.nodes[at>>l^1] {
			return false
		}
	}
	return true
}
