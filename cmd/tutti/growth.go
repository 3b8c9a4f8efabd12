package main

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tutti/cmd/tutti/growth"
	"tutti/cmd/tutti/measure"
)

// newGrowthCommand measures what clusters cost as they grow.
func newGrowthCommand() *cobra.Command {
	o := growth.Options{Simulation: measure.Simulation{Slots: 80}, Devnet: measure.Devnet{Load: 200}}
	var lanes, accounts, validators, world, memory []int
	c := &cobra.Command{
		Use:   "growth",
		Short: "Measure what a cluster costs as it grows: in lanes, accounts and validators",
		Long: "Measure what a cluster costs as it grows, under the same load: devnets on this machine with\n" +
			"more and more lanes, accounts and validators, and simulated clusters all over the world. The\n" +
			"report goes to standard output as Markdown; every figure stands there as a multiple of that\n" +
			"of the smallest cluster, too. Ctrl-C ends it with what was measured so far.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Command = strings.Join(append([]string{"tutti"}, os.Args[1:]...), " ")
			o.Sizes = map[string][]int{
				growth.Lanes: lanes, growth.Accounts: accounts, growth.Validators: validators, growth.World: world, growth.Memory: memory,
			}
			return setupIsUsage(growth.Run(c.Context(), o, c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.Only, "only", nil, "series to measure, of "+strings.Join(growth.Names, ", ")+" (default: all but memory)")
	f.IntSliceVar(&lanes, "lanes", []int{1, 2, 4, 8}, "proposers at once (N), on this machine; each needs a validator")
	f.IntSliceVar(&accounts, "accounts", []int{10_000, 100_000, 1_000_000}, "accounts in genesis, on this machine")
	f.IntSliceVar(&validators, "validators", []int{4, 7, 10}, "validators on this machine")
	f.IntSliceVar(&world, "world", []int{10, 30, 100, 300}, "simulated validators in all regions")
	f.IntSliceVar(&memory, "memory", []int{30}, "minutes for which the memory of validators on this machine is followed")
	f.IntVar(&o.Proposers, "proposers", 4, "proposers at once where lanes do not grow")
	measureFlags(f, &o.Simulation, &o.Devnet, &o.Files)
	return c
}

// measureFlags registers what commands have that simulate the world and run
// devnets. Slots and the load of devnets keep their values by default.
func measureFlags(f *pflag.FlagSet, s *measure.Simulation, d *measure.Devnet, files *measure.Files) {
	f.Uint64Var((*uint64)(&s.Slots), "slots", uint64(s.Slots), "slots to simulate")
	f.IntVar(&s.Load, "load", 200, "transfers a second of the simulated clients together")
	f.Uint64Var(&s.Seed, "seed", 1, "seed of the simulation")
	f.DurationVar(&s.Execute, "execute", 100*time.Microsecond, "what a simulated validator takes to execute a transfer")
	f.IntVar(&d.Validators, "local-validators", 4, "validators on this machine")
	f.IntVar(&d.Load, "local-load", d.Load, "transfers a second on this machine")
	f.DurationVar(&d.Duration, "local-duration", 30*time.Second, "time of each run on this machine")
	f.StringVar(&files.JSON, "json", "", "write all figures as JSON to this file")
	f.StringVar(&files.HTML, "html", "", "write the report with charts as one HTML page to this file")
}
