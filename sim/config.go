package sim

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"tutti/cluster"
	"tutti/ledger"
)

// Bounds of a Config.
const (
	// ValidatorsMax bounds a cluster: each pair of nodes has a link.
	ValidatorsMax = 1000
	// SlotsMax bounds a run, 46 days of virtual time with slots of 400 ms.
	SlotsMax = 10_000_000
	// LoadMax bounds what clients submit, per second of virtual time.
	LoadMax = 100_000
	// LatencyMax bounds latencies and times of machines.
	LatencyMax = time.Minute
	// adversariesMin is of how many validators one can be dishonest: three
	// others with as much stake each have more than two thirds.
	adversariesMin = 4
)

// ErrConfig is returned for a Config that no cluster can be made of.
var ErrConfig = errors.New("sim configuration")

// Config says what is simulated. Two runs of one Config are the same.
type Config struct {
	Validators int
	// Slots is how many slots are run, slot 0 not counted.
	Slots ledger.Slot
	// Seed is what everything random comes from: keys, stakes, latencies,
	// clients, and the nodes' own choices.
	Seed    uint64
	Params  cluster.Params
	Network Network
	Machine Machine
	// Fanout is that of Turbine. 0 is for one that is drawn from the seed with
	// Faults or Adversaries, and for that of Params otherwise.
	Fanout int
	// Load is how many transactions clients submit, per second of virtual
	// time.
	Load int
	// World places the nodes in the regions of the latency matrix, one after
	// the other, and clients in all of them: Result.World says what each
	// region's clients saw. Latencies of Network are not used then.
	World bool
	// Faults lets things go wrong, drawn from the seed.
	Faults bool
	// Severe has Faults go beyond what a network must live with: clocks that are
	// seconds off, a loss of 30 %, partitions of up to a minute. Only safety is judged.
	Severe bool
	// Adversaries makes nodes with less than a third of the stake dishonest,
	// drawn from the seed.
	Adversaries bool
	// stored is how many slots below the root nodes keep, for repair of others.
	stored ledger.Slot
	// stakes are given instead of drawn if there are any.
	stakes []ledger.Lamports
	// Scenario replaces all but Seed, Unshared and Story; "" is for none.
	Scenario Scenario
	// Unshared lets each node compute everything itself. Otherwise what two
	// nodes compute of the same input is computed once; the run is the same,
	// and much slower.
	Unshared bool
	// Story keeps what happened, slot by slot, for Sim.Story.
	Story bool
	// Progress, unless nil, is told of each slot that begins. An error ends the
	// run with it.
	Progress func(ledger.Slot) error
}

// Machine says how long a node's machine takes.
type Machine struct {
	// Sync is from a save to its being durable.
	Sync time.Duration
	// Work is for a job of the workers.
	Work time.Duration
	// Execute is for a block, with ExecuteTransaction for each transaction
	// in it.
	Execute, ExecuteTransaction time.Duration
}

// DefaultConfig returns a cluster on one continent: links of 10 to 60 ms, and
// a disk that syncs in 1 ms.
func DefaultConfig() Config {
	return Config{
		Validators: 20,
		Slots:      100,
		Seed:       1,
		Params:     cluster.LocalParams(4),
		Network: Network{
			LatencyMin: 10 * time.Millisecond,
			LatencyMax: 60 * time.Millisecond,
			Jitter:     2 * time.Millisecond,
		},
		Machine: Machine{
			Sync:               time.Millisecond,
			Work:               200 * time.Microsecond,
			Execute:            5 * time.Millisecond,
			ExecuteTransaction: 2 * time.Microsecond,
		},
		Load:   100,
		stored: storeSlots,
	}
}

