package node

import (
	"tutti/bank"
	"tutti/cluster"
	"tutti/ledger"
	"tutti/repair"
	"tutti/shred"
)

// Effect is what a node wants done. Effects are named in the imperative and
// carried out in order; those behind a Save that is not Lazy wait until it is
// durable.
type Effect interface{ isEffect() }

// Save writes records. A Lazy one may become durable later: what it holds
// can be repaired. All others are durable before any later effect.
type Save struct {
	Lazy    bool
	Records []Record
}

// Send gives a message to peers, or loses it.
type Send struct {
	To  []ledger.Pubkey
	Msg Message
}

// Answer asks the store to answer a peer's repair request.
type Answer struct {
	To      ledger.Pubkey
	Request repair.Request
}

// Execute hands a block to the executor; an Executed comes back. The node
// has at most one such block outstanding.
type Execute struct{ Block *bank.Block }

// Discard has the executor forget a block's result and those of its
// descendants, so that they can be executed again.
type Discard struct{ Block ledger.BlockRef }

// Work hands CPU-heavy pure work to workers; its event comes back.
type Work struct{ Job Job }

// Root tells executor and store that a block is rooted: other forks at or
// below it are dead. If State is set, executor and store write it together
// with the accounts of that block, in one commit: a restart goes on from there.
type Root struct {
	Block ledger.BlockRef
	State []byte // RootState
}

// Dial says that a peer's addresses became known or changed.
type Dial struct{ Contact cluster.Contact }

// Report tells something to logs, metrics and subscribers; nothing depends
// on it.
type Report struct{ Of any }

func (Save) isEffect()    {}
func (Send) isEffect()    {}
func (Answer) isEffect()  {}
func (Execute) isEffect() {}
func (Discard) isEffect() {}
func (Work) isEffect()    {}
func (Root) isEffect()    {}
func (Dial) isEffect()    {}
func (Report) isEffect()  {}

// Record is something that a Save writes.
type Record interface{ isRecord() }

// SetRecord is a complete FEC set. Its 32 data shreds are all that has to be
// stored: the others are rebuilt from them.
type SetRecord struct{ Set *shred.Set }

// BlockRecord says that all sets of a block, first to last, are there. For a
// leader block Parent is its parent.
type BlockRecord struct {
	Key    ledger.SlotKey
	ID     ledger.Hash
	Parent ledger.BlockRef
	Roots  []ledger.Hash
}

// TowerRecord is the tower, with the last vote in it. It goes to a file of
// its own, too.
type TowerRecord struct{ Bytes []byte }

// BegunRecord says that a block is about to be made under Key: after a
// restart nothing more is made for it.
type BegunRecord struct{ Key ledger.SlotKey }

// RootRecord is the newest rooted block.
type RootRecord struct{ Block ledger.BlockRef }

// EvidenceRecord is proof that a proposer or a leader made two blocks under
// one key: two shreds of one set index with different signed roots.
type EvidenceRecord struct {
	Key  ledger.SlotKey
	A, B []byte
}

// HaltRecord is why the node has stopped: a Halt. A node that finds one in
// which it has Halted does not begin again.
type HaltRecord struct{ Bytes []byte }

// RestartRecord is a record with which the cluster has gone on after a halt.
// All of them are kept.
type RestartRecord struct{ Restart *cluster.Restart }

func (HaltRecord) isRecord()     {}
func (RestartRecord) isRecord()  {}
func (SetRecord) isRecord()      {}
func (BlockRecord) isRecord()    {}
func (TowerRecord) isRecord()    {}
func (BegunRecord) isRecord()    {}
func (RootRecord) isRecord()     {}
func (EvidenceRecord) isRecord() {}

// Job is pure work that takes too long for the core. Run may be called on
// any goroutine.
type Job interface{ Run() Event }
