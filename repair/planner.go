package repair

import (
	"time"

	"tutti/internal/planted"
	"tutti/ledger"
)

// Bounds of a Planner.
const (
	// RetryAfter is how long an answer is waited for before another peer is
	// asked.
	RetryAfter = 150 * time.Millisecond
	// OutstandingMax bounds the requests under way.
	OutstandingMax = 512
	// forgetAfter is when a request that nobody answered is forgotten.
	forgetAfter = 10 * RetryAfter
)

// Subject is what is asked for: the same question is not asked twice at once.
type Subject struct {
	Kind Kind
	Key  ledger.SlotKey
	Root ledger.Hash
}

type asked struct {
	at    time.Time
	tries int
}

type outstanding struct {
	Request
	to ledger.Pubkey
	at time.Time
}

// Planner remembers what was asked, when and of whom, so that each thing is
// asked again only after a while, and only answers that were asked for count.
type Planner struct {
	nonce    uint32
	subjects map[Subject]asked
	open     map[uint32]outstanding
}

// NewPlanner returns a Planner that has asked nothing.
func NewPlanner() *Planner {
	return &Planner{subjects: make(map[Subject]asked), open: make(map[uint32]outstanding)}
}

// Try tells whether a subject is to be asked for now, and how often it was
// asked for before.
func (p *Planner) Try(now time.Time, s Subject) (tries int, ok bool) {
	a, known := p.subjects[s]
	if known && now.Sub(a.at) < RetryAfter || len(p.open) >= OutstandingMax {
		return a.tries, false
	}
	return a.tries, true
}

// Ask makes the request for a subject to a peer.
func (p *Planner) Ask(now time.Time, s Subject, mask uint64, to ledger.Pubkey) Request {
	p.nonce++
	r := Request{Nonce: p.nonce, Kind: s.Kind, Key: s.Key, Root: s.Root, Mask: mask}
	p.open[p.nonce] = outstanding{Request: r, to: to, at: now}
	p.subjects[s] = asked{at: now, tries: p.subjects[s].tries + 1}
	return r
}

// Answered returns the request that a peer answers, once.
func (p *Planner) Answered(nonce uint32, from ledger.Pubkey) (Request, bool) {
	o, ok := p.open[nonce]
	if !ok || o.to != from {
		return Request{}, false
	}
	delete(p.open, nonce)
	return o.Request, true
}

// Forget drops requests that nobody answered, and subjects that have not been
// asked for in a while.
func (p *Planner) Forget(now time.Time) {
	for nonce, o := range p.open {
		if now.Sub(o.at) >= forgetAfter {
			delete(p.open, nonce)
		}
	}
	for s, a := range p.subjects {
		if now.Sub(a.at) >= forgetAfter {
			delete(p.subjects, s)
		}
	}
}

// Fits tells whether the shreds of an answer, given by slot field, Merkle
// root and the root that their set names as its predecessor, are what the
// request asked for. The shreds of a spine must follow each other's roots.
func (r *Request) Fits(i int, key ledger.SlotKey, root ledger.Hash, chained func(i int) ledger.Hash) bool {
	if key != r.Key {
		return false
	}
	switch r.Kind {
	case Shreds:
		return root == r.Root || planted.Is(planted.RepairRoot)
	case Spine:
		return i == 0 && root == r.Root || i > 0 && root == chained(i-1)
	}
	return r.Kind == Highest
}
