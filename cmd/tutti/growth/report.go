package growth

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tutti/cmd/tutti/load"
	"tutti/cmd/tutti/page"
)

// column is a figure of a table.
type column struct {
	head string
	// places after the decimal point.
	places int
	// grows has the figure shown as a multiple of the first row's, too, and
	// drawn so if it is drawn.
	grows, drawn bool
	of           func(*Row) float64
}

// table is a part of a series' report.
type table struct {
	heading string
	columns []column
	// chart is what is drawn: the columns that are drawn, as they are or as
	// multiples of the first row; "" for none.
	chart     string
	multiples bool
}

// localShare are the columns that every table of a devnet begins with, behind
// the size, worldShare those of a simulation.
var (
	localShare = []column{
		{head: "offered/s", of: func(r *Row) float64 { return float64(r.Offered) }},
		{head: "ok %", places: 1, of: func(r *Row) float64 { return percent(r.Local.ExecutedOK, r.Local.Offered) }},
	}
	worldShare = []column{
		{head: "offered/s", of: func(r *Row) float64 { return float64(r.Offered) }},
		{head: "landed %", places: 1, of: func(r *Row) float64 { return percent(r.World.Landed, r.World.Submitted) }},
	}
)

var localCosts = []column{
	{"CPU of all, µs a transfer", 0, true, true, func(r *Row) float64 { return r.Local.CPUPerTx }},
	{"above idle, µs a transfer", 0, true, true, func(r *Row) float64 {
		return r.Local.CPUPerTx * max(0, 1-r.Local.IdleCores/max(r.Local.Cores, r.Local.IdleCores, 1e-9))
	}},
	{"CPU of all, cores", 2, true, false, func(r *Row) float64 { return r.Local.Cores }},
	{"idle, cores", 2, true, true, func(r *Row) float64 { return r.Local.IdleCores }},
	{"sent by all, kB a transfer", 1, true, true, func(r *Row) float64 {
		return float64(r.Local.BytesSent) / 1000 / float64(max(r.Local.ExecutedOK+r.Local.ExecutedFailed, 1))
	}},
	{"memory of one at most, MiB", 0, true, true, func(r *Row) float64 { return r.Local.RSSMax }},
	{"skipped slots %", 1, false, false, func(r *Row) float64 { return percent(r.Local.SkippedSlots, r.Local.Slots) }},
	{"UserBlocks too late %", 1, false, false, func(r *Row) float64 {
		all := r.Local.UserBlocksMissed
		for _, n := range r.Local.UserBlocksRecorded {
			all += n
		}
		return percent(r.Local.UserBlocksMissed, all)
	}},
	{"BankHash mismatches", 0, false, false, func(r *Row) float64 { return float64(r.Local.BankHashMismatches) }},
}

// accountCosts stand beside localCosts where accounts grow.
var accountCosts = []column{
	{"genesis.bin, MB", 1, true, true, func(r *Row) float64 { return float64(r.Local.GenesisBytes) / 1e6 }},
	{"ledger of one, MB", 1, true, true, func(r *Row) float64 { return float64(r.Local.DiskMax) / 1e6 }},
	{"start of all, s", 1, true, true, func(r *Row) float64 { return r.Local.StartSeconds }},
	{"CPU of the start, s", 1, true, true, func(r *Row) float64 { return r.Local.StartCPU }},
}

var localLatencies = quantiles([]string{"recorded", "confirmed", "executed"}, func(r *Row, level string) Quantiles {
	l := &r.Local.LatencyMS
	of := map[string]load.Quantiles{"recorded": l.Recorded, "confirmed": l.Confirmed, "executed": l.Executed}[level]
	return Quantiles{float64(of.P50), float64(of.P99)}
})

var worldLatencies = quantiles([]string{"recorded", "confirmed", "executed"}, func(r *Row, level string) Quantiles {
	return r.World.LatencyMS[level]
})

// quantiles returns the columns of levels.
func quantiles(levels []string, of func(*Row, string) Quantiles) (columns []column) {
	for _, level := range levels {
		columns = append(columns,
			column{level + " p50, ms", 0, true, true, func(r *Row) float64 { return of(r, level).P50 }},
			column{level + " p99, ms", 0, true, true, func(r *Row) float64 { return of(r, level).P99 }})
	}
	return columns
}

