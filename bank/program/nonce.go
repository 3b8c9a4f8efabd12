package program

import (
	"encoding/binary"
	"math"

	"tutti/cluster"
	"tutti/ledger"
)

// NonceLength is the length of a nonce account's data.
const NonceLength = 80

// Versions and states of a nonce account's data, both u32 in bincode.
const (
	nonceLegacy        = 0
	nonceCurrent       = 1
	nonceUninitialized = 0
	nonceInitialized   = 1
	nonceHeader        = 8
)

// Nonce is what an initialised nonce account holds (FORMATS section 11).
type Nonce struct {
	// Legacy accounts must be upgraded before a transaction can use them.
	Legacy               bool
	Authority            ledger.Pubkey
	Value                ledger.Hash
	LamportsPerSignature uint64
}

// NextNonce returns the value that a nonce advances to in a block with that
// newest blockhash.
func NextNonce(blockhash ledger.Hash) ledger.Hash {
	return ledger.Sum([]byte("DURABLE_NONCE"), blockhash[:])
}

// ParseNonce reads a nonce account's data; false if they hold no initialised
// nonce. Bytes behind it are ignored.
func ParseNonce(data []byte) (Nonce, bool) {
	legacy, initialized, ok := nonceState(data)
	if !ok || !initialized {
		return Nonce{}, false
	}
	return Nonce{
		Legacy:               legacy,
		Authority:            ledger.Pubkey(data[8:40]),
		Value:                ledger.Hash(data[40:72]),
		LamportsPerSignature: binary.LittleEndian.Uint64(data[72:]),
	}, true
}

// nonceState reads version and state; false if the data are none of both.
func nonceState(data []byte) (legacy, initialized, ok bool) {
	if len(data) < nonceHeader {
		return false, false, false
	}
	version, state := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
	ok = version <= nonceCurrent &&
		(state == nonceUninitialized || state == nonceInitialized && len(data) >= NonceLength)
	return version == nonceLegacy, state == nonceInitialized, ok
}

// Append appends the 80 bytes of an account that holds n.
func (n *Nonce) Append(dst []byte) []byte {
	version := uint32(nonceCurrent)
	if n.Legacy {
		version = nonceLegacy
	}
	dst = binary.LittleEndian.AppendUint32(dst, version)
	dst = binary.LittleEndian.AppendUint32(dst, nonceInitialized)
	dst = append(dst, n.Authority[:]...)
	dst = append(dst, n.Value[:]...)
	return binary.LittleEndian.AppendUint64(dst, n.LamportsPerSignature)
}

// freshNonce returns the state of a nonce that advances now.
func freshNonce(c *Context, authority ledger.Pubkey) []byte {
	n := Nonce{
		Authority:            authority,
		Value:                NextNonce(c.Blockhash),
		LamportsPerSignature: uint64(ledger.FeePerSignature),
	}
	return n.Append(nil)
}

// processNonce executes the System program's instructions on nonce accounts.
func processNonce(c *Context, tag uint32, a *arguments) error {
	var lamports ledger.Lamports
	var authority ledger.Pubkey
	accounts := 1
	switch tag {
	case withdrawNonce:
		lamports, accounts = a.lamports(), 2
	case initializeNonce, authorizeNonce:
		authority = a.key()
	}
	if err := a.check(c, accounts); err != nil {
		return err
	}
	if err := checkSysvars(c, tag); err != nil {
		return err
	}
	if tag == upgradeNonce && c.Account(0).Owner != ledger.SystemProgram {
		return fail(ledger.InstructionInvalidAccountOwner)
	}
	if !c.Writable(0) {
		return fail(ledger.InstructionInvalidArgument)
	}
	_, initialized, ok := nonceState(c.Account(0).Data)
	if !ok {
		return fail(ledger.InstructionInvalidAccountData)
	}
	nonce, _ := ParseNonce(c.Account(0).Data)
	switch {
	case tag == withdrawNonce:
		return withdraw(c, nonce, initialized, lamports)
	case tag == upgradeNonce:
		return upgrade(c, nonce, initialized)
	case initialized == (tag == initializeNonce):
		return fail(ledger.InstructionInvalidAccountData)
	case tag == initializeNonce:
		if c.Account(0).Lamports < cluster.RentExemptMinimum(len(c.Account(0).Data)) {
			return fail(ledger.InstructionInsufficientFunds)
		}
		return c.SetState(0, freshNonce(c, authority))
	case !c.Signed(nonce.Authority):
		return fail(ledger.InstructionMissingRequiredSignature)
	case tag == authorizeNonce:
		nonce.Authority = authority
		return c.SetState(0, nonce.Append(nil))
	case nonce.Value == NextNonce(c.Blockhash):
		return ledger.CustomError(nonceBlockhashNotExpired)
	}
	return c.SetState(0, freshNonce(c, nonce.Authority))
}

// checkSysvars checks that the sysvar accounts stand where the instruction
// has them. What they hold is known without reading them.
func checkSysvars(c *Context, tag uint32) error {
	var want []ledger.Pubkey
	from := 1
	switch tag {
	case advanceNonce:
		want = []ledger.Pubkey{cluster.SysvarRecentBlockhashes}
	case initializeNonce:
		want = []ledger.Pubkey{cluster.SysvarRecentBlockhashes, cluster.SysvarRent}
	case withdrawNonce:
		want, from = []ledger.Pubkey{cluster.SysvarRecentBlockhashes, cluster.SysvarRent}, 2
	}
	for i, key := range want {
		if err := c.Need(from + i + 1); err != nil {
			return err
		}
		if c.Key(from+i) != key {
			return fail(ledger.InstructionInvalidArgument)
		}
	}
	return nil
}

func upgrade(c *Context, nonce Nonce, initialized bool) error {
	if !initialized || !nonce.Legacy {
		return fail(ledger.InstructionInvalidArgument)
	}
	nonce.Legacy, nonce.Value = false, NextNonce(nonce.Value)
	return c.SetState(0, nonce.Append(nil))
}

func withdraw(c *Context, nonce Nonce, initialized bool, lamports ledger.Lamports) error {
	held := c.Account(0).Lamports
	signer := nonce.Authority
	switch {
	case !initialized:
		if lamports > held {
			return fail(ledger.InstructionInsufficientFunds)
		}
		signer = c.Key(0)
	case lamports == held:
		if nonce.Value == NextNonce(c.Blockhash) {
			return ledger.CustomError(nonceBlockhashNotExpired)
		}
		closed := binary.LittleEndian.AppendUint64(nil, nonceCurrent)
		if err := c.SetState(0, closed); err != nil {
			return err
		}
	default:
		kept := cluster.RentExemptMinimum(len(c.Account(0).Data))
		if lamports > math.MaxUint64-kept || lamports+kept > held {
			return fail(ledger.InstructionInsufficientFunds)
		}
	}
	if !c.Signed(signer) {
		return fail(ledger.InstructionMissingRequiredSignature)
	}
	if lamports > held {
		return fail(ledger.InstructionArithmeticOverflow)
	}
	if err := c.SetLamports(0, held-lamports); err != nil {
		return err
	}
	return credit(c, 1, lamports)
}
