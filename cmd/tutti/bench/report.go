package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"tutti/cmd/tutti/load"
)

// Report is what a benchmark has measured. Its JSON is the file of --json.
type Report struct {
	Tool    string    `json:"tool"` // with its version
	Started time.Time `json:"started"`
	// Method says how transfers were followed, and Notes what a reader has to
	// know about this run.
	Method string   `json:"method"`
	Notes  []string `json:"notes"`
	Setup  Setup    `json:"setup"`
	Steps  []Step   `json:"steps"`
	// Seconds are those of the run, from its start to the last one in which
	// anything happened.
	Seconds []Second `json:"seconds"`
	// Slots counts those from the start to the end of the load, and
	// SkippedSlots those of them without a block on the confirmed chain.
	Slots              uint64 `json:"slots"`
	SkippedSlots       uint64 `json:"skipped_slots"`
	BankHashMismatches uint64 `json:"bank_hash_mismatches"` // where event streams were read
}

// Setup is what was run.
type Setup struct {
	Nodes     []Node  `json:"nodes"`     // that transfers were sent to
	Generator string  `json:"generator"` // which of how many: 1/1 is alone
	Payers    int     `json:"payers"`
	HotShare  float64 `json:"hot_share"`
	Prices    string  `json:"prices"` // of a compute unit, in micro-lamports
	StepTime  string  `json:"step_time"`
	Pause     string  `json:"pause"`
	Machine   Machine `json:"machine"` // the generator's
}

// Node is a node that transfers were sent to.
type Node struct {
	Name string `json:"name"`
	// Address is its QUIC address, or URL if transfers went by JSON-RPC.
	Address string `json:"address"`
	// ConnectMS is the fastest of some handshakes or requests.
	ConnectMS float64 `json:"connect_ms"`
}

// Machine is a machine as Go sees it.
type Machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
}

// Step is a step's result. Accepted, Landed, Lost, Endings, Refusals and the
// latencies are those of the Followed transfers, which are all where event
// streams were read.
type Step struct {
	Rate     int     `json:"rate"` // asked for, of all generators
	Seconds  float64 `json:"seconds"`
	Offered  uint64  `json:"offered"` // due in the step, by this generator
	Followed uint64  `json:"followed"`
	// Accepted counts those that a proposer had, Landed those that were
	// executed, with success or not, and Lost all others. Endings adds up to
	// Followed.
	load.Outcomes
	Landed uint64 `json:"landed"`
	Lost   uint64 `json:"lost"`
	// OfferedPerSecond and LandedPerSecond are of this generator; the second
	// counts those that were due in the step, whenever they landed.
	OfferedPerSecond float64 `json:"offered_per_second"`
	LandedPerSecond  float64 `json:"landed_per_second"`
	// LatencyMS counts from when a transfer was due. What did not happen
	// counts as a minute.
	LatencyMS    Latencies `json:"latency_ms"`
	SkippedSlots uint64    `json:"skipped_slots"`
	// LateMS is by how much the generator itself was late, 99th percentile.
	LateMS int `json:"late_ms"`
}

// Latencies are those of a step, by level.
type Latencies struct {
	Recorded  Latency `json:"recorded"`
	Confirmed Latency `json:"confirmed"`
	Executed  Latency `json:"executed"`
}

// Latency is a distribution, in milliseconds.
type Latency struct {
	P50 int `json:"p50"`
	P90 int `json:"p90"`
	P99 int `json:"p99"`
	// CDF has pairs of a latency and the share, 0 to 1, of followed transfers
	// that took no longer. It ends below 1 if some never came so far.
	CDF [][2]float64 `json:"cdf"`
}

// Second is one of the run.
type Second struct {
	Offered      uint64 `json:"offered"`
	Landed       uint64 `json:"landed"` // executed in this second; if not all are followed, an estimate
	SkippedSlots uint64 `json:"skipped_slots"`
	Lag          *int   `json:"lag,omitempty"` // blocks that are not executed, the most of any node
}

const (
	// cdfPoints is how many points of a distribution are kept.
	cdfPoints = 200
	// lateNote is from which lateness on, in milliseconds, the report doubts
	// the generator.
	lateNote = 50
)

