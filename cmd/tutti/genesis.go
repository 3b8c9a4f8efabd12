package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tutti/cluster"
	"tutti/leader"
	"tutti/ledger"
)

// genesisFile is the name of the genesis in a ledger directory, as Solana's
// tools have it.
const genesisFile = "genesis.bin"

// startDelay is how long after it is made a genesis begins by default: time
// to start its validators.
const startDelay = 10 * time.Second

// newGenesisCommand makes the genesis of a cluster, in solana-genesis' terms.
func newGenesisCommand() *cobra.Command {
	var params paramFlags
	var dir, faucet, t0 string
	var identities []string
	var faucetLamports uint64
	var delay time.Duration
	c := &cobra.Command{
		Use:   "genesis --ledger DIR --faucet-pubkey KEY --bootstrap-validator IDENTITY VOTE STAKE ...",
		Short: "Make the genesis of a new cluster",
		Long: "Make the genesis of a new cluster. --bootstrap-validator is followed by three words:\n" +
			"identity, vote account, and stake in SOL; it is given once for each validator. Keys are\n" +
			"addresses or keypair files.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2*len(identities) {
				return errors.New("--bootstrap-validator takes three words: identity, vote account, stake in SOL")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			p, err := params.params()
			if err != nil {
				return err
			}
			options := cluster.Options{
				Params: p, T0: time.Now().Add(delay).UnixNano(), FaucetLamports: ledger.Lamports(faucetLamports),
			}
			if t0 != "" {
				at, err := time.Parse(time.RFC3339Nano, t0)
				if err != nil {
					return usage("--t0 %q is no time like 2026-01-31T12:00:00Z", t0)
				}
				options.T0 = at.UnixNano()
			}
			if options.Faucet, err = keyOf("--faucet-pubkey", faucet); err != nil {
				return err
			}
			// Each flag is followed by two words, which stand in args in the
			// same order.
			for i, identity := range identities {
				v, err := bootstrapValidator(identity, args[2*i], args[2*i+1])
				if err != nil {
					return err
				}
				options.Validators = append(options.Validators, v)
			}
			g, err := cluster.NewGenesis(options)
			if err != nil {
				return usage("%w", err)
			}
			if over := time.Duration(time.Now().UnixNano()-g.T0) / (ledger.TicksPerSlot * g.Params.TickDuration); over > leader.PauseMax {
				return usage("this cluster would have begun %d slots ago, and no block can hold the ticks of so many: let it begin at most %d slots ago, with a later --t0 or --start-delay", over, leader.PauseMax)
			}
			if err := writeGenesis(dir, g); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "Genesis hash: %s\nShred version: %d\nStart: %s\nValidators: %d\nAccounts: %d\n",
				g.Hash(), g.ShredVersion(), time.Unix(0, g.T0).UTC().Format(time.RFC3339Nano), len(g.Validators), len(g.Accounts))
			return nil
		},
	}
	flags := c.Flags()
	flags.StringVarP(&dir, "ledger", "l", "", "ledger directory; genesis.bin is written into it")
	flags.StringArrayVarP(&identities, "bootstrap-validator", "b", nil, "a validator: identity, vote account, stake in SOL")
	flags.StringVarP(&faucet, "faucet-pubkey", "m", "", "address or keypair file of the faucet")
	flags.Uint64VarP(&faucetLamports, "faucet-lamports", "t", uint64(cluster.FaucetLamports), "lamports of the faucet")
	flags.DurationVar(&delay, "start-delay", startDelay, "time from now to the first tick")
	flags.StringVar(&t0, "t0", "", "time of the first tick, RFC 3339, instead of --start-delay")
	c.MarkFlagsMutuallyExclusive("t0", "start-delay")
	params.register(flags)
	for _, name := range []string{"ledger", "bootstrap-validator", "faucet-pubkey"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // a flag of that name is registered above
		}
	}
	return c
}

func bootstrapValidator(identity, vote, stake string) (v cluster.Validator, err error) {
	if v.Identity, err = keyOf("--bootstrap-validator", identity); err != nil {
		return v, err
	}
	if v.VoteAccount, err = keyOf("--bootstrap-validator", vote); err != nil {
		return v, err
	}
	v.Stake, err = parseSOL(stake)
	return v, err
}

// keyOf returns the key that a flag names: an address, or a keypair file.
func keyOf(flag, text string) (ledger.Pubkey, error) {
	key, err := ledger.ParsePubkey(text)
	if err == nil {
		return key, nil
	}
	private, fileErr := readKeypair(text)
	switch {
	case fileErr == nil:
		return publicKey(private), nil
	case errors.Is(fileErr, fs.ErrNotExist) && !strings.ContainsAny(text, "/."):
		return key, usage("%s %q is neither an address nor a keypair file", flag, text)
	}
	return key, usage("%s: %w", flag, fileErr)
}

// writeGenesis writes genesis.bin; one that is there is never overwritten.
func writeGenesis(dir string, g *cluster.Genesis) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return usage("make ledger directory: %w", err)
	}
	path := filepath.Join(dir, genesisFile)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return usage("%s exists: remove the ledger or name another directory", path)
	}
	if err != nil {
		return usage("write genesis: %w", err)
	}
	_, err = f.Write(g.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write genesis: %w", err)
	}
	return nil
}

// readGenesis reads the genesis of a ledger directory.
func readGenesis(dir string) (*cluster.Genesis, error) {
	path := filepath.Join(dir, genesisFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage("%s is missing: copy the cluster's genesis there, or make one with tutti genesis", path)
	}
	if err != nil {
		return nil, usage("read genesis: %w", err)
	}
	g, err := cluster.ParseGenesis(b)
	if err != nil {
		return nil, usage("%s: %w", path, err)
	}
	return g, nil
}
