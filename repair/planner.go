package repair

import (
	"time"

	"tutti/internal/planted"
	"tutti/ledger"
)

// Bounds of a Planner.
const (
	// RetryAfter is how long an answer is waited for before another peer is
	// asked, the first few times.
	RetryAfter = 150 * time.Millisecond
	// OutstandingMax bounds the requests under way. What was asked for before is
	// asked for again only while not half of them are.
	OutstandingMax = 512
	// TriesMax is how often a subject is asked for in a row; after that perhaps
	// nobody has it, and while more than fewOutstanding requests are under way
	// the wait doubles each time, up to retryMax.
	TriesMax       = 4
	fewOutstanding = OutstandingMax / 8
	retryMax       = 4 * RetryAfter
	// forgetAfter is when a request that nobody answered is forgotten, and
	// subjectAge when a subject is that was not asked for any more.
	forgetAfter = 10 * RetryAfter
	subjectAge  = 10 * retryMax
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

// wait returns how long it is to the next try.
func (a asked) wait() time.Duration {
	if a.tries < TriesMax {
		return RetryAfter
	}
	return min(RetryAfter<<min(a.tries-TriesMax+1, 10), retryMax)
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
	most := OutstandingMax
	if known {
		most /= 2
	}
	wait := RetryAfter
	if len(p.open) > fewOutstanding {
		wait = a.wait()
	}
	return a.tries, len(p.open) < most && (!known || now.Sub(a.at) >= wait)
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

// Outstanding returns how many requests are under way.
func (p *Planner) Outstanding() int { return len(p.open) }

// Forget drops requests that nobody answered, and subjects that have not been
// asked for in a while.
func (p *Planner) Forget(now time.Time) {
	for nonce, o := range p.open {
		if now.Sub(o.at) >= forgetAfter {
			delete(p.open, nonce)
		}
	}
	for s, a := range p.subjects {
		if now.Sub(a.at) >= subjectAge {
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
