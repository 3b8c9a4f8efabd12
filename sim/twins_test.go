package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tutti/ledger"
	"tutti/node"
)

// named returns the Config of a scenario.
func named(t *testing.T, name string, seed uint64) Config {
	t.Helper()
	scenario, err := ParseScenario(name)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Scenario: scenario, Seed: seed}
}

func TestTwinsScenario(t *testing.T) {
	var all Proofs
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			cfg := named(t, "twins", seed)
			o := RunSeed(cfg)
			if o.Verdict != Pass {
				t.Fatalf("%v\nagain: %s", o.Err, cfg.Command())
			}
			all.Add(o.Result.Proofs)
		})
	}
	if all.Twice < 10 || all.Proven < all.Twice/2 {
		t.Errorf("%v", all)
	}
}

// The space that seeds are drawn from: each way to part five machines into two
// or three groups, all roles, rounds of 1, 2 and 4 slots, late ones of 4, 8, 20
// and 40, of each first turn, a twin with little stake and with much.
func TestTwinsSpace(t *testing.T) {
	all := partitions(5)
	if len(all) != 15+25 { // Stirling numbers of the second kind
		t.Errorf("%d partitions", len(all))
	}
	for i, p := range all {
		if slices.ContainsFunc(all[:i], func(q []int) bool { return slices.Equal(p, q) }) || p[0] != 0 || slices.Max(p) < 1 {
			t.Errorf("partition %v", p)
		}
	}
	drawn := make(map[string]int)
	for seed := range uint64(150) {
		s, err := New(named(t, "twins", seed))
		if err != nil {
			t.Fatal(err)
		}
		x := s.scenario.(*twins)
		drawn[x.role.String()]++
		drawn[fmt.Sprint(x.round, " slots a round")]++
		drawn[fmt.Sprint("from slot ", x.first)]++
		drawn[fmt.Sprint("late ", x.late)]++
		drawn[fmt.Sprint("goes on ", s.cfg.Slots > x.healed+proofSlots)]++
		drawn[fmt.Sprint("twin leads ", s.index[s.check.signers.signer(x.first.Key())] == x.twin)]++
		if len(s.faults.episodes)*x.round != int(x.healed-x.first) || x.late != (x.first == 40) || x.late != (x.healed-x.first == 40) {
			t.Errorf("seed %d: %d rounds of %d slots", seed, len(s.faults.episodes), x.round)
		}
		drawn[fmt.Sprint("firm: ", s.check.firm)]++
		leads := x.light
		for slot := x.first; slot < x.healed; slot++ {
			leads = leads || s.leader(slot) == x.twin
		}
		if !leads || s.villains.honest(x.twin) {
			t.Errorf("seed %d: twin %d does not lead, or is honest", seed, x.twin)
		}
	}
	if len(drawn) != int(roles)+3+3+1+3+2+2+2+2 {
		t.Errorf("drawn: %v", drawn)
	}
}

// A proof counts if two of three honest nodes store it within four slots of
// when it could be known.
func TestProofsInTime(t *testing.T) {
	key, slot := ledger.Slot(9).Key(), 400*time.Millisecond
	tests := []struct {
		what    string
		visible time.Duration // in slots after the heal; 0: never
		proven  []time.Duration
		want    Proofs
		late    bool
	}{
		{"never visible", 0, nil, Proofs{Twice: 1}, false},
		{"in time", 1, []time.Duration{3, 5}, Proofs{Twice: 1, Visible: 1, Proven: 1}, false},
		{"one late", 1, []time.Duration{3, 6}, Proofs{Twice: 1, Visible: 1}, true},
		{"one only", 1, []time.Duration{3}, Proofs{Twice: 1, Visible: 1}, true},
		{"no time left", 30, []time.Duration{3}, Proofs{Twice: 1, Visible: 1}, false},
	}
	for _, x := range tests {
		s, err := New(named(t, "twins", 1))
		if err != nil {
			t.Fatal(err)
		}
		healed := s.slotAt(s.scenario.(*twins).healed)
		s.now = healed + 20*slot
		of := &versions{twice: true, proven: make(map[int]time.Duration)}
		if x.visible > 0 {
			of.visible = healed + x.visible*slot
		}
		for i, at := range x.proven {
			of.proven[i] = healed + at*slot
		}
		tw := s.scenario.(*twins)
		tw.seen[key] = of
		var r Result
		v := tw.judge(s, &r)
		if (v != nil) != x.late || r.Proofs != x.want {
			t.Errorf("%s: %v, %v", x.what, r.Proofs, v)
		}
	}
}

// What a second machine makes beyond its role does not leave it.
func TestRoles(t *testing.T) {
	cfg := small(3)
	cfg.Slots = 8
	honest, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	twin := honest.leader(4)
	for r := range roles {
		s, err := newSim(cfg, dishonest{twins: []int{twin}, behaviours: map[int]behaviour{5: r}})
		if err != nil {
			t.Fatal(err)
		}
		var left []string
		spy := scripted(func(h *host, wanted []queued) []queued {
			out := r.act(h, wanted)
			for _, q := range out {
				send, _ := q.effect.(node.Send)
				switch m := send.Msg.(type) {
				case node.VoteMessage:
					left = append(left, "votes")
				case node.ShredMessage:
					if key := m.Shred.Key(); s.check.signers.signer(key) != h.identity() {
						left = append(left, "passes on")
					} else if key.IsUser() {
						left = append(left, "proposes")
					} else {
						left = append(left, "leads")
					}
				}
			}
			return out
		})
		s.hosts[5].behaviour = spy
		if _, err := s.Run(); err != nil {
			t.Fatal(err)
		}
		slices.Sort(left)
		got := strings.Join(slices.Compact(left), ", ")
		want := []string{"leads, passes on, proposes, votes", "leads, passes on", "passes on, proposes", "passes on, votes"}[r]
		if got != want {
			t.Errorf("%v: %s", r, got)
		}
	}
}

func TestScenarioErrors(t *testing.T) {
	if _, err := ParseScenario("triplets"); err == nil || !strings.Contains(err.Error(), "want one of twins") {
		t.Errorf("error is %v", err)
	}
	cfg := named(t, "twins", 7)
	if got, want := cfg.Command(), "tutti sim --scenario twins --seed 7 --story"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
