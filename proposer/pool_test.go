package proposer_test

import (
	"cmp"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tutti/ledger"
	"tutti/proposer"
)

func testKey(kind string, i int) ed25519.PrivateKey {
	seed := ledger.Sum([]byte(kind), binary.LittleEndian.AppendUint64(nil, uint64(i)))
	return ed25519.NewKeyFromSeed(seed[:])
}

func pub(k ed25519.PrivateKey) ledger.Pubkey { return ledger.Pubkey(k.Public().(ed25519.PublicKey)) }

func testHash(kind string, i int) ledger.Hash {
	return ledger.Sum([]byte(kind), binary.LittleEndian.AppendUint64(nil, uint64(i)))
}

// modelPool is a pool as a list in order of arrival.
type modelPool struct {
	max    int
	list   []*proposer.Pooled
	parked []*proposer.Pooled
}

// sorted returns the list, dearest first; what came earlier goes before.
func (m *modelPool) sorted() []*proposer.Pooled {
	s := slices.Clone(m.list)
	slices.SortStableFunc(s, func(a, b *proposer.Pooled) int { return cmp.Compare(b.Budget.UnitPrice, a.Budget.UnitPrice) })
	return s
}

func (m *modelPool) remove(t *proposer.Pooled) {
	m.list = slices.DeleteFunc(m.list, func(x *proposer.Pooled) bool { return x == t })
	m.parked = slices.DeleteFunc(m.parked, func(x *proposer.Pooled) bool { return x == t })
}

func (m *modelPool) has(h ledger.Hash) bool {
	return slices.ContainsFunc(m.list, func(x *proposer.Pooled) bool { return x.Hash == h })
}

func (m *modelPool) fees(payer ledger.Pubkey) (sum ledger.Lamports) {
	for _, t := range m.list {
		if t.Payer == payer {
			sum += t.Fee
		}
	}
	return sum
}

// TestPool compares a pool with the list: PROTOCOL section 4, "Packed by
// compute-unit price, highest first, among what has arrived".
// messages are the hashes of messages 0 to 40.
var messages = func() (all []ledger.Hash) {
	for i := range 41 {
		all = append(all, testHash("message", i))
	}
	return all
}()

func TestPool(t *testing.T) { rapid.Check(t, testPool) }

func testPool(t *rapid.T) {
	m := &modelPool{max: rapid.IntRange(1, 12).Draw(t, "max")}
	p := proposer.NewPool(m.max)
	known := []*proposer.Pooled{}
	verdicts := make(map[ledger.Hash]proposer.Verdict)
	judge := func(x *proposer.Pooled) proposer.Verdict { return verdicts[x.Hash] }
	t.Repeat(map[string]func(*rapid.T){
		"add": func(t *rapid.T) {
			x := &proposer.Pooled{
				Hash:   testHash("message", rapid.IntRange(0, 40).Draw(t, "message")),
				Budget: ledger.ComputeBudget{UnitPrice: rapid.Uint64Range(0, 4).Draw(t, "price")},
				Payer:  ledger.Pubkey{rapid.Byte().Draw(t, "payer") % 3},
				Fee:    ledger.Lamports(rapid.Uint64Range(0, 9).Draw(t, "fee")),

				Durable: rapid.IntRange(0, 3).Draw(t, "durable") == 0,
			}
			if len(known) > 0 && rapid.IntRange(0, 4).Draw(t, "again") == 0 {
				x = rapid.SampledFrom(known).Draw(t, "known") // comes back after its block was lost
			}
			known = append(known, x)
			evicted, err := p.Add(x)
			switch {
			case m.has(x.Hash):
				if !errors.Is(err, proposer.ErrDuplicate) || evicted != nil {
					t.Fatalf("a duplicate: %v", err)
				}
				return
			case len(m.list) == m.max:
				cheapest := m.sorted()[m.max-1]
				if x.Budget.UnitPrice <= cheapest.Budget.UnitPrice {
					if !errors.Is(err, proposer.ErrFull) || evicted != nil {
						t.Fatalf("into a full pool: %v", err)
					}
					return
				}
				if evicted != cheapest {
					t.Fatalf("evicted %v, want %v", evicted, cheapest)
				}
				m.remove(cheapest)
			case evicted != nil:
				t.Fatalf("evicted %v from a pool with room", evicted)
			}
			if err != nil {
				t.Fatal(err)
			}
			m.list = append(m.list, x)
		},
		"remove": func(t *rapid.T) {
			h := testHash("message", rapid.IntRange(0, 40).Draw(t, "message"))
			p.Remove(h)
			for _, x := range m.sorted() {
				if x.Hash == h {
					m.remove(x)
				}
			}
		},
		"expire": func(t *rapid.T) {
			old := rapid.IntRange(0, 40).Draw(t, "old")
			expired := func(x *proposer.Pooled) bool { return slices.Index(messages, x.Hash) < old }
			want := 0
			for _, x := range slices.Clone(m.list) {
				if x.Durable {
					continue
				}
				if !expired(x) {
					break
				}
				m.remove(x)
				want++
			}
			if got := p.Expire(expired); got != want {
				t.Fatalf("%d expired, want %d", got, want)
			}
		},
		"resume": func(*rapid.T) {
			p.Resume()
			m.parked = nil
		},
		"take": func(t *rapid.T) {
			for i := range 41 {
				verdicts[testHash("message", i)] = proposer.Verdict(rapid.IntRange(0, 3).Draw(t, "verdict"))
			}
			any := slices.ContainsFunc(m.list, func(x *proposer.Pooled) bool {
				return judge(x) == proposer.Fits && !slices.Contains(m.parked, x)
			})
			if p.Any(judge) != any {
				t.Fatalf("any: %t", !any)
			}
			var want []*proposer.Pooled
			for _, x := range m.sorted() {
				if slices.Contains(m.parked, x) {
					continue
				}
				if v := judge(x); v == proposer.Full {
					break
				} else if v == proposer.Waits {
					m.parked = append(m.parked, x)
				} else {
					m.remove(x)
					if v == proposer.Fits {
						want = append(want, x)
					}
				}
			}
			if got := p.Take(judge); !slices.Equal(got, want) {
				t.Fatalf("took %v, want %v", got, want)
			}
		},
		"": func(t *rapid.T) {
			if p.Len() != len(m.list) {
				t.Fatalf("%d in the pool, want %d", p.Len(), len(m.list))
			}
			for i := range 41 {
				if h := testHash("message", i); p.Has(h) != m.has(h) {
					t.Fatalf("message %d: %t", i, p.Has(h))
				}
			}
			for i := range byte(3) {
				if got, want := p.Fees(ledger.Pubkey{i}), m.fees(ledger.Pubkey{i}); got != want {
					t.Fatalf("fees of payer %d: %d, want %d", i, got, want)
				}
			}
		},
	})
	// What is left comes out in order.
	p.Resume()
	if got := p.Take(func(*proposer.Pooled) proposer.Verdict { return proposer.Fits }); !slices.Equal(got, m.sorted()) || p.Len() != 0 {
		t.Fatalf("emptied: %v", got)
	}
}

