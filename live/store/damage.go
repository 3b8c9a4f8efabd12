package store

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// Damage flips one bit of a stored value, for tests of those who read it. If
// mend is set the checksum is made to match, so that only the value's own
// meaning can betray the change. Nobody may have the ledger open.
func Damage(dir string, e *Entry, offset int, mend bool) error {
	s, err := open(Options{Dir: dir}, false)
	if err != nil {
		return err
	}
	err = s.of(e.key).Update(func(txn *badger.Txn) error {
		item, err := txn.Get(e.key)
		if err != nil {
			return err
		}
		value, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		if offset < 0 || headerSize+offset >= len(value) {
			return fmt.Errorf("offset %d of %d bytes", offset, len(value)-headerSize)
		}
		value[headerSize+offset] ^= 1
		if mend {
			sum := checksum(e.key, value[sumSize:])
			copy(value, sum[:])
		}
		return txn.Set(e.key, value)
	})
	if closed := s.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("damage ledger: %w", err)
	}
	return nil
}
