package cluster

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"tutti/ledger"
)

// Restart is the record by which a cluster goes on after a halt (PROTOCOL
// section 10): a hard fork at the newest block on whose BankHash it agreed.
// Blocks after it are kept and executed again, with another BankHash.
type Restart struct {
	Genesis ledger.Hash
	// Block is the certified block, BankHash the one after it.
	Block    ledger.BlockRef
	BankHash ledger.Hash
	// ShredVersion is that of all shreds from First on.
	ShredVersion uint16
	// Count numbers the cluster's restarts from 1 on. It is mixed into the
	// first BankHash after Block.
	Count uint64
	// T0 is when tick 0 would have been due for First to be due when the
	// cluster goes on, in Unix nanoseconds.
	T0 int64
	// First is the slot with which the cluster goes on. What was signed for a
	// slot below it was signed before the restart, and says nothing about the
	// BankHash of blocks after Block.
	First ledger.Slot
	// Signatures are sorted by vote account, one of each.
	Signatures []RestartSignature
}

// RestartSignature is one validator's signature of a Restart.
type RestartSignature struct {
	Account   ledger.Pubkey // vote account
	Authority ledger.Pubkey // who signs
	Signature ledger.Signature
}

// Errors of restarts.
var (
	// ErrRestart is returned for bytes that are no Restart.
	ErrRestart = errors.New("malformed restart record")
	// ErrRestartSignature: a signature is wrong, or its signer has no stake.
	ErrRestartSignature = errors.New("restart record: bad signature")
	// ErrRestartOrder: the record does not follow those before it.
	ErrRestartOrder = errors.New("restart record out of order")
)

const (
	restartMagic         = "TUTTIRESTART\x01"
	restartDomain        = "\xfftutti restart"
	restartSignatureSize = 2*32 + 64
)

// Sign adds the signature of a vote account's authority, or replaces it.
func (r *Restart) Sign(account ledger.Pubkey, key ed25519.PrivateKey) {
	s := RestartSignature{Account: account}
	copy(s.Authority[:], key.Public().(ed25519.PublicKey))
	copy(s.Signature[:], ed25519.Sign(key, r.Signed()))
	r.add(s)
}

// Merge adds the signatures of another copy of the same record.
func (r *Restart) Merge(other *Restart) error {
	if !r.Same(other) {
		return errors.New("the restart records are not the same but for their signatures")
	}
	for _, s := range other.Signatures {
		r.add(s)
	}
	return nil
}

func (r *Restart) add(s RestartSignature) {
	at, found := slices.BinarySearchFunc(r.Signatures, s.Account, func(s RestartSignature, account ledger.Pubkey) int {
		return bytes.Compare(s.Account[:], account[:])
	})
	if found {
		r.Signatures[at] = s
		return
	}
	r.Signatures = slices.Insert(r.Signatures, at, s)
}

// Same tells whether two records differ in their signatures alone.
func (r *Restart) Same(other *Restart) bool { return bytes.Equal(r.Signed(), other.Signed()) }

// Signed returns what validators sign: a domain string and all before the
// signatures, without the magic.
func (r *Restart) Signed() []byte { return r.appendBody([]byte(restartDomain)) }

// Stake checks all signatures and returns the stake behind them. stakes are
// those of the block's epoch. More than four fifths of them are needed.
func (r *Restart) Stake(stakes *EpochStakes) (sum ledger.Lamports, err error) {
	signed := r.Signed()
	for i := range r.Signatures {
		s := &r.Signatures[i]
		v, ok := stakes.Voter(s.Account)
		switch {
		case !ok:
			return 0, fmt.Errorf("%w: vote account %v has no stake in epoch %d", ErrRestartSignature, s.Account, stakes.Epoch)
		case stakes.Items[v].Authority != s.Authority:
			return 0, fmt.Errorf("%w: vote account %v has authority %v, not %v", ErrRestartSignature, s.Account, stakes.Items[v].Authority, s.Authority)
		case !ed25519.Verify(s.Authority[:], signed, s.Signature[:]):
			return 0, fmt.Errorf("%w: of %v for vote account %v", ErrRestartSignature, s.Authority, s.Account)
		}
		sum += stakes.Items[v].Stake
	}
	return sum, nil
}

