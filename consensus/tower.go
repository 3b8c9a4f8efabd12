package consensus

import (
	"errors"
	"fmt"
	"slices"

	"tutti/internal/planted"
	"tutti/ledger"
)

// thresholdDepth is how many newer votes stand above the one that two thirds
// of the stake must have confirmed before this node votes on (FORMATS
// section 8).
const thresholdDepth = 8

// shallowDepth is the same for what a node has seen of votes, and for its own
// restraint, not FORMATS section 8 (docs/decisions.md, Leader blocks and votes).
const shallowDepth = 3

// The switch threshold, 38 %: the stake that must be locked out of the last
// vote's fork before this node leaves it (FORMATS section 8).
const switchNum, switchDen = 38, 100

// Verdict is the answer to "may I vote for this block?"; Decision has its
// reason. Zero is a plain yes.
type Verdict uint8

// The verdicts. SameFork and SwitchFork are yes; what follows them is no.
const (
	// SameFork: the block continues the fork of the last vote, if there is one.
	SameFork Verdict = iota
	// SwitchFork: it does not, but enough stake is locked out of that fork.
	SwitchFork
	// TooOld: the block is not newer than the last vote.
	TooOld
	// Locked: an earlier vote on another fork has not expired.
	Locked
	// OffRoot: the block does not descend from the tower's root.
	OffRoot
	// BelowThreshold: too little stake stands behind the vote at thresholdDepth.
	BelowThreshold
	// NoSwitch: too little stake is locked out of the last vote's fork.
	NoSwitch
	// Unknown: the block, or its vote state, is not there.
	Unknown
)

var verdictNames = [...]string{
	"same fork", "switch fork", "too old", "locked", "off root", "below threshold", "no switch", "unknown",
}

// String returns the verdict in words.
func (v Verdict) String() string { return verdictNames[v] }

// Decision is a verdict and what it rests on.
type Decision struct {
	Verdict Verdict
	// Block is the earlier vote that locks this node out (Locked), or the
	// one at the threshold's depth (BelowThreshold).
	Block ledger.BlockRef
	// Stake of Total is behind that vote (BelowThreshold), or locked out
	// of the last vote's fork (SwitchFork: enough of it; NoSwitch: all of it).
	Stake, Total ledger.Lamports
}

// OK tells whether this node may vote for the block.
func (d Decision) OK() bool { return d.Verdict <= SwitchFork }

// String returns the decision for logs.
func (d Decision) String() string {
	s := d.Verdict.String()
	if d.Block != (ledger.BlockRef{}) {
		s += fmt.Sprintf(" by %v", d.Block)
	}
	if d.Total > 0 {
		s += fmt.Sprintf(", %d of %d", d.Stake, d.Total)
	}
	return s
}

// TowerVote is a vote of this node that still locks it.
type TowerVote struct {
	Block         ledger.BlockRef
	Confirmations uint8
}

func (v TowerVote) lockedUntil() ledger.Slot { return lockedUntil(v.Block.Slot, v.Confirmations) }

// Tower is this node's own votes: the promise that a restart must not break.
// It is saved before a vote is sent (PROTOCOL section 12).
type Tower struct {
	identity    ledger.Pubkey
	root        ledger.BlockRef
	votes       []TowerVote // oldest first, at most LockoutsMax, slots rising
	transaction []byte      // of the last vote, as sent
}

// NewTower returns the tower of a node that has never voted. The root is the
// genesis block or a snapshot's.
func NewTower(identity ledger.Pubkey, root ledger.BlockRef) *Tower {
	return &Tower{identity: identity, root: root}
}

// Identity returns whose tower this is.
func (t *Tower) Identity() ledger.Pubkey { return t.identity }

// Root returns the newest block that this node has rooted.
func (t *Tower) Root() ledger.BlockRef { return t.root }

// Last returns the block of the last vote.
func (t *Tower) Last() (ledger.BlockRef, bool) {
	if len(t.votes) == 0 {
		return ledger.BlockRef{}, false
	}
	return t.votes[len(t.votes)-1].Block, true
}

// Transaction returns the last vote's transaction, to be sent again; nil if
// there is none.
func (t *Tower) Transaction() []byte { return t.transaction }

