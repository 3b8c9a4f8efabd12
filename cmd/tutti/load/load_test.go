package load

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tutti/ledger"
	"tutti/ledger/sigverify"
)

// devnetMix is that of a devnet.
var devnetMix = Mix{Payers: Payers, HotPermille: HotPermille, Prices: EvenPrices(1_000, 256_000)}

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

// TestAccounts: transfers that go to accounts that are only paid are spread
// evenly over all of them.
func TestAccounts(t *testing.T) {
	const accounts, rounds = 700, 4
	mix := devnetMix
	mix.Accounts, mix.HotPermille = accounts, 0
	s := NewSource([32]byte{2}, mix, Whole)
	paid := map[ledger.Pubkey]int{}
	for range rounds * accounts {
		tx, err := ledger.ParseTransaction(s.Next(ledger.Hash{7}).Raw)
		if err != nil {
			t.Fatal(err)
		}
		paid[tx.Key(1)]++
	}
	for i := range uint32(accounts) {
		if n := paid[AccountKey([32]byte{2}, i)]; n < rounds-2 || n > rounds+2 {
			t.Errorf("account %d is paid %d times, want about %d", i, n, rounds)
		}
	}
	if len(paid) != accounts {
		t.Errorf("%d accounts are paid, want %d", len(paid), accounts)
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

// lumps notes when transfers are handed over.
type lumps struct {
	t     *testing.T
	times map[time.Time]int
}

// Offered implements Journal.
func (l *lumps) Offered(_ *Transfer, due time.Time, _ int) {
	now := time.Now()
	if late := now.Sub(due); late < 0 || late > handOver {
		l.t.Errorf("handed over %v after it was due", late)
	}
	l.times[now]++
}

// Unsent implements Journal.
func (l *lumps) Unsent(TxID) {}

// TestDueTransfersGoTogether: what is due within handOver goes out at once, late by
// that at most.
func TestDueTransfersGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 10_000
		signed, out := make(chan Transfer, rate), make(chan Transfer, rate)
		for range rate {
			signed <- Transfer{}
		}
		l := &lumps{t: t, times: make(map[time.Time]int)}
		schedule := Schedule{time.Now(), Steps([]int{rate}, time.Second, 0), Whole}
		schedule.Run(t.Context(), signed, []chan Transfer{out}, l)
		if want := int(time.Second/handOver) + 1; len(out) != rate || len(l.times) > want {
			t.Errorf("%d handed over at %d times, want %d at %d at most", len(out), len(l.times), rate, want)
		}
	})
}

func TestSignsAsManyAsAreSent(t *testing.T) {
	share := Share{1, 3}
	steps := []Step{{Rate: 10, Duration: time.Second}, {Rate: 7, Duration: 1500 * time.Millisecond}}
	out := make(chan Transfer, 100)
	NewSource([32]byte{}, devnetMix, share).Sign(t.Context(), Count(steps, share), ledger.Hash{}, nil, out)
	if len(out) != 3+4 { // numbers 1, 4, 7 of 10 and 1, 4, 7, 10 of 11
		t.Errorf("%d transfers", len(out))
	}
	if n := Count([]Step{{Rate: 10}}, Whole); n != 0 {
		t.Errorf("%d transfers of a step that does not end", n)
	}
	for _, x := range []struct {
		rate  int
		count uint64
		want  int
	}{{200, 0, 4000}, {200, 1000, 1000}, {1, 5000, 20}, {RateMax, 0, signedMax}} {
		if got := SignedAhead(x.rate, x.count); got != x.want {
			t.Errorf("%d a second, %d in all: %d signed ahead", x.rate, x.count, got)
		}
	}
}

func TestSigningGoesOnAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		out := make(chan Transfer, 4)
		fetches := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			NewSource([32]byte{}, devnetMix, Whole).Sign(ctx, 0, ledger.Hash{1}, func(context.Context) (ledger.Hash, error) {
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

// Shares divide a load exactly: what several generators offer is what one
// alone would, at the same times, and no payer is in two shares.
func TestSharesDivideALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := Steps([]int{7, 10}, 2*time.Second, time.Second)
		start := time.Now()
		due := func(share Share) []time.Duration {
			j := &dues{start: start}
			signed := make(chan Transfer, 100)
			for range cap(signed) {
				signed <- Transfer{}
			}
			schedule := Schedule{start, steps, share}
			schedule.Run(t.Context(), signed, []chan Transfer{make(chan Transfer, 100)}, j)
			return j.due
		}
		want := due(Whole)
		if len(want) != 2*7+2*10 || want[14] != 3*time.Second {
			t.Fatalf("due at %v", want)
		}
		var got []time.Duration
		for i := range uint64(3) {
			got = append(got, due(Share{i, 3})...)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("shares are due at %v\nthe whole at %v", got, want)
		}
	})
	payers := map[ledger.Pubkey]uint64{}
	for i := range uint64(3) {
		s := NewSource([32]byte{1}, Mix{Payers: 10, HotPermille: HotPermille, Prices: Prices{0}}, Share{i, 3})
		for range 100 {
			tx, err := ledger.ParseTransaction(s.Next(ledger.Hash{}).Raw)
			if err != nil {
				t.Fatal(err)
			}
			if of, ok := payers[tx.Key(0)]; ok && of != i {
				t.Errorf("payer %v is in shares %d and %d", tx.Key(0), of, i)
			}
			payers[tx.Key(0)] = i
		}
	}
	if len(payers) != 10 {
		t.Errorf("%d payers", len(payers))
	}
}

// dues notes when transfers are due.
type dues struct {
	start time.Time
	due   []time.Duration
}

// Offered implements Journal.
func (d *dues) Offered(_ *Transfer, due time.Time, _ int) { d.due = append(d.due, due.Sub(d.start)) }

// Unsent implements Journal.
func (d *dues) Unsent(TxID) {}

func TestHotShares(t *testing.T) {
	for _, permille := range []uint64{0, 1, 150, 333, 1000} {
		s := NewSource([32]byte{1}, Mix{Payers: 4, HotPermille: permille, Prices: Prices{0}}, Whole)
		hot := uint64(0)
		for range 2000 {
			tx, err := ledger.ParseTransaction(s.Next(ledger.Hash{}).Raw)
			if err != nil {
				t.Fatal(err)
			}
			for k := range tx.NumKeys() {
				if tx.Key(k) == s.hot {
					hot++
				}
			}
		}
		if hot != 2*permille {
			t.Errorf("%d of 2000 transfers go to the hot account, want %d", hot, 2*permille)
		}
	}
}

func TestParsePrices(t *testing.T) {
	for text, want := range map[string][2]uint64{
		"0": {0, 0}, "7": {7, 7}, "0-0": {0, 0}, "1000-256000": {1000, 256_000}, "log:1-1000000": {1, 1_000_000},
	} {
		p, err := ParsePrices(text)
		if err != nil || p[0] != want[0] || p[len(p)-1] != want[1] || !slices.IsSorted(p) {
			t.Errorf("%s: %v, %v", text, p, err)
		}
	}
	if p, _ := ParsePrices("log:1-1000000"); p[len(p)/2] > 1100 {
		t.Errorf("half of the prices of log: are above %d", p[len(p)/2])
	}
	for _, text := range []string{"", "-", "1-", "-1", "2-1", "log:5", "log:0-5", "x", "1-2-3", "1000000000001"} {
		if p, err := ParsePrices(text); err == nil {
			t.Errorf("%q is %v", text, p)
		}
	}
}

func TestNodesFile(t *testing.T) {
	dir := t.TempDir()
	want := []Node{{"v0", netip.MustParseAddrPort("127.0.0.1:1"), "http://127.0.0.1:2", filepath.Join(dir, "v0", "admin.sock")}}
	if err := WriteNodes(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadNodes(dir); err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "{}", "[]", `[{"quic":"x"}]`} {
		if err := os.WriteFile(filepath.Join(dir, NodesFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadNodes(dir); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}
