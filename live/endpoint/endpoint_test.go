package endpoint

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/goleak"

	"tutti/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func pubkey(key ed25519.PrivateKey) ledger.Pubkey {
	return ledger.Pubkey(key.Public().(ed25519.PublicKey))
}

type arrival struct {
	from  ledger.Pubkey
	bytes []byte
}

// station is an endpoint under test with what it received.
type station struct {
	*Endpoint
	key    ledger.Pubkey
	frames chan arrival
	txs    chan arrival
	met    chan ledger.Pubkey
}

func newStation(t *testing.T, n byte, change func(*Config)) *station {
	t.Helper()
	s := &station{
		key:    pubkey(testKey(n)),
		frames: make(chan arrival, 10_000),
		txs:    make(chan arrival, 10_000),
		met:    make(chan ledger.Pubkey, 100),
	}
	cfg := Config{
		Key:         testKey(n),
		Listen:      netip.MustParseAddrPort("127.0.0.1:0"),
		FrameMax:    256 << 10,
		Frame:       func(from ledger.Pubkey, frame []byte) { s.frames <- arrival{from, frame} },
		Transaction: func(from ledger.Pubkey, tx []byte) { s.txs <- arrival{from, tx} },
		Met:         func(peer ledger.Pubkey) { s.met <- peer },
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	s.Endpoint, err = New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs the endpoint until the test ends.
func (s *station) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestFramesArriveBothWaysOverOneConnection(t *testing.T) {
	a, b := newStation(t, 1, nil), newStation(t, 2, nil)
	a.run(t)
	b.run(t)
	a.Dial(b.key, b.Addr()) // b never learns a's address
	if got := <-b.met; got != a.key {
		t.Fatalf("b met %s", got)
	}
	if got := <-a.met; got != b.key {
		t.Fatalf("a met %s", got)
	}
	big := bytes.Repeat([]byte{7}, 200<<10)
	for _, frame := range [][]byte{{1}, big, bytes.Repeat([]byte{9}, 1229)} {
		for _, way := range []struct{ from, to *station }{{a, b}, {b, a}} {
			if !way.from.Send(way.to.key, frame, len(frame) == 1) {
				t.Fatal("outbox refused a frame")
			}
			got := <-way.to.frames
			if got.from != way.from.key || !bytes.Equal(got.bytes, frame) {
				t.Fatalf("%d bytes from %s, want %d", len(got.bytes), got.from, len(frame))
			}
		}
	}
	if n := a.Stats().Dialed.Load() + b.Stats().Dialed.Load(); n != 1 {
		t.Errorf("%d connections made, want 1", n)
	}
}

func TestManyFramesArriveInBatches(t *testing.T) {
	a, b := newStation(t, 1, nil), newStation(t, 2, nil)
	a.Dial(b.key, b.Addr()) // before Run: what is queued then goes out in batches
	a.bulkAge = time.Hour
	const n = 2000
	for i := range n {
		frame := binary.LittleEndian.AppendUint32(make([]byte, 0, 1200), uint32(i))
		if !a.Send(b.key, frame[:1200], false) {
			t.Fatal("refused")
		}
	}
	b.run(t)
	a.run(t)
	seen := make([]bool, n)
	for range n {
		f := <-b.frames
		i := binary.LittleEndian.Uint32(f.bytes)
		if seen[i] || len(f.bytes) != 1200 {
			t.Fatalf("frame %d twice, or of %d bytes", i, len(f.bytes))
		}
		seen[i] = true
	}
	if batches := a.Stats().BatchesSent.Load(); batches > n/10 {
		t.Errorf("%d frames went out in %d batches", n, batches)
	}
}

// A batch fits into the window of its stream, so that a writer is done with it before
// anything of it is read. Else each batch takes a round trip, and peers that are far
// away get 64 KiB in that time: less than an idle cluster has to send.
func TestBatchIsWrittenBeforeItIsRead(t *testing.T) {
	a := newStation(t, 1, nil)
	begun, read := make(chan struct{}, 1), make(chan struct{})
	b := newStation(t, 2, func(c *Config) {
		c.Frame = func(ledger.Pubkey, []byte) {
			select {
			case begun <- struct{}{}:
			default:
			}
			<-read
		}
	})
	a.Dial(b.key, b.Addr()) // before Run: what is queued then goes out as one batch
	shred, last := make([]byte, 1229), make([]byte, 100<<10)
	size := 0
	for ; size+4+len(shred) < batchMax; size += 4 + len(shred) {
		a.Send(b.key, shred, false)
	}
	a.Send(b.key, last, false)
	b.run(t)
	a.run(t)
	defer close(read)
	<-begun
	for a.Stats().BatchesSent.Load() == 0 {
		if a.Stats().Refused(WriteFailed) > 0 {
			t.Fatalf("a batch of %d bytes waits for its reader", size+4+len(last))
		}
		time.Sleep(time.Millisecond)
	}
}

// What waits for peers that take nothing is noticed; one of three is left alone, and so
// are any number of strangers.
func TestWaitingIsTheMedianOfPeersWithStake(t *testing.T) {
	a := newStation(t, 1, func(c *Config) {
		c.Staking = func(key ledger.Pubkey) (stake, total ledger.Lamports) {
			for i := range byte(3) {
				if key == pubkey(testKey(2+i)) {
					stake = 1
				}
			}
			return stake, 3
		}
	})
	a.bulkAge = time.Hour
	a.run(t)
	const slow = 200 * time.Millisecond
	read := make(chan struct{})
	frame := make([]byte, 1200)
	var peers []*station
	for i := range byte(6) { // the last three are strangers
		b := newStation(t, 2+i, func(c *Config) { c.Frame = func(ledger.Pubkey, []byte) { <-read } })
		b.run(t)
		a.Dial(b.key, b.Addr())
		<-a.met
		peers = append(peers, b)
	}
	if got := a.Waiting(); got != 0 {
		t.Fatalf("%v with nothing to send", got)
	}
	stick := func(stuck ...*station) { // give them what their connections take unread, and more
		for waits := false; !waits; time.Sleep(time.Millisecond) {
			waits = true
			for _, b := range stuck {
				p := a.peers[b.key]
				for len(p.bulk) < 10 && a.Send(b.key, frame, false) {
				}
				since := time.Duration(p.oldest.Load())
				waits = waits && since != 0 && time.Since(a.made)-since >= slow
			}
		}
	}
	stick(append(peers[3:], peers[0])...)
	if got := a.Waiting(); got != 0 {
		t.Errorf("%v with one slow peer of three, and strangers", got)
	}
	stick(peers[:2]...)
	if got := a.Waiting(); got < slow {
		t.Errorf("%v with two slow peers of three, want %v and more", got, slow)
	}
	close(read)
	for a.Waiting() != 0 { // the test's timeout ends it
		time.Sleep(time.Millisecond)
	}
}

func TestOutboxDropsWhenFull(t *testing.T) {
	a := newStation(t, 1, nil)
	defer a.Close()
	to := pubkey(testKey(2))
	if a.Send(to, []byte{1}, false) {
		t.Fatal("frame taken for an unknown peer")
	}
	a.Dial(to, netip.MustParseAddrPort("127.0.0.1:1")) // Run is never called: nothing drains
	for i := range BulkOutboxMax + 3 {
		if got, want := a.Send(to, []byte{1}, false), i < BulkOutboxMax; got != want {
			t.Fatalf("frame %d taken: %t", i, got)
		}
	}
	for i := range UrgentOutboxMax + 2 {
		if got, want := a.Send(to, []byte{1}, true), i < UrgentOutboxMax; got != want {
			t.Fatalf("urgent frame %d taken: %t", i, got)
		}
	}
	if got := a.Stats().Refused(OutboxFull); got != 5 {
		t.Errorf("outbox full counted %d times, want 5", got)
	}
	if got := a.Stats().Refused(UnknownPeer); got != 1 {
		t.Errorf("unknown peer counted %d times, want 1", got)
	}
}

// TestStaleFramesAreDropped: what waited too long for a connection makes room
// for what is behind it, unless it is urgent.
func TestStaleFramesAreDropped(t *testing.T) {
	a, b := newStation(t, 1, nil), newStation(t, 2, nil)
	a.bulkAge = time.Hour
	a.Dial(b.key, b.Addr())
	p := a.peers[b.key]
	p.bulk <- queued{[]byte("old"), time.Now().Add(-2 * time.Hour)}
	p.bulk <- queued{[]byte("new"), time.Now()}
	p.bulk <- queued{[]byte("old"), time.Now().Add(-2 * time.Hour)}
	a.run(t)
	b.run(t)
	if got := <-b.frames; string(got.bytes) != "new" {
		t.Errorf("got %q", got.bytes)
	}
	p.urgent <- queued{[]byte("old, urgent"), time.Now().Add(-2 * time.Hour)}
	if got := <-b.frames; string(got.bytes) != "old, urgent" {
		t.Errorf("got %q", got.bytes)
	}
	if n := a.Stats().Refused(FrameStale); n != 2 {
		t.Errorf("%d frames dropped, want 2", n)
	}
}

func TestDialingChecksTheExpectedKey(t *testing.T) {
	a, b := newStation(t, 1, nil), newStation(t, 2, nil)
	a.run(t)
	b.run(t)
	wrong := pubkey(testKey(3))
	_, _, err := a.dial(t.Context(), b.Addr(), &wrong)
	var refused *quic.TransportError
	if !errors.As(err, &refused) && !errors.Is(err, ErrIdentity) {
		t.Fatalf("dial with another key pinned: %v", err)
	}
	conn, key, err := a.dial(t.Context(), b.Addr(), &b.key)
	if err != nil || key != b.key {
		t.Fatalf("dial: key %s, %v", key, err)
	}
	<-b.met
	conn.CloseWithError(0, "")
}

func TestEntrypointIsMetWithoutItsKey(t *testing.T) {
	b := newStation(t, 2, nil)
	a := newStation(t, 1, func(c *Config) { c.Entrypoints = []string{b.Addr().String()} })
	b.run(t)
	a.run(t)
	if got := <-a.met; got != b.key {
		t.Fatalf("a met %s", got)
	}
	<-b.met
	a.Send(b.key, []byte{5}, true)
	if got := <-b.frames; got.from != a.key {
		t.Fatalf("frame from %s", got.from)
	}
}

func TestPortInUse(t *testing.T) {
	a := newStation(t, 1, nil)
	defer a.Close()
	_, err := New(Config{Key: testKey(2), Listen: a.Addr()})
	if !errors.Is(err, ErrPortBusy) {
		t.Fatalf("New on a taken port: %v", err)
	}
}

// dialRaw connects to s as a peer whose streams the test writes itself.
func dialRaw(t *testing.T, s *station) *quic.Conn {
	t.Helper()
	c, err := DialTransactions(t.Context(), s.Addr(), testKey(9))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	conn, err := c.transport.Dial(t.Context(), c.conn.RemoteAddr(),
		clientTLS(testKey(9), ALPNNode, s.Addr(), nil), &quic.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseWithError(0, "") })
	return conn
}

func TestMalformedBatchesAreRefused(t *testing.T) {
	s := newStation(t, 1, func(c *Config) { c.FrameMax = 1000 })
	s.run(t)
	conn := dialRaw(t, s)
	for _, test := range []struct {
		name   string
		bytes  []byte
		reason Reason
	}{
		{"a frame over the limit", binary.LittleEndian.AppendUint32(nil, 1001), FrameTooLong},
		{"an enormous length", []byte{0xff, 0xff, 0xff, 0xff}, FrameTooLong},
		{"an empty frame", make([]byte, 4), FrameTooLong},
		{"a length cut short", []byte{1, 0}, StreamCut},
		{"a frame cut short", []byte{9, 0, 0, 0, 1, 2}, StreamCut},
		{"a batch without end", bytes.Repeat(append([]byte{200, 0, 0, 0}, make([]byte, 200)...), batchMax/200+2), FrameTooLong},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := s.Stats().Refused(test.reason)
			if err := writeBatch(t.Context(), conn, test.bytes, 3); err != nil && test.reason != FrameTooLong {
				t.Fatal(err)
			}
			await(t, func() bool { return s.Stats().Refused(test.reason) > before })
			if conn.Context().Err() != nil {
				t.Fatal("one bad stream closed the connection")
			}
		})
	}
	if err := writeBatch(t.Context(), conn, appendFrame(nil, []byte("good")), 3); err != nil {
		t.Fatal(err)
	}
	for f := range s.frames {
		if string(f.bytes) == "good" {
			return
		}
	}
}

