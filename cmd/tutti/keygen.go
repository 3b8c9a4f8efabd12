package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tutti/cluster"
	"tutti/ledger"
)

// newKeygenCommand makes and reads keypair files, in solana-keygen's format
// and with its options.
func newKeygenCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "keygen",
		Short: "Make and read keypair files",
		Args:  cobra.NoArgs,
		// With it a wrong subcommand is an error, not a call for help.
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newKeygenNewCommand(), newKeygenPubkeyCommand())
	return c
}

func newKeygenNewCommand() *cobra.Command {
	var path string
	var force, silent, noPassphrase bool
	c := &cobra.Command{
		Use:   "new",
		Short: "Make a new keypair file",
		Long: "Make a new keypair file: a JSON array of 64 numbers, readable by its owner alone.\n" +
			"The key is random; there is no seed phrase from which it could be made again.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if path == "" {
				var err error
				if path, err = defaultKeypairPath(); err != nil {
					return err
				}
			}
			public, key, err := ed25519.GenerateKey(nil)
			if err != nil {
				return fmt.Errorf("make key: %w", err)
			}
			if err := writeKeypair(path, key, force); err != nil {
				return err
			}
			if !silent {
				fmt.Fprintf(c.OutOrStdout(), "Wrote new keypair to %s\npubkey: %s\n", path, ledger.Pubkey(public))
			}
			return nil
		},
	}
	c.Flags().StringVarP(&path, "outfile", "o", "", "path of the file (default ~/.config/solana/id.json)")
	c.Flags().BoolVarP(&force, "force", "f", false, "overwrite the file if it exists")
	c.Flags().BoolVarP(&silent, "silent", "s", false, "do not print the public key")
	// Scripts that are written for solana-keygen give it.
	c.Flags().BoolVar(&noPassphrase, "no-bip39-passphrase", false, "taken for solana-keygen's sake; there is no passphrase")
	return c
}

func newKeygenPubkeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "pubkey [KEYPAIR]",
		Short: "Print the public key of a keypair file",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path := ""
			if len(args) == 1 {
				path = args[0]
			} else {
				var err error
				if path, err = defaultKeypairPath(); err != nil {
					return err
				}
			}
			key, err := readKeypair(path)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), publicKey(key))
			return nil
		},
	}
}

// defaultKeypairPath is where Solana's tools keep the user's keypair.
func defaultKeypairPath() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usage("no keypair is named: %w", err)
	}
	return filepath.Join(home, ".config", "solana", "id.json"), nil
}

// readKeypair reads a keypair file.
func readKeypair(path string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage("read keypair: %w: make one with `tutti keygen new -o %s`", err, path)
	}
	if err != nil {
		return nil, usage("read keypair: %w", err)
	}
	key, err := cluster.ParseKeypair(b)
	if err != nil {
		return nil, usage("%s: %w", path, err)
	}
	return key, nil
}

// ownKeypair reads the keypair file of a command's user, which --keypair names.
func ownKeypair(path string) (ed25519.PrivateKey, error) {
	key, err := readKeypair(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = usage("%w, or name another with --keypair", err)
	}
	return key, err
}

// publicKey returns the public half of a keypair.
func publicKey(key ed25519.PrivateKey) ledger.Pubkey {
	return ledger.Pubkey(key.Public().(ed25519.PublicKey))
}

// writeKeypair writes a keypair file that only its owner can read. An
// existing file is replaced if force is set, and refused otherwise.
func writeKeypair(path string, key ed25519.PrivateKey, force bool) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write keypair: %w", err)
	}
	if !force {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return usage("refusing to overwrite %s without --force", path)
		}
		if err != nil {
			return fmt.Errorf("write keypair: %w", err)
		}
		if err := fill(f, key); err != nil {
			os.Remove(path)
			return err
		}
		return nil
	}
	// The new file has its contents and mode before it takes the old one's
	// place.
	f, err := os.CreateTemp(dir, ".keypair-*")
	if err != nil {
		return fmt.Errorf("write keypair: %w", err)
	}
	err = fill(f, key)
	if err == nil {
		if err = os.Rename(f.Name(), path); err != nil {
			err = fmt.Errorf("write keypair: %w", err)
		}
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// fill writes the keypair to f, whose mode is 0600, and closes it.
func fill(f *os.File, key ed25519.PrivateKey) error {
	_, err := f.Write(cluster.FormatKeypair(key))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write keypair: %w", err)
	}
	return nil
}
