package sim

import (
	"strings"
	"testing"
	"time"

	"tutti/ledger"
	"tutti/node"
)

// smaller returns the cluster of a scenario that is made smaller.
func smaller(t *testing.T, x scenario) *Sim {
	t.Helper()
	s, err := newScenario(Config{Seed: 1}, x)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Nodes that were cut off come back to the one chain.
func TestCutOff(t *testing.T) {
	r, err := smaller(t, &cutOff{validators: 5, minority: 1, slots: 6, after: 40}).Run()
	if err != nil || !strings.Contains(r.Figures, "until the others had confirmed it") {
		t.Errorf("%v, figures %q", err, r.Figures)
	}
}

// Votes and confirmation do not wait for executors.
func TestExecutors(t *testing.T) {
	for name, x := range map[string]*executors{
		"late": {factor: 400, first: 20, last: 32, recovery: 20},
		"slow": {factor: 10, full: true, first: 20, last: 36, recovery: 36},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := smaller(t, x).Run()
			if err != nil {
				t.Errorf("%v\n%s", err, r.Figures)
			}
		})
	}
}

// The scenario notices what it is there for.
func TestExecutorsAreJudged(t *testing.T) {
	times := func(d time.Duration) []time.Duration { return []time.Duration{d, d} }
	tests := []struct {
		want    string
		verdict Verdict
		spoil   func(*executors)
	}{
		{"", Pass, func(*executors) {}},
		{"between votes", NoProgress, func(x *executors) { x.slow.votes = times(time.Second) }},
		{"is confirmed", NoProgress, func(x *executors) { x.after.confirms = times(time.Second) }},
		{"keep up", Diverged, func(x *executors) { x.slow.lag = 4 }},
		{"backlog", Diverged, func(x *executors) { x.slow.backlog = 4100 }},
		{"backlog", Diverged, func(x *executors) { x.slow.lag = 151 }},
		{"lag", NoProgress, func(x *executors) { x.lags[1] = 9 }},
		{"transactions", NoProgress, func(x *executors) { x.after.processed = 1 }},
	}
	for _, test := range tests {
		x := &executors{factor: 2, first: 24, last: 40, recovery: 24}
		s := smaller(t, x)
		for _, w := range []*window{&x.before, &x.slow, &x.after} {
			w.votes, w.confirms, w.lag, w.processed = times(400), times(500), 10, 1000
		}
		x.caughtUp = 1
		test.spoil(x)
		v := x.judge(s, &Result{})
		if test.want == "" && v != nil || test.want != "" && (v == nil || !strings.Contains(v.What, test.want) || v.Verdict != test.verdict) {
			t.Errorf("%v, want %v: %q", v, test.verdict, test.want)
		}
	}
}

// A node that stays away is noticed, and so is a block that not all confirm.
func TestCutOffIsJudged(t *testing.T) {
	c := &cutOff{validators: 5, minority: 1, slots: 6, after: 40}
	s := smaller(t, c)
	broken := func(want string) {
		t.Helper()
		if v := c.judge(s, &Result{}); v == nil || !strings.Contains(v.What, want) || v.Verdict != NoProgress {
			t.Errorf("%v, want %q", v, want)
		}
	}
	broken("confirmed up to")
	ref := func(slot ledger.Slot) ledger.BlockRef {
		return ledger.BlockRef{Slot: slot, ID: ledger.Hash{byte(slot)}}
	}
	parent := s.check.ledger.Root().Ref
	for slot := ledger.Slot(1); slot <= 3; slot++ {
		if err := s.check.report(0, node.BlockHeld{Block: ref(slot), Parent: parent, Height: uint64(slot)}); err != nil {
			t.Fatal(err)
		}
		parent = ref(slot)
		b, err := s.check.ledger.Block(parent)
		if err != nil {
			t.Fatal(err)
		}
		s.check.confirmed.Add(b)
	}
	s.cfg.Slots = 3
	broken("is confirmed on 0 of 5")
	s.cfg.Slots = 2
	broken("has not caught up")
}
