package node

import (
	"errors"
	"fmt"

	"tutti/bank"
	"tutti/cluster"
	"tutti/consensus"
	"tutti/internal/churn"
	"tutti/ledger"
	"tutti/proposer"
	"tutti/validator"
)

// Why a client's transaction is refused.
var (
	ErrProcessed = errors.New("transaction was processed already")
	ErrCost      = errors.New("transaction costs more than a UserBlock may")
	ErrPayerBusy = errors.New("payer has as many fees under way as the reserve allows it at one proposer")
)

// execute hands the next block of the heaviest fork to the executor, as soon
// as its data is here and verified, voted or not (PROTOCOL section 8).
func (n *Node) execute() {
	if n.executing != nil || n.health == Wrong {
		return
	}
	var next *validator.Block
	for b := n.forks.Block(n.choice.Best()); b != nil && !b.Executed; b = b.Parent {
		next = b
	}
	if next == nil || !next.Ready() || next.Parent == nil {
		return
	}
	for _, named := range next.Named {
		if !n.held[named.Ref].executable() {
			return
		}
	}
	job := &bank.Block{Ref: next.BlockRef, Parent: next.Parent.BlockRef, LastPoH: next.LastPoH}
	for _, named := range next.Named {
		h := n.held[named.Ref]
		job.UserBlocks = append(job.UserBlocks, bank.Recorded{
			Section: named.Section, Block: h.block, Anchor: next.Parent.Anchor(h.anchor).BlockRef,
		})
	}
	n.executing = next
	n.do(Execute{Block: job})
}

// onExecuted takes the executor's result.
func (n *Node) onExecuted(r *bank.Result) {
	b := n.executing
	n.executing = nil
	if b == nil || b.BlockRef != r.Ref {
		panic(fmt.Sprintf("node: result of %v, which was not asked for", r.Ref))
	}
	if n.voided { // the node has gone back meanwhile
		n.voided = false
		return
	}
	b.Executed, b.BankHash = true, r.BankHash
	n.links[b.BlockRef] = r.Link
	n.view = r.View
	n.agreement.Executed(consensus.Link{
		Block: b.BlockRef, Hash: r.BankHash, Parent: b.Parent.BlockRef, ParentHash: r.ParentBankHash,
	})
	n.checkRestart(b)
	for _, named := range b.Named {
		n.discountFees(n.held[named.Ref])
	}
	for i := range r.Receipts {
		n.pool.Remove(r.Receipts[i].MessageHash)
	}
	n.recentDone.add(b, r.Processed)
	n.recentDone.prune(b.Height)
	n.report(BankComputed{Result: r})
	n.compareReports(b)
	n.agreeDue = true
	if n.params.Execution == cluster.ExecutionSync {
		n.voteDue = true
	}
	if len(r.Stakes) > 0 {
		n.stakes[b.BlockRef] = r.Stakes
		if b.Confirmed {
			n.decideStakes(b)
		}
	}
	n.pruneToRoot()
}

// hearReport takes the BankHash that a vote reports.
func (n *Node) hearReport(v *ledger.Vote, signed []byte) {
	b := n.forks.Block(v.Block)
	if b == nil {
		return
	}
	at := b.Ancestor(v.BankSlot)
	if at == nil || at.Slot != v.BankSlot || cluster.BeforeRestart(n.restarts, v.Block.Slot, at.Slot) {
		return
	}
	n.agreement.Report(v.Account, v.Block.Slot, consensus.Value{Block: at.BlockRef, Hash: v.BankHash}, signed)
	n.agreeDue = true
	n.compareReport(v.Account, at, v.BankHash)
}

// compareReport tells if a voter has another BankHash of a block. Of blocks
// below the root of a restart this node has none.
func (n *Node) compareReport(account ledger.Pubkey, b *validator.Block, hash ledger.Hash) {
	if b.Executed && b.BankHash != (ledger.Hash{}) && b.BankHash != hash {
		n.report(Mismatched{Voter: account, Slot: b.Slot, Own: b.BankHash, Other: hash})
	}
}

// hearReports takes what votes for a block reported before it was here.
func (n *Node) hearReports(b *validator.Block) {
	stakes := n.epochs.At(b.Slot)
	for i := range stakes.Len() {
		box := n.ballots[stakes.Items[i].VoteAccount]
		for j := 0; box != nil && j < len(box.votes); j++ {
			if v := &box.votes[j].Vote; v.Block == b.BlockRef {
				n.hearReport(v, box.votes[j].Tx.Raw())
			}
		}
	}
}

