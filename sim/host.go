package sim

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"tutti/bank"
	"tutti/cluster"
	"tutti/ledger"
	"tutti/node"
	"tutti/repair"
	"tutti/shred"
)

// host is the machine that a node runs on: it carries out the node's effects.
type host struct {
	sim   *Sim
	index int
	// validator is whose identity it runs: its own index, but for a twin's
	// second machine.
	validator int
	node      *node.Node
	// behaviour is nil on an honest machine.
	behaviour behaviour
	bank      *bank.Bank
	disk      *store
	// down says that the machine has crashed; life counts how often.
	down bool
	life int32
	// crashes counts the episodes that keep it down.
	crashes int
	// skew is what its clock is ahead, slow the factors of its execution, one
	// for each episode: the greatest holds.
	skew time.Duration
	slow []int
	// wakeAt is when the node wants its next Tick.
	wakeAt time.Duration
	// queue has the effects that are not carried out yet, because they stand
	// behind writing, a save that is not durable.
	queue     []queued
	writing   []node.Record
	executing bool
	// blockhash is the last PoH hash of the newest block that the node
	// reported as confirmed: what its clients use.
	blockhash ledger.Hash
}

// queued is an effect, with the frame if it is a Send.
type queued struct {
	effect node.Effect
	frame  *frame
}

func (s *Sim) newHost(i int) (*host, error) {
	h := &host{
		sim: s, index: i, validator: s.villains.validator(&s.cfg, i), behaviour: s.villains.behaviours[i],
		disk: newStore(), wakeAt: -1, blockhash: s.genesis.Hash(),
	}
	if s.faults != nil && s.faults.skew != nil {
		h.skew = s.faults.skew[i]
	}
	return h, h.boot()
}

// boot makes the node from what is on its disk.
func (h *host) boot() error {
	s := h.sim
	recovered := node.Recovered{Tower: h.disk.tower, Halt: h.disk.halt}
	for _, user := range []bool{false, true} {
		if k, ok := h.disk.begun[user]; ok {
			recovered.Begun = append(recovered.Begun, k)
		}
	}
	recovered.Evidence = h.disk.proofs()
	b, err := bank.New(s.genesis, 1)
	if saved := h.disk.state; saved != nil {
		if recovered.State, err = node.ParseRootState(saved.node); err != nil {
			return fmt.Errorf("node %d: %w", h.index, err)
		}
		b, err = bank.Restore(s.genesis, saved.bank, 1)
	}
	if err != nil {
		return fmt.Errorf("bank of node %d: %w", h.index, err)
	}
	view, ok := b.View(b.Root())
	if !ok {
		return fmt.Errorf("bank of node %d: no state of block %v", h.index, b.Root())
	}
	i := h.index
	n, err := node.New(node.Config{
		Genesis:     s.genesis,
		Identity:    h.key(),
		VoteAccount: s.genesis.Validators[h.validator].VoteAccount,
		Contact:     cluster.Contact{Addr: address(i)},
		Rand:        s.cfg.random("node", i+ValidatorsMax*int(h.life)),
		Recovered:   recovered,
		Bank:        view,
		Now:         h.clock(),

		VerifySigner: s.jobs.verifier(s.cfg.Params.SignatureRule),
	})
	if err != nil {
		return fmt.Errorf("node %d: %w", i, err)
	}
	h.node, h.bank = n, b
	return nil
}

// address returns where a machine can be reached.
func address(i int) string { return fmt.Sprintf("10.%d.%d.%d:8000", i>>16, i>>8&255, i&255) }

// crash stops the machine at once. What it was writing may or may not have
// reached the disk.
func (h *host) crash() {
	s := h.sim
	rng := s.cfg.random("crash", h.index+ValidatorsMax*int(h.life))
	h.life++
	h.down = true
	if rng.IntN(2) == 0 {
		h.disk.write(h.writing)
	}
	h.disk.crash(s.now, rng)
	h.node, h.bank, h.queue, h.writing, h.executing = nil, nil, nil, nil, false
	h.wakeAt = -1
	s.counts.crashes++
}

