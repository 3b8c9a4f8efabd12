package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/leader"
	"tutti/ledger"
	"tutti/live/store"
	"tutti/node"
)

const (
	// restartDelay is how long after a record is made the cluster goes on by
	// default: time to sign it and to start its validators.
	restartDelay = 30 * time.Minute
	// restartMargin is how many slots after the halt of one validator the
	// cluster goes on: others halt a little later.
	restartMargin = 32
)

// newRestartCommand makes the record with which a cluster goes on after a
// halt.
func newRestartCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "restart-record",
		Short: "Make, sign and show the record with which a halted cluster goes on",
		Long: "Make, sign and show the record with which a halted cluster goes on. One operator makes it,\n" +
			"each signs a copy, the copies are merged, and all start their validators with it:\n" +
			"tutti validator --restart-record FILE.",
		Args: cobra.NoArgs,
		// With it a wrong subcommand is an error, not a call for help.
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRestartCreateCommand(), newRestartSignCommand(), newRestartMergeCommand(), newRestartShowCommand())
	return c
}

func newRestartCreateCommand() *cobra.Command {
	var dir, out, start string
	var delay time.Duration
	var first uint64
	c := &cobra.Command{
		Use:   "create --ledger DIR --outfile FILE",
		Short: "Make the record from the ledger of a validator that has halted and is stopped",
		Long: "Make the record from the ledger of a validator that has halted and is stopped: a hard fork\n" +
			"at the newest block on whose BankHash more than two thirds of the stake agreed there.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			at := time.Now().Add(delay)
			if start != "" {
				if at, err = time.Parse(time.RFC3339Nano, start); err != nil {
					return usage("--start %q is no time like 2026-01-31T12:00:00Z", start)
				}
			}
			s, g, err := openLedger(dir)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			r, err := makeRestart(s, g, at, ledger.Slot(first))
			if err != nil {
				return err
			}
			if err := writeRestart(out, r); err != nil {
				return err
			}
			return showRestart(c.OutOrStdout(), r, s, g)
		},
	}
	c.Flags().StringVarP(&dir, "ledger", "l", "ledger", "ledger directory of the validator")
	c.Flags().StringVarP(&out, "outfile", "o", "restart.bin", "file to write; one that exists is not overwritten")
	c.Flags().DurationVar(&delay, "start-delay", restartDelay, "time from now until the cluster goes on")
	c.Flags().StringVar(&start, "start", "", "time when the cluster goes on, RFC 3339, instead of --start-delay")
	c.MarkFlagsMutuallyExclusive("start", "start-delay")
	c.Flags().Uint64Var(&first, "first-slot", 0, fmt.Sprintf("slot with which it goes on (default: %d after the halt)", restartMargin))
	return c
}

// makeRestart makes the unsigned record for a halted validator's ledger.
func makeRestart(s *store.Store, g *cluster.Genesis, start time.Time, first ledger.Slot) (*cluster.Restart, error) {
	raw, err := s.Halt()
	if err != nil {
		return nil, err
	}
	before, err := s.Restarts()
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, usage("this validator has not halted")
	}
	halt, err := node.ParseHalt(raw)
	if err != nil {
		return nil, err
	}
	switch over := len(before) > 0 && halt.At < before[len(before)-1].First; {
	case halt.Health != node.Halted || over:
		return nil, usage("this validator has not halted since its cluster began or went on")
	case first == 0:
		first = halt.At + restartMargin
	case first <= halt.At:
		return nil, usage("--first-slot %d: this validator halted in slot %d; use a later one", first, halt.At)
	case first > halt.At+leader.PauseMax:
		return nil, usage("--first-slot %d: this validator halted in slot %d, and no block can hold the ticks of so many slots between; use %d at most",
			first, halt.At, halt.At+leader.PauseMax)
	}
	r := &cluster.Restart{
		Genesis: g.Hash(), Block: halt.Certified, BankHash: halt.CertifiedHash, Count: uint64(len(before)) + 1,
		T0: start.UnixNano() - g.Params.SlotTime(0, first), First: first,
	}
	t0 := g.T0
	if len(before) > 0 {
		t0 = before[len(before)-1].T0
	}
	if r.T0 < t0 {
		due := time.Unix(0, g.Params.SlotTime(t0, first)).UTC()
		return nil, usage("the cluster cannot go on before slot %d was due, at %s: choose a later start", first, due.Format(time.RFC3339))
	}
	r.ShredVersion = cluster.RestartVersion(g, append(before[:len(before):len(before)], r))
	if err := r.Follows(g, before); err != nil {
		return nil, usage("%w", err)
	}
	return r, nil
}

