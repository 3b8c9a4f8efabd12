package main

import (
	"fmt"

	"github.com/gagliardetto/solana-go"
	"github.com/spf13/cobra"

	"tutti/ledger"
)

// newBalanceCommand prints what an account holds.
func newBalanceCommand() *cobra.Command {
	var flags clientFlags
	var lamports bool
	c := &cobra.Command{
		Use:   "balance [ADDRESS]",
		Short: "Print the balance of an account, of the user's own by default",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := flags.connect()
			if err != nil {
				return err
			}
			address, err := client.address(argument(args, 0))
			if err != nil {
				return err
			}
			balance, err := client.GetBalance(c.Context(), solana.PublicKey(address), client.commitment)
			if err != nil {
				return rpcError(err)
			}
			if lamports {
				fmt.Fprintf(c.OutOrStdout(), "%d lamports\n", balance.Value)
				return nil
			}
			fmt.Fprintln(c.OutOrStdout(), formatSOL(ledger.Lamports(balance.Value)))
			return nil
		},
	}
	flags.register(c)
	c.Flags().BoolVar(&lamports, "lamports", false, "print lamports instead of SOL")
	return c
}

// argument returns the argument at i, empty if it is not given.
func argument(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
