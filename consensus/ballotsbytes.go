package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"tutti/ledger"
)

// The bytes of a fork's vote state, little-endian:
//
//	version u8 | executed slot u64
//	voters u32 × (vote account 32 | state)      those of the epoch, then retired
//	blocks u32 × (slot u64 | reports u32 × (vote account 32 | bank slot u64 | BankHash 32))
//	state = lockouts u8 × (slot u64 | confirmations u8) | root u64, 2⁶⁴−1 for none |
//	        bank slot u64 | BankHash 32             without lockouts nothing follows
const (
	ballotsVersion = 1
	reportLen      = 32 + 8 + 32
)

// ErrBallotsCorrupt is the reason why bytes are no vote state.
var ErrBallotsCorrupt = errors.New("vote state: corrupt")

// Append appends the bytes of the vote state, from which ParseBallots makes
// one that counts every later vote alike.
func (b *Ballots) Append(dst []byte) []byte {
	dst = append(dst, ballotsVersion)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(b.executed))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(b.states)+len(b.retired)))
	for i, s := range b.states {
		account := b.stakes.Items[i].VoteAccount
		dst = s.append(append(dst, account[:]...))
	}
	for _, r := range b.retired {
		dst = r.state.append(append(dst, r.account[:]...))
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(b.reports)))
	for _, r := range b.reports {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(r.block))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.made)))
		for _, m := range r.made {
			dst = append(dst, m.account[:]...)
			dst = appendReport(dst, m.Report)
		}
	}
	return dst
}

func appendReport(dst []byte, r Report) []byte {
	return append(binary.LittleEndian.AppendUint64(dst, uint64(r.Slot)), r.Hash[:]...)
}

func (s *VoteState) append(dst []byte) []byte {
	dst = append(dst, uint8(len(s.Lockouts())))
	if s == nil {
		return dst
	}
	for _, l := range s.lockouts {
		dst = append(binary.LittleEndian.AppendUint64(dst, uint64(l.Slot)), l.Confirmations)
	}
	root := uint64(math.MaxUint64)
	if s.hasRoot {
		root = uint64(s.root)
	}
	return appendReport(binary.LittleEndian.AppendUint64(dst, root), s.report)
}

// ParseBallots reads exactly the bytes of one vote state. stakes are those of
// the epoch of its block; voters without stake in it are retired.
func ParseBallots(b []byte, stakes *Stakes) (*Ballots, error) {
	r := ballotsReader{b: b}
	if v := r.take(1)[0]; v != ballotsVersion {
		return nil, fmt.Errorf("vote state: version %d is not known", v)
	}
	out := NewBallots(stakes)
	out.executed = ledger.Slot(r.u64())
	for range r.count(32 + 1) {
		account := r.account()
		state := r.state()
		if i, ok := stakes.Voter(account); ok {
			out.states[i] = state
		} else if state != nil {
			out.retired = append(out.retired, retired{account, state})
		}
	}
	blocks := r.count(8 + 4)
	if blocks > ReportsMax {
		return nil, ErrBallotsCorrupt
	}
	for range blocks {
		x := reports{block: ledger.Slot(r.u64())}
		for range r.count(reportLen) {
			x.made = append(x.made, accountReport{r.account(), r.report()})
		}
		out.reports = append(out.reports, x)
	}
	if r.short || len(r.b) > 0 {
		return nil, ErrBallotsCorrupt
	}
	return out, nil
}

// ballotsReader reads zeros once the bytes have run out.
type ballotsReader struct {
	b     []byte
	short bool
}

func (r *ballotsReader) take(n int) []byte {
	if n > len(r.b) {
		r.short = true
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

// count reads the length of a list whose items have size bytes at least.
func (r *ballotsReader) count(size int) int {
	n := int(binary.LittleEndian.Uint32(r.take(4)))
	if n > len(r.b)/size {
		r.short = true
		return 0
	}
	return n
}

func (r *ballotsReader) u64() uint64            { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *ballotsReader) account() ledger.Pubkey { return ledger.Pubkey(r.take(32)) }

func (r *ballotsReader) report() Report {
	return Report{Slot: ledger.Slot(r.u64()), Hash: ledger.Hash(r.take(32))}
}

func (r *ballotsReader) state() *VoteState {
	n := int(r.take(1)[0])
	if n == 0 || r.short {
		return nil
	}
	if n > LockoutsMax {
		r.short = true
		return nil
	}
	s := &VoteState{}
	for range n {
		s.lockouts = append(s.lockouts, ledger.Lockout{Slot: ledger.Slot(r.u64()), Confirmations: r.take(1)[0]})
	}
	if root := r.u64(); root != math.MaxUint64 {
		s.root, s.hasRoot = ledger.Slot(root), true
	}
	s.report = r.report()
	return s
}
