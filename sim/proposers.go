package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"tutti/invariant"
	"tutti/ledger"
	"tutti/node"
	"tutti/poh"
	"tutti/shred"
)

// userFault is what a dishonest proposer does to a UserBlock.
type userFault uint8

const (
	// withholds gives all but some nodes 31 shreds of each set: one less than
	// they need.
	withholds userFault = iota
	// feedsLeader gives its shreds to the leaders that can record it alone.
	feedsLeader
	// inconsistent sets decode to different data by which shreds are used.
	inconsistentUser
	// The anchor is the hash of no block; of a block that is too old; of one on
	// another fork.
	unknownAnchor
	oldAnchor
	forkAnchor
	// The block comes up to 16 UserBlockSlots late, or before its time.
	late
	early
	// The block is in a lane, or in a UserBlockSlot, that is another's.
	wrongLane
	unscheduled
	// oversized has more FEC sets than a UserBlock may have.
	oversizedUser
	// twoUser are two UserBlocks in one lane, each for half of the nodes.
	twoUser
	userFaults
)

var userFaultNames = [userFaults]string{
	"withholds all but 31 shreds", "feeds only the leader", "inconsistent coding", "unknown anchor", "old anchor",
	"anchor of another fork", "late", "early", "wrong lane", "unscheduled", "oversized", "two UserBlocks",
}

// String returns the fault in words.
func (f userFault) String() string { return userFaultNames[f] }

// badProposer makes bad UserBlocks: of each it draws what is wrong with it.
type badProposer struct {
	maker
	faults []userFault
	now    map[ledger.SlotKey]*badUserBlock
}

// badUserBlock is one that is being made.
type badUserBlock struct {
	fault  userFault
	remake *remake // nil: the sets are sent as they are, or not at all
	delay  ledger.UserSlot
	// favoured are those from whom nothing is withheld.
	favoured []ledger.Pubkey
}

func newBadProposer(rng *rand.Rand, faults ...userFault) *badProposer {
	return &badProposer{maker: maker{rng: rng}, faults: faults, now: make(map[ledger.SlotKey]*badUserBlock)}
}

// String tells what it does to its UserBlocks.
func (b *badProposer) String() string {
	if len(b.faults) == int(userFaults) {
		return "makes bad UserBlocks"
	}
	return fmt.Sprintf("makes bad UserBlocks: %v", b.faults)
}

func (b *badProposer) act(h *host, wanted []queued) []queued {
	out, sets := b.own(h, wanted, ledger.SlotKey.IsUser)
	for _, set := range sets {
		out = append(out, b.send(h, set)...)
	}
	return append(out, b.due(h)...)
}

// send returns what is done instead of sending a set of an own UserBlock.
func (b *badProposer) send(h *host, set *shred.Set) []queued {
	block := b.now[set.Key]
	if block == nil {
		block = b.begin(h, set)
		b.now[set.Key] = block
	}
	if set.Last {
		delete(b.now, set.Key)
	}
	u, _ := set.Key.User()
	switch block.fault {
	case withholds:
		return b.withhold(h, set, block.favoured)
	case feedsLeader:
		leaders := h.recorders(set.Key)
		return b.spread(h, allShreds(set), func(_ *shred.Shred, to ledger.Pubkey) bool { return slices.Contains(leaders, to) })
	case inconsistentUser:
		if !set.Last {
			break
		}
		shreds, root := b.forged(h, set)
		h.sim.plot(set.Key, root)
		return b.spread(h, shreds, nil)
	case late:
		for _, q := range b.spread(h, allShreds(set), nil) {
			b.late = append(b.late, kept{u + block.delay, q})
		}
		return nil
	case oversizedUser:
		return b.oversized(h, set)
	case twoUser:
		return b.two(h, set)
	}
	if block.remake == nil {
		return b.spread(h, allShreds(set), nil)
	}
	components := block.remake.batch(set)
	if components == nil {
		return nil
	}
	var out []queued
	for _, other := range block.remake.sets(block.remake.record(components), set) {
		if other.Last {
			h.sim.plot(other.Key, other.Root)
		}
		out = append(out, b.spread(h, allShreds(other), nil)...)
	}
	return out
}

