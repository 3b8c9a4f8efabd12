// Package replay checks a stored ledger from the outside: it reads genesis
// and the bytes of blocks, decodes, checks and executes everything again, and
// compares the BankHashes that come out with those in the votes of the blocks
// themselves. It trusts no hash and no verdict that a node stored.
//
// The code that executes is the nodes' own. What it does is therefore held
// against the checks of package invariant as well, which share none of it.
package replay

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"tutti/bank"
	"tutti/cluster"
	"tutti/consensus"
	"tutti/invariant"
	"tutti/ledger"
	"tutti/ledger/sigverify"
	"tutti/live/store"
	"tutti/node"
	"tutti/shred"
	"tutti/validator"
)

// Report is what a replay found out.
type Report struct {
	Blocks       int // valid leader blocks
	Executed     int // of them
	UserBlocks   int // named by executed blocks
	Transactions int // processed
	// Votes are those whose BankHash could be compared; Differ of them report
	// another one than the replay computed.
	Votes, Differ int
	// Incomplete are blocks that cannot be executed, because the ledger lacks
	// a UserBlock of them or of an ancestor, or a block is not whole: at the
	// ends of forks, and on forks that were abandoned.
	Incomplete int
	// Towers are the different votes of Voters accounts that were held against
	// each other and the forks: nobody votes against a lockout.
	Towers, Voters int
	// Supply is what all accounts hold after the newest executed block, which
	// is what genesis had without the burnt fees.
	Supply ledger.Lamports
	// Last is the newest executed block, block 0 if none was, BankHash its hash.
	Last     ledger.BlockRef
	BankHash ledger.Hash
}

// Replay executes a ledger again, slot by slot.
type Replay struct {
	genesis  *cluster.Genesis
	schedule *cluster.Schedule
	epochs   *consensus.Epochs
	rules    *validator.Rules
	forks    *validator.Forks
	bank     *bank.Bank
	// checked and heard know what was read, and hold it against the protocol's
	// promises.
	checked *invariant.Ledger
	heard   *invariant.Heard

	verifier *sigverify.Verifier
	version  uint16             // of shreds before the first restart
	restarts []*cluster.Restart // of the cluster, oldest first

	users map[ledger.SlotKey][]*shred.Set
	// pending are votes whose BankHash is not computed yet.
	pending []pendingVote
	stuck   map[ledger.BlockRef]*stuckBlock
	report  Report
	// OnExecuted, if set, gets the result of every executed block.
	OnExecuted func(*bank.Result)
}

// stuckBlock is a valid block that cannot be executed.
type stuckBlock struct {
	parent ledger.BlockRef
	why    error
	// voters are the accounts that voted for it or for a descendant.
	voters map[ledger.Pubkey]bool
	stake  ledger.Lamports
}

type pendingVote struct {
	account ledger.Pubkey
	at      *validator.Block
	hash    ledger.Hash
}

// New starts at genesis.
func New(g *cluster.Genesis, workers int) (*Replay, error) {
	b, err := bank.New(g, workers)
	if err != nil {
		return nil, fmt.Errorf("state of genesis: %w", err)
	}
	r := &Replay{
		genesis: g, schedule: cluster.NewSchedule(g), bank: b,
		version: g.ShredVersion(), verifier: sigverify.NewVerifier(g.Params.SignatureRule),
		users: make(map[ledger.SlotKey][]*shred.Set), stuck: make(map[ledger.BlockRef]*stuckBlock),
	}
	r.epochs = consensus.NewEpochs(r.schedule)
	r.rules = &validator.Rules{Params: &g.Params, Stakes: r.epochs.At, Signed: g.Params.SignatureRule.VerifyTransaction}
	id := g.Hash()
	hash, _ := b.BankHash(b.Root())
	root := &validator.Block{BlockRef: ledger.BlockRef{ID: id}, LastPoH: id, Executed: true, BankHash: hash}
	root.Lineage = consensus.NewLineage(root.BlockRef)
	root.Ballots = consensus.NewBallots(r.epochs.At(0))
	r.forks = validator.NewForks(&g.Params, root)
	r.checked = invariant.New(g, hash)
	r.heard = invariant.NewHeard(r.checked)
	r.report.Last, r.report.BankHash = root.BlockRef, hash
	return r, nil
}

