package devnet

import (
	"testing"
	"time"

	"tutti/cmd/tutti/load"
	"tutti/ledger"
)

// TestSlowness: what is written is read, and says how much longer to take.
func TestSlowness(t *testing.T) {
	dir := t.TempDir()
	if s := ReadSlowness(dir); s != (Slowness{}) {
		t.Errorf("without a file: %+v", s)
	}
	for _, c := range []struct {
		s           Slowness
		took, since time.Duration
		txs         int
		want        time.Duration
	}{
		{Slowness{}, time.Second, 0, 9, 0},
		{Slowness{Factor: 10}, 3 * time.Millisecond, 0, 9, 27 * time.Millisecond},
		{Slowness{Factor: 10, Transaction: time.Millisecond}, 3 * time.Millisecond, 0, 9, 36 * time.Millisecond},
		{Slowness{Behind: 2 * time.Second}, time.Millisecond, -100 * time.Millisecond, 9, 2100 * time.Millisecond},
		{Slowness{Behind: 2 * time.Second}, time.Millisecond, 5 * time.Second, 9, 0},
	} {
		if err := c.s.write(dir); err != nil {
			t.Fatal(err)
		}
		if got := ReadSlowness(dir).More(c.took, c.txs, c.since); max(got, 0) != c.want {
			t.Errorf("%+v: %v more, want %v", c.s, got, c.want)
		}
	}
}

// TestBacklog counts blocks with UserBlocks until more than two thirds of the
// nodes have executed them.
func TestBacklog(t *testing.T) {
	l := newLagRun(4)
	for _, slot := range []ledger.Slot{5, 3, 4, 3} { // seen on several nodes, in any order
		e := &load.Event{Type: "block", Slot: slot, Entries: []load.UserBlock{{}}}
		if slot == 4 {
			e.Entries = nil
		}
		l.take(0, e)
	}
	for _, c := range []struct {
		node int
		slot ledger.Slot
		want int
	}{{0, 5, 2}, {1, 5, 2}, {2, 3, 1}, {2, 2, 1}, {3, 4, 1}, {2, 6, 0}} {
		l.take(c.node, &load.Event{Type: "executed", Slot: c.slot})
		if got := l.backlog(); got != c.want {
			t.Errorf("after v%d has executed %d: %d, want %d", c.node, c.slot, got, c.want)
		}
	}
}

// TestLagRun follows votes, lag and transactions through two phases.
func TestLagRun(t *testing.T) {
	const ms = int64(time.Millisecond)
	a, b := &lagPhase{begin: 0, end: 1000 * ms}, &lagPhase{begin: 1000 * ms, end: 2000 * ms}
	l := newLagRun(2)
	l.phases = []*lagPhase{a, b}
	event := func(node int, e load.Event) { l.take(node, &e) }
	event(0, load.Event{Type: "voted", T: 100 * ms}) // before the first phase
	l.now = a
	event(0, load.Event{Type: "voted", T: 400 * ms})
	event(1, load.Event{Type: "voted", T: 500 * ms})
	event(0, load.Event{Type: "voted", T: 900 * ms})
	event(0, load.Event{Type: "head", Lag: 3, Confirmed: 7, Executed: 4})
	event(0, load.Event{Type: "confirmed"})
	event(1, load.Event{Type: "confirmed"}) // the same one
	if a.votes.Count() != 1 || a.votes.Quantile(99) != 500 || a.lag != 3 || a.confirmed != 1 {
		t.Errorf("first phase: %d intervals of %d ms, lag %d, %d blocks", a.votes.Count(), a.votes.Quantile(99), a.lag, a.confirmed)
	}
	if l.level(4) {
		t.Error("level though a node says nothing")
	}
	event(1, load.Event{Type: "head", Lag: 2, Confirmed: 7, Executed: 7})
	if l.level(4) {
		t.Error("level though a node has not executed all")
	}
	event(0, load.Event{Type: "head", Lag: 2, Confirmed: 7, Executed: 8})
	if !l.level(4) || l.level(1) {
		t.Error("not level, or level with too much lag")
	}
	for _, f := range []load.Fate{
		{At: 10 * ms, Recorded: 200 * ms, Confirmed: 600 * ms},
		{At: 1010 * ms, Recorded: 1200 * ms, Confirmed: 1500 * ms},
		{At: 1010 * ms, Recorded: 1200 * ms},
		{At: 2010 * ms, Recorded: 2200 * ms, Confirmed: 2201 * ms},
	} {
		l.conclude(&f)
	}
	// What is never confirmed takes the longest of all.
	never := int(load.LatencyMax.Milliseconds())
	if a.confirm.Count() != 1 || a.confirm.Quantile(50) != 400 || b.confirm.Count() != 2 || b.confirm.Quantile(50) != 300 || b.confirm.Quantile(99) < never {
		t.Errorf("recorded to confirmed: %d of %d ms, %d of %d to %d ms", a.confirm.Count(), a.confirm.Quantile(50),
			b.confirm.Count(), b.confirm.Quantile(50), b.confirm.Quantile(99))
	}
	// Who falls silent counts for as long as it has been.
	l.over()
	if a.votes.Count() != 2 || a.votes.Quantile(99) != 500 {
		t.Errorf("first phase: %d intervals, up to %d ms, want that of a node which voted last after 500 ms", a.votes.Count(), a.votes.Quantile(99))
	}
	clear(l.voted)
	l.now = b
	if l.over(); b.votes.Count() != 2 || b.votes.Quantile(50) != 1000 {
		t.Errorf("second phase: %d intervals, median %d ms, want two of the whole phase", b.votes.Count(), b.votes.Quantile(50))
	}
}
