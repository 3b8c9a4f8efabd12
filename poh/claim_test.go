package poh

import (
	"errors"
	"slices"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// Claims can be verified in any order, and say the same as Step.
func TestClaims(t *testing.T) {
	rng := testkit.Rand(t)
	const hashesPerTick = 50
	seed := ledger.Sum([]byte("seed"))
	chain, claims, steps := New(seed, hashesPerTick), NewVerifier(seed, hashesPerTick), NewVerifier(seed, hashesPerTick)
	var checks []Check
	wrong := rng.IntN(100)
	stepped := error(nil)
	for i := range 100 {
		var mixin *ledger.Hash
		var n uint64
		var hash ledger.Hash
		chain.Advance(uint64(rng.IntN(10)))
		if m := ledger.Sum([]byte{byte(i)}); chain.Remaining() > 1 && rng.IntN(3) > 0 {
			n, hash, _ = chain.Record(m)
			mixin = &m
		} else {
			n, hash = chain.Tick()
		}
		if i == wrong {
			hash[0] ^= 1
		}
		c, err := claims.Claim(n, mixin, hash)
		if err != nil {
			t.Fatal(err)
		}
		checks = append(checks, c)
		if stepped == nil {
			stepped = steps.Step(n, mixin, hash)
		}
	}
	if !errors.Is(stepped, ErrInvalidEntryHash) {
		t.Errorf("Step finds %v", stepped)
	}
	sums := make(map[ledger.Hash]bool)
	for i := range checks {
		sums[checks[i].Sum()] = true
	}
	if len(sums) != len(checks) {
		t.Errorf("%d sums of %d claims", len(sums), len(checks))
	}
	rng.Shuffle(len(checks), func(i, j int) { checks[i], checks[j] = checks[j], checks[i] })
	bad := slices.DeleteFunc(checks, func(c Check) bool { return c.Verify() == nil })
	// The entry behind the wrong one starts from the wrong hash.
	if want := min(2, 100-wrong); len(bad) != want {
		t.Errorf("%d claims are wrong, want %d", len(bad), want)
	}
}
