package load

import (
	"maps"
	"slices"
	"time"

	"tutti/bank"
	"tutti/ledger"
	"tutti/node"
)

const (
	// settleSlots is how far below the newest confirmed slot a block's
	// numbers are taken as final: execution lags less than that.
	settleSlots = 64
	// offerAge is for how long a transaction can still be executed, with a
	// good margin: two lives of a blockhash.
	offerAge = 2 * time.Minute
	// recordSlack is how many slots above its own the last slot lies in which
	// a UserBlock can be recorded, and one more.
	recordSlack = 9
)

// Tracker follows what becomes of transactions and blocks through the events
// of all nodes, in whatever order those arrive. Its memory is bounded by what
// two minutes bring.
type Tracker struct {
	// Concluded, if it is set, is called with the fate of every transaction
	// once it is final.
	Concluded func(*Fate)

	nodes       int
	first, last ledger.Slot // the measured span
	filled      uint64      // confirmed blocks in it
	sum         Summary
	recorded    Histogram
	confirmed   Histogram
	executed    Histogram

	offers     map[TxID]*offer
	order      []*offer // of offers, the oldest first
	done       int      // offers that are executed or refused for all we know
	blocks     map[blockID]*block
	userBlocks map[UserBlock]*userBlock
	top        ledger.Slot // newest confirmed
	settled    ledger.Slot
	heads      []Event // newest of each node
	live       Live
}

// Live is what the display shows. Counters count from the start.
type Live struct {
	Slot, Confirmed, Executed ledger.Slot // the highest of any node
	Lag                       int         // the highest of any node
	Offered                   uint64
	Outcomes                  [bank.BadNonce + 1]uint64
	Refused                   uint64
	Mismatches                uint64
	Unwell                    int // nodes that are not healthy
	// Lanes counts, by lane, the UserBlocks that leader blocks named.
	Lanes map[ledger.Lane]uint64
	// Lost counts events that a node did not send because it was not read
	// fast enough.
	Lost uint64
}

type blockID struct {
	slot ledger.Slot
	id   string
}

// block is a leader block. The lists have an element for each node.
type block struct {
	blockID
	entries   []UserBlock
	seen      bool // entries is set
	isChain   bool // confirmed
	confirmed []int64
	executed  []int64
	hashes    []string
	outcomes  []byte
}

type userBlock struct {
	held  bool
	named bool // by a confirmed block
	txs   []TxID
	// recorded has, by the slot that records it, when each node saw that.
	recorded map[ledger.Slot][]int64
}

// offer is a transaction that was, or will be, sent.
type offer struct {
	id       TxID
	at       int64 // intended send time
	receiver int
	settled  bool
	done     bool
	unsent   bool
	held     bool
	refused  bool
	reason   string // of the refusal
	// best is the best outcome of an occurrence in a confirmed block, if
	// judged.
	judged bool
	best   bank.Outcome
	// When it was recorded, confirmed and executed: 0 if it was not.
	recorded, confirmed, executed int64
}

// NewTracker returns a Tracker of so many nodes.
func NewTracker(nodes int) *Tracker {
	t := &Tracker{
		nodes:      nodes,
		offers:     map[TxID]*offer{},
		blocks:     map[blockID]*block{},
		userBlocks: map[UserBlock]*userBlock{},
		heads:      make([]Event, nodes),
	}
	t.sum.Outcomes = NewOutcomes()
	t.sum.UserBlocksRecorded = map[ledger.Lane]uint64{}
	t.sum.Unwell = map[int]string{}
	t.live.Lanes = map[ledger.Lane]uint64{}
	return t
}

// Begin starts the measured span at a slot.
func (t *Tracker) Begin(first ledger.Slot) { t.first, t.last = first, 1<<63 }

// End says which slot of the measured span is the last one.
func (t *Tracker) End(last ledger.Slot) { t.last = last }

