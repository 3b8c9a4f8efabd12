package devnet

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"tutti/cluster"
	"tutti/cmd/tutti/load"
	"tutti/ledger"
)

// newTestAudit is one of a devnet of four validators.
func newTestAudit(t *testing.T) *audit {
	t.Helper()
	o := cluster.Options{Params: cluster.LocalParams(4), T0: int64(time.Hour), Faucet: ledger.Pubkey{3}}
	for i := range byte(4) {
		o.Validators = append(o.Validators, cluster.Validator{
			Identity: ledger.Pubkey{1, i}, VoteAccount: ledger.Pubkey{2, i}, Stake: stake,
		})
	}
	g, err := cluster.NewGenesis(o)
	if err != nil {
		t.Fatal(err)
	}
	return newAudit(g)
}

// at is a time in a slot, in Unix nanoseconds.
func (a *audit) at(slot ledger.Slot) int64 {
	return a.genesis.T0 + int64(slot)*int64(ledger.TicksPerSlot*a.genesis.Params.TickDuration)
}

// fork names a block of a slot.
func fork(name byte, slot ledger.Slot) ledger.BlockRef {
	return ledger.BlockRef{Slot: slot, ID: ledger.Hash{name}}
}

// genesisRef is block 0.
func (a *audit) genesisRef() ledger.BlockRef { return a.ledger.Root().Ref }

func (a *audit) event(kind string, b ledger.BlockRef) *load.Event {
	return &load.Event{Type: kind, T: a.at(b.Slot), Slot: b.Slot, UserBlock: load.UserBlock{ID: b.ID.String()}}
}

// hold has a node hold a block, call it confirmed and execute it.
func (a *audit) hold(node int, b, parent ledger.BlockRef) {
	e := a.event("block", b)
	e.ParentSlot, e.Parent = parent.Slot, parent.ID.String()
	a.take(node, e)
	a.take(node, a.event("confirmed", b))
	e = a.event("executed", b)
	e.BankHash = "hash of " + b.String()
	a.take(node, e)
}

// wants checks what was found: what is wrong, what could not be checked, then
// what is slow.
func (a *audit) wants(t *testing.T, violations ...string) {
	t.Helper()
	found := slices.Concat(a.violations, a.unchecked, a.slow)
	if len(found) != len(violations) {
		t.Fatalf("found %q, want %q", found, violations)
	}
	for i, v := range found {
		if !strings.Contains(v, violations[i]) {
			t.Errorf("found %q, want %q", v, violations[i])
		}
	}
}

// sees has a node see a vote of an account, with a root and the slots of its
// tower.
func (a *audit) sees(node, account int, b ledger.BlockRef, root ledger.Slot, tower ...uint64) {
	e := a.event("vote", b)
	e.Voter, e.Root = a.genesis.Validators[account].VoteAccount.String(), root
	for i, slot := range tower {
		e.Lockouts = append(e.Lockouts, [2]uint64{slot, uint64(len(tower) - i)})
	}
	a.take(node, e)
}

func TestAuditOfConfirmedBlocks(t *testing.T) {
	a1, a2, b1, b2 := fork('a', 1), fork('a', 2), fork('b', 1), fork('b', 2)

	a := newTestAudit(t)
	for node := range 4 {
		a.hold(node, a1, a.genesisRef())
		a.hold(node, a2, a1)
	}
	if open := a.settle(); open != 0 || a.kept(2) != "" {
		t.Errorf("%d are open, %q", open, a.kept(2))
	}
	a.wants(t)

	a.hold(2, b2, b1)
	a.wants(t, fmt.Sprintf("v2 calls %v confirmed, and %v was", b2, a2))
	if why := a.kept(2); !strings.Contains(why, fmt.Sprintf("v2 has executed %v, which does not follow the confirmed %v", b2, a2)) {
		t.Errorf("kept: %q", why)
	}

	a = newTestAudit(t)
	a.take(0, a.event("confirmed", b1))
	a.take(1, a.event("confirmed", a2))
	if open := a.settle(); open != 2 {
		t.Errorf("%d are open, want 2 whose parents are not known", open)
	}
	a.hold(1, a2, a1) // its parent comes later
	a.hold(1, a1, a.genesisRef())
	e := a.event("block", b1)
	e.Parent = a.genesisRef().ID.String()
	a.take(1, e)
	if open := a.settle(); open != 0 {
		t.Errorf("%d are open", open)
	}
	a.wants(t, fmt.Sprintf("v1 calls %v confirmed, and %v was", a1, b1), fmt.Sprintf("%v and %v are both confirmed, on two forks", b1, a2))

	a = newTestAudit(t)
	a.hold(0, a1, a.genesisRef())
	e = a.event("executed", a1)
	e.BankHash = "another"
	a.take(1, e)
	a.wants(t, "BankHash of "+a1.String())
	if a.contradictions != 0 {
		t.Error("a BankHash passes for a contradicting vote")
	}
	e.ID = "0"
	a.take(1, e)
	a.wants(t, "BankHash of", "v1 speaks of block \"0\"")
}

