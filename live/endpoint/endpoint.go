// Package endpoint is a node's one QUIC endpoint (PROTOCOL section 6): one
// UDP socket on which validators exchange frames and clients send
// transactions. It moves bytes between authenticated keys, under limits on
// both sides, and knows nothing of what they mean. What cannot be sent or
// taken at once is dropped and counted; it never blocks its callers.
//
// Between validators a batch of frames, each with its length before it as a
// little-endian u32, goes on one unidirectional stream, so a lost packet
// delays only its own batch. A pair of nodes may hold a connection in each
// direction; either carries frames both ways, and the newest is used.
package endpoint

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"

	"tutti/ledger"
)

// Timeouts and windows (FORMATS section 7).
const (
	handshakeTimeout   = 2 * time.Second
	idleTimeoutMax     = 10 * time.Second
	keepAlivePeriod    = 3 * time.Second
	streamTimeout      = 2 * time.Second // for one frame, or a client's transaction, to arrive
	writeTimeout       = 2 * time.Second // for a batch to be taken by the connection
	handshakesFree     = 50              // a second, before addresses must be proved
	streamWindow       = 5 * batchMax    // for a batch and the frame that closes it: what does not fit waits a round trip
	streamWindowMax    = 512 << 10
	connectionWindow   = 512 << 10
	unstakedWindowMax  = 1 << 20
	stakedWindowMax    = 8 << 20
	allWindowsMax      = 1 << 30 // what all connections together may have grown to
	receiveBufferBytes = 7 << 20 // what quic-go wants of the socket
)

// Codes with which connections and streams are closed (FORMATS section 7).
const (
	codeDropped       = 1
	codeDisallowed    = 2
	codeInvalidStream = 5
)

// Config says how an Endpoint works. All fields but Staking and Met are
// needed.
type Config struct {
	// Key is the node's identity.
	Key ed25519.PrivateKey
	// Listen is the UDP address; port 0 picks a free one.
	Listen netip.AddrPort
	// Entrypoints are addresses, host:port, of nodes whose keys are not
	// known yet. One of them is this node itself: it is left alone.
	Entrypoints []string
	// FrameMax bounds a frame's bytes.
	FrameMax int
	// Staking tells stakes, for limits. It is called on many goroutines.
	Staking Staking
	// Frame takes a peer's frame, which is its own to keep. It is called on
	// the readers' goroutines, many at a time, and must not block.
	Frame func(from ledger.Pubkey, frame []byte)
	// Transaction takes the bytes of a client's transaction. As Frame.
	Transaction func(from ledger.Pubkey, tx []byte)
	// Met says that a connection to a peer was made. As Frame.
	Met func(peer ledger.Pubkey)
}

// Endpoint is the socket with everything on it.
type Endpoint struct {
	cfg   Config
	self  ledger.Pubkey
	udp   *net.UDPConn
	stats Stats

	made    time.Time
	bulkAge time.Duration // bulkAgeMax, but for tests

	transport *quic.Transport
	peerTable *admission
	tpuTable  *admission

	mu      sync.Mutex
	running context.Context // nil before Run and after it
	tasks   sync.WaitGroup
	peers   map[ledger.Pubkey]*peer
	waits   []time.Duration       // buffer of Waiting
	windows map[*quic.Conn]uint64 // largest window; absent means without stake
	grown   uint64                // Σ of what windows grew by
	growths map[*quic.Conn]uint64
}

// New binds the socket; nothing is sent or answered before Run. A port in
// use gives an error that wraps ErrPortBusy.
func New(cfg Config) (*Endpoint, error) {
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(cfg.Listen))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: UDP %s; stop the process that has it or choose another port", ErrPortBusy, cfg.Listen)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on UDP %s: %w", cfg.Listen, err)
	}
	// A refusal is no failure: quic-go asks again and logs what it got.
	_ = udp.SetReadBuffer(receiveBufferBytes)
	_ = udp.SetWriteBuffer(receiveBufferBytes)
	if cfg.Staking == nil {
		cfg.Staking = func(ledger.Pubkey) (ledger.Lamports, ledger.Lamports) { return 0, 0 }
	}
	if cfg.Met == nil {
		cfg.Met = func(ledger.Pubkey) {}
	}
	limiter := rate.NewLimiter(handshakesFree, 2*handshakesFree)
	// Derived, so that a node that comes back can still reset what its peers
	// hold on to.
	resetKey := quic.StatelessResetKey(ledger.Sum([]byte("tutti stateless reset"), cfg.Key.Seed()))
	transport := &quic.Transport{
		Conn:                udp,
		StatelessResetKey:   &resetKey,
		VerifySourceAddress: func(net.Addr) bool { return !limiter.Allow() },
	}
	return &Endpoint{
		cfg:       cfg,
		made:      time.Now(),
		bulkAge:   bulkAgeMax,
		transport: transport,
		self:      ledger.Pubkey(cfg.Key.Public().(ed25519.PublicKey)),
		udp:       udp,
		peerTable: newAdmission(),
		tpuTable:  newAdmission(),
		peers:     map[ledger.Pubkey]*peer{},
		windows:   map[*quic.Conn]uint64{},
		growths:   map[*quic.Conn]uint64{},
	}, nil
}

// ErrPortBusy is returned by New when another process has the port.
var ErrPortBusy = errors.New("port in use")

// Addr returns the address of the socket.
func (e *Endpoint) Addr() netip.AddrPort { return e.udp.LocalAddr().(*net.UDPAddr).AddrPort() }

// Stats returns the counters.
func (e *Endpoint) Stats() *Stats { return &e.stats }

