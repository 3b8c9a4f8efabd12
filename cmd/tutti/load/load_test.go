package load

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"tutti/ledger"
	"tutti/ledger/sigverify"
)

// devnetMix is that of a devnet.
var devnetMix = Mix{Payers, HotPermille, EvenPrices(1_000, 256_000)}

func TestDueTimesFollowTheRate(t *testing.T) {
	for _, rate := range []int{1, 3, 200, 999, 10_000, RateMax} {
		step := Step{Rate: rate}
		before := time.Duration(-1)
		for i := range uint64(3 * rate) {
			due, _ := step.due(i)
			if due <= before {
				t.Fatalf("rate %d: number %d is due at %v, after one at %v", rate, i, due, before)
			}
			before = due
		}
		if due, _ := step.due(uint64(100 * rate)); due != 100*time.Second {
			t.Errorf("rate %d: 100 s of load end at %v", rate, due)
		}
	}
}

func TestTransfers(t *testing.T) {
	const n = 20_000
	s := NewSource([32]byte{1}, devnetMix, Whole)
	prices := map[uint64]int{}
	seen := map[string]bool{}
	toHot, payers := 0, map[ledger.Pubkey]int{}
	var hotAt, pricesAt [4]map[uint64]bool
	for i := range 4 {
		hotAt[i], pricesAt[i] = map[uint64]bool{}, map[uint64]bool{}
	}
	for i := range uint64(n) {
		tx, err := ledger.ParseTransaction(s.Next(ledger.Hash{7}).Raw)
		if err != nil {
			t.Fatal(err)
		}
		if i%500 == 0 && !sigverify.Strict.VerifyTransaction(&tx) {
			t.Fatalf("transaction %d is not signed", i)
		}
		if tx.RecentBlockhash() != (ledger.Hash{7}) {
			t.Fatal("another blockhash")
		}
		budget, err := tx.ComputeBudget()
		if err != nil {
			t.Fatal(err)
		}
		prices[budget.UnitPrice]++
		pricesAt[i%4][budget.UnitPrice] = true
		payers[tx.Key(0)]++
		if to := tx.Key(1); to == s.hot {
			toHot++
			hotAt[i%4][i] = true
		} else if to == tx.Key(0) {
			t.Fatalf("transaction %d pays its payer", i)
		}
		if message := string(tx.Message()); seen[message] {
			t.Fatalf("transaction %d is there already", i)
		} else {
			seen[message] = true
		}
	}
	if len(prices) < 100 {
		t.Errorf("%d prices", len(prices))
	}
	for price, count := range prices {
		if count > 2*n/len(prices) {
			t.Errorf("price %d stands in %d of %d transactions", price, count, n)
		}
	}
	if toHot != n/10 {
		t.Errorf("%d of %d transfers go to the hot account", toHot, n)
	}
	if len(payers) != Payers {
		t.Errorf("%d payers", len(payers))
	}
	for i := range 4 {
		if len(pricesAt[i]) < 100 || len(hotAt[i]) == 0 {
			t.Errorf("node %d of 4: %d prices, %d transfers to the hot account", i, len(pricesAt[i]), len(hotAt[i]))
		}
	}
}

// journal checks what a schedule notes.
type journal struct {
	t      *testing.T
	start  time.Time
	due    []time.Duration
	unsent int
}

// Offered implements Journal. It takes its time once: what was due meanwhile
// keeps its own.
func (j *journal) Offered(tx *Transfer, due time.Time, to int) {
	if now := time.Now(); now.Before(due) {
		j.t.Errorf("number %d is sent %v early", tx.ID, due.Sub(now))
	}
	if to != int(tx.ID)%2 {
		j.t.Errorf("number %d goes to node %d", tx.ID, to)
	}
	j.due = append(j.due, due.Sub(j.start))
	if tx.ID == 50 {
		time.Sleep(time.Second)
	}
}

// Unsent implements Journal.
func (j *journal) Unsent(id TxID) {
	if id%2 != 0 {
		j.t.Errorf("number %d could be sent", id)
	}
	j.unsent++
}

// The load never waits: neither for a sender that takes nothing, nor to make
// up for lost time.
func TestLoadIsOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 100
		signed := make(chan Transfer, rate)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for i := range TxID(1_000_000) {
				select {
				case signed <- Transfer{i, nil}:
				case <-ctx.Done():
					return
				}
			}
		}()
		stuck, taken := make(chan Transfer), make(chan Transfer, 10*rate)
		j := &journal{t: t, start: time.Now()}
		schedule := Schedule{j.start, Steps([]int{rate}, 3*time.Second, 0), Whole}
		schedule.Run(ctx, signed, []chan Transfer{stuck, taken}, j)
		cancel()
		if len(j.due) != 3*rate || len(taken) != 3*rate/2 || j.unsent != 3*rate/2 {
			t.Errorf("%d offered, %d taken, %d not", len(j.due), len(taken), j.unsent)
		}
		for i, at := range j.due {
			if at != time.Duration(i)*time.Second/rate {
				t.Fatalf("number %d was due at %v", i, at)
			}
		}
	})
}

func TestSigningGoesOnAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		out := make(chan Transfer, 4)
		fetches := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			NewSource([32]byte{}, devnetMix, Whole).Sign(ctx, ledger.Hash{1}, func(context.Context) (ledger.Hash, error) {
				fetches++
				return ledger.Hash{2}, nil
			}, out)
		}()
		time.Sleep(10 * hashAge)
		for range cap(out) + 2 { // those that were signed with the old one
			<-out
		}
		tx, err := ledger.ParseTransaction((<-out).Raw)
		if err != nil || tx.RecentBlockhash() != (ledger.Hash{2}) {
			t.Errorf("blockhash %v, %v", tx.RecentBlockhash(), err)
		}
		cancel()
		<-done
		if fetches < 9 {
			t.Errorf("%d blockhashes fetched", fetches)
		}
	})
}
