package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tutti/bank"
	"tutti/cluster"
	"tutti/ledger"
	"tutti/live/store"
	"tutti/node"
	"tutti/rpc"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tutti": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exit-code": checkExitCode, "ledger": startLedger, "mode": checkMode,
			"hold-port": holdPort, "run-until": runUntil, "interrupt": interruptAt, "check-summary": checkSummary,
			"record-halt": recordHalt, "await-devnet": awaitDevnet, "check-report": checkReport,
		},
	})
}

// checkExitCode runs a command that fails, and checks its exit code and that
// it says why in one line: exit-code 2 tutti ARGUMENTS.
func checkExitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit-code CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || strconv.Itoa(exit.ExitCode()) != args[0] {
		ts.Fatalf("%v, want exit code %s", err, args[0])
	}
	if text := ts.ReadFile("stderr"); !strings.HasPrefix(text, "Error: ") || strings.Count(text, "\n") != 1 {
		ts.Fatalf("standard error is not one line: %q", text)
	}
}

// recordHalt writes into a stopped node's ledger that it has halted, after the
// last slot that is stored: record-halt LEDGER.
func recordHalt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: record-halt LEDGER")
	}
	dir := ts.MkAbs(args[0])
	genesis, err := readGenesis(dir)
	ts.Check(err)
	s, err := store.Open(store.Options{Dir: dir, Genesis: genesis.Hash(), FreeMin: 1})
	ts.Check(err)
	b, err := bank.New(genesis, 1)
	ts.Check(err)
	_, last, _, _, err := s.Bounds()
	ts.Check(err)
	halt := node.Halt{
		Health: node.Halted, At: last + 8, Cause: "they differ", Block: ledger.BlockRef{Slot: 7},
		Certified: b.Root(), // genesis
	}
	halt.CertifiedHash, _ = b.BankHash(halt.Certified)
	ctx, cancel := context.WithCancel(context.Background())
	s.Save([]node.Record{node.HaltRecord{Bytes: halt.Append(nil)}}, false, cancel)
	ts.Check(errors.Join(s.Run(ctx), s.Close()))
}

// checkMode checks a file's permissions: mode -rw------- FILE.
func checkMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode PERMISSIONS FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := info.Mode().Perm().String(); got != args[0] {
		ts.Fatalf("mode %s, want %s", got, args[0])
	}
}

// startLedger starts a server on a ledger that makes a block of every
// transaction, and sets URL to its address. With "stuck" no transaction is
// ever executed, and every one makes 200 blocks without it.
func startLedger(ts *testscript.TestScript, neg bool, args []string) {
	l, err := newTestLedger(len(args) > 0 && args[0] == "stuck")
	ts.Check(err)
	s := l.server
	ts.Check(s.Listen())
	ts.Setenv("URL", s.URL())
	config := filepath.Join(ts.Getenv("HOME"), ".config", "solana", "cli")
	ts.Check(os.MkdirAll(config, 0o755))
	ts.Check(os.WriteFile(filepath.Join(config, "config.yml"), []byte(
		"---\njson_rpc_url: \""+s.URL()+"\"\nwebsocket_url: ''\nkeypair_path: "+ts.MkAbs("alice.json")+"\naddress_labels:\n  \"11\": System\ncommitment: finalized\n",
	), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	ts.Defer(func() {
		cancel()
		if err := <-done; err != nil {
			ts.Logf("server: %v", err)
		}
	})
}

type testLedger struct {
	server *rpc.Server
	mu     sync.Mutex
	bank   *bank.Bank
	tip    ledger.BlockRef
	stuck  bool
}

func newTestLedger(stuck bool) (*testLedger, error) {
	faucet := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	params := cluster.LocalParams(4)
	params.Reserve = 0
	genesis, err := cluster.NewGenesis(cluster.Options{
		Params: params, T0: 1_700_000_000_000_000_000, Faucet: publicKey(faucet),
		Validators: []cluster.Validator{{
			Identity: ledger.Pubkey{1}, VoteAccount: ledger.Pubkey{2}, Stake: 100 * ledger.LamportsPerSOL,
		}},
	})
	if err != nil {
		return nil, err
	}
	b, err := bank.New(genesis, 1)
	if err != nil {
		return nil, err
	}
	view, _ := b.View(b.Root())
	l := &testLedger{bank: b, tip: b.Root(), stuck: stuck}
	l.server = &rpc.Server{
		State: rpc.NewState(view), Submit: l.submit, Genesis: genesis, Faucet: faucet,
		Version: version, Address: "127.0.0.1:0",
	}
	return l, nil
}

func (l *testLedger) submit(_ context.Context, tx ledger.Transaction) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stuck {
		for range 200 {
			if err := l.block(); err != nil {
				return err
			}
		}
		return nil
	}
	return l.block(tx)
}

// block makes a block and reports it up to finality.
func (l *testLedger) block(txs ...ledger.Transaction) error {
	block := &bank.Block{Parent: l.tip, Ref: ledger.BlockRef{Slot: l.tip.Slot + 1, ID: ledger.Sum(l.tip.ID[:])}}
	block.LastPoH = ledger.Sum(block.Ref.ID[:])
	user := &ledger.UserBlock{Ref: ledger.UserBlockRef{U: block.Ref.Slot.FirstUserSlot() - 1}}
	for _, tx := range txs {
		budget, err := tx.ComputeBudget()
		if err != nil {
			return err
		}
		user.Transactions = append(user.Transactions, ledger.UserTransaction{
			Transaction: tx, Hash: tx.MessageHash(), Budget: budget, SignatureOK: true,
		})
	}
	block.UserBlocks = []bank.Recorded{{Section: user.Ref.U + 1, Block: user, Anchor: l.tip}}
	result, err := l.bank.Execute(block)
	if err != nil {
		return err
	}
	l.tip = block.Ref
	slot := block.Ref.Slot
	for _, report := range []any{
		node.BlockHeld{Block: block.Ref, Parent: block.Parent, Height: result.Height, LastPoH: block.LastPoH},
		node.Confirmed{Block: block.Ref},
		node.BankComputed{Result: result},
		node.Agreed{Third: slot, TwoThirds: slot},
		node.Finalized{Block: block.Ref},
	} {
		l.server.State.Apply(time.Now(), report)
	}
	return nil
}

func TestSOL(t *testing.T) {
	for _, c := range []struct {
		text   string
		amount ledger.Lamports
		shown  string
	}{
		{"1", 1e9, "1 SOL"},
		{"1.5", 15e8, "1.5 SOL"},
		{".000000001", 1, "0.000000001 SOL"},
		{"0", 0, "0 SOL"},
		{"10.", 1e10, "10 SOL"},
		{"18446744073.709551615", 1<<64 - 1, "18446744073.709551615 SOL"},
	} {
		got, err := parseSOL(c.text)
		if err != nil || got != c.amount || formatSOL(got) != c.shown {
			t.Errorf("%s: %d, %v, %s", c.text, got, err, formatSOL(got))
		}
	}
	for _, text := range []string{"", ".", "-1", "+1", "1e9", "1,5", "0.0000000001", "18446744073.709551616", "1.+5"} {
		if got, err := parseSOL(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}
