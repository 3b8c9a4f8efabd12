package invariant

import (
	"cmp"
	"fmt"
	"slices"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/ledger"
)

// The numbers of FORMATS section 8, once more: a wrong one in package consensus
// must not be wrong here, too.
const (
	// towerMax is how many votes a tower holds; the oldest becomes the root with
	// the next one.
	towerMax = 31
	// thresholdDepth is how many votes stand above the one that more than two
	// thirds of the stake must have followed, counted in blocks; shallowDepth is
	// the same for what a node has seen, a restraint of docs/decisions.md.
	thresholdDepth = 8
	shallowDepth   = 3
	// The switch threshold is 38 %.
	switchNum = 38
	switchDen = 100
)

// Votes holds an own copy of every vote that honest accounts ever sent,
// whatever became of its sender since.
type Votes struct {
	ledger *Ledger
	// dishonest are the accounts that promise nothing.
	dishonest []ledger.Pubkey
	voters    map[ledger.Pubkey]*Voter
	// stake is what voted for exactly a block.
	stake map[*Block]ledger.Lamports
	// pruned is the slot below which votes are forgotten.
	pruned ledger.Slot
}

// Voter is what one account has voted for.
type Voter struct {
	tower []cast // that still lock it, oldest first
	root  *Block // by its own votes, or finalised when it showed it
	// last is what it voted for last, executed the highest slot that a vote of
	// it reports to be executed.
	last     *Block
	executed ledger.Slot
	// until is the last slot that any vote for a block locked.
	until map[*Block]ledger.Slot
	count int
}

// cast is a vote that still locks its sender.
type cast struct {
	block         *Block
	confirmations uint8
}

func (c cast) until() ledger.Slot { return c.block.Ref.Slot + 1<<c.confirmations }

// NewVotes returns an empty copy for a ledger.
func NewVotes(l *Ledger) *Votes {
	return &Votes{
		ledger: l,
		voters: make(map[ledger.Pubkey]*Voter),
		stake:  make(map[*Block]ledger.Lamports),
	}
}

// Distrust takes an account for dishonest. Nobody knows to whom it sends what;
// wherever votes are counted it counts as if it had sent, once, each vote that
// it could: no node can have seen more than that.
func (v *Votes) Distrust(account ledger.Pubkey) { v.dishonest = append(v.dishonest, account) }

// distrusted returns the stake of all dishonest accounts.
func (v *Votes) distrusted(stakes stakes) (sum ledger.Lamports) {
	for _, account := range v.dishonest {
		sum += stakes.of(account)
	}
	return sum
}

// Count returns how many votes honest accounts sent.
func (v *Votes) Count() (n int) {
	for _, x := range v.voters {
		n += x.count
	}
	return n
}

// CountOf returns how many votes an account sent.
func (v *Votes) CountOf(account ledger.Pubkey) int { return v.voter(account).count }

func (v *Votes) voter(account ledger.Pubkey) *Voter {
	x := v.voters[account]
	if x == nil {
		x = &Voter{root: v.ledger.root, until: make(map[*Block]ledger.Slot)}
		v.voters[account] = x
	}
	return x
}

// Cast takes a new vote and checks it against all votes that its account has
// sent before (FORMATS section 8), and what it reports.
func (v *Votes) Cast(vote *ledger.Vote) error {
	b, err := v.ledger.Block(vote.Block)
	if err != nil {
		return err
	}
	if err := bankOf(b, vote); err != nil {
		return err
	}
	x := v.voter(vote.Account)
	if err := v.switches(x, b); err != nil {
		return err
	}
	if at := b.At(vote.Root); at == nil || !vote.HasRoot || at.Ref.Slot != vote.Root || vote.Root < x.root.Ref.Slot {
		return fmt.Errorf("vote for %v has root %d, which its fork has not, after %v", b.Ref, vote.Root, x.root.Ref)
	} else if v.finalized(at) {
		x.settle(at)
	}
	before := slices.Clone(x.tower)
	if err := x.push(b); err != nil {
		return err
	}
	if err := x.matches(b, vote); err != nil {
		return err
	}
	if err := v.followed(x, before, vote); err != nil {
		return err
	}
	x.last, x.executed = b, max(x.executed, vote.BankSlot)
	x.count++
	v.weigh(b, vote.Account)
	return nil
}

// bankOf checks what a vote reports: a block of the voted fork, with the
// BankHash that all nodes have for it.
func bankOf(b *Block, v *ledger.Vote) error {
	at := b.At(v.BankSlot)
	switch {
	case v.BankSlot > v.Block.Slot || at == nil || at.Ref.Slot != v.BankSlot:
		return fmt.Errorf("vote for %v reports slot %d, which is not on its fork", b.Ref, v.BankSlot)
	case !at.Executed || at.BankHash != v.BankHash:
		return fmt.Errorf("vote for %v reports BankHash %v of %v", b.Ref, v.BankHash, at.Ref)
	}
	return nil
}

