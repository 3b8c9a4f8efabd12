package bench

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tutti/cmd/tutti/load"
	"tutti/cmd/tutti/setup"
	"tutti/ledger"
)

// valid returns options with nothing wrong.
func valid() Options {
	return Options{
		URLs: []string{"http://127.0.0.1:1"}, Key: ed25519.NewKeyFromSeed(make([]byte, 32)),
		Rates: []int{100}, Duration: time.Second, Share: load.Whole, Mix: load.Mix{Payers: 4, Prices: load.Prices{0}},
	}
}

func TestOptions(t *testing.T) {
	o := valid()
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.URLs = nil }, "no cluster is named"},
		{func(o *Options) { o.Devnet = "dir" }, "leave out --url"},
		{func(o *Options) { o.Key = nil }, "nobody pays"},
		{func(o *Options) { o.Rates = nil }, "0 steps"},
		{func(o *Options) { o.Rates = []int{1, 0} }, "rate of 0"},
		{func(o *Options) { o.Duration = 0 }, "steps of 0s"},
		{func(o *Options) { o.Pause = -1 }, "pause of"},
		{func(o *Options) { o.Share = load.Share{Index: 2, Of: 2} }, "generator 3 of 2"},
		{func(o *Options) { o.Mix.Payers = 1 }, "1 payers"},
		{func(o *Options) { o.Share.Of = 5 }, "4 payers: use 5"},
		{func(o *Options) { o.Mix.HotPermille = 1001 }, "hot share of 1.001"},
		{func(o *Options) { o.StartAt = time.Unix(1, 0) }, "is over"},
		{func(o *Options) { o.HTML = "none/report.html" }, "none is no directory"},
		{func(o *Options) { o.Devnet, o.URLs, o.Mix.Payers = "dir", nil, load.Payers+1 }, "a devnet has"},
	} {
		o := valid()
		test.change(&o)
		err := o.check()
		var wrong *setup.Error
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
}

// Every transfer counts in the step in which it was due, and one in a pause
// in the step before.
func TestCountsByStep(t *testing.T) {
	c := newCounts(load.Steps([]int{1, 2, 4}, 10*time.Second, 2*time.Second))
	start := time.Unix(1000, 0)
	c.begin(start)
	for at, want := range map[time.Duration]int{0: 0, 11 * time.Second: 0, 12 * time.Second: 1, 23 * time.Second: 1, 24 * time.Second: 2, time.Hour: 2} {
		if k := c.step(start.Add(at)); k != want {
			t.Errorf("%v lies in step %d, want %d", at, k, want)
		}
	}
	if c.second(start.Add(-1)) != nil || c.second(start.Add(time.Hour)) != nil || c.second(start.Add(34*time.Second)) == nil {
		t.Error("seconds of the run are not as long as the run")
	}
}

// TestCountsOfEveryFate: endings add up, and refusals that differ in numbers
// only are one reason.
func TestCountsOfEveryFate(t *testing.T) {
	report := testReport(t)
	for i := range report.Steps {
		s := &report.Steps[i]
		sum := uint64(0)
		for _, n := range s.Endings {
			sum += n
		}
		if sum != s.Followed || s.Landed+s.Lost != s.Followed {
			t.Errorf("%d endings, %d landed, %d lost, of %d", sum, s.Landed, s.Lost, s.Followed)
		}
	}
	s := &report.Steps[1]
	if s.Landed != 6 || s.Lost != 14 || s.Accepted != 12 || len(s.Refusals) != 1 || s.Refusals["pool has N transactions"] != 2 {
		t.Errorf("%+v", s)
	}
	if s.LatencyMS.Executed.P50 != 60_000 || report.Steps[0].LatencyMS.Executed.P50 != 300 {
		t.Errorf("latencies %+v", s.LatencyMS)
	}
}

// testReport is that of a run of two steps: all is well in the first one, and
// in the second there are two transfers of every ending, and four more are ok.
func testReport(t *testing.T) *Report {
	t.Helper()
	o := valid()
	o.Rates, o.Duration, o.Pause, o.PricesText, o.Version = []int{10, 20}, time.Second, time.Second, "0", "0"
	n := newCounts(load.Steps(o.Rates, o.Duration, o.Pause))
	start := time.Now().Add(-time.Minute).Truncate(time.Second)
	n.begin(start)
	conclude := func(due time.Time, e load.Ending) {
		n.offered(due, true)
		at := due.UnixNano()
		f := load.Fate{At: at, Ending: e}
		ms := func(d int64) int64 { return at + d*int64(time.Millisecond) }
		switch e {
		case load.OK, load.Failed:
			f.Executed = ms(300)
			fallthrough
		case load.Unexecuted:
			f.Recorded, f.Confirmed = ms(100), ms(200)
			fallthrough
		case load.Unrecorded:
			f.Accepted = true
		case load.Refused:
			f.Reason = fmt.Sprintf("pool has %d transactions", n.levels[1].offered)
		}
		n.conclude(&f)
	}
	for i := range 10 {
		conclude(start.Add(time.Duration(i)*100*time.Millisecond), load.OK)
	}
	second := start.Add(2 * time.Second)
	for i, e := range append(load.Endings, load.Endings...) {
		if e == load.BadSignature || e == load.Duplicate {
			e = load.OK
		}
		conclude(second.Add(time.Duration(i)*50*time.Millisecond), e)
	}
	n.levels[1].outcomes.Endings[load.OK] -= 2
	n.levels[1].outcomes.Endings[load.Duplicate], n.levels[1].outcomes.Endings[load.BadSignature] = 1, 1
	n.method, n.notes = "by hand", []string{"a note </script>"}
	n.slots = 8
	n.skip(second, 2)
	c := &network{targets: []target{{load.Node{Name: "v0", RPC: "http://127.0.0.1:1"}, time.Millisecond}}}
	return newReport(&o, c, n, start)
}

