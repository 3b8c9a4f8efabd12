package consensus

import (
	"bytes"
	"cmp"
	"slices"

	"tutti/internal/planted"
	"tutti/ledger"
)

// Bounds of an Agreement.
const (
	// LinksMax is how many BankHash links of others are kept; more are dropped,
	// and can be fetched again.
	LinksMax = 4096
	// awaitedMax is how many values that one voter has reported are kept until
	// this node has executed their blocks; beyond that they lie further apart.
	awaitedMax = 64
)

// Stance is what a voter is known to say of a block's BankHash.
type Stance uint8

// The stances of a voter towards a block.
const (
	// Silent: its report does not reach the block, or the links between
	// are not known.
	Silent Stance = iota
	// Says: it has the value that stands with it.
	Says
	// Differs: it has another value than mine, which one is not known.
	Differs
)

// Opinion is a voter's stance with its stake.
type Opinion struct {
	Stake  ledger.Lamports
	Stance Stance
	Value  ledger.Hash // if it Says
	// Late says that it has said so, and since then things that cannot be
	// compared yet.
	Late bool
}

// Sums are the stakes behind the values of one block's BankHash.
type Sums struct {
	With    ledger.Lamports // have my value
	Late    ledger.Lamports // of those: have said so, and not yet again
	Against ledger.Lamports // have another one, known or not
	Unnamed ledger.Lamports // of those: which one is not known
	Other   ledger.Hash     // the other value with the most stake, if OtherStake > 0
	// OtherStake is the stake that has it.
	OtherStake ledger.Lamports
	Total      ledger.Lamports
}

// SumUp adds opinions, for a node whose own value is mine.
func SumUp(opinions []Opinion, mine ledger.Hash, total ledger.Lamports) Sums {
	s := Sums{Total: total}
	var others []valueStake
	for _, o := range opinions {
		switch {
		case o.Stance == Silent:
		case o.Stance == Differs:
			s.Against += o.Stake
			s.Unnamed += o.Stake
		case o.Value == mine:
			s.With += o.Stake
			if o.Late {
				s.Late += o.Stake
			}
		default:
			s.Against += o.Stake
			others = addValue(others, o.Value, o.Stake)
		}
	}
	for _, o := range others {
		if o.stake > s.OtherStake {
			s.Other, s.OtherStake = o.value, o.stake
		}
	}
	return s
}

// State is what the cluster's BankHashes say of one block (PROTOCOL section
// 10).
type State uint8

// The states of a block, in the order in which they are looked for.
const (
	// Open: nothing is certain yet.
	Open State = iota
	// Certified: more than two thirds of the stake have my value.
	Certified
	// IAmWrong: more than two thirds have one other value.
	IAmWrong
	// Halt: more than a third is against me, and no value can reach two
	// thirds any more.
	Halt
	// Stalled: more than a third is against me, but some value can still
	// reach two thirds.
	Stalled
)

var stateNames = [...]string{"open", "certified", "I am wrong", "halt", "stalled"}

// String returns the state in words.
func (s State) String() string { return stateNames[s] }

// State judges the sums (PROTOCOL section 10). What voters have said late is
// enough to certify a block: a voter without fault takes a value back only when
// more than two thirds have another one. Where it is about who is against me
// they are silent.
func (s Sums) State() State {
	with := s.With - s.Late
	silent := s.Total - with - s.Against
	// Who differs without a known value may have any but mine.
	most := max(with, s.OtherStake+s.Unnamed) + silent
	switch {
	case TwoThirds(s.With, s.Total):
		return Certified
	case TwoThirds(s.OtherStake, s.Total):
		return IAmWrong
	case !OneThird(s.Against, s.Total):
		return Open
	case !TwoThirds(most, s.Total):
		return Halt
	}
	return Stalled
}

// Link ties a block's BankHash to its parent's. A link proves itself: Hash
// is computed from ParentHash (PROTOCOL section 8), which whoever makes a
// Link of fetched bytes has checked.
type Link struct {
	Block, Parent    ledger.BlockRef
	Hash, ParentHash ledger.Hash
}

// Agreement compares the BankHashes that voters report with this node's own
// (PROTOCOL section 10). A report speaks for its block and, through the
// links, for all ancestors; the last vote seen of a voter counts, wherever
// it was seen. As long as that one cannot be compared, since this node executes
// later, an earlier one counts that agrees with this node.
type Agreement struct {
	epochs  *Epochs
	own     map[ledger.BlockRef]Link
	others  map[Value]Link
	reports map[ledger.Pubkey]*latestReport
	// disputed are the accounts whose report is of a block of which this node
	// has another value.
	disputed map[ledger.Pubkey]struct{}
	floor    ledger.Slot
}

