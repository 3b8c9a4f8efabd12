package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"time"

	"tutti/bank"
	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
)

// trace is SHA-256 over all effects of all nodes, in the order in which the
// nodes returned them: node, virtual time, kind, and the effect's bytes in
// full. Two runs of one seed have the same trace; if they do not, something
// in a node depends on what it must not depend on.
type trace struct {
	sum hash.Hash
	buf []byte
}

func newTrace() *trace { return &trace{sum: sha256.New()} }

// hash returns the trace so far.
func (t *trace) hash() ledger.Hash { return ledger.Hash(t.sum.Sum(nil)) }

// effect adds one effect. sent is what a Send puts on the wire.
func (t *trace) effect(host int, at time.Duration, e node.Effect, sent *frame) {
	t.buf = t.buf[:0]
	t.u64(uint64(host))
	t.u64(uint64(at))
	switch e := e.(type) {
	case node.Save:
		t.tag("save")
		t.bool(e.Lazy)
		t.u64(uint64(len(e.Records)))
		for _, r := range e.Records {
			t.record(r)
		}
	case node.Send:
		t.tag("send")
		t.u64(uint64(len(e.To)))
		for i := range e.To {
			t.key(e.To[i])
		}
		t.hashes(sent.sum())
	case node.Answer:
		t.tag("answer")
		t.key(e.To)
		t.bytes(e.Request.Append(nil))
	case node.Execute:
		t.tag("execute")
		t.block(e.Block)
	case node.Discard:
		t.tag("discard")
		t.ref(e.Block)
	case node.Work:
		t.tag("work")
		t.job(e.Job)
	case node.Root:
		t.tag("root")
		t.ref(e.Block)
		t.bytes(e.State)
	case node.Dial:
		t.tag("dial")
		t.bytes(e.Contact.Append(nil))
	case node.Report:
		t.tag("report")
		t.report(e.Of)
	default:
		panic(fmt.Sprintf("sim: effect of unknown type %T", e))
	}
	t.sum.Write(t.buf)
}

func (t *trace) record(r node.Record) {
	switch r := r.(type) {
	case node.SetRecord:
		t.tag("set")
		t.set(r.Set)
	case node.BlockRecord:
		t.tag("block")
		t.u64(uint64(r.Key))
		t.hashes(r.ID)
		t.ref(r.Parent)
		t.u64(uint64(len(r.Roots)))
		t.hashes(r.Roots...)
	case node.TowerRecord:
		t.tag("tower")
		t.bytes(r.Bytes)
	case node.BegunRecord:
		t.tag("begun")
		t.u64(uint64(r.Key))
	case node.RootRecord:
		t.tag("root")
		t.ref(r.Block)
	case node.HaltRecord:
		t.tag("halt")
		t.bytes(r.Bytes)
	case node.RestartRecord:
		t.tag("restart")
		t.bytes(r.Restart.Append(nil))
	case node.EvidenceRecord:
		t.tag("evidence")
		t.u64(uint64(r.Key))
		t.bytes(r.A)
		t.bytes(r.B)
	default:
		panic(fmt.Sprintf("sim: record of unknown type %T", r))
	}
}

// set adds a set: its root stands for all that is signed, and what is not
// follows.
func (t *trace) set(set *shred.Set) {
	t.hashes(set.Root)
	for i := range set.Shreds {
		s := set.Shred(i)
		if i > 0 && !s.Resigned() {
			break
		}
		raw := s.Raw()
		t.bytes(raw[:len(ledger.Signature{})])
		t.bytes(raw[len(raw)-len(ledger.Signature{}):])
	}
}

func (t *trace) block(b *bank.Block) {
	t.ref(b.Ref)
	t.ref(b.Parent)
	t.hashes(b.LastPoH)
	t.u64(uint64(len(b.UserBlocks)))
	for i := range b.UserBlocks {
		r := &b.UserBlocks[i]
		t.u64(uint64(r.Section))
		t.ref(r.Anchor)
		t.userBlock(r.Block)
	}
}

