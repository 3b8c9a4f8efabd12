//go:build faultybank

package main

import (
	"os"
	"path/filepath"

	"tutti/bank"
)

// A binary built with the tag faultybank computes wrong BankHashes on the
// node whose ledger folder has the name that TUTTI_FAULTY_NODE gives: v1 for
// the second node of a devnet.
func init() {
	name := os.Getenv("TUTTI_FAULTY_NODE")
	for _, argument := range os.Args[1:] {
		if name != "" && filepath.Base(argument) == name {
			bank.FlipBit = true
		}
	}
}
