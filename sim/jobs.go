package sim

import (
	"fmt"

	"tutti/ledger"
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
	newest   ledger.Slot
}

// setInput is all that the result of an AssembleJob depends on: any 32 shreds
// of one root give the same set, but for its signature. (The last set of a
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
	case node.LeaderSetJob:
		return job.Run()
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
		if a, ok := ev.(node.Assembled); ok && a.Err == nil {
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

// prune forgets old results when a new slot begins.
func (j *jobs) prune(newest ledger.Slot) {
	if newest <= j.newest {
		return
	}
	j.newest = newest
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
}