// Store takes everything that a ledger has stored.
func (r *Replay) Store(s *store.Store) error {
	restarts, err := s.Restarts()
	if err != nil {
		return err
	}
	if err := r.takeRestarts(restarts); err != nil {
		return err
	}
	var sets []*shred.Set
	var slot ledger.Slot
	for e, err := range s.Entries(0, math.MaxUint64) {
		if err != nil {
			return fmt.Errorf("slot %d: %w", e.Slot, err)
		}
		if e.Kind != store.KindSet {
			continue
		}
		if e.Slot != slot {
			if err := r.Slot(slot, sets); err != nil {
				return err
			}
			slot, sets = e.Slot, nil
		}
		set, err := e.Set()
		if err != nil {
			return fmt.Errorf("slot %d: %v, FEC set %d: %w", e.Slot, e.Key, e.Index/shred.SetData, err)
		}
		sets = append(sets, set)
	}
	if err := r.Slot(slot, sets); err != nil {
		return err
	}
	return r.end()
}

// end checks what can be checked once all is executed.
func (r *Replay) end() error {
	if err := r.settle(); err != nil {
		return err
	}
	view, ok := r.bank.View(r.report.Last)
	if !ok {
		return nil // nothing was executed
	}
	if err := r.checked.Supply(view); err != nil {
		return err
	}
	r.report.Supply = r.checked.Blocks()[r.report.Last].Lamports()
	r.report.Towers, r.report.Voters = r.heard.Count(), r.heard.Accounts()
	return nil
}

// Votes are compared with each other every so many slots, and forgotten after
// so many.
const (
	settleSlots = 32
	votesKept   = 1024
)

// settle compares the votes read so far.
func (r *Replay) settle() error {
	if _, errs := r.heard.Settle(); len(errs) > 0 {
		return fmt.Errorf("vote account %w", errs[0])
	}
	return nil
}

// takeRestarts takes the restarts that the ledger has seen, before any block.
func (r *Replay) takeRestarts(restarts []*cluster.Restart) error {
	for i, x := range restarts {
		if err := x.Follows(r.genesis, restarts[:i]); err != nil {
			return err
		}
	}
	r.restarts, r.rules.Restarts = restarts, restarts
	for _, f := range node.HardForks(restarts, nil) {
		r.bank.AddHardFork(f)
	}
	return nil
}

// checkRestart holds a restart from a block that was executed against its
// BankHash and the stakes.
func (r *Replay) checkRestart(b *validator.Block) error {
	for _, x := range r.restarts {
		if x.Block != b.BlockRef {
			continue
		}
		stakes := r.epochs.At(b.Slot)
		stake, err := x.Stake(stakes.EpochStakes)
		switch {
		case err != nil:
			return err
		case !consensus.FourFifths(stake, stakes.Total()):
			return fmt.Errorf("restart record %d is signed by %d of %d lamports of stake", x.Count, stake, stakes.Total())
		case x.BankHash != b.BankHash:
			return fmt.Errorf("BankHash of %v is %v, but the restart record has %v", b.BlockRef, b.BankHash, x.BankHash)
		}
	}
	return nil
}

// userSlotsKept is for how many slots UserBlocks are kept that a later block
// can still name.
const userSlotsKept = validator.WindowMax/2 + 1

// Slot takes all stored sets of one slot, those of its UserBlocks and of its
// leader blocks, in any order. Slots come in rising order.
func (r *Replay) Slot(slot ledger.Slot, sets []*shred.Set) error {
	if slot%settleSlots == 0 {
		if err := r.settle(); err != nil {
			return err
		}
		r.heard.Prune(slot - min(slot, votesKept))
	}
	for key := range r.users {
		if key.Slot()+userSlotsKept < slot {
			delete(r.users, key)
		}
	}
	var leader []*shred.Set
	for _, set := range sets {
		if err := r.signed(set); err != nil {
			return fmt.Errorf("slot %d: %v, FEC set %d: %w", slot, set.Key, set.Index/shred.SetData, err)
		}
		if set.Key.IsUser() {
			r.users[set.Key] = append(r.users[set.Key], set)
		} else {
			leader = append(leader, set)
		}
	}
	return r.blocks(slot, leader)
}

