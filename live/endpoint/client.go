package endpoint

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"
)

const (
	// transactionMax is the size of the largest transaction.
	transactionMax = 1232
	// openTimeout is for how long a client waits until the node lets it open a stream.
	openTimeout = 2 * time.Second
)

// readClient reads a client's transactions, one per stream.
func (e *Endpoint) readClient(ctx context.Context, conn *quic.Conn, g *guest) {
	var pace func(context.Context) error
	if !g.ip.IsLoopback() { // who is on this machine is trusted with its rate
		pace = rate.NewLimiter(rate.Limit(g.share.rate), max(unstakedBurst, g.share.rate/10)).Wait
	}
	e.readStreams(ctx, conn, g.share, pace, func(stream *quic.ReceiveStream) {
		tx, err := readTransaction(stream)
		switch {
		case errors.Is(err, errTransaction):
			e.stats.refuse(BadTransaction)
			conn.CloseWithError(codeInvalidStream, "invalid_stream")
		case err != nil:
			e.stats.refuse(StreamCut)
			stream.CancelRead(codeInvalidStream)
		default:
			e.stats.Transactions.Add(1)
			e.cfg.Transaction(g.key, tx)
		}
	})
}

var errTransaction = errors.New("no transaction")

func readTransaction(stream *quic.ReceiveStream) ([]byte, error) {
	if err := stream.SetReadDeadline(time.Now().Add(streamTimeout)); err != nil {
		return nil, err
	}
	var buf [transactionMax + 1]byte
	n, err := io.ReadFull(stream, buf[:])
	switch {
	case err == nil:
		return nil, fmt.Errorf("%w: more than %d bytes", errTransaction, transactionMax)
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: empty stream", errTransaction)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return append([]byte(nil), buf[:n]...), nil
	}
	return nil, err
}

// Client sends transactions to a node as Solana's clients do.
type Client struct {
	udp       *net.UDPConn
	transport *quic.Transport
	conn      *quic.Conn
}

// DialTransactions connects to a node's endpoint. The key is the client's
// identity: any key will do, a staked one has more bandwidth.
func DialTransactions(ctx context.Context, addr netip.AddrPort, key ed25519.PrivateKey) (*Client, error) {
	udp, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, fmt.Errorf("open a UDP socket: %w", err)
	}
	c := &Client{udp: udp, transport: &quic.Transport{Conn: udp}}
	c.conn, err = c.transport.Dial(ctx, net.UDPAddrFromAddrPort(addr), clientTLS(key, ALPNTransactions, addr, nil), &quic.Config{
		Versions:              []quic.Version{quic.Version1},
		HandshakeIdleTimeout:  handshakeTimeout,
		MaxIdleTimeout:        idleTimeoutMax,
		KeepAlivePeriod:       keepAlivePeriod,
		MaxIncomingStreams:    -1,
		MaxIncomingUniStreams: -1,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("dial %s: %w", addr, err), c.transport.Close(), udp.Close())
	}
	return c, nil
}

// Send writes one transaction on a stream of its own. Nobody says whether it
// arrived, or was taken. If the node lets it open no more streams it waits for
// two seconds, then for no longer: the error is context.DeadlineExceeded.
func (c *Client) Send(ctx context.Context, tx []byte) error {
	stream, err := c.conn.OpenUniStream()
	if limit := (*quic.StreamLimitReachedError)(nil); errors.As(err, &limit) {
		within, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		stream, err = c.conn.OpenUniStreamSync(within)
	}
	if err != nil {
		return fmt.Errorf("send transaction: %w", err)
	}
	if _, err := stream.Write(tx); err != nil {
		stream.CancelWrite(codeDropped)
		return fmt.Errorf("send transaction: %w", err)
	}
	return stream.Close()
}

// Done is closed when the connection is over.
func (c *Client) Done() <-chan struct{} { return c.conn.Context().Done() }

// Close ends the connection; what was not yet sent is lost.
func (c *Client) Close() error {
	return errors.Join(c.conn.CloseWithError(0, ""), c.transport.Close(), c.udp.Close())
}