func newReport(o *Options, c *network, n *counts, start time.Time) *Report {
	r := &Report{
		Tool: "tutti " + o.Version, Started: start.UTC().Truncate(time.Millisecond), Method: n.method, Notes: n.notes,
		Setup: Setup{
			Generator: fmt.Sprintf("%d/%d", o.Share.Index+1, o.Share.Of), Payers: o.Mix.Payers,
			HotShare: float64(o.Mix.HotPermille) / 1000, Prices: o.PricesText,
			StepTime: o.Duration.String(), Pause: o.Pause.String(),
			Machine: Machine{runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.Version()},
		},
		Slots: n.slots, SkippedSlots: n.skipped, BankHashMismatches: n.mismatches,
	}
	for _, t := range c.targets {
		r.Setup.Nodes = append(r.Setup.Nodes, Node{t.Name, t.address(), float64(t.rtt.Microseconds()) / 1000})
	}
	for k := range n.levels {
		r.Steps = append(r.Steps, newStep(&n.steps[k], &n.levels[k]))
		if late := r.Steps[k].LateMS; late >= lateNote {
			r.Notes = append(r.Notes, fmt.Sprintf("the generator was up to %d ms late at %d/s (99th percentile), which latencies include: it needs a faster machine, or more generators", late, n.steps[k].Rate))
		}
	}
	if n.slots == 0 {
		r.Notes = append(r.Notes, "no block was confirmed during the load")
	}
	last := 0
	for i, s := range n.seconds {
		if s.offered+s.landed+s.skipped > 0 {
			last = i
		}
	}
	for _, s := range n.seconds[:last+1] {
		x := Second{Offered: s.offered, Landed: s.landed, SkippedSlots: s.skipped}
		if n.lagKnown {
			x.Lag = &s.lag
		}
		r.Seconds = append(r.Seconds, x)
	}
	return r
}

func (t *target) address() string {
	if t.QUIC.IsValid() {
		return t.QUIC.String()
	}
	return t.RPC
}

func newStep(s *load.Step, l *level) Step {
	x := Step{
		Rate: s.Rate, Seconds: s.Duration.Seconds(), Offered: l.offered, Followed: l.followed,
		Outcomes: l.outcomes, Landed: l.outcomes.Landed(),
		LatencyMS:    Latencies{newLatency(&l.recorded), newLatency(&l.confirmed), newLatency(&l.executed)},
		SkippedSlots: l.skipped, LateMS: l.late.Quantile(99),
	}
	x.Lost = x.Followed - x.Landed
	x.OfferedPerSecond = float64(x.Offered) / x.Seconds
	if x.Followed > 0 {
		x.LandedPerSecond = x.OfferedPerSecond * float64(x.Landed) / float64(x.Followed)
	}
	return x
}

func newLatency(h *load.Histogram) Latency {
	l := Latency{P50: h.Quantile(50), P90: h.Quantile(90), P99: h.Quantile(99), CDF: [][2]float64{}}
	before := 0.0
	for ms, n := range h.Cumulate {
		// A point for every small step of the share, and the last one.
		share := float64(n) / float64(h.Count())
		point := [2]float64{float64(ms), share}
		if k := len(l.CDF); k > 1 && share-before < 1.0/cdfPoints {
			l.CDF[k-1] = point
			continue
		}
		before = share
		l.CDF = append(l.CDF, point)
	}
	return l
}