var worldCosts = []column{
	{"one sends, kB/s", 0, true, true, func(r *Row) float64 { return eachSecond(r, r.World.Bytes) / 1000 }},
	{"most sent by one, kB/s", 0, true, true, func(r *Row) float64 { return float64(r.World.BytesMax) / 1000 / r.World.Seconds }},
	{"one receives, kB/s", 0, true, true, func(r *Row) float64 { return eachSecond(r, r.World.Received) / 1000 }},
	{"most received by one, kB/s", 0, true, true, func(r *Row) float64 { return float64(r.World.ReceiveMax) / 1000 / r.World.Seconds }},
	{"sent by all, kB a transfer", 1, true, true, func(r *Row) float64 {
		return float64(r.World.Bytes) / 1000 / r.World.Seconds / float64(r.Offered)
	}},
	{"one sends, messages/s", 0, true, true, func(r *Row) float64 { return eachSecond(r, r.World.Messages) }},
	{"skipped slots %", 1, false, false, func(r *Row) float64 { return percent(r.World.Skipped, r.World.Slots) }},
	{"simulation, CPU s a second", 1, true, true, func(r *Row) float64 { return r.World.CPU / r.World.Seconds }},
}

// shredColumns say which part of the shreds came at which depth. The deepest
// tree of ValidatorsMax has depth 3 with any fanout of 10 or more.
var shredColumns = func() (columns []column) {
	for depth := range 4 {
		columns = append(columns, column{fmt.Sprintf("at depth %d, %%", depth), 1, false, true, func(r *Row) float64 {
			all, here := 0, 0
			for d, n := range r.World.Shreds {
				all += n
				if d == depth {
					here = n
				}
			}
			return percent(here, all)
		}})
	}
	return columns
}()

// eachSecond is what one validator has of what all have, in a second.
func eachSecond(r *Row, all int) float64 {
	return float64(all) / r.World.Seconds / float64(r.World.Validators)
}

func percent[N int | uint64](part, whole N) float64 {
	return 100 * float64(part) / float64(max(whole, 1))
}

// stageShareMin is the share of a row's processor time from which on a stage
// has a column of its own.
const stageShareMin = 0.05

// stageColumns say where the processor time of devnets goes, the stage that is
// dearest in the first row first.
func stageColumns(rows []*Row) (columns []column) {
	shown := map[string]bool{hashStage: true}
	for _, r := range rows {
		all := 0.0
		for _, us := range r.Stages {
			all += us
		}
		for stage, us := range r.Stages {
			shown[stage] = shown[stage] || us >= stageShareMin*all
		}
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(shown)), func(name string) bool { return !shown[name] })
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(rows[0].Stages[b], rows[0].Stages[a]) })
	for _, name := range names {
		columns = append(columns, column{name, 1, true, true, func(r *Row) float64 { return r.Stages[name] }})
	}
	return append(columns, column{"all else", 1, true, true, func(r *Row) (us float64) {
		for _, stage := range slices.Sorted(maps.Keys(r.Stages)) {
			if !shown[stage] {
				us += r.Stages[stage]
			}
		}
		return us
	}})
}

// outcomeColumns are what a proposer had, what was executed, and all endings of
// others that there are.
func outcomeColumns(rows []*Row) []column {
	share := func(name string, of func(*load.Summary) uint64) column {
		return column{name + " %", 1, false, true, func(r *Row) float64 { return percent(of(&r.Local.Summary), r.Local.Offered) }}
	}
	columns := []column{
		share("accepted", func(s *load.Summary) uint64 { return s.Accepted }),
		share("landed", func(s *load.Summary) uint64 { return s.Landed() }),
	}
	for _, e := range load.Endings[1:] {
		if slices.ContainsFunc(rows, func(r *Row) bool { return r.Local.Endings[e] > 0 }) {
			columns = append(columns, share(string(e), func(s *load.Summary) uint64 { return s.Endings[e] }))
		}
	}
	return columns
}

// hashStage is the stage that the accounts' lattice hash belongs to.
const hashStage = "hash state"

