package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/ledger"
	"tutti/node"
)

// behaviour makes a machine dishonest. The node on it is the same as all
// others; the behaviour stands between what the node wants done and the world.
//
// It belongs to one machine and outlives its crashes. All that is random in it
// comes from Config.random, and no map order may reach what it does.
type behaviour interface {
	// act returns what is done instead of what the node wants done: the same,
	// changed, less, or more. It is called after each step of the node, so at
	// least once a tick while the node makes blocks. A Send without a frame is
	// encoded; one with a frame sends that frame's bytes, which need not be a
	// message. What a behaviour adds it owns; wanted is its to change, but not
	// what the effects point to.
	act(h *host, wanted []queued) []queued
	// String tells what it does, in a few words.
	String() string
}

// listener is a behaviour that wants to know what its machine is sent.
type listener interface {
	// hear is called with each message before the node gets it.
	hear(h *host, m node.Message)
}

// faithful is a behaviour that lies about nothing that the checks look at: the
// promises hold for its machine as well, and its stake counts as honest.
type faithful interface{ faithful() }

// dishonest says who does not keep to the protocol. Promises are those of all
// others.
type dishonest struct {
	// twins are validators whose identity a second machine runs as well, with
	// a store of its own: what is sent to the identity is sent to both. Machine
	// Validators+i is that of twins[i].
	twins []int
	// behaviours are those of single machines.
	behaviours map[int]behaviour
	// liars are validators whose executor is wrong; as many as are wanted.
	liars map[int]*liar
}

// validate checks that the dishonest have less than a third of the stake.
func (d *dishonest) validate(validators []cluster.Validator) error {
	bad, total := d.stake(validators)
	if bad > 0 && !consensus.TwoThirds(total-bad, total) {
		return fmt.Errorf("%w: %d of %d lamports are dishonest, want less than a third", ErrConfig, bad, total)
	}
	return nil
}

// firm tells whether the dishonest are too few for two confirmed blocks to
// contradict each other. A block is confirmed with more than 2/3 of the stake;
// of those that voted for it an honest one leaves its fork if more than 38 %
// are locked out of it (FORMATS section 8), and less than 1/3 have not voted
// for it: it takes the double votes of more than 38 % − 1/3, 4.67 %. Roots need
// none of that: they hold against a third.
func (d *dishonest) firm(validators []cluster.Validator) bool {
	bad, total := d.stake(validators)
	return !consensus.Exceeds(bad, total, 14, 300)
}

// stake returns the stake of the dishonest, and of all.
func (d *dishonest) stake(validators []cluster.Validator) (bad, total ledger.Lamports) {
	for i := range validators {
		total += validators[i].Stake
		if !d.honest(i) && d.liars[i] == nil {
			bad += validators[i].Stake
		}
	}
	return bad, total
}

// none tells whether all are honest.
func (d *dishonest) none() bool {
	return len(d.twins) == 0 && len(d.behaviours) == 0 && len(d.liars) == 0
}

// validator returns whose identity a machine runs.
func (d *dishonest) validator(cfg *Config, machine int) int {
	if machine < cfg.Validators {
		return machine
	}
	return d.twins[machine-cfg.Validators]
}

// honest tells whether a validator keeps to the protocol. One that runs twice
// does not, however well each of its machines behaves.
func (d *dishonest) honest(validator int) bool {
	b := d.behaviours[validator]
	_, keeps := b.(faithful)
	return (b == nil || keeps) && d.liars[validator] == nil && !slices.Contains(d.twins, validator)
}

// String tells what the dishonest do, for people.
func (d *dishonest) String() string {
	var all []string
	for _, v := range d.twins {
		all = append(all, fmt.Sprintf("node %d runs twice", v))
	}
	for _, machine := range slices.Sorted(maps.Keys(d.behaviours)) {
		all = append(all, fmt.Sprintf("node %d %v", machine, d.behaviours[machine]))
	}
	for _, v := range slices.Sorted(maps.Keys(d.liars)) {
		all = append(all, fmt.Sprintf("node %d executes wrongly from slot %d on", v, d.liars[v].from))
	}
	return strings.Join(all, ", ")
}
