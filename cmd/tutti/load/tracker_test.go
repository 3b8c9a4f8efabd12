package load

import (
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
	"time"

	"tutti/bank"
	"tutti/ledger"
)

const ms = int64(time.Millisecond)

// story feeds a tracker by hand. Times are in milliseconds.
type story struct{ *Tracker }

func (s story) held(node int, at int64, u UserBlock, txs ...TxID) {
	e := Event{T: at * ms, Type: "held", UserBlock: u}
	for _, tx := range txs {
		e.Txs = binary.LittleEndian.AppendUint64(e.Txs, uint64(tx))
	}
	s.Take(node, &e)
}

func (s story) recorded(node int, at int64, slot ledger.Slot, u UserBlock) {
	s.Take(node, &Event{T: at * ms, Type: "recorded", Slot: slot, UserBlock: u})
}

func (s story) block(node int, slot ledger.Slot, id string, entries ...UserBlock) {
	s.Take(node, &Event{Type: "block", Slot: slot, UserBlock: UserBlock{ID: id}, Entries: entries})
}

func (s story) confirmed(node int, at int64, slot ledger.Slot, id string) {
	s.Take(node, &Event{T: at * ms, Type: "confirmed", Slot: slot, UserBlock: UserBlock{ID: id}})
}

type outcome struct {
	tx TxID
	of bank.Outcome
}

func (s story) executed(node int, at int64, slot ledger.Slot, id, hash string, outcomes ...outcome) {
	e := Event{T: at * ms, Type: "executed", Slot: slot, UserBlock: UserBlock{ID: id}, BankHash: hash}
	for _, o := range outcomes {
		e.Outcomes = append(binary.LittleEndian.AppendUint64(e.Outcomes, uint64(o.tx)), byte(o.of))
	}
	s.Take(node, &e)
}

func (s story) refused(node int, tx TxID) {
	s.Take(node, &Event{Type: "refused", Txs: binary.LittleEndian.AppendUint64(nil, uint64(tx))})
}

func (s story) head(node int, confirmed, executed ledger.Slot) {
	s.Take(node, &Event{Type: "head", Slot: confirmed + 1, Confirmed: confirmed, Executed: executed, Lag: node})
}

func (s story) offer(tx TxID, at int64, receiver int) { s.Offer(tx, at*ms, receiver) }

// TestTrackerFollows tells a story of three nodes with one transaction of
// every fate.
func TestTrackerFollows(t *testing.T) {
	s := story{NewTracker(3)}
	s.Begin(10)
	a, b := UserBlock{U: 20, Lane: 0, ID: "a"}, UserBlock{U: 20, Lane: 1, ID: "b"}
	late, gone := UserBlock{U: 23, Lane: 2, ID: "late"}, UserBlock{U: 21, Lane: 1, ID: "gone"}

	for tx := TxID(1); tx <= 9; tx++ {
		s.offer(tx, 100, int(tx)%3)
	}
	// 1 is in both UserBlocks: once ok, once a duplicate. 7 is only in one
	// that is missed, 8 is refused, 9 vanishes.
	for node := range 3 {
		s.held(node, 150, a, 1, 2, 3, 4)
		s.held(node, 150, b, 1, 5, 6)
	}
	s.held(0, 150, gone, 7)
	s.refused(2, 8)
	if s.Quiet() {
		t.Error("quiet with transactions under way")
	}
	// Node 1 received transaction 1: its own times do not count for it.
	s.recorded(1, 300, 10, a)
	s.recorded(2, 310, 10, a)
	s.recorded(0, 305, 10, a)
	s.recorded(0, 306, 10, b)
	s.recorded(2, 301, 9, b) // a fork's
	for node := range 3 {
		s.block(node, 9, "fork", b)
		s.block(node, 10, "ten", a, b)
		s.block(node, 12, "twelve", late)
		s.confirmed(node, 400+int64(node), 10, "ten")
	}
	ten := []outcome{{5, bank.Unpayable}, {1, bank.Duplicate}, {1, bank.OK}, {2, bank.Failed}, {3, bank.BadSignature}, {4, bank.Duplicate}, {6, bank.BadNonce}}
	s.executed(0, 500, 10, "ten", "H", ten...)
	s.executed(1, 490, 10, "ten", "H", ten...)
	s.executed(2, 510, 10, "ten", "X", ten...)
	s.executed(2, 511, 10, "ten", "X", ten...) // said twice
	s.executed(0, 480, 9, "fork", "F", outcome{5, bank.OK})
	s.confirmed(0, 900, 12, "twelve")
	s.executed(0, 950, 12, "twelve", "G")

	s.Take(0, &Event{Type: "health", Health: "stalled"})
	s.Take(0, &Event{Type: "health", Health: "healthy"})
	s.Take(1, &Event{Type: "health", Health: "halted"})

	// The live counters take each block as it is first executed.
	live := s.Live()
	if live.Outcomes[bank.OK] != 2 || live.Outcomes[bank.Duplicate] != 2 || live.Refused != 1 || live.Offered != 9 || live.Mismatches != 1 {
		t.Errorf("live: %+v", live)
	}
	s.End(13)
	got := s.Summary()
	want := Summary{
		Outcomes: Outcomes{
			Accepted: 7, // all but the one refused, and the one of which nothing was heard
			Endings: map[Ending]uint64{
				OK: 1, Failed: 1, Duplicate: 1, Unpayable: 1, BadSignature: 1, Refused: 1, Unheard: 1, Unrecorded: 1, Unexecuted: 1,
			},
			Refusals: map[string]uint64{"": 1},
		},
		Offered: 9, Refused: 1, Lost: 3, ExecutedOK: 1, ExecutedFailed: 1, Duplicate: 1, Unpayable: 1, BadSignature: 1,
		Recorded: 6, Confirmed: 6,
		// Slots 10 to 12: nothing is confirmed after those.
		Slots: 3, SkippedSlots: 1,
		UserBlocksRecorded: map[ledger.Lane]uint64{0: 1, 1: 1, 2: 1}, UserBlocksMissed: 1,
		BankHashesCompared: 3, BankHashMismatches: 1,
		Unwell: map[int]string{1: "halted"},
	}
	want.LatencyMS.Recorded = Quantiles{205, 60_000}
	want.LatencyMS.Confirmed = Quantiles{301, 60_000}
	want.LatencyMS.Executed = Quantiles{60_000, 60_000}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	const reasons = "1 duplicate, 1 unpayable, 1 bad signature, 1 in no UserBlock, 1 in a UserBlock that was not recorded, 1 recorded, but not executed, 1 refused ()"
	if told := strings.Join(got.NotLanded(), ", "); told != reasons {
		t.Errorf("not landed: %s", told)
	}
}

