package sim

import (
	"fmt"
	"slices"
	"time"

	"tutti/ledger"
)

// Verdict is what a run came to.
type Verdict uint8

// The verdicts.
const (
	Pass Verdict = iota
	// NoProgress: after everything had healed, no new slot was confirmed and
	// rooted in time, or what a scenario measures took too long.
	NoProgress
	// Diverged: a promise of the protocol is broken.
	Diverged
)

// String returns the verdict's name.
func (v Verdict) String() string { return [...]string{"Pass", "NoProgress", "Diverged"}[v] }

// How long it may take after everything has healed, in slots.
const (
	// progressSlots is for nodes with more than two thirds of the stake.
	progressSlots = 16
	// progressSlotsAll is for the last node.
	progressSlotsAll = 32
	// firstRootSlots is for a root if there was none before, or the votes that
	// would make one have expired.
	firstRootSlots = 64
)

// Progress counts what became of the deadlines after phases of chaos.
type Progress struct {
	// Healed counts the phases.
	Healed int
	// Confirmed is for a new slot that nodes with more than two thirds of the
	// stake call confirmed, Most for one that they root as well, All for the
	// last honest node.
	Confirmed, Most, All InTime
}

// InTime counts deadlines: each is Met, Excused or Unjudged, or the run has
// failed.
type InTime struct {
	// Met counts those that were met as promised, after Worst slots at most.
	Met   int
	Worst ledger.Slot
	// Excused counts those that were met late, and within the time that was
	// promised for a node, or for all, from the last slot on in which votes of
	// before locked it out, without those that nodes led which could not build on
	// the heaviest fork: after WorstExcused slots at most.
	Excused      int
	WorstExcused ledger.Slot
	// Unjudged counts those that the end of the run, or the next chaos, came
	// before.
	Unjudged int
}

func (t *InTime) add(o InTime) {
	t.Met, t.Excused, t.Unjudged = t.Met+o.Met, t.Excused+o.Excused, t.Unjudged+o.Unjudged
	t.Worst, t.WorstExcused = max(t.Worst, o.Worst), max(t.WorstExcused, o.WorstExcused)
}

// String tells the numbers; the worst are in slots after everything had healed.
func (t InTime) String() string {
	s := fmt.Sprintf("%d in time", t.Met)
	if t.Met > 0 {
		s += fmt.Sprintf(" (worst %d)", t.Worst)
	}
	s += fmt.Sprintf(", %d excused", t.Excused)
	if t.Excused > 0 {
		s += fmt.Sprintf(" (worst %d)", t.WorstExcused)
	}
	return s + fmt.Sprintf(", %d not judged", t.Unjudged)
}

// Add counts those of another run as well.
func (p *Progress) Add(o Progress) {
	p.Healed += o.Healed
	p.Confirmed.add(o.Confirmed)
	p.Most.add(o.Most)
	p.All.add(o.All)
}

// String tells the numbers; times are in slots after everything had healed.
func (p Progress) String() string {
	return fmt.Sprintf("healed %d; confirmed by 2/3: %v; rooted by 2/3: %v; by all: %v", p.Healed, p.Confirmed, p.Most, p.All)
}

// clock is one deadline, in slots after everything has healed.
type clock struct {
	slots, at ledger.Slot // when it is over, and when it was met
	promised  ledger.Slot // when it is over if nothing excuses
	met       bool
}

func newClock(slots ledger.Slot) clock { return clock{slots: slots, promised: slots} }

func (c *clock) meet(at ledger.Slot) {
	if !c.met {
		c.met, c.at = true, at
	}
}

// count puts the deadline where it belongs.
func (c *clock) count(t *InTime) {
	switch {
	case !c.met:
		t.Unjudged++
	case c.at <= c.promised:
		t.Met++
		t.Worst = max(t.Worst, c.at)
	default:
		t.Excused++
		t.WorstExcused = max(t.WorstExcused, c.at)
	}
}

// healing is what is watched, slot by slot, after everything has healed.
type healing struct {
	healed ledger.Slot
	// roots are the highest that each machine ever had.
	roots                []ledger.Slot
	confirmed, most, all clock
	// more is how many slots there are after a lock.
	more ledger.Slot
	// stuck is the last slot in which no fork could get more than two thirds,
	// held has the last one in which a machine's own votes locked it out.
	stuck ledger.Slot
	held  []ledger.Slot
	// barred are the slots after chaos that nodes led which could not build on
	// the heaviest fork, in order.
	barred []ledger.Slot
	// chaos says that there was any.
	chaos bool
}

// heal begins to watch what must happen after a phase of chaos.
func (s *Sim) heal(p *phase) {
	h := &healing{
		healed: p.end, chaos: true, more: progressSlots,
		confirmed: newClock(progressSlots), most: newClock(progressSlots), all: newClock(progressSlotsAll),
		roots: make([]ledger.Slot, len(s.hosts)),
	}
	for i := range s.hosts {
		h.roots[i] = s.check.nodes[i].highest.Ref.Slot
	}
	if slices.Max(h.roots) == 0 {
		h.most, h.all, h.more = newClock(firstRootSlots), newClock(firstRootSlots), firstRootSlots
	}
	s.watch(h)
}

