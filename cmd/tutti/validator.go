package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"

	"tutti/live"
	"tutti/live/store"
	"tutti/node"
	"tutti/rpc"
)

// adminSocket is the name, in a ledger directory, of the socket through which
// tools on the same machine talk to the node.
const adminSocket = "admin.sock"

// reportsMax bounds the reports that wait for RPC and the admin socket: many
// seconds of them.
const reportsMax = 1 << 18

// metricsTimeout bounds a request for metrics.
const metricsTimeout = 10 * time.Second

// validatorFlags are named as agave-validator's where it has them.
type validatorFlags struct {
	ledger, identity, voteAccount string
	noVoting, noRequireTower      bool
	exitOnHalt                    bool
	entrypoints                   []string
	bind, gossipHost              string
	gossipPort, rpcPort           uint16
	rpcBind, faucet               string
	expectedGenesis, restart      string
	limitLedgerSize               int
	log, logLevel, metrics        string
	drop                          float64
}

// newValidatorCommand runs a node.
func newValidatorCommand() *cobra.Command {
	var f validatorFlags
	c := &cobra.Command{
		Use:   "validator --ledger DIR --identity KEYPAIR --vote-account KEY --entrypoint HOST:PORT ...",
		Short: "Run a validator",
		Long: "Run a validator on a ledger directory that holds the cluster's genesis.bin, until it is\n" +
			"told to stop by SIGINT or SIGTERM. Clients' transactions and other validators come to one\n" +
			"QUIC port, --gossip-port; WebSocket subscriptions to the port after --rpc-port.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context(), c.ErrOrStderr()) },
	}
	flags := c.Flags()
	flags.StringVarP(&f.ledger, "ledger", "l", "ledger", "ledger directory")
	flags.StringVarP(&f.identity, "identity", "i", "", "keypair file of the node; it signs votes, too")
	flags.StringVar(&f.voteAccount, "vote-account", "", "vote account: its address or keypair file")
	flags.BoolVar(&f.noVoting, "no-voting", false, "run without voting")
	flags.BoolVar(&f.noRequireTower, "no-require-tower", false, "start without the tower file, and perhaps contradict own votes")
	flags.BoolVar(&f.exitOnHalt, "exit-on-halt", false, "when the cluster halts, exit with code 3 instead of serving clients and repair")
	flags.StringArrayVarP(&f.entrypoints, "entrypoint", "n", nil, "a node of the cluster, host:port; give several")
	flags.StringVar(&f.bind, "bind-address", "0.0.0.0", "address to listen on for validators and transactions")
	flags.StringVar(&f.gossipHost, "gossip-host", "", "address at which others reach this node (default: --bind-address)")
	flags.Uint16Var(&f.gossipPort, "gossip-port", 8001, "UDP port for validators and transactions, all QUIC")
	flags.Uint16Var(&f.rpcPort, "rpc-port", 8899, "TCP port for JSON-RPC; WebSocket has the next one; 0 for no RPC")
	flags.StringVar(&f.rpcBind, "rpc-bind-address", "127.0.0.1", "address to listen on for JSON-RPC")
	flags.StringVar(&f.faucet, "faucet-keypair", "", "keypair file that pays airdrops; without it there are none")
	flags.StringVar(&f.expectedGenesis, "expected-genesis-hash", "", "refuse to run on any other genesis")
	flags.StringVar(&f.restart, "restart-record", "", "signed record with which a halted cluster goes on; it is kept, later starts do without")
	flags.IntVar(&f.limitLedgerSize, "limit-ledger-size", store.LimitDefault, "shreds to keep")
	flags.StringVarP(&f.log, "log", "o", "-", "file for the log, or - for standard error")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&f.metrics, "metrics-address", "", "host:port for Prometheus' metrics, at /metrics")
	flags.Float64Var(&f.drop, "drop", 0, "share of received shreds to throw away, to test recovery")
	if err := c.MarkFlagRequired("identity"); err != nil {
		panic(err) // a flag of that name is registered above
	}
	return c
}

