// Package poh is the hash chain that proves an order in time: a Chain makes
// it, a Verifier checks it (FORMATS section 1). It knows no clock: when a
// tick is due is for others to say.
package poh

import (
	"crypto/sha256"
	"encoding/binary"

	"tutti/ledger"
)

// UserBlockSeed returns the start of a UserBlock's chain: it binds the chain
// to the anchor, the UserBlockSlot and the proposer (PROTOCOL section 4).
func UserBlockSeed(anchor ledger.Hash, u ledger.UserSlot, proposer ledger.Pubkey) ledger.Hash {
	var number [8]byte
	binary.LittleEndian.PutUint64(number[:], uint64(u))
	return ledger.Sum([]byte("tutti userblock"), anchor[:], number[:], proposer[:])
}

// Chain is a hash chain under construction. A tick is a fixed number of
// hashes, the last of which records nothing.
type Chain struct {
	hash          ledger.Hash
	hashesPerTick uint64 // 0: low power
	pending       uint64 // hashes since the last entry
	remaining     uint64 // hashes up to the end of the tick, at least 1
	hashes        uint64
}

// New starts a chain. With hashesPerTick 0, low power, a tick is one hash and
// so is each record, and a tick may hold any number of records.
func New(seed ledger.Hash, hashesPerTick uint64) *Chain {
	return &Chain{hash: seed, hashesPerTick: hashesPerTick, remaining: max(hashesPerTick, 1)}
}

// Hash returns the newest hash.
func (c *Chain) Hash() ledger.Hash { return c.hash }

// Remaining returns the number of hashes up to the end of the current tick,
// the tick's own included: it is never 0, and always 1 in low power.
func (c *Chain) Remaining() uint64 { return c.remaining }

// Advance makes up to n plain hashes, but never the last one of a tick, and
// returns how many it made.
func (c *Chain) Advance(n uint64) uint64 {
	n = min(n, c.remaining-1)
	c.hash = advance(c.hash, n)
	c.count(n)
	return n
}

// Record mixes something into the chain, as one hash. It returns the number
// of hashes since the entry before and the hash, which stand in the entry; ok
// is false if only the tick is left.
func (c *Chain) Record(mixin ledger.Hash) (numHashes uint64, hash ledger.Hash, ok bool) {
	if c.hashesPerTick != 0 {
		if c.remaining == 1 {
			return 0, c.hash, false
		}
		c.remaining--
	}
	c.hash = mix(c.hash, mixin)
	c.pending++
	c.hashes++
	return c.entry(), c.hash, true
}

// Tick makes all remaining hashes of the tick and returns what stands in its
// entry.
func (c *Chain) Tick() (numHashes uint64, hash ledger.Hash) {
	c.Advance(c.remaining)
	c.hash = advance(c.hash, 1)
	c.pending++
	c.hashes++
	c.remaining = max(c.hashesPerTick, 1)
	return c.entry(), c.hash
}

func (c *Chain) count(n uint64) {
	c.pending += n
	c.hashes += n
	c.remaining -= n
}

func (c *Chain) entry() (numHashes uint64) {
	numHashes, c.pending = c.pending, 0
	return numHashes
}

func advance(h ledger.Hash, n uint64) ledger.Hash {
	for range n {
		h = sha256.Sum256(h[:])
	}
	return h
}

func mix(h, mixin ledger.Hash) ledger.Hash {
	var both [64]byte
	copy(both[:], h[:])
	copy(both[32:], mixin[:])
	return sha256.Sum256(both[:])
}