// await polls for a condition that other goroutines bring about; the test's
// own deadline ends it.
func await(t *testing.T, condition func() bool) {
	t.Helper()
	for !condition() {
		if t.Context().Err() != nil {
			t.Fatal("test ended before the condition held")
		}
		time.Sleep(time.Millisecond)
	}
}

// memoryStream is a stream whose bytes are all there.
type memoryStream struct{ *bytes.Reader }

func (memoryStream) SetReadDeadline(time.Time) error { return nil }

func FuzzBatch(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, []byte{1}), make([]byte, 5000)))
	f.Add([]byte{0xff, 0xff, 0, 0, 1})
	f.Add(make([]byte, 9))
	e := &Endpoint{cfg: Config{FrameMax: 100_000}}
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		err := e.readBatch(memoryStream{bytes.NewReader(b)}, func(frame []byte) {
			if cap(frame) > 4<<10 && cap(frame) > 4*len(b) {
				t.Fatalf("%d bytes allocated for a batch of %d", cap(frame), len(b))
			}
			again = appendFrame(again, frame)
		})
		if err == nil && !bytes.Equal(again, b) || !bytes.HasPrefix(b, again) {
			t.Fatalf("batch %x read as %x, %v", b, again, err)
		}
	})
}

func TestClientsSendOneTransactionPerStream(t *testing.T) {
	s := newStation(t, 1, nil)
	s.run(t)
	c, err := DialTransactions(t.Context(), s.Addr(), testKey(8))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const n = 500
	for i := range n {
		tx := binary.LittleEndian.AppendUint32(bytes.Repeat([]byte{3}, 200), uint32(i))
		if err := c.Send(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[uint32]bool{}
	for range n {
		a := <-s.txs
		if a.from != pubkey(testKey(8)) || len(a.bytes) != 204 {
			t.Fatalf("%d bytes from %s", len(a.bytes), a.from)
		}
		seen[binary.LittleEndian.Uint32(a.bytes[200:])] = true
	}
	if len(seen) != n {
		t.Errorf("%d different transactions, want %d", len(seen), n)
	}
}

// A client whose node reads nothing may open so many streams, and is told that
// there are no more; it does not wait for ever.
func TestClientOfABusyNodeIsTold(t *testing.T) {
	busy := make(chan struct{})
	s := newStation(t, 1, func(c *Config) { c.Transaction = func(ledger.Pubkey, []byte) { <-busy } })
	s.run(t)
	t.Cleanup(func() { close(busy) })
	c, err := DialTransactions(t.Context(), s.Addr(), testKey(8))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for sent := range 2 * streamsMax {
		if err := c.Send(t.Context(), []byte{1}); err != nil {
			if sent < streamsMax || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after %d transactions: %v", sent, err)
			}
			return
		}
	}
	t.Errorf("%d transactions were sent to a node that takes none", 2*streamsMax)
}

func TestClientWithOversizeTransactionIsCutOff(t *testing.T) {
	for _, size := range []int{0, transactionMax + 1} {
		s := newStation(t, 1, nil)
		s.run(t)
		c, err := DialTransactions(t.Context(), s.Addr(), testKey(8))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Send(t.Context(), make([]byte, transactionMax)); err != nil {
			t.Fatal(err)
		}
		<-s.txs
		if err := c.Send(t.Context(), make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		var closed *quic.ApplicationError
		if err := context.Cause(c.conn.Context()); !errors.As(err, &closed) || closed.ErrorCode != codeInvalidStream {
			t.Errorf("%d bytes: closed with %v", size, err)
		}
	}
}

func TestConnectionsPerIdentityAreLimited(t *testing.T) {
	s := newStation(t, 1, nil)
	s.run(t)
	for i := range unstakedPerKey + 1 {
		c, err := DialTransactions(t.Context(), s.Addr(), testKey(8))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i < unstakedPerKey {
			if err := c.Send(t.Context(), []byte{1}); err != nil {
				t.Fatal(err)
			}
			<-s.txs // so it is admitted
			continue
		}
		<-c.Done()
	}
	if got := s.Stats().Refused(TooManyFromKey); got != 1 {
		t.Errorf("refused %d connections, want 1", got)
	}
}

func TestAdmissionPrunesTheOldestWithoutStake(t *testing.T) {
	a := newAdmission()
	ip := netip.MustParseAddr("10.0.0.1")
	var guests []*guest
	for i := range unstakedMax {
		g := &guest{ip: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})}
		binary.LittleEndian.PutUint32(g.key[:], uint32(i))
		if pruned, _, ok := a.admit(g); !ok || pruned != nil {
			t.Fatalf("guest %d: admitted %t, pruned %v", i, ok, pruned)
		}
		guests = append(guests, g)
	}
	staked := &guest{ip: ip, key: ledger.Pubkey{31: 1}, share: share{staked: true}}
	if pruned, _, ok := a.admit(staked); !ok || pruned != nil {
		t.Fatal("staked guest refused, or at another's cost")
	}
	late := &guest{ip: ip, key: ledger.Pubkey{31: 2}}
	pruned, _, ok := a.admit(late)
	if !ok || pruned != guests[0] {
		t.Fatalf("admitted %t, pruned %v", ok, pruned)
	}
	for _, g := range append(guests, staked, late) { // the first has left already
		a.leave(g)
	}
	if a.staked != 0 || len(a.unstaked) != 0 || len(a.byKey) != 0 || len(a.byIP) != 0 {
		t.Errorf("left over: %d staked, %d not, %d keys, %d addresses", a.staked, len(a.unstaked), len(a.byKey), len(a.byIP))
	}
}

