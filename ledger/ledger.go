// Package ledger is the vocabulary of the protocol: slots, hashes, keys,
// transactions, entries, markers, votes and UserBlocks, and their bytes.
// It parses and serialises; it decides nothing and keeps nothing.
package ledger

import (
	"crypto/sha256"
	"fmt"

	"github.com/mr-tron/base58"
)

// LeaderSetsMax is how many FEC sets a leader block can have (PROTOCOL section 5).
const LeaderSetsMax = 128

// Time, in ticks (PROTOCOL section 1). A UserBlockSlot is half a slot.
const (
	TicksPerSlot     = 64
	TicksPerUserSlot = TicksPerSlot / 2
	// SlotsPerLeader is how many consecutive slots one leader has
	// (FORMATS section 4).
	SlotsPerLeader = 4
	// LanesMax bounds the number of proposers at once.
	LanesMax = 32
)

// Slot numbers a leader slot; slot 0 is genesis.
type Slot uint64

// UserSlot numbers a UserBlockSlot: u is the first or the second half of
// slot u/2.
type UserSlot uint64

// Slot returns the leader slot that u is a half of.
func (u UserSlot) Slot() Slot { return Slot(u / 2) }

// FirstUserSlot returns the first UserBlockSlot of s.
func (s Slot) FirstUserSlot() UserSlot { return UserSlot(2 * s) }

// Lane is the place of a proposer among those of one UserBlockSlot.
type Lane uint16

// Lamports is an amount of native tokens; a SOL is 10⁹ of them.
type Lamports uint64

// LamportsPerSOL is the number of lamports in one SOL.
const LamportsPerSOL Lamports = 1_000_000_000

// Hash is a SHA-256 or BLAKE3 digest.
type Hash [32]byte

// Sum returns SHA-256 over the concatenation of parts.
func Sum(parts ...[]byte) Hash {
	if len(parts) == 1 {
		return sha256.Sum256(parts[0])
	}
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	var out Hash
	h.Sum(out[:0])
	return out
}

// String returns the hash in base58, as Solana's tools print it.
func (h Hash) String() string { return base58.Encode(h[:]) }

// Pubkey is an Ed25519 public key, or an address without a key.
type Pubkey [32]byte

// String returns the key in base58, as Solana's tools print it.
func (k Pubkey) String() string { return base58.Encode(k[:]) }

// keyTextMax is the length of the longest key in base58.
const keyTextMax = 44

// ParsePubkey reads a base58 key of exactly 32 bytes.
func ParsePubkey(s string) (Pubkey, error) {
	var k Pubkey
	if len(s) > keyTextMax { // decoding takes quadratic time
		return k, fmt.Errorf("key of %d characters, at most %d", len(s), keyTextMax)
	}
	b, err := base58.Decode(s)
	if err != nil {
		return k, fmt.Errorf("key %q: %w", s, err)
	}
	if len(b) != len(k) {
		return k, fmt.Errorf("key %q: %d bytes, want 32", s, len(b))
	}
	copy(k[:], b)
	return k, nil
}

// MustPubkey is ParsePubkey for constants.
func MustPubkey(s string) Pubkey {
	k, err := ParsePubkey(s)
	if err != nil {
		panic(err)
	}
	return k
}

// ParseHash reads a base58 hash of exactly 32 bytes.
func ParseHash(s string) (Hash, error) {
	k, err := ParsePubkey(s)
	return Hash(k), err
}

// Signature is an Ed25519 signature.
type Signature [64]byte

// String returns the signature in base58, as Solana's tools print it.
func (s Signature) String() string { return base58.Encode(s[:]) }

// BlockRef names a leader block: its slot and its id, the Merkle root of its
// last FEC set. One slot can have more than one block.
type BlockRef struct {
	Slot Slot
	ID   Hash
}

// String returns slot and the start of the id, for people.
func (b BlockRef) String() string { return fmt.Sprintf("%d:%.8s", b.Slot, b.ID.String()) }

// UserBlockRef names a UserBlock; it is also what a UserBlockEntry carries
// (PROTOCOL section 5).
type UserBlockRef struct {
	U    UserSlot
	Lane Lane
	ID   Hash
}

// String returns UserBlockSlot, lane and the start of the id, for people.
func (r UserBlockRef) String() string {
	return fmt.Sprintf("u%d/%d:%.8s", r.U, r.Lane, r.ID.String())
}

// SlotKey is the slot field of a shred. A leader block has its slot; a
// UserBlock has 1<<63 | lane<<48 | u (PROTOCOL section 4).
type SlotKey uint64

const userKeyBit = 1 << 63

// Key returns the slot field of s's shreds.
func (s Slot) Key() SlotKey { return SlotKey(s) }

// UserKey returns the slot field of the shreds of a UserBlock.
func UserKey(u UserSlot, lane Lane) SlotKey {
	return SlotKey(userKeyBit | uint64(lane)<<48 | uint64(u)&(1<<48-1))
}

// IsUser tells whether the key is a UserBlock's.
func (k SlotKey) IsUser() bool { return k&userKeyBit != 0 }

// User returns UserBlockSlot and lane of a UserBlock's key.
func (k SlotKey) User() (UserSlot, Lane) {
	return UserSlot(k & (1<<48 - 1)), Lane(k >> 48 & 0x7fff)
}

// Slot returns the leader slot of the key, for a UserBlock ⌊u/2⌋.
func (k SlotKey) Slot() Slot {
	if k.IsUser() {
		u, _ := k.User()
		return u.Slot()
	}
	return Slot(k)
}

// String returns the key for people.
func (k SlotKey) String() string {
	if k.IsUser() {
		u, lane := k.User()
		return fmt.Sprintf("u%d/%d", u, lane)
	}
	return fmt.Sprintf("%d", uint64(k))
}
