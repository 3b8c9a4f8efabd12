package turbine

import (
	"bytes"
	"crypto/ed25519"
	"math/rand/v2"
	"slices"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
	"tutti/shred"
)

const (
	setBytes    = 32 * 963
	testUserMax = 48
)

var (
	testSigner = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	testLimits = Limits{UserSetsMax: testUserMax, SetsMax: 1000}
	userKey    = ledger.UserKey(2000, 1)
	leaderKey  = ledger.Slot(1000).Key()
)

// makeBlock returns the sets of a block. Blocks with different tags differ in
// every set, blocks that share a prefix of tags share those sets.
func makeBlock(t testing.TB, key ledger.SlotKey, tags string) []*shred.Set {
	t.Helper()
	c := shred.Config{Key: key, Version: 1, Signer: testSigner}
	if !key.IsUser() {
		c.ParentOffset = 1
	}
	s := shred.NewShredder(c)
	var sets []*shred.Set
	for i := range tags {
		made, err := s.Shred([]byte(tags[i:i+1]), 0, i == len(tags)-1)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, made...)
	}
	return sets
}

func lastRoot(sets []*shred.Set) ledger.Hash { return sets[len(sets)-1].Root }

// insert feeds the shreds at the given places of a set and returns what the
// last one gave.
func insert(c *Collector, set *shred.Set, places ...int) (in Inserted) {
	for _, p := range places {
		in = c.Insert(set.Shred(p), set.Root)
	}
	return in
}

// upTo returns 0 … n−1.
func upTo(n int) []int {
	places := make([]int, n)
	for i := range places {
		places[i] = i
	}
	return places
}

// feed inserts half of each set and gives back what was assembled.
func feed(t testing.TB, c *Collector, sets ...*shred.Set) (linked []*shred.Set) {
	t.Helper()
	for _, set := range sets {
		in := insert(c, set, upTo(shred.SetData)...)
		if in.Ready == nil {
			t.Fatalf("set %d not ready: %v", set.Index, in.Drop)
		}
		whole, err := shred.Assemble(in.Ready)
		if err != nil {
			t.Fatal(err)
		}
		linked = append(linked, c.Assembled(whole)...)
	}
	return linked
}

func rootsOf(sets []*shred.Set) []ledger.Hash {
	roots := make([]ledger.Hash, len(sets))
	for i, s := range sets {
		roots[i] = s.Root
	}
	return roots
}

func wantRoots(t testing.TB, what string, got, want []*shred.Set) {
	t.Helper()
	if !slices.Equal(rootsOf(got), rootsOf(want)) {
		t.Fatalf("%s: sets %v, want %v", what, rootsOf(got), rootsOf(want))
	}
}

// Sets come in any order with half of the shreds lost; the block comes out in
// order, each set once.
func TestCollectOutOfOrder(t *testing.T) {
	rng := testkit.Rand(t)
	for _, key := range []ledger.SlotKey{userKey, leaderKey} {
		c := NewCollector(testLimits)
		sets := makeBlock(t, key, "abcdefgh")
		var sent []*shred.Set
		var places []int
		for _, set := range sets {
			for _, p := range rng.Perm(shred.SetSize)[:shred.SetData] {
				sent, places = append(sent, set), append(places, p)
			}
		}
		rng.Shuffle(len(sent), func(i, j int) {
			sent[i], sent[j] = sent[j], sent[i]
			places[i], places[j] = places[j], places[i]
		})
		var ready []*shred.Set
		for i, set := range sent {
			in := insert(c, set, places[i])
			if !in.New || in.Drop != Kept || in.Conflict != nil {
				t.Fatalf("%+v", in)
			}
			if again := insert(c, set, places[i]); again.New || again.Drop != DropDuplicate || again.Ready != nil {
				t.Fatalf("again: %+v", again)
			}
			if in.Ready != nil {
				whole, err := shred.Assemble(in.Ready)
				if err != nil {
					t.Fatal(err)
				}
				ready = append(ready, whole)
			}
		}
		if len(ready) != len(sets) {
			t.Fatalf("%d sets ready, want %d", len(ready), len(sets))
		}
		var linked []*shred.Set
		for _, whole := range ready {
			linked = append(linked, c.Assembled(whole)...)
			if more := c.Assembled(whole); more != nil {
				t.Fatal("a set was assembled twice")
			}
		}
		wantRoots(t, "linked", linked, sets)
		wantRoots(t, "Chain", c.Chain(key, lastRoot(sets)), sets)
		if n := c.Need(key, lastRoot(sets)); n.Status != Complete || len(n.Gaps) != 0 || n.Sets != len(sets) {
			t.Fatalf("%+v", n)
		}
	}
}

