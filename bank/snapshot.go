package bank

import (
	"errors"
	"fmt"

	"tutti/cluster"
	"tutti/internal/planted"
	"tutti/ledger"
)

// ErrSnapshot: a snapshot contradicts itself.
var ErrSnapshot = errors.New("bank: bad snapshot")

// KeyedAccount is an account with its key.
type KeyedAccount struct {
	Key     ledger.Pubkey
	Account *Account
}

// Snapshot is all that a bank needs to go on from a block without those
// before it (PROTOCOL section 12). Its block is the last of Past.
type Snapshot struct {
	// Height is the number of blocks before the snapshot's.
	Height uint64
	// Past are the snapshot's block and the 150 before it, or all if there are
	// fewer, oldest first.
	Past []Past
	// Accounts are all accounts, sorted by key.
	Accounts []KeyedAccount
	// Stakes are those of the block's epoch and of the next.
	Stakes [2]*cluster.EpochStakes
	// HardForks are the restarts so far.
	HardForks []HardFork
}

// Snapshot returns a snapshot of the root. It costs as much as there are
// accounts.
func (b *Bank) Snapshot() Snapshot {
	root := b.state.root()
	v := &View{b.state, root}
	s := Snapshot{
		Height:    root.height,
		Stakes:    [2]*cluster.EpochStakes{root.stakes[0].EpochStakes, root.stakes[1].EpochStakes},
		HardForks: append([]HardFork(nil), b.forks...),
	}
	for _, p := range b.state.trail[:len(b.state.trail)-len(b.state.chain)+1] {
		s.Past = append(s.Past, *p)
	}
	for _, key := range v.Keys() {
		a, _ := v.Account(key)
		s.Accounts = append(s.Accounts, KeyedAccount{key, a})
	}
	return s
}

// Restore returns a bank whose only block is that of a snapshot. It checks
// the snapshot's accounts and blocks against the BankHash of the last one,
// which the caller must have found to be certified; message hashes, nonces and
// stakes are the caller's to check.
func Restore(g *cluster.Genesis, s Snapshot, workers int) (*Bank, error) {
	if len(s.Past) == 0 || len(s.Past) > duplicateWindow+1 || s.Stakes[0] == nil || s.Stakes[1] == nil {
		return nil, fmt.Errorf("%w: %d blocks", ErrSnapshot, len(s.Past))
	}
	for i := range s.Past {
		p := &s.Past[i]
		if p.Link.BankHash() != p.BankHash || p.Link.LastPoH != p.LastPoH ||
			i > 0 && (p.Link.Parent != s.Past[i-1].BankHash || p.Ref.Slot <= s.Past[i-1].Ref.Slot) {
			return nil, fmt.Errorf("%w: link of block %v", ErrSnapshot, p.Ref)
		}
	}
	for _, a := range s.Accounts {
		if a.Account == nil || a.Account.Lamports == 0 {
			return nil, fmt.Errorf("%w: no account %v", ErrSnapshot, a.Key)
		}
	}
	b := newBank(g, workers)
	for _, f := range s.HardForks {
		b.AddHardFork(f)
	}
	lattice := b.setAccounts(s.Accounts)
	last := len(s.Past) - 1
	if ledger.Sum(lattice.Append(nil)) != s.Past[last].Link.Accounts || len(b.state.accounts) != len(s.Accounts) {
		return nil, fmt.Errorf("%w: accounts", ErrSnapshot)
	}
	for i := range s.Past[:last] {
		p := s.Past[i]
		b.state.trail = append(b.state.trail, &p)
	}
	for _, p := range s.Past[max(0, last+1-duplicateWindow):] {
		for _, h := range p.Processed {
			if !planted.Is(planted.StatusRestored) {
				b.state.recent[h] = p.Ref.Slot
			}
		}
	}
	root := s.Past[last]
	b.plant(&layer{
		Past: &root, height: s.Height, lattice: lattice,
		stakes: [2]*epochStakes{newEpochStakes(s.Stakes[0]), newEpochStakes(s.Stakes[1])},
	})
	return b, nil
}
