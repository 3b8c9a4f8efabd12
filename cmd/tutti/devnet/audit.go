package devnet

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"tutti/cluster"
	"tutti/ledger"

	"tutti/cmd/tutti/load"
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
// and against all that was said before. It has a copy of its own of every
// vote, confirmation and BankHash, and asks no node for its opinion.
type audit struct {
	genesis  *cluster.Genesis
	schedule *cluster.Schedule
	votes    votes
	// confirmed has the blocks that some node called confirmed, by slot;
	// chain those of them that were found to lie on one fork, oldest first.
	confirmed map[ledger.Slot]blockRef
	unlinked  []blockRef
	chain     []blockRef
	hashes    map[blockRef]string
	executed  []blockRef    // newest, by node
	roots     []ledger.Slot // newest, by node
	top       ledger.Slot
	lost      uint64 // events that were not read

	// promised are transactions that were called confirmed. Those up to
	// concludedAt must be in every ledger, at or below the block concluded.
	promised    []promise
	concludedAt int64
	concluded   blockRef

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
	longest time.Duration

	// violations are of what must hold on any machine; slow says when the
	// cluster did too little in its time.
	violations, slow []string
	// contradictions counts the violations that are votes against votes.
	contradictions int
}

// violationsMax bounds the list; what is beyond is only the same again.
const violationsMax = 100

func newAudit(g *cluster.Genesis) *audit {
	return &audit{
		genesis: g, schedule: cluster.NewSchedule(g),
		votes:     votes{blocks: tree{}, voters: map[string][]*vote{}},
		confirmed: map[ledger.Slot]blockRef{}, hashes: map[blockRef]string{},
		executed: make([]blockRef, len(g.Validators)), roots: make([]ledger.Slot, len(g.Validators)),
		down: make([]bool, len(g.Validators)), severed: map[int]ledger.Slot{},
	}
}

// violated notes that something happened which must not.
func (a *audit) violated(format string, args ...any) {
	if len(a.violations) < violationsMax {
		a.violations = append(a.violations, fmt.Sprintf(format, args...))
	}
}

// take takes in an event of a node.
func (a *audit) take(node int, e *load.Event) {
	ref := blockRef{e.Slot, e.ID}
	switch e.Type {
	case "block":
		a.votes.blocks[ref] = blockRef{e.ParentSlot, e.Parent}
	case "vote":
		x := &vote{block: ref, root: e.Root}
		for _, l := range e.Lockouts {
			x.lockouts = append(x.lockouts, ledger.Lockout{Slot: ledger.Slot(l[0]), Confirmations: uint8(l[1])})
		}
		if err := a.votes.take(e.Voter, x); err != nil {
			a.contradictions++
			a.violated("%v", err)
		}
	case "confirmed":
		a.confirm(node, ref, e.T)
	case "executed":
		if other, ok := a.hashes[ref]; ok && other != e.BankHash {
			a.violated("BankHash of %v is %.8s for %s, and was %.8s", ref, e.BankHash, nodeName(node), other)
		}
		a.hashes[ref] = e.BankHash
		a.executed[node] = ref
	case "rooted":
		a.roots[node] = max(a.roots[node], e.Slot)
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

// confirm takes in that a node calls a block confirmed.
func (a *audit) confirm(node int, b blockRef, at int64) {
	if limit, ok := a.severed[node]; ok && b.slot > limit {
		a.violated("%s calls %v confirmed while it is cut off", nodeName(node), b)
	}
	if old, ok := a.confirmed[b.slot]; ok {
		if old != b {
			a.violated("%s calls %v confirmed, and %v was", nodeName(node), b, old)
		}
		return
	}
	a.confirmed[b.slot] = b
	a.unlinked = append(a.unlinked, b)
	if a.halted > 0 && b.slot > a.halted {
		a.violated("%s calls %v confirmed while too few nodes are up to vote for it", nodeName(node), b)
	}
	if b.slot <= a.top {
		return
	}
	a.top = b.slot
	if a.since != 0 && !a.stuck {
		gap := time.Duration(at - a.since)
		a.longest = max(a.longest, gap)
		if allowed := a.gapAllowed(a.since, at); gap > allowed {
			a.slow = append(a.slow, fmt.Sprintf("no block is confirmed for %v before %v; at most %v are in order", round(gap), b, round(allowed)))
		}
	}
	a.since = max(a.since, at)
	a.stuck = a.stuck && a.halted > 0
}

// gapAllowed returns how long no block may be confirmed between two times.
func (a *audit) gapAllowed(from, to int64) time.Duration {
	var dead time.Duration
	slot := ledger.TicksPerSlot * a.genesis.Params.TickDuration
	for s := a.slotAt(from); s <= a.slotAt(to); s++ {
		leader, ok := a.schedule.Leader(s)
		i := slices.IndexFunc(a.genesis.Validators, func(v cluster.Validator) bool { return v.Identity == leader })
		if ok && i >= 0 && a.down[i] {
			dead += slot
		}
	}
	return max(gapMax, dead+gapSlack)
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

// agrees tells whether an account has voted for a confirmed block above a
// slot.
func (a *audit) agrees(account string, slot ledger.Slot) bool {
	for _, v := range slices.Backward(a.votes.voters[account]) {
		if v.block.slot <= slot {
			break
		}
		if a.confirmed[v.block.slot] == v.block {
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
// all confirmed blocks lie on one fork, and that no vote leaves a fork too
// early. It returns how much cannot be checked yet.
func (a *audit) settle() (open int) {
	slices.SortFunc(a.unlinked, func(x, y blockRef) int { return cmp.Compare(x.slot, y.slot) })
	a.unlinked = slices.DeleteFunc(a.unlinked, a.link)
	unplaced, errs := a.votes.place()
	for _, err := range errs {
		a.contradictions++
		a.violated("%v", err)
	}
	return unplaced + len(a.unlinked)
}

// link puts a confirmed block into the chain. It tells whether it could be
// done: the blocks between must be known.
func (a *audit) link(b blockRef) bool {
	i, _ := slices.BinarySearchFunc(a.chain, b.slot, func(x blockRef, slot ledger.Slot) int { return cmp.Compare(x.slot, slot) })
	for _, pair := range [][]blockRef{append(slices.Clone(a.chain[max(i-1, 0):i]), b), append([]blockRef{b}, a.chain[i:min(i+1, len(a.chain))]...)} {
		if len(pair) < 2 {
			continue
		}
		at, known := a.votes.blocks.at(pair[1], pair[0].slot)
		if !known {
			return false
		}
		if at != pair[0] {
			a.violated("%v and %v are both confirmed, on two forks", pair[0], pair[1])
		}
	}
	a.chain = slices.Insert(a.chain, i, b)
	return true
}

// kept tells whether every node has executed the newest block of the chain up
// to a slot, or a descendant of it: nothing confirmed up to there is lost.
func (a *audit) kept(slot ledger.Slot) (missing string) {
	b, ok := a.newest(slot)
	if !ok {
		return "no block is confirmed"
	}
	for node, e := range a.executed {
		if at, known := a.votes.blocks.at(e, b.slot); !known || at != b {
			return fmt.Sprintf("%s has executed %v, which does not follow the confirmed %v", nodeName(node), e, b)
		}
	}
	return ""
}

// newest returns the newest block of the chain up to a slot.
func (a *audit) newest(slot ledger.Slot) (b blockRef, ok bool) {
	for _, b := range slices.Backward(a.chain) {
		if b.slot <= slot {
			return b, true
		}
	}
	return blockRef{}, false
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
