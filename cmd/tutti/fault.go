//go:build faultybank

package main

import (
	"os"

	"tutti/bank"
)

// A binary built with the tag faultybank computes wrong BankHashes if
// TUTTI_FLIP_BIT is set; devnet sets it for the node that TUTTI_FAULTY_NODE
// numbers.
func init() { bank.FlipBit = os.Getenv("TUTTI_FLIP_BIT") != "" }
