package main

import "testing"

func TestMemoryLimit(t *testing.T) {
	for s, want := range map[string]int64{
		"max\n": 0, "": 0, "-1\n": 0, "0\n": 0, "1073741824\n": 805306368,
	} {
		if got, ok := memoryLimit(s); got != want || ok != (want > 0) {
			t.Errorf("%q: %d, %t", s, got, ok)
		}
	}
}
