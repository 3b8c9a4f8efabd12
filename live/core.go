package live

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"tutti/ledger"
	"tutti/live/store"
	"tutti/node"
	"tutti/repair"
	"tutti/shred"
)

// Bounds of the core's queues.
const (
	// InboxMax bounds messages from peers that wait for the core; more are
	// dropped.
	InboxMax = 16_384
	// ClientInboxMax bounds clients' transactions that wait for the core; more
	// are refused.
	ClientInboxMax = 8192
	// answersMax bounds peers' repair requests that wait for the store.
	answersMax = 1024

	// While more than this waits behind the core, it takes no messages from
	// peers, and so their inbox fills and drops.
	jobsBusy    = 256
	heldBusy    = 16_384
	backlogBusy = 64 << 20 // bytes

	roundMax = 64 // events of one kind between two looks at the others
)

// core owns the node: it feeds it events and carries out its effects.
type core struct {
	*Live
	node *node.Node

	// Effects behind a Save wait until it is durable; other Saves and the
	// node itself do not.
	held      []heldEffect
	saves     uint64 // issued that are not Lazy
	durable   atomic.Uint64
	becameSo  chan struct{}
	jobs      *queue[node.Job]
	verifying *queue[node.SignatureJob]
	answers   *queue[node.Answer]
	results   *queue[node.Event]
	peers     *queue[node.Event] // Received and Met
	clients   *queue[node.Submitted]
	busyCount atomic.Uint64

	askedPeers time.Time // when the endpoint was last asked for how long frames wait
}

// heldEffect waits for that many Saves to be durable.
type heldEffect struct {
	saves  uint64
	effect node.Effect
}

// run steps the node until ctx ends. Time is read from the clock for each
// event; how often the timer fires means nothing.
func (c *core) run(ctx context.Context) error {
	if err := c.replay(ctx); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var results []node.Event
	var peers []node.Event
	var clients []node.Submitted
	for {
		peersReady := c.peers.ready
		if c.busy() {
			peersReady = nil
			c.busyCount.Add(1)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-c.becameSo:
		case <-c.results.ready:
		case <-c.clients.ready:
		case <-peersReady:
			peers = c.peers.take(peers[:0], roundMax)
		}
		c.observeLoad()
		c.release()
		results = c.results.take(results[:0], roundMax)
		for _, ev := range results {
			c.step(ev)
		}
		for _, ev := range peers {
			c.step(ev)
		}
		clients = c.clients.take(clients[:0], roundMax)
		for _, ev := range clients {
			c.step(ev)
		}
		clear(results)
		clear(peers)
		clear(clients)
		peers = peers[:0]
		if !time.Now().Before(c.node.Wake()) {
			c.step(node.Tick{})
		}
		// A millisecond at least: what is due earlier was due just now.
		timer.Reset(max(time.Until(c.node.Wake()), time.Millisecond))
	}
}

// observeLoad tells the throttle how late the node is, or what it sends, and that it
// is if signatures wait for long.
func (c *core) observeLoad() {
	now := time.Now()
	late := max(0, now.Sub(c.node.Wake()))
	if !c.node.Wake().IsZero() { // it has begun
		c.metrics.late.Observe(late.Seconds())
	}
	if now.Sub(c.askedPeers) >= throttlePeriod/4 {
		c.askedPeers = now
		late = max(late, c.endpoint.Waiting())
	}
	if c.verifying.len() > verifyingBusy {
		late = max(late, 2*lateMax)
	}
	c.throttle.note(late)
}

// busy tells whether too much waits behind the core to take more from peers.
func (c *core) busy() bool {
	return len(c.held) > heldBusy || c.jobs.len() > jobsBusy || c.store.Backlog() > backlogBusy
}

// replay gives the node the sets that an earlier run stored, no faster than
// the workers and the disk take what comes of them.
func (c *core) replay(ctx context.Context) error {
	root := c.executor.bank.Root().Slot
	from := root - min(root, replaySlack)
	for e, err := range c.store.Entries(from, ^ledger.Slot(0)) {
		if ctx.Err() != nil {
			return nil
		}
		if e.Kind != store.KindSet {
			continue
		}
		var set *shred.Set
		if err == nil {
			set, err = e.Set()
		}
		if err != nil { // it can be repaired from peers
			c.log.Warn("stored set is damaged", zap.Error(err))
			continue
		}
		c.step(node.Loaded{Set: set})
		if !c.settle(ctx) {
			return nil
		}
	}
	return nil
}

