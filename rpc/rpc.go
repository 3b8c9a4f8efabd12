// Package rpc is what clients see of a node: Solana's JSON-RPC over HTTP and
// WebSocket, and an event stream for tools on the same machine.
//
// A State is built from the node's reports; a Server answers from it, and
// hands transactions to the node. The package decides nothing about the
// ledger and never touches the node itself.
//
// The JSON-RPC envelope is our own (envelope.go). Libraries for it that we
// tried do not fit Solana's clients: jrpc2, for one, takes a request with
// "id": null for a notification, refuses unknown keys, and answers bodies
// that are no JSON with HTTP status 500.
package rpc

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tutti/cluster"
	"tutti/ledger"
)

// Bounds of a Server. A client beyond them is refused.
const (
	// bodySizeMax bounds a request, and a WebSocket message; it is Agave's.
	bodySizeMax = 50 << 10
	// responseSizeMax bounds what a batch makes the server put together: the
	// rest of the batch is refused.
	responseSizeMax = 32 << 20
	// connectionsMax bounds open HTTP connections, and WebSockets, per port:
	// the next wait until one closes.
	connectionsMax = 1024
	// subscriptionsMax bounds the subscriptions of one WebSocket.
	subscriptionsMax = 10_000
)

const (
	headerTimeout = 10 * time.Second
	readTimeout   = 20 * time.Second
	writeTimeout  = 30 * time.Second
	// idleTimeout is longer than web3.js keeps an idle connection (19 s).
	idleTimeout = 75 * time.Second
	stopTimeout = 2 * time.Second
)

// DefaultAddress is where clients look for a node on their own machine.
const DefaultAddress = "127.0.0.1:8899"

// Server answers clients of one node. All exported fields are set before Run
// and not changed after.
type Server struct {
	State *State
	// Submit hands a transaction, sanitised and with valid signatures, to the
	// node. Its error says why the node refuses it. It may be called by many
	// goroutines.
	Submit  func(context.Context, ledger.Transaction) error
	Genesis *cluster.Genesis
	// Faucet pays airdrops; without it there are none.
	Faucet   ed25519.PrivateKey
	Identity ledger.Pubkey
	// Version is our own, beside that of the interface.
	Version string
	// Address is the host and port to listen on, DefaultAddress if empty; the
	// WebSocket's port is the next one. Port 0 stands for two free ports.
	Address string

	genesisHash string
	web, pubsub net.Listener
	airdrops    atomic.Uint32
	// subscriptions counts those ever made; their numbers are their ids.
	subscriptions atomic.Uint64
}

// Listen opens the ports, so that a caller learns early that one is taken.
// Run does it otherwise.
func (s *Server) Listen() error {
	s.genesisHash = s.Genesis.Hash().String()
	address := s.Address
	if address == "" {
		address = DefaultAddress
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("rpc address: %w", err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 65535 {
		return fmt.Errorf("rpc address: %q is no port that has a next one", text)
	}
	// Of two free ports in a row the second may be taken by others.
	for range 100 {
		s.web, s.pubsub, err = listenTwo(host, port)
		if err == nil || port != 0 {
			return err
		}
	}
	return err
}

func listenTwo(host string, port uint64) (first, second net.Listener, err error) {
	first, err = net.Listen("tcp", net.JoinHostPort(host, strconv.FormatUint(port, 10)))
	if err != nil {
		return nil, nil, fmt.Errorf("listen for rpc: %w", err)
	}
	next := first.Addr().(*net.TCPAddr).Port + 1
	second, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(next)))
	if err != nil {
		first.Close()
		return nil, nil, fmt.Errorf("listen for rpc websocket: %w", err)
	}
	return first, second, nil
}

// URL returns the HTTP address that the server listens on, after Listen.
func (s *Server) URL() string { return "http://" + s.web.Addr().String() }

// WebSocketURL returns the address for subscriptions, after Listen.
func (s *Server) WebSocketURL() string { return "ws://" + s.pubsub.Addr().String() }

// Run serves until ctx is done, which is no error, or a listener fails.
func (s *Server) Run(ctx context.Context) error {
	if s.web == nil {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(ctx, s.web, http.HandlerFunc(s.serveRPC)) })
	group.Go(func() error { return serve(ctx, s.pubsub, http.HandlerFunc(s.servePubSub)) })
	return group.Wait()
}

// serve answers requests on l until ctx is done, then waits for those that
// are being answered.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	var handlers sync.WaitGroup // Shutdown does not wait for WebSockets
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handlers.Add(1)
			defer handlers.Done()
			h.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		// What clients do wrong is no news of this node.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
	})
	err := server.Serve(limit(l, connectionsMax))
	if !stop() {
		<-stopped
	}
	server.Close()
	handlers.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// limit returns a listener of which at most n connections are open at once;
// the next has to wait.
func limit(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, free: make(chan struct{}, n), done: make(chan struct{})}
}

type limited struct {
	net.Listener
	free chan struct{} // holds an element for each open connection
	done chan struct{}
	once sync.Once
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &limitedConn{Conn: c, release: sync.OnceFunc(func() { <-l.free })}, nil
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// serveRPC answers what comes to the RPC port.
func (s *Server) serveRPC(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	switch {
	case isUpgrade(r):
		s.servePubSub(w, r)
	case r.Method == http.MethodOptions:
		header.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS")
		header.Set("Access-Control-Allow-Headers", "content-type, solana-client")
		header.Set("Access-Control-Max-Age", "86400")
	case r.Method == http.MethodGet && r.URL.Path == "/health":
		header.Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, s.health())
	case r.Method != http.MethodPost:
		header.Set("Allow", "POST, OPTIONS")
		http.Error(w, "JSON-RPC is sent by POST", http.StatusMethodNotAllowed)
	case !isJSON(r.Header.Get("Content-Type")):
		http.Error(w, "the content type of JSON-RPC is application/json", http.StatusUnsupportedMediaType)
	default:
		s.servePost(w, r)
	}
}

func isUpgrade(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/json"
}

func (s *Server) servePost(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodySizeMax))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			http.Error(w, "request too large", http.StatusRequestEntityTooLarge)
		}
		// Otherwise the client has gone.
		return
	}
	response := answer(body, s.handle(r.Context()))
	if response == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(response)
}

// health is the text that load balancers and scripts poll.
func (s *Server) health() string {
	if h, unwell := s.State.unwell(); unwell {
		return h.Health.String()
	}
	slots, ok := s.State.behind()
	switch {
	case !ok:
		return "unknown"
	case slots > slotsBehindMax:
		return "behind"
	}
	return "ok"
}
