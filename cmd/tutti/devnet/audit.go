package devnet

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"tutti/cluster"
	"tutti/cmd/tutti/load"
	"tutti/invariant"
	"tutti/ledger"
)

// Bounds of what a devnet may do while nodes fail.
const (
	// gapMax is how long no block may be confirmed while enough nodes are up,
	// unless slots of those that are down fill most of that time: then
	// gapSlack more than these.
	gapMax   = 5 * time.Second
	gapSlack = 2 * time.Second
	// shareMin is the share of the slots, in percent, that are confirmed while
	// one node is down.
	shareMin = 60
)

// audit checks what all nodes say, across their restarts, against each other
// and against all that was said before. Package invariant has a copy of its
// own of every vote; the audit asks no node for its opinion.
type audit struct {
	genesis  *cluster.Genesis
	schedule *cluster.Schedule
	// ledger has the leader blocks that some node has held, by their parents;
	// orphans those whose parents are not known yet, by these.
	ledger  *invariant.Ledger
	orphans map[ledger.BlockRef][]ledger.BlockRef
	heard   *invariant.Heard
	// confirmed has the blocks that some node called confirmed, by slot;
	// chain those of them that were found to lie on one fork, oldest first.
	confirmed map[ledger.Slot]ledger.BlockRef
	unlinked  []ledger.BlockRef
	chain     []*invariant.Block
	// unrooted are blocks that some node has rooted and that are not known yet.
	unrooted      []ledger.BlockRef
	agreed, fixed invariant.Chain // confirmed, rooted
	hashes        map[ledger.BlockRef]string
	executed      []ledger.BlockRef // newest, by node
	roots         []ledger.Slot     // newest, by node
	final         ledger.Slot
	top           ledger.Slot
	lost          uint64 // events that were not read

	// promised are transactions that were called confirmed. Those up to
	// concludedAt must be in every ledger, at or below the block concluded.
	promised    []promise
	concludedAt int64
	concluded   ledger.BlockRef

	// down are the nodes that are, and those that are up again and have not
	// voted yet. stuck is set from the moment at which too few nodes are up
	// until a block is confirmed again.
	down []bool
	// severed are the nodes that no vote reaches from other nodes, by number,
	// with the newest slot that they may call confirmed.
	severed map[int]ledger.Slot
	since   int64 // when a new block was confirmed, or nodes came back last
	stuck   bool
	halted  ledger.Slot // newest slot that can be confirmed while too few are up, 0 if enough are
	// longest is the longest time without a new block, and dead what of it were
	// slots of leaders that were down.
	longest, dead time.Duration
	// gaps counts the times without one that were longer than gapMax.
	gaps int

	// violations are of what must hold on any machine; slow says when the
	// cluster did too little in its time, unchecked what could not be checked.
	violations, slow, unchecked []string
	// contradictions counts the violations that are votes against votes.
	contradictions int
}

// violationsMax bounds the list; what is beyond is only the same again.
const violationsMax = 100

func newAudit(g *cluster.Genesis) *audit {
	l := invariant.New(g, ledger.Hash{}) // results are not executed here
	return &audit{
		genesis: g, schedule: cluster.NewSchedule(g),
		ledger: l, heard: invariant.NewHeard(l), orphans: map[ledger.BlockRef][]ledger.BlockRef{},
		confirmed: map[ledger.Slot]ledger.BlockRef{}, hashes: map[ledger.BlockRef]string{},
		executed: make([]ledger.BlockRef, len(g.Validators)), roots: make([]ledger.Slot, len(g.Validators)),
		down: make([]bool, len(g.Validators)), severed: map[int]ledger.Slot{},
	}
}

// violated notes that something happened which must not.
func (a *audit) violated(format string, args ...any) {
	if len(a.violations) < violationsMax {
		a.violations = append(a.violations, fmt.Sprintf(format, args...))
	}
}

// contradicted notes votes against votes.
func (a *audit) contradicted(err error) {
	a.contradictions++
	a.violated("vote account %v", err)
}

// take takes in an event of a node.
func (a *audit) take(node int, e *load.Event) {
	ref := ledger.BlockRef{Slot: e.Slot}
	switch e.Type {
	case "block", "vote", "confirmed", "executed", "rooted":
		id, err := ledger.ParseHash(e.ID)
		if err != nil {
			a.violated("%s speaks of block %q of slot %d", nodeName(node), e.ID, e.Slot)
			return
		}
		ref.ID = id
	}
	switch e.Type {
	case "block":
		parent, err := ledger.ParseHash(e.Parent)
		if err == nil {
			err = a.link(ref, ledger.BlockRef{Slot: e.ParentSlot, ID: parent})
		}
		if err != nil {
			a.violated("%s: %v", nodeName(node), err)
		}
	case "vote":
		a.vote(e, ref)
	case "confirmed":
		a.confirm(node, ref, e.T)
	case "finalized":
		if e.Slot > a.final {
			a.final = e.Slot
			a.heard.Finalized(e.Slot)
		}
	case "executed":
		if other, ok := a.hashes[ref]; ok && other != e.BankHash {
			a.violated("BankHash of %v is %.8s for %s, and was %.8s", ref, e.BankHash, nodeName(node), other)
		}
		a.hashes[ref] = e.BankHash
		a.executed[node] = ref
	case "rooted":
		a.roots[node] = max(a.roots[node], e.Slot)
		a.unrooted = append(a.unrooted, ref)
	case "mismatch":
		a.violated("%s has another BankHash of slot %d than %.8s, who says %.8s", nodeName(node), e.Slot, e.Voter, e.Other)
	case "equivocated":
		a.violated("%s has proof of two blocks of %.8s under %s", nodeName(node), e.Signer, e.Key)
	case "rejected":
		a.violated("%s rejects block %s: %s", nodeName(node), e.Block, e.Reason)
	case "lost":
		a.lost += e.Count
	}
}

