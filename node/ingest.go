package node

import (
	"errors"
	"slices"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/ledger"
	"tutti/shred"
	"tutti/turbine"
	"tutti/validator"
)

// slotsAhead bounds how far in the future a shred's slot may lie: clocks
// differ a little.
const slotsAhead = 2

// heldUserBlock is a UserBlock of which all sets are here.
type heldUserBlock struct {
	anchor ledger.Hash
	// verdicts are by the block that is the anchor: forks can have different
	// ones with the same last PoH hash, which allow other blockhashes and costs.
	verdicts []*verdict
	block    *ledger.UserBlock // nil until it is found to be well formed
	own      bool
	counted  bool // its fees are in seenFees
}

// verdict says whether a UserBlock is well formed on an anchor.
type verdict struct {
	anchor  *validator.Block
	pending bool
	err     error
}

// on returns the verdict for an anchor, nil if there is none.
func (h *heldUserBlock) on(anchor *validator.Block) *verdict {
	for _, v := range h.verdicts {
		if v.anchor == anchor {
			return v
		}
	}
	return nil
}

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

// keyState is what the node remembers of a slot field.
type keyState struct {
	// spread has, by root of a set of a UserBlock, the places whose shred is
	// on its way through Turbine as far as this node can tell: its retransmitter
	// sent it here, or this node is the first. A leader that names the block
	// sees to the others.
	spread map[ledger.Hash]uint64
	seen   bool // a correctly signed shred has come
}

func (n *Node) key(k ledger.SlotKey) *keyState {
	s := n.keys[k]
	if s == nil {
		s = &keyState{}
		n.keys[k] = s
	}
	return s
}

// signer returns who may sign shreds with that slot field.
func (n *Node) signer(k ledger.SlotKey) (ledger.Pubkey, bool) {
	if !k.IsUser() {
		return n.schedule.Leader(k.Slot())
	}
	u, lane := k.User()
	lanes := n.schedule.Proposers(u)
	if int(lane) >= len(lanes) {
		return ledger.Pubkey{}, false
	}
	return lanes[lane], true
}

// onShred takes a shred from Turbine or from a repair answer.
func (n *Node) onShred(from ledger.Pubkey, m ShredMessage, repaired bool) {
	s := &m.Shred
	k := s.Key()
	if s.Version() != n.shredVersion {
		n.drop("shred", "version", from)
		return
	}
	if k.Slot() > n.slot()+slotsAhead || k.Slot() < n.floor() || !k.IsUser() && k.Slot() <= n.forks.Root().Slot {
		n.drop("shred", "slot", from)
		return
	}
	signer, ok := n.signer(k)
	if !ok {
		n.drop("shred", "lane", from)
		return
	}
	if refused := n.collector.Refuses(s, m.Root); refused != turbine.Kept {
		n.drop("shred", refused.String(), from)
		return
	}
	if !n.rootSigned(m, signer) {
		n.drop("shred", "signature", from)
		return
	}
	place := n.trees.of(n, k).Place(k, s.IsData(), s.Index(), signer, n.self)
	if !repaired && !n.retransmitterSigned(m, from, place) {
		n.drop("shred", "retransmitter", from)
		return
	}
	state := n.key(k)
	state.seen = true
	in := n.collector.Insert(*s, m.Root)
	if in.Conflict != nil {
		n.foundConflict(k, signer, in.Conflict)
	}
	// The root of a tree that has named the UserBlock has passed all on.
	passedOn := place.Depth == 0 && state.spread[m.Root]&(1<<m.Shred.Position()) != 0
	if k.IsUser() && !repaired && (place.Depth == 0 && in.New || place.Depth > 0 && from == place.Parent) {
		state.markSpread(m)
	}
	if !in.New {
		if in.Drop != turbine.DropDuplicate {
			n.drop("shred", in.Drop.String(), from)
		}
		return
	}
	n.report(ShredSeen{Key: k, Depth: place.Depth, Repaired: repaired})
	if !repaired && !passedOn && !in.Passed {
		n.retransmit(ShredMessage{Shred: in.Shred, Root: m.Root}, place)
	}
	if len(in.Ready) > 0 {
		n.do(Work{AssembleJob{Key: k, Root: m.Root, Shreds: in.Ready}})
	}
}

