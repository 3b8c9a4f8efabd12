package program

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"tutti/cluster"
	"tutti/ledger"
)

func key(n byte) ledger.Pubkey { return ledger.Pubkey{31: n} }

// Keys of the accounts below; alice signs, bob does not.
var (
	alice, bob   = key(1), key(2)
	empty        = key(3) // signs, does not exist
	owned        = key(4) // signs, belongs to stranger, is writable
	stranger     = key(5)
	readonly     = key(6) // signs, is not writable
	full         = key(7) // signs, has data
	seed         = []byte("seed")
	derived      = withSeed(alice, seed, stranger)
	derivedPlain = withSeed(alice, seed, ledger.SystemProgram)
)

// context has the accounts that the tests use, and the System program at
// index 0.
func context() *Context {
	c := &Context{Blockhash: ledger.Hash{9}}
	c.Reset(10 * BuiltinUnits)
	c.Load(ledger.SystemProgram, Account{Lamports: 1, Owner: cluster.NativeLoader, Executable: true}, false, false)
	c.Load(alice, Account{Lamports: 1000}, true, true)
	c.Load(bob, Account{Lamports: 1000}, false, true)
	c.Load(empty, Missing(), true, true)
	c.Load(owned, Account{Lamports: 1000, Owner: stranger}, true, true)
	c.Load(readonly, Account{Lamports: 1000}, true, false)
	c.Load(full, Account{Lamports: 1000, Data: []byte{0, 1}}, true, true)
	c.Load(derived, Missing(), false, true)
	c.Load(derivedPlain, Account{Lamports: 1000}, false, true)
	return c
}

func (c *Context) index(k ledger.Pubkey) byte {
	for i := range c.accounts {
		if c.accounts[i].key == k {
			return byte(i)
		}
	}
	panic("no such account")
}

// call runs an instruction of the System program: a tag, arguments (u64,
// keys and seeds), accounts.
func (c *Context) call(tag uint32, args []any, keys ...ledger.Pubkey) error {
	in := ledger.Instruction{Data: binary.LittleEndian.AppendUint32(nil, tag)}
	for _, a := range args {
		switch a := a.(type) {
		case int:
			in.Data = binary.LittleEndian.AppendUint64(in.Data, uint64(a))
		case uint64:
			in.Data = binary.LittleEndian.AppendUint64(in.Data, a)
		case ledger.Pubkey:
			in.Data = append(in.Data, a[:]...)
		case []byte:
			in.Data = binary.LittleEndian.AppendUint64(in.Data, uint64(len(a)))
			in.Data = append(in.Data, a...)
		}
	}
	for _, k := range keys {
		in.Accounts = append(in.Accounts, c.index(k))
	}
	return c.Call(in)
}

