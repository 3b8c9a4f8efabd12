package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gagliardetto/solana-go"
	solanarpc "github.com/gagliardetto/solana-go/rpc"
	"github.com/gagliardetto/solana-go/rpc/jsonrpc"
	"github.com/spf13/cobra"

	"tutti/ledger"
)

const (
	localhost = "http://127.0.0.1:8899"
	// pollInterval is how often a command asks for a transaction's status.
	pollInterval = 200 * time.Millisecond
	configMax    = 1 << 16
)

// clientFlags are the flags of the commands that talk to a node. They have
// the names, the meanings and the defaults of Solana's own.
type clientFlags struct {
	config, url, keypair, commitment string
}

func (f *clientFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVarP(&f.config, "config", "C", "", "configuration file (default ~/.config/solana/cli/config.yml)")
	flags.StringVarP(&f.url, "url", "u", "", "URL of the node's JSON-RPC, or l or localhost")
	flags.StringVarP(&f.keypair, "keypair", "k", "", "keypair file")
	flags.StringVar(&f.commitment, "commitment", "", "processed, confirmed or finalized")
}

// client is a node and the user at it.
type client struct {
	*solanarpc.Client
	keypairPath string
	commitment  solanarpc.CommitmentType
}

// connect returns the client that flags and configuration file describe. It
// makes no connection yet.
func (f *clientFlags) connect() (*client, error) {
	settings, err := readSolanaConfig(f.config)
	if err != nil {
		return nil, err
	}
	address, err := nodeURL(first(f.url, settings["json_rpc_url"], localhost))
	if err != nil {
		return nil, err
	}
	c := &client{
		Client:      solanarpc.New(address),
		keypairPath: first(f.keypair, settings["keypair_path"]),
		commitment:  solanarpc.CommitmentType(first(f.commitment, settings["commitment"], "confirmed")),
	}
	switch c.commitment {
	case solanarpc.CommitmentProcessed, solanarpc.CommitmentConfirmed, solanarpc.CommitmentFinalized:
	default:
		return nil, usage("commitment %q is not processed, confirmed or finalized", c.commitment)
	}
	if c.keypairPath == "" {
		if c.keypairPath, err = defaultKeypairPath(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// first returns the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// nodeURL turns what a user names a node by into its URL.
func nodeURL(name string) (string, error) {
	if name == "l" || name == "localhost" {
		return localhost, nil
	}
	u, err := url.Parse(name)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", usage("%q is no URL of a node; use l, localhost, or http://HOST:PORT", name)
	}
	return name, nil
}

// readSolanaConfig reads the settings of the Solana command line: one
// "name: value" a line. Only the file that is used by default may be missing.
func readSolanaConfig(path string) (map[string]string, error) {
	named := path != ""
	if !named {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, nil // everything may be given by flags
		}
		path = filepath.Join(home, ".config", "solana", "cli", "config.yml")
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil, nil
	}
	if err != nil {
		return nil, usage("read configuration: %w", err)
	}
	if len(b) > configMax {
		return nil, usage("%s is too long for a configuration", path)
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "#") {
			continue // labels, comments, the document's mark
		}
		settings[strings.TrimSpace(name)] = strings.Trim(strings.TrimSpace(value), `"'`)
	}
	return settings, nil
}

// key returns the user's keypair.
func (c *client) key() (ed25519.PrivateKey, error) { return ownKeypair(c.keypairPath) }

// address returns the address that a user gives, that of a keypair file if
// it names one, and the user's own if it is empty.
func (c *client) address(text string) (ledger.Pubkey, error) {
	if text == "" {
		key, err := c.key()
		if err != nil {
			return ledger.Pubkey{}, err
		}
		return publicKey(key), nil
	}
	address, err := ledger.ParsePubkey(text)
	if err == nil {
		return address, nil
	}
	if _, missing := os.Stat(text); missing != nil {
		return address, usage("%q is neither an address nor a keypair file", text)
	}
	key, err := readKeypair(text)
	if err != nil {
		return address, err
	}
	return publicKey(key), nil
}

// wait returns when the transaction has reached the client's commitment. It
// fails when the transaction did, or cannot be executed any more.
func (c *client) wait(ctx context.Context, signature solana.Signature, lastValidHeight uint64) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		// The height is asked for first: a transaction that has no status when
		// its time is over will never have one.
		height, err := c.GetBlockHeight(ctx, c.commitment)
		if err != nil {
			return rpcError(err)
		}
		statuses, err := c.GetSignatureStatuses(ctx, false, signature)
		if err != nil && !errors.Is(err, solanarpc.ErrNotFound) {
			return rpcError(err)
		}
		if err == nil && len(statuses.Value) == 1 && statuses.Value[0] != nil {
			status := statuses.Value[0]
			if status.Err != nil {
				why, _ := json.Marshal(status.Err) // it came as JSON
				return fmt.Errorf("transaction %s failed: %s", signature, why)
			}
			if reached(string(status.ConfirmationStatus), string(c.commitment)) {
				return nil
			}
		} else if height > lastValidHeight {
			return fmt.Errorf("transaction %s was not executed before its blockhash expired", signature)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// reached tells whether a commitment is at least the wanted one.
func reached(is, want string) bool {
	order := "processed confirmed finalized"
	return is != "" && strings.Index(order, is) >= strings.Index(order, want)
}

// rpcError returns the node's own words where there are any.
func rpcError(err error) error {
	var failure *jsonrpc.RPCError
	if errors.As(err, &failure) {
		return errors.New(failure.Message)
	}
	return err
}

// parseSOL reads an amount of SOL: digits with at most nine behind the point.
func parseSOL(text string) (ledger.Lamports, error) {
	whole, part, _ := strings.Cut(text, ".")
	wrong := usage("%q is no amount of SOL", text)
	if whole == "" && part == "" || len(part) > 9 {
		return 0, wrong
	}
	part += strings.Repeat("0", 9-len(part))
	sol, err := strconv.ParseUint(first(whole, "0"), 10, 64)
	if err != nil {
		return 0, wrong
	}
	rest, err := strconv.ParseUint(part, 10, 64)
	if err != nil {
		return 0, wrong
	}
	high, low := bits.Mul64(sol, uint64(ledger.LamportsPerSOL))
	sum, carry := bits.Add64(low, rest, 0)
	if high != 0 || carry != 0 {
		return 0, wrong
	}
	return ledger.Lamports(sum), nil
}

// formatSOL writes an amount as Solana's tools do: 1.5 SOL.
func formatSOL(amount ledger.Lamports) string {
	text := fmt.Sprintf("%d.%09d", amount/ledger.LamportsPerSOL, amount%ledger.LamportsPerSOL)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".") + " SOL"
}
