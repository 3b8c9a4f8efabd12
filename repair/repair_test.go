package repair

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

func root(name string) ledger.Hash { return ledger.Sum([]byte(name)) }

func TestRequestBytes(t *testing.T) {
	rng := testkit.Rand(t)
	for range 200 {
		want := Request{
			Nonce: rng.Uint32(), Kind: Spine + Kind(rng.IntN(3)), Key: ledger.SlotKey(rng.Uint64()),
			Root: root(fmt.Sprint(rng.Uint64())), Mask: rng.Uint64(),
		}
		b := want.Append(nil)
		got, err := ParseRequest(b)
		if err != nil || got != want {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
		for _, bad := range [][]byte{nil, b[:len(b)-1], append(b, 0)} {
			if _, err := ParseRequest(bad); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%d bytes: %v", len(bad), err)
			}
		}
	}
	for _, kind := range []Kind{0, Highest + 1, 255} {
		r := Request{Kind: kind}
		if _, err := ParseRequest(r.Append(nil)); !errors.Is(err, ErrMalformed) {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
}

func TestResponseBytes(t *testing.T) {
	rng := testkit.Rand(t)
	for _, n := range []int{0, 1, 2, 64, ShredsMax} {
		want := Response{Nonce: rng.Uint32(), Shreds: make([][]byte, n)}
		for i := range want.Shreds {
			want.Shreds[i] = bytes.Repeat([]byte{byte(i)}, rng.IntN(1300))
		}
		b := want.Append(nil)
		got, err := ParseResponse(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%d shreds: %v", n, err)
		}
		bad := [][]byte{nil, b[:5], b[:len(b)-1], append(b, 0)}
		for range 20 {
			bad = append(bad, b[:rng.IntN(len(b))])
		}
		for _, bad := range bad {
			if _, err := ParseResponse(bad); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%d shreds in %d of %d bytes: %v", n, len(bad), len(b), err)
			}
		}
	}
	tooMany := Response{Shreds: make([][]byte, ShredsMax+1)}
	if _, err := ParseResponse(tooMany.Append(nil)); !errors.Is(err, ErrMalformed) {
		t.Errorf("%d shreds: %v", len(tooMany.Shreds), err)
	}
	// A count that the bytes cannot hold is refused before room is made for it.
	if n := testing.AllocsPerRun(10, func() { _, _ = ParseResponse([]byte{0, 0, 0, 0, ShredsMax, 0}) }); n > 5 {
		t.Errorf("%v allocations for an empty response", n)
	}
}

// stored is a Source whose shreds are named "SET.PLACE". It has the block c
// of the sets a, b, c, but b is gone, and the set z of a block that is not
// complete.
type stored struct{}

const storedKey = ledger.SlotKey(7)

func (stored) Set(k ledger.SlotKey, r ledger.Hash) ([][]byte, bool) {
	for _, name := range []string{"a", "c", "z"} {
		if k == storedKey && r == root(name) {
			set := make([][]byte, 64)
			for i := range set {
				set[i] = fmt.Appendf(nil, "%s.%d", name, i)
			}
			return set, true
		}
	}
	return nil, false
}

func (stored) Spine(k ledger.SlotKey, id ledger.Hash) ([]ledger.Hash, bool) {
	switch {
	case k == storedKey && id == root("c"):
		return []ledger.Hash{root("a"), root("b"), root("c")}, true
	case k == storedKey && id == root("long"):
		long := make([]ledger.Hash, ShredsMax+5)
		for i := range long {
			long[i] = root("a")
		}
		return long, true
	}
	return nil, false
}

func (stored) Highest(k ledger.SlotKey) (ledger.Hash, bool) {
	switch k {
	case storedKey:
		return root("z"), true
	case storedKey + 1:
		return root("gone"), true
	}
	return ledger.Hash{}, false
}

func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		what string
		r    Request
		want string // the shreds; "" for no answer
	}{
		{"a spine, last set first, without the set that is gone", Request{Kind: Spine, Key: storedKey, Root: root("c")}, "c.0 a.0"},
		{"a spine as long as may be", Request{Kind: Spine, Key: storedKey, Root: root("long")}, strings.TrimSpace(strings.Repeat("a.0 ", ShredsMax))},
		{"a spine of an id that is unknown", Request{Kind: Spine, Key: storedKey, Root: root("a")}, ""},
		{"a spine of another slot", Request{Kind: Spine, Key: storedKey + 1, Root: root("c")}, ""},
		{"shreds by mask", Request{Kind: Shreds, Key: storedKey, Root: root("a"), Mask: 1 | 1<<5 | 1<<63}, "a.0 a.5 a.63"},
		{"no shreds", Request{Kind: Shreds, Key: storedKey, Root: root("a")}, ""},
		{"shreds of a set that is gone", Request{Kind: Shreds, Key: storedKey, Root: root("b"), Mask: 1}, ""},
		{"the highest", Request{Kind: Highest, Key: storedKey}, "z.0"},
		{"the highest, which is gone", Request{Kind: Highest, Key: storedKey + 1}, ""},
		{"the highest of nothing", Request{Kind: Highest, Key: storedKey + 2}, ""},
		{"a kind that is unknown", Request{Kind: 9, Key: storedKey}, ""},
	} {
		c.r.Nonce = 12
		got, ok := Answer(stored{}, c.r)
		if s := string(bytes.Join(got.Shreds, []byte(" "))); s != c.want || ok != (c.want != "") || got.Nonce != 12 {
			t.Errorf("%s: %q %v, want %q", c.what, s, ok, c.want)
		}
	}
}

