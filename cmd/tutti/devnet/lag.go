package devnet

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tutti/cmd/tutti/load"
	"tutti/ledger"
)

// Phases of a run with slow executors.
const (
	lagWarmUp  = 10 * time.Second
	lagNormal  = time.Minute
	lagDelayed = time.Minute
	// lagBehind is how late all executors are in the phase that compares
	// confirmations. It is no multiple of a slot: else all executors of the
	// machine would begin at the very moment at which blocks end and votes are due.
	lagBehind = 2100 * time.Millisecond
	// lagOver is how much more load is offered than slow executors can do, in
	// percent.
	lagOver = 125
	// lagSettle is how long after its begin the memory of the slow phase counts.
	lagSettle = 30 * time.Second
	// lagSlack is how many blocks Λ may be above lag_zero (PROTOCOL section 9).
	lagSlack = 8
	// paceSlack is how much longer votes may be apart, and blocks may take until
	// they are confirmed, at the 99th percentile, and memoryMax by how much the
	// live heap of a validator may grow while executors are slow, in percent.
	paceSlack = 10
	memoryMax = 5
)

// lagPhase is what was measured in one phase.
type lagPhase struct {
	name       string
	begin, end int64          // Unix nanoseconds
	votes      load.Histogram // between two votes of a node
	confirm    load.Histogram // from recorded to confirmed
	confirmed  int            // blocks
	lag        int            // the highest Λ
	backlog    int            // the most blocks of it that name UserBlocks
}

// lagRun watches what slow executors do to a devnet.
type lagRun struct {
	phases []*lagPhase
	now    *lagPhase     // nil between phases
	voted  []int64       // when each node voted last in this phase
	heads  []*load.Event // newest of each node
	// busy are the slots of blocks that name UserBlocks, oldest first, and
	// executed the newest slot that each node has executed.
	busy     []ledger.Slot
	executed []ledger.Slot
}

func newLagRun(nodes int) *lagRun {
	return &lagRun{voted: make([]int64, nodes), heads: make([]*load.Event, nodes), executed: make([]ledger.Slot, nodes)}
}

// take takes in an event of a node.
func (l *lagRun) take(node int, e *load.Event) {
	switch e.Type {
	case "head":
		l.heads[node] = e
	case "block":
		if at, known := slices.BinarySearch(l.busy, e.Slot); len(e.Entries) > 0 && !known {
			l.busy = slices.Insert(l.busy, at, e.Slot)
		}
	case "executed":
		l.executed[node] = max(l.executed[node], e.Slot)
	}
	if l.now == nil {
		return
	}
	switch e.Type {
	case "voted":
		if l.voted[node] != 0 {
			l.now.votes.Add(time.Duration(e.T - l.voted[node]))
		}
		l.voted[node] = e.T
	case "head":
		l.now.lag = max(l.now.lag, e.Lag)
		l.now.backlog = max(l.now.backlog, l.backlog())
	case "confirmed":
		if node == 0 {
			l.now.confirmed++
		}
	}
}

// backlog counts the blocks with UserBlocks that not more than two thirds of
// the nodes, which have the same stake, have executed.
func (l *lagRun) backlog() int {
	slots := slices.Sorted(slices.Values(l.executed))
	agreed := slots[len(slots)-1-2*len(slots)/3]
	first, _ := slices.BinarySearch(l.busy, agreed+1)
	l.busy = slices.Delete(l.busy, 0, first)
	return len(l.busy)
}

// over ends the running phase. The time for which a node has been silent is the
// least that its next vote takes; it says something from the median on.
func (l *lagRun) over() {
	if l.now == nil {
		return
	}
	var median time.Duration
	if l.now.votes.Count() > 0 {
		median = time.Duration(l.now.votes.Quantile(50)) * time.Millisecond
	}
	for _, last := range l.voted {
		if silent := time.Duration(l.now.end - max(last, l.now.begin)); silent >= median {
			l.now.votes.Add(silent)
		}
	}
	l.now = nil
}

// conclude takes in what became of a transaction.
func (l *lagRun) conclude(f *load.Fate) {
	for _, p := range l.phases {
		if p.begin > f.At || f.At >= p.end || f.Recorded == 0 {
			continue
		}
		took := load.LatencyMax // it never was
		if f.Confirmed != 0 {
			took = time.Duration(f.Confirmed - f.Recorded)
		}
		p.confirm.Add(took)
	}
}

// level tells whether all nodes have executed what they hold: the backlog is
// gone.
func (l *lagRun) level(full int) bool {
	for _, h := range l.heads {
		if h == nil || h.Lag > full || h.Executed < h.Confirmed {
			return false
		}
	}
	return true
}

