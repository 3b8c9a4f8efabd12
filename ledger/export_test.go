package ledger

// ParseTransactionPrefix parses as entries are: b goes on behind the transaction,
// which takes n bytes.
func ParseTransactionPrefix(b []byte) (t Transaction, n int, err error) {
	n, err = t.parse(b)
	return t, n, err
}
