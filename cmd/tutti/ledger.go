package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"tutti/bank"
	"tutti/cluster"
	"tutti/cmd/tutti/replay"
	"tutti/ledger"
	"tutti/live/store"
)

func newLedgerCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "ledger",
		Short: "Look at a stored ledger, or check all of it again",
		Args:  cobra.NoArgs,
		// With it a wrong subcommand is an error, not a call for help.
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().StringVarP(&dir, "ledger", "l", "ledger", "ledger directory of one node")
	c.AddCommand(newLedgerVerifyCommand(&dir), newLedgerPrintCommand(&dir), newLedgerBoundsCommand(&dir))
	return c
}

func newLedgerVerifyCommand(dir *string) *cobra.Command {
	var hashes bool
	c := &cobra.Command{
		Use:   "verify",
		Short: "Execute the ledger again from genesis and compare with the votes in it",
		Long: `Execute the ledger again from genesis and compare with the votes in it.

Only genesis.bin and the bytes of blocks are read: every proof, signature, rule
and BankHash is computed anew. The exit code is 1, and the slot is named, if
anything does not hold.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return verifyLedger(c.OutOrStdout(), *dir, hashes)
		},
	}
	c.Flags().BoolVar(&hashes, "hashes", false, "print slot, block id and BankHash of every executed block")
	return c
}

// openLedger opens a ledger for reading, with its genesis.
func openLedger(dir string) (*store.Store, *cluster.Genesis, error) {
	path := filepath.Join(dir, "genesis.bin")
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, usage("genesis: %w", err)
	}
	g, err := cluster.ParseGenesis(raw)
	if err != nil {
		return nil, nil, usage("%s: %w", path, err)
	}
	s, err := store.OpenReadOnly(dir)
	if err != nil {
		return nil, nil, usage("%w", err)
	}
	if s.Genesis() != g.Hash() {
		return nil, nil, errors.Join(usage("%w: %s is of %v, its genesis.bin is %v; put the right one there",
			store.ErrOtherGenesis, dir, s.Genesis(), g.Hash()), s.Close())
	}
	return s, g, nil
}

func verifyLedger(out io.Writer, dir string, hashes bool) (err error) {
	s, g, err := openLedger(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r, err := replay.New(g, runtime.GOMAXPROCS(0))
	if err != nil {
		return err
	}
	if hashes {
		r.OnExecuted = func(x *bank.Result) {
			fmt.Fprintf(out, "%d %v %v\n", x.Ref.Slot, x.Ref.ID, x.BankHash)
		}
	}
	err = r.Store(s)
	report := r.Report()
	if err != nil {
		return fmt.Errorf("%s does not verify: %w", dir, err)
	}
	fmt.Fprintf(out, "genesis %v\n", g.Hash())
	fmt.Fprintf(out, "blocks %d, executed %d, UserBlocks %d, transactions %d, incomplete ends %d\n",
		report.Blocks, report.Executed, report.UserBlocks, report.Transactions, report.Incomplete)
	fmt.Fprintf(out, "votes compared %d, differing %d\n", report.Votes, report.Differ)
	fmt.Fprintf(out, "slot %d BankHash %v\n", report.Last.Slot, report.BankHash)
	fmt.Fprintf(out, "checked: each lane once a fork and in its window, each transaction once, %d lamports in all accounts, %d votes of %d accounts against their lockouts\n",
		report.Supply, report.Towers, report.Voters)
	return nil
}

func newLedgerBoundsCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "bounds",
		Short: "Print the first and the last slot that are stored",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			s, g, err := openLedger(*dir)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			first, last, shreds, ok, err := s.Bounds()
			if err != nil {
				return err
			}
			if !ok {
				fmt.Fprintln(c.OutOrStdout(), "Ledger is empty")
				return nil
			}
			fmt.Fprintf(c.OutOrStdout(), "Ledger has data for slots %d to %d, %d shreds\n", first, last, shreds)
			root, err := s.Root()
			if err != nil {
				return err
			}
			if root == (ledger.BlockRef{}) {
				root.ID = g.Hash() // block 0
			}
			fmt.Fprintf(c.OutOrStdout(), "Root is slot %d, block %v\n", root.Slot, root.ID)
			return nil
		},
	}
}

func newLedgerPrintCommand(dir *string) *cobra.Command {
	var from, to uint64
	var output string
	c := &cobra.Command{
		Use:   "print",
		Short: "Print the stored blocks and UserBlocks, a line each",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if output != "text" && output != "json" {
				return usage("--output %s: use text or json", output)
			}
			s, _, err := openLedger(*dir)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			for e, err := range s.Entries(ledger.Slot(from), ledger.Slot(to)) {
				if err != nil {
					return fmt.Errorf("slot %d: %w", e.Slot, err)
				}
				if e.Kind != store.KindBlock {
					continue
				}
				if err := printBlock(c.OutOrStdout(), &e, output == "json"); err != nil {
					return fmt.Errorf("slot %d: %w", e.Slot, err)
				}
			}
			return nil
		},
	}
	c.Flags().Uint64Var(&from, "starting-slot", 0, "first slot to print")
	c.Flags().Uint64Var(&to, "ending-slot", math.MaxUint64, "last slot to print")
	c.Flags().StringVar(&output, "output", "text", "text or json")
	return c
}

func printBlock(out io.Writer, e *store.Entry, asJSON bool) error {
	b, err := e.Block()
	if err != nil {
		return err
	}
	line := struct {
		Slot       ledger.Slot `json:"slot"`
		UserSlot   *uint64     `json:"userSlot,omitempty"`
		Lane       *uint16     `json:"lane,omitempty"`
		ID         string      `json:"id"`
		ParentSlot *uint64     `json:"parentSlot,omitempty"`
		Parent     string      `json:"parent,omitempty"`
		Sets       int         `json:"fecSets"`
	}{Slot: e.Slot, ID: b.ID.String(), Sets: len(b.Roots)}
	if b.Key.IsUser() {
		u, lane := b.Key.User()
		line.UserSlot, line.Lane = (*uint64)(&u), (*uint16)(&lane)
	} else {
		line.ParentSlot, line.Parent = (*uint64)(&b.Parent.Slot), b.Parent.ID.String()
	}
	switch {
	case asJSON:
		return json.NewEncoder(out).Encode(line)
	case b.Key.IsUser():
		_, err = fmt.Fprintf(out, "  UserBlock %d lane %d %s, %d FEC sets\n", *line.UserSlot, *line.Lane, line.ID, line.Sets)
	default:
		_, err = fmt.Fprintf(out, "Slot %d block %s parent %d %s, %d FEC sets\n", line.Slot, line.ID, *line.ParentSlot, line.Parent, line.Sets)
	}
	return err
}
