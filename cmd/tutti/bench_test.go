package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tutti/cmd/tutti/bench"
	"tutti/cmd/tutti/load"
)

func TestShare(t *testing.T) {
	if s, err := parseShare("2/3"); err != nil || s != (load.Share{Index: 1, Of: 3}) {
		t.Errorf("%+v, %v", s, err)
	}
	for _, text := range []string{"", "1", "0/1", "2/1", "1/", "-1/2", "1/2/3"} {
		if s, err := parseShare(text); err == nil {
			t.Errorf("%q is %+v", text, s)
		}
	}
}

// devnetTimeout bounds the wait for a devnet that starts.
const devnetTimeout = time.Minute

// awaitDevnet waits until a devnet runs, and sets URL0, TPU0, URL1, … to the
// addresses of its nodes: await-devnet DIR.
func awaitDevnet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await-devnet DIR")
	}
	for deadline := time.Now().Add(devnetTimeout); ; {
		nodes, err := load.ReadNodes(ts.MkAbs(args[0]))
		if err == nil {
			for i, n := range nodes {
				ts.Setenv(fmt.Sprintf("URL%d", i), n.RPC)
				ts.Setenv(fmt.Sprintf("TPU%d", i), n.QUIC.String())
			}
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// checkReport checks what must hold however slow the machine is:
// check-report FILE OFFERED..., one for each step.
func checkReport(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: check-report FILE OFFERED...")
	}
	var r bench.Report
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &r))
	// On a starved machine a step may be over before a block is confirmed; the
	// report says so.
	stood := slices.Contains(r.Notes, "no block was confirmed during the load")
	if len(r.Steps) != len(args)-1 || stood != (r.Slots == 0) || !stood && r.SkippedSlots >= r.Slots || r.BankHashMismatches != 0 {
		ts.Fatalf("%d steps, %d slots, %d skipped, %d mismatches", len(r.Steps), r.Slots, r.SkippedSlots, r.BankHashMismatches)
	}
	inSeconds, landed := uint64(0), uint64(0)
	for _, s := range r.Seconds {
		inSeconds += s.Offered
		landed += s.Landed
	}
	for i := range r.Steps {
		s := &r.Steps[i]
		ended := uint64(0)
		for _, n := range s.Endings {
			ended += n
		}
		inSeconds -= s.Offered
		switch {
		case fmt.Sprint(s.Offered) != args[1+i] || s.Followed != s.Offered || ended != s.Followed:
			ts.Fatalf("step %d: %d offered, want %s, %d followed, %d ended", i, s.Offered, args[1+i], s.Followed, ended)
		case s.Landed == 0 || s.Accepted < s.Landed || s.Lost != s.Followed-s.Landed:
			ts.Fatalf("step %d: %d accepted, %d landed, %d lost", i, s.Accepted, s.Landed, s.Lost)
		case s.LatencyMS.Executed.P50 <= 0 || len(s.LatencyMS.Executed.CDF) == 0:
			ts.Fatalf("step %d: latency %+v", i, s.LatencyMS)
		}
	}
	if inSeconds != 0 || landed == 0 {
		ts.Fatalf("%d more are offered in seconds than in steps, %d landed", int64(inSeconds), landed)
	}
}
