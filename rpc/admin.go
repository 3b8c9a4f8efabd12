package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime/metrics"
	"sync"
	"time"

	"tutti/ledger"
	"tutti/node"
)

const (
	// eventsMax bounds the lines that wait for a reader of /events. What is
	// beyond is lost to that reader, who is told how much.
	eventsMax = 4096
	// reasonsMax bounds the reasons that are counted apart.
	reasonsMax = 128
)

// Admin tells tools on the same machine what a node does, over HTTP on a
// Unix socket that only the node's user can open: GET /events is a stream of
// JSON lines, GET /stats one object of counters. See event and Stats for what
// they hold. GET /debug/pprof/ is that of package net/http/pprof, GET /metrics
// for Prometheus.
type Admin struct {
	// Counters returns what /stats says about connections, and about clients'
	// transactions that were dropped, if it is set: it is not changed after Run
	// begins.
	Counters func() (network, dropped map[string]uint64)
	// Metrics answers GET /metrics if it is set before Run begins.
	Metrics http.Handler

	path string
	l    net.Listener

	mu      sync.Mutex
	readers map[*eventReader]struct{}
	stats   Stats
}

// NewAdmin returns an Admin for a socket at path, which Run will open.
func NewAdmin(path string) *Admin {
	return &Admin{path: path, readers: map[*eventReader]struct{}{}, stats: newStats()}
}

// Stats counts what a node has reported since it started.
type Stats struct {
	Shreds struct {
		// ByDepth counts by the depth in its Turbine tree at which this node
		// received a shred from there.
		ByDepth map[int]uint64 `json:"by_depth"`
		// ByLane counts the same by lane and depth; leader blocks' are under
		// "leader".
		ByLane   map[string]map[int]uint64 `json:"by_lane"`
		Repaired uint64                    `json:"repaired"`
	} `json:"shreds"`
	Sets struct {
		Completed uint64 `json:"completed"`
		Recovered uint64 `json:"recovered"` // with data shreds rebuilt from coding ones
		Rebuilt   uint64 `json:"rebuilt"`   // data shreds
	} `json:"sets"`
	// Egress counts what this node sent of its own UserBlocks.
	Egress struct {
		ShredsMade   uint64 `json:"shreds_made"`
		ShredsSent   uint64 `json:"shreds_sent"`
		LeaderCopies uint64 `json:"leader_copies"` // of those sent: beside the trees' roots
	} `json:"egress"`
	SignaturesVerified uint64 `json:"signatures_verified"`
	UserBlocks         struct {
		Held       uint64                 `json:"held"`
		Own        uint64                 `json:"own"`
		Rejected   uint64                 `json:"rejected"`
		RecordedBy map[ledger.Lane]uint64 `json:"recorded_by_lane"`
	} `json:"user_blocks"`
	Blocks struct {
		Held      uint64 `json:"held"`
		Own       uint64 `json:"own"`
		Rejected  uint64 `json:"rejected"`
		Confirmed uint64 `json:"confirmed"`
		Rooted    uint64 `json:"rooted"`
		Executed  uint64 `json:"executed"`
	} `json:"blocks"`
	Votes struct {
		Own  uint64 `json:"own"`
		Seen uint64 `json:"seen"`
	} `json:"votes"`
	Transactions struct {
		Accepted uint64            `json:"accepted"`
		Refused  map[string]uint64 `json:"refused"` // by reason
		// Dropped are those of clients over QUIC that did not come as far as the
		// pool, by reason: nobody is told.
		Dropped   map[string]uint64 `json:"dropped,omitempty"`
		ByOutcome map[string]uint64 `json:"by_outcome"` // of executed blocks
	} `json:"transactions"`
	Dropped      map[string]uint64 `json:"dropped"` // peers' traffic, by what and why
	Equivocators uint64            `json:"equivocators"`
	Mismatches   uint64            `json:"mismatches"`
	// Health is node.Health in words, WentBack how often blocks were executed
	// again.
	Health     string `json:"health"`
	WentBack   uint64 `json:"went_back"`
	EventsLost uint64 `json:"events_lost"`
	// HeapLive is what the newest garbage collection has left, in bytes.
	HeapLive uint64 `json:"heap_live_bytes"`
	// Network is the endpoint's, by counter.
	Network map[string]uint64 `json:"network,omitempty"`
}

func newStats() Stats {
	var s Stats
	s.Shreds.ByDepth = map[int]uint64{}
	s.Shreds.ByLane = map[string]map[int]uint64{}
	s.UserBlocks.RecordedBy = map[ledger.Lane]uint64{}
	s.Transactions.Refused = map[string]uint64{}
	s.Transactions.ByOutcome = map[string]uint64{}
	s.Dropped = map[string]uint64{}
	s.Health = node.Healthy.String()
	return s
}

