package bank

import (
	"bytes"
	"encoding/binary"
	"testing"

	"tutti/cluster"
	"tutti/ledger"
)

type clock struct {
	slot         uint64
	epochStart   int64
	epoch, known uint64
	now          int64
}

func (w *world) clock() clock {
	d := w.account(cluster.SysvarClock).Data
	le := binary.LittleEndian
	return clock{le.Uint64(d), int64(le.Uint64(d[8:])), le.Uint64(d[16:]), le.Uint64(d[24:]), int64(le.Uint64(d[32:]))}
}

func TestClock(t *testing.T) {
	w := newWorld(t, 1)
	start := w.genesis.T0 / 1e9
	for _, c := range []struct {
		skipped int
		want    clock
	}{
		{0, clock{1, start, 0, 1, start}},
		{1, clock{3, start, 0, 1, start + 1}},                          // ⌊1.2 s⌋
		{1030, clock{1034, start + 409, 1, 2, start + 1034*400/1000}},  // epoch 1 begins at slot 1024
		{0, clock{1035, start + 409, 1, 2, start + 414}},               // its first slot is at 409.6 s
		{1024, clock{2060, start + 819, 2, 3, start + 2060*400/1000}},  // slot 2048 at 819.2 s
		{3 * 1024, clock{5133, start + 2048, 5, 6, start + 5133*4/10}}, // two epochs without a block
		{0, clock{5134, start + 2048, 5, 6, start + 5134*400/1000}},
	} {
		w.execute(w.block(c.skipped, ""))
		if got := w.clock(); got != c.want {
			t.Fatalf("slot %d: clock %+v, want %+v", w.tip.Slot, got, c.want)
		}
	}
}

func TestSlotHashesAndRecentBlockhashes(t *testing.T) {
	w := newWorld(t, 1)
	le := binary.LittleEndian
	var parents []ledger.BlockRef
	hashes := make(map[ledger.BlockRef]ledger.Hash)
	hashes[w.tip], _ = w.bank.BankHash(w.tip)
	var blockhashes []ledger.Hash
	for i := range 520 {
		parents = append([]ledger.BlockRef{w.tip}, parents...)
		b := w.block(i%3/2, "")
		r := w.execute(b)
		hashes[b.Ref] = r.BankHash
		blockhashes = append([]ledger.Hash{b.LastPoH}, blockhashes...)
		if i%50 == 0 {
			if err := w.bank.SetRoot(w.tip); err != nil {
				t.Fatal(err)
			}
		}
	}
	data := w.account(cluster.SysvarSlotHashes).Data
	if n := le.Uint64(data); n != 512 || len(data) != cluster.SlotHashesSize {
		t.Fatalf("%d slot hashes in %d bytes", n, len(data))
	}
	for i, p := range parents[:512] {
		entry, h := data[8+40*i:][:40], hashes[p]
		if le.Uint64(entry) != uint64(p.Slot) || !bytes.Equal(entry[8:], h[:]) {
			t.Fatalf("slot hash %d is of slot %d, want %v", i, le.Uint64(entry), p)
		}
	}
	if !hasSlotHash(data, parents[511].Slot) || hasSlotHash(data, parents[512].Slot) {
		t.Error("wrong slots are found")
	}
	data = w.account(cluster.SysvarRecentBlockhashes).Data
	if n := le.Uint64(data); n != 150 || len(data) != cluster.RecentBlockhashesSize {
		t.Fatalf("%d blockhashes in %d bytes", n, len(data))
	}
	for i, h := range blockhashes[:150] {
		entry := data[8+40*i:][:40]
		if !bytes.Equal(entry[:32], h[:]) || le.Uint64(entry[32:]) != 5000 {
			t.Fatalf("blockhash %d is %x", i, entry)
		}
	}
}

func TestSlotHistory(t *testing.T) {
	data := slotHistoryWith(nil, 0)
	set := map[uint64]bool{0: true}
	slot := uint64(0)
	for _, step := range []uint64{1, 3, 100, 1 << 19, 1 << 19, 7, 1<<20 - 1, 1 << 20, 5, 1<<20 + 1, 2} {
		slot += step
		if step > 1<<20 { // more than all was skipped
			clear(set)
		}
		set[slot] = true
		data = slotHistoryWith(data, slot)
		if len(data) != cluster.SlotHistorySize || binary.LittleEndian.Uint64(data[len(data)-8:]) != slot+1 {
			t.Fatalf("%d bytes, next slot %x", len(data), data[len(data)-8:])
		}
		for s := range set {
			if slot-s < 1<<20 && data[9+s%(1<<20)/8]>>(s%8)&1 == 0 {
				t.Fatalf("slot %d is missing at %d", s, slot)
			}
		}
		ones := 0
		for _, b := range data[9 : 9+1<<17] {
			for ; b != 0; b &= b - 1 {
				ones++
			}
		}
		want := 0
		for s := range set {
			if slot-s < 1<<20 {
				want++
			}
		}
		if ones != want {
			t.Fatalf("at %d: %d slots, want %d", slot, ones, want)
		}
	}
}

// TestEpochs: the stakes of an epoch are those of the state after the last
// block of the epoch before the last (PROTOCOL section 10).
func TestEpochs(t *testing.T) {
	w := newWorld(t, 1)
	if r := w.run(); r.Stakes != nil {
		t.Error("stakes in the middle of an epoch")
	}
	// Identity 3 spends what it may, then is billed below its bond.
	garbage := w.transfer(user(0), user(1), 1)
	garbage.SignatureOK = false
	w.run(w.transfer(identity(3), user(1), 995*sol-5000))
	w.execute(w.block(0, "", userBlock(3, garbage)))
	if got := w.balance(identity(3)); got != 5*sol-5000 {
		t.Fatalf("identity 3 has %d", got)
	}
	r := w.execute(w.block(1100, "")) // the first block of epoch 1
	if len(r.Stakes) != 1 || r.Stakes[0].Epoch != 2 {
		t.Fatalf("stakes %v, want those of epoch 2", r.Stakes)
	}
	if got := r.Stakes[0]; len(got.Items) != 4 || len(got.Bonded) != 3 {
		t.Errorf("%d with stake, %d bonded, want 4 and 3", len(got.Items), len(got.Bonded))
	}
	data := w.account(cluster.SysvarStakeHistory).Data
	want := append(append(append(le64(1), le64(0)...), le64(uint64(400*sol))...), make([]byte, 16)...)
	if !bytes.Equal(data[:40], want) || len(data) != cluster.StakeHistorySize {
		t.Errorf("stake history is %x, want %x", data[:40], want)
	}
	// Epochs without a block are decided by the same state.
	r = w.execute(w.block(3*1024, ""))
	if len(r.Stakes) != 3 || r.Stakes[0].Epoch != 3 || r.Stakes[2].Epoch != 5 {
		t.Errorf("stakes %v, want those of epochs 3 to 5", r.Stakes)
	}
}
