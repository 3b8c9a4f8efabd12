package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"tutti/ledger"
)

// GossipKind is what a Gossip is.
type GossipKind uint8

// The kinds of gossip.
const (
	// Push carries records that are news to the sender.
	Push GossipKind = 1
	// PullRequest lists what its sender holds in a range of identities.
	PullRequest GossipKind = 2
	// PullResponse carries what the list lacks.
	PullResponse GossipKind = 3
)

// Bounds of a gossip message; it stays below 64 KiB.
const (
	GossipRecordsMax = 64
	GossipHeldMax    = 1024
	GossipSizeMax    = 64 << 10
)

// Gossip is a message about contact records.
type Gossip struct {
	Kind GossipKind
	// Records are signed records of Push and PullResponse, at most
	// GossipRecordsMax. Their signatures have been checked.
	Records []Contact
	// From and To are the range of a PullRequest, both included.
	From, To ledger.Pubkey
	// Held are all records that the sender of a PullRequest holds in the
	// range, sorted by identity, at most GossipHeldMax.
	Held []Held
}

// Held names a record.
type Held struct {
	Identity ledger.Pubkey
	Version  uint64
}

// ErrGossip is returned for bytes that are no gossip message.
var ErrGossip = errors.New("gossip")

const (
	heldSize       = 32 + 8
	contactSizeMin = ContactSizeMax - 4*AddrMax - SoftwareMax
)

// Append writes the message: kind u8; then for Push and PullResponse a count
// u8 and records, for PullRequest from, to, a count u16, and identity and
// version u64 of each record held.
func (g *Gossip) Append(b []byte) []byte {
	b = append(b, uint8(g.Kind))
	if g.Kind != PullRequest {
		b = append(b, uint8(len(g.Records)))
		for i := range g.Records {
			b = g.Records[i].Append(b)
		}
		return b
	}
	b = append(b, g.From[:]...)
	b = append(b, g.To[:]...)
	b = appendU16(b, uint16(len(g.Held)))
	for _, h := range g.Held {
		b = append(b, h.Identity[:]...)
		b = appendU64(b, h.Version)
	}
	return b
}

// ParseGossip reads exactly one message and checks the signatures of its
// records.
func ParseGossip(b []byte) (Gossip, error) {
	g, err := readGossip(b)
	for i := 0; err == nil && i < len(g.Records); i++ {
		if !g.Records[i].Verify() {
			err = fmt.Errorf("wrong signature of %v", g.Records[i].Identity)
		}
	}
	if err != nil {
		return Gossip{}, fmt.Errorf("%w: %w", ErrGossip, err)
	}
	return g, nil
}

// readGossip reads a message without checking signatures.
func readGossip(b []byte) (Gossip, error) {
	if len(b) > GossipSizeMax {
		return Gossip{}, fmt.Errorf("%d bytes, at most %d", len(b), GossipSizeMax)
	}
	r := &reader{b: b}
	g := Gossip{Kind: GossipKind(r.u8("kind"))}
	switch g.Kind {
	case Push, PullResponse:
		g.readRecords(r)
	case PullRequest:
		g.readHeld(r)
	default:
		r.fail("kind %d", g.Kind)
	}
	return g, r.done()
}

func (g *Gossip) readRecords(r *reader) {
	n := r.count(uint64(r.u8("records")), contactSizeMin, "records")
	if n > GossipRecordsMax {
		r.fail("%d records, at most %d", n, GossipRecordsMax)
	}
	for i := 0; i < n && r.err == nil; i++ {
		g.Records = append(g.Records, readContact(r))
	}
}

func (g *Gossip) readHeld(r *reader) {
	g.From, g.To = r.key("from"), r.key("to")
	n := r.count(uint64(r.u16("held")), heldSize, "held")
	if n > GossipHeldMax {
		r.fail("%d records held, at most %d", n, GossipHeldMax)
	}
	for i := 0; i < n && r.err == nil; i++ {
		h := Held{Identity: r.key("held identity"), Version: r.u64("held version")}
		if i > 0 && bytes.Compare(g.Held[i-1].Identity[:], h.Identity[:]) >= 0 {
			r.fail("records held out of order")
		}
		if !g.covers(h.Identity) {
			r.fail("record held outside the range")
		}
		g.Held = append(g.Held, h)
	}
}

// covers tells whether an identity is in the range of a PullRequest.
func (g *Gossip) covers(k ledger.Pubkey) bool {
	return bytes.Compare(g.From[:], k[:]) <= 0 && bytes.Compare(k[:], g.To[:]) <= 0
}

// find returns the place of an identity in Held.
func (g *Gossip) find(k ledger.Pubkey) (at int, ok bool) {
	return slices.BinarySearchFunc(g.Held, k, func(h Held, k ledger.Pubkey) int {
		return bytes.Compare(h.Identity[:], k[:])
	})
}
