// Package devnet runs a Tutti cluster on one machine: each validator is a
// process of its own, with its own keys, ports and ledger. It can put load on
// them, follows what becomes of every transaction through the validators'
// event streams, and measures. It knows the ledger only from outside, as any
// client does.
package devnet

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tutti/cluster"
	"tutti/cmd/tutti/load"
	"tutti/cmd/tutti/netswitch"
	"tutti/cmd/tutti/setup"
	"tutti/ledger"
	"tutti/rpc"
)

// Options say what to run.
type Options struct {
	Validators int
	// Params are those of a new ledger; an old one has its own.
	Params cluster.Params
	// Ledger is the directory, and Reset has what an earlier run left there
	// removed.
	Ledger string
	Reset  bool
	// RPCPort is the first validator's port for JSON-RPC; 0 picks 8899 or the
	// next free one.
	RPCPort int
	// Accounts is how many accounts a new ledger has besides those that it
	// needs. Nobody has their keys; the load's transfers go to them.
	Accounts int
	// Load is in transfers per second.
	Load int
	// Idle is for how long the cluster runs before the load begins, for
	// Summary.IdleCores.
	Idle time.Duration
	// Loading, unless nil, is called on a goroutine of its own when the load
	// begins, with the directory. ctx is done when the load has ended.
	Loading func(ctx context.Context, ledger string)
	// Duration ends the run, and the load in it; 0 is no end.
	Duration time.Duration
	// Summary is the file for the summary, if there is to be one.
	Summary string
	// Drop is the share of messages between validators that each of them
	// loses on purpose.
	Drop            float64
	LimitLedgerSize uint64
	// Links is how frames fare between any two validators. Unless it is zero
	// and no fault cuts validators off, each stands in a network namespace of
	// its own, which needs Linux and root.
	Links netswitch.Link
	// CanSlow says that this program's validators can be slowed down.
	CanSlow bool
	// Faults is what happens to the validators, nil for nothing. The run ends
	// with them.
	Faults *Faults
}

// Bounds of Options.
const (
	ValidatorsMax = 64
	AccountsMax   = 10_000_000
	LoadMax       = load.RateMax
)

const (
	joinTime = time.Minute
	// joinFactor is by how much a machine may be too busy to read accounts in
	// their time.
	joinFactor = 5
	pollTime   = 100 * time.Millisecond
	drainTime  = 10 * time.Second
	// drainTimeShort is for a run that is interrupted.
	drainTimeShort = 2 * time.Second
	// startTime bounds how long the load waits for the first confirmed block.
	startTime = 20 * time.Second
	// The load's prices of a compute unit, in micro-lamports.
	priceMin, priceMax = 1_000, 256_000
)

// network tells whether the validators need a network of their own.
func (o *Options) network() bool {
	return o.Links != netswitch.Link{} || o.Faults != nil && o.Faults.Cut > 0
}

func (o *Options) check() error {
	switch {
	case o.Validators < 1 || o.Validators > ValidatorsMax:
		return setup.Errorf("%d validators: use 1 to %d", o.Validators, ValidatorsMax)
	case o.Accounts < 0 || o.Accounts > AccountsMax:
		return setup.Errorf("%d accounts: use 0 to %d", o.Accounts, AccountsMax)
	case o.Load < 0 || o.Load > LoadMax:
		return setup.Errorf("load of %d transfers a second: use 0 to %d", o.Load, LoadMax)
	case o.Duration < 0:
		return setup.Errorf("duration of %v: use a positive one, or none", o.Duration)
	case o.Drop < 0 || o.Drop >= 1:
		return setup.Errorf("drop of %v: use a share from 0 to less than 1", o.Drop)
	case o.Links.Latency < 0 || o.Links.Jitter < 0 || o.Links.Bandwidth < 0:
		return setup.Errorf("latency of %v, jitter of %v, bandwidth of %v: use positive ones, or none", o.Links.Latency, o.Links.Jitter, o.Links.Bandwidth)
	case o.Links.Loss < 0 || o.Links.Loss >= 1:
		return setup.Errorf("loss of %v: use a share from 0 to less than 1", o.Links.Loss)
	case o.RPCPort < 0 || o.RPCPort >= 1<<16-1:
		return setup.Errorf("RPC port %d: use 1 to 65534, or 0 to have one picked", o.RPCPort)
	}
	if o.Faults != nil {
		if err := o.Faults.check(o); err != nil {
			return err
		}
	}
	if o.Summary == "" {
		return nil
	}
	if info, err := os.Stat(filepath.Dir(o.Summary)); err != nil || !info.IsDir() {
		return setup.Errorf("%s is no directory: name a file for --summary in one that exists", filepath.Dir(o.Summary))
	}
	return nil
}

