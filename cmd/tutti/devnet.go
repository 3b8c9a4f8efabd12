package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/devnet"
)

// newDevnetCommand runs a whole cluster on this machine.
func newDevnetCommand() *cobra.Command {
	var o devnet.Options
	var params paramFlags
	c := &cobra.Command{
		Use:   "devnet",
		Short: "Run a cluster of validators on this machine, with load if wanted",
		Long: "Run a cluster of validators on this machine, each a process with its own keys, ports and\n" +
			"ledger, until Ctrl-C or the duration is over. With --load, signed transfers are sent at a\n" +
			"fixed rate, whatever the cluster does, and followed from the time at which each was due.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Params, err = params.params(); err != nil {
				return err
			}
			if _, err := readGenesis(o.Ledger); err == nil && !o.Reset {
				if names := params.changed(); len(names) > 0 {
					fmt.Fprintf(c.ErrOrStderr(), "Warning: %s: the ledger in %s has its own genesis; --reset makes a new one\n",
						strings.Join(names, ", "), o.Ledger)
				}
			}
			err = devnet.Run(c.Context(), o, c.OutOrStdout())
			var wrong *devnet.SetupError
			if errors.As(err, &wrong) {
				return usage("%w", err)
			}
			return err
		},
	}
	flags := c.Flags()
	flags.IntVar(&o.Validators, "validators", 4, "number of validators")
	flags.StringVarP(&o.Ledger, "ledger", "l", "devnet-ledger", "directory for keys, genesis and ledgers")
	flags.BoolVarP(&o.Reset, "reset", "r", false, "remove what an earlier run left in the directory")
	flags.IntVar(&o.RPCPort, "rpc-port", 0, "first validator's port for JSON-RPC, the next one for WebSocket (default 8899 or the next free one)")
	flags.IntVar(&o.Load, "load", 0, "transfers to send per second")
	flags.DurationVar(&o.Duration, "duration", 0, "end the load, and the devnet, after this time (default: at Ctrl-C)")
	flags.StringVar(&o.Summary, "summary", "", "write a summary as JSON to this file")
	flags.Float64Var(&o.Drop, "drop", 0, "share of the messages between validators to lose on purpose")
	flags.Uint64Var(&o.LimitLedgerSize, "limit-ledger-size", 0, "shreds that each validator keeps (default 10000000)")
	params.register(flags)
	return c
}
