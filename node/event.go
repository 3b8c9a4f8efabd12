package node

import (
	"tutti/bank"
	"tutti/ledger"
	"tutti/shred"
)

// Event is what can happen to a node. Events are named in the past tense.
type Event interface{ isEvent() }

// Tick says only that time has passed.
type Tick struct{}

// Submitted is a transaction from a client: parsed, sanitised, and its
// signatures checked. Token comes back in the Accepted or Refused report.
type Submitted struct {
	Tx    ledger.Transaction
	Token uint64
}

// Received is a message from an authenticated peer.
type Received struct {
	From ledger.Pubkey
	Msg  Message
}

// Met says that a connection to a peer was made, so that it can be asked for
// the contact records that it holds.
type Met struct{ Peer ledger.Pubkey }

// Executed is the executor's answer to Execute. Its View is immutable.
type Executed struct{ Result *bank.Result }

// Loaded is a set that the node stored in an earlier run. After a restart the
// sets above the recovered root come first, before any other event.
type Loaded struct{ Set *shred.Set }

// Assembled is the result of an AssembleJob. Err is set if the set does not
// decode to one block whichever of its shreds are used.
type Assembled struct {
	Key  ledger.SlotKey
	Root ledger.Hash
	Set  *shred.Set
	// Recovered counts data shreds that were rebuilt from coding shreds.
	Recovered int
	Err       error
}

// UserBlockChecked is the result of a UserBlockJob: a UserBlock that is well
// formed if Anchor is the block that it builds on, or why it is not.
type UserBlockChecked struct {
	Ref    ledger.UserBlockRef
	Anchor ledger.BlockRef
	Block  *ledger.UserBlock
	Err    error
}

// SignaturesChecked is the result of a SignatureJob: the verdicts stand in
// the UserBlock's transactions.
type SignaturesChecked struct {
	Ref ledger.UserBlockRef
	// Verified counts the signatures.
	Verified int
}

// LeaderSetChecked is the result of a LeaderSetJob: whether what it verified
// of a leader block's set, which has that root, is right.
type LeaderSetChecked struct {
	Root ledger.Hash
	// Verified counts the vote signatures that were checked.
	Verified int
	Err      error
}

func (Tick) isEvent()              {}
func (Submitted) isEvent()         {}
func (Received) isEvent()          {}
func (Met) isEvent()               {}
func (Executed) isEvent()          {}
func (Assembled) isEvent()         {}
func (Loaded) isEvent()            {}
func (LeaderSetChecked) isEvent()  {}
func (UserBlockChecked) isEvent()  {}
func (SignaturesChecked) isEvent() {}