// link takes in a leader block, and those that wait for it.
func (a *audit) link(ref, parent ledger.BlockRef) error {
	if _, err := a.ledger.Block(parent); err != nil {
		if !slices.Contains(a.orphans[parent], ref) {
			a.orphans[parent] = append(a.orphans[parent], ref)
		}
		return nil
	}
	if err := a.ledger.Link(ref, parent); err != nil {
		return err
	}
	children := a.orphans[ref]
	delete(a.orphans, ref)
	for _, child := range children {
		if err := a.link(child, ref); err != nil {
			return err
		}
	}
	return nil
}

// vote takes in a vote.
func (a *audit) vote(e *load.Event, ref ledger.BlockRef) {
	account, err := ledger.ParsePubkey(e.Voter)
	if err != nil || len(e.Lockouts) == 0 {
		a.violated("vote of %q with %d lockouts", e.Voter, len(e.Lockouts))
		return
	}
	v := ledger.Vote{Account: account, HasRoot: true, Root: e.Root, Block: ref}
	for _, l := range e.Lockouts {
		v.Lockouts = append(v.Lockouts, ledger.Lockout{Slot: ledger.Slot(l[0]), Confirmations: uint8(l[1])})
	}
	if err := a.heard.Take(&v); err != nil {
		a.contradicted(err)
	}
}

// confirm takes in that a node calls a block confirmed.
func (a *audit) confirm(node int, b ledger.BlockRef, at int64) {
	if limit, ok := a.severed[node]; ok && b.Slot > limit {
		a.violated("%s calls %v confirmed while it is cut off", nodeName(node), b)
	}
	if old, ok := a.confirmed[b.Slot]; ok {
		if old != b {
			a.violated("%s calls %v confirmed, and %v was", nodeName(node), b, old)
		}
		return
	}
	a.confirmed[b.Slot] = b
	a.unlinked = append(a.unlinked, b)
	if a.halted > 0 && b.Slot > a.halted {
		a.violated("%s calls %v confirmed while too few nodes are up to vote for it", nodeName(node), b)
	}
	if b.Slot <= a.top {
		return
	}
	a.top = b.Slot
	if a.since != 0 && !a.stuck {
		gap, dead := time.Duration(at-a.since), a.led(a.since, at)
		if gap > a.longest {
			a.longest, a.dead = gap, dead
		}
		if gap > gapMax {
			a.gaps++
		}
		if allowed := max(gapMax, dead+gapSlack); gap > allowed {
			a.slow = append(a.slow, fmt.Sprintf("no block is confirmed for %v before %v; at most %v are in order", round(gap), b, round(allowed)))
		}
	}
	a.since = max(a.since, at)
	a.stuck = a.stuck && a.halted > 0
}

// led returns how long, between two times, nodes lead that are down.
func (a *audit) led(from, to int64) (dead time.Duration) {
	params := &a.genesis.Params
	for s := a.slotAt(from); s <= a.slotAt(to); s++ {
		leader, ok := a.schedule.Leader(s)
		i := slices.IndexFunc(a.genesis.Validators, func(v cluster.Validator) bool { return v.Identity == leader })
		if ok && i >= 0 && a.down[i] {
			dead += time.Duration(min(to, params.SlotTime(a.genesis.T0, s+1)) - max(from, params.SlotTime(a.genesis.T0, s)))
		}
	}
	return dead
}

// slotAt returns the slot of a time, in Unix nanoseconds.
func (a *audit) slotAt(t int64) ledger.Slot {
	return ledger.Slot(max(t-a.genesis.T0, 0) / int64(ledger.TicksPerSlot*a.genesis.Params.TickDuration))
}

// goDown says that nodes went down at a time.
func (a *audit) goDown(nodes []int, at int64) {
	for _, i := range nodes {
		a.down[i] = true
	}
	var up ledger.Lamports
	var total ledger.Lamports
	for i, v := range a.genesis.Validators {
		total += v.Stake
		if !a.down[i] {
			up += v.Stake
		}
	}
	if 3*up <= 2*total {
		// What was in the air may still arrive.
		a.stuck, a.halted = true, a.slotAt(at)+1
	}
}

