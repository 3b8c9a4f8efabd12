// Package live runs one node for real: goroutines, clock, QUIC, disk, logs
// and metrics around the state machine of package node, which decides
// everything.
//
//	peers, clients ─▶ endpoint ─ decode, verify ─▶ inboxes ─┐
//	workers ─▶ results ─┐                                   ▼
//	executor ───────────┴──────────────▶ core: Step(now, event) ─▶ effects
//	     ▲ Execute, Root                          │ Save ─▶ store ─▶ durable
//	     └─────────────────────────────◀──────────┤ Work ─▶ workers
//	hub ─▶ log, metrics, subscribers ◀─ Report ───┤ Answer ─▶ answerer ─▶ store
//	peers ◀─ endpoint ◀──────── Send, Dial ───────┘
//
// One goroutine owns the node, one the bank, one the writing to disk. Every
// queue has a bound, or is bounded by who fills it; the core never waits for
// another goroutine.
package live

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"tutti/bank"
	"tutti/cluster"
	"tutti/ledger"
	"tutti/live/endpoint"
	"tutti/live/store"
	"tutti/node"
)

// Config says what to run. Genesis, Identity and Ledger are needed.
type Config struct {
	Genesis  *cluster.Genesis
	Identity ed25519.PrivateKey
	// VoteAccount is what the node votes for; zero for one that does not.
	VoteAccount ledger.Pubkey
	// Ledger is the directory of the ledger; it is made if it is not there.
	Ledger string
	// NoTower has the node start although its tower file is missing: it may
	// then contradict its own votes.
	NoTower bool
	// Restart is a record with which a halted cluster goes on, or nil. It is
	// stored, and not needed again.
	Restart *cluster.Restart
	// ShredsMax is how many shreds are kept; 0 stands for store.LimitDefault.
	ShredsMax int
	// Listen is the UDP address for peers and clients; port 0 picks one.
	Listen netip.AddrPort
	// Advertise is the ip:port at which others reach Listen; if empty, Listen
	// is.
	Advertise string
	// RPC and PubSub are what clients are told, host:port; empty if there is
	// none.
	RPC, PubSub string
	// Entrypoints are host:port of nodes of the cluster.
	Entrypoints []string
	Software    string // name and version, for people
	// DropShreds is the share of received Turbine shreds, 0…1, that is thrown
	// away at random, to test recovery.
	DropShreds float64
	// Slowness, if it is set, tells how much longer the executor is to take for
	// a block for which it took so long, to test what that does to all else.
	Slowness func(block *bank.Block, took time.Duration) time.Duration
	// Log takes what people may want to know; nil for nobody.
	Log *zap.Logger
}

// Live is a node with all that it needs around it.
type Live struct {
	cfg      Config
	log      *zap.Logger
	store    *store.Store
	endpoint *endpoint.Endpoint
	executor *executor
	core     *core
	decoder  node.Decoder
	tpu      *queue[[]byte]
	throttle throttle
	hub      Hub
	watch    *Subscription // for logs and metrics
	metrics  *metrics
	stopped  chan struct{} // closed when Run ends

	mu       sync.Mutex
	tokens   uint64
	verdicts map[uint64]chan error // of Submits that wait, by token
}

// watchMax bounds the reports that wait for logs and metrics.
const watchMax = 65_536

// New opens and checks everything, and starts nothing. What the operator can
// mend is a StartError. Whoever does not call Run calls Close.
func New(cfg Config) (*Live, error) {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.ShredsMax == 0 {
		cfg.ShredsMax = store.LimitDefault
	}
	l := &Live{
		cfg:      cfg,
		log:      cfg.Log,
		decoder:  node.Decoder{Rule: cfg.Genesis.Params.SignatureRule},
		tpu:      newQueue[[]byte](TPUInboxMax),
		stopped:  make(chan struct{}),
		verdicts: make(map[uint64]chan error),
	}
	l.core = &core{
		Live:     l,
		becameSo: make(chan struct{}, 1),
		jobs:     newQueue[node.Job](0), // the core stops taking messages at jobsBusy
		// UserBlocks that are held bound it: while it is long nothing is
		// executed, and by the rule on lag nothing is proposed.
		verifying: newQueue[node.SignatureJob](0),
		answers:   newQueue[node.Answer](answersMax),
		results:   newQueue[node.Event](0), // one for each job and block asked for
		peers:     newQueue[node.Event](InboxMax),
		clients:   newQueue[node.Submitted](ClientInboxMax),
	}
	if err := l.open(); err != nil {
		return nil, errors.Join(&StartError{err}, l.Close())
	}
	return l, nil
}