// count counts a reason, under "other" if there are too many of them.
func count(reasons map[string]uint64, reason string) {
	if _, ok := reasons[reason]; !ok && len(reasons) >= reasonsMax {
		reason = "other"
	}
	reasons[reason]++
}

func (s *Stats) take(report any) {
	switch r := report.(type) {
	case node.Accepted:
		s.Transactions.Accepted++
	case node.Refused:
		count(s.Transactions.Refused, r.Err.Error())
	case node.Dropped:
		count(s.Dropped, r.What+": "+r.Reason)
	case node.ShredSeen:
		s.takeShred(r)
	case node.Broadcast:
		if r.Key.IsUser() {
			s.Egress.ShredsMade += uint64(r.Made)
			s.Egress.ShredsSent += uint64(r.Roots + r.Copies)
			s.Egress.LeaderCopies += uint64(r.Copies)
		}
	case node.SetCompleted:
		s.Sets.Completed++
		if r.Recovered > 0 {
			s.Sets.Recovered++
			s.Sets.Rebuilt += uint64(r.Recovered)
		}
	case node.UserBlockHeld:
		s.UserBlocks.Held++
		if r.Own {
			s.UserBlocks.Own++
		}
	case node.UserBlockVerified:
		s.SignaturesVerified += uint64(r.Verified)
	case node.UserBlockRejected:
		s.UserBlocks.Rejected++
	case node.UserBlockRecorded:
		s.UserBlocks.RecordedBy[r.Ref.Lane]++
	case node.BlockHeld:
		s.Blocks.Held++
		s.SignaturesVerified += uint64(r.Verified)
		if r.Own {
			s.Blocks.Own++
		}
	case node.BlockRejected:
		s.Blocks.Rejected++
	case node.Confirmed:
		s.Blocks.Confirmed++
	case node.Rooted:
		s.Blocks.Rooted++
	case node.Voted:
		s.Votes.Own++
	case node.VoteSeen:
		s.Votes.Seen++
	case node.BankComputed:
		s.Blocks.Executed++
		for i := range r.Result.Receipts {
			s.Transactions.ByOutcome[r.Result.Receipts[i].Outcome.String()]++
		}
	case node.Equivocated:
		s.Equivocators++
	case node.Mismatched:
		s.Mismatches++
	case node.WentBack:
		s.WentBack++
	case node.HealthChanged:
		s.Health = r.Health.String()
	}
}

func (s *Stats) takeShred(r node.ShredSeen) {
	if r.Repaired {
		s.Shreds.Repaired++
		return
	}
	lane := "leader"
	if r.Key.IsUser() {
		_, l := r.Key.User()
		lane = fmt.Sprint(l)
	}
	if s.Shreds.ByLane[lane] == nil {
		s.Shreds.ByLane[lane] = map[int]uint64{}
	}
	s.Shreds.ByLane[lane][r.Depth]++
	s.Shreds.ByDepth[r.Depth]++
}

// event is a line of /events. T is when it happened, in Unix nanoseconds;
// ids and hashes are in base58.
type event struct {
	T    int64  `json:"t"`
	Type string `json:"type"`
}

