package node

import (
	"slices"
	"time"

	"tutti/consensus"
	"tutti/internal/churn"
	"tutti/internal/planted"
	"tutti/leader"
	"tutti/ledger"
	"tutti/proposer"
	"tutti/shred"
	"tutti/validator"
)

// madeUserBlock is an own UserBlock that is not known to be executed or lost.
type madeUserBlock struct {
	ref   ledger.UserBlockRef
	block *proposer.Builder
}

// nextTick returns when production next has something to do.
func (n *Node) nextTick() time.Time {
	if !n.started() {
		_, first := n.start()
		return n.due(first)
	}
	tick := n.tick() + 1
	if n.making == nil && n.leading == nil && n.pool.Len() == 0 && !n.awaitsLead() {
		// Nothing runs: the next UserBlockSlot, and perhaps slot, begins here.
		tick = (tick + ledger.TicksPerUserSlot - 1) / ledger.TicksPerUserSlot * ledger.TicksPerUserSlot
	}
	return n.due(tick)
}

// propose builds this node's UserBlocks (PROTOCOL section 4).
func (n *Node) propose() {
	if !n.started() || n.stopped() {
		return
	}
	tick := n.tick()
	for {
		if n.making == nil && !n.beginUserBlock(tick) {
			return
		}
		if !n.continueUserBlock(tick) {
			return
		}
	}
}

// beginUserBlock starts the UserBlock of the running UserBlockSlot if this
// node has a lane in it and something to say. It looks through the pool once a
// tick.
func (n *Node) beginUserBlock(tick uint64) bool {
	u := ledger.UserSlot(tick / ledger.TicksPerUserSlot)
	if u <= n.begunUser || u == 0 || n.pool.Len() == 0 {
		return false
	}
	if u != n.relayedUser {
		n.relayedUser = u
		n.pool.Resume()
		n.relayNonces()
	}
	lane, ok := n.schedule.Lane(u, n.self)
	if !ok {
		n.forward(u)
		return false
	}
	if n.triedTick == tick {
		return false
	}
	n.triedTick = tick
	n.pool.Resume()
	anchor := n.anchor()
	cost := n.costMax(anchor)
	if cost == 0 || !n.recordable(anchor) || !n.pool.Any(n.expiry(anchor, lane)) {
		return false
	}
	n.begunUser = u
	key := ledger.UserKey(u, lane)
	n.do(Save{Lazy: planted.Is(planted.BegunUnsynced), Records: []Record{BegunRecord{Key: key}}})
	n.makingOn = anchor
	n.making = proposer.NewBuilder(proposer.Config{
		U: u, Lane: lane, Anchor: anchor.LastPoH, Signer: n.cfg.Identity,
		ShredVersion: n.shredVersion, Params: n.params, CostMax: cost,
	})
	return true
}

// recordable tells whether a UserBlock with that anchor could be named on the
// heaviest fork: if nothing has been confirmed for too long, it could not.
func (n *Node) recordable(anchor *validator.Block) bool {
	return n.forks.Block(n.choice.Best()).Anchor(anchor.LastPoH) == anchor
}

// anchor returns the newest confirmed block that this node holds with the
// UserBlocks of all its ancestors.
func (n *Node) anchor() *validator.Block {
	for b := n.newest; ; b = b.Parent {
		if b.Parent == nil || n.choice.Candidate(b.BlockRef) {
			return b
		}
	}
}

// expiry judges pooled transactions by the rule on blockhashes (PROTOCOL
// section 4 (8)) for UserBlocks on that anchor and in that lane. One that came
// a second time while it is in an own UserBlock is thrown away.
func (n *Node) expiry(anchor *validator.Block, lane ledger.Lane) func(*proposer.Pooled) proposer.Verdict {
	return func(t *proposer.Pooled) proposer.Verdict {
		switch {
		case n.packed(t.Hash):
			return proposer.Expired
		case t.Durable:
			return n.nonceVerdict(t, lane)
		}
		return n.blockhash(t.Tx.RecentBlockhash(), anchor)
	}
}

