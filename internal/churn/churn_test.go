package churn

import (
	"maps"
	"runtime"
	"testing"
)

func TestRenew(t *testing.T) {
	for _, c := range []struct {
		entries, deleted int
		renewed          bool
	}{{0, small - 1, false}, {0, small, true}, {600, small, false}, {600, 1200, true}, {10_000, 19_999, false}, {10_000, 20_000, true}, {large + 1, 9 * large, false}} {
		m := map[int]int{}
		for i := range c.entries {
			m[i] = -i
		}
		deleted := c.deleted
		got := Renew(m, &deleted)
		got[-1] = 1
		_, same := m[-1]
		if same == c.renewed || (deleted == 0) != c.renewed {
			t.Errorf("%d entries, %d deleted: renewed %v, and %d left", c.entries, c.deleted, !same, deleted)
		}
		if m[-1] = 1; !maps.Equal(got, m) {
			t.Errorf("%d entries became %d", c.entries, len(got))
		}
	}
}

// TestStaysSmall: a map whose entries are replaced again and again takes as much
// memory as in the beginning, within a tenth, at all times.
func TestStaysSmall(t *testing.T) {
	const entries = 24_000
	m, deleted := make(map[[32]byte]int), 0
	key := func(i int) (k [32]byte) { return [32]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)} }
	heap := func() uint64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	empty := heap()
	for i := range entries {
		m[key(i)] = i
	}
	deleted = turnovers * entries
	m = Renew(m, &deleted)
	small := heap() - empty
	for i := entries; i < 40*entries; i++ {
		delete(m, key(i-entries))
		deleted++
		m[key(i)] = i
		m = Renew(m, &deleted)
		if i%entries == entries-1 {
			if now := heap() - empty; now > small+small/10 {
				t.Fatalf("after %d turnovers %d bytes have become %d", i/entries, small, now)
			}
		}
	}
	runtime.KeepAlive(m)
}
