package sim

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tutti/consensus"
	"tutti/ledger"
	"tutti/node"
)

// faulty returns a cluster in which things go wrong.
func withFaults(seed uint64) Config {
	cfg := small(seed)
	cfg.Faults, cfg.Slots = true, faultsSlots
	return cfg
}

func TestFaultySeeds(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			cfg := withFaults(seed)
			if o := RunSeed(cfg); o.Verdict != Pass {
				t.Errorf("%v\nagain: %s", o.Err, cfg.Command())
			}
		})
	}
}

// Nothing of the trace depends on what nodes share with each other.
func TestSharingChangesNothing(t *testing.T) {
	cfg := withFaults(1)
	cfg.Validators, cfg.Load = 4, 20
	shared := run(t, cfg)
	cfg.Unshared = true
	if own := run(t, cfg); own != shared {
		t.Errorf("shared %+v, each its own %+v", shared, own)
	}
}

func TestDrawnFaults(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Validators, cfg.Slots = 10, 200
	var has [kinds]int
	always := map[string]int{}
	for cfg.Seed = range 200 {
		at := func(s ledger.Slot) time.Duration { return time.Duration(s) * 400 * time.Millisecond }
		f := drawFaults(&cfg, cfg.Validators, at)
		if len(f.phases) == 0 {
			t.Fatalf("seed %d: no chaos", cfg.Seed)
		}
		for i, p := range f.phases {
			if p.end <= p.begin || p.end+healSlots > cfg.Slots || i > 0 && p.begin < f.phases[i-1].end+healSlots {
				t.Fatalf("seed %d: phases %v", cfg.Seed, f.phases)
			}
		}
		for i := range f.episodes {
			e := &f.episodes[i]
			has[e.kind]++
			inside := false
			for _, p := range f.phases {
				inside = inside || e.begin >= at(p.begin) && e.end <= at(p.end)
			}
			if !inside || e.end <= e.begin {
				t.Errorf("seed %d: %v from %v to %v, phases %v", cfg.Seed, e, e.begin, e.end, f.phases)
			}
		}
		for what, on := range map[string]bool{
			"regions": f.regions != nil, "skew": f.skew != nil, "bandwidth": f.bandwidth != nil, "slow": f.slow != nil,
			"loss": f.loss > 0, "duplicate": f.duplicate > 0, "reorder": f.reorder > 0,
		} {
			if on {
				always[what]++
			}
		}
	}
	for k, n := range has {
		if n < 50 {
			t.Errorf("%d faults of kind %d in 200 seeds", n, k)
		}
	}
	for what, n := range always {
		if n < 60 || n > 140 {
			t.Errorf("%s in %d of 200 seeds", what, n)
		}
	}
}

// Severe faults reach beyond all others, are given back in the command, and are
// nothing without Faults.
func TestSevereFaults(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Validators, cfg.Slots, cfg.Faults, cfg.Severe = 10, 300, true, true
	var skew time.Duration
	var loss float64
	var chaos ledger.Slot
	for cfg.Seed = range 100 {
		f := drawFaults(&cfg, cfg.Validators, func(s ledger.Slot) time.Duration { return time.Duration(s) })
		for _, by := range f.skew {
			skew = max(skew, by.Abs())
		}
		loss = max(loss, f.loss)
		for _, p := range f.phases {
			chaos = max(chaos, p.end-p.begin)
		}
	}
	if skew <= severeSkewMax*9/10 || skew > severeSkewMax || loss <= 0.28 || loss > severeLossMax || chaos <= 140 || chaos > severeChaosMax {
		t.Errorf("in 100 seeds clocks are off by up to %v, loss is up to %v, chaos takes up to %d slots", skew, loss, chaos)
	}
	if !strings.Contains(cfg.Command(), " --faults --severe ") {
		t.Errorf("%s lacks --severe", cfg.Command())
	}
	cfg.Faults = false
	if err := cfg.Validate(); !errors.Is(err, ErrConfig) {
		t.Errorf("severe without faults: %v", err)
	}
}

// What fails for want of progress passes if it is severe: nothing is promised
// then but safety.
func TestSevereFaultsNeedNoProgress(t *testing.T) {
	cfg := withFaults(1)
	for _, severe := range []bool{false, true} {
		cfg.Severe = severe
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		s.turn(&phase{begin: 1, end: 2}, false)
		if watched := s.healing != nil; watched == severe {
			t.Errorf("severe %t: progress is watched after chaos: %t", severe, watched)
		}
	}
}

// An episode that ends leaves another one of its kind as it is.
func TestOverlappingEpisodes(t *testing.T) {
	s, err := New(small(1))
	if err != nil {
		t.Fatal(err)
	}
	h := s.hosts[1]
	down := []*episode{{kind: crash, a: []int{1}}, {kind: crash, a: []int{1}}}
	slow := []*episode{{kind: slowExecution, a: []int{1}, factor: 9}, {kind: slowExecution, a: []int{0, 1}, factor: 3}}
	for i, step := range []struct {
		of    *episode
		begin bool
		down  bool
		slow  string
	}{
		{down[0], true, true, "[]"},
		{down[1], true, true, "[]"},
		{down[0], false, true, "[]"},
		{down[1], false, false, "[]"},
		{slow[0], true, false, "[9]"},
		{slow[1], true, false, "[9 3]"},
		{slow[0], false, false, "[3]"},
		{slow[1], false, false, "[]"},
	} {
		if err := s.apply(step.of, step.begin); err != nil {
			t.Fatal(err)
		}
		if h.down != step.down || fmt.Sprint(h.slow) != step.slow {
			t.Errorf("step %d: down %v, slow %v; want %v, %s", i, h.down, h.slow, step.down, step.slow)
		}
	}
	if s.counts.crashes != 1 {
		t.Errorf("%d crashes", s.counts.crashes)
	}
}

