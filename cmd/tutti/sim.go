package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tutti/cluster"
	"tutti/sim"
)

// newSimCommand returns `tutti sim`: a whole cluster in virtual time.
func newSimCommand() *cobra.Command {
	cfg := sim.DefaultConfig()
	var (
		proposers, fanout int
		execution         string
		nudges            []string
	)
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run a cluster in virtual time from a seed",
		Long: "Run a cluster of validators in virtual time, in this process, and check what the\n" +
			"protocol promises at every step. The same flags give the same trace.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Params = cluster.LocalParams(proposers)
			if fanout > 0 {
				cfg.Params.Fanout = fanout
			}
			var err error
			if cfg.Params.Execution, err = cluster.ParseExecution(execution); err != nil {
				return usage("%w", err)
			}
			for _, n := range nudges {
				nudge, err := parseNudge(n)
				if err != nil {
					return usage("%w", err)
				}
				cfg.Network.Nudges = append(cfg.Network.Nudges, nudge)
			}
			return runSim(cmd, cfg)
		},
	}
	f := cmd.Flags()
	f.IntVar(&cfg.Validators, "validators", cfg.Validators, "number of validators")
	f.Uint64Var((*uint64)(&cfg.Slots), "slots", uint64(cfg.Slots), "slots to run")
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "seed of everything random")
	f.IntVar(&proposers, "proposers", cfg.Params.Proposers, "proposers at once (N)")
	f.IntVar(&fanout, "fanout", 0, "Turbine fanout (0: genesis default)")
	f.StringVar(&execution, "execution", cfg.Params.Execution.String(), "async, or sync to vote only after executing")
	f.IntVar(&cfg.Load, "load", cfg.Load, "transactions that clients submit per virtual second")
	f.DurationVar(&cfg.Network.LatencyMin, "latency-min", cfg.Network.LatencyMin, "lowest latency of a link")
	f.DurationVar(&cfg.Network.LatencyMax, "latency-max", cfg.Network.LatencyMax, "highest latency of a link")
	f.DurationVar(&cfg.Network.Jitter, "latency-jitter", cfg.Network.Jitter, "what a single message may take longer")
	f.Float64Var(&cfg.Network.Loss, "loss", cfg.Network.Loss, "share of messages that get lost, 0 to 1")
	f.StringArrayVar(&nudges, "nudge", nil, "FROM,TO,NANOSECONDS: make the link from one node to another slower")
	return cmd
}

func runSim(cmd *cobra.Command, cfg sim.Config) error {
	s, err := sim.New(cfg)
	if errors.Is(err, sim.ErrConfig) {
		return usage("%w", err)
	}
	if err != nil {
		return err
	}
	began := time.Now()
	result, err := s.Run()
	if printErr := result.Print(cmd.OutOrStdout(), time.Since(began)); err == nil {
		err = printErr
	}
	return err
}

// parseNudge reads FROM,TO,NANOSECONDS.
func parseNudge(s string) (sim.Nudge, error) {
	parts := strings.Split(s, ",")
	if len(parts) != 3 {
		return sim.Nudge{}, fmt.Errorf("nudge %q: want FROM,TO,NANOSECONDS", s)
	}
	var numbers [3]int
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil {
			return sim.Nudge{}, fmt.Errorf("nudge %q: %w", s, err)
		}
		numbers[i] = n
	}
	return sim.Nudge{From: numbers[0], To: numbers[1], By: time.Duration(numbers[2])}, nil
}