// Validate returns an error that says what is out of range.
func (c *Config) Validate() error {
	inRange := func(d time.Duration) bool { return d >= 0 && d <= LatencyMax }
	n, m := &c.Network, &c.Machine
	switch {
	case c.Scenario != "" && c.Scenario.new() == nil:
		return fmt.Errorf("%w: no scenario %q", ErrConfig, c.Scenario)
	case c.Validators < 1 || c.Validators > ValidatorsMax:
		return fmt.Errorf("%w: %d validators, want 1 to %d", ErrConfig, c.Validators, ValidatorsMax)
	case c.Slots < 1 || c.Slots > SlotsMax:
		return fmt.Errorf("%w: %d slots, want 1 to %d", ErrConfig, c.Slots, SlotsMax)
	case !inRange(n.LatencyMin) || !inRange(n.LatencyMax) || n.LatencyMin > n.LatencyMax || !inRange(n.Jitter):
		return fmt.Errorf("%w: latency from %v to %v with a jitter of %v, want a lowest no higher than the highest, and all 0 to %v",
			ErrConfig, n.LatencyMin, n.LatencyMax, n.Jitter, LatencyMax)
	case !(n.Loss >= 0 && n.Loss <= 1):
		return fmt.Errorf("%w: loss %v, want 0 to 1", ErrConfig, n.Loss)
	case !inRange(m.Sync) || !inRange(m.Work) || !inRange(m.Execute) || !inRange(m.ExecuteTransaction):
		return fmt.Errorf("%w: machine %+v", ErrConfig, *m)
	case c.Faults && c.Slots < faultsSlots:
		return fmt.Errorf("%w: %d slots, with faults want %d at least", ErrConfig, c.Slots, faultsSlots)
	case c.Severe && !c.Faults:
		return fmt.Errorf("%w: severe faults want faults", ErrConfig)
	case c.World && c.Faults:
		return fmt.Errorf("%w: faults draw regions of their own, so they go without World", ErrConfig)
	case c.Adversaries && c.Validators < adversariesMin:
		return fmt.Errorf("%w: %d validators, with adversaries want %d at least", ErrConfig, c.Validators, adversariesMin)
	case c.Fanout < 0:
		return fmt.Errorf("%w: fanout %d, want 1 or more, or 0 for the default", ErrConfig, c.Fanout)
	case c.Load < 0 || c.Load > LoadMax:
		return fmt.Errorf("%w: load %d, want 0 to %d", ErrConfig, c.Load, LoadMax)
	}
	for _, x := range n.Nudges {
		if x.From < 0 || x.From >= c.Validators || x.To < 0 || x.To >= c.Validators || x.From == x.To {
			return fmt.Errorf("%w: no link from node %d to %d", ErrConfig, x.From, x.To)
		}
		if !inRange(x.By) {
			return fmt.Errorf("%w: link from node %d to %d nudged by %v", ErrConfig, x.From, x.To, x.By)
		}
	}
	return nil
}

// fanouts are what Turbine's fanout is drawn from: trees with two layers and
// more beside the flat one that the default makes of a small cluster.
var fanouts = [...]int{2, 3, 200}

// fanout returns that of Turbine in this run.
func (c *Config) fanout() int {
	switch {
	case c.Fanout > 0:
		return c.Fanout
	case c.Faults || c.Adversaries:
		return fanouts[c.random("fanout", 0).IntN(len(fanouts))]
	}
	return c.Params.Fanout
}

// random returns a stream of randomness for one purpose. Streams of different
// purposes do not disturb each other.
func (c *Config) random(purpose string, index int) *rand.Rand {
	return rand.New(rand.NewChaCha8(c.derive(purpose, index)))
}

// keypair returns the key number index of a kind.
func (c *Config) keypair(kind string, index int) ed25519.PrivateKey {
	seed := c.derive(kind, index)
	return ed25519.NewKeyFromSeed(seed[:])
}

func (c *Config) derive(purpose string, index int) ledger.Hash {
	var numbers [16]byte
	binary.LittleEndian.PutUint64(numbers[:], c.Seed)
	binary.LittleEndian.PutUint64(numbers[8:], uint64(index))
	return ledger.Sum([]byte("tutti sim"), numbers[:], []byte(purpose))
}

// validators draws who takes part.
func (c *Config) validators() []cluster.Validator {
	random := c.random("stakes", 0)
	equal := c.random("equal stakes", 0).IntN(4) == 0
	validators := make([]cluster.Validator, c.Validators)
	for i := range validators {
		validators[i] = cluster.Validator{
			Identity:    publicKey(c.keypair("identity", i)),
			VoteAccount: publicKey(c.keypair("vote account", i)),
			Stake:       stakeMin + ledger.Lamports(random.Uint64N(uint64(stakeMin))),
		}
		switch {
		case c.stakes != nil:
			validators[i].Stake = c.stakes[i]
		case equal:
			validators[i].Stake = stakeMin
		}
	}
	return validators
}

func publicKey(k ed25519.PrivateKey) ledger.Pubkey {
	return ledger.Pubkey(k.Public().(ed25519.PublicKey))
}
