package devnet

import "time"

// latencyMax is a blockhash's life: what takes longer, or never happens,
// counts as this long.
const latencyMax = time.Minute

// histogram counts latencies by the millisecond.
type histogram struct {
	counts [latencyMax/time.Millisecond + 1]uint64
	total  uint64
}

// add counts a latency. Those that are negative, which clocks cannot make on
// one machine, count as 0.
func (h *histogram) add(d time.Duration) {
	ms := min(max(d, 0), latencyMax).Round(time.Millisecond) / time.Millisecond
	h.counts[ms]++
	h.total++
}

// quantile returns the smallest latency in milliseconds that at least
// percent of all do not exceed, 0 if there are none.
func (h *histogram) quantile(percent uint64) int {
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
	panic("devnet: histogram counts less than its total")
}
