package devnet

import (
	"math"
	"testing"
	"time"
)

func TestMemorySlope(t *testing.T) {
	for _, test := range []struct {
		name    string
		minutes int
		mib     func(minute int) float64
		want    string
	}{
		{"flat after warm-up", 30, func(m int) float64 { return min(100+20*float64(m), 300) }, "0.0 ± 0.0 % an hour"},
		{"grows by a MiB a minute", 30, func(m int) float64 { return 180.5 + float64(m) }, "30.0 ± 0.0 % an hour"}, // of 200 on average
		{"up and down", 30, func(m int) float64 { return 200 + float64(1-m%2*2) }, "-0.5 ± 1.2 % an hour"},
		{"too short", 4, func(int) float64 { return 100 }, "nil"},
	} {
		start := time.Unix(1000, 0)
		m := newMemory(2, start, mean)
		over := 0
		for second := 1; second <= 60*test.minutes; second++ {
			bytes := uint64(test.mib((second-1)/60) * (1 << 20))
			if m.take(start.Add(time.Duration(second)*time.Second), []uint64{bytes, bytes}) {
				over++
			}
		}
		got := "nil"
		if s := m.slope(); s != nil {
			got = s.String()
		}
		if over != test.minutes || got != test.want {
			t.Errorf("%s: %d minutes, slope %s, want %s", test.name, over, got, test.want)
		}
	}
}

func TestMemoryGrowth(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(minutes float64) time.Time { return start.Add(time.Duration(minutes * float64(time.Minute))) }
	m := newMemory(2, start, mean)
	m.minutes = [][]float64{{10, 50, 50, 50, 50, 50, 90}, {10, 48, 49, 50, 51, 52, 90}}
	for _, c := range []struct {
		from, to float64
		want     growth
		ok       bool
	}{
		{0.5, 6.5, growth{mib: 50, minutes: 5, percent: 10, node: 1}, true}, // minutes 1 to 5
		{1, 4, growth{mib: 49.5, minutes: 3, percent: 100 * 3. / 49, node: 1}, true},
		{1.1, 4.9, growth{minutes: 2}, false},
		{4, 9, growth{mib: 63.8, minutes: 3, percent: 100 * 3 * 20 / 63.333, node: 0}, true},
	} {
		g, ok := m.growth(at(c.from), at(c.to))
		near := func(a, b float64) bool { return math.Abs(a-b) < 0.1 }
		if ok != c.ok || ok && (!near(g.mib, c.want.mib) || g.minutes != c.want.minutes || !near(g.percent, c.want.percent) || g.node != c.want.node) {
			t.Errorf("from %v to %v: %+v %v, want %+v %v", c.from, c.to, g, ok, c.want, c.ok)
		}
	}
}
