package endpoint

import "sync/atomic"

// Reason says why traffic or a connection was dropped or refused.
type Reason uint8

// Reasons for which traffic is dropped or refused.
const (
	OutboxFull       Reason = iota // a peer's outbox was full
	FrameStale                     // waited too long in an outbox
	Unreachable                    // no connection to the peer, and dialing it failed
	UnknownPeer                    // no address and no connection
	PeersFull                      // the table of peers is full
	WriteFailed                    // the connection broke or stalled while a batch was written
	FrameTooLong                   // a frame or a batch over its limit
	StreamCut                      // a stream that ended inside a frame or took too long
	TooManyFrames                  // more frames a second than a peer without stake may send
	TooManyFromKey                 // more connections of one identity than allowed
	TooManyFromIP                  // more connections of one address than allowed
	TooManyInAll                   // connection tables full
	BadIdentity                    // no single Ed25519 certificate
	BadTransaction                 // a client's stream that was empty or over a transaction's size
	ConnectionPruned               // the oldest connection without stake made room
	reasons
)

var reasonNames = [reasons]string{
	"outbox full", "stale", "unreachable", "unknown peer", "peers full", "write failed",
	"frame too long", "stream cut", "too many frames", "too many of one key",
	"too many of one address", "too many in all", "bad identity", "bad transaction",
	"pruned",
}

// String returns the reason in words.
func (r Reason) String() string { return reasonNames[r] }

// Reasons returns every Reason, for those who export the counters.
func Reasons() []Reason {
	all := make([]Reason, reasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// Stats counts what an endpoint did. All of it may be read at any time.
type Stats struct {
	FramesSent, BytesSent         atomic.Uint64
	FramesReceived, BytesReceived atomic.Uint64
	BatchesSent                   atomic.Uint64
	Transactions                  atomic.Uint64 // from clients
	Dialed, DialsFailed           atomic.Uint64
	Accepted                      atomic.Uint64 // connections
	Connections                   atomic.Int64  // open now, both directions
	Peers                         atomic.Int64  // known now
	refused                       [reasons]atomic.Uint64
}

// Refused returns how often traffic was dropped or refused for that reason.
func (s *Stats) Refused(r Reason) uint64 { return s.refused[r].Load() }

func (s *Stats) refuse(r Reason) { s.refused[r].Add(1) }
