package devnet

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"tutti/ledger"
)

// Summary is what a devnet has measured. Refused, Lost, ExecutedOK,
// ExecutedFailed, Duplicate, Unpayable and BadSignature add up to Offered: a
// transaction counts once, by its final outcome.
type Summary struct {
	Offered        uint64 `json:"offered"`
	Refused        uint64 `json:"refused"`
	Lost           uint64 `json:"lost"` // nobody refused it, and nobody executed it
	ExecutedOK     uint64 `json:"executed_ok"`
	ExecutedFailed uint64 `json:"executed_failed"`
	Duplicate      uint64 `json:"duplicate"`
	Unpayable      uint64 `json:"unpayable"`
	BadSignature   uint64 `json:"bad_signature"`

	// Recorded and Confirmed count offered transactions of which a UserBlock
	// was recorded, and of which one stands in a confirmed block.
	Recorded  uint64 `json:"recorded"`
	Confirmed uint64 `json:"confirmed"`
	// LatencyMS is measured from the time at which a transaction was to be
	// sent to the first event on a node other than the one it was sent to.
	// What did not happen counts as a minute.
	LatencyMS struct {
		Recorded  Quantiles `json:"recorded"`
		Confirmed Quantiles `json:"confirmed"`
		Executed  Quantiles `json:"executed"`
	} `json:"latency_ms"`

	// Slots counts those of the measured span, and SkippedSlots those of
	// them without a block on the confirmed chain.
	Slots        uint64 `json:"slots"`
	SkippedSlots uint64 `json:"skipped_slots"`
	// UserBlocksRecorded counts those named by confirmed blocks of the span;
	// UserBlocksMissed those that some node held and no confirmed block named
	// in time.
	UserBlocksRecorded map[ledger.Lane]uint64 `json:"userblocks_recorded"`
	UserBlocksMissed   uint64                 `json:"userblocks_missed"`
	// BankHashesCompared counts the BankHashes of nodes, for blocks of the
	// span, that could be compared with another node's; BankHashMismatches
	// those of the whole run that differ from the first that was reported.
	BankHashesCompared uint64 `json:"bank_hashes_compared"`
	BankHashMismatches uint64 `json:"bank_hash_mismatches"`

	// What the nodes counted themselves, since they started.
	SignaturesVerified map[string]uint64 `json:"signatures_verified"` // by node
	Shreds             struct {
		ByDepth map[int]uint64            `json:"by_depth"`
		ByLane  map[string]map[int]uint64 `json:"by_lane"`
	} `json:"shreds"`
	RecoveredSets  uint64            `json:"recovered_sets"`
	RepairedShreds uint64            `json:"repaired_shreds"`
	ProposerEgress map[string]Egress `json:"proposer_egress"` // by node

	// CPUPerTx is the processor time of all validators over the measured
	// span, in microseconds per executed transaction.
	CPUPerTx float64 `json:"cpu_us_per_tx"`
	// RSSMax is the largest resident set of a validator, in MiB.
	RSSMax float64 `json:"rss_max_mib"`
}

// Quantiles are latencies in milliseconds.
type Quantiles struct {
	P50 int `json:"p50"`
	P99 int `json:"p99"`
}

// Egress counts what a node sent of its own UserBlocks: the shreds that they
// have, all that it sent, and those of them that went to a leader beside the
// root of their Turbine tree.
type Egress struct {
	ShredsMade   uint64 `json:"shreds_made"`
	ShredsSent   uint64 `json:"shreds_sent"`
	LeaderCopies uint64 `json:"leader_copies"`
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
	row("shreds", "%d sets recovered, %d shreds repaired", s.RecoveredSets, s.RepairedShreds)
	row("resources", "%.0f µs CPU per transaction, at most %.0f MiB a node", s.CPUPerTx, s.RSSMax)
}

func percent(part, whole uint64) string {
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}
