package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
		RunE: func(c *cobra.Command, _ []string) error { return runDevnet(c, &o, &params) },
	}
	flags := c.Flags()
	devnetFlags(flags, &o)
	flags.IntVar(&o.Load, "load", 0, "transfers to send per second")
	flags.DurationVar(&o.Duration, "duration", 0, "end the load, and the devnet, after this time (default: at Ctrl-C)")
	params.register(flags)
	c.AddCommand(newFaultsCommand())
	return c
}

// devnetFlags registers what all devnets have.
func devnetFlags(flags *pflag.FlagSet, o *devnet.Options) {
	flags.IntVar(&o.Validators, "validators", 4, "number of validators")
	flags.StringVarP(&o.Ledger, "ledger", "l", "devnet-ledger", "directory for keys, genesis and ledgers")
	flags.BoolVarP(&o.Reset, "reset", "r", false, "remove what an earlier run left in the directory")
	flags.IntVar(&o.Accounts, "accounts", 0, "accounts of a new ledger to which the load's transfers go (default: only the payers)")
	flags.IntVar(&o.RPCPort, "rpc-port", 0, "first validator's port for JSON-RPC, the next one for WebSocket (default 8899 or the next free one)")
	flags.StringVar(&o.Summary, "summary", "", "write a summary as JSON to this file")
	flags.Float64Var(&o.Drop, "drop", 0, "share of the messages between validators to lose on purpose")
	flags.DurationVar(&o.Links.Latency, "latency", 0, "delay all packets between validators by so much (needs root, as --jitter, --loss and --bandwidth do)")
	flags.DurationVar(&o.Links.Jitter, "jitter", 0, "delay all packets between validators by up to so much more, at random")
	flags.Float64Var(&o.Links.Loss, "loss", 0, "share of all packets between validators to lose")
	flags.Float64Var(&o.Links.Bandwidth, "bandwidth", 0, "bytes per second from one validator to another (default: no limit)")
	flags.Uint64Var(&o.LimitLedgerSize, "limit-ledger-size", 0, "shreds that each validator keeps (default 10000000)")
}

// killsDefault is for a run that names no fault.
const killsDefault = 50

// newFaultsCommand runs a devnet whose validators are killed.
func newFaultsCommand() *cobra.Command {
	o := devnet.Options{CanSlow: canSlow, Faults: &devnet.Faults{}}
	var params paramFlags
	c := &cobra.Command{
		Use:   "faults",
		Short: "Kill, pause and cut off validators of a devnet, and check what all say",
		Long: "Run a devnet, kill and pause its validators at random moments, start them again on their\n" +
			"ledgers, or cut some off from the others for a while, and check all the time that none\n" +
			"contradicts its votes, that all compute the same, that nothing confirmed is lost, and that\n" +
			"the others go on. The same seed makes the same choices.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("seed") {
				o.Faults.Seed = rand.Uint64()
			}
			if c.Flags().Changed("for") && o.Faults.Cut == 0 && o.Faults.Slow == 0 {
				return usage("--for is about validators that are cut off, or slow executors: say --cut or --slow-executors")
			}
			if o.Faults.None() {
				o.Faults.Kills = killsDefault
			}
			return runDevnet(c, &o, &params)
		},
	}
	flags := c.Flags()
	devnetFlags(flags, &o)
	flags.IntVar(&o.Load, "load", 200, "transfers to send per second")
	flags.IntVar(&o.Faults.Kills, "kill", 0, "times to kill one validator, with signal 9; it is down for 2 to 8 seconds (default 50 if there is no other fault)")
	flags.IntVar(&o.Faults.Pauses, "pause", 0, "times to stop one validator for 10 seconds, with SIGSTOP")
	flags.IntVar(&o.Faults.Pairs, "kill-two", 0, "times to kill two validators at once")
	flags.IntVar(&o.Faults.Alls, "kill-all", 0, "times to kill all validators at once")
	flags.IntVar(&o.Faults.Cut, "cut", 0, "validators to cut off from the others, once (needs root)")
	flags.Float64Var(&o.Faults.Slow, "slow-executors", 0, "have all executors take so many times their time (needs a build with -tags planted)")
	flags.DurationVar(&o.Faults.For, "for", time.Minute, "how long to cut validators off, or to have slow executors")
	flags.BoolVar(&o.Faults.OneWay, "one-way", false, "those that are cut off hear the others, and are not heard")
	flags.Uint64Var(&o.Faults.Seed, "seed", 0, "seed of all choices (default: a random one, which is shown)")
	flags.BoolVar(&o.Faults.Control, "control", false, "check the checks: killed validators lose their towers, and it is an error if nothing is found wrong")
	params.register(flags)
	return c
}

// runDevnet runs a devnet until it is over.
func runDevnet(c *cobra.Command, o *devnet.Options, params *paramFlags) error {
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
	err = devnet.Run(c.Context(), *o, c.OutOrStdout())
	if errors.Is(err, devnet.ErrNoNetwork) {
		return &exitError{exitNoNetwork, err}
	}
	return setupIsUsage(err)
}
