package cluster

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"tutti/ledger"
)

const (
	// ContactsMax bounds the table of contacts.
	ContactsMax     = 16_384
	newsMax         = 1_024
	pushPeers       = 6
	contactAheadMax = 10 * time.Minute
	// ContactAge is after which time without a newer record the contact of a
	// node without stake is forgotten. Nodes renew their records well before.
	ContactAge = 15 * time.Minute
)

// Reasons why Contacts does not take a record.
var (
	ErrOtherCluster = errors.New("contact record of another genesis")
	ErrOtherVersion = errors.New("contact record of another shred version")
	ErrFromFuture   = errors.New("contact record is more than 10 minutes ahead of the clock")
	ErrStale        = errors.New("contact record is too old")
	ErrTableFull    = errors.New("contact table is full")
)

// lastKey ends the last range of identities.
var lastKey = ledger.Pubkey(bytes.Repeat([]byte{0xff}, 32))

// Contacts is the table of contact records of a cluster, and the gossip that
// spreads it: news is pushed to a few peers at once, and what pushes missed
// is pulled range by range. One goroutine owns it.
type Contacts struct {
	own     Contact
	records map[ledger.Pubkey]Contact // without own
	order   []ledger.Pubkey           // the keys of records, sorted
	staked  map[ledger.Pubkey]bool
	news    []ledger.Pubkey // records to push, oldest first
	cursor  ledger.Pubkey   // where the next pull's range begins
}

// NewContacts returns a table that holds only the node's own signed record,
// which also says to which cluster all others must belong.
func NewContacts(own Contact) *Contacts {
	c := &Contacts{records: make(map[ledger.Pubkey]Contact), staked: make(map[ledger.Pubkey]bool)}
	c.SetOwn(own)
	return c
}

// SetOwn replaces the own record by a newer one, and makes it news.
func (c *Contacts) SetOwn(own Contact) {
	c.own = own
	c.addNews(own.Identity)
}

// SetStaked says which nodes have stake: they have a place in a full table,
// do not age, and are preferred as peers.
func (c *Contacts) SetStaked(nodes []Node) {
	clear(c.staked)
	for _, n := range nodes {
		c.staked[n.Key] = true
	}
}

// Len returns the number of records, the own one not counted.
func (c *Contacts) Len() int { return len(c.order) }

// Insert takes a record whose signature has been checked, as those of
// ParseGossip. It tells whether the record is new to the
// table; an older or equal one, and one of the own identity, is not. The
// error says why a record is not acceptable.
func (c *Contacts) Insert(r Contact, now time.Time) (fresh bool, err error) {
	if r.Genesis != c.own.Genesis {
		return false, ErrOtherCluster
	}
	if r.ShredVersion != c.own.ShredVersion {
		return false, ErrOtherVersion
	}
	if r.Version > millis(now.Add(contactAheadMax)) {
		return false, ErrFromFuture
	}
	old, known := c.records[r.Identity]
	if r.Identity == c.own.Identity || known && r.Version <= old.Version {
		return false, nil
	}
	if c.aged(r, now) {
		return false, ErrStale
	}
	if !known {
		if err := c.makeRoom(r.Identity); err != nil {
			return false, err
		}
		at, _ := c.find(r.Identity)
		c.order = slices.Insert(c.order, at, r.Identity)
	}
	c.records[r.Identity] = r
	c.addNews(r.Identity)
	return true, nil
}

// makeRoom refuses a newcomer without stake to a full table; for one with
// stake the record without stake that is oldest goes.
func (c *Contacts) makeRoom(newcomer ledger.Pubkey) error {
	if len(c.order) < ContactsMax {
		return nil
	}
	if !c.staked[newcomer] {
		return ErrTableFull
	}
	oldest, at := uint64(math.MaxUint64), -1
	for i, k := range c.order {
		if v := c.records[k].Version; !c.staked[k] && v < oldest {
			oldest, at = v, i
		}
	}
	if at < 0 {
		return ErrTableFull
	}
	delete(c.records, c.order[at])
	c.order = slices.Delete(c.order, at, at+1)
	return nil
}

// Expire forgets nodes without stake whose record has aged, and returns them
// sorted.
func (c *Contacts) Expire(now time.Time) (forgotten []ledger.Pubkey) {
	c.order = slices.DeleteFunc(c.order, func(k ledger.Pubkey) bool {
		if !c.aged(c.records[k], now) {
			return false
		}
		delete(c.records, k)
		forgotten = append(forgotten, k)
		return true
	})
	return forgotten
}

