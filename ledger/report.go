package ledger

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
)

// Report is a voter's signed statement of its BankHash, sent instead of votes
// while it does not vote (PROTOCOL section 10, case 4). Its signature covers
// the genesis hash, so that it means nothing to another cluster.
type Report struct {
	Genesis   Hash
	Account   Pubkey // vote account
	Authority Pubkey // who signs
	// At is the slot of the sender's clock. Of an account's votes and reports
	// the one with the highest slot counts.
	At        Slot
	Block     BlockRef
	BankHash  Hash
	Signature Signature
}

// ReportSize is the length of a report, in bytes.
const ReportSize = 3*32 + 8 + (8 + 32) + 32 + 64

// ErrReport is returned for bytes that are no report.
var ErrReport = errors.New("malformed report")

const reportDomain = "\xfftutti report"

// Sign sets the authority and the signature.
func (r *Report) Sign(key ed25519.PrivateKey) {
	copy(r.Authority[:], key.Public().(ed25519.PublicKey))
	copy(r.Signature[:], ed25519.Sign(key, r.Signed()))
}

// Signed returns what the authority signs: a domain string and all before the
// signature.
func (r *Report) Signed() []byte { return r.appendBody([]byte(reportDomain)) }

// Append writes the report: genesis hash, vote account, authority, slot u64,
// block slot u64 and id, BankHash, signature.
func (r *Report) Append(b []byte) []byte {
	return append(r.appendBody(b), r.Signature[:]...)
}

func (r *Report) appendBody(b []byte) []byte {
	b = append(b, r.Genesis[:]...)
	b = append(b, r.Account[:]...)
	b = append(b, r.Authority[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.At))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Block.Slot))
	b = append(b, r.Block.ID[:]...)
	return append(b, r.BankHash[:]...)
}

// ParseReport reads exactly one report. It does not check the signature.
func ParseReport(b []byte) (Report, error) {
	if len(b) != ReportSize {
		return Report{}, fmt.Errorf("%w: %d bytes", ErrReport, len(b))
	}
	return Report{
		Genesis: Hash(b[:32]), Account: Pubkey(b[32:64]), Authority: Pubkey(b[64:96]),
		At:        Slot(binary.LittleEndian.Uint64(b[96:])),
		Block:     BlockRef{Slot: Slot(binary.LittleEndian.Uint64(b[104:])), ID: Hash(b[112:144])},
		BankHash:  Hash(b[144:176]),
		Signature: Signature(b[176:]),
	}, nil
}
