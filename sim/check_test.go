package sim

import (
	"strings"
	"testing"

	"tutti/consensus"
	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
)

// scene is the checker of a cluster that has not begun, with blocks that its
// nodes tell of:
//
//	0 ── 1 ── 2 ── 3 ── 4
//	     └─── 5'
//
// where 3 names the UserBlock u5/0 with one set.
type scene struct {
	*checker
	t     *testing.T
	sim   *Sim
	tower *consensus.Tower
	user  ledger.UserBlockRef
}

func newScene(t *testing.T) *scene {
	s, err := New(small(1))
	if err != nil {
		t.Fatal(err)
	}
	x := &scene{checker: s.check, t: t, sim: s, user: ledger.UserBlockRef{U: 5, ID: ledger.Hash{5}}}
	x.tower = consensus.NewTower(s.hosts[0].node.Self(), x.ref(0))
	for slot := ledger.Slot(1); slot <= 4; slot++ {
		held := node.BlockHeld{Block: x.ref(slot), Parent: x.ref(slot - 1), Height: uint64(slot)}
		if slot == 3 {
			held.Entries = []ledger.UserBlockRef{x.user}
		}
		x.fine(x.report(0, held))
	}
	x.fine(x.report(1, node.BlockHeld{Block: x.side(), Parent: x.ref(1), Height: 2}))
	return x
}

func (x *scene) ref(slot ledger.Slot) ledger.BlockRef {
	if slot == 0 {
		return x.ledger.Root().Ref
	}
	return ledger.BlockRef{Slot: slot, ID: ledger.Hash{1, byte(slot)}}
}

func (x *scene) side() ledger.BlockRef { return ledger.BlockRef{Slot: 5, ID: ledger.Hash{2}} }

func (x *scene) disk() *store { return x.sim.hosts[0].disk }

func (x *scene) fine(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *scene) broken(err error, want string) {
	x.t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		x.t.Fatalf("error is %v, want one with %q", err, want)
	}
}

// hold gives node 0 the UserBlock, and its disk perhaps.
func (x *scene) hold(stored bool) {
	key := ledger.UserKey(x.user.U, x.user.Lane)
	if stored {
		x.disk().write([]node.Record{
			node.SetRecord{Set: &shred.Set{Key: key, Root: x.user.ID}},
			node.BlockRecord{Key: key, ID: x.user.ID, Roots: []ledger.Hash{x.user.ID}},
		})
	}
	proposer := x.signers.signer(key)
	x.fine(x.report(0, node.UserBlockHeld{Block: &ledger.UserBlock{Ref: x.user, Proposer: proposer}}))
}

// cast makes node 0's next vote and saves its tower.
func (x *scene) cast(block ledger.BlockRef) node.VoteMessage {
	x.t.Helper()
	x.tower.Record(block)
	signer := x.sim.cfg.keypair("identity", 0)
	v := ledger.Vote{
		Account: x.genesis.Validators[0].VoteAccount, Authority: publicKey(signer),
		BankHash: x.ledger.Root().BankHash,
	}
	x.tower.Fill(&v)
	message := v.Message(ledger.Hash{})
	tx, err := ledger.ParseTransaction(ledger.Sign(message.Append(nil), signer))
	x.fine(err)
	x.tower.SetTransaction(tx.Raw())
	x.disk().write([]node.Record{node.TowerRecord{Bytes: x.tower.Append(nil)}})
	return node.VoteMessage{Tx: tx, Vote: v}
}

