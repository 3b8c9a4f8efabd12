package turbine

import (
	"encoding/binary"
	"slices"

	"tutti/cluster"
	"tutti/ledger"
)

// Node is a place in the trees: a node identity with its stake.
type Node = cluster.Node

// Tree says who sends which shred to whom: each shred has a tree of its own,
// in which nodes stand in an order that is shuffled by stake (FORMATS
// section 5). The shred's signer gives it to the root only. One goroutine
// owns a Tree, because it reuses its memory.
//
// Position 0 is the root; its children are 1…F. Below, neighbourhoods of F
// nodes share their parents' offset:
//
//	        0
//	    1       2        F = 2
//	  3   5   4   6
//	7  9 …
type Tree struct {
	nodes   []Node
	index   map[ledger.Pubkey]int
	fanout  int
	all     *cluster.WeightedShuffle // of all nodes, to copy
	shuffle cluster.WeightedShuffle
	rng     *cluster.RNG
	count   int   // positions in the tree of the shred
	order   []int // the positions drawn so far
}

// NewTree prepares the trees of a set of nodes: all with stake, whether they
// can be reached or not, the own one, and those without stake that are known.
// Of several entries of one node the one with the most stake counts. Who
// knows of other nodes sees other trees; repair makes up for it.
func NewTree(nodes []Node, fanout int) *Tree {
	t := &Tree{
		index:  make(map[ledger.Pubkey]int, len(nodes)),
		fanout: fanout,
		rng:    cluster.NewChaCha8([32]byte{}),
	}
	sorted := slices.Clone(nodes)
	cluster.SortNodes(sorted)
	var weights []uint64
	for _, n := range sorted {
		if _, twice := t.index[n.Key]; !twice {
			t.index[n.Key] = len(t.nodes)
			t.nodes = append(t.nodes, n)
			weights = append(weights, uint64(n.Stake))
		}
	}
	t.all = cluster.NewWeightedShuffle(weights)
	return t
}

// Root returns the node to which the signer of a shred sends it; ok is false
// if there is no other node.
func (t *Tree) Root(key ledger.SlotKey, data bool, index uint32, signer ledger.Pubkey) (root ledger.Pubkey, ok bool) {
	t.start(key, data, index, signer)
	if !t.drawTo(0) {
		return root, false
	}
	return t.nodes[t.order[0]].Key, true
}

// Place is where a node stands in a shred's tree.
type Place struct {
	// Depth is the number of retransmissions before the node: 0 for the root,
	// −1 for the shred's signer and for nodes that are not in the tree.
	Depth int
	// Parent sends the shred to the node; zero for the root.
	Parent ledger.Pubkey
	// Children are those to whom the node sends it on.
	Children []ledger.Pubkey
}

// Place returns where self stands in the tree of a shred.
func (t *Tree) Place(key ledger.SlotKey, data bool, index uint32, signer, self ledger.Pubkey) Place {
	own, ok := t.index[self]
	if !ok || self == signer {
		return Place{Depth: -1}
	}
	t.start(key, data, index, signer)
	p := 0
	for ; t.drawTo(p); p++ {
		if t.order[p] == own {
			break
		}
	}
	place := Place{Depth: t.depth(p)}
	if p > 0 {
		place.Parent = t.nodes[t.order[t.parent(p)]].Key
	}
	first, step := t.children(p)
	for k := range t.fanout {
		child := first + k*step
		if !t.drawTo(child) {
			break
		}
		place.Children = append(place.Children, t.nodes[t.order[child]].Key)
	}
	return place
}

const (
	seedData = 0xa5
	seedCode = 0x5a
)

// start begins the shuffle of a shred's tree, without its signer.
func (t *Tree) start(key ledger.SlotKey, data bool, index uint32, signer ledger.Pubkey) {
	var b [8 + 1 + 4 + 32]byte
	binary.LittleEndian.PutUint64(b[:], uint64(key))
	b[8] = seedCode
	if data {
		b[8] = seedData
	}
	binary.LittleEndian.PutUint32(b[9:], index)
	copy(b[13:], signer[:])
	t.rng.Seed(ledger.Sum(b[:]))
	t.count, t.order = len(t.nodes), t.order[:0]
	t.shuffle.Reset(t.all)
	if i, ok := t.index[signer]; ok {
		t.shuffle.Remove(i)
		t.count--
	}
}

// drawTo draws positions up to p; ok is false if there are not so many. Then
// it draws none: most nodes have no children, and need not know who comes
// after them.
func (t *Tree) drawTo(p int) (ok bool) {
	if p >= t.count {
		return false
	}
	for len(t.order) <= p {
		i, _ := t.shuffle.Next(t.rng)
		t.order = append(t.order, i)
	}
	return true
}

// children returns the position of p's first child and the distance between
// children; there are fanout of them as far as there are nodes.
func (t *Tree) children(p int) (first, step int) {
	if p == 0 {
		return 1, 1
	}
	offset := (p - 1) % t.fanout
	return (p-offset)*t.fanout + offset + 1, t.fanout
}

// parent returns the position of the parent of p > 0.
func (t *Tree) parent(p int) int {
	offset := (p - 1) % t.fanout
	q := (p - 1) / t.fanout
	q -= max(q-1, 0) % t.fanout
	if q == 0 {
		return 0
	}
	return q + offset
}

func (t *Tree) depth(p int) (depth int) {
	for ; p > 0; p = t.parent(p) {
		depth++
	}
	return depth
}
