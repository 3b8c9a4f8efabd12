package validator_test

import (
	"errors"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
	"tutti/validator"
)

// naiveWindow is PROTOCOL section 5 as it stands: "An entry for v in sec(w)
// is legal iff 1 ≤ w − v ≤ W + k and w − v ≤ 16, where k = number of x, v < x
// < w, whose slot has no block on the fork". blocks are the fork's slots, the
// one that holds the entry included.
func naiveWindow(blocks map[ledger.Slot]bool, inclusion, v, w int) error {
	if w-v < 1 {
		return validator.ErrTooEarly
	}
	k := 0
	for x := v + 1; x < w; x++ {
		if !blocks[ledger.Slot(x/2)] {
			k++
		}
	}
	if w-v > inclusion+k || w-v > 16 {
		return validator.ErrTooLate
	}
	return nil
}

// fork returns the tip of a chain with blocks in these slots.
func fork(slots ...ledger.Slot) *validator.Block {
	var b *validator.Block
	for i, s := range slots {
		b = &validator.Block{
			BlockRef: ledger.BlockRef{Slot: s, ID: testHash("id", int(s))},
			Parent:   b, Height: uint64(i), LastPoH: testHash("poh", int(s)),
		}
	}
	return b
}

// TestWindow: "skipping a leader destroys no UserBlock". SIMD-0023 "Overview":
// UserBlocks "received from the previous UserBlockSlot are added".
func TestWindow(t *testing.T) {
	// Slots with a block: 0…4, 6, 9, then the one of the entry.
	chain := []ledger.Slot{0, 1, 2, 3, 4, 6, 9}
	early, late := validator.ErrTooEarly, validator.ErrTooLate
	for _, c := range []struct {
		rule      string
		on        int // blocks of the chain
		inclusion uint64
		v, w      ledger.UserSlot
		err       error
	}{
		{"the previous UserBlockSlot, in the same slot", 5, 1, 10, 11, nil},
		{"the previous UserBlockSlot, in the slot before", 5, 1, 9, 10, nil},
		{"its own UserBlockSlot", 5, 1, 10, 10, early},
		{"the next one", 5, 1, 11, 10, early},
		{"one too late", 5, 1, 8, 10, late},
		{"one too late, in the second half", 5, 1, 9, 11, late},
		{"slot 5 skipped: its first half", 5, 1, 10, 12, nil},
		{"slot 5 skipped: its second half", 5, 1, 11, 12, nil},
		{"slot 5 skipped: the last of slot 4", 5, 1, 9, 12, nil},
		{"slot 5 skipped: the first of slot 4", 5, 1, 8, 12, late},
		{"slot 5 skipped, second section: its second half", 5, 1, 11, 13, late},
		{"slot 5 skipped, second section: its first half", 5, 1, 10, 13, late},
		{"slot 5 skipped, second section: the last of slot 4", 5, 1, 9, 13, late},
		{"slot 5 skipped, second section: this slot's first half", 5, 1, 12, 13, nil},
		{"W = 2", 5, 2, 8, 10, nil},
		{"W = 2, one too late", 5, 2, 7, 10, late},
		{"two gaps, the block between them counts", 6, 1, 13, 18, nil},
		{"two gaps, one too late", 6, 1, 12, 18, late},
		{"two gaps, W = 2 reaches all of slot 6", 6, 2, 12, 18, nil},
		{"two gaps, W = 2 does not reach over it", 6, 2, 11, 18, late},
		{"two gaps, W = 3 reaches over slot 6, and over 5, which is skipped", 6, 3, 9, 18, nil},
		{"two gaps, W = 3, one too late", 6, 3, 8, 18, late},
		{"16 is within", 7, 16, 20, 36, nil},
		{"17 is not, whatever was skipped", 7, 16, 19, 36, late},
		{"genesis is a block", 1, 1, 0, 2, late},
		{"slots 1 to 8 skipped: 16 back", 1, 1, 2, 18, nil},
		{"slots 1 to 9 skipped: 17 back", 1, 1, 3, 20, late},
		{"the end of time", 5, 16, 1<<64 - 1, 10, early},
	} {
		t.Run(c.rule, func(t *testing.T) {
			params := newWorld(t, 1).params
			params.InclusionWindow = c.inclusion
			if err := validator.Window(&params, fork(chain[:c.on]...), c.v, c.w); !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
		})
	}
}

// TestWindowAtRandom compares with the naive reading on forks with gaps.
func TestWindowAtRandom(t *testing.T) {
	rng := testkit.Rand(t)
	params := newWorld(t, 1).params
	for range 300 {
		slots := []ledger.Slot{0}
		blocks := map[ledger.Slot]bool{0: true}
		gap := 1 + rng.IntN(6)
		for range 20 {
			s := slots[len(slots)-1] + 1
			if rng.IntN(3) == 0 {
				s += ledger.Slot(rng.IntN(gap))
			}
			slots = append(slots, s)
			blocks[s] = true
		}
		tip := slots[len(slots)-1]
		own := tip + 1 + ledger.Slot(rng.IntN(gap+4))
		blocks[own] = true
		parent := fork(slots...)
		params.InclusionWindow = uint64(1 + rng.IntN(16))
		for w := own.FirstUserSlot(); w < own.FirstUserSlot()+2; w++ {
			for v := ledger.UserSlot(max(0, int(w)-40)); v < w+3; v++ {
				want := naiveWindow(blocks, int(params.InclusionWindow), int(v), int(w))
				if got := validator.Window(&params, parent, v, w); !errors.Is(got, want) || (got == nil) != (want == nil) {
					t.Fatalf("blocks %v, then %d, W %d, v %d, w %d: got %v, want %v",
						slots, own, params.InclusionWindow, v, w, got, want)
				}
			}
		}
	}
}
