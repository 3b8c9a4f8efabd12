package cluster

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// ErrKeypair is returned for bytes that are no keypair file. It never shows
// what stands in them.
var ErrKeypair = errors.New("keypair file")

const keypairFileMax = 1 << 12

// ParseKeypair reads a keypair as solana-keygen writes it: a JSON list of 64
// numbers, the secret seed and the public key that belongs to it.
func ParseKeypair(b []byte) (ed25519.PrivateKey, error) {
	if len(b) > keypairFileMax {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrKeypair, len(b), keypairFileMax)
	}
	var numbers []uint16
	if json.Unmarshal(b, &numbers) != nil {
		return nil, fmt.Errorf("%w: not a JSON list of numbers", ErrKeypair)
	}
	if len(numbers) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%w: %d numbers, want %d", ErrKeypair, len(numbers), ed25519.PrivateKeySize)
	}
	key := make(ed25519.PrivateKey, len(numbers))
	for i, n := range numbers {
		if n > 255 {
			return nil, fmt.Errorf("%w: number %d is no byte", ErrKeypair, i)
		}
		key[i] = byte(n)
	}
	if !key.Equal(ed25519.NewKeyFromSeed(key.Seed())) {
		return nil, fmt.Errorf("%w: the public key does not belong to the secret one", ErrKeypair)
	}
	return key, nil
}

// FormatKeypair writes a keypair as solana-keygen does.
func FormatKeypair(key ed25519.PrivateKey) []byte {
	b := []byte{'['}
	for i, n := range key {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(n), 10)
	}
	return append(b, ']')
}