// compareReports compares a block's BankHash with what voters reported
// before this node had computed it.
func (n *Node) compareReports(b *validator.Block) {
	stakes := n.epochs.At(b.Slot)
	for i := range stakes.Len() {
		account := stakes.Items[i].VoteAccount
		box := n.ballots[account]
		if box == nil {
			continue
		}
		for j := range box.votes {
			v := &box.votes[j].Vote
			if voted := n.forks.Block(v.Block); v.BankSlot == b.Slot && v.BankHash != b.BankHash && !cluster.BeforeRestart(n.restarts, v.Block.Slot, b.Slot) &&
				voted != nil && voted.Descends(b.BlockRef) {
				n.report(Mismatched{Voter: account, Slot: b.Slot, Own: b.BankHash, Other: v.BankHash})
			}
		}
	}
}

// decideStakes sets the stakes of coming epochs that the executor found in
// the state before a block, once the block is confirmed (PROTOCOL section 10,
// epochs).
func (n *Node) decideStakes(b *validator.Block) {
	for _, e := range n.stakes[b.BlockRef] {
		n.schedule.AddEpoch(e)
	}
	delete(n.stakes, b.BlockRef)
	early := n.early
	n.early = nil
	for _, set := range early {
		n.loaded(set)
	}
}

// submitted takes a client's transaction into the pool, or refuses it with a
// reason. One that a peer has forwarded is not forwarded at once again.
func (n *Node) submitted(ev Submitted, forwarded bool) {
	t, err := n.admit(ev.Tx)
	if n.stopped() {
		err = ErrHalted
	}
	if err == nil {
		err = n.place(t, forwarded)
	}
	if err != nil {
		n.report(Refused{Token: ev.Token, Signature: ev.Tx.Signature(0), Err: err})
		return
	}
	n.report(Accepted{Token: ev.Token})
}

// admit decides whether a transaction may be packed at all.
func (n *Node) admit(tx ledger.Transaction) (*proposer.Pooled, error) {
	if err := validator.Admissible(&tx); err != nil {
		return nil, err
	}
	t, err := proposer.NewPooled(tx)
	if err != nil {
		return nil, err
	}
	if t.Cost > n.params.UserBlockCostMax() {
		return nil, fmt.Errorf("%w: %d of %d", ErrCost, t.Cost, n.params.UserBlockCostMax())
	}
	if n.recentDone.has(t.Hash, n.executedOn(n.forks.Block(n.choice.Best()))) {
		return nil, ErrProcessed
	}
	if n.blockhash(tx.RecentBlockhash(), n.newest) == proposer.Expired {
		account, ok := tx.DurableNonce()
		if !ok {
			return nil, ledger.TransactionError{Kind: ledger.BlockhashNotFound}
		}
		if err := n.checkNonce(&tx, account); err != nil {
			return nil, err
		}
		t.Durable, t.Nonce = true, account
	}
	return t, n.solvent(t)
}

// place puts an admitted transaction into the pool, or forwards it to the
// only proposer that may pack it.
func (n *Node) place(t *proposer.Pooled, forwarded bool) error {
	if t.Durable && !forwarded {
		holder, err := n.nonceHolder(t.Nonce)
		if err != nil {
			return err
		}
		if holder != n.self {
			n.do(Send{To: []ledger.Pubkey{holder}, Msg: TransactionMessage{Tx: t.Tx}})
			return nil
		}
	}
	return n.addPooled(t)
}

func (n *Node) addPooled(t *proposer.Pooled) error {
	if _, err := n.pool.Add(t); err != nil {
		return err
	}
	if t.Durable {
		n.keepNonce(t)
	}
	return nil
}