// Offer says that a transaction is to be sent at a time, in Unix
// nanoseconds, to the node with that number.
func (t *Tracker) Offer(id TxID, at int64, receiver int) {
	o := &offer{id: id, at: at, receiver: receiver}
	t.offers[id] = o
	t.order = append(t.order, o)
	t.sum.Offered++
	t.live.Offered++
}

// Unsent says that an offered transaction could not be sent.
func (t *Tracker) Unsent(id TxID) {
	if o := t.offers[id]; o != nil {
		o.unsent = true
		t.finish(o)
	}
}

// Take takes in an event of the node with that number.
func (t *Tracker) Take(from int, e *Event) {
	switch e.Type {
	case "held":
		u := t.userBlock(e.UserBlock)
		if u.held {
			return
		}
		u.held = true
		for txs := e.Txs; len(txs) >= 8; txs = txs[8:] {
			u.txs = append(u.txs, IDOf(txs))
			if o := t.offers[IDOf(txs)]; o != nil {
				o.held = true
			}
		}
	case "recorded":
		u := t.userBlock(e.UserBlock)
		if u.recorded[e.Slot] == nil {
			u.recorded[e.Slot] = make([]int64, t.nodes)
		}
		note(u.recorded[e.Slot], from, e.T)
	case "block":
		b := t.block(e)
		if b.seen {
			return
		}
		b.seen, b.entries = true, e.Entries
		for _, u := range e.Entries {
			t.live.Lanes[u.Lane]++
		}
	case "confirmed":
		b := t.block(e)
		b.isChain = true
		note(b.confirmed, from, e.T)
		t.top = max(t.top, e.Slot)
		t.live.Confirmed = max(t.live.Confirmed, e.Slot)
	case "executed":
		t.execute(from, e)
	case "refused":
		t.live.Refused++
		if len(e.Txs) >= 8 {
			if o := t.offers[IDOf(e.Txs)]; o != nil {
				o.refused, o.reason = true, e.Reason
				t.finish(o)
			}
		}
	case "head":
		t.heads[from] = *e
		t.live.Slot = max(t.live.Slot, e.Slot)
		t.live.Executed = max(t.live.Executed, e.Executed)
		t.live.Lag = 0
		for i := range t.heads {
			t.live.Lag = max(t.live.Lag, t.heads[i].Lag)
		}
	case "health":
		if e.Health == node.Healthy.String() {
			delete(t.sum.Unwell, from)
		} else {
			t.sum.Unwell[from] = e.Health
		}
		t.live.Unwell = len(t.sum.Unwell)
	case "lost":
		t.live.Lost += e.Count
	}
}

// note sets a node's time, the earliest if there are several.
func note(times []int64, node int, at int64) {
	if times[node] == 0 || at < times[node] {
		times[node] = at
	}
}

func (t *Tracker) block(e *Event) *block {
	id := blockID{e.Slot, e.ID}
	b := t.blocks[id]
	if b == nil {
		b = &block{
			blockID:   id,
			confirmed: make([]int64, t.nodes), executed: make([]int64, t.nodes), hashes: make([]string, t.nodes),
		}
		t.blocks[id] = b
	}
	return b
}

func (t *Tracker) userBlock(id UserBlock) *userBlock {
	u := t.userBlocks[id]
	if u == nil {
		u = &userBlock{recorded: map[ledger.Slot][]int64{}}
		t.userBlocks[id] = u
	}
	return u
}

func (t *Tracker) execute(node int, e *Event) {
	b := t.block(e)
	if i := slices.IndexFunc(b.hashes, func(h string) bool { return h != "" }); i < 0 {
		b.outcomes = e.Outcomes
		for id, outcome := range outcomesOf(b.outcomes) {
			if int(outcome) < len(t.live.Outcomes) {
				t.live.Outcomes[outcome]++
			}
			if o := t.offers[id]; o != nil && outcome.Processed() {
				t.finish(o)
			}
		}
	} else if b.hashes[i] != e.BankHash && b.hashes[node] != e.BankHash {
		t.sum.BankHashMismatches++
		t.live.Mismatches++
	}
	b.hashes[node] = e.BankHash
	note(b.executed, node, e.T)
}

