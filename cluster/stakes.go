package cluster

import (
	"bytes"
	"cmp"
	"iter"
	"slices"

	"tutti/ledger"
)

// Staked is a vote account with stake in one epoch.
type Staked struct {
	Identity    ledger.Pubkey // of the node that votes with it
	VoteAccount ledger.Pubkey
	Authority   ledger.Pubkey // signs the votes
	Stake       ledger.Lamports
}

// Node is a node identity with the sum of the stakes of its vote accounts.
type Node struct {
	Key   ledger.Pubkey
	Stake ledger.Lamports
}

// EpochStakes are the stakes that an epoch's schedules and votes are counted
// with. They are made by NewEpochStakes or StakesFrom and never change.
type EpochStakes struct {
	Epoch uint64
	// Items are sorted by (stake, vote account) descending. Voters are known
	// by their index in it.
	Items []Staked
	// Bonded are the nodes that may propose, sorted by (stake, key)
	// descending: those whose identity account held the proposer bond.
	Bonded []Node

	voters map[ledger.Pubkey]int // vote account → index in Items
}

// NewEpochStakes sorts the items that have stake. balance gives the lamports
// of an identity account in the state that gives the stakes; identities with
// less than bond may not propose. The stakes' sum must fit 64 bits.
func NewEpochStakes(epoch uint64, items []Staked, balance func(ledger.Pubkey) ledger.Lamports,
	bond ledger.Lamports,
) *EpochStakes {
	e := &EpochStakes{Epoch: epoch, voters: make(map[ledger.Pubkey]int, len(items))}
	for _, it := range items {
		if it.Stake > 0 {
			e.Items = append(e.Items, it)
		}
	}
	slices.SortFunc(e.Items, func(a, b Staked) int {
		return descending(a.Stake, a.VoteAccount, b.Stake, b.VoteAccount)
	})
	for i, it := range e.Items {
		e.voters[it.VoteAccount] = i
	}
	for _, n := range e.Nodes() {
		if balance(n.Key) >= bond {
			e.Bonded = append(e.Bonded, n)
		}
	}
	return e
}

// TotalStake returns the sum of all stakes.
func (e *EpochStakes) TotalStake() ledger.Lamports {
	var sum ledger.Lamports
	for i := range e.Items {
		sum += e.Items[i].Stake
	}
	return sum
}

// Voter returns the index in Items of a vote account.
func (e *EpochStakes) Voter(account ledger.Pubkey) (index int, ok bool) {
	index, ok = e.voters[account]
	return index, ok
}

// Nodes returns the node identities with their summed stakes, sorted by
// (stake, key) descending.
func (e *EpochStakes) Nodes() []Node {
	byKey := slices.Clone(e.Items)
	slices.SortFunc(byKey, func(a, b Staked) int { return bytes.Compare(a.Identity[:], b.Identity[:]) })
	var nodes []Node
	for _, it := range byKey {
		if n := len(nodes); n > 0 && nodes[n-1].Key == it.Identity {
			nodes[n-1].Stake += it.Stake
		} else {
			nodes = append(nodes, Node{Key: it.Identity, Stake: it.Stake})
		}
	}
	SortNodes(nodes)
	return nodes
}

// SortNodes sorts by (stake, key) descending, the order of schedules and
// Turbine trees.
func SortNodes(nodes []Node) {
	slices.SortFunc(nodes, func(a, b Node) int { return descending(a.Stake, a.Key, b.Stake, b.Key) })
}

func descending(aStake ledger.Lamports, aKey ledger.Pubkey, bStake ledger.Lamports, bKey ledger.Pubkey) int {
	if c := cmp.Compare(bStake, aStake); c != 0 {
		return c
	}
	return bytes.Compare(bKey[:], aKey[:])
}

// Account is an account of a state, as far as stakes depend on it.
type Account struct {
	Key, Owner ledger.Pubkey
	Lamports   ledger.Lamports
	Data       []byte
}

// StakesFrom reads the stakes of an epoch from the accounts of a state: each
// vote account has the sum of the stakes delegated to it. The order of the
// accounts does not matter; only those of the Vote and the Stake program and
// the voters' identity accounts do.
func StakesFrom(epoch uint64, accounts iter.Seq[Account], bond ledger.Lamports) *EpochStakes {
	delegated := make(map[ledger.Pubkey]ledger.Lamports)
	voters := make(map[ledger.Pubkey]VoteAccount)
	for a := range accounts {
		switch a.Owner {
		case ledger.StakeProgram:
			if s, ok := ParseStakeAccount(a.Data); ok && s.Active(epoch) {
				delegated[s.Voter] += min(s.Stake, a.Lamports) // the sum stays within the supply
			}
		case ledger.VoteProgram:
			if v, ok := ParseVoteAccount(a.Data); ok {
				voters[a.Key] = v
			}
		}
	}
	var items []Staked
	identities := make(map[ledger.Pubkey]ledger.Lamports)
	for account, stake := range delegated {
		if v, ok := voters[account]; ok {
			items = append(items, Staked{Identity: v.Node, VoteAccount: account, Authority: v.Authority, Stake: stake})
			identities[v.Node] = 0
		}
	}
	for a := range accounts {
		if _, ok := identities[a.Key]; ok {
			identities[a.Key] = a.Lamports
		}
	}
	return NewEpochStakes(epoch, items, func(k ledger.Pubkey) ledger.Lamports { return identities[k] }, bond)
}
