package sim

import (
	"fmt"

	"tutti/consensus"
	"tutti/invariant"
	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
)

// send checks a message as it leaves a node.
func (c *checker) send(h *host, e node.Send, f *frame) error {
	crossed := false
	switch m := e.Msg.(type) {
	case node.VoteMessage:
		crossed = c.halts.Report(m.Vote.Account, m.Vote.Block, m.Vote.BankSlot, m.Vote.BankHash)
	case node.ReportMessage:
		crossed = c.halts.Report(m.Account, m.Block, m.Block.Slot, m.BankHash)
	}
	if crossed && c.crossed == 0 {
		c.crossed = h.sim.now
	}
	if c.nodes[h.index].dishonest {
		return nil
	}
	if len(f.raw) > node.MessageSizeMax {
		return fmt.Errorf("sends %d bytes", len(f.raw))
	}
	switch m := e.Msg.(type) {
	case node.VoteMessage:
		if m.Vote.Authority == h.node.Self() {
			if c.nodes[h.index].halted {
				return fmt.Errorf("vote for %v after it has halted", m.Vote.Block)
			}
			return c.vote(h.index, m, h.disk)
		}
	case node.ShredMessage:
		return c.shred(h, e.To, &m)
	}
	return nil
}

// lazily checks that what a restart must not forget is not written lazily
// (PROTOCOL section 12).
func lazily(records []node.Record) error {
	for _, r := range records {
		switch r.(type) {
		case node.TowerRecord, node.BegunRecord, node.HaltRecord, node.RestartRecord, node.RootRecord:
			return fmt.Errorf("writes %T lazily", r)
		}
	}
	return nil
}

// shred checks that a node makes one block under a key, not before its time
// and not before it is written down that it begins, and that it gives a shred
// to nobody twice.
func (c *checker) shred(h *host, to []ledger.Pubkey, m *node.ShredMessage) error {
	w := &c.nodes[h.index]
	key := m.Shred.Key()
	if c.signers.signer(key) == h.node.Self() {
		if w.halted {
			return fmt.Errorf("makes %v after it has halted", key)
		}
		if err := c.due(h, &m.Shred); err != nil {
			return err
		}
		place := setPlace{key, m.Shred.SetIndex()}
		if root, ok := w.own[place]; !ok {
			if err := c.begun(h, key); err != nil {
				return err
			}
			w.own[place] = m.Root
		} else if root != m.Root {
			return fmt.Errorf("makes another set %d under %v", place.index, key)
		}
	}
	fan := w.sent[m.Root]
	if fan == nil {
		fan = &fanned{slot: key.Slot()}
		w.sent[m.Root] = fan
	}
	bits := &fan.to[m.Shred.Position()]
	if *bits == nil {
		*bits = make([]uint64, (len(c.nodes)+63)/64)
	}
	for _, k := range to {
		i := h.sim.index[k]
		if (*bits)[i/64]&(1<<(i%64)) != 0 {
			return fmt.Errorf("sends shred %d of %v to node %d again", m.Shred.Index(), key, i)
		}
		(*bits)[i/64] |= 1 << (i % 64)
	}
	return nil
}

// begun checks when a node sends the first shred of a set.
func (c *checker) begun(h *host, key ledger.SlotKey) error {
	begun, ok := h.disk.begun[key.IsUser()]
	if u, _ := key.User(); key.IsUser() {
		last, _ := begun.User()
		ok = ok && last >= u
	} else {
		ok = ok && begun.Slot() >= key.Slot()
	}
	if !ok {
		return fmt.Errorf("sends shreds of %v before it is durable that it begins", key)
	}
	return nil
}

// due checks that a node sends a shred of an own block when the ticks that it
// closes are over by its own clock (PROTOCOL section 1).
func (c *checker) due(h *host, s *shred.Shred) error {
	tick := uint64(s.Key().Slot()) * ledger.TicksPerSlot
	if u, _ := s.Key().User(); s.Key().IsUser() {
		tick = uint64(u) * ledger.TicksPerUserSlot
	}
	if s.IsData() {
		tick += uint64(s.ReferenceTick())
	}
	if h.clock().UnixNano() < c.genesis.Params.TickTime(c.genesis.T0, tick) {
		return fmt.Errorf("sends a shred of %v before tick %d, when it is due", s.Key(), tick)
	}
	return nil
}

// vote checks a node's own vote as it leaves the node.
func (c *checker) vote(host int, m node.VoteMessage, disk *store) error {
	w := &c.nodes[host]
	if w.stalled {
		return fmt.Errorf("vote for %v while it has stalled", m.Vote.Block)
	}
	if string(w.last) == string(m.Tx.Raw()) {
		return nil // sent again
	}
	b, err := c.ledger.Block(m.Vote.Block)
	if err != nil {
		return err
	}
	w.last = m.Tx.Raw()
	if err := saved(m, disk); err != nil {
		return err
	}
	if !w.blocks[b] {
		return fmt.Errorf("vote for %v, which it does not hold", b.Ref)
	}
	if err := w.hasAll(b, disk); err != nil {
		return fmt.Errorf("vote for %v: %w", b.Ref, err)
	}
	if c.prompt && m.Vote.BankSlot == m.Vote.Block.Slot {
		return fmt.Errorf("vote for %v waited for its execution", b.Ref)
	}
	return c.votes.Cast(&m.Vote)
}

// saved checks that a vote is in the tower on disk (PROTOCOL section 12).
func saved(m node.VoteMessage, disk *store) error {
	tower, err := consensus.ParseTower(disk.tower)
	if err != nil {
		return fmt.Errorf("vote for %v leaves without a tower on disk: %w", m.Vote.Block, err)
	}
	if string(tower.Transaction()) != string(m.Tx.Raw()) {
		return fmt.Errorf("vote for %v leaves before its tower is durable", m.Vote.Block)
	}
	return nil
}

// settle checks a block to which a node prunes its disk: what lies below is
// not looked for there any more.
func (c *checker) settle(host int, ref ledger.BlockRef, disk *store) error {
	w := &c.nodes[host]
	if w.dishonest {
		return nil
	}
	b, err := c.ledger.Block(ref)
	if err != nil {
		return err
	}
	if err := w.hasAll(b, disk); err != nil {
		return fmt.Errorf("settles on %v: %w", ref, err)
	}
	return nil
}

// hasAll checks that all UserBlocks that a block and its ancestors name are
// held, well formed, and on disk (PROTOCOL section 7).
func (w *watched) hasAll(b *invariant.Block, disk *store) error {
	for x := b; !w.complete[x]; x = x.Parent {
		if x.Parent == nil {
			return fmt.Errorf("%v is not on the fork from which the node came back", b.Ref)
		}
		for _, ref := range x.Entries {
			if !w.userBlocks[ref] {
				return fmt.Errorf("UserBlock %v of %v is missing", ref, x.Ref)
			}
			if !disk.holds(ledger.UserKey(ref.U, ref.Lane), ref.ID) {
				return fmt.Errorf("UserBlock %v of %v is not stored", ref, x.Ref)
			}
		}
		w.complete[x] = true
	}
	return nil
}
