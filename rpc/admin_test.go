package rpc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"tutti/consensus"
	"tutti/ledger"
	"tutti/node"
)

// serveAdmin runs the admin server of a world on a socket of its own.
func (w *world) serveAdmin() *http.Client {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "admin.sock")
	w.admin = NewAdmin(path)
	w.admin.Counters = func() (network, dropped map[string]uint64) {
		return map[string]uint64{"peers": 3}, map[string]uint64{"node is busy": 4}
	}
	w.admin.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("tutti_slot 7\n")) })
	if err := w.admin.Listen(); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.admin.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
		if _, err := os.Stat(path); err == nil {
			w.t.Error("the socket is still there")
		}
	})
	return client
}

func TestAdminEvents(t *testing.T) {
	w := newWorld(t)
	client := w.serveAdmin()
	response, err := client.Get("http://admin/events")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	tx := transfer(faucet, alice, 5e9, 500, w.bank.Root().ID)
	b := w.block(nil, 1, 0, tx)
	ub, hash := b.user.Ref, ledger.Hash{1}
	w.apply(
		b.userHeld(), b.recorded(), b.held(), b.confirmed(), b.computed(),
		node.Voted{Block: b.ref, BankSlot: 1, BankHash: hash},
		node.VoteSeen{Voter: pubkeyOf(voteAccount), Block: b.ref, Lockouts: []ledger.Lockout{{Slot: 1, Confirmations: 2}}},
		node.Rooted{Block: b.ref}, b.final(), node.Agreed{Third: 1, TwoThirds: 1},
		node.Mismatched{Voter: pubkeyOf(voteAccount), Slot: 1, Own: hash, Other: ledger.Hash{2}},
		node.WentBack{To: b.ref, Wrong: ledger.BlockRef{Slot: 2}, Own: hash, Other: ledger.Hash{2}, Try: 1},
		node.HealthChanged{Health: node.Halted, Block: b.ref, Own: hash, Sums: consensus.Sums{With: 5, Against: 4, Total: 9}, Cause: "why"},
		node.Equivocated{Key: ledger.UserKey(3, 1), Signer: pubkeyOf(identity)},
		node.BlockRejected{Block: b.ref, Err: errors.New("bad")},
		node.UserBlockRejected{Ref: ub, Err: errors.New("bad")},
		node.Refused{Signature: tx.Signature(0), Err: errors.New("pool is full")},
		node.ShredSeen{}, // no event
		node.Head{Slot: 1, Height: 1, Confirmed: 1, Executed: 1, Lag: 2, Pool: 3},
	)
	first8 := tx.Signature(0)
	user := `"u":1,"lane":2,"id":"` + ub.ID.String() + `"`
	block := `"slot":1,"id":"` + b.ref.ID.String() + `"`
	lines := bufio.NewScanner(response.Body)
	for _, want := range []string{
		`"held",` + user + `,"own":false,"txs":"` + jsonBytes(first8[:8]) + `"`,
		`"recorded","slot":1,` + user,
		`"block",` + block + `,"parent_slot":0,"parent":"` + b.parent.ID.String() + `","height":1,"entries":[{` + user + `}],"votes":1,"own":false`,
		`"confirmed",` + block,
		`"executed",` + block + `,"bank_hash":"` + b.result.BankHash.String() + `","outcomes":"` + jsonBytes(append(first8[:8:8], 0)) + `"`,
		`"voted",` + block + `,"bank_slot":1,"bank_hash":"` + hash.String() + `"`,
		`"vote","voter":"` + pubkeyOf(voteAccount).String() + `",` + block + `,"root":0,"lockouts":[[1,2]]`,
		`"rooted",` + block,
		`"finalized",` + block,
		`"agreed","third":1,"two_thirds":1`,
		`"mismatch","slot":1,"own":"` + hash.String() + `","other":"` + ledger.Hash{2}.String() + `","voter":"` + pubkeyOf(voteAccount).String() + `"`,
		`"back",` + block + `,"wrong":2,"own":"` + hash.String() + `","other":"` + ledger.Hash{2}.String() + `","try":1`,
		`"health",` + block + `,"health":"halted","cause":"why","bank_hash":"` + hash.String() + `","with":5,"against":4,"stake":9`,
		`"equivocated","key":"u3/1","signer":"` + pubkeyOf(identity).String() + `"`,
		`"rejected","block":"` + b.ref.String() + `","reason":"bad"`,
		`"rejected","block":"` + ub.String() + `","reason":"bad"`,
		`"refused","txs":"` + jsonBytes(first8[:8]) + `","reason":"pool is full"`,
		`"head","slot":1,"height":1,"confirmed":1,"executed":1,"root":0,"finalized":0,"lag":2,"pool":3`,
	} {
		if !lines.Scan() {
			t.Fatalf("the stream ends: %v", lines.Err())
		}
		if want = `{"t":1700000000000000000,"type":` + want + `}`; lines.Text() != want {
			t.Errorf("\n got %s\nwant %s", lines.Text(), want)
		}
	}
}

func jsonBytes(b []byte) string {
	out, _ := json.Marshal(b)
	return strings.Trim(string(out), `"`)
}

