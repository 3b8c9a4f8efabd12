package node

import (
	"bytes"
	"fmt"
	"slices"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/internal/churn"
	"tutti/internal/planted"
	"tutti/ledger"
	"tutti/shred"
	"tutti/validator"
)

// Bounds and times of voting.
const (
	// ballotsMax is how many of an account's newest votes are kept for the
	// leader to record.
	ballotsMax = 8
	// refreshSlots is how many slots after its last vote a voter that has
	// nothing new to vote for sends the vote again.
	refreshSlots = 4
	// listenSlots is how many slots a node that starts late listens before it
	// votes or makes blocks: all that vote are heard meanwhile.
	listenSlots = refreshSlots + 2
	// catchUpSlots is after how many slots it goes on without what it lacks:
	// those who have that may be gone.
	catchUpSlots = 64
)

// ballotBox keeps the newest votes of one account, newest first.
type ballotBox struct{ votes []VoteMessage }

// add keeps a vote. It tells whether it was new.
func (b *ballotBox) add(m VoteMessage) bool {
	at := 0
	for ; at < len(b.votes); at++ {
		v := &b.votes[at].Vote
		if v.Block == m.Vote.Block && v.BankSlot == m.Vote.BankSlot && v.BankHash == m.Vote.BankHash {
			return false
		}
		if m.Vote.Block.Slot > v.Block.Slot {
			break
		}
	}
	if at == ballotsMax {
		return false
	}
	b.votes = slices.Insert(b.votes, at, m)
	b.votes = b.votes[:min(len(b.votes), ballotsMax)]
	return true
}

// has tells whether that very vote is kept.
func (b *ballotBox) has(tx *ledger.Transaction) bool {
	return slices.ContainsFunc(b.votes, func(m VoteMessage) bool { return bytes.Equal(m.Tx.Raw(), tx.Raw()) })
}

// newest returns the newest vote that fits, or nil.
func (b *ballotBox) newest(fits func(*ledger.Vote) bool) *VoteMessage {
	for i := range b.votes {
		if fits(&b.votes[i].Vote) {
			return &b.votes[i]
		}
	}
	return nil
}

// ballotsOf returns the vote state of a block, nil if it is not checked.
func (n *Node) ballotsOf(ref ledger.BlockRef) *consensus.Ballots {
	if b := n.forks.Block(ref); b != nil {
		return b.Ballots
	}
	return nil
}

// unverified returns the votes whose signatures are not known to be right: the
// others came before as a message.
func (n *Node) unverified(votes []validator.Standing) (txs []ledger.Transaction) {
	for i := range votes {
		if box := n.ballots[votes[i].Vote.Account]; box == nil || !box.has(&votes[i].Tx) {
			txs = append(txs, votes[i].Tx)
		}
	}
	return txs
}

// onVote takes a vote from a peer.
func (n *Node) onVote(from ledger.Pubkey, m VoteMessage) {
	if reason := n.countVote(&m.Vote, m.Tx); reason != "" {
		n.drop("vote", reason, from)
	}
}

// countVote takes a vote seen anywhere, whose signatures are checked, and
// returns why it does not count.
func (n *Node) countVote(v *ledger.Vote, tx ledger.Transaction) (reason string) {
	if v.Block.Slot > n.slot()+slotsAhead || v.Block.Slot <= n.forks.Root().Slot {
		return "slot"
	}
	if n.stopped() && v.Block.Slot > n.stoppedAt {
		return "halted"
	}
	stakes := n.epochs.At(v.Block.Slot)
	if stakes == nil {
		return "epoch"
	}
	i, ok := stakes.Voter(v.Account)
	if !ok {
		return "stake"
	}
	if stakes.Items[i].Authority != v.Authority {
		return "authority"
	}
	box := n.ballots[v.Account]
	if box == nil {
		box = &ballotBox{}
		n.ballots[v.Account] = box
	}
	if !box.add(VoteMessage{Tx: tx, Vote: *v}) {
		return "duplicate"
	}
	n.report(VoteSeen{Voter: v.Account, Block: v.Block, Root: v.Root, Lockouts: v.Lockouts})
	n.choice.Vote(v.Account, v.Block)
	n.voteDue = true
	n.hearReport(v, tx.Raw())
	if n.tally.Vote(v) {
		if b := n.forks.Block(v.Block); b != nil {
			n.confirm(b)
		}
	}
	if rooted := n.tally.Rooted(); rooted > n.othersRoot {
		n.othersRoot = rooted
		if rooted > n.newest.Slot && !n.behind {
			n.behind, n.since = true, n.slot()
		}
	}
	return ""
}

