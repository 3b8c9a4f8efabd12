package live

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Report is something that the node tells, with the time at which it told
// it. Of is one of the kinds of node.Report.
type Report struct {
	Time time.Time
	Of   any
}

// Hub hands the node's reports to subscribers, each in order through a
// bounded queue of its own. A subscriber that falls behind is cut off: the
// node never waits for one.
type Hub struct {
	mu     sync.Mutex
	closed bool
	subs   map[*Subscription]struct{}
}

// Errors of Subscription.Next.
var (
	// ErrSlow: the subscriber was cut off, and reports after those that it
	// has taken are lost to it.
	ErrSlow = errors.New("subscriber fell behind and was cut off")
	// ErrStopped: the node has stopped.
	ErrStopped = errors.New("node has stopped")
)

// Subscription is one subscriber's queue.
type Subscription struct {
	queue *queue[Report]
	ended chan struct{}
	err   error // set before ended is closed
	buf   []Report
}

// Subscribe returns a subscription with room for max reports. One made before
// Run misses none.
func (h *Hub) Subscribe(max int) *Subscription {
	s := &Subscription{queue: newQueue[Report](max), ended: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		s.end(ErrStopped)
		return s
	}
	if h.subs == nil {
		h.subs = make(map[*Subscription]struct{})
	}
	h.subs[s] = struct{}{}
	return s
}

// Next returns the reports that have come since the last call, at least one;
// they are valid until the next call. After an error there are no more.
func (s *Subscription) Next(ctx context.Context) ([]Report, error) {
	clear(s.buf)
	for {
		s.buf = s.queue.take(s.buf[:0], s.queue.max)
		if len(s.buf) > 0 {
			return s.buf, nil
		}
		select {
		case <-s.queue.ready:
		case <-s.ended:
			if s.queue.len() == 0 {
				return nil, s.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// end is called once, with the hub's lock.
func (s *Subscription) end(err error) {
	s.err = err
	close(s.ended)
}

// publish hands a report to all subscribers.
func (h *Hub) publish(r Report) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		if !s.queue.put(r) {
			delete(h.subs, s)
			s.end(ErrSlow)
		}
	}
}

// close ends all subscriptions; what is queued can still be taken.
func (h *Hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.subs {
		delete(h.subs, s)
		s.end(ErrStopped)
	}
}
