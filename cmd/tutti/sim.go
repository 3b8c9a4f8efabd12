package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tutti/cluster"
	"tutti/sim"
)

// newSimCommand returns `tutti sim`: a whole cluster in virtual time.
func newSimCommand() *cobra.Command {
	cfg := sim.DefaultConfig()
	var (
		proposers        int
		execution, seeds string
		scenario         string
		nudges           []string
		jobs             int
	)
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run a cluster in virtual time from a seed",
		Long: `Run a cluster of validators in virtual time, in this process, and check what the
protocol promises at every step. The same flags give the same trace.

With --seeds A..B one line a seed says what it came to; the exit code is 1 if
one of them did not pass.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Params = cluster.LocalParams(proposers)
			var err error
			if scenario != "" {
				if cfg.Scenario, err = sim.ParseScenario(scenario); err != nil {
					return usage("%w", err)
				}
			}
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
			if jobs < 1 {
				return usage("--jobs %d: want 1 or more", jobs)
			}
			if seeds != "" {
				from, to, err := parseSeeds(seeds)
				if err != nil {
					return usage("%w", err)
				}
				return runSeeds(cmd.OutOrStdout(), cfg, from, to, jobs)
			}
			return runSim(cmd, cfg)
		},
	}
	f := cmd.Flags()
	f.IntVar(&cfg.Validators, "validators", cfg.Validators, "number of validators")
	f.Uint64Var((*uint64)(&cfg.Slots), "slots", uint64(cfg.Slots), "slots to run")
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "seed of everything random")
	f.StringVar(&seeds, "seeds", "", "A..B: run all these seeds instead, one line each")
	f.IntVar(&jobs, "jobs", 2, "seeds to run at a time")
	f.BoolVar(&cfg.Faults, "faults", false, "let things go wrong, drawn from the seed")
	f.BoolVar(&cfg.Severe, "severe", false, "with --faults: go beyond what a network must live with, and judge safety alone")
	f.BoolVar(&cfg.Adversaries, "adversaries", false, "make nodes with less than a third of the stake dishonest, drawn from the seed")
	f.StringVar(&scenario, "scenario", "", "run one of "+sim.ScenarioNames()+", which gives all but the seed")
	f.BoolVar(&cfg.Story, "story", false, "tell what happened, slot by slot")
	f.BoolVar(&cfg.Unshared, "unshared", false, "let each node compute everything itself: the same run, much slower")
	f.IntVar(&proposers, "proposers", cfg.Params.Proposers, "proposers at once (N)")
	f.IntVar(&cfg.Fanout, "fanout", cfg.Fanout, "Turbine fanout (0: genesis default; with faults or adversaries drawn from the seed)")
	f.StringVar(&execution, "execution", cfg.Params.Execution.String(), "async, or sync to vote only after executing")
	f.IntVar(&cfg.Load, "load", cfg.Load, "transactions that clients submit per virtual second")
	f.DurationVar(&cfg.Network.LatencyMin, "latency-min", cfg.Network.LatencyMin, "lowest latency of a link")
	f.DurationVar(&cfg.Network.LatencyMax, "latency-max", cfg.Network.LatencyMax, "highest latency of a link")
	f.DurationVar(&cfg.Network.Jitter, "latency-jitter", cfg.Network.Jitter, "what a single message may take longer")
	f.Float64Var(&cfg.Network.Loss, "loss", cfg.Network.Loss, "share of messages that get lost, 0 to 1")
	f.StringArrayVar(&nudges, "nudge", nil, "FROM,TO,NANOSECONDS: make the link from one node to another slower")
	f.VisitAll(func(other *pflag.Flag) {
		if !slices.Contains([]string{"scenario", "seed", "seeds", "jobs", "story", "unshared"}, other.Name) {
			cmd.MarkFlagsMutuallyExclusive("scenario", other.Name)
		}
	})
	cmd.MarkFlagsMutuallyExclusive("seeds", "seed")
	cmd.MarkFlagsMutuallyExclusive("seeds", "story")
	cmd.AddCommand(newForgeriesCommand(), newFeedLeaderCommand(), newAdversariesCommand())
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
	if storyErr := s.Story(cmd.OutOrStdout()); err == nil {
		err = storyErr
	}
	if printErr := result.Print(cmd.OutOrStdout(), time.Since(began)); err == nil {
		err = printErr
	}
	return err
}

// runSeeds runs many seeds and prints a line for each.
func runSeeds(out io.Writer, cfg sim.Config, from, to uint64, jobs int) error {
	if err := cfg.Validate(); err != nil {
		return usage("%w", err)
	}
	cfg.Story = false
	began := time.Now()
	var virtual time.Duration
	passed, failed := 0, 0
	var proofs sim.Proofs
	var progress sim.Progress
	conflicts, rooted, parted := 0, 0, 0
	sim.RunSeeds(cfg, from, to, jobs, func(o sim.Outcome) {
		r := &o.Result
		virtual += r.Virtual
		fmt.Fprintf(out, "seed %d %v: %d blocks, %d skipped, %d abandoned, %d rooted, %d crashes, fanout %d, trace %x, %v",
			o.Seed, o.Verdict, r.Blocks, r.Skipped, r.Abandoned, r.Rooted.Some, r.Crashes, r.Fanout, r.Trace[:4], o.Took.Round(100*time.Millisecond))
		for _, more := range []string{r.Dishonest, r.Faults, r.Figures} {
			if more != "" {
				fmt.Fprintf(out, "; %s", strings.ReplaceAll(more, "\n", "; "))
			}
		}
		if r.Progress.Healed > 0 {
			progress.Add(r.Progress)
			fmt.Fprintf(out, "; %v", r.Progress)
		}
		if r.Rooted.Some > 0 {
			rooted++
		}
		if r.RootedParted > 0 {
			parted++
			fmt.Fprintf(out, "; %d new roots on nodes while parted", r.RootedParted)
		}
		if r.Conflicts > 0 {
			conflicts++
			fmt.Fprintf(out, "; %d confirmed blocks in conflict", r.Conflicts)
		}
		if r.Proofs.Twice > 0 {
			proofs.Add(r.Proofs)
			fmt.Fprintf(out, "; %v", r.Proofs)
		}
		fmt.Fprintln(out)
		if o.Err == nil {
			passed++
			return
		}
		failed++
		again := cfg
		again.Seed = o.Seed
		fmt.Fprintf(out, "  %v\n  again: %s\n", o.Err, again.Command())
	})
	took := time.Since(began)
	fmt.Fprintf(out, "%v virtual in %v real: %.1f virtual hours per hour\n",
		virtual.Round(time.Second), took.Round(time.Second), virtual.Seconds()/took.Seconds())
	if progress.Healed > 0 {
		fmt.Fprintln(out, progress)
	}
	fmt.Fprintf(out, "roots in %d of %d seeds", rooted, passed+failed)
	if parted > 0 {
		fmt.Fprintf(out, ", in %d of them new ones while the network was parted", parted)
	}
	fmt.Fprintln(out)
	if proofs.Twice > 0 {
		fmt.Fprintln(out, proofs)
	}
	if conflicts > 0 {
		fmt.Fprintf(out, "confirmed blocks in conflict in %d seeds, all with more than 4.67 %% of dishonest stake; no roots\n", conflicts)
	}
	fmt.Fprintf(out, "%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		return fmt.Errorf("%d of %d seeds failed", failed, passed+failed)
	}
	return nil
}

// parseSeeds reads A..B, or one seed.
func parseSeeds(s string) (from, to uint64, err error) {
	first, last, ok := strings.Cut(s, "..")
	if !ok {
		last = first
	}
	from, err = strconv.ParseUint(first, 10, 64)
	if err == nil {
		to, err = strconv.ParseUint(last, 10, 64)
	}
	if err != nil || from > to {
		return 0, 0, fmt.Errorf("seeds %q: want A..B", s)
	}
	return from, to, nil
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