func (t *trace) userBlock(b *ledger.UserBlock) {
	t.userRef(b.Ref)
	t.key(b.Proposer)
	t.hashes(b.Anchor)
	t.u64(b.Cost)
	t.u64(uint64(b.Payload))
	t.u64(uint64(len(b.Transactions)))
	for i := range b.Transactions {
		tx := &b.Transactions[i]
		t.bytes(tx.Raw())
		t.hashes(tx.Hash)
		t.u64(tx.Position)
		t.u64(uint64(tx.Index))
		t.u64(uint64(tx.Role))
		t.u64(uint64(tx.BundleSize))
		t.bool(tx.SignatureOK)
	}
}

func (t *trace) job(j node.Job) {
	switch j := j.(type) {
	case node.AssembleJob:
		t.tag("assemble")
		t.u64(uint64(j.Key))
		t.hashes(j.Root)
		var places uint64
		for i := range j.Shreds {
			places |= 1 << j.Shreds[i].Position()
		}
		t.u64(places)
	case node.UserBlockJob:
		t.tag("check")
		t.userRef(j.Ref)
		t.key(j.Proposer)
		t.u64(uint64(len(j.Sets)))
		for _, set := range j.Sets {
			t.hashes(set.Root)
		}
		t.u64(uint64(len(j.Blockhashes)))
		t.hashes(j.Blockhashes...)
		t.u64(j.CostMax)
		t.bool(j.Own)
	case node.SignatureJob:
		t.tag("signatures")
		t.userRef(j.Ref)
		t.u64(uint64(j.Transactions[0].Index))
		t.u64(uint64(len(j.Transactions)))
	case node.LeaderSetJob:
		t.tag("votes")
		t.hashes(j.Root)
		t.u64(uint64(len(j.Txs)))
		for i := range j.Txs {
			t.bytes(j.Txs[i].Raw())
		}
	default:
		panic(fmt.Sprintf("sim: job of unknown type %T", j))
	}
}

func (t *trace) report(of any) {
	switch r := of.(type) {
	case node.Accepted:
		t.tag("accepted")
		t.u64(r.Token)
	case node.Refused:
		t.tag("refused")
		t.u64(r.Token)
		t.buf = append(t.buf, r.Signature[:]...)
		t.err(r.Err)
	case node.Dropped:
		t.tag("dropped")
		t.tag(r.What)
		t.tag(r.Reason)
		t.key(r.From)
	case node.ShredSeen:
		t.tag("shred seen")
		t.u64(uint64(r.Key))
		t.u64(uint64(r.Depth))
		t.bool(r.Repaired)
	case node.Broadcast:
		t.tag("broadcast")
		t.u64(uint64(r.Key))
		t.u64(uint64(r.Made))
		t.u64(uint64(r.Roots))
		t.u64(uint64(r.Copies))
	case node.SetCompleted:
		t.tag("set completed")
		t.u64(uint64(r.Key))
		t.u64(uint64(r.Recovered))
	case node.UserBlockHeld:
		t.tag("user block held")
		t.userRef(r.Block.Ref)
		t.u64(uint64(len(r.Block.Transactions)))
		t.bool(r.Own)
	case node.UserBlockVerified:
		t.tag("user block verified")
		t.userRef(r.Ref)
		t.u64(uint64(r.Verified))
	case node.UserBlockRejected:
		t.tag("user block rejected")
		t.userRef(r.Ref)
		t.err(r.Err)
	case node.UserBlockRecorded:
		t.tag("user block recorded")
		t.u64(uint64(r.Slot))
		t.userRef(r.Ref)
	case node.UserBlockMissed:
		t.tag("user block missed")
		t.userRef(r.Ref)
		t.u64(uint64(r.Transactions))
	case node.BlockHeld:
		t.tag("block held")
		t.blockHeld(&r)
	case node.BlockRejected:
		t.tag("block rejected")
		t.ref(r.Block)
		t.err(r.Err)
	case node.StoodStill:
		t.tag("stood still")
		t.u64(uint64(r.Slot))
		t.u64(uint64(r.Parent))
	case node.Voted:
		t.tag("voted")
		t.ref(r.Block)
		t.u64(uint64(r.BankSlot))
		t.hashes(r.BankHash)
	case node.VoteSeen:
		t.tag("vote seen")
		t.key(r.Voter)
		t.ref(r.Block)
	case node.Confirmed:
		t.tag("confirmed")
		t.ref(r.Block)
	case node.BankComputed:
		t.tag("bank computed")
		t.result(r.Result)
	case node.Agreed:
		t.tag("agreed")
		t.u64(uint64(r.Third))
		t.u64(uint64(r.TwoThirds))
	case node.Mismatched:
		t.tag("mismatched")
		t.key(r.Voter)
		t.u64(uint64(r.Slot))
		t.hashes(r.Own, r.Other)
	case node.HealthChanged:
		t.tag("health")
		t.u64(uint64(r.Health))
		t.ref(r.Block)
		t.hashes(r.Own)
		t.buf = fmt.Appendf(t.buf, "%+v", r.Sums)
		t.bytes([]byte(r.Cause))
	case node.Restarted:
		t.tag("restarted")
		t.bytes(r.Restart.Append(nil))
	case node.WentBack:
		t.tag("went back")
		t.ref(r.To)
		t.ref(r.Wrong)
		t.hashes(r.Own, r.Other)
		t.u64(uint64(r.Try))
	case node.Rooted:
		t.tag("rooted")
		t.ref(r.Block)
	case node.Finalized:
		t.tag("finalized")
		t.ref(r.Block)
	case node.Equivocated:
		t.tag("equivocated")
		t.u64(uint64(r.Key))
		t.key(r.Signer)
	case node.Head:
		t.tag("head")
		// Numbers alone.
		t.buf = fmt.Appendf(t.buf, "%v", r)
	default:
		panic(fmt.Sprintf("sim: report of unknown type %T", r))
	}
}

