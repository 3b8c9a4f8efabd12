// Package growth measures what a cluster costs as it grows: with the lanes,
// the accounts and the validators of devnets on this machine, and with the
// validators of a simulation of the world. Each series changes one size and
// keeps the load; the report has every figure as a multiple of that of the
// series' first size, too.
package growth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"tutti/cluster"
	"tutti/cmd/tutti/bench"
	"tutti/cmd/tutti/devnet"
	"tutti/cmd/tutti/load"
	"tutti/cmd/tutti/measure"
	"tutti/cmd/tutti/setup"
	"tutti/ledger"
	"tutti/sim"
)

// The series.
const (
	Lanes      = "lanes"
	Accounts   = "accounts"
	Validators = "validators"
	World      = "world"
	// Memory is one devnet that runs for minutes: its size is their number.
	Memory = "memory"
)

// Names are those of all series, in the order in which they are measured.
var Names = []string{Lanes, Accounts, Validators, World, Memory}

// Options say what to measure.
type Options struct {
	// Command is what the user typed.
	Command string
	// Only names the series to measure; none stands for all but Memory, which
	// takes longer than all others.
	Only []string
	// Sizes are those of each series, by its name, ascending. Devnet.Validators is how
	// many validators those devnets have whose validators do not grow; more,
	// if there are more lanes, since each lane needs a validator of its own.
	Sizes map[string][]int
	// Proposers is N where lanes do not grow.
	Proposers  int
	Devnet     measure.Devnet
	Simulation measure.Simulation
	Files      measure.Files
}

// sizesMax are the largest sizes.
var sizesMax = map[string]int{
	Lanes: ledger.LanesMax, Accounts: devnet.AccountsMax, Validators: devnet.ValidatorsMax, World: sim.ValidatorsMax, Memory: 24 * 60,
}

// memoryLedger is how many shreds validators keep whose memory is measured: few,
// so that what they keep of their ledgers in memory soon stays the same.
const memoryLedger = 100_000

func (o *Options) check() error {
	for _, name := range o.Only {
		if !slices.Contains(Names, name) {
			return setup.Errorf("no series %q: use %s", name, strings.Join(Names, ", "))
		}
	}
	if o.Proposers < 1 || o.Proposers > ledger.LanesMax {
		return setup.Errorf("%d proposers: use 1 to %d", o.Proposers, ledger.LanesMax)
	}
	for _, name := range Names {
		if !o.wanted(name) {
			continue
		}
		if len(o.Sizes[name]) == 0 {
			return setup.Errorf("no sizes for %s: name one or more with --%s", name, name)
		}
		for i, size := range o.Sizes[name] {
			if size < 1 || size > sizesMax[name] {
				return setup.Errorf("--%s %d: use 1 to %d", name, size, sizesMax[name])
			}
			if i > 0 && size <= o.Sizes[name][i-1] {
				return setup.Errorf("--%s %d after %d: name the smallest first", name, size, o.Sizes[name][i-1])
			}
		}
	}
	if o.wanted(World) {
		if err := o.Simulation.Check(); err != nil {
			return err
		}
	}
	if o.wanted(Lanes) || o.wanted(Accounts) || o.wanted(Validators) || o.wanted(Memory) {
		if err := o.Devnet.Check(); err != nil {
			return err
		}
	}
	return o.Files.Check()
}

func (o *Options) wanted(name string) bool {
	return len(o.Only) == 0 && name != Memory || slices.Contains(o.Only, name)
}

// Report is all that was measured.
type Report struct {
	Command string   `json:"command"`
	Series  []Series `json:"series"`
	// Interrupted says that not all was measured that was wanted.
	Interrupted bool `json:"interrupted"`
}

// Series is what one size did to a cluster.
type Series struct {
	Name string `json:"name"`
	// Validators is how many there are, 0 if their number is what grows.
	Validators int   `json:"validators,omitempty"`
	Rows       []Row `json:"rows"`
}

// Row is what a cluster of one size came to: Local or World, or an Error.
type Row struct {
	Size    int             `json:"size"`
	Offered int             `json:"offered_per_second"`
	Error   string          `json:"error,omitempty"`
	Local   *devnet.Summary `json:"local,omitempty"`
	// Stages is where the validators' processor time went, in microseconds a
	// transaction that was offered: a backlog then changes nothing.
	Stages map[string]float64 `json:"stages_us_per_offered_tx,omitempty"`
	World  *InWorld           `json:"world,omitempty"`
}

// InWorld is what a simulation came to.
type InWorld struct {
	// World is without cities: LatencyMS has, by level, what all of them saw.
	measure.World
	LatencyMS map[string]Quantiles `json:"latency_ms"`
	Submitted int                  `json:"submitted"`
	Landed    int                  `json:"landed"`
}