// push lets the account vote for a block by the rules of lockouts.
func (x *Voter) push(b *Block) error {
	if n := len(x.tower); n > 0 && x.tower[n-1].block.Ref.Slot >= b.Ref.Slot {
		return fmt.Errorf("vote for %v after a vote for %v", b.Ref, x.tower[n-1].block.Ref)
	}
	for n := len(x.tower); n > 0 && x.tower[n-1].until() < b.Ref.Slot; n-- {
		x.tower = x.tower[:n-1]
	}
	if len(x.tower) == towerMax {
		x.root = x.tower[0].block
		x.tower = slices.Delete(x.tower, 0, 1)
	}
	for _, held := range x.tower {
		if !b.Descends(held.block) {
			return fmt.Errorf("vote for %v is locked out by the vote for %v", b.Ref, held.block.Ref)
		}
	}
	if !b.Descends(x.root) {
		return fmt.Errorf("vote for %v does not descend from the root %v", b.Ref, x.root.Ref)
	}
	x.tower = append(x.tower, cast{b, 1})
	for i := range x.tower {
		if len(x.tower) > i+int(x.tower[i].confirmations) {
			x.tower[i].confirmations++
		}
		held := x.tower[i]
		x.until[held.block] = max(x.until[held.block], held.until())
	}
	return nil
}

// settle moves the account's root to a block that others have finalised, as a
// node does that lacks votes of its own for it.
func (x *Voter) settle(b *Block) {
	if b.Ref.Slot <= x.root.Ref.Slot || !b.Descends(x.root) {
		return
	}
	x.root = b
	x.tower = slices.DeleteFunc(x.tower, func(c cast) bool { return b.Descends(c.block) })
}

// matches checks that a vote shows the root and the tower that its votes make.
func (x *Voter) matches(b *Block, v *ledger.Vote) error {
	if v.Root != x.root.Ref.Slot {
		return fmt.Errorf("vote for %v has root %d, but its votes root %v, and 2/3 have not rooted more", b.Ref, v.Root, x.root.Ref)
	}
	same := slices.EqualFunc(x.tower, v.Lockouts, func(c cast, l ledger.Lockout) bool {
		return c.block.Ref.Slot == l.Slot && c.confirmations == l.Confirmations
	})
	if !same {
		return fmt.Errorf("vote for %v has tower %v on root %d, not what its votes make", b.Ref, v.Lockouts, v.Root)
	}
	return nil
}

// switches checks that an account leaves the fork of its last vote only if
// more than 38 % of the stake is locked out of it. All votes ever sent are
// more than any voter can have seen.
func (v *Votes) switches(x *Voter, b *Block) error {
	if len(x.tower) == 0 {
		return nil
	}
	last := x.tower[len(x.tower)-1].block
	if b.Descends(last) {
		return nil
	}
	return v.mayLeave(x, last, b)
}

// mayLeave checks that more than 38 % of the stake, that of other accounts, is
// locked out of the fork of an account's vote, which its vote for b leaves.
func (v *Votes) mayLeave(x *Voter, last, b *Block) error {
	stakes := v.ledger.stakesAt(b.Ref.Slot)
	away := v.distrusted(stakes)
	for i := range stakes.Items {
		other := v.voters[stakes.Items[i].VoteAccount]
		if other == nil || other == x {
			continue
		}
		for at, until := range other.until {
			if until >= last.Ref.Slot && !last.Descends(at) && !at.Descends(last) {
				away += stakes.Items[i].Stake
				break
			}
		}
	}
	if !stakes.exceeded(away, switchNum, switchDen) {
		return fmt.Errorf("vote for %v leaves the fork of the last vote, for %v, but only %d of %d lamports are locked out of it",
			b.Ref, last.Ref, away, stakes.TotalStake())
	}
	return nil
}

// followed checks that more than two thirds of the stake stand behind the vote
// at the depth where a node looks for them first, unless the tower had it as deep
// before. All votes ever sent are more than any node has seen, and what is deeper
// was there before.
func (v *Votes) followed(x *Voter, before []cast, vote *ledger.Vote) error {
	depth := shallowDepth
	if v.ledger.genesis.Params.Execution == cluster.ExecutionSync {
		depth = thresholdDepth
	}
	if len(x.tower) <= depth {
		return nil
	}
	deep := x.tower[len(x.tower)-1-depth]
	if slices.Contains(before, deep) {
		return nil
	}
	return v.standBehind(deep.block, depth, vote.Block)
}

