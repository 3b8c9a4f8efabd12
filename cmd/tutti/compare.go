package main

import (
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/compare"
)

// newCompareCommand compares many proposers with one leader.
func newCompareCommand() *cobra.Command {
	var o compare.Options
	c := &cobra.Command{
		Use:   "compare",
		Short: "Compare many proposers with one leader, in the world and on this machine",
		Long: "Put the same load on two designs, with the same code: N proposers with asynchronous\n" +
			"execution, and the leader alone with votes after execution. Both run in a simulation of\n" +
			"the world, with clients in all regions, and then as devnets on this machine. The report\n" +
			"goes to standard output as Markdown.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Command = strings.Join(append([]string{"tutti"}, os.Args[1:]...), " ")
			err := compare.Run(c.Context(), o, c.OutOrStdout(), c.ErrOrStderr())
			var wrong *compare.SetupError
			if errors.As(err, &wrong) {
				return usage("%w", err)
			}
			return err
		},
	}
	f := c.Flags()
	f.IntVar(&o.Proposers, "proposers", 8, "proposers at once (N) of the first design")
	f.IntVar(&o.Validators, "validators", 20, "simulated validators, in all regions")
	f.Uint64Var((*uint64)(&o.Slots), "slots", 200, "slots to simulate")
	f.IntVar(&o.Load, "load", 200, "transfers a second of the simulated clients together")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the simulation")
	f.DurationVar(&o.Execute, "execute", 100*time.Microsecond, "what a simulated validator takes to execute a transfer")
	f.BoolVar(&o.Local, "local", true, "compare on this machine, too")
	f.IntVar(&o.LocalValidators, "local-validators", 4, "validators on this machine")
	f.IntVar(&o.LocalLoad, "local-load", 500, "transfers a second on this machine")
	f.DurationVar(&o.LocalTime, "local-duration", 30*time.Second, "time of each run on this machine")
	f.StringVar(&o.JSON, "json", "", "write all figures as JSON to this file")
	f.StringVar(&o.HTML, "html", "", "write the report with charts as one HTML page to this file")
	return c
}