// followFinal makes what is finalised the root. A node that does not vote has
// no tower that could root anything; that of one which was down roots nothing
// new until as many votes have come again as had expired, so a node that is
// often down would start from an ever older root.
//
// A vote names the slot of its root alone. So only votes that count on the
// fork of the newest confirmed block say that a block of it is rooted: in the
// tally there are those for blocks of other forks, too.
func (n *Node) followFinal() {
	final := n.newest.Ballots.Rooted()
	if planted.Is(planted.FinalOtherFork) {
		final = n.tally.Rooted()
	}
	b := n.newest.Ancestor(final)
	if b == nil || !related(b, n.rooted) {
		return
	}
	if b.Slot > n.final {
		n.final = b.Slot
		n.report(Finalized{Block: b.BlockRef})
	}
	if b.Slot <= n.rooted.Slot && !planted.Is(planted.RootBack) {
		return
	}
	if n.isVoter && !n.settleTower(b) {
		return // its votes are on another fork: Decide knows what they forbid
	}
	n.root(b)
}

// related tells whether one of two blocks is the other or its ancestor.
func related(a, b *validator.Block) bool {
	if a.Slot < b.Slot {
		a, b = b, a
	}
	return a.Descends(b.BlockRef)
}

// settleTower fits the tower to a block of the newest confirmed one's fork that
// is finalised. It returns false if the tower has rooted another fork. Whether
// it has is unknown if its root is above all blocks of that fork that are here,
// as when a node has lost its ledger, but not its tower.
func (n *Node) settleTower(b *validator.Block) bool {
	root := n.tower.Root()
	switch {
	case b.Slot > root.Slot:
		return n.tower.Restore(b.BlockRef, placeOn(b)) == nil
	case n.newest.Slot >= root.Slot:
		return n.newest.Descends(root)
	}
	r := n.forks.Block(root)
	return r == nil || r.Descends(b.BlockRef)
}

// confirm marks a block and its ancestors as optimistically confirmed.
func (n *Node) confirm(b *validator.Block) {
	var fresh []*validator.Block
	for x := b; x != nil && !x.Confirmed; x = x.Parent {
		fresh = append(fresh, x)
	}
	slices.Reverse(fresh)
	for _, x := range fresh {
		x.Confirmed = true
		n.endEpoch(x.Parent, x.Slot)
		n.decideStakes(x)
		n.report(Confirmed{Block: x.BlockRef})
	}
	if b.Slot > n.newest.Slot {
		n.newest, n.newestAt = b, n.slot()
		n.reviewMade(b)
		n.followFinal()
	}
}

// vote votes for the heaviest fork if the rules allow it (PROTOCOL section
// 7). It never waits for execution, unless genesis says so.
func (n *Node) vote() {
	if !n.isVoter || !n.started() || n.stopped() {
		return
	}
	if n.health == Stalled && !planted.Is(planted.StallVotes) {
		n.reportInstead()
		return
	}
	if !n.voteDue || !n.caughtUp() {
		n.refreshVote()
		return
	}
	n.voteDue = false
	best := n.votable(n.choice.Best())
	if n.tower.Decide(best.BlockRef, n.choice, n.ballotsOf).OK() && n.followed(best) {
		n.castVote(best)
	}
}

