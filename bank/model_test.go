package bank

import (
	"bytes"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"tutti/bank/program"
	"tutti/cluster"
	"tutti/internal/testkit"
	"tutti/ledger"
)

// model is PROTOCOL section 8 for transfers between system accounts without
// data, written to be read: one map, one transaction after the other. It
// knows the block as its authors did, not as the bank does.
type model struct {
	reserve, bond ledger.Lamports
	balances      map[ledger.Pubkey]ledger.Lamports
	processed     map[ledger.Hash]ledger.Slot
	burned        ledger.Lamports
}

// plan says what a random transaction does.
type plan struct {
	from, to     ledger.Pubkey
	amount       ledger.Lamports
	price        uint64
	signatures   ledger.Lamports
	badSignature bool
	refuses      bool
	calls        int // instructions of the transaction
}

// verdict is what the model says of an occurrence.
type verdict struct {
	outcome Outcome
	fee     ledger.Lamports
	units   uint64
}

func rentPaying(l ledger.Lamports) bool { return 0 < l && l < 890_880 }

// mayPass is Agave's rule for a balance that a transaction changes.
func mayPass(before, after ledger.Lamports) bool {
	return !rentPaying(after) || rentPaying(before) && after <= before
}

func (m *model) payable(key ledger.Pubkey, fee ledger.Lamports) bool {
	held := m.balances[key]
	return held > 0 && fee <= held && mayPass(held, held-fee)
}

// transfer executes a plan's transfer: false and no change if it fails.
func (m *model) transfer(p *plan) (ok bool) {
	from, to := m.balances[p.from], m.balances[p.to]
	if p.amount > from {
		return false
	}
	if p.from == p.to {
		return true
	}
	if !mayPass(from, from-p.amount) || !mayPass(to, to+p.amount) {
		return false
	}
	floor := min(m.reserve, from)
	if bytes.HasPrefix(p.from[:], stakedMark) {
		floor = max(floor, min(m.bond, from))
	}
	if from-p.amount < floor {
		return false
	}
	m.balances[p.from] -= p.amount
	m.balances[p.to] += p.amount
	return true
}

func (m *model) judge(p *plan, hash ledger.Hash, fee ledger.Lamports) Outcome {
	if p.badSignature {
		return BadSignature
	}
	if _, ok := m.processed[hash]; ok {
		return Duplicate
	}
	if !m.payable(p.from, fee) {
		return Unpayable
	}
	return OK
}

// priorityFee is ⌈price · units / 1 000 000⌉.
func priorityFee(price, units uint64) ledger.Lamports {
	n := new(big.Int).Mul(new(big.Int).SetUint64(price), new(big.Int).SetUint64(units))
	n.Add(n, big.NewInt(999_999)).Div(n, big.NewInt(1_000_000))
	if !n.IsUint64() {
		return ^ledger.Lamports(0)
	}
	return ledger.Lamports(n.Uint64())
}

// one executes a transaction, or a bundle given with its members.
func (m *model) one(slot ledger.Slot, txs []ledger.UserTransaction, plans map[ledger.Hash]*plan) []verdict {
	first := plans[txs[0].Hash]
	out := make([]verdict, len(txs))
	var base ledger.Lamports
	for i := range txs {
		base += 5000 * plans[txs[i].Hash].signatures
		out[i].outcome = BundleAborted
	}
	priority := priorityFee(first.price, 1000*uint64(len(txs)))
	if out[0].outcome = m.judge(first, txs[0].Hash, base+priority); out[0].outcome != OK {
		return out
	}
	saved := make(map[ledger.Pubkey]ledger.Lamports)
	for _, tx := range txs {
		p := plans[tx.Hash]
		saved[p.from], saved[p.to] = m.balances[p.from], m.balances[p.to]
	}
	undo := func() {
		for k, v := range saved {
			m.balances[k] = v
		}
		for i := range txs[1:] {
			if m.processed[txs[1+i].Hash] == slot && out[1+i].outcome == OK {
				delete(m.processed, txs[1+i].Hash)
			}
			out[1+i] = verdict{outcome: BundleAborted}
		}
		m.balances[first.from] -= base + priority
		out[0].outcome, out[0].fee = Failed, base+priority
	}

	own := 5000*first.signatures + priority
	m.balances[first.from] -= own
	m.processed[txs[0].Hash] = slot
	out[0] = verdict{OK, own, 150 * uint64(first.calls)}
	if !m.transfer(first) {
		undo()
		return out
	}
	for i, tx := range txs[1:] {
		p := plans[tx.Hash]
		fee := 5000 * p.signatures
		if p.refuses || m.judge(p, tx.Hash, fee) != OK {
			undo()
			return out
		}
		m.balances[p.from] -= fee
		if !m.transfer(p) {
			undo()
			return out
		}
		m.processed[tx.Hash] = slot
		out[1+i] = verdict{OK, fee, 150 * uint64(p.calls)}
	}
	return out
}