func TestSystem(t *testing.T) {
	kind := func(k ledger.InstructionErrorKind) error { return fail(k) }
	custom := func(code uint32) error { return ledger.CustomError(code) }
	marked := ledger.Pubkey(append(make([]byte, 11), "ProgramDerivedAddress"...))
	type args = []any
	type keys = []ledger.Pubkey
	for _, c := range []struct {
		name string
		tag  uint32
		args args
		keys keys
		want error
	}{
		{"transfer", transfer, args{600}, keys{alice, bob}, nil},
		{"transfer to itself", transfer, args{600}, keys{alice, alice}, nil},
		{"transfer of all", transfer, args{1000}, keys{alice, empty}, nil},
		{"transfer without signature", transfer, args{1}, keys{bob, alice}, kind(ledger.InstructionMissingRequiredSignature)},
		{"transfer of too much", transfer, args{1001}, keys{alice, bob}, custom(resultWithNegativeLamports)},
		{"transfer from data", transfer, args{1}, keys{full, bob}, kind(ledger.InstructionInvalidArgument)},
		{"transfer from another's", transfer, args{1}, keys{owned, bob}, kind(ledger.InstructionExternalAccountLamportSpend)},
		{"transfer of nothing from another's", transfer, args{0}, keys{owned, bob}, nil},
		{"transfer from read-only", transfer, args{1}, keys{readonly, bob}, kind(ledger.InstructionReadonlyLamportChange)},
		{"transfer of nothing to read-only", transfer, args{0}, keys{alice, readonly}, kind(ledger.InstructionReadonlyLamportChange)},
		{"transfer without accounts", transfer, args{1}, keys{alice}, kind(ledger.InstructionMissingAccount)},
		{"transfer without amount", transfer, nil, keys{alice, bob}, kind(ledger.InstructionInvalidInstructionData)},
		{"no such instruction", 14, nil, keys{alice}, kind(ledger.InstructionInvalidInstructionData)},

		{"create", createAccount, args{500, 8, stranger}, keys{alice, empty}, nil},
		{"create what exists", createAccount, args{500, 8, stranger}, keys{alice, owned}, custom(accountAlreadyInUse)},
		{"create unsigned", createAccount, args{500, 8, stranger}, keys{alice, derived}, kind(ledger.InstructionMissingRequiredSignature)},
		{"create too large", createAccount, args{500, DataMax + 1, stranger}, keys{alice, empty}, custom(invalidAccountDataLength)},
		{"create too dear", createAccount, args{1001, 8, stranger}, keys{alice, empty}, custom(resultWithNegativeLamports)},
		{"create with seed", createAccountWithSeed, args{alice, seed, 500, 8, stranger}, keys{alice, derived, alice}, nil},
		{"create with another seed", createAccountWithSeed, args{alice, []byte("x"), 500, 8, stranger}, keys{alice, derived}, custom(addressWithSeedMismatch)},
		{"create with a long seed", createAccountWithSeed, args{alice, make([]byte, 33), 500, 8, stranger}, keys{alice, derived}, custom(seedTooLong)},
		{"create for a marked owner", createAccountWithSeed, args{alice, seed, 500, 8, marked}, keys{alice, derived}, custom(seedIllegalOwner)},
		{"create with a seed that is no text", createAccountWithSeed, args{alice, []byte{0xff}, 500, 8, stranger}, keys{alice, derived}, kind(ledger.InstructionInvalidInstructionData)},
		{"create on prefunded", createAccountAllowPrefund, args{0, 8, stranger}, keys{alice}, nil},
		{"create on prefunded with more", createAccountAllowPrefund, args{5, 8, stranger}, keys{empty, alice}, nil},
		{"create on prefunded without payer", createAccountAllowPrefund, args{5, 8, stranger}, keys{empty}, kind(ledger.InstructionMissingAccount)},

		{"assign", assign, args{stranger}, keys{alice}, nil},
		{"assign to whom it belongs", assign, args{ledger.SystemProgram}, keys{bob}, nil},
		{"assign unsigned", assign, args{stranger}, keys{bob}, kind(ledger.InstructionMissingRequiredSignature)},
		{"assign another's", assign, args{alice}, keys{owned}, kind(ledger.InstructionModifiedProgramId)},
		{"assign read-only", assign, args{stranger}, keys{readonly}, kind(ledger.InstructionModifiedProgramId)},
		{"assign with data", assign, args{stranger}, keys{full}, kind(ledger.InstructionModifiedProgramId)},
		{"assign with seed", assignWithSeed, args{alice, seed, stranger}, keys{derived, alice}, nil},
		{"assign with seed unsigned", assignWithSeed, args{alice, seed, stranger}, keys{derived}, kind(ledger.InstructionMissingRequiredSignature)},

		{"allocate", allocate, args{8}, keys{alice}, nil},
		{"allocate nothing", allocate, args{0}, keys{alice}, nil},
		{"allocate unsigned", allocate, args{8}, keys{bob}, kind(ledger.InstructionMissingRequiredSignature)},
		{"allocate again", allocate, args{8}, keys{full}, custom(accountAlreadyInUse)},
		{"allocate another's", allocate, args{8}, keys{owned}, custom(accountAlreadyInUse)},
		{"allocate read-only", allocate, args{8}, keys{readonly}, kind(ledger.InstructionReadonlyDataModified)},
		{"allocate too much", allocate, args{uint64(math.MaxUint64)}, keys{alice}, custom(invalidAccountDataLength)},
		{"allocate with seed", allocateWithSeed, args{alice, seed, 8, stranger}, keys{derived, alice}, nil},

		{"transfer with seed", transferWithSeed, args{1, seed, ledger.SystemProgram}, keys{derivedPlain, alice, bob}, nil},
		{"transfer with seed unsigned", transferWithSeed, args{1, seed, ledger.SystemProgram}, keys{derivedPlain, bob, bob}, kind(ledger.InstructionMissingRequiredSignature)},
		{"transfer with another seed", transferWithSeed, args{1, []byte("x"), ledger.SystemProgram}, keys{derivedPlain, alice, bob}, custom(addressWithSeedMismatch)},
		{"transfer with seed, two accounts", transferWithSeed, args{1, seed, ledger.SystemProgram}, keys{derivedPlain, alice}, kind(ledger.InstructionMissingAccount)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := context().call(c.tag, c.args, c.keys...); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestCreateAccount(t *testing.T) {
	c := context()
	if err := c.call(createAccount, []any{500, 8, stranger}, alice, empty); err != nil {
		t.Fatal(err)
	}
	got := *c.Loaded(int(c.index(empty)))
	if got.Lamports != 500 || got.Owner != stranger || !bytes.Equal(got.Data, make([]byte, 8)) || got.RentEpoch != RentEpochExempt {
		t.Errorf("account is %+v", got)
	}
	if got := c.Loaded(int(c.index(alice))).Lamports; got != 500 {
		t.Errorf("payer has %d", got)
	}
}

// TestGrowthIsBounded: one transaction adds 20 MiB of data at most, however
// many accounts it makes.
func TestGrowthIsBounded(t *testing.T) {
	c := &Context{}
	c.Reset(10 * BuiltinUnits)
	c.Load(ledger.SystemProgram, Account{Lamports: 1, Owner: cluster.NativeLoader}, false, false)
	for i := range 3 {
		c.Load(key(byte(100+i)), Missing(), true, true)
	}
	for i := range 3 {
		err := c.call(allocate, []any{DataMax}, key(byte(100+i)))
		if want := ledger.InstructionMaxAccountsDataAllocationsExceeded; i < 2 && err != nil || i == 2 && !errors.Is(err, fail(want)) {
			t.Errorf("account %d: %v", i, err)
		}
	}
}

func TestCallChecks(t *testing.T) {
	c := context()
	c.Reset(BuiltinUnits + 10)
	c.Load(ledger.SystemProgram, Account{Owner: cluster.NativeLoader}, false, false)
	c.Load(alice, Account{Lamports: 1000}, true, true)
	c.Load(key(50), Account{Owner: ledger.LoaderV2, Executable: true}, false, false)
	c.Load(key(51), Account{Owner: cluster.NativeLoader}, false, false)
	for i, want := range map[uint8]error{
		2: fail(ledger.InstructionUnsupportedProgramId),
		3: fail(ledger.InstructionUnsupportedProgramId),
	} {
		if err := c.Call(ledger.Instruction{Program: i}); !errors.Is(err, want) {
			t.Errorf("program %d: %v", i, err)
		}
	}
	if c.UnitsLeft() != BuiltinUnits+10 {
		t.Error("a program that cannot be called costs units")
	}
	if err := c.call(transfer, []any{1}, alice, alice); err != nil || c.UnitsLeft() != 10 {
		t.Errorf("%v, %d units left", err, c.UnitsLeft())
	}
	if err := c.call(transfer, []any{1}, alice, alice); !errors.Is(err, fail(ledger.InstructionComputationalBudgetExceeded)) || c.UnitsLeft() != 0 {
		t.Errorf("%v, %d units left", err, c.UnitsLeft())
	}

	c = context()
	c.units = math.MaxUint64
	for i := range 65 {
		err := c.call(transfer, []any{0}, alice, bob)
		if i < 64 && err != nil || i == 64 && !errors.Is(err, fail(ledger.InstructionMaxInstructionTraceLengthExceeded)) {
			t.Errorf("instruction %d: %v", i, err)
		}
	}
}

// TestDataAreNeverChangedInPlace: writers replace an account's data, since
// forks share them.
func TestDataAreNeverChangedInPlace(t *testing.T) {
	shared := []byte(strings.Repeat("x", 100))
	c := &Context{}
	c.Reset(1000)
	c.Load(ledger.SystemProgram, Account{}, false, false)
	c.Load(alice, Account{Lamports: 1, Data: shared}, true, true)
	c.uses, c.program = []byte{1}, ledger.SystemProgram
	for _, f := range []func() error{
		func() error { return c.SetState(0, []byte("abc")) },
		func() error { return c.SetLength(0, 50) },
		func() error { return c.SetLength(0, 200) },
		func() error { return c.SetState(0, []byte("defg")) },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	if string(shared) != strings.Repeat("x", 100) {
		t.Error("shared bytes have changed")
	}
	want := "defg" + strings.Repeat("x", 46) + strings.Repeat("\x00", 150)
	if got := string(c.Loaded(1).Data); got != want {
		t.Errorf("data are %q", got)
	}
	for _, b := range zeros[:1000] {
		if b != 0 {
			t.Fatal("the shared zeros have changed")
		}
	}
}

// FuzzSystem runs any bytes as an instruction on any accounts: no lamports
// are made or lost, whatever the outcome of a success.
func FuzzSystem(f *testing.F) {
	for tag := range byte(15) {
		f.Add(append([]byte{tag, 0, 0, 0}, make([]byte, 100)...), []byte{1, 2, 3})
		f.Add(append([]byte{tag, 0, 0, 0}, bytes.Repeat([]byte{1, 0, 0, 0, 0, 0, 0, 0}, 9)...), []byte{1, 3, 1})
	}
	f.Add([]byte{4, 0, 0, 0}, []byte{9, 10, 1})
	f.Add(append([]byte{5, 0, 0, 0}, make([]byte, 8)...), []byte{9, 1, 10, 11, 1})
	f.Fuzz(func(t *testing.T, data, accounts []byte) {
		c := context()
		nonce := Nonce{Authority: alice, Value: ledger.Hash{1}}
		c.Load(key(8), Account{Lamports: 2_000_000, Data: nonce.Append(nil)}, false, true)
		c.Load(cluster.SysvarRecentBlockhashes, Account{Lamports: 1, Owner: cluster.SysvarOwner}, false, false)
		c.Load(cluster.SysvarRent, Account{Lamports: 1, Owner: cluster.SysvarOwner}, false, false)
		total := func() (sum ledger.Lamports) {
			for i := range c.accounts {
				sum += c.accounts[i].Lamports
			}
			return sum
		}
		accounts = accounts[:min(len(accounts), 255)]
		uses := make([]byte, len(accounts))
		for i, a := range accounts {
			uses[i] = a % byte(len(c.accounts))
		}
		before := total()
		err := c.Call(ledger.Instruction{Data: data, Accounts: uses})
		var known ledger.InstructionError
		if err != nil && !errors.As(err, &known) {
			t.Fatalf("error %v is none of Solana's", err)
		}
		if err == nil && total() != before {
			t.Fatalf("%d lamports became %d", before, total())
		}
	})
}
