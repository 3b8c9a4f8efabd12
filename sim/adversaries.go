package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/ledger"
	"tutti/node"
)

// adversary is a way to be dishonest.
type adversary struct {
	name string
	of   func(*rand.Rand) behaviour
	// costs says that it costs a leader its own slots.
	costs bool
}

// adversaries are all ways, by what is done dishonestly: voting, proposing,
// leading, answering. Config.Adversaries draws from them.
var adversaries = [][]adversary{
	{
		{name: "votes twice", of: func(rng *rand.Rand) behaviour { return &voteTwice{rng} }},
		{name: "votes anywhere", of: func(rng *rand.Rand) behaviour { return &voteAnywhere{rng} }},
		{name: "replays votes", of: func(rng *rand.Rand) behaviour { return &replayVotes{rng: rng} }},
		{name: "forges votes", of: func(rng *rand.Rand) behaviour { return &forgeVotes{rng} }},
	},
	badProposers(),
	badLeaders(),
	{
		{name: "lies in repair", of: func(rng *rand.Rand) behaviour { return &repairLiar{rng} }},
		{name: "lies in gossip", of: func(rng *rand.Rand) behaviour { return &gossipLiar{rng: rng} }},
	},
}

func badProposers() (all []adversary) {
	every := make([]userFault, userFaults)
	for f := range userFaults {
		every[f] = f
		all = append(all, adversary{name: "proposer: " + f.String(), of: func(rng *rand.Rand) behaviour { return newBadProposer(rng, f) }})
	}
	return append(all, adversary{name: "proposer: all of it", of: func(rng *rand.Rand) behaviour { return newBadProposer(rng, every...) }})
}

func badLeaders() (all []adversary) {
	every := make([]leaderFault, leaderFaults)
	for f := range leaderFaults {
		every[f] = f
		all = append(all, adversary{name: "leader: " + f.String(), costs: f.costs(), of: func(rng *rand.Rand) behaviour {
			if f == namesUnfit { // somebody has to make such
				return several{newBadProposer(rng, inconsistentUser, oldAnchor), newBadLeader(rng, f)}
			}
			return newBadLeader(rng, f)
		}})
	}
	return append(all, adversary{name: "leader: all of it", of: func(rng *rand.Rand) behaviour { return newBadLeader(rng, every...) }})
}

// drawDishonest draws who is dishonest, with less than a third of the stake:
// each of them runs twice, with a chance of one in four, or shows one or two
// kinds of behaviour. Of the others up to half lie about shreds or contacts,
// which promises nothing.
func drawDishonest(cfg *Config, validators []cluster.Validator) dishonest {
	rng := cfg.random("dishonest", 0)
	d := dishonest{behaviours: make(map[int]behaviour)}
	var bad, total ledger.Lamports
	for i := range validators {
		total += validators[i].Stake
	}
	order := rng.Perm(len(validators))
	for len(order) > 0 {
		i := order[0]
		with := bad + validators[i].Stake
		if !consensus.TwoThirds(total-with, total) || bad > 0 && rng.IntN(4) == 0 {
			break
		}
		bad, order = with, order[1:]
		if rng.IntN(4) == 0 {
			d.twins = append(d.twins, i)
			continue
		}
		var all several
		for n, k := range rng.Perm(len(adversaries))[:1+rng.IntN(2)] {
			kinds := adversaries[k]
			all = append(all, kinds[rng.IntN(len(kinds))].of(cfg.random("adversary", 2*i+n)))
		}
		d.behaviours[i] = all.alone()
	}
	liars := adversaries[len(adversaries)-1]
	for _, i := range order[:rng.IntN(len(order)/2+1)] {
		d.behaviours[i] = liars[rng.IntN(len(liars))].of(cfg.random("adversary", 2*i))
	}
	return d
}

// RunAdversaries runs a Config once for each way to be dishonest, as the leader
// of slot 8 is then, or half of all nodes in what promises nothing. It calls
// each with what came of it.
func RunAdversaries(cfg Config, each func(name string, o Outcome)) error {
	if cfg.Validators < adversariesMin {
		return fmt.Errorf("%w: %d validators, want %d at least", ErrConfig, cfg.Validators, adversariesMin)
	}
	for _, kinds := range adversaries {
		for _, a := range kinds {
			cfg.Seed++
			c, d, err := cfg.with(a)
			if err != nil {
				return err
			}
			each(a.name, runWhole(c.Seed, func() (*Sim, error) { return newSim(c, d) }))
		}
	}
	return nil
}

// with makes the leader of slot 8 dishonest, or half of the nodes if their
// stake counts as honest all the same. Seeds with which the leader has too
// much stake are passed over.
func (c Config) with(a adversary) (Config, dishonest, error) {
	for ; ; c.Seed += 1000 {
		s, err := newSim(c, dishonest{})
		if err != nil {
			return c, dishonest{}, err
		}
		leader := s.leader(8)
		d := dishonest{behaviours: map[int]behaviour{leader: a.of(c.random("adversary", leader))}}
		if d.honest(leader) {
			for i := range c.Validators / 2 {
				d.behaviours[2*i] = a.of(c.random("adversary", 2*i))
			}
		}
		if d.validate(s.genesis.Validators) == nil {
			return c, d, nil
		}
	}
}

// several is one behaviour after the other.
type several []behaviour

// alone leaves a behaviour that needs bad UserBlocks of its own without another
// that makes some: the one would take what the other made for the node's.
func (s several) alone() several {
	if !slices.ContainsFunc(s, func(b behaviour) bool { _, ok := b.(several); return ok }) {
		return s
	}
	return slices.DeleteFunc(s, func(b behaviour) bool { _, ok := b.(*badProposer); return ok })
}

func (s several) String() string {
	out := s[0].String()
	for _, b := range s[1:] {
		out += " and " + b.String()
	}
	return out
}

func (s several) act(h *host, wanted []queued) []queued {
	for _, b := range s {
		wanted = b.act(h, wanted)
	}
	return wanted
}

func (s several) hear(h *host, m node.Message) {
	for _, b := range s {
		if l, ok := b.(listener); ok {
			l.hear(h, m)
		}
	}
}
