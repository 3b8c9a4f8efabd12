package rpc

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tutti/bank"
	"tutti/cluster"
	"tutti/ledger"
	"tutti/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keyOf returns the keypair that a small number stands for.
func keyOf(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func pubkeyOf(n byte) ledger.Pubkey { return ledger.Pubkey(keyOf(n).Public().(ed25519.PublicKey)) }

const (
	identity byte = 1 + iota
	voteAccount
	faucet
	alice
	bob
)

// world is a ledger whose blocks a test makes one by one, and the reports
// that a node would give of them. The bank is real, the rest is not.
type world struct {
	t       testing.TB
	genesis *cluster.Genesis
	bank    *bank.Bank
	state   *State
	admin   *Admin
	now     time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	params := cluster.LocalParams(4)
	params.Reserve = 0
	genesis, err := cluster.NewGenesis(cluster.Options{
		Params: params, T0: 1_700_000_000_000_000_000,
		Validators: []cluster.Validator{{
			Identity: pubkeyOf(identity), VoteAccount: pubkeyOf(voteAccount), Stake: 100 * ledger.LamportsPerSOL,
		}},
		Faucet: pubkeyOf(faucet),
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bank.New(genesis, 1)
	if err != nil {
		t.Fatal(err)
	}
	view, ok := b.View(b.Root())
	if !ok {
		t.Fatal("the bank has no view of its root")
	}
	return &world{
		t: t, genesis: genesis, bank: b, state: NewState(view), admin: NewAdmin(""),
		now: time.Unix(1_700_000_000, 0),
	}
}

func (w *world) apply(reports ...any) {
	for _, r := range reports {
		w.state.Apply(w.now, r)
		w.admin.Apply(w.now, r)
	}
}

// transfer returns a transfer of one sender's; unit limits tell equal ones
// apart.
func transfer(from, to byte, lamports ledger.Lamports, units uint32, blockhash ledger.Hash) ledger.Transaction {
	m := ledger.TransferMessage(pubkeyOf(from), pubkeyOf(to), lamports, 0, units, blockhash)
	tx, err := ledger.ParseTransaction(ledger.Sign(m.Append(nil), keyOf(from)))
	if err != nil {
		panic(err)
	}
	return tx
}

// made is a block and its single UserBlock, with the reports of what happens
// to it.
type made struct {
	ref, parent ledger.BlockRef
	user        *ledger.UserBlock
	result      *bank.Result
}

// block makes the block of a slot on a parent; fork tells those of one slot
// apart. Nothing of it is reported.
func (w *world) block(parent *made, slot ledger.Slot, fork byte, txs ...ledger.Transaction) *made {
	w.t.Helper()
	m := &made{ref: ledger.BlockRef{Slot: slot}, parent: w.bank.Root()}
	if parent != nil {
		m.parent = parent.ref
	}
	binary.BigEndian.PutUint64(m.ref.ID[:], uint64(slot))
	m.ref.ID[8] = fork
	m.user = &ledger.UserBlock{
		Ref:      ledger.UserBlockRef{U: slot.FirstUserSlot() - 1, Lane: 2, ID: ledger.Sum(m.ref.ID[:])},
		Proposer: pubkeyOf(identity),
	}
	for i, tx := range txs {
		budget, err := tx.ComputeBudget()
		if err != nil {
			w.t.Fatal(err)
		}
		m.user.Transactions = append(m.user.Transactions, ledger.UserTransaction{
			Transaction: tx, Hash: tx.MessageHash(), Position: uint64(i), Index: uint32(i),
			Budget: budget, SignatureOK: true,
		})
	}
	var err error
	m.result, err = w.bank.Execute(&bank.Block{
		Ref: m.ref, Parent: m.parent, LastPoH: m.lastPoH(),
		UserBlocks: []bank.Recorded{{Section: m.user.Ref.U + 1, Block: m.user, Anchor: m.parent}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (m *made) lastPoH() ledger.Hash { return ledger.Sum([]byte("poh"), m.ref.ID[:]) }

func (m *made) userHeld() any { return node.UserBlockHeld{Block: m.user} }

func (m *made) recorded() any { return node.UserBlockRecorded{Slot: m.ref.Slot, Ref: m.user.Ref} }

func (m *made) held() any {
	return node.BlockHeld{
		Block: m.ref, Parent: m.parent, Height: m.result.Height, LastPoH: m.lastPoH(),
		Entries: []ledger.UserBlockRef{m.user.Ref}, Votes: 1,
	}
}

func (m *made) confirmed() any { return node.Confirmed{Block: m.ref} }

func (m *made) computed() any { return node.BankComputed{Result: m.result} }

func (m *made) final() any { return node.Finalized{Block: m.ref} }

// all reports everything up to finality.
func (w *world) all(m *made) {
	w.apply(
		m.userHeld(), m.recorded(), m.held(), m.confirmed(), m.computed(),
		node.Agreed{Third: m.ref.Slot, TwoThirds: m.ref.Slot}, m.final(),
		node.Head{Slot: m.ref.Slot, Height: m.result.Height, Confirmed: m.ref.Slot, Executed: m.ref.Slot},
	)
}

// serve runs a server of the world and returns it; it stops with the test.
func (w *world) serve(submit func(context.Context, ledger.Transaction) error) *Server {
	w.t.Helper()
	s := &Server{
		State: w.state, Submit: submit, Genesis: w.genesis, Faucet: keyOf(faucet),
		Identity: pubkeyOf(identity), Version: "0.0.0-test", Address: "127.0.0.1:0",
	}
	if err := s.Listen(); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	return s
}
