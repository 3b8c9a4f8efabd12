package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"tutti/cmd/tutti/load"
	"tutti/ledger"
)

const (
	// sampleRate is about how many transfers of a second are followed.
	sampleRate = 200
	// sampleTime is how often nodes are asked, and statusesMax about how many
	// transfers at once.
	sampleTime  = 200 * time.Millisecond
	statusesMax = 256
)

// sampler follows some of the transfers by asking the nodes for their status
// again and again.
type sampler struct {
	network *network
	counts  *counts
	turn    int // of the node that is asked next

	mu      sync.Mutex
	numbers []uint64 // offered so far, by step
	pending map[load.TxID]*sample
	order   []*sample // pending, the oldest first, and some that are over
	landed  uint64
	span    bool // between begin and end
	chain   chainHeight
}

// sample is a followed transfer.
type sample struct {
	id        load.TxID
	signature string
	fate      load.Fate
	over      bool
}

// chainHeight is how far the confirmed chain is.
type chainHeight struct {
	Slot   ledger.Slot `json:"absoluteSlot"`
	Height uint64      `json:"blockHeight"`
}

func newSampler(c *network, counts *counts, share load.Share) *sampler {
	s := &sampler{network: c, counts: counts, numbers: make([]uint64, len(counts.steps)), pending: map[load.TxID]*sample{}}
	counts.method = fmt.Sprintf("up to about %d transfers of a second, by asking the nodes in turn for their status every %v: latencies are too long by up to that", sampleRate, sampleTime)
	counts.notes = append(counts.notes,
		"by JSON-RPC nobody sees why a transfer that was recorded changed nothing: duplicates and unpayable ones count as recorded, but not executed",
		"confirmed is Solana's commitment, confirmed and executed by two thirds, for transfers that were executed before they were confirmed",
		"lag is not known by JSON-RPC")
	for k, step := range counts.steps {
		own := (uint64(step.Rate) + share.Of - 1) / share.Of
		counts.levels[k].every = (own + sampleRate - 1) / sampleRate
	}
	return s
}

// run implements meter.
func (s *sampler) run(ctx context.Context) {
	var heights sync.WaitGroup
	heights.Go(func() {
		for load.Sleep(ctx, time.Second) {
			s.askHeight(ctx)
		}
	})
	for load.Sleep(ctx, sampleTime) {
		s.ask(ctx)
	}
	heights.Wait()
}

// ask asks a node about all transfers that are under way.
func (s *sampler) ask(ctx context.Context) {
	s.mu.Lock()
	n := 0
	for _, x := range s.order {
		if !x.over {
			s.order[n] = x
			n++
		}
	}
	clear(s.order[n:])
	s.order = s.order[:n]
	list := append([]*sample(nil), s.order...)
	url := s.network.urls[s.turn%len(s.network.urls)]
	s.turn++
	s.mu.Unlock()
	for len(list) > 0 && ctx.Err() == nil {
		part := list[:min(len(list), statusesMax)]
		list = list[len(part):]
		s.askAbout(ctx, url, part)
	}
}

// statuses is the answer of getSignatureStatuses, as far as it is used.
type statuses struct {
	Value  []*status
	Levels []*string
}

type status struct {
	Err                json.RawMessage
	ConfirmationStatus string
}

func (s *sampler) askAbout(ctx context.Context, url string, list []*sample) {
	signatures := make([]string, len(list))
	for i, x := range list {
		signatures[i] = x.signature
	}
	var answer statuses
	params := `[["` + strings.Join(signatures, `","`) + `"]]`
	if load.Call(ctx, url, "getSignatureStatuses", params, &answer) != nil || len(answer.Value) != len(list) {
		return // the next node may answer
	}
	now := time.Now().UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range list {
		level := ""
		if i < len(answer.Levels) && answer.Levels[i] != nil {
			level = *answer.Levels[i]
		}
		s.take(x, now, level, answer.Value[i])
	}
}

// take takes in what a node says about a transfer.
func (s *sampler) take(x *sample, now int64, level string, status *status) {
	if x.over {
		return
	}
	f := &x.fate
	set := func(at *int64) {
		if *at == 0 {
			*at = now
		}
	}
	f.Accepted = f.Accepted || level != "" || status != nil
	if level == "confirmed" || status != nil && status.ConfirmationStatus != "processed" {
		set(&f.Recorded)
		set(&f.Confirmed)
	}
	if level == "recorded" {
		set(&f.Recorded)
	}
	if status != nil && f.Executed == 0 {
		set(&f.Recorded)
		f.Executed, f.Ending = now, load.OK
		if len(status.Err) > 0 && string(status.Err) != "null" {
			f.Ending = load.Failed
		}
		s.landed += s.counts.levels[s.counts.step(time.Unix(0, f.At))].every
	}
	if f.Executed != 0 && f.Confirmed != 0 || now-f.At > int64(load.LatencyMax) {
		s.conclude(x)
	}
}

// conclude counts a transfer by what is known of it.
func (s *sampler) conclude(x *sample) {
	f := &x.fate
	switch {
	case f.Ending != "":
	case f.Recorded != 0:
		f.Ending = load.Unexecuted
	case f.Accepted:
		f.Ending = load.Unrecorded
	default:
		f.Ending = load.Unheard
	}
	x.over = true
	delete(s.pending, x.id)
	s.counts.conclude(f)
}

// askHeight counts the slots without a block on the confirmed chain.
func (s *sampler) askHeight(ctx context.Context) {
	var now chainHeight
	if s.network.call(ctx, "getEpochInfo", `[{"commitment":"confirmed"}]`, &now) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.chain
	if now.Slot < before.Slot || now.Height < before.Height {
		return // another node, which is behind
	}
	s.chain = now
	if slots, blocks := uint64(now.Slot-before.Slot), now.Height-before.Height; s.span && before.Slot > 0 && slots >= blocks {
		s.counts.slots += slots
		s.counts.skip(time.Now(), slots-blocks)
	}
}

// begin implements meter.
func (s *sampler) begin(time.Time) { s.setSpan(true) }

// end implements meter.
func (s *sampler) end(time.Time) { s.setSpan(false) }

func (s *sampler) setSpan(span bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.span = span
}

// Offered implements load.Journal.
func (s *sampler) Offered(tx *load.Transfer, due time.Time, _ int) {
	k := s.counts.step(due)
	followed := s.numbers[k]%s.counts.levels[k].every == 0
	s.numbers[k]++
	s.counts.offered(due, followed)
	if !followed {
		return
	}
	x := &sample{id: tx.ID, signature: tx.Signature().String(), fate: load.Fate{At: due.UnixNano()}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending[x.id] = x
	s.order = append(s.order, x)
}

// Unsent implements load.Journal.
func (s *sampler) Unsent(id load.TxID) { s.fail(id, load.Unsent, "") }

// refused implements refuser.
func (s *sampler) refused(id load.TxID, reason string) { s.fail(id, load.Refused, reason) }

func (s *sampler) fail(id load.TxID, e load.Ending, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.pending[id]; x != nil && x.fate.Executed == 0 {
		x.fate.Ending, x.fate.Reason = e, reason
		s.conclude(x)
	}
}

// quiet implements meter.
func (s *sampler) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) == 0
}

// progress implements meter.
func (s *sampler) progress() (landed uint64, lag int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.landed, -1
}

// finish implements meter.
func (s *sampler) finish() {
	for _, x := range s.order {
		if !x.over {
			s.conclude(x)
		}
	}
}