// SetTransaction keeps the last vote's transaction, at most
// TransactionMax bytes.
func (t *Tower) SetTransaction(raw []byte) {
	if len(raw) > TransactionMax {
		panic("consensus: vote transaction above TransactionMax")
	}
	t.transaction = slices.Clone(raw)
}

// Fill writes the tower into a vote: root, lockouts and the block of the
// last vote.
func (t *Tower) Fill(v *ledger.Vote) {
	v.HasRoot, v.Root = true, t.root.Slot
	v.Lockouts = make([]ledger.Lockout, len(t.votes))
	for i, w := range t.votes {
		v.Lockouts[i] = ledger.Lockout{Slot: w.Block.Slot, Confirmations: w.Confirmations}
	}
	v.Block, _ = t.Last()
}

// Record puts a vote on the tower. It returns the new root, if the vote made
// one. The caller has asked Decide.
func (t *Tower) Record(block ledger.BlockRef) (root ledger.BlockRef, rooted bool) {
	if last, _ := t.Last(); block.Slot <= max(last.Slot, t.root.Slot) {
		panic(fmt.Sprintf("consensus: vote for %v after %v, root %v", block, last, t.root))
	}
	t.votes, root, rooted = push(t.votes, block)
	if rooted {
		t.root = root
	}
	t.transaction = nil
	return root, rooted
}

// push returns the tower after a vote (FORMATS section 8,
// process_next_vote_slot), and the block that the vote rooted.
func push(votes []TowerVote, block ledger.BlockRef) (next []TowerVote, root ledger.BlockRef, rooted bool) {
	n := len(votes)
	for n > 0 && votes[n-1].lockedUntil() < block.Slot {
		n--
	}
	next = append(make([]TowerVote, 0, LockoutsMax+1), votes[:n]...)
	if n == LockoutsMax || n == 4 && planted.Is(planted.RootEarly) {
		root, rooted = next[0].Block, true
		next = append(next[:0], next[1:]...)
	}
	next = append(next, TowerVote{block, 1})
	for i := range next {
		if len(next) > i+int(next[i].Confirmations) {
			next[i].Confirmations++
		}
	}
	return next, root, rooted
}

// Decide tells whether this node may vote for a block (FORMATS section 8).
// forks holds all live blocks. ballots gives the vote state of a block, nil
// if the block has not been checked; a block that has one has parents that
// have one. Whether its data is here is not asked.
//
// Solana's fourth rule, propagation, is not in it: PROTOCOL section 7 takes
// lockouts, threshold and switching.
func (t *Tower) Decide(block ledger.BlockRef, forks *ForkChoice, ballots func(ledger.BlockRef) *Ballots) Decision {
	b := ballots(block)
	if b == nil || !forks.Has(block) {
		return Decision{Verdict: Unknown}
	}
	if d := t.lockout(block, forks); !d.OK() {
		return d
	}
	if d := t.threshold(block, b); !d.OK() {
		return d
	}
	return t.switching(block, b.Stakes(), forks, ballots)
}

// Switch answers for the third rule alone: SameFork, SwitchFork, NoSwitch or
// Unknown. Who may not switch, and is locked out, builds on the fork of the own
// last vote (FORMATS section 8; docs/decisions.md).
func (t *Tower) Switch(block ledger.BlockRef, forks *ForkChoice, ballots func(ledger.BlockRef) *Ballots) Decision {
	b := ballots(block)
	if b == nil || !forks.Has(block) {
		return Decision{Verdict: Unknown}
	}
	return t.switching(block, b.Stakes(), forks, ballots)
}

// lockout checks that every vote which a vote for the block leaves in the
// tower, and the root, is for an ancestor of it.
func (t *Tower) lockout(block ledger.BlockRef, forks *ForkChoice) Decision {
	if last, _ := t.Last(); block.Slot <= max(last.Slot, t.root.Slot) {
		return Decision{Verdict: TooOld}
	}
	if !forks.Ancestor(t.root, block) {
		return Decision{Verdict: OffRoot}
	}
	next, _, _ := push(t.votes, block)
	for _, v := range next {
		if !forks.Ancestor(v.Block, block) && !planted.Is(planted.Lockouts) {
			return Decision{Verdict: Locked, Block: v.Block}
		}
	}
	return Decision{}
}

// LockedOut tells whether in a slot a vote on another fork than that of a block
// is still locked.
func (t *Tower) LockedOut(block ledger.BlockRef, slot ledger.Slot, forks *ForkChoice) bool {
	return slices.ContainsFunc(t.votes, func(v TowerVote) bool {
		return v.lockedUntil() >= slot && !forks.Ancestor(v.Block, block)
	})
}

