// Command limits reads what `go test -bench` writes from standard input and
// prints, for each stage of limits.txt, our figure, the limit, and how many
// times the limit it is. Beside that stands the same in units of one library
// call, the stage called yardstick: on a machine that is slower than the one of
// limits.txt, or has other work to do, that is the fairer figure.
package main

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

//go:embed limits.txt
var table string

// yardstick is the stage that is a library call and nothing else.
const yardstick = "poh Advance"

// stage is a line of the table.
type stage struct {
	pkg, name, metric string
	limit             float64
	source            string
}

// figure is the stage's key in what parseBenchmarks returns.
func (s *stage) figure() string { return s.pkg + " " + s.name + " " + s.metric }

func main() {
	if err := run(table, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "limits:", err)
		os.Exit(1)
	}
}

func run(table string, in io.Reader, out io.Writer) error {
	stages, err := parseTable(table)
	if err != nil {
		return err
	}
	figures, err := parseBenchmarks(in)
	if err != nil {
		return err
	}
	unit := 1.0
	for _, s := range stages {
		if ours, ok := figures[s.figure()]; ok && s.pkg+" "+s.name == yardstick {
			unit = ours / s.limit
		}
	}
	fmt.Fprintf(out, "%-48s %-15s %12s %12s %7s %7s  %s\n", "stage", "metric", "ours", "limit", "times", "fair", "limit is")
	var missing error
	for _, s := range stages {
		ours, ok := figures[s.figure()]
		if !ok {
			missing = errors.Join(missing, fmt.Errorf("no figure for %s %s %s", s.pkg, s.name, s.metric))
			continue
		}
		times := ours / s.limit
		fmt.Fprintf(out, "%-48s %-15s %12.1f %12.1f %7.2f %7.2f  %s\n", s.pkg+" "+s.name, s.metric, ours, s.limit, times, times/unit, s.source)
	}
	return missing
}

func parseTable(table string) (stages []stage, err error) {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) < 5 {
			return nil, fmt.Errorf("table: %q has no source", strings.TrimSpace(line))
		}
		limit, err := strconv.ParseFloat(fields[3], 64)
		if err != nil || limit <= 0 {
			return nil, fmt.Errorf("table: %q has no limit", strings.TrimSpace(line))
		}
		stages = append(stages, stage{fields[0], fields[1], fields[2], limit, strings.Join(fields[4:], " ")})
	}
	return stages, nil
}

// parseBenchmarks returns the lowest figure of each benchmark and metric, by
// "package benchmark metric": other work on the machine only adds.
func parseBenchmarks(in io.Reader) (map[string]float64, error) {
	figures := map[string]float64{}
	pkg := ""
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "pkg: "); ok {
			_, pkg, _ = strings.Cut(name, "/")
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 { // GOMAXPROCS
			name = name[:i]
		}
		for i := 2; i+1 < len(fields); i += 2 {
			figure, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("benchmark: %q: %w", line, err)
			}
			key := pkg + " " + name + " " + fields[i+1]
			if before, ok := figures[key]; !ok || figure < before {
				figures[key] = figure
			}
		}
	}
	return figures, lines.Err()
}
