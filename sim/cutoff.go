package sim

import (
	"fmt"
	"slices"
	"time"

	"tutti/ledger"
	"tutti/node"
)

// cutOff is a scenario: a few nodes with less than a third of the stake are
// cut off from the others for a while. These go on; afterwards all have one
// chain, and nothing that was confirmed is lost.
type cutOff struct {
	validators, minority int
	// The cut takes slots, and the run goes on for after more.
	slots, after ledger.Slot

	sim    *Sim
	cut    []int // the nodes that are cut off
	healed time.Duration
	// target is the newest block that the others had confirmed at the heal.
	target ledger.Slot
	// caughtUp is when each node had confirmed it, voted when it voted for a
	// block that descends from it.
	caughtUp, voted map[int]time.Duration
}

// cutFirst is the first slot of the cut: when there is a root.
const cutFirst = 40

func (c *cutOff) configure(cfg *Config) {
	cfg.Validators, cfg.Slots, cfg.Load = c.validators, cutFirst+c.slots+c.after, 5
	cfg.stored = cfg.Slots // a node that lacks more than others keep needs a snapshot
	cfg.stakes = slices.Repeat([]ledger.Lamports{stakeMin}, c.validators)
	cfg.Params.HashesPerTick, cfg.Params.UserBlockHashesPerTick = 0, 0
}

func (c *cutOff) plan(s *Sim) (dishonest, *faults) {
	c.sim, c.caughtUp, c.voted = s, make(map[int]time.Duration), make(map[int]time.Duration)
	c.cut = s.cfg.random("cut", 0).Perm(c.validators)[:c.minority]
	slices.Sort(c.cut)
	end := cutFirst + c.slots
	c.healed = s.slotAt(end)
	e := episode{kind: partition, begin: s.slotAt(cutFirst), end: c.healed, group: make([]int, c.validators)}
	for _, i := range c.cut {
		e.group[i] = 1
	}
	return dishonest{}, &faults{phases: []phase{{cutFirst, end}}, episodes: []episode{e}}
}

func (c *cutOff) heard(*host, node.Message) {}

func (c *cutOff) told(h *host, of any) {
	i, s := h.index, c.sim
	switch r := of.(type) {
	case node.Confirmed:
		if s.now < c.healed && !slices.Contains(c.cut, i) {
			c.target = max(c.target, r.Block.Slot)
		}
		if s.now >= c.healed && c.caughtUp[i] == 0 && r.Block.Slot >= c.target {
			c.caughtUp[i] = s.now
		}
	case node.Voted:
		if b := s.check.ledger.Blocks()[r.Block]; s.now >= c.healed && c.voted[i] == 0 && b != nil {
			if tip := s.check.confirmed.Tip(); b.Ref.Slot >= c.target && b.At(c.target) == tip.At(c.target) {
				c.voted[i] = s.now
			}
		}
	}
}

func (c *cutOff) judge(s *Sim, r *Result) *Violation {
	tip := s.check.confirmed.Tip()
	if tip == nil || tip.Ref.Slot+2 < s.cfg.Slots {
		return s.violation(NoProgress, 0, "confirmed up to %v in slot %d", tip, s.cfg.Slots)
	}
	for b := tip.At(s.cfg.Slots - 2); b != nil && b.Parent != nil; b = b.Parent {
		if said := s.check.of(b); len(said.confirmed) != c.validators {
			return s.violation(NoProgress, 0, "%v is confirmed on %d of %d nodes", b.Ref, len(said.confirmed), c.validators)
		}
	}
	slots := func(at map[int]time.Duration) string {
		var out []string
		for _, i := range c.cut {
			if at[i] == 0 {
				out = append(out, fmt.Sprintf("node %d not", i))
				continue
			}
			out = append(out, fmt.Sprintf("node %d %.1f", i, float64(at[i]-c.healed)/float64(s.slotAt(1)-s.slotAt(0))))
		}
		return fmt.Sprint(out)
	}
	for _, i := range c.cut {
		if c.caughtUp[i] == 0 || c.voted[i] == 0 {
			return s.violation(NoProgress, i, "node %d was cut off and has not caught up, or votes no more: %s, %s", i, slots(c.caughtUp), slots(c.voted))
		}
	}
	r.Figures = fmt.Sprintf("confirmed at the heal: slot %d of %d, by those that were not cut off\n", c.target, cutFirst+c.slots) +
		fmt.Sprintf("slots until the others had confirmed it: %s\n", slots(c.caughtUp)) +
		fmt.Sprintf("slots until they voted on it: %s\n", slots(c.voted))
	return nil
}
