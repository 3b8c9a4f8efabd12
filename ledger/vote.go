package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

const (
	// voteTag is our vote's tag in the Vote program (PROTOCOL section 7).
	voteTag = 64
	// VoteExtensionMax is the longest extension with which a vote counts.
	VoteExtensionMax = 128
	// VoteLockoutsKept is how many lockouts of a vote are kept, the newest: one
	// more than a tower has, so that too many are seen to be too many.
	VoteLockoutsKept = 32

	// noRoot stands for no root in a TowerSync.
	noRoot = math.MaxUint64
)

// ErrVote: a transaction is not a vote, as PROTOCOL section 5 defines one.
var ErrVote = errors.New("ledger: not a vote")

// Lockout is one vote of a tower: 2^Confirmations slots long.
type Lockout struct {
	Slot          Slot
	Confirmations uint8
}

// Vote is a validator's tower after a vote, the block that it voted for, and
// the newest BankHash that it has computed on that fork (PROTOCOL section 7).
type Vote struct {
	Account   Pubkey
	Authority Pubkey
	HasRoot   bool
	Root      Slot
	// Lockouts are oldest first, as they stand: whether they make a tower is
	// for consensus to say. Invariant: at least one; slots do not fall, and
	// are not below the root. Of a vote that was read there are at most
	// VoteLockoutsKept, the newest.
	Lockouts []Lockout
	// Block is the block voted for. Invariant: its slot is the last lockout's.
	Block        BlockRef
	HasTimestamp bool
	Timestamp    int64
	BankSlot     Slot
	BankHash     Hash
	Extension    []byte
}

// Message returns the vote as a legacy message that its authority signs and
// pays. The blockhash only makes it a transaction: nothing reads it.
func (v *Vote) Message(blockhash Hash) Message {
	return NewMessage(v.Authority, blockhash, Call{
		Program: VoteProgram,
		Accounts: []AccountMeta{
			{Key: v.Account, Writable: true},
			{Key: v.Authority, Signer: true},
		},
		Data: v.appendData(nil),
	})
}

func (v *Vote) appendData(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, voteTag)
	root, previous := uint64(noRoot), Slot(0)
	if v.HasRoot {
		root, previous = uint64(v.Root), v.Root
	}
	dst = binary.LittleEndian.AppendUint64(dst, root)
	dst = AppendCompactU16(dst, len(v.Lockouts))
	for _, l := range v.Lockouts {
		dst = binary.AppendUvarint(dst, uint64(l.Slot-previous))
		dst = append(dst, l.Confirmations)
		previous = l.Slot
	}
	dst = append(dst, v.Block.ID[:]...)
	if v.HasTimestamp {
		dst = append(dst, 1)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v.Timestamp))
	} else {
		dst = append(dst, 0)
	}
	dst = append(dst, v.Block.ID[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(v.BankSlot))
	dst = append(dst, v.BankHash[:]...)
	dst = AppendCompactU16(dst, len(v.Extension))
	return append(dst, v.Extension...)
}

// ParseVote reads a transaction as a vote: legacy, sanitised, exactly one
// instruction, of the Vote program with tag 64, on two accounts of which the
// second signs (PROTOCOL section 5). Who pays is not looked at. Every failure
// wraps ErrVote. The vote's Extension aliases the transaction.
func ParseVote(t *Transaction) (Vote, error) {
	if !t.isLegacy() || t.NumInstructions() != 1 {
		return Vote{}, fmt.Errorf("version %d, %d instructions: %w", t.Version(), t.NumInstructions(), ErrVote)
	}
	if err := t.Sanitize(); err != nil {
		return Vote{}, fmt.Errorf("%w: %w", ErrVote, err)
	}
	var in Instruction
	for _, in = range t.Instructions() {
	}
	if t.Key(int(in.Program)) != VoteProgram {
		return Vote{}, fmt.Errorf("program: %w", ErrVote)
	}
	if len(in.Accounts) != 2 || !t.IsSigner(int(in.Accounts[1])) {
		return Vote{}, fmt.Errorf("accounts: %w", ErrVote)
	}
	v := Vote{Account: t.Key(int(in.Accounts[0])), Authority: t.Key(int(in.Accounts[1]))}
	if err := v.parseData(in.Data); err != nil {
		return Vote{}, fmt.Errorf("%w: %w", ErrVote, err)
	}
	return v, nil
}

func (v *Vote) parseData(data []byte) error {
	r := reader{b: data}
	if tag := r.u32(); tag != voteTag {
		r.fail(ErrEncoding)
	}
	slot := uint64(0)
	if root := r.u64(); root != noRoot {
		v.HasRoot, v.Root, slot = true, Slot(root), root
	}
	n := r.compactU16()
	if n == 0 || n > len(r.b)/2 {
		r.fail(ErrEncoding)
		return r.err
	}
	// Two bytes of input can be a lockout of 16: those of which there cannot
	// be so many are only walked over.
	v.Lockouts = make([]Lockout, 0, min(n, VoteLockoutsKept))
	for i := range n {
		offset := r.varint()
		if slot+offset < slot {
			r.fail(ErrEncoding)
		}
		slot += offset
		l := Lockout{Slot: Slot(slot), Confirmations: r.u8()}
		if i >= n-VoteLockoutsKept {
			v.Lockouts = append(v.Lockouts, l)
		}
	}
	v.Block = BlockRef{Slot: Slot(slot), ID: r.hash()}
	switch r.u8() {
	case 0:
	case 1:
		v.HasTimestamp, v.Timestamp = true, int64(r.u64())
	default:
		r.fail(ErrEncoding)
	}
	if r.hash() != v.Block.ID {
		r.fail(ErrEncoding)
	}
	v.BankSlot = Slot(r.u64())
	v.BankHash = r.hash()
	v.Extension = r.take(r.compactU16())
	return r.end()
}