// begin draws what is wrong with a UserBlock.
func (b *badProposer) begin(h *host, first *shred.Set) *badUserBlock {
	block := &badUserBlock{fault: b.faults[b.rng.IntN(len(b.faults))], delay: 1 + ledger.UserSlot(b.rng.IntN(16))}
	u, lane := first.Key.User()
	key, anchor := first.Key, first.Chained
	switch block.fault {
	case withholds:
		for _, v := range h.sim.genesis.Validators {
			if v.Identity != h.identity() && b.rng.IntN(3) == 0 {
				block.favoured = append(block.favoured, v.Identity)
			}
		}
		return block
	case unknownAnchor:
		fill(b.rng, anchor[:])
	case oldAnchor:
		anchor = h.sim.oldBlock().LastPoH
	case forkAnchor:
		anchor = h.sim.forkBlock().LastPoH
	case early:
		for ahead := u + 4; ahead > u; ahead-- {
			if l, ok := h.sim.schedule().Lane(ahead, h.identity()); ok {
				u, lane = ahead, l
				break
			}
		}
		key = ledger.UserKey(u, lane)
	case wrongLane:
		lane = (lane + 1) % ledger.Lane(h.sim.cfg.Params.Proposers)
		key = ledger.UserKey(u, lane)
	case unscheduled:
		u += ledger.UserSlot(b.rng.IntN(4))
		lane = ledger.Lane(b.rng.IntN(ledger.LanesMax))
		key = ledger.UserKey(u, lane)
	default:
		return block
	}
	block.remake = newRemake(h, key, 0, anchor, poh.UserBlockSeed(anchor, u, h.identity()))
	return block
}

// withhold gives 31 shreds their way to all, and all of them to the favoured.
func (b *badProposer) withhold(h *host, set *shred.Set, favoured []ledger.Pubkey) []queued {
	shown := b.rng.Perm(shred.SetSize)[:shred.SetData-1]
	shreds := allShreds(set)
	out := b.spread(h, shreds, func(s *shred.Shred, _ ledger.Pubkey) bool { return slices.Contains(shown, s.Position()) })
	for i := range shreds {
		m := node.ShredMessage{Shred: shreds[i], Root: set.Root}
		out = append(out, queued{effect: node.Send{To: favoured, Msg: m}})
	}
	return out
}

// oversized sends a set, and behind it more than a UserBlock may have.
func (b *badProposer) oversized(h *host, set *shred.Set) (out []queued) {
	if set.Index > 0 {
		return nil
	}
	s := shred.NewShredder(shred.Config{Key: set.Key, Version: set.Version, Signer: h.key(), Chained: set.Chained})
	batch := make([]byte, (h.sim.cfg.Params.FECSetsMax+1)*len(set.Payload))
	sets, err := s.Shred(batch, 0, true)
	if err != nil {
		panic("sim: own block: " + err.Error())
	}
	for _, x := range sets {
		out = append(out, b.spread(h, allShreds(x), nil)...)
	}
	h.sim.plot(set.Key, sets[len(sets)-1].Root)
	return out
}

// two sends of each shred one of two: that of the UserBlock that the node made,
// or that of another one.
func (b *badProposer) two(h *host, set *shred.Set) []queued {
	if set.Index > 0 {
		return b.spread(h, allShreds(set), nil)
	}
	other := make([]byte, len(set.Payload))
	copy(other, set.Payload)
	flip(b.rng, other, 0, len(other))
	s := shred.NewShredder(shred.Config{Key: set.Key, Version: set.Version, Signer: h.key(), Chained: set.Chained})
	sets, err := s.Shred(other, set.ReferenceTick, set.Last)
	if err != nil {
		panic("sim: own block: " + err.Error())
	}
	var out []queued
	for i := range shred.SetSize {
		x := set
		if b.rng.IntN(2) == 0 {
			x = sets[0]
		}
		out = append(out, b.spread(h, []shred.Shred{x.Shred(i)}, nil)...)
	}
	return out
}

// plot remembers a UserBlock that is not well formed, for dishonest leaders to
// name.
func (s *Sim) plot(k ledger.SlotKey, id ledger.Hash) {
	u, lane := k.User()
	s.unfit = append(s.unfit, ledger.UserBlockRef{U: u, Lane: lane, ID: id})
	if len(s.unfit) > 64 {
		s.unfit = s.unfit[1:]
	}
}

// oldBlock returns a block that is too old to be an anchor, if there is one.
func (s *Sim) oldBlock() *invariant.Block {
	b := s.check.confirmed.Tip()
	if b == nil {
		return s.check.ledger.Root()
	}
	for i := 0; i < 40 && b.Parent != nil; i++ {
		b = b.Parent
	}
	return b
}

// forkBlock returns the newest block that is off the confirmed chain, or an
// old one if there is none.
func (s *Sim) forkBlock() *invariant.Block {
	tip := s.check.confirmed.Tip()
	blocks := s.check.ledger.Blocks()
	refs := slices.SortedFunc(maps.Keys(blocks), func(a, b ledger.BlockRef) int {
		if a.Slot != b.Slot {
			return int(b.Slot) - int(a.Slot)
		}
		return slices.Compare(a.ID[:], b.ID[:])
	})
	for _, ref := range refs {
		if b := blocks[ref]; tip != nil && ref.Slot < tip.Ref.Slot && !tip.Descends(b) {
			return b
		}
	}
	return s.oldBlock()
}
