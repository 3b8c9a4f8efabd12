// Package proposer turns client transactions into UserBlocks (PROTOCOL
// section 4). The pool keeps what has arrived, dearest first; the builder
// makes one UserBlock with a proof of history of its own. It decides neither
// when to build nor on what anchor: node does.
package proposer

import (
	"container/heap"
	"errors"
	"fmt"
	"math"
	"slices"

	"tutti/internal/churn"
	"tutti/internal/planted"
	"tutti/ledger"
)

// Bounds of a Pool.
const (
	// PoolMax is the number of transactions that a pool holds.
	PoolMax = 65_536
	// parkMax bounds how many transactions one Take sets aside.
	parkMax = 4096
	// expireMax bounds how many transactions one Expire removes.
	expireMax = 1024
)

// Reasons why a transaction is refused.
var (
	ErrFull      = errors.New("pool is full and the priority fee is not above the lowest in it")
	ErrDuplicate = errors.New("transaction is already in the pool")
)

// Pooled is a transaction in the pool, with what is derived from it once.
type Pooled struct {
	Tx     ledger.Transaction
	Hash   ledger.Hash // message hash
	Budget ledger.ComputeBudget
	Cost   uint64
	Payer  ledger.Pubkey
	// Fee is what the payer pays if the transaction is processed.
	Fee ledger.Lamports
	// Durable says that the blockhash is not a recent one but the value of the
	// account Nonce: a UserBlock takes one such transaction of an account
	// (PROTOCOL section 4 (8)).
	Durable bool
	Nonce   ledger.Pubkey

	sequence uint64 // order of arrival
	best     int    // place in byBest, or in parked
	worst    int    // place in byWorst
	parked   bool
	// older and newer arrived before and after it, of those that are not Durable.
	older, newer *Pooled
}

// NewPooled derives what the pool needs of a sanitised transaction. The
// error is a ledger.TransactionError if its compute budget does not parse.
func NewPooled(tx ledger.Transaction) (*Pooled, error) {
	budget, err := tx.ComputeBudget()
	if err != nil {
		return nil, err
	}
	return &Pooled{
		Tx:     tx,
		Hash:   tx.MessageHash(),
		Budget: budget,
		Cost:   tx.Cost(budget),
		Payer:  tx.Key(0),
		Fee:    Fee(&tx, budget),
	}, nil
}

// Fee returns what a transaction with that compute budget costs its payer if
// it is processed, at most 1<<64-1 lamports.
func Fee(tx *ledger.Transaction, budget ledger.ComputeBudget) ledger.Lamports {
	base := tx.BaseFee()
	return base + min(budget.PriorityFee(), math.MaxUint64-base)
}

// before orders by compute-unit price, then by arrival.
func (p *Pooled) before(q *Pooled) bool {
	if p.Budget.UnitPrice != q.Budget.UnitPrice {
		return p.Budget.UnitPrice > q.Budget.UnitPrice
	}
	return p.sequence < q.sequence
}

// Pool holds transactions that wait for a UserBlock.
type Pool struct {
	max      int
	sequence uint64
	byHash   map[ledger.Hash]*Pooled
	deleted  int // from byHash (churn.Renew)
	fees     map[ledger.Pubkey]ledger.Lamports
	byBest   bestHeap  // without those parked
	byWorst  worstHeap // of all
	// parked are those that had to wait, until Resume.
	parked []*Pooled
	// oldest and newest end the chain of those that are not Durable.
	oldest, newest *Pooled
}

// NewPool returns an empty pool of at most max transactions.
func NewPool(max int) *Pool {
	return &Pool{
		max:    max,
		byHash: make(map[ledger.Hash]*Pooled),
		fees:   make(map[ledger.Pubkey]ledger.Lamports),
	}
}

// Len returns the number of transactions in the pool.
func (p *Pool) Len() int { return len(p.byHash) }

// Has tells whether a transaction with that message hash is in the pool.
func (p *Pool) Has(hash ledger.Hash) bool { return p.byHash[hash] != nil }

// Fees returns what the payer's transactions in the pool cost it together.
func (p *Pool) Fees(payer ledger.Pubkey) ledger.Lamports { return p.fees[payer] }

// Add puts a transaction into the pool. When the pool is full the cheapest
// one makes room and is returned, unless t itself is the cheapest: ErrFull.
func (p *Pool) Add(t *Pooled) (evicted *Pooled, err error) {
	if p.byHash[t.Hash] != nil {
		return nil, ErrDuplicate
	}
	t.sequence = p.sequence
	p.sequence++
	if len(p.byHash) >= p.max && !planted.Is(planted.PoolBound) {
		cheapest := p.byWorst[0]
		if !t.before(cheapest) {
			return nil, fmt.Errorf("%w (%d micro-lamports per compute unit)", ErrFull, cheapest.Budget.UnitPrice)
		}
		p.remove(cheapest)
		evicted = cheapest
	}
	p.byHash[t.Hash] = t
	p.fees[t.Payer] += t.Fee
	heap.Push(&p.byBest, t)
	heap.Push(&p.byWorst, t)
	if !t.Durable {
		p.chain(t)
	}
	return evicted, nil
}