// solvent checks that the payer can pay for what it has under way here:
// (min(R, executed balance) − its fees in UserBlocks seen and not yet
// executed)/N at most, so that N proposers at once cannot be made to include
// what cannot be paid (PROTOCOL section 8).
func (n *Node) solvent(t *proposer.Pooled) error {
	account, ok := n.view.Account(t.Payer)
	if !ok {
		return ledger.TransactionError{Kind: ledger.AccountNotFound}
	}
	if account.Owner != ledger.SystemProgram {
		return ledger.TransactionError{Kind: ledger.InvalidAccountForFee}
	}
	if account.Lamports < t.Fee {
		return ledger.TransactionError{Kind: ledger.InsufficientFundsForFee}
	}
	if n.params.Reserve == 0 {
		return nil
	}
	budget := min(n.params.Reserve, account.Lamports)
	budget -= min(budget, n.seenFees[t.Payer])
	budget /= ledger.Lamports(n.params.Proposers)
	if n.pool.Fees(t.Payer)+t.Fee > budget {
		return fmt.Errorf("%w: %d lamports left", ErrPayerBusy, budget)
	}
	return nil
}

// owedMax bounds, in lamports, what one transaction in a UserBlock counts for:
// the sum over all that a node holds cannot wrap.
const owedMax = 1 << 40

// countFees adds what the payers of a UserBlock's transactions owe until it
// is executed. A transaction that the payer has not signed owes nothing.
func (n *Node) countFees(h *heldUserBlock) {
	h.counted = true
	for i := range h.block.Transactions {
		if t := &h.block.Transactions[i]; t.SignatureOK {
			n.seenFees[t.Key(0)] += owed(t)
		}
	}
}

func owed(t *ledger.UserTransaction) ledger.Lamports {
	return min(proposer.Fee(&t.Transaction, t.Budget), owedMax)
}

// discountFees takes them off again.
func (n *Node) discountFees(h *heldUserBlock) {
	if h == nil || !h.counted {
		return
	}
	h.counted = false
	for i := range h.block.Transactions {
		t := &h.block.Transactions[i]
		if !t.SignatureOK {
			continue
		}
		payer := t.Key(0)
		if n.seenFees[payer] -= owed(t); n.seenFees[payer] == 0 {
			delete(n.seenFees, payer)
		}
	}
}

// recentMessages remembers which blocks processed a message, for the newest
// 150 heights: a client's transaction that is there is not taken again.
type recentMessages struct {
	blocks   map[ledger.Hash]*processedIn // that processed a message last
	deleted  int                          // from blocks (churn.Renew)
	byHeight map[uint64][]*processedIn
	oldest   uint64
}

// processedIn is a block and what it processed.
type processedIn struct {
	ref      ledger.BlockRef
	messages []ledger.Hash
	// before has, of messages that blocks of other forks had processed, the
	// last of those.
	before map[ledger.Hash]*processedIn
}

func newRecentMessages() *recentMessages {
	return &recentMessages{blocks: make(map[ledger.Hash]*processedIn), byHeight: make(map[uint64][]*processedIn)}
}

// has tells whether a message was processed on the fork that ends in tip.
func (r *recentMessages) has(hash ledger.Hash, tip *validator.Block) bool {
	for p := r.blocks[hash]; p != nil; p = p.before[hash] {
		if tip.Lineage.Has(p.ref) {
			return true
		}
	}
	return false
}

// add takes the messages that a block has processed.
func (r *recentMessages) add(b *validator.Block, messages []ledger.Hash) {
	p := &processedIn{ref: b.BlockRef, messages: messages}
	r.byHeight[b.Height] = append(r.byHeight[b.Height], p)
	for _, hash := range messages {
		if other := r.blocks[hash]; other != nil {
			if p.before == nil {
				p.before = make(map[ledger.Hash]*processedIn)
			}
			p.before[hash] = other
		}
		r.blocks[hash] = p
	}
}

// processedAge is how many blocks back a message counts as processed
// (PROTOCOL section 8, duplicate).
const processedAge = 150

func (r *recentMessages) prune(height uint64) {
	for ; r.oldest+processedAge < height; r.oldest++ {
		for _, p := range r.byHeight[r.oldest] {
			for _, hash := range p.messages {
				r.forget(hash, p)
			}
		}
		delete(r.byHeight, r.oldest)
	}
	r.blocks = churn.Renew(r.blocks, &r.deleted)
}

func (r *recentMessages) forget(hash ledger.Hash, p *processedIn) {
	last := r.blocks[hash]
	if last == p {
		if p.before[hash] == nil {
			delete(r.blocks, hash)
			r.deleted++
		} else {
			r.blocks[hash] = p.before[hash]
		}
		return
	}
	for ; last.before[hash] != p; last = last.before[hash] {
	}
	if p.before[hash] == nil {
		delete(last.before, hash)
	} else {
		last.before[hash] = p.before[hash]
	}
}
