package sim

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"tutti/bank"
	"tutti/ledger"
	"tutti/node"
)

// Result is what a run came to.
type Result struct {
	Virtual time.Duration // since the nodes started
	Slots   int
	Fanout  int // of Turbine
	// Blocks counts the slots of which some node holds a block; the others
	// were Skipped. Abandoned blocks are off the confirmed chain.
	Blocks, Skipped, Abandoned int
	// Confirmed, Executed and Rooted count blocks by how many honest nodes say
	// so.
	Confirmed, Executed, Rooted Spread
	// Submitted transactions were Accepted or Refused by the node that they
	// were sent to.
	Submitted, Accepted, Refused int
	// Outcomes counts transactions of confirmed blocks.
	Outcomes [bank.BadNonce + 1]int
	// BankHashes computed by a second node, and a third…, are Compared with
	// the first one's.
	Compared, Mismatched int
	Votes                int
	Messages, Bytes      int // between nodes
	Items                int // steps of the simulation
	Repaired             int // shreds that came by repair
	// Rejected counts UserBlocks and leader blocks that a node found to be
	// not well formed or invalid; no honest node makes one.
	Rejected int
	// Crashes counts nodes that went down and came back.
	Crashes int
	// Progress says how soon there was progress after phases of chaos.
	Progress Progress
	// World is what clients saw in the regions, nil without Config.World.
	World *World
	// Conflicts counts confirmed blocks that are not on the chain of the newest
	// one. It takes more than 4.67 % of dishonest stake to bring that about.
	Conflicts int
	// Proofs counts blocks signed twice, in the twins scenario, and RootedParted
	// how often an honest node there had a new root while the network was parted.
	Proofs       Proofs
	RootedParted int
	// Figures are what a scenario measured, one a line.
	Figures string
	// Faults says what went wrong on purpose.
	Faults string
	// Dishonest says who does not keep to the protocol, and how. HonestLost
	// counts slots of honest leaders that have no confirmed block, HonestNext
	// those of them whose predecessor's leader is dishonest.
	Dishonest              string
	HonestLost, HonestNext int
	// RootLag is how far the lowest root of an honest node is behind the last
	// slot, in slots.
	RootLag ledger.Slot
	// Kept is the most that any honest node kept in memory of what others send.
	Kept  node.Usage
	Trace ledger.Hash
}

// Spread counts blocks of which one node or more says something, and all do.
type Spread struct{ Some, All int }

func (s *Spread) add(count, nodes int) {
	if count > 0 {
		s.Some++
	}
	if count == nodes {
		s.All++
	}
}

// counts is what is counted while a cluster runs.
type counts struct {
	submitted, accepted, refused int
	messages, bytes, items       int
	repaired, rejected           int
	crashes                      int
	// confirmedAfter sums up, over all nodes' confirmations, how long after the
	// beginning of its slot a block was confirmed.
	confirmations  int
	confirmedAfter time.Duration
}

func (c *counts) report(of any) {
	switch r := of.(type) {
	case node.Accepted:
		if r.Token != 0 { // not forwarded by another node
			c.accepted++
		}
	case node.Refused:
		if r.Token != 0 {
			c.refused++
		}
	case node.ShredSeen:
		if r.Repaired {
			c.repaired++
		}
	case node.BlockRejected, node.UserBlockRejected:
		c.rejected++
	}
}

// tailSlots is how many slots before the end have no time left to be confirmed.
const tailSlots = 4

// last returns the last slot that has.
func (r *Result) last() ledger.Slot { return ledger.Slot(r.Slots - min(r.Slots, tailSlots)) }

