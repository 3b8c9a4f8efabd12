// Package load puts load on a cluster and finds out what becomes of it. A
// Source signs transfers, a Schedule offers them at their due times whatever
// the cluster does, and a Tracker follows them through the nodes' event
// streams. It starts no node and writes no report.
package load

import (
	"context"
	"crypto/ed25519"
	"net/netip"
	"time"

	"tutti/live/endpoint"
)

const (
	// RateMax bounds the transfers of a second.
	RateMax = 1_000_000
	// SendQueue is how many transfers may wait for a connection; what is
	// beyond is lost.
	SendQueue  = 1 << 13
	redialTime = 200 * time.Millisecond
	// handOver is the least time between two looks at what is due: what
	// becomes due meanwhile goes out together, late by that at most.
	handOver = 5 * time.Millisecond
)

// Step is a span of load at one rate.
type Step struct {
	Rate     int           // transfers per second, of all generators together
	Start    time.Duration // after the schedule's start
	Duration time.Duration // 0: it never ends
}

// Steps returns steps that each last for a time, with a pause between them.
func Steps(rates []int, each, pause time.Duration) (steps []Step) {
	for i, rate := range rates {
		steps = append(steps, Step{rate, time.Duration(i) * (each + pause), each})
	}
	return steps
}

// End returns when the step ends, after the schedule's start.
func (s *Step) End() time.Duration { return s.Start + s.Duration }

// due returns how long after the schedule's start the transfer with number i,
// from 0, is to be sent; ok is false if the step has ended then.
func (s *Step) due(i uint64) (due time.Duration, ok bool) {
	r := uint64(s.Rate)
	due = time.Duration(i/r)*time.Second + time.Duration(i%r*uint64(time.Second)/r)
	return s.Start + due, s.Duration == 0 || due < s.Duration
}

// Schedule says when transfers are offered.
type Schedule struct {
	Start time.Time
	Steps []Step
	Share Share
}

// Journal takes notes of a load.
type Journal interface {
	// Offered is called before a transfer is handed to the sender with that
	// number, with the time at which it was due.
	Offered(tx *Transfer, due time.Time, to int)
	// Unsent is called if the sender could not take the transfer.
	Unsent(id TxID)
}

// Run hands transfers to senders at their due times, in turn, until the last
// step has ended or ctx is done. It never waits for a sender: what one cannot
// take is lost.
func (s *Schedule) Run(ctx context.Context, signed <-chan Transfer, senders []chan Transfer, journal Journal) {
	turn := 0
	for k := range s.Steps {
		for i := s.Share.Index; ; i += s.Share.Of {
			after, ok := s.Steps[k].due(i)
			if !ok {
				break
			}
			due := s.Start.Add(after)
			if wait := time.Until(due); wait > 0 && !Sleep(ctx, max(wait, handOver)) {
				return
			}
			var tx Transfer
			select {
			case <-ctx.Done():
				return
			case tx = <-signed:
			}
			journal.Offered(&tx, due, turn)
			select {
			case senders[turn] <- tx:
			default:
				journal.Unsent(tx.ID)
			}
			turn = (turn + 1) % len(senders)
		}
	}
}

// Sleep waits and tells whether ctx is still not done.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Sender sends transfers to a node as Solana's clients do.
type Sender struct {
	Addr  netip.AddrPort
	Key   ed25519.PrivateKey // the client's; any will do
	Queue <-chan Transfer
	// Unsent is called for each transfer that could not be sent.
	Unsent func(TxID)
}

// Run sends what comes through the queue over one connection, which is made
// anew when it breaks, until ctx is done.
func (s *Sender) Run(ctx context.Context) {
	var client *endpoint.Client
	hangUp := func() {
		if client != nil {
			_ = client.Close() // it is over either way
			client = nil
		}
	}
	defer hangUp()
	for {
		for client == nil {
			c, err := endpoint.DialTransactions(ctx, s.Addr, s.Key)
			if err == nil {
				client = c
			} else if !Sleep(ctx, redialTime) {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-client.Done():
			hangUp()
		case tx := <-s.Queue:
			if client.Send(ctx, tx.Raw) != nil {
				s.Unsent(tx.ID)
				hangUp()
			}
		}
	}
}