// outcomesOf walks the outcomes of an executed block.
func outcomesOf(list []byte) func(yield func(TxID, bank.Outcome) bool) {
	return func(yield func(TxID, bank.Outcome) bool) {
		for ; len(list) >= 9; list = list[9:] {
			if !yield(IDOf(list), bank.Outcome(list[8])) {
				return
			}
		}
	}
}

func (t *Tracker) finish(o *offer) {
	if !o.done {
		o.done = true
		t.done++
	}
}

// Quiet tells whether every transaction is executed or refused, and all nodes
// have confirmed and executed the measured span.
func (t *Tracker) Quiet() bool {
	for i := range t.heads {
		if t.heads[i].Confirmed < t.last || t.heads[i].Executed < t.last {
			return false
		}
	}
	return t.done == len(t.offers)
}

// Live returns what the display shows.
func (t *Tracker) Live() Live {
	live := t.live
	live.Lanes = maps.Clone(t.live.Lanes)
	return live
}

// Executed returns how many transactions were executed, with whatever outcome.
func (t *Tracker) Executed() (n uint64) {
	for _, of := range t.live.Outcomes {
		n += of
	}
	return n
}

// Settle takes the numbers of old blocks and transactions as final and
// forgets those. now is in Unix nanoseconds.
func (t *Tracker) Settle(now int64) {
	if t.top > settleSlots {
		t.settle(t.top - settleSlots)
		t.forgetUserBlocks(false)
	}
	n := 0
	for n < len(t.order) && (t.order[n].settled || now-t.order[n].at > int64(offerAge)) {
		t.conclude(t.order[n])
		n++
	}
	t.order = slices.Delete(t.order, 0, n)
}

// Summary settles everything and returns the numbers. The Tracker is not
// used any more.
func (t *Tracker) Summary() Summary {
	// Without an end the span reaches to the newest confirmed block: of the
	// slots after it nothing is known yet.
	t.last = min(t.last, t.top)
	t.settle(t.top)
	t.forgetUserBlocks(true)
	for _, u := range t.userBlocks {
		t.noteRecorded(u)
	}
	for _, o := range t.order {
		t.conclude(o)
	}
	s := &t.sum
	s.ExecutedOK, s.ExecutedFailed, s.Duplicate = s.Endings[OK], s.Endings[Failed], s.Endings[Duplicate]
	s.Unpayable, s.BadSignature, s.Refused, s.Lost = s.Endings[Unpayable], s.Endings[BadSignature], s.Endings[Refused], s.lost()
	if t.last >= t.first {
		s.Slots = uint64(t.last-t.first) + 1
		s.SkippedSlots = s.Slots - t.filled
	}
	s.LatencyMS.Recorded = t.recorded.Quantiles()
	s.LatencyMS.Confirmed = t.confirmed.Quantiles()
	s.LatencyMS.Executed = t.executed.Quantiles()
	return *s
}

// settle takes in the confirmed blocks up to a slot, and forgets all blocks
// up to there.
func (t *Tracker) settle(limit ledger.Slot) {
	if limit <= t.settled {
		return
	}
	var chain []*block
	for id, b := range t.blocks {
		if id.slot > limit {
			continue
		}
		delete(t.blocks, id)
		if b.isChain && id.slot > t.settled {
			chain = append(chain, b)
		}
	}
	slices.SortFunc(chain, func(a, b *block) int { return int(a.slot) - int(b.slot) })
	for _, b := range chain {
		t.settleBlock(b)
	}
	t.settled = limit
}

// forgetUserBlocks counts UserBlocks that were missed, and forgets those that
// no block above the settled ones can name.
func (t *Tracker) forgetUserBlocks(final bool) {
	for id, u := range t.userBlocks {
		slot := id.U.Slot()
		old := slot+recordSlack <= t.settled
		if !old && !final {
			continue
		}
		// A confirmed block after its time has decided.
		if (id.U+1).Slot() <= t.top && u.held && !u.named && t.inSpan(slot) {
			t.sum.UserBlocksMissed++
		}
		if old {
			delete(t.userBlocks, id)
		}
	}
}