// tables returns what is shown of a series.
func (s *Series) tables() []table {
	if s.Name == World {
		return []table{
			{"Cost", worldCosts, "as a multiple of the first row", true},
			{"Latency", worldLatencies, "milliseconds", false},
			{"Shreds received through Turbine, by depth in their trees", shredColumns, "% of shreds", false},
		}
	}
	costs := localCosts
	if s.Name == Accounts {
		costs = append(costs[:len(costs):len(costs)], accountCosts...)
	}
	tables := []table{
		{"Cost", costs, "as a multiple of the first row", true},
		{"Latency", localLatencies, "milliseconds", false},
		{"What became of the transfers", outcomeColumns(s.measured()), "% of what was offered", false},
	}
	if profiled := slices.DeleteFunc(s.measured(), func(r *Row) bool { return r.Stages == nil }); len(profiled) > 0 {
		tables = append(tables, table{"Where the processor time goes, µs a transfer offered", stageColumns(profiled), "µs a transfer offered", false})
	}
	return tables
}

// texts say what a series is.
var texts = map[string]struct{ heading, size, text string }{
	Lanes: {"Lanes", "lanes", "Devnets of %d validators. A proposer has one lane, so there are as many validators as the most lanes need."},
	Accounts: {"Accounts", "accounts", "Devnets of %d validators. The accounts stand in genesis; transfers of 1024 payers go to all of them, evenly spread, but one in ten to a hot one. " +
		"The start is until all validators know each other; they read genesis and hash all accounts in it."},
	Validators: {"Validators", "validators", "Devnets."},
	Memory: {"Memory", "minutes", "Devnets of %d validators, which keep few shreds of their ledgers. Resident memory is the mean of a minute, without files of the ledger that are mapped. " +
		"Live is the least that a garbage collection of the minute has left: the rest is garbage, or kept for the next of it, or needed for a moment."},
	World: {"Validators in the world", "validators", "Simulated, in all regions, with clients in all of these. One in fifty transfers is made to fail, which counts as landed."},
}

// introduction says what all wanted series have in common.
func (o *Options) introduction() string {
	var lines []string
	if slices.ContainsFunc(Names, func(name string) bool { return name != Memory && o.wanted(name) }) {
		lines = append(lines, "In each series one size grows and the load stays. Behind × is the multiple of the first row.")
	}
	if o.wanted(Lanes) || o.wanted(Accounts) || o.wanted(Validators) {
		lines = append(lines, fmt.Sprintf("Devnets: %d transfers a second for %v, on this machine, generator included.", o.Devnet.Load, o.Devnet.Duration))
	}
	if o.wanted(World) {
		lines = append(lines, fmt.Sprintf("World: %d transfers a second for %d slots, seed %d.", o.Simulation.Load, o.Simulation.Slots, o.Simulation.Seed))
	}
	if o.wanted(Memory) {
		lines = append(lines, "Memory: devnets on this machine, generator included.")
	}
	return strings.Join(append(lines, fmt.Sprintf("Where lanes do not grow, there are %d.", o.Proposers)), " ")
}

// page makes the report.
func (o *Options) page(r *Report) *page.Page {
	p := &page.Page{Title: "Cost as it grows"}
	text := o.introduction() + fmt.Sprintf("\n\nMade by `%s`.", r.Command)
	if r.Interrupted {
		text += "\n\n**Interrupted**: what is missing was not measured."
	}
	p.Parts = append(p.Parts, page.Part{Text: text})
	for i := range r.Series {
		s := &r.Series[i]
		about := texts[s.Name]
		text := about.text
		if s.Validators > 0 {
			text = fmt.Sprintf(text, s.Validators)
		}
		for k := range s.Rows {
			if row := &s.Rows[k]; row.Error != "" {
				text += fmt.Sprintf("\n\n**%d %s failed**: %s", row.Size, about.size, strings.Join(strings.Fields(row.Error), " "))
			}
		}
		p.Parts = append(p.Parts, page.Part{Heading: about.heading, Text: text})
		share := localShare
		if s.Name == World {
			share = worldShare
		}
		rows := s.measured()
		if len(rows) == 0 {
			continue
		}
		if s.Name == Memory {
			for _, row := range rows {
				p.Parts = append(p.Parts, memoryParts(row)...)
			}
			continue
		}
		for _, t := range s.tables() {
			t.columns = append(share[:len(share):len(share)], t.columns...)
			p.Parts = append(p.Parts, page.Part{
				Heading: about.heading + ": " + strings.ToLower(t.heading[:1]) + t.heading[1:],
				Table:   t.table(about.size, rows), Chart: t.draw(about.size, rows),
			})
		}
	}
	return p
}

