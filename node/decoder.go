package node

import (
	"fmt"

	"tutti/ledger"
	"tutti/ledger/sigverify"
	"tutti/shred"
)

// Decoder reads messages and checks proofs of shreds, and signatures by the
// ledger's rule. Any number of goroutines may share one without Proofs.
type Decoder struct {
	Rule sigverify.Rule
	// Proofs makes a third of what it takes to check shreds unnecessary, if one
	// Decoder sees many of each set. It may be nil.
	Proofs *shred.Proofs
}

// transaction reads exactly one transaction that sanitises and is signed.
func (d *Decoder) transaction(b []byte) (ledger.Transaction, error) {
	tx, err := ledger.ParseTransaction(b)
	if err != nil {
		return tx, err
	}
	if err := tx.Sanitize(); err != nil {
		return tx, err
	}
	if !d.Rule.VerifyTransaction(&tx) {
		return tx, fmt.Errorf("%w: signature", ErrMessage)
	}
	return tx, nil
}