// standBehind checks that more than two thirds of the stake have voted for a
// block or for descendants of it, whose vote is so deep below another.
func (v *Votes) standBehind(deep *Block, depth int, vote ledger.BlockRef) error {
	if deep.certified {
		return nil
	}
	stakes := v.ledger.stakesAt(vote.Slot)
	behind := v.distrusted(stakes)
	for i := range stakes.Items {
		if other := v.voters[stakes.Items[i].VoteAccount]; other != nil && other.stoodBehind(deep) {
			behind += stakes.Items[i].Stake
		}
	}
	if !stakes.exceeded(behind, 2, 3) {
		return fmt.Errorf("vote for %v is %d votes above that for %v, with %d of %d lamports behind it",
			vote, depth, deep.Ref, behind, stakes.TotalStake())
	}
	return nil
}

// stoodBehind tells whether the account ever voted for a block or a descendant
// of it.
func (x *Voter) stoodBehind(b *Block) bool {
	if x.last != nil && x.last.Descends(b) {
		return true
	}
	for voted := range x.until {
		if voted.Descends(b) {
			return true
		}
	}
	return false
}

// weigh adds the account's stake to what voted for a block.
func (v *Votes) weigh(b *Block, account ledger.Pubkey) {
	stakes := v.ledger.stakesAt(b.Ref.Slot)
	v.stake[b] += stakes.of(account)
	if !stakes.exceeded(v.stake[b]+v.distrusted(stakes), 2, 3) {
		return
	}
	for ; b != nil && !b.certified; b = b.Parent {
		b.certified = true
	}
}

// Seen checks a vote that a node counts as an account's: the account has sent
// it. Of votes that are forgotten it knows nothing.
func (v *Votes) Seen(account ledger.Pubkey, ref ledger.BlockRef) error {
	if ref.Slot < v.pruned {
		return nil
	}
	b, err := v.ledger.Block(ref)
	if err != nil {
		return err
	}
	if x := v.voters[account]; x == nil || x.until[b] == 0 {
		return fmt.Errorf("counts a vote of %v for %v, which it has not sent", account, ref)
	}
	return nil
}

// Confirmed checks that a block which a node calls confirmed is: more than
// two thirds of the stake voted for it, or for one descendant.
func (v *Votes) Confirmed(b *Block) error {
	if !b.certified {
		return fmt.Errorf("%v is called confirmed without the votes for it", b.Ref)
	}
	return nil
}

// Finalized checks that more than two thirds of the stake has rooted a slot.
func (v *Votes) Finalized(slot ledger.Slot) error {
	stakes := v.ledger.stakesAt(slot)
	rooted := v.distrusted(stakes)
	for i := range stakes.Items {
		if x := v.voters[stakes.Items[i].VoteAccount]; x != nil && x.root.Ref.Slot >= slot {
			rooted += stakes.Items[i].Stake
		}
	}
	if !stakes.exceeded(rooted, 2, 3) {
		return fmt.Errorf("slot %d is called finalised with %d of %d lamports behind it", slot, rooted, stakes.TotalStake())
	}
	return nil
}

// finalized tells whether more than two thirds of the stake has rooted a block
// or a descendant of it.
func (v *Votes) finalized(b *Block) bool {
	stakes := v.ledger.stakesAt(b.Ref.Slot)
	rooted := v.distrusted(stakes)
	for i := range stakes.Items {
		if x := v.voters[stakes.Items[i].VoteAccount]; x != nil && x.root.Descends(b) {
			rooted += stakes.Items[i].Stake
		}
	}
	return stakes.exceeded(rooted, 2, 3)
}

// Rooted checks that a node may root a block: its own votes root it or a
// descendant, or more than two thirds of the stake has.
func (v *Votes) Rooted(account ledger.Pubkey, b *Block) error {
	if x := v.voter(account); x.root.Descends(b) || v.finalized(b) {
		return nil
	}
	return fmt.Errorf("root %v, but its votes root %v, and 2/3 have not rooted more", b.Ref, v.voter(account).root.Ref)
}

// Agreed checks what a node says of the stake that agrees with its BankHashes:
// more than a third up to one slot, more than two thirds up to another. All
// reports that were ever sent are more than it can have heard.
func (v *Votes) Agreed(third, twoThirds ledger.Slot) error {
	for _, said := range []struct {
		slot ledger.Slot
		num  uint64
	}{{third, 1}, {twoThirds, 2}} {
		stakes := v.ledger.stakesAt(said.slot)
		with := v.distrusted(stakes)
		for i := range stakes.Items {
			if x := v.voters[stakes.Items[i].VoteAccount]; x != nil && x.executed >= said.slot {
				with += stakes.Items[i].Stake
			}
		}
		if said.slot > 0 && !stakes.exceeded(with, said.num, 3) {
			return fmt.Errorf("slot %d is called executed by more than %d/3, with %d of %d lamports behind it",
				said.slot, said.num, with, stakes.TotalStake())
		}
	}
	return nil
}