// Value is a BankHash after a block, right or wrong.
type Value struct {
	Block ledger.BlockRef
	Hash  ledger.Hash
}

// ownKept is for how many slots below the last Prune own results are kept:
// what a voter reports that is so far behind can still be seen to differ.
const ownKept = 150

// NewAgreement starts at a certified block, genesis' or a snapshot's, and
// this node's value of it.
func NewAgreement(certified ledger.BlockRef, hash ledger.Hash, epochs *Epochs) *Agreement {
	return &Agreement{
		epochs:   epochs,
		own:      map[ledger.BlockRef]Link{certified: {Block: certified, Hash: hash}},
		others:   make(map[Value]Link),
		reports:  make(map[ledger.Pubkey]*latestReport),
		disputed: make(map[ledger.Pubkey]struct{}),
		floor:    certified.Slot,
	}
}

// Executed takes this node's own result. A block that is executed again has
// the newer value.
func (a *Agreement) Executed(l Link) {
	a.own[l.Block] = l
	for account, r := range a.reports {
		r.executed(l)
		if r.value.Block == l.Block {
			a.compare(account, r.value)
		}
	}
}

// Discard forgets this node's own results of a block and of those that descend
// from it: they are to be executed again.
func (a *Agreement) Discard(block ledger.BlockRef) {
	var gone []ledger.BlockRef
	for b := range a.own {
		if a.descends(b, block) {
			gone = append(gone, b)
		}
	}
	for _, b := range gone {
		delete(a.own, b)
	}
	for account, r := range a.reports {
		a.compare(account, r.value)
	}
}

// compare notes whether a report differs from what this node has.
func (a *Agreement) compare(account ledger.Pubkey, reported Value) {
	if a.stance(reported) == Differs {
		a.disputed[account] = struct{}{}
	} else {
		delete(a.disputed, account)
	}
}

// Disputed tells whether any voter's report is known to differ from this
// node's results. As long as none does, no block can be in another state than
// Open or Certified.
func (a *Agreement) Disputed() bool { return len(a.disputed) > 0 }

// Doubtful tells whether a voter's report differed from this node's results, and
// its latest cannot be compared yet: links would tell what it says now. It is how
// a node that executes late, and wrongly, comes to know.
func (a *Agreement) Doubtful() bool {
	for _, r := range a.reports {
		if r.differed {
			return true
		}
	}
	return false
}

// Learn takes a checked link of another node's chain, one that Wanted named.
// It is dropped if LinksMax are there or if it is below the last Prune.
func (a *Agreement) Learn(l Link) {
	if len(a.others) < LinksMax && l.Block.Slot > a.floor && l.Parent.Slot < l.Block.Slot {
		a.others[Value{l.Block, l.Hash}] = l
	}
}

// Report takes the report of a voter in a vote for the slot voted, whose
// signature was checked: value.Block is the one in the report's slot on the
// voted fork. The vote for the highest slot stands; replays do no harm. Reports of
// accounts without stake in the epoch of that slot are ignored. signed is the
// vote's bytes, as evidence.
func (a *Agreement) Report(account ledger.Pubkey, voted ledger.Slot, value Value, signed []byte) {
	if s := a.epochs.At(voted); s == nil || s.Of(account) == 0 {
		return
	}
	r := a.reports[account]
	switch {
	case r == nil:
		a.reports[account] = &latestReport{voted: voted, value: value, signed: signed}
	case voted <= r.voted:
		return
	default:
		r.next(voted, value, signed, a.stance(r.value))
		if a.stance(value) != Silent {
			r.compared()
		}
	}
	a.compare(account, value)
}

// stance tells whether a value is this node's own: Says, Differs, or Silent if
// the block is not executed.
func (a *Agreement) stance(v Value) Stance {
	switch mine, executed := a.own[v.Block]; {
	case !executed:
		return Silent
	case mine.Hash != v.Hash:
		return Differs
	}
	return Says
}

// Retract makes an account silent until its next report: what this node itself
// reported before it went back to execute again.
func (a *Agreement) Retract(account ledger.Pubkey) {
	if r, ok := a.reports[account]; ok {
		a.reports[account] = &latestReport{voted: r.voted}
		delete(a.disputed, account)
	}
}

// Testimony is what an account with stake reports, and the signed bytes that
// prove it.
type Testimony struct {
	Account ledger.Pubkey
	Opinion Opinion
	Report  Value
	Signed  []byte
}

// Testimonies returns what all accounts with stake in a block's epoch report,
// in the order of the stakes, and where they stand to that block.
func (a *Agreement) Testimonies(block ledger.BlockRef) (all []Testimony) {
	stakes := a.epochs.At(block.Slot)
	for i := range stakes.Len() {
		account := stakes.Items[i].VoteAccount
		r, ok := a.reports[account]
		if !ok || r.signed == nil {
			continue
		}
		o, _, _ := a.opinion(r.value, block)
		o.Stake = stakes.Items[i].Stake
		all = append(all, Testimony{Account: account, Opinion: o, Report: r.value, Signed: r.signed})
	}
	return all
}

