package ledger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/gagliardetto/solana-go"
	solanavote "github.com/gagliardetto/solana-go/programs/vote"

	"tutti/internal/testkit"
	"tutti/ledger"
)

func sampleVote() ledger.Vote {
	return ledger.Vote{
		Account:   key(1),
		Authority: key(2),
		HasRoot:   true,
		Root:      100,
		Lockouts: []ledger.Lockout{
			{Slot: 101, Confirmations: 3}, {Slot: 300, Confirmations: 2}, {Slot: 301, Confirmations: 1},
		},
		Block:        ledger.BlockRef{Slot: 301, ID: ledger.Hash{7}},
		HasTimestamp: true,
		Timestamp:    -5,
		BankSlot:     290,
		BankHash:     ledger.Hash{8},
		Extension:    []byte("extension"),
	}
}

func randomVote(rng *rand.Rand) ledger.Vote {
	v := sampleVote()
	v.HasRoot = rng.IntN(2) == 0
	slot := ledger.Slot(0)
	if v.Root = 0; v.HasRoot {
		v.Root = ledger.Slot(rng.Uint64() >> rng.IntN(64) / 2)
		slot = v.Root
	}
	v.Lockouts = nil
	for i := range 1 + rng.IntN(31) {
		slot += 1 + ledger.Slot(rng.Uint64()>>(20+rng.IntN(44)))
		v.Lockouts = append(v.Lockouts, ledger.Lockout{Slot: slot, Confirmations: uint8(31 - i)})
	}
	v.Block.Slot = slot
	if v.HasTimestamp = rng.IntN(2) == 0; !v.HasTimestamp {
		v.Timestamp = 0
	}
	v.Extension = make([]byte, rng.IntN(ledger.VoteExtensionMax+1))
	return v
}

func voteTransaction(t testing.TB, v *ledger.Vote) ledger.Transaction {
	t.Helper()
	return parseMessage(t, v.Message(ledger.Hash{1}))
}

// voteData returns the data of a transaction's only instruction.
func voteData(tx *ledger.Transaction) []byte {
	for _, in := range tx.Instructions() {
		return in.Data
	}
	return nil
}

func TestVoteRoundTrip(t *testing.T) {
	rng := testkit.Rand(t)
	for range 2000 {
		v := randomVote(rng)
		tx := voteTransaction(t, &v)
		got, err := ledger.ParseVote(&tx)
		if err != nil {
			t.Fatalf("%+v: %v", v, err)
		}
		if !reflect.DeepEqual(got, v) {
			t.Fatalf("got  %+v\nwant %+v", got, v)
		}
		if !tx.HasVote() {
			t.Fatal("a vote is not one")
		}
	}
}

// TestVoteHoldsATowerSync compares the part of a vote that is Solana's with
// an independent encoder. (That encoder takes the first offset from the root;
// without a root it writes what Solana does not, so votes here have one.)
func TestVoteHoldsATowerSync(t *testing.T) {
	rng := testkit.Rand(t)
	for range 300 {
		v := randomVote(rng)
		v.HasRoot = true
		root := uint64(v.Root)
		update := solanavote.TowerSyncUpdate{BlockID: solana.Hash(v.Block.ID)}
		update.Root, update.Hash = &root, solana.Hash(v.Block.ID)
		if v.HasTimestamp {
			update.Timestamp = &v.Timestamp
		}
		for _, l := range v.Lockouts {
			update.Lockouts = append(update.Lockouts, solanavote.Lockout{
				Slot: uint64(l.Slot), ConfirmationCount: uint32(l.Confirmations),
			})
		}
		want, err := solanavote.NewTowerSyncInstruction(update, solana.PublicKey(v.Account), solana.PublicKey(v.Authority)).Build().Data()
		if err != nil {
			t.Fatal(err)
		}
		tx := voteTransaction(t, &v)
		got := voteData(&tx)
		tail := binary.LittleEndian.AppendUint64(nil, uint64(v.BankSlot))
		tail = append(tail, v.BankHash[:]...)
		tail = append(ledger.AppendCompactU16(tail, len(v.Extension)), v.Extension...)
		want = append(want, tail...)
		if !bytes.Equal(got[:4], []byte{64, 0, 0, 0}) || !bytes.Equal(got[4:], want[4:]) {
			t.Fatalf("got  %x\nwant %x", got, want)
		}
	}
}

