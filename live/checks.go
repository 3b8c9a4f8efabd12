package live

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"syscall"

	"tutti/cluster"
)

// StartError is an error for which the operator can do something before the
// node is started again. Its text is one line that names the thing and the
// remedy.
type StartError struct{ Err error }

// Error returns the text of Err.
func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *StartError) Unwrap() error { return e.Err }

// Errors of New, besides those of store.Open and endpoint.New.
var (
	ErrKey   = errors.New("key file")
	ErrFiles = errors.New("too few open files allowed")
)

// filesMin is how many files a node may have open: badger's tables, and
// clients' connections.
const filesMin = 2048

// ReadKey reads a keypair file as solana-keygen makes them. The error is a
// StartError.
func ReadKey(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &StartError{fmt.Errorf("%w %s is missing: make one with `tutti keygen new -o %s`", ErrKey, path, path)}
	}
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, &StartError{fmt.Errorf("%w %s can be read by others: run `chmod 600 %s`", ErrKey, path, path)}
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, &StartError{fmt.Errorf("%w %s cannot be read: give this user access (%w)", ErrKey, path, err)}
	}
	key, err := cluster.ParseKeypair(b)
	if err != nil {
		return nil, &StartError{fmt.Errorf("%w %s is damaged: put back a copy (%w)", ErrKey, path, err)}
	}
	return key, nil
}

// checkFiles checks the limit of open files. Go has raised it as far as the
// hard limit allows.
func checkFiles(need uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	if limit.Cur < need {
		return fmt.Errorf("%w: needed %d, have %d; run `ulimit -n %d` in the shell that starts the node",
			ErrFiles, need, limit.Cur, need)
	}
	return nil
}