// Judge returns what the voters say of a block that this node has executed,
// weighed by the stakes of the block's epoch; ok is false if it has not, or
// if the epoch is not known.
func (a *Agreement) Judge(block ledger.BlockRef) (sums Sums, ok bool) {
	mine, executed := a.own[block]
	stakes := a.epochs.At(block.Slot)
	if !executed || stakes == nil {
		return Sums{}, false
	}
	opinions := make([]Opinion, 0, stakes.Len())
	for i := range stakes.Items {
		r, ok := a.reports[stakes.Items[i].VoteAccount]
		if !ok {
			continue
		}
		o, _, differs := a.opinion(r.value, block)
		if o.Stance == Silent && !differs && a.stance(r.agreed) == Says && a.descends(r.agreed.Block, block) && !planted.Is(planted.LatestReport) {
			o = Opinion{Stance: Says, Value: mine.Hash, Late: true}
		}
		o.Stake = stakes.Items[i].Stake
		opinions = append(opinions, o)
	}
	return SumUp(opinions, mine.Hash, stakes.Total()), true
}

// opinion expands a report to a block of my chain: down the links of the
// voter, until they meet mine. It also returns the value where it ended, and
// whether it met blocks of which this node has another value.
//
//	mine    ── p ── d ── b         from e' down to p; d is the oldest block
//	theirs  └─ d' ── e'            that differs, so b Differs, whatever e' is
func (a *Agreement) opinion(at Value, block ledger.BlockRef) (o Opinion, end Value, differs bool) {
	var oldest ledger.BlockRef // block known to differ from mine
	for {
		mine, executed := a.own[at.Block]
		if executed && mine.Hash == at.Hash {
			if a.descends(at.Block, block) {
				return Opinion{Stance: Says, Value: a.own[block].Hash}, at, differs
			}
			break
		}
		if at.Block == block {
			return Opinion{Stance: Says, Value: at.Hash}, at, differs
		}
		if executed {
			oldest, differs = at.Block, true
		}
		next, ok := a.others[at]
		if !ok || planted.Is(planted.LinksIgnored) {
			break
		}
		at = Value{next.Parent, next.ParentHash}
	}
	if differs && a.descends(block, oldest) {
		return Opinion{Stance: Differs}, at, differs
	}
	return Opinion{}, at, differs
}

// descends tells whether b is a or, on my chain, one of its ancestors.
func (a *Agreement) descends(block, b ledger.BlockRef) bool {
	for block.Slot > b.Slot {
		l, ok := a.own[block]
		if !ok {
			return false
		}
		block = l.Parent
	}
	return block == b
}

// Want is a value whose link would tell more, and an account whose report led
// there.
type Want struct {
	Value
	Account ledger.Pubkey
}

// Wanted returns the values whose links would tell more about a block: those
// of later blocks at which the chain of a voter who is against me cannot be
// followed further down; with all, also those that voters report of blocks that
// this node has not executed. They are sorted by block, hash and account.
func (a *Agreement) Wanted(block ledger.BlockRef, all bool) []Want {
	var wanted []Want
	for account, r := range a.reports {
		o, end, _ := a.opinion(r.value, block)
		_, executed := a.own[end.Block]
		against := executed || end != r.value
		if o.Stance == Silent && (against || all) && end.Block.Slot > max(block.Slot, a.floor) {
			wanted = append(wanted, Want{end, account})
		}
	}
	slices.SortFunc(wanted, func(x, y Want) int {
		return cmp.Or(Compare(x.Block, y.Block), bytes.Compare(x.Hash[:], y.Hash[:]), bytes.Compare(x.Account[:], y.Account[:]))
	})
	return wanted
}

// Prune forgets links below a certified block, which must have been executed,
// results far below it, and the reports of accounts that have lost their
// stake.
func (a *Agreement) Prune(certified ledger.BlockRef) {
	a.floor = certified.Slot
	for b := range a.own {
		if b.Slot+ownKept < certified.Slot {
			delete(a.own, b)
		}
	}
	for v := range a.others {
		if v.Block.Slot <= certified.Slot {
			delete(a.others, v)
		}
	}
	if s := a.epochs.At(certified.Slot); s != nil {
		for account, r := range a.reports {
			if s.Of(account) == 0 && r.voted <= certified.Slot { // later it had stake in a later epoch
				delete(a.reports, account)
				delete(a.disputed, account)
			}
		}
	}
}
