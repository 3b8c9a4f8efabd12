// Command tutti runs and inspects a Tutti ledger: validators, local networks,
// simulations, and what a client needs to use them. Each subcommand has a
// file of its own.
//
// Data goes to standard output, errors and logs to standard error. The exit
// code is 0 on success, 2 if the command line or a configuration is wrong, 3 if
// a validator has halted, 4 if a devnet needs network namespaces and the machine
// has none, 130 if Ctrl-C or SIGTERM ended a command that has nothing to put
// away, and 1 for other failures.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/setup"
)

// version is this program's; a release sets it when it links.
var version = "0.1.0"

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run carries out a command line and returns the exit code.
func run(args []string, in io.Reader, out, errs io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	nameArguments(root)
	running := false
	markRunning(root, &running)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(errs, "Error: %s\n", oneLine(err))
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		return exit.code
	case !running:
		return exitUsage // cobra did not understand the command line
	}
	return 1
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "tutti",
		Short:         "A multi-proposer ledger with asynchronous execution",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	// These stop what they have started, and give back what they took.
	root.AddCommand(
		newBenchCommand(),
		newDevnetCommand(),
		newValidatorCommand(),
	)
	for _, c := range []*cobra.Command{
		newAirdropCommand(),
		newBalanceCommand(),
		newGenesisCommand(),
		newKeygenCommand(),
		newLedgerCommand(),
		newRestartCommand(),
		newSimCommand(),
		newTransferCommand(),
	} {
		endAtOnce(c)
		root.AddCommand(c)
	}
	return root
}

// endAtOnce has Ctrl-C and SIGTERM end the work of a command and of those below
// it, which have nothing to put away.
func endAtOnce(c *cobra.Command) {
	if work := c.RunE; work != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			defer context.AfterFunc(c.Context(), func() { os.Exit(exitInterrupted) })()
			return work(c, args)
		}
	}
	for _, sub := range c.Commands() {
		endAtOnce(sub)
	}
}

// nameArguments has the error of a wrong number of arguments say what a command
// wants.
func nameArguments(c *cobra.Command) {
	if check := c.Args; check != nil && strings.Contains(c.Use, " ") {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if err != nil {
				err = fmt.Errorf("%w: use %s", err, c.UseLine())
			}
			return err
		}
	}
	for _, sub := range c.Commands() {
		nameArguments(sub)
	}
}

// markRunning has running set when a command begins its own work, and so
// tells errors of the command line from those of the work.
func markRunning(c *cobra.Command, running *bool) {
	if work := c.RunE; work != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			*running = true
			return work(c, args)
		}
	}
	for _, sub := range c.Commands() {
		markRunning(sub, running)
	}
}

// The exit codes that commands choose; exitInterrupted is what shells have for
// Ctrl-C.
const (
	exitUsage       = 2
	exitHalted      = 3
	exitNoNetwork   = 4
	exitInterrupted = 130
)

// exitError is an error with an exit code other than 1.
type exitError struct {
	code int
	err  error
}

// Error implements error.
func (e *exitError) Error() string { return e.err.Error() }

// Unwrap implements errors' chains.
func (e *exitError) Unwrap() error { return e.err }

// usage returns an error for a wrong command line or configuration.
func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// setupIsUsage gives what cannot run as asked its exit code.
func setupIsUsage(err error) error {
	var wrong *setup.Error
	if errors.As(err, &wrong) {
		return usage("%w", err)
	}
	return err
}

// oneLine returns the message of err on one line, for scripts and logs.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, " ")
}
