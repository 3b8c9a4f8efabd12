package turbine

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"tutti/cluster"
	"tutti/internal/testkit"
	"tutti/ledger"
)

// randomNodes returns nodes with random stakes, a few of them without.
func randomNodes(rng *rand.Rand, n int) []Node {
	nodes := make([]Node, n)
	for i := range nodes {
		nodes[i].Key = ledger.Pubkey(ledger.Sum([]byte{byte(i), byte(i >> 8)}))
		if rng.IntN(5) > 0 {
			nodes[i].Stake = ledger.Lamports(1 + rng.Uint64N(1000))
		}
	}
	return nodes
}

// Every node but the signer has one place; parents and children agree; the
// root is the one that the signer sends to.
func TestTreeIsOne(t *testing.T) {
	rng := testkit.Rand(t)
	for range 100 {
		nodes := randomNodes(rng, 2+rng.IntN(40))
		fanout := 1 + rng.IntN(6)
		tree := NewTree(nodes, fanout)
		key, data, index := ledger.SlotKey(rng.Uint64()), rng.IntN(2) == 0, rng.Uint32()
		signer := nodes[rng.IntN(len(nodes))].Key
		root, ok := tree.Root(key, data, index, signer)
		if !ok {
			t.Fatal("no root")
		}
		reached := []ledger.Pubkey{root}
		for i := 0; i < len(reached); i++ {
			p := tree.Place(key, data, index, signer, reached[i])
			if (i == 0) != (p.Depth == 0) || (i == 0) != (p.Parent == ledger.Pubkey{}) || len(p.Children) > fanout {
				t.Fatalf("position %d: %+v", i, p)
			}
			for _, child := range p.Children {
				c := tree.Place(key, data, index, signer, child)
				if c.Parent != reached[i] || c.Depth != p.Depth+1 {
					t.Fatalf("child of %v at %d: %+v", reached[i], p.Depth, c)
				}
			}
			reached = append(reached, p.Children...)
		}
		if len(reached) != len(nodes)-1 || slices.Contains(reached, signer) {
			t.Fatalf("%d nodes of %d reached", len(reached), len(nodes))
		}
		slices.SortFunc(reached, func(a, b ledger.Pubkey) int { return slices.Compare(a[:], b[:]) })
		if len(slices.Compact(reached)) != len(nodes)-1 {
			t.Fatal("a node has two places")
		}
	}
}

func TestTreeWithoutNodes(t *testing.T) {
	one := Node{Key: ledger.Pubkey{1}, Stake: 1}
	for name, nodes := range map[string][]Node{"no node": nil, "the signer alone": {one}} {
		tree := NewTree(nodes, 200)
		if root, ok := tree.Root(5, true, 0, one.Key); ok {
			t.Errorf("%s: root %v", name, root)
		}
		if p := tree.Place(5, true, 0, one.Key, one.Key); p.Depth != -1 || p.Children != nil {
			t.Errorf("%s: place of the signer %+v", name, p)
		}
	}
	tree := NewTree([]Node{one}, 200)
	if p := tree.Place(5, true, 0, ledger.Pubkey{9}, ledger.Pubkey{8}); p.Depth != -1 {
		t.Errorf("place of a stranger %+v", p)
	}
	if root, ok := tree.Root(5, true, 0, ledger.Pubkey{9}); !ok || root != one.Key {
		t.Errorf("a signer outside the tree sends to %v", root)
	}
}

// The order in which nodes are given, and entries without stake beside those
// with it, make no difference.
func TestTreeOfSameNodes(t *testing.T) {
	rng := testkit.Rand(t)
	nodes := randomNodes(rng, 30)
	a := NewTree(nodes, 3)
	for _, n := range nodes[:10] {
		nodes = append(nodes, Node{Key: n.Key})
	}
	rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	b := NewTree(nodes, 3)
	if len(a.nodes) != 30 || len(b.nodes) != 30 {
		t.Fatalf("%d and %d nodes", len(a.nodes), len(b.nodes))
	}
	for i := range uint32(50) {
		x := a.Place(9, true, i, nodes[0].Key, nodes[1].Key)
		y := b.Place(9, true, i, nodes[0].Key, nodes[1].Key)
		if x.Depth != y.Depth || x.Parent != y.Parent || !slices.Equal(x.Children, y.Children) {
			t.Fatalf("shred %d: %+v and %+v", i, x, y)
		}
	}
}

