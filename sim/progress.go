package sim

import (
	"fmt"
	"time"

	"tutti/consensus"
	"tutti/ledger"
)

// Verdict is what a run came to.
type Verdict uint8

// The verdicts.
const (
	Pass Verdict = iota
	// NoProgress: after everything had healed, no new slot was confirmed and
	// rooted in time.
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
	// firstRootSlots is for a root if there was none before.
	firstRootSlots = 64
)

// deadline is a moment at which nodes must have made progress.
type deadline struct {
	healed ledger.Slot
	all    bool
	roots  []ledger.Slot // of the nodes when everything healed; nil: not looked at
	// more is how long those that were locked out get after their lock's end.
	more ledger.Slot
}

// heal sets the deadlines for what must happen after a phase of chaos.
func (s *Sim) heal(p *phase) {
	roots := make([]ledger.Slot, len(s.hosts))
	rooted := false
	for i := range s.hosts {
		roots[i] = s.check.nodes[i].root.Ref.Slot
		rooted = rooted || roots[i] > 0
	}
	add := func(after ledger.Slot, d deadline) {
		if at := p.end + after; at <= s.cfg.Slots {
			d.healed, d.more = p.end, max(d.more, progressSlots)
			s.queue.push(item{at: s.slotAt(at), what: judged, due: &d})
		}
	}
	if !rooted {
		add(progressSlots, deadline{})
		add(firstRootSlots, deadline{all: true, roots: roots, more: firstRootSlots})
		return
	}
	add(progressSlots, deadline{roots: roots})
	add(progressSlotsAll, deadline{all: true, roots: roots})
}

// judge tells whether the honest nodes have made progress by a deadline. Those that
// their own votes lock out of the others' fork get another one; all get it if
// those have more than a third of the stake, without which nothing is
// confirmed.
func (s *Sim) judge(d *deadline) error {
	var with, without, out, total ledger.Lamports
	var locked ledger.Slot
	behind, now := -1, s.slotOf(s.now)
	for i, v := range s.genesis.Validators {
		total += v.Stake
		w := &s.check.nodes[i]
		if w.dishonest || w.halted {
			out += v.Stake
			continue
		}
		if w.confirmed > d.healed && (d.roots == nil || w.root.Ref.Slot > d.roots[i]) {
			with += v.Stake
			continue
		}
		if until := s.check.votes.LockedUntil(v.VoteAccount, now-min(now, progressSlots)); until > 0 {
			locked = max(locked, until)
			without += v.Stake
			continue
		}
		behind = i
	}
	if consensus.OneThird(without+out, total) {
		behind = -1 // the dishonest and the halted may do nothing, and may not be missed
	}
	if !d.all && consensus.TwoThirds(with, total) {
		return nil
	}
	if behind < 0 || !d.all && locked > 0 {
		if at := max(locked, now) + d.more; locked > 0 && at <= s.cfg.Slots {
			s.queue.push(item{at: s.slotAt(at), what: judged, due: d})
		}
		return nil
	}
	w := &s.check.nodes[behind]
	what := fmt.Sprintf("all has healed in slot %d, but node %d has confirmed slot %d, its root is slot %d",
		d.healed, behind, w.confirmed, w.root.Ref.Slot)
	if d.roots != nil {
		what += fmt.Sprintf(", as it was %d then", d.roots[behind])
	}
	return &Violation{Seed: s.cfg.Seed, At: s.now, Node: behind, Verdict: NoProgress, What: what}
}

// healthy gives a run without faults the deadline of its last slot.
func (s *Sim) healthy() {
	if s.cfg.Slots >= firstRootSlots && s.faults == nil && s.cfg.Network.Loss == 0 {
		s.queue.push(item{at: s.slotAt(s.cfg.Slots), what: judged, due: &deadline{
			healed: s.cfg.Slots - progressSlots, all: true, roots: make([]ledger.Slot, len(s.hosts)), more: progressSlots,
		}})
	}
}

// slotOf returns the slot that runs at a moment.
func (s *Sim) slotOf(at time.Duration) ledger.Slot {
	if first := s.slotAt(0); at > first {
		return ledger.Slot((at - first) / (s.slotAt(1) - first))
	}
	return 0
}
