package sim

import (
	"errors"
	"fmt"

	"tutti/cluster"
	"tutti/invariant"
	"tutti/ledger"
	"tutti/node"
	"tutti/proposer"
	"tutti/repair"
	"tutti/turbine"
)

// report looks at what a node tells. The error says what is wrong with it.
func (c *checker) report(host int, of any) error {
	w := &c.nodes[host]
	if w.dishonest {
		return nil
	}
	switch r := of.(type) {
	case node.UserBlockHeld:
		w.userBlocks[r.Block.Ref] = true
		if err := c.only(ledger.UserKey(r.Block.Ref.U, r.Block.Ref.Lane), r.Block.Ref.ID); err != nil {
			return err
		}
		return c.ledger.HoldUser(r.Block)
	case node.BlockHeld:
		return c.held(w, &r)
	case node.BlockRejected:
		if c.madeHonestly(r.Block.Slot.Key()) {
			return fmt.Errorf("rejects %v, which an honest leader made: %w", r.Block, r.Err)
		}
	case node.UserBlockRejected:
		if ref := r.Ref; c.madeHonestly(ledger.UserKey(ref.U, ref.Lane)) {
			return fmt.Errorf("rejects %v, which an honest proposer made: %w", ref, r.Err)
		}
	case node.VoteSeen:
		return c.seen(w, &r)
	case node.Confirmed:
		return c.confirm(host, r.Block)
	case node.Rooted:
		return c.root(host, r.Block)
	case node.BankComputed:
		return c.computed(host, r)
	case node.Finalized:
		if r.Block.Slot <= w.final {
			return fmt.Errorf("finalised slot %d after slot %d", r.Block.Slot, w.final)
		}
		w.final = r.Block.Slot
		return c.votes.Finalized(r.Block.Slot)
	case node.Mismatched:
		if !c.villains[r.Voter] {
			return fmt.Errorf("BankHash of slot %d is %v, voter %v has %v", r.Slot, r.Own, r.Voter, r.Other)
		}
	case node.WentBack:
		return fmt.Errorf("executes %v again, of which it has the right BankHash", r.Wrong)
	case node.HealthChanged:
		return c.health(w, &r)
	case node.Equivocated:
		if !c.villains[r.Signer] {
			return fmt.Errorf("has a proof against %v, which is honest", r.Signer)
		}
	case node.Agreed:
		return c.votes.Agreed(r.Third, r.TwoThirds)
	case node.Head:
		return head(&r)
	}
	return nil
}

// health checks that an honest node stops for a reason, and for good (PROTOCOL
// section 10).
func (c *checker) health(w *watched, r *node.HealthChanged) error {
	w.stalled = r.Health == node.Stalled
	switch {
	case r.Health == node.Healthy && w.halted:
		return errors.New("goes on after it has halted")
	case r.Health == node.Healthy || r.Health == node.Halted && w.halted: // it has started again
		return nil
	}
	w.halted = w.halted || r.Health == node.Halted
	b, err := c.ledger.Block(r.Block)
	if err != nil {
		return err
	}
	return c.halts.Halt(b)
}

// only checks that nobody honest makes two blocks under one key, not even with
// a crash between them.
func (c *checker) only(key ledger.SlotKey, id ledger.Hash) error {
	if !c.madeHonestly(key) {
		return nil
	}
	if other, ok := c.made[key]; ok && other != id {
		return fmt.Errorf("holds %v under %v, where there is %v", id, key, other)
	}
	c.made[key] = id
	return nil
}

func (c *checker) held(w *watched, r *node.BlockHeld) error {
	if err := c.only(r.Block.Slot.Key(), r.Block.ID); err != nil {
		return err
	}
	if err := c.ledger.Hold(r.Block, r.Parent, r.Height, r.LastPoH, r.Entries); err != nil {
		return err
	}
	w.blocks[c.ledger.Blocks()[r.Block]] = true
	return nil
}

// seen checks that a node counts an honest account's vote once, and only if
// the account has sent it.
func (c *checker) seen(w *watched, r *node.VoteSeen) error {
	if c.villains[r.Voter] {
		return nil
	}
	at := counted{r.Voter, r.Block}
	if w.counted[at] {
		return fmt.Errorf("counts the vote of %v for %v again", r.Voter, r.Block)
	}
	w.counted[at] = true
	return c.votes.Seen(r.Voter, r.Block)
}

// confirm checks that all confirmed blocks lie on one chain, with the votes
// for it.
func (c *checker) confirm(host int, ref ledger.BlockRef) error {
	b, err := c.ledger.Block(ref)
	if err != nil {
		return err
	}
	w := &c.nodes[host]
	w.confirmed = max(w.confirmed, ref.Slot)
	c.of(b).confirmed.add(host)
	if other := c.confirmed.Add(b); other != nil {
		if c.firm {
			return fmt.Errorf("confirmed %v, but %v is confirmed", ref, other.Ref)
		}
		if b.Ref.Slot > other.Ref.Slot {
			c.confirmed = invariant.Chain{}
			c.confirmed.Add(b)
		}
	}
	return c.votes.Confirmed(b)
}