// Follows checks the record against genesis and the restarts before it, oldest
// first.
func (r *Restart) Follows(g *Genesis, before []*Restart) error {
	t0, first, block := g.T0, ledger.Slot(0), ledger.Slot(0)
	if len(before) > 0 {
		last := before[len(before)-1]
		t0, first, block = last.T0, last.First, last.Block.Slot
	}
	version := RestartVersion(g, append(slices.Clip(before), r))
	switch {
	case r.Genesis != g.Hash():
		return fmt.Errorf("%w: it is of genesis %v, not %v", ErrRestartOrder, r.Genesis, g.Hash())
	case r.Count != uint64(len(before))+1:
		return fmt.Errorf("%w: it is restart %d, the ledger has seen %d", ErrRestartOrder, r.Count, len(before))
	case r.Block.Slot < block || r.First <= first || r.First <= r.Block.Slot:
		return fmt.Errorf("%w: it goes from slot %d to %d, the one before from %d to %d", ErrRestartOrder, r.Block.Slot, r.First, block, first)
	case r.T0 < t0 || r.T0 > t0Max:
		return fmt.Errorf("%w: t0 is %d: use Unix nanoseconds from %d to %d", ErrRestartOrder, r.T0, t0, int64(t0Max))
	case r.ShredVersion != version:
		return fmt.Errorf("%w: shred version is %d, not %d", ErrRestartOrder, r.ShredVersion, version)
	}
	return nil
}

// RestartVersion returns the shred version after restarts, all since genesis
// and oldest first (FORMATS section 1).
func RestartVersion(g *Genesis, restarts []*Restart) uint16 {
	forks := make([]HardFork, len(restarts))
	for i, r := range restarts {
		forks[i] = HardFork{Slot: r.Block.Slot, Count: r.Count}
	}
	return ShredVersion(g.Hash(), forks...)
}

// VersionAt returns the shred version of shreds of a slot: that of genesis, or
// the one since a restart. These are given oldest first.
func VersionAt(genesis uint16, restarts []*Restart, slot ledger.Slot) uint16 {
	for _, r := range slices.Backward(restarts) {
		if slot >= r.First {
			return r.ShredVersion
		}
	}
	return genesis
}

// BeforeRestart tells whether a report in a vote for one slot, or signed in
// it, says nothing about a block in another, because it was signed before a
// restart from an earlier block.
func BeforeRestart(restarts []*Restart, signed, about ledger.Slot) bool {
	return slices.ContainsFunc(restarts, func(r *Restart) bool { return signed < r.First && about > r.Block.Slot })
}

// Append serialises the record, little-endian: magic, genesis hash, block's
// slot u64 and id, BankHash, shred version u16, count u64, t0 i64, first slot
// u64, number of signatures u32, and of each vote account, authority and
// signature.
func (r *Restart) Append(b []byte) []byte {
	b = r.appendBody(append(b, restartMagic...))
	b = appendU32(b, uint32(len(r.Signatures)))
	for i := range r.Signatures {
		s := &r.Signatures[i]
		b = append(append(append(b, s.Account[:]...), s.Authority[:]...), s.Signature[:]...)
	}
	return b
}

func (r *Restart) appendBody(b []byte) []byte {
	b = append(b, r.Genesis[:]...)
	b = append(appendU64(b, uint64(r.Block.Slot)), r.Block.ID[:]...)
	b = append(b, r.BankHash[:]...)
	b = appendU64(appendU16(b, r.ShredVersion), r.Count)
	return appendU64(appendU64(b, uint64(r.T0)), uint64(r.First))
}

// ParseRestart reads exactly one record. It does not check the signatures.
func ParseRestart(raw []byte) (*Restart, error) {
	b, ok := bytes.CutPrefix(raw, []byte(restartMagic))
	if !ok {
		return nil, fmt.Errorf("%w: no such record, or one of another version", ErrRestart)
	}
	r := &reader{b: b}
	x := &Restart{
		Genesis:      r.key("genesis hash"),
		Block:        ledger.BlockRef{Slot: ledger.Slot(r.u64("slot")), ID: r.key("block")},
		BankHash:     r.key("BankHash"),
		ShredVersion: r.u16("shred version"),
		Count:        r.u64("count"),
		T0:           int64(r.u64("t0")),
		First:        ledger.Slot(r.u64("first slot")),
	}
	n := r.count(uint64(r.u32("signatures")), restartSignatureSize, "signatures")
	for i := range n {
		s := RestartSignature{Account: r.key("vote account"), Authority: r.key("authority")}
		copy(s.Signature[:], r.take(64, "signature"))
		if i > 0 && bytes.Compare(x.Signatures[i-1].Account[:], s.Account[:]) >= 0 {
			r.fail("signatures out of order")
			break
		}
		x.Signatures = append(x.Signatures, s)
	}
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRestart, err)
	}
	return x, nil
}
