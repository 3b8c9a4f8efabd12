package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/zeebo/blake3"
)

// Bounds of a transaction (FORMATS sections 1 and 10).
const (
	// TransactionMax is the most bytes that a transaction may take.
	TransactionMax = 1232
	// TransactionMin is the least: no signature, no key, no instruction.
	// Parsers bound their allocations with it.
	TransactionMin = 38
	// LocksMax is the most accounts that a transaction may load.
	LocksMax = 64
)

// Versions of transactions that are not taken.
var (
	// ErrVersion1: the transaction has the version 1 format (SIMD-0385), which
	// this ledger does not take yet.
	ErrVersion1 = errors.New("ledger: version 1 transactions are not supported")
	// ErrVersion: the transaction has a version that is not known.
	ErrVersion = errors.New("ledger: unknown transaction version")
)

// Transaction is a view of one transaction's wire bytes: the bytes and where
// its parts begin (FORMATS section 1). Only ParseTransaction and
// ParseEntries make one, so all its offsets are inside the bytes; the
// fields themselves mean nothing before Sanitize. It aliases the bytes that it
// was parsed from, which must not change; parsing and reading it allocate
// nothing.
type Transaction struct {
	raw []byte
	// Offsets in raw. The signatures begin at 1 and the static keys at
	// header+4: neither count can need two bytes within TransactionMax.
	header       uint16
	instructions uint16
	lookups      uint16

	numInstructions   uint16
	numLookupWritable uint16
	numLookupReadonly uint16
	numSignatures     uint8
	numKeys           uint8
	numLookups        uint8
}

// Instruction is one call of a program. Program and Accounts are indices
// into the transaction's keys: the static ones, then the writable and then the
// readonly ones from lookup tables.
type Instruction struct {
	Program  uint8
	Accounts []byte
	Data     []byte
}

// Lookup names accounts by their indices in an address lookup table.
type Lookup struct {
	Table    Pubkey
	Writable []byte
	Readonly []byte
}

// ParseTransaction reads b as exactly one transaction.
func ParseTransaction(b []byte) (t Transaction, err error) {
	n, err := t.parse(b)
	if err == nil && n != len(b) {
		t, err = Transaction{}, ErrTrailing
		if len(b) > TransactionMax {
			err = ErrTooLarge
		}
	}
	return t, err
}

// parse makes t the transaction that b begins with and returns its length.
func (t *Transaction) parse(b []byte) (int, error) {
	n, err := t.index(b[:min(len(b), TransactionMax)])
	if err != nil {
		if err == ErrTruncated && len(b) > TransactionMax {
			err = ErrTooLarge
		}
		*t = Transaction{}
		return 0, err
	}
	t.raw = b[:n:n]
	return n, nil
}

// index finds the parts of the transaction at the front of b, at most
// TransactionMax bytes, and returns its length.
func (t *Transaction) index(b []byte) (int, error) {
	if len(b) < TransactionMin {
		if len(b) > 0 && b[0] == 0x81 {
			return 0, ErrVersion1
		}
		return 0, ErrTruncated
	}
	if b[0] >= 0x80 {
		// As a count of signatures it would not fit; newer versions begin
		// with a version byte.
		return 0, versionError(b[0])
	}
	t.numSignatures = b[0]
	at := 1 + 64*int(b[0])
	if at >= len(b) {
		return 0, ErrTruncated
	}
	versioned := b[at] >= 0x80
	if versioned {
		if b[at] != 0x80 {
			return 0, versionError(b[at])
		}
		at++
	}
	t.header = uint16(at)

	n, at := compactU16(b, at+3)
	at += 32*n + 32
	if at >= len(b) {
		return 0, offsetError(at)
	}
	t.numKeys = uint8(n)

	n, at = compactU16(b, at)
	t.numInstructions, t.instructions = uint16(n), uint16(at)
	for ; n > 0 && at < len(b); n-- {
		var size int
		size, at = compactU16(b, at+1)
		size, at = compactU16(b, at+size)
		at += size
	}
	if n > 0 || at > len(b) {
		return 0, offsetError(at)
	}
	if versioned {
		return t.indexLookups(b, at)
	}
	return at, nil
}

// indexLookups is the part of index that only version 0 has.
func (t *Transaction) indexLookups(b []byte, at int) (int, error) {
	n, at := compactU16(b, at)
	t.numLookups, t.lookups = uint8(n), uint16(at)
	for ; n > 0 && at < len(b); n-- {
		var size int
		size, at = compactU16(b, at+32)
		t.numLookupWritable += uint16(size)
		size, at = compactU16(b, at+size)
		t.numLookupReadonly += uint16(size)
		at += size
	}
	if n > 0 || at > len(b) {
		return 0, offsetError(at)
	}
	return at, nil
}

