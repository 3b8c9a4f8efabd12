package sim

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"tutti/bank"
	"tutti/cluster"
	"tutti/ledger"
	"tutti/node"
)

// small returns a cluster that runs in about a second.
func small(seed uint64) Config {
	cfg := DefaultConfig()
	cfg.Validators, cfg.Slots, cfg.Seed = 5, 20, seed
	return cfg
}

// run runs a cluster in which nothing may go wrong.
func run(t *testing.T, cfg Config) Result {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Run()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHealthyCluster(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := run(t, small(seed))
			if r.Blocks != 20 || r.Skipped != 0 || r.Abandoned != 0 || r.Rejected != 0 {
				t.Errorf("blocks: %+v", r)
			}
			if r.Confirmed.All < 19 || r.Executed.All < 19 {
				t.Errorf("confirmed %+v, executed %+v of 20 blocks", r.Confirmed, r.Executed)
			}
			if r.Compared < 19*4 || r.Mismatched != 0 {
				t.Errorf("BankHashes: %d compared, %d mismatched", r.Compared, r.Mismatched)
			}
			if r.Outcomes[bank.OK] < r.Submitted/2 || r.Outcomes[bank.Failed] == 0 || r.Accepted < r.Submitted*9/10 {
				t.Errorf("transactions: %+v", r)
			}
		})
	}
}

// A tower roots its oldest vote with the 32nd; the roots are the same on all
// nodes, or the checker would stop the run.
func TestRoots(t *testing.T) {
	cfg := small(4)
	cfg.Slots = 40
	if r := run(t, cfg); r.Rooted.Some < 8 || r.Rooted.All == 0 {
		t.Errorf("rooted %+v of 40 blocks", r.Rooted)
	}
}

func TestRepairMakesUpForLoss(t *testing.T) {
	cfg := small(5)
	cfg.Network.Loss = 0.3
	cfg.Fanout = 2
	r := run(t, cfg)
	if r.Repaired == 0 || r.Confirmed.Some == 0 || r.Rejected != 0 {
		t.Errorf("%+v", r)
	}
}

func TestSyncExecution(t *testing.T) {
	cfg := small(6)
	cfg.Params.Execution = cluster.ExecutionSync
	if r := run(t, cfg); r.Confirmed.All < 18 {
		t.Errorf("confirmed %+v of 20 blocks", r.Confirmed)
	}
}

// The trace is the same in every run of one Config, however many processors
// there are, and another one if anything is different: see package comment.
func TestTrace(t *testing.T) {
	cfg := small(7)
	cfg.Slots = 8
	want := run(t, cfg)

	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for procs := 1; procs <= 2; procs++ {
		runtime.GOMAXPROCS(procs)
		if got := run(t, cfg); got != want {
			t.Errorf("second run with GOMAXPROCS %d: %+v, first %+v", procs, got, want)
		}
	}
	others := map[string]func(*Config){
		"seed":  func(c *Config) { c.Seed++ },
		"nudge": func(c *Config) { c.Network.Nudges = []Nudge{{From: 1, To: 2, By: 1}} },
		"load":  func(c *Config) { c.Load++ },
		"disk":  func(c *Config) { c.Machine.Sync++ },
	}
	for name, change := range others {
		other := cfg
		change(&other)
		if run(t, other).Trace == want.Trace {
			t.Errorf("the trace is the same with another %s", name)
		}
	}
}

func TestViolationTellsHowToSeeItAgain(t *testing.T) {
	s, err := New(small(8))
	if err != nil {
		t.Fatal(err)
	}
	// A node that reports what it cannot know.
	s.hosts[3].queue = append(s.hosts[3].queue, queued{
		effect: node.Report{Of: node.Confirmed{Block: ledger.BlockRef{Slot: 9}}},
	})
	_, err = s.Run()
	var v *Violation
	if !errors.As(err, &v) || v.Seed != 8 || v.Node != 3 || !strings.Contains(err.Error(), "seed 8") {
		t.Errorf("error is %v", err)
	}
}

func TestConfigErrors(t *testing.T) {
	tests := map[string]func(*Config){
		"validators":  func(c *Config) { c.Validators = 0 },
		"0 slots":     func(c *Config) { c.Slots = 0 },
		"to 10000000": func(c *Config) { c.Slots = 1<<64 - 1 },
		"latency":     func(c *Config) { c.Network.LatencyMin = c.Network.LatencyMax + 1 },
		"loss":        func(c *Config) { c.Network.Loss = 1.5 },
		"machine":     func(c *Config) { c.Machine.Sync = -1 },
		"load -1":     func(c *Config) { c.Load = -1 },
		"load 100001": func(c *Config) { c.Load = 100_001 },
		"fanout":      func(c *Config) { c.Fanout = -1 },
		"adversaries": func(c *Config) { c.Adversaries, c.Validators = true, 3 },
		"faults":      func(c *Config) { c.Faults = true },
		"link":        func(c *Config) { c.Network.Nudges = []Nudge{{From: 0, To: 5}} },
		"nudged":      func(c *Config) { c.Network.Nudges = []Nudge{{From: 0, To: 1, By: -1}} },
		"proposers":   func(c *Config) { c.Params.Proposers = 0 },
	}
	for want, change := range tests {
		cfg := small(0)
		change(&cfg)
		if _, err := New(cfg); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v", want, err)
		}
	}
}

func TestResultPrintsTraceOnItsOwnLine(t *testing.T) {
	r := Result{Virtual: time.Second, Trace: ledger.Hash{0xab}}
	var out bytes.Buffer
	if err := r.Print(&out, time.Second); err != nil {
		t.Fatal(err)
	}
	want := "\ntrace ab" + strings.Repeat("00", 31) + "\n"
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("printed %q", out.String())
	}
}

// BenchmarkSlot is a slot of a cluster of 20 validators.
func BenchmarkSlot(b *testing.B) {
	cfg := DefaultConfig()
	cfg.Slots = 10
	for b.Loop() {
		s, err := New(cfg)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Run(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/float64(cfg.Slots), "s/slot")
}
