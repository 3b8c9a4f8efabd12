package devnet

import (
	"fmt"
	"strings"
	"time"
)

// memory follows a size of validators, minute by minute.
type memory struct {
	began  time.Time
	sums   []float64 // MiB, of the samples of the running minute, by validator
	counts []int
	// minutes are the means of the minutes that are over, in MiB, by validator.
	minutes [][]float64
}

func newMemory(validators int, now time.Time) *memory {
	return &memory{
		began: now, sums: make([]float64, validators), counts: make([]int, validators), minutes: make([][]float64, validators),
	}
}

// take takes a sample, in bytes; 0 is of a validator that is down. It tells
// whether a minute is over with it.
func (m *memory) take(now time.Time, own []uint64) bool {
	for i, bytes := range own {
		if bytes > 0 {
			m.sums[i] += float64(bytes) / (1 << 20)
			m.counts[i]++
		}
	}
	if now.Sub(m.began) < time.Duration(len(m.minutes[0])+1)*time.Minute {
		return false
	}
	for i := range m.sums {
		m.minutes[i] = append(m.minutes[i], m.sums[i]/float64(max(m.counts[i], 1)))
		m.sums[i], m.counts[i] = 0, 0
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
		fmt.Fprintf(&b, " %s %.0f MiB, %.0f live", nodeName(i), own.minutes[i][last], heap.minutes[i][last])
	}
	return b.String()
}

// slope returns how fast the validators' memory together grows, in percent an
// hour of its mean: the line through the minutes after warm-up, which is the
// first third of the run, that lies nearest to all of them. ok is false if
// there are fewer than three minutes after it.
func (m *memory) slope() (percentPerHour float64, ok bool) {
	n := len(m.minutes[0])
	first := (n + 2) / 3
	if n-first < 3 {
		return 0, false
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
		return 0, false
	}
	return 100 * 60 * rise / run / meanY, true
}