// execute runs a block and returns the verdicts in the order of execution.
func (m *model) execute(b *Block, plans map[ledger.Hash]*plan) []verdict {
	m.burned = 0
	var out []verdict
	bills := make([]ledger.Lamports, len(b.UserBlocks))
	base, priority := make(map[ledger.Pubkey]ledger.Lamports), make(map[ledger.Pubkey]ledger.Lamports)
	for _, u := range naiveOrder(b.UserBlocks) {
		r := &b.UserBlocks[u.block]
		txs := r.Block.Transactions[u.first : u.first+u.count]
		verdicts := m.one(b.Ref.Slot, txs, plans)
		for i, v := range verdicts {
			p := plans[txs[i].Hash]
			switch {
			case v.outcome.Processed() && i == 0:
				fees := priorityFee(p.price, 1000*uint64(len(txs)))
				base[r.Block.Proposer] += v.fee - fees
				priority[r.Block.Proposer] += fees
			case v.outcome.Processed():
				base[r.Block.Proposer] += v.fee
			case v.outcome == BadSignature, v.outcome == Unpayable,
				v.outcome == Duplicate && m.processed[txs[i].Hash] <= r.Anchor.Slot:
				bills[u.block] += 5000 * p.signatures
			}
		}
		out = append(out, verdicts...)
	}
	for i, bill := range bills {
		proposer := b.UserBlocks[i].Block.Proposer
		bill = min(bill, m.balances[proposer])
		m.balances[proposer] -= bill
		m.burned += bill
	}
	for proposer, fees := range base {
		reward := fees - fees/2 + priority[proposer]
		m.burned += fees / 2
		held := m.balances[proposer]
		if mayPass(held, held+reward) {
			m.balances[proposer] += reward
		} else {
			m.burned += reward
		}
	}
	return out
}

// stakedMark begins the keys of staked identities in these tests.
var stakedMark = []byte("staked identity ")

func stakedKey(n int) ledger.Pubkey {
	return ledger.Pubkey(fmt.Appendf(nil, "%s%016d", stakedMark, n))
}

// crowd makes random blocks of few accounts, so that they conflict a lot.
type crowd struct {
	*world
	rng     *rand.Rand
	keys    []ledger.Pubkey
	plans   map[ledger.Hash]*plan
	earlier []ledger.UserTransaction
}

func newCrowd(t testing.TB, rng *rand.Rand, workers int) *crowd {
	c := &crowd{rng: rng, plans: make(map[ledger.Hash]*plan)}
	keys := rng.IntN(60) + 4
	c.world = newWorld(t, workers, func(o *cluster.Options) {
		o.Accounts = nil
		for i := range o.Validators {
			o.Validators[i].Identity = stakedKey(i)
		}
		o.IdentityLamports = 5*sol + 200_000
		for i := range keys {
			c.keys = append(c.keys, user(i))
			if held := []ledger.Lamports{0, 4_000, 5_000, 900_000, 1_010_000, 3_000_000, sol}[rng.IntN(7)]; held > 0 {
				o.Accounts = append(o.Accounts, cluster.GenesisAccount{Key: user(i), Lamports: held})
			}
		}
		for i := range o.Validators {
			c.keys = append(c.keys, stakedKey(i))
		}
	})
	return c
}

func (c *crowd) transaction() ledger.UserTransaction {
	if len(c.earlier) > 0 && c.rng.IntN(6) == 0 {
		tx := c.earlier[c.rng.IntN(len(c.earlier))]
		tx.Role = ledger.NoBundle
		return tx
	}
	p := c.plan()
	calls := priceCalls(p.price)
	if p.refuses {
		calls = append(calls, ledger.RefuseBundleCall())
	}
	return c.make(p, calls)
}