// ErrNoNetwork says that this machine does not give validators a network of
// their own: as a rule that takes root.
var ErrNoNetwork = errors.New("validators cannot have a network of their own")

// Run runs a devnet until the duration is over or ctx is done, which is no
// error. A *setup.Error, or ErrNoNetwork, says that it cannot start as asked.
func Run(ctx context.Context, o Options, out io.Writer) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	var n *network
	if o.network() {
		if n, err = newNetwork(o.Validators, o.Links); err != nil {
			return fmt.Errorf("%w: %w", ErrNoNetwork, err)
		}
		defer func() { err = errors.Join(err, n.close()) }()
	}
	f, err := openFolder(&o)
	if err != nil {
		return err
	}
	nodes, err := plan(f, &o, n)
	if err != nil {
		return err
	}
	r := &run{
		options: &o, folder: f, nodes: nodes, network: n, tracker: load.NewTracker(len(nodes)),
		display: newDisplay(out), failed: make(chan error, len(nodes)),
	}
	if o.Faults != nil {
		r.audit = newAudit(f.genesis)
		for i := range nodes {
			if err := r.readBlocks(i); err != nil {
				return fmt.Errorf("ledger of %s: %w", nodeName(i), err)
			}
		}
		r.tracker.Concluded = r.audit.conclude
		if o.Faults.Slow > 0 {
			r.lag = newLagRun(len(nodes))
			r.tracker.Concluded = func(f *load.Fate) {
				r.audit.conclude(f)
				r.lag.conclude(f)
			}
		}
	}
	return r.run(ctx)
}

// run is a running devnet.
type run struct {
	options *Options
	folder  *folder
	nodes   []*validator
	network *network // nil if the validators share this process'
	admins  []*load.Admin
	display *display
	failed  chan error      // validators that ended by themselves
	memory  *memory         // the validators' own, from when the load begins
	heap    *memory         // the least of it that is in use
	live    []atomic.Uint64 // newest of it, in bytes, by validator
	ended   []error         // what came through failed, and what faults led to
	started start
	group   errgroup.Group

	mu      sync.Mutex
	tracker *load.Tracker                             // under mu
	audit   *audit                                    // under mu; nil if there are no faults
	lag     *lagRun                                   // under mu; nil if no executor is slow
	said    struct{ violations, slow, unchecked int } // under mu: of the audit, those that were shown
}

func (r *run) run(ctx context.Context) (err error) {
	// What serves the run goes on after ctx is done, until all is measured.
	serving, over := context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		over()
		stop(r.nodes)
		err = errors.Join(err, r.group.Wait())
	}()
	began := time.Now()
	for i, v := range r.nodes {
		if err := r.start(i); err != nil {
			return err
		}
		a := load.NewAdmin(v.socket)
		r.admins = append(r.admins, a)
		r.group.Go(func() error {
			defer a.Close()
			a.Follow(serving, func(e *load.Event) { r.take(i, e) })
			return nil
		})
	}
	if err := r.join(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	r.started = start{took: time.Since(began), cpu: r.cpu()}
	if err := r.publish(); err != nil {
		return err
	}
	defer os.Remove(filepath.Join(r.folder.dir, load.NodesFile)) // for the next run it would be wrong
	r.display.header(r.folder, r.nodes, r.options)
	summary, err := r.measure(ctx, serving)
	if err != nil {
		return err
	}
	over()
	stop(r.nodes)
	if err := summary.measureFiles(r.folder); err != nil {
		return err
	}
	if r.audit != nil {
		if r.lag != nil {
			r.concludeLag()
		}
		r.verifyLedgers(ctx)
		r.finishAudit(ctx)
		if err := r.verdict(); err != nil {
			// What the checks found is no matter of the setup, whatever else is.
			r.ended = []error{errors.New(errors.Join(append(r.ended, err)...).Error())}
		}
	}
	r.display.say("")
	summary.print(r.display.out)
	if r.options.Summary != "" {
		err = summary.write(r.options.Summary)
	}
	return errors.Join(append(r.ended, err)...)
}