// The events, by their type.
type (
	// held: a UserBlock. Txs is base64 of the first 8 bytes of each
	// transaction's first signature.
	heldEvent struct {
		event
		userRef
		Own bool   `json:"own"`
		Txs []byte `json:"txs"`
	}
	// recorded: a UserBlock's entry stands in the heaviest leader block.
	recordedEvent struct {
		event
		Slot ledger.Slot `json:"slot"`
		userRef
	}
	// block: a leader block is held and its rules hold.
	blockEvent struct {
		event
		blockRef
		ParentSlot ledger.Slot `json:"parent_slot"`
		Parent     string      `json:"parent"`
		Height     uint64      `json:"height"`
		Entries    []userRef   `json:"entries"`
		Votes      int         `json:"votes"`
		Own        bool        `json:"own"`
	}
	// confirmed, rooted, finalized: a leader block.
	blockRefEvent struct {
		event
		blockRef
	}
	// voted: this node's vote.
	votedEvent struct {
		event
		blockRef
		BankSlot ledger.Slot `json:"bank_slot"`
		BankHash string      `json:"bank_hash"`
	}
	// vote: a vote that this node counts, its own or another's, with the tower
	// that it shows: slots and confirmations, oldest first.
	voteEvent struct {
		event
		Voter string `json:"voter"`
		blockRef
		Root     ledger.Slot `json:"root"`
		Lockouts [][2]uint64 `json:"lockouts"`
	}
	// executed: Outcomes is base64 of 9 bytes for each receipt: the first 8
	// of the transaction's first signature, and the outcome.
	executedEvent struct {
		event
		blockRef
		BankHash string `json:"bank_hash"`
		Outcomes []byte `json:"outcomes"`
	}
	// agreed: the newest slots with whose BankHash more than a third and more
	// than two thirds of the stake agree.
	agreedEvent struct {
		event
		Third     ledger.Slot `json:"third"`
		TwoThirds ledger.Slot `json:"two_thirds"`
	}
	// mismatch: a voter's BankHash is not this node's.
	mismatchEvent struct {
		event
		Slot  ledger.Slot `json:"slot"`
		Own   string      `json:"own"`
		Other string      `json:"other"`
		Voter string      `json:"voter"`
	}
	// health: the node stops voting, or votes again. Cause is set if it has
	// stopped; the block is the one that the cluster disagrees on.
	healthEvent struct {
		event
		blockRef
		Health   string          `json:"health"`
		Cause    string          `json:"cause,omitempty"`
		BankHash string          `json:"bank_hash"`
		With     ledger.Lamports `json:"with"`
		Against  ledger.Lamports `json:"against"`
		Stake    ledger.Lamports `json:"stake"`
	}
	// back: the node executes again what comes after the block, because its
	// BankHash of slot Wrong is wrong.
	backEvent struct {
		event
		blockRef
		Wrong ledger.Slot `json:"wrong"`
		Own   string      `json:"own"`
		Other string      `json:"other"`
		Try   int         `json:"try"`
	}
	// equivocated: a proof of two blocks under one key.
	equivocatedEvent struct {
		event
		Key    string `json:"key"`
		Signer string `json:"signer"`
	}
	// rejected: a block or UserBlock that breaks a rule.
	rejectedEvent struct {
		event
		Block  string `json:"block"`
		Reason string `json:"reason"`
	}
	// refused: a client's transaction. Txs is base64 of the first 8 bytes of
	// its first signature.
	refusedEvent struct {
		event
		Txs    []byte `json:"txs"`
		Reason string `json:"reason"`
	}
	// head: the state that is asked for most.
	headEvent struct {
		event
		Slot      ledger.Slot `json:"slot"`
		Height    uint64      `json:"height"`
		Confirmed ledger.Slot `json:"confirmed"`
		Executed  ledger.Slot `json:"executed"`
		Root      ledger.Slot `json:"root"`
		Finalized ledger.Slot `json:"finalized"`
		Lag       int         `json:"lag"`
		Pool      int         `json:"pool"`
	}
	// lost: so many events before this one.
	lostEvent struct {
		event
		Count uint64 `json:"count"`
	}
)

type userRef struct {
	U    ledger.UserSlot `json:"u"`
	Lane ledger.Lane     `json:"lane"`
	ID   string          `json:"id"`
}

type blockRef struct {
	Slot ledger.Slot `json:"slot"`
	ID   string      `json:"id"`
}

func refOfUser(r ledger.UserBlockRef) userRef { return userRef{r.U, r.Lane, r.ID.String()} }
func refOf(r ledger.BlockRef) blockRef        { return blockRef{r.Slot, r.ID.String()} }

// eventOf returns the event of a report, nil if it has none.
func eventOf(now time.Time, report any) any {
	e := func(name string) event { return event{now.UnixNano(), name} }
	switch r := report.(type) {
	case node.UserBlockHeld:
		txs := make([]byte, 0, 8*len(r.Block.Transactions))
		for i := range r.Block.Transactions {
			txs = append(txs, r.Block.Transactions[i].SignatureBytes(0)[:8]...)
		}
		return heldEvent{e("held"), refOfUser(r.Block.Ref), r.Own, txs}
	case node.UserBlockRecorded:
		return recordedEvent{e("recorded"), r.Slot, refOfUser(r.Ref)}
	case node.BlockHeld:
		entries := make([]userRef, len(r.Entries))
		for i, ref := range r.Entries {
			entries[i] = refOfUser(ref)
		}
		return blockEvent{e("block"), refOf(r.Block), r.Parent.Slot, r.Parent.ID.String(), r.Height, entries, r.Votes, r.Own}
	case node.Confirmed:
		return blockRefEvent{e("confirmed"), refOf(r.Block)}
	case node.Rooted:
		return blockRefEvent{e("rooted"), refOf(r.Block)}
	case node.Voted:
		return votedEvent{e("voted"), refOf(r.Block), r.BankSlot, r.BankHash.String()}
	case node.VoteSeen:
		lockouts := make([][2]uint64, len(r.Lockouts))
		for i, l := range r.Lockouts {
			lockouts[i] = [2]uint64{uint64(l.Slot), uint64(l.Confirmations)}
		}
		return voteEvent{e("vote"), r.Voter.String(), refOf(r.Block), r.Root, lockouts}
	case node.BankComputed:
		outcomes := make([]byte, 0, 9*len(r.Result.Receipts))
		for i := range r.Result.Receipts {
			receipt := &r.Result.Receipts[i]
			outcomes = append(append(outcomes, receipt.Signature[:8]...), byte(receipt.Outcome))
		}
		return executedEvent{e("executed"), refOf(r.Result.Ref), r.Result.BankHash.String(), outcomes}
	case node.Agreed:
		return agreedEvent{e("agreed"), r.Third, r.TwoThirds}
	case node.Finalized:
		return blockRefEvent{e("finalized"), refOf(r.Block)}
	case node.Mismatched:
		return mismatchEvent{e("mismatch"), r.Slot, r.Own.String(), r.Other.String(), r.Voter.String()}
	case node.HealthChanged:
		return healthEvent{
			e("health"), refOf(r.Block), r.Health.String(), r.Cause, r.Own.String(),
			r.Sums.With, r.Sums.Against, r.Sums.Total,
		}
	case node.WentBack:
		return backEvent{e("back"), refOf(r.To), r.Wrong.Slot, r.Own.String(), r.Other.String(), r.Try}
	case node.Equivocated:
		return equivocatedEvent{e("equivocated"), r.Key.String(), r.Signer.String()}
	case node.BlockRejected:
		return rejectedEvent{e("rejected"), r.Block.String(), r.Err.Error()}
	case node.UserBlockRejected:
		return rejectedEvent{e("rejected"), r.Ref.String(), r.Err.Error()}
	case node.Refused:
		return refusedEvent{e("refused"), r.Signature[:8], r.Err.Error()}
	case node.Head:
		return headEvent{e("head"), r.Slot, r.Height, r.Confirmed, r.Executed, r.Root, r.Finalized, r.Lag, r.Pool}
	}
	return nil
}