// TestFits gives every shred of an answer by its root and the root before it.
func TestFits(t *testing.T) {
	type piece struct{ root, before string }
	for _, c := range []struct {
		what   string
		kind   Kind
		key    ledger.SlotKey
		pieces []piece
		want   int // how many fit before the first that does not
	}{
		{"shreds of the set", Shreds, storedKey, []piece{{"c", "b"}, {"c", "b"}}, 2},
		{"shreds of another set", Shreds, storedKey, []piece{{"c", "b"}, {"b", "a"}}, 1},
		{"shreds of another slot", Shreds, storedKey + 1, []piece{{"c", "b"}}, 0},
		{"a spine", Spine, storedKey, []piece{{"c", "b"}, {"b", "a"}, {"a", "0"}}, 3},
		{"a part of a spine", Spine, storedKey, []piece{{"c", "b"}, {"b", "a"}}, 2},
		{"the spine of another block", Spine, storedKey, []piece{{"d", "b"}, {"b", "a"}}, 0},
		{"a spine without its end", Spine, storedKey, []piece{{"b", "a"}, {"a", "0"}}, 0},
		{"a spine with a hole", Spine, storedKey, []piece{{"c", "b"}, {"a", "0"}}, 1},
		{"a spine that forks off", Spine, storedKey, []piece{{"c", "b"}, {"b", "a"}, {"x", "0"}}, 2},
		{"a spine, first to last", Spine, storedKey, []piece{{"a", "0"}, {"b", "a"}, {"c", "b"}}, 0},
		{"a spine of another slot", Spine, storedKey - 1, []piece{{"c", "b"}}, 0},
		{"the highest", Highest, storedKey, []piece{{"z", "y"}}, 1},
		{"the highest of another slot", Highest, storedKey + 1, []piece{{"z", "y"}}, 0},
		{"no request", 0, storedKey, []piece{{"c", "b"}}, 0},
	} {
		r := Request{Kind: c.kind, Key: storedKey, Root: root("c")}
		chained := func(i int) ledger.Hash { return root(c.pieces[i].before) }
		got := 0
		for got < len(c.pieces) && r.Fits(got, c.key, root(c.pieces[got].root), chained) {
			got++
		}
		if got != c.want {
			t.Errorf("%s: %d fit, want %d", c.what, got, c.want)
		}
	}
}
