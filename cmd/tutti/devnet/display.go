package devnet

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/mattn/go-isatty"

	"tutti/bank"
	"tutti/cmd/tutti/load"
	"tutti/ledger"
)

// display writes what people see. On a terminal the line of every second
// takes the place of the one before.
type display struct {
	out      io.Writer
	terminal bool

	mu     sync.Mutex
	before load.Live
	drawn  bool // the cursor stands behind a line
}

func newDisplay(out io.Writer) *display {
	f, ok := out.(*os.File)
	return &display{out: out, terminal: ok && isatty.IsTerminal(f.Fd())}
}

// header says where everything is.
func (d *display) header(f *folder, nodes []*validator, o *Options) {
	p := &f.genesis.Params
	fmt.Fprintf(d.out, "Ledger: %s\nGenesis Hash: %s\nShred Version: %d\nProposers: %d, slot %v\nJSON RPC URL: %s\nWebSocket PubSub URL: %s\n",
		f.dir, f.genesis.Hash(), f.genesis.ShredVersion(), p.Proposers, ledger.TicksPerSlot*p.TickDuration, nodes[0].url(), nodes[0].websocket())
	if o.Load > 0 {
		to := ""
		if o.Accounts > 0 {
			to = fmt.Sprintf(" to %d accounts", o.Accounts)
		}
		fmt.Fprintf(d.out, "Load: %d transfers a second of %d payers%s\n", o.Load, load.Payers, to)
	}
	fmt.Fprintf(d.out, "\n%-5s %-44s %-21s %s\n", "Node", "Identity", "QUIC", "JSON RPC")
	for _, v := range nodes {
		fmt.Fprintf(d.out, "%-5s %-44s %-21s %s\n", v.name, v.identity, v.quic, v.url())
	}
	fmt.Fprintln(d.out)
}

// line shows what changed in the last second.
func (d *display) line(live load.Live) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var lanes strings.Builder
	for lane := range ledger.Lane(ledger.LanesMax) {
		if live.Lanes[lane] > d.before.Lanes[lane] {
			fmt.Fprintf(&lanes, " %d", lane)
		}
	}
	if lanes.Len() == 0 {
		lanes.WriteString(" -")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "slot %d | lanes%s | confirmed %d | executed %d | lag %d",
		live.Slot, lanes.String(), live.Confirmed, live.Executed, live.Lag)
	if live.Offered > 0 {
		fmt.Fprintf(&b, " | offered %d/s", live.Offered-d.before.Offered)
	}
	fmt.Fprintf(&b, " | %s", d.color(green, fmt.Sprintf("ok %d/s", live.Outcomes[bank.OK]-d.before.Outcomes[bank.OK])))
	for o := bank.Failed; int(o) < len(live.Outcomes); o++ {
		if n := live.Outcomes[o] - d.before.Outcomes[o]; n > 0 {
			fmt.Fprintf(&b, " %s", d.color(red, fmt.Sprintf("%s %d/s", o, n)))
		}
	}
	if n := live.Refused - d.before.Refused; n > 0 {
		fmt.Fprintf(&b, " %s", d.color(red, fmt.Sprintf("refused %d/s", n)))
	}
	if live.Mismatches > 0 {
		fmt.Fprintf(&b, " | %s", d.color(red, fmt.Sprintf("BankHash mismatches %d", live.Mismatches)))
	}
	if live.Unwell > 0 {
		fmt.Fprintf(&b, " | %s", d.color(red, fmt.Sprintf("%d validators stalled, wrong or halted", live.Unwell)))
	}
	d.before = live
	if !d.terminal {
		fmt.Fprintln(d.out, b.String())
		return
	}
	fmt.Fprintf(d.out, "\r\x1b[K%s", b.String())
	d.drawn = true
}

// say writes a line that stays.
func (d *display) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drawn {
		fmt.Fprintln(d.out)
		d.drawn = false
	}
	fmt.Fprintf(d.out, format+"\n", args...)
}

const (
	red   = 31
	green = 32
)

func (d *display) color(code int, text string) string {
	if !d.terminal {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", code, text)
}
