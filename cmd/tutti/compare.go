package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/compare"
	"tutti/cmd/tutti/measure"
)

// newCompareCommand compares many proposers with one leader.
func newCompareCommand() *cobra.Command {
	o := compare.Options{Simulation: measure.Simulation{Slots: 200}, Devnet: measure.Devnet{Load: 500}}
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
			return setupIsUsage(compare.Run(c.Context(), o, c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	f := c.Flags()
	f.IntVar(&o.Proposers, "proposers", 8, "proposers at once (N) of the first design")
	f.IntVar(&o.Validators, "validators", 20, "simulated validators, in all regions")
	f.BoolVar(&o.Local, "local", true, "compare on this machine, too")
	measureFlags(f, &o.Simulation, &o.Devnet, &o.Files)
	return c
}