// settle takes results until not too much waits behind the core. It returns
// false when ctx ends.
func (c *core) settle(ctx context.Context) bool {
	for {
		c.release()
		for _, ev := range c.results.take(nil, roundMax) {
			c.step(ev)
		}
		if !c.busy() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-c.results.ready:
		case <-c.becameSo:
		case <-time.After(10 * time.Millisecond): // the disk's backlog wakes nobody
		}
	}
}

// replaySlack is how many slots below the root UserBlocks may lie that
// blocks above it name; the node leaves out what it does not need.
const replaySlack = 32

func (c *core) step(ev node.Event) {
	for _, e := range c.node.Step(time.Now(), ev) {
		if save, ok := e.(node.Save); ok {
			c.save(save) // the store keeps the order of Saves itself
			continue
		}
		if c.durable.Load() < c.saves || len(c.held) > 0 {
			c.held = append(c.held, heldEffect{c.saves, e})
			continue
		}
		c.perform(e)
	}
}

func (c *core) save(s node.Save) {
	if s.Lazy {
		c.store.Save(s.Records, true, nil)
		return
	}
	c.saves++
	n := c.saves
	c.store.Save(s.Records, false, func() { // on the store's goroutine, in order
		c.durable.Store(n)
		select {
		case c.becameSo <- struct{}{}:
		default:
		}
	})
}

// release carries out the effects whose Saves have become durable.
func (c *core) release() {
	durable := c.durable.Load()
	n := 0
	for n < len(c.held) && c.held[n].saves <= durable {
		c.perform(c.held[n].effect)
		n++
	}
	rest := copy(c.held, c.held[n:])
	clear(c.held[rest:])
	c.held = c.held[:rest]
}

// perform carries out an effect; none of them blocks.
func (c *core) perform(e node.Effect) {
	switch e := e.(type) {
	case node.Send:
		frame := node.EncodeMessage(nil, e.Msg)
		urgent := isUrgent(e.Msg)
		for _, to := range e.To {
			c.endpoint.Send(to, frame, urgent)
		}
	case node.Answer:
		if !c.answers.put(e) {
			c.metrics.dropped("request", "answers full")
		}
	case node.Execute, node.Discard, node.Root:
		c.executor.orders.put(e)
	case node.Work:
		if job, ok := e.Job.(node.SignatureJob); ok {
			c.verifying.put(job)
		} else {
			c.jobs.put(e.Job)
		}
	case node.Dial:
		addr, err := netip.ParseAddrPort(e.Contact.Addr)
		if err != nil {
			c.metrics.dropped("contact", "address")
			return
		}
		c.endpoint.Dial(e.Contact.Identity, addr)
	case node.Report:
		c.tell(e.Of)
	default:
		panic("live: effect of unknown type")
	}
}

// isUrgent tells which messages overtake others on their way to a peer: the
// small ones that consensus waits for.
func isUrgent(m node.Message) bool {
	switch m.(type) {
	case node.VoteMessage, node.GossipMessage, node.RepairRequest, node.EvidenceMessage:
		return true
	}
	return false
}

// answer serves peers' repair requests from the store until ctx ends.
func (c *core) answer(ctx context.Context) error {
	var answers []node.Answer
	for {
		select {
		case <-c.answers.ready:
		case <-ctx.Done():
			return nil
		}
		answers = c.answers.take(answers[:0], roundMax)
		for _, a := range answers {
			response, ok := repair.Answer(c.store, a.Request)
			if !ok {
				c.metrics.dropped("request", "not stored")
				continue
			}
			msg := node.RepairResponse{Nonce: response.Nonce}
			for _, raw := range response.Shreds {
				s, err := shred.Parse(raw)
				if err != nil {
					panic("live: stored shred: " + err.Error()) // it was rebuilt from a checked set
				}
				msg.Shreds = append(msg.Shreds, node.ShredMessage{Shred: s})
			}
			c.endpoint.Send(a.To, node.EncodeMessage(nil, msg), false)
		}
	}
}

// work runs jobs, but those for verify, until ctx ends.
func (c *core) work(ctx context.Context) error {
	var jobs []node.Job
	for {
		select {
		case <-c.jobs.ready:
		case <-ctx.Done():
			return nil
		}
		for jobs = c.jobs.take(jobs[:0], 1); len(jobs) > 0; jobs = c.jobs.take(jobs[:0], 1) {
			c.results.put(jobs[0].Run())
			if ctx.Err() != nil {
				return nil
			}
		}
	}
}
