package node

import (
	"bytes"
	"slices"
	"time"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/ledger"
	"tutti/proposer"
	"tutti/repair"
	"tutti/shred"
	"tutti/turbine"
	"tutti/validator"
)

// Intervals of what a node does besides the ledger.
const (
	repairInterval  = 50 * time.Millisecond
	gossipInterval  = 200 * time.Millisecond
	contactInterval = time.Minute // between renewals of the own record
)

// Bounds of repair.
const (
	// wantsMax bounds the blocks asked for in one round, wantsListed those that
	// are looked at: some nobody has, and they must not stand in the way of
	// others.
	wantsMax    = 64
	wantsListed = 1024
	// votedShare is the part of the stake, one in so many: votes of more make a
	// node ask for a block that it has not heard of in another way. It is
	// small, so that after a network has parted a node joins the others' fork
	// before one of them leads again. fewVotedMax bounds the blocks of a slot for
	// which no more than a third of the stake has voted: a quarter of what the
	// collector has room for.
	votedShare  = 20
	fewVotedMax = turbine.WantsMax / 4
	// repairGrace is how long after a slot's end its shreds may still be on
	// their way, in ticks.
	repairGrace = 24
	// answersMax bounds the requests of one peer answered in one round.
	answersMax = 64
)

// chores does what is due at intervals.
func (n *Node) chores() {
	if !n.now.Before(n.nextRepair) {
		n.nextRepair = n.now.Add(repairInterval)
		n.agreeDue = n.agreeDue || n.health == Stalled
		n.agree()
		n.watchEpoch()
		n.repair()
		n.askLinks()
		n.tellWhy()
		n.slim()
		n.pool.Expire(func(t *proposer.Pooled) bool {
			return n.blockhash(t.Tx.RecentBlockhash(), n.newest) == proposer.Expired
		})
		n.reportHead()
	}
	if !n.now.Before(n.nextGossip) {
		n.nextGossip = n.now.Add(gossipInterval)
		n.gossip()
	}
}

func (n *Node) reportHead() {
	best := n.forks.Block(n.choice.Best())
	h := Head{
		Slot: best.Slot, Height: best.Height, Confirmed: n.newest.Slot, Root: n.rooted.Slot,
		Executed: n.executedOn(best).Slot, Finalized: n.final, Lag: best.Lag, Pool: n.pool.Len(),
	}
	if h != n.head {
		n.head = h
		n.report(h)
	}
}

// want is a block that the node lacks: a UserBlock or leader block by id.
type want struct {
	key ledger.SlotKey
	id  ledger.Hash
	// first is who is asked first: the leader that named the block, or the
	// one that made it.
	first ledger.Pubkey
}

// repair asks for what is missing (PROTOCOL section 6). What was asked for often
// in vain, and perhaps nobody has, comes last and by turns.
func (n *Node) repair() {
	clear(n.answered)
	n.planner.Forget(n.now)
	if !n.started() {
		return
	}
	wants := n.wants()
	asked := 0
	n.inVain = false
	for i := 0; i < len(wants) && asked < wantsMax; i++ {
		if n.askBlock(&wants[i]) {
			asked++
		}
	}
	n.askSlots()
	n.inVain = true
	for range wants {
		if asked == wantsMax {
			break
		}
		n.vainTurn++
		if n.askBlock(&wants[n.vainTurn%len(wants)]) {
			asked++
		}
	}
	n.askSlots()
}

// wants lists the blocks that are known by id and not here, oldest first.
func (n *Node) wants() []want {
	var wants []want
	for ref, blocks := range n.wanting {
		if n.held[ref] == nil && len(blocks) > 0 {
			leader, _ := n.schedule.Leader(blocks[0].Slot)
			wants = append(wants, want{ledger.UserKey(ref.U, ref.Lane), ref.ID, leader})
		}
	}
	for id, sets := range n.waiting {
		for _, set := range sets {
			parent := set.Key.Slot() - ledger.Slot(set.ParentOffset)
			if set.Index == 0 && parent > n.forks.Root().Slot {
				leader, _ := n.schedule.Leader(parent)
				wants = append(wants, want{parent.Key(), id, leader})
			}
		}
	}
	for _, ref := range n.tally.Seen() {
		if n.forks.Block(ref) != nil || n.collector.Need(ref.Slot.Key(), ref.ID).Status != turbine.Incomplete || n.inTransit(ref.Slot) {
			continue
		}
		if n.wantVoted(ref) {
			leader, _ := n.schedule.Leader(ref.Slot)
			wants = append(wants, want{ref.Slot.Key(), ref.ID, leader})
		}
	}
	wants = n.wantParents(sortWants(wants))
	return wants[:min(len(wants), wantsListed)]
}

