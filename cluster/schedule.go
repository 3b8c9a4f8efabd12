package cluster

import (
	"encoding/binary"
	"slices"

	"tutti/ledger"
)

const (
	// userSlotsPerRotation is for how many UserBlockSlots the proposers stay:
	// one leader's turn (PROTOCOL section 3).
	userSlotsPerRotation = 2 * ledger.SlotsPerLeader
	// epochsKept bounds the epochs that a Schedule remembers.
	epochsKept = 8
	// rotationsCached bounds the proposer lists that a Schedule remembers.
	rotationsCached = 16
)

// Schedule says who leads and who proposes when. It is a pure function of
// the stakes of the epochs that it was given; one goroutine owns it, because
// it remembers what it computed last.
type Schedule struct {
	params Params
	epochs []scheduledEpoch // newest last
	cache  [rotationsCached]rotation
}

type scheduledEpoch struct {
	stakes  *EpochStakes
	leaders []uint32 // per SlotsPerLeader slots, an index into stakes.Items
	bonded  *WeightedShuffle
}

type rotation struct {
	number    uint64 // ⌊u/8⌋
	known     bool
	proposers []ledger.Pubkey
}

// NewSchedule returns the schedule of epochs 0 and 1, whose stakes are
// genesis'.
func NewSchedule(g *Genesis) *Schedule {
	s := &Schedule{params: g.Params}
	s.AddEpoch(g.Stakes(0))
	s.AddEpoch(g.Stakes(1))
	return s
}

// AddEpoch makes an epoch known, or replaces what was known of it. Only the
// newest eight epochs are kept.
func (s *Schedule) AddEpoch(e *EpochStakes) {
	s.cache = [rotationsCached]rotation{}
	s.epochs = slices.DeleteFunc(s.epochs, func(x scheduledEpoch) bool { return x.stakes.Epoch == e.Epoch })
	weights := make([]uint64, len(e.Bonded))
	for i, n := range e.Bonded {
		weights[i] = uint64(n.Stake)
	}
	s.epochs = append(s.epochs, scheduledEpoch{
		stakes:  e,
		leaders: leaders(e, s.params.SlotsPerEpoch),
		bonded:  NewWeightedShuffle(weights),
	})
	slices.SortFunc(s.epochs, func(a, b scheduledEpoch) int {
		if a.stakes.Epoch < b.stakes.Epoch {
			return -1
		}
		return 1
	})
	if drop := len(s.epochs) - epochsKept; drop > 0 {
		s.epochs = slices.Delete(s.epochs, 0, drop)
	}
}

// leaders draws an epoch's leaders (FORMATS section 4).
func leaders(e *EpochStakes, slots uint64) []uint32 {
	weights := make([]uint64, len(e.Items))
	for i := range e.Items {
		weights[i] = uint64(e.Items[i].Stake)
	}
	return DrawLeaders(e.Epoch, weights, slots/ledger.SlotsPerLeader)
}

// DrawLeaders draws the leaders of an epoch from weights that are sorted as
// FORMATS section 4 says: n indices, one for each SlotsPerLeader slots. There
// are none without stake.
func DrawLeaders(epoch uint64, weights []uint64, n uint64) []uint32 {
	var sum uint64
	for _, w := range weights {
		sum += w
	}
	if sum == 0 {
		return nil
	}
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], epoch)
	rng := NewChaCha20(seed)
	index := NewWeightedIndex(weights)
	out := make([]uint32, n)
	for i := range out {
		out[i] = uint32(index.Sample(rng))
	}
	return out
}

// Epoch returns the epoch of a slot.
func (s *Schedule) Epoch(slot ledger.Slot) uint64 { return s.params.Epoch(slot) }

// Stakes returns the stakes of an epoch, or nil if they are not known.
func (s *Schedule) Stakes(epoch uint64) *EpochStakes {
	if e := s.epoch(epoch); e != nil {
		return e.stakes
	}
	return nil
}

func (s *Schedule) epoch(epoch uint64) *scheduledEpoch {
	for i := range s.epochs {
		if s.epochs[i].stakes.Epoch == epoch {
			return &s.epochs[i]
		}
	}
	return nil
}

// Leader returns the identity of a slot's leader; ok is false if the slot's
// epoch is not known.
func (s *Schedule) Leader(slot ledger.Slot) (leader ledger.Pubkey, ok bool) {
	e := s.epoch(s.params.Epoch(slot))
	if e == nil || e.leaders == nil {
		return leader, false
	}
	turn := uint64(slot) % s.params.SlotsPerEpoch / ledger.SlotsPerLeader
	return e.stakes.Items[e.leaders[turn]].Identity, true
}

// Proposers returns the identities of the proposers of a UserBlockSlot, in
// the order of their lanes. There are fewer than N if fewer nodes are bonded,
// and none in slot 0 or in an epoch that is not known. The caller must not
// change the result.
func (s *Schedule) Proposers(u ledger.UserSlot) []ledger.Pubkey {
	if u.Slot() == 0 {
		return nil
	}
	number := uint64(u) / userSlotsPerRotation
	c := &s.cache[number%rotationsCached]
	if !c.known || c.number != number {
		*c = rotation{number: number, known: true, proposers: s.draw(u, number)}
	}
	return c.proposers
}

// draw computes the proposers of a rotation (PROTOCOL section 3).
func (s *Schedule) draw(u ledger.UserSlot, number uint64) []ledger.Pubkey {
	epoch := s.params.Epoch(u.Slot())
	e := s.epoch(epoch)
	if e == nil {
		return nil
	}
	if s.params.ProposerSchedule == ScheduleLeader {
		// The bond is asked of a lone leader, too: section 8 has no exception.
		leader, ok := s.Leader(u.Slot())
		if !ok || !slices.ContainsFunc(e.stakes.Bonded, func(n Node) bool { return n.Key == leader }) {
			return nil
		}
		return []ledger.Pubkey{leader}
	}
	rng := NewChaCha20(ledger.Sum([]byte("tutti proposers"), appendU64(nil, epoch), appendU64(nil, number)))
	var shuffle WeightedShuffle
	shuffle.Reset(e.bonded)
	var out []ledger.Pubkey
	for len(out) < s.params.Proposers {
		i, ok := shuffle.Next(rng)
		if !ok {
			break
		}
		out = append(out, e.stakes.Bonded[i].Key)
	}
	return out
}

// Lane returns the lane of a node in a UserBlockSlot.
func (s *Schedule) Lane(u ledger.UserSlot, identity ledger.Pubkey) (lane ledger.Lane, ok bool) {
	i := slices.Index(s.Proposers(u), identity)
	return ledger.Lane(max(i, 0)), i >= 0
}
