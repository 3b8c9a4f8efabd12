package cluster

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

func seedOf(b byte) [32]byte { return [32]byte(bytes.Repeat([]byte{b}, 32)) }

// The first block of ChaCha20 with a zero key, from RFC 8439, A.1 #1: with
// counter and stream 0 its layout and rand_chacha's agree.
func TestChaCha20(t *testing.T) {
	r := NewChaCha20([32]byte{})
	for i, want := range []uint64{0x903df1a0ade0b876, 0x28bd8653e56a5d40} {
		if got := r.Uint64(); got != want {
			t.Errorf("number %d is %x, want %x", i, got, want)
		}
	}
}

func TestSeedRestarts(t *testing.T) {
	for _, r := range []*RNG{NewChaCha20(seedOf(1)), NewChaCha8(seedOf(1))} {
		first := r.Uint64()
		for range 20 { // past a block
			r.Uint64()
		}
		r.Seed(seedOf(1))
		if r.Uint64() != first {
			t.Error("the same seed gives other numbers")
		}
	}
}

// A shuffle draws every index once, in the order that a plain list with
// running sums draws; removed indices never.
func TestWeightedShuffleAgainstPlain(t *testing.T) {
	rng := testkit.Rand(t)
	for range 300 {
		weights := make([]uint64, rng.IntN(40))
		for i := range weights {
			switch rng.IntN(4) {
			case 0: // weight 0
			case 1:
				weights[i] = 1
			default:
				weights[i] = rng.Uint64N(1 << rng.IntN(58))
			}
		}
		prepared := NewWeightedShuffle(weights)
		left := make([]bool, len(weights))
		var zeros []int
		var fast WeightedShuffle
		fast.Reset(prepared)
		for i, w := range weights {
			removed := rng.IntN(8) == 0
			if removed {
				fast.Remove(i)
			}
			left[i] = w > 0 && !removed
			if w == 0 && !removed {
				zeros = append(zeros, i)
			}
		}
		seed := seedOf(byte(rng.Uint32()))
		a, b := NewChaCha8(seed), NewChaCha8(seed)
		for {
			want, wantOK := plainDraw(weights, left, &zeros, a)
			got, ok := fast.Next(b)
			if got != want || ok != wantOK {
				t.Fatalf("weights %v: drew %d %v, want %d %v", weights, got, ok, want, wantOK)
			}
			if !ok {
				break
			}
		}
	}
}

// plainDraw is FORMATS section 5 word by word.
func plainDraw(weights []uint64, left []bool, zeros *[]int, r *RNG) (int, bool) {
	var total uint64
	for i, w := range weights {
		if left[i] {
			total += w
		}
	}
	if total > 0 {
		x := r.SampleTrait(total)
		var sum uint64
		for i, w := range weights {
			if left[i] {
				if sum += w; sum > x {
					left[i] = false
					return i, true
				}
			}
		}
	}
	z := *zeros
	if len(z) == 0 {
		return 0, false
	}
	k := r.SampleTrait(uint64(len(z)))
	i := z[k]
	z[k] = z[len(z)-1]
	*zeros = z[:len(z)-1]
	return i, true
}

// Weights whose sum passes 64 bits count as 0, as in Agave.
func TestWeightedShuffleOverflow(t *testing.T) {
	w := NewWeightedShuffle([]uint64{1 << 63, 1 << 63, 5})
	r := NewChaCha20(seedOf(3))
	var order []int
	for i, ok := w.Next(r); ok; i, ok = w.Next(r) {
		order = append(order, i)
	}
	if len(order) != 3 || order[2] != 1 {
		t.Errorf("order %v, want index 1 last", order)
	}
}

// drawCase is one shuffle of the vector file.
type drawCase struct {
	Seed    byte `json:"seed_byte"`
	Removed []int
	Order   []int
}

func (c drawCase) check(weights []uint64) bool {
	w := NewWeightedShuffle(weights)
	for _, i := range c.Removed {
		w.Remove(i)
	}
	return slices.Equal(drain(w, NewChaCha20(seedOf(c.Seed))), c.Order)
}

func drain(w *WeightedShuffle, r *RNG) (order []int) {
	for i, ok := w.Next(r); ok; i, ok = w.Next(r) {
		order = append(order, i)
	}
	return order
}

