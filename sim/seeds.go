package sim

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Outcome is what a run of one seed came to.
type Outcome struct {
	Seed    uint64
	Result  Result
	Verdict Verdict
	Err     error         // why the verdict is not Pass
	Took    time.Duration // in real time
}

// RunSeed runs a Config from its beginning to its end.
func RunSeed(cfg Config) Outcome {
	return runWhole(cfg.Seed, func() (*Sim, error) { return New(cfg) })
}

// runWhole runs a cluster from its beginning to its end.
func runWhole(seed uint64, begin func() (*Sim, error)) Outcome {
	began := time.Now()
	o := Outcome{Seed: seed, Verdict: Diverged}
	s, err := begin()
	if err != nil {
		o.Err = err
		return o
	}
	o.Result, o.Err = s.Run()
	var v *Violation
	switch {
	case o.Err == nil:
		o.Verdict = Pass
	case errors.As(o.Err, &v):
		o.Verdict = v.Verdict
	}
	o.Took = time.Since(began)
	return o
}

// RunSeeds runs a Config with every seed from one to another, so many at a
// time, and calls each with the outcomes in the order of the seeds.
func RunSeeds(cfg Config, from, to uint64, jobs int, each func(Outcome)) {
	var (
		wg      sync.WaitGroup
		seeds   = make(chan uint64)
		done    = make(chan Outcome)
		pending = make(map[uint64]Outcome)
	)
	for range jobs {
		wg.Go(func() {
			for seed := range seeds {
				c := cfg
				c.Seed = seed
				done <- RunSeed(c)
			}
		})
	}
	go func() {
		for seed := from; ; seed++ {
			seeds <- seed
			if seed == to {
				break
			}
		}
		close(seeds)
		wg.Wait()
		close(done)
	}()
	next := from
	for o := range done {
		pending[o.Seed] = o
		for {
			o, ok := pending[next]
			if !ok {
				break
			}
			delete(pending, next)
			each(o)
			next++
		}
	}
}

// Command returns the command that runs a Config again and tells its story.
func (c *Config) Command() string {
	if c.Scenario != "" {
		s := fmt.Sprintf("tutti sim --scenario %s --seed %d --story", c.Scenario, c.Seed)
		if c.Unshared {
			s += " --unshared"
		}
		return s
	}
	d := DefaultConfig()
	s := fmt.Sprintf("tutti sim --seed %d --validators %d --slots %d", c.Seed, c.Validators, c.Slots)
	add := func(differs bool, flag string, value any) {
		if differs {
			s += fmt.Sprintf(" --%s %v", flag, value)
		}
	}
	add(c.Params.Proposers != d.Params.Proposers, "proposers", c.Params.Proposers)
	add(c.Fanout != d.Fanout, "fanout", c.Fanout)
	add(c.Params.Execution != d.Params.Execution, "execution", c.Params.Execution)
	add(c.Load != d.Load, "load", c.Load)
	add(c.Network.LatencyMin != d.Network.LatencyMin, "latency-min", c.Network.LatencyMin)
	add(c.Network.LatencyMax != d.Network.LatencyMax, "latency-max", c.Network.LatencyMax)
	add(c.Network.Jitter != d.Network.Jitter, "latency-jitter", c.Network.Jitter)
	add(c.Network.Loss != d.Network.Loss, "loss", c.Network.Loss)
	for _, n := range c.Network.Nudges {
		add(true, "nudge", fmt.Sprintf("%d,%d,%d", n.From, n.To, int64(n.By)))
	}
	if c.Faults {
		s += " --faults"
	}
	if c.Severe {
		s += " --severe"
	}
	if c.Adversaries {
		s += " --adversaries"
	}
	if c.Unshared {
		s += " --unshared"
	}
	return s + " --story"
}
