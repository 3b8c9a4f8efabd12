package devnet

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"tutti/ledger"
	"tutti/ledger/sigverify"
)

func TestDueTimesFollowTheRate(t *testing.T) {
	for _, rate := range []int{1, 3, 200, 999, 10_000, LoadMax} {
		before := time.Duration(-1)
		for i := range uint64(3 * rate) {
			due := dueAt(i, rate)
			if due <= before {
				t.Fatalf("rate %d: number %d is due at %v, after one at %v", rate, i, due, before)
			}
			before = due
		}
		if due := dueAt(uint64(100*rate), rate); due != 100*time.Second {
			t.Errorf("rate %d: 100 s of load end at %v", rate, due)
		}
	}
}

func TestTransfers(t *testing.T) {
	const n = 20_000
	s := newSigner([32]byte{1})
	prices := map[uint64]int{}
	seen := map[string]bool{}
	toHot, payers := 0, map[ledger.Pubkey]int{}
	var hotAt, pricesAt [4]map[uint64]bool
	for i := range 4 {
		hotAt[i], pricesAt[i] = map[uint64]bool{}, map[uint64]bool{}
	}
	for i := range uint64(n) {
		tx, err := ledger.ParseTransaction(s.next(ledger.Hash{7}).raw)
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

// The load never waits: neither for a sender that takes nothing, nor to make
// up for lost time.
func TestLoadIsOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 100
		signed := make(chan transfer, rate)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for i := range TxID(1_000_000) {
				select {
				case signed <- transfer{i, nil}:
				case <-ctx.Done():
					return
				}
			}
		}()
		stuck, taken := make(chan []byte), make(chan []byte, 10*rate)
		start := time.Now()
		var due []time.Duration
		offerAt(ctx, start, 3*time.Second, rate, signed, []chan []byte{stuck, taken}, func(id TxID, at time.Time, to int) {
			if now := time.Now(); now.Before(at) {
				t.Errorf("number %d is sent %v early", id, at.Sub(now))
			}
			if to != int(id)%2 {
				t.Errorf("number %d goes to node %d", id, to)
			}
			due = append(due, at.Sub(start))
			if id == 50 {
				time.Sleep(time.Second) // what was due meanwhile keeps its time
			}
		})
		cancel()
		if len(due) != 3*rate || len(taken) != 3*rate/2 {
			t.Errorf("%d offered, %d taken", len(due), len(taken))
		}
		for i, at := range due {
			if at != time.Duration(i)*time.Second/rate {
				t.Fatalf("number %d was due at %v", i, at)
			}
		}
	})
}

func TestSigningGoesOnAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		out := make(chan transfer, 4)
		fetches := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			newSigner([32]byte{}).sign(ctx, ledger.Hash{1}, func(context.Context) (ledger.Hash, error) {
				fetches++
				return ledger.Hash{2}, nil
			}, out)
		}()
		time.Sleep(10 * hashAge)
		for range cap(out) + 2 { // those that were signed with the old one
			<-out
		}
		tx, err := ledger.ParseTransaction((<-out).raw)
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