// signed checks who signed a set's root.
func (r *Replay) signed(set *shred.Set) error {
	signer, ok := r.schedule.Leader(set.Key.Slot())
	if set.Key.IsUser() {
		signer, ok = r.proposer(set.Key)
	}
	version := cluster.VersionAt(r.version, r.restarts, set.Key.Slot())
	switch {
	case !ok:
		return errors.New("nobody is scheduled to sign it")
	case set.Version != version:
		return fmt.Errorf("shred version %d, this ledger has %d", set.Version, version)
	case !r.genesis.Params.SignatureRule.Verify(signer[:], set.Root[:], set.Signature[:]):
		return fmt.Errorf("its Merkle root %v is not signed by %v", set.Root, signer)
	}
	return nil
}

func (r *Replay) proposer(key ledger.SlotKey) (ledger.Pubkey, bool) {
	u, lane := key.User()
	lanes := r.schedule.Proposers(u)
	if int(lane) >= len(lanes) {
		return ledger.Pubkey{}, false
	}
	return lanes[lane], true
}

// chains orders sets into chains from set 0 to a last one. Sets that lead
// nowhere are left out, and counted.
func chains(sets []*shred.Set) (whole [][]*shred.Set, loose int) {
	byRoot := make(map[ledger.Hash]*shred.Set, len(sets))
	for _, set := range sets {
		byRoot[set.Root] = set
	}
	used := make(map[ledger.Hash]bool)
	for _, set := range sets {
		if !set.Last {
			continue
		}
		chain := []*shred.Set{set}
		for set != nil && set.Index > 0 {
			before := byRoot[set.Chained]
			if before != nil && before.Index+shred.SetData == set.Index {
				chain = append(chain, before)
			} else {
				before = nil
			}
			set = before
		}
		if set == nil {
			continue
		}
		slices.Reverse(chain)
		for _, x := range chain {
			used[x.Root] = true
		}
		whole = append(whole, chain)
	}
	return whole, len(sets) - len(used)
}

// blocks checks and executes the leader blocks of a slot.
func (r *Replay) blocks(slot ledger.Slot, sets []*shred.Set) error {
	whole, loose := chains(sets)
	if loose > 0 {
		r.report.Incomplete++
	}
	for _, chain := range whole {
		parent := r.forks.Block(ledger.BlockRef{Slot: slot - ledger.Slot(chain[0].ParentOffset), ID: chain[0].Chained})
		if parent == nil {
			if r.report.Blocks == 0 {
				return fmt.Errorf("slot %d: the ledger begins here; a replay needs it from slot 1 on", slot)
			}
			r.report.Incomplete++
			continue
		}
		b, err := r.check(slot, parent, chain)
		if err != nil {
			return fmt.Errorf("slot %d: block %v is invalid: %w", slot, chain[len(chain)-1].Root, err)
		}
		if err := r.execute(b); err != nil {
			return fmt.Errorf("slot %d: %w", slot, err)
		}
	}
	return nil
}

// check decodes a leader block and holds it against the rules.
func (r *Replay) check(slot ledger.Slot, parent *validator.Block, chain []*shred.Set) (*validator.Block, error) {
	p := validator.Begin(r.rules, slot, parent)
	for _, set := range chain {
		next, err := p.Next(set)
		if err != nil {
			return nil, err
		}
		p = next
	}
	b, err := p.Finish()
	if err != nil {
		return nil, err
	}
	r.forks.Add(b)
	r.report.Blocks++
	entries := make([]ledger.UserBlockRef, len(b.Named))
	for i := range b.Named {
		entries[i] = b.Named[i].Ref
	}
	if err := r.checked.Hold(b.BlockRef, parent.BlockRef, b.Height, b.LastPoH, entries); err != nil {
		return nil, err
	}
	for _, v := range p.Votes() {
		voted := r.forks.Block(v.Vote.Block)
		if voted == nil {
			continue
		}
		if err := r.heard.Take(&v.Vote); err != nil {
			return nil, fmt.Errorf("vote account %w", err)
		}
		if err := r.support(voted.BlockRef, v.Vote.Account); err != nil {
			return nil, err
		}
		if at := voted.Ancestor(v.Vote.BankSlot); at != nil && at.Slot == v.Vote.BankSlot && !cluster.BeforeRestart(r.restarts, v.Vote.Block.Slot, at.Slot) {
			r.pending = append(r.pending, pendingVote{v.Vote.Account, at, v.Vote.BankHash})
		}
	}
	return b, nil
}