// A shred that comes after its set was ready is new once, and is not kept.
func TestCollectLate(t *testing.T) {
	c := NewCollector(testLimits)
	sets := makeBlock(t, userKey, "a")
	in := insert(c, sets[0], upTo(shred.SetData)...)
	if len(in.Ready) != shred.SetData {
		t.Fatalf("%d ready", len(in.Ready))
	}
	late := insert(c, sets[0], 40)
	if !late.New || late.Ready != nil {
		t.Fatalf("while assembling: %+v", late)
	}
	c.Assembled(sets[0])
	if late = insert(c, sets[0], 41); !late.New || late.Ready != nil {
		t.Fatalf("assembled: %+v", late)
	}
	for _, p := range []int{40, 41} {
		if late = insert(c, sets[0], p); late.New || late.Drop != DropDuplicate {
			t.Fatalf("again: %+v", late)
		}
	}
}

// The node's own sets are complete from the start.
// What assembling recovers is passed on by the node once, and not again when it
// comes after all.
func TestPassOn(t *testing.T) {
	c := NewCollector(testLimits)
	set := makeBlock(t, userKey, "a")[0]
	if got := c.PassOn(set.Root); got != 0 {
		t.Errorf("of an unknown set: %x", got)
	}
	if in := insert(c, set, upTo(32)...); len(in.Ready) != 32 {
		t.Fatalf("%d ready", len(in.Ready))
	}
	insert(c, set, 40)
	if got, want := c.PassOn(set.Root), uint64(0xffff_feff_0000_0000); got != want {
		t.Errorf("missing %x, want %x", got, want)
	}
	if got := c.PassOn(set.Root); got != 0 {
		t.Errorf("missing again: %x", got)
	}
	if in := insert(c, set, 50); !in.New || !in.Passed {
		t.Errorf("passed on, then come: %+v", in)
	}
	if in := insert(c, set, 50); in.New || in.Drop != DropDuplicate {
		t.Errorf("come again: %+v", in)
	}
	other := makeBlock(t, userKey, "b")[0]
	insert(c, other, upTo(32)...)
	c.Failed(other.Root)
	if got := c.PassOn(other.Root); got != 0 {
		t.Errorf("of a failed set: %x", got)
	}
}

func TestCollectOwn(t *testing.T) {
	c := NewCollector(testLimits)
	sets := makeBlock(t, leaderKey, "ab")
	var linked []*shred.Set
	for _, set := range sets {
		linked = append(linked, c.Assembled(set)...)
	}
	wantRoots(t, "linked", linked, sets)
	if in := insert(c, sets[0], 9); in.Drop != DropDuplicate || in.New {
		t.Fatalf("%+v", in)
	}
	if !c.Known(sets[1].Key, sets[1].Root) || c.Known(sets[1].Key+1, sets[1].Root) || c.Known(sets[1].Key, ledger.Hash{}) {
		t.Fatal("Known")
	}
}

