// Package netswitch is an Ethernet switch in user space, and the network
// namespaces that it connects. Real programs with real sockets stand in the
// namespaces; every frame between two of them passes through this process,
// which delays, loses or cuts what its rules say, by direction, and the rules
// change while it runs.
//
// Nothing outlives the process: the kernel removes a namespace and its device
// when the last file and program that use it are gone.
package netswitch

import (
	"container/heap"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// Link says how frames fare on the way from one port to another. The zero
// Link passes them on at once.
type Link struct {
	Latency time.Duration // of every frame
	Jitter  time.Duration // more, at random, from 0 to this; frames may overtake
	Loss    float64       // share of the frames, 0…1, that is lost
	// Bandwidth is in bytes per second, 0 for no limit. What would wait longer
	// than queueMax is lost.
	Bandwidth float64
	Cut       bool // nothing gets through
}

const (
	// queueMax bounds how long frames wait for a link's bandwidth.
	queueMax = 200 * time.Millisecond
	// delayedMax bounds the frames that wait in a switch; more are lost.
	delayedMax = 1 << 16
	// frameMax is the size of the largest frame: one of MTU and its header.
	frameMax  = MTU + headerLen
	headerLen = 14
)

// MTU is that of all devices.
const MTU = 1500

type mac [6]byte

// Switch passes frames on between its ports.
type Switch struct {
	ports []io.ReadWriter
	wake  chan struct{}

	mu      sync.Mutex
	links   [][]Link      // by source and destination
	free    [][]time.Time // when the link's bandwidth is free again
	known   map[mac]int   // ports, by the source addresses of their frames
	delayed queue
}

// New returns a switch of such ports: a read and a write of one moves one
// frame.
func New(ports []io.ReadWriter) *Switch {
	s := &Switch{ports: ports, wake: make(chan struct{}, 1), known: map[mac]int{}}
	for range ports {
		s.links = append(s.links, make([]Link, len(ports)))
		s.free = append(s.free, make([]time.Time, len(ports)))
	}
	return s
}

// Set changes the link from one port to another; that in the other direction
// stays as it is. Frames on their way come through.
func (s *Switch) Set(from, to int, l Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[from][to] = l
}

// Run passes frames on until reading every port fails, as it does when the
// ports are closed.
func (s *Switch) Run() {
	var readers sync.WaitGroup
	for i := range s.ports {
		readers.Go(func() { s.read(i) })
	}
	over := make(chan struct{})
	var deliverer sync.WaitGroup
	deliverer.Go(func() { s.deliver(over) })
	readers.Wait()
	close(over)
	deliverer.Wait()
}

// read takes what comes from a port.
func (s *Switch) read(port int) {
	frame := make([]byte, frameMax)
	var now, later []int
	for {
		n, err := s.ports[port].Read(frame)
		if err != nil {
			return
		}
		if n < headerLen {
			continue
		}
		now = s.route(port, frame[:n], time.Now(), now[:0], &later)
		for _, to := range now {
			s.write(to, frame[:n])
		}
	}
}

// write hands a frame to a port. An error is a loss: the device has no room,
// or is gone.
func (s *Switch) write(to int, frame []byte) { _, _ = s.ports[to].Write(frame) }

// route decides on a frame. It appends to now the ports that get it at once.
func (s *Switch) route(from int, frame []byte, at time.Time, now []int, to *[]int) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	destination, source := mac(frame), mac(frame[6:])
	s.known[source] = from
	*to = (*to)[:0]
	if port, ok := s.known[destination]; ok {
		*to = append(*to, port)
	} else { // a broadcast, or unknown: to all
		for port := range s.ports {
			*to = append(*to, port)
		}
	}
	var copied []byte
	for _, port := range *to {
		if port == from {
			continue
		}
		due, ok := s.fate(from, port, len(frame), at)
		switch {
		case !ok || len(s.delayed) >= delayedMax:
		case !due.After(at):
			now = append(now, port)
		default:
			if copied == nil {
				copied = append(copied, frame...)
			}
			heap.Push(&s.delayed, delayed{due, port, copied})
			if s.delayed[0].due.Equal(due) {
				select {
				case s.wake <- struct{}{}:
				default:
				}
			}
		}
	}
	return now
}

// fate decides when a frame arrives, if it does.
func (s *Switch) fate(from, to, size int, at time.Time) (due time.Time, ok bool) {
	l := &s.links[from][to]
	if l.Cut || l.Loss > 0 && rand.Float64() < l.Loss {
		return at, false
	}
	due = at
	if l.Bandwidth > 0 {
		free := &s.free[from][to]
		if free.Before(at) {
			*free = at
		}
		if free.Sub(at) > queueMax {
			return at, false
		}
		*free = free.Add(time.Duration(float64(size) / l.Bandwidth * float64(time.Second)))
		due = *free
	}
	due = due.Add(l.Latency)
	if l.Jitter > 0 {
		due = due.Add(rand.N(l.Jitter))
	}
	return due, true
}

// deliver hands out delayed frames when they are due, until over is closed.
func (s *Switch) deliver(over <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-over:
			return
		case <-s.wake:
		case <-timer.C:
		}
		for {
			next, wait := s.next(time.Now())
			if wait > 0 {
				timer.Reset(wait)
				break
			}
			s.write(next.port, next.frame)
		}
	}
}

// next takes a frame that is due, or returns how long there is none.
func (s *Switch) next(now time.Time) (d delayed, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.delayed) == 0 {
		return delayed{}, time.Hour
	}
	if wait := s.delayed[0].due.Sub(now); wait > 0 {
		return delayed{}, wait
	}
	return heap.Pop(&s.delayed).(delayed), 0
}

// delayed is a frame that waits.
type delayed struct {
	due   time.Time
	port  int
	frame []byte
}

// queue has the frame that is due first in front.
type queue []delayed

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(delayed)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	(*q)[last] = delayed{}
	*q = (*q)[:last]
	return d
}