// rootSigned verifies the signature of a set's root, once for all shreds of a
// set that is kept.
func (n *Node) rootSigned(m ShredMessage, signer ledger.Pubkey) bool {
	return n.collector.Known(m.Shred.Key(), m.Root) || n.signedBy(&m, signer)
}

// signedBy verifies the signature that a shred carries.
func (n *Node) signedBy(m *ShredMessage, signer ledger.Pubkey) bool {
	sig := m.Shred.Signature()
	if n.cfg.VerifySigner != nil {
		return n.cfg.VerifySigner(signer, m.Root, sig)
	}
	return n.params.SignatureRule.Verify(signer[:], m.Root[:], sig[:])
}

// retransmitterSigned verifies, once a set, what a parent in the tree wrote
// into the last set of a leader block (FORMATS section 2). Shreds that take
// another way, as from the leader itself, prove themselves.
func (n *Node) retransmitterSigned(m ShredMessage, from ledger.Pubkey, place turbine.Place) bool {
	if !m.Shred.Resigned() || place.Depth == 0 || from != place.Parent {
		return true
	}
	id := ledger.Sum(m.Root[:], from[:], m.Shred.Raw()[len(m.Shred.Raw())-len(ledger.Signature{}):])
	if _, ok := n.resigned[id]; ok {
		return true
	}
	if !m.Shred.VerifyRetransmitter(n.params.SignatureRule, from) {
		return false
	}
	n.resigned[id] = m.Shred.Key().Slot()
	return true
}

// retransmit forwards a shred to its children in the tree, once.
func (n *Node) retransmit(m ShredMessage, place turbine.Place) {
	if len(place.Children) == 0 {
		return
	}
	if m.Shred.Resigned() {
		raw := slices.Clone(m.Shred.Raw())
		if err := shred.Resign(raw, n.cfg.Identity); err != nil {
			panic("node: resign a shred that has room for it: " + err.Error())
		}
		s, err := shred.Parse(raw)
		if err != nil {
			panic("node: resigned shred: " + err.Error())
		}
		m.Shred = s
	}
	n.do(Send{To: place.Children, Msg: m})
}

// broadcast gives the shreds of an own set to the roots of their trees, and
// those of a UserBlock to the leaders that can record it.
func (n *Node) broadcast(set *shred.Set) {
	tree := n.trees.of(n, set.Key)
	var leaders []ledger.Pubkey
	if set.Key.IsUser() {
		leaders = n.recorders(set.Key)
	}
	sent := Broadcast{Key: set.Key, Made: len(set.Shreds)}
	for i := range set.Shreds {
		s := set.Shred(i)
		m := ShredMessage{Shred: s, Root: set.Root}
		root, ok := tree.Root(set.Key, s.IsData(), s.Index(), n.self)
		if ok {
			n.do(Send{To: []ledger.Pubkey{root}, Msg: m})
			sent.Roots++
		}
		for _, l := range leaders {
			if !ok || l != root {
				n.do(Send{To: []ledger.Pubkey{l}, Msg: m})
				sent.Copies++
			}
		}
	}
	n.report(sent)
}

// recorders returns the leaders of the sections in which a UserBlock can be
// recorded if no slot is skipped, without this node.
func (n *Node) recorders(k ledger.SlotKey) (leaders []ledger.Pubkey) {
	u, _ := k.User()
	for w := u + 1; uint64(w-u) <= n.params.InclusionWindow; w++ {
		l, ok := n.schedule.Leader(w.Slot())
		if !ok || l == n.self || len(leaders) > 0 && leaders[len(leaders)-1] == l {
			continue
		}
		leaders = append(leaders, l)
	}
	return leaders
}