// An equivocator's blocks are collected side by side, and proven once
// (PROTOCOL section 4).
func TestCollectEquivocation(t *testing.T) {
	c := NewCollector(testLimits)
	one, two := makeBlock(t, userKey, "abcd"), makeBlock(t, userKey, "abxyz")
	feed(t, c, one[0], one[1])
	in := insert(c, one[2], 3)
	if in.Conflict != nil {
		t.Fatal("conflict without one")
	}
	in = insert(c, two[2], 5)
	if in.Conflict == nil || !in.New {
		t.Fatalf("no conflict: %+v", in)
	}
	for i, root := range []ledger.Hash{one[2].Root, two[2].Root} {
		s := in.Conflict[i]
		if got, err := s.Root(); err != nil || got != root || s.SetIndex() != 64 || s.Key() != userKey {
			t.Fatalf("shred %d of the proof: %v, %v", i, got, err)
		}
	}
	if in = insert(c, one[3], 0); in.Conflict != nil {
		t.Fatal("second proof")
	}
	if in = insert(c, two[3], 0); in.Conflict != nil {
		t.Fatal("second proof")
	}
	var linked []*shred.Set
	for _, set := range []*shred.Set{one[3], two[4], two[3], two[2], one[2]} {
		for p := range shred.SetData {
			if in := insert(c, set, p+20); in.Ready != nil {
				linked = append(linked, c.Assembled(set)...)
			}
		}
	}
	wantRoots(t, "linked", linked, []*shred.Set{two[2], two[3], two[4], one[2], one[3]})
	wantRoots(t, "one", c.Chain(userKey, lastRoot(one)), one)
	wantRoots(t, "two", c.Chain(userKey, lastRoot(two)), two)
}

// Of a third block nothing is kept, unless it is wanted: then all of it is,
// found by the roots that its sets name.
func TestCollectWanted(t *testing.T) {
	c := NewCollector(testLimits)
	three := makeBlock(t, userKey, "qrs")
	feed(t, c, makeBlock(t, userKey, "abc")...)
	feed(t, c, makeBlock(t, userKey, "xyz")...)
	for _, set := range three {
		if in := insert(c, set, 0); in.New || in.Drop != DropRoots {
			t.Fatalf("%+v", in)
		}
	}
	id := lastRoot(three)
	for range 2 {
		if !c.Want(userKey, id) {
			t.Fatal("Want refuses")
		}
	}
	if n := c.Need(userKey, id); n.Status != Incomplete || len(n.Gaps) != 1 || n.Gaps[0] != (Gap{Root: id, Missing: ^uint64(0)}) {
		t.Fatalf("%+v", n)
	}
	if in := insert(c, three[0], 0); in.Drop != DropRoots {
		t.Fatalf("a set of which nobody knows that it is wanted: %+v", in)
	}
	for i := len(three) - 1; i >= 0; i-- {
		if !c.keys[userKey].wanted[three[i].Root] {
			t.Fatalf("set %d is not wanted", i)
		}
		if in := insert(c, three[i], 7); !in.New {
			t.Fatalf("spine, set %d: %+v", i, in)
		}
	}
	n := c.Need(userKey, id)
	if n.Sets != 3 || len(n.Gaps) != 3 {
		t.Fatalf("%+v", n)
	}
	for i, g := range n.Gaps {
		if g.Root != three[2-i].Root || g.Held != 1 || g.Missing != ^uint64(1<<7) {
			t.Fatalf("gap %d: %+v", i, g)
		}
	}
	for _, set := range three {
		if in := insert(c, set, upTo(shred.SetData+1)...); in.Drop == DropRoots {
			t.Fatalf("%+v", in)
		}
		c.Assembled(set)
	}
	wantRoots(t, "Chain", c.Chain(userKey, id), three)
}

// Want after the spine came in marks what it follows, too.
func TestWantKnown(t *testing.T) {
	c := NewCollector(testLimits)
	sets := makeBlock(t, userKey, "abc")
	insert(c, sets[2], 0)
	insert(c, sets[1], 0)
	c.Want(userKey, sets[2].Root)
	for i, set := range sets {
		if !c.keys[userKey].wanted[set.Root] {
			t.Errorf("set %d is not wanted", i)
		}
	}
	for i := range WantsMax {
		if ok := c.Want(userKey, ledger.Sum([]byte{byte(i)})); ok != (i < WantsMax-1) {
			t.Errorf("want %d: %t", i, ok)
		}
	}
}

