package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"tutti/ledger"
)

// The faults of a run are drawn from its seed: each kind is switched on with a
// chance of one half, with a strength drawn from its range. So most runs have
// a few kinds, strong or weak, and no two are alike. docs/simulation.md has
// this table for readers.
const (
	// skewMax is what a node's clock may be off, either way (PROTOCOL section 1).
	skewMax = 20 * time.Millisecond
	// Bandwidth of a node in each direction, in bytes per second.
	bandwidthMin, bandwidthMax = 100e6 / 8, 1000e6 / 8
	// Of chaos phases.
	lossMax       = 0.20
	duplicateMax  = 0.10
	reorderMax    = 0.20
	reorderBy     = 200 * time.Millisecond
	episodesMax   = 3 // of one kind in a phase
	clogMax       = 3 * time.Second
	slowFactorMax = 100
)

// With Config.Severe more goes wrong than a network has to live with, so that
// nothing is promised but safety.
const (
	severeSkewMax  = 5 * time.Second
	severeLossMax  = 0.30
	severeChaosMax = 150 // slots
)

// The phases of a run, in slots: chaos, then healing, and so on.
const (
	earlyChaos  = 4  // where the first phase begins, in one run of four
	firstChaos  = 40 // or here, when there is a root
	chaosMin    = 8
	chaosMax    = 32
	healSlots   = 40
	faultsSlots = firstChaos + chaosMin + healSlots // that a run needs
)

// faults is what goes wrong in one run.
type faults struct {
	// All the time, by node; nil if nothing does.
	regions   []int
	skew      []time.Duration
	bandwidth []float64
	slow      []int // what execution takes longer, as a factor
	// While there is chaos.
	phases                   []phase
	loss, duplicate, reorder float64
	episodes                 []episode
}

// phase is a time of chaos that ends with everything healed.
type phase struct{ begin, end ledger.Slot }

// kind is a kind of fault that has a beginning and an end.
type kind uint8

const (
	partition kind = iota
	oneWayCut
	clog
	crash
	slowExecution
	kinds
)

// episode is a fault between two moments.
type episode struct {
	kind       kind
	begin, end time.Duration
	// a and b are nodes. partition: those in the same group can talk, here
	// group has the number of each node's. oneWayCut and clog: nothing comes
	// from a to b. crash and slowExecution: of a.
	group  []int
	a, b   []int
	factor int
}

// String tells what the episode is.
func (e *episode) String() string {
	switch e.kind {
	case partition:
		var groups [3][]int
		for i, g := range e.group {
			groups[g] = append(groups[g], i)
		}
		parts := []string{}
		for _, g := range groups {
			if len(g) > 0 {
				parts = append(parts, fmt.Sprint(g))
			}
		}
		return "partition " + strings.Join(parts, " | ")
	case oneWayCut:
		return fmt.Sprintf("nothing from %v to %v", e.a, e.b)
	case clog:
		return fmt.Sprintf("clogged from %v to %v", e.a, e.b)
	case crash:
		return fmt.Sprintf("node %d is down", e.a[0])
	default:
		return fmt.Sprintf("execution %d times slower on %v", e.factor, e.a)
	}
}

// drawFaults draws what goes wrong on so many machines. slotAt says when a slot
// begins.
func drawFaults(cfg *Config, n int, slotAt func(ledger.Slot) time.Duration) *faults {
	rng := cfg.random("faults", 0)
	f := &faults{}
	skew, loss, chaos := skewMax, lossMax, chaosMax
	if cfg.Severe {
		skew, loss, chaos = severeSkewMax, severeLossMax, severeChaosMax
	}
	on := func() bool { return rng.IntN(2) == 0 }
	if on() {
		f.regions = drawRegions(rng, n)
	}
	if on() {
		f.skew = make([]time.Duration, n)
		for i := range f.skew {
			f.skew[i] = time.Duration(rng.Int64N(int64(2*skew)+1)) - skew
		}
	}
	if on() {
		f.bandwidth = make([]float64, n)
		for i := range f.bandwidth {
			f.bandwidth[i] = bandwidthMin + rng.Float64()*(bandwidthMax-bandwidthMin)
		}
	}
	if on() {
		f.slow = make([]int, n)
		for i := range f.slow {
			f.slow[i] = 1 + rng.IntN(10)
		}
	}
	if on() {
		f.loss = rng.Float64() * loss
	}
	if on() {
		f.duplicate = rng.Float64() * duplicateMax
	}
	if on() {
		f.reorder = rng.Float64() * reorderMax
	}
	f.drawPhases(rng, cfg.Slots, chaos)
	for k := range kinds {
		if !on() {
			continue
		}
		for _, p := range f.phases {
			for range 1 + rng.IntN(episodesMax) {
				f.episodes = append(f.episodes, drawEpisode(rng, k, n, slotAt(p.begin), slotAt(p.end)))
			}
		}
	}
	slices.SortStableFunc(f.episodes, func(a, b episode) int { return int(a.begin - b.begin) })
	return f
}

func (f *faults) drawPhases(rng *rand.Rand, slots ledger.Slot, longest int) {
	begin := ledger.Slot(firstChaos)
	if rng.IntN(4) == 0 {
		begin = earlyChaos
	}
	for begin+chaosMin+healSlots <= slots {
		long := min(chaosMin+ledger.Slot(rng.IntN(longest-chaosMin+1)), slots-healSlots-begin)
		f.phases = append(f.phases, phase{begin, begin + long})
		begin += long + healSlots + ledger.Slot(rng.IntN(8))
	}
}

