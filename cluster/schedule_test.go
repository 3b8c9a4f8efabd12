package cluster

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// FORMATS section 4: leaders stay for four slots, in every epoch that is
// known, and come up about as often as they have stake.
func TestLeaders(t *testing.T) {
	o := testOptions(10, 20, 70)
	o.Params.SlotsPerEpoch = 8192
	s := NewSchedule(newGenesis(t, o))
	turns := make(map[ledger.Pubkey]int)
	for slot := ledger.Slot(0); slot < 2*8192; slot += 4 {
		leader, ok := s.Leader(slot)
		if !ok {
			t.Fatalf("no leader of slot %d", slot)
		}
		turns[leader]++
		for i := slot; i < slot+4; i++ {
			if again, _ := s.Leader(i); again != leader {
				t.Fatalf("slots %d and %d have different leaders", slot, i)
			}
		}
	}
	for i, share := range []int{10, 20, 70} {
		got := 100 * turns[key("identity", i)] / (2 * 8192 / 4)
		if got < share-4 || got > share+4 {
			t.Errorf("validator %d leads %d %% of the slots, has %d %% of the stake", i, got, share)
		}
	}
	if _, ok := s.Leader(2 * 8192); ok {
		t.Error("a leader of an epoch without stakes")
	}
}

// PROTOCOL section 3: items are identities with summed stake, sorted by
// (stake, key) descending.
func TestNodesSumStakes(t *testing.T) {
	o := testOptions(5, 7, 4)
	o.Validators[2].Identity = o.Validators[0].Identity // 5 + 4 SOL
	e := newGenesis(t, o).Stakes(0)
	want := []Node{
		{Key: key("identity", 0), Stake: 9 * ledger.LamportsPerSOL},
		{Key: key("identity", 1), Stake: 7 * ledger.LamportsPerSOL},
	}
	if !slices.Equal(e.Nodes(), want) || !slices.Equal(e.Bonded, want) {
		t.Errorf("nodes %v, bonded %v", e.Nodes(), e.Bonded)
	}
	if len(e.Items) != 3 || e.TotalStake() != 16*ledger.LamportsPerSOL {
		t.Errorf("%d items, total %d", len(e.Items), e.TotalStake())
	}
	for i, it := range e.Items {
		if j, ok := e.Voter(it.VoteAccount); !ok || i != j {
			t.Errorf("voter %d found at %d", i, j)
		}
	}
	if _, ok := e.Voter(ledger.Pubkey{}); ok {
		t.Error("a voter without stake")
	}
}

// Equal stakes are sorted by key, highest first.
func TestEqualStakes(t *testing.T) {
	e := newGenesis(t, testOptions(3, 3, 3, 3)).Stakes(0)
	if !slices.IsSortedFunc(e.Items, func(a, b Staked) int {
		return bytes.Compare(b.VoteAccount[:], a.VoteAccount[:])
	}) || !slices.IsSortedFunc(e.Bonded, func(a, b Node) int { return bytes.Compare(b.Key[:], a.Key[:]) }) {
		t.Error("ties are not broken by key")
	}
}

// PROTOCOL section 3, word by word and without any of the code under test but
// the stream of ChaCha20 numbers.
func plainProposers(nodes []Node, n int, epoch uint64, u uint64) (out []ledger.Pubkey) {
	seed := []byte("tutti proposers")
	seed = binary.LittleEndian.AppendUint64(seed, epoch)
	seed = binary.LittleEndian.AppendUint64(seed, u/8)
	rng := NewChaCha20(ledger.Sum(seed))
	for len(nodes) > 0 && len(out) < n {
		var total uint64
		for _, node := range nodes {
			total += uint64(node.Stake)
		}
		var x, low uint64
		for zone := total<<bits.LeadingZeros64(total) - 1; ; {
			if x, low = bits.Mul64(rng.Uint64(), total); low <= zone {
				break
			}
		}
		i := 0
		for sum := uint64(nodes[0].Stake); sum <= x; sum += uint64(nodes[i].Stake) {
			i++
		}
		out = append(out, nodes[i].Key)
		nodes = slices.Delete(slices.Clone(nodes), i, i+1)
	}
	return out
}

func TestProposersAgainstPlain(t *testing.T) {
	rng := testkit.Rand(t)
	for range 20 {
		stakes := make([]uint64, 1+rng.IntN(12))
		for i := range stakes {
			stakes[i] = 1 + rng.Uint64N(1000)
		}
		o := testOptions(stakes...)
		o.Params.Proposers = 1 + rng.IntN(8)
		o.Params.SetUserBlockLimits()
		g := newGenesis(t, o)
		s := NewSchedule(g)
		for range 50 {
			u := ledger.UserSlot(2 + rng.Uint64N(2*2*32-2))
			got := s.Proposers(u)
			want := plainProposers(g.Stakes(0).Nodes(), o.Params.Proposers, uint64(u)/64, uint64(u))
			if !slices.Equal(got, want) {
				t.Fatalf("UserBlockSlot %d: %v, want %v", u, got, want)
			}
			if n := min(len(stakes), o.Params.Proposers); len(got) != n {
				t.Fatalf("%d lanes, want %d", len(got), n)
			}
			for i, k := range got {
				if lane, ok := s.Lane(u, k); !ok || int(lane) != i {
					t.Fatalf("lane of proposer %d is %d", i, lane)
				}
			}
		}
	}
}