// markSpread notes that a shred of a UserBlock takes its way through Turbine.
func (s *keyState) markSpread(m ShredMessage) {
	if s.spread == nil {
		s.spread = make(map[ledger.Hash]uint64)
	}
	s.spread[m.Root] |= 1 << m.Shred.Position()
}

// rebroadcast gives those shreds of a UserBlock that no retransmitter gave
// this node to the roots of their trees (PROTOCOL section 5): a proposer that
// feeds only the leader cannot kill the slot.
func (n *Node) rebroadcast(ref ledger.UserBlockRef) {
	k := ledger.UserKey(ref.U, ref.Lane)
	signer, _ := n.signer(k)
	if signer == n.self {
		return
	}
	state := n.key(k)
	tree := n.trees.of(n, k)
	for _, set := range n.collector.Chain(k, ref.ID) {
		for i := range set.Shreds {
			s := set.Shred(i)
			m := ShredMessage{Shred: s, Root: set.Root}
			if state.spread[set.Root]&(1<<i) != 0 {
				continue
			}
			state.markSpread(m)
			root, ok := tree.Root(k, s.IsData(), s.Index(), signer)
			switch {
			case !ok:
			case root == n.self:
				n.retransmit(m, tree.Place(k, s.IsData(), s.Index(), signer, n.self))
			default:
				n.do(Send{To: []ledger.Pubkey{root}, Msg: m})
			}
		}
	}
}

// foundConflict stores and spreads the proof that a signer made two blocks
// under one key.
func (n *Node) foundConflict(k ledger.SlotKey, signer ledger.Pubkey, pair *[2]shred.Shred) {
	if n.equivocating[k] {
		return
	}
	n.equivocating[k] = true
	n.do(Save{Lazy: true, Records: []Record{EvidenceRecord{Key: k, A: pair[0].Raw(), B: pair[1].Raw()}}})
	n.report(Equivocated{Key: k, Signer: signer})
	a, errA := shredMessage(pair[0])
	b, errB := shredMessage(pair[1])
	if errA == nil && errB == nil {
		n.do(Send{To: n.stakedPeers(), Msg: EvidenceMessage{A: a, B: b}})
	}
}

func shredMessage(s shred.Shred) (ShredMessage, error) {
	root, err := s.Root()
	return ShredMessage{Shred: s, Root: root}, err
}

// onEvidence checks a proof of equivocation from a peer: whoever gets it from
// here must find both signatures in it.
func (n *Node) onEvidence(from ledger.Pubkey, m EvidenceMessage) {
	a, b := &m.A.Shred, &m.B.Shred
	k := a.Key()
	if n.equivocating[k] {
		return
	}
	signer, ok := n.signer(k)
	switch {
	case b.Key() != k || a.SetIndex() != b.SetIndex() || m.A.Root == m.B.Root,
		a.Version() != n.shredVersion || b.Version() != n.shredVersion,
		!ok, k.Slot() <= n.forks.Root().Slot, k.Slot() > n.slot()+slotsAhead,
		!n.signedBy(&m.A, signer), !n.signedBy(&m.B, signer):
		n.drop("evidence", "proof", from)
		return
	}
	n.foundConflict(k, signer, &[2]shred.Shred{*a, *b})
}

// assembled takes a set that was recovered and re-encoded.
func (n *Node) assembled(ev Assembled) {
	if ev.Err != nil {
		n.collector.Failed(ev.Root)
		n.drop("set", "inconsistent", ledger.Pubkey{})
		return
	}
	n.report(SetCompleted{Key: ev.Key, Recovered: ev.Recovered})
	n.passOn(ev.Set)
	n.take(ev.Set, false)
}

