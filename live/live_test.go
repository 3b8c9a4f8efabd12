package live

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tutti/bank"
	"tutti/cluster"
	"tutti/ledger"
	"tutti/ledger/sigverify"
	"tutti/live/endpoint"
	"tutti/live/store"
	"tutti/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testKey(name string, i int) ed25519.PrivateKey {
	seed := ledger.Sum([]byte(name), []byte{byte(i)})
	return ed25519.NewKeyFromSeed(seed[:])
}

func pubkey(k ed25519.PrivateKey) ledger.Pubkey { return ledger.Pubkey(k.Public().(ed25519.PublicKey)) }

var payer = testKey("faucet", 0)

// testGenesis is that of a ledger of n validators that starts now.
func testGenesis(t *testing.T, n int) *cluster.Genesis {
	t.Helper()
	o := cluster.Options{
		Params: cluster.LocalParams(n), T0: time.Now().Add(100 * time.Millisecond).UnixNano(), Faucet: pubkey(payer),
	}
	o.Params.Reserve = 0
	o.Params.HashesPerTick, o.Params.UserBlockHashesPerTick = 0, 0
	for i := range n {
		o.Validators = append(o.Validators, cluster.Validator{
			Identity: pubkey(testKey("identity", i)), VoteAccount: pubkey(testKey("vote", i)), Stake: 100 * ledger.LamportsPerSOL,
		})
	}
	g, err := cluster.NewGenesis(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// testNode is a running node and what it reports.
type testNode struct {
	*Live
	reports *Subscription
	stop    func() error
}

func configOf(g *cluster.Genesis, i int, dir string) Config {
	return Config{
		Genesis: g, Identity: testKey("identity", i), VoteAccount: pubkey(testKey("vote", i)),
		Ledger: dir, Listen: netip.MustParseAddrPort("127.0.0.1:0"),
	}
}

func start(t *testing.T, cfg Config) *testNode {
	t.Helper()
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n := &testNode{Live: l, reports: l.Reports().Subscribe(1 << 16)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stopped := false
	n.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := n.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return n
}

// until takes reports until one is what the caller waits for.
func (n *testNode) until(t *testing.T, found func(of any) bool) {
	t.Helper()
	for {
		reports, err := n.reports.Next(t.Context())
		if err != nil {
			t.Fatalf("waiting for a report: %v", err)
		}
		for _, r := range reports {
			if found(r.Of) {
				return
			}
		}
	}
}

// executes waits until the node has executed a transaction of that hash, and
// returns the slot.
func (n *testNode) executes(t *testing.T, hash ledger.Hash) (slot ledger.Slot) {
	t.Helper()
	n.until(t, func(of any) bool {
		c, ok := of.(node.BankComputed)
		if ok {
			for _, r := range c.Result.Receipts {
				if r.MessageHash == hash {
					slot = c.Result.Ref.Slot
				}
			}
		}
		return slot > 0
	})
	return slot
}

func transfer(t *testing.T, to ledger.Pubkey, lamports ledger.Lamports, blockhash ledger.Hash) ledger.Transaction {
	t.Helper()
	m := ledger.TransferMessage(pubkey(payer), to, lamports, 0, 0, blockhash)
	tx, err := ledger.ParseTransaction(ledger.Sign(m.Append(nil), payer))
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func TestClusterExecutesAndRestarts(t *testing.T) {
	const n = 2
	g := testGenesis(t, n)
	dir := t.TempDir()
	var nodes []*testNode
	var configs []Config
	for i := range n {
		cfg := configOf(g, i, filepath.Join(dir, string(rune('a'+i))))
		if i > 0 {
			cfg.Entrypoints = []string{nodes[0].Addr().String()}
			cfg.DropShreds = 0.2
		}
		nodes = append(nodes, start(t, cfg))
		configs = append(configs, cfg)
	}
	to := ledger.Pubkey{1, 2, 3}
	tx := transfer(t, to, ledger.LamportsPerSOL, g.Hash())
	if err := nodes[0].Submit(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	client, err := endpoint.DialTransactions(t.Context(), nodes[1].Addr(), testKey("client", 0))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	second := transfer(t, to, 2*ledger.LamportsPerSOL, g.Hash())
	if err := client.Send(t.Context(), second.Raw()); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		seen := map[ledger.Hash]bool{}
		n.until(t, func(of any) bool {
			if c, ok := of.(node.BankComputed); ok {
				for _, r := range c.Result.Receipts {
					seen[r.MessageHash] = true
				}
			}
			return seen[tx.MessageHash()] && seen[second.MessageHash()]
		})
	}

	if metric(t, nodes[n-1].Live, "tutti_dropped_total", "test") == 0 {
		t.Error("no shred was dropped")
	}
	for _, name := range []string{"tutti_store_commit_seconds", "tutti_late_seconds"} {
		if seconds := observed(t, nodes[0].Live, name); seconds <= 0 || seconds > 600 {
			t.Errorf("%s saw %v seconds in all", name, seconds)
		}
	}

	// A node that stops comes back where it was, and catches up.
	saved := ledger.Slot(0)
	nodes[n-1].until(t, func(of any) bool {
		if r, ok := of.(node.Rooted); ok && r.Block.Slot >= 20 {
			saved = r.Block.Slot
		}
		return saved > 0
	})
	if err := nodes[n-1].stop(); err != nil {
		t.Fatal(err)
	}
	cfg := configs[n-1]
	back := start(t, cfg)
	if root := back.executor.bank.Root().Slot; root == 0 {
		t.Errorf("node rooted %d and came back at genesis", saved)
	}
	third := transfer(t, to, 3*ledger.LamportsPerSOL, g.Hash())
	if err := nodes[0].Submit(t.Context(), third); err != nil {
		t.Fatal(err)
	}
	slot := back.executes(t, third.MessageHash())
	if slot <= saved {
		t.Errorf("executed in slot %d, before root %d", slot, saved)
	}
	back.until(t, func(of any) bool { v, ok := of.(node.Voted); return ok && v.Block.Slot > saved })
}

func TestSubmitTellsWhy(t *testing.T) {
	g := testGenesis(t, 1)
	n := start(t, configOf(g, 0, t.TempDir()))
	tx := transfer(t, ledger.Pubkey{9}, 1, ledger.Hash{1})
	if err := n.Submit(t.Context(), tx); !errors.Is(err, ledger.TransactionError{Kind: ledger.BlockhashNotFound}) {
		t.Errorf("unknown blockhash: %v", err)
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	if err := n.Submit(t.Context(), tx); !errors.Is(err, ErrStopped) {
		t.Errorf("after Run: %v", err)
	}
}

func TestStartErrorsNameTheRemedy(t *testing.T) {
	g := testGenesis(t, 1)
	dir := t.TempDir()
	running, err := New(configOf(g, 0, dir))
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	check := func(name string, err, want error, words ...string) {
		t.Helper()
		var start *StartError
		if !errors.As(err, &start) || !errors.Is(err, want) {
			t.Errorf("%s: %v, want a StartError of %v", name, err, want)
			return
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", name, err, w)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q has more than one line", name, err)
		}
	}
	_, err = New(configOf(g, 0, dir))
	check("ledger in use", err, store.ErrInUse, dir, "stop it")
	busy := configOf(g, 0, t.TempDir())
	busy.Listen = running.Addr()
	_, err = New(busy)
	check("port in use", err, endpoint.ErrPortBusy, running.Addr().String(), "port")
	if err := running.Close(); err != nil {
		t.Fatal(err)
	}
	other := testGenesis(t, 2)
	_, err = New(configOf(other, 0, dir))
	check("another genesis", err, store.ErrOtherGenesis, g.Hash().String(), other.Hash().String(), "--ledger")

	path := filepath.Join(dir, "key.json")
	_, err = ReadKey(path)
	check("no key", err, ErrKey, path, "keygen")
	if err := os.WriteFile(path, cluster.FormatKeypair(payer), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = ReadKey(path)
	check("open key", err, ErrKey, path, "chmod 600")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if key, err := ReadKey(path); err != nil || !bytes.Equal(key, payer) {
		t.Errorf("sound key: %v", err)
	}
	if err := os.WriteFile(path, []byte("[1,2]"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ReadKey(path)
	check("damaged key", err, ErrKey, path, "copy")
	check("too few files", &StartError{checkFiles(1 << 40)}, ErrFiles, "ulimit -n 1099511627776")
}

func TestHubCutsOffWhoFallsBehind(t *testing.T) {
	var h Hub
	slow, fast := h.Subscribe(2), h.Subscribe(10)
	for i := range 3 {
		h.publish(Report{Of: i})
	}
	take := func(s *Subscription) (got []any, err error) {
		for {
			reports, err := s.Next(t.Context())
			if err != nil {
				return got, err
			}
			for _, r := range reports {
				got = append(got, r.Of)
			}
		}
	}
	h.close()
	for _, test := range []struct {
		name string
		s    *Subscription
		want []any
		err  error
	}{
		{"slow", slow, []any{0, 1}, ErrSlow},
		{"fast", fast, []any{0, 1, 2}, ErrStopped},
		{"late", h.Subscribe(1), nil, ErrStopped},
	} {
		if got, err := take(test.s); !slices.Equal(got, test.want) || !errors.Is(err, test.err) {
			t.Errorf("%s: %v, %v", test.name, got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var idle Hub
	if _, err := idle.Subscribe(1).Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestQueueIsBoundedAndInOrder(t *testing.T) {
	q := newQueue[int](5)
	for i := range 7 {
		if q.put(i) != (i < 5) {
			t.Errorf("item %d of 5", i)
		}
	}
	<-q.ready
	if got := q.take(nil, 3); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("took %v", got)
	}
	<-q.ready // because something is left
	if got := q.take(nil, 3); !slices.Equal(got, []int{3, 4}) || q.len() != 0 {
		t.Errorf("took %v, %d left", got, q.len())
	}
}

func TestClientTransactionsAreVerified(t *testing.T) {
	var raw [][]byte
	var want []ledger.Hash
	reasons := map[string]int{}
	for i := range 20 {
		tx := transfer(t, ledger.Pubkey{byte(i)}, 1, ledger.Hash{})
		b := bytes.Clone(tx.Raw())
		switch i % 4 {
		case 0:
			want = append(want, tx.MessageHash())
		case 1:
			b[10] ^= 1 // in the signature
		case 2:
			b = b[:len(b)-1]
		case 3:
			b[65] = 2 // a second signer, without signature
		}
		raw = append(raw, b)
	}
	v := verifier{keys: sigverify.NewVerifier(sigverify.Simd0376), drop: func(reason string) { reasons[reason]++ }}
	for range 2 { // buffers are used again
		clear(reasons)
		var got []ledger.Hash
		for _, tx := range v.verify(raw) {
			got = append(got, tx.MessageHash())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d sound, want %d", len(got), len(want))
		}
		if !maps.Equal(reasons, map[string]int{"signature": 5, "malformed": 5, "not sane": 5}) {
			t.Errorf("dropped %v", reasons)
		}
	}
}

// metric returns the value of a counter with that value of a label.
func metric(t *testing.T, l *Live, name, label string) (value float64) {
	t.Helper()
	families, err := l.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, pair := range m.GetLabel() {
				if f.GetName() == name && pair.GetValue() == label {
					value += m.GetCounter().GetValue()
				}
			}
		}
	}
	return value
}

// observed returns the sum of what a histogram has seen.
func observed(t *testing.T, l *Live, name string) (sum float64) {
	t.Helper()
	families, err := l.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			sum += f.GetMetric()[0].GetHistogram().GetSampleSum()
		}
	}
	return sum
}

func TestMetricsAreWellNamed(t *testing.T) {
	l, err := New(configOf(testGenesis(t, 1), 0, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, of := range []any{
		node.Accepted{},
		node.Refused{},
		node.Dropped{What: "a", Reason: "b"},
		node.ShredSeen{Repaired: true},
		node.SetCompleted{Recovered: 1},
		node.UserBlockHeld{},
		node.UserBlockRejected{Err: ErrBusy},
		node.UserBlockRecorded{},
		node.UserBlockMissed{},
		node.BlockHeld{},
		node.BlockRejected{Err: ErrBusy},
		node.Voted{},
		node.VoteSeen{},
		node.Confirmed{},
		node.BankComputed{Result: &bank.Result{Receipts: make([]bank.Receipt, 1)}},
		node.Agreed{},
		node.Mismatched{},
		node.WentBack{},
		node.HealthChanged{},
		node.Restarted{Restart: &cluster.Restart{}},
		node.Rooted{},
		node.Equivocated{},
		node.Head{},
	} {
		l.metrics.report(of)
		(&observer{log: l.log}).report(of)
	}
	families, err := l.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "tutti_") || f.GetHelp() == "" {
			t.Errorf("metric %s: %q", f.GetName(), f.GetHelp())
		}
	}
}