// drawEpisode draws a fault between two moments.
func drawEpisode(rng *rand.Rand, k kind, nodes int, from, to time.Duration) episode {
	long := 1 + time.Duration(rng.Int64N(int64(to-from)))
	begin := from + time.Duration(rng.Int64N(int64(to-from-long)+1))
	e := episode{kind: k, begin: begin, end: begin + long}
	some := func() []int {
		count := 1
		if rng.IntN(2) == 0 {
			count += rng.IntN(nodes)
		}
		chosen := rng.Perm(nodes)[:count]
		slices.Sort(chosen)
		return chosen
	}
	switch k {
	case partition:
		e.group = make([]int, nodes)
		groups := 2 + rng.IntN(2)
		switch rng.IntN(3) {
		case 0: // one alone
			e.group[rng.IntN(nodes)] = 1
		default:
			for i := range e.group {
				e.group[i] = rng.IntN(groups)
			}
		}
	case oneWayCut:
		e.a, e.b = some(), some()
	case clog:
		e.a, e.b = some(), some()
		e.end = min(e.end, e.begin+1+time.Duration(rng.Int64N(int64(clogMax))))
	case crash:
		e.a = []int{rng.IntN(nodes)}
	case slowExecution:
		e.a = some()
		e.factor = 2 + rng.IntN(slowFactorMax)
	}
	return e
}

// String lists what is switched on.
func (f *faults) String() string {
	var on []string
	add := func(is bool, format string, args ...any) {
		if is {
			on = append(on, fmt.Sprintf(format, args...))
		}
	}
	add(f.regions != nil, "regions %v", f.regionNames())
	add(f.skew != nil, "clock skew %v", f.skew)
	add(f.bandwidth != nil, "bandwidth")
	add(f.slow != nil, "slow execution ×%v", f.slow)
	add(f.loss > 0, "loss %.1f%%", 100*f.loss)
	add(f.duplicate > 0, "duplication %.1f%%", 100*f.duplicate)
	add(f.reorder > 0, "reordering %.1f%%", 100*f.reorder)
	var has [kinds]int
	for i := range f.episodes {
		has[f.episodes[i].kind]++
	}
	for k, name := range [kinds]string{"partitions", "one-way cuts", "clogs", "crashes", "slow executors"} {
		add(has[k] > 0, "%d %s", has[k], name)
	}
	add(len(f.phases) > 0, "chaos in slots %v", f.phases)
	return strings.Join(on, ", ")
}

// String returns the slots of a phase.
func (p phase) String() string { return fmt.Sprintf("%d–%d", p.begin, p.end) }

func (f *faults) regionNames() []string {
	names := make([]string, len(f.regions))
	for i, r := range f.regions {
		names[i] = regionNames[r]
	}
	return names
}

// apply begins or ends an episode.
func (s *Sim) apply(e *episode, begin bool) error {
	s.story.fault(s.now, e.String(), begin)
	if e.kind == crash {
		h := s.hosts[e.a[0]]
		if begin {
			if h.crashes++; h.crashes == 1 {
				h.crash()
			}
			return nil
		}
		if h.crashes--; h.crashes == 0 {
			return h.restart()
		}
		return nil
	}
	if e.kind == slowExecution {
		for _, i := range e.a {
			h := s.hosts[i]
			if begin {
				h.slow = append(h.slow, e.factor)
			} else {
				at := slices.Index(h.slow, e.factor)
				h.slow = slices.Delete(h.slow, at, at+1)
			}
		}
		return nil
	}
	step := 1
	if !begin {
		step = -1
	}
	for from := range s.hosts {
		for to := range s.hosts {
			l := s.network.link(from, to)
			switch e.kind {
			case partition:
				if e.group[from] != e.group[to] {
					l.cut += step
				}
			case oneWayCut:
				if slices.Contains(e.a, from) && slices.Contains(e.b, to) {
					l.cut += step
				}
			case clog:
				if begin && slices.Contains(e.a, from) && slices.Contains(e.b, to) {
					l.cloggedUntil = max(l.cloggedUntil, e.end)
				}
			}
		}
	}
	return nil
}

// scheduleFaults puts all that goes wrong into the queue.
func (s *Sim) scheduleFaults() {
	f := s.faults
	for i := range f.episodes {
		e := &f.episodes[i]
		s.queue.push(item{at: e.begin, what: faulty, fault: e, begins: true})
		s.queue.push(item{at: e.end, what: faulty, fault: e})
	}
	for i := range f.phases {
		p := &f.phases[i]
		s.queue.push(item{at: s.slotAt(p.begin), what: phased, phase: p, begins: true})
		s.queue.push(item{at: s.slotAt(p.end), what: phased, phase: p})
	}
}

// turn begins or ends chaos.
func (s *Sim) turn(p *phase, begins bool) {
	n := s.network
	if !begins {
		n.loss, n.duplicate, n.reorder = lossThreshold(s.cfg.Network.Loss), 0, 0
		s.story.fault(s.now, "chaos", false)
		if !s.cfg.Severe {
			s.heal(p)
		}
		return
	}
	s.unwatch()
	n.loss = lossThreshold(max(s.faults.loss, s.cfg.Network.Loss))
	n.duplicate, n.reorder = lossThreshold(s.faults.duplicate), lossThreshold(s.faults.reorder)
	s.story.fault(s.now, "chaos", true)
}
