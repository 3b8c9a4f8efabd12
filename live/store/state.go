package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"tutti/bank"
	"tutti/ledger"
)

// State is what is written of a rooted block so that a restart goes on from
// there. Everything of it counts from the moment that its head, which is
// written last, is durable.
type State struct {
	Root   ledger.BlockRef
	Height uint64
	// Node is the node's own part, opaque here.
	Node []byte
	// Accounts are those that changed since the State before; a nil Account
	// was deleted.
	Accounts []bank.KeyedAccount
	// Blocks are those executed and rooted since the State before, the root
	// included, oldest first.
	Blocks []Executed
	// Keep is the lowest slot that a restart from here needs.
	Keep ledger.Slot
}

// Executed is an executed and rooted block.
type Executed struct {
	bank.Past
	Receipts []bank.Receipt
}

// version is where the newest value of an account is.
type version struct {
	slot ledger.Slot
	more uint16
}

// writeState adds a state to a commit.
func (s *Store) writeState(w *writer, st *State) {
	for i := range st.Accounts {
		a := &st.Accounts[i]
		w.put(accountKey(a.Key, st.Root.Slot), appendAccount(nil, a.Account))
	}
	for i := range st.Blocks {
		w.put(executedKey(st.Blocks[i].Ref), appendExecuted(nil, &st.Blocks[i]))
	}
	b := appendRef(nil, st.Root)
	b = binary.LittleEndian.AppendUint64(b, st.Height)
	b = binary.LittleEndian.AppendUint64(b, uint64(st.Keep))
	w.put([]byte{keyState}, append(b, st.Node...))
}

// stateWritten deletes the values that a durable state has replaced. If a
// crash comes first, LoadState does it.
func (s *Store) stateWritten(st *State) error {
	w := s.newWriter()
	for i := range st.Accounts {
		a := &st.Accounts[i]
		if old, ok := s.latest[a.Key]; ok && old.slot != st.Root.Slot {
			w.removeAccount(a.Key, old)
		}
		s.latest[a.Key] = version{st.Root.Slot, pieces(a.Account)}
	}
	s.keep = st.Keep
	if err := w.flush(); err != nil {
		return fmt.Errorf("prune account state: %w", err)
	}
	return nil
}

func (w *writer) removeAccount(key ledger.Pubkey, v version) {
	k := accountKey(key, v.slot)
	w.remove(k)
	for i := range v.more {
		w.remove(pieceKey(k, i+1))
	}
}

func pieces(a *bank.Account) uint16 {
	if a == nil {
		return 0
	}
	return uint16((accountSize + len(a.Data) - 1) / pieceMax)
}

// Loaded is the newest State with all accounts that any State wrote.
type Loaded struct {
	Root   ledger.BlockRef
	Height uint64
	Node   []byte
	// Accounts are sorted by key. Those of genesis that never changed are not
	// among them; a nil Account was deleted.
	Accounts []bank.KeyedAccount
	// Past are the stored blocks on the root's fork, at most count of them,
	// oldest first; the last is the root.
	Past []bank.Past
}

// LoadState returns the newest state, or false if there is none. It must be
// called before Run, and drops what a crash has left half written.
func (s *Store) LoadState(count int) (Loaded, bool, error) {
	var l Loaded
	b, ok, err := s.stateHead()
	if !ok {
		return l, false, err
	}
	l.Root, l.Node = parseRef(b), b[56:]
	l.Height = binary.LittleEndian.Uint64(b[40:])
	s.keep = ledger.Slot(binary.LittleEndian.Uint64(b[48:]))
	if err := s.loadAccounts(&l); err != nil {
		return l, false, err
	}
	return l, true, s.loadPast(&l, count)
}

// stateHead returns the head of the newest state, false if there is none.
func (s *Store) stateHead() ([]byte, bool, error) {
	b, err := s.get([]byte{keyState})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err == nil && len(b) < 56 {
		err = corrupt([]byte{keyState}, "state head")
	}
	return b, err == nil, err
}