// The receiver's own events do not count; the earliest of the others does.
func TestTrackerLatency(t *testing.T) {
	for _, test := range []struct {
		name     string
		nodes    int
		receiver int
		want     int
	}{
		{"receiver is not the first", 3, 2, 200},
		{"receiver is the first", 3, 0, 210},
		{"one node", 1, 0, 200},
	} {
		s := story{NewTracker(test.nodes)}
		s.Begin(1)
		s.offer(1, 100, test.receiver)
		u := UserBlock{U: 1, ID: "u"}
		s.block(0, 1, "b", u)
		s.held(0, 0, u, 1)
		for node := range test.nodes {
			at := 300 + 10*int64(node)
			s.recorded(node, at, 1, u)
			s.confirmed(node, at, 1, "b")
			s.executed(node, at, 1, "b", "H", outcome{1, bank.OK})
		}
		s.End(1)
		got := s.Summary()
		want := Quantiles{test.want, test.want}
		if l := got.LatencyMS; l.Recorded != want || l.Confirmed != want || l.Executed != want {
			t.Errorf("%s: %+v, want %d", test.name, l, test.want)
		}
	}
}

// Over a long run the tracker's memory stays bounded, and its numbers are
// those of a run that is settled only at the end.
func TestTrackerForgets(t *testing.T) {
	const slots = 3000
	run := func(settle bool) (Summary, int) {
		s := story{NewTracker(2)}
		s.Begin(1)
		most := 0
		for slot := ledger.Slot(1); slot <= slots; slot++ {
			if slot%10 == 3 {
				continue // skipped
			}
			at := 400 * int64(slot)
			u := UserBlock{U: slot.FirstUserSlot(), Lane: ledger.Lane(slot % 4), ID: "u"}
			tx := TxID(slot)
			s.offer(tx, at, int(slot%2))
			for node := range 2 {
				s.held(node, at+100, u, tx)
				if slot%7 == 0 {
					continue // missed, and its transaction lost
				}
				s.recorded(node, at+200, slot, u)
				s.block(node, slot, "b", u)
				s.executed(node, at+350, slot, "b", "H", outcome{tx, bank.OK})
			}
			for node := range 2 {
				s.confirmed(node, at+300, slot, "b")
				s.head(node, slot, slot)
			}
			if settle {
				s.Settle(at * ms)
			}
			most = max(most, len(s.blocks)+len(s.userBlocks)+len(s.offers)+len(s.order))
		}
		s.End(slots)
		return s.Summary(), most
	}
	want, _ := run(false)
	got, most := run(true)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("settled meanwhile: %+v\n       at the end: %+v", got, want)
	}
	if most > 1000 {
		t.Errorf("%d items at once", most)
	}
	const skipped, lost = slots / 10, 386 // multiples of 7 that do not end in 3
	if got.SkippedSlots != skipped || got.Lost != lost || got.UserBlocksMissed != lost || got.ExecutedOK != slots-skipped-lost {
		t.Errorf("%+v", got)
	}
}

