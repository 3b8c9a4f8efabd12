package sim

import (
	"fmt"
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
	node  *node.Node
	bank  *bank.Bank
	disk  *store
	// wakeAt is when the node wants its next Tick.
	wakeAt time.Duration
	// queue has the effects that are not carried out yet, because they stand
	// behind writing, a save that is not durable.
	queue   []queued
	writing []node.Record
	// blockhash is the last PoH hash of the newest block that the node
	// reported as confirmed: what its clients use.
	blockhash ledger.Hash
}

// queued is an effect, with the frame if it is a Send.
type queued struct {
	effect node.Effect
	frame  *frame
}

func (s *Sim) newHost(i int, v *cluster.Validator) (*host, error) {
	b, err := bank.New(s.genesis, 1)
	if err != nil {
		return nil, fmt.Errorf("bank of node %d: %w", i, err)
	}
	genesis := ledger.BlockRef{ID: s.genesis.Hash()}
	view, ok := b.View(genesis)
	if !ok {
		return nil, fmt.Errorf("bank of node %d: no state of block 0", i)
	}
	n, err := node.New(node.Config{
		Genesis:     s.genesis,
		Identity:    s.cfg.keypair("identity", i),
		VoteAccount: v.VoteAccount,
		Contact:     cluster.Contact{Addr: fmt.Sprintf("10.%d.%d.%d:8000", i>>16, i>>8&255, i&255)},
		Rand:        s.cfg.random("node", i),
		Bank:        view,
		Now:         s.clock(),
	})
	if err != nil {
		return nil, fmt.Errorf("node %d: %w", i, err)
	}
	return &host{sim: s, index: i, node: n, bank: b, disk: newStore(), wakeAt: -1, blockhash: genesis.ID}, nil
}

// bankHash returns the BankHash of block 0.
func (h *host) bankHash() ledger.Hash {
	hash, _ := h.bank.BankHash(h.bank.Root())
	return hash
}

// step feeds an event to the node and carries out what follows.
func (h *host) step(ev node.Event) error {
	for _, e := range h.node.Step(h.sim.clock(), ev) {
		q := queued{effect: e}
		var raw []byte
		if send, ok := e.(node.Send); ok {
			raw = node.EncodeMessage(make([]byte, 0, 1+shred.CodeSize), send.Msg)
			q.frame = &frame{raw: raw}
		}
		h.sim.trace.effect(h.index, h.sim.now, e, raw)
		h.queue = append(h.queue, q)
	}
	if err := h.carryOut(); err != nil {
		return err
	}
	h.schedule()
	return nil
}

// schedule sees to it that the node is woken when it wants.
func (h *host) schedule() {
	wake := max(h.node.Wake().Sub(h.sim.start), h.sim.now+1)
	if wake != h.wakeAt {
		h.wakeAt = wake
		h.sim.queue.push(item{at: wake, what: woke, host: int32(h.index)})
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
			h.disk.write(e.Records)
			return nil
		}
		h.writing = e.Records
		s.queue.push(item{at: s.now + s.cfg.Machine.Sync, what: durable, host: int32(h.index)})
	case node.Send:
		if vote, ok := e.Msg.(node.VoteMessage); ok && vote.Vote.Authority == h.node.Self() {
			if err := s.check.vote(h.index, vote, h.disk); err != nil {
				return err
			}
		}
		for _, to := range e.To {
			s.send(h, to, f)
		}
	case node.Answer:
		if response, ok := repair.Answer(h.disk, e.Request); ok {
			s.send(h, e.To, &frame{raw: encodeResponse(response)})
		}
	case node.Execute:
		result, err := h.bank.Execute(e.Block)
		if err != nil {
			return fmt.Errorf("execute %v: %w", e.Block.Ref, err)
		}
		took := s.cfg.Machine.Execute + time.Duration(len(result.Receipts))*s.cfg.Machine.ExecuteTransaction
		h.later(took, node.Executed{Result: result})
	case node.Work:
		h.later(s.cfg.Machine.Work, s.jobs.run(e.Job))
	case node.Root:
		if err := h.bank.SetRoot(e.Block); err != nil {
			return fmt.Errorf("root %v: %w", e.Block, err)
		}
		h.disk.prune(e.Block.Slot)
	case node.Dial:
		// All nodes of a simulation can reach each other.
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
	h.sim.queue.push(item{at: h.sim.now + d, what: happened, host: int32(h.index), event: ev})
}

// told gives a report to the checker, the summary and the clients.
func (h *host) told(of any) error {
	s := h.sim
	if err := s.check.report(h.index, of); err != nil {
		return err
	}
	s.counts.report(of)
	if c, ok := of.(node.Confirmed); ok {
		h.blockhash = s.check.blocks[c.Block].LastPoH
	}
	return nil
}