// run runs the node until ctx is done.
func (f *validatorFlags) run(ctx context.Context, errs io.Writer) error {
	cfg, faucet, err := f.config()
	if err != nil {
		return err
	}
	var closeLog func()
	if cfg.Log, closeLog, err = f.logger(errs); err != nil {
		return err
	}
	defer closeLog()

	limitMemory()
	group, ctx := errgroup.WithContext(ctx)
	server := &rpc.Server{
		Genesis: cfg.Genesis, Faucet: faucet, Identity: publicKey(cfg.Identity), Version: version,
		Address: net.JoinHostPort(f.rpcBind, strconv.Itoa(int(f.rpcPort))),
	}
	admin := rpc.NewAdmin(filepath.Join(f.ledger, adminSocket))
	// What can be wrong on this machine is found before anything runs.
	if f.rpcPort != 0 {
		if err := server.Listen(); err != nil {
			return busy(err, "--rpc-port")
		}
		cfg.RPC = strings.TrimPrefix(server.URL(), "http://")
		cfg.PubSub = strings.TrimPrefix(server.WebSocketURL(), "ws://")
	}
	l, err := live.New(cfg)
	if err != nil {
		return startError(err)
	}
	if err := admin.Listen(); err != nil {
		return errors.Join(usage("%w", err), l.Close())
	}
	admin.Counters = func() (network, dropped map[string]uint64) { return counters(l.Metrics()) }
	metrics := promhttp.HandlerFor(l.Metrics(), promhttp.HandlerOpts{})
	admin.Metrics = metrics
	server.State = rpc.NewState(l.View())
	server.Submit = l.Submit
	if f.metrics != "" {
		listener, err := net.Listen("tcp", f.metrics)
		if err != nil {
			return errors.Join(busy(err, "--metrics-address"), l.Close())
		}
		group.Go(func() error { return serveMetrics(ctx, listener, metrics) })
	}

	reports := l.Reports().Subscribe(reportsMax)
	group.Go(func() error { return f.applyReports(ctx, l, reports, server.State, admin, cfg.Log) })
	group.Go(func() error { return l.Run(ctx) })
	group.Go(func() error { return admin.Run(ctx) })
	if f.rpcPort != 0 {
		group.Go(func() error { return server.Run(ctx) })
	}
	cfg.Log.Info("started", zap.Stringer("identity", publicKey(cfg.Identity)), zap.Stringer("quic", l.Addr()),
		zap.String("rpc", cfg.RPC), zap.String("ledger", f.ledger))
	err = group.Wait()
	cfg.Log.Info("stopped", zap.Error(err))
	return err
}

// config reads everything that the flags name.
func (f *validatorFlags) config() (cfg live.Config, faucet ed25519.PrivateKey, err error) {
	if cfg.Genesis, err = readGenesis(f.ledger); err != nil {
		return cfg, nil, err
	}
	if have := cfg.Genesis.Hash().String(); f.expectedGenesis != "" && have != f.expectedGenesis {
		return cfg, nil, usage("genesis in %s is %s, not %s as expected: copy the cluster's genesis.bin there", f.ledger, have, f.expectedGenesis)
	}
	if cfg.Identity, err = live.ReadKey(f.identity); err != nil {
		return cfg, nil, usage("%w", err)
	}
	switch {
	case f.noVoting:
	case f.voteAccount == "":
		return cfg, nil, usage("no vote account is named: say --vote-account, or --no-voting")
	default:
		if cfg.VoteAccount, err = keyOf("--vote-account", f.voteAccount); err != nil {
			return cfg, nil, err
		}
	}
	if f.restart != "" {
		if cfg.Restart, err = readRestart(f.restart); err != nil {
			return cfg, nil, err
		}
	}
	if f.faucet != "" {
		if faucet, err = live.ReadKey(f.faucet); err != nil {
			return cfg, nil, usage("%w", err)
		}
	}
	bind, err := netip.ParseAddr(f.bind)
	if err != nil {
		return cfg, nil, usage("--bind-address %q is no IP address", f.bind)
	}
	if f.drop < 0 || f.drop >= 1 {
		return cfg, nil, usage("--drop %v is no share from 0 to less than 1", f.drop)
	}
	if f.limitLedgerSize <= 0 {
		return cfg, nil, usage("--limit-ledger-size %d: use a number of shreds above 0", f.limitLedgerSize)
	}
	cfg.Listen = netip.AddrPortFrom(bind, f.gossipPort)
	if f.gossipHost != "" {
		host, err := netip.ParseAddr(f.gossipHost)
		if err != nil {
			return cfg, nil, usage("--gossip-host %q is no IP address", f.gossipHost)
		}
		cfg.Advertise = netip.AddrPortFrom(host, f.gossipPort).String()
	} else if bind.IsUnspecified() && len(f.entrypoints) > 0 {
		return cfg, nil, usage("others cannot reach %s: say --gossip-host ADDRESS, or --bind-address ADDRESS", bind)
	}
	for _, entrypoint := range f.entrypoints {
		if _, _, err := net.SplitHostPort(entrypoint); err != nil {
			return cfg, nil, usage("--entrypoint %q is not host:port", entrypoint)
		}
	}
	cfg.NoTower, cfg.Slowness = f.noRequireTower, slowness(f.ledger, cfg.Genesis)
	cfg.Ledger, cfg.Entrypoints = f.ledger, f.entrypoints
	cfg.ShredsMax, cfg.DropShreds, cfg.Software = f.limitLedgerSize, f.drop, "tutti/"+version
	return cfg, faucet, nil
}

