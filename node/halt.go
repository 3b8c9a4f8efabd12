package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"tutti/bank"
	"tutti/cluster"
	"tutti/consensus"
	"tutti/internal/planted"
	"tutti/ledger"
	"tutti/validator"
)

// Bounds of what a node does about BankHashes that differ (PROTOCOL section
// 10).
const (
	// retriesMax is how often blocks are executed again before the node gives
	// up on itself.
	retriesMax = 3
	// stalledSlots is for how many slots of the own clock a node waits for
	// agreement to come back.
	stalledSlots = 32
	// overdueSlots is for how many slots a block may be without a certificate,
	// or none be confirmed, before the node takes it that something is wrong.
	overdueSlots = 8
	// uncertifiedMax is how many blocks the root waits for their BankHashes to
	// be certified: so far it is possible to go back.
	uncertifiedMax = 64
)

// ErrHalted is why a node that has stopped takes no transactions.
var ErrHalted = errors.New("node has halted: it serves what it has, read-only")

// Health says what a node does about BankHashes that differ (PROTOCOL section
// 10).
type Health uint8

// What a node does.
const (
	// Healthy: it votes.
	Healthy Health = iota
	// Stalled: it sends signed reports instead of votes, and waits. Case (4).
	Stalled
	// Wrong: it has executed again in vain. It does not vote, produce or
	// execute until it is started again; the others go on. Case (2).
	Wrong
	// Halted: it does not vote or produce, not even after a restart. Case (3).
	Halted
)

var healthNames = [...]string{"healthy", "stalled", "wrong", "halted"}

// String returns the name.
func (h Health) String() string {
	if int(h) < len(healthNames) {
		return healthNames[h]
	}
	return "unknown"
}

// stopped tells whether the node takes no more part in the cluster.
func (n *Node) stopped() bool { return n.health >= Wrong }

// agree finds out how far the cluster agrees with this node's BankHashes, and
// does what section 10 of the protocol asks for where it does not.
func (n *Node) agree() {
	if !n.agreeDue {
		return
	}
	n.agreeDue = false
	before := n.agreed
	var unsure []judged // newest first
	root := n.forks.Root()
	b := n.executedOn(n.forks.Block(n.choice.Best()))
	for ; b != nil && b.Slot >= root.Slot && !n.isCertified(b); b = b.Parent {
		sums, ok := n.agreement.Judge(b.BlockRef)
		if !ok {
			break
		}
		if b.Slot > n.agreed.Third && consensus.OneThird(sums.With, sums.Total) {
			n.agreed.Third = b.Slot
		}
		if sums.State() == consensus.Certified {
			n.certified = b
			n.agreed.TwoThirds = max(n.agreed.TwoThirds, b.Slot)
			break
		}
		unsure = append(unsure, judged{b, sums})
	}
	if n.agreed != before {
		n.report(n.agreed)
		n.pruneToRoot()
	}
	if n.certified.Slot >= n.wrongSlot {
		n.retries = 0
	}
	n.unsure = nil
	if len(unsure) > 0 {
		n.unsure = unsure[len(unsure)-1].block
	}
	if !n.stopped() {
		n.act(unsure, b)
	}
}

// judged is a block of which it is not certain that the cluster has this
// node's BankHash.
type judged struct {
	block *validator.Block
	sums  consensus.Sums
}

// isCertified tells whether a block is the newest certified one or its
// ancestor.
func (n *Node) isCertified(b *validator.Block) bool { return n.certified.Descends(b.BlockRef) }

// act does what section 10 asks for about the oldest block that asks for
// something; base is the block before all of them.
func (n *Node) act(unsure []judged, base *validator.Block) {
	var stalled *judged
	for i := range unsure {
		j := &unsure[len(unsure)-1-i]
		switch j.sums.State() {
		case consensus.IAmWrong:
			n.goBack(j, base)
			return
		case consensus.Halt:
			n.stop(Halted, j, "more than a third of the stake has another BankHash, and none can be certified any more")
			return
		case consensus.Stalled:
			if stalled == nil {
				stalled = j
			}
		}
	}
	switch {
	case stalled == nil && n.health == Stalled:
		n.health, n.voteDue = Healthy, true
		n.report(HealthChanged{Health: Healthy})
	case stalled != nil && n.health == Healthy:
		n.health, n.stalledAt = Stalled, n.slot()
		n.report(n.changed(stalled))
	case stalled != nil && n.slot() >= n.stalledAt+stalledSlots:
		n.stop(Halted, stalled, fmt.Sprintf("more than a third of the stake has had another BankHash for %d slots", stalledSlots))
	}
}

