package endpoint

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"tutti/ledger"
)

// Sizes of what is queued and sent at once.
const (
	// UrgentOutboxMax and BulkOutboxMax bound a peer's outboxes in frames;
	// what does not fit is dropped.
	UrgentOutboxMax = 512
	BulkOutboxMax   = 4096
	// bulkAgeMax is how long a frame that is not urgent may wait for a slow
	// connection: then a shred has been asked for elsewhere and an answer is
	// taken for lost, and both would only delay what is behind them.
	bulkAgeMax = time.Second
	// PeersMax bounds the peers that are dialed or connected.
	PeersMax = 4096
	// batchMax is where a batch of frames is closed.
	batchMax = 64 << 10
	// batchPause is the least time between two batches of frames that are not
	// urgent: a stream for each shred that comes in costs both ends several
	// times what one for all shreds of a moment does.
	batchPause = 2 * time.Millisecond

	redialMin = 100 * time.Millisecond
	redialMax = 5 * time.Second
)

// peer is another validator. Its two writers live as long as it is in the
// endpoint's table.
type peer struct {
	key    ledger.Pubkey
	urgent chan queued
	bulk   chan queued
	gone   chan struct{} // closed when the peer leaves the table

	// oldest tells since when the bulk frame waits that the writer has taken, in
	// nanoseconds after the endpoint was made; 0 while it has none.
	oldest atomic.Int64

	dialing sync.Mutex // held while one goroutine dials

	// Under the endpoint's lock.
	addr     netip.AddrPort // zero if unknown
	conns    []*quic.Conn   // newest last
	redialAt time.Time
	backoff  time.Duration
}

// queued is a frame that waits since a time.
type queued struct {
	frame []byte
	since time.Time
}

// Send queues a frame for a peer and tells whether it was taken. Urgent
// frames have a queue of their own and overtake others. The frame must not
// be changed any more.
func (e *Endpoint) Send(to ledger.Pubkey, frame []byte, urgent bool) bool {
	e.mu.Lock()
	p := e.peers[to]
	e.mu.Unlock()
	if p == nil {
		e.stats.refuse(UnknownPeer)
		return false
	}
	queue := p.bulk
	if urgent {
		queue = p.urgent
	}
	select {
	case queue <- queued{frame, time.Now()}:
		return true
	default:
		e.stats.refuse(OutboxFull)
		return false
	}
}

// Waiting tells how long frames that are not urgent wait to be sent: more than half
// of the connected peers with stake have one that waits for that long. What few slow
// ones, or strangers, keep waiting does not count.
func (e *Endpoint) Waiting() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Since(e.made)
	e.waits = e.waits[:0]
	for _, p := range e.peers {
		if stake, _ := e.cfg.Staking(p.key); stake == 0 || len(p.conns) == 0 {
			continue
		}
		wait := time.Duration(0)
		if oldest := p.oldest.Load(); oldest > 0 {
			wait = now - time.Duration(oldest)
		}
		e.waits = append(e.waits, wait)
	}
	if len(e.waits) == 0 {
		return 0
	}
	slices.Sort(e.waits)
	return e.waits[(len(e.waits)-1)/2]
}

// Dial makes an address of a peer known and connects to it if there is no
// connection. Later it is dialed again whenever there is something to send.
func (e *Endpoint) Dial(to ledger.Pubkey, addr netip.AddrPort) {
	if to == e.self || !addr.IsValid() || addr.Port() == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.addPeer(to)
	if p == nil || p.addr == addr {
		return
	}
	p.addr, p.redialAt, p.backoff = addr, time.Time{}, 0
	e.spawnLocked(func(ctx context.Context) { e.connection(ctx, p) })
}

// addPeer returns the peer of that key, new or old, or nil if the table is
// full. The lock is held.
func (e *Endpoint) addPeer(key ledger.Pubkey) *peer {
	if p := e.peers[key]; p != nil {
		return p
	}
	if len(e.peers) >= PeersMax {
		e.stats.refuse(PeersFull)
		return nil
	}
	p := &peer{
		key:    key,
		urgent: make(chan queued, UrgentOutboxMax),
		bulk:   make(chan queued, BulkOutboxMax),
		gone:   make(chan struct{}),
	}
	e.peers[key] = p
	e.stats.Peers.Add(1)
	e.startPeer(p)
	return p
}

// startPeer starts a peer's writers if Run is on. The lock is held.
func (e *Endpoint) startPeer(p *peer) {
	e.spawnLocked(func(ctx context.Context) { e.write(ctx, p, p.urgent, 0) })
	e.spawnLocked(func(ctx context.Context) { e.write(ctx, p, p.bulk, 3) })
}

// adopt gives a new connection to its peer.
func (e *Endpoint) adopt(key ledger.Pubkey, conn *quic.Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.addPeer(key)
	if p == nil {
		return false
	}
	p.conns = append(p.conns, conn)
	return true
}

// release takes an ended connection away. A peer without address and
// connection leaves the table.
func (e *Endpoint) release(key ledger.Pubkey, conn *quic.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.peers[key]
	if p == nil {
		return
	}
	for i, c := range p.conns {
		if c == conn {
			p.conns = append(p.conns[:i], p.conns[i+1:]...)
			break
		}
	}
	if len(p.conns) == 0 && !p.addr.IsValid() {
		delete(e.peers, key)
		e.stats.Peers.Add(-1)
		close(p.gone)
	}
}

