package validator

import (
	"errors"
	"fmt"

	"tutti/cluster"
	"tutti/internal/planted"
	"tutti/ledger"
	"tutti/ledger/sigverify"
	"tutti/poh"
	"tutti/shred"
)

// Why a UserBlock is not well formed. The numbers are the rules of PROTOCOL
// section 4.
var (
	ErrLast         = errors.New("rule 2: FEC sets do not end with a last one")
	ErrUserBatch    = errors.New("rule 3: batch is not a vector of entries")
	ErrUserLeftover = errors.New("rule 3: payload that belongs to no batch")
	ErrUserTx       = errors.New("rule 3: transaction")
	ErrVoteInBlock  = errors.New("vote in a UserBlock")
	ErrUserPoH      = errors.New("rule 4: proof of history")
	ErrLimits       = errors.New("rule 5: limit exceeded")
	ErrRepeated     = errors.New("rule 6: message stands twice")
	ErrBlockhash    = errors.New("rule 8: blockhash")
	ErrNonceLane    = errors.New("rule 8: durable nonce in a lane that is not its own")
	ErrNonceTwice   = errors.New("rule 8: nonce account used twice")
)

// UserBlockCheck says what a UserBlock is checked against. Rule 1, who may
// make it, and rule 2's proofs have been checked shred by shred.
type UserBlockCheck struct {
	Ref      ledger.UserBlockRef
	Proposer ledger.Pubkey
	Sets     []*shred.Set // first to last
	Params   *cluster.Params
	// Blockhashes are the BlockhashAge newest of the anchor's fork.
	Blockhashes []ledger.Hash
	// CostMax is c, scaled by the anchor's lag.
	CostMax uint64
	// Own says that this node made the block of transactions that it has
	// verified before.
	Own bool
}

// Check decides whether a UserBlock is well formed (PROTOCOL section 4),
// which needs neither accounts nor its transactions' signatures: see
// VerifySignatures. Those of an own block are marked as valid.
func (c *UserBlockCheck) Check() (*ledger.UserBlock, error) {
	if len(c.Sets) > c.Params.FECSetsMax {
		return nil, fmt.Errorf("%w: %d FEC sets", ErrLimits, len(c.Sets))
	}
	if len(c.Sets) == 0 {
		return nil, ErrLast
	}
	block := &ledger.UserBlock{Ref: c.Ref, Proposer: c.Proposer, Anchor: c.Sets[0].Chained}
	verifier := poh.NewVerifier(poh.UserBlockSeed(block.Anchor, c.Ref.U, c.Proposer), c.Params.UserBlockHashesPerTick)
	var open []byte
	for i, set := range c.Sets {
		if set.Last != (i == len(c.Sets)-1) {
			return nil, ErrLast
		}
		block.Payload += len(set.Payload)
		if block.Payload > c.Params.PayloadMax {
			return nil, fmt.Errorf("%w: payload above %d bytes", ErrLimits, c.Params.PayloadMax)
		}
		if open == nil && set.Complete {
			open = set.Payload
		} else {
			open = append(open, set.Payload...)
		}
		if !set.Complete {
			continue
		}
		if err := c.batch(block, &verifier, open); err != nil {
			return nil, err
		}
		open = nil
	}
	if len(open) > 0 {
		return nil, ErrUserLeftover
	}
	if err := verifier.Finish(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUserPoH, err)
	}
	if verifier.Ticks() != ledger.TicksPerUserSlot {
		return nil, fmt.Errorf("%w: %d ticks", ErrUserPoH, verifier.Ticks())
	}
	if err := c.transactions(block); err != nil {
		return nil, err
	}
	for i := range block.Transactions {
		block.Transactions[i].SignatureOK = c.Own
	}
	return block, nil
}

// batch takes one batch: exactly one vector of entries.
func (c *UserBlockCheck) batch(block *ledger.UserBlock, verifier *poh.Verifier, batch []byte) error {
	entries, err := ledger.ParseEntries(batch)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUserBatch, err)
	}
	if len(entries) == 0 {
		return fmt.Errorf("%w: no entry", ErrUserBatch)
	}
	for i := range entries {
		e := &entries[i]
		if verifier.Ticks() == ledger.TicksPerUserSlot {
			return fmt.Errorf("%w: entry behind the last tick", ErrUserPoH)
		}
		var mixin *ledger.Hash
		if len(e.Transactions) > 0 {
			root := e.Mixin()
			mixin = &root
		}
		err := verifier.Step(e.NumHashes, mixin, e.Hash)
		if planted.Is(planted.LastTick) && verifier.Ticks() == ledger.TicksPerUserSlot {
			err = nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUserPoH, err)
		}
		if len(block.Transactions)+len(e.Transactions) > c.Params.TransactionsMax {
			return fmt.Errorf("%w: more than %d transactions", ErrLimits, c.Params.TransactionsMax)
		}
		first := len(block.Transactions)
		for j := range e.Transactions {
			block.Transactions = append(block.Transactions, ledger.UserTransaction{
				Transaction: e.Transactions[j],
				Position:    verifier.Hashes(),
				Index:       uint32(first + j),
			})
		}
		if err := c.entry(block.Transactions[first:], block); err != nil {
			return err
		}
	}
	return nil
}

