package node

import (
	"fmt"

	"tutti/ledger"
	"tutti/ledger/sigverify"
)

// Decoder reads messages and checks signatures by the ledger's rule. It has
// no state: any number of goroutines may share one.
type Decoder struct{ Rule sigverify.Rule }

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