func (s *Sim) result() Result {
	s.unwatch()
	r := Result{
		Virtual: s.now, Slots: int(s.cfg.Slots), Fanout: s.cfg.Params.Fanout,
		Submitted: s.counts.submitted, Accepted: s.counts.accepted, Refused: s.counts.refused,
		Compared: s.check.compared, Mismatched: s.check.mismatched,
		Messages: s.counts.messages, Bytes: s.counts.bytes, Items: s.counts.items,
		Repaired: s.counts.repaired, Rejected: s.counts.rejected, Crashes: s.counts.crashes,
		Progress: s.progress,
		Trace:    s.trace.hash(),
	}
	if s.faults != nil {
		r.Faults = s.faults.String()
	}
	r.Dishonest, r.Kept = s.villains.String(), s.check.kept
	for i := range s.check.nodes {
		if w := &s.check.nodes[i]; !w.dishonest {
			r.RootLag = max(r.RootLag, s.cfg.Slots-min(s.cfg.Slots, w.root.Ref.Slot))
		}
	}
	if !s.villains.none() {
		for _, slot := range s.unconfirmed(r.last()) {
			switch {
			case !s.check.madeHonestly(slot.Key()):
			case slot > 1 && !s.check.madeHonestly((slot - 1).Key()):
				r.HonestNext++
				fallthrough
			default:
				r.HonestLost++
			}
		}
	}
	if s.world != nil {
		r.World = s.world.result(s.slotAt(max(s.cfg.Slots, worldTail) - worldTail))
	}
	slots, honest := make(map[ledger.Slot]bool), s.check.honest()
	for ref, b := range s.check.ledger.Blocks() {
		if ref.Slot == 0 {
			continue
		}
		if ref.Slot <= s.cfg.Slots {
			slots[ref.Slot] = true
		}
		said := s.check.of(b)
		if tip := s.check.confirmed.Tip(); tip != nil && ref.Slot <= tip.Ref.Slot && !tip.Descends(b) {
			r.Abandoned++
			if len(said.confirmed) > 0 {
				r.Conflicts++
			}
		}
		r.Confirmed.add(len(said.confirmed), honest)
		r.Executed.add(len(said.executed), honest)
		r.Rooted.add(len(said.rooted), honest)
		if len(said.confirmed) > 0 {
			for i, n := range b.Outcomes {
				r.Outcomes[i] += n
			}
		}
	}
	r.Votes = s.check.votes.Count()
	r.Blocks, r.Skipped = len(slots), r.Slots-len(slots)
	return r
}

// Print writes the result for people, and the trace on a line of its own.
// took is how long the run took in real time.
func (r *Result) Print(w io.Writer, took time.Duration) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	line("slots", "%d with a block, %d skipped; %d blocks abandoned", r.Blocks, r.Skipped, r.Abandoned)
	line("fanout", "%d", r.Fanout)
	line("confirmed", "%d (%d on every node)", r.Confirmed.Some, r.Confirmed.All)
	line("executed", "%d (%d on every node)", r.Executed.Some, r.Executed.All)
	line("rooted", "%d (%d on every node)", r.Rooted.Some, r.Rooted.All)
	line("submitted", "%d, accepted %d, refused %d", r.Submitted, r.Accepted, r.Refused)
	for i, n := range r.Outcomes {
		line("  "+bank.Outcome(i).String(), "%d", n)
	}
	line("bank hashes", "%d compared, %d mismatched", r.Compared, r.Mismatched)
	line("votes", "%d", r.Votes)
	line("messages", "%d, %.1f MB", r.Messages, float64(r.Bytes)/1e6)
	line("repaired", "%d shreds", r.Repaired)
	line("rejected", "%d blocks", r.Rejected)
	if r.Faults != "" {
		line("faults", "%s", r.Faults)
		line("crashes", "%d", r.Crashes)
		line("progress", "%v", r.Progress)
	}
	if r.Dishonest != "" {
		line("dishonest", "%s", r.Dishonest)
		line("conflicts", "%d confirmed blocks off the chain of the newest", r.Conflicts)
		line("honest leaders", "%d slots lost, %d of them behind a dishonest leader's", r.HonestLost, r.HonestNext)
		line("kept at most", "%d FEC sets, %d contact records, %d repair requests", r.Kept.Sets, r.Kept.Contacts, r.Kept.Requests)
	}
	if r.Proofs.Twice > 0 {
		line("proofs", "%v", r.Proofs)
	}
	for figure := range strings.Lines(r.Figures) {
		name, value, _ := strings.Cut(figure, ": ")
		line(name, "%s", strings.TrimSpace(value))
	}
	line("time", "%v virtual in %v real: %.2f virtual seconds per second",
		r.Virtual, took.Round(time.Millisecond), r.Virtual.Seconds()/took.Seconds())
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "trace %x\n", r.Trace[:])
	return err
}
