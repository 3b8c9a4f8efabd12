package sim

import (
	"strings"
	"testing"
	"time"

	"tutti/ledger"
	"tutti/node"
)

// liars returns a cluster of six in which the executors of n validators are
// wrong from a slot on, in so many different ways; more is what each of them
// has beyond its share of the stake.
func liars(seed uint64, n int, from ledger.Slot, ways byte, more ledger.Lamports) (Config, dishonest) {
	cfg := small(seed)
	cfg.Validators = 6
	d := dishonest{liars: make(map[int]*liar)}
	for i := range cfg.Validators {
		stake := ledger.Lamports(stakeMin)
		if i >= cfg.Validators-n {
			d.liars[i] = &liar{from: from, value: 1 + byte(i)%ways}
			stake += more
		}
		cfg.stakes = append(cfg.stakes, stake)
	}
	return cfg, d
}

// PROTOCOL section 10: exactly a third of the stake is no reason to halt,
// whether its BankHashes are equal or not. The checker sees to it that no
// honest node stops without one.
func TestAThirdIsWrong(t *testing.T) {
	for ways := byte(1); ways <= 2; ways++ {
		cfg, d := liars(uint64(ways), 2, 12, ways, 0)
		cfg.Slots = 40
		s, _ := runWith(t, cfg, d)
		for i := range 4 {
			if s.check.nodes[i].halted {
				t.Errorf("%d ways: node %d has halted", ways, i)
			}
		}
		if s.check.crossed > 0 {
			t.Errorf("%d ways: more than a third of the stake at %v", ways, s.check.crossed)
		}
	}
}

// A quarter is wrong: it finds out, and the others go on.
func TestAFewAreWrong(t *testing.T) {
	cfg, d := liars(3, 1, 12, 1, 0)
	cfg.Slots = 40
	s, r := runWith(t, cfg, d)
	if r.Confirmed.All < 30 {
		t.Errorf("%+v", r.Confirmed)
	}
	if got := s.hosts[5].disk.halt; got == nil {
		t.Error("the liar has not given up")
	}
}

// Just above a third: every honest node halts within two slots of the vote
// that crosses it, for good: no vote, block or root follows, which the checker
// sees to.
func TestMoreThanAThirdIsWrong(t *testing.T) {
	for ways := byte(1); ways <= 2; ways++ {
		cfg, d := liars(uint64(10+ways), 2, 12, ways, 1)
		cfg.Slots = 30
		cfg.Network.Jitter = 0
		s, err := newSim(cfg, d)
		if err != nil {
			t.Fatal(err)
		}
		halted := make([]time.Duration, 4)
		for i, h := range s.hosts[:4] {
			h.behaviour = scripted(func(h *host, wanted []queued) []queued { // it only watches
				for _, q := range wanted {
					if r, ok := q.effect.(node.Report); ok {
						if c, ok := r.Of.(node.HealthChanged); ok && c.Health == node.Halted {
							halted[i] = s.now
						}
					}
				}
				return wanted
			})
		}
		if _, err := s.Run(); err != nil {
			t.Fatal(err)
		}
		limit := s.check.crossed + cfg.Network.LatencyMax + 2*s.slotAt(1) - 2*s.slotAt(0)
		for i, at := range halted {
			if s.check.crossed == 0 || at == 0 || at > limit {
				t.Errorf("%d ways: the vote is sent at %v, node %d halts at %v, not by %v", ways, s.check.crossed, i, at, limit)
			}
		}
	}
}

// The halt survives crashes, and nobody halts before there is a reason: the
// checker sees to both. Whose votes are lost learns the reason from those that
// have halted. In some seeds a liar halts before it has reported anything
// wrong: no more than a third of the stake is against the others, and they go
// on.
func TestHaltSurvivesCrashes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	crashes, halts := 0, 0
	for _, seed := range []uint64{4, 5, 6} {
		cfg, d := liars(seed, 3, 40, 2, 0)
		cfg.Slots, cfg.Faults = 100, true
		s, r := runWith(t, cfg, d)
		for i := range 3 {
			halted := s.check.nodes[i].halted && s.hosts[i].disk.halt != nil
			if halted {
				halts++
			}
			if crossed := s.check.crossed > 0; halted != crossed {
				t.Errorf("seed %d: more than a third against: %v; node %d has halted: %v", seed, crossed, i, halted)
			}
		}
		crashes += r.Crashes
	}
	if crashes == 0 || halts == 0 {
		t.Errorf("%d crashes, %d nodes have halted", crashes, halts)
	}
}