// start starts a validator with more arguments than it always has, if any,
// and has it told when it ends by itself.
func (r *run) start(i int, more ...string) error {
	v := r.nodes[i]
	p, err := v.start(append(r.arguments(i), more...))
	if err != nil {
		return err
	}
	r.group.Go(func() error {
		<-p.done
		if !p.expected.Load() {
			r.failed <- p.failure(v.name)
		}
		return nil
	})
	return nil
}

func (r *run) arguments(i int) []string {
	return r.nodes[i].arguments(r.folder, r.options, i, r.nodes[:min(2, len(r.nodes))])
}

// publish writes down where the nodes are, for other tools.
func (r *run) publish() error {
	var nodes []load.Node
	for _, v := range r.nodes {
		nodes = append(nodes, load.Node{Name: v.name, QUIC: v.quic, RPC: v.url(), Socket: v.socket})
	}
	return load.WriteNodes(r.folder.dir, nodes)
}

func (r *run) take(node int, e *load.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tracker.Take(node, e)
	if r.audit != nil {
		r.audit.take(node, e)
	}
	if r.lag != nil {
		r.lag.take(node, e)
	}
}

// start is what it took until all validators knew each other.
type start struct{ took, cpu time.Duration }

// join waits until every validator knows all others.
func (r *run) join(ctx context.Context) error {
	within := joinTime + joinFactor*accountsTime(r.options.Accounts)
	deadline := time.Now().Add(within)
	for {
		missing := ""
		for i, a := range r.admins {
			s, err := a.Stats(ctx)
			if err != nil || s.Network["peers"] < uint64(len(r.nodes)-1) {
				missing = r.nodes[i].name
				break
			}
		}
		if missing == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s has not joined the others within %v: see %s", missing, within, r.folder.node(0, logFile))
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-r.failed:
			return err
		case <-time.After(pollTime):
		}
	}
}

// slotAt returns the slot of a time.
func (r *run) slotAt(at time.Time) ledger.Slot {
	g := r.folder.genesis
	since := at.UnixNano() - g.T0
	return ledger.Slot(max(since, 0) / int64(ledger.TicksPerSlot*g.Params.TickDuration))
}

