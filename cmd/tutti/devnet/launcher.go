package devnet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tutti/cmd/tutti/netswitch"
	"tutti/cmd/tutti/setup"
	"tutti/ledger"
)

const (
	// rpcPortDefault is where Solana's tools look for a node.
	rpcPortDefault = 8899
	// stopTime is how long a validator may take to stop before it is killed.
	stopTime = 10 * time.Second
	// exitSetup is the exit code of a validator that cannot start as asked.
	exitSetup = 2
)

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// validator is a validator and the process that it runs in.
type validator struct {
	name     string
	identity ledger.Pubkey
	quic     netip.AddrPort
	rpc      netip.AddrPort // WebSocket has the next port
	socket   string
	// port is the way into the namespace that the process runs in, nil if it
	// runs in this process' own.
	port *netswitch.Port

	mu   sync.Mutex
	now  *process      // the newest one; nil before the first start
	used time.Duration // processor time of those before it
}

// process is one run of a validator.
type process struct {
	cmd  *exec.Cmd
	tail tail
	done chan struct{} // closed when the process has ended
	err  error         // why; set before done is closed
	// expected is set before the process is ended on purpose.
	expected atomic.Bool
}

func (v *validator) url() string { return fmt.Sprintf("http://%v", v.rpc) }
func (v *validator) websocket() string {
	return fmt.Sprintf("ws://%v", netip.AddrPortFrom(v.rpc.Addr(), v.rpc.Port()+1))
}

// process returns the newest process.
func (v *validator) process() *process {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

// ended tells whether the process is over.
func (v *validator) ended() bool {
	select {
	case <-v.process().done:
		return true
	default:
		return false
	}
}

// usage returns the processor time of all runs of the validator, and of the
// one that runs the largest resident set and its own memory now, in bytes.
func (v *validator) usage() (cpu time.Duration, rssMax, own uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	cpu, rssMax, own, err := processUsage(v.now.cmd.Process.Pid)
	if err != nil {
		return v.used, 0, 0
	}
	return v.used + cpu, rssMax, own
}

// plan gives every validator its addresses.
func plan(f *folder, o *Options, n *network) ([]*validator, error) {
	nodes := make([]*validator, len(f.genesis.Validators))
	for i := range nodes {
		nodes[i] = &validator{name: nodeName(i), identity: f.genesis.Validators[i].Identity, socket: f.node(i, socketFile)}
	}
	if n != nil {
		for i, v := range nodes {
			v.port = n.ports[i]
			v.quic, v.rpc = netip.AddrPortFrom(n.address(i), spaceQUIC), netip.AddrPortFrom(n.address(i), spaceRPC)
		}
		return nodes, nil
	}
	quic, err := freeUDP(len(nodes))
	if err != nil {
		return nil, setup.Errorf("find free UDP ports: %w", err)
	}
	rpc, err := rpcPorts(o.RPCPort, len(nodes))
	if err != nil {
		return nil, err
	}
	for i, v := range nodes {
		v.quic, v.rpc = netip.AddrPortFrom(loopback, quic[i]), netip.AddrPortFrom(loopback, rpc[i])
	}
	return nodes, nil
}

// freeUDP returns ports that nobody has now.
func freeUDP(n int) (ports []uint16, err error) {
	for range n {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
		if err != nil {
			return nil, err
		}
		defer c.Close() // all are held until all are found
		ports = append(ports, c.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	}
	return ports, nil
}

// rpcPorts returns pairs of free ports. The first pair is at first, or, if
// that is 0, where clients look for a node unless it is taken.
func rpcPorts(first, n int) (ports []uint16, err error) {
	start := first
	if start == 0 {
		start = rpcPortDefault
	}
	for port := start; len(ports) < n && port < 1<<16-1; {
		if busy := firstBusy(port, port+1); busy != 0 {
			if first != 0 && len(ports) == 0 {
				return nil, setup.Errorf("TCP port %d is in use: stop the process that has it or choose another --rpc-port", busy)
			}
			port = busy + 1
			continue
		}
		ports = append(ports, uint16(port))
		port += 2
	}
	if len(ports) < n {
		return nil, setup.Errorf("no %d pairs of free TCP ports from %d on: choose another --rpc-port", n, start)
	}
	return ports, nil
}

// firstBusy returns the first port that cannot be listened on, 0 if all can.
func firstBusy(ports ...int) int {
	for _, port := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(loopback.String(), strconv.Itoa(port)))
		if err != nil {
			return port
		}
		l.Close()
	}
	return 0
}

