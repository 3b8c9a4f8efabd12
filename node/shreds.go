package node

import (
	"slices"

	"tutti/cluster"
	"tutti/internal/planted"
	"tutti/ledger"
	"tutti/shred"
	"tutti/turbine"
)

// slotsAhead bounds how far in the future a shred's slot may lie: clocks
// differ a little.
const slotsAhead = 2

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
	if s.Version() != cluster.VersionAt(n.genesisVersion, n.restarts, k.Slot()) {
		n.drop("shred", "version", from)
		return
	}
	if k.Slot() > n.slot()+slotsAhead || k.Slot() < n.floor() || !k.IsUser() && k.Slot() <= n.forks.Root().Slot {
		n.drop("shred", "slot", from)
		return
	}
	if n.stopped() && k.Slot() > n.stoppedAt {
		n.drop("shred", "halted", from)
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
	if !repaired && (!passedOn && !in.Passed || planted.Is(planted.PassedTwice)) {
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

// broadcast gives the shreds of an own set to the roots of their trees, and to
// the leaders that wait for them: those of a UserBlock to who can record it, those
// of a leader block to who builds on it.
func (n *Node) broadcast(set *shred.Set) {
	tree := n.trees.of(n, set.Key)
	var leaders []ledger.Pubkey
	if set.Key.IsUser() {
		leaders = n.recorders(set.Key)
	} else if next, ok := n.schedule.Leader(set.Key.Slot() + 1); ok && next != n.self {
		leaders = []ledger.Pubkey{next}
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
			if set.Shreds[i] == nil {
				break // it is too late for this set
			}
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