// text writes the report for people.
func (r *Report) text(w io.Writer) {
	fmt.Fprintf(w, "%s, generator %s: %d payers, hot share %v, prices %s\n", r.Tool, r.Setup.Generator, r.Setup.Payers, r.Setup.HotShare, r.Setup.Prices)
	for _, n := range r.Setup.Nodes {
		fmt.Fprintf(w, "to %s at %s, connected in %.1f ms\n", n.Name, n.Address, n.ConnectMS)
	}
	fmt.Fprintf(w, "followed: %s\n\n", r.Method)
	fmt.Fprintf(w, "%9s %9s %9s %9s %9s   %-15s %-15s %-15s\n", "offered/s", "offered", "accepted", "landed", "lost",
		"recorded p50/99", "confirmed", "executed (ms)")
	for i := range r.Steps {
		s := &r.Steps[i]
		fmt.Fprintf(w, "%9.0f %9d %9s %9s %9s   %-15s %-15s %-15s\n", s.OfferedPerSecond, s.Offered,
			s.percent(s.Accepted), s.percent(s.Landed), s.percent(s.Lost),
			s.LatencyMS.Recorded, s.LatencyMS.Confirmed, s.LatencyMS.Executed)
	}
	fmt.Fprintln(w)
	for i := range r.Steps {
		s := &r.Steps[i]
		fmt.Fprintf(w, "%d/s: of %d followed: %s\n", s.Rate, s.Followed, strings.Join(s.outcomes(), ", "))
	}
	fmt.Fprintf(w, "slots: %d, of which %d skipped\n", r.Slots, r.SkippedSlots)
	if r.BankHashMismatches > 0 {
		fmt.Fprintf(w, "BankHash mismatches: %d\n", r.BankHashMismatches)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}

// String returns the median and the 99th percentile; a distribution of nothing
// has none.
func (l Latency) String() string {
	if l.P50 == 0 && len(l.CDF) == 0 {
		return "-"
	}
	return latencyText(l.P50) + " / " + latencyText(l.P99)
}

func latencyText(ms int) string {
	if ms >= int(load.LatencyMax/time.Millisecond) {
		return "never"
	}
	return strconv.Itoa(ms)
}

func (s *Step) percent(n uint64) string {
	if s.Followed == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(s.Followed))
}

// outcomes says how many transfers ended how, and why some were refused.
func (s *Step) outcomes() (list []string) {
	if s.Followed == 0 {
		return []string{"nothing was offered"}
	}
	for _, e := range []load.Ending{load.OK, load.Failed} {
		if n := s.Endings[e]; n > 0 {
			list = append(list, fmt.Sprintf("%d %s", n, e))
		}
	}
	return append(list, s.NotLanded()...)
}

// write writes the files that are asked for.
func (r *Report) write(o *Options) error {
	for _, f := range []struct {
		path   string
		encode func() ([]byte, error)
	}{{o.JSON, r.json}, {o.Benchstat, r.benchstat}, {o.HTML, r.html}} {
		if f.path == "" {
			continue
		}
		b, err := f.encode()
		if err == nil {
			err = writeFile(f.path, b)
		}
		if err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}

// writeFile writes a file that is never there half.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func (r *Report) json() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	return append(b, '\n'), err
}

// benchstat returns a line for each step in the format of Go's benchmarks.
func (r *Report) benchstat() ([]byte, error) {
	var b bytes.Buffer
	m := &r.Setup.Machine
	fmt.Fprintf(&b, "goos: %s\ngoarch: %s\npkg: tutti/cmd/tutti/bench\n", m.OS, m.Arch)
	for i := range r.Steps {
		s := &r.Steps[i]
		fmt.Fprintf(&b, "BenchmarkLoad/rate=%d-%d %d", s.Rate, m.CPUs, max(s.Followed, 1))
		percent := func(n uint64) float64 { return 100 * float64(n) / float64(max(s.Followed, 1)) }
		for _, x := range []struct {
			value float64
			unit  string
		}{
			{s.OfferedPerSecond, "offered/s"},
			{s.LandedPerSecond, "landed/s"},
			{percent(s.Accepted), "accepted-%"},
			{percent(s.Lost), "lost-%"},
			{float64(s.LatencyMS.Recorded.P50), "recorded-p50-ms"},
			{float64(s.LatencyMS.Recorded.P99), "recorded-p99-ms"},
			{float64(s.LatencyMS.Confirmed.P50), "confirmed-p50-ms"},
			{float64(s.LatencyMS.Confirmed.P99), "confirmed-p99-ms"},
			{float64(s.LatencyMS.Executed.P50), "executed-p50-ms"},
			{float64(s.LatencyMS.Executed.P99), "executed-p99-ms"},
			{float64(s.SkippedSlots), "skipped-slots"},
		} {
			fmt.Fprintf(&b, " %.5g %s", x.value, x.unit)
		}
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}