func (n *Node) changed(j *judged) HealthChanged {
	return HealthChanged{Health: n.health, Block: j.block.BlockRef, Own: j.block.BankHash, Sums: j.sums}
}

// goBack forgets this node's results down to the last certified block, from
// which it executes again, or gives up.
func (n *Node) goBack(wrong *judged, base *validator.Block) {
	if n.retries == retriesMax || planted.Is(planted.NeverBack) || base == nil || base.Slot < n.forks.Root().Slot || !n.isCertified(base) {
		n.stop(Wrong, wrong, "more than two thirds of the stake have one other BankHash")
		return
	}
	n.retries++
	n.wrongSlot = wrong.block.Slot
	n.report(WentBack{To: base.BlockRef, Wrong: wrong.block.BlockRef, Own: wrong.block.BankHash, Other: wrong.sums.Other, Try: n.retries})
	for _, b := range n.forks.Descendants(base) {
		if !b.Executed {
			continue
		}
		if b.Parent == base {
			n.do(Discard{Block: b.BlockRef})
			n.agreement.Discard(b.BlockRef)
		}
		b.Executed, b.BankHash = false, ledger.Hash{}
		delete(n.stakes, b.BlockRef)
		delete(n.links, b.BlockRef)
	}
	n.voided = n.executing != nil && !n.executing.Parent.Executed
	n.agreement.Retract(n.cfg.VoteAccount)
	n.health = Healthy
	if n.agreed.Third > base.Slot {
		n.agreed.Third = base.Slot
		n.report(n.agreed)
	}
}

// stop ends this node's part in the cluster, with the evidence on disk first.
func (n *Node) stop(h Health, j *judged, cause string) {
	n.health, n.stoppedAt = h, n.slot()
	n.leading, n.making, n.makingOn = nil, nil, nil
	halt := Halt{
		Health: h, At: n.stoppedAt, Cause: cause, Block: j.block.BlockRef, BankHash: j.block.BankHash,
		Certified: n.certified.BlockRef, CertifiedHash: n.certified.BankHash,
		Testimonies: n.agreement.Testimonies(j.block.BlockRef),
	}
	n.do(Save{Records: []Record{HaltRecord{Bytes: halt.Append(nil)}}})
	c := n.changed(j)
	c.Cause = cause
	n.report(c)
	for i := range halt.Testimonies {
		t := &halt.Testimonies[i]
		if h == Wrong || t.Account == n.cfg.VoteAccount {
			continue // the others know better; it does not vote again
		}
		if m := testimony(t.Signed); m != nil {
			n.proof = append(n.proof, m)
		}
	}
}

// testimony returns the message that somebody signed.
func testimony(signed []byte) Message {
	if r, err := ledger.ParseReport(signed); err == nil {
		return ReportMessage{r}
	}
	tx, err := ledger.ParseTransaction(signed)
	if err != nil {
		return nil
	}
	v, err := ledger.ParseVote(&tx)
	if err != nil {
		return nil
	}
	return VoteMessage{Tx: tx, Vote: v}
}

// How a node that has halted tells others why: votes may have been lost on the
// way to them, and nobody sends them again.
const (
	tellRounds = 16 // one a slot
	tellPeers  = 8
)

// tellWhy sends both sides' votes to some peers, once a slot.
func (n *Node) tellWhy() {
	now := n.slot()
	if len(n.proof) == 0 || now <= n.toldAt {
		return
	}
	n.toldAt = now
	peers := n.stakedPeers()
	n.rng.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	for _, m := range n.proof {
		n.do(Send{To: peers[:min(len(peers), tellPeers)], Msg: m})
	}
	if now >= n.stoppedAt+tellRounds {
		n.proof = nil
	}
}

// reportInstead sends a signed report once a slot, while this node does not
// vote.
func (n *Node) reportInstead() {
	now := n.slot()
	if now <= n.reportedAt {
		return
	}
	n.reportedAt = now
	b := n.executedOn(n.forks.Block(n.choice.Best()))
	r := ledger.Report{Genesis: n.genesisHash, Account: n.cfg.VoteAccount, At: now, Block: b.BlockRef, BankHash: b.BankHash}
	r.Sign(n.cfg.Identity)
	n.do(Send{To: n.stakedPeers(), Msg: ReportMessage{r}})
	n.agreement.Report(r.Account, r.At, consensus.Value{Block: r.Block, Hash: r.BankHash}, r.Append(nil))
	n.agreeDue = true
}

