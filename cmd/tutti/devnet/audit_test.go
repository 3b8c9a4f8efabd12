package devnet

import (
	"fmt"
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

func (a *audit) event(kind string, b blockRef) *load.Event {
	return &load.Event{Type: kind, T: a.at(b.slot), Slot: b.slot, UserBlock: load.UserBlock{ID: b.id}}
}

// hold has a node hold a block, call it confirmed and execute it.
func (a *audit) hold(node int, b, parent blockRef) {
	e := a.event("block", b)
	e.ParentSlot, e.Parent = parent.slot, parent.id
	a.take(node, e)
	a.take(node, a.event("confirmed", b))
	e = a.event("executed", b)
	e.BankHash = "hash of " + b.id
	a.take(node, e)
}

// wants checks what was found: what is wrong, then what is slow.
func (a *audit) wants(t *testing.T, violations ...string) {
	t.Helper()
	found := slices.Concat(a.violations, a.slow)
	if len(found) != len(violations) {
		t.Fatalf("found %q, want %q", found, violations)
	}
	for i, v := range found {
		if !strings.Contains(v, violations[i]) {
			t.Errorf("found %q, want %q", v, violations[i])
		}
	}
}

func TestAuditOfConfirmedBlocks(t *testing.T) {
	a1, a2, b1, b2 := blockRef{1, "a1"}, blockRef{2, "a2"}, blockRef{1, "b1"}, blockRef{2, "b2"}
	genesis := blockRef{0, "genesis"}

	a := newTestAudit(t)
	for node := range 4 {
		a.hold(node, a1, genesis)
		a.hold(node, a2, a1)
	}
	if open := a.settle(); open != 0 || a.kept(2) != "" {
		t.Errorf("%d are open, %q", open, a.kept(2))
	}
	a.wants(t)

	a.hold(2, b2, b1)
	a.wants(t, "v2 calls 2/b2 confirmed, and 2/a2 was")
	if why := a.kept(2); !strings.Contains(why, "v2 has executed 2/b2, which does not follow the confirmed 2/a2") {
		t.Errorf("kept: %q", why)
	}

	a = newTestAudit(t)
	a.take(0, a.event("confirmed", b1))
	a.take(1, a.event("confirmed", a2))
	if open := a.settle(); open != 1 {
		t.Errorf("%d are open, want 1 whose parent is not known", open)
	}
	a.hold(1, a1, genesis) // confirmed, too: another block of slot 1
	a.hold(1, a2, a1)
	a.settle()
	a.wants(t, "v1 calls 1/a1 confirmed, and 1/b1 was", "1/b1 and 2/a2 are both confirmed, on two forks")

	a = newTestAudit(t)
	a.hold(0, a1, genesis)
	e := a.event("executed", a1)
	e.BankHash = "another"
	a.take(1, e)
	a.wants(t, "BankHash of 1/a1")
	if a.contradictions != 0 {
		t.Error("a BankHash passes for a contradicting vote")
	}
}

func TestAuditOfGaps(t *testing.T) {
	a := newTestAudit(t)
	confirm := func(slot ledger.Slot) { a.take(0, a.event("confirmed", blockRef{slot, "x"})) }
	confirm(1)
	confirm(13)
	a.wants(t)
	confirm(26)
	a.wants(t, "no block is confirmed for 5.2s before 26/x")

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
	a.wants(t, "v0 calls 4/x confirmed while too few nodes are up")
	a.comeUp(a.at(40))
	confirm(50)
	a.wants(t, "too few")
	a.recovered()
	confirm(70)
	a.wants(t, "too few", "no block is confirmed for 8s before 70/x")
	if confirmed, slots := a.share(a.at(45), a.at(56)); confirmed != 1 || slots != 10 {
		t.Errorf("%d of %d slots", confirmed, slots)
	}
}

// TestAuditOfCuts: a minority that is cut off can confirm nothing new, and
// agrees with the others once it votes for what they confirm.
func TestAuditOfCuts(t *testing.T) {
	genesis, a1, a4, a6 := blockRef{0, "genesis"}, blockRef{1, "a1"}, blockRef{4, "a4"}, blockRef{6, "a6"}
	a := newTestAudit(t)
	a.hold(0, a1, genesis)
	a.sever([]int{3}, a.at(2))
	a.hold(0, a4, a1)
	a.wants(t)
	a.hold(3, a4, a1)
	a.wants(t, "v3 calls 4/a4 confirmed while it is cut off")

	a = newTestAudit(t)
	a.sever([]int{1, 2, 3}, a.at(2))
	a.hold(3, a4, a1) // three of four can
	a.wants(t)
	a.sever([]int{3}, a.at(2))
	a.comeUp(a.at(5))
	a.hold(3, a6, a4)
	a.wants(t)

	account := "voter"
	for _, x := range []struct {
		block  blockRef
		agrees bool
	}{{a4, false}, {blockRef{5, "b5"}, false}, {a6, true}} {
		e := a.event("vote", x.block)
		e.Voter, e.Lockouts = account, [][2]uint64{{uint64(x.block.slot), 1}}
		a.take(0, e)
		if got := a.agrees(account, 4); got != x.agrees {
			t.Errorf("after a vote for %v agrees is %v", x.block, got)
		}
	}
}

// TestAuditOfLedgers holds replayed ledgers against what was said.
func TestAuditOfLedgers(t *testing.T) {
	genesis, a1, a2, b2 := blockRef{0, "genesis"}, blockRef{1, "a1"}, blockRef{2, "a2"}, blockRef{2, "b2"}
	a := newTestAudit(t)
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
	good := func() map[blockRef]replayed {
		return map[blockRef]replayed{
			a1: {genesis, "hash of a1", []load.TxID{7}}, a2: {a1, "hash of a2", nil}, b2: {a1, "hash of b2", nil},
		}
	}
	for _, c := range []struct {
		name, want string
		change     func(map[blockRef]replayed)
	}{
		{"good", "", func(map[blockRef]replayed) {}},
		{"lacks the newest", "2/a2 was confirmed, and is not on the fork", func(x map[blockRef]replayed) { delete(x, a2) }},
		{"lacks one below", "1/a1 was confirmed, and is not on the fork", func(x map[blockRef]replayed) { delete(x, a1) }},
		{"other fork", "1/a1 was confirmed, and is not on the fork", func(x map[blockRef]replayed) {
			x[a2] = replayed{blockRef{1, "b1"}, "hash of a2", nil}
		}},
		{"other hash", "2/a2 has BankHash other, and nodes said hash of", func(x map[blockRef]replayed) { x[a2] = replayed{a1, "other", nil} }},
		{"transaction on a lost fork", "transaction 7 was called confirmed, and is not there", func(x map[blockRef]replayed) {
			x[a1], x[b2] = replayed{genesis, "hash of a1", nil}, replayed{a1, "hash of b2", []load.TxID{7}}
		}},
	} {
		blocks := good()
		c.change(blocks)
		if err := a.holds(blocks); fmt.Sprint(err) != "<nil>" && c.want == "" || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