// followed tells whether a vote for a block would be no deeper into a fork than
// others are seen to follow (docs/decisions.md). With execution=sync those who
// execute slowly follow late, and who waits for them would root nothing.
func (n *Node) followed(b *validator.Block) bool {
	return n.params.Execution == cluster.ExecutionSync || n.tower.Followed(b.BlockRef, b.Ballots.Stakes(), n.choice)
}

// caughtUp tells whether a node may vote and make blocks that started late, or
// has learnt that others rooted what it lacks, as after a cut. As long as
// accounts with more than a third of the stake vote for blocks that it lacks,
// it would vote for a fork that they have left, and lock itself out.
func (n *Node) caughtUp() bool {
	if !n.behind {
		return true
	}
	now := n.slot()
	stakes := n.epochs.At(now)
	if stakes == nil || now < n.since+listenSlots {
		return false
	}
	var ahead ledger.Lamports
	for i := range stakes.Len() {
		box := n.ballots[stakes.Items[i].VoteAccount]
		if box == nil || len(box.votes) == 0 {
			continue
		}
		if v := box.votes[0].Vote.Block; v.Slot > n.forks.Root().Slot && n.forks.Block(v) == nil {
			ahead += stakes.Items[i].Stake
		}
	}
	n.behind = consensus.OneThird(ahead, stakes.Total()) && now < n.since+catchUpSlots
	return !n.behind
}

// votable returns the newest block on the fork of a candidate that this node
// may vote for and build on: with execution=sync its bank must be computed.
func (n *Node) votable(candidate ledger.BlockRef) *validator.Block {
	b := n.forks.Block(candidate)
	if n.params.Execution == cluster.ExecutionSync {
		return n.executedOn(b)
	}
	return b
}

func (n *Node) castVote(b *validator.Block) {
	root, rooted := n.tower.Record(b.BlockRef)
	bank := n.executedOn(b)
	v := ledger.Vote{
		Account: n.cfg.VoteAccount, Authority: n.self,
		BankSlot: bank.Slot, BankHash: bank.BankHash,
	}
	n.tower.Fill(&v)
	message := v.Message(b.LastPoH)
	tx, err := ledger.ParseTransaction(ledger.Sign(message.Append(nil), n.cfg.Identity))
	if err != nil {
		panic(fmt.Sprintf("node: own vote: %v", err))
	}
	n.tower.SetTransaction(tx.Raw())
	n.do(Save{Lazy: planted.Is(planted.VoteUnsynced), Records: []Record{TowerRecord{Bytes: n.tower.Append(nil)}}})
	n.lastVote = VoteMessage{Tx: tx, Vote: v}
	n.votedAt = n.now
	n.do(Send{To: n.stakedPeers(), Msg: n.lastVote})
	n.report(Voted{Block: b.BlockRef, BankSlot: v.BankSlot, BankHash: v.BankHash})
	n.countVote(&v, tx)
	n.voteDue = false
	if rooted {
		n.root(n.forks.Block(root))
	}
}

// refreshVote sends the last vote again if it may have been lost.
func (n *Node) refreshVote() {
	if n.lastVote.Tx.Raw() == nil || n.now.Sub(n.votedAt) < refreshSlots*ledger.TicksPerSlot*n.params.TickDuration {
		return
	}
	n.votedAt = n.now
	n.do(Send{To: n.stakedPeers(), Msg: n.lastVote})
	n.countVote(&n.lastVote.Vote, n.lastVote.Tx) // new after a restart
}

// executedOn returns the newest executed block on the fork that ends in b.
func (n *Node) executedOn(b *validator.Block) *validator.Block {
	for b != nil && !b.Executed {
		b = b.Parent
	}
	return b
}

// root makes a block the root of the consensus lane.
func (n *Node) root(b *validator.Block) {
	if b == nil || n.stopped() || b.Slot <= n.rooted.Slot && !planted.Is(planted.RootBack) {
		return
	}
	n.rooted = b
	n.do(Save{Records: []Record{RootRecord{Block: b.BlockRef}}})
	n.report(Rooted{Block: b.BlockRef})
	n.pruneToRoot()
}