// PROTOCOL section 4, rule 2: an inconsistent set is remembered, and no block
// with it is ever complete.
func TestCollectFailed(t *testing.T) {
	c := NewCollector(testLimits)
	sets := makeBlock(t, userKey, "abc")
	feed(t, c, sets[0])
	if in := insert(c, sets[1], upTo(shred.SetData)...); in.Ready == nil {
		t.Fatal("not ready")
	}
	c.Failed(sets[1].Root)
	if in := insert(c, sets[1], 50); in.New || in.Drop != DropFailed {
		t.Fatalf("%+v", in)
	}
	if got := c.Assembled(sets[1]); got != nil {
		t.Fatal("a failed set was assembled")
	}
	if got := feed(t, c, sets[2]); got != nil {
		t.Fatal("linked over a failed set")
	}
	if n := c.Need(userKey, sets[2].Root); n.Status != Invalid {
		t.Fatalf("%+v", n)
	}
	if c.Chain(userKey, sets[2].Root) != nil {
		t.Fatal("Chain of an invalid block")
	}
	seen, ok := c.Missing(userKey)
	if !ok || len(seen.Gaps) != 0 {
		t.Fatalf("%+v", seen)
	}
	c.Failed(ledger.Hash{})
	c.Failed(sets[0].Root)
	if c.Need(userKey, sets[0].Root).Status != Invalid {
		t.Fatal("a set that is not last ends a block")
	}
	if _, ok := c.Set(userKey, sets[0].Root); !ok {
		t.Fatal("an assembled set cannot fail")
	}
}

// Leaves of one root whose headers differ show that the set is inconsistent.
func TestCollectMixedHeaders(t *testing.T) {
	c := NewCollector(testLimits)
	sets := makeBlock(t, userKey, "ab")
	insert(c, sets[0], 0)
	if in := c.Insert(sets[1].Shred(1), sets[0].Root); in.New || in.Drop != DropFailed {
		t.Fatalf("%+v", in)
	}
	if in := insert(c, sets[0], 2); in.Drop != DropFailed {
		t.Fatalf("%+v", in)
	}
	if _, bodies := c.Usage(); bodies != 0 {
		t.Fatalf("%d sets with shreds", bodies)
	}
}

// Of several signatures of one root only the first was checked.
func TestCollectSignature(t *testing.T) {
	c := NewCollector(testLimits)
	set := makeBlock(t, userKey, "a")[0]
	insert(c, set, 0)
	first, second := set.Shred(0), set.Shred(1)
	in := c.Insert(second.WithSignature(ledger.Signature{1}), set.Root)
	if !in.New || in.Shred.Signature() != first.Signature() {
		t.Fatalf("%+v", in)
	}
	if got := second.WithSignature(ledger.Signature{1}); got.Signature() == second.Signature() {
		t.Fatal("WithSignature changed the original")
	}
}

// PROTOCOL sections 4 and 5: shreds beyond the sets of a block are dropped;
// if they are wanted the block is invalid.
func TestCollectBeyond(t *testing.T) {
	for _, tc := range []struct {
		key ledger.SlotKey
		max int
	}{{userKey, testUserMax}, {leaderKey, ledger.LeaderSetsMax}} {
		c := NewCollector(testLimits)
		sets := makeBlock(t, tc.key, string(bytes.Repeat([]byte{'a'}, tc.max+1)))
		if in := insert(c, sets[tc.max-1], 0); !in.New {
			t.Fatalf("%+v", in)
		}
		beyond := sets[tc.max]
		if in := insert(c, beyond, 0); in.New || in.Drop != DropBeyond || c.Known(beyond.Key, beyond.Root) {
			t.Fatalf("%+v", in)
		}
		c.Want(tc.key, beyond.Root)
		if in := insert(c, beyond, 0); in.New || in.Drop != DropBeyond {
			t.Fatalf("%+v", in)
		}
		if n := c.Need(tc.key, beyond.Root); n.Status != Invalid {
			t.Fatalf("%+v", n)
		}
	}
}

