package main

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/bench"
	"tutti/cmd/tutti/load"
)

// benchFlags are what the user says about a benchmark.
type benchFlags struct {
	options                    bench.Options
	config, keypair, generator string
	to, startAt                string
	hot                        float64
}

// newBenchCommand measures a cluster under load.
func newBenchCommand() *cobra.Command {
	var f benchFlags
	o := &f.options
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure a cluster under load",
		Long: "Measure a cluster under load: transfers are sent at fixed rates, step by step, whatever the\n" +
			"cluster does, and followed from the time at which each was due. Either --devnet names the\n" +
			"directory of a devnet that runs on this machine, or --url nodes of any cluster; then --keypair\n" +
			"pays, and gets back what is left.\n\n" +
			"Transfers go over QUIC, with --url to the addresses of --tpu. Nodes of Solana tell them\n" +
			"(getClusterNodes); those of Tutti do not, and without --tpu get transfers by sendTransaction,\n" +
			"which is slower.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.complete(); err != nil {
				return err
			}
			return setupIsUsage(bench.Run(c.Context(), f.options, c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.Devnet, "devnet", "", "directory of a devnet that runs on this machine")
	flags.StringArrayVarP(&o.URLs, "url", "u", nil, "URL of a node's JSON-RPC, or l or localhost; give several")
	flags.StringArrayVar(&o.TPUs, "tpu", nil, "a node's QUIC address for transactions, host:port; give several (default: what getClusterNodes tells)")
	flags.StringVarP(&f.keypair, "keypair", "k", "", "keypair file that funds the payers")
	flags.StringVarP(&f.config, "config", "C", "", "configuration file (default ~/.config/solana/cli/config.yml)")
	flags.StringVar(&f.to, "to", "all", "send to all nodes in turn, or only to the nearest")
	flags.IntSliceVar(&o.Rates, "steps", []int{500, 1000, 2000}, "transfers per second, step by step")
	flags.DurationVar(&o.Duration, "step-duration", 20*time.Second, "time of each step")
	flags.DurationVar(&o.Pause, "pause", 2*time.Second, "time between steps")
	flags.IntVar(&o.Mix.Payers, "payers", 256, "accounts that pay and are paid")
	flags.Float64Var(&f.hot, "hot", float64(load.HotPermille)/1000, "share of the transfers that go to one account")
	flags.StringVar(&o.PricesText, "prices", "1000-256000", "compute-unit prices in micro-lamports: PRICE, LOW-HIGH for an even spread, or log:LOW-HIGH")
	flags.StringVar(&f.generator, "generator", "1/1", "I/N: be number I of N generators that share rate and payers")
	flags.StringVar(&f.startAt, "start-at", "", "time at which generators begin together, as 2006-01-02T15:04:05Z")
	flags.StringVar(&o.JSON, "json", "", "write the report as JSON to this file")
	flags.StringVar(&o.Benchstat, "benchstat", "", "write Go benchmark lines to this file")
	flags.StringVar(&o.HTML, "html", "", "write the report as one HTML page to this file")
	c.MarkFlagsMutuallyExclusive("devnet", "keypair")
	c.AddCommand(newProfileCommand())
	c.AddCommand(newCompareCommand())
	c.AddCommand(newGrowthCommand())
	return c
}

// newProfileCommand measures where a devnet's processor time goes.
func newProfileCommand() *cobra.Command {
	var o bench.ProfileOptions
	c := &cobra.Command{
		Use:   "profile",
		Short: "Measure where the processor time of a devnet goes, per transaction",
		Long: "Measure where the processor time of the validators of a devnet that runs on this machine\n" +
			"goes, while something else puts load on it: microseconds of all validators together, per\n" +
			"executed transaction and stage.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Seconds < 1 || o.Seconds > profileSecondsMax {
				return usage("--seconds %d: use 1 to %d", o.Seconds, profileSecondsMax)
			}
			return setupIsUsage(bench.Profile(c.Context(), o, c.OutOrStdout()))
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.Devnet, "devnet", "devnet-ledger", "directory of a devnet that runs on this machine")
	flags.IntVar(&o.Seconds, "seconds", 10, "for how long")
	flags.StringVar(&o.Keep, "keep", "", "directory for the validators' profiles, as go tool pprof reads them")
	return c
}

// profileSecondsMax is the most that a node takes.
const profileSecondsMax = 600

// complete turns what the user says into options.
func (f *benchFlags) complete() (err error) {
	o := &f.options
	o.Version = version
	for i := range o.URLs {
		if o.URLs[i], err = nodeURL(o.URLs[i]); err != nil {
			return err
		}
	}
	switch f.to {
	case "all", "nearest":
		o.Nearest = f.to == "nearest"
	default:
		return usage("--to %q is not all or nearest", f.to)
	}
	if o.Share, err = parseShare(f.generator); err != nil {
		return err
	}
	if f.hot < 0 || f.hot > 1 {
		return usage("--hot %v is no share from 0 to 1", f.hot)
	}
	o.Mix.HotPermille = uint64(math.Round(f.hot * 1000))
	if o.Mix.Prices, err = load.ParsePrices(o.PricesText); err != nil {
		return usage("--prices: %w", err)
	}
	if f.startAt != "" {
		if o.StartAt, err = time.Parse(time.RFC3339, f.startAt); err != nil {
			return usage("--start-at %q is no time like 2006-01-02T15:04:05Z", f.startAt)
		}
	}
	if o.Devnet != "" || len(o.URLs) == 0 {
		return nil // nobody has to pay, or no cluster is named, which is an error of its own
	}
	settings, err := readSolanaConfig(f.config)
	if err != nil {
		return err
	}
	path := first(f.keypair, settings["keypair_path"])
	if path == "" {
		if path, err = defaultKeypairPath(); err != nil {
			return err
		}
	}
	o.Key, err = ownKeypair(path)
	return err
}

// parseShare reads I/N, I from 1 to N.
func parseShare(text string) (load.Share, error) {
	left, right, _ := strings.Cut(text, "/")
	i, err1 := strconv.ParseUint(left, 10, 32)
	n, err2 := strconv.ParseUint(right, 10, 32)
	if err1 != nil || err2 != nil || i < 1 || i > n {
		return load.Share{}, usage("--generator %q is not I/N, I from 1 to N", text)
	}
	return load.Share{Index: i - 1, Of: n}, nil
}