// What the checker says of nodes that halt.
func TestHealthViolations(t *testing.T) {
	halt := func(x *scene) node.HealthChanged {
		return node.HealthChanged{Health: node.Halted, Block: x.ref(2)}
	}
	x := newScene(t)
	x.broken(x.report(0, halt(x)), "stops over")
	x = newScene(t)
	x.broken(x.report(0, node.WentBack{Wrong: x.ref(2)}), "executes")
	x = newScene(t)
	x.nodes[0].halted = true
	x.fine(x.report(0, halt(x)))
	x.broken(x.report(0, node.HealthChanged{}), "goes on after")
	x.broken(x.report(0, node.Rooted{Block: x.ref(1)}), "after it has halted")
	x = newScene(t)
	x.broken(x.report(0, node.HealthChanged{Health: node.Stalled, Block: x.ref(2)}), "stops over")
	x.broken(x.vote(0, node.VoteMessage{}, nil), "while it has stalled")
	x.fine(x.report(0, node.HealthChanged{}))
	x.fine(x.vote(0, node.VoteMessage{}, nil)) // sent again
}

// Liars are drawn with less than a third of the stake, a third, a lamport more
// and much more.
func TestLiarsAreDrawn(t *testing.T) {
	runs, kinds := 0, map[string]int{}
	for seed := range uint64(400) {
		cfg := small(seed)
		cfg.Validators = 4 + int(seed%7)
		validators := cfg.validators()
		liars := drawLiars(&cfg, validators)
		if liars == nil {
			continue
		}
		runs++
		var wrong, total ledger.Lamports
		for i, v := range validators {
			total += v.Stake
			if liars[i] != nil {
				wrong += v.Stake
			}
		}
		switch {
		case 3*wrong < total:
			kinds["below"]++
		case 3*wrong == total:
			kinds["at"]++
		case 3*(wrong-1) == total-1:
			kinds["just above"]++
		case 5*wrong < 3*total:
			kinds["above"]++
		default:
			t.Errorf("seed %d: %d of %d lamports", seed, wrong, total)
		}
	}
	if runs < 50 || runs > 150 || kinds["below"] < 10 || kinds["at"] < 10 || kinds["just above"] < 10 || kinds["above"] < 10 {
		t.Errorf("%d of 400 runs: %v", runs, kinds)
	}
}

// Who has not halted two slots and the greatest latency after the vote that
// crosses a third breaks a promise; with faults that is not asked.
func TestLateHaltIsFound(t *testing.T) {
	s, err := newSim(small(1), dishonest{})
	if err != nil {
		t.Fatal(err)
	}
	halting := func(at time.Duration) error {
		s.now, s.halted = at, false
		return s.halting()
	}
	if err := halting(time.Minute); err != nil {
		t.Error(err)
	}
	s.check.crossed = time.Second
	limit := time.Second + 2*s.slotAt(1) - 2*s.slotAt(0) + s.cfg.Network.LatencyMax + s.cfg.Network.Jitter
	if err := halting(limit); err != nil {
		t.Error(err)
	}
	for i := range s.check.nodes[1:] {
		s.check.nodes[i].halted = true
	}
	err = halting(limit + 1)
	if v, ok := err.(*Violation); !ok || v.Node != len(s.hosts)-1 || !strings.Contains(v.What, "has not halted") {
		t.Errorf("%v", err)
	}
	s.check.nodes[len(s.hosts)-1].halted = true
	if err := halting(limit + 1); err != nil {
		t.Error(err)
	}
	s.check.nodes[0].halted, s.cfg.Network.Loss = false, 1
	if err := halting(limit + 1); err != nil {
		t.Error(err)
	}
}
