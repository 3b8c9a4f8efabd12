package node

import (
	"errors"

	"tutti/internal/planted"
	"tutti/ledger"
	"tutti/shred"
	"tutti/validator"
)

// invalid says why a leader block, of which a set is known, is invalid or on
// no fork.
type invalid struct {
	slot ledger.Slot
	err  error
}

// checkingSet is a set of a leader block that is being verified, and what is
// known of the block with it.
type checkingSet struct {
	progress *validator.Progress
	set      *shred.Set
	parts    int // without a verdict
}

// continueBlock takes the next set of a leader block. What the node has made
// itself just now it does not verify.
func (n *Node) continueBlock(set *shred.Set, own bool) {
	if d, ok := n.dead[set.Chained]; ok {
		n.kill(set, d.err)
		return
	}
	var before validator.Progress
	if set.Index == 0 {
		parent := n.forks.Block(ledger.BlockRef{Slot: set.Key.Slot() - ledger.Slot(set.ParentOffset), ID: set.Chained})
		if parent == nil {
			n.waiting[set.Chained] = append(n.waiting[set.Chained], set)
			return
		}
		if !n.choice.Has(parent.BlockRef) {
			n.kill(set, errForkedOff)
			return
		}
		before = validator.Begin(n.rules, set.Key.Slot(), parent)
	} else {
		p := n.progress[set.Chained]
		if p == nil {
			n.waiting[set.Chained] = append(n.waiting[set.Chained], set)
			return
		}
		before = *p
	}
	p, err := before.Next(set)
	if err != nil {
		n.kill(set, err)
		return
	}
	checks := p.Checks(n.unverified(p.FreshVotes))
	if own || len(checks) == 0 {
		n.advance(&p, set)
		return
	}
	n.checking[set.Root] = &checkingSet{&p, set, len(checks)}
	for _, c := range checks {
		n.do(Work{LeaderSetJob{Root: set.Root, SetCheck: c}})
	}
}

// leaderSetChecked takes the verdict on a part of a set.
func (n *Node) leaderSetChecked(ev LeaderSetChecked) {
	c := n.checking[ev.Root]
	if c == nil {
		return // pruned meanwhile, or found wrong before
	}
	c.parts--
	c.progress.Verified += ev.Verified
	switch {
	case ev.Err != nil:
		delete(n.checking, ev.Root)
		n.kill(c.set, ev.Err)
	case c.parts == 0:
		delete(n.checking, ev.Root)
		n.advance(c.progress, c.set)
	}
}

// advance takes a set whose content and votes are right.
func (n *Node) advance(p *validator.Progress, set *shred.Set) {
	n.progress[set.Root] = p
	for i := range p.FreshVotes {
		v := &p.FreshVotes[i]
		n.countVote(&v.Vote, v.Tx)
	}
	if len(p.Fresh) > 0 && n.onHeaviest(p.Parent) {
		for _, named := range p.Fresh {
			n.report(UserBlockRecorded{Slot: p.Slot, Ref: named.Ref})
		}
	}
	if set.Last {
		n.finishBlock(p, set)
	}
	n.resume(set.Root)
}

// resume continues with the sets that waited for this one.
func (n *Node) resume(root ledger.Hash) {
	waiting := n.waiting[root]
	delete(n.waiting, root)
	for _, set := range waiting {
		n.continueBlock(set, false)
	}
}

// errForkedOff is for blocks that do not descend from the root. They need not
// be invalid: an honest leader that has fallen behind can make them.
var errForkedOff = errors.New("forked off below the root")

// kill marks a set, and with it all that continue it, as part of a block that
// is invalid, or on no fork.
func (n *Node) kill(set *shred.Set, err error) {
	n.dead[set.Root] = invalid{set.Key.Slot(), err}
	if errors.Is(err, errForkedOff) {
		leader, _ := n.schedule.Leader(set.Key.Slot())
		n.drop("block", err.Error(), leader)
	} else {
		n.report(BlockRejected{Block: ledger.BlockRef{Slot: set.Key.Slot(), ID: set.Root}, Err: err})
	}
	n.resume(set.Root)
}

// onHeaviest tells whether a block is on the heaviest fork, or its tip.
func (n *Node) onHeaviest(b *validator.Block) bool {
	best := n.forks.Block(n.choice.Best())
	return best != nil && (best.Descends(b.BlockRef) || b.Descends(best.BlockRef))
}

// finishBlock takes a leader block whose last set is here.
func (n *Node) finishBlock(p *validator.Progress, set *shred.Set) {
	b, err := p.Finish()
	if err != nil {
		n.kill(set, err)
		return
	}
	if n.forks.Block(b.BlockRef) != nil {
		return
	}
	if !n.choice.Add(b.BlockRef, b.Parent.BlockRef) { // the root has moved on meanwhile
		n.kill(set, errForkedOff)
		return
	}
	n.forks.Add(b)
	n.collector.Release(set.Key, b.ID) // the store has it
	n.do(Save{Lazy: true, Records: []Record{BlockRecord{Key: set.Key, ID: b.ID, Parent: b.Parent.BlockRef, Roots: p.Roots()}}})

	refs := make([]ledger.UserBlockRef, len(b.Named))
	for i := range b.Named {
		refs[i] = b.Named[i].Ref
	}
	b.Missing = len(refs)
	for _, ref := range refs {
		h := n.held[ref]
		if h == nil {
			n.wanting[ref] = append(n.wanting[ref], b)
			n.collector.Want(ledger.UserKey(ref.U, ref.Lane), ref.ID)
			continue
		}
		n.supply(b, ref, h)
	}
	if b.Ready() || planted.Is(planted.VoteUnheld) {
		n.choice.SetCandidate(b.BlockRef, true)
	}
	signer, _ := n.schedule.Leader(b.Slot)
	n.report(BlockHeld{
		Block: b.BlockRef, Parent: b.Parent.BlockRef, Height: b.Height, LastPoH: b.LastPoH,
		Entries: refs, Missing: b.Missing, Votes: len(p.Votes()), Verified: p.Verified, Own: signer == n.self,
	})
	n.voteDue = true
	n.hearReports(b)
	n.adopt(b)
}

// adopt gives the UserBlocks that waited for a block their anchor.
func (n *Node) adopt(b *validator.Block) {
	if n.tally.Confirmed(b.BlockRef) {
		n.confirm(b)
	}
	waiting := n.unchecked[b.LastPoH]
	delete(n.unchecked, b.LastPoH)
	for _, ref := range waiting {
		if h := n.held[ref]; h != nil && h.on(b) == nil {
			n.checkUserBlock(ref, b)
		}
	}
}
