package ledger_test

import (
	"bytes"
	"errors"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
	"tutti/ledger/sigverify"
)

// TestVectorsTransactions reads real transactions: they parse, give their
// bytes back, and verify, but for the signatures that are known to be bad.
func TestVectorsTransactions(t *testing.T) {
	type signature struct {
		file string
		i    int
	}
	bad := map[signature]bool{
		{"transaction3.bin", 0}:    true,
		{"transaction5.bin", 0}:    true,
		{"vote_tower_sync.bin", 1}: true,
	}
	files := [][]string{
		{"quic_txn.bin"},
		{"transaction1.bin"},
		{"transaction2.bin"},
		{"transaction3.bin"},
		{"transaction4.bin"},
		{"transaction5.bin"},
		{"transaction6.bin"},
		{"vote_tower_sync.bin"},
		{"pack", "sample_vote.bin"},
		{"pack", "txn1.bin"},
		{"pack", "txn2.bin"},
		{"pack", "txn3.bin"},
		{"pack", "txn4.bin"},
		{"pack", "txn5.bin"},
		{"pack", "txn6.bin"},
		{"pack", "txn7.bin"},
	}
	parsed, verified := 0, 0
	for _, path := range files {
		name := path[len(path)-1]
		b := testkit.Vectors(t, "firedancer-io/firedancer", append([]string{"fd-txn"}, path...)...)
		tx, err := ledger.ParseTransaction(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if again := reserialise(&tx); !bytes.Equal(again, b) {
			t.Errorf("%s: re-serialised to\n%x, want\n%x", name, again, b)
			continue
		}
		parsed++

		err = tx.Sanitize()
		if want := name != "transaction5.bin"; (err == nil) != want {
			t.Errorf("%s: Sanitize: %v", name, err)
		}
		if err != nil && !errors.Is(err, ledger.TransactionError{Kind: ledger.SanitizeFailure}) {
			t.Errorf("%s: %v is no SanitizeFailure", name, err)
		}

		good := true
		for i := range tx.NumSignatures() {
			want := !bad[signature{name, i}]
			good = good && want
			for _, r := range []sigverify.Rule{sigverify.Simd0376, sigverify.Strict} {
				if got := r.Verify(tx.KeyBytes(i), tx.Message(), tx.SignatureBytes(i)); got != want {
					t.Errorf("%s, signature %d, %v: %v", name, i, r, got)
				}
			}
		}
		for _, r := range []sigverify.Rule{sigverify.Simd0376, sigverify.Strict} {
			if got := r.VerifyTransaction(&tx); got != good {
				t.Errorf("%s, %v: %v", name, r, got)
			}
		}
		if good {
			verified++
		}
	}
	if verified != 13 {
		t.Errorf("%d verify in full, want 13", verified)
	}
	testkit.Count("real transactions, parse and re-serialise", parsed, len(files))
	testkit.Count("real transactions, verify in full", verified, 13)
}
