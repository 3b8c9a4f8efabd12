package program

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"tutti/ledger"
)

// system is the System program: it creates accounts and moves lamports
// (FORMATS section 11). The order of its checks is Agave's, since the first
// that fails names the error.
type system struct{}

// Tags of the System program's instructions.
const (
	createAccount = iota
	assign
	transfer
	createAccountWithSeed
	advanceNonce
	withdrawNonce
	initializeNonce
	authorizeNonce
	allocate
	allocateWithSeed
	assignWithSeed
	transferWithSeed
	upgradeNonce
	createAccountAllowPrefund
)

// The System program's own errors.
const (
	accountAlreadyInUse        = 0
	resultWithNegativeLamports = 1
	invalidAccountDataLength   = 3
	addressWithSeedMismatch    = 5
	nonceBlockhashNotExpired   = 7
)

// What Agave makes of a seed that gives no address: its generic conversion
// of those errors turns them into these codes.
const (
	seedTooLong      = 0
	seedIllegalOwner = 2
)

// seedMax is the most bytes of a seed.
const seedMax = 32

// Process executes one instruction of the System program.
func (system) Process(c *Context) error {
	a := &arguments{b: c.Data()}
	switch tag := a.u32(); tag {
	case createAccount:
		lamports, space, owner := a.lamports(), a.u64(), a.key()
		if err := a.check(c, 2); err != nil {
			return err
		}
		return create(c, address{index: 1}, lamports, space, owner)
	case assign:
		owner := a.key()
		if err := a.check(c, 1); err != nil {
			return err
		}
		return assignTo(c, address{}, owner)
	case transfer:
		lamports := a.lamports()
		if err := a.check(c, 2); err != nil {
			return err
		}
		return move(c, 0, 1, lamports)
	case createAccountWithSeed:
		base, seed, lamports, space, owner := a.key(), a.text(), a.lamports(), a.u64(), a.key()
		if err := a.check(c, 2); err != nil {
			return err
		}
		to, err := seeded(c, 1, base, seed, owner)
		if err != nil {
			return err
		}
		return create(c, to, lamports, space, owner)
	case advanceNonce, withdrawNonce, initializeNonce, authorizeNonce, upgradeNonce:
		return processNonce(c, tag, a)
	case allocate:
		space := a.u64()
		if err := a.check(c, 1); err != nil {
			return err
		}
		return allocateTo(c, address{}, space)
	case allocateWithSeed:
		base, seed, space, owner := a.key(), a.text(), a.u64(), a.key()
		if err := a.check(c, 1); err != nil {
			return err
		}
		to, err := seeded(c, 0, base, seed, owner)
		if err != nil {
			return err
		}
		return allocateAndAssign(c, to, space, owner)
	case assignWithSeed:
		base, seed, owner := a.key(), a.text(), a.key()
		if err := a.check(c, 1); err != nil {
			return err
		}
		to, err := seeded(c, 0, base, seed, owner)
		if err != nil {
			return err
		}
		return assignTo(c, to, owner)
	case transferWithSeed:
		lamports, seed, owner := a.lamports(), a.text(), a.key()
		if err := a.check(c, 3); err != nil {
			return err
		}
		if !c.Signer(1) {
			return fail(ledger.InstructionMissingRequiredSignature)
		}
		if _, err := seeded(c, 0, c.Key(1), seed, owner); err != nil {
			return err
		}
		return moveVerified(c, 0, 2, lamports)
	case createAccountAllowPrefund:
		lamports, space, owner := a.lamports(), a.u64(), a.key()
		if err := a.check(c, 1+int(min(lamports, 1))); err != nil {
			return err
		}
		if err := allocateAndAssign(c, address{}, space, owner); err != nil || lamports == 0 {
			return err
		}
		return move(c, 1, 0, lamports)
	}
	return fail(ledger.InstructionInvalidInstructionData)
}

// address is one of the instruction's accounts with the key that must sign
// for it: its own or, if its address was derived from a seed, the base's.
type address struct {
	index int
	base  *ledger.Pubkey
}

func (a address) signed(c *Context) bool {
	if a.base != nil {
		return c.Signed(*a.base)
	}
	return c.Signed(c.Key(a.index))
}

// withSeed returns the address that a seed of at most seedMax bytes derives
// from a base key, for accounts of an owner.
func withSeed(base ledger.Pubkey, seed []byte, owner ledger.Pubkey) ledger.Pubkey {
	b := append(append(append(make([]byte, 0, 64+seedMax), base[:]...), seed...), owner[:]...)
	return sha256.Sum256(b)
}

