package ledger

import (
	"bytes"
	"errors"
	"fmt"
)

// Sizes of bundles, in members: the bundler is not one.
const (
	BundleMin = 2
	BundleMax = 5
)

// ErrBundle: an instruction of the Bundle program stands where none may, or
// does not fit the transactions behind it.
var ErrBundle = errors.New("ledger: malformed bundle")

// Tags of the Bundle program's instructions (PROTOCOL section 8).
const (
	bundleTag = 1 // u8 count, H(members' message hashes)
	refuseTag = 2
)

// bundleUse returns what a transaction says to the Bundle program: the data
// of at most one bundle instruction, that instruction's index, and whether it
// refuses to be bundled.
func bundleUse(t *Transaction) (bundle []byte, index int, refuses bool, err error) {
	for i, in := range t.Instructions() {
		if t.Key(int(in.Program)) != BundleProgram {
			continue
		}
		switch {
		case len(in.Data) == 1 && in.Data[0] == refuseTag:
			refuses = true
		case len(in.Data) == 2+32 && in.Data[0] == bundleTag && bundle == nil:
			bundle, index = in.Data, i
		default:
			return nil, 0, false, fmt.Errorf("instruction %d: %w", i, ErrBundle)
		}
	}
	return bundle, index, refuses, nil
}

// RefusesBundle tells whether a transaction aborts any bundle that it is a
// member of.
func (t *Transaction) RefusesBundle() bool {
	_, _, refuses, err := bundleUse(t)
	return err == nil && refuses
}

// BundleInstruction returns the index of the instruction that makes the
// transaction a bundler: an aborted bundle's error names it.
func (t *Transaction) BundleInstruction() (index int, ok bool) {
	bundle, index, _, err := bundleUse(t)
	return index, err == nil && bundle != nil
}

// BundleSize checks the bundle rules for the sanitised transactions of one
// entry, given with their message hashes, and returns the number of members if
// the entry is a bundle, else 0 (PROTOCOL section 8). A bundle is the whole of
// its entry: the bundler and its members. A transaction may refuse to be
// bundled anywhere; a bundle instruction stands in an entry's first
// transaction alone.
func BundleSize(txs []Transaction, hashes []Hash) (int, error) {
	size := 0
	for i := range txs {
		bundle, _, _, err := bundleUse(&txs[i])
		if err != nil {
			return 0, fmt.Errorf("transaction %d: %w", i, err)
		}
		if bundle == nil {
			continue
		}
		size = int(bundle[1])
		if i != 0 || size < BundleMin || size > BundleMax || len(txs) != 1+size {
			return 0, fmt.Errorf("transaction %d, %d members: %w", i, size, ErrBundle)
		}
		if h := bundleDigest(hashes[1:]); !bytes.Equal(h[:], bundle[2:]) {
			return 0, fmt.Errorf("other members: %w", ErrBundle)
		}
	}
	return size, nil
}

// BundleCall returns the instruction that makes its transaction the bundler
// of members, given by their message hashes in order.
func BundleCall(members []Hash) Call {
	h := bundleDigest(members)
	return Call{Program: BundleProgram, Data: append([]byte{bundleTag, byte(len(members))}, h[:]...)}
}

// RefuseBundleCall returns the instruction with which a transaction refuses
// to be bundled.
func RefuseBundleCall() Call {
	return Call{Program: BundleProgram, Data: []byte{refuseTag}}
}

func bundleDigest(members []Hash) Hash {
	parts := make([][]byte, len(members))
	for i := range members {
		parts[i] = members[i][:]
	}
	return Sum(parts...)
}