// blockhash judges a transaction's blockhash for UserBlocks on that anchor:
// it fits if it is one of the newest of the anchor's fork, and waits if it is
// that of a block which descends from the anchor.
func (n *Node) blockhash(hash ledger.Hash, anchor *validator.Block) proposer.Verdict {
	verdict := proposer.Expired
	for _, b := range n.forks.ByPoH(hash) {
		switch {
		case b.Height > anchor.Height:
			if b.Descends(anchor.BlockRef) {
				verdict = proposer.Waits
			}
		case anchor.Height-b.Height < validator.BlockhashAge && anchor.Descends(b.BlockRef):
			return proposer.Fits
		}
	}
	return verdict
}

// packed tells whether a transaction is in an own UserBlock that may still
// be executed.
func (n *Node) packed(hash ledger.Hash) bool {
	return n.making != nil && n.making.Has(hash) || n.inMade[hash]
}

// continueUserBlock packs and closes the ticks that are over: what came within a
// tick stands in one entry, dearest first, unless it fills an FEC set. It tells
// whether the block was closed.
func (n *Node) continueUserBlock(tick uint64) bool {
	b := n.making
	first := uint64(b.U()) * ledger.TicksPerUserSlot
	judge := n.expiry(n.makingOn, b.Lane())
	for !b.Done() && first+uint64(b.Ticks()) < tick {
		n.emitUser(b.Pack(n.pool, judge))
		n.emitUser(b.CloseTick())
	}
	if !b.Done() {
		return false
	}
	n.making, n.makingOn = nil, nil
	return true
}

// emitUser sends sets of the UserBlock that is being made.
func (n *Node) emitUser(sets []*shred.Set, err error) {
	if err != nil {
		panic("node: own UserBlock: " + err.Error())
	}
	for _, set := range sets {
		if set.Last {
			n.made = append(n.made, &madeUserBlock{
				ref:   ledger.UserBlockRef{U: n.making.U(), Lane: n.making.Lane(), ID: set.Root},
				block: n.making,
			})
			for _, t := range n.making.Transactions {
				n.inMade[t.Hash] = true
			}
		}
		n.broadcast(set)
		n.take(set, true)
	}
}

// forward gives pooled transactions, durable ones apart, to a scheduled
// proposer when this node has no lane.
func (n *Node) forward(u ledger.UserSlot) {
	lanes := n.schedule.Proposers(u)
	if len(lanes) == 0 {
		return
	}
	to := lanes[n.rng.IntN(len(lanes))]
	taken := n.pool.Take(func(t *proposer.Pooled) proposer.Verdict {
		if t.Durable {
			return proposer.Waits
		}
		return proposer.Fits
	})
	for _, t := range taken {
		n.do(Send{To: []ledger.Pubkey{to}, Msg: TransactionMessage{Tx: t.Tx}})
	}
}

// forgetMade forgets a transaction of an own UserBlock.
func (n *Node) forgetMade(t *proposer.Pooled) {
	delete(n.inMade, t.Hash)
	n.deleted.inMade++
	n.inMade = churn.Renew(n.inMade, &n.deleted.inMade)
}

// reviewMade looks, when a block is confirmed, whether own UserBlocks were
// recorded on its fork. Those whose window has passed give their
// transactions back to the pool.
func (n *Node) reviewMade(confirmed *validator.Block) {
	n.made = slices.DeleteFunc(n.made, func(m *madeUserBlock) bool {
		if confirmed.Names(m.ref.U, m.ref.Lane) {
			if !n.executedOn(confirmed).Names(m.ref.U, m.ref.Lane) {
				return false
			}
			for _, t := range m.block.Transactions {
				n.forgetMade(t)
			}
			return true
		}
		next := (confirmed.Slot + 1).FirstUserSlot()
		if validator.Window(n.params, confirmed, m.ref.U, next) == nil || m.ref.U >= next {
			return false
		}
		missed := UserBlockMissed{Ref: m.ref}
		for _, t := range m.block.Transactions {
			n.forgetMade(t)
			if !n.recentDone.has(t.Hash, confirmed) {
				missed.Transactions++
				_ = n.addPooled(t) // a full pool loses the cheapest
			}
		}
		n.report(missed)
		return true
	})
}