func TestAdmissionPerAddress(t *testing.T) {
	a := newAdmission()
	for i := range unstakedPerIP + 1 {
		g := &guest{ip: netip.MustParseAddr("10.0.0.1"), key: ledger.Pubkey{byte(i), byte(i >> 8)}}
		_, reason, ok := a.admit(g)
		if ok != (i < unstakedPerIP) || !ok && reason != TooManyFromIP {
			t.Fatalf("guest %d: %t, %s", i, ok, reason)
		}
	}
}

func TestShareFollowsStake(t *testing.T) {
	for _, test := range []struct {
		stake, total ledger.Lamports
		want         share
	}{
		{0, 0, share{false, 128, 200}},
		{0, 1000, share{false, 128, 200}},
		{19, 1_000_000, share{false, 128, 200}},
		{20, 1_000_000, share{true, 129, 201}},
		{1000, 1_000_000, share{true, 227, 400}},
		{1, 2, share{true, 512, 200_000}},
	} {
		if got := shareOf(test.stake, test.total); got != test.want {
			t.Errorf("%d of %d: %+v, want %+v", test.stake, test.total, got, test.want)
		}
	}
}

func TestCertificateIsSolanas(t *testing.T) {
	key := pubkey(testKey(1))
	der := Certificate(key)
	if len(der) != 249 {
		t.Errorf("%d bytes, want 249", len(der))
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	got, err := certificateKey(cert)
	if err != nil || got != key {
		t.Errorf("key %s, %v", got, err)
	}
	if cert.Issuer.CommonName != "Solana node" || cert.NotAfter.Year() != 4096 || cert.NotBefore.Year() != 1970 {
		t.Errorf("issuer %q, %s to %s", cert.Issuer.CommonName, cert.NotBefore, cert.NotAfter)
	}
}

func BenchmarkSendShreds(b *testing.B) {
	got := make(chan struct{}, 1<<16)
	endpoints := make([]*Endpoint, 2)
	for i := range endpoints {
		e, err := New(Config{
			Key: testKey(byte(i)), Listen: netip.MustParseAddrPort("127.0.0.1:0"), FrameMax: 1 << 20,
			Frame:       func(ledger.Pubkey, []byte) { got <- struct{}{} },
			Transaction: func(ledger.Pubkey, []byte) {},
		})
		if err != nil {
			b.Fatal(err)
		}
		endpoints[i] = e
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				b.Error(err)
			}
		}()
	}
	to := pubkey(testKey(1))
	endpoints[0].Dial(to, endpoints[1].Addr())
	frame := make([]byte, 1229)
	b.SetBytes(int64(len(frame)))
	flying := 0
	for b.Loop() {
		for flying >= BulkOutboxMax/2 || !endpoints[0].Send(to, frame, false) {
			<-got
			flying--
		}
		flying++
	}
	for ; flying > 0; flying-- {
		<-got
	}
}
