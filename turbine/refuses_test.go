package turbine

import (
	"testing"

	"tutti/ledger"
	"tutti/shred"
)

// What will be dropped whoever signed it is known before its signature is
// checked, and nothing else: so an equivocator's third root costs nothing.
func TestRefuses(t *testing.T) {
	c := NewCollector(testLimits)
	check := func(what string, set *shred.Set, want Drop) {
		t.Helper()
		s := set.Shred(9)
		if got := c.Refuses(&s, set.Root); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
		if in := insert(c, set, 9); want != Kept && (in.Drop != want || in.Conflict != nil) {
			t.Errorf("%s: Refuses says %v, Insert %+v", what, want, in)
		}
	}
	block := func(tags string) *shred.Set { return makeBlock(t, userKey, tags)[0] }
	one, two, three := block("a"), block("b"), block("c")
	check("first root", one, Kept)
	check("again", one, Kept)
	check("second root, a proof", two, Kept)
	check("third root", three, DropRoots)
	c.Want(userKey, three.Root)
	check("third root, wanted", three, Kept)
	long := makeBlock(t, userKey, string(make([]byte, testUserMax+1)))
	check("beyond", long[testUserMax], DropBeyond)
	for i := range testLimits.SetsMax {
		insert(c, makeBlock(t, ledger.Slot(100+i).Key(), "a")[0], 0)
	}
	check("full", makeBlock(t, ledger.UserKey(500, 0), "a")[0], DropFull)
	c.PruneBelow(userKey.Slot() + 1)
	check("old", one, DropOld)
}
