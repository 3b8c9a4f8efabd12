package invariant

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"tutti/ledger"
)

// Heard holds votes as others than their senders show them: in the blocks of
// a ledger, or on the streams of nodes. They come late, again, in any order,
// and some not at all; but each of them shows a tower, which speaks for the
// votes that it has. What their senders promise (FORMATS section 8) can be
// checked with that, too.
//
// What contradicts what was heard is an error at once, or as soon as the
// blocks are known. What needs other votes behind it, which may come later, is
// unproven until they have.
type Heard struct {
	votes *Votes // what was heard, as if it had been sent to this copy
	lists map[ledger.Pubkey][]*heard
	// claims are those of nodes that were not proven yet.
	claims []demand
	count  int
}

// demand returns an error for as long as too few votes were heard for it.
type demand func() error

// heard is one vote of an account. Those of a list rise by slot.
type heard struct {
	block    ledger.BlockRef
	root     ledger.Slot
	lockouts []ledger.Lockout // oldest first
	// placed says that its block is known, and that it was compared with all
	// older votes; wrong that it contradicts one.
	placed, wrong bool
	needs         []demand
}

// NewHeard returns an empty copy for a ledger.
func NewHeard(l *Ledger) *Heard {
	return &Heard{votes: NewVotes(l), lists: make(map[ledger.Pubkey][]*heard)}
}

// Count returns how many different votes were heard.
func (h *Heard) Count() int { return h.count }

// Accounts returns of how many accounts votes were heard.
func (h *Heard) Accounts() int { return len(h.lists) }

// Of returns the blocks for which an account voted, the newest first.
func (h *Heard) Of(account ledger.Pubkey) iter.Seq[ledger.BlockRef] {
	return func(yield func(ledger.BlockRef) bool) {
		for _, x := range slices.Backward(h.lists[account]) {
			if !yield(x.block) {
				return
			}
		}
	}
}

// Take takes a vote, heard before or not, whose block need not be known yet.
// The error is what it contradicts of its account's next older and newer vote.
func (h *Heard) Take(v *ledger.Vote) error {
	if v.Block.Slot < h.votes.pruned {
		return nil
	}
	x := &heard{block: v.Block, root: v.Root, lockouts: v.Lockouts}
	if !v.HasRoot {
		x.root = 0
	}
	list := h.lists[v.Account]
	i, again := slices.BinarySearchFunc(list, x.block.Slot, func(y *heard, slot ledger.Slot) int {
		return cmp.Compare(y.block.Slot, slot)
	})
	if again {
		switch y := list[i]; {
		case y.block != x.block:
			return fmt.Errorf("%v votes for %v and for %v", v.Account, y.block, x.block)
		case y.root != x.root || !slices.Equal(y.lockouts, x.lockouts):
			return fmt.Errorf("%v votes for %v with tower %v on root %d, and with %v on %d",
				v.Account, x.block, y.lockouts, y.root, x.lockouts, x.root)
		}
		return nil
	}
	list = slices.Insert(list, i, x)
	h.lists[v.Account] = list
	h.count++
	for _, later := range list[i+1:] {
		later.placed = false
	}
	for j := max(i, 1); j <= min(i+1, len(list)-1); j++ {
		if err := follows(list[j-1], list[j]); err != nil {
			return fmt.Errorf("%v %w", v.Account, err)
		}
	}
	return nil
}