// restart brings the machine back with what was durable.
func (h *host) restart() error {
	s := h.sim
	h.down = false
	if err := h.boot(); err != nil {
		return err
	}
	hash, _ := h.bank.BankHash(h.bank.Root())
	if err := s.check.restarted(h.index, h.bank.Root(), hash, h.disk); err != nil {
		return err
	}
	if view, ok := h.bank.View(h.bank.Root()); ok {
		if err := s.check.ledger.Supply(view); err != nil {
			return err
		}
	}
	for _, set := range h.disk.load() {
		if err := h.step(node.Loaded{Set: set}); err != nil {
			return err
		}
	}
	for _, other := range s.hosts {
		if other.validator == h.validator || other.down {
			continue
		}
		h.later(0, node.Met{Peer: other.identity()})
		other.later(0, node.Met{Peer: h.identity()})
	}
	h.later(0, node.Tick{})
	return nil
}

// key returns the key of the identity that the machine runs.
func (h *host) key() ed25519.PrivateKey { return h.sim.cfg.keypair("identity", h.validator) }

// identity returns the identity that the machine runs.
func (h *host) identity() ledger.Pubkey { return h.sim.genesis.Validators[h.validator].Identity }

// clock returns the time as this machine has it.
func (h *host) clock() time.Time { return h.sim.clock().Add(h.skew) }

// bankHash returns the BankHash of block 0.
func (h *host) bankHash() ledger.Hash {
	hash, _ := h.bank.BankHash(h.bank.Root())
	return hash
}

// step feeds an event to the node and carries out what follows.
func (h *host) step(ev node.Event) error {
	if _, ok := ev.(node.Executed); ok {
		h.executing = false
	}
	from := len(h.queue)
	for _, e := range h.node.Step(h.clock(), ev) {
		h.queue = append(h.queue, queued{effect: e})
	}
	if h.behaviour != nil {
		h.queue = append(h.queue[:from], h.behaviour.act(h, slices.Clone(h.queue[from:]))...)
	}
	for i := range h.queue[from:] {
		q := &h.queue[from+i]
		if send, ok := q.effect.(node.Send); ok && q.frame == nil {
			q.frame = h.sim.frames.of(send.Msg)
		}
		h.sim.trace.effect(h.index, h.sim.now, q.effect, q.frame)
	}
	if err := h.carryOut(); err != nil {
		return err
	}
	h.schedule()
	return nil
}

// schedule sees to it that the node is woken when it wants.
func (h *host) schedule() {
	wake := max(h.node.Wake().Sub(h.sim.start)-h.skew, h.sim.now+1)
	if wake != h.wakeAt {
		h.wakeAt = wake
		h.sim.queue.push(item{at: wake, what: woke, host: int32(h.index), life: h.life})
	}
}

// saved makes the save durable that the queue waits for, and goes on.
func (h *host) saved() error {
	h.disk.write(h.writing)
	h.writing = nil
	return h.carryOut()
}

// carryOut does effects in order, up to a save that takes time.
func (h *host) carryOut() error {
	done := 0
	for done < len(h.queue) && h.writing == nil {
		q := &h.queue[done]
		done++
		if err := h.do(q.effect, q.frame); err != nil {
			return err
		}
	}
	h.queue = append(h.queue[:0], h.queue[done:]...)
	return nil
}

