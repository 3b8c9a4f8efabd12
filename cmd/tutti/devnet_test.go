package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tutti/cmd/tutti/devnet"
)

// holdPort takes a free port and sets a variable to it: hold-port udp PORT.
func holdPort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: hold-port NETWORK VARIABLE")
	}
	var address net.Addr
	if args[0] == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		ts.Check(err)
		ts.Defer(func() { c.Close() })
		address = c.LocalAddr()
	} else {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		ts.Defer(func() { l.Close() })
		address = l.Addr()
	}
	_, port, err := net.SplitHostPort(address.String())
	ts.Check(err)
	ts.Setenv(args[1], port)
}

// runUntil runs a validator until its log matches, and tells it to stop:
// run-until PATTERN COMMAND...
func runUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: run-until PATTERN COMMAND...")
	}
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	interrupt(ts, 0, args[1:], func(*output) bool {
		b, err := os.ReadFile(ts.MkAbs("validator.log"))
		return err == nil && pattern.Match(b)
	})
}

// interruptAt runs a command until its output has a line that matches, and
// interrupts it: interrupt PATTERN COMMAND... It must succeed then, and with !
// end with the exit code of what was interrupted.
func interruptAt(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: interrupt PATTERN COMMAND...")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	code := 0
	if neg {
		code = exitInterrupted
	}
	interrupt(ts, code, args[1:], func(out *output) bool { return pattern.MatchString(out.String()) })
}

// interruptTimeout bounds the wait for what comes before an interrupt.
const interruptTimeout = time.Minute

// interrupt runs a command, and interrupts it when it is ready. It must end with
// an exit code.
func interrupt(ts *testscript.TestScript, code int, args []string, ready func(*output) bool) {
	path, err := exec.LookPath(args[0])
	ts.Check(err)
	c := exec.Command(path, args[1:]...)
	var out, errs output
	c.Dir, c.Stdout, c.Stderr = ts.MkAbs("."), &out, &errs
	ts.Check(c.Start())
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	deadline := time.After(interruptTimeout)
	for waiting := true; waiting; {
		select {
		case err := <-done:
			ts.Fatalf("%s ended by itself: %v\n%s%s", args[0], err, out.String(), errs.String())
		case <-deadline:
			c.Process.Kill()
			<-done
			ts.Fatalf("%s is not ready after %v:\n%s%s", args[0], interruptTimeout, out.String(), errs.String())
		case <-time.After(20 * time.Millisecond):
			waiting = !ready(&out)
		}
	}
	ts.Check(c.Process.Signal(os.Interrupt))
	if err := <-done; c.ProcessState.ExitCode() != code {
		ts.Fatalf("%s after the interrupt: %v, want exit code %d\n%s%s", args[0], err, code, out.String(), errs.String())
	}
	fmt.Fprint(ts.Stdout(), out.String())
	fmt.Fprint(ts.Stderr(), errs.String())
}

// output can be read while a command writes it.
type output struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// checkSummary checks what must hold however slow the machine is:
// check-summary FILE OFFERED NODES.
func checkSummary(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: check-summary FILE OFFERED NODES")
	}
	var s devnet.Summary
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &s))
	var offered uint64
	var nodes int
	_, err := fmt.Sscan(args[1]+" "+args[2], &offered, &nodes)
	ts.Check(err)
	switch sum := s.Refused + s.Lost + s.ExecutedOK + s.ExecutedFailed + s.Duplicate + s.Unpayable + s.BadSignature; {
	case s.Offered != offered || sum != offered:
		ts.Fatalf("%d offered, %d in all, want %d", s.Offered, sum, offered)
	case s.ExecutedOK == 0 || s.Confirmed < s.ExecutedOK || s.Recorded < s.Confirmed:
		ts.Fatalf("%d recorded, %d confirmed, %d executed", s.Recorded, s.Confirmed, s.ExecutedOK)
	case s.BankHashMismatches != 0 || s.BankHashesCompared == 0:
		ts.Fatalf("%d BankHashes compared, %d differ", s.BankHashesCompared, s.BankHashMismatches)
	case s.Slots == 0 || s.SkippedSlots >= s.Slots:
		ts.Fatalf("%d slots, %d skipped", s.Slots, s.SkippedSlots)
	case len(s.SignaturesVerified) != nodes || len(s.ProposerEgress) != nodes || len(s.UserBlocksRecorded) != nodes:
		ts.Fatalf("not every node counts: %v, %v, %v", s.SignaturesVerified, s.ProposerEgress, s.UserBlocksRecorded)
	case s.LatencyMS.Recorded.P50 <= 0 || runtime.GOOS == "linux" && (s.CPUPerTx <= 0 || s.RSSMax <= 0):
		ts.Fatalf("latency %+v, CPU %v, memory %v", s.LatencyMS, s.CPUPerTx, s.RSSMax)
	}
}

// TestFaults kills two validators of a devnet, one after the other, and then
// one that loses its tower: the checks find nothing wrong, and then they do.
// How fast the cluster is on this machine is not asked.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("runs for half a minute")
	}
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	faults := func(args ...string) (out string, err error) {
		cmd := exec.Command(path, append([]string{
			"devnet", "faults", "--reset", "--ledger", filepath.Join(t.TempDir(), "dev"), "--load", "50",
		}, args...)...)
		cmd.Args[0] = "tutti" // TestMain runs the command of that name
		b, err := cmd.CombinedOutput()
		return string(b), err
	}
	out, err := faults("--kill", "2", "--seed", "983")
	wrong, slow := strings.Contains(out, "\nWrong: "), strings.Contains(out, "\nSlow: ")
	if wrong || err != nil && !slow || !strings.Contains(out, "\nChecked: ") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err = faults("--kill", "1", "--seed", "674", "--control"); err != nil || !strings.Contains(out, "\nWrong: ") {
		t.Errorf("control: %v\n%s", err, out)
	}
}

// TestCut cuts a validator of four off from the others, by their network. None
// of them says anything wrong, and their ledgers agree; how soon it is back is
// for a machine with nothing else to do (make cut). It is skipped where the
// machine allows no network namespaces.
func TestCut(t *testing.T) {
	if testing.Short() {
		t.Skip("runs for half a minute")
	}
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "devnet", "faults", "--ledger", filepath.Join(t.TempDir(), "dev"), "--load", "20", "--cut", "1", "--for", "2s", "--seed", "3",
		"--latency", "5ms", "--jitter", "5ms", "--loss", "0.01", "--bandwidth", "1e8")
	cmd.Args[0] = "tutti" // TestMain runs the command of that name
	b, err := cmd.CombinedOutput()
	out := string(b)
	if cmd.ProcessState.ExitCode() == exitNoNetwork {
		t.Skip(out)
	}
	if strings.Contains(out, "\nWrong: ") || !strings.Contains(out, "\nLedgers: 4, ") {
		t.Errorf("%v\n%s", err, out)
	} else if err != nil {
		t.Logf("the machine was too busy for them to keep time: %v", err)
	}
}
