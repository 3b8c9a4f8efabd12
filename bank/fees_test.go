package bank

import (
	"testing"

	"tutti/bank/program"
	"tutti/cluster"
	"tutti/ledger"
)

// gain executes a block and returns what each identity has more after it.
func (w *world) gain(b *Block) (*Result, [4]int64) {
	var gain [4]int64
	for i := range gain {
		gain[i] = -int64(w.balance(identity(i)))
	}
	r := w.execute(b)
	for i := range gain {
		gain[i] += int64(w.balance(identity(i)))
	}
	return r, gain
}

func TestFeesGoToTheProposerThatExecuted(t *testing.T) {
	w := newWorld(t, 1)
	twice := w.priced(user(0), user(1), 1, 4_000_000)
	r, gain := w.gain(w.block(0, "",
		userBlock(1, w.priced(user(2), user(3), 1, 1_000_000), twice),
		userBlock(2, twice),
		userBlock(1, w.transfer(user(4), user(5), 1)),
	))
	// The earlier PoH position executes: the occurrence of proposer 2.
	w.expect(r, OK, Duplicate, OK, OK)
	want := [4]int64{0, 2500 + 1000 + 2500, 2500 + 4000, 0}
	if gain != want {
		t.Errorf("gains %v, want %v", gain, want)
	}
}

// TestBurnAppliesToTheSum: three transactions' base fees of one proposer are
// burnt at once, not one by one.
func TestBurnAppliesToTheSum(t *testing.T) {
	w := newWorld(t, 1)
	r, gain := w.gain(w.block(0, "",
		userBlock(1, w.transfer(user(0), user(1), 1)),
		userBlock(1, w.transfer(user(2), user(3), 1), w.transfer(user(4), user(5), 1))))
	if gain[1] != 7500 || r.Burned != 7500 {
		t.Errorf("proposer gains %d, %d are burnt", gain[1], r.Burned)
	}
}

func TestDepositIsBurntIfTheAccountMayNotTakeIt(t *testing.T) {
	other := testKey("other proposer", 0)
	for name, c := range map[string]struct {
		account []cluster.GenesisAccount
		want    ledger.Lamports
	}{
		"rent-paying":      {nil, 0},
		"not system-owned": {[]cluster.GenesisAccount{{Key: other, Lamports: sol, Owner: user(1)}}, sol},
		"fine":             {[]cluster.GenesisAccount{{Key: other, Lamports: sol}}, sol + 2500},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, func(o *cluster.Options) { o.Accounts = append(o.Accounts, c.account...) })
			u := userBlock(0, w.transfer(user(0), user(1), 1))
			u.Proposer = other
			r := w.execute(w.block(0, "", u))
			if got := w.balance(other); got != c.want {
				t.Errorf("proposer has %d, want %d", got, c.want)
			}
			if want := 5000 - (c.want % sol); r.Burned != want {
				t.Errorf("%d burnt, want %d", r.Burned, want)
			}
		})
	}
}

func TestGarbageIsBilled(t *testing.T) {
	absent := testKey("absent", 0)
	w := newWorld(t, 1)
	bad := w.transfer(user(0), user(1), 1)
	bad.SignatureOK = false
	done := w.transfer(user(2), user(3), 1)
	w.run(done)
	atAnchor := w.tip
	late := w.transfer(user(4), user(5), 1)
	w.run(late)

	// All UserBlocks are anchored where `done` was recorded, before `late`.
	b := w.block(0, "",
		userBlock(0, bad),
		userBlock(1, w.transaction(absent, transferCall(absent, user(1), 0), transferCall(user(0), user(1), 0))),
		userBlock(2, done, late),
		userBlock(3, late))
	for i := range b.UserBlocks {
		b.UserBlocks[i].Anchor = atAnchor
	}
	r, gain := w.gain(b)
	w.expect(r, BadSignature, Unpayable, Duplicate, Duplicate, Duplicate)
	if want := [4]int64{-5000, -10_000, -5000, 0}; gain != want {
		t.Errorf("gains %v, want %v", gain, want)
	}
	if r.Burned != 20_000 {
		t.Errorf("%d burnt", r.Burned)
	}

	// A duplicate within the block is nobody's fault.
	twice := w.transfer(user(6), user(7), 1)
	_, gain = w.gain(w.block(0, "", userBlock(0, twice), userBlock(1, twice)))
	if want := [4]int64{2500, 0, 0, 0}; gain != want {
		t.Errorf("gains %v, want %v", gain, want)
	}
}

// TestBillsComeBeforeRewardsAndStopAtZero: a proposer that has less than its
// bill is left with its reward, if that makes an account that may exist.
func TestBillsComeBeforeRewardsAndStopAtZero(t *testing.T) {
	small := testKey("small proposer", 0)
	w := newWorld(t, 1, func(o *cluster.Options) {
		o.Accounts = append(o.Accounts, cluster.GenesisAccount{Key: small, Lamports: 6000})
	})
	u := userBlock(0, w.priced(user(0), user(1), 1, 1_000_000_000))
	for i := range 2 {
		tx := w.transfer(user(2+i), user(1), 1)
		tx.SignatureOK = false
		u.Transactions = append(u.Transactions, tx)
	}
	u.Proposer = small
	r := w.execute(w.block(0, "", u))
	if got := w.balance(small); got != 1_000_000+2500 {
		t.Errorf("proposer has %d", got)
	}
	if r.Burned != 6000+2500 {
		t.Errorf("%d burnt", r.Burned)
	}
}

func TestIncineratorIsEmptied(t *testing.T) {
	w := newWorld(t, 1)
	// One lamport would do: the incinerator is exempt from the rent check.
	r := w.run(w.transfer(user(0), program.Incinerator, 77))
	w.expect(r, OK)
	if r.Burned != 2577 || w.balance(program.Incinerator) != 0 {
		t.Errorf("%d burnt, %d left", r.Burned, w.balance(program.Incinerator))
	}
}
