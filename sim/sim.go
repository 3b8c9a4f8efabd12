// Package sim runs a cluster of nodes in virtual time, on one goroutine: the
// same node code and the same bytes on the wire as live, but time, network,
// disk and clients are simulated, and everything random comes from one seed.
// The same Config gives the same run, to the byte: Result.Trace is a hash of
// everything that all nodes did.
//
//	queue ─ item ─▶ host ─ event ─▶ node ─ effects ─▶ trace, checker
//	  ▲                                        │
//	  └────── network, disk, executor, workers ┘
//
// While it runs, a checker asserts what the protocol promises; the first
// broken promise ends the run with a Violation.
package sim

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"tutti/cluster"
	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
)

// t0After is how long before T0 the nodes start, so that they can meet.
const t0After = time.Second

// startUnix is virtual time zero, in Unix seconds.
const startUnix = 1_750_000_000

// Stakes are drawn from stakeMin to twice that; in one run of four all are
// equal, so that a part of them can be exactly a third or two.
const stakeMin = 1000 * ledger.LamportsPerSOL

// Sim is a cluster in virtual time. It belongs to one goroutine.
type Sim struct {
	cfg      Config
	genesis  *cluster.Genesis
	start    time.Time
	now      time.Duration // since start
	queue    queue
	network  *network
	hosts    []*host
	index    map[ledger.Pubkey]int // of validators, by identity
	villains dishonest
	scenario scenario // nil: none
	decoder  node.Decoder
	jobs     *jobs
	frames   frames
	load     *load
	world    *world  // nil: clients are anywhere
	faults   *faults // nil: nothing goes wrong
	check    *checker
	trace    *trace
	story    *story // nil: nobody reads it
	// unfit are UserBlocks of dishonest proposers that are not well formed.
	unfit  []ledger.UserBlockRef
	counts counts
	// healing is what is watched now, nil if nothing is; progress counts what
	// came of the others.
	healing  *healing
	progress Progress
	halted   bool // it was asked whether all have
}

// New makes a cluster that has not begun to run.
func New(cfg Config) (*Sim, error) {
	if script := cfg.Scenario.new(); script != nil {
		return newScenario(cfg, script)
	}
	return newSim(cfg, dishonest{})
}

// newSim makes a cluster in which some are dishonest.
func newSim(cfg Config, villains dishonest) (*Sim, error) { return newCluster(cfg, villains, nil) }

// newScenario makes a cluster of which a scenario gives all but what it may
// not.
func newScenario(of Config, script scenario) (*Sim, error) {
	cfg := DefaultConfig()
	cfg.Seed, cfg.Unshared, cfg.Story, cfg.Scenario = of.Seed, of.Unshared, of.Story, of.Scenario
	script.configure(&cfg)
	return newCluster(cfg, dishonest{}, script)
}

