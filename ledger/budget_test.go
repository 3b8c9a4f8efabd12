package ledger_test

import (
	"encoding/binary"
	"math"
	"math/big"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// budgetCall returns a compute-budget instruction: the tag and the value in 4
// bytes, or 8 for the price.
func budgetCall(tag byte, v uint64) ledger.Call {
	data := binary.LittleEndian.AppendUint64([]byte{tag}, v)
	if tag != 3 {
		data = data[:5]
	}
	return ledger.Call{Program: ledger.ComputeBudgetProgram, Data: data}
}

// TestComputeBudget follows FORMATS section 11.
func TestComputeBudget(t *testing.T) {
	const heapFrame, unitLimit, unitPrice, loadedBytes = 1, 2, 3, 4
	other := ledger.Call{Program: key(77)}
	system := ledger.Call{Program: ledger.SystemProgram}
	raw := func(b ...byte) ledger.Call { return ledger.Call{Program: ledger.ComputeBudgetProgram, Data: b} }
	standard := ledger.ComputeBudget{HeapBytes: 32 << 10, LoadedBytes: 64 << 20}
	with := func(f func(*ledger.ComputeBudget)) ledger.ComputeBudget { b := standard; f(&b); return b }
	units := func(n uint32) ledger.ComputeBudget {
		return with(func(b *ledger.ComputeBudget) { b.UnitLimit = n })
	}
	invalid := func(i int) error {
		return ledger.InstructionFailure(i, ledger.InstructionError{Kind: ledger.InstructionInvalidInstructionData})
	}
	duplicate := func(i uint8) error { return ledger.TransactionError{Kind: ledger.DuplicateInstruction, Index: i} }

	cases := []struct {
		name  string
		calls []ledger.Call
		want  ledger.ComputeBudget
		err   error
	}{
		{"nothing", nil, standard, nil},
		{"one builtin", []ledger.Call{system}, units(3_000), nil},
		{"vote, bundle and loader are builtin", []ledger.Call{
			{Program: ledger.VoteProgram}, {Program: ledger.BundleProgram}, {Program: ledger.LoaderUpgradeable},
		}, units(9_000), nil},
		{"stake and lookup tables are not", []ledger.Call{
			{Program: ledger.StakeProgram}, {Program: ledger.LookupTableProgram},
		}, units(400_000), nil},
		{"compute budget counts itself", []ledger.Call{other, budgetCall(unitPrice, 9), system}, with(func(b *ledger.ComputeBudget) {
			b.UnitLimit, b.UnitPrice = 206_000, 9
		}), nil},
		{"default limit is capped", []ledger.Call{other, other, other, other, other, other, other, other}, units(1_400_000), nil},
		{"limit", []ledger.Call{other, budgetCall(unitLimit, 7)}, units(7), nil},
		{"limit of nothing", []ledger.Call{other, budgetCall(unitLimit, 0)}, units(0), nil},
		{"limit is capped", []ledger.Call{budgetCall(unitLimit, math.MaxUint32)}, units(1_400_000), nil},
		{"limit twice", []ledger.Call{budgetCall(unitLimit, 7), other, budgetCall(unitLimit, 7)}, standard, duplicate(2)},
		{"price", []ledger.Call{budgetCall(unitLimit, 1), budgetCall(unitPrice, math.MaxUint64)}, with(func(b *ledger.ComputeBudget) {
			b.UnitLimit, b.UnitPrice = 1, math.MaxUint64
		}), nil},
		{"price twice", []ledger.Call{budgetCall(unitPrice, 0), budgetCall(unitPrice, 0)}, standard, duplicate(1)},
		{"heap", []ledger.Call{budgetCall(unitLimit, 1), budgetCall(heapFrame, 256<<10)}, with(func(b *ledger.ComputeBudget) {
			b.UnitLimit, b.HeapBytes = 1, 256<<10
		}), nil},
		{"heap twice", []ledger.Call{budgetCall(heapFrame, 32<<10), budgetCall(heapFrame, 32<<10)}, standard, duplicate(1)},
		{"heap too small", []ledger.Call{other, budgetCall(heapFrame, 31<<10)}, standard, invalid(1)},
		{"no heap", []ledger.Call{budgetCall(heapFrame, 0)}, standard, invalid(0)},
		{"heap too large", []ledger.Call{other, budgetCall(heapFrame, 257<<10)}, standard, invalid(1)},
		{"heap not in KiB", []ledger.Call{budgetCall(heapFrame, 32<<10+1)}, standard, invalid(0)},
		{"bad heap is found after a duplicate", []ledger.Call{
			budgetCall(heapFrame, 0), budgetCall(unitLimit, 0), budgetCall(unitLimit, 0),
		}, standard, duplicate(2)},
		{"loaded bytes", []ledger.Call{budgetCall(unitLimit, 1), budgetCall(loadedBytes, 5)}, with(func(b *ledger.ComputeBudget) {
			b.UnitLimit, b.LoadedBytes = 1, 5
		}), nil},
		{"loaded bytes are capped", []ledger.Call{budgetCall(unitLimit, 1), budgetCall(loadedBytes, 65<<20)}, units(1), nil},
		{"no loaded bytes", []ledger.Call{budgetCall(loadedBytes, 0)}, standard, ledger.TransactionError{Kind: ledger.InvalidLoadedAccountsDataSizeLimit}},
		{"loaded bytes twice", []ledger.Call{budgetCall(loadedBytes, 1), budgetCall(loadedBytes, 1)}, standard, duplicate(1)},
		{"bytes behind the value", []ledger.Call{raw(2, 1, 0, 0, 0, 99)}, units(1), nil},
		{"no data", []ledger.Call{system, raw()}, standard, invalid(1)},
		{"tag alone", []ledger.Call{raw(2)}, standard, invalid(0)},
		{"short value", []ledger.Call{raw(2, 1, 0, 0)}, standard, invalid(0)},
		{"short price", []ledger.Call{raw(3, 1, 0, 0, 0, 0, 0, 0)}, standard, invalid(0)},
		{"tag 0", []ledger.Call{budgetCall(0, 1)}, standard, invalid(0)},
		{"tag 5", []ledger.Call{budgetCall(5, 1)}, standard, invalid(0)},
	}
	for _, c := range cases {
		tx := parseMessage(t, ledger.NewMessage(key(1), ledger.Hash{}, c.calls...))
		got, err := tx.ComputeBudget()
		if err != c.err || err == nil && got != c.want {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v, %v", c.name, got, err, c.want, c.err)
		}
	}
}

func TestPriorityFee(t *testing.T) {
	cases := []struct {
		price uint64
		limit uint32
		want  ledger.Lamports
	}{
		{0, 1_400_000, 0},
		{1, 0, 0},
		{1, 1, 1},
		{1, 1_000_000, 1},
		{1, 1_000_001, 2},
		{1_000_000, 200_000, 200_000},
		{math.MaxUint64, 1_000_000, math.MaxUint64},
		{math.MaxUint64, 1_400_000, math.MaxUint64},
	}
	for _, c := range cases {
		if got := (ledger.ComputeBudget{UnitPrice: c.price, UnitLimit: c.limit}).PriorityFee(); got != c.want {
			t.Errorf("price %d, limit %d: %d, want %d", c.price, c.limit, got, c.want)
		}
	}
	rng := testkit.Rand(t)
	million := big.NewInt(1_000_000)
	for range 10_000 {
		b := ledger.ComputeBudget{UnitPrice: rng.Uint64() >> rng.IntN(64), UnitLimit: rng.Uint32() >> rng.IntN(32)}
		want := new(big.Int).Mul(new(big.Int).SetUint64(b.UnitPrice), big.NewInt(int64(b.UnitLimit)))
		want.Add(want, big.NewInt(999_999)).Div(want, million)
		if !want.IsUint64() {
			want.SetUint64(math.MaxUint64)
		}
		if got := b.PriorityFee(); uint64(got) != want.Uint64() {
			t.Fatalf("%+v: %d, want %v", b, got, want)
		}
	}
}

func TestBaseFee(t *testing.T) {
	signer := ledger.AccountMeta{Key: key(2), Signer: true}
	cases := []struct {
		name  string
		calls []ledger.Call
		want  ledger.Lamports
	}{
		{"one signature", nil, 5_000},
		{"two signatures", []ledger.Call{{Program: key(9), Accounts: []ledger.AccountMeta{signer}}}, 10_000},
		{"precompiles", []ledger.Call{
			{Program: ledger.Ed25519Program, Data: []byte{2, 0}},
			{Program: ledger.Secp256k1Program, Data: []byte{255}},
			{Program: ledger.Secp256r1Program, Data: []byte{1}},
			{Program: ledger.Ed25519Program},
			{Program: key(9), Data: []byte{100}},
		}, 5_000 * 259},
	}
	for _, c := range cases {
		tx := parseMessage(t, ledger.NewMessage(key(1), ledger.Hash{}, c.calls...))
		if got := tx.BaseFee(); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestCost follows PROTOCOL section 4 (5).
func TestCost(t *testing.T) {
	tx := parse(t, transferWire())
	// Two writable accounts: the payer and the receiver.
	if got := tx.Cost(ledger.ComputeBudget{UnitLimit: 3_000}); got != 3_000+720+2*300+215/4 {
		t.Errorf("transfer: %d", got)
	}
	wire := v0Wire(ledger.Lookup{Writable: []byte{1, 2, 3}, Readonly: []byte{4}}, ledger.Lookup{Writable: []byte{5}})
	tx = parse(t, wire)
	if got := tx.Cost(ledger.ComputeBudget{}); got != 720+(1+4)*300+uint64(len(wire)/4) {
		t.Errorf("lookups: %d", got)
	}
}
