package node

import (
	"tutti/ledger"
	"tutti/ledger/sigverify"
	"tutti/shred"
	"tutti/validator"
)

// AssembleJob recovers a FEC set from half of its shreds or more.
type AssembleJob struct {
	Key    ledger.SlotKey
	Root   ledger.Hash
	Shreds []shred.Shred
}

// Run recovers the set, encodes it again and compares the root.
func (j AssembleJob) Run() Event {
	have := 0
	for i := range j.Shreds {
		if j.Shreds[i].IsData() {
			have++
		}
	}
	set, err := shred.Assemble(j.Shreds)
	return Assembled{Key: j.Key, Root: j.Root, Set: set, Recovered: shred.SetData - have, Err: err}
}

// UserBlockJob checks a UserBlock with an anchor.
type UserBlockJob struct {
	validator.UserBlockCheck
	Anchor ledger.BlockRef
}

// Run decides whether the UserBlock is well formed.
func (j UserBlockJob) Run() Event {
	block, err := j.Check()
	return UserBlockChecked{Ref: j.Ref, Anchor: j.Anchor, Block: block, Err: err}
}

// SignatureJob verifies signatures of a part of a UserBlock. Only execution
// waits for it.
type SignatureJob struct {
	Ref          ledger.UserBlockRef
	Transactions []ledger.UserTransaction
	Rule         sigverify.Rule
}

// Run verifies the signatures and notes in the transactions what came of it.
func (j SignatureJob) Run() Event { return j.RunWith(sigverify.NewVerifier(j.Rule)) }

// RunWith does what Run does with a Verifier of the job's rule.
func (j SignatureJob) RunWith(v *sigverify.Verifier) Event {
	return SignaturesChecked{Ref: j.Ref, Verified: validator.VerifySignatures(v, j.Transactions)}
}

// LeaderSetJob verifies hashes and votes of a leader block's set, which has
// that root, or a part of them.
type LeaderSetJob struct {
	validator.SetCheck
	Root ledger.Hash
}

// Run verifies hashes and signatures.
func (j LeaderSetJob) Run() Event {
	verified, err := j.Check()
	return LeaderSetChecked{Root: j.Root, Verified: verified, Err: err}
}