// The last quarter of the sets is for leader blocks and what is wanted.
func TestCollectFull(t *testing.T) {
	c := NewCollector(Limits{UserSetsMax: 48, SetsMax: 8})
	user, leader := makeBlock(t, userKey, "abcdefghijk"), makeBlock(t, leaderKey, "abc")
	for i, set := range user[:8] {
		want := Kept
		if i >= 6 {
			want = DropFull
		}
		if in := insert(c, set, 0); in.Drop != want {
			t.Fatalf("user set %d: %v, want %v", i, in.Drop, want)
		}
	}
	if in := insert(c, leader[0], 0); !in.New {
		t.Fatalf("leader: %+v", in)
	}
	c.Want(userKey, lastRoot(user))
	if in := insert(c, user[10], 0); !in.New {
		t.Fatalf("wanted: %+v", in)
	}
	if in := insert(c, leader[1], 0); in.Drop != DropFull {
		t.Fatalf("leader: %+v", in)
	}
	if keys, bodies := c.Usage(); keys != 2 || bodies != 8 {
		t.Fatalf("%d keys, %d sets", keys, bodies)
	}
	for _, set := range user {
		c.Failed(set.Root)
	}
	if in := insert(c, leader[1], 0); !in.New {
		t.Fatalf("after others failed: %+v", in)
	}
}

func TestCollectKeysMax(t *testing.T) {
	c := NewCollector(testLimits)
	for i := range KeysMax {
		if i == KeysMax/4*3 && c.Want(userKey, ledger.Hash{}) {
			t.Fatal("a UserBlock takes what is kept for leader blocks")
		}
		if !c.Want(ledger.SlotKey(i), ledger.Hash{}) {
			t.Fatalf("key %d", i)
		}
	}
	set := makeBlock(t, userKey, "a")[0]
	if c.Want(KeysMax, ledger.Hash{}) || c.Want(userKey, ledger.Hash{}) || insert(c, set, 0).Drop != DropFull || c.Assembled(set) != nil {
		t.Fatal("more keys than KeysMax")
	}
	c.PruneBelow(1)
	if !insert(c, makeBlock(t, KeysMax, "a")[0], 0).New {
		t.Fatal("no room after pruning")
	}
}

func TestPruneBelow(t *testing.T) {
	c := NewCollector(testLimits)
	user, leader := makeBlock(t, userKey, "ab"), makeBlock(t, leaderKey+1, "a")
	feed(t, c, user[0])
	feed(t, c, leader[0])
	insert(c, user[1], 0)
	c.PruneBelow(1000)
	if keys, bodies := c.Usage(); keys != 2 || bodies != 3 {
		t.Fatalf("%d keys, %d sets", keys, bodies)
	}
	c.PruneBelow(1001)
	c.PruneBelow(3)
	if keys, bodies := c.Usage(); keys != 1 || bodies != 1 {
		t.Fatalf("%d keys, %d sets", keys, bodies)
	}
	if in := insert(c, user[1], 1); in.New || in.Drop != DropOld {
		t.Fatalf("%+v", in)
	}
	if c.Known(userKey, user[0].Root) || c.Want(userKey, user[1].Root) || c.Assembled(user[0]) != nil {
		t.Fatal("pruned key is known")
	}
	if c.Chain(leaderKey+1, leader[0].Root) == nil {
		t.Fatal("pruned too much")
	}
}

