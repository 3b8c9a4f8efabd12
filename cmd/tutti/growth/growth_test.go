package growth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tutti/cmd/tutti/devnet"
	"tutti/cmd/tutti/measure"
	"tutti/cmd/tutti/setup"
)

func small(dir string) Options {
	return Options{
		Command: "tutti bench growth", Only: []string{Validators, World}, Proposers: 2,
		Sizes:      map[string][]int{Validators: {1}, World: {3, 5}},
		Simulation: measure.Simulation{Slots: 40, Load: 20, Seed: 1, Execute: time.Millisecond},
		Devnet:     measure.Devnet{Validators: 1, Load: 1, Duration: 5 * time.Second},
		Files:      measure.Files{JSON: filepath.Join(dir, "g.json"), HTML: filepath.Join(dir, "g.html")},
	}
}

// TestGrowth: more validators send more, and a devnet that cannot start is
// told of and does not cost the other series.
func TestGrowth(t *testing.T) {
	o := small(t.TempDir())
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	var out strings.Builder
	if err := Run(t.Context(), o, &out, io.Discard); err == nil || !strings.Contains(err.Error(), "validators 1: ") {
		t.Errorf("a devnet without a directory: %v", err)
	}
	for _, want := range []string{"**1 validators failed**: ", "## Validators in the world: cost\n\n| validators | offered/s | landed % |", "\n| 3 | 20 | 100.0 |", "\n| 5 | 20 | 100.0 |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	b, err := os.ReadFile(o.Files.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil || len(r.Series) != 2 || len(r.Series[1].Rows) != 2 {
		t.Fatalf("%v: %s", err, b)
	}
	few, many := r.Series[1].Rows[0].World, r.Series[1].Rows[1].World
	for _, w := range []*InWorld{few, many} {
		shreds := 0
		for _, n := range w.Shreds {
			shreds += n
		}
		q := w.LatencyMS["confirmed"]
		if w.Landed == 0 || w.Landed != w.Submitted || shreds == 0 || w.Messages == 0 || q.P50 <= 0 || q.P99 < q.P50 {
			t.Errorf("%d validators: %+v", w.Validators, w)
		}
		if sent, got := w.Bytes, w.Received; got > sent || got < sent*9/10 || w.ReceiveMax > got || w.BytesMax > sent {
			t.Errorf("%d validators sent %d bytes and received %d", w.Validators, sent, got)
		}
	}
	if many.Bytes <= few.Bytes {
		t.Errorf("5 validators sent %d bytes, 3 sent %d", many.Bytes, few.Bytes)
	}
	html, err := os.ReadFile(o.Files.HTML)
	if err != nil || !strings.Contains(string(html), `"log_x":true`) {
		t.Errorf("HTML without a chart: %v", err)
	}
}