// The offsets in the data of sampleVote.
const (
	offRoot       = 4
	offLockouts   = offRoot + 8
	offHash       = offLockouts + 1 + 2 + 3 + 2
	offTimestamp  = offHash + 32
	offBlockID    = offTimestamp + 9
	offBankSlot   = offBlockID + 32
	offExtension  = offBankSlot + 8 + 32
	sampleDataLen = offExtension + 1 + 9
)

func TestParseVoteRefuses(t *testing.T) {
	v := sampleVote()
	good := v.Message(ledger.Hash{1})
	if n := len(good.Instructions[0].Data); n != sampleDataLen {
		t.Fatalf("the sample has %d bytes", n)
	}
	put := func(at int, b ...byte) func(*ledger.Message) {
		return func(m *ledger.Message) { copy(m.Instructions[0].Data[at:], b) }
	}
	cut := func(n int) func(*ledger.Message) {
		return func(m *ledger.Message) { m.Instructions[0].Data = m.Instructions[0].Data[:n] }
	}
	splice := func(from, to int, b ...byte) func(*ledger.Message) {
		return func(m *ledger.Message) {
			d := m.Instructions[0].Data
			m.Instructions[0].Data = append(append(bytes.Clone(d[:from]), b...), d[to:]...)
		}
	}
	max64 := bytes.Repeat([]byte{0xff}, 8)
	cases := []struct {
		name   string
		change func(*ledger.Message)
		ok     bool
	}{
		{"as it is", func(*ledger.Message) {}, true},
		{"TowerSync's tag", put(0, 14), false},
		{"other program", func(m *ledger.Message) { m.Keys[2] = ledger.StakeProgram }, false},
		{"two instructions", func(m *ledger.Message) { m.Instructions = append(m.Instructions, m.Instructions[0]) }, false},
		{"no instruction", func(m *ledger.Message) { m.Instructions = nil }, false},
		{"one account", func(m *ledger.Message) { m.Instructions[0].Accounts = []byte{1} }, false},
		{"three accounts", func(m *ledger.Message) { m.Instructions[0].Accounts = []byte{1, 0, 0} }, false},
		{"second account does not sign", func(m *ledger.Message) { m.Instructions[0].Accounts = []byte{0, 1} }, false},
		{"does not sanitise", func(m *ledger.Message) { m.Header[1] = 1 }, false},
		{"no lockout", splice(offLockouts, offHash, 0), false},
		{"more lockouts than bytes", put(offLockouts, 0x7f), false},
		{"lockout past the last slot", func(m *ledger.Message) {
			put(offRoot, append([]byte{0xfe}, max64[1:]...)...)(m)
			put(offLockouts+1, 2)(m)
		}, false},
		{"offset not in its shortest form", splice(offLockouts+1, offLockouts+2, 0x81, 0), false},
		{"offset above 64 bits", splice(offLockouts+1, offLockouts+2, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2), false},
		{"offset of eleven bytes", splice(offLockouts+1, offLockouts+2, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1), false},
		{"hash is not the block id", put(offHash, 9), false},
		{"block id is not the hash", put(offBlockID, 9), false},
		{"timestamp tag 2", put(offTimestamp, 2), false},
		{"no timestamp", splice(offTimestamp, offBlockID, 0), true},
		{"no root", func(m *ledger.Message) { put(offRoot, max64...)(m) }, true},
		{"lockout at the root", put(offLockouts+1, 0), true},
		{"extension shorter than said", put(offExtension, 10), false},
		{"extension longer than said", put(offExtension, 8), false},
		{"no extension", splice(offExtension, sampleDataLen, 0), true},
		{"extension above the maximum does not count, but parses", splice(offExtension, sampleDataLen, append([]byte{0x81, 1}, make([]byte, 129)...)...), true},
		{"no extension length", cut(offExtension), false},
		{"TowerSync alone", cut(offBankSlot), false},
		{"no data", cut(0), false},
	}
	for _, c := range cases {
		m := v.Message(ledger.Hash{1})
		c.change(&m)
		tx := parseMessage(t, m)
		_, err := ledger.ParseVote(&tx)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ledger.ErrVote) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for n := range sampleDataLen {
		m := v.Message(ledger.Hash{1})
		cut(n)(&m)
		tx := parseMessage(t, m)
		if _, err := ledger.ParseVote(&tx); !errors.Is(err, ledger.ErrVote) {
			t.Errorf("first %d bytes: %v", n, err)
		}
	}

	// A version 0 transaction is not a vote, whatever it says.
	wire := append([]byte{1}, make([]byte, 64)...)
	wire = append(good.Append(append(wire, 0x80)), 0)
	tx := parse(t, wire)
	if _, err := ledger.ParseVote(&tx); !errors.Is(err, ledger.ErrVote) {
		t.Errorf("version 0: %v", err)
	}
	// A node may pay for its authority.
	paid := ledger.NewMessage(key(9), ledger.Hash{}, ledger.Call{
		Program:  ledger.VoteProgram,
		Accounts: []ledger.AccountMeta{{Key: key(1), Writable: true}, {Key: key(2), Signer: true}},
		Data:     good.Instructions[0].Data,
	})
	tx = parseMessage(t, paid)
	if got, err := ledger.ParseVote(&tx); err != nil || got.Authority != key(2) || got.Account != key(1) {
		t.Errorf("paid by the node: %+v, %v", got, err)
	}
}