// The schedule must never change by accident: nodes that compute it
// differently do not understand each other's blocks.
func TestProposersGolden(t *testing.T) {
	o := testOptions(50, 40, 30, 20, 10)
	s := NewSchedule(newGenesis(t, o))
	var got []string
	for u := ledger.UserSlot(8); u <= 64; u += 8 {
		var lanes []byte
		for _, k := range s.Proposers(u) {
			for i := range 5 {
				if k == key("identity", i) {
					lanes = append(lanes, byte('0'+i))
				}
			}
		}
		got = append(got, string(lanes))
	}
	want := []string{"2103", "3201", "1423", "3120", "1032", "1034", "0143", "1203"}
	if !slices.Equal(got, want) {
		t.Errorf("proposers %q, want %q", got, want)
	}
}

// PROTOCOL section 3: the lanes stay for 8 UserBlockSlots, one leader
// rotation; section 2: block 0 has no lanes.
func TestProposersStayForARotation(t *testing.T) {
	s := NewSchedule(newGenesis(t, testOptions(5, 4, 3, 2, 1, 1, 1)))
	if s.Proposers(0) != nil || s.Proposers(1) != nil {
		t.Error("slot 0 has lanes")
	}
	changes := 0
	for u := ledger.UserSlot(3); u < 128; u++ {
		if slices.Equal(s.Proposers(u), s.Proposers(u-1)) {
			continue
		}
		if changes++; u%8 != 0 {
			t.Errorf("the lanes change at UserBlockSlot %d", u)
		}
	}
	if changes == 0 {
		t.Error("the lanes never change")
	}
	if got := s.Proposers(128); got != nil {
		t.Errorf("lanes %v of an epoch without stakes", got)
	}
}

// PROTOCOL section 3: only nodes whose identity account holds the bond
// propose; leaders are unaffected (section 8).
func TestBond(t *testing.T) {
	o := testOptions(10, 20, 30)
	g := newGenesis(t, o)
	poor := key("identity", 1)
	balance := func(k ledger.Pubkey) ledger.Lamports {
		if k == poor {
			return o.Params.ProposerBond - 1
		}
		return o.Params.ProposerBond
	}
	s := NewSchedule(g)
	s.AddEpoch(NewEpochStakes(1, g.Stakes(0).Items, balance, o.Params.ProposerBond))
	leads := false
	for slot := ledger.Slot(32); slot < 64; slot++ {
		l, _ := s.Leader(slot)
		leads = leads || l == poor
		if got := s.Proposers(slot.FirstUserSlot()); len(got) != 2 || slices.Contains(got, poor) {
			t.Fatalf("slot %d: proposers %v", slot, got)
		}
	}
	if !leads {
		t.Error("a node without bond leads no slot")
	}
}

// PROTOCOL section 2: proposer_schedule=leader is the slot's leader alone.
func TestLeaderAlone(t *testing.T) {
	o := testOptions(10, 20, 30)
	o.Params.Proposers = 1
	o.Params.ProposerSchedule = ScheduleLeader
	s := NewSchedule(newGenesis(t, o))
	for u := ledger.UserSlot(2); u < 64; u++ {
		leader, _ := s.Leader(u.Slot())
		if got := s.Proposers(u); len(got) != 1 || got[0] != leader {
			t.Fatalf("UserBlockSlot %d: proposers %v, leader %v", u, got, leader)
		}
	}
}

// A schedule is the same whether its cache is warm or not, and keeps only so
// many epochs.
func TestScheduleForgets(t *testing.T) {
	g := newGenesis(t, testOptions(10, 20, 30, 40, 50))
	warm := NewSchedule(g)
	for u := ledger.UserSlot(2); u < 128; u++ {
		warm.Proposers(u)
	}
	for u := ledger.UserSlot(2); u < 128; u += 7 {
		if !slices.Equal(warm.Proposers(u), NewSchedule(g).Proposers(u)) {
			t.Fatalf("UserBlockSlot %d: other proposers from the cache", u)
		}
	}
	for epoch := uint64(2); epoch < 20; epoch++ {
		warm.AddEpoch(g.Stakes(epoch))
	}
	for epoch := range uint64(20) {
		if known := warm.Stakes(epoch) != nil; known != (epoch >= 20-epochsKept) {
			t.Errorf("epoch %d known: %v", epoch, known)
		}
	}
	warm.AddEpoch(g.Stakes(19)) // once more: replaces
	if len(warm.epochs) != epochsKept {
		t.Errorf("%d epochs", len(warm.epochs))
	}
}