// entry checks the transactions of one entry one by one, and the bundle that
// they may form.
func (c *UserBlockCheck) entry(txs []ledger.UserTransaction, block *ledger.UserBlock) error {
	plain := make([]ledger.Transaction, len(txs))
	hashes := make([]ledger.Hash, len(txs))
	for i := range txs {
		t := &txs[i]
		if err := admissible(&t.Transaction); err != nil {
			return fmt.Errorf("%w %d: %w", ErrUserTx, t.Index, err)
		}
		budget, err := t.ComputeBudget()
		if err != nil {
			return fmt.Errorf("%w %d: %w", ErrUserTx, t.Index, err)
		}
		t.Budget = budget
		t.Hash = t.MessageHash()
		plain[i], hashes[i] = t.Transaction, t.Hash
		block.Cost += t.Cost(budget)
		if block.Cost > c.CostMax {
			return fmt.Errorf("%w: cost above %d", ErrLimits, c.CostMax)
		}
	}
	size, err := ledger.BundleSize(plain, hashes)
	if err != nil {
		return fmt.Errorf("rule 7: %w", err)
	}
	if size > 0 {
		txs[0].Role, txs[0].BundleSize = ledger.Bundler, uint8(size)
		for i := range txs[1:] {
			txs[1+i].Role = ledger.Member
		}
	}
	return nil
}

// Admissible tells why a transaction may stand in no UserBlock at all,
// whichever its blockhash, or only as part of a bundle: what a proposer refuses
// at submission.
func Admissible(t *ledger.Transaction) error {
	if err := admissible(t); err != nil {
		return err
	}
	_, err := ledger.BundleSize([]ledger.Transaction{*t}, []ledger.Hash{{}})
	return err
}

func admissible(t *ledger.Transaction) error {
	if err := t.Sanitize(); err != nil {
		return err
	}
	if err := t.LocksOK(); err != nil {
		return err
	}
	if t.HasVote() {
		return ErrVoteInBlock
	}
	return nil
}

// NonceLane returns the lane in which a durable-nonce transaction of that
// nonce account may stand: H(nonce account)[0] mod N.
func NonceLane(account ledger.Pubkey, proposers int) ledger.Lane {
	return ledger.Lane(int(ledger.Sum(account[:])[0]) % proposers)
}

// transactions checks the rules that need the whole block.
func (c *UserBlockCheck) transactions(block *ledger.UserBlock) error {
	recent := make(map[ledger.Hash]bool, len(c.Blockhashes))
	for _, h := range c.Blockhashes {
		recent[h] = true
	}
	seen := make(map[ledger.Hash]bool, len(block.Transactions))
	var nonces map[ledger.Pubkey]bool
	for i := range block.Transactions {
		t := &block.Transactions[i]
		if seen[t.Hash] {
			return fmt.Errorf("%w: transaction %d", ErrRepeated, i)
		}
		seen[t.Hash] = true
		if recent[t.RecentBlockhash()] {
			continue
		}
		account, ok := t.DurableNonce()
		if !ok {
			return fmt.Errorf("%w %v of transaction %d is not one of the anchor's newest", ErrBlockhash, t.RecentBlockhash(), i)
		}
		if NonceLane(account, c.Params.Proposers) != c.Ref.Lane {
			return fmt.Errorf("%w: transaction %d", ErrNonceLane, i)
		}
		if nonces[account] {
			return fmt.Errorf("%w: transaction %d", ErrNonceTwice, i)
		}
		if nonces == nil {
			nonces = make(map[ledger.Pubkey]bool)
		}
		nonces[account] = true
	}
	return nil
}

// VerifySignatures sets SignatureOK of transactions of a UserBlock that is
// well formed, and returns how many signatures that took. A bad one does not
// make the block ill-formed: execution finds it. Nobody else may look at
// SignatureOK meanwhile.
func VerifySignatures(v *sigverify.Verifier, txs []ledger.UserTransaction) int {
	items := make([]sigverify.Item, 0, len(txs))
	for i := range txs {
		t := &txs[i]
		for j := range t.NumSignatures() {
			items = append(items, sigverify.Item{Pub: t.KeyBytes(j), Msg: t.Message(), Sig: t.SignatureBytes(j)})
		}
	}
	ok := make([]bool, len(items))
	v.VerifyBatch(items, ok)
	next := 0
	for i := range txs {
		t := &txs[i]
		t.SignatureOK = true
		for range t.NumSignatures() {
			t.SignatureOK = t.SignatureOK && ok[next]
			next++
		}
	}
	return len(items)
}
