package sim

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"tutti/ledger"
	"tutti/node"
)

// story keeps what happened in a run, for people to read. A nil story keeps
// nothing.
type story struct {
	sim   *Sim
	slots map[ledger.Slot]*chapter
}

// chapter is what happened while one slot ran, and to its blocks.
type chapter struct {
	notes  []string
	blocks []*told
}

// told is what nodes said of one block, and when.
type told struct {
	block                          node.BlockHeld
	held, voted, confirmed, rooted map[int]time.Duration
	rejected                       []string
}

func newStory(sim *Sim) *story {
	return &story{sim: sim, slots: make(map[ledger.Slot]*chapter)}
}

func (s *story) chapter(slot ledger.Slot) *chapter {
	c := s.slots[slot]
	if c == nil {
		c = &chapter{}
		s.slots[slot] = c
	}
	return c
}

func (s *story) block(ref ledger.BlockRef) *told {
	c := s.chapter(ref.Slot)
	for _, b := range c.blocks {
		if b.block.Block == ref {
			return b
		}
	}
	b := &told{
		block: node.BlockHeld{Block: ref},
		held:  make(map[int]time.Duration), voted: make(map[int]time.Duration),
		confirmed: make(map[int]time.Duration), rooted: make(map[int]time.Duration),
	}
	c.blocks = append(c.blocks, b)
	return b
}

// fault notes that a fault begins or ends.
func (s *story) fault(at time.Duration, what string, begins bool) {
	if s == nil {
		return
	}
	verb := "ends"
	if begins {
		verb = "begins"
	}
	s.note(at, "%s: %s", verb, what)
}

// note notes what is not about the blocks of one slot.
func (s *story) note(at time.Duration, format string, args ...any) {
	c := s.chapter(s.sim.slotOf(at))
	c.notes = append(c.notes, fmt.Sprintf("%v "+format, append([]any{at.Round(time.Millisecond)}, args...)...))
}

// name returns the number of the node that an identity or a vote account
// belongs to.
func (s *story) name(key ledger.Pubkey) string {
	for i, v := range s.sim.genesis.Validators {
		if v.Identity == key || v.VoteAccount == key {
			return fmt.Sprintf("node %d", i)
		}
	}
	return key.String()
}

// told notes what a node reports.
func (s *story) told(at time.Duration, host int, of any) {
	if s == nil {
		return
	}
	switch r := of.(type) {
	case node.BlockHeld:
		b := s.block(r.Block)
		b.block = r
		first(b.held, host, at)
	case node.BlockRejected:
		b := s.block(r.Block)
		b.rejected = append(b.rejected, fmt.Sprintf("node %d: %v", host, r.Err))
	case node.Voted:
		first(s.block(r.Block).voted, host, at)
	case node.Confirmed:
		first(s.block(r.Block).confirmed, host, at)
	case node.Rooted:
		first(s.block(r.Block).rooted, host, at)
	case node.StoodStill:
		s.note(at, "node %d makes no block in slot %d: its parent would be that of slot %d", host, r.Slot, r.Parent)
	case node.UserBlockRejected:
		s.note(at, "node %d rejects UserBlock %v: %v", host, r.Ref, r.Err)
	case node.UserBlockMissed:
		s.note(at, "node %d takes %d transactions of its UserBlock %v back: it came too late", host, r.Transactions, r.Ref)
	case node.Equivocated:
		s.note(at, "node %d stores a proof that %s made two blocks under %v", host, s.name(r.Signer), r.Key)
	case node.Mismatched:
		s.note(at, "node %d has BankHash %x of slot %d, a vote of %s says %x", host, r.Own[:4], r.Slot, s.name(r.Voter), r.Other[:4])
	case node.WentBack:
		s.note(at, "node %d goes back to %v to execute %v again, try %d: its BankHash is %x, that of 2/3 is %x",
			host, r.To, r.Wrong, r.Try, r.Own[:4], r.Other[:4])
	case node.HealthChanged:
		s.note(at, "node %d is %v over %v, its own BankHash is %x: %s", host, r.Health, r.Block, r.Own[:4], cmp.Or(r.Cause, "they agree"))
	}
}

func first(m map[int]time.Duration, host int, at time.Duration) {
	if _, ok := m[host]; !ok {
		m[host] = at
	}
}

// Story writes what happened, slot by slot, in the words of the protocol.
func (s *Sim) Story(w io.Writer) error {
	if s.story == nil {
		return nil
	}
	var out strings.Builder
	if s.faults != nil {
		fmt.Fprintf(&out, "faults: %v\n", s.faults)
	}
	last := slices.Max(append(slices.Collect(maps.Keys(s.story.slots)), 0))
	for slot := ledger.Slot(0); slot <= last; slot++ {
		c := s.story.slots[slot]
		if c == nil {
			c = &chapter{}
		}
		for _, what := range c.notes {
			fmt.Fprintf(&out, "       * %s\n", what)
		}
		if slot == 0 {
			continue
		}
		leader := s.index[s.check.signers.signer(slot.Key())]
		fmt.Fprintf(&out, "slot %-4d leader %d", slot, leader)
		if s.hosts[leader].down {
			fmt.Fprint(&out, " (down)")
		}
		if len(c.blocks) == 0 {
			fmt.Fprint(&out, ", no block")
		}
		fmt.Fprintln(&out)
		for _, b := range c.blocks {
			s.tell(&out, slot, b)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// tell writes what became of one block.
func (s *Sim) tell(out *strings.Builder, slot ledger.Slot, b *told) {
	fmt.Fprintf(out, "       block %x on slot %d, %d UserBlocks, %d votes\n",
		b.block.Block.ID[:4], b.block.Parent.Slot, len(b.block.Entries), b.block.Votes)
	for _, what := range b.rejected {
		fmt.Fprintf(out, "         rejected by %s\n", what)
	}
	begin := s.slotAt(slot)
	for _, x := range []struct {
		name string
		by   map[int]time.Duration
	}{{"held", b.held}, {"voted", b.voted}, {"confirmed", b.confirmed}, {"rooted", b.rooted}} {
		if len(x.by) == 0 {
			continue
		}
		fmt.Fprintf(out, "         %-9s by %d:", x.name, len(x.by))
		hosts := slices.Collect(maps.Keys(x.by))
		slices.SortFunc(hosts, func(a, b int) int {
			if x.by[a] != x.by[b] {
				return int(x.by[a] - x.by[b])
			}
			return a - b
		})
		for _, h := range hosts {
			fmt.Fprintf(out, " %d+%d", h, (x.by[h]-begin)/time.Millisecond)
		}
		fmt.Fprintln(out)
	}
}