// onReport takes the report of a voter that does not vote.
func (n *Node) onReport(from ledger.Pubkey, m ReportMessage) {
	stakes := n.epochs.At(m.At)
	switch {
	case m.Genesis != n.genesisHash:
		n.drop("report", "genesis", from)
		return
	case m.At > n.slot()+slotsAhead || stakes == nil || n.stopped() && m.At > n.stoppedAt:
		n.drop("report", "slot", from)
		return
	}
	i, ok := stakes.Voter(m.Account)
	if !ok || stakes.Items[i].Authority != m.Authority {
		n.drop("report", "authority", from)
		return
	}
	b := n.forks.Block(m.Block)
	if b == nil {
		n.drop("report", "unknown block", from) // it comes again
		return
	}
	if cluster.BeforeRestart(n.restarts, m.At, b.Slot) {
		n.drop("report", "before a restart", from)
		return
	}
	n.agreement.Report(m.Account, m.At, consensus.Value{Block: m.Block, Hash: m.BankHash}, m.Append(nil))
	n.agreeDue = true
	n.compareReport(m.Account, b, m.BankHash)
}

// endEpoch halts the node if an epoch ends, with that block as its last
// confirmed one, before more than two thirds of the stake have reported the
// epoch before: the stakes of the next one are not certain then (PROTOCOL
// section 10).
func (n *Node) endEpoch(last *validator.Block, now ledger.Slot) {
	if last == nil || n.stopped() {
		return
	}
	epoch := n.params.Epoch(last.Slot)
	if epoch >= 1 && epoch < n.params.Epoch(now) && !last.Reported(n.params.FirstSlot(epoch)) {
		n.stop(Halted, &judged{block: last}, fmt.Sprintf("epoch %d has ended, but the stake has not executed the end of epoch %d", epoch, epoch-1))
	}
}

// watchEpoch looks whether an epoch has ended by the clock. From its middle on
// nothing is confirmed by accident: a node that only was away for a while hears
// of newer blocks first.
func (n *Node) watchEpoch() {
	now, last := n.slot(), n.newest
	middle := n.params.FirstSlot(n.params.Epoch(last.Slot)) + ledger.Slot(n.params.SlotsPerEpoch/2)
	if last.Slot >= middle && now >= n.newestAt+overdueSlots && n.caughtUp() {
		n.endEpoch(last, now)
	}
}

// askLinks asks voters that are against this node, or were, for the links of
// their BankHashes, to find out from which block on.
func (n *Node) askLinks() {
	if n.unsure == nil || n.stopped() || !n.agreement.Disputed() && !n.agreement.Doubtful() {
		return
	}
	wanted := n.wantedLinks()
	for len(wanted) > 0 {
		same := 1
		for same < len(wanted) && wanted[same].Value == wanted[0].Value {
			same++
		}
		w := wanted[n.rng.IntN(same)]
		wanted = wanted[same:]
		stakes := n.epochs.At(w.Block.Slot)
		if i, ok := stakes.Voter(w.Account); ok && stakes.Items[i].Identity != n.self {
			n.do(Send{To: []ledger.Pubkey{stakes.Items[i].Identity}, Msg: LinksRequest{w.Value}})
		}
	}
}

// wantedLinks returns the links that would tell more about the oldest block
// that is not certified: those of voters known to be against this node, and if
// that block is old, or voters were against it, of all who have executed others
// than this node.
func (n *Node) wantedLinks() []consensus.Want {
	return n.agreement.Wanted(n.unsure.BlockRef, n.slot() > n.unsure.Slot+overdueSlots || n.agreement.Doubtful())
}

// onLinksRequest answers with own links, if the value is the own one.
func (n *Node) onLinksRequest(from ledger.Pubkey, m LinksRequest) {
	if n.answered[from] >= answersMax {
		n.drop("request", "rate", from)
		return
	}
	n.answered[from]++
	var links []bank.Link
	hash := m.Hash
	for b := n.forks.Block(m.Block); b != nil && b.BankHash == hash && len(links) < linksMax; b = b.Parent {
		l, ok := n.links[b.BlockRef]
		if !ok {
			break
		}
		links, hash = append(links, l), l.Parent
	}
	if len(links) > 0 {
		n.do(Send{To: []ledger.Pubkey{from}, Msg: LinksResponse{m.Value, links}})
	}
}

