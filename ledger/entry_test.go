package ledger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// sampleEntries returns a tick, an entry of two transactions and one of one.
func sampleEntries(t testing.TB) []ledger.Entry {
	t.Helper()
	v := sampleVote()
	transfer, vote := parse(t, transferWire()), voteTransaction(t, &v)
	return []ledger.Entry{
		{NumHashes: 100, Hash: ledger.Hash{1}},
		{NumHashes: 1, Hash: ledger.Hash{2}, Transactions: []ledger.Transaction{transfer, vote}},
		{NumHashes: 1 << 60, Hash: ledger.Hash{3}, Transactions: []ledger.Transaction{transfer}},
	}
}

func sampleMarkers() []ledger.Marker {
	return []ledger.Marker{
		{
			NumHashes: 3, Hash: ledger.Hash{4}, Version: ledger.MarkerVersion, Kind: ledger.KindUserBlockEntries,
			Payload: ledger.AppendUserBlockEntries(nil, []ledger.UserBlockRef{
				{U: 5, Lane: 1, ID: ledger.Hash{6}}, {U: 5, Lane: 3, ID: ledger.Hash{7}},
			}),
		},
		{
			NumHashes: 2, Hash: ledger.Hash{5}, Version: ledger.MarkerVersion, Kind: ledger.KindExecutionReceipt,
			Payload: ledger.AppendExecutionReceipt(nil, ledger.ExecutionReceipt{
				Block: ledger.BlockRef{Slot: 9, ID: ledger.Hash{8}}, BankHash: ledger.Hash{9},
			}),
		},
	}
}

func TestEntriesRoundTrip(t *testing.T) {
	want := sampleEntries(t)
	b := ledger.AppendEntries(nil, want)
	got, err := ledger.ParseEntries(b)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d entries, %v", len(got), err)
	}
	for i := range want {
		if got[i].NumHashes != want[i].NumHashes || got[i].Hash != want[i].Hash ||
			len(got[i].Transactions) != len(want[i].Transactions) || (len(got[i].Transactions) == 0) != (i == 0) {
			t.Errorf("entry %d: %+v", i, got[i])
		}
	}
	if again := ledger.AppendEntries(nil, got); !bytes.Equal(again, b) {
		t.Errorf("got  %x\nwant %x", again, b)
	}
	// A tick takes 48 bytes behind the count.
	if n := len(ledger.AppendEntries(nil, want[:1])); n != 8+48 {
		t.Errorf("a tick takes %d bytes", n-8)
	}
}