// leadState is what the leader keeps beside its builder.
type leadState struct {
	parent *validator.Block
	named  map[ledger.UserBlockRef]bool
	lanes  map[laneOf]bool
	// voted has, by account, the slot of the last vote recorded.
	voted map[ledger.Pubkey]ledger.Slot
}

type laneOf struct {
	u    ledger.UserSlot
	lane ledger.Lane
}

// awaitsLead tells whether this node is leader of the running slot and has
// not begun.
func (n *Node) awaitsLead() bool {
	s := n.slot()
	l, ok := n.schedule.Leader(s)
	return ok && l == n.self && s > n.begunSlot
}

// lead builds this node's leader blocks (PROTOCOL section 1 and 5).
func (n *Node) lead() {
	if !n.started() || n.stopped() {
		return
	}
	for {
		if n.leading == nil && !n.beginBlock() {
			return
		}
		if !n.continueLead() {
			return
		}
	}
}

// beginBlock starts the block of the running slot, if it is this node's to
// make and there is a parent, or the time to wait for a better one is over.
func (n *Node) beginBlock() bool {
	s := n.slot()
	if s == 0 || !n.awaitsLead() || !n.caughtUp() {
		return false
	}
	parent := n.buildOn()
	if parent.Slot >= s {
		return false
	}
	if s-parent.Slot > leader.SkipMax {
		if !n.toldSkip {
			n.toldSkip = true
			n.report(StoodStill{Slot: s, Parent: parent.Slot})
		}
		return false
	}
	if n.tick() < uint64(s)*ledger.TicksPerSlot+n.params.GraceTicks && n.seenShred(s-1) && !n.holdsVotable(s-1) {
		return false
	}
	n.begunSlot, n.toldSkip = s, false
	n.do(Save{Lazy: planted.Is(planted.BegunUnsynced), Records: []Record{BegunRecord{Key: s.Key()}}})
	n.leading = leader.NewBuilder(leader.Config{
		Slot: s, Parent: parent.BlockRef, ParentPoH: parent.LastPoH,
		Signer: n.cfg.Identity, ShredVersion: n.shredVersion, Params: n.params,
	})
	n.leadTip = leadState{
		parent: parent,
		named:  make(map[ledger.UserBlockRef]bool),
		lanes:  make(map[laneOf]bool),
		voted:  make(map[ledger.Pubkey]ledger.Slot),
	}
	return true
}

// holdsVotable tells whether this node holds a votable block of a slot, be it on
// the fork that it builds on or not: there is none to wait for.
func (n *Node) holdsVotable(s ledger.Slot) bool {
	return slices.ContainsFunc(n.choice.Candidates(s), func(ref ledger.BlockRef) bool {
		return n.votable(ref).BlockRef == ref
	})
}

// seenShred tells whether a correctly signed shred of a slot has come, or this
// node has made the slot's block itself.
func (n *Node) seenShred(s ledger.Slot) bool {
	k := n.keys[s.Key()]
	return s == n.begunSlot || k != nil && k.seen
}

// buildOn returns the block to build on: the newest votable one on the heaviest
// fork, or, as long as own votes lock this node out of that and too little stake
// is locked out of the fork of the last of them to switch, the newest votable one
// there (FORMATS section 8; docs/decisions.md).
func (n *Node) buildOn() *validator.Block {
	best := n.choice.Best()
	if last, ok := n.tower.Last(); ok && n.tower.LockedOut(best, n.slot(), n.choice) &&
		n.tower.Switch(best, n.choice, n.ballotsOf).Verdict == consensus.NoSwitch {
		if own, ok := n.choice.BestOn(last); ok {
			best = own
		}
	}
	return n.votable(best)
}

// continueLead records and closes the ticks that are over. It tells whether
// the block was closed.
func (n *Node) continueLead() bool {
	b := n.leading
	first := uint64(b.Slot()) * ledger.TicksPerSlot
	for !b.Done() && first+uint64(b.Ticks()) < n.tick() {
		n.recordReceipt()
		n.recordUserBlocks()
		n.recordVotes()
		sets, err := b.CloseTick(n.allNamed())
		if err != nil {
			panic("node: own block: " + err.Error())
		}
		for _, set := range sets {
			n.broadcast(set)
			n.take(set, true)
		}
	}
	if !b.Done() {
		return false
	}
	n.leading = nil
	return true
}

