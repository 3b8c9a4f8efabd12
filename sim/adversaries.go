package sim

import (
	"math/rand/v2"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/ledger"
	"tutti/node"
)

// adversaries makes one of each kind of dishonest machine. Config.Adversaries
// draws from it.
var adversaries = []func(*rand.Rand) behaviour{
	func(rng *rand.Rand) behaviour { return &voteTwice{rng} },
	func(rng *rand.Rand) behaviour { return &voteAnywhere{rng} },
	func(rng *rand.Rand) behaviour { return &replayVotes{rng: rng} },
	func(rng *rand.Rand) behaviour { return &forgeVotes{rng} },
}

// drawDishonest draws who is dishonest, with less than a third of the stake:
// each of them runs twice, with a chance of one in four, or shows one or two
// kinds of behaviour.
func drawDishonest(cfg *Config, validators []cluster.Validator) dishonest {
	rng := cfg.random("dishonest", 0)
	d := dishonest{behaviours: make(map[int]behaviour)}
	var bad, total ledger.Lamports
	for i := range validators {
		total += validators[i].Stake
	}
	for _, i := range rng.Perm(len(validators)) {
		with := bad + validators[i].Stake
		if !consensus.TwoThirds(total-with, total) || bad > 0 && rng.IntN(4) == 0 {
			break
		}
		bad = with
		if rng.IntN(4) == 0 {
			d.twins = append(d.twins, i)
			continue
		}
		var all several
		for n, k := range rng.Perm(len(adversaries))[:1+rng.IntN(2)] {
			all = append(all, adversaries[k](cfg.random("adversary", 2*i+n)))
		}
		d.behaviours[i] = all
	}
	return d
}

// several is one behaviour after the other.
type several []behaviour

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
