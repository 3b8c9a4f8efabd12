package bank

import (
	"runtime"
	"sync"
	"sync/atomic"

	"tutti/bank/program"
	"tutti/ledger"
)

// grain is how many items a worker takes at once. Between two grains it
// yields, so that a node's timers do not starve behind long blocks.
const grain = 32

// worker is what one goroutine keeps from one item to the next.
type worker struct {
	context program.Context
	hasher  *accountHasher
	change  LtHash // sum over the accounts that this worker hashed

	// Of the transaction that runs: its accounts' slots, which of them it may
	// write, and how they stood before.
	slots    []int32
	writable []bool
	before   []standing
	// What a bundle puts back when it aborts.
	saved []savedAccount
}

type savedAccount struct {
	slot    int32
	account Account
}

// pool runs work on a number of goroutines that live no longer than a call
// of run: what the caller sees does not depend on their number.
type pool []*worker

func newPool(workers int) pool {
	p := make(pool, max(workers, 1))
	for i := range p {
		p[i] = &worker{hasher: newAccountHasher()}
	}
	return p
}

// run calls f for ranges that together are 0…n−1, each once, and returns when
// all calls have. f must not depend on their order.
func (p pool) run(n int, f func(w *worker, from, to int)) {
	if len(p) == 1 || n <= grain {
		f(p[0], 0, n)
		return
	}
	var next atomic.Int64
	work := func(w *worker) {
		for {
			from := int(next.Add(grain)) - grain
			if from >= n {
				return
			}
			f(w, from, min(from+grain, n))
			runtime.Gosched()
		}
	}
	var rest sync.WaitGroup
	for _, w := range p[1:] {
		rest.Go(func() { work(w) })
	}
	work(p[0])
	rest.Wait()
}

// hashChanges adds to sum what the deltas change in the accounts lattice hash,
// and returns the deltas' leaves.
func (p pool) hashChanges(sum *LtHash, deltas []AccountDelta) []ledger.Hash {
	leaves := make([]ledger.Hash, len(deltas))
	for _, w := range p {
		w.change = LtHash{}
	}
	p.run(len(deltas), func(w *worker, from, to int) {
		for i := from; i < to; i++ {
			d := &deltas[i]
			if d.Old != nil {
				value, _ := w.hasher.hash(d.Key, d.Old)
				w.change.Sub(value)
			}
			value, digest := w.hasher.hash(d.Key, d.New)
			w.change.Add(value)
			leaves[i] = deltaLeaf(d.Key, digest)
		}
	})
	for _, w := range p {
		sum.Add(&w.change)
	}
	return leaves
}
