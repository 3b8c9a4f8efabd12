package sim

import (
	"encoding/binary"
	"fmt"

	"tutti/ledger"
	"tutti/ledger/sigverify"
	"tutti/node"
	"tutti/shred"
)

// jobsSlots is for how many slots results of jobs are kept.
const jobsSlots = 8

// jobs runs the nodes' jobs. A job is a pure function of its input, so what
// two nodes ask for is computed once, and both share the result, which nobody
// changes. That saves most of the time and memory of a large cluster.
type jobs struct {
	unshared bool
	sets     map[setInput]*shred.Set
	blocks   map[blockInput]node.UserBlockChecked
	// verified has results by the first transaction of the part of a block,
	// whose verdicts stand in the transactions.
	verified map[*ledger.UserTransaction]node.SignaturesChecked
	// checks has verdicts on hashes and votes, signed those on roots of sets.
	checks map[ledger.Hash]node.LeaderSetChecked
	signed map[signedInput]bool
	newest ledger.Slot
}

// signedInput is a signature of a set's root.
type signedInput struct {
	signer    ledger.Pubkey
	root      ledger.Hash
	signature ledger.Signature
}

// setInput is all that the result of an AssembleJob depends on if the set is
// sound: any 32 shreds of one root give the same set, but for its signature. (The last set of a
// leader block is not shared, since its shreds bear their retransmitters'
// signatures.)
type setInput struct {
	key       ledger.SlotKey
	root      ledger.Hash
	signature ledger.Signature
}

// blockInput is all that the result of a UserBlockJob depends on: the id
// stands for all of the block's bytes.
type blockInput struct {
	ref         ledger.UserBlockRef
	proposer    ledger.Pubkey
	blockhashes ledger.Hash
	costMax     uint64
	own         bool
}

func newJobs(unshared bool) *jobs {
	return &jobs{
		unshared: unshared,
		sets:     make(map[setInput]*shred.Set),
		blocks:   make(map[blockInput]node.UserBlockChecked),
		verified: make(map[*ledger.UserTransaction]node.SignaturesChecked),
		checks:   make(map[ledger.Hash]node.LeaderSetChecked),
		signed:   make(map[signedInput]bool),
	}
}

// run returns the event that comes of a job.
func (j *jobs) run(job node.Job) node.Event {
	if j.unshared {
		return job.Run()
	}
	switch job := job.(type) {
	case node.AssembleJob:
		j.prune(job.Key.Slot())
		return j.assemble(job)
	case node.UserBlockJob:
		return j.check(job)
	case node.SignatureJob:
		return j.signatures(job)
	case node.LeaderSetJob:
		return j.leaderSet(job)
	}
	panic(fmt.Sprintf("sim: job of unknown type %T", job))
}

func (j *jobs) assemble(job node.AssembleJob) node.Event {
	if job.Shreds[0].Resigned() {
		return job.Run()
	}
	in := setInput{job.Key, job.Root, job.Shreds[0].Signature()}
	set := j.sets[in]
	if set == nil {
		ev := job.Run()
		if a, ok := ev.(node.Assembled); ok && a.Err == nil && sound(a.Set, job.Root) {
			j.sets[in] = a.Set
		}
		return ev
	}
	recovered := shred.SetData
	for i := range job.Shreds {
		if job.Shreds[i].IsData() {
			recovered--
		}
	}
	return node.Assembled{Key: job.Key, Root: job.Root, Set: set, Recovered: recovered}
}

// sound tells whether all 64 shreds of a set have proofs that lead to the root.
// Then any 32 shreds with such proofs are among them, and give this set; other
// sets are not shared, since they may be what they are by which shreds were used.
func sound(set *shred.Set, root ledger.Hash) bool {
	for i := range set.Shreds {
		s := set.Shred(i)
		if got, err := s.Root(); err != nil || got != root || s.Position() != i {
			return false
		}
	}
	return true
}

func (j *jobs) check(job node.UserBlockJob) node.Event {
	parts := make([][]byte, len(job.Blockhashes))
	for i := range parts {
		parts[i] = job.Blockhashes[i][:]
	}
	in := blockInput{job.Ref, job.Proposer, ledger.Sum(parts...), job.CostMax, job.Own}
	if ev, ok := j.blocks[in]; ok {
		ev.Anchor = job.Anchor
		return ev
	}
	ev := job.Run()
	if c, ok := ev.(node.UserBlockChecked); ok {
		j.blocks[in] = c
	}
	return ev
}

// signatures verifies a part of a block once for all nodes that share it.
func (j *jobs) signatures(job node.SignatureJob) node.Event {
	part := &job.Transactions[0]
	if ev, ok := j.verified[part]; ok {
		return ev
	}
	ev := job.Run().(node.SignaturesChecked)
	j.verified[part] = ev
	return ev
}

// leaderSet shares verdicts on the same hashes and votes, whichever set they
// came in.
func (j *jobs) leaderSet(job node.LeaderSetJob) node.Event {
	parts := make([][]byte, 0, 2*(len(job.Txs)+len(job.Hashes)))
	for i := range job.Txs {
		raw := job.Txs[i].Raw()
		parts = append(parts, binary.LittleEndian.AppendUint32([]byte{byte(job.Rule)}, uint32(len(raw))), raw)
	}
	for i := range job.Hashes {
		sum := job.Hashes[i].Sum()
		parts = append(parts, []byte("hash"), sum[:])
	}
	in := ledger.Sum(parts...)
	ev, ok := j.checks[in]
	if !ok {
		ev = job.Run().(node.LeaderSetChecked)
		j.checks[in] = ev
	}
	ev.Root = job.Root
	return ev
}

// verifier returns what nodes check signatures of sets with, nil if they share
// nothing.
func (j *jobs) verifier(rule sigverify.Rule) func(ledger.Pubkey, ledger.Hash, ledger.Signature) bool {
	if j.unshared {
		return nil
	}
	return func(signer ledger.Pubkey, root ledger.Hash, signature ledger.Signature) bool {
		in := signedInput{signer, root, signature}
		ok, known := j.signed[in]
		if !known {
			ok = rule.Verify(signer[:], root[:], signature[:])
			j.signed[in] = ok
		}
		return ok
	}
}

// prune forgets old results when a new slot begins.
func (j *jobs) prune(newest ledger.Slot) {
	if newest <= j.newest {
		return
	}
	j.newest = newest
	if newest%jobsSlots == 0 {
		clear(j.checks)
		clear(j.signed)
	}
	floor := newest - min(newest, jobsSlots)
	for in := range j.sets {
		if in.key.Slot() < floor {
			delete(j.sets, in)
		}
	}
	for in := range j.blocks {
		if in.ref.U.Slot() < floor {
			delete(j.blocks, in)
		}
	}
	for part, ev := range j.verified {
		if ev.Ref.U.Slot() < floor {
			delete(j.verified, part)
		}
	}
}