func (l *Live) open() error {
	cfg := &l.cfg
	if err := checkFiles(filesMin); err != nil {
		return err
	}
	genesis := cfg.Genesis.Hash()
	stakes := stakesOf(cfg.Genesis)
	var err error
	l.endpoint, err = endpoint.New(endpoint.Config{
		Key: cfg.Identity, Listen: cfg.Listen, Entrypoints: cfg.Entrypoints,
		FrameMax: node.MessageSizeMax, Staking: stakes,
		Frame: l.receive, Transaction: l.receiveTransaction,
		Met: l.meet,
	})
	if err != nil {
		return err
	}
	if l.store, err = store.Open(store.Options{
		Dir: cfg.Ledger, Genesis: genesis, ShredsMax: cfg.ShredsMax, NoTower: cfg.NoTower,
		Committed: func(took time.Duration) { l.metrics.commit.Observe(took.Seconds()) },
	}); err != nil {
		return err
	}
	restarts, err := l.store.Restarts()
	if err != nil {
		return err
	}
	workers := max(1, runtime.GOMAXPROCS(0)-1)
	var state *node.RootState
	if l.executor, state, err = recoverBank(cfg.Genesis, l.store, node.HardForks(restarts, cfg.Restart), workers); err != nil {
		return err
	}
	l.executor.events, l.executor.slowness = l.core.results, cfg.Slowness
	halt, err := l.store.Halt()
	if err != nil {
		return err
	}
	root := l.executor.bank.Root().Slot
	evidence, err := l.store.Evidence(root - min(root, replaySlack))
	if err != nil {
		return err
	}
	address := cfg.Advertise
	if address == "" {
		address = l.endpoint.Addr().String()
	}
	l.core.node, err = node.New(node.Config{
		Genesis: cfg.Genesis, Identity: cfg.Identity, VoteAccount: cfg.VoteAccount,
		Contact: cluster.Contact{
			Identity: ledger.Pubkey(cfg.Identity.Public().(ed25519.PublicKey)),
			Genesis:  genesis, ShredVersion: cfg.Genesis.ShredVersion(),
			Addr: address, TPU: address, RPC: cfg.RPC, PubSub: cfg.PubSub, Software: cfg.Software,
		},
		Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Recovered: node.Recovered{
			Tower: l.store.Tower(), Begun: l.store.Begun(), Halt: halt, Restarts: restarts, State: state, Evidence: evidence,
		},
		Restart: cfg.Restart,
		Bank:    l.executor.view(),
		Now:     time.Now(),
	})
	if err != nil {
		return fmt.Errorf("start node on ledger %s: %w", cfg.Ledger, err)
	}
	l.metrics = newMetrics(l)
	l.watch = l.hub.Subscribe(watchMax)
	return nil
}

// stakesOf tells genesis' stakes: those of later epochs change limits of
// traffic too little to matter.
func stakesOf(g *cluster.Genesis) endpoint.Staking {
	epoch := g.Stakes(0)
	stakes := make(map[ledger.Pubkey]ledger.Lamports)
	var total ledger.Lamports
	for i := range epoch.Items {
		stakes[epoch.Items[i].Identity] += epoch.Items[i].Stake
		total += epoch.Items[i].Stake
	}
	return func(key ledger.Pubkey) (ledger.Lamports, ledger.Lamports) { return stakes[key], total }
}

// Close frees what New opened. It is for those who do not call Run.
func (l *Live) Close() error {
	var errs []error
	if l.endpoint != nil {
		errs = append(errs, l.endpoint.Close())
	}
	if l.store != nil {
		errs = append(errs, l.store.Close())
	}
	return errors.Join(errs...)
}

// Run runs the node until ctx ends, which is no error, or something fails
// that it cannot go on without. It may be called once.
func (l *Live) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.store.Run(ctx) })
	group.Go(func() error { return l.endpoint.Run(ctx) })
	group.Go(func() error { return l.executor.run(ctx, l.metrics.executed) })
	group.Go(func() error { return l.core.run(ctx) })
	group.Go(func() error { return l.core.answer(ctx) })
	group.Go(func() error { return l.observe(ctx) })
	for range max(1, runtime.GOMAXPROCS(0)-1) {
		group.Go(func() error { return l.core.work(ctx) })
		group.Go(func() error { return l.verify(ctx) })
	}
	err := group.Wait()
	close(l.stopped)
	l.hub.close()
	if closed := l.store.Close(); err == nil && closed != nil {
		err = fmt.Errorf("close ledger: %w", closed)
	}
	return err
}

// Reports returns the hub of the node's reports.
func (l *Live) Reports() *Hub { return &l.hub }

// View returns the state that the node starts from. It is for those who
// start with it: call it before Run.
func (l *Live) View() *bank.View { return l.executor.view() }

// Addr returns the UDP address for peers and clients.
func (l *Live) Addr() netip.AddrPort { return l.endpoint.Addr() }

// Metrics returns the registry of the node's metrics.
func (l *Live) Metrics() *prometheus.Registry { return l.metrics.registry }

// receive takes a peer's frame, on its reader's goroutine.
func (l *Live) receive(from ledger.Pubkey, frame []byte) {
	msg, err := l.decoder.DecodeMessage(frame)
	if err != nil {
		l.metrics.dropped("message", "malformed")
		l.log.Debug("malformed message", zap.Stringer("from", from), zap.Error(err))
		return
	}
	if _, ok := msg.(node.ShredMessage); ok && l.cfg.DropShreds > 0 && rand.Float64() < l.cfg.DropShreds {
		l.metrics.dropped("shred", "test")
		return
	}
	if !l.core.peers.put(node.Received{From: from, Msg: msg}) {
		l.metrics.dropped("message", "inbox full")
	}
}

// meet takes the news of a connection, on its reader's goroutine.
func (l *Live) meet(peer ledger.Pubkey) {
	if !l.core.peers.put(node.Met{Peer: peer}) {
		l.metrics.dropped("connection", "inbox full")
	}
}

// receiveTransaction takes a client's transaction, on its reader's goroutine.
func (l *Live) receiveTransaction(_ ledger.Pubkey, tx []byte) {
	switch {
	case !l.throttle.room(time.Now(), l.tpu.len()):
		l.metrics.dropped("transaction", "node is busy")
	case !l.tpu.put(tx):
		l.metrics.dropped("transaction", "inbox full")
	}
}
