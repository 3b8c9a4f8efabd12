package main

import (
	"fmt"

	"github.com/gagliardetto/solana-go"
	"github.com/spf13/cobra"

	"tutti/ledger"
)

// airdropSlack is for how many blocks longer than a transaction of its own
// the command waits for one of the faucet.
const airdropSlack = 8

// newAirdropCommand asks a node's faucet for SOL.
func newAirdropCommand() *cobra.Command {
	var flags clientFlags
	c := &cobra.Command{
		Use:   "airdrop AMOUNT [RECIPIENT]",
		Short: "Ask the faucet for SOL",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			amount, err := parseSOL(args[0])
			if err != nil {
				return err
			}
			client, err := flags.connect()
			if err != nil {
				return err
			}
			recipient, err := client.address(argument(args, 1))
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			fmt.Fprintf(out, "Requesting airdrop of %s\n", formatSOL(amount))
			// The faucet's transaction names this hash or one that is not much
			// newer; it tells when to give up.
			latest, err := client.GetLatestBlockhash(c.Context(), "processed")
			if err != nil {
				return rpcError(err)
			}
			signature, err := client.RequestAirdrop(c.Context(), solana.PublicKey(recipient), uint64(amount), client.commitment)
			if err != nil {
				return rpcError(err)
			}
			fmt.Fprintf(out, "\nSignature: %s\n\n", signature)
			if err := client.wait(c.Context(), signature, latest.Value.LastValidBlockHeight+airdropSlack); err != nil {
				return err
			}
			balance, err := client.GetBalance(c.Context(), solana.PublicKey(recipient), client.commitment)
			if err != nil {
				return rpcError(err)
			}
			fmt.Fprintln(out, formatSOL(ledger.Lamports(balance.Value)))
			return nil
		},
	}
	flags.register(c)
	return c
}
