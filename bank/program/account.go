package program

import (
	"bytes"
	"math"

	"tutti/cluster"
	"tutti/ledger"
)

// DataMax is the longest data an account can have, in bytes.
const DataMax = 10 << 20

// RentEpochExempt is the rent epoch of accounts that owe no rent, and so of
// every new one.
const RentEpochExempt = math.MaxUint64

// Account is what stands under a key. An account without lamports does not
// exist.
type Account struct {
	Lamports   ledger.Lamports
	Owner      ledger.Pubkey
	Executable bool
	// RentEpoch is a relic that clients expect; no hash covers it.
	RentEpoch uint64
	// Data is shared between copies of the account and forks of the ledger.
	// Invariant: its bytes never change; who writes replaces the slice.
	Data []byte
}

// Missing is the account that a transaction finds under an unused key.
func Missing() Account { return Account{RentEpoch: RentEpochExempt} }

// Equal tells whether two accounts agree in all that the delta of a block
// covers: lamports, owner, executable flag and data (PROTOCOL section 8).
func (a *Account) Equal(o *Account) bool {
	return a.Lamports == o.Lamports && a.Owner == o.Owner &&
		a.Executable == o.Executable && bytes.Equal(a.Data, o.Data)
}

// RentState says how an account stands to rent: empty, exempt, or between
// (rent-paying), where it may stay but never get to.
type RentState struct {
	paying   bool
	lamports ledger.Lamports
	length   int
}

// RentStateOf returns the account's rent state.
func RentStateOf(a *Account) RentState {
	return RentState{
		paying:   a.Lamports > 0 && a.Lamports < cluster.RentExemptMinimum(len(a.Data)),
		lamports: a.Lamports,
		length:   len(a.Data),
	}
}

// MayBecome tells whether a transaction may take an account from s to next:
// a rent-paying account may stay one, of the same length and not credited.
func (s RentState) MayBecome(next RentState) bool {
	return !next.paying ||
		s.paying && s.length == next.length && next.lamports <= s.lamports
}