// NodeState returns the node's own part of the newest state, nil if there is
// none.
func (s *Store) NodeState() ([]byte, error) {
	b, ok, err := s.stateHead()
	if !ok {
		return nil, err
	}
	return b[56:], nil
}

func (s *Store) loadAccounts(l *Loaded) error {
	w := s.newWriter()
	err := s.state.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{keyAccount}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			k := it.Item().KeyCopy(nil)
			if len(k) < accountKeySize {
				return corrupt(k, "account key")
			}
			key := ledger.Pubkey(k[1:])
			slot := ledger.Slot(^binary.BigEndian.Uint64(k[33:]))
			// Newer versions come first. A piece belongs to the version before
			// it, whose slot is the same.
			newest, seen := s.latest[key]
			if slot > l.Root.Slot || seen && newest.slot != slot {
				w.remove(k)
				continue
			}
			if len(k) != accountKeySize {
				continue
			}
			b, err := getIn(txn, k)
			if err != nil {
				return err
			}
			a, err := parseAccount(k, b)
			if err != nil {
				return err
			}
			s.latest[key] = version{slot, pieces(a)}
			l.Accounts = append(l.Accounts, bank.KeyedAccount{Key: key, Account: a})
		}
		return nil
	})
	if err == nil {
		err = w.flush()
	} else {
		w.blocks.Cancel()
	}
	if err != nil {
		return fmt.Errorf("load account state: %w", err)
	}
	return nil
}

func (s *Store) loadPast(l *Loaded, count int) error {
	stored := map[ledger.Hash]Executed{} // by BankHash, by which children name parents
	var at ledger.Hash
	for e, err := range s.Entries(s.keep, l.Root.Slot) {
		if err != nil {
			if e.Kind == KindExecuted || e.key == nil {
				return err
			}
			continue
		}
		if e.Kind != KindExecuted {
			continue
		}
		x, err := e.Executed()
		if err != nil {
			return err
		}
		if x.Ref != (ledger.BlockRef{Slot: e.Slot, ID: e.Hash}) {
			return fmt.Errorf("%w: executed block %v stands where that of slot %d belongs; move %s and %s away and let the node fetch the blocks again, the tower file stays",
				ErrLayout, x.Ref, e.Slot, blocksName, stateName)
		}
		stored[x.BankHash] = x
		if x.Ref == l.Root {
			at = x.BankHash
		}
	}
	for len(l.Past) < count {
		x, ok := stored[at]
		if !ok {
			break
		}
		l.Past = append(l.Past, x.Past)
		at = x.Link.Parent
	}
	if len(l.Past) == 0 {
		return corrupt(executedKey(l.Root), "root block missing")
	}
	for i, j := 0, len(l.Past)-1; i < j; i, j = i+1, j-1 {
		l.Past[i], l.Past[j] = l.Past[j], l.Past[i]
	}
	return nil
}

// Executed returns an executed and rooted block with its receipts.
func (s *Store) Executed(ref ledger.BlockRef) (Executed, error) {
	k := executedKey(ref)
	b, err := s.get(k)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return Executed{}, fmt.Errorf("%w: executed block %v", ErrNotFound, ref)
	}
	if err != nil {
		return Executed{}, err
	}
	return parseExecuted(k, b)
}

// accountSize is what an account takes besides its data.
const accountSize = 8 + 32 + 1 + 8

func appendAccount(b []byte, a *bank.Account) []byte {
	if a == nil {
		return b
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(a.Lamports))
	b = append(b, a.Owner[:]...)
	executable := byte(0)
	if a.Executable {
		executable = 1
	}
	b = binary.LittleEndian.AppendUint64(append(b, executable), a.RentEpoch)
	return append(b, a.Data...)
}

func parseAccount(k, b []byte) (*bank.Account, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < accountSize || b[40] > 1 {
		return nil, corrupt(k, "account")
	}
	return &bank.Account{
		Lamports:   ledger.Lamports(binary.LittleEndian.Uint64(b)),
		Owner:      ledger.Pubkey(b[8:40]),
		Executable: b[40] == 1,
		RentEpoch:  binary.LittleEndian.Uint64(b[41:]),
		Data:       b[accountSize:],
	}, nil
}