func newRestartSignCommand() *cobra.Command {
	var identity, account string
	c := &cobra.Command{
		Use:   "sign --identity KEYPAIR --vote-account KEY FILE",
		Short: "Add a validator's signature to a record",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := readRestart(args[0])
			if err != nil {
				return err
			}
			key, err := readKeypair(identity)
			if err != nil {
				return usage("--identity: %w", err)
			}
			vote, err := keyOf("--vote-account", account)
			if err != nil {
				return err
			}
			r.Sign(vote, key)
			return replaceRestart(args[0], r)
		},
	}
	c.Flags().StringVarP(&identity, "identity", "i", "", "keypair file of the node, the vote account's authority")
	c.Flags().StringVar(&account, "vote-account", "", "vote account: its address or keypair file")
	for _, name := range []string{"identity", "vote-account"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // a flag of that name is registered above
		}
	}
	return c
}

func newRestartMergeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "merge FILE OTHER ...",
		Short: "Add the signatures of other copies to the record in the first file",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := readRestart(args[0])
			if err != nil {
				return err
			}
			for _, path := range args[1:] {
				other, err := readRestart(path)
				if err != nil {
					return err
				}
				if err := r.Merge(other); err != nil {
					return usage("%s and %s: %w", args[0], path, err)
				}
			}
			return replaceRestart(args[0], r)
		},
	}
}

func newRestartShowCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "show --ledger DIR FILE",
		Short: "Print a record, and check its signatures with the stakes of a stopped validator's ledger",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			r, err := readRestart(args[0])
			if err != nil {
				return err
			}
			s, g, err := openLedger(dir)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			return showRestart(c.OutOrStdout(), r, s, g)
		},
	}
	c.Flags().StringVarP(&dir, "ledger", "l", "ledger", "ledger directory of one node")
	return c
}

// showRestart prints a record and the stake behind it.
func showRestart(out io.Writer, r *cluster.Restart, s *store.Store, g *cluster.Genesis) error {
	schedule := cluster.NewSchedule(g)
	raw, err := s.NodeState()
	if err != nil {
		return err
	}
	if raw != nil {
		state, err := node.ParseRootState(raw)
		if err != nil {
			return err
		}
		for _, e := range state.Stakes {
			if e != nil {
				schedule.AddEpoch(e)
			}
		}
	}
	epoch := schedule.Stakes(schedule.Epoch(r.Block.Slot))
	if epoch == nil {
		return fmt.Errorf("the stakes of slot %d are not known in this ledger", r.Block.Slot)
	}
	stakes := consensus.NewStakes(epoch)
	fmt.Fprintf(out, "Genesis hash: %v\nBlock: slot %d, %v\nBankHash: %v\nShred version: %d\nCount: %d\nFirst slot: %d, due %s\n",
		r.Genesis, r.Block.Slot, r.Block.ID, r.BankHash, r.ShredVersion, r.Count, r.First,
		time.Unix(0, g.Params.SlotTime(r.T0, r.First)).UTC().Format(time.RFC3339Nano))
	for i := range r.Signatures {
		account := r.Signatures[i].Account
		fmt.Fprintf(out, "Signed: vote account %v, %v\n", account, formatSOL(stakes.Of(account)))
	}
	sum, err := r.Stake(epoch)
	if err != nil {
		return err
	}
	enough := "enough"
	if !consensus.FourFifths(sum, stakes.Total()) {
		enough = "not enough: more than 80 % are needed"
	}
	fmt.Fprintf(out, "Stake: %s of %s, %s\n", formatSOL(sum), formatSOL(stakes.Total()), enough)
	return nil
}

// readRestart reads a record.
func readRestart(path string) (*cluster.Restart, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, usage("read restart record: %w", err)
	}
	r, err := cluster.ParseRestart(b)
	if err != nil {
		return nil, usage("%s: %w", path, err)
	}
	return r, nil
}

// writeRestart writes a record into a new file.
func writeRestart(path string, r *cluster.Restart) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return usage("write restart record: %w", err)
	}
	_, err = f.Write(r.Append(nil))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write restart record: %w", err)
	}
	return nil
}

// replaceRestart writes a record over the one in a file.
func replaceRestart(path string, r *cluster.Restart) error {
	next := path + ".new"
	if err := writeRestart(next, r); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("write restart record: %w", err)
	}
	return nil
}