// derivedMarker ends the preimage of program-derived addresses; an owner that
// ends with it could forge one.
var derivedMarker = []byte("ProgramDerivedAddress")

// seeded checks that account i has the address that the seed derives.
func seeded(c *Context, i int, base ledger.Pubkey, seed []byte, owner ledger.Pubkey) (address, error) {
	switch {
	case len(seed) > seedMax:
		return address{}, ledger.CustomError(seedTooLong)
	case bytes.HasSuffix(owner[:], derivedMarker):
		return address{}, ledger.CustomError(seedIllegalOwner)
	case withSeed(base, seed, owner) != c.Key(i):
		return address{}, ledger.CustomError(addressWithSeedMismatch)
	}
	return address{index: i, base: &base}, nil
}

func allocateTo(c *Context, to address, space uint64) error {
	account := c.Account(to.index)
	switch {
	case !to.signed(c):
		return fail(ledger.InstructionMissingRequiredSignature)
	case len(account.Data) > 0 || account.Owner != ledger.SystemProgram:
		return ledger.CustomError(accountAlreadyInUse)
	case space > DataMax:
		return ledger.CustomError(invalidAccountDataLength)
	}
	return c.SetLength(to.index, int(space))
}

func assignTo(c *Context, to address, owner ledger.Pubkey) error {
	switch {
	case c.Account(to.index).Owner == owner:
		return nil
	case !to.signed(c):
		return fail(ledger.InstructionMissingRequiredSignature)
	}
	return c.SetOwner(to.index, owner)
}

func allocateAndAssign(c *Context, to address, space uint64, owner ledger.Pubkey) error {
	if err := allocateTo(c, to, space); err != nil {
		return err
	}
	return assignTo(c, to, owner)
}

func create(c *Context, to address, lamports ledger.Lamports, space uint64, owner ledger.Pubkey) error {
	if c.Account(to.index).Lamports > 0 {
		return ledger.CustomError(accountAlreadyInUse)
	}
	if err := allocateAndAssign(c, to, space, owner); err != nil {
		return err
	}
	return move(c, 0, to.index, lamports)
}

func move(c *Context, from, to int, lamports ledger.Lamports) error {
	if !c.Signer(from) {
		return fail(ledger.InstructionMissingRequiredSignature)
	}
	return moveVerified(c, from, to, lamports)
}

func moveVerified(c *Context, from, to int, lamports ledger.Lamports) error {
	source := c.Account(from)
	switch {
	case len(source.Data) > 0:
		return fail(ledger.InstructionInvalidArgument)
	case lamports > source.Lamports:
		return ledger.CustomError(resultWithNegativeLamports)
	}
	if err := c.SetLamports(from, source.Lamports-lamports); err != nil {
		return err
	}
	return credit(c, to, lamports)
}

// credit adds lamports to account i.
func credit(c *Context, i int, lamports ledger.Lamports) error {
	held := c.Account(i).Lamports
	if held > math.MaxUint64-lamports {
		return fail(ledger.InstructionArithmeticOverflow)
	}
	return c.SetLamports(i, held+lamports)
}

// arguments reads an instruction's data in bincode. Bytes behind the last
// argument are ignored, as Agave ignores them.
type arguments struct {
	b   []byte
	bad bool
}

// check is the error of data that were no arguments, or of fewer than n
// accounts.
func (a *arguments) check(c *Context, n int) error {
	if a.bad {
		return fail(ledger.InstructionInvalidInstructionData)
	}
	return c.Need(n)
}

func (a *arguments) take(n uint64) []byte {
	if n > uint64(len(a.b)) {
		a.b, a.bad = nil, true
		return nil
	}
	taken := a.b[:n]
	a.b = a.b[n:]
	return taken
}

func (a *arguments) u32() uint32 {
	if b := a.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return math.MaxUint32 // no tag
}

func (a *arguments) u64() uint64 {
	if b := a.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (a *arguments) lamports() ledger.Lamports { return ledger.Lamports(a.u64()) }

func (a *arguments) key() (k ledger.Pubkey) {
	copy(k[:], a.take(32))
	return k
}

func (a *arguments) text() []byte {
	b := a.take(a.u64())
	if !utf8.Valid(b) {
		a.bad = true
	}
	return b
}
