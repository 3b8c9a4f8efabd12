package validator

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/internal/planted"
	"tutti/ledger"
	"tutti/ledger/sigverify"
	"tutti/poh"
	"tutti/shred"
)

// Why a leader block is invalid.
var (
	ErrTooManySets   = errors.New("more FEC sets than a leader block may have")
	ErrParentOffset  = errors.New("FEC sets that name different parents")
	ErrBatch         = errors.New("batch is not complete components")
	ErrTicks         = errors.New("wrong number of ticks")
	ErrTrailing      = errors.New("data behind the last tick")
	ErrTransaction   = errors.New("transaction that is no vote")
	ErrVoteSignature = errors.New("vote with a bad signature")
	ErrVoteStake     = errors.New("vote of an account without stake")
	ErrVoteTwice     = errors.New("two votes of one account for one slot")
	ErrSkippedTicks  = errors.New("record in the ticks of a skipped slot")
	ErrMarkers       = errors.New("more than one such marker")
	ErrReceipt       = errors.New("ExecutionReceipt contradicts what > 2/3 of the stake reported")
)

// Progress is what is known of a leader block after some of its FEC sets, in
// order. It is immutable: Next returns a new one, so that two blocks of one
// slot can share their first sets.
type Progress struct {
	rules    *Rules
	Slot     ledger.Slot
	Parent   *Block
	verifier poh.Verifier
	open     [][]byte // payload of the sets behind the last complete batch
	named    []Named
	votes    []Standing
	voted    []map[ballot]bool // of each set; never changed behind it
	receipt  *ledger.ExecutionReceipt
	roots    []ledger.Hash
	tick     uint64 // tick of the last UserBlockEntries marker, + 1
	// Fresh are the entries that the last set brought.
	Fresh []Named
	// FreshVotes are the votes that the last set brought.
	FreshVotes []Standing
	// FreshHashes are what of the last set's proof of history is to be
	// verified, if the rules leave that to the caller.
	FreshHashes []poh.Check
	// Verified counts the signatures checked so far. Who checks them itself
	// adds to it.
	Verified int
}

// ballot is an account and a slot that it votes for: in a block only once.
type ballot struct {
	account ledger.Pubkey
	slot    ledger.Slot
}

// Standing is a vote that stands in a leader block, whether it counts on the
// fork or not.
type Standing struct {
	Vote ledger.Vote
	Tx   ledger.Transaction
}

// Rules are what blocks are checked against.
type Rules struct {
	Params *cluster.Params
	// Stakes returns those of an epoch's slot, or nil.
	Stakes func(ledger.Slot) *consensus.Stakes
	// Signed tells whether the vote's signatures verify. If it is nil the
	// caller lets SetChecks judge the FreshVotes and FreshHashes of every set.
	Signed func(*ledger.Transaction) bool
	// Restarts are those of the cluster, oldest first.
	Restarts []*cluster.Restart
}

// Begin starts a block on its parent. slot is above the parent's.
func Begin(rules *Rules, slot ledger.Slot, parent *Block) Progress {
	return Progress{
		rules:    rules,
		Slot:     slot,
		Parent:   parent,
		verifier: poh.NewVerifier(parent.LastPoH, rules.Params.HashesPerTick),
	}
}

// skipped is the number of ticks before the block's own.
func (p *Progress) skipped() uint64 {
	return uint64(p.Slot-p.Parent.Slot-1) * ledger.TicksPerSlot
}

// section returns the half of the slot for a record that stands behind the
// ticks seen so far.
func (p *Progress) section() (ledger.UserSlot, error) {
	ticks := p.verifier.Ticks()
	if ticks < p.skipped() {
		return 0, ErrSkippedTicks
	}
	own := ticks - p.skipped()
	if own >= ledger.TicksPerSlot {
		return 0, ErrTrailing
	}
	return p.Slot.FirstUserSlot() + ledger.UserSlot(own/ledger.TicksPerUserSlot), nil
}

