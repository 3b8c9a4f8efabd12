// Package compare puts the same load on two designs with the same code: many
// proposers with asynchronous execution (SIMD-0023), and the baseline of
// PROTOCOL section 2, where the leader alone proposes and validators vote
// after executing. It runs both in a simulation of the world, with clients in
// all regions, and on this machine.
package compare

import (
	"context"
	"fmt"
	"io"

	"tutti/cluster"
	"tutti/cmd/tutti/devnet"
	"tutti/cmd/tutti/measure"
	"tutti/cmd/tutti/setup"
	"tutti/ledger"
)

// Options say what to run.
type Options struct {
	// Proposers is N of the first design, Command what the user typed.
	Proposers int
	Command   string
	// The simulation, and its validators.
	Simulation measure.Simulation
	Validators int
	// The runs on this machine; without Local there are none.
	Local  bool
	Devnet measure.Devnet

	Files measure.Files
}

func (o *Options) check() error {
	if o.Proposers < 1 || o.Proposers > ledger.LanesMax {
		return setup.Errorf("%d proposers: use 1 to %d", o.Proposers, ledger.LanesMax)
	}
	if o.Validators < o.Proposers {
		return setup.Errorf("%d validators for %d proposers: each needs one of its own", o.Validators, o.Proposers)
	}
	if err := o.Simulation.Check(); err != nil {
		return err
	}
	if o.Local {
		if err := o.Devnet.Check(); err != nil {
			return err
		}
	}
	return o.Files.Check()
}

// design is one of the two that are compared.
type design struct {
	name   string
	params cluster.Params
}

// designs returns both, of which the first has so many proposers.
func (o *Options) designs(many int) [2]design {
	alone := cluster.LocalParams(1)
	alone.ProposerSchedule, alone.Execution = cluster.ScheduleLeader, cluster.ExecutionSync
	return [2]design{
		{proposers(many), cluster.LocalParams(many)},
		{"leader alone", alone},
	}
}

func proposers(n int) string { return fmt.Sprintf("%d proposers", n) }

// localProposers is N on this machine: a lane for each validator at most.
func (o *Options) localProposers() int { return min(o.Proposers, o.Devnet.Validators) }

// Outcome is what one design came to.
type Outcome struct {
	Design string          `json:"design"`
	World  *measure.World  `json:"world"`
	Local  *devnet.Summary `json:"local,omitempty"`
}

// Run compares, and writes the report as Markdown to out. A
// *setup.Error says that it cannot compare as asked.
func Run(ctx context.Context, o Options, out, progress io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	var outcomes [2]Outcome
	for i, d := range o.designs(o.Proposers) {
		outcomes[i].Design = d.name
		fmt.Fprintf(progress, "%s: simulating %d validators for %d slots\n", d.name, o.Validators, o.Simulation.Slots)
		var err error
		if outcomes[i].World, err = o.Simulation.Run(ctx, o.Validators, d.params, progress); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	if o.Local {
		for i, d := range o.designs(o.localProposers()) {
			fmt.Fprintf(progress, "%s: %d validators on this machine for %v\n", d.name, o.Devnet.Validators, o.Devnet.Duration)
			var err error
			if outcomes[i].Local, err = o.Devnet.Run(ctx, devnet.Options{Params: d.params}); err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
		}
	}
	p := o.page(&outcomes)
	if err := o.Files.Write(outcomes, p); err != nil {
		return err
	}
	return p.Markdown(out)
}