// threshold checks that enough stake has voted for the block at
// thresholdDepth of the tower, or for descendants of it. Only votes counted
// up to the block are taken, of each voter the newest that would not have
// expired in the block's slot.
func (t *Tower) threshold(block ledger.BlockRef, b *Ballots) Decision {
	deep, ok := t.below(thresholdDepth, block)
	if !ok {
		return Decision{}
	}
	// All counted votes are for ancestors of the block, as deep is, so
	// slots tell descendants.
	var stake ledger.Lamports
	for i, s := range b.states {
		if voted, ok := s.unexpired(block.Slot); ok && voted >= deep.Slot {
			stake += b.stakes.Items[i].Stake
		}
	}
	if TwoThirds(stake, b.stakes.Total()) || planted.Is(planted.DepthThreshold) {
		return Decision{}
	}
	return Decision{Verdict: BelowThreshold, Block: deep, Stake: stake, Total: b.stakes.Total()}
}

// Followed tells whether the vote for a block would stand shallowDepth above one
// that more than two thirds of the stake are known to follow: the newest vote of
// each account, counted in a block or not, is for that one's block or for a
// descendant of it. A node that may vote keeps the vote to itself if not, so
// that a part of a network that is cut off locks itself to its own fork for 8
// slots and not, up to thresholdDepth, for 256.
func (t *Tower) Followed(block ledger.BlockRef, stakes *Stakes, forks *ForkChoice) bool {
	deep, ok := t.below(shallowDepth, block)
	return !ok || TwoThirds(forks.behind(deep, stakes), stakes.Total()) || planted.Is(planted.ShallowThreshold)
}

// below returns what the vote at a depth of the tower is for once there is one
// for a block on top. ok is false if the tower is not as deep then, or had that
// vote with the same lockout before: the new one adds nothing to it, but may have
// popped votes off which the stake had followed.
func (t *Tower) below(depth int, block ledger.BlockRef) (deep ledger.BlockRef, ok bool) {
	next, _, _ := push(t.votes, block)
	if len(next) <= depth {
		return ledger.BlockRef{}, false
	}
	v := next[len(next)-1-depth]
	return v.Block, !slices.Contains(t.votes, v)
}

// switching checks, if the block is on another fork than the last vote, that
// enough stake is locked out of the last vote's fork, each account once:
//
//	      ┌── last vote
//	g ────┤ ┌── tip      counts
//	      └─┴── block
//
// Only tips and votes count whose common ancestor with the last vote is also
// the block's, and of votes that are counted in no block here those for the last
// vote's slot and later ones. If the last vote's block is not in the tree, after
// a restart, it has either left below the root, and all of the tree counts, or a
// crash has taken it away: then only votes for its slot and later ones cannot be
// for ancestors of it, and who follows an older own vote that the block leaves is
// not known to have left it.
func (t *Tower) switching(block ledger.BlockRef, stakes *Stakes, forks *ForkChoice, ballots func(ledger.BlockRef) *Ballots) Decision {
	last, ok := t.Last()
	if !ok || forks.Ancestor(last, block) {
		return Decision{}
	}
	s := switchProof{
		tower: t, last: last, block: block,
		forks: forks, stakes: stakes, counted: make([]bool, stakes.Len()),
	}
	for _, tip := range forks.tips(ballots) {
		if since, ok := s.away(tip); ok {
			s.landed(ballots(tip), since)
		}
	}
	for i := range forks.voters {
		v := &forks.voters[i]
		if v.at == nil || v.newest.Slot < last.Slot || ballots(v.newest) == nil {
			continue
		}
		if _, ok := s.away(v.newest); ok {
			s.count(v.account)
		}
	}
	d := Decision{Verdict: NoSwitch, Stake: s.stake, Total: stakes.Total()}
	if Exceeds(s.stake, stakes.Total(), switchNum, switchDen) || planted.Is(planted.SwitchThreshold) {
		d.Verdict = SwitchFork
	}
	return d
}