// wantVoted tells whether a block is asked for because of the votes for it. Of
// those with no more than a third of the stake it is so for few blocks of a
// slot, for good: voters who name what nobody has must not leave the collector
// without room for what there is.
func (n *Node) wantVoted(ref ledger.BlockRef) bool {
	stakes := n.epochs.At(ref.Slot)
	if stakes == nil {
		return false
	}
	stake := n.tally.Stake(ref)
	if consensus.OneThird(stake, stakes.Total()) {
		return true
	}
	few := n.fewVoted[ref.Slot]
	switch {
	case !consensus.Exceeds(stake, stakes.Total(), 1, votedShare):
		return false
	case slices.Contains(few, ref.ID):
		return true
	case len(few) == fewVotedMax:
		return false
	}
	n.fewVoted[ref.Slot] = append(few, ref.ID)
	return true
}

// wantParents adds the parents that wanted blocks name in a first shred, and
// theirs, so that a node which is far behind need not take one block after the
// other.
func (n *Node) wantParents(wants []want) []want {
	for i := 0; i < len(wants) && len(wants) < wantsListed; i++ {
		parent, ok := n.collector.Parent(wants[i].key, wants[i].id)
		if !ok || parent.Slot <= n.forks.Root().Slot || n.forks.Block(parent) != nil {
			continue
		}
		leader, _ := n.schedule.Leader(parent.Slot)
		if w := (want{parent.Slot.Key(), parent.ID, leader}); !slices.Contains(wants, w) {
			wants = append(wants, w)
		}
	}
	return sortWants(wants)
}

// sortWants puts the oldest block first, and each once.
func sortWants(wants []want) []want {
	slices.SortFunc(wants, func(a, b want) int {
		if a.key.Slot() != b.key.Slot() {
			return int(a.key.Slot()) - int(b.key.Slot())
		}
		if a.key != b.key {
			return bytes.Compare([]byte(a.key.String()), []byte(b.key.String()))
		}
		return bytes.Compare(a.id[:], b.id[:])
	})
	return slices.CompactFunc(wants, func(a, b want) bool { return a.key == b.key && a.id == b.id })
}

// slim lets go of shreds that nobody is sent any more: the store has them, and
// no leader names the blocks that they are of any more.
func (n *Node) slim() {
	now := n.slot()
	if slot := now - min(now, userBlockSlack); slot > n.slimmed {
		n.slimmed = slot
		n.collector.SlimBelow(slot)
	}
}

// inTransit tells whether a slot's shreds may still be on their way.
func (n *Node) inTransit(slot ledger.Slot) bool {
	return n.tick() < uint64(slot+1)*ledger.TicksPerSlot+repairGrace
}

// askBlock asks for the sets of a block that lack shreds, and for the spine
// while not all sets are known. It tells whether it asked for anything.
func (n *Node) askBlock(w *want) (asked bool) {
	n.collector.Want(w.key, w.id)
	need := n.collector.Need(w.key, w.id)
	if need.Status != turbine.Incomplete {
		return false
	}
	spine := len(need.Gaps) == 0
	for _, gap := range need.Gaps {
		spine = spine || gap.Held == 0
		asked = n.askSet(w, gap) || asked
	}
	if spine {
		asked = n.ask(repair.Subject{Kind: repair.Spine, Key: w.key, Root: w.id}, 0, w.first) || asked
	}
	return asked
}

// askSet asks for as many shreds as the set needs to be recovered.
func (n *Node) askSet(w *want, gap turbine.Gap) (asked bool) {
	mask, missing := uint64(0), gap.Missing
	for range shred.SetData - gap.Held {
		bit := missing & -missing
		mask |= bit
		missing &^= bit
	}
	return mask != 0 && n.ask(repair.Subject{Kind: repair.Shreds, Key: w.key, Root: gap.Root}, mask, w.first)
}

// ask sends a request if the same was not sent just now. The first try goes
// to whoever should have it, others to peers by stake.
func (n *Node) ask(s repair.Subject, mask uint64, first ledger.Pubkey) bool {
	tries, ok := n.planner.Try(n.now, s)
	if !ok || n.inVain != (tries >= repair.TriesMax) {
		return false
	}
	to := first
	if tries > 0 || first == n.self || first == (ledger.Pubkey{}) {
		if to, ok = n.peerByStake(s.Key.Slot()); !ok {
			return false
		}
	}
	n.do(Send{To: []ledger.Pubkey{to}, Msg: RepairRequest{n.planner.Ask(n.now, s, mask, to)}})
	return true
}

