package sim

import (
	"fmt"
	"slices"
	"time"

	"tutti/bank"
	"tutti/consensus"
	"tutti/ledger"
	"tutti/node"
)

// Violation is a broken promise of the protocol, with all that is needed to
// see it again.
type Violation struct {
	Seed uint64
	At   time.Duration // virtual time since the start
	Node int
	What string
}

// Error says what is broken and how to see it again.
func (v *Violation) Error() string {
	return fmt.Sprintf("seed %d, virtual time %v, node %d: %s", v.Seed, v.At, v.Node, v.What)
}

// checker watches what all nodes say and send, and knows better than each of
// them. It takes nothing from the nodes' insides: blocks are what they report,
// votes are the bytes that they send, and what a node holds is on its disk.
type checker struct {
	nodes []watched
	// prompt says that nothing keeps a vote from following its block at once:
	// no message is lost, and votes do not wait for execution.
	prompt bool

	blocks    map[ledger.BlockRef]*seenBlock
	confirmed chainOf
	rooted    chainOf
	processed map[ledger.Signature][]ledger.BlockRef

	compared, mismatched int
}

// seenBlock is a leader block that some node holds.
type seenBlock struct {
	node.BlockHeld
	parent *seenBlock // nil for genesis
	// bank is its BankHash, once a node has computed it.
	bank     ledger.Hash
	banked   bool
	outcomes [bank.BadNonce + 1]int
	// Nodes that have confirmed, executed and rooted it.
	confirmed, executed, rooted int
}

func (b *seenBlock) at(slot ledger.Slot) *seenBlock {
	for b != nil && b.Block.Slot > slot {
		b = b.parent
	}
	return b
}

func (b *seenBlock) descends(a *seenBlock) bool { return b.at(a.Block.Slot) == a }

// watched is what is known of one node.
type watched struct {
	userBlocks map[ledger.UserBlockRef]bool // held and well formed
	complete   map[*seenBlock]bool          // all UserBlocks up to it are held
	root       *seenBlock
	tower      []ownVote // oldest first
	towerRoot  *seenBlock
	last       []byte // the last vote's transaction
	votes      int
}

// ownVote is a vote that was sent and still locks its sender.
type ownVote struct {
	block         *seenBlock
	confirmations uint8
}

// chainOf is a set of blocks that must all lie on one chain.
type chainOf struct{ tip *seenBlock }

// add puts a block in, or tells which block of the set it contradicts.
func (c *chainOf) add(b *seenBlock) (conflict *seenBlock) {
	switch {
	case b.descends(c.tip):
		c.tip = b
	case !c.tip.descends(b):
		return c.tip
	}
	return nil
}

func newChecker(genesis ledger.BlockRef, bankHash ledger.Hash, nodes int, prompt bool) *checker {
	root := &seenBlock{BlockHeld: node.BlockHeld{Block: genesis, LastPoH: genesis.ID}, bank: bankHash, banked: true}
	c := &checker{
		nodes:     make([]watched, nodes),
		prompt:    prompt,
		blocks:    map[ledger.BlockRef]*seenBlock{genesis: root},
		confirmed: chainOf{root},
		rooted:    chainOf{root},
		processed: make(map[ledger.Signature][]ledger.BlockRef),
	}
	for i := range c.nodes {
		c.nodes[i] = watched{
			userBlocks: make(map[ledger.UserBlockRef]bool),
			complete:   map[*seenBlock]bool{root: true},
			root:       root,
			towerRoot:  root,
		}
	}
	return c
}

// report looks at what a node tells. The error says what is wrong with it.
func (c *checker) report(host int, of any) error {
	w := &c.nodes[host]
	switch r := of.(type) {
	case node.UserBlockHeld:
		w.userBlocks[r.Block.Ref] = true
	case node.BlockHeld:
		return c.held(r)
	case node.Confirmed:
		b, err := c.block(r.Block)
		if err != nil {
			return err
		}
		b.confirmed++
		if other := c.confirmed.add(b); other != nil {
			return fmt.Errorf("confirmed %v, but %v is confirmed", b.Block, other.Block)
		}
	case node.Rooted:
		return c.root(w, r.Block)
	case node.BankComputed:
		return c.computed(r.Result)
	case node.Mismatched:
		return fmt.Errorf("BankHash of slot %d is %v, voter %v has %v", r.Slot, r.Own, r.Voter, r.Other)
	}
	return nil
}

func (c *checker) block(ref ledger.BlockRef) (*seenBlock, error) {
	if b := c.blocks[ref]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("speaks of block %v, which no node holds", ref)
}

// held takes a block. It has the same parent and entries on all nodes.
func (c *checker) held(r node.BlockHeld) error {
	if b := c.blocks[r.Block]; b != nil {
		if b.Parent != r.Parent || b.Height != r.Height || b.LastPoH != r.LastPoH || !slices.Equal(b.Entries, r.Entries) {
			return fmt.Errorf("block %v is read differently by another node", r.Block)
		}
		return nil
	}
	parent, err := c.block(r.Parent)
	if err != nil {
		return err
	}
	if r.Height != parent.Height+1 {
		return fmt.Errorf("block %v has height %d on %d", r.Block, r.Height, parent.Height)
	}
	c.blocks[r.Block] = &seenBlock{BlockHeld: r, parent: parent}
	return nil
}

