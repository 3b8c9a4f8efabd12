package sim

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"tutti/consensus"
	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
)

// FedLeader is what became of a cluster in which one proposer at a time, that
// of lane 0, gives its shreds to the leader alone, beside what became of it
// without that.
type FedLeader struct {
	Slots ledger.Slot
	// Baseline is without, Attack with it; in Silent leaders do not broadcast
	// either what they name (PROTOCOL section 5), to see what that is for.
	Baseline, Attack, Silent Fared
}

// Fared says how a cluster fared.
type Fared struct {
	// Skipped counts slots without a confirmed block.
	Skipped int
	// Voted is the share of all slots that honest stake has voted for.
	Voted float64
	// Confirmed is from the beginning of a slot until a node has confirmed its
	// block, on average over nodes and blocks.
	Confirmed time.Duration
	// Repaired counts shreds that came by repair.
	Repaired int
}

// What is wanted of Attack.
const (
	// fedSkippedMore is how many of all slots may be skipped beyond Baseline's.
	fedSkippedMore = 0.05
	// fedVotedMin is how much honest stake must vote.
	fedVotedMin = 0.95
)

// FeedLeader runs the three clusters. The error is a broken promise; what
// Attack falls short of is Missed.
func FeedLeader(cfg Config) (FedLeader, error) {
	f := FedLeader{Slots: cfg.Slots}
	for _, run := range []struct {
		into *Fared
		b    *stingy
	}{
		{&f.Baseline, nil}, {&f.Attack, &stingy{}}, {&f.Silent, &stingy{selfish: true}},
	} {
		villains := dishonest{behaviours: make(map[int]behaviour)}
		for i := range cfg.Validators {
			if run.b != nil {
				villains.behaviours[i] = &stingy{lane: run.b.lane, selfish: run.b.selfish}
			}
		}
		s, err := newSim(cfg, villains)
		if err != nil {
			return f, err
		}
		r, err := s.Run()
		if err != nil {
			return f, err
		}
		*run.into = s.fared(&r)
	}
	return f, nil
}

// fared sums up a run.
func (s *Sim) fared(r *Result) Fared {
	f := Fared{Repaired: r.Repaired}
	if n := s.counts.confirmations; n > 0 {
		f.Confirmed = s.counts.confirmedAfter / time.Duration(n)
	}
	f.Skipped = len(s.unconfirmed(r.last()))
	stakes := consensus.NewEpochs(s.schedule()).At(0)
	var voted, total float64
	for i, v := range s.genesis.Validators {
		if !s.villains.honest(i) {
			continue
		}
		stake := float64(stakes.Of(v.VoteAccount))
		total += stake * float64(s.cfg.Slots)
		voted += stake * float64(s.check.votes.CountOf(v.VoteAccount))
	}
	if total > 0 {
		f.Voted = voted / total
	}
	return f
}

// unconfirmed returns the slots up to one of which no block is confirmed.
func (s *Sim) unconfirmed(last ledger.Slot) (slots []ledger.Slot) {
	b := s.check.confirmed.Tip()
	for slot := last; slot > 0; slot-- {
		for b != nil && b.Ref.Slot > slot {
			b = b.Parent
		}
		if b == nil || b.Ref.Slot != slot {
			slots = append(slots, slot)
		}
	}
	return slots
}

// Missed says what the attack brought about that it must not, nil if nothing.
func (f *FedLeader) Missed() error {
	if most := f.Baseline.Skipped + int(fedSkippedMore*float64(f.Slots)); f.Attack.Skipped > most {
		return fmt.Errorf("%d slots skipped, at most %d may be", f.Attack.Skipped, most)
	}
	if f.Attack.Voted < fedVotedMin {
		return fmt.Errorf("honest stake votes on %.1f %% of slots, want %.0f %%", 100*f.Attack.Voted, 100*fedVotedMin)
	}
	return nil
}

// Print writes the figures for people.
func (f *FedLeader) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%d slots\tskipped\thonest stake votes on\tconfirmed after\trepaired shreds\n", f.Slots)
	for _, x := range []struct {
		name string
		*Fared
	}{
		{"all honest", &f.Baseline},
		{"one of the lanes feeds only the leader", &f.Attack},
		{"the same, and leaders do not re-broadcast", &f.Silent},
	} {
		fmt.Fprintf(t, "%s\t%d\t%.1f %%\t%v\t%d\n", x.name, x.Skipped, 100*x.Voted, x.Confirmed.Round(time.Millisecond), x.Repaired)
	}
	return t.Flush()
}

// stingy keeps to the protocol, but gives UserBlocks less far than it should:
// nothing that the checks look at.
type stingy struct {
	// lane is the one in which it gives its own UserBlocks to the leaders that
	// can record them alone, −1: it does not.
	lane int
	// selfish leaders do not broadcast what they name (PROTOCOL section 5).
	selfish bool

	maker maker
}

// String tells what it does.
func (b *stingy) String() string {
	s := ""
	if b.lane >= 0 {
		s = fmt.Sprintf("feeds only the leader when in lane %d", b.lane)
	}
	if b.selfish {
		s += ", does not broadcast what it names"
	}
	return s
}

func (*stingy) faithful() {}

func (b *stingy) act(h *host, wanted []queued) []queued {
	out, sets := b.maker.own(h, wanted, func(k ledger.SlotKey) bool {
		_, lane := k.User()
		return k.IsUser() && int(lane) == b.lane
	})
	for _, set := range sets {
		leaders := h.recorders(set.Key)
		out = append(out, b.maker.spread(h, allShreds(set), func(_ *shred.Shred, to ledger.Pubkey) bool {
			return slices.Contains(leaders, to)
		})...)
	}
	if !b.selfish {
		return out
	}
	return slices.DeleteFunc(out, func(q queued) bool {
		send, _ := q.effect.(node.Send)
		m, ok := send.Msg.(node.ShredMessage)
		return ok && b.rebroadcasts(h, &m.Shred, send.To)
	})
}

// rebroadcasts tells whether a node gives a shred of another's UserBlock to the
// root of its tree: no retransmitter does.
func (b *stingy) rebroadcasts(h *host, s *shred.Shred, to []ledger.Pubkey) bool {
	signer := h.sim.check.signers.signer(s.Key())
	if !s.Key().IsUser() || signer == h.identity() || len(to) != 1 {
		return false
	}
	root, ok := b.maker.tree.Root(s.Key(), s.IsData(), s.Index(), signer)
	return ok && to[0] == root
}
