package poh

import (
	"encoding/binary"
	"errors"

	"tutti/ledger"
)

// What can be wrong with a chain; the names are Agave's.
var (
	ErrInvalidTickHashCount = errors.New("InvalidTickHashCount: a tick does not close its number of hashes")
	ErrInvalidEntryHash     = errors.New("InvalidEntryHash: an entry's hash does not follow from the one before")
	ErrTrailingEntry        = errors.New("TrailingEntry: an entry stands behind the last tick")
)

// VerifyEntry tells whether an entry of numHashes hashes leads from prev to
// want; mixin is nil for a tick. It makes numHashes hashes, so a caller must
// have bounded them.
func VerifyEntry(prev ledger.Hash, numHashes uint64, mixin *ledger.Hash, want ledger.Hash) bool {
	if numHashes == 0 && mixin == nil {
		return prev == want
	}
	h := advance(prev, max(numHashes, 1)-1)
	if mixin != nil {
		return mix(h, *mixin) == want
	}
	return advance(h, 1) == want
}

// Verifier walks a chain entry by entry. It hashes no more than a tick's
// hashes for an entry, whatever the entry claims.
type Verifier struct {
	hash          ledger.Hash
	hashesPerTick uint64
	inTick        uint64 // hashes since the last tick; always < hashesPerTick
	ticks         uint64
	hashes        uint64
	recorded      bool // something stands behind the last tick
}

// NewVerifier starts at a chain's seed. In low power, hashesPerTick 0, every
// entry must have exactly one hash, as Chain makes them.
func NewVerifier(seed ledger.Hash, hashesPerTick uint64) Verifier {
	return Verifier{hash: seed, hashesPerTick: hashesPerTick}
}

// Step verifies the next entry; mixin is nil for a tick. An error is
// ErrInvalidTickHashCount or ErrInvalidEntryHash, and nothing can follow it.
func (v *Verifier) Step(numHashes uint64, mixin *ledger.Hash, hash ledger.Hash) error {
	c, err := v.Claim(numHashes, mixin, hash)
	if err == nil {
		err = c.Verify()
	}
	return err
}

// Check is an entry whose hash is still to be verified. Checks of one chain
// do not depend on each other: any number can be verified at once.
type Check struct {
	prev, want ledger.Hash
	mixin      *ledger.Hash
	NumHashes  uint64 // how many hashes it takes
}

// Sum returns a hash of all that the verdict depends on, so that it can be
// shared by those who verify the same.
func (c *Check) Sum() ledger.Hash {
	numbers := binary.LittleEndian.AppendUint64(nil, c.NumHashes)
	if c.mixin == nil {
		return ledger.Sum(c.prev[:], c.want[:], numbers)
	}
	return ledger.Sum(c.prev[:], c.want[:], numbers, c.mixin[:])
}

// Verify makes the hashes. The error is ErrInvalidEntryHash.
func (c *Check) Verify() error {
	if !VerifyEntry(c.prev, c.NumHashes, c.mixin, c.want) {
		return ErrInvalidEntryHash
	}
	return nil
}

// Claim is Step without the hashing: it believes the entry's hash, and
// returns what must be verified for it to be right. The error is
// ErrInvalidTickHashCount.
func (v *Verifier) Claim(numHashes uint64, mixin *ledger.Hash, hash ledger.Hash) (Check, error) {
	if !v.counts(numHashes, mixin == nil) {
		return Check{}, ErrInvalidTickHashCount
	}
	c := Check{prev: v.hash, want: hash, mixin: mixin, NumHashes: numHashes}
	v.hash = hash
	v.hashes += numHashes
	v.recorded = mixin != nil
	if mixin == nil {
		v.ticks++
		v.inTick = 0
	} else {
		v.inTick += numHashes
	}
	return c, nil
}

// counts tells whether an entry keeps the number of hashes of its tick: a
// tick closes it exactly, anything else leaves at least one hash of it.
func (v *Verifier) counts(numHashes uint64, tick bool) bool {
	if v.hashesPerTick == 0 {
		return numHashes == 1
	}
	left := v.hashesPerTick - v.inTick
	if tick {
		return numHashes == left
	}
	return numHashes < left
}

// Hash returns the hash of the last entry.
func (v *Verifier) Hash() ledger.Hash { return v.hash }

// Ticks returns the number of ticks so far.
func (v *Verifier) Ticks() uint64 { return v.ticks }

// Hashes returns the number of hashes since the seed, those of the last entry
// included.
func (v *Verifier) Hashes() uint64 { return v.hashes }

// Finish returns ErrTrailingEntry unless the last entry was a tick.
func (v *Verifier) Finish() error {
	if v.recorded {
		return ErrTrailingEntry
	}
	return nil
}