func TestVectorsRandomness(t *testing.T) {
	raw := testkit.Vectors(t, "anza-xyz/agave", "agave-vectors", "rng-leader-turbine.json")
	var file struct {
		Exact struct {
			Cases []struct {
				Epoch   uint64
				Stakes  []uint64
				Slots   int `json:"len_slots"`
				Repeat  int
				Leaders []int `json:"leaders_index_per_repeat_group"`
			}
		} `json:"leader_schedule_exact_order"`
		Hashed struct {
			Cases []struct {
				Epoch, Len uint64
				Pow        int    `json:"stake_pow"`
				Sum        string `json:"sha256_base58"`
			}
		} `json:"leader_schedule_hashed"`
		Shuffle struct {
			Weights []uint64
			Cases   []drawCase
			Zero    struct{ ChaCha8, ChaCha20 []int } `json:"zero_weights_n5_seed37"`
		} `json:"weighted_shuffle"`
		Uniform struct {
			End      uint64   `json:"range_end"`
			Instance []uint64 `json:"instance_sample"`
			Trait    []uint64 `json:"trait_sample"`
			Raw      []uint64 `json:"raw_u64"`
		} `json:"uniform_u64"`
		Index struct {
			Cases []struct {
				N, Pow  int
				Indices []int
			}
		} `json:"weighted_index"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	checked, total := 0, 0
	check := func(what string, ok bool) {
		t.Helper()
		total++
		if ok {
			checked++
		} else {
			t.Error(what, "differs")
		}
	}
	for _, c := range file.Exact.Cases {
		// Equal stakes are sorted by key, highest first.
		sorted := make([]int, len(c.Stakes))
		for i := range sorted {
			sorted[i] = i
		}
		slices.SortStableFunc(sorted, func(a, b int) int {
			return int(c.Stakes[b]) - int(c.Stakes[a])
		})
		weights := make([]uint64, len(sorted))
		for i, k := range sorted {
			weights[i] = c.Stakes[k]
		}
		var got []int
		for _, i := range DrawLeaders(c.Epoch, weights, uint64(c.Slots/c.Repeat)) {
			got = append(got, sorted[i])
		}
		check("leader schedule", slices.Equal(got, c.Leaders))
	}
	for _, c := range file.Hashed.Cases {
		var items []Staked
		for i := range 65536 {
			s := Staked{Stake: 1, VoteAccount: ledger.Pubkey{byte(i), byte(i >> 8)}}
			for range c.Pow {
				s.Stake *= ledger.Lamports(i)
			}
			items = append(items, s)
		}
		e := NewEpochStakes(c.Epoch, items, func(ledger.Pubkey) ledger.Lamports { return 0 }, 0)
		var all []byte
		for _, i := range leaders(e, c.Len*ledger.SlotsPerLeader) {
			all = append(all, e.Items[i].VoteAccount[:]...)
		}
		check("hashed leader schedule", ledger.Sum(all).String() == c.Sum)
	}
	for _, c := range file.Shuffle.Cases {
		check("weighted shuffle", c.check(file.Shuffle.Weights))
	}
	zeros := make([]uint64, 5)
	check("shuffle without weights, ChaCha8",
		slices.Equal(drain(NewWeightedShuffle(zeros), NewChaCha8(seedOf(37))), file.Shuffle.Zero.ChaCha8))
	check("shuffle without weights, ChaCha20",
		slices.Equal(drain(NewWeightedShuffle(zeros), NewChaCha20(seedOf(37))), file.Shuffle.Zero.ChaCha20))
	a, b, c := NewChaCha20(seedOf(16)), NewChaCha20(seedOf(16)), NewChaCha20(seedOf(16))
	for i := range file.Uniform.Raw {
		check("raw number", a.Uint64() == file.Uniform.Raw[i])
		check("instance sample", b.SampleInstance(file.Uniform.End) == file.Uniform.Instance[i])
		check("trait sample", c.SampleTrait(file.Uniform.End) == file.Uniform.Trait[i])
	}
	for _, c := range file.Index.Cases {
		weights := make([]uint64, c.N)
		for i := range weights {
			weights[i] = 1
			for range c.Pow {
				weights[i] *= uint64(i)
			}
		}
		r, index := NewChaCha20(seedOf(16)), NewWeightedIndex(weights)
		var got []int
		for range c.Indices {
			got = append(got, index.Sample(r))
		}
		check("weighted index", slices.Equal(got, c.Indices))
	}
	testkit.Count("randomness, leader schedule, weighted shuffle", checked, total)
}

// Mainnet's epoch 454 was keyed by identity: the items are given as they are.
func TestVectorsLeadersOfEpoch454(t *testing.T) {
	const origin = "firedancer-io/firedancer"
	stakes := testkit.Vectors(t, origin, "leaders-epoch454", "epoch-stakes-454.bin")
	want := testkit.Vectors(t, origin, "leaders-epoch454", "epoch-leaders-454.bin")
	r := &reader{b: stakes}
	var nodes []Node
	for r.err == nil && len(r.b) > 0 {
		nodes = append(nodes, Node{Key: r.key("key"), Stake: ledger.Lamports(r.u64("stake"))})
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	sorted := slices.Clone(nodes)
	SortNodes(sorted)
	if !slices.Equal(sorted, nodes) {
		t.Error("the stakes are sorted otherwise")
	}
	weights := make([]uint64, len(nodes))
	for i, n := range nodes {
		weights[i] = uint64(n.Stake)
	}
	drawn := DrawLeaders(454, weights, 432_000/ledger.SlotsPerLeader)
	checked, total := 0, len(want)/32
	for slot := range total {
		k := nodes[drawn[slot/ledger.SlotsPerLeader]].Key
		if bytes.Equal(k[:], want[32*slot:32*slot+32]) {
			checked++
		}
	}
	if checked != total {
		t.Errorf("%d of %d leaders differ", total-checked, total)
	}
	testkit.Count("leaders of mainnet's epoch 454", checked, total)
}

func BenchmarkWeightedShuffleFirst(b *testing.B) {
	weights := make([]uint64, 2000)
	for i := range weights {
		weights[i] = uint64(i + 1)
	}
	prepared := NewWeightedShuffle(weights)
	r := NewChaCha8(seedOf(1))
	var w WeightedShuffle
	for b.Loop() {
		w.Reset(prepared)
		w.Next(r)
	}
}
