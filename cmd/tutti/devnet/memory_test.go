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
		want    float64
		ok      bool
	}{
		{"flat after warm-up", 30, func(m int) float64 { return min(100+20*float64(m), 300) }, 0, true},
		{"grows by a MiB a minute", 30, func(m int) float64 { return 180.5 + float64(m) }, 30, true}, // of 200 on average
		{"too short", 4, func(int) float64 { return 100 }, 0, false},
	} {
		start := time.Unix(1000, 0)
		m := newMemory(2, start)
		over := 0
		for second := 1; second <= 60*test.minutes; second++ {
			bytes := uint64(test.mib((second-1)/60) * (1 << 20))
			if m.take(start.Add(time.Duration(second)*time.Second), []uint64{bytes, bytes}) {
				over++
			}
		}
		got, ok := m.slope()
		if over != test.minutes || ok != test.ok || math.Abs(got-test.want) > 0.5 {
			t.Errorf("%s: %d minutes, slope %.2f %% an hour, %t", test.name, over, got, ok)
		}
	}
}
