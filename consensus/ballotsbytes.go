package consensus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"tutti/ledger"
)

// The bytes of a fork's vote state, little-endian:
//
//	version u8
//	voters u32 × (vote account 32 | state)      those of the epoch in its order,
//	                                            then retired ones, sorted
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

// ParseBallots reads exactly the bytes of one vote state, as Append writes
// them. stakes are those of the epoch of its block. The error is
// ErrBallotsCorrupt or names a version that this program does not know.
func ParseBallots(b []byte, stakes *Stakes) (*Ballots, error) {
	r := ballotsReader{b: b}
	if v := r.take(1)[0]; v != ballotsVersion && !r.bad {
		return nil, fmt.Errorf("vote state: version %d, know %d", v, ballotsVersion)
	}
	out := NewBallots(stakes)
	n := r.count(32 + 1)
	if n < stakes.Len() {
		return nil, ErrBallotsCorrupt
	}
	for i := range out.states {
		if r.account() != stakes.Items[i].VoteAccount {
			return nil, ErrBallotsCorrupt
		}
		out.states[i] = r.state()
	}
	for range n - stakes.Len() {
		out.retired = append(out.retired, retired{r.account(), r.state()})
	}
	blocks := r.count(8 + 4)
	if blocks > ReportsMax || !retiredFrom(stakes, out.retired) {
		return nil, ErrBallotsCorrupt
	}
	for range blocks {
		x := reports{block: ledger.Slot(r.u64())}
		made := r.count(reportLen)
		x.made = make([]accountReport, 0, made)
		for range made {
			x.made = append(x.made, accountReport{r.account(), r.report()})
		}
		out.reports = append(out.reports, x)
	}
	if r.bad || len(r.b) > 0 {
		return nil, ErrBallotsCorrupt
	}
	out.executed = out.reported()
	return out, nil
}

// retiredFrom tells whether accounts can be those that have lost their stake.
func retiredFrom(stakes *Stakes, accounts []retired) bool {
	for i, r := range accounts {
		if _, ok := stakes.Voter(r.account); ok || r.state == nil {
			return false
		}
		if i > 0 && bytes.Compare(accounts[i-1].account[:], r.account[:]) >= 0 {
			return false
		}
	}
	return true
}

// ballotsReader reads zeros once the bytes have run out.
type ballotsReader struct {
	b   []byte
	bad bool // cut short, or no vote state
}

func (r *ballotsReader) take(n int) []byte {
	if n > len(r.b) {
		r.bad = true
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
		r.bad = true
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
	if n == 0 || r.bad {
		return nil
	}
	if n > LockoutsMax {
		r.bad = true
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
	if s.wellFormed() != nil || !rising(s.lockouts) {
		r.bad = true
	}
	return s
}

// rising tells whether each lockout is of a later slot than the one before.
func rising(lockouts []ledger.Lockout) bool {
	for i := 1; i < len(lockouts); i++ {
		if lockouts[i].Slot <= lockouts[i-1].Slot {
			return false
		}
	}
	return true
}