// follows checks that the tower of a later vote breaks no lockout of an
// earlier one: what it lacks is rooted or has expired, and what it has is
// confirmed no less.
func follows(before, after *heard) error {
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

// Settle compares all votes whose blocks are known by now with what their
// senders had voted for before: nobody votes on another fork than that of a
// vote that still locks, and a tower has votes and a root of its own fork. It
// returns how many votes are for blocks that are still not known.
func (h *Heard) Settle() (open int, errs []error) {
	for account, list := range h.lists {
		for i, x := range list {
			if x.placed {
				continue
			}
			b := h.votes.ledger.blocks[x.block]
			if b == nil {
				open++
				continue
			}
			x.placed = true
			err := h.place(account, list[:i], x, b)
			if err != nil && !x.wrong {
				x.wrong = true
				errs = append(errs, fmt.Errorf("%v %w", account, err))
			}
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return open, errs
}

// place takes in that a vote is for a block, with its account's earlier votes.
func (h *Heard) place(account ledger.Pubkey, earlier []*heard, x *heard, b *Block) error {
	tower := make([]*Block, len(x.lockouts))
	at := b
	for i, l := range slices.Backward(x.lockouts) {
		if tower[i] = at.At(l.Slot); tower[i] == nil || tower[i].Ref.Slot != l.Slot {
			return fmt.Errorf("votes for %v with a vote for slot %d, which is not on that fork", x.block, l.Slot)
		}
		at = tower[i]
	}
	root := at.At(x.root)
	if root == nil || root.Ref.Slot != x.root {
		return fmt.Errorf("votes for %v with root %d, which is not on that fork", x.block, x.root)
	}
	if err := h.lockedOut(earlier, x, b); err != nil {
		return err
	}
	voter := h.votes.voter(account)
	for i, l := range x.lockouts {
		if _, again := voter.until[tower[i]]; !again {
			h.votes.weigh(tower[i], account)
		}
		voter.until[tower[i]] = max(voter.until[tower[i]], until(l))
	}
	if root.Ref.Slot > voter.root.Ref.Slot {
		voter.root = root
	}
	h.require(account, earlier, x, b, tower)
	return nil
}

// lockedOut checks that no earlier vote, as far as the votes after it still
// have it, keeps its sender from voting for a block. One that a later vote had
// left for another fork is not rooted by that vote's root, however high.
func (h *Heard) lockedOut(earlier []*heard, x *heard, b *Block) error {
	has := func(b *Block, old ledger.BlockRef) bool {
		at := b.At(old.Slot)
		return at != nil && at.Ref == old
	}
	for i := len(earlier) - 1; i >= 0; i-- {
		old := earlier[i].block
		if has(b, old) {
			return nil // and with that, what was before it
		}
		for _, y := range earlier[i:] {
			if y.root >= old.Slot && has(h.votes.ledger.blocks[y.block], old) {
				return fmt.Errorf("votes for %v, off its root at or above %v", x.block, old)
			}
			for _, l := range y.lockouts {
				if l.Slot == old.Slot && until(l) >= x.block.Slot {
					return fmt.Errorf("votes for %v, locked out up to slot %d by its vote for %v", x.block, until(l), old)
				}
			}
		}
	}
	return nil
}

// require notes what must stand behind a vote: the switch threshold if it
// leaves a fork, two thirds behind the vote eight below, and a root that two
// thirds have if it is not that of the vote's own tower.
func (h *Heard) require(account ledger.Pubkey, earlier []*heard, x *heard, b *Block, tower []*Block) {
	x.needs = nil
	need := func(c demand) {
		if c() != nil {
			x.needs = append(x.needs, func() error {
				if err := c(); err != nil {
					return fmt.Errorf("of %v: %w", account, err)
				}
				return nil
			})
		}
	}
	if n := len(earlier); n > 0 {
		before := earlier[n-1]
		last := h.votes.ledger.blocks[before.block]
		if last != nil && !b.Descends(last) {
			need(func() error { return h.votes.mayLeave(h.votes.voter(account), last, b) })
		}
		if x.root > before.root && len(tower) < towerMax {
			need(func() error {
				if err := h.votes.Finalized(x.root); err != nil {
					return fmt.Errorf("vote for %v shows a root that its tower does not make: %w", x.block, err)
				}
				return nil
			})
		}
	}
	if len(tower) > thresholdDepth {
		deep := tower[len(tower)-1-thresholdDepth]
		need(func() error { return h.votes.standBehind(deep, thresholdDepth, b.Ref) })
	}
}

// Confirmed notes that somebody calls a block confirmed.
func (h *Heard) Confirmed(b *Block) {
	h.claims = append(h.claims, func() error { return h.votes.Confirmed(b) })
}

// Finalized notes that somebody calls a slot finalised.
func (h *Heard) Finalized(slot ledger.Slot) {
	h.claims = append(h.claims, func() error { return h.votes.Finalized(slot) })
}

// Unproven returns what the votes heard so far do not prove: switches of fork
// without enough stake locked out, votes on towers that too few follow, roots
// that neither the tower nor two thirds have, and what nodes called confirmed
// and finalised. It is in order while votes may still come.
func (h *Heard) Unproven() (errs []error) {
	prove := func(claims []demand) []demand {
		return slices.DeleteFunc(claims, func(c demand) bool {
			err := c()
			if err != nil {
				errs = append(errs, err)
			}
			return err == nil
		})
	}
	h.claims = prove(h.claims)
	for _, list := range h.lists {
		for _, x := range list {
			x.needs = prove(x.needs)
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errs
}

// Prune forgets votes for blocks below a slot, but for each account's newest
// of them. Votes for such blocks are not taken any more.
func (h *Heard) Prune(slot ledger.Slot) {
	h.votes.Prune(slot)
	for account, list := range h.lists {
		i, _ := slices.BinarySearchFunc(list, slot, func(y *heard, slot ledger.Slot) int { return cmp.Compare(y.block.Slot, slot) })
		h.lists[account] = slices.Clone(list[max(i-1, 0):])
	}
}