// Locked tells whether in a slot an account's own votes keep it from joining
// more than a third of the stake, which votes that lock as well keep on another
// fork.
func (v *Votes) Locked(account ledger.Pubkey, now ledger.Slot) bool {
	x := v.voters[account]
	if x == nil {
		return false
	}
	stakes := v.ledger.stakesAt(now)
	for _, c := range x.tower {
		if c.until() < now {
			continue
		}
		var against ledger.Lamports
		for i := range stakes.Items {
			if other := v.voters[stakes.Items[i].VoteAccount]; other != nil && other.conflicts(c.block, now) {
				against += stakes.Items[i].Stake
			}
		}
		if stakes.exceeded(against, 1, 3) {
			return true
		}
	}
	return false
}

// Joinable tells whether in a slot there is a fork that accounts with more than
// two thirds of the stake can vote for: of those that are able to vote at all,
// the ones that no vote locks on another fork.
func (v *Votes) Joinable(now ledger.Slot, able func(account ledger.Pubkey) bool) bool {
	stakes := v.ledger.stakesAt(now)
	held := make([]*Block, len(stakes.Items)) // the newest block that locks each
	for i := range stakes.Items {
		held[i] = v.ledger.root
		if x := v.voters[stakes.Items[i].VoteAccount]; x != nil {
			held[i] = x.held(now)
		}
	}
	for _, fork := range held {
		var free ledger.Lamports
		for i, at := range held {
			if able(stakes.Items[i].VoteAccount) && fork.Descends(at) {
				free += stakes.Items[i].Stake
			}
		}
		if stakes.exceeded(free, 2, 3) {
			return true
		}
	}
	return false
}

// Barred tells whether an account that leads a slot cannot build on the fork for
// which most stake voted last: its own votes lock it to another one, and too
// little stake is locked out of that for the account to leave it. It builds
// there, and those on the heaviest fork do not vote for what it makes.
func (v *Votes) Barred(account ledger.Pubkey, slot ledger.Slot) bool {
	x, best := v.voter(account), v.heaviest(slot)
	if x.last == nil || best.Descends(x.held(slot)) || x.last.Descends(best) {
		return false
	}
	return v.mayLeave(x, x.last, best) != nil
}

// heaviest returns the block that one comes to from the root by going to the
// child on whose fork most stake voted last, of two alike to that of the lower
// slot and id.
func (v *Votes) heaviest(now ledger.Slot) *Block {
	stakes := v.ledger.stakesAt(now)
	weight := make(map[*Block]ledger.Lamports)
	children := make(map[*Block][]*Block)
	for i := range stakes.Items {
		x := v.voters[stakes.Items[i].VoteAccount]
		if x == nil {
			continue
		}
		for b := x.last; b != nil && b != v.ledger.root; b = b.Parent {
			if _, known := weight[b]; !known {
				children[b.Parent] = append(children[b.Parent], b)
			}
			weight[b] += stakes.Items[i].Stake
		}
	}
	best := v.ledger.root
	for len(children[best]) > 0 {
		best = slices.MinFunc(children[best], func(a, b *Block) int {
			return cmp.Or(cmp.Compare(weight[b], weight[a]), consensus.Compare(a.Ref, b.Ref))
		})
	}
	return best
}

// held returns the newest block to whose fork the account's votes hold it in a
// slot.
func (x *Voter) held(now ledger.Slot) *Block {
	b := x.root
	for _, c := range x.tower { // on one chain
		if c.until() >= now {
			b = c.block
		}
	}
	return b
}

// conflicts tells whether the account's votes keep it off a block's fork.
func (x *Voter) conflicts(b *Block, now ledger.Slot) bool {
	return slices.ContainsFunc(x.tower, func(c cast) bool {
		return c.until() >= now && !b.Descends(c.block) && !c.block.Descends(b)
	})
}

// Full tells whether an account's next vote roots a block: its tower holds as
// many votes as one can. After votes have expired others must come for them
// first.
func (v *Votes) Full(account ledger.Pubkey) bool {
	return len(v.voter(account).tower) == towerMax
}

// Prune forgets votes for blocks that lie below a slot and lock nobody any
// more.
func (v *Votes) Prune(slot ledger.Slot) {
	v.pruned = max(v.pruned, slot)
	for _, x := range v.voters {
		for b, until := range x.until {
			if b.Ref.Slot < slot && until < slot {
				delete(x.until, b)
			}
		}
	}
}
