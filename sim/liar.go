package sim

import (
	"fmt"

	"tutti/bank"
	"tutti/cluster"
	"tutti/ledger"
)

// liar is an executor that computes wrong BankHashes from a slot on, as a
// faulty program or machine does: what comes after a wrong one is wrong as
// well, and the links between them hold. The node that has it is the same as
// all others.
type liar struct {
	from ledger.Slot
	// value tells different mistakes apart; equal ones give equal BankHashes.
	value byte
	wrong map[ledger.BlockRef]ledger.Hash
}

// distort returns the result that the executor gives.
func (l *liar) distort(r *bank.Result) *bank.Result {
	if r.Ref.Slot < l.from {
		return r
	}
	out := *r
	if parent, ok := l.wrong[r.Parent]; ok {
		out.Link.Parent, out.ParentBankHash = parent, parent
	}
	out.Link.Delta[0] ^= l.value
	out.BankHash = out.Link.BankHash()
	if l.wrong == nil {
		l.wrong = make(map[ledger.BlockRef]ledger.Hash)
	}
	l.wrong[r.Ref] = out.BankHash
	return &out
}

// drawLiars draws, for one run of four with dishonest nodes, liars instead of
// others, up to a third of the validators. It gives them less than a third of
// the stake, exactly a third, a lamport more, or up to 43 % of all.
func drawLiars(cfg *Config, validators []cluster.Validator) map[int]*liar {
	rng := cfg.random("liars", 0)
	if rng.IntN(4) > 0 {
		return nil
	}
	order := rng.Perm(len(validators))
	some, others := order[:1+rng.IntN(max(len(order)/3, 1))], ledger.Lamports(0)
	for _, i := range order[len(some):] {
		others += validators[i].Stake
	}
	odd := others % 2
	validators[order[len(some)]].Stake += odd
	all := (others + odd) / 2 // a third
	switch rng.IntN(4) {
	case 0:
		all -= 1 + ledger.Lamports(rng.Uint64N(uint64(all/2)))
	case 1:
	case 2:
		all++
	case 3:
		all += 1 + ledger.Lamports(rng.Uint64N(uint64(all)/2))
	}
	liars := make(map[int]*liar, len(some))
	from, ways := 4+ledger.Slot(rng.Uint64N(uint64(cfg.Slots/2+1))), 1+rng.IntN(3)
	for n, i := range some {
		stake := all / ledger.Lamports(len(some)-n)
		all -= stake
		validators[i].Stake = stake
		liars[i] = &liar{from: from + ledger.Slot(rng.IntN(4)), value: 1 + byte(rng.IntN(ways))}
	}
	return liars
}

// haltSlots is how long after the vote with which more than a third of the
// stake has reported another BankHash all honest nodes must have halted, if
// nothing is lost.
const haltSlots = 2

// halting checks, when that time is over, that all have. With faults the vote
// can be lost, and this is not asked.
func (s *Sim) halting() error {
	limit := s.check.crossed + haltSlots*(s.slotAt(1)-s.slotAt(0)) + s.cfg.Network.LatencyMax + s.cfg.Network.Jitter
	if s.halted || s.check.crossed == 0 || s.now <= limit || s.faults != nil || s.cfg.Network.Loss > 0 {
		return nil
	}
	s.halted = true
	for i, h := range s.hosts {
		if w := &s.check.nodes[i]; !w.dishonest && !h.down && !w.halted {
			return &Violation{Seed: s.cfg.Seed, At: s.now, Node: i, Verdict: NoProgress, What: fmt.Sprintf(
				"more than a third of the stake reports another BankHash since %v, and the node has not halted by %v", s.check.crossed, limit)}
		}
	}
	return nil
}
