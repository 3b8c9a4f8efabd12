//go:build planted

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tutti/internal/planted"
)

// TestFaultyBank runs a devnet in which one node of four flips bits in what it
// executes: the others must say so (SIMD-0023 "BankHash").
func TestFaultyBank(t *testing.T) {
	dir := t.TempDir()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	summary := filepath.Join(dir, "summary.json")
	cmd := exec.Command(path, "devnet", "--reset", "--ledger", filepath.Join(dir, "dev"),
		"--load", "50", "--duration", "5s", "--summary", summary)
	cmd.Args[0] = "tutti" // TestMain runs the command of that name
	cmd.Env = append(os.Environ(), "TUTTI_PLANTED="+string(planted.FlipBit), "TUTTI_PLANTED_NODE=v1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("devnet: %v\n%s", err, out)
	}
	raw, err := os.ReadFile(summary)
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Compared   int `json:"bank_hashes_compared"`
		Mismatches int `json:"bank_hash_mismatches"`
		Confirmed  int `json:"confirmed"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d BankHashes compared, %d mismatches, %d transactions confirmed", s.Compared, s.Mismatches, s.Confirmed)
	if s.Mismatches == 0 {
		t.Error("no mismatch was reported")
	}
	if s.Confirmed == 0 {
		t.Error("a wrong bank kept the order from being confirmed")
	}
}