// newCluster makes a cluster in which some are dishonest, or one for a scenario.
func newCluster(cfg Config, villains dishonest, script scenario) (*Sim, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Params.Fanout = cfg.fanout()
	s := &Sim{
		cfg:      cfg,
		start:    time.Unix(startUnix, 0).UTC(),
		index:    make(map[ledger.Pubkey]int),
		villains: villains,
		scenario: script,
		decoder:  node.Decoder{Rule: cfg.Params.SignatureRule, Proofs: new(shred.Proofs)},
		jobs:     newJobs(cfg.Unshared),
		load:     newLoad(&cfg),
		trace:    newTrace(),
	}
	if !cfg.Unshared {
		s.frames.shared = make(map[shredInput]*frame)
	}
	if cfg.Story {
		s.story = newStory(s)
	}
	validators := cfg.validators()
	if cfg.Adversaries {
		s.villains.liars = drawLiars(&cfg, validators)
	}
	genesis, err := cluster.NewGenesis(cluster.Options{
		Params:     cfg.Params,
		T0:         s.start.Add(t0After).UnixNano(),
		Validators: validators,
		Faucet:     publicKey(cfg.keypair("faucet", 0)),
		Accounts:   s.load.accounts(),
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s.genesis = genesis
	for i := range validators {
		s.index[validators[i].Identity] = i
	}
	if script != nil {
		s.villains, s.faults = script.plan(s)
	}
	if cfg.Adversaries && s.villains.liars == nil {
		s.villains = drawDishonest(&cfg, validators)
	}
	if err := s.villains.validate(validators); err != nil {
		return nil, err
	}
	machines := cfg.Validators + len(s.villains.twins)
	if cfg.Faults {
		s.faults = drawFaults(&cfg, machines, s.slotAt)
	}
	var regions []int
	if s.faults != nil {
		regions = s.faults.regions
	}
	if cfg.World {
		s.world = newWorld(machines)
		regions = s.world.regions
	}
	s.network = newNetwork(&cfg, machines, regions, s.faults)
	for i := range machines {
		h, err := s.newHost(i)
		if err != nil {
			return nil, err
		}
		s.hosts = append(s.hosts, h)
	}
	s.check = newChecker(genesis, s.hosts[0].bankHash(), &s.villains)
	s.check.prompt = cfg.Network.Loss == 0 && s.faults == nil && s.villains.none() && cfg.Params.Execution == cluster.ExecutionAsync
	s.begin()
	return s, nil
}

// leader returns which validator leads a slot.
func (s *Sim) leader(slot ledger.Slot) int {
	who, _ := cluster.NewSchedule(s.genesis).Leader(slot)
	return s.index[who]
}

// begin schedules what happens first: all nodes start and meet node 0, which
// is their entrypoint; clients begin in slot 1.
func (s *Sim) begin() {
	for i := range s.hosts {
		s.queue.push(item{what: happened, host: int32(i), event: node.Tick{}})
		if i > 0 {
			s.queue.push(item{what: happened, host: int32(i), event: node.Met{Peer: s.hosts[0].node.Self()}})
			s.queue.push(item{what: happened, host: 0, event: node.Met{Peer: s.hosts[i].node.Self()}})
		}
	}
	if s.faults != nil {
		s.scheduleFaults()
	}
	s.healthy()
	if s.load.every > 0 {
		s.queue.push(item{at: s.slotAt(1), what: submitted})
	}
}

// slotAt returns when a slot begins.
func (s *Sim) slotAt(slot ledger.Slot) time.Duration {
	return time.Duration(s.cfg.Params.SlotTime(int64(t0After), slot))
}

// schedule returns who leads and proposes when.
func (s *Sim) schedule() *cluster.Schedule { return s.check.signers.schedule }

// clock returns the virtual time.
func (s *Sim) clock() time.Time { return s.start.Add(s.now) }

// Run runs the cluster until one slot after its last one. The error is a Violation
// if a promise of the protocol was broken.
func (s *Sim) Run() (result Result, err error) {
	end := s.slotAt(s.cfg.Slots + 2) // for the last block to get around
	current, slot := int32(0), ledger.Slot(0)
	defer func() {
		if r := recover(); r != nil {
			result, err = s.result(), s.violation(Diverged, int(current), "panic: %v\n%s", r, debug.Stack())
		}
	}()
	for {
		it, ok := s.queue.pop()
		if !ok || it.at >= end {
			break
		}
		if s.cfg.Progress != nil && s.slotOf(it.at) > slot {
			slot = s.slotOf(it.at)
			if err := s.cfg.Progress(slot); err != nil {
				return s.result(), err
			}
		}
		s.now, current = it.at, it.host
		if err := s.halting(); err != nil {
			return s.result(), err
		}
		if err := s.happen(&it); err != nil {
			if v, ok := err.(*Violation); ok {
				return s.result(), v
			}
			return s.result(), s.violation(Diverged, int(current), "%v", err)
		}
	}
	s.now = end
	if err := s.halting(); err != nil {
		return s.result(), err
	}
	result = s.result()
	if s.scenario != nil {
		if v := s.scenario.judge(s, &result); v != nil {
			return result, v
		}
	}
	return result, nil
}

// violation says now what a node has broken.
func (s *Sim) violation(verdict Verdict, host int, format string, args ...any) *Violation {
	return &Violation{Seed: s.cfg.Seed, At: s.now, Node: host, Verdict: verdict, What: fmt.Sprintf(format, args...)}
}

// happen lets an item happen.
func (s *Sim) happen(it *item) error {
	s.counts.items++
	h := s.hosts[it.host]
	switch it.what {
	case arrived:
		if h.down {
			return nil
		}
		if s.world != nil {
			s.world.ingress[h.index] += len(it.frame.raw)
		}
		msg, ok := s.message(it.frame)
		if !ok {
			if from := s.hosts[it.from]; from.behaviour == nil {
				return fmt.Errorf("sent by node %d: no message", it.from)
			}
			return nil
		}
		if l, ok := h.behaviour.(listener); ok {
			l.hear(h, msg)
		}
		if s.scenario != nil && !s.check.nodes[h.index].dishonest {
			s.scenario.heard(h, msg)
		}
		return h.step(node.Received{From: s.hosts[it.from].identity(), Msg: msg})
	case submitted:
		return s.submit()
	case faulty:
		return s.apply(it.fault, it.begins)
	case phased:
		s.turn(it.phase, it.begins)
		return nil
	case judged:
		return s.judge(it.due)
	}
	if it.life != h.life || h.down {
		return nil
	}
	switch it.what {
	case woke:
		if it.at == h.wakeAt {
			return h.step(node.Tick{})
		}
	case happened:
		return h.step(it.event)
	case durable:
		return h.saved()
	}
	return nil
}

// message decodes a frame: once for all receivers, if results are shared.
func (s *Sim) message(f *frame) (node.Message, bool) {
	if s.cfg.Unshared {
		f = &frame{raw: bytes.Clone(f.raw)}
		return f.message(&node.Decoder{Rule: s.decoder.Rule})
	}
	return f.message(&s.decoder)
}

// send puts a frame on the link to a node, or to both machines of a twin.
func (s *Sim) send(from *host, to ledger.Pubkey, f *frame) {
	validator, ok := s.index[to]
	if !ok || validator == from.validator {
		return
	}
	s.carry(from, validator, f)
	for i, twin := range s.villains.twins {
		if twin == validator {
			s.carry(from, s.cfg.Validators+i, f)
		}
	}
}

// carry puts a frame on the link to a machine.
func (s *Sim) carry(from *host, to int, f *frame) {
	s.counts.messages++
	if s.world != nil {
		s.world.egress[from.index] += len(f.raw)
	}
	s.counts.bytes += len(f.raw)
	at, copies := s.network.travel(s.now, from.index, to, len(f.raw))
	for _, at := range at[:copies] {
		s.queue.push(item{at: at, what: arrived, host: int32(to), from: int32(from.index), frame: f})
	}
}

// reached returns the machine that clients of a validator talk to: with a twin
// one or the other.
func (s *Sim) reached(validator int) *host {
	if at := slices.Index(s.villains.twins, validator); at >= 0 && s.load.tokens%2 == 1 {
		return s.hosts[s.cfg.Validators+at]
	}
	return s.hosts[validator]
}

// submit lets clients submit their next transaction.
func (s *Sim) submit() error {
	if s.world != nil {
		s.sendFromCity()
	} else if err := s.sendAnywhere(); err != nil {
		return err
	}
	if next := s.now + s.load.pause(); next < s.slotAt(s.cfg.Slots+1) {
		s.queue.push(item{at: next, what: submitted})
	}
	return nil
}

// sendAnywhere gives a transaction to any node, or to two.
func (s *Sim) sendAnywhere() error {
	tx, to := s.load.transfer(s.cfg.Validators, func(i int) ledger.Hash { return s.hosts[i].blockhash })
	for _, i := range to {
		h := s.reached(i)
		if h.down {
			continue
		}
		s.load.tokens++
		s.counts.submitted++
		if err := h.step(node.Submitted{Tx: tx, Token: s.load.tokens}); err != nil {
			return err
		}
	}
	return nil
}
