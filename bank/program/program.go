// Package program holds the programs that transactions call, and what they
// work on: accounts under Solana's rules of who may change what.
//
// It knows one transaction at a time: a Context with copies of the accounts
// that the transaction loads, whose Call executes one instruction. Which
// transactions run, what they pay, and whether the changed copies are kept,
// package bank decides.
//
// A program is anything that implements Program and stands in the builtins
// table; its errors are ledger.InstructionErrors, exactly Solana's. A call of
// a builtin costs a fixed number of compute units. Programs in bytecode are not
// executed: to call one is UnsupportedProgramId.
package program

import "tutti/ledger"

// BuiltinUnits is the price of one call of a builtin program, in compute units.
const BuiltinUnits = 150

// Program executes one instruction: the one that the context stands at.
type Program interface {
	// Process changes the context's accounts, or returns why not, as a
	// ledger.InstructionError. After an error all that the transaction has
	// changed is thrown away.
	Process(c *Context) error
}

// builtins are the programs that can run.
var builtins = map[ledger.Pubkey]Program{
	ledger.SystemProgram:        system{},
	ledger.ComputeBudgetProgram: silent{},
	ledger.BundleProgram:        silent{},
}

// silent is a program that does nothing when it runs: ComputeBudget's
// instructions are obeyed before execution, the Bundle program's are checked
// with the UserBlock.
type silent struct{}

func (silent) Process(*Context) error { return nil }

func fail(kind ledger.InstructionErrorKind) error {
	return ledger.InstructionError{Kind: kind}
}