func TestTrackerQuiet(t *testing.T) {
	s := story{NewTracker(2)}
	s.Begin(5)
	s.End(8)
	s.offer(1, 0, 0)
	s.head(0, 9, 9)
	s.head(1, 9, 8)
	if s.Quiet() {
		t.Error("quiet before the transaction is executed")
	}
	s.executed(1, 10, 8, "b", "H", outcome{1, bank.OK})
	if !s.Quiet() {
		t.Error("not quiet at the end")
	}
	s.head(1, 7, 9)
	if s.Quiet() {
		t.Error("quiet before a node has confirmed the last slot")
	}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	if h.Quantile(50) != 0 {
		t.Error("quantile of nothing")
	}
	for i := range 100 {
		h.Add(time.Duration(i+1) * time.Millisecond)
	}
	if p50, p99, all := h.Quantile(50), h.Quantile(99), h.Quantile(100); p50 != 50 || p99 != 99 || all != 100 {
		t.Errorf("quantiles %d, %d, %d", p50, p99, all)
	}
	h.Add(-time.Second)
	h.Add(time.Hour)
	if h.counts[0] != 1 || h.counts[60_000] != 1 {
		t.Error("what is out of range does not count at its ends")
	}
}

// FuzzReadEvents feeds lines that no node would write.
func FuzzReadEvents(f *testing.F) {
	f.Add([]byte(`{"t":1,"type":"held","u":2,"lane":1,"id":"x","txs":"AAAAAAAAAAA="}` + "\n"))
	f.Add([]byte(`{"t":1,"type":"executed","slot":2,"id":"x","bank_hash":"h","outcomes":"AAAAAAAAAAAH"}` + "\n"))
	f.Add([]byte(`{"t":1,"type":"block","slot":2,"id":"x","entries":[{"u":3,"lane":2,"id":"y"}]}` + "\n{"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		tracker := NewTracker(1)
		tracker.Begin(0)
		readEvents(strings.NewReader(string(b)), func(e *Event) { tracker.Take(0, e) })
		tracker.Summary()
	})
}

// Every fate is told once, with how far the transaction came and why it did
// not come further.
func TestTrackerTellsFates(t *testing.T) {
	s := story{NewTracker(2)}
	fates := map[int64]Fate{}
	s.Concluded = func(f *Fate) {
		if _, ok := fates[f.At/ms]; ok {
			t.Errorf("told twice: %+v", f)
		}
		fates[f.At/ms] = *f
	}
	s.Begin(1)
	for tx := TxID(1); tx <= 6; tx++ {
		s.offer(tx, int64(tx), 0)
	}
	u, missed := UserBlock{U: 2, ID: "u"}, UserBlock{U: 2, Lane: 1, ID: "missed"}
	s.held(1, 10, u, 1, 2)
	s.held(1, 10, missed, 3)
	s.recorded(1, 20, 1, u)
	s.block(1, 1, "b", u)
	s.confirmed(1, 30, 1, "b")
	s.executed(1, 40, 1, "b", "H", outcome{1, bank.Failed})
	s.Take(0, &Event{Type: "refused", Txs: binary.LittleEndian.AppendUint64(nil, 4), Reason: "pool is full"})
	s.Unsent(5)
	s.Unsent(99)
	s.End(1)
	s.Summary()
	for at, want := range map[int64]Fate{
		1: {Accepted: true, Recorded: 20 * ms, Confirmed: 30 * ms, Executed: 40 * ms, Ending: Failed},
		2: {Accepted: true, Recorded: 20 * ms, Confirmed: 30 * ms, Ending: Unexecuted},
		3: {Accepted: true, Ending: Unrecorded},
		4: {Ending: Refused, Reason: "pool is full"},
		5: {Ending: Unsent},
		6: {Ending: Unheard},
	} {
		want.ID, want.At = TxID(at), at*ms
		if got := fates[at]; got != want {
			t.Errorf("number %d: %+v\nwant %+v", at, got, want)
		}
	}
}
