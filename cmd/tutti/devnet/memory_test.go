package devnet

import (
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