// TestAuditOfRoots: roots of all nodes lie on one fork, that of the confirmed
// blocks.
func TestAuditOfRoots(t *testing.T) {
	a1, a2, b1 := fork('a', 1), fork('a', 2), fork('b', 1)
	for _, c := range []struct {
		rooted []ledger.BlockRef
		want   []string
	}{
		{[]ledger.BlockRef{a2, a1}, nil},
		{[]ledger.BlockRef{b1}, []string{"is confirmed on another fork"}},
		{[]ledger.BlockRef{a1, b1}, []string{"are both roots, on two forks", "is confirmed on another fork"}},
	} {
		a := newTestAudit(t)
		a.hold(0, a1, a.genesisRef())
		a.hold(0, a2, a1)
		e := a.event("block", b1)
		e.Parent = a.genesisRef().ID.String()
		a.take(1, e)
		for node, b := range c.rooted {
			a.take(node, a.event("rooted", b))
		}
		a.settle()
		a.wants(t, c.want...)
	}
}

// TestAuditOfVotes: contradicting votes are, whoever shows them; what is
// confirmed and finalised needs votes.
func TestAuditOfVotes(t *testing.T) {
	a1, a2, a3, b3 := fork('a', 1), fork('a', 2), fork('a', 3), fork('b', 3)
	chain := func() *audit {
		a := newTestAudit(t)
		a.hold(0, a1, a.genesisRef())
		a.hold(0, a2, a1)
		for i := range 3 {
			a.sees(0, i, a2, 0, 2)
		}
		return a
	}
	a := chain()
	a.finish()
	a.wants(t)

	a = chain()
	a.hold(0, a3, a2)
	a.take(0, &load.Event{Type: "finalized", Slot: 1})
	a.finish()
	a.wants(t, a3.String()+" is called confirmed without the votes", "slot 1 is called finalised with 0 of")

	a = chain()
	a.sees(2, 0, b3, 0, 3)
	a.wants(t, "forgets the vote for slot 2")
	if a.contradictions != 1 {
		t.Errorf("%d contradictions", a.contradictions)
	}

	a = chain()
	a.sees(2, 0, b3, 0, 2, 3)
	e := a.event("block", b3)
	e.Parent = a.genesisRef().ID.String()
	a.take(0, e)
	a.settle()
	a.wants(t, "vote for slot 2, which is not on that fork")
}

// TestAuditSaysWhatItCannotCheck: votes and confirmed blocks that stay open,
// and events that were lost, are failures of their own.
func TestAuditSaysWhatItCannotCheck(t *testing.T) {
	a := newTestAudit(t)
	a.take(0, a.event("confirmed", fork('a', 2)))
	a.take(0, a.event("rooted", fork('a', 1)))
	a.sees(0, 1, fork('b', 2), 0, 2)
	a.finish()
	a.wants(t, "3 votes, roots or confirmed blocks could not be compared")

	a = newTestAudit(t)
	a.take(0, &load.Event{Type: "lost", Count: 7})
	a.hold(0, fork('a', 1), a.genesisRef())
	a.finish() // the votes for a1 may be among them
	a.wants(t, "7 events of nodes were lost", "by the votes that were read: ")

	r := run{options: &Options{Faults: &Faults{}}, audit: a, display: newDisplay(io.Discard)}
	if err := r.verdict(); err == nil || !strings.Contains(err.Error(), "0 checks failed, 2 could not be made") {
		t.Errorf("verdict: %v", err)
	}
}

func TestAuditOfGaps(t *testing.T) {
	a := newTestAudit(t)
	confirm := func(slot ledger.Slot) { a.take(0, a.event("confirmed", fork('x', slot))) }
	confirm(1)
	confirm(13)
	a.wants(t)
	confirm(26)
	a.wants(t, "no block is confirmed for 5.2s before "+fork('x', 26).String())

	// With the leaders of all of it down, that is in order.
	a = newTestAudit(t)
	confirm(1)
	a.goDown([]int{0}, a.at(2))
	for i := range a.down {
		a.down[i] = true
	}
	confirm(26)
	a.wants(t)

	// Two of four are too few: nothing is confirmed but what was in the air,
	// and the gap is not theirs.
	a = newTestAudit(t)
	confirm(1)
	a.goDown([]int{1, 2}, a.at(2))
	confirm(3)
	a.wants(t)
	confirm(4)
	a.wants(t, "v0 calls "+fork('x', 4).String()+" confirmed while too few nodes are up")
	a.comeUp(a.at(40))
	confirm(50)
	a.wants(t, "too few")
	a.recovered()
	confirm(70)
	a.wants(t, "too few", "no block is confirmed for 8s before "+fork('x', 70).String())
	if confirmed, slots := a.share(a.at(45), a.at(56)); confirmed != 1 || slots != 10 {
		t.Errorf("%d of %d slots", confirmed, slots)
	}
}

