package sim

import (
	"time"

	"tutti/node"
)

// moment says what happens in an item.
type moment uint8

const (
	woke      moment = iota // the node asked to be woken now
	arrived                 // frame comes in from another node
	happened                // event is fed to the node
	durable                 // the save that the host waits for is on disk
	submitted               // the next client transaction is due
	faulty                  // a fault begins or ends
	phased                  // chaos begins or ends
	judged                  // a slot after all has healed: look for progress
)

// item is something that will happen at a virtual time.
type item struct {
	at   time.Duration
	seq  uint64 // order of scheduling: breaks ties
	what moment
	host int32 // to whom
	from int32 // of arrived
	// life is the host's at the time: what it waited for is lost in a crash.
	life   int32
	begins bool // of faulty and phased
	// One of these is set: for arrived, happened, faulty, phased and judged.
	frame *frame
	event node.Event
	fault *episode
	phase *phase
	due   *healing
}

func (a *item) before(b *item) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.seq < b.seq
}

// queue is a heap of items by (time, order of scheduling), so that a run is
// the same each time. Its nodes have four children: fewer levels, and the
// siblings lie side by side.
type queue struct {
	items []item
	seq   uint64
}

func (q *queue) push(it item) {
	it.seq = q.seq
	q.seq++
	q.items = append(q.items, it)
	at := len(q.items) - 1
	for at > 0 {
		parent := (at - 1) / 4
		if !it.before(&q.items[parent]) {
			break
		}
		q.items[at] = q.items[parent]
		at = parent
	}
	q.items[at] = it
}

// pop takes the next item out; ok is false if there is none.
func (q *queue) pop() (next item, ok bool) {
	n := len(q.items) - 1
	if n < 0 {
		return item{}, false
	}
	next = q.items[0]
	last := q.items[n]
	q.items[n] = item{}
	q.items = q.items[:n]
	if n == 0 {
		return next, true
	}
	at := 0
	for {
		child := 4*at + 1
		if child >= n {
			break
		}
		for c := child + 1; c < min(child+4, n); c++ {
			if q.items[c].before(&q.items[child]) {
				child = c
			}
		}
		if !q.items[child].before(&last) {
			break
		}
		q.items[at] = q.items[child]
		at = child
	}
	q.items[at] = last
	return next, true
}
