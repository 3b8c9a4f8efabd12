package main

import (
	"strings"
	"testing"
)

func TestTableIsSound(t *testing.T) {
	stages, err := parseTable(table)
	if err != nil || len(stages) == 0 {
		t.Fatalf("%d stages, %v", len(stages), err)
	}
}

func TestRun(t *testing.T) {
	const table = `
# comment
bank Hash     cpu-ns/account 100  a library
poh Advance   cpu-ns/hash    50   another one
`
	const bench = `goos: linux
pkg: tutti/bank
BenchmarkHash-2   	     100	    9114 ns/op	      150.0 cpu-ns/account	 0 B/op
BenchmarkHash-2   	     100	    9114 ns/op	      120.0 cpu-ns/account	 0 B/op
PASS
pkg: tutti/poh
BenchmarkAdvance-2   	     100	      91 ns/op	      60.0 cpu-ns/hash
`
	var out strings.Builder
	if err := run(table, strings.NewReader(bench), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[1], "120.0        100.0    1.20    1.00  a library") || !strings.Contains(lines[2], " 1.20    1.00  another one") {
		t.Errorf("printed\n%s", out.String())
	}
	if err := run(table, strings.NewReader(strings.Replace(bench, "Advance", "Other", 1)), &out); err == nil {
		t.Error("a stage without a figure was passed over")
	}
	for _, bad := range []string{"bank Hash cpu-ns/account 100\n", "bank Hash cpu-ns/account many words here\n"} {
		if _, err := parseTable(bad); err == nil {
			t.Errorf("took %q", bad)
		}
	}
}