func versionError(b byte) error {
	if b == 0x81 {
		return ErrVersion1
	}
	return ErrVersion
}

// Raw returns the transaction's wire bytes, which must not be changed.
func (t *Transaction) Raw() []byte { return t.raw }

// Message returns the bytes that are signed, version byte included.
func (t *Transaction) Message() []byte { return t.raw[1+64*int(t.numSignatures):] }

// MessageHash names the transaction: BLAKE3 of "solana-tx-message-v1" and the
// message, as Agave has it.
func (t *Transaction) MessageHash() Hash {
	const domain = "solana-tx-message-v1"
	var buf [len(domain) + TransactionMax]byte
	n := copy(buf[:], domain)
	n += copy(buf[n:], t.Message())
	return blake3.Sum256(buf[:n])
}

// Version returns 0, or -1 for a legacy transaction.
func (t *Transaction) Version() int {
	if t.isLegacy() {
		return -1
	}
	return 0
}

func (t *Transaction) isLegacy() bool {
	return int(t.header) == 1+64*int(t.numSignatures)
}

// NumSignatures returns how many signatures the transaction carries.
func (t *Transaction) NumSignatures() int { return int(t.numSignatures) }

// Signature returns signature i, which is by key i. The first is what
// clients call the transaction's signature.
func (t *Transaction) Signature(i int) Signature {
	return Signature(t.SignatureBytes(i))
}

// SignatureBytes is Signature without a copy.
func (t *Transaction) SignatureBytes(i int) []byte {
	return t.raw[1+64*i : 1+64*t.checked(i, t.NumSignatures())+64]
}

// NumRequiredSignatures returns how many of the first static keys sign.
func (t *Transaction) NumRequiredSignatures() int { return int(t.raw[t.header]) }

// NumReadonlySigned returns how many of the signing keys, the last of them,
// are read only.
func (t *Transaction) NumReadonlySigned() int { return int(t.raw[t.header+1]) }

// NumReadonlyUnsigned returns how many of the static keys that do not sign,
// the last of them, are read only.
func (t *Transaction) NumReadonlyUnsigned() int { return int(t.raw[t.header+2]) }

// NumKeys returns the number of static keys.
func (t *Transaction) NumKeys() int { return int(t.numKeys) }

// Key returns static key i; key 0 pays the fees.
func (t *Transaction) Key(i int) Pubkey { return Pubkey(t.KeyBytes(i)) }

// KeyBytes is Key without a copy.
func (t *Transaction) KeyBytes(i int) []byte {
	at := int(t.header) + 4 + 32*t.checked(i, t.NumKeys())
	return t.raw[at : at+32]
}

// checked panics like an index out of range would: an offset computed from i
// could lie inside the bytes and yet not be one of the n elements.
func (t *Transaction) checked(i, n int) int {
	if uint(i) >= uint(n) {
		panic(fmt.Sprintf("ledger: index %d of %d", i, n))
	}
	return i
}

// IsSigner tells whether key i signs.
func (t *Transaction) IsSigner(i int) bool { return i < t.NumRequiredSignatures() }

// IsWritable tells whether static key i is declared writable by the header.
// What execution demotes (programs and sysvars) is not considered.
func (t *Transaction) IsWritable(i int) bool {
	signers := t.NumRequiredSignatures()
	if i < signers {
		return i < signers-t.NumReadonlySigned()
	}
	return i < t.NumKeys()-t.NumReadonlyUnsigned()
}

// NumWritable returns how many accounts are declared writable, static and
// from lookup tables.
func (t *Transaction) NumWritable() int {
	return t.NumKeys() - t.NumReadonlySigned() - t.NumReadonlyUnsigned() + int(t.numLookupWritable)
}

// RecentBlockhash returns the blockhash field; a durable transaction has its
// nonce there.
func (t *Transaction) RecentBlockhash() Hash {
	at := int(t.header) + 4 + 32*t.NumKeys()
	return Hash(t.raw[at : at+32])
}

// NumInstructions returns the number of instructions.
func (t *Transaction) NumInstructions() int { return int(t.numInstructions) }

// Instructions yields the instructions in order, each with its index. They
// alias the transaction's bytes.
func (t *Transaction) Instructions() iter.Seq2[int, Instruction] {
	return func(yield func(int, Instruction) bool) {
		at := int(t.instructions)
		for i := range t.NumInstructions() {
			in := Instruction{Program: t.raw[at]}
			in.Accounts, at = t.vector(at + 1)
			in.Data, at = t.vector(at)
			if !yield(i, in) {
				return
			}
		}
	}
}