// Each shred has a tree of its own: everything in its seed matters.
func TestTreesDiffer(t *testing.T) {
	nodes := make([]Node, 64)
	for i := range nodes {
		nodes[i] = Node{Key: ledger.Pubkey{byte(i), 1}, Stake: 1}
	}
	tree := NewTree(nodes, 2)
	strangers := []ledger.Pubkey{{0xff}, {0xfe}}
	order := func(key ledger.SlotKey, data bool, index uint32, signer ledger.Pubkey) (out []ledger.Pubkey) {
		root, _ := tree.Root(key, data, index, signer)
		return append(out, append(tree.Place(key, data, index, signer, root).Children, root)...)
	}
	base := order(1, true, 0, strangers[0])
	for name, other := range map[string][]ledger.Pubkey{
		"slot":   order(2, true, 0, strangers[0]),
		"type":   order(1, false, 0, strangers[0]),
		"index":  order(1, true, 1, strangers[0]),
		"signer": order(1, true, 0, strangers[1]),
		"lane":   order(ledger.UserKey(1, 1), true, 0, strangers[0]),
	} {
		if slices.Equal(base, other) {
			t.Errorf("another %s makes the same tree", name)
		}
	}
}

// The tree of 20 nodes with fanout 10 that Agave builds.
func TestVectorsTree(t *testing.T) {
	raw := testkit.Vectors(t, "firedancer-io/firedancer", "agave-vectors", "turbine-conformance-20nodes.json")
	var file struct {
		Nodes []struct {
			Pubkey string
			Stake  ledger.Lamports
		}
		Slot   ledger.Slot
		Index  uint32 `json:"shred_index"`
		Fanout int
		Root   string `json:"broadcast_root"`
		First  []struct {
			Pubkey   string
			Children int `json:"num_children"`
		} `json:"first_layer"`
		Second []struct {
			Parent int `json:"parent_idx"`
			Child  string
		} `json:"second_layer"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	var nodes []Node
	for _, n := range file.Nodes {
		nodes = append(nodes, Node{Key: ledger.MustPubkey(n.Pubkey), Stake: n.Stake})
	}
	tree, signer := NewTree(nodes, file.Fanout), nodes[0].Key
	place := func(k ledger.Pubkey) Place { return tree.Place(file.Slot.Key(), true, file.Index, signer, k) }
	checked, total := 0, 0
	check := func(what string, ok bool) {
		t.Helper()
		total++
		if ok {
			checked++
		} else {
			t.Error(what, "differs")
		}
	}
	root, _ := tree.Root(file.Slot.Key(), true, file.Index, signer)
	check("root", root.String() == file.Root)
	var first []string
	for _, k := range place(root).Children {
		first = append(first, k.String())
	}
	second := make(map[int][]string)
	for _, s := range file.Second {
		second[s.Parent] = append(second[s.Parent], s.Child)
	}
	for i, n := range file.First {
		check("first layer", i < len(first) && first[i] == n.Pubkey)
		p := place(ledger.MustPubkey(n.Pubkey))
		var children []string
		for _, k := range p.Children {
			children = append(children, k.String())
		}
		check("second layer", p.Depth == 1 && p.Parent == root && len(children) == n.Children &&
			slices.Equal(children, second[i]))
	}
	testkit.Count("Turbine tree of 20 nodes", checked, total)
}

func BenchmarkRoot(b *testing.B) {
	tree, signer := benchmarkTree()
	var i uint32
	for b.Loop() {
		i++
		tree.Root(5, true, i, signer)
	}
}

func BenchmarkPlace(b *testing.B) {
	tree, signer := benchmarkTree()
	self := ledger.Pubkey{7, 3}
	var i uint32
	for b.Loop() {
		i++
		tree.Place(5, true, i, signer, self)
	}
}

func benchmarkTree() (*Tree, ledger.Pubkey) {
	nodes := make([]cluster.Node, 100)
	for i := range nodes {
		nodes[i] = cluster.Node{Key: ledger.Pubkey{byte(i), 3}, Stake: ledger.Lamports(1000 - i)}
	}
	return NewTree(nodes, 200), nodes[3].Key
}
