// Package sigverify decides which Ed25519 signatures are valid. A ledger has
// one rule for transactions, votes and shreds alike, and all nodes must have
// the same one: implementations of Ed25519 differ on signatures that nobody
// makes by accident, and a ledger that two of them judge forks. The package
// does not sign.
package sigverify

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"tutti/ledger"
)

// Rule is the predicate that a signature must satisfy; its number stands in
// genesis.
type Rule uint8

// The rules. Both refuse small-order A and R, non-canonical R, and S ≥ L.
const (
	// Simd0376 also refuses non-canonical A, and its equation is cofactored,
	// which is what lets a batch decide exactly as single verification does.
	Simd0376 Rule = iota
	// Strict is dalek's verify_strict, Solana mainnet's rule: its equation has
	// no cofactor, so there is no batch.
	Strict
)

// options are the library's words for each rule.
var options = [...]*ed25519.Options{
	Simd0376: {Verify: &ed25519.VerifyOptions{}},
	Strict:   {Verify: &ed25519.VerifyOptions{AllowNonCanonicalA: true, CofactorlessVerify: true}},
}

var names = [...]string{Simd0376: "simd0376", Strict: "strict"}

// ParseRule reads a rule's name: "simd0376" or "strict".
func ParseRule(s string) (Rule, error) {
	for r, name := range names {
		if s == name {
			return Rule(r), nil
		}
	}
	return 0, fmt.Errorf("signature rule %q: want simd0376 or strict", s)
}

// Valid tells whether r is a rule, for numbers from outside.
func (r Rule) Valid() bool { return int(r) < len(names) }

// String returns the rule's name.
func (r Rule) String() string {
	if !r.Valid() {
		return fmt.Sprintf("rule %d", uint8(r))
	}
	return names[r]
}

// Verify tells whether sig is pub's signature of msg. Keys and signatures of
// wrong length are refused.
func (r Rule) Verify(pub, msg, sig []byte) bool {
	return len(pub) == ed25519.PublicKeySize && ed25519.VerifyWithOptions(pub, msg, sig, options[r])
}

// VerifyTransaction tells whether a transaction has the signatures that its
// header requires, at least one, and all of them verify.
func (r Rule) VerifyTransaction(t *ledger.Transaction) bool {
	n := t.NumSignatures()
	if n == 0 || n != t.NumRequiredSignatures() || n > t.NumKeys() {
		return false
	}
	for i := range n {
		if !r.Verify(t.KeyBytes(i), t.Message(), t.SignatureBytes(i)) {
			return false
		}
	}
	return true
}

// Item is one signature to verify.
type Item struct{ Pub, Msg, Sig []byte }

// VerifyBatch sets ok[i] to what Verify says of items[i]. Under Simd0376 a
// batch of good signatures costs less than half of verifying them singly; one
// bad signature makes it dearer than that, so a caller should not batch those
// of a peer that has just sent one. ok must be as long as items.
func (r Rule) VerifyBatch(items []Item, ok []bool) {
	v := Verifier{rule: r}
	v.VerifyBatch(items, ok)
}

// Verifier verifies batches one after the other, with the verdicts of its
// rule. It uses its memory again, and keeps keys that come again ready: a
// third less work for those. It belongs to one goroutine.
type Verifier struct {
	rule  Rule
	batch ed25519.BatchVerifier
	keys  []keptPair // pairsMax, or none
	ready []*ed25519.ExpandedPublicKey
}

// pairsMax is half the number of keys that a Verifier remembers, a power of
// two. A key that it has ready takes 1.5 KiB.
const pairsMax = 4096

// keptPair is the two keys that came last of those that share a place, the
// newer one first.
type keptPair [2]keptKey

// keptKey is a key, and from the second time on that it came what makes
// verifying with it cheaper.
type keptKey struct {
	key   [ed25519.PublicKeySize]byte
	ready *ed25519.ExpandedPublicKey
}