// root checks that a node's roots rise along one chain, which is the same for
// all nodes.
func (c *checker) root(w *watched, ref ledger.BlockRef) error {
	b, err := c.block(ref)
	if err != nil {
		return err
	}
	if b == w.root || !b.descends(w.root) {
		return fmt.Errorf("root %v does not follow root %v", ref, w.root.Block)
	}
	w.root = b
	b.rooted++
	if other := c.rooted.add(b); other != nil {
		return fmt.Errorf("root %v contradicts another node's root %v", ref, other.Block)
	}
	return nil
}

// computed checks that all nodes compute the same of a block, on the same
// parent, and that no transaction takes effect twice on a fork.
func (c *checker) computed(r *bank.Result) error {
	b, err := c.block(r.Ref)
	if err != nil {
		return err
	}
	b.executed++
	if r.Parent != b.Parent || !b.parent.banked || b.parent.bank != r.ParentBankHash {
		return fmt.Errorf("BankHash of %v links to %v of %v", r.Ref, r.ParentBankHash, r.Parent)
	}
	if b.banked {
		c.compared++
		if b.bank != r.BankHash {
			c.mismatched++
			return fmt.Errorf("BankHash of %v is %v, another node has %v", r.Ref, r.BankHash, b.bank)
		}
		return nil
	}
	b.bank, b.banked = r.BankHash, true
	for i := range r.Receipts {
		x := &r.Receipts[i]
		b.outcomes[x.Outcome]++
		if !x.Outcome.Processed() {
			continue
		}
		for _, ref := range c.processed[x.Signature] {
			if b.descends(c.blocks[ref]) {
				return fmt.Errorf("transaction %v is processed in %v and in %v", x.Signature, ref, r.Ref)
			}
		}
		c.processed[x.Signature] = append(c.processed[x.Signature], r.Ref)
	}
	return nil
}

// vote checks a node's own vote as it leaves the node.
func (c *checker) vote(host int, m node.VoteMessage, disk *store) error {
	w := &c.nodes[host]
	if string(w.last) == string(m.Tx.Raw()) {
		return nil // sent again
	}
	b, err := c.block(m.Vote.Block)
	if err != nil {
		return err
	}
	w.votes++
	w.last = m.Tx.Raw()
	if err := saved(m, disk); err != nil {
		return err
	}
	if err := w.hasAll(b, disk); err != nil {
		return err
	}
	if err := c.bankOf(b, &m.Vote); err != nil {
		return err
	}
	return w.lockouts(b, &m.Vote)
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

// hasAll checks that all UserBlocks that a block and its ancestors name are
// held, well formed, and on disk (PROTOCOL section 7).
func (w *watched) hasAll(b *seenBlock, disk *store) error {
	for x := b; !w.complete[x]; x = x.parent {
		for _, ref := range x.Entries {
			if !w.userBlocks[ref] {
				return fmt.Errorf("vote for %v while UserBlock %v of %v is missing", b.Block, ref, x.Block)
			}
			if !disk.holds(ledger.UserKey(ref.U, ref.Lane), ref.ID) {
				return fmt.Errorf("vote for %v while UserBlock %v of %v is not stored", b.Block, ref, x.Block)
			}
		}
		w.complete[x] = true
	}
	return nil
}

// bankOf checks what a vote reports: a block of the voted fork, with the
// BankHash that all nodes have for it.
func (c *checker) bankOf(b *seenBlock, v *ledger.Vote) error {
	at := b.at(v.BankSlot)
	switch {
	case v.BankSlot > v.Block.Slot || at.Block.Slot != v.BankSlot:
		return fmt.Errorf("vote for %v reports slot %d, which is not on its fork", b.Block, v.BankSlot)
	case !at.banked || at.bank != v.BankHash:
		return fmt.Errorf("vote for %v reports BankHash %v of %v", b.Block, v.BankHash, at.Block)
	case c.prompt && v.BankSlot == v.Block.Slot:
		return fmt.Errorf("vote for %v waited for its execution", b.Block)
	}
	return nil
}

// lockouts checks a vote against all votes that the node has sent before, by
// the rule of FORMATS section 8.
func (w *watched) lockouts(b *seenBlock, v *ledger.Vote) error {
	if n := len(w.tower); n > 0 && w.tower[n-1].block.Block.Slot >= v.Block.Slot {
		return fmt.Errorf("vote for %v after a vote for %v", b.Block, w.tower[n-1].block.Block)
	}
	for n := len(w.tower); n > 0; n-- {
		top := w.tower[n-1]
		if top.block.Block.Slot+1<<top.confirmations >= v.Block.Slot {
			break
		}
		w.tower = w.tower[:n-1]
	}
	if len(w.tower) == consensus.LockoutsMax {
		w.towerRoot = w.tower[0].block
		w.tower = slices.Delete(w.tower, 0, 1)
	}
	for _, held := range w.tower {
		if !b.descends(held.block) {
			return fmt.Errorf("vote for %v is locked out by the vote for %v", b.Block, held.block.Block)
		}
	}
	if !b.descends(w.towerRoot) {
		return fmt.Errorf("vote for %v does not descend from the root %v", b.Block, w.towerRoot.Block)
	}
	w.tower = append(w.tower, ownVote{b, 1})
	for i := range w.tower {
		if len(w.tower) > i+int(w.tower[i].confirmations) {
			w.tower[i].confirmations++
		}
	}
	same := slices.EqualFunc(w.tower, v.Lockouts, func(a ownVote, l ledger.Lockout) bool {
		return a.block.Block.Slot == l.Slot && a.confirmations == l.Confirmations
	})
	if !same || !v.HasRoot || v.Root != w.towerRoot.Block.Slot {
		return fmt.Errorf("vote for %v has tower %v on root %d, not what its votes make", b.Block, v.Lockouts, v.Root)
	}
	return nil
}
