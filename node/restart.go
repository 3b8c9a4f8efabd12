package node

import (
	"fmt"
	"slices"

	"tutti/bank"
	"tutti/cluster"
	"tutti/consensus"
	"tutti/ledger"
	"tutti/validator"
)

// HardForks returns what a bank must be told of restarts before it executes:
// of those that are stored, and of a new one, if given is not nil.
func HardForks(stored []*cluster.Restart, given *cluster.Restart) (forks []bank.HardFork) {
	if given != nil && given.Count > uint64(len(stored)) {
		stored = append(slices.Clip(stored), given)
	}
	for _, r := range stored {
		forks = append(forks, bank.HardFork{Slot: r.Block.Slot, Count: r.Count, T0: r.T0})
	}
	return forks
}

// takeRestarts takes up the restarts on disk and the one that the operator
// gives: at first it must be signed, and the state on disk must not be later.
func (n *Node) takeRestarts(stored []*cluster.Restart, given *cluster.Restart) error {
	n.restarts = slices.Clone(stored)
	if given != nil {
		if err := n.judgeRestart(given); err != nil {
			return err
		}
	}
	if r := n.restart(); r != nil {
		n.shredVersion = r.ShredVersion
		n.rules.Restarts = n.restarts
	}
	return nil
}

func (n *Node) judgeRestart(r *cluster.Restart) error {
	for _, old := range n.restarts {
		if old.Same(r) {
			return nil // the node has gone on with it
		}
	}
	if err := r.Follows(n.cfg.Genesis, n.restarts); err != nil {
		return err
	}
	stakes := n.epochs.At(r.Block.Slot)
	if stakes == nil {
		return fmt.Errorf("restart record: the stakes of slot %d are not known here; start from a ledger that has come closer to it", r.Block.Slot)
	}
	stake, err := r.Stake(stakes.EpochStakes)
	if err != nil {
		return err
	}
	if !consensus.FourFifths(stake, stakes.Total()) {
		return fmt.Errorf("restart record is signed by %d of %d lamports of stake: more than 80 %% are needed", stake, stakes.Total())
	}
	root := n.rooted
	if root.Slot > r.Block.Slot || root.Slot == r.Block.Slot && (root.BlockRef != r.Block || root.BankHash != r.BankHash) {
		return fmt.Errorf("restart record is for block %v with BankHash %v, but the state on disk is that after block %v with BankHash %v",
			r.Block, r.BankHash, root.BlockRef, root.BankHash)
	}
	n.restarts = append(n.restarts, r)
	n.unsaved = r
	return nil
}

// restart returns the newest restart, nil if there is none.
func (n *Node) restart() *cluster.Restart {
	if len(n.restarts) == 0 {
		return nil
	}
	return n.restarts[len(n.restarts)-1]
}

// start returns the T0 that is valid now, and the first tick since genesis or
// the newest restart (PROTOCOL section 1).
func (n *Node) start() (t0 int64, first uint64) {
	if r := n.restart(); r != nil {
		return r.T0, uint64(r.First) * ledger.TicksPerSlot
	}
	return n.cfg.Genesis.T0, 0
}

// overcome tells whether the cluster has gone on after a halt. One in a slot
// that the newest restart begins with, or in a later one, is another halt.
func (n *Node) overcome(h *Halt) (bool, error) {
	r := n.restart()
	if r == nil {
		return false, nil
	}
	if r == n.unsaved && h.Health == Halted && h.At >= r.First {
		return false, fmt.Errorf("restart record goes on with slot %d, but this node has halted in slot %d: make one with a later slot", r.First, h.At)
	}
	return h.At < r.First, nil
}

// checkRestart holds an executed block against the restart from it. Who signed
// the record vouches for its BankHash: it is certified.
func (n *Node) checkRestart(b *validator.Block) {
	for _, r := range n.restarts {
		switch {
		case r.Block != b.BlockRef:
		case r.BankHash != b.BankHash:
			n.stop(Wrong, &judged{block: b}, fmt.Sprintf("the restart record has BankHash %v", r.BankHash))
		case b.Slot > n.certified.Slot:
			n.certified = b
		}
	}
}