func (p *Pool) chain(t *Pooled) {
	t.older, t.newer = p.newest, nil
	if p.newest != nil {
		p.newest.newer = t
	} else {
		p.oldest = t
	}
	p.newest = t
}

func (p *Pool) unchain(t *Pooled) {
	if t.older != nil {
		t.older.newer = t.newer
	} else {
		p.oldest = t.newer
	}
	if t.newer != nil {
		t.newer.older = t.older
	} else {
		p.newest = t.older
	}
	t.older, t.newer = nil, nil
}

// Expire removes the transactions that expired finds to be so, oldest first, up
// to the first that is not; those with a durable nonce do not count. Take finds
// only the dearest: without Expire cheap ones would stay for as long as there
// are dearer ones, with blockhashes that are too old for any UserBlock. It
// removes 1024 at most, and returns how many.
func (p *Pool) Expire(expired func(*Pooled) bool) (n int) {
	for n < expireMax && p.oldest != nil && expired(p.oldest) {
		p.remove(p.oldest)
		n++
	}
	return n
}

// Remove takes the transaction with that message hash out, if it is there.
func (p *Pool) Remove(hash ledger.Hash) {
	if t := p.byHash[hash]; t != nil {
		p.remove(t)
	}
}

func (p *Pool) remove(t *Pooled) {
	delete(p.byHash, t.Hash)
	p.deleted++
	p.byHash = churn.Renew(p.byHash, &p.deleted)
	if p.fees[t.Payer] -= t.Fee; p.fees[t.Payer] == 0 {
		delete(p.fees, t.Payer)
	}
	heap.Remove(&p.byWorst, t.worst)
	if !t.Durable {
		p.unchain(t)
	}
	if !t.parked {
		heap.Remove(&p.byBest, t.best)
		return
	}
	last := p.parked[len(p.parked)-1]
	p.parked[t.best], last.best = last, t.best
	p.parked[len(p.parked)-1] = nil
	p.parked = p.parked[:len(p.parked)-1]
	t.parked = false
}

// Verdict is what the caller of Take thinks of a transaction.
type Verdict uint8

// Verdicts on a transaction at the time of packing.
const (
	Fits    Verdict = iota // pack it
	Waits                  // leave it in the pool, and aside until Resume
	Expired                // throw it away
	Full                   // leave it, and all that are cheaper
)

// Resume brings back what was set aside: a new UserBlock begins, for which it
// may fit.
func (p *Pool) Resume() {
	for i, t := range p.parked {
		t.parked = false
		heap.Push(&p.byBest, t)
		p.parked[i] = nil
	}
	p.parked = p.parked[:0]
}

// Any tells whether judge says of some transaction that it fits; those that
// are set aside do not count.
func (p *Pool) Any(judge func(*Pooled) Verdict) bool {
	return slices.ContainsFunc(p.byBest, func(t *Pooled) bool { return judge(t) == Fits })
}

// Take removes and returns the transactions of which judge says that they
// fit, dearest first. Those that have to wait are set aside until Resume, so
// that they do not keep the cheaper ones out, however many they are. It stops
// at Full, or when it has set parkMax aside: the next Take goes on behind them. A
// pool is looked through within half a UserBlock, which takes once a tick.
func (p *Pool) Take(judge func(*Pooled) Verdict) []*Pooled {
	var taken []*Pooled
	for parked := 0; len(p.byBest) > 0 && parked < parkMax; {
		t := p.byBest[0]
		switch judge(t) {
		case Fits:
			p.remove(t)
			taken = append(taken, t)
		case Expired:
			p.remove(t)
		case Waits:
			heap.Pop(&p.byBest)
			t.best, t.parked = len(p.parked), true
			p.parked = append(p.parked, t)
			parked++
		case Full:
			return taken
		}
	}
	return taken
}

type bestHeap []*Pooled

func (h bestHeap) Len() int           { return len(h) }
func (h bestHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h bestHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].best, h[j].best = i, j
}

func (h *bestHeap) Push(x any) {
	t := x.(*Pooled)
	t.best = len(*h)
	*h = append(*h, t)
}

func (h *bestHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}

type worstHeap []*Pooled

func (h worstHeap) Len() int           { return len(h) }
func (h worstHeap) Less(i, j int) bool { return h[j].before(h[i]) }
func (h worstHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].worst, h[j].worst = i, j
}

func (h *worstHeap) Push(x any) {
	t := x.(*Pooled)
	t.worst = len(*h)
	*h = append(*h, t)
}

func (h *worstHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}
