package compare

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"tutti/cmd/tutti/load"
	"tutti/cmd/tutti/measure"
	"tutti/cmd/tutti/page"
)

// recordingDelay is what a UserBlockSlot makes the baseline wait, and a ledger
// whose leader records transactions as they come would not (PROTOCOL section 2).
const recordingDelay = 200 * time.Millisecond

func (o *Options) page(outcomes *[2]Outcome) *page.Page {
	p := &page.Page{Title: "Many proposers and one leader, compared"}
	p.Parts = append(p.Parts, page.Part{Text: fmt.Sprintf("The same code and the same load on two designs: **%s** at a time with asynchronous execution (SIMD-0023), and the **%s** with votes after execution (the baseline of PROTOCOL section 2).\n\n"+
		"Made by `%s`.", outcomes[0].Design, outcomes[1].Design, o.Command)})
	p.Parts = append(p.Parts, page.Part{Heading: "In the world", Text: fmt.Sprintf("Simulated: %d validators, one after the other in %d regions, and clients in all of these, which send %d transfers a second together for %d slots; seed %d. Each sends to the scheduled proposer that it reaches first, and asks the validator nearest to it. Executing takes 5 ms a block and %v a transfer.\n\n"+
		"*Placed*: until the UserBlockSlot is over in which a proposer took the transfer. *Recorded*, *confirmed*, *executed*: until the client knows. Less 200 ms: the least that the baseline would take without the wait for the end of a UserBlockSlot, which is up to that long.",
		o.Validators, len(outcomes[0].World.Cities), o.Simulation.Load, o.Simulation.Slots, o.Simulation.Seed, o.Simulation.Execute)})
	p.Parts = append(p.Parts, latencies(outcomes), cities(outcomes), costs(outcomes))
	for _, level := range measure.Levels[1:] {
		c := &page.Chart{X: "milliseconds", Y: "% of transfers"}
		for i := range outcomes {
			c.Series = append(c.Series, page.Series{Name: outcomes[i].Design, Points: curve(level.All(outcomes[i].World))})
		}
		p.Parts = append(p.Parts, page.Part{Heading: "Until " + level.Name, Chart: c})
	}
	if outcomes[0].Local != nil {
		p.Parts = append(p.Parts, o.local(outcomes))
	}
	return p
}

// curve is the distribution of l, by the percent.
func curve(l []time.Duration) [][2]float64 {
	var points [][2]float64
	for percent := 0; len(l) > 0 && percent <= 100; percent++ {
		ms := float64(measure.Quantile(l, percent)) / float64(time.Millisecond)
		if n := len(points); n > 0 && points[n-1][0] == ms {
			points[n-1][1] = float64(percent)
			continue
		}
		points = append(points, [2]float64{ms, float64(percent)})
	}
	return points
}

// lessDelay returns a latency without the delay, or 0 if it was shorter.
func lessDelay(d time.Duration) time.Duration { return max(0, d-recordingDelay) }

func ms(d time.Duration) string { return fmt.Sprint(d.Round(time.Millisecond).Milliseconds()) }

// latencies compares all clients together.
func latencies(outcomes *[2]Outcome) page.Part {
	many, alone := outcomes[0].World, outcomes[1].World
	t := &page.Table{Head: []string{
		"ms, all clients", outcomes[0].Design + " p50", "p99", outcomes[1].Design + " p50", "p99", "less 200 ms p50", "p99",
	}}
	for _, level := range measure.Levels {
		a, b := level.All(many), level.All(alone)
		row := []string{
			level.Name, ms(measure.Quantile(a, 50)), ms(measure.Quantile(a, 99)), ms(measure.Quantile(b, 50)), ms(measure.Quantile(b, 99)), "", "",
		}
		if level.Name != measure.Levels[0].Name { // placed is the end of the UserBlockSlot
			row[5], row[6] = ms(lessDelay(measure.Quantile(b, 50))), ms(lessDelay(measure.Quantile(b, 99)))
		}
		t.Rows = append(t.Rows, row)
	}
	return page.Part{Heading: "What clients wait", Table: t}
}