// pruneToRoot forgets what lies below the newest block that is rooted,
// executed and settled: until then execution still needs it.
func (n *Node) pruneToRoot() {
	r := n.settled(n.executedOn(n.rooted))
	if r == nil || r.Slot <= n.forks.Root().Slot || n.stopped() {
		return
	}
	n.forks.SetRoot(r)
	n.choice.SetRoot(r.BlockRef)
	n.tally.Prune(r.Slot)
	e := Root{Block: r.BlockRef}
	if r.Slot >= n.stateAt+rootStateInterval {
		n.stateAt = r.Slot
		e.State = n.rootState().Append(nil)
	}
	n.do(e)
	n.agreement.Prune(r.BlockRef)
	n.prune()
}

// userBlockSlack is how many slots below the root UserBlocks are kept that a
// block above the root can still name.
const userBlockSlack = validator.WindowMax/2 + 1

// floor is the lowest slot whose shreds are kept.
func (n *Node) floor() ledger.Slot {
	root := n.forks.Root().Slot
	return root - min(root, userBlockSlack)
}

// prune forgets all that belongs to slots below the floor.
func (n *Node) prune() {
	floor := n.floor()
	n.collector.PruneBelow(floor)
	for k := range n.keys {
		if k.Slot() < floor {
			delete(n.keys, k)
			n.deleted.keys++
		}
	}
	n.keys = churn.Renew(n.keys, &n.deleted.keys)
	for k := range n.equivocating {
		if k.Slot() < floor {
			delete(n.equivocating, k)
		}
	}
	n.forgetProofs(n.forks.Root().Slot)
	for slot := range n.fewVoted {
		if slot < floor {
			delete(n.fewVoted, slot)
		}
	}
	for id, slot := range n.resigned {
		if slot < floor {
			delete(n.resigned, id)
		}
	}
	for root, p := range n.progress {
		if p.Slot < floor {
			delete(n.progress, root)
		}
	}
	for root, c := range n.checking {
		if c.set.Key.Slot() < floor {
			delete(n.checking, root)
		}
	}
	for root, d := range n.dead {
		if d.slot < floor {
			delete(n.dead, root)
		}
	}
	for root, sets := range n.waiting {
		if sets = slices.DeleteFunc(sets, func(s *shred.Set) bool { return s.Key.Slot() < floor }); len(sets) == 0 {
			delete(n.waiting, root)
		} else {
			n.waiting[root] = sets
		}
	}
	for ref, h := range n.held {
		if ref.U.Slot() < floor {
			n.discountFees(h)
			delete(n.held, ref)
			n.deleted.held++
		}
	}
	n.held = churn.Renew(n.held, &n.deleted.held)
	for ref, blocks := range n.wanting { // also of what nobody has
		gone := func(b *validator.Block) bool { return n.forks.Block(b.BlockRef) != b }
		if blocks = slices.DeleteFunc(blocks, gone); len(blocks) == 0 || ref.U.Slot() < floor {
			delete(n.wanting, ref)
		} else {
			n.wanting[ref] = blocks
		}
	}
	for ref := range n.links {
		if n.forks.Block(ref) == nil {
			delete(n.links, ref)
		}
	}
	for ref := range n.stakes {
		if n.forks.Block(ref) == nil {
			delete(n.stakes, ref)
		}
	}
	for anchor, waiting := range n.unchecked {
		if waiting = slices.DeleteFunc(waiting, func(ref ledger.UserBlockRef) bool { return ref.U.Slot() < floor }); len(waiting) == 0 {
			delete(n.unchecked, anchor)
		} else {
			n.unchecked[anchor] = waiting
		}
	}
}

// stakedPeers returns the identities with stake, but for this node.
func (n *Node) stakedPeers() []ledger.Pubkey {
	stakes := n.epochs.At(n.slot())
	if stakes == nil {
		return nil
	}
	peers := make([]ledger.Pubkey, 0, stakes.Len())
	for i := range stakes.Len() {
		if id := stakes.Items[i].Identity; id != n.self && !slices.Contains(peers, id) {
			peers = append(peers, id)
		}
	}
	return peers
}