// Quantiles are latencies in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// Run measures one series after the other, and writes the report as Markdown
// to out, and to the files after each size. If ctx is done it leaves the rest
// out, which is no error; a size that fails is one, in the end. A
// *setup.Error says that it cannot measure as asked.
func Run(ctx context.Context, o Options, out, progress io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	r := &Report{Command: o.Command}
	var failed []error
	for _, name := range Names {
		if !o.wanted(name) || r.Interrupted {
			continue
		}
		r.Series = append(r.Series, Series{Name: name, Validators: o.validators(name)})
		s := &r.Series[len(r.Series)-1]
		for i, size := range o.Sizes[name] {
			fmt.Fprintf(progress, "%s, %d of %d: %s\n", name, i+1, len(o.Sizes[name]), o.describe(s, size))
			began := time.Now()
			row := Row{Size: size}
			err := o.measure(ctx, s, &row, progress)
			if ctx.Err() != nil {
				r.Interrupted = true
				break
			}
			if err != nil {
				row.Error = err.Error()
				failed = append(failed, fmt.Errorf("%s %d: %w", name, size, err))
				fmt.Fprintf(progress, "  failed: %v\n", err)
			}
			fmt.Fprintf(progress, "  %v\n", time.Since(began).Round(time.Second))
			s.Rows = append(s.Rows, row)
			if err := o.Files.Write(r, o.page(r)); err != nil {
				return err
			}
		}
	}
	p := o.page(r)
	return errors.Join(append(failed, o.Files.Write(r, p), p.Markdown(out))...)
}

// validators returns how many validators all sizes of a series have, 0 if
// that is what grows.
func (o *Options) validators(series string) int {
	switch series {
	case Lanes:
		return max(o.Devnet.Validators, slices.Max(o.Sizes[Lanes]))
	case Accounts, Memory:
		return o.Devnet.Validators
	}
	return 0
}

// describe says what is measured for one size.
func (o *Options) describe(s *Series, size int) string {
	if s.Name == World {
		return fmt.Sprintf("%d simulated validators for %d slots, %d transfers a second", size, o.Simulation.Slots, o.Simulation.Load)
	}
	d, of := o.local(s, size)
	text := fmt.Sprintf("%d validators, %d lanes", d.Validators, of.Params.Proposers)
	if of.Accounts > 0 {
		text += fmt.Sprintf(", %d accounts", of.Accounts)
	}
	return fmt.Sprintf("%s, %d transfers a second for %v", text, d.Load, d.Duration)
}

// local returns the devnet of a series' size.
func (o *Options) local(s *Series, size int) (measure.Devnet, devnet.Options) {
	d, lanes := o.Devnet, o.Proposers
	var of devnet.Options
	d.Validators = s.Validators
	switch s.Name {
	case Lanes:
		lanes = size
	case Accounts:
		of.Accounts = size
	case Validators:
		d.Validators = size
	case Memory:
		d.Duration = time.Duration(size) * time.Minute
		of.LimitLedgerSize = memoryLedger
	}
	of.Params = cluster.LocalParams(lanes)
	return d, of
}

// measure fills in a row.
func (o *Options) measure(ctx context.Context, s *Series, row *Row, progress io.Writer) (err error) {
	if s.Name != World {
		d, of := o.local(s, row.Size)
		row.Offered = d.Load
		if s.Name == Memory {
			row.Local, err = d.Run(ctx, of)
			return err
		}
		of.Idle = d.Duration / 3
		of.Loading = func(ctx context.Context, ledger string) {
			// Not from the first second on, and not to the end.
			if !load.Sleep(ctx, time.Second) {
				return
			}
			s, err := bench.MeasureStages(ctx, bench.ProfileOptions{Devnet: ledger, Seconds: int(d.Duration.Seconds()) - 3})
			if err != nil {
				fmt.Fprintf(progress, "  no profile: %v\n", err)
				return
			}
			row.Stages = map[string]float64{}
			for stage, t := range s.Times {
				row.Stages[stage] = float64(t.Microseconds()) / float64(d.Load*s.Seconds)
			}
		}
		row.Local, err = d.Run(ctx, of)
		return err
	}
	row.Offered = o.Simulation.Load
	w, err := o.Simulation.Run(ctx, row.Size, cluster.LocalParams(o.Proposers), progress)
	if err != nil {
		return err
	}
	row.World = &InWorld{World: *w, LatencyMS: map[string]Quantiles{}}
	row.World.Submitted, row.World.Landed = w.Transfers()
	for _, level := range measure.Levels {
		all := level.All(w)
		row.World.LatencyMS[level.Name] = Quantiles{ms(measure.Quantile(all, 50)), ms(measure.Quantile(all, 99))}
	}
	row.World.World.Cities = nil
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
