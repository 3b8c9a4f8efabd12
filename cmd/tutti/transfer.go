package main

import (
	"fmt"

	"github.com/gagliardetto/solana-go"
	solanarpc "github.com/gagliardetto/solana-go/rpc"
	"github.com/spf13/cobra"

	"tutti/ledger"
)

// transferUnits is the compute-unit limit of a transfer with a priority fee,
// which is paid on the limit: what a transfer and two budget instructions
// need.
const transferUnits = 450

// newTransferCommand sends SOL to somebody.
func newTransferCommand() *cobra.Command {
	var flags clientFlags
	var unfunded bool
	var price uint64
	c := &cobra.Command{
		Use:   "transfer RECIPIENT AMOUNT",
		Short: "Send SOL",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			amount, err := parseSOL(args[1])
			if err != nil {
				return err
			}
			client, err := flags.connect()
			if err != nil {
				return err
			}
			key, err := client.key()
			if err != nil {
				return err
			}
			recipient, err := client.address(args[0])
			if err != nil {
				return err
			}
			if !unfunded {
				balance, err := client.GetBalance(c.Context(), solana.PublicKey(recipient), client.commitment)
				if err != nil {
					return rpcError(err)
				}
				if balance.Value == 0 {
					return fmt.Errorf("the recipient address (%s) is not funded; "+
						"add --allow-unfunded-recipient to complete the transfer", recipient)
				}
			}
			latest, err := client.GetLatestBlockhash(c.Context(), client.commitment)
			if err != nil {
				return rpcError(err)
			}
			var units uint32
			if price > 0 {
				units = transferUnits
			}
			message := ledger.TransferMessage(publicKey(key), recipient, amount, price, units, ledger.Hash(latest.Value.Blockhash))
			signature, err := client.SendRawTransactionWithOpts(
				c.Context(), ledger.Sign(message.Append(nil), key),
				solanarpc.TransactionOpts{PreflightCommitment: client.commitment},
			)
			if err != nil {
				return rpcError(err)
			}
			fmt.Fprintf(c.OutOrStdout(), "\nSignature: %s\n\n", signature)
			return client.wait(c.Context(), signature, latest.Value.LastValidBlockHeight)
		},
	}
	flags.register(c)
	c.Flags().BoolVar(&unfunded, "allow-unfunded-recipient", false, "send to an account that does not exist yet, too")
	c.Flags().Uint64Var(&price, "with-compute-unit-price", 0, "price of a compute unit in micro-lamports")
	return c
}
