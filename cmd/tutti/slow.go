//go:build planted

package main

import (
	"time"

	"tutti/bank"
	"tutti/cluster"
	"tutti/cmd/tutti/devnet"
)

// canSlow says that validators of this binary can be slowed down.
const canSlow = true

// slowness has the executor take as long as a file in the ledger folder says,
// which is read for each block.
func slowness(ledger string, g *cluster.Genesis) func(*bank.Block, time.Duration) time.Duration {
	return func(block *bank.Block, took time.Duration) time.Duration {
		txs := 0
		for i := range block.UserBlocks {
			txs += len(block.UserBlocks[i].Block.Transactions)
		}
		over := time.Unix(0, g.Params.SlotTime(g.T0, block.Ref.Slot+1))
		return devnet.ReadSlowness(ledger).More(took, txs, time.Since(over))
	}
}
