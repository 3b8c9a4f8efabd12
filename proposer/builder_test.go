package proposer_test

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tutti/cluster"
	"tutti/internal/testkit"
	"tutti/ledger"
	"tutti/proposer"
	"tutti/shred"
	"tutti/validator"
)

// making is a UserBlock under construction, and the sets that it gave out.
type making struct {
	*proposer.Builder
	t      testing.TB
	params cluster.Params
	signer ed25519.PrivateKey
	pool   *proposer.Pool
	sets   []*shred.Set
	next   int // transactions made so far
}

const testU, testLane = 21, 1

func newMaking(t testing.TB, params cluster.Params, costMax uint64) *making {
	t.Helper()
	m := &making{t: t, params: params, signer: testKey("proposer", 0), pool: proposer.NewPool(proposer.PoolMax)}
	m.Builder = proposer.NewBuilder(proposer.Config{
		U: testU, Lane: testLane, Anchor: testHash("anchor", 0),
		Signer: m.signer, ShredVersion: 7, Params: &m.params, CostMax: costMax,
	})
	return m
}

// add puts a transaction into the pool: bytes of padding, a price, a limit.
func (m *making) add(padding int, unitPrice uint64, unitLimit uint32) *proposer.Pooled {
	m.t.Helper()
	m.next++
	data := append(make([]byte, padding), fmt.Sprint(m.next)...)
	limit := binary.LittleEndian.AppendUint32([]byte{2}, unitLimit)
	msg := ledger.NewMessage(ledger.Pubkey{1}, testHash("anchor", 0),
		price(unitPrice), ledger.Call{Program: ledger.ComputeBudgetProgram, Data: limit},
		ledger.Call{Program: ledger.Pubkey{9}, Data: data})
	// Nothing here depends on whether a signature verifies.
	wire := append(ledger.AppendCompactU16(nil, 1), make([]byte, 64)...)
	binary.LittleEndian.PutUint64(wire[1:], uint64(m.next))
	tx, err := ledger.ParseTransaction(msg.Append(wire))
	if err != nil {
		m.t.Fatal(err)
	}
	p, err := proposer.NewPooled(tx)
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.pool.Add(p); err != nil {
		m.t.Fatal(err)
	}
	return p
}

// paddingMax makes a transaction of the greatest size, or a few bytes less.
const paddingMax = ledger.TransactionMax - 260

func fits(*proposer.Pooled) proposer.Verdict { return proposer.Fits }

func (m *making) pack() {
	m.t.Helper()
	sets, err := m.Pack(m.pool, fits)
	if err != nil {
		m.t.Fatal(err)
	}
	m.sets = append(m.sets, sets...)
}

func (m *making) closeTick() {
	m.t.Helper()
	sets, err := m.CloseTick()
	if err != nil {
		m.t.Fatal(err)
	}
	m.sets = append(m.sets, sets...)
}

// finish packs and closes the ticks that are left, and checks the block.
func (m *making) finish(costMax uint64) *ledger.UserBlock {
	m.t.Helper()
	for !m.Done() {
		m.pack()
		m.closeTick()
	}
	for i, set := range m.sets {
		chained := testHash("anchor", 0)
		if i > 0 {
			chained = m.sets[i-1].Root
		}
		if set.Key != ledger.UserKey(testU, testLane) || int(set.Index) != i*shred.SetData || set.Chained != chained || set.Version != 7 {
			m.t.Fatalf("set %d: key %v, index %d, chained %v", i, set.Key, set.Index, set.Chained)
		}
	}
	check := validator.UserBlockCheck{
		Ref:         ledger.UserBlockRef{U: testU, Lane: testLane, ID: m.sets[len(m.sets)-1].Root},
		Proposer:    pub(m.signer),
		Sets:        m.sets,
		Params:      &m.params,
		Blockhashes: []ledger.Hash{testHash("anchor", 0)},
		CostMax:     costMax,
		Own:         true,
	}
	block, err := check.Check()
	if err != nil {
		m.t.Fatalf("the block is not well formed: %v", err)
	}
	if len(block.Transactions) != len(m.Transactions) {
		m.t.Fatalf("%d transactions, of which the builder knows %d", len(block.Transactions), len(m.Transactions))
	}
	for i := range block.Transactions {
		if block.Transactions[i].Hash != m.Transactions[i].Hash {
			m.t.Fatalf("transaction %d is another one than the builder says", i)
		}
		if m.pool.Has(block.Transactions[i].Hash) {
			m.t.Fatalf("transaction %d is still in the pool", i)
		}
	}
	return block
}

