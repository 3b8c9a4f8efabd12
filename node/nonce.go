package node

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"tutti/bank/program"
	"tutti/ledger"
	"tutti/proposer"
	"tutti/validator"
)

// ErrNonce is wrapped by what says why a durable-nonce transaction is refused.
var ErrNonce = errors.New("durable nonce cannot be used")

const (
	// noncesMax bounds the durable transactions in the pool that are relayed
	// when their lane moves on; others wait until it comes back.
	noncesMax = 1024
	// nonceTravel is how long a forwarded transaction is expected to take, so
	// that it goes to the proposer that has the lane when it arrives.
	nonceTravel = 50 * time.Millisecond
)

// checkNonce tells whether a durable transaction can execute in the state
// that this node has computed, as the bank will decide it.
func (n *Node) checkNonce(tx *ledger.Transaction, account ledger.Pubkey) error {
	a, ok := n.view.Account(account)
	if !ok {
		return fmt.Errorf("%w: no account %v, and the blockhash is not recent", ErrNonce, account)
	}
	nonce, ok := program.ParseNonce(a.Data)
	switch {
	case a.Owner != ledger.SystemProgram || len(a.Data) != program.NonceLength || !ok || nonce.Legacy:
		return fmt.Errorf("%w: account %v holds no nonce", ErrNonce, account)
	case nonce.Value != tx.RecentBlockhash():
		return fmt.Errorf("%w: account %v is at %v", ErrNonce, account, nonce.Value)
	case !authorized(tx, nonce.Authority):
		return fmt.Errorf("%w: %v does not sign as its authority", ErrNonce, nonce.Authority)
	}
	return nil
}

// authorized tells whether the nonce's authority signs the instruction that
// advances it, the first one.
func authorized(tx *ledger.Transaction, authority ledger.Pubkey) bool {
	for _, in := range tx.Instructions() {
		return slices.ContainsFunc(in.Accounts, func(i uint8) bool {
			return tx.IsSigner(int(i)) && tx.Key(int(i)) == authority
		})
	}
	return false
}

// nonceVerdict judges a durable transaction for a UserBlock in that lane: it
// waits while another of its nonce account is in an own UserBlock.
func (n *Node) nonceVerdict(t *proposer.Pooled, lane ledger.Lane) proposer.Verdict {
	switch {
	case n.checkNonce(&t.Tx, t.Nonce) != nil:
		return proposer.Expired
	case validator.NonceLane(t.Nonce, n.params.Proposers) != lane,
		slices.ContainsFunc(n.made, func(m *madeUserBlock) bool { return m.block.Uses(t.Nonce) }):
		return proposer.Waits
	}
	return proposer.Fits
}

// nonceHolder returns the proposer that has the nonce account's lane: this
// node if it has it now, or else who has it when a message arrives.
func (n *Node) nonceHolder(account ledger.Pubkey) (ledger.Pubkey, error) {
	lane := validator.NonceLane(account, n.params.Proposers)
	if own, ok := n.schedule.Lane(ledger.UserSlot(n.tick()/ledger.TicksPerUserSlot), n.self); ok && own == lane {
		return n.self, nil
	}
	tick := n.tick() + uint64(nonceTravel/n.params.TickDuration)
	lanes := n.schedule.Proposers(ledger.UserSlot(tick / ledger.TicksPerUserSlot))
	if int(lane) >= len(lanes) {
		return ledger.Pubkey{}, fmt.Errorf("%w: lane %d, the only one for account %v, has no proposer", ErrNonce, lane, account)
	}
	return lanes[lane], nil
}

// keepNonce remembers a durable transaction that came into the pool.
func (n *Node) keepNonce(t *proposer.Pooled) {
	if len(n.nonces) == noncesMax {
		n.nonces = slices.DeleteFunc(n.nonces, func(t *proposer.Pooled) bool { return !n.pool.Has(t.Hash) })
	}
	if len(n.nonces) < noncesMax {
		n.nonces = append(n.nonces, t)
	}
}

// relayNonces forwards, when a UserBlockSlot begins, the pooled durable
// transactions whose lane this node has not any more, or has not got.
func (n *Node) relayNonces() {
	n.nonces = slices.DeleteFunc(n.nonces, func(t *proposer.Pooled) bool {
		if !n.pool.Has(t.Hash) {
			return true
		}
		holder, err := n.nonceHolder(t.Nonce)
		if err != nil || holder == n.self {
			return false
		}
		n.pool.Remove(t.Hash)
		if n.checkNonce(&t.Tx, t.Nonce) == nil {
			n.do(Send{To: []ledger.Pubkey{holder}, Msg: TransactionMessage{Tx: t.Tx}})
		}
		return true
	})
}