// passOn forwards the shreds of a recovered set that have not come, as if they
// had: one that is lost or withheld on the way here is not missing in all the
// tree below. If they do come they are not forwarded again.
// Sets that are repaired later are nobody's news.
func (n *Node) passOn(set *shred.Set) {
	k := set.Key
	if !n.inTransit(k.Slot()) {
		return
	}
	missing := n.collector.PassOn(set.Root)
	signer, _ := n.signer(k)
	tree := n.trees.of(n, k)
	for i := range set.Shreds {
		if missing&(1<<i) == 0 {
			continue
		}
		s := set.Shred(i)
		m := ShredMessage{Shred: s, Root: set.Root}
		place := tree.Place(k, s.IsData(), s.Index(), signer, n.self)
		if k.IsUser() && place.Depth == 0 {
			n.key(k).markSpread(m)
		}
		n.retransmit(m, place)
	}
}

// take stores a complete set and continues its block with it.
func (n *Node) take(set *shred.Set, own bool) {
	n.do(Save{Lazy: true, Records: []Record{SetRecord{Set: set}}})
	n.chain(set, own)
}

// chain continues blocks with a set that is stored.
func (n *Node) chain(set *shred.Set, own bool) {
	for _, next := range n.collector.Assembled(set) {
		if next.Key.IsUser() {
			if next.Last {
				n.holdUserBlock(next.Key, next.Root, own)
			}
			continue
		}
		n.continueBlock(next, own)
	}
}

// holdUserBlock begins the check of a UserBlock whose sets are all here.
func (n *Node) holdUserBlock(k ledger.SlotKey, id ledger.Hash, own bool) {
	u, lane := k.User()
	ref := ledger.UserBlockRef{U: u, Lane: lane, ID: id}
	if n.held[ref] != nil {
		return
	}
	sets := n.collector.Chain(k, id)
	n.held[ref] = &heldUserBlock{own: own, anchor: sets[0].Chained}
	roots := make([]ledger.Hash, len(sets))
	for i := range sets {
		roots[i] = sets[i].Root
	}
	n.do(Save{Lazy: true, Records: []Record{BlockRecord{Key: k, ID: id, Roots: roots}}})
	if anchor := n.likelyAnchor(sets[0].Chained); anchor != nil {
		n.checkUserBlock(ref, anchor)
	} else {
		n.unchecked[sets[0].Chained] = append(n.unchecked[sets[0].Chained], ref)
	}
}

// likelyAnchor returns a block with that last PoH hash: on the heaviest fork
// if there is one.
func (n *Node) likelyAnchor(hash ledger.Hash) *validator.Block {
	known := n.forks.ByPoH(hash)
	if len(known) > 1 {
		if b := n.forks.Block(n.choice.Best()).Anchor(hash); b != nil {
			return b
		}
	}
	if len(known) == 0 {
		return nil
	}
	return known[0]
}

// checkUserBlock hands a UserBlock to the workers, to be checked with that
// anchor.
func (n *Node) checkUserBlock(ref ledger.UserBlockRef, anchor *validator.Block) {
	h := n.held[ref]
	k := ledger.UserKey(ref.U, ref.Lane)
	signer, _ := n.signer(k)
	h.verdicts = append(h.verdicts, &verdict{anchor: anchor, pending: true})
	n.do(Work{UserBlockJob{Anchor: anchor.BlockRef, UserBlockCheck: validator.UserBlockCheck{
		Ref:         ref,
		Proposer:    signer,
		Sets:        n.collector.Chain(k, ref.ID),
		Params:      n.params,
		Blockhashes: anchor.Blockhashes(validator.BlockhashAge),
		CostMax:     n.costMax(anchor),
		Own:         h.own,
	}}})
}

// costMax returns c′ for UserBlocks anchored at a block.
func (n *Node) costMax(anchor *validator.Block) uint64 {
	return consensus.CostMax(n.params.UserBlockCostMax(), anchor.Lag, int(n.params.LagFull), int(n.params.LagZero))
}