// variants are the limits that blocks are built within.
func variants() map[string]cluster.Params {
	low := cluster.LocalParams(4)
	low.UserBlockHashesPerTick = 0
	short := cluster.LocalParams(4)
	short.UserBlockHashesPerTick = 2 // one entry a tick
	tiny := cluster.LocalParams(4)
	tiny.FECSetsMax, tiny.PayloadMax, tiny.TransactionsMax = 1, 2048, 3
	one := cluster.LocalParams(4)
	one.FECSetsMax = 1
	sets := cluster.LocalParams(4)
	sets.FECSetsMax, sets.PayloadMax = 32, 32<<20
	return map[string]cluster.Params{
		"N=4": cluster.LocalParams(4), "N=3": cluster.LocalParams(3), "low power": low,
		"one entry a tick": short, "least limits": tiny, "one set": one, "sets alone": sets,
	}
}

// TestWellFormedAtRandom: whatever is in the pool and however often it is
// asked, the builder makes a block that obeys PROTOCOL section 4.
func TestWellFormedAtRandom(t *testing.T) {
	rng := testkit.Rand(t)
	for name, params := range variants() {
		t.Run(name, func(t *testing.T) {
			for range 4 {
				costMax := params.UserBlockCostMax() >> rng.IntN(8)
				m := newMaking(t, params, costMax)
				for !m.Done() {
					for range rng.IntN(1 << rng.IntN(8)) {
						m.add(rng.IntN(paddingMax+1), rng.Uint64N(5), rng.Uint32N(20_000))
					}
					for range rng.IntN(4) {
						m.pack()
					}
					m.closeTick()
				}
				m.finish(costMax)
			}
		})
	}
}

// TestFullBlocks: a pool that never empties. The block stays within each
// limit of rule (5), and uses up the one that binds.
func TestFullBlocks(t *testing.T) {
	if testing.Short() {
		t.Skip("makes blocks of megabytes")
	}
	small := uint32(1)
	for name, params := range variants() {
		for _, c := range []struct {
			kind    string
			padding int
			limit   uint32
		}{{"small", 0, small}, {"large", paddingMax, small}, {"costly", 0, 30_000}} {
			t.Run(name+"/"+c.kind, func(t *testing.T) {
				costMax := params.UserBlockCostMax()
				m := newMaking(t, params, costMax)
				for !m.Done() {
					for m.pool.Len() < 2*params.TransactionsMax/ledger.TicksPerUserSlot+10 {
						m.add(c.padding, 1, c.limit)
					}
					m.pack()
					m.closeTick()
				}
				block := m.finish(costMax)
				each := m.add(c.padding, 1, c.limit)
				size := len(each.Tx.Raw())
				// One more of its kind does not fit, but for what the last set of
				// its kind and the ticks leave.
				slack := min(params.PayloadMax, params.FECSetsMax*shred.SetData*963)/20 + 2000 + size
				full := block.Cost+each.Cost > costMax ||
					len(block.Transactions) == params.TransactionsMax ||
					block.Payload+slack >= params.PayloadMax ||
					block.Payload+slack >= params.FECSetsMax*shred.SetData*963
				if !full && params.UserBlockHashesPerTick != 2 {
					t.Errorf("%d transactions, cost %d of %d, payload %d of %d, %d sets of %d: there was room",
						len(block.Transactions), block.Cost, costMax, block.Payload, params.PayloadMax, len(m.sets), params.FECSetsMax)
				}
			})
		}
	}
}

// TestPriceOrder: "Packed by compute-unit price, highest first, among what has
// arrived". SIMD-0023 "Impact": "Priority fees now also imply execution
// priority."
func TestPriceOrder(t *testing.T) {
	params := cluster.LocalParams(4)
	rng := testkit.Rand(t)
	m := newMaking(t, params, params.UserBlockCostMax())
	for range 200 {
		m.add(0, rng.Uint64N(20), 500)
	}
	first := len(m.Transactions)
	for !m.Done() {
		m.pack()
		got := m.Transactions[first:]
		if !slices.IsSortedFunc(got, func(a, b *proposer.Pooled) int { return int(b.Budget.UnitPrice) - int(a.Budget.UnitPrice) }) {
			t.Fatalf("tick %d is not in order of price", m.Ticks())
		}
		if len(got) > 0 {
			last := got[len(got)-1].Budget.UnitPrice
			if m.pool.Any(func(p *proposer.Pooled) proposer.Verdict {
				if p.Budget.UnitPrice > last {
					return proposer.Fits
				}
				return proposer.Waits
			}) {
				t.Fatalf("tick %d left a dearer one behind", m.Ticks())
			}
		}
		first = len(m.Transactions)
		m.closeTick()
	}
	if m.finish(params.UserBlockCostMax()); len(m.Transactions) != 200 {
		t.Errorf("%d of 200 are in the block", len(m.Transactions))
	}
}

// TestLateDearTransaction: a pool that could fill the block at once leaves
// room for a dearer transaction that arrives in any later tick.
func TestLateDearTransaction(t *testing.T) {
	params := cluster.LocalParams(4)
	params.TransactionsMax = 64
	costMax := uint64(1_000_000)
	for _, limit := range []uint32{1000, 20_000} {
		for tick := range ledger.TicksPerUserSlot {
			m := newMaking(t, params, costMax)
			for range 200 {
				m.add(0, 1, 10_000)
			}
			for m.Ticks() < tick {
				m.pack()
				m.closeTick()
			}
			dear := m.add(0, 2, limit)
			m.finish(costMax)
			// 20 000 units are two thirds of a tick's share: those of the last
			// tick may have been used up by the ticks before.
			if !slices.Contains(m.Transactions, dear) && (limit == 1000 || tick < ledger.TicksPerUserSlot-1) {
				t.Errorf("a transaction of %d units that came in tick %d found no room", limit, tick)
			}
		}
	}
}