// NewVerifier returns a Verifier for a rule.
func NewVerifier(r Rule) *Verifier {
	return &Verifier{rule: r, keys: make([]keptPair, pairsMax)}
}

// tablesMax is the number of signatures up to which a batch in which all keys
// are ready gains from their tables, by the library's choice of algorithm.
const tablesMax = 93

// partMax is how many items of a large batch are verified anew together if
// there is a bad one among all: that makes a batch dear.
const partMax = 64

// VerifyBatch sets ok[i] as Rule.VerifyBatch does.
func (v *Verifier) VerifyBatch(items []Item, ok []bool) {
	if v.rule != Simd0376 || len(items) == 1 {
		for i, it := range items {
			ok[i] = v.verify(v.recall(it.Pub), it)
		}
		return
	}
	v.fill(items)
	seed := bytes.NewReader(coefficients(items))
	if len(items) <= partMax {
		_, valid := v.batch.Verify(seed)
		copy(ok, valid)
		return
	}
	if v.batch.VerifyBatchOnly(seed) {
		for i := range items {
			ok[i] = true
		}
		return
	}
	for at := 0; at < len(items); at += partMax {
		end := min(at+partMax, len(items))
		v.VerifyBatch(items[at:end], ok[at:end])
	}
}

// fill puts items into the batch.
func (v *Verifier) fill(items []Item) {
	v.ready = v.ready[:0]
	known := 0
	for _, it := range items {
		key := v.recall(it.Pub)
		if key != nil {
			known++
		}
		v.ready = append(v.ready, key)
	}
	v.batch.Reset()
	if len(items) > tablesMax || 2*known < len(items) {
		// Otherwise it would pay to make the missing tables for this batch.
		v.batch.ForceNoPublicKeyExpansion()
	}
	for i, it := range items {
		if key := v.ready[i]; key != nil {
			v.batch.AddExpandedWithOptions(key, it.Msg, it.Sig, options[v.rule])
		} else {
			v.batch.AddWithOptions(it.Pub, it.Msg, it.Sig, options[v.rule])
		}
	}
}

// verify is Rule.Verify, with the key's tables unless they are nil.
func (v *Verifier) verify(key *ed25519.ExpandedPublicKey, it Item) bool {
	if key != nil {
		return ed25519.VerifyExpandedWithOptions(key, it.Msg, it.Sig, options[v.rule])
	}
	return v.rule.Verify(it.Pub, it.Msg, it.Sig)
}

// recall returns what is kept of a key, nil if it has not come twice, or is
// none.
func (v *Verifier) recall(pub []byte) *ed25519.ExpandedPublicKey {
	if len(v.keys) == 0 || len(pub) != ed25519.PublicKeySize {
		return nil
	}
	key := [ed25519.PublicKeySize]byte(pub)
	pair := &v.keys[binary.LittleEndian.Uint64(pub)%pairsMax]
	if pair[0].key != key {
		pair[0], pair[1] = pair[1], pair[0]
	}
	k := &pair[0]
	if k.key != key {
		*k = keptKey{key: key}
		return nil
	}
	if k.ready == nil {
		// The error means that the key is no point: then it stays nil, and
		// nothing verifies.
		k.ready, _ = ed25519.NewExpandedPublicKey(pub)
	}
	return k.ready
}

// coefficients returns the seed of a batch's random coefficients. It is a hash
// of everything in the batch, so that nobody can choose a signature to fit
// the coefficients, and yet the same batch is always judged the same way.
func coefficients(items []Item) []byte {
	h := sha256.New()
	var length [8]byte
	for _, it := range items {
		for _, part := range [][]byte{it.Pub, it.Sig, it.Msg} {
			binary.LittleEndian.PutUint64(length[:], uint64(len(part)))
			h.Write(length[:])
			h.Write(part)
		}
	}
	return h.Sum(nil)
}
