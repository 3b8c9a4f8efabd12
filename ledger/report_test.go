package ledger_test

import (
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// FuzzReport: no bytes make ParseReport panic, and those that it reads are the
// ones that Append writes.
func FuzzReport(f *testing.F) {
	r := ledger.Report{Account: key(1), At: 9, Block: ledger.BlockRef{Slot: 8, ID: ledger.Hash{1}}, BankHash: ledger.Hash{2}}
	r.Sign(privateKey(1))
	f.Add(r.Append(nil))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			r, err := ledger.ParseReport(b)
			if err != nil {
				return nil
			}
			return func() []byte { return r.Append(nil) }
		})
	})
}
