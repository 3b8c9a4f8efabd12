package sim

import "testing"

// PROTOCOL section 4, rule 2: "re-encoding what was decoded gives the same
// roots, whichever shreds were used". `tutti sim forgeries` does the
// same at length.
func TestForgedSetsHaveOneVerdict(t *testing.T) {
	v, err := JudgeForgeries(1, 110)
	if err != nil {
		t.Fatal(err)
	}
	if v.Split != 0 || v.Fooled != 0 || v.Nodes != 110*nodesPerSet {
		t.Error(v.String())
	}
	for _, w := range v.Ways {
		if w.Sets != 10 {
			t.Errorf("%d sets with %s", w.Sets, w.Name)
		}
	}
}