// memoryParts shows the memory of a devnet's validators, minute by minute.
func memoryParts(r *Row) []page.Part {
	heading := fmt.Sprintf("%d minutes at %d transfers a second", r.Size, r.Offered)
	text := fmt.Sprintf("%.1f %% of the transfers succeeded.", percent(r.Local.ExecutedOK, r.Local.Offered))
	if r.Local.HeapSlope != nil && r.Local.MemorySlope != nil {
		text += fmt.Sprintf(" After warm-up, the first third, live memory grows by %v, resident memory by %v.", r.Local.HeapSlope, r.Local.MemorySlope)
	}
	table := &page.Table{Head: []string{"minute"}, Rows: make([][]string, r.Size)}
	live := &page.Chart{X: "minute", Y: "live, MiB"}
	resident := &page.Chart{X: "minute", Y: "resident, MiB"}
	for i := range table.Rows {
		table.Rows[i] = []string{fmt.Sprint(i + 1)}
	}
	for _, of := range []struct {
		name    string
		minutes map[string][]float64
		chart   *page.Chart
	}{{"live", r.Local.HeapByMinute, live}, {"resident", r.Local.MemoryByMinute, resident}} {
		for _, node := range slices.Sorted(maps.Keys(of.minutes)) {
			table.Head = append(table.Head, fmt.Sprintf("%s %s, MiB", node, of.name))
			series := page.Series{Name: node}
			for i := range table.Rows {
				if i >= len(of.minutes[node]) {
					table.Rows[i] = append(table.Rows[i], "–")
					continue
				}
				mib := of.minutes[node][i]
				table.Rows[i] = append(table.Rows[i], fmt.Sprintf("%.1f", mib))
				series.Points = append(series.Points, [2]float64{float64(i + 1), mib})
			}
			of.chart.Series = append(of.chart.Series, series)
		}
	}
	return []page.Part{{Heading: heading, Text: text, Table: table, Chart: live}, {Heading: heading + ", resident", Chart: resident}}
}

// measured returns the rows that did not fail.
func (s *Series) measured() (rows []*Row) {
	for i := range s.Rows {
		if s.Rows[i].Error == "" {
			rows = append(rows, &s.Rows[i])
		}
	}
	return rows
}

func (t *table) table(size string, rows []*Row) *page.Table {
	shown := &page.Table{Head: []string{size}}
	for _, c := range t.columns {
		shown.Head = append(shown.Head, c.head)
	}
	for _, r := range rows {
		cells := []string{fmt.Sprint(r.Size)}
		for _, c := range t.columns {
			cell := fmt.Sprintf("%.*f", c.places, c.of(r))
			if first := c.of(rows[0]); c.grows && first > 0 {
				cell += fmt.Sprintf(" ×%.2f", c.of(r)/first)
			}
			cells = append(cells, cell)
		}
		shown.Rows = append(shown.Rows, cells)
	}
	return shown
}

// draw returns the chart of a table, nil if there is nothing to draw.
func (t *table) draw(size string, rows []*Row) *page.Chart {
	if len(rows) < 2 {
		return nil
	}
	chart := &page.Chart{X: size, Y: t.chart, LogX: true, LogY: t.multiples}
	for _, c := range t.columns {
		first := 1.0
		if t.multiples {
			first = c.of(rows[0])
		}
		if !c.drawn || first == 0 {
			continue
		}
		series := page.Series{Name: c.head}
		for _, r := range rows {
			if y := c.of(r) / first; y > 0 || !chart.LogY {
				series.Points = append(series.Points, [2]float64{float64(r.Size), y})
			}
		}
		chart.Series = append(chart.Series, series)
	}
	return chart
}
