package netswitch

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
)

// TestFate checks what a link does to a frame of 1000 bytes.
func TestFate(t *testing.T) {
	for _, c := range []struct {
		name     string
		link     Link
		min, max time.Duration // of the delay
		lost     bool
	}{
		{"none", Link{}, 0, 0, false},
		{"latency", Link{Latency: 30 * time.Millisecond}, 30 * time.Millisecond, 30 * time.Millisecond, false},
		{"jitter", Link{Latency: time.Millisecond, Jitter: 9 * time.Millisecond}, time.Millisecond, 10 * time.Millisecond, false},
		{"bandwidth", Link{Bandwidth: 100_000}, 10 * time.Millisecond, 10 * time.Millisecond, false},
		{"loss", Link{Loss: 1}, 0, 0, true},
		{"cut", Link{Cut: true, Latency: time.Second}, 0, 0, true},
	} {
		s := New(make([]io.ReadWriter, 2))
		s.Set(0, 1, c.link)
		at := time.Unix(1, 0)
		due, ok := s.fate(0, 1, 1000, at)
		if delay := due.Sub(at); ok == c.lost || ok && (delay < c.min || delay > c.max) {
			t.Errorf("%s: arrives %v, after %v", c.name, ok, delay)
		}
		if due, ok := s.fate(1, 0, 1000, at); !ok || due != at {
			t.Errorf("%s: the other direction changed", c.name)
		}
	}
}

// TestBandwidthQueue fills a link until its queue is full.
func TestBandwidthQueue(t *testing.T) {
	s := New(make([]io.ReadWriter, 2))
	s.Set(0, 1, Link{Bandwidth: 100_000})
	at := time.Unix(1, 0)
	frames := 0
	var last time.Time
	for {
		due, ok := s.fate(0, 1, 1000, at)
		if !ok {
			break
		}
		if want := at.Add(time.Duration(frames+1) * 10 * time.Millisecond); !due.Equal(want) {
			t.Fatalf("frame %d is due at %v, want %v", frames, due, want)
		}
		frames, last = frames+1, due
	}
	if frames != 21 { // the one on the wire and 200 ms of others
		t.Errorf("%d frames fit", frames)
	}
	if _, ok := s.fate(0, 1, 1000, last); !ok {
		t.Error("an empty queue takes nothing")
	}
}

// TestDelay has frames overtake others that were sent before them.
func TestDelay(t *testing.T) {
	s := New(make([]io.ReadWriter, 2))
	start := time.Unix(1, 0)
	var to []int
	for i, latency := range []time.Duration{20, 5, 0} {
		s.Set(0, 1, Link{Latency: latency * time.Millisecond})
		at := start.Add(time.Duration(i) * time.Millisecond)
		now := s.route(0, frame(1, 0, fmt.Sprint(i)), at, nil, &to)
		if (len(now) == 1) != (latency == 0) {
			t.Errorf("frame %d goes at once to %v", i, now)
		}
	}
	for _, want := range []struct {
		after time.Duration
		text  string
		wait  time.Duration
	}{{2, "", 4}, {5, "", 1}, {6, "1", 0}, {7, "", 13}, {21, "0", 0}, {22, "", time.Hour / time.Millisecond}} {
		d, wait := s.next(start.Add(want.after * time.Millisecond))
		if wait != want.wait*time.Millisecond || wait == 0 && string(d.frame[headerLen:]) != want.text {
			t.Errorf("after %d ms: %q, or wait %v", want.after, d.frame, wait)
		}
	}
}

// pipe is one of three ports; frames are strings of a header and a text.
type pipe struct {
	in  chan []byte // to the switch
	out chan string // from it
}

func (p *pipe) Read(b []byte) (int, error) {
	frame, ok := <-p.in
	if !ok {
		return 0, io.EOF
	}
	return copy(b, frame), nil
}

func (p *pipe) Write(b []byte) (int, error) {
	p.out <- string(b[headerLen:])
	return len(b), nil
}

// frame is from one port's address to another's; 255 is the broadcast.
func frame(to, from byte, text string) []byte {
	b := make([]byte, headerLen, frameMax)
	b[5], b[11] = to, from
	if to == 255 {
		copy(b, []byte{255, 255, 255, 255, 255})
	}
	return append(b, text...)
}