// newest returns the peer's newest live connection, or nil.
func (e *Endpoint) newest(p *peer) *quic.Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := len(p.conns) - 1; i >= 0; i-- {
		if p.conns[i].Context().Err() == nil {
			return p.conns[i]
		}
	}
	return nil
}

// connection returns a live connection to the peer, dialing if need and
// backoff say so, or nil.
func (e *Endpoint) connection(ctx context.Context, p *peer) *quic.Conn {
	if c := e.newest(p); c != nil {
		return c
	}
	p.dialing.Lock()
	defer p.dialing.Unlock()
	if c := e.newest(p); c != nil {
		return c
	}
	e.mu.Lock()
	addr, wait := p.addr, time.Until(p.redialAt)
	e.mu.Unlock()
	if !addr.IsValid() || wait > 0 {
		return nil
	}
	conn, _, err := e.dial(ctx, addr, &p.key)
	e.mu.Lock()
	if err != nil {
		p.backoff = min(max(2*p.backoff, redialMin), redialMax)
		p.redialAt = time.Now().Add(p.backoff)
	} else {
		p.backoff = 0
	}
	e.mu.Unlock()
	if err != nil {
		return nil
	}
	e.readDialed(p.key, conn)
	return conn
}

// readDialed reads a connection that this node has made, in a task of its
// own.
func (e *Endpoint) readDialed(key ledger.Pubkey, conn *quic.Conn) {
	adopted := e.adopt(key, conn) // before the task, so that a writer finds it
	if !e.spawn(func(ctx context.Context) {
		defer conn.CloseWithError(codeDropped, "dropped")
		if !adopted {
			return
		}
		defer e.release(key, conn)
		s := shareOf(e.cfg.Staking(key))
		defer e.track(conn, s.staked)()
		e.cfg.Met(key)
		e.readFrames(ctx, conn, key, s)
	}) {
		conn.CloseWithError(codeDropped, "dropped")
	}
}

// readPeer reads a connection that a peer has made.
func (e *Endpoint) readPeer(ctx context.Context, conn *quic.Conn, key ledger.Pubkey, s share) {
	if !e.adopt(key, conn) {
		return
	}
	defer e.release(key, conn)
	e.cfg.Met(key)
	e.readFrames(ctx, conn, key, s)
}

// enter keeps a connection to an entrypoint, whose key is learnt by
// connecting.
func (e *Endpoint) enter(ctx context.Context, address string) {
	backoff := redialMin
	for {
		addr, err := resolve(ctx, address)
		if err == nil {
			var conn *quic.Conn
			var key ledger.Pubkey
			if conn, key, err = e.dial(ctx, addr, nil); err == nil {
				if key == e.self {
					conn.CloseWithError(0, "")
					return
				}
				backoff = redialMin
				e.readDialed(key, conn)
				select {
				case <-conn.Context().Done():
				case <-ctx.Done():
					return
				}
			}
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return
		}
		backoff = min(2*backoff, redialMax)
	}
}

func resolve(ctx context.Context, address string) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddrPort(address); err == nil {
		return addr, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	return netip.AddrPortFrom(ips[0].Unmap(), uint16(n)), err
}

// write sends what comes through one of a peer's queues, in batches.
func (e *Endpoint) write(ctx context.Context, p *peer, queue <-chan queued, urgency int8) {
	var batch []byte
	var sent time.Time
	for {
		if queue == p.bulk && len(queue) == 0 {
			p.oldest.Store(0)
		}
		var next queued
		select {
		case next = <-queue:
		case <-p.gone:
			return
		case <-ctx.Done():
			return
		}
		if queue == p.bulk {
			p.oldest.Store(max(1, int64(next.since.Sub(e.made))))
		}
		if queue == p.bulk && len(batch) < batchMax { // there is no company to wait for if the last one was full
			time.Sleep(batchPause - time.Since(sent))
		}
		now, frames := time.Now(), uint64(0)
		add := func(q queued) {
			if queue == p.bulk && now.Sub(q.since) > e.bulkAge {
				e.stats.refuse(FrameStale)
				return
			}
			batch = appendFrame(batch, q.frame)
			frames++
		}
		batch = batch[:0]
		add(next)
	fill:
		for len(batch) < batchMax {
			select {
			case next = <-queue:
				add(next)
			default:
				break fill
			}
		}
		if frames == 0 {
			continue
		}
		conn := e.connection(ctx, p)
		if conn == nil {
			e.stats.refused[Unreachable].Add(frames)
			continue
		}
		sent = now
		if err := writeBatch(ctx, conn, batch, urgency); err != nil {
			e.stats.refused[WriteFailed].Add(frames)
			continue
		}
		e.stats.FramesSent.Add(frames)
		e.stats.BytesSent.Add(uint64(len(batch)))
		e.stats.BatchesSent.Add(1)
	}
}

func appendFrame(batch, frame []byte) []byte {
	batch = binary.LittleEndian.AppendUint32(batch, uint32(len(frame)))
	return append(batch, frame...)
}

func writeBatch(ctx context.Context, conn *quic.Conn, batch []byte, urgency int8) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	stream, err := conn.OpenUniStreamSync(ctx)
	if err != nil {
		return err
	}
	stream.SetPriority(urgency, false)
	deadline, _ := ctx.Deadline()
	if err := stream.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if _, err := stream.Write(batch); err != nil {
		stream.CancelWrite(codeDropped)
		return err
	}
	return stream.Close()
}
