package sigverify

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"runtime"
	"sync"
	"testing"

	"tutti/internal/testkit"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// cctv returns the vectors of C2SP/CCTV: combinations of small-order and
// mixed-order components that implementations of Ed25519 disagree about.
func cctv(t testing.TB) []Item {
	t.Helper()
	var vectors []struct{ Key, Sig, Msg string }
	if err := json.Unmarshal(testkit.Vectors(t, "C2SP/CCTV", "ed25519", "cctv_ed25519vectors.json"), &vectors); err != nil {
		t.Fatal(err)
	}
	items := make([]Item, len(vectors))
	for i, v := range vectors {
		items[i] = Item{Pub: unhex(t, v.Key), Msg: []byte(v.Msg), Sig: unhex(t, v.Sig)}
	}
	return items
}

// verifySingly returns what Verify says of each item.
func verifySingly(r Rule, items []Item) []bool {
	ok := make([]bool, len(items))
	for i, it := range items {
		ok[i] = r.Verify(it.Pub, it.Msg, it.Sig)
	}
	return ok
}

func count(ok []bool) (n int) {
	for _, o := range ok {
		if o {
			n++
		}
	}
	return n
}

func TestVectorsCCTV(t *testing.T) {
	items := cctv(t)
	if len(items) != 914 {
		t.Fatalf("%d vectors, want 914", len(items))
	}
	strict, simd := verifySingly(Strict, items), verifySingly(Simd0376, items)
	for i := range items {
		if strict[i] && !simd[i] {
			t.Errorf("vector %d: strict accepts what simd0376 refuses", i)
		}
	}
	if n := count(strict); n != 43 {
		t.Errorf("strict accepts %d, want 43", n)
	}
	if n := count(simd); n != 106 {
		t.Errorf("simd0376 accepts %d, want 106", n)
	}
	testkit.Count("Ed25519 CCTV, strict accepts 43", len(items), len(items))
	testkit.Count("Ed25519 CCTV, simd0376 accepts 106", len(items), len(items))
}

func TestVectorsWycheproof(t *testing.T) {
	var file struct {
		TestGroups []struct {
			PublicKey struct{ Pk string }
			Tests     []struct {
				TcID             int
				Msg, Sig, Result string
			}
		}
	}
	b := testkit.Vectors(t, "C2SP/wycheproof", "ed25519", "wycheproof_testvectors_v1_ed25519_test.json")
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	for _, r := range []Rule{Strict, Simd0376} {
		total, agree := 0, 0
		for _, g := range file.TestGroups {
			for _, v := range g.Tests {
				total++
				it := Item{Pub: unhex(t, g.PublicKey.Pk), Msg: unhex(t, v.Msg), Sig: unhex(t, v.Sig)}
				if r.Verify(it.Pub, it.Msg, it.Sig) == (v.Result == "valid") {
					agree++
				} else {
					t.Errorf("%v: test %d is %s", r, v.TcID, v.Result)
				}
			}
		}
		if total != 151 {
			t.Errorf("%d vectors, want 151", total)
		}
		testkit.Count("Ed25519 Wycheproof, "+r.String(), agree, total)
	}
}

func TestVectorsSpeccheck(t *testing.T) {
	var cases []struct {
		Message   string
		PubKey    string `json:"pub_key"`
		Signature string
	}
	b := testkit.Vectors(t, "novifinancial/ed25519-speccheck", "ed25519", "speccheck_cases.json")
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	accepted := map[Rule]map[int]bool{
		Strict:   {3: true},
		Simd0376: {3: true, 4: true, 5: true},
	}
	for _, r := range []Rule{Strict, Simd0376} {
		agree := 0
		for i, c := range cases {
			got := r.Verify(unhex(t, c.PubKey), unhex(t, c.Message), unhex(t, c.Signature))
			if got == accepted[r][i] {
				agree++
			} else {
				t.Errorf("%v: case %d: %v", r, i, got)
			}
		}
		testkit.Count("Ed25519 speccheck, "+r.String(), agree, len(cases))
	}
}

// TestVectorsBatchIsSingle compares batch with single verification on the
// vectors made to tell them apart: each alone, and in random batches of 2 to
// 256. Half of the batches hold accepted vectors only, so that they pass as
// one; the rest hold some from all vectors too. Lengths are spread evenly over
// the orders of magnitude.
func TestVectorsBatchIsSingle(t *testing.T) {
	items := cctv(t)
	want := verifySingly(Simd0376, items)
	var accepted []int
	ok := make([]bool, 1)
	for i := range items {
		Simd0376.VerifyBatch(items[i:i+1], ok)
		if ok[0] != want[i] {
			t.Errorf("vector %d alone: %v, single %v", i, ok[0], want[i])
		}
		if batchOf2 := judge([]Item{items[i], items[i]}); batchOf2[0] != want[i] || batchOf2[1] != want[i] {
			t.Errorf("vector %d twice: %v, single %v", i, batchOf2, want[i])
		}
		if want[i] {
			accepted = append(accepted, i)
		}
	}

	batches := 10_000
	if testing.Short() {
		batches = 200
	}
	rng := testkit.Rand(t)
	compose := func() []int {
		n := int(2 * math.Exp(rng.Float64()*math.Log(128.5)))
		n = min(n, 256)
		picks := make([]int, n)
		for i := range picks {
			picks[i] = accepted[rng.IntN(len(accepted))]
		}
		if rng.IntN(2) == 0 {
			for range 1 + rng.IntN(3) {
				picks[rng.IntN(n)] = rng.IntN(len(items))
			}
		}
		return picks
	}
	work := make(chan []int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			known := NewVerifier(Simd0376)
			again := make([]bool, len(items))
			for picks := range work {
				batch := make([]Item, len(picks))
				for i, p := range picks {
					batch[i] = items[p]
				}
				for i, got := range judge(batch) {
					if got != want[picks[i]] {
						t.Errorf("vector %d in batch %v: %v, single %v", picks[i], picks, got, want[picks[i]])
					}
				}
				known.VerifyBatch(batch, again)
				for i := range batch {
					if again[i] != want[picks[i]] {
						t.Errorf("vector %d in batch %v with known keys: %v, single %v", picks[i], picks, again[i], want[picks[i]])
					}
				}
			}
		})
	}
	for range batches {
		work <- compose()
	}
	close(work)
	wg.Wait()
	testkit.Count("Ed25519 CCTV, batch = single, random batches", batches, batches)
}

func judge(batch []Item) []bool {
	ok := make([]bool, len(batch))
	Simd0376.VerifyBatch(batch, ok)
	return ok
}
