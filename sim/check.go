package sim

import (
	"fmt"
	"time"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/invariant"
	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
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
