package devnet

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tutti/cmd/tutti/load"
	"tutti/ledger"
)

// Summary is what a devnet has measured.
type Summary struct {
	load.Summary

	// What the nodes counted themselves, since they started.
	SignaturesVerified map[string]uint64 `json:"signatures_verified"` // by node
	Shreds             struct {
		ByDepth map[int]uint64            `json:"by_depth"`
		ByLane  map[string]map[int]uint64 `json:"by_lane"`
	} `json:"shreds"`
	// TransactionsDropped are clients' that came over QUIC and not as far as a
	// pool, by reason: nobody but the node knows.
	TransactionsDropped map[string]uint64 `json:"transactions_dropped"`

	RecoveredSets  uint64            `json:"recovered_sets"`
	RepairedShreds uint64            `json:"repaired_shreds"`
	ProposerEgress map[string]Egress `json:"proposer_egress"` // by node

	// CPUPerTx is the processor time of all validators over the measured
	// span, in microseconds per executed transaction.
	CPUPerTx float64 `json:"cpu_us_per_tx"`
	// Cores is how many processors they kept busy in that span, on average.
	// IdleCores is the same for the time without load before it, 0 if that was
	// not measured.
	Cores     float64 `json:"cores"`
	IdleCores float64 `json:"idle_cores"`
	// BytesSent are those of frames that the validators sent to each other in
	// that span, without what QUIC adds.
	BytesSent uint64 `json:"bytes_sent"`
	// StartSeconds is from the start of the first validator until all knew each
	// other, StartCPU the processor time, in seconds, that all took for it.
	StartSeconds float64 `json:"start_seconds"`
	StartCPU     float64 `json:"start_cpu_seconds"`
	// GenesisBytes is the size of genesis.bin, which has all accounts of the
	// beginning, and DiskMax that of the largest ledger folder of a validator
	// at the end, genesis.bin and log included, in bytes.
	GenesisBytes int64 `json:"genesis_bytes"`
	DiskMax      int64 `json:"disk_max_bytes"`
	// RSSMax is the largest resident set of a validator, in MiB.
	RSSMax float64 `json:"rss_max_mib"`
	// MemoryByMinute is the mean memory in each minute, in MiB, by node, without
	// mapped files of the ledger, which the kernel takes back when it wants to.
	// MemorySlope is how fast all of it together grows after warm-up; nil for
	// runs that are too short to tell.
	MemoryByMinute map[string][]float64 `json:"memory_mib_by_minute"`
	MemorySlope    *Slope               `json:"memory_slope"`
	// HeapByMinute and HeapSlope are the same of what is in use: the least that a
	// garbage collection of each minute left. The rest of the memory is garbage,
	// or kept for the next of it, or needed for a moment, as to merge tables.
	HeapByMinute map[string][]float64 `json:"live_heap_mib_by_minute"`
	HeapSlope    *Slope               `json:"live_heap_slope"`
}

// Egress counts what a node sent of its own UserBlocks: the shreds that they
// have, all that it sent, and those of them that went to a leader beside the
// root of their Turbine tree.
type Egress struct {
	ShredsMade   uint64 `json:"shreds_made"`
	ShredsSent   uint64 `json:"shreds_sent"`
	LeaderCopies uint64 `json:"leader_copies"`
}

// measureFiles takes in the sizes of a devnet's files. Its validators have
// stopped.
func (s *Summary) measureFiles(f *folder) error {
	info, err := os.Stat(filepath.Join(f.dir, genesisFile))
	if err != nil {
		return fmt.Errorf("measure files: %w", err)
	}
	s.GenesisBytes = info.Size()
	for i := range f.genesis.Validators {
		size := int64(0)
		err := filepath.WalkDir(f.node(i), func(_ string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			info, err := entry.Info()
			if err == nil {
				size += info.Size()
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("measure files: %w", err)
		}
		s.DiskMax = max(s.DiskMax, size)
	}
	return nil
}

// write writes the summary to a file, which is never there half.
func (s *Summary) write(path string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".summary-*")
	if err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		if err = os.Chmod(f.Name(), 0o644); err == nil {
			err = os.Rename(f.Name(), path)
		}
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

// print writes the summary for people.
func (s *Summary) print(w io.Writer) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-13s"+format+"\n", append([]any{name}, args...)...)
	}
	fmt.Fprintln(w, "Summary")
	if s.Offered > 0 {
		row("transactions", "%d offered: %d ok (%s), %d failed, %d duplicate, %d unpayable, %d bad signature, %d refused, %d lost",
			s.Offered, s.ExecutedOK, percent(s.ExecutedOK, s.Offered), s.ExecutedFailed, s.Duplicate, s.Unpayable, s.BadSignature, s.Refused, s.Lost)
		if reasons := s.NotLanded(); len(reasons) > 0 {
			row("not landed", "%s; a proposer had %s of all", strings.Join(reasons, ", "), percent(s.Accepted, s.Offered))
		}
		var dropped []string
		for _, reason := range slices.Sorted(maps.Keys(s.TransactionsDropped)) {
			if n := s.TransactionsDropped[reason]; n > 0 {
				dropped = append(dropped, fmt.Sprintf("%d (%s)", n, reason))
			}
		}
		if len(dropped) > 0 {
			row("dropped", "%s of them as they came to a node", strings.Join(dropped, ", "))
		}
		l := &s.LatencyMS
		row("latency", "recorded %d ms (p99 %d), confirmed %d ms (p99 %d), executed %d ms (p99 %d)",
			l.Recorded.P50, l.Recorded.P99, l.Confirmed.P50, l.Confirmed.P99, l.Executed.P50, l.Executed.P99)
	}
	row("slots", "%d, of which %d skipped", s.Slots, s.SkippedSlots)
	var lanes []string
	for lane := range ledger.Lane(ledger.LanesMax) {
		if n, ok := s.UserBlocksRecorded[lane]; ok {
			lanes = append(lanes, fmt.Sprintf("lane %d: %d", lane, n))
		}
	}
	if len(lanes) > 0 {
		row("UserBlocks", "recorded in %s; missed: %d", strings.Join(lanes, ", "), s.UserBlocksMissed)
	}
	row("BankHashes", "%d compared, %d mismatches", s.BankHashesCompared, s.BankHashMismatches)
	for _, i := range slices.Sorted(maps.Keys(s.Unwell)) {
		row("health", "%s is %s", nodeName(i), s.Unwell[i])
	}
	row("shreds", "%d sets recovered, %d shreds repaired", s.RecoveredSets, s.RepairedShreds)
	row("resources", "%.0f µs CPU per transaction, %.2f cores, at most %.0f MiB a node", s.CPUPerTx, s.Cores, s.RSSMax)
	if s.MemorySlope != nil && s.HeapSlope != nil {
		row("memory", "grows by %v after warm-up, what is in use by %v", s.MemorySlope, s.HeapSlope)
	}
}

func percent(part, whole uint64) string {
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}
