package sim

import (
	"errors"
	"fmt"
	"time"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/invariant"
	"tutti/ledger"
	"tutti/node"
	"tutti/proposer"
	"tutti/repair"
	"tutti/shred"
	"tutti/turbine"
)

// Violation is a broken promise of the protocol, with all that is needed to
// see it again.
type Violation struct {
	Seed    uint64
	At      time.Duration // virtual time since the start
	Node    int
	Verdict Verdict
	What    string
}

// Error says what is broken and how to see it again.
func (v *Violation) Error() string {
	return fmt.Sprintf("seed %d, virtual time %v, node %d: %v: %s", v.Seed, v.At, v.Node, v.Verdict, v.What)
}

// checker watches what all honest nodes say and send, and knows better than
// each of them. It takes nothing from the nodes' insides: blocks are what they
// report, votes are the bytes that they send, and what a node holds is on its
// disk. What dishonest nodes say and send it does not look at: they promise
// nothing.
type checker struct {
	genesis *cluster.Genesis
	ledger  *invariant.Ledger
	votes   *invariant.Votes
	halts   *invariant.Halts
	// crossed is when more than a third of the stake had reported another
	// BankHash first; 0: not yet.
	crossed time.Duration
	nodes   []watched
	signers signers
	// villains are the identities and vote accounts of dishonest validators.
	villains map[ledger.Pubkey]bool
	// prompt says that nothing keeps a vote from following its block at once:
	// no message is lost, and votes do not wait for execution.
	prompt bool

	confirmed, rooted invariant.Chain
	// firm says that confirmed blocks must lie on one chain; otherwise confirmed
	// is the chain of the newest of them.
	firm bool
	said map[*invariant.Block]*sayings
	// made has the id of the block that each signer made under a key.
	made map[ledger.SlotKey]ledger.Hash

	compared, mismatched int
	// kept is the most that any honest node kept in memory, each for itself.
	kept node.Usage
}

// sayings are the nodes that have confirmed, executed and rooted a block.
type sayings struct{ confirmed, executed, rooted nodeSet }

// nodeSet is a set of nodes.
type nodeSet map[int]struct{}

func (s *nodeSet) add(i int) {
	if *s == nil {
		*s = make(nodeSet)
	}
	(*s)[i] = struct{}{}
}

// watched is what is known of one node since it started last, and of its
// votes and shreds since the beginning.
type watched struct {
	dishonest  bool
	halted     bool                         // for ever
	stalled    bool                         // it does not vote for now
	blocks     map[*invariant.Block]bool    // held
	userBlocks map[ledger.UserBlockRef]bool // held and well formed
	complete   map[*invariant.Block]bool    // all UserBlocks up to it are held
	root       *invariant.Block
	highest    *invariant.Block // root, ever
	confirmed  ledger.Slot
	final      ledger.Slot
	last       []byte // the last vote's transaction
	counted    map[counted]bool
	// own has the root of each FEC set that the node made, sent the nodes to
	// which it has sent each shred.
	own  map[setPlace]ledger.Hash
	sent map[ledger.Hash]*fanned
}

// counted is a vote that a node has counted.
type counted struct {
	account ledger.Pubkey
	block   ledger.BlockRef
}

// setPlace is the place of a FEC set.
type setPlace struct {
	key   ledger.SlotKey
	index uint32
}

// fanned says to which nodes the shreds of a set were sent.
type fanned struct {
	slot ledger.Slot
	to   [shred.SetSize][]uint64 // bits
}

func newChecker(g *cluster.Genesis, bankHash ledger.Hash, villains *dishonest) *checker {
	l := invariant.New(g, bankHash)
	c := &checker{
		genesis: g,
		ledger:  l,
		votes:   invariant.NewVotes(l),
		halts:   invariant.NewHalts(l),
		nodes:   make([]watched, len(g.Validators)+len(villains.twins)),
		signers: signers{schedule: cluster.NewSchedule(g), of: make(map[ledger.SlotKey]ledger.Pubkey)},
		said:    make(map[*invariant.Block]*sayings),
		made:    make(map[ledger.SlotKey]ledger.Hash),

		villains: make(map[ledger.Pubkey]bool),
		firm:     villains.firm(g.Validators),
	}
	for i, v := range g.Validators {
		if !villains.honest(i) {
			c.villains[v.Identity], c.villains[v.VoteAccount] = true, true
			c.nodes[i].dishonest = true
			c.votes.Distrust(v.VoteAccount)
		}
	}
	for i := range villains.twins {
		c.nodes[len(g.Validators)+i].dishonest = true
	}
	for i := range c.nodes {
		w := &c.nodes[i]
		w.own = make(map[setPlace]ledger.Hash)
		w.highest = l.Root()
		w.startAt(l.Root())
	}
	return c
}

// startAt makes a node know nothing but a root.
func (w *watched) startAt(root *invariant.Block) {
	w.root = root
	w.blocks = map[*invariant.Block]bool{root: true}
	w.userBlocks = make(map[ledger.UserBlockRef]bool)
	w.complete = map[*invariant.Block]bool{root: true}
	w.sent = make(map[ledger.Hash]*fanned)
	w.counted = make(map[counted]bool)
	w.final = 0
	w.stalled = false
}

// signers remembers who may sign what.
type signers struct {
	schedule *cluster.Schedule
	of       map[ledger.SlotKey]ledger.Pubkey
}

func (s *signers) signer(k ledger.SlotKey) ledger.Pubkey {
	who, ok := s.of[k]
	if ok {
		return who
	}
	if u, lane := k.User(); !k.IsUser() {
		who, _ = s.schedule.Leader(k.Slot())
	} else if lanes := s.schedule.Proposers(u); int(lane) < len(lanes) {
		who = lanes[lane]
	}
	s.of[k] = who
	return who
}

func (c *checker) of(b *invariant.Block) *sayings {
	s := c.said[b]
	if s == nil {
		s = &sayings{}
		c.said[b] = s
	}
	return s
}

// honest returns how many nodes are.
func (c *checker) honest() (n int) {
	for i := range c.nodes {
		if !c.nodes[i].dishonest {
			n++
		}
	}
	return n
}

// madeHonestly tells whether whoever may make a block under a key is honest.
func (c *checker) madeHonestly(key ledger.SlotKey) bool { return !c.villains[c.signers.signer(key)] }

// restarted looks at a node that has come back: the BankHash of its root is
// the one that it had, and a vote that reached its disk counts as sent.
func (c *checker) restarted(host int, root ledger.BlockRef, bankHash ledger.Hash, disk *store) error {
	w := &c.nodes[host]
	if w.dishonest {
		return nil
	}
	b, err := c.ledger.Block(root)
	if err != nil {
		return err
	}
	if !b.Executed || b.BankHash != bankHash {
		return fmt.Errorf("comes back at %v with BankHash %v, not %v", root, bankHash, b.BankHash)
	}
	if !b.Descends(w.highest) && !w.highest.Descends(b) {
		return fmt.Errorf("comes back at %v, off the chain of %v, its root before", root, w.highest.Ref)
	}
	w.startAt(b)
	if disk.tower == nil {
		return nil
	}
	tower, err := consensus.ParseTower(disk.tower)
	if err != nil {
		return err
	}
	raw := tower.Transaction()
	if len(raw) == 0 || string(raw) == string(w.last) {
		return nil
	}
	tx, err := ledger.ParseTransaction(raw)
	if err != nil {
		return err
	}
	vote, err := ledger.ParseVote(&tx)
	if err != nil {
		return err
	}
	w.last = raw
	return c.votes.Cast(&vote)
}

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