// onLinksResponse learns links that were asked for.
func (n *Node) onLinksResponse(from ledger.Pubkey, m LinksResponse) {
	if n.unsure == nil || !slices.ContainsFunc(n.wantedLinks(), func(w consensus.Want) bool { return w.Value == m.Value }) {
		n.drop("links", "not asked for", from)
		return
	}
	hash := m.Hash
	b := n.forks.Block(m.Block)
	for i := 0; i < len(m.Links) && b != nil && b.Parent != nil; i, b = i+1, b.Parent {
		l := &m.Links[i]
		n.agreement.Learn(consensus.Link{Block: b.BlockRef, Hash: hash, Parent: b.Parent.BlockRef, ParentHash: l.Parent})
		hash = l.Parent
	}
	n.agreeDue = true
}

// settled returns the newest block up to a rooted one that may become the root
// of the execution lane: as long as a BankHash is not certified, it may have
// to be computed again.
func (n *Node) settled(rooted *validator.Block) *validator.Block {
	b := rooted
	for range uncertifiedMax {
		if b == nil || n.isCertified(b) {
			return b
		}
		b = b.Parent
	}
	return b
}

// Halt is why a node has stopped, with both sides' signed votes (PROTOCOL
// section 10).
type Halt struct {
	Health Health // Wrong or Halted
	At     ledger.Slot
	Cause  string
	// Block is the one that the cluster disagrees on, BankHash this node's.
	Block    ledger.BlockRef
	BankHash ledger.Hash
	// Certified is the newest block of which the cluster agreed with this
	// node.
	Certified     ledger.BlockRef
	CertifiedHash ledger.Hash
	Testimonies   []consensus.Testimony
}

// ErrHalt is returned for bytes that are no Halt.
var ErrHalt = errors.New("malformed record of a halt")

const haltMagic = "TUTTIHALT\x01"

// Append serialises the halt: magic, health u8, slot u64, cause, block,
// BankHash, certified block and BankHash, and of each voter account, stance
// u8, stake u64, value there, reported value and signed bytes; texts and
// lists with their length u32, all little-endian.
func (h *Halt) Append(b []byte) []byte {
	b = append(append(b, haltMagic...), byte(h.Health))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.At))
	b = append(appendCount(b, len(h.Cause)), h.Cause...)
	b = appendValue(b, consensus.Value{Block: h.Block, Hash: h.BankHash})
	b = appendValue(b, consensus.Value{Block: h.Certified, Hash: h.CertifiedHash})
	b = appendCount(b, len(h.Testimonies))
	for i := range h.Testimonies {
		t := &h.Testimonies[i]
		b = append(append(b, t.Account[:]...), byte(t.Opinion.Stance))
		b = binary.LittleEndian.AppendUint64(b, uint64(t.Opinion.Stake))
		b = append(b, t.Opinion.Value[:]...)
		b = appendValue(b, t.Report)
		b = append(appendCount(b, len(t.Signed)), t.Signed...)
	}
	return b
}

// ParseHalt reads exactly one halt.
func ParseHalt(b []byte) (*Halt, error) {
	r := stateReader{b: b}
	if string(r.take(len(haltMagic))) != haltMagic || r.err != nil {
		return nil, fmt.Errorf("%w: version", ErrHalt)
	}
	h := &Halt{Health: Health(r.take(1)[0]), At: ledger.Slot(r.u64())}
	h.Cause = string(r.take(r.count(1)))
	h.Block, h.BankHash = r.ref(), r.hash()
	h.Certified, h.CertifiedHash = r.ref(), r.hash()
	n := r.count(32 + 1 + 8 + 32 + valueSize + 4)
	h.Testimonies = slices.Grow(h.Testimonies, n)
	for range n {
		t := consensus.Testimony{Account: ledger.Pubkey(r.hash())}
		t.Opinion.Stance = consensus.Stance(r.take(1)[0])
		t.Opinion.Stake = ledger.Lamports(r.u64())
		t.Opinion.Value = r.hash()
		t.Report = consensus.Value{Block: r.ref(), Hash: r.hash()}
		t.Signed = r.take(r.count(1))
		h.Testimonies = append(h.Testimonies, t)
	}
	switch {
	case r.err != nil:
		return nil, fmt.Errorf("%w: %w", ErrHalt, r.err)
	case len(r.b) > 0 || h.Health != Wrong && h.Health != Halted:
		return nil, fmt.Errorf("%w: not as it is written", ErrHalt)
	}
	return h, nil
}
