package devnet

import (
	"context"
	"fmt"
	"time"

	"tutti/cmd/tutti/load"
)

// Phases of a run with slow executors.
const (
	lagWarmUp  = 10 * time.Second
	lagNormal  = time.Minute
	lagDelayed = time.Minute
	// lagBehind is how late all executors are in the phase that compares
	// confirmations.
	lagBehind = 2 * time.Second
	// lagOver is how much more load is offered than slow executors can do, in
	// percent.
	lagOver = 125
	// lagSettle is how long after its begin the slow phase's memory counts.
	lagSettle = 30 * time.Second
	// lagSlack is how many blocks Λ may be above lag_zero (PROTOCOL section 9).
	lagSlack = 8
	// voteSlack is how much longer votes may be apart at the 99th percentile,
	// in percent, and memoryMax how fast memory may grow, in MiB a minute.
	voteSlack = 10
	memoryMax = 8
)

// lagPhase is what was measured in one phase.
type lagPhase struct {
	name       string
	begin, end int64          // Unix nanoseconds
	votes      load.Histogram // between two votes of a node
	confirm    load.Histogram // from recorded to confirmed
	lag        int            // the highest Λ
	confirmed  int            // blocks
}

// lagRun watches what slow executors do to a devnet.
type lagRun struct {
	phases []*lagPhase
	now    *lagPhase     // nil between phases
	voted  []int64       // when each node voted last in this phase
	heads  []*load.Event // newest of each node
	memory []sample      // in the slow phase, of all nodes together
}

// sample is a resident set, in MiB, at a time in minutes.
type sample struct{ at, mib float64 }

func newLagRun(nodes int) *lagRun {
	return &lagRun{voted: make([]int64, nodes), heads: make([]*load.Event, nodes)}
}

// take takes in an event of a node.
func (l *lagRun) take(node int, e *load.Event) {
	if e.Type == "head" {
		l.heads[node] = e
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
	case "confirmed":
		if node == 0 {
			l.now.confirmed++
		}
	}
}

// conclude takes in what became of a transaction.
func (l *lagRun) conclude(f *load.Fate) {
	for _, p := range l.phases {
		if p.begin <= f.At && f.At < p.end && f.Recorded != 0 && f.Confirmed != 0 {
			p.confirm.Add(time.Duration(f.Confirmed - f.Recorded))
		}
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
	for start := time.Now(); time.Since(start) < long; {
		if !load.Sleep(ctx, time.Second) {
			break
		}
		if s.Factor > 0 && time.Since(start) > min(lagSettle, long/2) {
			l.memory = append(l.memory, sample{time.Since(start).Minutes(), r.resident()})
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l.now = nil
	return nil
}

// resident returns the memory of all validators together, in MiB.
func (r *run) resident() (sum float64) {
	for _, v := range r.nodes {
		sum += float64(processResident(v.process().cmd.Process.Pid)) / (1 << 20)
	}
	return sum
}

// slope returns by how much samples grow, in MiB a minute: the line through
// them with the least squares.
func slope(samples []sample) float64 {
	var n, x, y float64
	for _, s := range samples {
		n, x, y = n+1, x+s.at, y+s.mib
	}
	if n == 0 {
		return 0
	}
	x, y = x/n, y/n
	var xx, xy float64
	for _, s := range samples {
		xx += (s.at - x) * (s.at - x)
		xy += (s.at - x) * (s.mib - y)
	}
	if xx == 0 {
		return 0
	}
	return xy / xx
}

// concludeLag says what was measured, and holds it against the bounds.
func (r *run) concludeLag() {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, a := r.lag, r.audit
	if len(l.phases) < 3 {
		return // it was stopped
	}
	r.display.say("%-8s %29s %36s %14s %6s", "Phase", "ms between votes, p50 and p99", "ms recorded → confirmed, p50 and p99", "blocks/minute", "most Λ")
	for _, p := range l.phases {
		r.display.say("%-8s %22d %6d %29d %6d %14.0f %6d", p.name, p.votes.Quantile(50), p.votes.Quantile(99),
			p.confirm.Quantile(50), p.confirm.Quantile(99), float64(p.confirmed)/time.Duration(p.end-p.begin).Minutes(), p.lag)
	}
	growth := slope(l.memory) / float64(len(r.nodes))
	first, last := l.memory[0], l.memory[len(l.memory)-1]
	r.display.say("Memory of a node while slow: %.0f MiB, at the end %.0f MiB; slope %+.2f MiB a minute",
		first.mib/float64(len(r.nodes)), last.mib/float64(len(r.nodes)), growth)
	zero := int(r.folder.genesis.Params.LagZero)
	normal, slow := l.phases[0], l.phases[2]
	if slow.lag > zero+lagSlack {
		a.violated("Λ is %d; at most lag_zero + %d = %d is right", slow.lag, lagSlack, zero+lagSlack)
	}
	if slow.lag <= int(r.folder.genesis.Params.LagFull) {
		a.slow = append(a.slow, fmt.Sprintf("slow executors lag by %d blocks alone: the machine or the load is too small to tell anything", slow.lag))
	}
	for _, p := range l.phases[1:] {
		if was, is := normal.votes.Quantile(99), p.votes.Quantile(99); 100*is > (100+voteSlack)*was {
			a.slow = append(a.slow, fmt.Sprintf("votes are %d ms apart at the 99th percentile while executors are %s, and %d ms before", is, p.name, was))
		}
	}
	if growth > memoryMax {
		a.slow = append(a.slow, fmt.Sprintf("memory of a node grows by %.1f MiB a minute", growth))
	}
}