// TestInterrupted: what is missing is said to be.
func TestInterrupted(t *testing.T) {
	o := small(t.TempDir())
	o.Only = []string{World}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	if err := Run(ctx, o, &out, io.Discard); err != nil || !strings.Contains(out.String(), "**Interrupted**") || strings.Contains(out.String(), "|") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestTables: figures stand beside the load and what became of it, as a
// multiple of the first row.
func TestTables(t *testing.T) {
	row := func(size int, cpu float64, ok uint64) Row {
		s := &devnet.Summary{CPUPerTx: cpu, RSSMax: 100, GenesisBytes: 2_000_000}
		s.Offered, s.ExecutedOK, s.Slots = 1000, ok, 50
		s.LatencyMS.Confirmed.P50 = 10 * size
		s.Cores, s.IdleCores = 2, 0.5
		return Row{Size: size, Offered: 500, Local: s, Stages: map[string]float64{"send": 9, "hash state": 0.2, "rare": 0.1 * cpu / 600, "scarce": 0.2}}
	}
	o := small("")
	r := &Report{Series: []Series{
		{Name: Lanes, Validators: 4, Rows: []Row{row(1, 600, 1000), {Size: 2, Error: "no\nport"}, row(4, 900, 990)}},
		{Name: Accounts, Validators: 4, Rows: []Row{row(10, 1, 1)}},
	}}
	var out strings.Builder
	if err := o.page(r).Markdown(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Devnets of 4 validators.", "**2 lanes failed**: no port",
		"| 1 | 500 | 100.0 | 600 ×1.00 |", "| 4 | 500 | 99.0 | 900 ×1.50 | 675 ×1.50 | 2.00 ×1.00 | 0.50 ×1.00 |",
		"| lanes | offered/s | ok % | send | hash state | all else |\n", "| 4 | 500 | 99.0 | 9.0 ×1.00 | 0.2 ×1.00 | 0.3 ×1.17 |",
		"| 10 ×1.00 |", "| 40 ×4.00 |", "genesis.bin, MB", "| 2.0 ×1.00 |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// TestMemory: minutes stand in rows, validators in columns.
func TestMemory(t *testing.T) {
	s := &devnet.Summary{
		MemoryByMinute: map[string][]float64{"v0": {90, 91}, "v1": {80}},
		HeapByMinute:   map[string][]float64{"v0": {70, 70.25}, "v1": {60}},
		MemorySlope:    &devnet.Slope{Percent: 3, Error: 2}, HeapSlope: &devnet.Slope{Percent: 0.5, Error: 0.2},
	}
	s.Offered, s.ExecutedOK = 200, 199
	o := small("")
	r := &Report{Series: []Series{{Name: Memory, Validators: 2, Rows: []Row{{Size: 2, Offered: 400, Local: s}}}}}
	var out strings.Builder
	p := o.page(r)
	if err := p.Markdown(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Devnets of 2 validators", "99.5 % of the transfers succeeded", "live memory grows by 0.5 ± 0.2 % an hour, resident memory by 3.0 ± 2.0",
		"| minute | v0 live, MiB | v1 live, MiB | v0 resident, MiB | v1 resident, MiB |", "| 1 | 70.0 | 60.0 | 90.0 | 80.0 |", "| 2 | 70.2 | – | 91.0 | – |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if chart := p.Parts[2].Chart; len(chart.Series) != 2 || len(chart.Series[0].Points) != 2 || chart.Series[0].Points[1] != [2]float64{2, 70.25} {
		t.Errorf("chart %+v", chart)
	}
	if o.Only = []string{Memory}; strings.Contains(o.introduction(), "World") || !strings.Contains(o.introduction(), "Memory") {
		t.Errorf("a report of memory alone begins with %q", o.introduction())
	}
	if o.Only = nil; strings.Contains(o.introduction(), "Memory") || !strings.Contains(o.introduction(), "World") {
		t.Errorf("a report without memory begins with %q", o.introduction())
	}
	if o.wanted(Memory) || !o.wanted(World) {
		t.Error("what takes half an hour is measured unasked")
	}
}

func TestRefused(t *testing.T) {
	for want, change := range map[string]func(*Options){
		`no series "size"`:     func(o *Options) { o.Only = []string{"size"} },
		"0 proposers":          func(o *Options) { o.Proposers = 0 },
		"no sizes for world":   func(o *Options) { o.Sizes[World] = nil },
		"--validators 0":       func(o *Options) { o.Sizes[Validators] = []int{0} },
		"--world 5 after 5":    func(o *Options) { o.Sizes[World] = []int{5, 5} },
		"--lanes 33":           func(o *Options) { o.Only, o.Sizes[Lanes] = nil, []int{33} },
		"--slots 1":            func(o *Options) { o.Simulation.Slots = 1 },
		"--local-duration 1s":  func(o *Options) { o.Devnet.Duration = time.Second },
		"/all is no directory": func(o *Options) { o.Files.HTML = "/nowhere/at/all/x.html" },
	} {
		o := small(t.TempDir())
		change(&o)
		err := Run(t.Context(), o, io.Discard, io.Discard)
		var wrong *setup.Error
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
