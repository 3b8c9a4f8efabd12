package devnet

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// memory follows a size of validators, minute by minute.
type memory struct {
	began   time.Time
	samples [][]float64 // MiB, of the running minute, by validator
	// of makes one number of a minute's samples.
	of func(samples []float64) float64
	// minutes are those of the minutes that are over, in MiB, by validator; 0 is
	// of a validator that was down.
	minutes [][]float64
}

func newMemory(validators int, now time.Time, of func(samples []float64) float64) *memory {
	return &memory{began: now, of: of, samples: make([][]float64, validators), minutes: make([][]float64, validators)}
}

func mean(samples []float64) float64 {
	var sum float64
	for _, x := range samples {
		sum += x
	}
	return sum / float64(len(samples))
}

// take takes a sample, in bytes; 0 is of a validator that is down. It tells
// whether a minute is over with it.
func (m *memory) take(now time.Time, own []uint64) bool {
	for i, bytes := range own {
		if bytes > 0 {
			m.samples[i] = append(m.samples[i], float64(bytes)/(1<<20))
		}
	}
	if now.Sub(m.began) < time.Duration(len(m.minutes[0])+1)*time.Minute {
		return false
	}
	for i, samples := range m.samples {
		mib := 0.0
		if len(samples) > 0 {
			mib = m.of(samples)
		}
		m.minutes[i], m.samples[i] = append(m.minutes[i], mib), samples[:0]
	}
	return true
}

// minuteOver shows the minute that was over last: the validators' own memory,
// and what of it is in use.
func minuteOver(own, heap *memory) string {
	last := len(own.minutes[0]) - 1
	var b strings.Builder
	fmt.Fprintf(&b, "memory in minute %d:", last+1)
	for i := range own.minutes {
		fmt.Fprintf(&b, " %s %.0f MiB, %.1f live", nodeName(i), own.minutes[i][last], heap.minutes[i][last])
	}
	return b.String()
}

// Slope is how fast memory grows, in percent an hour, and the standard error of
// that: how much it would differ between runs in which nothing grows.
type Slope struct {
	Percent float64 `json:"percent_per_hour"`
	Error   float64 `json:"standard_error"`
}

func (s *Slope) String() string { return fmt.Sprintf("%.1f ± %.1f %% an hour", s.Percent, s.Error) }

// slope returns how fast the validators' memory together grows, of its mean:
// the line through the minutes after warm-up, which is the first third of the
// run, that lies nearest to all of them. It is nil if there are fewer than three
// minutes after it.
func (m *memory) slope() *Slope {
	n := len(m.minutes[0])
	first := (n + 2) / 3
	if n-first < 3 {
		return nil
	}
	var meanX, meanY float64
	sums := make([]float64, n)
	for i := first; i < n; i++ {
		for _, minutes := range m.minutes {
			sums[i] += minutes[i]
		}
		meanX += float64(i) / float64(n-first)
		meanY += sums[i] / float64(n-first)
	}
	var rise, run float64
	for i := first; i < n; i++ {
		rise += (float64(i) - meanX) * (sums[i] - meanY)
		run += (float64(i) - meanX) * (float64(i) - meanX)
	}
	if meanY == 0 {
		return nil
	}
	var off float64 // the line, squared
	for i := first; i < n; i++ {
		d := sums[i] - meanY - rise/run*(float64(i)-meanX)
		off += d * d
	}
	const hour = 100 * 60
	return &Slope{hour * rise / run / meanY, hour * math.Sqrt(off/float64(n-first-2)/run) / meanY}
}
