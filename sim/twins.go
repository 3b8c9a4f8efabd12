package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"tutti/ledger"
	"tutti/node"
)

// The twins scenario (Bano et al., "Twins: BFT Systems Made Robust", 2020):
// four nodes, one of which runs twice, in a network whose partition changes
// from round to round. What follows is drawn from a small space: who leads, how
// much stake the twin has, what its second machine takes part in, how long a
// round is, and the partition of each round.
const (
	twinsValidators = 4
	// twinsRounds is how many slots the rounds take: three leaders' turns. They
	// begin with the second, third or fourth turn of the ledger: its leaders are
	// the same in all clusters of equal stakes.
	twinsRounds = 12
	// Nodes root their first block with the 32nd vote. One run of twinsLateEvery
	// is late: its rounds begin when there are roots, and take so many slots that
	// a part that ignores the others could root what it votes for. A half of the
	// late runs goes on until all must have made progress, the other runs end when
	// proofs are due.
	twinsLateEvery  = 16
	twinsLateFirst  = 40
	twinsLateRounds = 40
	twinsLateLanes  = 2 // instead of four: late runs are long
	// A twin has as much stake as the others, a quarter of all, or, in one run of
	// four, 4 %: too little for two confirmed blocks to contradict each other, and
	// for a leader's turn.
	twinsStake      = 24_000 * ledger.LamportsPerSOL
	twinsStakeLight = 3_000 * ledger.LamportsPerSOL
	// twinsLoad is in transactions per second.
	twinsLoad = 6
	// proofSlots is how long it may take from when both versions of a block are
	// visible, or all has healed if that is later, until at least two thirds of
	// the honest nodes store a proof.
	proofSlots = 4
)

// twinsLateRound are how long a round of a late run may be, in slots.
var twinsLateRound = [...]int{4, 8, 20, 40}

// role is what a twin's second machine takes part in. The first one does
// everything.
type role uint8

const (
	everything role = iota
	leading
	proposing
	voting
	roles
)

var roleNames = [roles]string{"does everything as well", "only leads", "only proposes", "only votes"}

func (r role) String() string { return roleNames[r] }

// act keeps to itself what the machine makes beyond its role. It passes on
// and answers like all others.
func (r role) act(h *host, wanted []queued) []queued {
	return slices.DeleteFunc(wanted, func(q queued) bool {
		send, ok := q.effect.(node.Send)
		if !ok || r == everything {
			return false
		}
		switch m := send.Msg.(type) {
		case node.ShredMessage:
			key := m.Shred.Key()
			kind := leading
			if key.IsUser() {
				kind = proposing
			}
			return h.sim.check.signers.signer(key) == h.identity() && r != kind
		case node.VoteMessage:
			return m.Vote.Authority == h.identity() && r != voting
		}
		return false
	})
}

// twins is one run of the scenario.
type twins struct {
	sim   *Sim
	twin  int
	light bool // its stake
	role  role
	// Rounds begin in slot first and have so many slots each; then all heals.
	first, healed ledger.Slot
	round         int
	late          bool // the rounds begin when there are roots
	// rooted counts how often an honest node told a new root during the rounds.
	rooted int
	// seen has what the honest were sent of blocks of the twin.
	seen map[ledger.SlotKey]*versions
}

// versions is what is known of the blocks under one key.
type versions struct {
	// roots has the signed roots that reached any honest machine, reached those
	// that reached each, by set.
	roots   map[uint32]map[ledger.Hash]bool
	reached map[int]map[uint32]map[ledger.Hash]bool
	twice   bool // two blocks were signed
	// visible is when the first honest machine had two versions, proven when
	// each stored a proof.
	visible time.Duration
	proven  map[int]time.Duration
}

func (t *twins) configure(cfg *Config) {
	rng := cfg.random("twins", 0)
	cfg.Validators, cfg.Load = twinsValidators, twinsLoad
	cfg.Params.HashesPerTick, cfg.Params.UserBlockHashesPerTick = 0, 0
	t.first = ledger.Slot(ledger.SlotsPerLeader * (1 + rng.IntN(3)))
	t.healed = t.first + twinsRounds
	cfg.Slots = proofSlots
	if t.late = rng.IntN(twinsLateEvery) == 0; t.late {
		t.first, t.healed = twinsLateFirst, twinsLateFirst+twinsLateRounds
		cfg.Params.Proposers = twinsLateLanes
		if rng.IntN(2) == 0 {
			cfg.Slots += progressSlotsAll
		}
	}
	cfg.Slots += t.healed
	cfg.stakes = slices.Repeat([]ledger.Lamports{twinsStake}, twinsValidators)
	t.light = rng.IntN(4) == 0
	if t.light {
		cfg.stakes[0] = twinsStakeLight
	}
}