// TestDearAndLarge: a dear transaction that costs as much as many ticks' share
// is not overtaken for ever by cheap small ones.
func TestDearAndLarge(t *testing.T) {
	params := cluster.LocalParams(4)
	costMax := params.UserBlockCostMax()
	m := newMaking(t, params, costMax)
	dear := m.add(0, 1000, 1_400_000)
	for !m.Done() {
		for m.pool.Len() < 300 {
			m.add(0, 1, 2000)
		}
		m.pack()
		m.closeTick()
	}
	block := m.finish(costMax)
	if !slices.Contains(m.Transactions, dear) {
		t.Error("it was overtaken by all")
	}
	if block.Cost < costMax*9/10 {
		t.Errorf("cost %d of %d: the others were held up for nothing", block.Cost, costMax)
	}
	// One that the block cannot hold at all holds up nobody.
	m = newMaking(t, params, 1_000_000)
	m.add(0, 1000, 1_400_000)
	m.add(0, 1, 2000)
	m.finish(1_000_000)
	if len(m.Transactions) != 1 || m.pool.Len() != 1 {
		t.Errorf("%d transactions, %d left", len(m.Transactions), m.pool.Len())
	}
}

// TestResent: rule (6), "no message hash twice": a client that sends its
// transaction again, as Solana's do, does not make the block ill-formed.
func TestResent(t *testing.T) {
	params := cluster.LocalParams(4)
	m := newMaking(t, params, params.UserBlockCostMax())
	first := m.add(0, 1, 500)
	m.pack()
	if !m.Has(first.Hash) || m.pool.Has(first.Hash) {
		t.Fatal("it was not packed")
	}
	m.closeTick()
	again, err := proposer.NewPooled(first.Tx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.pool.Add(again); err != nil {
		t.Fatal(err)
	}
	if m.finish(params.UserBlockCostMax()); len(m.Transactions) != 1 || m.pool.Len() != 0 {
		t.Errorf("%d transactions, %d left in the pool", len(m.Transactions), m.pool.Len())
	}
}

// TestSetsAreStreamed: "It is streamed out in FEC sets while it is built and
// closes at its last tick."
func TestSetsAreStreamed(t *testing.T) {
	params := cluster.LocalParams(4)
	m := newMaking(t, params, params.UserBlockCostMax())
	for range 600 {
		m.add(paddingMax, 1, 500)
	}
	given := 0
	for !m.Done() {
		m.pack()
		m.closeTick()
		pending := 0
		for _, x := range m.Transactions {
			pending += len(x.Tx.Raw())
		}
		for _, s := range m.sets {
			pending -= len(s.Payload)
		}
		if pending > shred.SetData*963 {
			t.Fatalf("tick %d: %d bytes are kept back", m.Ticks(), pending)
		}
		for _, s := range m.sets[given:] {
			if s.Last != (m.Done() && s == m.sets[len(m.sets)-1]) || !s.Complete {
				t.Fatalf("tick %d: last %t, complete %t", m.Ticks(), s.Last, s.Complete)
			}
		}
		given = len(m.sets)
	}
	if len(m.sets) < 10 {
		t.Errorf("only %d sets", len(m.sets))
	}
	m.finish(params.UserBlockCostMax())
}

// TestExpiryDecides: what must wait for its blockhash stays, what is too old
// goes.
func TestExpiryDecides(t *testing.T) {
	params := cluster.LocalParams(4)
	m := newMaking(t, params, params.UserBlockCostMax())
	verdicts := map[*proposer.Pooled]proposer.Verdict{
		m.add(0, 3, 500): proposer.Waits, m.add(0, 2, 500): proposer.Expired, m.add(0, 1, 500): proposer.Fits,
	}
	if _, err := m.Pack(m.pool, func(p *proposer.Pooled) proposer.Verdict { return verdicts[p] }); err != nil {
		t.Fatal(err)
	}
	for p, v := range verdicts {
		if m.pool.Has(p.Hash) != (v == proposer.Waits) || m.Has(p.Hash) != (v == proposer.Fits) {
			t.Errorf("price %d, verdict %d", p.Budget.UnitPrice, v)
		}
	}
}

func BenchmarkPack(b *testing.B) {
	params := cluster.LocalParams(4)
	rng := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		b.StopTimer()
		m := newMaking(b, params, params.UserBlockCostMax())
		for range 4000 {
			m.add(10, rng.Uint64N(1000), 500)
		}
		b.StartTimer()
		for !m.Done() {
			m.pack()
			m.closeTick()
		}
	}
}
