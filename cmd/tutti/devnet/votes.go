package devnet

import (
	"cmp"
	"fmt"
	"slices"

	"tutti/ledger"
)

// blockRef names a leader block, as events do.
type blockRef struct {
	slot ledger.Slot
	id   string
}

// String returns slot and id.
func (b blockRef) String() string { return fmt.Sprintf("%d/%.8s", b.slot, b.id) }

// tree has the parents of all leader blocks that some node has held.
type tree map[blockRef]blockRef

// at returns the newest block up to a slot on the fork that ends in b; it is
// not known if a block between is not.
func (t tree) at(b blockRef, slot ledger.Slot) (at blockRef, known bool) {
	for b.slot > slot {
		parent, ok := t[b]
		if !ok {
			return blockRef{}, false
		}
		b = parent
	}
	return b, true
}

// vote is one vote with the tower that it shows.
type vote struct {
	block    blockRef
	root     ledger.Slot
	lockouts []ledger.Lockout // oldest first
	// placed says that it was compared with older votes for other forks.
	placed bool
}

// votes is a copy of every vote that was seen on any node's stream, whatever
// became of its sender since. It follows from them alone, and from the blocks,
// whether their senders kept their promises (FORMATS section 8).
type votes struct {
	blocks tree
	voters map[string][]*vote // by vote account; slots rise
}

// take takes in a vote, which may have been seen before and may be older than
// what was, and returns what is wrong with it.
func (v *votes) take(account string, x *vote) error {
	list := v.voters[account]
	i, again := slices.BinarySearchFunc(list, x.block.slot, func(y *vote, slot ledger.Slot) int {
		return cmp.Compare(y.block.slot, slot)
	})
	if again {
		switch y := list[i]; {
		case y.block != x.block:
			return fmt.Errorf("%.8s votes for %v and for %v", account, y.block, x.block)
		case y.root != x.root || !slices.Equal(y.lockouts, x.lockouts):
			return fmt.Errorf("%.8s votes for %v with tower %v on root %d, and with %v on %d",
				account, x.block, y.lockouts, y.root, x.lockouts, x.root)
		}
		return nil
	}
	list = slices.Insert(list, i, x)
	v.voters[account] = list
	if i > 0 {
		if err := follows(list[i-1], x); err != nil {
			return fmt.Errorf("%.8s %w", account, err)
		}
	}
	if i+1 < len(list) {
		if err := follows(x, list[i+1]); err != nil {
			return fmt.Errorf("%.8s %w", account, err)
		}
	}
	return nil
}

// last returns the slot of an account's newest vote.
func (v *votes) last(account string) ledger.Slot {
	if list := v.voters[account]; len(list) > 0 {
		return list[len(list)-1].block.slot
	}
	return 0
}

// count returns how many votes were seen.
func (v *votes) count() (n int) {
	for _, list := range v.voters {
		n += len(list)
	}
	return n
}

// follows checks that the tower of a later vote breaks no lockout of an
// earlier one: what it lacks is rooted or has expired, and what it has is
// confirmed no less.
func follows(before, after *vote) error {
	if after.root < before.root {
		return fmt.Errorf("votes for %v with root %d, after root %d", after.block, after.root, before.root)
	}
	for _, old := range before.lockouts {
		if old.Slot <= after.root {
			continue
		}
		i := slices.IndexFunc(after.lockouts, func(l ledger.Lockout) bool { return l.Slot >= old.Slot })
		switch {
		case i < 0:
			return fmt.Errorf("votes for %v with a tower that ends before slot %d", after.block, old.Slot)
		case after.lockouts[i].Slot > old.Slot && until(old) >= after.lockouts[i].Slot:
			return fmt.Errorf("votes for %v and forgets the vote for slot %d, which locks it up to slot %d", after.block, old.Slot, until(old))
		case after.lockouts[i].Slot == old.Slot && after.lockouts[i].Confirmations < old.Confirmations:
			return fmt.Errorf("votes for %v and takes confirmations from slot %d", after.block, old.Slot)
		}
	}
	return nil
}

// until returns the last slot that a vote locks.
func until(l ledger.Lockout) ledger.Slot { return l.Slot + 1<<min(l.Confirmations, 31) }

// place compares all votes, once their forks are known, with what their
// senders had voted for before: nobody votes on another fork than that of a
// vote that still locks. It returns how many votes could not be compared yet.
func (v *votes) place() (unplaced int, errs []error) {
	for account, list := range v.voters {
		for i, x := range list {
			if x.placed {
				continue
			}
			known, err := v.placeOne(list[:i], x)
			if !known {
				unplaced++
				continue
			}
			x.placed = true
			if err != nil {
				errs = append(errs, fmt.Errorf("%.8s %w", account, err))
			}
		}
	}
	return unplaced, errs
}

// placeOne compares a vote with its sender's earlier ones.
func (v *votes) placeOne(earlier []*vote, x *vote) (known bool, err error) {
	for _, l := range x.lockouts {
		at, ok := v.blocks.at(x.block, l.Slot)
		if !ok {
			return false, nil
		}
		if at.slot != l.Slot {
			return true, fmt.Errorf("votes for %v with a vote for slot %d, which is not on that fork", x.block, l.Slot)
		}
	}
	for i := len(earlier) - 1; i >= 0; i-- {
		old := earlier[i].block
		at, ok := v.blocks.at(x.block, old.slot)
		if !ok {
			return false, nil
		}
		if at == old {
			return true, nil // and with that, what was before it
		}
		for _, y := range earlier[i:] {
			if y.root >= old.slot {
				return true, fmt.Errorf("votes for %v, off its root at or above %v", x.block, old)
			}
			for _, l := range y.lockouts {
				if l.Slot == old.slot && until(l) >= x.block.slot {
					return true, fmt.Errorf("votes for %v, locked out up to slot %d by its vote for %v", x.block, until(l), old)
				}
			}
		}
	}
	return true, nil
}