// TestSwitch sends frames between three ports while links change.
func TestSwitch(t *testing.T) {
	pipes := make([]*pipe, 3)
	ports := make([]io.ReadWriter, 3)
	for i := range pipes {
		pipes[i] = &pipe{in: make(chan []byte), out: make(chan string, 8)}
		ports[i] = pipes[i]
	}
	s := New(ports)
	done := make(chan struct{})
	go func() { s.Run(); close(done) }()
	// A port that gets a frame too many fails the next comparison.
	expect := func(text string, ports ...int) {
		t.Helper()
		for i, p := range pipes {
			if !slices.Contains(ports, i) {
				continue
			}
			select {
			case got := <-p.out:
				if got != text {
					t.Fatalf("port %d got %q, want %q", i, got, text)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("port %d got nothing, want %q", i, text)
			}
		}
	}
	pipes[0].in <- frame(255, 0, "hello, all")
	expect("hello, all", 1, 2)
	pipes[1].in <- frame(0, 1, "hello, 0")
	expect("hello, 0", 0)
	pipes[0].in <- frame(1, 0, "I know you")
	expect("I know you", 1)

	s.Set(0, 1, Link{Cut: true})
	pipes[0].in <- frame(1, 0, "cut")
	pipes[1].in <- frame(0, 1, "still heard")
	expect("still heard", 0)
	pipes[0].in <- frame(255, 0, "to 2 alone")
	expect("to 2 alone", 2)

	s.Set(0, 1, Link{Latency: time.Millisecond})
	pipes[0].in <- frame(1, 0, "late")
	expect("late", 1)

	for _, p := range pipes {
		close(p.in)
	}
	<-done
	for i, p := range pipes {
		if len(p.out) > 0 {
			t.Errorf("port %d has %q left", i, <-p.out)
		}
	}
}

// TestSpaces sends datagrams between two namespaces and this process, and
// cuts them from each other. It is skipped where the machine does not allow
// it.
func TestSpaces(t *testing.T) {
	var ports []*Port
	var links []io.ReadWriter
	for i, own := range []bool{false, false, true} {
		name := "eth0"
		if own {
			name = fmt.Sprintf("tutti%d", os.Getpid())
		}
		p, err := NewPort(name, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 19, 255, byte(i + 1)}), 24), own)
		if err != nil {
			t.Skipf("no network namespaces here: %v", err)
		}
		defer p.Close()
		ports, links = append(ports, p), append(links, p)
	}
	s := New(links)
	done := make(chan struct{})
	go func() { s.Run(); close(done) }()

	sockets := make([]*net.UDPConn, len(ports))
	for i, p := range ports {
		opened := make(chan error)
		go func() {
			if i < 2 { // a socket belongs to the namespace of the thread that opens it
				runtime.LockOSThread()
				if err := p.Enter(); err != nil {
					opened <- err
					return
				}
			}
			var err error
			sockets[i], err = net.ListenUDP("udp4", &net.UDPAddr{Port: 9000})
			opened <- err
		}()
		if err := <-opened; err != nil {
			t.Fatal(err)
		}
		defer sockets[i].Close()
	}
	// ask sends until something comes, or not within a while.
	ask := func(from, to int, while time.Duration) bool {
		end := time.Now().Add(while)
		b := make([]byte, 64)
		for time.Now().Before(end) {
			address := &net.UDPAddr{IP: net.IPv4(198, 19, 255, byte(to+1)), Port: 9000}
			if _, err := sockets[from].WriteTo(fmt.Appendf(nil, "from %d", from), address); err != nil {
				t.Fatal(err)
			}
			sockets[to].SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if n, _, err := sockets[to].ReadFrom(b); err == nil && string(b[:n]) == fmt.Sprint("from ", from) {
				return true
			}
		}
		return false
	}
	for from := range sockets {
		for to := range sockets {
			if from != to && !ask(from, to, 20*time.Second) {
				t.Fatalf("%d does not reach %d", from, to)
			}
		}
	}
	s.Set(0, 1, Link{Cut: true})
	if ask(0, 1, 200*time.Millisecond) {
		t.Error("0 reaches 1 though it is cut off")
	}
	if !ask(1, 0, 20*time.Second) || !ask(2, 1, 20*time.Second) {
		t.Error("the cut of one direction cuts others")
	}
	for _, p := range ports {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	<-done
}
