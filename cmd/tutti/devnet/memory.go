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

// growth is by how much memory grows in some minutes.
type growth struct {
	mib     float64 // of a validator, on average
	minutes int
	// percent is by how much that of node grows, which grows most: the line that
	// lies nearest to its minutes.
	percent float64
	node    int
}

// growth returns how memory grows in the whole minutes between two times;
// false if there are fewer than three, or it is not known.
func (m *memory) growth(from, to time.Time) (g growth, ok bool) {
	first := max(0, int((from.Sub(m.began)+time.Minute-1)/time.Minute))
	last := min(len(m.minutes[0]), int(to.Sub(m.began)/time.Minute))
	if g.minutes = last - first; g.minutes < 3 {
		return g, false
	}
	g.percent = math.Inf(-1)
	for i, minutes := range m.minutes {
		middle, slope, _ := line(minutes[first:last])
		if middle == 0 {
			return g, false
		}
		g.mib += middle / float64(len(m.minutes))
		if percent := 100 * slope * float64(g.minutes) / middle; percent > g.percent {
			g.percent, g.node = percent, i
		}
	}
	return g, true
}

// line returns the line that lies nearest to values at equal distances, by the
// least squares: its middle, by how much it rises from one to the next, and the
// standard error of that.
func line(values []float64) (middle, slope, uncertain float64) {
	n := float64(len(values))
	middle = mean(values)
	var rise, run, off float64
	for i, y := range values {
		x := float64(i) - (n-1)/2
		rise += x * (y - middle)
		run += x * x
	}
	slope = rise / run
	for i, y := range values {
		d := y - middle - slope*(float64(i)-(n-1)/2)
		off += d * d
	}
	return middle, slope, math.Sqrt(off / (n - 2) / run)
}

// Slope is how fast memory grows, in percent an hour, and the standard error of
// that: how much it would differ between runs in which nothing grows.
type Slope struct {
	Percent float64 `json:"percent_per_hour"`
	Error   float64 `json:"standard_error"`
}

// String tells it in percent.
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
	sums := make([]float64, n-first)
	for _, minutes := range m.minutes {
		for i := range sums {
			sums[i] += minutes[first+i]
		}
	}
	middle, rise, uncertain := line(sums)
	if middle == 0 {
		return nil
	}
	const hour = 100 * 60
	return &Slope{hour * rise / middle, hour * uncertain / middle}
}
