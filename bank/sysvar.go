package bank

import (
	"encoding/binary"
	"time"

	"tutti/cluster"
	"tutti/ledger"
)

// Sysvars that hold lists have a count u64, then entries, the newest first
// (FORMATS section 9). Their account data have room for all entries.
const (
	slotHashSize    = 8 + 32
	slotHistoryBits = 1 << 20
)

// openSysvars brings the sysvars to what a block's transactions find.
func (x *execution) openSysvars() {
	le := binary.LittleEndian
	slot, parent := x.block.Ref.Slot, x.parent.Ref.Slot

	hash := append(le.AppendUint64(nil, uint64(parent)), x.parent.BankHash[:]...)
	x.setSysvar(cluster.SysvarSlotHashes,
		pushed(x.account(cluster.SysvarSlotHashes).Data, hash, cluster.SlotHashesSize))

	epoch := x.params.Epoch(slot)
	if last := x.params.Epoch(parent); last != epoch {
		entry := le.AppendUint64(nil, last)
		entry = le.AppendUint64(entry, uint64(x.parent.stakes[0].TotalStake()))
		entry = append(entry, make([]byte, 16)...) // nothing is activating or cooling down
		x.setSysvar(cluster.SysvarStakeHistory,
			pushed(x.account(cluster.SysvarStakeHistory).Data, entry, cluster.StakeHistorySize))
	}

	clock := le.AppendUint64(nil, uint64(slot))
	clock = le.AppendUint64(clock, uint64(x.seconds(x.params.FirstSlot(epoch))))
	clock = le.AppendUint64(clock, epoch)
	clock = le.AppendUint64(clock, epoch+1) // the epoch whose leaders are known
	clock = le.AppendUint64(clock, uint64(x.seconds(slot)))
	x.setSysvar(cluster.SysvarClock, clock)

	restart := ledger.Slot(0)
	if f := x.hardFork(slot); f != nil {
		restart = f.Slot
	}
	x.setSysvar(cluster.SysvarLastRestartSlot, le.AppendUint64(nil, uint64(restart)))
}

// closeSysvars does what comes after a block's last transaction.
func (x *execution) closeSysvars() {
	blockhash := append([]byte(nil), x.block.LastPoH[:]...)
	blockhash = binary.LittleEndian.AppendUint64(blockhash, uint64(ledger.FeePerSignature))
	x.setSysvar(cluster.SysvarRecentBlockhashes,
		pushed(x.account(cluster.SysvarRecentBlockhashes).Data, blockhash, cluster.RecentBlockhashesSize))
	x.setSysvar(cluster.SysvarSlotHistory,
		slotHistoryWith(x.account(cluster.SysvarSlotHistory).Data, uint64(x.block.Ref.Slot)))
}

// setSysvar replaces a sysvar's data; the account keeps its lamports, or
// gets what makes it exempt from rent.
func (x *execution) setSysvar(key ledger.Pubkey, data []byte) {
	a := x.account(key)
	a.Owner = cluster.SysvarOwner
	a.Data = data
	a.Lamports = max(a.Lamports, cluster.RentExemptMinimum(len(data)))
}

// seconds returns the Unix time at which a slot begins, in whole seconds.
func (x *execution) seconds(slot ledger.Slot) int64 {
	t0 := x.t0
	if f := x.hardFork(slot); f != nil {
		t0 = f.T0
	}
	ns := x.params.SlotTime(t0, slot)
	s := ns / int64(time.Second)
	if ns%int64(time.Second) < 0 {
		s-- // towards the past, also before 1970
	}
	return s
}

// pushed returns a sysvar's list of size bytes with a new first entry. What
// has no room any more falls out.
func pushed(data, entry []byte, size int) []byte {
	room := (size - 8) / len(entry)
	n := uint64(0)
	if len(data) == size {
		n = min(binary.LittleEndian.Uint64(data), uint64(room-1))
	}
	out := make([]byte, size)
	binary.LittleEndian.PutUint64(out, n+1)
	copy(out[8:], entry)
	if n > 0 {
		copy(out[8+len(entry):], data[8:8+int(n)*len(entry)])
	}
	return out
}

// hasSlotHash tells whether the SlotHashes sysvar has a slot.
func hasSlotHash(data []byte, slot ledger.Slot) bool {
	if len(data) < 8 {
		return false
	}
	held := min(binary.LittleEndian.Uint64(data), uint64(len(data)-8)/slotHashSize)
	for i := range held {
		if binary.LittleEndian.Uint64(data[8+i*slotHashSize:]) == uint64(slot) {
			return true
		}
	}
	return false
}

// slotHistoryWith returns the SlotHistory sysvar with a slot added: Option
// tag u8, words u64, one bit for each of the newest 1<<20 slots, bits u64, next
// slot u64.
func slotHistoryWith(data []byte, slot uint64) []byte {
	le := binary.LittleEndian
	out := make([]byte, cluster.SlotHistorySize)
	bits, tail := out[9:len(out)-16], out[len(out)-16:]
	out[0] = 1
	le.PutUint64(out[1:], slotHistoryBits/64)
	le.PutUint64(tail, slotHistoryBits)
	le.PutUint64(tail[8:], slot+1)
	if len(data) == len(out) {
		next := le.Uint64(data[len(data)-8:])
		if next <= slot && slot-next < slotHistoryBits {
			copy(bits, data[9:])
			for s := next; s < slot; s++ { // skipped slots
				bits[s%slotHistoryBits/8] &^= 1 << (s % 8)
			}
		}
	}
	bits[slot%slotHistoryBits/8] |= 1 << (slot % 8)
	return out
}