// holdPorts keeps the ports of a validator that is down from being taken by
// another process. The sockets answer nobody.
func (v *validator) holdPorts() (release func(), err error) {
	var held []io.Closer
	release = func() {
		for _, c := range held {
			_ = c.Close() // nothing was written
		}
	}
	if v.port != nil { // nobody else is there
		return release, nil
	}
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(v.quic))
	if err != nil {
		return release, fmt.Errorf("hold port of %s: %w", v.name, err)
	}
	held = append(held, udp)
	for _, port := range []uint16{v.rpc.Port(), v.rpc.Port() + 1} {
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(v.rpc.Addr(), port)))
		if err != nil {
			release()
			return release, fmt.Errorf("hold port of %s: %w", v.name, err)
		}
		held = append(held, l)
	}
	return release, nil
}

// arguments are the validator's command line.
func (v *validator) arguments(f *folder, o *Options, i int, entrypoints []*validator) []string {
	args := []string{
		"validator", "--ledger", f.node(i),
		"--identity", f.node(i, identityFile), "--vote-account", f.node(i, voteFile),
		"--bind-address", v.quic.Addr().String(), "--gossip-port", strconv.Itoa(int(v.quic.Port())),
		"--rpc-bind-address", v.rpc.Addr().String(), "--rpc-port", strconv.Itoa(int(v.rpc.Port())),
		"--faucet-keypair", f.dir + string(os.PathSeparator) + faucetFile,
		"--log", f.node(i, logFile),
	}
	for _, e := range entrypoints {
		if e != v {
			args = append(args, "--entrypoint", e.quic.String())
		}
	}
	if o.Drop > 0 {
		args = append(args, "--drop", strconv.FormatFloat(o.Drop, 'g', -1, 64))
	}
	if o.LimitLedgerSize > 0 {
		args = append(args, "--limit-ledger-size", strconv.FormatUint(o.LimitLedgerSize, 10))
	}
	return args
}

// start starts a process: this program again, with other arguments. One that
// ran before has ended.
func (v *validator) start(args []string) (*process, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", v.name, err)
	}
	p := &process{cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Args[0] = os.Args[0]
	p.cmd.Stderr = &p.tail
	p.cmd.SysProcAttr = processAttributes()
	started := make(chan error)
	go func() {
		// The process dies with the thread that started it: the thread lives as
		// long as the process.
		runtime.LockOSThread()
		var err error
		if v.port != nil {
			err = v.port.Enter()
		}
		if err == nil {
			err = p.cmd.Start()
		}
		started <- err
		if err != nil {
			return
		}
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", v.name, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.now != nil {
		v.used += v.now.cmd.ProcessState.UserTime() + v.now.cmd.ProcessState.SystemTime()
	}
	v.now = p
	return p, nil
}

// failure says why a validator's process ended that was not told to.
func (p *process) failure(name string) error {
	why := p.tail.last()
	if why == "" {
		why = "no message"
		if p.err != nil {
			why = p.err.Error()
		}
	}
	why = strings.TrimPrefix(why, "Error: ")
	var exit *exec.ExitError
	if errors.As(p.err, &exit) && exit.ExitCode() == exitSetup {
		return setup.Errorf("%s: %s", name, why)
	}
	return fmt.Errorf("%s ended: %s", name, why)
}

// stop ends all processes: those that do not stop when they are told to are
// killed.
func stop(nodes []*validator) {
	var wait sync.WaitGroup
	for _, v := range nodes {
		p := v.process()
		if p == nil {
			continue
		}
		p.expected.Store(true)
		wait.Go(func() {
			// An error of a signal says that it is over. One that a fault has
			// stopped can only end when it goes on.
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			_ = p.cmd.Process.Signal(syscall.SIGCONT)
			select {
			case <-p.done:
			case <-time.After(stopTime):
				_ = p.cmd.Process.Kill()
				<-p.done
			}
		})
	}
	wait.Wait()
}

// tail keeps the end of what a process writes to its standard error.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailMax = 4 << 10

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if over := len(t.b) - tailMax; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(b), nil
}

// last returns the last line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
