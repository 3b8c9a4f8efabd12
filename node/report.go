package node

import (
	"tutti/bank"
	"tutti/cluster"
	"tutti/consensus"
	"tutti/ledger"
)

// The kinds of Report.Of. They carry no time: whoever carries out the effect
// knows it.

// Accepted says that a submitted transaction is in the pool.
type Accepted struct{ Token uint64 }

// Refused says why a submitted transaction is not in the pool.
type Refused struct {
	Token uint64
	// Signature is the transaction's first.
	Signature ledger.Signature
	Err       error
}

// Dropped counts peer traffic that was thrown away, by reason.
type Dropped struct {
	What   string // "shred", "vote", "request", …
	Reason string
	From   ledger.Pubkey
}

// ShredSeen counts an accepted shred by the depth in its Turbine tree at
// which this node stands: 0 is the root.
type ShredSeen struct {
	Key      ledger.SlotKey
	Depth    int
	Repaired bool
}

// Broadcast counts what was sent of an own FEC set.
type Broadcast struct {
	Key ledger.SlotKey
	// Made counts the shreds of the set, Roots those sent to the roots of
	// their trees, Copies those sent to leaders beside the roots.
	Made, Roots, Copies int
}

// SetCompleted says that a FEC set was assembled.
type SetCompleted struct {
	Key       ledger.SlotKey
	Recovered int
}

// UserBlockHeld says that a well-formed UserBlock is held. Its transactions'
// signatures need not be verified yet: nobody may look at SignatureOK.
type UserBlockHeld struct {
	Block *ledger.UserBlock
	Own   bool
}

// UserBlockVerified says that the signatures of a UserBlock's transactions
// are verified, and how many were.
type UserBlockVerified struct {
	Ref      ledger.UserBlockRef
	Verified int
}

// UserBlockRejected says that a UserBlock is not well formed.
type UserBlockRejected struct {
	Ref ledger.UserBlockRef
	Err error
}

// UserBlockRecorded says that an entry that names the UserBlock stands in a
// leader's PoH that extends the heaviest fork; the block need not be
// complete yet.
type UserBlockRecorded struct {
	Slot ledger.Slot
	Ref  ledger.UserBlockRef
}

// UserBlockMissed says that an own UserBlock is not recorded on the confirmed
// fork and cannot be any more.
type UserBlockMissed struct {
	Ref          ledger.UserBlockRef
	Transactions int // that go back to the pool: those that no other UserBlock had
}

// BlockHeld says that a leader block is complete and its PoH and rules hold.
type BlockHeld struct {
	Block    ledger.BlockRef
	Parent   ledger.BlockRef
	Height   uint64
	LastPoH  ledger.Hash
	Entries  []ledger.UserBlockRef
	Missing  int // UserBlocks that this node does not hold yet
	Votes    int
	Verified int // signatures checked
	Own      bool
}

// BlockRejected says that a leader block is invalid: nobody votes for it.
type BlockRejected struct {
	Block ledger.BlockRef
	Err   error
}

// StoodStill says that this node, which leads a slot, makes no block: since that
// of Parent, the best that it has, more slots were skipped than a block can hold
// the ticks of (leader.SkipMax). It is said once until the node makes one.
type StoodStill struct{ Slot, Parent ledger.Slot }

// Voted is this node's own vote.
type Voted struct {
	Block    ledger.BlockRef
	BankSlot ledger.Slot
	BankHash ledger.Hash
}

// VoteSeen is a vote that was counted, a peer's or this node's own.
type VoteSeen struct {
	Voter ledger.Pubkey // vote account
	Block ledger.BlockRef
	// Root and Lockouts are the tower that it shows, oldest first. The
	// lockouts are not changed any more.
	Root     ledger.Slot
	Lockouts []ledger.Lockout
}

// Confirmed says that a block is optimistically confirmed; its ancestors are
// reported before it.
type Confirmed struct{ Block ledger.BlockRef }

// BankComputed says that this node has executed a block.
type BankComputed struct{ Result *bank.Result }

// Agreed gives the newest blocks up to which stake agrees with this node's
// BankHashes: by more than a third, and by more than two thirds.
type Agreed struct{ Third, TwoThirds ledger.Slot }

// Mismatched says that a voter's BankHash differs from this node's.
type Mismatched struct {
	Voter ledger.Pubkey
	Slot  ledger.Slot
	Own   ledger.Hash
	Other ledger.Hash
}

// HealthChanged says that the node has stopped voting, or votes again. Block
// is the one that the cluster disagrees on, with the own BankHash.
type HealthChanged struct {
	Health Health
	Block  ledger.BlockRef
	Own    ledger.Hash
	Sums   consensus.Sums
	Cause  string // if it has stopped
}

// Restarted says that the node has taken a restart record, which is durable,
// and goes on with the cluster.
type Restarted struct{ Restart *cluster.Restart }

// WentBack says that more than two thirds of the stake have another BankHash,
// for which reason the node executes again what comes after To.
type WentBack struct {
	To, Wrong  ledger.BlockRef
	Own, Other ledger.Hash
	Try        int // from 1
}

// Rooted says that a block is rooted by this node's tower.
type Rooted struct{ Block ledger.BlockRef }

// Finalized says that a block is rooted by more than two thirds of the stake,
// in votes counted on its fork. So are its ancestors.
type Finalized struct{ Block ledger.BlockRef }

// Equivocated says that a proof of two blocks under one key was stored.
type Equivocated struct {
	Key    ledger.SlotKey
	Signer ledger.Pubkey
}

// Head is the state that clients ask for most; it is reported when it
// changes.
type Head struct {
	Slot      ledger.Slot // heaviest fork
	Height    uint64
	Confirmed ledger.Slot
	Executed  ledger.Slot
	Root      ledger.Slot
	Finalized ledger.Slot
	Lag       int
	Pool      int
}
