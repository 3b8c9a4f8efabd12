package load

import "time"

// LatencyMax is a blockhash's life: what takes longer, or never happens,
// counts as this long.
const LatencyMax = time.Minute

// Histogram counts latencies by the millisecond. Its zero value is ready.
type Histogram struct {
	counts [LatencyMax/time.Millisecond + 1]uint64
	total  uint64
}

// Add counts a latency. Those that are negative, which clocks cannot make on
// one machine, count as 0.
func (h *Histogram) Add(d time.Duration) {
	ms := min(max(d, 0), LatencyMax).Round(time.Millisecond) / time.Millisecond
	h.counts[ms]++
	h.total++
}

// Count returns how many latencies were added.
func (h *Histogram) Count() uint64 { return h.total }

// Quantile returns the smallest latency in milliseconds that at least
// percent of all do not exceed, 0 if there are none.
func (h *Histogram) Quantile(percent uint64) int {
	if h.total == 0 {
		return 0
	}
	want := (h.total*percent + 99) / 100
	sum := uint64(0)
	for ms, n := range h.counts {
		if sum += n; sum >= want {
			return ms
		}
	}
	panic("load: histogram counts less than its total")
}

// Quantiles returns the quantiles that reports show.
func (h *Histogram) Quantiles() Quantiles {
	return Quantiles{P50: h.Quantile(50), P99: h.Quantile(99)}
}

// Cumulate calls yield with every latency below LatencyMax that occurs, in
// milliseconds and ascending, and with how many do not exceed it.
func (h *Histogram) Cumulate(yield func(ms int, upTo uint64) bool) {
	sum := uint64(0)
	for ms, n := range h.counts[:len(h.counts)-1] {
		if sum += n; n > 0 && !yield(ms, sum) {
			return
		}
	}
}

// Quantiles are latencies in milliseconds.
type Quantiles struct {
	P50 int `json:"p50"`
	P99 int `json:"p99"`
}