// support counts a vote for the blocks that cannot be executed, the voted one
// and its ancestors. The nodes abandon a fork whose UserBlocks they lack, and
// so may a ledger; it is a failure if more than two thirds of the stake voted
// for it.
func (r *Replay) support(voted ledger.BlockRef, account ledger.Pubkey) error {
	for at := r.stuck[voted]; at != nil; voted, at = at.parent, r.stuck[at.parent] {
		if at.voters[account] {
			return nil
		}
		stakes := r.epochs.At(voted.Slot)
		at.voters[account] = true
		at.stake += stakes.Of(account)
		if 3*at.stake > 2*stakes.Total() {
			return fmt.Errorf("%v is confirmed and cannot be executed: %w", voted, at.why)
		}
	}
	return nil
}

// stick notes that a block cannot be executed.
func (r *Replay) stick(b *validator.Block, why error) {
	r.stuck[b.BlockRef] = &stuckBlock{parent: b.Parent.BlockRef, why: why, voters: map[ledger.Pubkey]bool{}}
	r.report.Incomplete++
}

// execute runs a block, if its UserBlocks are here and its parent was
// executed.
func (r *Replay) execute(b *validator.Block) error {
	if parent := r.stuck[b.Parent.BlockRef]; parent != nil {
		r.stick(b, parent.why)
		return nil
	}
	job := &bank.Block{Ref: b.BlockRef, Parent: b.Parent.BlockRef, LastPoH: b.LastPoH}
	for _, named := range b.Named {
		recorded, err := r.userBlock(b, named)
		if err != nil {
			r.stick(b, fmt.Errorf("UserBlock %v: %w", named.Ref, err))
			return nil
		}
		job.UserBlocks = append(job.UserBlocks, recorded)
	}
	result, err := r.bank.Execute(job)
	if err != nil {
		return fmt.Errorf("execute %v: %w", b.BlockRef, err)
	}
	b.Executed, b.BankHash = true, result.BankHash
	if _, _, err := r.checked.Execute(result); err != nil {
		return err
	}
	if err := r.checkRestart(b); err != nil {
		return err
	}
	for _, e := range result.Stakes {
		r.schedule.AddEpoch(e)
	}
	r.report.Executed++
	r.report.UserBlocks += len(job.UserBlocks)
	for i := range result.Receipts {
		if result.Receipts[i].Outcome.Processed() {
			r.report.Transactions++
		}
	}
	r.report.Last, r.report.BankHash = b.BlockRef, b.BankHash
	if r.OnExecuted != nil {
		r.OnExecuted(result)
	}
	return r.compare()
}

// userBlock finds and checks a UserBlock that a block names.
func (r *Replay) userBlock(b *validator.Block, named validator.Named) (bank.Recorded, error) {
	key := ledger.UserKey(named.Ref.U, named.Ref.Lane)
	whole, _ := chains(r.users[key])
	for _, chain := range whole {
		if chain[len(chain)-1].Root != named.Ref.ID {
			continue
		}
		anchor := b.Parent.Anchor(chain[0].Chained)
		if anchor == nil {
			return bank.Recorded{}, validator.ErrAnchor
		}
		proposer, _ := r.proposer(key)
		p := &r.genesis.Params
		check := validator.UserBlockCheck{
			Ref: named.Ref, Proposer: proposer, Sets: chain, Params: p,
			Blockhashes: anchor.Blockhashes(validator.BlockhashAge),
			CostMax:     consensus.CostMax(p.UserBlockCostMax(), anchor.Lag, int(p.LagFull), int(p.LagZero)),
		}
		block, err := check.Check()
		if err != nil {
			return bank.Recorded{}, err
		}
		validator.VerifySignatures(r.verifier, block.Transactions)
		if err := r.checked.HoldUser(block); err != nil {
			return bank.Recorded{}, err
		}
		return bank.Recorded{Section: named.Section, Block: block, Anchor: anchor.BlockRef}, nil
	}
	return bank.Recorded{}, errors.New("not in the ledger")
}

// compare holds computed BankHashes against those in votes.
func (r *Replay) compare() error {
	var first error
	r.pending = slices.DeleteFunc(r.pending, func(v pendingVote) bool {
		if !v.at.Executed {
			return false
		}
		r.report.Votes++
		if v.at.BankHash != v.hash {
			r.report.Differ++
			if first == nil {
				first = fmt.Errorf("BankHash of %v is %v, but vote account %v reported %v", v.at.BlockRef, v.at.BankHash, v.account, v.hash)
			}
		}
		return true
	})
	return first
}

// Report returns what was found so far.
func (r *Replay) Report() Report { return r.report }
