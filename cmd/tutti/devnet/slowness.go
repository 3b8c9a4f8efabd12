package devnet

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Slowness says how much slower an executor is than it could be. The zero
// Slowness changes nothing.
type Slowness struct {
	// Factor multiplies the time that execution takes, and Transaction comes
	// on top for each transaction; a Factor of 0 is 1.
	Factor      float64       `json:"factor"`
	Transaction time.Duration `json:"transaction"`
	// Behind is how long after the end of its slot a block is executed at the
	// earliest.
	Behind time.Duration `json:"behind"`
}

// slownessFile is, in a ledger folder, the Slowness of a validator whose
// binary was built with the tag planted.
const slownessFile = "slowness.json"

// ReadSlowness reads the Slowness of a validator; it has none if it cannot be
// read.
func ReadSlowness(ledger string) (s Slowness) {
	b, err := os.ReadFile(filepath.Join(ledger, slownessFile))
	if err != nil || json.Unmarshal(b, &s) != nil {
		return Slowness{}
	}
	return s
}

// write has a validator be as slow, from its next block on.
func (s Slowness) write(ledger string) error {
	b, err := json.Marshal(s)
	if err == nil {
		path := filepath.Join(ledger, slownessFile)
		if err = os.WriteFile(path+".new", b, 0o644); err == nil {
			err = os.Rename(path+".new", path)
		}
	}
	if err != nil {
		return fmt.Errorf("slow executor: %w", err)
	}
	return nil
}

// More returns how much longer to take for a block of so many transactions
// that took so long and whose slot ended so long ago.
func (s Slowness) More(took time.Duration, transactions int, since time.Duration) time.Duration {
	more := time.Duration(max(s.Factor-1, 0)*float64(took)) + time.Duration(transactions)*s.Transaction
	return max(more, s.Behind-since)
}
