package devnet

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tutti/cmd/tutti/load"
)

// TestSummaryFile checks the names that scripts rely on.
func TestSummaryFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "summary.json")
	s := Summary{Summary: load.NewTracker(1).Summary()}
	if err := s.write(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(`accepted endings refusals offered refused lost executed_ok executed_failed duplicate unpayable bad_signature
		recorded confirmed latency_ms slots skipped_slots userblocks_recorded userblocks_missed bank_hashes_compared
		bank_hash_mismatches unwell signatures_verified shreds recovered_sets repaired_shreds proposer_egress cpu_us_per_tx
		rss_max_mib memory_mib_by_minute memory_slope live_heap_mib_by_minute live_heap_slope cores idle_cores bytes_sent transactions_dropped start_seconds
		start_cpu_seconds genesis_bytes disk_max_bytes`)
	slices.Sort(want)
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("names %v, want %v", names, want)
	}
}