func TestParseEntriesRefuses(t *testing.T) {
	good := ledger.AppendEntries(nil, sampleEntries(t))
	for n := range good {
		if _, err := ledger.ParseEntries(good[:n]); err == nil {
			t.Fatalf("first %d bytes taken", n)
		}
	}
	count := func(at int, n uint64) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint64(b[at:], n)
		return b
	}
	const txCount = 8 + 48 + 40
	cases := []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, ledger.ErrTruncated},
		{"no entries", make([]byte, 8), ledger.ErrEncoding},
		{"trailing byte", append(bytes.Clone(good), 0), ledger.ErrTrailing},
		{"an entry fewer", count(0, 2), ledger.ErrTrailing},
		{"2⁶⁴−1 entries", count(0, 1<<64-1), ledger.ErrTruncated},
		{"2⁶⁴−1 transactions", count(txCount, 1<<64-1), ledger.ErrTruncated},
		{"version 1 transaction", func() []byte { b := bytes.Clone(good); b[txCount+8] = 0x81; return b }(), ledger.ErrVersion1},
	}
	for _, c := range cases {
		if _, err := ledger.ParseEntries(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// merkle is the tree of FORMATS section 1 as its sentence has it.
func merkle(level []ledger.Hash) ledger.Hash {
	if len(level) == 0 {
		return ledger.Hash{}
	}
	for len(level) > 1 {
		if len(level)%2 == 1 {
			level = append(level, level[len(level)-1])
		}
		var up []ledger.Hash
		for i := 0; i < len(level); i += 2 {
			up = append(up, ledger.Sum([]byte{1}, level[i][:], level[i+1][:]))
		}
		level = up
	}
	return level[0]
}

func TestMixinIsTheMerkleRootOfAllSignatures(t *testing.T) {
	rng := testkit.Rand(t)
	for n := range 40 {
		var e ledger.Entry
		var leaves []ledger.Hash
		for range n {
			var m ledger.Message
			signatures := 1 + rng.IntN(4)
			wire := []byte{byte(signatures)}
			for range signatures {
				var s ledger.Signature
				for i := range s {
					s[i] = byte(rng.Uint32())
				}
				wire = append(wire, s[:]...)
				leaves = append(leaves, ledger.Sum([]byte{0}, s[:]))
			}
			e.Transactions = append(e.Transactions, parse(t, m.Append(wire)))
		}
		if got, want := e.Mixin(), merkle(leaves); got != want {
			t.Fatalf("%d transactions: %v, want %v", n, got, want)
		}
	}
}

func TestBatchRoundTrip(t *testing.T) {
	entries, markers := sampleEntries(t), sampleMarkers()
	want := []ledger.Component{
		{Entries: entries}, {Marker: &markers[0]}, {Marker: &markers[1]}, {Entries: entries[:1]},
	}
	var b []byte
	for i := range want {
		b = ledger.AppendComponent(b, &want[i])
	}
	got, err := ledger.ParseBatch(b)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d components, %v", len(got), err)
	}
	var again []byte
	for i := range got {
		if (got[i].Marker == nil) != (want[i].Marker == nil) || len(got[i].Entries) != len(want[i].Entries) {
			t.Errorf("component %d: %+v", i, got[i])
		}
		again = ledger.AppendComponent(again, &got[i])
	}
	if !bytes.Equal(again, b) {
		t.Errorf("got  %x\nwant %x", again, b)
	}
	if m := got[1].Marker; m.Mixin() != markers[0].Mixin() || m.NumHashes != 3 || m.Hash != (ledger.Hash{4}) {
		t.Errorf("marker %+v", m)
	}
}

// TestMarkerBytes writes one marker out by hand (PROTOCOL section 5).
func TestMarkerBytes(t *testing.T) {
	m := sampleMarkers()[1]
	var want []byte
	want = append(want, make([]byte, 8)...)                        // entry count 0
	want = append(want, 1, 0, 2)                                   // version, kind
	want = append(want, 2, 0, 0, 0, 0, 0, 0, 0)                    // num_hashes
	want = append(want, m.Hash[:]...)                              // hash
	want = append(want, 72, 0, 0, 0)                               // length
	want = append(want, 9, 0, 0, 0, 0, 0, 0, 0)                    // slot
	want = append(want, append([]byte{8}, make([]byte, 31)...)...) // block id
	want = append(want, append([]byte{9}, make([]byte, 31)...)...) // bank hash
	if got := ledger.AppendComponent(nil, &ledger.Component{Marker: &m}); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	mixin := ledger.Sum([]byte("tutti marker"), []byte{1, 0}, []byte{2}, m.Payload)
	if got := m.Mixin(); got != mixin {
		t.Errorf("mixin %v, want %v", got, mixin)
	}
}

func TestParseBatchRefuses(t *testing.T) {
	markers := sampleMarkers()
	marker := ledger.AppendComponent(nil, &ledger.Component{Marker: &markers[0]})
	with := func(at int, c ...byte) []byte { b := bytes.Clone(marker); copy(b[at:], c); return b }
	const version, kind, length = 8, 10, 51
	cases := []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, ledger.ErrTruncated},
		{"version 0", with(version, 0), ledger.ErrMarker},
		{"version 2", with(version, 2), ledger.ErrMarker},
		{"kind 0", with(kind, 0), ledger.ErrMarker},
		{"kind 3", with(kind, 3), ledger.ErrMarker},
		{"payload longer than the batch", with(length, 0xff, 0xff, 0xff, 0xff), ledger.ErrTruncated},
		{"trailing byte", append(bytes.Clone(marker), 0), ledger.ErrTruncated},
		{"trailing zeros", append(bytes.Clone(marker), make([]byte, 8)...), ledger.ErrTruncated},
	}
	for _, c := range cases {
		if _, err := ledger.ParseBatch(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for n := range marker {
		if _, err := ledger.ParseBatch(marker[:n]); err == nil {
			t.Errorf("first %d bytes taken", n)
		}
	}
}

func TestMarkerPayloads(t *testing.T) {
	refs := make([]ledger.UserBlockRef, ledger.UserBlockEntriesMax+1)
	for i := range refs {
		refs[i] = ledger.UserBlockRef{U: ledger.UserSlot(i) << 40, Lane: ledger.Lane(i), ID: ledger.Hash{byte(i)}}
	}
	for n := range refs {
		b := ledger.AppendUserBlockEntries(nil, refs[:n])
		if len(b) != n*42 {
			t.Fatalf("%d references take %d bytes", n, len(b))
		}
		got, err := ledger.ParseUserBlockEntries(b)
		if n == 0 {
			if !errors.Is(err, ledger.ErrMarker) {
				t.Errorf("no reference: %v", err)
			}
			continue
		}
		if err != nil || len(got) != n || got[n-1] != refs[n-1] {
			t.Fatalf("%d references: %d, %v", n, len(got), err)
		}
		if _, err := ledger.ParseUserBlockEntries(b[1:]); !errors.Is(err, ledger.ErrMarker) {
			t.Fatalf("%d references less a byte: %v", n, err)
		}
	}
	if _, err := ledger.ParseUserBlockEntries(ledger.AppendUserBlockEntries(nil, refs)); !errors.Is(err, ledger.ErrMarker) {
		t.Errorf("513 references: %v", err)
	}

	want := ledger.ExecutionReceipt{Block: ledger.BlockRef{Slot: 1 << 50, ID: ledger.Hash{1}}, BankHash: ledger.Hash{2}}
	b := ledger.AppendExecutionReceipt(nil, want)
	if got, err := ledger.ParseExecutionReceipt(b); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range [][]byte{nil, b[1:], append(bytes.Clone(b), 0)} {
		if _, err := ledger.ParseExecutionReceipt(bad); !errors.Is(err, ledger.ErrMarker) {
			t.Errorf("receipt of %d bytes: %v", len(bad), err)
		}
	}
}

// FuzzEntries: no bytes make ParseEntries panic, and a batch that it reads is
// the one that AppendEntries writes.
func FuzzEntries(f *testing.F) {
	entries := sampleEntries(f)
	f.Add(ledger.AppendEntries(nil, entries))
	f.Add(ledger.AppendEntries(nil, entries[:1]))
	f.Add(make([]byte, 8))
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			got, err := ledger.ParseEntries(b)
			if err != nil {
				return nil
			}
			return func() []byte { return ledger.AppendEntries(nil, got) }
		})
	})
}

