package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tutti/bank"
	"tutti/cmd/tutti/load"
	"tutti/ledger"
)

const (
	// settleTime is how often the tracker settles, and the lag is noted.
	settleTime = 250 * time.Millisecond
	// silenceNote is from how many slots without a confirmed block on, at the
	// end of the load, the report says so.
	silenceNote = 10
)

// streams follows every transfer through the event streams of all nodes of a
// devnet, which it reads on the machine that they run on.
type streams struct {
	network *network
	counts  *counts
	// node has the number among all nodes of each target.
	node []int

	mu          sync.Mutex
	tracker     *load.Tracker
	first, last ledger.Slot
	top         ledger.Slot // newest confirmed
	// confirmed has the slots of the span with a confirmed block.
	confirmed map[ledger.Slot]struct{}
}

func newStreams(c *network, counts *counts) *streams {
	s := &streams{
		network: c, counts: counts, tracker: load.NewTracker(len(c.nodes)),
		confirmed: map[ledger.Slot]struct{}{},
	}
	for _, t := range c.targets {
		for i, n := range c.nodes {
			if n.Name == t.Name {
				s.node = append(s.node, i)
			}
		}
	}
	s.tracker.Concluded = counts.conclude
	counts.method = "every transfer, through the event streams of all nodes; latency counts up to the first event on a node other than the one it was sent to"
	return s
}

// run implements meter.
func (s *streams) run(ctx context.Context) {
	var readers sync.WaitGroup
	for i, n := range s.network.nodes {
		admin := load.NewAdmin(n.Socket)
		readers.Go(func() {
			defer admin.Close()
			admin.Follow(ctx, func(e *load.Event) { s.take(i, e) })
		})
	}
	for load.Sleep(ctx, settleTime) {
		s.mu.Lock()
		s.tracker.Settle(time.Now().UnixNano())
		lag := s.tracker.Live().Lag
		s.mu.Unlock()
		s.counts.lag(lag)
	}
	readers.Wait()
}

func (s *streams) take(node int, e *load.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tracker.Take(node, e)
	if e.Type == "confirmed" && s.first > 0 && e.Slot >= s.first {
		s.confirmed[e.Slot] = struct{}{}
		s.top = max(s.top, e.Slot)
	}
}

// begin implements meter.
func (s *streams) begin(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first, s.last = s.slotAt(at)+1, 1<<63
	s.tracker.Begin(s.first)
}

// end implements meter.
func (s *streams) end(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = s.slotAt(at)
	s.tracker.End(s.last)
}

func (s *streams) slotTime() time.Duration {
	return ledger.TicksPerSlot * s.network.genesis.Params.TickDuration
}

func (s *streams) slotAt(at time.Time) ledger.Slot {
	return ledger.Slot(max(at.UnixNano()-s.network.genesis.T0, 0) / int64(s.slotTime()))
}

// Offered implements load.Journal.
func (s *streams) Offered(tx *load.Transfer, due time.Time, to int) {
	s.counts.offered(due, true)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tracker.Offer(tx.ID, due.UnixNano(), s.node[to])
}

// Unsent implements load.Journal.
func (s *streams) Unsent(id load.TxID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tracker.Unsent(id)
}

// quiet implements meter.
func (s *streams) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tracker.Quiet()
}

// progress implements meter.
func (s *streams) progress() (landed uint64, lag int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	live := s.tracker.Live()
	return live.Outcomes[bank.OK] + live.Outcomes[bank.Failed], live.Lag
}

// finish implements meter.
func (s *streams) finish() {
	lost := s.tracker.Live().Lost
	summary := s.tracker.Summary()
	// Of slots after the newest confirmed one nothing is known.
	if s.last > s.top && s.last-s.top >= silenceNote {
		s.counts.notes = append(s.counts.notes, fmt.Sprintf("when the load ended no block had been confirmed for %d slots", s.last-max(s.top, s.first-1)))
	}
	last := min(s.last, s.top)
	for slot := s.first; slot <= last; slot++ {
		s.counts.slots++
		if _, ok := s.confirmed[slot]; !ok {
			s.counts.skip(time.Unix(0, s.network.genesis.T0+int64(slot)*int64(s.slotTime())), 1)
		}
	}
	s.counts.mismatches = summary.BankHashMismatches
	if lost > 0 {
		s.counts.notes = append(s.counts.notes, fmt.Sprintf("%d events of nodes were not read in time: some transfers may have come further than is said here", lost))
	}
}