// measure runs the load, if there is one, for as long as it is asked, and
// returns what came of it.
func (r *run) measure(ctx, serving context.Context) (Summary, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	r.await(ctx, startTime+time.Until(time.Unix(0, r.folder.genesis.T0)), func() bool { return r.tracker.Live().Confirmed > 0 })

	idle := r.cpu()
	load.Sleep(ctx, r.options.Idle)
	idle = r.cpu() - idle

	loading, endLoad := context.WithCancel(ctx)
	defer endLoad()
	var group errgroup.Group
	var signed chan load.Transfer
	if r.options.Load > 0 {
		count := load.Count(r.steps(), load.Whole)
		signed = make(chan load.Transfer, load.SignedAhead(r.options.Load, count))
		blockhash, err := r.blockhash(ctx)
		if err != nil {
			return Summary{}, fmt.Errorf("get a blockhash: %w", err)
		}
		group.Go(func() error {
			mix := load.Mix{
				Payers: load.Payers, Accounts: r.options.Accounts, HotPermille: load.HotPermille,
				Prices: load.EvenPrices(priceMin, priceMax),
			}
			load.NewSource(r.folder.seed, mix, load.Whole).Sign(loading, count, blockhash, r.blockhash, signed)
			return nil
		})
		r.await(ctx, startTime, func() bool { return len(signed) == cap(signed) })
	}

	start := time.Now()
	cpu, sent := r.cpu(), r.sent(ctx)
	r.memory, r.heap = newMemory(len(r.nodes), start, mean), newMemory(len(r.nodes), start, slices.Min[[]float64])
	r.live = make([]atomic.Uint64, len(r.nodes))
	group.Go(func() error { return r.watchHeaps(loading) })
	r.mu.Lock()
	r.tracker.Begin(r.slotAt(start) + 1)
	r.mu.Unlock()
	if r.options.Load > 0 {
		group.Go(func() error { return r.offer(loading, serving, start, signed) })
		if r.options.Loading != nil {
			group.Go(func() error {
				r.options.Loading(loading, r.folder.dir)
				return nil
			})
		}
	}
	var end <-chan time.Time
	if r.options.Duration > 0 {
		timer := time.NewTimer(r.options.Duration)
		defer timer.Stop()
		end = timer.C
	}
	faulting, endFaults := context.WithCancel(ctx)
	defer endFaults()
	var faults chan error
	if r.options.Faults != nil {
		faults = make(chan error, 1)
		go func() { faults <- r.faulty(faulting) }()
	}
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-end:
			running = false
		case err := <-faults:
			r.ended = append(r.ended, err)
			running, faults = false, nil
		case err := <-r.failed:
			r.display.say("%v", err)
			r.ended = append(r.ended, err)
			running = faults == nil
			if len(r.ended) == len(r.nodes) && running {
				return Summary{}, errors.Join(r.ended...)
			}
		case <-tick.C:
			r.mu.Lock()
			r.tracker.Settle(time.Now().UnixNano())
			live := r.tracker.Live()
			r.mu.Unlock()
			r.display.line(live)
			now := time.Now()
			r.heap.take(now, r.liveHeaps())
			if r.memory.take(now, r.ownMemory()) {
				r.display.say("%s", minuteOver(r.memory, r.heap))
			}
		}
	}
	if faults != nil {
		endFaults()
		r.ended = append(r.ended, <-faults)
	}
	r.mu.Lock()
	r.tracker.End(r.slotAt(time.Now()))
	r.mu.Unlock()
	drain := drainTime
	if ctx.Err() != nil || r.options.Faults != nil { // what faults lost does not come
		drain = drainTimeShort
	}
	// What is lost is awaited in vain: the load was over when something was
	// executed last.
	used, took, executed := r.cpu()-cpu, time.Since(start), uint64(0)
	r.await(serving, drain, func() bool {
		if n := r.tracker.Executed(); n != executed {
			used, took, executed = r.cpu()-cpu, time.Since(start), n
		}
		return r.tracker.Quiet()
	})
	sent = max(r.sent(serving), sent) - sent // one that does not answer is missing
	endLoad()
	if err := group.Wait(); err != nil {
		return Summary{}, err
	}
	s := r.summary(serving, used)
	s.Cores, s.BytesSent = used.Seconds()/took.Seconds(), sent
	if r.options.Idle > 0 {
		s.IdleCores = idle.Seconds() / r.options.Idle.Seconds()
	}
	return s, nil
}

// await waits until something is so, but not for ever, and not longer than
// ctx. It tells whether it is. is is called under the lock.
func (r *run) await(ctx context.Context, most time.Duration, is func() bool) bool {
	deadline := time.Now().Add(most)
	for time.Now().Before(deadline) {
		r.mu.Lock()
		so := is()
		r.mu.Unlock()
		if so || !load.Sleep(ctx, pollTime) {
			return so
		}
	}
	return false
}

// blockhash gets one from the first validator that has one.
func (r *run) blockhash(ctx context.Context) (h ledger.Hash, err error) {
	for i, v := range r.nodes {
		r.mu.Lock()
		down := r.audit != nil && r.audit.down[i]
		r.mu.Unlock()
		if down || v.ended() {
			continue
		}
		if h, err = load.LatestBlockhash(ctx, v.url()); err == nil {
			return h, nil
		}
	}
	return h, err
}

// steps are those of the load: one.
func (r *run) steps() []load.Step {
	return []load.Step{{Rate: r.options.Load, Duration: r.options.Duration}}
}

// offer sends transfers, at their times, to the validators in turn.
func (r *run) offer(loading, serving context.Context, start time.Time, signed <-chan load.Transfer) error {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fmt.Errorf("make the load's key: %w", err)
	}
	// What was handed to a sender in time goes out even if the load is over.
	sending, stopSending := context.WithCancel(serving)
	queues := make([]chan load.Transfer, len(r.nodes))
	var senders sync.WaitGroup
	for i, v := range r.nodes {
		queues[i] = make(chan load.Transfer, load.SendQueue)
		sender := load.Sender{Addr: v.quic, Key: key, Queue: queues[i], Unsent: r.Unsent}
		senders.Go(func() { sender.Run(sending) })
	}
	schedule := load.Schedule{Start: start, Steps: r.steps(), Share: load.Whole}
	schedule.Run(loading, signed, queues, r)
	<-loading.Done()
	stopSending()
	senders.Wait()
	return nil
}