// startError gives errors that the operator can mend their exit code.
func startError(err error) error {
	var start *live.StartError
	if errors.As(err, &start) {
		return usage("%w", err)
	}
	return err
}

// busy says which flag helps if a port is taken.
func busy(err error, flag string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return usage("%w: stop the process that has it or choose another %s", err, flag)
	}
	return usage("%w: choose another %s", err, flag)
}

// logger returns the log and what closes it.
func (f *validatorFlags) logger(errs io.Writer) (*zap.Logger, func(), error) {
	level, err := zapcore.ParseLevel(f.logLevel)
	if err != nil {
		return nil, nil, usage("--log-level %q is not debug, info, warn or error", f.logLevel)
	}
	encoder := zap.NewProductionEncoderConfig()
	encoder.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoder.EncodeLevel = zapcore.CapitalLevelEncoder
	out, closeLog := zapcore.AddSync(errs), func() {}
	if f.log != "-" {
		file, err := os.OpenFile(f.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return nil, nil, usage("open log: %w: name another file with --log", err)
		}
		out, closeLog = file, func() { file.Close() }
	}
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(encoder), zapcore.Lock(out), level)
	return zap.New(core), closeLog, nil
}

// applyReports feeds what clients see from the node's reports. It ends with an
// error if the node halts and is to exit then: the record of the halt is
// durable before it is reported.
func (f *validatorFlags) applyReports(ctx context.Context, l *live.Live, reports *live.Subscription, state *rpc.State, admin *rpc.Admin, log *zap.Logger) error {
	for {
		batch, err := reports.Next(ctx)
		switch {
		case errors.Is(err, live.ErrSlow):
			log.Warn("RPC fell behind: what clients see may have gaps")
			reports = l.Reports().Subscribe(reportsMax)
			continue
		case err != nil:
			return nil // the node has stopped
		}
		for _, r := range batch {
			state.Apply(r.Time, r.Of)
			admin.Apply(r.Time, r.Of)
			if h, ok := r.Of.(node.HealthChanged); ok && f.exitOnHalt && h.Health == node.Halted {
				return &exitError{exitHalted, fmt.Errorf("halted at block %v: %s", h.Block, h.Cause)}
			}
		}
	}
}

// counters returns what the endpoint counts, without the prefix that the
// metrics' names have in common, those with labels added up; and how many of
// clients' transactions were dropped, by reason.
func counters(r *prometheus.Registry) (network, dropped map[string]uint64) {
	families, err := r.Gather()
	if err != nil {
		return nil, nil
	}
	network, dropped = map[string]uint64{}, map[string]uint64{}
	for _, family := range families {
		name, quic := strings.CutPrefix(family.GetName(), "tutti_quic_")
		for _, m := range family.GetMetric() {
			n := uint64(m.GetCounter().GetValue() + m.GetGauge().GetValue())
			if quic {
				network[name] += n
			}
			if labels := m.GetLabel(); name == "tutti_dropped_total" && len(labels) == 2 && labels[1].GetValue() == "transaction" {
				dropped[labels[0].GetValue()] += n
			}
		}
	}
	return network, dropped
}

// serveMetrics answers Prometheus until ctx is done.
func serveMetrics(ctx context.Context, l net.Listener, metrics http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	server := &http.Server{Handler: mux, ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout, IdleTimeout: metricsTimeout}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}