func TestAdminStats(t *testing.T) {
	w := newWorld(t)
	client := w.serveAdmin()
	b := w.block(nil, 1, 0, transfer(faucet, alice, 5e9, 500, w.bank.Root().ID))
	w.apply(
		b.userHeld(), node.UserBlockVerified{Ref: b.user.Ref, Verified: 1}, b.recorded(), b.held(), b.confirmed(), b.computed(), node.Rooted{Block: b.ref},
		node.Voted{}, node.VoteSeen{}, node.VoteSeen{}, node.Accepted{},
		node.Refused{Err: errors.New("pool is full")}, node.Dropped{What: "shred", Reason: "late"},
		node.ShredSeen{Key: 1, Depth: 2}, node.ShredSeen{Key: ledger.UserKey(3, 1)},
		node.ShredSeen{Key: ledger.UserKey(3, 1), Repaired: true},
		node.Broadcast{Key: 1, Made: 64, Roots: 64}, // a leader block's
		node.Broadcast{Key: ledger.UserKey(3, 1), Made: 64, Roots: 60, Copies: 40},
		node.SetCompleted{}, node.SetCompleted{Recovered: 4},
		node.BlockRejected{Err: errors.New("bad")}, node.UserBlockRejected{Err: errors.New("bad")},
		node.Equivocated{}, node.Mismatched{}, node.WentBack{}, node.HealthChanged{Health: node.Halted},
	)
	response, err := client.Get("http://admin/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if _, got := finish(t, response); got != "tutti_slot 7\n" {
		t.Errorf("metrics: %q", got)
	}
	runtime.GC() // so that something is known of the heap
	if response, err = client.Get("http://admin/stats"); err != nil {
		t.Fatal(err)
	}
	_, got := finish(t, response)
	got = regexp.MustCompile(`"heap_live_bytes":[1-9][0-9]+`).ReplaceAllString(got, `"heap_live_bytes":1`)
	const want = `{"shreds":{"by_depth":{"0":1,"2":1},"by_lane":{"1":{"0":1},"leader":{"2":1}},"repaired":1},` +
		`"sets":{"completed":2,"recovered":1,"rebuilt":4},` +
		`"egress":{"shreds_made":64,"shreds_sent":100,"leader_copies":40},"signatures_verified":1,` +
		`"user_blocks":{"held":1,"own":0,"rejected":1,"recorded_by_lane":{"2":1}},` +
		`"blocks":{"held":1,"own":0,"rejected":1,"confirmed":1,"rooted":1,"executed":1},` +
		`"votes":{"own":1,"seen":2},` +
		`"transactions":{"accepted":1,"refused":{"pool is full":1},"dropped":{"node is busy":4},"by_outcome":{"ok":1}},` +
		`"dropped":{"shred: late":1},"equivocators":1,"mismatches":1,"health":"halted","went_back":1,"events_lost":0,"heap_live_bytes":1,"network":{"peers":3}}` + "\n"
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// A reader that does not keep up loses events, is told how many, and holds
// nobody up.
func TestAdminSlowReader(t *testing.T) {
	a := NewAdmin("")
	r := &eventReader{lines: make(chan []byte, 2)}
	a.readers[r] = struct{}{}
	now := time.Unix(0, 7)
	for range 5 {
		a.Apply(now, node.Agreed{Third: 1})
	}
	line := string(<-r.lines)
	<-r.lines
	if want := `{"t":7,"type":"agreed","third":1,"two_thirds":0}` + "\n"; line != want {
		t.Errorf("got %s", line)
	}
	a.Apply(now, node.Agreed{Third: 2})
	if got, want := string(<-r.lines), `{"t":7,"type":"lost","count":3}`+"\n"; got != want {
		t.Errorf("got %s", got)
	}
	if got, want := string(<-r.lines), `{"t":7,"type":"agreed","third":2,"two_thirds":0}`+"\n"; got != want {
		t.Errorf("got %s", got)
	}
	if a.stats.EventsLost != 3 {
		t.Errorf("%d events lost", a.stats.EventsLost)
	}
}

func TestReasonsAreBounded(t *testing.T) {
	reasons := map[string]uint64{}
	for i := range 1000 {
		count(reasons, strings.Repeat("x", i))
	}
	if len(reasons) != reasonsMax+1 || reasons["other"] != 1000-reasonsMax {
		t.Errorf("%d reasons, %d others", len(reasons), reasons["other"])
	}
}

// Only the socket's owner can open it; one that was left behind is replaced,
// one that is in use, or anything else, is not.
func TestAdminSocket(t *testing.T) {
	w := newWorld(t)
	w.serveAdmin()
	info, err := os.Stat(w.admin.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	if err := NewAdmin(w.admin.path).Listen(); err == nil || !strings.Contains(err.Error(), "is running") {
		t.Errorf("second node: %v", err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := NewAdmin(file).Listen(); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file: %v", err)
	}
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	a := NewAdmin(stale)
	if err := a.Listen(); err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ctx); err != nil {
		t.Error(err)
	}
}
