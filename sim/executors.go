package sim

import (
	"fmt"
	"slices"
	"time"

	"tutti/bank"
	"tutti/ledger"
	"tutti/node"
)

// executors is a scenario: all executors are slower for a while than what the
// proposers give them. Votes and confirmation do not wait for them, the
// backlog and what is kept for it stay bounded, and all is as before soon
// after.
type executors struct {
	// factor is how much slower they are, in slots first to last.
	factor                int
	first, last, recovery ledger.Slot
	// full gives proposers as much as their blocks can hold.
	full bool

	sim                 *Sim
	before, slow, after window
	votedAt             map[int]time.Duration
	caughtUp            time.Duration // since the end, when no node lagged any more
	lags                map[int]int
	// recorded is what all blocks up to a slot cost to execute, costs that of a
	// UserBlock.
	recorded map[ledger.Slot]uint64
	costs    map[ledger.UserBlockRef]uint64
}

// window is what happened in a part of the run.
type window struct {
	begin, end time.Duration
	// votes has the times between two votes of a node, confirms those from the
	// beginning of a slot until a node had its block confirmed.
	votes, confirms []time.Duration
	// The most that a node had of these: backlog is what its unexecuted blocks
	// cost, in hundredths of a block's maximum.
	lag, backlog, pool, sets int
	processed                int // transactions, by node 0
}

// Of the executors scenario: what a block may cost is a two-hundredth of the
// default, 100 transfers a slot, and a full block takes 0.12 s to execute.
const (
	executorsCost  = 240_000
	executorsLoad  = 250
	executorsBlock = 20 * time.Millisecond
	executorsEach  = time.Millisecond
	// executorsWarm is where measuring begins.
	executorsWarm = 8
	// backlogSlack is by how many full blocks the backlog may exceed lag_zero of
	// them (PROTOCOL section 9).
	backlogSlack = 8
	// lagMax is from how many blocks on a node needs a snapshot.
	lagMax = 150
)

func (x *executors) configure(cfg *Config) {
	cfg.Validators, cfg.Load = 5, 20
	cfg.Slots = x.last + x.recovery
	cfg.Params.HashesPerTick, cfg.Params.UserBlockHashesPerTick = 0, 0
	if x.full {
		cfg.Load, cfg.Params.MaxCostPerSlot = executorsLoad, executorsCost
		cfg.Machine.Execute, cfg.Machine.ExecuteTransaction = executorsBlock, executorsEach
	}
}

func (x *executors) plan(s *Sim) (dishonest, *faults) {
	x.sim, x.votedAt, x.lags = s, make(map[int]time.Duration), make(map[int]int)
	x.recorded, x.costs = make(map[ledger.Slot]uint64), make(map[ledger.UserBlockRef]uint64)
	x.before = window{begin: s.slotAt(executorsWarm), end: s.slotAt(x.first)}
	x.slow = window{begin: s.slotAt(x.first), end: s.slotAt(x.last)}
	x.after = window{begin: s.slotAt(x.last + x.recovery/2), end: s.slotAt(x.last + x.recovery)}
	e := episode{kind: slowExecution, begin: x.slow.begin, end: x.slow.end, factor: x.factor}
	for i := range s.cfg.Validators {
		e.a = append(e.a, i)
	}
	return dishonest{}, &faults{phases: []phase{{x.first, x.last}}, episodes: []episode{e}}
}

func (x *executors) heard(*host, node.Message) {}

// at returns the window of a moment, nil between them.
func (x *executors) at(t time.Duration) *window {
	for _, w := range []*window{&x.before, &x.slow, &x.after} {
		if t >= w.begin && t < w.end {
			return w
		}
	}
	return nil
}

