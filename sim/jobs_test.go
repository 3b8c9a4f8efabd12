package sim

import (
	"testing"

	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
)

// A set that its root does not stand for is not taken from another node: what
// it is may depend on the shreds that were used.
func TestUnsoundSetsAreNotShared(t *testing.T) {
	x := newScene(t)
	key := ledger.UserKey(2, 0)
	signer := x.sim.cfg.keypair("identity", x.sim.index[x.signers.signer(key)])
	made, err := shred.NewShredder(shred.Config{Key: key, Version: 1, Signer: signer}).Shred([]byte("a"), 1, true)
	x.fine(err)
	set := made[0]
	if !sound(set, set.Root) {
		t.Fatal("a shredder's set is not sound")
	}
	for _, place := range []int{0, 31, 32, 63} {
		changed := *set
		changed.Shreds[place] = append([]byte(nil), set.Shreds[place]...)
		changed.Shreds[place][200] ^= 1
		if sound(&changed, set.Root) {
			t.Errorf("sound with another shred at place %d", place)
		}
	}
	j := newJobs(false)
	var shreds []shred.Shred
	for i := range shred.SetData {
		shreds = append(shreds, set.Shred(2*i))
	}
	job := node.AssembleJob{Key: key, Root: set.Root, Shreds: shreds}
	if ev := j.run(job).(node.Assembled); ev.Err != nil || len(j.sets) != 1 {
		t.Errorf("%v; %d sets are shared", ev.Err, len(j.sets))
	}
	job.Root = ledger.Hash{1} // as if the sets were not encoded again
	j.sets = make(map[setInput]*shred.Set)
	j.run(job)
	if len(j.sets) != 0 {
		t.Error("a set of another root is shared")
	}
}
