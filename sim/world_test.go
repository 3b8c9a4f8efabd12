package sim

import "testing"

// worldConfig is a small cluster in all regions.
func worldConfig() Config {
	cfg := DefaultConfig()
	cfg.World, cfg.Validators, cfg.Slots, cfg.Load = true, 10, 30, 50
	return cfg
}

// TestWorld: clients everywhere get all of their transactions executed, level
// by level, and no sooner than light could have brought them the news.
func TestWorld(t *testing.T) {
	s, err := New(worldConfig())
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Run()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.World.Cities {
		if c.Submitted == 0 || c.Landed != c.Submitted || len(c.Confirmed) != c.Submitted {
			t.Errorf("%s: %d submitted, %d landed, %d confirmed", c.Name, c.Submitted, c.Landed, len(c.Confirmed))
			continue
		}
		if c.Placed[0] < 0 {
			t.Errorf("%s: placed %v before it was sent", c.Name, -c.Placed[0])
		}
		for i, at := range c.Recorded {
			// A UserBlock is recorded when its UserBlockSlot is over, and the
			// transaction came before.
			if at <= 2*accessTime || i > 0 && at < c.Recorded[i-1] {
				t.Errorf("%s: recorded after %v", c.Name, at)
			}
		}
		if c.Confirmed[0] <= c.Recorded[0] {
			t.Errorf("%s: confirmed after %v, recorded after %v", c.Name, c.Confirmed[0], c.Recorded[0])
		}
	}
	if r.World.Verified == 0 {
		t.Error("no signatures checked")
	}
}