// TestAuditOfCuts: a minority that is cut off can confirm nothing new, and
// agrees with the others once it votes for what they confirm.
func TestAuditOfCuts(t *testing.T) {
	a1, a4, a6 := fork('a', 1), fork('a', 4), fork('a', 6)
	a := newTestAudit(t)
	a.hold(0, a1, a.genesisRef())
	a.sever([]int{3}, a.at(2))
	a.hold(0, a4, a1)
	a.wants(t)
	a.hold(3, a4, a1)
	a.wants(t, "v3 calls "+a4.String()+" confirmed while it is cut off")

	a = newTestAudit(t)
	a.sever([]int{1, 2, 3}, a.at(2))
	a.hold(3, a4, a1) // three of four can
	a.wants(t)
	a.sever([]int{3}, a.at(2))
	a.comeUp(a.at(5))
	a.hold(3, a6, a4)
	a.wants(t)

	account := a.genesis.Validators[1].VoteAccount
	for _, x := range []struct {
		block  ledger.BlockRef
		agrees bool
	}{{a4, false}, {fork('b', 5), false}, {a6, true}} {
		a.sees(0, 1, x.block, x.block.Slot-1, uint64(x.block.Slot))
		if got := a.agrees(account, 4); got != x.agrees {
			t.Errorf("after a vote for %v agrees is %v", x.block, got)
		}
	}
}

// TestAuditOfLedgers holds replayed ledgers against what was said.
func TestAuditOfLedgers(t *testing.T) {
	a1, a2, b1, b2 := fork('a', 1), fork('a', 2), fork('b', 1), fork('b', 2)
	a := newTestAudit(t)
	genesis := a.genesisRef()
	a.hold(0, a1, genesis)
	a.hold(0, a2, a1)
	a.settle()
	a.concluded, a.concludedAt = a2, 100
	a.conclude(&load.Fate{ID: 7, Confirmed: 100, Ending: load.OK})
	a.conclude(&load.Fate{ID: 8, Confirmed: 100, Ending: load.Unpayable}) // has its reason
	a.conclude(&load.Fate{ID: 9, Ending: load.Unrecorded})
	a.conclude(&load.Fate{ID: 10, Confirmed: 101, Ending: load.Unexecuted}) // too late to tell
	if n := a.promises(); n != 1 {
		t.Errorf("%d transactions must be there", n)
	}
	good := func() map[ledger.BlockRef]replayed {
		return map[ledger.BlockRef]replayed{
			a1: {genesis, "hash of " + a1.String(), []load.TxID{7}}, a2: {a1, "hash of " + a2.String(), nil}, b2: {a1, "hash of " + b2.String(), nil},
		}
	}
	for _, c := range []struct {
		name, want string
		change     func(map[ledger.BlockRef]replayed)
	}{
		{"good", "", func(map[ledger.BlockRef]replayed) {}},
		{"lacks the newest", a2.String() + " was confirmed, and is not on the fork", func(x map[ledger.BlockRef]replayed) { delete(x, a2) }},
		{"lacks one below", a1.String() + " was confirmed, and is not on the fork", func(x map[ledger.BlockRef]replayed) { delete(x, a1) }},
		{"other fork", a1.String() + " was confirmed, and is not on the fork", func(x map[ledger.BlockRef]replayed) {
			x[a2] = replayed{b1, "hash of " + a2.String(), nil}
		}},
		{"other hash", a2.String() + " has BankHash other, and nodes said hash of", func(x map[ledger.BlockRef]replayed) { x[a2] = replayed{a1, "other", nil} }},
		{"transaction on a lost fork", "transaction 7 was called confirmed, and is not there", func(x map[ledger.BlockRef]replayed) {
			x[a1], x[b2] = replayed{genesis, "hash of " + a1.String(), nil}, replayed{a1, "hash of " + b2.String(), []load.TxID{7}}
		}},
	} {
		blocks := good()
		c.change(blocks)
		if err := a.holds(blocks); fmt.Sprint(err) != "<nil>" && c.want == "" || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