// FuzzBatch: no bytes make ParseBatch panic, and components that it reads are
// the ones that AppendComponent writes.
func FuzzBatch(f *testing.F) {
	entries, markers := sampleEntries(f), sampleMarkers()
	one := ledger.AppendComponent(nil, &ledger.Component{Marker: &markers[0]})
	f.Add(one)
	f.Add(ledger.AppendComponent(bytes.Clone(one), &ledger.Component{Marker: &markers[1]}))
	f.Add(ledger.AppendComponent(bytes.Clone(one), &ledger.Component{Entries: entries}))
	f.Add(ledger.AppendEntries(nil, entries))
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			got, err := ledger.ParseBatch(b)
			if err != nil {
				return nil
			}
			return func() (again []byte) {
				for i := range got {
					again = ledger.AppendComponent(again, &got[i])
				}
				return again
			}
		})
	})
}

// FuzzMarkerPayloads: no payload makes a parser panic, and what it reads is
// what is written.
func FuzzMarkerPayloads(f *testing.F) {
	for _, m := range sampleMarkers() {
		f.Add(m.Payload)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			if refs, err := ledger.ParseUserBlockEntries(b); err == nil {
				return func() []byte { return ledger.AppendUserBlockEntries(nil, refs) }
			}
			return nil
		})
		testkit.Decode(t, b, func(b []byte) func() []byte {
			if receipt, err := ledger.ParseExecutionReceipt(b); err == nil {
				return func() []byte { return ledger.AppendExecutionReceipt(nil, receipt) }
			}
			return nil
		})
	})
}

func BenchmarkParseEntries(b *testing.B) {
	var e ledger.Entry
	for range 64 {
		e.Transactions = append(e.Transactions, parse(b, transferWire()))
	}
	batch := ledger.AppendEntries(nil, []ledger.Entry{e})
	b.ReportAllocs()
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		if _, err := ledger.ParseEntries(batch); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMixin(b *testing.B) {
	var e ledger.Entry
	for range 64 {
		e.Transactions = append(e.Transactions, parse(b, transferWire()))
	}
	b.ReportAllocs()
	for b.Loop() {
		e.Mixin()
	}
}