// Processed message hashes are not stored: the receipts have them.
const (
	executedSize = 8 + 32 + 32 + 32 + 4*32 + 2*8 + 32 + 4
	receiptSize  = 1 + 2 + 32 + 64 + 8 + 2 + 4 + 8 + 8 // without a failure
)

func appendExecuted(b []byte, x *Executed) []byte {
	b = appendRef(b, x.Ref)
	b = append(b, x.LastPoH[:]...)
	b = append(b, x.BankHash[:]...)
	for _, h := range []ledger.Hash{x.Link.Parent, x.Link.LastPoH, x.Link.Receipts, x.Link.Delta, x.Link.Accounts} {
		b = append(b, h[:]...)
	}
	b = binary.LittleEndian.AppendUint64(b, x.Link.Signatures)
	b = binary.LittleEndian.AppendUint64(b, x.Link.HardForks)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(x.Nonces)))
	for _, key := range x.Nonces {
		b = append(b, key[:]...)
	}
	for i := range x.Receipts {
		r := &x.Receipts[i]
		var failure []byte
		if r.Error != nil {
			failure = r.Error.AppendBincode(nil)
		}
		b = append(b, byte(r.Outcome))
		b = binary.LittleEndian.AppendUint16(b, uint16(len(failure)))
		b = append(b, failure...)
		b = append(b, r.MessageHash[:]...)
		b = append(b, r.Signature[:]...)
		b = binary.LittleEndian.AppendUint64(b, uint64(r.U))
		b = binary.LittleEndian.AppendUint16(b, uint16(r.Lane))
		b = binary.LittleEndian.AppendUint32(b, r.Index)
		b = binary.LittleEndian.AppendUint64(b, uint64(r.Fee))
		b = binary.LittleEndian.AppendUint64(b, r.Units)
	}
	return b
}

// reader takes bytes off the front; short turns true when there are too few.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.short = true
		return make([]byte, min(n, 64)) // as much as a fixed field takes
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u16() uint16       { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32       { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64       { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *reader) hash() ledger.Hash { return ledger.Hash(r.take(32)) }

func parseExecuted(k, b []byte) (Executed, error) {
	var x Executed
	if len(b) < executedSize {
		return x, corrupt(k, "executed block")
	}
	r := &reader{b: b}
	x.Ref = parseRef(r.take(40))
	x.LastPoH, x.BankHash = r.hash(), r.hash()
	for _, h := range []*ledger.Hash{&x.Link.Parent, &x.Link.LastPoH, &x.Link.Receipts, &x.Link.Delta, &x.Link.Accounts} {
		*h = r.hash()
	}
	x.Link.Signatures, x.Link.HardForks = r.u64(), r.u64()
	nonces := r.u32()
	x.Nonces = slices.Grow(x.Nonces, min(int(nonces), len(r.b)/32))
	for ; nonces > 0 && !r.short; nonces-- {
		x.Nonces = append(x.Nonces, ledger.Pubkey(r.take(32)))
	}
	x.Receipts = slices.Grow(x.Receipts, len(r.b)/receiptSize)
	for len(r.b) > 0 && !r.short {
		var c bank.Receipt
		c.Outcome = bank.Outcome(r.take(1)[0])
		if n := int(r.u16()); n > 0 {
			failure, err := ledger.ParseTransactionError(r.take(n))
			if err != nil {
				return x, corrupt(k, err.Error())
			}
			c.Error = &failure
		}
		c.MessageHash = r.hash()
		c.Signature = ledger.Signature(r.take(64))
		c.U, c.Lane = ledger.UserSlot(r.u64()), ledger.Lane(r.u16())
		c.Index, c.Fee, c.Units = r.u32(), ledger.Lamports(r.u64()), r.u64()
		x.Receipts = append(x.Receipts, c)
		if c.Outcome.Processed() {
			x.Processed = append(x.Processed, c.MessageHash)
		}
	}
	if r.short {
		return x, corrupt(k, "executed block")
	}
	return x, nil
}