// Next takes the next set. An error means that the block is invalid, and
// with it every block that continues this set.
func (p Progress) Next(set *shred.Set) (Progress, error) {
	p.Fresh, p.FreshVotes, p.FreshHashes = nil, nil, nil
	p.roots = append(p.roots[:len(p.roots):len(p.roots)], set.Root)
	if len(p.roots) > ledger.LeaderSetsMax {
		return p, ErrTooManySets
	}
	if p.Slot-p.Parent.Slot != ledger.Slot(set.ParentOffset) && !planted.Is(planted.ParentOffset) {
		return p, ErrParentOffset
	}
	p.open = append(p.open[:len(p.open):len(p.open)], set.Payload)
	if !set.Complete {
		return p, nil
	}
	components, err := ledger.ParseBatch(bytes.Join(p.open, nil))
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrBatch, err)
	}
	p.open = nil
	// The slices are shared with the progress before: copy before growing.
	if !planted.Is(planted.SharedEntries) {
		p.named = p.named[:len(p.named):len(p.named)]
	}
	p.votes = p.votes[:len(p.votes):len(p.votes)]
	p.voted = append(p.voted[:len(p.voted):len(p.voted)], make(map[ballot]bool))
	for _, c := range components {
		if c.Marker != nil {
			err = p.marker(c.Marker)
		} else {
			err = p.entries(c.Entries)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

// step verifies the next entry, or leaves its hash to the caller.
func (p *Progress) step(numHashes uint64, mixin *ledger.Hash, hash ledger.Hash) error {
	if p.rules.Signed != nil {
		return p.verifier.Step(numHashes, mixin, hash)
	}
	c, err := p.verifier.Claim(numHashes, mixin, hash)
	p.FreshHashes = append(p.FreshHashes, c)
	return err
}

func (p *Progress) entries(entries []ledger.Entry) error {
	for i := range entries {
		e := &entries[i]
		if len(e.Transactions) == 0 {
			if p.verifier.Ticks() == p.skipped()+ledger.TicksPerSlot {
				return ErrTrailing
			}
			if err := p.step(e.NumHashes, nil, e.Hash); err != nil {
				return err
			}
			continue
		}
		if _, err := p.section(); err != nil {
			return err
		}
		mixin := e.Mixin()
		if err := p.step(e.NumHashes, &mixin, e.Hash); err != nil {
			return err
		}
		for j := range e.Transactions {
			if err := p.vote(&e.Transactions[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

// vote checks a transaction of the block: it must be a vote of an account
// with stake, rightly signed, and the only one of the account for its slot.
func (p *Progress) vote(tx *ledger.Transaction) error {
	if err := tx.Sanitize(); err != nil {
		return fmt.Errorf("%w: %w", ErrTransaction, err)
	}
	v, err := ledger.ParseVote(tx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTransaction, err)
	}
	stakes := p.rules.Stakes(p.Slot)
	if _, ok := stakes.Voter(v.Account); !ok {
		return fmt.Errorf("%w: %v", ErrVoteStake, v.Account)
	}
	key := ballot{v.Account, v.Block.Slot}
	for _, voted := range p.voted {
		if voted[key] {
			return fmt.Errorf("%w: %v", ErrVoteTwice, v.Account)
		}
	}
	p.voted[len(p.voted)-1][key] = true
	if p.rules.Signed != nil {
		if !p.rules.Signed(tx) {
			return fmt.Errorf("%w: %v", ErrVoteSignature, v.Account)
		}
		p.Verified += tx.NumSignatures()
	}
	c := Standing{Vote: v, Tx: *tx}
	p.votes = append(p.votes, c)
	p.FreshVotes = append(p.FreshVotes, c)
	return nil
}

func (p *Progress) marker(m *ledger.Marker) error {
	section, err := p.section()
	if err != nil {
		return err
	}
	tick := p.verifier.Ticks() + 1
	mixin := m.Mixin()
	if err := p.step(m.NumHashes, &mixin, m.Hash); err != nil {
		return err
	}
	switch m.Kind {
	case ledger.KindUserBlockEntries:
		if p.tick == tick {
			return fmt.Errorf("%w in a tick: UserBlockEntries", ErrMarkers)
		}
		p.tick = tick
		refs, err := ledger.ParseUserBlockEntries(m.Payload)
		if err != nil {
			return err
		}
		for _, ref := range refs {
			if err := p.name(ref, section); err != nil {
				return fmt.Errorf("%v: %w", ref, err)
			}
		}
	case ledger.KindExecutionReceipt:
		if p.receipt != nil {
			return fmt.Errorf("%w in a block: ExecutionReceipt", ErrMarkers)
		}
		r, err := ledger.ParseExecutionReceipt(m.Payload)
		if err != nil {
			return err
		}
		p.receipt = &r
	}
	return nil
}

// name checks an entry against the fork (PROTOCOL section 5); its anchor is
// checked when the UserBlock is here.
func (p *Progress) name(ref ledger.UserBlockRef, section ledger.UserSlot) error {
	if uint64(ref.Lane) >= uint64(p.rules.Params.Proposers) {
		return ErrLane
	}
	if err := Names(p.rules.Params, p.Parent, section.Slot()); err != nil {
		return err
	}
	if err := Window(p.rules.Params, p.Parent, ref.U, section); err != nil {
		return err
	}
	for i := range p.named {
		if p.named[i].Ref.U == ref.U && p.named[i].Ref.Lane == ref.Lane {
			return ErrTwice
		}
	}
	if p.Parent.Names(ref.U, ref.Lane) {
		return ErrTwice
	}
	n := Named{Ref: ref, Section: section}
	p.named = append(p.named, n)
	p.Fresh = append(p.Fresh, n)
	return nil
}

// SetCheck verifies what is dear in a leader block's set: hashes of its proof
// of history, and signatures of votes. One set can be given to several, in
// parts.
type SetCheck struct {
	Rule   sigverify.Rule
	Txs    []ledger.Transaction
	Hashes []poh.Check
}

// hashesPerCheck is about how many hashes of a proof of history one SetCheck
// is given: some milliseconds' work.
const hashesPerCheck = 50_000

// Checks divides what is to be verified of a set, the votes in txs and its
// FreshHashes, into parts that can be verified at once; none if there is
// nothing.
func (p *Progress) Checks(txs []ledger.Transaction) []SetCheck {
	var checks []SetCheck
	rule := p.rules.Params.SignatureRule
	if len(txs) > 0 {
		checks = append(checks, SetCheck{Rule: rule, Txs: txs})
	}
	var work uint64
	for i := range p.FreshHashes {
		if len(checks) == 0 || work > hashesPerCheck {
			checks = append(checks, SetCheck{Rule: rule})
			work = 0
		}
		last := &checks[len(checks)-1]
		last.Hashes = append(last.Hashes, p.FreshHashes[i])
		work += p.FreshHashes[i].NumHashes
	}
	return checks
}

// Check returns how many signatures were verified, and an error if one of
// them, or a hash, is wrong.
func (c *SetCheck) Check() (verified int, err error) {
	for i := range c.Hashes {
		if err := c.Hashes[i].Verify(); err != nil {
			return 0, err
		}
	}
	if len(c.Txs) == 0 {
		return 0, nil
	}
	var items []sigverify.Item
	for i := range c.Txs {
		t := &c.Txs[i]
		for j := range t.NumSignatures() {
			items = append(items, sigverify.Item{Pub: t.KeyBytes(j), Msg: t.Message(), Sig: t.SignatureBytes(j)})
		}
	}
	ok := make([]bool, len(items))
	c.Rule.VerifyBatch(items, ok)
	if slices.Contains(ok, false) {
		return len(items), ErrVoteSignature
	}
	return len(items), nil
}

// Votes returns the votes seen so far.
func (p *Progress) Votes() []Standing { return p.votes }

// Roots returns the Merkle roots of the sets so far.
func (p *Progress) Roots() []ledger.Hash { return p.roots }

// Finish ends the block with its last set, and counts its votes on the fork.
// An error means that the block is invalid.
func (p *Progress) Finish() (*Block, error) {
	if len(p.open) > 0 {
		return nil, fmt.Errorf("%w: the last one is open", ErrBatch)
	}
	if got, want := p.verifier.Ticks(), p.skipped()+ledger.TicksPerSlot; got != want {
		return nil, fmt.Errorf("%w: %d, want %d", ErrTicks, got, want)
	}
	if err := p.verifier.Finish(); err != nil {
		return nil, err
	}
	b := &Block{
		BlockRef: ledger.BlockRef{Slot: p.Slot, ID: p.roots[len(p.roots)-1]},
		Parent:   p.Parent,
		Height:   p.Parent.Height + 1,
		LastPoH:  p.verifier.Hash(),
		Named:    p.named,
	}
	if err := p.checkReceipt(); err != nil {
		return nil, err
	}
	b.Lineage = p.Parent.Lineage.Extend(b.BlockRef)
	votes := make([]ledger.Vote, len(p.votes))
	for i := range p.votes {
		votes[i] = p.votes[i].Vote
	}
	b.Ballots, _ = p.Parent.Ballots.Count(p.Slot, p.rules.Stakes(p.Slot), votes, p.Parent.Lineage)
	b.Lag = consensus.Lag(b.Lineage, b.Ballots)
	return b, nil
}

// checkReceipt compares the leader's own BankHash with the one that > 2/3 of
// the stake reported on this fork up to and including the parent, if there
// is one. Since a restart what was reported of blocks that were executed again
// binds nobody.
func (p *Progress) checkReceipt() error {
	if p.receipt == nil || !p.Parent.Descends(p.receipt.Block) {
		return nil
	}
	at := p.receipt.Block.Slot
	for _, r := range p.rules.Restarts {
		if r.Block.Slot < at && at < r.First && r.First <= p.Slot {
			return nil
		}
	}
	reported, ok := p.Parent.Ballots.Reported(p.receipt.Block.Slot, p.rules.Stakes(p.Slot))
	if ok && reported != p.receipt.BankHash {
		return fmt.Errorf("%w: slot %d", ErrReceipt, p.receipt.Block.Slot)
	}
	return nil
}
