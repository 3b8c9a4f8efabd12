// Package testkit holds what tests of several packages share: the place of
// the conformance vectors, and seeds that are printed. Only tests import it.
package testkit

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Vectors returns the bytes of a file of the conformance data, which lies
// under the folder that TUTTI_VECTORS names. Without TUTTI_VECTORS the test
// is skipped, naming the public origin of the data; with it, a missing file
// is a failure.
func Vectors(t testing.TB, origin string, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(VectorsPath(t, origin, path...))
	if err != nil {
		t.Fatalf("conformance data of %s: %v", origin, err)
	}
	return b
}

// VectorsPath is Vectors for a caller that opens the file itself.
func VectorsPath(t testing.TB, origin string, path ...string) string {
	t.Helper()
	dir := os.Getenv("TUTTI_VECTORS")
	if dir == "" {
		t.Skipf("TUTTI_VECTORS is not set; the data is %s's", origin)
	}
	return filepath.Join(append([]string{dir}, path...)...)
}

// Count prints how many vectors of a set were checked, for `make vectors`.
func Count(set string, checked, total int) {
	fmt.Printf("vectors: %-48s %d/%d\n", set, checked, total)
}

// Rand returns a generator whose seed is printed, and which TUTTI_SEED sets.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("TUTTI_SEED"); s != "" {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("TUTTI_SEED: %v", err)
		}
		seed = v
	}
	t.Logf("seed: TUTTI_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