func (t *Tracker) inSpan(s ledger.Slot) bool { return t.first <= s && s <= t.last }

func (t *Tracker) settleBlock(b *block) {
	if t.inSpan(b.slot) {
		t.filled++
		if n := uint64(t.nodes - count(b.hashes, "")); n > 1 {
			t.sum.BankHashesCompared += n
		}
	}
	for _, id := range b.entries {
		u := t.userBlock(id)
		u.named = true
		if t.inSpan(b.slot) {
			t.sum.UserBlocksRecorded[id.Lane]++
		}
		for _, tx := range u.txs {
			if o := t.offers[tx]; o != nil && o.confirmed == 0 {
				o.recorded = t.earliest(u.recorded[b.slot], o.receiver)
				o.confirmed = t.earliest(b.confirmed, o.receiver)
			}
		}
	}
	for id, outcome := range outcomesOf(b.outcomes) {
		o := t.offers[id]
		if o == nil || o.judged && o.best.Processed() || outcome > bank.Unpayable {
			continue
		}
		if outcome.Processed() {
			o.executed = t.earliest(b.executed, o.receiver)
		}
		if !o.judged || outcome.Processed() || outcome != bank.Duplicate {
			o.judged, o.best = true, outcome
		}
		if outcome.Processed() {
			t.conclude(o)
		}
	}
}

// noteRecorded takes in a UserBlock that is recorded, perhaps in a block that
// is not confirmed yet.
func (t *Tracker) noteRecorded(u *userBlock) {
	for _, times := range u.recorded {
		for _, tx := range u.txs {
			if o := t.offers[tx]; o != nil {
				if at := t.earliest(times, o.receiver); at != 0 && (o.recorded == 0 || at < o.recorded) {
					o.recorded = at
				}
			}
		}
	}
}

// earliest returns the first time on a node other than the receiver, which
// counts only if there is no other. 0 means never.
func (t *Tracker) earliest(times []int64, receiver int) (first int64) {
	for node, at := range times {
		if at != 0 && (node != receiver || t.nodes == 1) && (first == 0 || at < first) {
			first = at
		}
	}
	return first
}

func count[T comparable](list []T, x T) (n int) {
	for _, y := range list {
		if x == y {
			n++
		}
	}
	return n
}

// conclude counts a transaction by what is known of it, and forgets it.
func (t *Tracker) conclude(o *offer) {
	if o.settled {
		return
	}
	o.settled = true
	delete(t.offers, o.id)
	if o.done {
		t.done--
	}
	fate := o.fate()
	t.sum.Add(&fate)
	for _, x := range []struct {
		at    int64
		count *uint64
		to    *Histogram
	}{
		{o.recorded, &t.sum.Recorded, &t.recorded},
		{o.confirmed, &t.sum.Confirmed, &t.confirmed},
		{o.executed, new(uint64), &t.executed},
	} {
		latency := LatencyMax
		if x.at != 0 {
			*x.count++
			latency = time.Duration(x.at - o.at)
		}
		x.to.Add(latency)
	}
	if t.Concluded != nil {
		t.Concluded(&fate)
	}
}

func (o *offer) fate() Fate {
	return Fate{
		ID: o.id, At: o.at, Accepted: o.held || o.judged || o.recorded != 0,
		Recorded: o.recorded, Confirmed: o.confirmed, Executed: o.executed,
		Ending: o.ending(), Reason: o.reason,
	}
}

func (o *offer) ending() Ending {
	if o.judged {
		switch o.best {
		case bank.OK:
			return OK
		case bank.Failed:
			return Failed
		case bank.Duplicate:
			return Duplicate
		case bank.BadSignature:
			return BadSignature
		case bank.Unpayable:
			return Unpayable
		}
	}
	switch {
	case o.refused:
		return Refused
	case o.unsent:
		return Unsent
	case o.recorded != 0:
		return Unexecuted
	case o.held:
		return Unrecorded
	}
	return Unheard
}
