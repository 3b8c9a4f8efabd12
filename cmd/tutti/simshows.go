package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tutti/sim"
)

// newForgeriesCommand returns `tutti sim forgeries`: inconsistent FEC sets have
// one verdict.
func newForgeriesCommand() *cobra.Command {
	var (
		seed uint64
		sets int
	)
	cmd := &cobra.Command{
		Use:   "forgeries",
		Short: "Forge FEC sets and see that all nodes come to one verdict",
		Long: `Forge FEC sets whose shreds all have proofs that lead to the signed root, but
which decode to different data by which shreds are used. Nodes that get 32 to 64
of a set's shreds, in any order, must all refuse it (PROTOCOL section 4, rule 2).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if sets < 1 {
				return usage("--sets %d: want 1 or more", sets)
			}
			v, err := sim.JudgeForgeries(seed, sets)
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), v.String())
			if v.Split+v.Fooled > 0 {
				return errors.New("not one right verdict on every set")
			}
			return nil
		},
	}
	cmd.Flags().Uint64Var(&seed, "seed", 1, "seed of everything random")
	cmd.Flags().IntVar(&sets, "sets", 10_000, "sets to forge")
	return cmd
}

// newFeedLeaderCommand returns `tutti sim feed-leader`: a proposer that feeds
// only the leader cannot kill the slot.
func newFeedLeaderCommand() *cobra.Command {
	cfg := sim.DefaultConfig()
	cfg.Validators, cfg.Slots, cfg.Load = 8, 1000, 40
	cmd := &cobra.Command{
		Use:   "feed-leader",
		Short: "Let one of the proposers feed only the leader, and see what it does",
		Long: `Run one cluster three times: with all honest; with the proposer of lane 0 giving
its shreds to nobody but the leader, all the time, whoever it is; and the same
with leaders that do not broadcast what they name (PROTOCOL section 5). The exit
code is 1 if the second loses more than 5 % of slots against the first, or less
than 95 % of votes are cast.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := sim.FeedLeader(cfg)
			if errors.Is(err, sim.ErrConfig) {
				return usage("%w", err)
			}
			if err != nil {
				return err
			}
			if err := f.Print(cmd.OutOrStdout()); err != nil {
				return err
			}
			return f.Missed()
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "seed of everything random")
	f.IntVar(&cfg.Validators, "validators", cfg.Validators, "number of validators")
	f.Uint64Var((*uint64)(&cfg.Slots), "slots", uint64(cfg.Slots), "slots to run")
	f.IntVar(&cfg.Load, "load", cfg.Load, "transactions that clients submit per virtual second")
	return cmd
}

// newAdversariesCommand returns `tutti sim adversaries`: what each kind of
// dishonesty costs.
func newAdversariesCommand() *cobra.Command {
	cfg := sim.DefaultConfig()
	cfg.Validators, cfg.Slots, cfg.Load = 7, 80, 40
	cmd := &cobra.Command{
		Use:   "adversaries",
		Short: "Run a cluster with each kind of dishonest node",
		Long: `Run a cluster once for each kind of dishonest node, and tell what it cost: all
promises must hold for the honest ones, and they must go on. "next" are those of
the lost slots that follow one of a dishonest leader. A tower roots a vote with
the 32nd after it; each vote that a lost slot lets expire makes that later.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			kinds, failed := 0, 0
			err := sim.RunAdversaries(cfg, func(name string, o sim.Outcome) {
				if kinds++; kinds == 1 {
					fmt.Fprintf(out, "%-45s  verdict     confirmed  honest slots lost  root lag  FEC sets  contacts  requests  repaired\n",
						fmt.Sprintf("%d slots, %d nodes", cfg.Slots, cfg.Validators))
				}
				r := &o.Result
				fmt.Fprintf(out, "%-45s  %-10v  %9d  %17s  %8d  %8d  %8d  %8d  %8d\n", name, o.Verdict, r.Confirmed.Some,
					fmt.Sprintf("%d (%d next)", r.HonestLost, r.HonestNext), r.RootLag, r.Kept.Sets, r.Kept.Contacts, r.Kept.Requests, r.Repaired)
				if o.Err != nil {
					failed++
					fmt.Fprintf(out, "  %v\n", o.Err)
				}
			})
			if errors.Is(err, sim.ErrConfig) {
				return usage("%w", err)
			}
			if err != nil {
				return err
			}
			if failed > 0 {
				return fmt.Errorf("%d kinds broke something", failed)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "seed of everything random")
	f.IntVar(&cfg.Validators, "validators", cfg.Validators, "number of validators")
	f.Uint64Var((*uint64)(&cfg.Slots), "slots", uint64(cfg.Slots), "slots to run")
	f.IntVar(&cfg.Load, "load", cfg.Load, "transactions that clients submit per virtual second")
	return cmd
}