// vector returns the compact-u16 prefixed bytes at an offset, and the offset
// behind them. index has checked that they are there.
func (t *Transaction) vector(at int) ([]byte, int) {
	n, at := compactU16(t.raw, at)
	return t.raw[at : at+n : at+n], at + n
}

// NumLookups returns the number of lookup tables used.
func (t *Transaction) NumLookups() int { return int(t.numLookups) }

// NumLookupKeys returns how many accounts all lookups load.
func (t *Transaction) NumLookupKeys() int {
	return int(t.numLookupWritable) + int(t.numLookupReadonly)
}

// Lookups yields the uses of lookup tables in order, each with its index.
// They alias the transaction's bytes.
func (t *Transaction) Lookups() iter.Seq2[int, Lookup] {
	return func(yield func(int, Lookup) bool) {
		at := int(t.lookups)
		for i := range t.NumLookups() {
			l := Lookup{Table: Pubkey(t.raw[at : at+32])}
			l.Writable, at = t.vector(at + 32)
			l.Readonly, at = t.vector(at)
			if !yield(i, l) {
				return
			}
		}
	}
}

// Sanitize checks the header's counts and all indices, as Solana does before
// it looks at a transaction any further. Its errors are SanitizeFailure with
// the reason in front. Nothing else of this package may be used on a
// transaction from outside that was not sanitised.
func (t *Transaction) Sanitize() error {
	required, keys := t.NumRequiredSignatures(), t.NumKeys()
	switch {
	case t.NumSignatures() != required:
		return sanitizeError("number of signatures")
	case required+t.NumReadonlyUnsigned() > keys:
		return sanitizeError("header names more keys than there are")
	case t.NumReadonlySigned() >= required:
		return sanitizeError("no writable signer")
	}
	total := keys + t.NumLookupKeys()
	if total > 256 {
		return sanitizeError("more than 256 keys")
	}
	for _, l := range t.Lookups() {
		if len(l.Writable)+len(l.Readonly) == 0 {
			return sanitizeError("lookup of nothing")
		}
	}
	for _, in := range t.Instructions() {
		if in.Program == 0 || int(in.Program) >= keys {
			return sanitizeError("program index")
		}
		for _, a := range in.Accounts {
			if int(a) >= total {
				return sanitizeError("account index")
			}
		}
	}
	return nil
}

func sanitizeError(reason string) error {
	return fmt.Errorf("%s: %w", reason, TransactionError{Kind: SanitizeFailure})
}

// LocksOK checks what can be checked of the account locks without lookup
// tables: TooManyAccountLocks above LocksMax accounts, AccountLoadedTwice if
// a static key is repeated (FORMATS section 10).
func (t *Transaction) LocksOK() error {
	if t.NumKeys()+t.NumLookupKeys() > LocksMax {
		return TransactionError{Kind: TooManyAccountLocks}
	}
	for i := range t.NumKeys() {
		key := t.Key(i)
		for j := range i {
			if t.Key(j) == key {
				return TransactionError{Kind: AccountLoadedTwice}
			}
		}
	}
	return nil
}

// advanceNonce is the System program's tag of AdvanceNonceAccount.
const advanceNonce = 4

// DurableNonce returns the nonce account of a durable-nonce transaction: one
// whose first instruction is the System program's AdvanceNonceAccount on a
// writable static account.
func (t *Transaction) DurableNonce() (Pubkey, bool) {
	for _, in := range t.Instructions() {
		tag, ok := instructionTag(in.Data)
		if !ok || tag != advanceNonce || t.Key(int(in.Program)) != SystemProgram || len(in.Accounts) == 0 {
			break
		}
		if i := int(in.Accounts[0]); i < t.NumKeys() && t.IsWritable(i) {
			return t.Key(i), true
		}
		break
	}
	return Pubkey{}, false
}

// HasVote tells whether an instruction is a vote, in any of the forms that
// belong to the consensus lane alone: Vote program, tag 2, 6, 8, 9, 12…15 or
// 64 (PROTOCOL section 4 (3)).
func (t *Transaction) HasVote() bool {
	for _, in := range t.Instructions() {
		tag, ok := instructionTag(in.Data)
		if !ok || t.Key(int(in.Program)) != VoteProgram {
			continue
		}
		switch tag {
		case 2, 6, 8, 9, 12, 13, 14, 15, voteTag:
			return true
		}
	}
	return false
}

// instructionTag returns the u32 that data of the System, Vote and other
// programs begins with.
func instructionTag(data []byte) (uint32, bool) {
	if len(data) < 4 {
		return 0, false
	}
	return binary.LittleEndian.Uint32(data), true
}