func TestRelease(t *testing.T) {
	c := NewCollector(testLimits)
	sets := makeBlock(t, userKey, "abc")
	feed(t, c, sets...)
	id := lastRoot(sets)
	if raws, ok := c.Set(userKey, id); !ok || !bytes.Equal(raws[63], sets[2].Shreds[63]) {
		t.Fatal("Set")
	}
	if _, ok := c.Set(leaderKey, id); ok {
		t.Fatal("Set under another key")
	}
	c.Release(userKey, id)
	if _, bodies := c.Usage(); bodies != 0 {
		t.Fatalf("%d sets with shreds", bodies)
	}
	if n := c.Need(userKey, id); n.Status != Complete || c.Chain(userKey, id) != nil {
		t.Fatalf("%+v", n)
	}
	if in := insert(c, sets[0], 60); !in.New {
		t.Fatalf("a shred that was not forwarded yet: %+v", in)
	}
	c.PruneBelow(2000)
	if _, bodies := c.Usage(); bodies != 0 {
		t.Fatalf("%d sets with shreds", bodies)
	}
}

// samples are the shreds that are kept of the sets of a block, last to first.
func samples(c *Collector, id ledger.Hash) (kept []shred.Shred) {
	sets, _, _ := c.walk(userKey, id)
	for _, f := range sets {
		kept = append(kept, f.sample)
	}
	return kept
}

func TestSlimSetsKeepTheirPayload(t *testing.T) {
	c := NewCollector(testLimits)
	old, young := makeBlock(t, userKey, "abc"), makeBlock(t, leaderKey+1, "abc")
	feed(t, c, old...)
	feed(t, c, young...)
	id, spine := lastRoot(old), samples(c, lastRoot(old))
	c.SlimBelow(userKey.Slot() + 1)
	for range 2 { // slim ones do not become slimmer
		for i, set := range c.Chain(userKey, id) {
			if set.Root != old[i].Root || set.Last != old[i].Last || !bytes.Equal(set.Payload, old[i].Payload) || set.Shreds[0] != nil {
				t.Fatalf("set %d: %+v", i, set)
			}
		}
		if c.Need(userKey, id).Status != Complete || len(c.Chain(userKey, id)) != len(old) {
			t.Fatal("forgot the block")
		}
		if raws, ok := c.Set(userKey, id); ok {
			t.Fatalf("%d shreds of a slim set", len(raws))
		}
		for i, s := range samples(c, id) {
			if !bytes.Equal(s.Raw(), spine[i].Raw()) {
				t.Fatal("another spine")
			}
		}
		c.SlimBelow(userKey.Slot() + 1)
	}
	if old[0].Shreds[0] == nil {
		t.Error("changed a set that others use")
	}
	if _, ok := c.Set(leaderKey+1, lastRoot(young)); !ok {
		t.Error("took the shreds of a younger slot")
	}
}

// What is known under a key, for a slot whose block id nobody has told.
func TestMissing(t *testing.T) {
	c := NewCollector(testLimits)
	sets := makeBlock(t, leaderKey, "abcde")
	if _, ok := c.Missing(leaderKey); ok {
		t.Fatal("something is there")
	}
	feed(t, c, sets[0])
	insert(c, sets[3], 4, 5)
	seen, ok := c.Missing(leaderKey)
	if !ok || seen.Index != 96 || seen.Last || len(seen.Gaps) != 2 {
		t.Fatalf("%+v", seen)
	}
	if seen.Gaps[0] != (Gap{Root: sets[3].Root, Held: 2, Missing: ^uint64(3 << 4)}) {
		t.Errorf("%+v", seen.Gaps[0])
	}
	if seen.Gaps[1] != (Gap{Root: sets[2].Root, Missing: ^uint64(0)}) {
		t.Errorf("%+v", seen.Gaps[1])
	}
	feed(t, c, sets[4])
	if seen, _ = c.Missing(leaderKey); !seen.Last || seen.Index != 128 {
		t.Errorf("%+v", seen)
	}
}