func TestVoteWithoutRootCountsFromZero(t *testing.T) {
	v := sampleVote()
	v.HasRoot, v.Root = false, 0
	tx := voteTransaction(t, &v)
	data := voteData(&tx)
	if root := binary.LittleEndian.Uint64(data[offRoot:]); root != math.MaxUint64 {
		t.Errorf("root %d", root)
	}
	if !bytes.Equal(data[offLockouts:offLockouts+3], []byte{3, 101, 3}) {
		t.Errorf("lockouts %x", data[offLockouts:])
	}
}

// TestVoteKeepsNewestLockouts: a vote may hold any number of lockouts, but no
// more are kept than show that they are too many.
func TestVoteKeepsNewestLockouts(t *testing.T) {
	for _, n := range []int{1, 31, 32, 33, 400} {
		v := sampleVote()
		v.Lockouts = nil
		for i := range n {
			v.Lockouts = append(v.Lockouts, ledger.Lockout{Slot: v.Root + ledger.Slot(i+1), Confirmations: uint8(i)})
		}
		v.Block.Slot = v.Root + ledger.Slot(n)
		tx := voteTransaction(t, &v)
		got, err := ledger.ParseVote(&tx)
		if err != nil {
			t.Fatal(err)
		}
		if want := v.Lockouts[max(0, n-ledger.VoteLockoutsKept):]; !slices.Equal(got.Lockouts, want) || got.Block != v.Block {
			t.Errorf("%d lockouts: kept %v of %v", n, got.Lockouts, got.Block)
		}
		testkit.Allocates(t, tx.Raw(), func(b []byte) {
			tx, _ := ledger.ParseTransaction(b)
			_, _ = ledger.ParseVote(&tx)
		})
	}
}

// FuzzVote: no instruction data makes ParseVote panic, and a vote that it
// reads is the one that Message writes, unless it has too many lockouts.
func FuzzVote(f *testing.F) {
	v := sampleVote()
	message := v.Message(ledger.Hash{1})
	f.Add(message.Instructions[0].Data)
	v.HasRoot, v.HasTimestamp, v.Extension = false, false, nil
	without := v.Message(ledger.Hash{1})
	f.Add(without.Instructions[0].Data)
	f.Add([]byte{64, 0, 0, 0})
	accounts := message.Instructions[0].Accounts
	f.Fuzz(func(t *testing.T, data []byte) {
		testkit.Decode(t, data, func(data []byte) func() []byte {
			if len(data) > 1000 {
				return nil
			}
			m := message
			m.Instructions = []ledger.Instruction{{Program: 2, Accounts: accounts, Data: data}}
			tx := parseMessage(t, m)
			v, err := ledger.ParseVote(&tx)
			if err != nil {
				if !errors.Is(err, ledger.ErrVote) {
					t.Fatal(err)
				}
				return nil
			}
			if v.Block.Slot != v.Lockouts[len(v.Lockouts)-1].Slot || len(v.Lockouts) > ledger.VoteLockoutsKept {
				t.Fatalf("block %v, lockouts %v", v.Block, v.Lockouts)
			}
			if len(v.Lockouts) == ledger.VoteLockoutsKept {
				return nil
			}
			return func() []byte {
				again := v.Message(ledger.Hash{1})
				return again.Instructions[0].Data
			}
		})
	})
}