// Offered implements load.Journal.
func (r *run) Offered(tx *load.Transfer, due time.Time, to int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tracker.Offer(tx.ID, due.UnixNano(), to)
}

// Unsent implements load.Journal.
func (r *run) Unsent(id load.TxID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tracker.Unsent(id)
}

// cpu returns the processor time of all validators that run.
func (r *run) cpu() (sum time.Duration) {
	for _, v := range r.nodes {
		cpu, _, _ := v.usage()
		sum += cpu
	}
	return sum
}

// sent returns how many bytes of frames the validators have sent to each other.
func (r *run) sent(ctx context.Context) (sum uint64) {
	for _, a := range r.admins {
		if stats, err := a.Stats(ctx); err == nil {
			sum += stats.Network["bytes_sent_total"]
		}
	}
	return sum
}

// ownMemory returns the memory of all validators, in bytes.
func (r *run) ownMemory() []uint64 {
	own := make([]uint64, len(r.nodes))
	for i, v := range r.nodes {
		_, _, own[i] = v.usage()
	}
	return own
}

// heapTime is how long lies between two questions for the live heap.
const heapTime = time.Second

// watchHeaps asks the validators for their live heaps until ctx is done.
func (r *run) watchHeaps(ctx context.Context) error {
	for load.Sleep(ctx, heapTime) {
		for i, a := range r.admins {
			stats, _ := a.Stats(ctx) // of one that is down it is 0
			r.live[i].Store(stats.HeapLive)
		}
	}
	return nil
}

func (r *run) liveHeaps() []uint64 {
	live := make([]uint64, len(r.live))
	for i := range r.live {
		live[i] = r.live[i].Load()
	}
	return live
}

// summary puts together what the tracker and the validators counted.
func (r *run) summary(ctx context.Context, cpu time.Duration) Summary {
	r.mu.Lock()
	s := Summary{Summary: r.tracker.Summary()}
	r.mu.Unlock()
	s.SignaturesVerified, s.TransactionsDropped = map[string]uint64{}, map[string]uint64{}
	s.Shreds.ByDepth, s.Shreds.ByLane = map[int]uint64{}, map[string]map[int]uint64{}
	s.ProposerEgress = map[string]Egress{}
	for i, v := range r.nodes {
		if stats, err := r.admins[i].Stats(ctx); err == nil {
			s.add(v.name, &stats)
		}
		_, rss, _ := v.usage()
		s.RSSMax = max(s.RSSMax, float64(rss)/(1<<20))
	}
	s.StartSeconds, s.StartCPU = r.started.took.Seconds(), r.started.cpu.Seconds()
	s.MemoryByMinute, s.HeapByMinute = map[string][]float64{}, map[string][]float64{}
	for i := range r.nodes {
		s.MemoryByMinute[nodeName(i)], s.HeapByMinute[nodeName(i)] = r.memory.minutes[i], r.heap.minutes[i]
	}
	s.MemorySlope, s.HeapSlope = r.memory.slope(), r.heap.slope()
	if n := s.ExecutedOK + s.ExecutedFailed; n > 0 {
		s.CPUPerTx = float64(cpu.Microseconds()) / float64(n)
	}
	return s
}

// add takes in a validator's own counters.
func (s *Summary) add(name string, stats *rpc.Stats) {
	s.SignaturesVerified[name] = stats.SignaturesVerified
	for depth, n := range stats.Shreds.ByDepth {
		s.Shreds.ByDepth[depth] += n
	}
	for lane, depths := range stats.Shreds.ByLane {
		if s.Shreds.ByLane[lane] == nil {
			s.Shreds.ByLane[lane] = map[int]uint64{}
		}
		for depth, n := range depths {
			s.Shreds.ByLane[lane][depth] += n
		}
	}
	for reason, n := range stats.Transactions.Dropped {
		s.TransactionsDropped[reason] += n
	}
	s.RecoveredSets += stats.Sets.Recovered
	s.RepairedShreds += stats.Shreds.Repaired
	s.ProposerEgress[name] = Egress(stats.Egress)
}