// eventReader is a client of /events.
type eventReader struct {
	lines chan []byte
	lost  uint64 // guarded by Admin.mu
}

// Apply takes in a report of the node. It never waits for a reader.
func (a *Admin) Apply(now time.Time, report any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.take(report)
	if len(a.readers) == 0 {
		return
	}
	e := eventOf(now, report)
	if e == nil {
		return
	}
	line := appendLine(e)
	for r := range a.readers {
		if r.lost > 0 && r.offer(appendLine(lostEvent{event{now.UnixNano(), "lost"}, r.lost})) {
			r.lost = 0
		}
		if r.lost > 0 || !r.offer(line) {
			r.lost++
			a.stats.EventsLost++
		}
	}
}

func appendLine(e any) []byte {
	b, err := encode(e)
	if err != nil {
		panic(fmt.Sprintf("rpc: event does not encode: %v", err))
	}
	return append(b, '\n')
}

func (r *eventReader) offer(line []byte) bool {
	select {
	case r.lines <- line:
		return true
	default:
		return false
	}
}

// Listen opens the socket, so that a caller learns early that another node
// has it. Run does it otherwise.
func (a *Admin) Listen() error {
	if err := removeStale(a.path); err != nil {
		return err
	}
	l, err := net.Listen("unix", a.path)
	if err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	if err := os.Chmod(a.path, 0o600); err != nil {
		l.Close()
		return fmt.Errorf("admin socket: %w", err)
	}
	a.l = l
	return nil
}

// Run serves until ctx is done, which is no error. The socket is removed at
// the end.
func (a *Admin) Run(ctx context.Context) error {
	if a.l == nil {
		if err := a.Listen(); err != nil {
			return err
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", a.serveEvents)
	mux.HandleFunc("GET /stats", a.serveStats)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	if a.Metrics != nil {
		mux.Handle("GET /metrics", a.Metrics)
	}
	return serve(ctx, a.l, mux)
}

// removeStale removes the socket of a node that was killed. That of a node
// that runs is an error.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("admin socket: %s is there and is no socket", path)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return fmt.Errorf("admin socket: %s belongs to a node that is running", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	return nil
}

func (a *Admin) serveStats(w http.ResponseWriter, _ *http.Request) {
	var network, dropped map[string]uint64
	if a.Counters != nil {
		network, dropped = a.Counters()
	}
	a.mu.Lock()
	stats := a.stats
	stats.Network, stats.Transactions.Dropped = network, dropped
	stats.HeapLive = heapLive()
	body := appendLine(stats)
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

func heapLive() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func (a *Admin) serveEvents(w http.ResponseWriter, r *http.Request) {
	reader := &eventReader{lines: make(chan []byte, eventsMax)}
	a.mu.Lock()
	a.readers[reader] = struct{}{}
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.readers, reader)
		a.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := http.NewResponseController(w)
	// The header goes out at once: what happens from now on is in the stream.
	for line := []byte(nil); ; {
		if out.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
			return
		}
		if _, err := w.Write(line); err != nil {
			return
		}
		if len(reader.lines) == 0 && out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case line = <-reader.lines:
		}
	}
}