// Close frees the socket of an endpoint that was never run.
func (e *Endpoint) Close() error { return e.udp.Close() }

// Run answers and dials until ctx ends; then it closes everything and
// returns nil. It may be called once.
func (e *Endpoint) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	listener, err := e.transport.Listen(serverTLS(e.cfg.Key), e.quicConfig())
	if err != nil {
		return errors.Join(fmt.Errorf("listen for QUIC: %w", err), e.udp.Close())
	}
	e.mu.Lock()
	e.running = ctx
	for _, p := range e.peers { // known before Run
		e.startPeer(p)
		e.spawnLocked(func(ctx context.Context) { e.connection(ctx, p) })
	}
	e.mu.Unlock()
	for _, address := range e.cfg.Entrypoints {
		e.spawn(func(ctx context.Context) { e.enter(ctx, address) })
	}

	for {
		var conn *quic.Conn
		conn, err = listener.Accept(ctx)
		if err != nil {
			break
		}
		e.spawn(func(ctx context.Context) { e.serve(ctx, conn) })
	}

	e.mu.Lock()
	e.running = nil
	e.mu.Unlock()
	ended := ctx.Err() != nil
	stop()
	e.tasks.Wait() // each task closes its own connection
	closed := errors.Join(listener.Close(), e.transport.Close(), e.udp.Close())
	if ended {
		return nil
	}
	return errors.Join(fmt.Errorf("accept on UDP %s: %w", e.Addr(), err), closed)
}

// spawn starts a task that Run waits for, unless Run is over.
func (e *Endpoint) spawn(task func(ctx context.Context)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.spawnLocked(task)
}

func (e *Endpoint) spawnLocked(task func(ctx context.Context)) bool {
	ctx := e.running
	if ctx == nil {
		return false
	}
	e.tasks.Go(func() { task(ctx) })
	return true
}

func (e *Endpoint) quicConfig() *quic.Config {
	return &quic.Config{
		Versions:                       []quic.Version{quic.Version1},
		HandshakeIdleTimeout:           handshakeTimeout,
		MaxIdleTimeout:                 idleTimeoutMax,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindowMax,
		InitialConnectionReceiveWindow: connectionWindow,
		MaxConnectionReceiveWindow:     stakedWindowMax,
		AllowConnectionWindowIncrease:  e.allowWindow,
		MaxIncomingStreams:             -1,
		MaxIncomingUniStreams:          streamsMax,
		KeepAlivePeriod:                keepAlivePeriod,
	}
}

// allowWindow keeps connections without stake small, and all of them
// together within a budget. quic-go calls it under its own locks: it calls
// nothing back.
func (e *Endpoint) allowWindow(conn *quic.Conn, delta uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	limit, ok := e.windows[conn]
	if !ok || e.growths[conn]+delta+connectionWindow > limit || e.grown+delta > allWindowsMax {
		return false
	}
	e.growths[conn] += delta
	e.grown += delta
	return true
}

// track counts an open connection and its windows until it ends.
func (e *Endpoint) track(conn *quic.Conn, staked bool) (untrack func()) {
	limit := uint64(unstakedWindowMax)
	if staked {
		limit = stakedWindowMax
	}
	e.mu.Lock()
	e.windows[conn] = limit
	e.mu.Unlock()
	e.stats.Connections.Add(1)
	return func() {
		e.mu.Lock()
		e.grown -= e.growths[conn]
		delete(e.growths, conn)
		delete(e.windows, conn)
		e.mu.Unlock()
		e.stats.Connections.Add(-1)
	}
}

// serve admits an accepted connection and reads it to its end.
func (e *Endpoint) serve(ctx context.Context, conn *quic.Conn) {
	// Closing is idempotent; the peer learns of it at once.
	defer conn.CloseWithError(codeDropped, "dropped")
	e.stats.Accepted.Add(1)
	state := conn.ConnectionState().TLS
	key, err := identity(state)
	if err != nil {
		e.stats.refuse(BadIdentity)
		return
	}
	table := e.tpuTable
	if state.NegotiatedProtocol == ALPNNode {
		table = e.peerTable
	}
	g := &guest{
		key:   key,
		ip:    remoteIP(conn),
		share: shareOf(e.cfg.Staking(key)),
		close: func() { conn.CloseWithError(codeDropped, "dropped") },
	}
	pruned, reason, ok := table.admit(g)
	if !ok {
		e.stats.refuse(reason)
		conn.CloseWithError(codeDisallowed, "disallowed")
		return
	}
	defer table.leave(g)
	if pruned != nil {
		e.stats.refuse(ConnectionPruned)
		pruned.close()
	}
	defer e.track(conn, g.share.staked)()
	if table == e.peerTable {
		e.readPeer(ctx, conn, key, g.share)
	} else {
		e.readClient(ctx, conn, g)
	}
}

// dial connects to addr with that protocol; want pins the key if not nil.
func (e *Endpoint) dial(ctx context.Context, addr netip.AddrPort, want *ledger.Pubkey) (*quic.Conn, ledger.Pubkey, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*handshakeTimeout)
	defer cancel()
	conn, err := e.transport.Dial(ctx, net.UDPAddrFromAddrPort(addr), clientTLS(e.cfg.Key, ALPNNode, addr, want), e.quicConfig())
	if err != nil {
		e.stats.DialsFailed.Add(1)
		return nil, ledger.Pubkey{}, fmt.Errorf("dial %s: %w", addr, err)
	}
	e.stats.Dialed.Add(1)
	key, err := identity(conn.ConnectionState().TLS)
	return conn, key, err
}

func remoteIP(conn *quic.Conn) netip.Addr {
	return conn.RemoteAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}
