package program

import (
	"slices"

	"tutti/cluster"
	"tutti/ledger"
)

// instructionsMax is how many instructions one transaction can run.
const instructionsMax = 64

// growthMax is how many bytes of account data one transaction can add.
const growthMax = 20 << 20

// zeros is what fresh account data are made of: all of them share it, since
// data never change in place.
var zeros [DataMax]byte

// Context is one transaction's accounts and the instruction that runs on
// them. Its zero value is ready for Reset, which makes it anew without
// allocating.
type Context struct {
	// Blockhash is the newest blockhash: the parent's last PoH hash.
	Blockhash ledger.Hash

	accounts []loaded
	units    uint64 // compute units left
	growth   int    // bytes of data added so far
	calls    int

	// The instruction that runs: its program, its accounts as indices into
	// accounts, and its data.
	program ledger.Pubkey
	uses    []byte
	data    []byte
}

type loaded struct {
	Account
	key      ledger.Pubkey
	signer   bool
	writable bool
}

// Reset empties the context for a transaction with a compute-unit limit.
func (c *Context) Reset(units uint64) {
	c.accounts = c.accounts[:0]
	c.units, c.growth, c.calls = units, 0, 0
}

// Load appends the transaction's next account, in the order of its keys. What
// is not writable cannot change.
func (c *Context) Load(key ledger.Pubkey, a Account, signer, writable bool) {
	c.accounts = append(c.accounts, loaded{Account: a, key: key, signer: signer, writable: writable})
}

// Loaded returns account i of the transaction as it is now.
func (c *Context) Loaded(i int) *Account { return &c.accounts[i].Account }

// UnitsLeft returns the compute units that the transaction has not used.
func (c *Context) UnitsLeft() uint64 { return c.units }

// Call executes an instruction, whose indices must be those of loaded
// accounts. Its error is a ledger.InstructionError.
func (c *Context) Call(in ledger.Instruction) error {
	if c.calls == instructionsMax {
		return fail(ledger.InstructionMaxInstructionTraceLengthExceeded)
	}
	c.calls++
	callee := &c.accounts[in.Program]
	builtin := callee.key
	if callee.Owner != cluster.NativeLoader {
		builtin = callee.Owner // a loader runs what it has loaded
	}
	p, ok := builtins[builtin]
	if !ok {
		return fail(ledger.InstructionUnsupportedProgramId)
	}
	if err := c.consume(BuiltinUnits); err != nil {
		return err
	}
	c.program, c.uses, c.data = callee.key, in.Accounts, in.Data
	return p.Process(c)
}

func (c *Context) consume(units uint64) error {
	if c.units < units {
		c.units = 0
		return fail(ledger.InstructionComputationalBudgetExceeded)
	}
	c.units -= units
	return nil
}

// Data returns the instruction's data.
func (c *Context) Data() []byte { return c.data }

// Need is MissingAccount unless the instruction has n accounts or more.
func (c *Context) Need(n int) error {
	if len(c.uses) < n {
		return fail(ledger.InstructionMissingAccount)
	}
	return nil
}

// The methods below take the index of one of the instruction's accounts;
// Need says how many there are.

func (c *Context) use(i int) *loaded { return &c.accounts[c.uses[i]] }

// Key returns the account's address.
func (c *Context) Key(i int) ledger.Pubkey { return c.use(i).key }

// Signer tells whether the account signed.
func (c *Context) Signer(i int) bool { return c.use(i).signer }

// Writable tells whether the transaction may change the account.
func (c *Context) Writable(i int) bool { return c.use(i).writable }

// Account returns the account as it is now. Only the Set methods change it.
func (c *Context) Account(i int) Account { return c.use(i).Account }

// Signed tells whether a key is among the instruction's accounts as a signer.
func (c *Context) Signed(key ledger.Pubkey) bool {
	return slices.ContainsFunc(c.uses, func(u byte) bool {
		return c.accounts[u].signer && c.accounts[u].key == key
	})
}

// SetLamports changes the account's balance. Anyone may add to a writable
// account, its owner alone takes from it.
func (c *Context) SetLamports(i int, lamports ledger.Lamports) error {
	a := c.use(i)
	switch {
	case a.Owner != c.program && lamports < a.Lamports:
		return fail(ledger.InstructionExternalAccountLamportSpend)
	case !a.writable:
		return fail(ledger.InstructionReadonlyLamportChange)
	}
	a.Lamports = lamports
	return nil
}

// SetOwner gives the account away, which its owner alone may do, and only
// while its data are zero.
func (c *Context) SetOwner(i int, owner ledger.Pubkey) error {
	a := c.use(i)
	if a.Owner != c.program || !a.writable || !isZero(a.Data) {
		return fail(ledger.InstructionModifiedProgramId)
	}
	a.Owner = owner
	return nil
}

// SetLength cuts the account's data or fills them up with zeros.
func (c *Context) SetLength(i, length int) error {
	a := c.use(i)
	switch {
	case length > DataMax:
		return fail(ledger.InstructionInvalidRealloc)
	case c.growth+length-len(a.Data) > growthMax:
		return fail(ledger.InstructionMaxAccountsDataAllocationsExceeded)
	}
	if err := c.mayWrite(a); err != nil {
		return err
	}
	c.growth += length - len(a.Data)
	switch {
	case length <= len(a.Data):
		a.Data = a.Data[:length:length]
	case isZero(a.Data):
		a.Data = zeros[:length:length]
	default:
		grown := make([]byte, length)
		copy(grown, a.Data)
		a.Data = grown
	}
	return nil
}

// SetState writes state over the front of the account's data, of which there
// must be enough.
func (c *Context) SetState(i int, state []byte) error {
	a := c.use(i)
	if err := c.mayWrite(a); err != nil {
		return err
	}
	if len(state) > len(a.Data) {
		return fail(ledger.InstructionAccountDataTooSmall)
	}
	a.Data = append(slices.Clone(state), a.Data[len(state):]...)
	return nil
}

func (c *Context) mayWrite(a *loaded) error {
	switch {
	case !a.writable:
		return fail(ledger.InstructionReadonlyDataModified)
	case a.Owner != c.program:
		return fail(ledger.InstructionExternalAccountDataModified)
	}
	return nil
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