// A sampler follows as many transfers as it can ask about, and finds out
// their fate from what nodes say.
func TestSampler(t *testing.T) {
	c := newCounts(load.Steps([]int{sampleRate, 10 * sampleRate}, time.Second, 0))
	start := time.Now()
	c.begin(start)
	s := newSampler(&network{}, c, load.Share{Of: 2})
	if c.levels[0].every != 1 || c.levels[1].every != 5 {
		t.Errorf("every %d, every %d", c.levels[0].every, c.levels[1].every)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	var list []load.Transfer
	for i := range 10 {
		m := ledger.TransferMessage(publicKey(key), ledger.Pubkey{1}, ledger.Lamports(i), 0, 0, ledger.Hash{})
		raw := ledger.Sign(m.Append(nil), key)
		list = append(list, load.Transfer{ID: load.IDOf(raw[1:]), Raw: raw})
		s.Offered(&list[i], start, 0)
	}
	for i := range 10 {
		tx := load.Transfer{ID: load.TxID(i), Raw: list[i].Raw}
		s.Offered(&tx, start.Add(time.Second), 0) // two of them are followed
	}
	if c.levels[0].followed != 10 || c.levels[1].followed != 2 || c.levels[1].offered != 10 {
		t.Errorf("followed %d and %d", c.levels[0].followed, c.levels[1].followed)
	}
	at := func(n int) int64 { return start.Add(time.Duration(n) * time.Millisecond).UnixNano() }
	x := s.order
	s.take(x[0], at(1), "pending", nil)
	s.take(x[0], at(2), "recorded", nil)
	s.take(x[0], at(3), "confirmed", nil)
	s.take(x[0], at(4), "executed", &status{ConfirmationStatus: "processed"})
	s.take(x[1], at(5), "executed", &status{ConfirmationStatus: "processed", Err: []byte(`"AccountNotFound"`)})
	s.take(x[1], at(6), "safe", &status{ConfirmationStatus: "finalized"})
	s.take(x[2], at(1), "pending", nil)
	s.take(x[3], at(1), "recorded", nil)
	s.take(x[4], at(1), "", nil)
	s.refused(list[5].ID, "pool is full")
	s.Unsent(list[6].ID)
	s.Unsent(list[0].ID) // over already
	s.finish()
	if x[0].fate != (load.Fate{At: at(0), Accepted: true, Recorded: at(2), Confirmed: at(3), Executed: at(4), Ending: load.OK}) {
		t.Errorf("%+v", x[0].fate)
	}
	if x[1].fate != (load.Fate{At: at(0), Accepted: true, Recorded: at(5), Confirmed: at(6), Executed: at(5), Ending: load.Failed}) {
		t.Errorf("%+v", x[1].fate)
	}
	for i, want := range []load.Ending{load.OK, load.Failed, load.Unrecorded, load.Unexecuted, load.Unheard, load.Refused, load.Unsent} {
		if e := x[i].fate.Ending; e != want {
			t.Errorf("number %d: %q, want %q", i, e, want)
		}
	}
	if !s.quiet() {
		t.Errorf("%d are under way", len(s.pending))
	}
}

// What a payer needs covers all that it can pay in its part of a load.
func TestTreasuryNeed(t *testing.T) {
	o := valid()
	o.Mix = load.Mix{Payers: 10, Prices: load.Prices{0, 1_000_000}}
	seed := [32]byte{1}
	whole := newTreasury(&network{}, &o, seed)
	if whole.payers != 10 || len(whole.accounts) != 11 {
		t.Errorf("%d payers, %d accounts", whole.payers, len(whole.accounts))
	}
	if got, want := whole.need(100), reserve+11*(baseFee+load.TransferUnits+1+100); got != want {
		t.Errorf("a payer needs %d, want %d", got, want)
	}
	// The shares have no account in common and leave none out.
	seen := map[ledger.Pubkey]bool{}
	for i := range uint64(3) {
		o.Share = load.Share{Index: i, Of: 3}
		for _, a := range newTreasury(&network{}, &o, seed).accounts {
			if seen[a] {
				t.Errorf("%v is in two shares", a)
			}
			seen[a] = true
		}
	}
	if len(seen) != 11 {
		t.Errorf("%d accounts in all shares", len(seen))
	}
}