func (c *crowd) plan() *plan {
	amounts := []ledger.Lamports{0, 1, 1_000, 890_880, ledger.Lamports(c.rng.Uint64N(3_000_000)), sol}
	return &plan{
		from: c.keys[c.rng.IntN(len(c.keys))], to: c.keys[c.rng.IntN(len(c.keys))],
		amount: amounts[c.rng.IntN(len(amounts))], price: c.rng.Uint64N(3) * 1_000_000, signatures: 1,
		badSignature: c.rng.IntN(20) == 0, refuses: c.rng.IntN(20) == 0,
	}
}

func (c *crowd) make(p *plan, calls []ledger.Call) ledger.UserTransaction {
	calls = append(calls, transferCall(p.from, p.to, p.amount))
	p.calls = len(calls)
	tx := c.world.transaction(p.from, calls...)
	if earlier, ok := c.plans[tx.Hash]; ok {
		p = earlier // whether its signature is good has been decided
	}
	tx.SignatureOK = !p.badSignature
	c.plans[tx.Hash] = p
	c.earlier = append(c.earlier, tx)
	return tx
}

// userBlock makes a random UserBlock without a message twice.
func (c *crowd) userBlock(lane int) *ledger.UserBlock {
	var txs []ledger.UserTransaction
	seen := make(map[ledger.Hash]bool)
	fresh := func() (ledger.UserTransaction, bool) {
		tx := c.transaction()
		if seen[tx.Hash] || slices.ContainsFunc(txs, func(o ledger.UserTransaction) bool { return o.Hash == tx.Hash }) {
			return tx, false
		}
		seen[tx.Hash] = true
		return tx, true
	}
	for range c.rng.IntN(60) {
		if c.rng.IntN(6) > 0 {
			if tx, ok := fresh(); ok && c.plans[tx.Hash].calls < 5 {
				txs = append(txs, tx)
			}
			continue
		}
		var members []ledger.UserTransaction
		var hashes []ledger.Hash
		for range 2 + c.rng.IntN(4) {
			if tx, ok := fresh(); ok && c.plans[tx.Hash].calls < 5 {
				tx.Role = ledger.Member
				members = append(members, tx)
				hashes = append(hashes, tx.Hash)
			}
		}
		if len(members) < ledger.BundleMin {
			continue
		}
		p := c.plan()
		p.refuses = false
		first := c.make(p, append(priceCalls(p.price), ledger.BundleCall(hashes), ledger.RefuseBundleCall()))
		first.Role, first.BundleSize = ledger.Bundler, uint8(len(members))
		txs = append(append(txs, first), members...)
	}
	b := userBlock(0, txs...)
	b.Proposer = stakedKey(lane)
	return b
}

func (c *crowd) block(skipped int, salt string) *Block {
	var userBlocks []*ledger.UserBlock
	for lane := range c.rng.IntN(5) {
		userBlocks = append(userBlocks, c.userBlock(lane))
	}
	return c.world.block(skipped, salt, userBlocks...)
}