func TestVoteLeaves(t *testing.T) {
	t.Run("twice", func(t *testing.T) {
		x := newScene(t)
		x.hold(true)
		for slot := ledger.Slot(1); slot <= 3; slot++ {
			m := x.cast(x.ref(slot))
			x.fine(x.vote(0, m, x.disk()))
			x.fine(x.vote(0, m, x.disk()))
		}
		if x.votes.Count() != 3 {
			t.Errorf("%d votes", x.votes.Count())
		}
	})
	t.Run("tower not saved", func(t *testing.T) {
		x := newScene(t)
		m := x.cast(x.ref(1))
		x.disk().tower = nil
		x.broken(x.vote(0, m, x.disk()), "without a tower")
	})
	t.Run("tower of an earlier vote", func(t *testing.T) {
		x := newScene(t)
		x.fine(x.vote(0, x.cast(x.ref(1)), x.disk()))
		before := x.disk().tower
		m := x.cast(x.ref(2))
		x.disk().tower = before
		x.broken(x.vote(0, m, x.disk()), "before its tower is durable")
	})
	t.Run("block not held", func(t *testing.T) {
		x := newScene(t)
		x.broken(x.vote(0, x.cast(x.side()), x.disk()), "does not hold")
	})
	t.Run("UserBlock missing", func(t *testing.T) {
		x := newScene(t)
		x.fine(x.vote(0, x.cast(x.ref(2)), x.disk()))
		x.broken(x.vote(0, x.cast(x.ref(4)), x.disk()), "is missing")
	})
	t.Run("UserBlock not stored", func(t *testing.T) {
		x := newScene(t)
		x.hold(false)
		x.broken(x.vote(0, x.cast(x.ref(3)), x.disk()), "is not stored")
		x.broken(x.settle(0, x.ref(3), x.disk()), "is not stored")
	})
	t.Run("UserBlock pruned", func(t *testing.T) {
		x := newScene(t)
		x.hold(true)
		x.fine(x.settle(0, x.ref(3), x.disk()))
		clear(x.disk().sets)
		x.fine(x.vote(0, x.cast(x.ref(3)), x.disk()))
	})
}

// A vote that reached the disk before a crash binds the node, sent or not.
func TestVoteOnDiskCountsAsSent(t *testing.T) {
	x := newScene(t)
	x.cast(x.ref(2))
	root := x.ledger.Root()
	x.fine(x.restarted(0, root.Ref, root.BankHash, x.disk()))
	if x.votes.Count() != 1 {
		t.Errorf("%d votes", x.votes.Count())
	}
	x.broken(x.vote(0, x.cast(x.ref(3)), x.disk()), "does not hold") // it has to come again
	x.broken(x.restarted(0, root.Ref, ledger.Hash{1}, x.disk()), "comes back")
}