// userBlockChecked takes the verdict on a UserBlock.
func (n *Node) userBlockChecked(ev UserBlockChecked) {
	h := n.held[ev.Ref]
	if h == nil {
		return // pruned meanwhile
	}
	for _, v := range h.verdicts {
		if v.anchor.BlockRef == ev.Anchor {
			v.pending, v.err = false, ev.Err
		}
	}
	switch {
	case ev.Err != nil:
		n.report(UserBlockRejected{Ref: ev.Ref, Err: ev.Err})
	case h.block == nil:
		h.block = ev.Block
		n.countFees(h)
		n.report(UserBlockHeld{Block: ev.Block, Verified: ev.Verified, Own: h.own})
	}
	blocks := n.wanting[ev.Ref]
	delete(n.wanting, ev.Ref)
	for _, b := range blocks {
		n.supply(b, ev.Ref, h)
	}
}

// supply tells a block that a UserBlock which it names is here: it is judged
// with the anchor on that block's fork.
func (n *Node) supply(b *validator.Block, ref ledger.UserBlockRef, h *heldUserBlock) {
	if n.forks.Block(b.BlockRef) != b || b.Bad != nil || b.Parent == nil {
		return
	}
	anchor := b.Parent.Anchor(h.anchor)
	if anchor == nil {
		n.reject(b, validator.ErrAnchor)
		return
	}
	switch v := h.on(anchor); {
	case v == nil:
		n.checkUserBlock(ref, anchor)
		fallthrough
	case v.pending:
		n.wanting[ref] = append(n.wanting[ref], b)
	case v.err != nil:
		n.reject(b, v.err)
	default:
		b.Missing--
		if b.Ready() {
			n.choice.SetCandidate(b.BlockRef, true)
			n.voteDue = true
		}
	}
}

// reject makes a block whose own bytes were right invalid, because of a
// UserBlock that it names.
func (n *Node) reject(b *validator.Block, err error) {
	b.Bad = err
	n.choice.SetCandidate(b.BlockRef, false)
	n.report(BlockRejected{Block: b.BlockRef, Err: err})
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
	if b.Ready() {
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

// AssembleJob recovers a FEC set from half of its shreds or more.
type AssembleJob struct {
	Key    ledger.SlotKey
	Root   ledger.Hash
	Shreds []shred.Shred
}

// Run recovers the set, encodes it again and compares the root.
func (j AssembleJob) Run() Event {
	have := 0
	for i := range j.Shreds {
		if j.Shreds[i].IsData() {
			have++
		}
	}
	set, err := shred.Assemble(j.Shreds)
	return Assembled{Key: j.Key, Root: j.Root, Set: set, Recovered: shred.SetData - have, Err: err}
}

// UserBlockJob checks a UserBlock with an anchor.
type UserBlockJob struct {
	validator.UserBlockCheck
	Anchor ledger.BlockRef
}

// Run decides whether the UserBlock is well formed.
func (j UserBlockJob) Run() Event {
	block, verified, err := j.Check()
	return UserBlockChecked{Ref: j.Ref, Anchor: j.Anchor, Block: block, Verified: verified, Err: err}
}

// LeaderSetJob verifies hashes and votes of a leader block's set, which has
// that root, or a part of them.
type LeaderSetJob struct {
	validator.SetCheck
	Root ledger.Hash
}

// Run verifies hashes and signatures.
func (j LeaderSetJob) Run() Event {
	verified, err := j.Check()
	return LeaderSetChecked{Root: j.Root, Verified: verified, Err: err}
}

// treeCache keeps the Turbine tree of the epoch asked for last.
type treeCache struct {
	epoch uint64
	tree  *turbine.Tree
}

func (c *treeCache) of(n *Node, k ledger.SlotKey) *turbine.Tree {
	epoch := n.schedule.Epoch(k.Slot())
	if c.tree == nil || c.epoch != epoch {
		var nodes []cluster.Node
		if stakes := n.schedule.Stakes(epoch); stakes != nil {
			nodes = stakes.Nodes()
		}
		c.epoch, c.tree = epoch, turbine.NewTree(nodes, n.params.Fanout)
	}
	return c.tree
}