func (t *trace) blockHeld(r *node.BlockHeld) {
	t.ref(r.Block)
	t.ref(r.Parent)
	t.u64(r.Height)
	t.hashes(r.LastPoH)
	t.u64(uint64(len(r.Entries)))
	for i := range r.Entries {
		t.userRef(r.Entries[i])
	}
	t.u64(uint64(r.Missing))
	t.u64(uint64(r.Votes))
	t.u64(uint64(r.Verified))
	t.bool(r.Own)
}

func (t *trace) result(r *bank.Result) {
	t.ref(r.Ref)
	t.ref(r.Parent)
	t.hashes(r.BankHash, r.ParentBankHash, r.Link.BankHash())
	t.u64(uint64(r.Burned))
	t.u64(r.SignatureCount)
	t.u64(uint64(len(r.Receipts)))
	for i := range r.Receipts {
		t.hashes(r.Receipts[i].Leaf())
	}
	t.u64(uint64(len(r.Written)))
	for i := range r.Written {
		t.key(r.Written[i].Key)
	}
	t.u64(uint64(len(r.Stakes)))
}

// The parts of an effect. What varies in length has its length before it.

func (t *trace) u64(v uint64)        { t.buf = binary.LittleEndian.AppendUint64(t.buf, v) }
func (t *trace) err(e error)         { t.tag(e.Error()) }
func (t *trace) key(k ledger.Pubkey) { t.buf = append(t.buf, k[:]...) }

func (t *trace) bool(v bool) {
	if v {
		t.buf = append(t.buf, 1)
	} else {
		t.buf = append(t.buf, 0)
	}
}

func (t *trace) tag(s string) {
	t.u64(uint64(len(s)))
	t.buf = append(t.buf, s...)
}

func (t *trace) bytes(b []byte) {
	t.u64(uint64(len(b)))
	t.buf = append(t.buf, b...)
}

func (t *trace) hashes(hs ...ledger.Hash) {
	for i := range hs {
		t.buf = append(t.buf, hs[i][:]...)
	}
}

func (t *trace) ref(r ledger.BlockRef) {
	t.u64(uint64(r.Slot))
	t.hashes(r.ID)
}

func (t *trace) userRef(r ledger.UserBlockRef) {
	t.u64(uint64(r.U))
	t.u64(uint64(r.Lane))
	t.hashes(r.ID)
}
