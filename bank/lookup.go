package bank

import (
	"encoding/binary"
	"slices"

	"tutti/cluster"
	"tutti/ledger"
)

// A lookup table's data: a header, then addresses of 32 bytes.
const (
	tableHeader      = 56
	tableInitialized = 1 // u32 at 0
	tableClosedAt    = 4 // slot u64, the greatest number for never
	tableExtendedAt  = 12
	tableOldLength   = 20 // u8, the number of addresses before that slot
)

// resolve lists the slots of all accounts of the transaction: the static
// ones, then those that lookup tables name, writable before read-only. A
// transaction with lookups runs alone, so more slots may be opened.
func (x *execution) resolve(w *worker, j *job) *ledger.TransactionError {
	w.slots = append(w.slots[:0], j.slots...)
	w.writable = w.writable[:0]
	for i := range j.slots {
		w.writable = append(w.writable, j.writable>>i&1 == 1)
	}
	if j.tx.NumLookups() == 0 {
		return nil
	}
	var readonly []ledger.Pubkey
	add := func(key ledger.Pubkey, writable bool) {
		n := x.slot(key)
		w.slots = append(w.slots, n)
		w.writable = append(w.writable, writable && !x.slots[n].fixed)
	}
	for _, l := range j.tx.Lookups() {
		addresses, kind := x.table(l.Table)
		if kind != 0 {
			return &ledger.TransactionError{Kind: kind}
		}
		for _, list := range []struct {
			indices  []byte
			writable bool
		}{{l.Writable, true}, {l.Readonly, false}} {
			for _, i := range list.indices {
				if int(i) >= len(addresses)/32 {
					return &ledger.TransactionError{Kind: ledger.InvalidAddressLookupTableIndex}
				}
				key := ledger.Pubkey(addresses[32*int(i) : 32*int(i)+32])
				if list.writable {
					add(key, true)
				} else {
					readonly = append(readonly, key)
				}
			}
		}
	}
	for _, key := range readonly {
		add(key, false)
	}
	for i, n := range w.slots {
		if slices.Contains(w.slots[:i], n) {
			return &ledger.TransactionError{Kind: ledger.AccountLoadedTwice}
		}
	}
	// Loaded accounts that this block first meets here are saved for bundles.
	for i := len(j.slots); i < len(w.slots); i++ {
		if w.writable[i] {
			w.saved = append(w.saved, savedAccount{w.slots[i], x.slots[w.slots[i]].now})
		}
	}
	return nil
}

// table returns the addresses of a lookup table that can be used in this
// block, or the kind of error for which it cannot.
func (x *execution) table(key ledger.Pubkey) ([]byte, ledger.TransactionErrorKind) {
	a := x.account(key)
	switch {
	case a.Lamports == 0:
		return nil, ledger.AddressLookupTableNotFound
	case a.Owner != ledger.LookupTableProgram:
		return nil, ledger.InvalidAddressLookupTableOwner
	case len(a.Data) < tableHeader || len(a.Data)%32 != tableHeader%32 ||
		binary.LittleEndian.Uint32(a.Data) != tableInitialized:
		return nil, ledger.InvalidAddressLookupTableData
	}
	now := uint64(x.block.Ref.Slot)
	data := a.Data
	// A table that is being closed is usable while SlotHashes has the slot.
	if closed := binary.LittleEndian.Uint64(data[tableClosedAt:]); closed < now &&
		!hasSlotHash(x.account(cluster.SysvarSlotHashes).Data, ledger.Slot(closed)) {
		return nil, ledger.AddressLookupTableNotFound
	}
	// Addresses are usable from the slot after the one that added them.
	addresses := data[tableHeader:]
	if binary.LittleEndian.Uint64(data[tableExtendedAt:]) >= now {
		addresses = addresses[:min(len(addresses), 32*int(data[tableOldLength]))]
	}
	return addresses, 0
}