func (c *Contacts) aged(r Contact, now time.Time) bool {
	return !c.staked[r.Identity] && r.Version < millis(now.Add(-ContactAge))
}

func (c *Contacts) addNews(k ledger.Pubkey) {
	if slices.Contains(c.news, k) {
		return
	}
	if len(c.news) == newsMax { // the oldest news is left to pulls
		c.news = slices.Delete(c.news, 0, 1)
	}
	c.news = append(c.news, k)
}

// Push takes the oldest news and says to whom it goes: each record is pushed
// once, to a few peers, which push it on. There is nothing to do if to is
// empty.
func (c *Contacts) Push(rng *rand.Rand) (to []ledger.Pubkey, g Gossip) {
	if len(c.news) == 0 || len(c.order) == 0 {
		return nil, Gossip{}
	}
	g.Kind = Push
	n := min(len(c.news), GossipRecordsMax)
	for _, k := range c.news[:n] {
		if k == c.own.Identity {
			g.Records = append(g.Records, c.own)
		} else if r, ok := c.records[k]; ok {
			g.Records = append(g.Records, r)
		}
	}
	c.news = slices.Delete(c.news, 0, n)
	if len(g.Records) == 0 {
		return nil, Gossip{}
	}
	return c.peers(rng, pushPeers), g
}

// Greeting is what a newly met peer is sent first: the own record.
func (c *Contacts) Greeting() Gossip {
	return Gossip{Kind: Push, Records: []Contact{c.own}}
}

// Pull asks for what is missing in the next range of identities, and says
// whom: a random peer, none if to is empty. The ranges of successive calls go
// round the whole table.
func (c *Contacts) Pull(rng *rand.Rand) (to []ledger.Pubkey, g Gossip) {
	g = Gossip{Kind: PullRequest, From: c.cursor, To: lastKey}
	from, _ := c.find(c.cursor)
	keys := c.order[from:]
	c.cursor = ledger.Pubkey{}
	if most := GossipHeldMax - 1; len(keys) > most { // one place is for the own record
		keys = keys[:most]
		g.To = keys[most-1]
		c.cursor = g.To // ranges overlap by one, so that nothing is between them
	}
	for _, k := range keys {
		g.Held = append(g.Held, Held{Identity: k, Version: c.records[k].Version})
	}
	if at, _ := g.find(c.own.Identity); g.covers(c.own.Identity) {
		g.Held = slices.Insert(g.Held, at, Held{Identity: c.own.Identity, Version: c.own.Version})
	}
	return c.peers(rng, 1), g
}

// Answer returns the records that a PullRequest lacks, at most
// GossipRecordsMax; ok is false if it lacks none.
func (c *Contacts) Answer(request Gossip) (response Gossip, ok bool) {
	response.Kind = PullResponse
	offer := func(r Contact) {
		at, held := request.find(r.Identity)
		if len(response.Records) < GossipRecordsMax && (!held || request.Held[at].Version < r.Version) {
			response.Records = append(response.Records, r)
		}
	}
	if request.covers(c.own.Identity) {
		offer(c.own)
	}
	from, _ := c.find(request.From)
	for _, k := range c.order[from:] {
		if !request.covers(k) {
			break
		}
		offer(c.records[k])
	}
	return response, len(response.Records) > 0
}

// Apply inserts the records of a Push or a PullResponse and returns those
// that were new. The error is the first one that Insert returned; the other
// records are taken all the same.
func (c *Contacts) Apply(g Gossip, now time.Time) (fresh []Contact, err error) {
	for _, r := range g.Records {
		ok, e := c.Insert(r, now)
		if ok {
			fresh = append(fresh, r)
		}
		if err == nil {
			err = e
		}
	}
	return fresh, err
}

// peers returns up to n different random nodes. Every other draw is among
// those with stake, so that nodes without it cannot crowd them out.
func (c *Contacts) peers(rng *rand.Rand, n int) (out []ledger.Pubkey) {
	var staked []ledger.Pubkey
	for _, k := range c.order {
		if c.staked[k] {
			staked = append(staked, k)
		}
	}
	for i := 0; i < n && len(c.order) > 0; i++ {
		from := c.order
		if i%2 == 0 && len(staked) > 0 {
			from = staked
		}
		if k := from[rng.IntN(len(from))]; !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

func (c *Contacts) find(k ledger.Pubkey) (at int, ok bool) {
	return slices.BinarySearchFunc(c.order, k, func(a, b ledger.Pubkey) int { return bytes.Compare(a[:], b[:]) })
}

// millis returns Unix milliseconds, 0 for times before 1970.
func millis(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 0)) }