func (h *host) do(e node.Effect, f *frame) error {
	s := h.sim
	switch e := e.(type) {
	case node.Save:
		if e.Lazy {
			if err := lazily(e.Records); err != nil {
				return err
			}
			h.disk.writeLazily(s.now, e.Records)
			return nil
		}
		h.writing = e.Records
		s.queue.push(item{at: s.now + s.cfg.Machine.Sync, what: durable, host: int32(h.index), life: h.life})
	case node.Send:
		if err := s.check.send(h, e, f); err != nil {
			return err
		}
		for _, to := range e.To {
			s.send(h, to, f)
		}
	case node.Answer:
		if response, ok := repair.Answer(h.disk, e.Request); ok {
			s.send(h, e.To, &frame{raw: encodeResponse(response)})
		}
	case node.Execute:
		if h.executing {
			return fmt.Errorf("gives the executor %v while it has another block", e.Block.Ref)
		}
		h.executing = true
		result, err := h.bank.Execute(e.Block)
		if err != nil {
			return fmt.Errorf("execute %v: %w", e.Block.Ref, err)
		}
		if l := s.villains.liars[h.validator]; l != nil {
			result = l.distort(result)
		}
		took := s.cfg.Machine.Execute + time.Duration(len(result.Receipts))*s.cfg.Machine.ExecuteTransaction
		if s.faults != nil && s.faults.slow != nil {
			took *= time.Duration(s.faults.slow[h.index])
		}
		if len(h.slow) > 0 {
			took *= time.Duration(slices.Max(h.slow))
		}
		h.later(took, node.Executed{Result: result})
	case node.Discard:
		if err := h.bank.Discard(e.Block); err != nil {
			return fmt.Errorf("discard %v: %w", e.Block, err)
		}
	case node.Work:
		h.later(s.cfg.Machine.Work, s.jobs.run(e.Job))
	case node.Root:
		if err := h.bank.SetRoot(e.Block); err != nil {
			return fmt.Errorf("root %v: %w", e.Block, err)
		}
		if err := s.check.settle(h.index, e.Block, h.disk); err != nil {
			return err
		}
		h.disk.prune(e.Block.Slot, s.cfg.stored)
		if e.State != nil {
			h.disk.writeState(s.now, &savedState{node: e.State, bank: h.bank.Snapshot()})
		}
	case node.Dial:
		// All nodes of a simulation can reach each other.
		return s.check.dial(h.index, s.index, &e.Contact)
	case node.Report:
		return h.told(e.Of)
	default:
		panic(fmt.Sprintf("sim: effect of unknown type %T", e))
	}
	return nil
}

// encodeResponse returns the frame of an answer from disk.
func encodeResponse(r repair.Response) []byte {
	m := node.RepairResponse{Nonce: r.Nonce}
	for _, raw := range r.Shreds {
		parsed, err := shred.Parse(raw)
		if err != nil {
			panic("sim: stored shred: " + err.Error())
		}
		m.Shreds = append(m.Shreds, node.ShredMessage{Shred: parsed})
	}
	return node.EncodeMessage(nil, m)
}

// later feeds an event to the node after some time.
func (h *host) later(d time.Duration, ev node.Event) {
	h.sim.queue.push(item{at: h.sim.now + d, what: happened, host: int32(h.index), life: h.life, event: ev})
}

// told gives a report to the checker, the summary and the clients.
func (h *host) told(of any) error {
	s := h.sim
	s.story.told(s.now, h.index, of)
	if err := s.check.report(h.index, of); err != nil {
		return err
	}
	if _, ok := of.(node.BlockHeld); ok {
		if err := s.check.keeps(h.index, h.node.Usage()); err != nil {
			return err
		}
	}
	s.counts.report(of)
	if s.world != nil {
		s.world.told(s, h.index, of)
	}
	if s.scenario != nil && !s.check.nodes[h.index].dishonest {
		s.scenario.told(h, of)
	}
	if c, ok := of.(node.Confirmed); ok {
		s.counts.confirmations++
		s.counts.confirmedAfter += s.now - s.slotAt(c.Block.Slot)
		if b := s.check.ledger.Blocks()[c.Block]; b != nil { // the dishonest may confirm what nobody else has
			h.blockhash = b.LastPoH
		}
	}
	return nil
}
