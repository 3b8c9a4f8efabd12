package rpc

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
	solanarpc "github.com/gagliardetto/solana-go/rpc"
	confirm "github.com/gagliardetto/solana-go/rpc/sendAndConfirmTransaction"
	"github.com/gagliardetto/solana-go/rpc/ws"

	"tutti/ledger"
)

// chain makes a block of every transaction that is submitted and reports it
// up to finality.
type chain struct {
	*world
	mu  sync.Mutex
	tip *made
}

func (c *chain) submit(_ context.Context, tx ledger.Transaction) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	slot := ledger.Slot(1)
	if c.tip != nil {
		slot = c.tip.ref.Slot + 1
	}
	c.tip = c.block(c.tip, slot, 0, tx)
	c.all(c.tip)
	return nil
}

// The flow "airdrop, transfer, confirm", with Solana's Go client as it is.
func TestSolanaGo(t *testing.T) {
	c := &chain{world: newWorld(t)}
	s := c.serve(c.submit)
	ctx := t.Context()
	client := solanarpc.New(s.URL())
	defer client.Close()
	sockets, err := ws.Connect(ctx, s.WebSocketURL())
	if err != nil {
		t.Fatal(err)
	}
	defer sockets.Close()

	from, to := solana.PrivateKey(keyOf(alice)), solana.PublicKey(pubkeyOf(bob))
	airdrop, err := client.RequestAirdrop(ctx, from.PublicKey(), 5*solana.LAMPORTS_PER_SOL, solanarpc.CommitmentConfirmed)
	if err != nil {
		t.Fatal(err)
	}
	slots, err := sockets.SlotSubscribe()
	if err != nil {
		t.Fatal(err)
	}
	// The client does not wait for the answer to a subscription; the
	// notification of this one comes after the answer to that of the slots.
	if done, err := confirm.WaitForConfirmation(ctx, sockets, airdrop, nil); !done || err != nil {
		t.Fatalf("airdrop: %v %v", done, err)
	}

	latest, err := client.GetLatestBlockhash(ctx, solanarpc.CommitmentFinalized)
	if err != nil {
		t.Fatal(err)
	}
	pay := func(lamports uint64) *solana.Transaction {
		t.Helper()
		tx, err := solana.NewTransaction(
			[]solana.Instruction{system.NewTransferInstruction(lamports, from.PublicKey(), to).Build()},
			latest.Value.Blockhash, solana.TransactionPayer(from.PublicKey()),
		)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Sign(func(solana.PublicKey) *solana.PrivateKey { return &from }); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	tx := pay(2 * solana.LAMPORTS_PER_SOL)
	fee, err := client.GetFeeForMessage(ctx, tx.Message.ToBase64(), solanarpc.CommitmentProcessed)
	if err != nil || *fee.Value != 5000 {
		t.Errorf("fee %v, %v", fee, err)
	}
	signature, err := confirm.SendAndConfirmTransaction(ctx, client, sockets, tx)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := slots.Recv(ctx); err != nil || got.Slot != 2 || got.Parent != 1 {
		t.Errorf("slot %v, %v", got, err)
	}
	slots.Unsubscribe()
	balance, err := client.GetBalance(ctx, to, solanarpc.CommitmentFinalized)
	if err != nil || balance.Value != 2*solana.LAMPORTS_PER_SOL {
		t.Errorf("balance %v, %v", balance, err)
	}
	statuses, err := client.GetSignatureStatuses(ctx, true, signature, solana.Signature{1})
	if err != nil || statuses.Value[0].ConfirmationStatus != solanarpc.ConfirmationStatusFinalized ||
		statuses.Value[0].Confirmations != nil || statuses.Value[1] != nil {
		t.Errorf("statuses %v, %v", statuses, err)
	}

	// One that fails is paid for, and its error comes over the socket.
	_, err = confirm.SendAndConfirmTransactionWithOpts(ctx, client, sockets, pay(9*solana.LAMPORTS_PER_SOL), solanarpc.TransactionOpts{SkipPreflight: true}, nil)
	if err == nil || !strings.Contains(err.Error(), "Custom") {
		t.Errorf("a payment without funds: %v", err)
	}
	// The same one again is refused.
	if _, err = client.SendTransaction(ctx, tx); err == nil || !strings.Contains(err.Error(), "already been processed") {
		t.Errorf("a transaction sent twice: %v", err)
	}

	info, err := client.GetAccountInfo(ctx, to)
	if err != nil || info.Value.Owner != solana.SystemProgramID || len(info.GetBinary()) != 0 {
		t.Errorf("account %v, %v", info, err)
	}
	if version, err := client.GetVersion(ctx); err != nil || version.SolanaCore != apiVersion {
		t.Errorf("version %v, %v", version, err)
	}
	epoch, err := client.GetEpochInfo(ctx, solanarpc.CommitmentFinalized)
	if err != nil || epoch.AbsoluteSlot != 3 || epoch.BlockHeight != 3 || *epoch.TransactionCount != 3 {
		t.Errorf("epoch %v, %v", epoch, err)
	}
	if health, err := client.GetHealth(ctx); err != nil || health != "ok" {
		t.Errorf("health %v, %v", health, err)
	}
	if id, err := client.GetIdentity(ctx); err != nil || id.Identity != solana.PublicKey(pubkeyOf(identity)) {
		t.Errorf("identity %v, %v", id, err)
	}
	if genesis, err := client.GetGenesisHash(ctx); err != nil || genesis != solana.Hash(c.genesis.Hash()) {
		t.Errorf("genesis %v, %v", genesis, err)
	}
	if valid, err := client.IsBlockhashValid(ctx, latest.Value.Blockhash, solanarpc.CommitmentProcessed); err != nil || !valid.Value {
		t.Errorf("blockhash %v, %v", valid, err)
	}
	accounts, err := client.GetMultipleAccounts(ctx, to, solana.PublicKey{9})
	if err != nil || len(accounts.Value) != 2 || accounts.Value[1] != nil {
		t.Errorf("accounts %v, %v", accounts, err)
	}
	if schedule, err := client.GetEpochSchedule(ctx); err != nil || schedule.SlotsPerEpoch != c.genesis.Params.SlotsPerEpoch {
		t.Errorf("epoch schedule %v, %v", schedule, err)
	}
}
