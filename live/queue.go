package live

import "sync"

// queue hands values from any number of goroutines to others, in order. It
// never blocks who puts.
type queue[T any] struct {
	ready chan struct{} // has an element while there may be something to take
	max   int           // 0: bounded by who puts

	mu    sync.Mutex
	items []T
}

func newQueue[T any](max int) *queue[T] {
	return &queue[T]{ready: make(chan struct{}, 1), max: max}
}

// put tells whether there was room.
func (q *queue[T]) put(item T) bool {
	q.mu.Lock()
	if q.max > 0 && len(q.items) >= q.max {
		q.mu.Unlock()
		return false
	}
	q.items = append(q.items, item)
	q.mu.Unlock()
	q.signal()
	return true
}

func (q *queue[T]) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take moves at most n items to the end of buf. If more are there, ready
// says so again.
func (q *queue[T]) take(buf []T, n int) []T {
	q.mu.Lock()
	n = min(n, len(q.items))
	buf = append(buf, q.items[:n]...)
	rest := copy(q.items, q.items[n:])
	clear(q.items[rest:])
	q.items = q.items[:rest]
	q.mu.Unlock()
	if rest > 0 {
		q.signal()
	}
	return buf
}

// len returns how many items wait.
func (q *queue[T]) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}
