// Package compare puts the same load on two designs with the same code: many
// proposers with asynchronous execution (SIMD-0023), and the baseline of
// PROTOCOL section 2, where the leader alone proposes and validators vote
// after executing. It runs both in a simulation of the world, with clients in
// all regions, and on this machine.
package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"tutti/cluster"
	"tutti/cmd/tutti/devnet"
	"tutti/ledger"
	"tutti/sim"
)

// Options say what to run.
type Options struct {
	// Proposers is N of the first design, Command what the user typed.
	Proposers int
	Command   string
	// The simulation: validators in all regions, transfers a second of all
	// clients together, and what a validator takes to execute one.
	Validators int
	Slots      ledger.Slot
	Load       int
	Seed       uint64
	Execute    time.Duration
	// The local runs: validators as processes, transfers a second, and for how
	// long; without Local there are none.
	Local           bool
	LocalValidators int
	LocalLoad       int
	LocalTime       time.Duration
	// Files for the reports, if there are to be any.
	JSON, HTML string
}

// SetupError says why nothing can be compared as asked.
type SetupError struct{ err error }

// Error implements error.
func (e *SetupError) Error() string { return e.err.Error() }

// Unwrap implements errors' chains.
func (e *SetupError) Unwrap() error { return e.err }

func setup(format string, args ...any) error { return &SetupError{fmt.Errorf(format, args...)} }

// Bounds of Options.
const (
	slotsMin     = 40
	localTimeMin = 5 * time.Second
)

func (o *Options) check() error {
	switch {
	case o.Proposers < 1 || o.Proposers > ledger.LanesMax:
		return setup("%d proposers: use 1 to %d", o.Proposers, ledger.LanesMax)
	case o.Slots < slotsMin:
		return setup("%d slots: use %d or more", o.Slots, slotsMin)
	case o.Load < 1:
		return setup("load of %d transfers a second: use 1 or more", o.Load)
	case o.Local && o.LocalTime < localTimeMin:
		return setup("%v on this machine: use %v or more", o.LocalTime, localTimeMin)
	case o.Local && o.LocalLoad < 1:
		return setup("load of %d transfers a second on this machine: use 1 or more", o.LocalLoad)
	}
	for _, file := range []string{o.JSON, o.HTML} {
		if file == "" {
			continue
		}
		if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
			return setup("%s is no directory: name files for reports in one that exists", filepath.Dir(file))
		}
	}
	return nil
}

// design is one of the two that are compared.
type design struct {
	name   string
	params cluster.Params
}

func (o *Options) designs() [2]design {
	alone := cluster.LocalParams(1)
	alone.ProposerSchedule, alone.Execution = cluster.ScheduleLeader, cluster.ExecutionSync
	return [2]design{
		{fmt.Sprintf("%d proposers", o.Proposers), cluster.LocalParams(o.Proposers)},
		{"leader alone", alone},
	}
}

// Outcome is what one design came to.
type Outcome struct {
	Design string          `json:"design"`
	World  *World          `json:"world"`
	Local  *devnet.Summary `json:"local,omitempty"`
}

// World is what the simulation of the world came to.
type World struct {
	Seconds    float64    `json:"seconds"` // virtual
	Validators int        `json:"validators"`
	Slots      int        `json:"slots"`
	Skipped    int        `json:"skipped_slots"`
	Bytes      int        `json:"bytes_sent"`
	BytesMax   int        `json:"bytes_sent_most"` // by one node
	Verified   int        `json:"signatures_verified"`
	Cities     []sim.City `json:"cities"`
}

// Run compares, and writes the report as Markdown to out.
func Run(ctx context.Context, o Options, out, progress io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	var outcomes [2]Outcome
	for i, d := range o.designs() {
		outcomes[i].Design = d.name
		fmt.Fprintf(progress, "%s: simulating %d validators for %d slots\n", d.name, o.Validators, o.Slots)
		var err error
		if outcomes[i].World, err = o.simulate(d); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if o.Local {
		for i, d := range o.designs() {
			fmt.Fprintf(progress, "%s: %d validators on this machine for %v\n", d.name, o.LocalValidators, o.LocalTime)
			var err error
			if outcomes[i].Local, err = o.run(ctx, d); err != nil {
				return err
			}
		}
	}
	if o.JSON != "" {
		b, err := json.MarshalIndent(outcomes, "", "  ")
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		if err := os.WriteFile(o.JSON, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	p := o.page(&outcomes)
	if o.HTML != "" {
		f, err := os.Create(o.HTML)
		if err != nil {
			return err
		}
		if err := errors.Join(p.HTML(f), f.Close()); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return p.Markdown(out)
}

// simulate runs a design in virtual time.
func (o *Options) simulate(d design) (*World, error) {
	cfg := sim.DefaultConfig()
	cfg.World, cfg.Params = true, d.params
	cfg.Validators, cfg.Slots, cfg.Seed, cfg.Load = o.Validators, o.Slots, o.Seed, o.Load
	cfg.Machine.ExecuteTransaction = o.Execute
	s, err := sim.New(cfg)
	if errors.Is(err, sim.ErrConfig) {
		return nil, &SetupError{err}
	}
	if err != nil {
		return nil, err
	}
	r, err := s.Run()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	w := &World{
		Seconds: r.Virtual.Seconds(), Validators: o.Validators, Slots: r.Slots, Skipped: r.Skipped, Bytes: r.Bytes,
		Verified: r.World.Verified, Cities: r.World.Cities,
	}
	for _, n := range r.World.Egress {
		w.BytesMax = max(w.BytesMax, n)
	}
	return w, nil
}

// run runs a design as a devnet, in a directory that is removed.
func (o *Options) run(ctx context.Context, d design) (*devnet.Summary, error) {
	dir, err := os.MkdirTemp("", "tutti-compare-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "summary.json")
	err = devnet.Run(ctx, devnet.Options{
		Validators: o.LocalValidators, Params: d.params, Ledger: filepath.Join(dir, "ledger"),
		Load: o.LocalLoad, Duration: o.LocalTime, Summary: file,
	}, io.Discard)
	var wrong *devnet.SetupError
	if errors.As(err, &wrong) {
		return nil, &SetupError{err}
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s := &devnet.Summary{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("summary of a devnet: %w", err)
	}
	return s, nil
}