func (t *twins) plan(s *Sim) (dishonest, *faults) {
	t.sim, t.seen = s, make(map[ledger.SlotKey]*versions)
	rng := s.cfg.random("twins", 1)
	if !t.light {
		t.twin = s.leader(t.first + ledger.Slot(rng.IntN(int(t.healed-t.first))))
	}
	if rng.IntN(2) == 0 {
		t.role = role(rng.IntN(int(roles)))
	}
	t.round = 1 << rng.IntN(3)
	if t.late {
		t.round = twinsLateRound[rng.IntN(len(twinsLateRound))]
	}
	f := &faults{phases: []phase{{t.first, t.healed}}}
	for slot := t.first; slot < t.healed; slot += ledger.Slot(t.round) {
		f.episodes = append(f.episodes, episode{
			kind: partition, begin: s.slotAt(slot), end: s.slotAt(slot + ledger.Slot(t.round)),
			group: drawPartition(rng, twinsValidators+1),
		})
	}
	return dishonest{twins: []int{t.twin}, behaviours: map[int]behaviour{twinsValidators: t.role}}, f
}

// drawPartition draws one of the ways to part machines into two or three
// groups, each as likely as the others: group numbers, by machine.
func drawPartition(rng *rand.Rand, machines int) []int {
	all := partitions(machines)
	return all[rng.IntN(len(all))]
}

// partitions lists the ways to part machines into two or three groups. A
// group's number is that of its first machine in the order of groups.
func partitions(machines int) (all [][]int) {
	var extend func(groups []int, used int)
	extend = func(groups []int, used int) {
		if len(groups) == machines {
			if used >= 2 {
				all = append(all, slices.Clone(groups))
			}
			return
		}
		for g := range min(used+1, 3) {
			extend(append(groups, g), max(used, g+1))
		}
	}
	extend(nil, 0)
	return all
}

// heard notes which versions of the twin's blocks reach the honest through
// Turbine. (Both machines answer a repair request; a node takes one answer.)
func (t *twins) heard(h *host, msg node.Message) {
	m, ok := msg.(node.ShredMessage)
	if !ok {
		return
	}
	key := m.Shred.Key()
	if t.sim.check.madeHonestly(key) || key.Slot() <= t.sim.check.nodes[h.index].root.Ref.Slot {
		return
	}
	v := t.seen[key]
	if v == nil {
		v = &versions{
			roots: make(map[uint32]map[ledger.Hash]bool), reached: make(map[int]map[uint32]map[ledger.Hash]bool),
			proven: make(map[int]time.Duration),
		}
		t.seen[key] = v
	}
	if v.reached[h.index] == nil {
		v.reached[h.index] = make(map[uint32]map[ledger.Hash]bool)
	}
	v.twice = add(v.roots, &m) > 1 || v.twice
	if add(v.reached[h.index], &m) > 1 && v.visible == 0 {
		v.visible = t.sim.now
	}
}

// add notes a root and returns how many its set has.
func add(roots map[uint32]map[ledger.Hash]bool, m *node.ShredMessage) int {
	at := m.Shred.SetIndex()
	if roots[at] == nil {
		roots[at] = make(map[ledger.Hash]bool)
	}
	roots[at][m.Root] = true
	return len(roots[at])
}

func (t *twins) told(h *host, of any) {
	switch r := of.(type) {
	case node.Equivocated:
		if v := t.seen[r.Key]; v != nil {
			v.proven[h.index] = t.sim.now
		}
	case node.Rooted:
		if t.sim.slotAt(t.first) <= t.sim.now && t.sim.now < t.sim.slotAt(t.healed) {
			t.rooted++
		}
	}
}

// Proofs counts blocks that were signed twice, by whether it came out.
type Proofs struct {
	// Twice counts keys of which two versions reached the honest. Visible ones
	// reached one of them both; of the others, which are split, nobody could know.
	Twice, Visible int
	// Proven counts visible ones whose proof enough of the honest stored in time.
	// The other visible ones had no time left.
	Proven int
}

// Add counts those of another run as well.
func (p *Proofs) Add(other Proofs) {
	p.Twice += other.Twice
	p.Visible += other.Visible
	p.Proven += other.Proven
}

// String tells the numbers.
func (p Proofs) String() string {
	return fmt.Sprintf("%d blocks signed twice, %d visible, %d proven in time", p.Twice, p.Visible, p.Proven)
}

func (t *twins) judge(s *Sim, r *Result) *Violation {
	r.RootedParted = t.rooted
	var late []ledger.SlotKey
	for key, v := range t.seen {
		if !v.twice {
			continue
		}
		r.Proofs.Twice++
		if v.visible == 0 {
			continue
		}
		r.Proofs.Visible++
		due := max(v.visible, s.slotAt(t.healed)) + s.slotAt(proofSlots) - s.slotAt(0)
		stored := 0
		for _, at := range v.proven {
			if at <= due {
				stored++
			}
		}
		switch {
		case 3*stored >= 2*(twinsValidators-1):
			r.Proofs.Proven++
		case due < s.now:
			late = append(late, key)
		}
	}
	if len(late) > 0 {
		key := slices.Min(late)
		v := t.seen[key]
		return s.violation(Diverged, t.twin, "two blocks under %v were visible at %v, but only %d honest nodes have a proof %d slots later",
			key, v.visible, len(v.proven), proofSlots)
	}
	return nil
}