// root checks that a node's roots rise along one chain, which is the same for
// all nodes, and that of the confirmed blocks.
func (c *checker) root(host int, ref ledger.BlockRef) error {
	b, err := c.ledger.Block(ref)
	if err != nil {
		return err
	}
	w := &c.nodes[host]
	if w.halted {
		return fmt.Errorf("root %v after it has halted", ref)
	}
	if b == w.root || !b.Descends(w.root) {
		return fmt.Errorf("root %v does not follow root %v", ref, w.root.Ref)
	}
	if !b.Descends(w.highest) && !w.highest.Descends(b) {
		return fmt.Errorf("root %v is off the chain of %v, its root before", ref, w.highest.Ref)
	}
	w.root = b
	if b.Ref.Slot > w.highest.Ref.Slot {
		w.highest = b
	}
	if err := c.votes.Rooted(c.genesis.Validators[host].VoteAccount, b); err != nil {
		return err
	}
	c.of(b).rooted.add(host)
	if other := c.rooted.Add(b); other != nil {
		return fmt.Errorf("root %v contradicts another node's root %v", ref, other.Ref)
	}
	if tip := c.confirmed.Tip(); c.firm && tip != nil && !tip.Descends(b) && !b.Descends(tip) {
		return fmt.Errorf("root %v contradicts the confirmed %v", ref, tip.Ref)
	}
	c.prune(ref.Slot)
	return nil
}

// checkerSlots is for how many slots below a root the checker remembers who
// sent what.
const checkerSlots = 128

func (c *checker) prune(root ledger.Slot) {
	if root%16 != 0 {
		return
	}
	floor := root - min(root, checkerSlots)
	c.votes.Prune(floor)
	for k := range c.signers.of {
		if k.Slot() < floor {
			delete(c.signers.of, k)
		}
	}
	for i := range c.nodes {
		w := &c.nodes[i]
		for id, f := range w.sent {
			if f.slot < root-min(root, 16) {
				delete(w.sent, id)
			}
		}
		for v := range w.counted {
			if v.block.Slot < floor {
				delete(w.counted, v)
			}
		}
		for p := range w.own {
			if p.key.Slot() < floor {
				delete(w.own, p)
			}
		}
	}
}

// computed checks that all nodes compute the same of a block.
func (c *checker) computed(host int, r node.BankComputed) error {
	b, fresh, err := c.ledger.Execute(r.Result)
	if b != nil {
		c.of(b).executed.add(host)
	}
	if err != nil {
		if b != nil && b.Executed && b.BankHash != r.Result.BankHash {
			c.mismatched++
		}
		return err
	}
	if fresh {
		return c.ledger.Supply(r.Result.View)
	}
	c.compared++
	return nil
}

// head checks bounds that a node shows.
func head(h *node.Head) error {
	switch {
	case h.Pool > proposer.PoolMax:
		return fmt.Errorf("%d transactions in the pool", h.Pool)
	case h.Executed > h.Slot:
		return fmt.Errorf("head of slot %d, but %d is executed", h.Slot, h.Executed)
	}
	return nil
}

// keeps checks what a node keeps of what others send.
func (c *checker) keeps(host int, u node.Usage) error {
	if c.nodes[host].dishonest {
		return nil
	}
	m := &c.kept
	m.Keys, m.Sets, m.Waiting, m.Held = max(m.Keys, u.Keys), max(m.Sets, u.Sets), max(m.Waiting, u.Waiting), max(m.Held, u.Held)
	m.Unjudged, m.Wanted = max(m.Unjudged, u.Unjudged), max(m.Wanted, u.Wanted)
	m.Contacts, m.Requests = max(m.Contacts, u.Contacts), max(m.Requests, u.Requests)
	if u.Keys > turbine.KeysMax || u.Sets > node.SetsMax || u.Contacts > cluster.ContactsMax || u.Requests > repair.OutstandingMax {
		return fmt.Errorf("keeps more than it may: %+v", u)
	}
	return nil
}

// dial checks that an honest node is looked for where it says that it is.
func (c *checker) dial(host int, index map[ledger.Pubkey]int, contact *cluster.Contact) error {
	i, ok := index[contact.Identity]
	if !ok || c.nodes[host].dishonest || c.nodes[i].dishonest || contact.Addr == address(i) {
		return nil
	}
	return fmt.Errorf("looks for node %d at %s, where it is not", i, contact.Addr)
}