// A node that never comes back makes no progress, and the checks say so; a
// canary for the checks themselves.
func TestNoProgressIsNoticed(t *testing.T) {
	cfg := small(2)
	cfg.Slots, cfg.Load = firstRootSlots, 10
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.hosts[1].crash()
	_, err = s.Run()
	var v *Violation
	if !errors.As(err, &v) || v.Verdict != NoProgress || v.Node != 1 {
		t.Errorf("error is %v", err)
	}
}

// TestCanary is a run that must fail: with more than a third of the stake
// stopped nothing can be confirmed, and the checks say that nothing is.
func TestCanary(t *testing.T) {
	cfg := small(2)
	cfg.Slots, cfg.Load = firstRootSlots, 10
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var down, total ledger.Lamports
	for i := range s.hosts {
		total += s.genesis.Validators[i].Stake
	}
	for i := 0; !consensus.OneThird(down, total); i++ {
		s.hosts[i].crash()
		down += s.genesis.Validators[i].Stake
	}
	r, err := s.Run()
	var v *Violation
	if !errors.As(err, &v) || v.Verdict != NoProgress || r.Confirmed.Some > 0 || r.Blocks == 0 {
		t.Errorf("%d of %d lamports stopped: error is %v; %d blocks, of which %d are confirmed", down, total, err, r.Blocks, r.Confirmed.Some)
	}
}

func TestSeedsComeInOrder(t *testing.T) {
	cfg := small(0)
	cfg.Slots = 2
	var seeds []uint64
	RunSeeds(cfg, 3, 8, 2, func(o Outcome) {
		if o.Verdict != Pass {
			t.Error(o.Err)
		}
		seeds = append(seeds, o.Seed)
	})
	if fmt.Sprint(seeds) != "[3 4 5 6 7 8]" {
		t.Errorf("seeds %v", seeds)
	}
	cfg.Validators = 0
	RunSeeds(cfg, 1, 1, 1, func(o Outcome) {
		if o.Verdict == Pass || !errors.Is(o.Err, ErrConfig) {
			t.Errorf("%v: %v", o.Verdict, o.Err)
		}
	})
}

// With faults or adversaries Turbine's fanout is drawn, unless it is given.
func TestDrawnFanout(t *testing.T) {
	cfg := DefaultConfig()
	if got := cfg.fanout(); got != cfg.Params.Fanout {
		t.Errorf("fanout %d without faults", got)
	}
	drawn := make(map[int]int)
	cfg.Faults = true
	for cfg.Seed = range 90 {
		drawn[cfg.fanout()]++
	}
	if len(drawn) != 3 || drawn[2] < 15 || drawn[3] < 15 || drawn[200] < 15 {
		t.Errorf("drawn %v", drawn)
	}
	cfg.Fanout = 7
	if got := cfg.fanout(); got != 7 {
		t.Errorf("fanout %d, want 7", got)
	}
	if want := " --fanout 7 "; !strings.Contains(cfg.Command(), want) {
		t.Errorf("%s, want %s", cfg.Command(), want)
	}
}

func TestCommandRunsItAgain(t *testing.T) {
	cfg := withFaults(9)
	cfg.Network.Loss, cfg.Load = 0.25, 7
	cfg.Network.Nudges = []Nudge{{1, 2, 3}}
	want := "tutti sim --seed 9 --validators 5 --slots 88 --load 7 --loss 0.25 --nudge 1,2,3 --faults --story"
	if got := cfg.Command(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestStory(t *testing.T) {
	cfg := withFaults(1)
	cfg.Story, cfg.Load = true, 10
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := s.Story(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"faults: ", "begins: chaos", "ends: chaos", "slot 1 ", "leader", " held ", " voted ", " confirmed ", " rooted "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the story has no %q:\n%s", want, out.String())
		}
	}
}

// What nodes say beside blocks stands in the story of the slot in which they
// say it.
func TestStoryTellsTrouble(t *testing.T) {
	cfg := small(1)
	cfg.Story = true
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	v := s.genesis.Validators
	block := ledger.BlockRef{Slot: 3, ID: ledger.Hash{3}}
	for _, of := range []any{
		node.UserBlockRejected{Ref: ledger.UserBlockRef{U: 7, Lane: 1}, Err: errors.New("no anchor")},
		node.UserBlockMissed{Ref: ledger.UserBlockRef{U: 7, Lane: 1}, Transactions: 21},
		node.Equivocated{Key: ledger.Slot(5).Key(), Signer: v[2].Identity},
		node.Mismatched{Voter: v[1].VoteAccount, Slot: 4, Own: ledger.Hash{0xaa}, Other: ledger.Hash{0xbb}},
		node.WentBack{To: block, Wrong: block, Try: 2},
		node.HealthChanged{Health: node.Stalled, Block: block, Cause: "no two thirds"},
		node.HealthChanged{Health: node.Healthy, Block: block},
	} {
		s.story.told(s.slotAt(6), 0, of)
	}
	var out strings.Builder
	if err := s.Story(&out); err != nil {
		t.Fatal(err)
	}
	_, told, _ := strings.Cut(out.String(), "slot 5 ")
	told, _, _ = strings.Cut(told, "slot 6 ")
	for _, want := range []string{
		"no anchor", "takes 21 transactions", "proof that node 2 made two blocks", "BankHash aa000000 of slot 4, a vote of node 1 says bb000000",
		"try 2", "is stalled over", "no two thirds", "is healthy over", "they agree",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("nothing of %q in slot 6:\n%s", want, out.String())
		}
	}
}