// A block ends at its set that is marked as last, and starts at index 0.
func TestStatusInvalid(t *testing.T) {
	c := NewCollector(testLimits)
	short := makeBlock(t, userKey, "ab")
	feed(t, c, short...)
	s := shred.NewShredder(shred.Config{Key: userKey, Version: 1, Signer: testSigner, Chained: lastRoot(short)})
	var after []*shred.Set
	for _, tag := range []string{"x", "y", "z"} {
		sets, err := s.Shred([]byte(tag), 0, tag == "z")
		if err != nil {
			t.Fatal(err)
		}
		after = append(after, sets...)
	}
	feed(t, c, after[1], after[2])
	// The first of them has index 0 and names as anchor what happens to be a
	// set of the same key: it begins a block of its own.
	if linked := feed(t, c, after[0]); len(linked) != 3 {
		t.Fatalf("%d linked", len(linked))
	}
	if st := c.Need(userKey, lastRoot(after)).Status; st != Complete {
		t.Errorf("block of its own: %v", st)
	}
	if st := c.Need(userKey, after[1].Root).Status; st != Invalid {
		t.Errorf("id of a set that is not last: %v", st)
	}
	if st := c.Need(userKey+1, lastRoot(after)).Status; st != Invalid {
		t.Errorf("id under another key: %v", st)
	}
	// One that names, from index 32, a set that ends a block.
	end, next := makeBlock(t, leaderKey, "c")[0], makeBlock(t, leaderKey, "ab")[1]
	raw := bytes.Clone(next.Shreds[0])
	copy(raw[len(raw)-64-120-32:], end.Root[:])
	next.Shreds[0], next.Chained, next.Root = raw, end.Root, ledger.Sum(raw)
	c.Assembled(end)
	if c.Assembled(next) != nil {
		t.Error("linked behind the end of a block")
	}
	if st := c.Need(leaderKey, next.Root).Status; st != Invalid {
		t.Errorf("block that goes on behind its end: %v", st)
	}
}

func TestDropString(t *testing.T) {
	for d := range Drops {
		if d.String() == "" || d.String() == "unknown" {
			t.Errorf("reason %d has no name", d)
		}
	}
	if Drops.String() != "unknown" {
		t.Error("Drops has a name")
	}
}

func BenchmarkInsert(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := shred.NewShredder(shred.Config{Key: userKey, Version: 1, Signer: testSigner})
	sets, err := s.Shred(make([]byte, 34*setBytes), 0, true)
	if err != nil {
		b.Fatal(err)
	}
	type sent struct {
		set   *shred.Set
		shred shred.Shred
	}
	var all []sent
	for _, set := range sets {
		for i := range set.Shreds {
			all = append(all, sent{set, set.Shred(i)})
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for b.Loop() {
		c := NewCollector(testLimits)
		for _, s := range all {
			if in := c.Insert(s.shred, s.set.Root); in.Ready != nil {
				c.Assembled(s.set)
			}
		}
		if len(c.Chain(userKey, lastRoot(sets))) != len(sets) {
			b.Fatal("incomplete")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(all)), "ns/shred")
}

// The parent is known from the spine alone, whatever else is missing.
func TestParent(t *testing.T) {
	sets := makeBlock(t, leaderKey, "abc")
	c := NewCollector(testLimits)
	id := lastRoot(sets)
	for _, i := range []int{2, 1} {
		insert(c, sets[i], 0)
		if _, ok := c.Parent(leaderKey, id); ok {
			t.Errorf("parent of a block of which only sets from %d on are here", i)
		}
	}
	insert(c, sets[0], 0)
	want := ledger.BlockRef{Slot: leaderKey.Slot() - 1, ID: sets[0].Chained}
	if got, ok := c.Parent(leaderKey, id); !ok || got != want {
		t.Errorf("parent %v, %v; want %v", got, ok, want)
	}
	user := makeBlock(t, userKey, "a")
	insert(c, user[0], 0)
	if _, ok := c.Parent(userKey, lastRoot(user)); ok {
		t.Error("a UserBlock has a parent")
	}
	code := makeBlock(t, leaderKey, "d")
	insert(c, code[0], shred.SetData)
	if _, ok := c.Parent(leaderKey, lastRoot(code)); ok {
		t.Error("a coding shred names a parent")
	}
}