// tips returns the newest blocks of all forks that have a vote state, in the
// order of the tree.
func (f *ForkChoice) tips(ballots func(ledger.BlockRef) *Ballots) []ledger.BlockRef {
	var tips []ledger.BlockRef
	for stack := []*fork{f.root}; len(stack) > 0; {
		b := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		leaf := true
		for _, c := range b.children {
			if ballots(c.ref) != nil {
				leaf = false
				stack = append(stack, c)
			}
		}
		if leaf && b != f.root {
			tips = append(tips, b.ref)
		}
	}
	return tips
}

// switchProof adds up the stake that is locked out of the last vote's fork.
type switchProof struct {
	tower       *Tower
	last, block ledger.BlockRef
	forks       *ForkChoice
	stakes      *Stakes
	counted     []bool // by voter
	stake       ledger.Lamports
}

// away tells whether a block of the tree is on a fork whose votes count, and
// the last slot that this fork shares with that of the last vote.
func (s *switchProof) away(ref ledger.BlockRef) (since ledger.Slot, ok bool) {
	last := s.forks.blocks[s.last]
	switch {
	case last == nil && s.last.Slot > s.forks.root.ref.Slot:
		return s.last.Slot, !slices.ContainsFunc(s.tower.votes, func(v TowerVote) bool {
			return s.forks.Ancestor(v.Block, ref) && !s.forks.Ancestor(v.Block, s.block)
		})
	case last == nil:
		return s.tower.root.Slot, true
	}
	g := common(last, s.forks.blocks[ref]).ref
	if g == s.last || g == ref || !s.forks.Ancestor(g, s.block) {
		return 0, false
	}
	return max(g.Slot, s.tower.root.Slot), true
}

// landed counts the voters whose votes after since, on the fork of these
// ballots, have not expired at the last vote.
func (s *switchProof) landed(b *Ballots, since ledger.Slot) {
	for i, state := range b.states {
		for _, l := range state.Lockouts() {
			if l.Slot > since && lockedUntil(l.Slot, l.Confirmations) >= s.last.Slot {
				s.count(b.stakes.Items[i].VoteAccount)
				break
			}
		}
	}
}

func (s *switchProof) count(account ledger.Pubkey) {
	if i, ok := s.stakes.Voter(account); ok && !s.counted[i] {
		s.counted[i] = true
		s.stake += s.stakes.Items[i].Stake
	}
}

// Place is where a block stands to a fork.
type Place uint8

// The places of a block.
const (
	// OffFork: the fork has another block or none in that slot.
	OffFork Place = iota
	// OnFork: the block is one of the fork.
	OnFork
	// TooEarly: the block is older than what is known of the fork.
	TooEarly
)

// Why a tower does not fit a ledger.
var (
	ErrRootConflict = errors.New("tower: its root or a confirmed vote contradicts the ledger's root")
	ErrTowerTooOld  = errors.New("tower: votes that have not expired are older than the known ledger")
)

// Restore fits a tower that was read from disk to the ledger's root, or to
// a root that others have finalised past it. place tells where a block at or
// below that root stands to its fork.
//
// If the ledger's root is the newer one, votes on its fork are settled and go
// away; those on other forks stay and lock this node until they expire. If
// it is the older one, nothing changes: Decide answers OffRoot until the
// ledger has caught up with the tower. On an error this node must not vote.
func (t *Tower) Restore(root ledger.BlockRef, place func(ledger.BlockRef) Place) error {
	if t.root.Slot > root.Slot {
		return nil
	}
	settled, anchored := 0, false // older votes than settled are ancestors of the root
	for i := len(t.votes) - 1; i >= -1; i-- {
		b := t.root
		if i >= 0 {
			b = t.votes[i].Block
		}
		if b.Slot > root.Slot {
			continue
		}
		switch place(b) {
		case OnFork:
			if !anchored {
				settled, anchored = i+1, true
			}
		case OffFork:
			if anchored || i < 0 {
				return ErrRootConflict
			}
		}
	}
	votes := slices.Clone(t.votes[settled:])
	for n := len(votes); n > 0 && votes[n-1].lockedUntil() <= root.Slot; n-- {
		votes = votes[:n-1]
	}
	if !anchored && slices.ContainsFunc(votes, func(v TowerVote) bool {
		return v.Block.Slot <= root.Slot && place(v.Block) == TooEarly
	}) {
		return ErrTowerTooOld
	}
	if len(votes) == 0 {
		t.transaction = nil
	}
	t.votes, t.root = votes, root
	return nil
}