// cities compares city by city.
func cities(outcomes *[2]Outcome) page.Part {
	t := &page.Table{Head: []string{"p50 in ms"}}
	shown := slices.Concat(measure.Levels[:2], measure.Levels[4:]) // placed, recorded, all known
	for _, level := range shown {
		for i := range outcomes {
			t.Head = append(t.Head, level.Name+", "+outcomes[i].Design)
		}
	}
	for k := range outcomes[0].World.Cities {
		row := []string{outcomes[0].World.Cities[k].Name}
		for _, level := range shown {
			for i := range outcomes {
				row = append(row, ms(measure.Quantile(level.Of(&outcomes[i].World.Cities[k]), 50)))
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return page.Part{Heading: "City by city", Table: t}
}

// costs compares what it takes.
func costs(outcomes *[2]Outcome) page.Part {
	t := &page.Table{Head: []string{"", outcomes[0].Design, outcomes[1].Design}}
	row := func(name string, of func(*measure.World) string) {
		t.Rows = append(t.Rows, []string{name, of(outcomes[0].World), of(outcomes[1].World)})
	}
	nodes := func(w *measure.World) float64 { return w.Seconds * float64(w.Validators) }
	row("transfers that landed", func(w *measure.World) string {
		submitted, landed := w.Transfers()
		return fmt.Sprintf("%d of %d", landed, submitted)
	})
	row("skipped slots", func(w *measure.World) string { return fmt.Sprintf("%d of %d", w.Skipped, w.Slots) })
	row("a validator sends, on average, kB/s", func(w *measure.World) string { return fmt.Sprintf("%.0f", float64(w.Bytes)/1000/nodes(w)) })
	row("the validator that sends most, kB/s", func(w *measure.World) string { return fmt.Sprintf("%.0f", float64(w.BytesMax)/1000/w.Seconds) })
	row("bytes that all validators send for a transfer", func(w *measure.World) string {
		return fmt.Sprintf("%.0f", float64(w.Bytes)/float64(max(w.Sent, 1)))
	})
	row("signatures in UserBlocks that a validator checks for a transfer", func(w *measure.World) string {
		return fmt.Sprintf("%.2f", float64(w.Verified)/float64(w.Validators)/float64(max(w.Sent, 1)))
	})
	return page.Part{Heading: "What it costs", Table: t}
}

// local compares the runs on this machine.
func (o *Options) local(outcomes *[2]Outcome) page.Part {
	t := &page.Table{Head: []string{"", proposers(o.localProposers()), outcomes[1].Design, "less 200 ms"}}
	row := func(name string, less bool, of func(i int) string) {
		cells := []string{name, of(0), of(1), ""}
		if less {
			cells[3] = of(2)
		}
		t.Rows = append(t.Rows, cells)
	}
	percent := func(part, whole uint64) string {
		return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(max(whole, 1)))
	}
	row("transfers executed", false, func(i int) string {
		s := outcomes[i].Local
		return percent(s.ExecutedOK+s.ExecutedFailed, s.Offered)
	})
	row("transfers that a proposer had", false, func(i int) string { return percent(outcomes[i].Local.Accepted, outcomes[i].Local.Offered) })
	row("what became of the others", false, func(i int) string { return cmp.Or(strings.Join(outcomes[i].Local.NotLanded(), ", "), "there are none") })
	latency := func(name string, of func(s *load.Summary) load.Quantiles) {
		row(name+" p50 / p99, ms", true, func(i int) string {
			q := of(&outcomes[min(i, 1)].Local.Summary)
			if i == 2 {
				const ms = time.Millisecond
				return fmt.Sprintf("%d / %d", lessDelay(time.Duration(q.P50)*ms)/ms, lessDelay(time.Duration(q.P99)*ms)/ms)
			}
			return fmt.Sprintf("%d / %d", q.P50, q.P99)
		})
	}
	latency("recorded", func(s *load.Summary) load.Quantiles { return s.LatencyMS.Recorded })
	latency("confirmed", func(s *load.Summary) load.Quantiles { return s.LatencyMS.Confirmed })
	latency("executed", func(s *load.Summary) load.Quantiles { return s.LatencyMS.Executed })
	row("skipped slots", false, func(i int) string {
		s := outcomes[i].Local
		return fmt.Sprintf("%d of %d", s.SkippedSlots, s.Slots)
	})
	row("CPU of all validators, µs a transfer", false, func(i int) string { return fmt.Sprintf("%.0f", outcomes[i].Local.CPUPerTx) })
	row("largest resident set, MiB", false, func(i int) string { return fmt.Sprintf("%.0f", outcomes[i].Local.RSSMax) })
	return page.Part{
		Heading: "On one machine",
		Text: fmt.Sprintf("%d validators, each a process, and %d transfers a second for %v, generator included. Nobody is far from anybody here: what is left are the 200 ms, and the work.",
			o.Devnet.Validators, o.Devnet.Load, o.Devnet.Duration),
		Table: t,
	}
}
