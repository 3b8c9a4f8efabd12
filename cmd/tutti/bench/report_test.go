package bench

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tutti/cmd/tutti/load"
)

// TestJSON checks the names that scripts rely on.
func TestJSON(t *testing.T) {
	b, err := testReport(t).json()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	step := got["steps"].([]any)[1].(map[string]any)
	for _, x := range []struct {
		of   map[string]any
		want string
	}{
		{got, "bank_hash_mismatches method notes seconds setup skipped_slots slots started steps tool"},
		{got["setup"].(map[string]any), "generator hot_share machine nodes pause payers prices step_time"},
		{step, "accepted endings followed landed landed_per_second late_ms latency_ms lost offered offered_per_second rate refusals seconds skipped_slots"},
		{step["latency_ms"].(map[string]any), "confirmed executed recorded"},
		{step["latency_ms"].(map[string]any)["executed"].(map[string]any), "cdf p50 p90 p99"},
		{got["seconds"].([]any)[0].(map[string]any), "landed offered skipped_slots"},
	} {
		if names := strings.Join(slices.Sorted(maps.Keys(x.of)), " "); names != x.want {
			t.Errorf("names %s\nwant  %s", names, x.want)
		}
	}
}

func TestBenchstat(t *testing.T) {
	b, err := testReport(t).benchstat()
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`^Benchmark\S+-\d+ \d+( [0-9.e+-]+ \S+)+$`)
	n := 0
	for text := range strings.Lines(string(b)) {
		if strings.HasPrefix(text, "Benchmark") {
			n++
			if !line.MatchString(strings.TrimSpace(text)) {
				t.Errorf("no benchmark line: %q", text)
			}
		}
	}
	if n != 2 || !strings.Contains(string(b), " 60 accepted-% 70 lost-% ") {
		t.Errorf("%s", b)
	}
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	testReport(t).text(&b)
	for _, want := range []string{
		"offered/s   offered  accepted    landed      lost",
		"100 / 100", "never / never", "10/s: of 10 followed: 10 ok",
		"2 refused (pool has N transactions)", "slots: 8, of which 2 skipped", "note: a note",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// TestHTML: the page is whole in itself, has all charts, and what comes from
// outside cannot break it.
func TestHTML(t *testing.T) {
	b, err := testReport(t).html()
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, id := range []string{"throughput", "recorded", "confirmed", "executed", "lag", "skipped"} {
		if strings.Count(text, `<div id="`+id+`">`) != 1 {
			t.Errorf("no place for the chart of %s", id)
		}
	}
	for _, e := range load.Endings {
		if !strings.Contains(text, string(e)) {
			t.Errorf("nothing about %q", e)
		}
	}
	if regexp.MustCompile(`(?i)(src|href)\s*=|@import|url\(`).MatchString(text) {
		t.Error("the page loads something")
	}
	if n := strings.Count(text, "</script>"); n != 2 {
		t.Errorf("%d scripts end", n)
	}
	if !strings.Contains(text, "Permission is hereby granted") {
		t.Error("uPlot's licence is missing")
	}
	data := regexp.MustCompile(`(?m)^const report = (.*);$`).FindStringSubmatch(text)
	if data == nil || json.Unmarshal([]byte(data[1]), &Report{}) != nil {
		t.Error("the report's data is missing")
	}
}

// A distribution keeps its ends, ascends, and stays below 1 if some never
// came so far.
func TestDistribution(t *testing.T) {
	var h load.Histogram
	for ms := range 10_000 {
		h.Add(time.Duration(ms) * time.Millisecond)
	}
	for range 10_000 {
		h.Add(load.LatencyMax)
	}
	l := newLatency(&h)
	if n := len(l.CDF); n > cdfPoints+2 || n < cdfPoints/3 {
		t.Errorf("%d points", n)
	}
	if first, last := l.CDF[0], l.CDF[len(l.CDF)-1]; first[0] != 0 || last != [2]float64{9_999, 0.5} {
		t.Errorf("from %v to %v", first, last)
	}
	for i := range l.CDF[1:] {
		if l.CDF[i+1][0] <= l.CDF[i][0] || l.CDF[i+1][1] <= l.CDF[i][1] {
			t.Fatalf("%v after %v", l.CDF[i+1], l.CDF[i])
		}
	}
	if empty := newLatency(&load.Histogram{}); len(empty.CDF) != 0 || empty.P99 != 0 {
		t.Errorf("distribution of nothing: %+v", empty)
	}
}
