package node

import (
	"encoding/binary"
	"errors"
	"fmt"

	"tutti/bank"
	"tutti/cluster"
	"tutti/consensus"
	"tutti/ledger"
	"tutti/repair"
	"tutti/shred"
)

// Message is what one node sends to another. Each is one frame: a kind byte
// and a body. See EncodeMessage and DecodeMessage.
type Message interface{ isMessage() }

// ShredMessage is a shred on its way through Turbine.
type ShredMessage struct {
	Shred shred.Shred
	// Root is the Merkle root that the shred's proof leads to. DecodeMessage
	// computes it; it is not sent.
	Root ledger.Hash
}

// VoteMessage is a vote transaction whose signatures have been checked.
type VoteMessage struct {
	Tx   ledger.Transaction
	Vote ledger.Vote
}

// TransactionMessage is a client's transaction that its receiver forwards to
// a proposer.
type TransactionMessage struct{ Tx ledger.Transaction }

// RepairRequest asks for shreds.
type RepairRequest struct{ repair.Request }

// RepairResponse answers a RepairRequest; Shreds and Roots are parallel.
type RepairResponse struct {
	Nonce  uint32
	Shreds []ShredMessage
}

// GossipMessage carries contact records.
type GossipMessage struct{ cluster.Gossip }

// EvidenceMessage is a proof of equivocation: two shreds of one set index
// under one key with different roots.
type EvidenceMessage struct{ A, B ShredMessage }

// ReportMessage is the signed BankHash of a voter that has stopped voting; its
// signature has been checked.
type ReportMessage struct{ ledger.Report }

// LinksRequest asks for the links of a BankHash and of those before it: what
// they are made of.
type LinksRequest struct{ consensus.Value }

// LinksResponse answers a LinksRequest, newest link first. They prove
// themselves: the first hashes to the value, each names the hash of the next.
type LinksResponse struct {
	consensus.Value
	Links []bank.Link
}

func (ReportMessage) isMessage()      {}
func (LinksRequest) isMessage()       {}
func (LinksResponse) isMessage()      {}
func (ShredMessage) isMessage()       {}
func (VoteMessage) isMessage()        {}
func (TransactionMessage) isMessage() {}
func (RepairRequest) isMessage()      {}
func (RepairResponse) isMessage()     {}
func (GossipMessage) isMessage()      {}
func (EvidenceMessage) isMessage()    {}

const (
	kindShred byte = 1 + iota
	kindVote
	kindTransaction
	kindRepairRequest
	kindRepairResponse
	kindGossip
	kindEvidence
	kindReport
	kindLinksRequest
	kindLinksResponse
)

// linksMax bounds the links of one answer.
const linksMax = 64

// MessageSizeMax bounds a frame: a repair answer of the longest spine.
const MessageSizeMax = 7 + repair.ShredsMax*(2+shred.CodeSize)

// ErrMessage is returned for bytes that are no message.
var ErrMessage = errors.New("malformed message")

// EncodeMessage appends the frame of m to b.
func EncodeMessage(b []byte, m Message) []byte {
	switch m := m.(type) {
	case ShredMessage:
		return append(append(b, kindShred), m.Shred.Raw()...)
	case VoteMessage:
		return append(append(b, kindVote), m.Tx.Raw()...)
	case TransactionMessage:
		return append(append(b, kindTransaction), m.Tx.Raw()...)
	case RepairRequest:
		return m.Append(append(b, kindRepairRequest))
	case RepairResponse:
		r := repair.Response{Nonce: m.Nonce, Shreds: make([][]byte, len(m.Shreds))}
		for i := range m.Shreds {
			r.Shreds[i] = m.Shreds[i].Shred.Raw()
		}
		return r.Append(append(b, kindRepairResponse))
	case GossipMessage:
		return m.Append(append(b, kindGossip))
	case EvidenceMessage:
		b = append(b, kindEvidence)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(m.A.Shred.Raw())))
		b = append(b, m.A.Shred.Raw()...)
		return append(b, m.B.Shred.Raw()...)
	case ReportMessage:
		return m.Append(append(b, kindReport))
	case LinksRequest:
		return appendValue(append(b, kindLinksRequest), m.Value)
	case LinksResponse:
		b = append(appendValue(append(b, kindLinksResponse), m.Value), byte(len(m.Links)))
		for i := range m.Links {
			b = m.Links[i].Append(b)
		}
		return b
	}
	panic(fmt.Sprintf("node: message of unknown type %T", m))
}