// lagging measures a devnet whose executors are as they are, late, slow, and
// as they are again. It returns once all is executed.
func (r *run) lagging(ctx context.Context) error {
	f := r.options.Faults
	perTransaction := time.Second * lagOver / 100 / time.Duration(r.options.Load)
	slow := Slowness{Factor: f.Slow, Transaction: perTransaction}
	r.display.say("Slow executors: %v times the time, and %v for each transaction: %d transactions a second of the %d offered can be executed",
		f.Slow, perTransaction, int(time.Second/perTransaction), r.options.Load)
	if !load.Sleep(ctx, lagWarmUp) {
		return nil
	}
	for _, p := range []struct {
		name string
		how  Slowness
		long time.Duration
	}{
		{"normal", Slowness{}, lagNormal},
		{fmt.Sprintf("%v late", lagBehind), Slowness{Behind: lagBehind}, lagDelayed},
		{"slow", slow, f.For},
	} {
		if err := r.lagPhase(ctx, p.name, p.how, p.long); err != nil || ctx.Err() != nil {
			return err
		}
	}
	if err := r.slow(Slowness{}); err != nil {
		return err
	}
	start := time.Now()
	full := int(r.folder.genesis.Params.LagFull)
	if !r.await(ctx, settleTime, func() bool { return r.lag.level(full) }) && ctx.Err() == nil {
		r.mu.Lock()
		r.audit.violated("%v after the executors are as they were, not all is executed", settleTime)
		r.mu.Unlock()
	}
	r.display.say("All is executed %v after the executors are as they were", round(time.Since(start)))
	return nil
}

// slow has all executors be so slow.
func (r *run) slow(s Slowness) error {
	for i := range r.nodes {
		if err := s.write(r.folder.node(i)); err != nil {
			return err
		}
	}
	return nil
}

// lagPhase runs one phase.
func (r *run) lagPhase(ctx context.Context, name string, s Slowness, long time.Duration) error {
	if err := r.slow(s); err != nil {
		return err
	}
	p := &lagPhase{name: name, begin: time.Now().UnixNano()}
	p.end = p.begin + long.Nanoseconds()
	r.mu.Lock()
	l := r.lag
	l.phases, l.now = append(l.phases, p), p
	clear(l.voted)
	r.mu.Unlock()
	load.Sleep(ctx, long)
	r.mu.Lock()
	defer r.mu.Unlock()
	l.over()
	return nil
}

// concludeLag says what was measured, and holds it against the bounds.
func (r *run) concludeLag() {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, a := r.lag, r.audit
	if len(l.phases) < 3 {
		return // it was stopped
	}
	r.display.say("%-9s %15s %23s %8s %7s %9s", "", "ms between votes", "ms recorded → confirmed", "blocks", "", "most not")
	r.display.say("%-9s %15s %23s %8s %7s %9s", "Phase", "p50, p99", "p50, p99", "a minute", "most Λ", "executed")
	for _, p := range l.phases {
		r.display.say("%-9s %9d %6d %16d %6d %8.0f %7d %9d", p.name, p.votes.Quantile(50), p.votes.Quantile(99),
			p.confirm.Quantile(50), p.confirm.Quantile(99), float64(p.confirmed)/time.Duration(p.end-p.begin).Minutes(), p.lag, p.backlog)
	}
	zero, full := int(r.folder.genesis.Params.LagZero), int(r.folder.genesis.Params.LagFull)
	normal, slow := l.phases[0], l.phases[2]
	if slow.backlog > zero+lagSlack {
		a.violated("%d blocks with UserBlocks are not executed; at most lag_zero + %d = %d is right", slow.backlog, lagSlack, zero+lagSlack)
	}
	if slow.lag > zero+lagSlack {
		a.slow = append(a.slow, fmt.Sprintf("Λ is %d, and at most lag_zero + %d = %d while C is not much more than executors can do in a slot", slow.lag, lagSlack, zero+lagSlack))
	}
	if slow.lag <= full {
		a.slow = append(a.slow, fmt.Sprintf("slow executors lag by %d blocks alone: the machine or the load is too small to tell anything", slow.lag))
	}
	for _, p := range l.phases[1:] {
		if was, is := normal.votes.Quantile(99), p.votes.Quantile(99); 100*is > (100+paceSlack)*was {
			a.slow = append(a.slow, fmt.Sprintf("votes are %d ms apart at the 99th percentile while executors are %s, and %d ms before", is, p.name, was))
		}
		if was, is := normal.confirm.Quantile(99), p.confirm.Quantile(99); 100*is > (100+paceSlack)*was {
			a.slow = append(a.slow, fmt.Sprintf("transactions are confirmed %d ms after they are recorded, at the 99th percentile, while executors are %s, and %d ms before", is, p.name, was))
		}
	}
	g, ok := r.heap.growth(time.Unix(0, slow.begin).Add(lagSettle), time.Unix(0, slow.end))
	if !ok {
		r.display.say("Memory: too few minutes to tell whether it grows")
		return
	}
	r.display.say("Memory: %.1f MiB of live heap a node while executors are slow; in %d minutes it grows by %.1f %% at most (%s)",
		g.mib, g.minutes, g.percent, nodeName(g.node))
	if g.percent > memoryMax {
		a.slow = append(a.slow, fmt.Sprintf("the live heap of %s grows by %.1f %% in %d minutes in which executors are slow", nodeName(g.node), g.percent, g.minutes))
	}
}