// sever says that nodes whose stake cannot confirm a block were cut off from
// the others at a time.
func (a *audit) sever(nodes []int, at int64) {
	var among, total ledger.Lamports
	for i, v := range a.genesis.Validators {
		total += v.Stake
		if slices.Contains(nodes, i) {
			among += v.Stake
		}
	}
	for _, i := range nodes {
		if 3*among <= 2*total {
			a.severed[i] = a.slotAt(at) + 1 // as above
		}
	}
}

// lastVote returns the slot of an account's newest vote.
func (a *audit) lastVote(account ledger.Pubkey) ledger.Slot {
	for b := range a.heard.Of(account) {
		return b.Slot
	}
	return 0
}

// agrees tells whether an account has voted for a confirmed block above a
// slot.
func (a *audit) agrees(account ledger.Pubkey, slot ledger.Slot) bool {
	for b := range a.heard.Of(account) {
		if b.Slot <= slot {
			break
		}
		if a.confirmed[b.Slot] == b {
			return true
		}
	}
	return false
}

// comeUp says that the nodes are being started, or connected again.
func (a *audit) comeUp(at int64) {
	clear(a.severed)
	if a.halted > 0 {
		a.halted, a.since = 0, at
	}
}

// recovered says that the nodes that were down vote again.
func (a *audit) recovered() { clear(a.down) }

// share counts the slots from the one after a time up to another time, and
// those of them that are confirmed.
func (a *audit) share(from, to int64) (confirmed, slots int) {
	for s := a.slotAt(from) + 1; s < a.slotAt(to); s++ {
		slots++
		if _, ok := a.confirmed[s]; ok {
			confirmed++
		}
	}
	return confirmed, slots
}

// settle checks what needs blocks that may come after what names them: that
// all confirmed blocks lie on one fork, and the roots as well, and that no
// vote leaves a fork too early. It returns how much cannot be checked yet.
func (a *audit) settle() (open int) {
	bySlot := func(x, y ledger.BlockRef) int { return cmp.Compare(x.Slot, y.Slot) }
	slices.SortStableFunc(a.unlinked, bySlot)
	a.unlinked = slices.DeleteFunc(a.unlinked, func(ref ledger.BlockRef) bool {
		b, err := a.ledger.Block(ref)
		if err != nil {
			return false
		}
		if other := a.agreed.Add(b); other != nil {
			a.violated("%v and %v are both confirmed, on two forks", other.Ref, ref)
		}
		a.heard.Confirmed(b)
		i, _ := slices.BinarySearchFunc(a.chain, b.Ref.Slot, func(x *invariant.Block, slot ledger.Slot) int { return cmp.Compare(x.Ref.Slot, slot) })
		a.chain = slices.Insert(a.chain, i, b)
		return true
	})
	slices.SortStableFunc(a.unrooted, bySlot)
	a.unrooted = slices.DeleteFunc(slices.Compact(a.unrooted), func(ref ledger.BlockRef) bool {
		b, err := a.ledger.Block(ref)
		if err != nil {
			return false
		}
		if other := a.fixed.Add(b); other != nil {
			a.violated("%v and %v are both roots, on two forks", other.Ref, ref)
		}
		if tip := a.agreed.Tip(); tip != nil && !tip.Descends(b) && !b.Descends(tip) {
			a.violated("%v is a root, and %v is confirmed on another fork", ref, tip.Ref)
		}
		return true
	})
	unplaced, errs := a.heard.Settle()
	for _, err := range errs {
		a.contradicted(err)
	}
	return unplaced + len(a.unlinked) + len(a.unrooted)
}

// finish says what was not proven by all that was read, and what could not be
// checked.
func (a *audit) finish() {
	if open := a.settle(); open > 0 {
		a.unchecked = append(a.unchecked, fmt.Sprintf("%d votes, roots or confirmed blocks could not be compared, because blocks between are not known", open))
	}
	if a.lost > 0 {
		a.unchecked = append(a.unchecked, fmt.Sprintf("%d events of nodes were lost", a.lost))
	}
	for _, err := range a.heard.Unproven() {
		if len(a.unchecked) > 0 {
			a.unchecked = append(a.unchecked, fmt.Sprintf("by the votes that were read: %v", err))
		} else {
			a.violated("by the votes that were read: %v", err)
		}
	}
}

// kept tells whether every node has executed the newest block of the chain up
// to a slot, or a descendant of it: nothing confirmed up to there is lost.
func (a *audit) kept(slot ledger.Slot) (missing string) {
	b, ok := a.newest(slot)
	if !ok {
		return "no block is confirmed"
	}
	for node, ref := range a.executed {
		if e, err := a.ledger.Block(ref); err != nil || !e.Descends(b) {
			return fmt.Sprintf("%s has executed %v, which does not follow the confirmed %v", nodeName(node), ref, b.Ref)
		}
	}
	return ""
}

// newest returns the newest block of the chain up to a slot.
func (a *audit) newest(slot ledger.Slot) (b *invariant.Block, ok bool) {
	for _, b := range slices.Backward(a.chain) {
		if b.Ref.Slot <= slot {
			return b, true
		}
	}
	return nil, false
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
