package endpoint

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"

	"tutti/ledger"
)

// readFrames accepts a peer's streams until the connection ends.
func (e *Endpoint) readFrames(ctx context.Context, conn *quic.Conn, key ledger.Pubkey, s share) {
	limiter := rate.NewLimiter(rate.Inf, 0)
	if !s.staked && !remoteIP(conn).IsLoopback() {
		limiter = rate.NewLimiter(unstakedFrames, unstakedFrames)
	}
	e.readStreams(ctx, conn, s, nil, func(stream *quic.ReceiveStream) {
		err := e.readBatch(stream, func(frame []byte) {
			if !limiter.Allow() {
				e.stats.refuse(TooManyFrames)
				return
			}
			e.cfg.Frame(key, frame)
		})
		if err != nil {
			stream.CancelRead(codeInvalidStream)
		}
	})
}

// idleMax bounds the goroutines that wait for a connection's next stream. One
// that has just read a stream has a stack that is large enough, a new one has
// to grow it. Strangers can keep as many for each of their connections.
const idleMax = 2

// readStreams calls read for each stream, on at most s.streams goroutines at
// once; while all are busy the peer's further streams wait. pace, if not nil,
// is called before each stream is accepted.
func (e *Endpoint) readStreams(ctx context.Context, conn *quic.Conn, s share, pace func(context.Context) error, read func(*quic.ReceiveStream)) {
	slots := make(chan struct{}, s.streams)
	next := make(chan *quic.ReceiveStream)
	var idle atomic.Int32
	var readers sync.WaitGroup
	defer readers.Wait()
	defer close(next)
	defer conn.CloseWithError(codeDropped, "dropped")
	for {
		if pace != nil && pace(ctx) != nil {
			return
		}
		stream, err := conn.AcceptUniStream(ctx)
		if err != nil {
			return
		}
		select {
		case next <- stream:
			continue
		default:
		}
		select {
		case next <- stream:
			continue
		case slots <- struct{}{}:
		case <-conn.Context().Done():
			return
		case <-ctx.Done():
			return
		}
		readers.Go(func() {
			for stream != nil {
				read(stream)
				stream = nil
				if idle.Add(1) <= idleMax {
					stream = <-next
				}
				idle.Add(-1)
			}
			<-slots
		})
	}
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 8<<10) }}

// incoming is what readBatch needs of a *quic.ReceiveStream.
type incoming interface {
	io.Reader
	SetReadDeadline(time.Time) error
}

// readBatch reads the frames of one stream.
func (e *Endpoint) readBatch(stream incoming, take func(frame []byte)) error {
	r := readers.Get().(*bufio.Reader)
	r.Reset(stream)
	defer func() {
		r.Reset(nil)
		readers.Put(r)
	}()
	var size [4]byte
	for total := 0; total < batchMax; {
		if err := stream.SetReadDeadline(time.Now().Add(streamTimeout)); err != nil {
			return err
		}
		if _, err := io.ReadFull(r, size[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			e.stats.refuse(StreamCut)
			return err
		}
		n := binary.LittleEndian.Uint32(size[:])
		if n == 0 || uint64(n) > uint64(e.cfg.FrameMax) {
			e.stats.refuse(FrameTooLong)
			return errFrame
		}
		frame, err := readFrame(r, int(n))
		if err != nil {
			e.stats.refuse(StreamCut)
			return err
		}
		total += len(size) + len(frame)
		e.stats.FramesReceived.Add(1)
		e.stats.BytesReceived.Add(uint64(len(size) + len(frame)))
		take(frame)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		e.stats.refuse(FrameTooLong)
		return errFrame
	}
	return nil
}

var errFrame = errors.New("frame too long")

// readFrame reads n bytes. Memory grows with what arrives, not with what was
// announced.
func readFrame(r io.Reader, n int) ([]byte, error) {
	const step = 4 << 10
	frame := make([]byte, 0, min(n, step))
	for len(frame) < n {
		if len(frame) == cap(frame) {
			grown := make([]byte, len(frame), min(n, 4*cap(frame)))
			copy(grown, frame)
			frame = grown
		}
		m, err := io.ReadFull(r, frame[len(frame):cap(frame)])
		frame = frame[:len(frame)+m]
		if err != nil {
			return nil, err
		}
	}
	return frame, nil
}
