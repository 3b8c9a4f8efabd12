package validator_test

import (
	"runtime"
	"testing"

	"tutti/ledger"
	"tutti/shred"
	"tutti/validator"
)

// What is known of a leader block is kept after each of its sets. A batch that
// never ends does not make each of these hold all that came before.
func TestOpenBatchIsKeptOnce(t *testing.T) {
	w := newWorld(t, 400, 300, 200)
	s := shred.NewShredder(shred.Config{
		Key: ledger.Slot(1).Key(), ParentOffset: 1, Version: 9, Signer: testKey("identity", 0), Chained: w.genesis.ID,
	})
	payload := make([]byte, 4_000_000)
	sets, err := s.Shred(payload, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p := validator.Begin(w.rules, 1, w.genesis)
	for i, set := range sets[:ledger.LeaderSetsMax] {
		if p, err = p.Next(set); err != nil {
			t.Fatalf("set %d: %v", i, err)
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(len(payload)) {
		t.Errorf("%d bytes for a batch of %d", took, len(payload))
	}
}
