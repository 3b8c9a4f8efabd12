package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
	solanarpc "github.com/gagliardetto/solana-go/rpc"
	confirm "github.com/gagliardetto/solana-go/rpc/sendAndConfirmTransaction"
	"github.com/gagliardetto/solana-go/rpc/ws"

	"tutti/live/store"
)

// TestWithSolanaTools runs a devnet of real processes and uses it as Solana's
// people would: keypair files, airdrop, transfer, and solana-go's
// SendAndConfirm, which waits for finality. Then the ledgers must verify, and
// must not after one bit of a UserBlock was flipped.
func TestWithSolanaTools(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	url, socket, stop := startDevnet(t, filepath.Join(dir, "dev"))
	alice, bob := filepath.Join(dir, "alice.json"), filepath.Join(dir, "bob.json")
	tutti(t, "keygen", "new", "-o", alice, "--no-bip39-passphrase", "-s")
	tutti(t, "keygen", "new", "-o", bob, "--no-bip39-passphrase", "-s")
	tutti(t, "airdrop", "5", alice, "-u", url)
	tutti(t, "transfer", bob, "1.5", "-u", url, "-k", alice, "--allow-unfunded-recipient")
	if got := tutti(t, "balance", bob, "-u", url); !strings.HasPrefix(got, "1.5 SOL") {
		t.Errorf("bob's balance is %q after 1.5 SOL were sent", got)
	}
	sendAndConfirm(t, url, socket, alice, bob)
	if got := tutti(t, "balance", bob, "-u", url); !strings.HasPrefix(got, "1.75 SOL") {
		t.Errorf("bob's balance is %q after 0.25 SOL more were sent", got)
	}
	stop()
	ledgers := []string{filepath.Join(dir, "dev", "v0"), filepath.Join(dir, "dev", "v1")}
	hashes := tutti(t, "ledger", "verify", "--hashes", "-l", ledgers[0])
	other := tutti(t, "ledger", "verify", "--hashes", "-l", ledgers[1])
	for _, line := range regexp.MustCompile(`(?m)^\d+ .*$`).FindAllString(hashes, -1) {
		slot, _, _ := strings.Cut(line, " ")
		if strings.Contains("\n"+other, "\n"+slot+" ") && !strings.Contains("\n"+other, "\n"+line+"\n") {
			t.Errorf("the ledgers differ at %s", line)
		}
	}
	slot := damageUserBlock(t, ledgers[1])
	var out, errs bytes.Buffer
	if code := run([]string{"ledger", "verify", "-l", ledgers[1]}, nil, &out, &errs); code != 1 ||
		!strings.Contains(errs.String(), fmt.Sprintf("slot %d:", slot)) {
		t.Errorf("a ledger with a flipped bit in slot %d verifies with code %d: %s", slot, code, errs.String())
	}
}

// tutti runs a command that must succeed and returns what it prints.
func tutti(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(args, strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("tutti %s: code %d: %s", strings.Join(args, " "), code, errs.String())
	}
	return out.String()
}

// startDevnet starts two validators and returns their addresses for clients,
// and what stops them.
func startDevnet(t *testing.T, dir string) (url, socket string, stop func()) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "devnet", "--validators", "2", "--reset", "--ledger", dir)
	cmd.Args[0] = "tutti" // TestMain runs the command of that name
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "JSON RPC URL: "); ok {
			url = v
		}
		if v, ok := strings.CutPrefix(lines.Text(), "WebSocket PubSub URL: "); ok {
			socket = v
		}
		if strings.HasPrefix(lines.Text(), "slot ") {
			break
		}
	}
	if url == "" || socket == "" {
		t.Fatal("the devnet does not say where it can be reached")
	}
	go func() {
		for lines.Scan() {
		}
		done <- cmd.Wait()
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("devnet: %v", err)
		}
	}
	t.Cleanup(stop)
	return url, socket, stop
}

// sendAndConfirm is what a Go program of Solana's does.
func sendAndConfirm(t *testing.T, url, socket, from, to string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	payer, err := solana.PrivateKeyFromSolanaKeygenFile(from)
	if err != nil {
		t.Fatal(err)
	}
	payee, err := solana.PrivateKeyFromSolanaKeygenFile(to)
	if err != nil {
		t.Fatal(err)
	}
	client := solanarpc.New(url)
	defer client.Close()
	subscriptions, err := ws.Connect(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	defer subscriptions.Close()
	latest, err := client.GetLatestBlockhash(ctx, solanarpc.CommitmentConfirmed)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := solana.NewTransaction([]solana.Instruction{
		system.NewTransferInstruction(solana.LAMPORTS_PER_SOL/4, payer.PublicKey(), payee.PublicKey()).Build(),
	}, latest.Value.Blockhash, solana.TransactionPayer(payer.PublicKey()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Sign(func(k solana.PublicKey) *solana.PrivateKey {
		if k == payer.PublicKey() {
			return &payer
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := confirm.SendAndConfirmTransaction(ctx, client, subscriptions, tx); err != nil {
		t.Errorf("SendAndConfirm: %v", err)
	}
}

// damageUserBlock flips a bit in the payload of a stored UserBlock, where the
// store's own checksums do not betray it, and returns its slot.
func damageUserBlock(t *testing.T, dir string) uint64 {
	t.Helper()
	s, err := store.OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found *store.Entry
	for e, err := range s.Entries(0, 1<<40) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == store.KindSet && e.Key.IsUser() {
			found = &e
			break
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if found == nil {
		t.Fatal("the ledger has no UserBlock")
	}
	if err := store.Damage(dir, found, 300, true); err != nil {
		t.Fatal(err)
	}
	return uint64(found.Slot)
}