// peerByStake draws another node, weighted by stake.
func (n *Node) peerByStake(slot ledger.Slot) (ledger.Pubkey, bool) {
	stakes := n.schedule.Stakes(n.schedule.Epoch(slot))
	if stakes == nil {
		return ledger.Pubkey{}, false
	}
	var total ledger.Lamports
	for i := range stakes.Items {
		if stakes.Items[i].Identity != n.self {
			total += stakes.Items[i].Stake
		}
	}
	if total == 0 {
		return ledger.Pubkey{}, false
	}
	x := ledger.Lamports(n.rng.Uint64N(uint64(total)))
	for i := range stakes.Items {
		if it := &stakes.Items[i]; it.Identity != n.self {
			if x < it.Stake {
				return it.Identity, true
			}
			x -= it.Stake
		}
	}
	panic("node: stake drawn beyond the total")
}

// askSlots asks for recent slots of which shreds, but no block, have come,
// and whose block's id nobody has told.
func (n *Node) askSlots() {
	now := n.slot()
	from := max(n.forks.Root().Slot, now-min(now, validator.WindowMax)) + 1
	for s := from; s < now; s++ {
		k := n.keys[s.Key()]
		if k == nil || !k.seen || n.inTransit(s) {
			continue
		}
		seen, ok := n.collector.Missing(s.Key())
		if ok && seen.Last && len(seen.Gaps) == 0 {
			continue
		}
		leader, _ := n.schedule.Leader(s)
		w := want{key: s.Key(), first: leader}
		for _, gap := range seen.Gaps {
			n.askSet(&w, gap)
		}
		n.ask(repair.Subject{Kind: repair.Highest, Key: s.Key()}, 0, leader)
	}
}

// onRepairRequest lets the store answer a peer, within limits.
func (n *Node) onRepairRequest(from ledger.Pubkey, m RepairRequest) {
	if n.answered[from] >= answersMax {
		n.drop("request", "rate", from)
		return
	}
	n.answered[from]++
	n.do(Answer{To: from, Request: m.Request})
}

// onRepairResponse takes the shreds of an answer that was asked for.
func (n *Node) onRepairResponse(from ledger.Pubkey, m RepairResponse) {
	r, ok := n.planner.Answered(m.Nonce, from)
	if !ok {
		n.drop("response", "not asked for", from)
		return
	}
	chained := func(i int) ledger.Hash { return m.Shreds[i].Shred.ChainedRoot() }
	for i, s := range m.Shreds {
		if !r.Fits(i, s.Shred.Key(), s.Root, chained) {
			n.drop("response", "other shreds", from)
			return
		}
		n.onShred(from, s, true)
	}
}

// gossip spreads contact records and proofs of equivocation.
func (n *Node) gossip() {
	if n.now.Sub(n.contactAt) >= contactInterval {
		n.renewContact()
	}
	n.contacts.Expire(n.now)
	if to, g := n.contacts.Push(n.rng); len(to) > 0 {
		n.do(Send{To: to, Msg: GossipMessage{g}})
	}
	if to, g := n.contacts.Pull(n.rng); len(to) > 0 {
		n.do(Send{To: to, Msg: GossipMessage{g}})
	}
	n.repeatProofs()
}

// renewContact signs the own record anew, so that others do not forget it.
func (n *Node) renewContact() {
	n.contactAt = n.now
	own := n.cfg.Contact
	own.Genesis, own.ShredVersion = n.genesisHash, n.shredVersion
	own.Version = uint64(max(n.now.UnixMilli(), 0))
	own.Sign(n.cfg.Identity)
	if n.contacts == nil {
		n.contacts = cluster.NewContacts(own)
		n.contacts.SetStaked(n.schedule.Stakes(0).Nodes())
		return
	}
	n.contacts.SetOwn(own)
}

// met greets a peer to which a connection was made.
func (n *Node) met(peer ledger.Pubkey) {
	_, pull := n.contacts.Pull(n.rng)
	n.do(Send{To: []ledger.Pubkey{peer}, Msg: GossipMessage{n.contacts.Greeting()}})
	n.do(Send{To: []ledger.Pubkey{peer}, Msg: GossipMessage{pull}})
}

// onGossip takes a peer's records, or answers what it asks for.
func (n *Node) onGossip(from ledger.Pubkey, m GossipMessage) {
	if m.Kind == cluster.PullRequest {
		if answer, ok := n.contacts.Answer(m.Gossip); ok {
			n.do(Send{To: []ledger.Pubkey{from}, Msg: GossipMessage{answer}})
		}
		return
	}
	fresh, err := n.contacts.Apply(m.Gossip, n.now)
	for _, c := range fresh {
		n.do(Dial{Contact: c})
	}
	if err != nil {
		n.drop("contact", err.Error(), from)
	}
}