// recordReceipt records the newest BankHash computed on this fork.
func (n *Node) recordReceipt() {
	tip := n.executedOn(n.leadTip.parent)
	if tip == nil || tip.Slot == 0 {
		return
	}
	n.leading.RecordReceipt(ledger.ExecutionReceipt{Block: tip.BlockRef, BankHash: tip.BankHash})
}

// recordUserBlocks names every legal, well-formed UserBlock that is held.
func (n *Node) recordUserBlocks() {
	b, parent := n.leading, n.leadTip.parent
	if !b.CanName() || validator.Names(n.params, parent, b.Slot()) != nil {
		return
	}
	w := b.Section()
	var refs, unjudged []ledger.UserBlockRef
	for ref, h := range n.held {
		if n.leadTip.named[ref] || n.equivocating[ledger.UserKey(ref.U, ref.Lane)] {
			continue
		}
		if validator.Window(n.params, parent, ref.U, w) != nil || n.leadTip.lanes[laneOf{ref.U, ref.Lane}] ||
			parent.Names(ref.U, ref.Lane) {
			continue
		}
		anchor := parent.Anchor(h.anchor)
		if anchor == nil {
			continue
		}
		switch v := h.on(anchor); {
		case v == nil:
			unjudged = append(unjudged, ref)
		case !v.pending && v.err == nil:
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(unjudged, compareUserBlocks)
	for _, ref := range unjudged {
		n.checkUserBlock(ref, parent.Anchor(n.held[ref].anchor))
	}
	if len(refs) == 0 {
		return
	}
	if !planted.Is(planted.MapOrder) {
		slices.SortFunc(refs, compareUserBlocks)
	}
	refs = slices.CompactFunc(refs, func(a, b ledger.UserBlockRef) bool { return a.U == b.U && a.Lane == b.Lane })
	refs = refs[:min(len(refs), ledger.UserBlockEntriesMax)]
	for _, ref := range refs {
		if !planted.Is(planted.Rebroadcast) {
			n.rebroadcast(ref)
		}
		n.leadTip.named[ref] = true
		n.leadTip.lanes[laneOf{ref.U, ref.Lane}] = true
	}
	b.RecordUserBlocks(refs)
}

// allNamed tells whether every lane of the UserBlockSlot before this section
// is named, so that nothing more is to be expected.
func (n *Node) allNamed() bool {
	u := n.leading.Section()
	if u == 0 {
		return true
	}
	for lane := range n.schedule.Proposers(u - 1) {
		if !n.leadTip.lanes[laneOf{u - 1, ledger.Lane(lane)}] {
			return false
		}
	}
	return true
}

// recordVotes records of every account the newest vote that can count on
// this fork and stands in it not yet, as far as there is room.
func (n *Node) recordVotes() {
	if !n.leading.Room() {
		return
	}
	parent := n.leadTip.parent
	stakes := n.epochs.At(n.leading.Slot())
	var txs []ledger.Transaction
	left := n.leading.VoteBytes()
	for i := range stakes.Len() {
		account := stakes.Items[i].VoteAccount
		box := n.ballots[account]
		if box == nil {
			continue
		}
		last := n.leadTip.voted[account]
		if j, ok := parent.Ballots.Stakes().Voter(account); ok {
			if slot, voted := parent.Ballots.State(j).Last(); voted {
				last = max(last, slot)
			}
		}
		v := box.newest(func(v *ledger.Vote) bool {
			return v.Block.Slot > last && parent.Lineage.Has(v.Block)
		})
		if v == nil {
			continue
		}
		if left -= len(v.Tx.Raw()); left < 0 {
			break
		}
		n.leadTip.voted[account] = v.Vote.Block.Slot
		txs = append(txs, v.Tx)
	}
	if len(txs) > 0 {
		n.leading.RecordVotes(txs)
	}
}

func compareUserBlocks(a, b ledger.UserBlockRef) int {
	switch {
	case a.U != b.U:
		return int(a.U) - int(b.U)
	case a.Lane != b.Lane:
		return int(a.Lane) - int(b.Lane)
	}
	return slices.Compare(a.ID[:], b.ID[:])
}