// DecodeMessage reads one frame and does the checks that need no state:
// shreds have a sound proof, transactions sanitise and are signed. The
// message aliases b.
func (d *Decoder) DecodeMessage(b []byte) (Message, error) {
	if len(b) == 0 || len(b) > MessageSizeMax {
		return nil, fmt.Errorf("%w: %d bytes", ErrMessage, len(b))
	}
	body := b[1:]
	switch b[0] {
	case kindShred:
		return d.decodeShred(body)
	case kindVote:
		tx, err := d.transaction(body)
		if err != nil {
			return nil, err
		}
		v, err := ledger.ParseVote(&tx)
		if err != nil {
			return nil, err
		}
		return VoteMessage{Tx: tx, Vote: v}, nil
	case kindTransaction:
		tx, err := d.transaction(body)
		return TransactionMessage{Tx: tx}, err
	case kindRepairRequest:
		r, err := repair.ParseRequest(body)
		return RepairRequest{r}, err
	case kindRepairResponse:
		r, err := repair.ParseResponse(body)
		if err != nil {
			return nil, err
		}
		out := RepairResponse{Nonce: r.Nonce, Shreds: make([]ShredMessage, len(r.Shreds))}
		for i, raw := range r.Shreds {
			if out.Shreds[i], err = d.decodeShred(raw); err != nil {
				return nil, err
			}
		}
		return out, nil
	case kindGossip:
		g, err := cluster.ParseGossip(body)
		return GossipMessage{g}, err
	case kindEvidence:
		if len(body) < 2 {
			return nil, fmt.Errorf("%w: evidence cut short", ErrMessage)
		}
		n := int(binary.LittleEndian.Uint16(body))
		if len(body) < 2+n {
			return nil, fmt.Errorf("%w: evidence cut short", ErrMessage)
		}
		first, err := d.decodeShred(body[2 : 2+n])
		if err != nil {
			return nil, err
		}
		second, err := d.decodeShred(body[2+n:])
		return EvidenceMessage{A: first, B: second}, err
	case kindReport:
		r, err := ledger.ParseReport(body)
		if err == nil && !d.Rule.Verify(r.Authority[:], r.Signed(), r.Signature[:]) {
			err = fmt.Errorf("%w: signature of a report", ErrMessage)
		}
		return ReportMessage{r}, err
	case kindLinksRequest:
		if len(body) != valueSize {
			return nil, fmt.Errorf("%w: request for links", ErrMessage)
		}
		return LinksRequest{parseValue(body)}, nil
	case kindLinksResponse:
		return decodeLinks(body)
	}
	return nil, fmt.Errorf("%w: kind %d", ErrMessage, b[0])
}

func (d *Decoder) decodeShred(b []byte) (ShredMessage, error) {
	s, err := shred.Parse(b)
	if err != nil {
		return ShredMessage{}, err
	}
	root, err := d.Proofs.Root(&s)
	return ShredMessage{Shred: s, Root: root}, err
}

const valueSize = 8 + 32 + 32

func appendValue(b []byte, v consensus.Value) []byte {
	return append(appendRef(b, v.Block), v.Hash[:]...)
}

func parseValue(b []byte) consensus.Value {
	return consensus.Value{
		Block: ledger.BlockRef{Slot: ledger.Slot(binary.LittleEndian.Uint64(b)), ID: ledger.Hash(b[8:40])},
		Hash:  ledger.Hash(b[40:valueSize]),
	}
}

// decodeLinks reads an answer and checks that its links prove themselves.
func decodeLinks(b []byte) (Message, error) {
	n := 0
	if len(b) > valueSize {
		n = int(b[valueSize])
	}
	if n < 1 || n > linksMax || len(b) != valueSize+1+n*bank.LinkSize {
		return nil, fmt.Errorf("%w: links of %d bytes", ErrMessage, len(b))
	}
	m := LinksResponse{Value: parseValue(b), Links: make([]bank.Link, n)}
	hash := m.Hash
	for i := range m.Links {
		l := bank.ParseLink(b[valueSize+1+i*bank.LinkSize:])
		if l.BankHash() != hash {
			return nil, fmt.Errorf("%w: link of another BankHash", ErrMessage)
		}
		m.Links[i], hash = l, l.Parent
	}
	return m, nil
}
