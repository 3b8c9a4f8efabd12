package node

import (
	"testing"
	"time"

	"tutti/cluster"
	"tutti/leader"
)

// A cluster that stood still goes on, as long as a block can hold the ticks of
// the slots that were skipped. After more nobody makes one, and each leader says
// so once.
func TestStoodStill(t *testing.T) {
	for _, x := range []struct {
		skipped time.Duration
		blocks  bool
	}{
		{leader.PauseMax, true},
		{leader.SkipMax + 1, false},
	} {
		c := newTestCluster(t, 4, func(o *cluster.Options) { o.Params.SlotsPerEpoch, o.Params.HashesPerTick = 432_000, 16 })
		c.now = c.now.Add(x.skipped * 64 * c.genesis.Params.TickDuration)
		c.run(6 * time.Second)
		told := 0
		for i, n := range c.nodes {
			if held := count[BlockHeld](n); held > 0 != x.blocks {
				t.Errorf("%d slots skipped: node %d holds %d blocks", x.skipped, i, held)
			}
			if stood := count[StoodStill](n); stood > 1 || stood > 0 && x.blocks {
				t.Errorf("%d slots skipped: node %d says %d times that it stood still", x.skipped, i, stood)
			} else {
				told += stood
			}
		}
		if told == 0 && !x.blocks {
			t.Errorf("%d slots skipped: nobody says why there are no blocks", x.skipped)
		}
	}
}
