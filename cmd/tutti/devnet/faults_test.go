package devnet

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestFaultPlan: a seed decides everything, and more faults of a kind only
// come behind.
func TestFaultPlan(t *testing.T) {
	f := Faults{Kills: 3, Seed: rand.Uint64()}
	few := f.plan(4)
	f.Kills, f.Pauses, f.Pairs, f.Alls = 40, 1, 1, 1
	many, again := f.plan(4), f.plan(4)
	if fmt.Sprint(many) != fmt.Sprint(again) || fmt.Sprint(many[:3]) != fmt.Sprint(few) {
		t.Errorf("seed %d: %v, then %v, %v", f.Seed, few, many, again)
	}
	killed := map[int]int{}
	for _, x := range many[:40] {
		killed[x.nodes[0]]++
		if len(x.nodes) != 1 || x.wait < 0 || x.wait >= waitMax || x.down < downMin || x.down >= downMax {
			t.Errorf("fault %+v", x)
		}
	}
	if len(killed) != 4 {
		t.Errorf("seed %d: validators %v are killed", f.Seed, killed)
	}
	if rest := many[40:]; rest[0].kind != pause || rest[0].down != pauseTime || len(rest[1].nodes) != 2 || len(rest[2].nodes) != 4 {
		t.Errorf("other faults: %+v", rest)
	}
}