// healthy watches the last slots of a run without faults: all nodes have a root
// then, and go on.
func (s *Sim) healthy() {
	if s.cfg.Slots >= firstRootSlots && s.faults == nil && s.cfg.Network.Loss == 0 {
		s.watch(&healing{
			healed: s.cfg.Slots - progressSlots, roots: make([]ledger.Slot, len(s.hosts)),
			confirmed: newClock(progressSlots), most: newClock(progressSlots), all: newClock(progressSlots), more: progressSlots,
		})
	}
}

func (s *Sim) watch(h *healing) {
	h.held = make([]ledger.Slot, len(s.hosts))
	s.healing = h
	s.queue.push(item{at: s.slotAt(h.healed + 1), what: judged, due: h})
}

// unwatch counts what was watched, as chaos or the end of the run comes.
func (s *Sim) unwatch() {
	if h := s.healing; h != nil && h.chaos {
		s.progress.Healed++
		h.confirmed.count(&s.progress.Confirmed)
		h.most.count(&s.progress.Most)
		h.all.count(&s.progress.All)
	}
	s.healing = nil
}

// judge looks, once a slot, whether the honest nodes have made progress, and
// whether they still have time. A node whose own votes lock it out of the fork
// of more than a third of the stake has it from the last slot on in which they
// do. All have it from the last slot on in which there was no fork for which
// more than two thirds of the stake could vote. For a root they have as long as
// for the first of a ledger if too few towers are full when something new is
// confirmed. A slot whose leader cannot build on the heaviest fork does not
// count: those who are on it wait for the next one.
func (s *Sim) judge(h *healing) error {
	if h != s.healing {
		return nil // there is chaos again
	}
	now := s.slotOf(s.now)
	var news, with, full, total ledger.Lamports
	able := make(map[ledger.Pubkey]bool)
	var behind []int
	for i, v := range s.genesis.Validators {
		total += v.Stake
		w := &s.check.nodes[i]
		if w.dishonest || w.halted {
			continue // they may do nothing, and may not be missed
		}
		able[v.VoteAccount] = true
		confirmed, rooted := w.confirmed > h.healed, w.highest.Ref.Slot > h.roots[i]
		if confirmed {
			news += v.Stake
		}
		if confirmed && rooted {
			with += v.Stake
		}
		if s.check.votes.Full(v.VoteAccount) {
			full += v.Stake
		}
		if !confirmed || !rooted {
			behind = append(behind, i)
		}
	}
	if 3*news > 2*total && !h.confirmed.met {
		h.confirmed.meet(now - h.healed)
		if 3*full <= 2*total { // the votes of before have expired
			h.most.slots, h.all.slots, h.more = firstRootSlots, firstRootSlots, firstRootSlots
		}
	}
	if 3*with > 2*total {
		h.most.meet(now - h.healed)
	}
	if len(behind) == 0 {
		h.all.meet(now - h.healed)
	}
	if h.most.met && h.all.met {
		return nil
	}
	if !s.check.votes.Joinable(now, func(account ledger.Pubkey) bool { return able[account] }) {
		h.stuck = now
	} else if h.chaos && s.check.votes.Barred(s.genesis.Validators[s.leader(now-1)].VoteAccount, now-1) {
		h.barred = append(h.barred, now-1)
	}
	since := h.since(now, h.stuck)
	if !h.confirmed.met && since >= h.confirmed.slots || !h.most.met && since >= h.most.slots {
		return s.noProgress(h, behind[0])
	}
	for _, i := range behind {
		if s.check.votes.Locked(s.genesis.Validators[i].VoteAccount, now) {
			h.held[i] = now
		}
		if from := max(h.held[i], h.stuck); h.since(now, h.healed) >= h.all.slots && (from <= h.healed || h.since(now, from) >= h.more) {
			return s.noProgress(h, i)
		}
	}
	s.queue.push(item{at: s.slotAt(now + 1), what: judged, due: h})
	return nil
}

// since returns how many slots there were from one of them on, or from the one
// in which everything had healed, but for those that do not count.
func (h *healing) since(now, from ledger.Slot) ledger.Slot {
	from = max(from, h.healed)
	first, _ := slices.BinarySearch(h.barred, from)
	return now - from - ledger.Slot(len(h.barred)-first)
}

func (s *Sim) noProgress(h *healing, behind int) error {
	w := &s.check.nodes[behind]
	what := fmt.Sprintf("all has healed in slot %d, but node %d has confirmed slot %d, its root is slot %d, as it was %d then",
		h.healed, behind, w.confirmed, w.highest.Ref.Slot, h.roots[behind])
	if h.held[behind] > 0 {
		what += fmt.Sprintf("; locked out up to slot %d", h.held[behind])
	}
	if len(h.barred) > 0 {
		what += fmt.Sprintf("; %d slots led by nodes that could not build on the heaviest fork", len(h.barred))
	}
	if h.stuck > 0 {
		what += fmt.Sprintf("; no fork could get 2/3 up to slot %d", h.stuck)
	}
	return s.violation(NoProgress, behind, "%s", what)
}

// slotOf returns the slot that runs at a moment.
func (s *Sim) slotOf(at time.Duration) ledger.Slot {
	if first := s.slotAt(0); at > first {
		return ledger.Slot((at - first) / (s.slotAt(1) - first))
	}
	return 0
}