func TestReports(t *testing.T) {
	type told struct {
		node int
		of   any
	}
	x := newScene(t)
	confirmed := func(slot ledger.Slot) any { return node.Confirmed{Block: x.ref(slot)} }
	rooted := func(slot ledger.Slot) any { return node.Rooted{Block: x.ref(slot)} }
	tests := []struct {
		name, want string
		told       []told
	}{
		{"confirmed without votes", "without the votes", []told{{0, confirmed(2)}}},
		{"confirmed unknown", "which no node holds", []told{{0, confirmed(9)}}},
		{"roots", "", []told{{0, rooted(1)}, {1, rooted(3)}, {0, rooted(2)}}},
		{"root without votes", "but its votes root", []told{{0, rooted(1)}}},
		{"root twice", "does not follow", []told{{0, rooted(1)}, {0, rooted(1)}}},
		{"root falls", "does not follow", []told{{0, rooted(2)}, {0, rooted(1)}}},
		{"root switches", "does not follow", []told{{0, rooted(2)}, {0, node.Rooted{Block: x.side()}}}},
		{"roots of two nodes", "another node's root", []told{{0, rooted(2)}, {1, node.Rooted{Block: x.side()}}}},
		{"two blocks of a leader", "where there is", []told{{0, node.BlockHeld{Block: ledger.BlockRef{Slot: 4}, Parent: x.ref(3), Height: 4}}}},
		{"height", "has height", []told{{0, node.BlockHeld{Block: x.ref(9), Parent: x.ref(4), Height: 4}}}},
		{"rejected", "honest leader", []told{{0, node.BlockRejected{Block: x.ref(4)}}}},
		{"UserBlock rejected", "honest proposer", []told{{0, node.UserBlockRejected{Ref: x.user}}}},
		{"proof", "which is honest", []told{{0, node.Equivocated{}}}},
		{"mismatch", "voter", []told{{0, node.Mismatched{}}}},
		{"finalised without roots", "behind it", []told{{0, node.Finalized{Block: x.ref(1)}}}},
		{"finalised falls", "after slot", []told{{0, node.Finalized{}}}},
		{"pool", "in the pool", []told{{0, node.Head{Pool: 1 << 20}}}},
		{"agreed", "executed by more than 1/3", []told{{0, node.Agreed{Third: 3}}}},
		{"head", "but 4 is executed", []told{{0, node.Head{Slot: 3, Executed: 4}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := newScene(t)
			for i, r := range test.told {
				if _, ok := r.of.(node.Rooted); ok && test.want != "but its votes root" {
					for _, v := range x.genesis.Validators { // as if all had rooted everything
						x.votes.Distrust(v.VoteAccount)
					}
				}
				err := x.report(r.node, r.of)
				if i < len(test.told)-1 || test.want == "" {
					x.fine(err)
					continue
				}
				x.broken(err, test.want)
			}
		})
	}
}

// shredOf returns a shred of a set under a key, signed by whoever may.
func (x *scene) shredOf(key ledger.SlotKey, data string) node.ShredMessage {
	x.t.Helper()
	signer := x.sim.cfg.keypair("identity", x.sim.index[x.signers.signer(key)])
	made, err := shred.NewShredder(shred.Config{Key: key, Version: 1, Signer: signer}).Shred([]byte(data), 1, true)
	x.fine(err)
	return node.ShredMessage{Shred: made[0].Shred(0), Root: made[0].Root}
}

func TestShredLeaves(t *testing.T) {
	x := newScene(t)
	key := ledger.UserKey(2, 0)
	h := x.sim.hosts[x.sim.index[x.signers.signer(key)]]
	to := []ledger.Pubkey{x.sim.hosts[(h.index+1)%5].node.Self()}
	m := x.shredOf(key, "a")
	x.sim.now = x.sim.slotAt(1)
	x.broken(x.shred(h, to, &m), "when it is due") // it closes a tick
	x.sim.now += x.sim.cfg.Params.TickDuration
	x.broken(x.shred(h, to, &m), "before it is durable")
	x.broken(h.do(node.Save{Lazy: true, Records: []node.Record{node.BegunRecord{Key: key}}}, nil), "lazily")
	x.broken(h.do(node.Save{Lazy: true, Records: []node.Record{node.TowerRecord{}}}, nil), "lazily")
	h.disk.write([]node.Record{node.BegunRecord{Key: key}})
	x.fine(x.shred(h, to, &m))
	x.broken(x.shred(h, to, &m), "again")
	other := x.shredOf(key, "b")
	x.broken(x.shred(h, to, &other), "another set")
}

// What is durable must be the beginning of this very block, or of a later one.
func TestBegun(t *testing.T) {
	x := newScene(t)
	h := x.sim.hosts[0]
	for _, test := range []struct {
		begun, key ledger.SlotKey
		fine       bool
	}{
		{ledger.UserKey(40, 0), ledger.UserKey(40, 0), true},
		{ledger.UserKey(40, 3), ledger.UserKey(40, 0), true},
		{ledger.UserKey(40, 0), ledger.UserKey(40, 3), true},
		{ledger.UserKey(41, 0), ledger.UserKey(40, 3), true},
		{ledger.UserKey(2, 3), ledger.UserKey(40, 0), false}, // a higher lane, earlier
		{ledger.UserKey(4, 0), ledger.UserKey(5, 0), false},  // of one slot
		{ledger.Slot(5).Key(), ledger.Slot(5).Key(), true},
		{ledger.Slot(6).Key(), ledger.Slot(5).Key(), true},
		{ledger.Slot(4).Key(), ledger.Slot(5).Key(), false},
	} {
		h.disk.begun[test.key.IsUser()] = test.begun
		if err := x.begun(h, test.key); (err == nil) != test.fine {
			t.Errorf("begun %v, sends %v: %v", test.begun, test.key, err)
		}
	}
}

func TestLazily(t *testing.T) {
	x := newScene(t)
	for _, r := range []node.Record{
		node.TowerRecord{}, node.BegunRecord{}, node.HaltRecord{}, node.RestartRecord{}, node.RootRecord{},
	} {
		x.broken(lazily([]node.Record{r}), "lazily")
	}
	x.fine(lazily([]node.Record{node.SetRecord{}, node.BlockRecord{}, node.EvidenceRecord{}}))
}

// A node that has halted is halted, whatever it says next.
func TestHaltedForEver(t *testing.T) {
	x := newScene(t)
	x.nodes[0].halted = true
	x.broken(x.report(0, node.HealthChanged{Health: node.Stalled, Block: x.ref(2)}), "stops over")
	if !x.nodes[0].halted {
		t.Error("a stalled node is not halted any more")
	}
	x.broken(x.report(0, node.HealthChanged{Health: node.Healthy}), "goes on after it has halted")
}

func TestViolationError(t *testing.T) {
	v := &Violation{Seed: 7, At: 1500, Node: 3, Verdict: Diverged, What: "x"}
	if got, want := v.Error(), "seed 7, virtual time 1.5µs, node 3: Diverged: x"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