// TestAgainstModel: whatever the number of workers, the result is that of
// the model, in random blocks full of conflicts, bundles, duplicates and
// transactions that cannot be paid.
func TestAgainstModel(t *testing.T) {
	rng := testkit.Rand(t)
	seen := make(map[Outcome]int)
	for range 40 {
		c := newCrowd(t, rng, 1)
		others := []*world{worldOf(t, c.genesis, 2), worldOf(t, c.genesis, 4)}
		m := &model{
			reserve: c.genesis.Params.Reserve, bond: c.genesis.Params.ProposerBond,
			balances: make(map[ledger.Pubkey]ledger.Lamports), processed: make(map[ledger.Hash]ledger.Slot),
		}
		for _, k := range c.keys {
			m.balances[k] = c.balance(k)
		}
		for range 8 {
			b := c.block(rng.IntN(3), "")
			r := c.execute(b)
			want := m.execute(b, c.plans)
			if len(r.Receipts) != len(want) {
				t.Fatalf("%d receipts, want %d", len(r.Receipts), len(want))
			}
			for i, v := range want {
				got := r.Receipts[i]
				seen[got.Outcome]++
				if got.Outcome != v.outcome || got.Fee != v.fee || got.Outcome == OK && got.Units != v.units {
					t.Fatalf("receipt %d: %v %v, fee %d, %d units; the model says %v",
						i, got.Outcome, got.Error, got.Fee, got.Units, v)
				}
			}
			for _, k := range c.keys {
				if got := c.balance(k); got != m.balances[k] {
					t.Fatalf("%v has %d, the model says %d", k, got, m.balances[k])
				}
			}
			if r.Burned != m.burned {
				t.Fatalf("%d burnt, the model says %d", r.Burned, m.burned)
			}
			for _, o := range others {
				if other := o.execute(b); other.BankHash != r.BankHash {
					t.Fatalf("%d workers: BankHash %v, 1 worker: %v", len(o.bank.workers), other.BankHash, r.BankHash)
				}
			}
		}
	}
	for o := OK; o <= BundleAborted; o++ {
		if seen[o] == 0 {
			t.Errorf("outcome %v never came up", o)
		}
	}
	t.Logf("outcomes: %v", seen)
}

// TestIncrementalEqualsFull: after any block the lattice hash is the sum
// over all accounts, the leaves are those of the written accounts, and what was
// there plus rent for new sysvars equals what is there plus what was burnt.
func TestIncrementalEqualsFull(t *testing.T) {
	c := newCrowd(t, testkit.Rand(t), 2)
	supply := func(v *View) (sum ledger.Lamports) {
		for _, k := range v.Keys() {
			sum += v.Balance(k)
		}
		return sum
	}
	for range 5 {
		before, _ := c.bank.View(c.tip)
		r := c.execute(c.block(0, ""))
		if got, want := supply(r.View)+r.Burned, supply(before); got != want {
			t.Fatalf("%d lamports are there or burnt, %d were there", got, want)
		}
		var full LtHash
		hasher := newAccountHasher()
		for _, k := range r.View.Keys() {
			a, _ := r.View.Account(k)
			value, _ := hasher.hash(k, a)
			full.Add(value)
		}
		if r.Link.Accounts != ledger.Sum(full.Append(nil)) {
			t.Fatal("the lattice hash is not that of the accounts")
		}
		var leaves, receipts []ledger.Hash
		for i := range r.Written {
			d := &r.Written[i]
			leaves = append(leaves, d.Leaf())
			if i > 0 && bytes.Compare(r.Written[i-1].Key[:], d.Key[:]) >= 0 {
				t.Fatal("written accounts are not sorted")
			}
			if d.Old != nil && d.New != nil && d.Old.Equal(d.New) || d.Old == nil && d.New == nil {
				t.Fatalf("%v has not changed", d.Key)
			}
		}
		for i := range r.Receipts {
			receipts = append(receipts, r.Receipts[i].Leaf())
		}
		if r.Link.Delta != TreeRoot(leaves) || r.Link.Receipts != TreeRoot(receipts) {
			t.Fatal("roots are not those of the leaves")
		}
		if r.Link.BankHash() != r.BankHash || r.Link.Parent != r.ParentBankHash || r.View.BankHash() != r.BankHash {
			t.Fatal("the link does not give the BankHash")
		}
	}
}

// TestExecutedDataAreNotTouched: the bytes that transactions and accounts
// were made from are only read.
func TestExecutedDataAreNotTouched(t *testing.T) {
	c := newCrowd(t, testkit.Rand(t), 2)
	genesis := c.genesis.Bytes()
	b := c.block(0, "")
	var raw [][]byte
	for _, r := range b.UserBlocks {
		for i := range r.Block.Transactions {
			raw = append(raw, bytes.Clone(r.Block.Transactions[i].Raw()))
		}
	}
	c.execute(b)
	for _, r := range b.UserBlocks {
		for i := range r.Block.Transactions {
			if !bytes.Equal(raw[0], r.Block.Transactions[i].Raw()) {
				t.Fatal("a transaction's bytes have changed")
			}
			raw = raw[1:]
		}
	}
	if !bytes.Equal(genesis, c.genesis.Bytes()) {
		t.Fatal("the genesis has changed")
	}
	if program.Missing().Data != nil {
		t.Fatal("a missing account has data")
	}
}