func (x *executors) told(h *host, of any) {
	now := x.sim.now
	w := x.at(now)
	switch r := of.(type) {
	case node.UserBlockHeld:
		x.costs[r.Block.Ref] = r.Block.Cost
	case node.BlockHeld:
		sum := x.recorded[r.Parent.Slot]
		for _, ref := range r.Entries {
			sum += x.costs[ref] // whoever holds the block first, its leader, holds them all
		}
		x.recorded[r.Block.Slot] = max(x.recorded[r.Block.Slot], sum)
	case node.Voted:
		last := x.votedAt[h.index]
		x.votedAt[h.index] = now
		if w != nil && last >= w.begin {
			w.votes = append(w.votes, now-last)
		}
	case node.Confirmed:
		begin := x.sim.slotAt(r.Block.Slot)
		if w := x.at(begin); w != nil {
			w.confirms = append(w.confirms, now-begin)
		}
	case node.Head:
		x.lags[h.index] = r.Lag
		if now >= x.slow.end && x.caughtUp == 0 && x.lagging() == 0 {
			x.caughtUp = now - x.slow.end
		}
		if w != nil {
			w.lag = max(w.lag, r.Lag)
			unexecuted := 100 * (x.recorded[r.Slot] - x.recorded[r.Executed])
			w.backlog = max(w.backlog, int(unexecuted/x.sim.cfg.Params.MaxCostPerSlot))
			w.pool = max(w.pool, r.Pool)
			w.sets = max(w.sets, len(h.disk.sets))
		}
	case node.BankComputed:
		if w != nil && h.index == 0 {
			for i := range r.Result.Receipts {
				if o := r.Result.Receipts[i].Outcome; o == bank.OK || o == bank.Failed {
					w.processed++
				}
			}
		}
	}
}

// lagging counts the nodes whose fork lags so far that proposers make smaller
// blocks.
func (x *executors) lagging() (n int) {
	for i := range x.sim.cfg.Validators {
		if x.lags[i] > int(x.sim.cfg.Params.LagFull) {
			n++
		}
	}
	return n
}

// share returns the time below which a share of the times lies, 0 for none.
func share(times []time.Duration, of float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(int(of*float64(len(sorted))), len(sorted)-1)]
}

// slots is how long a window is.
func (x *executors) slots(w *window) float64 {
	return float64(w.end-w.begin) / float64(x.sim.slotAt(1)-x.sim.slotAt(0))
}

func (x *executors) judge(s *Sim, r *Result) *Violation {
	ms := func(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
	for _, w := range []struct {
		name string
		*window
	}{{"before", &x.before}, {"slow", &x.slow}, {"after", &x.after}} {
		r.Figures += fmt.Sprintf("%s: votes every %s (p50), %s (p99); confirmed %s (p50), %s (p99) after a slot's beginning; %.0f transactions a slot; at most: Λ %d, a backlog of %.1f full blocks, %d transactions in a pool, %d sets stored\n",
			w.name, ms(share(w.votes, 0.5)), ms(share(w.votes, 0.99)), ms(share(w.confirms, 0.5)), ms(share(w.confirms, 0.99)),
			float64(w.processed)/x.slots(w.window), w.lag, float64(w.backlog)/100, w.pool, w.sets)
	}
	r.Figures += fmt.Sprintf("recovered: %.1f slots after the end\n", float64(x.caughtUp)/float64(s.slotAt(1)-s.slotAt(0)))

	most := 100 * (int(s.cfg.Params.LagZero) + backlogSlack)
	within := func(name string, got, normal time.Duration) *Violation {
		if 10*got > 11*normal || normal == 0 {
			return s.violation(NoProgress, 0, "%s is %v, %v before: more than 10 %% longer", name, got, normal)
		}
		return nil
	}
	for _, w := range []struct {
		name string
		*window
	}{{"while executors are slow", &x.slow}, {"afterwards", &x.after}} {
		for _, p := range []float64{0.5, 0.99} {
			if v := within(fmt.Sprintf("p%.0f of the time between votes %s", 100*p, w.name), share(w.votes, p), share(x.before.votes, p)); v != nil {
				return v
			}
			if v := within(fmt.Sprintf("p%.0f of the time until a block is confirmed %s", 100*p, w.name), share(w.confirms, p), share(x.before.confirms, p)); v != nil {
				return v
			}
		}
	}
	switch {
	case x.slow.lag <= int(s.cfg.Params.LagFull):
		return s.violation(Diverged, 0, "the executors keep up: Λ is %d at most", x.slow.lag)
	case x.slow.backlog > most || x.slow.lag > lagMax:
		return s.violation(Diverged, 0, "the backlog is Λ %d, %d %% of a full block, more than %d or %d", x.slow.lag, x.slow.backlog, lagMax, most)
	case x.caughtUp == 0 || x.lagging() > 0:
		return s.violation(NoProgress, 0, "%d nodes lag %d slots after the end", x.lagging(), x.recovery)
	case 10*float64(x.after.processed)/x.slots(&x.after) < 9*float64(x.before.processed)/x.slots(&x.before):
		return s.violation(NoProgress, 0, "%.0f transactions a slot afterwards, %.0f before",
			float64(x.after.processed)/x.slots(&x.after), float64(x.before.processed)/x.slots(&x.before))
	}
	return nil
}