// TestWaitingHoldsUpNobody: however many must wait, Take looks at so many
// only, the next one reaches those behind them, and Resume brings all back.
func TestWaitingHoldsUpNobody(t *testing.T) {
	p := proposer.NewPool(12_000)
	for i := range 10_000 {
		if _, err := p.Add(&proposer.Pooled{Hash: testHash("message", i), Budget: ledger.ComputeBudget{UnitPrice: uint64(10_000 - i)}}); err != nil {
			t.Fatal(err)
		}
	}
	take := func() (taken, asked int) {
		taken = len(p.Take(func(x *proposer.Pooled) proposer.Verdict {
			asked++
			if x.Budget.UnitPrice <= 100 {
				return proposer.Fits
			}
			return proposer.Waits
		}))
		return taken, asked
	}
	for i, want := range [][2]int{{0, 4096}, {0, 4096}, {100, 1808}, {0, 0}} {
		if taken, asked := take(); [2]int{taken, asked} != want {
			t.Errorf("call %d took %d and asked %d, want %v", i, taken, asked, want)
		}
	}
	p.Resume()
	if taken, asked := take(); taken != 0 || asked != 4096 || p.Len() != 9900 {
		t.Errorf("resumed: took %d, asked %d, left %d", taken, asked, p.Len())
	}
}

// TestNewPooled: what is derived from a transaction, PROTOCOL section 4 (5)
// and FORMATS section 11.
func TestNewPooled(t *testing.T) {
	payer := testKey("payer", 0)
	pooled := func(price uint64, limit uint32) *proposer.Pooled {
		t.Helper()
		m := ledger.TransferMessage(pub(payer), ledger.Pubkey{1}, 5, price, limit, ledger.Hash{2})
		tx, err := ledger.ParseTransaction(ledger.Sign(m.Append(nil), payer))
		if err != nil {
			t.Fatal(err)
		}
		p, err := proposer.NewPooled(tx)
		if err != nil {
			t.Fatal(err)
		}
		if p.Payer != pub(payer) || p.Hash != tx.MessageHash() || p.Budget.UnitPrice != price {
			t.Errorf("payer %v, hash %v, budget %+v", p.Payer, p.Hash, p.Budget)
		}
		if want := uint64(p.Budget.UnitLimit) + 720 + 2*300 + uint64(len(tx.Raw())/4); p.Cost != want {
			t.Errorf("cost %d, want %d", p.Cost, want)
		}
		return p
	}
	if p := pooled(0, 0); p.Fee != 5000 {
		t.Errorf("fee %d", p.Fee)
	}
	if p := pooled(2_000_001, 10); p.Fee != 5000+21 {
		t.Errorf("fee %d", p.Fee)
	}
	// A fee above what a u64 holds is the highest, not a small one.
	if p := pooled(math.MaxUint64, 1_400_000); p.Fee != math.MaxUint64 {
		t.Errorf("fee %d of an endless price", p.Fee)
	}
	m := ledger.NewMessage(pub(payer), ledger.Hash{}, price(1), price(2))
	tx, err := ledger.ParseTransaction(ledger.Sign(m.Append(nil), payer))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := proposer.NewPooled(tx); !errors.Is(err, ledger.TransactionError{Kind: ledger.DuplicateInstruction, Index: 1}) {
		t.Errorf("two prices: %v", err)
	}
}

// price returns an instruction that sets a compute-unit price.
func price(p uint64) ledger.Call {
	return ledger.Call{Program: ledger.ComputeBudgetProgram, Data: binary.LittleEndian.AppendUint64([]byte{3}, p)}
}
