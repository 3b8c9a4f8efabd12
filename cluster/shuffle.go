package cluster

import (
	"math/bits"
	"slices"
)

// WeightedShuffle draws indices without replacement, with a probability
// proportional to their weights; indices of weight 0 come last, equally
// likely (FORMATS section 5). Drawing costs O(log n), so a caller that needs
// only the first few stops early.
type WeightedShuffle struct {
	// tree is a Fenwick tree over the remaining weights: tree[i] is the sum
	// of the weights of the i&-i indices that end before i.
	tree    []uint64
	weights []uint64 // remaining; 0 once drawn or removed
	total   uint64
	zeros   []int // remaining indices of weight 0
	step    int   // highest power of two ≤ len(weights)
}

// NewWeightedShuffle prepares a shuffle of the indices of weights. A weight
// with which the sum would pass 64 bits counts as 0, as in Agave.
func NewWeightedShuffle(weights []uint64) *WeightedShuffle {
	w := &WeightedShuffle{
		tree:    make([]uint64, len(weights)+1),
		weights: slices.Clone(weights),
	}
	for i, weight := range weights {
		sum, carry := bits.Add64(w.total, weight, 0)
		if weight == 0 || carry != 0 {
			w.weights[i] = 0
			w.zeros = append(w.zeros, i)
			continue
		}
		w.total = sum
		w.tree[i+1] = weight
	}
	for i := 1; i < len(w.tree); i++ {
		if parent := i + i&-i; parent < len(w.tree) {
			w.tree[parent] += w.tree[i]
		}
	}
	if n := len(weights); n > 0 {
		w.step = 1 << (bits.Len(uint(n)) - 1)
	}
	return w
}

// Reset makes w equal to from, reusing w's memory: a shuffle that is needed
// often is prepared once and copied.
func (w *WeightedShuffle) Reset(from *WeightedShuffle) {
	w.tree = append(w.tree[:0], from.tree...)
	w.weights = append(w.weights[:0], from.weights...)
	w.zeros = append(w.zeros[:0], from.zeros...)
	w.total, w.step = from.total, from.step
}

// Remove takes index i out of the shuffle, if it is still in it.
func (w *WeightedShuffle) Remove(i int) {
	if w.weights[i] != 0 {
		w.clear(i)
		return
	}
	if k := slices.Index(w.zeros, i); k >= 0 {
		w.zeros = slices.Delete(w.zeros, k, k+1)
	}
}

// Next draws the next index; ok is false when none is left.
func (w *WeightedShuffle) Next(r *RNG) (index int, ok bool) {
	if w.total > 0 {
		i := w.find(r.SampleTrait(w.total))
		w.clear(i)
		return i, true
	}
	if len(w.zeros) == 0 {
		return 0, false
	}
	k := r.SampleTrait(uint64(len(w.zeros)))
	i := w.zeros[k]
	last := len(w.zeros) - 1
	w.zeros[k] = w.zeros[last]
	w.zeros = w.zeros[:last]
	return i, true
}

// find returns the smallest index whose prefix sum is above x < total.
func (w *WeightedShuffle) find(x uint64) int {
	at := 0
	for step := w.step; step > 0; step >>= 1 {
		if next := at + step; next < len(w.tree) && w.tree[next] <= x {
			x -= w.tree[next]
			at = next
		}
	}
	return at
}

func (w *WeightedShuffle) clear(i int) {
	weight := w.weights[i]
	w.weights[i] = 0
	w.total -= weight
	for j := i + 1; j < len(w.tree); j += j & -j {
		w.tree[j] -= weight
	}
}
