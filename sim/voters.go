package sim

import (
	"crypto/ed25519"
	"math/rand/v2"
	"slices"

	"tutti/consensus"
	"tutti/ledger"
	"tutti/node"
)

// voteTwice is a voter that votes for two blocks in every slot: for its own
// and for another one, which exists or does not. Either half of the others
// gets one vote each, or all get both.
type voteTwice struct{ rng *rand.Rand }

func (*voteTwice) String() string { return "votes for two blocks a slot" }

func (v *voteTwice) act(h *host, wanted []queued) (done []queued) {
	for _, q := range wanted {
		send, m, ok := ownVote(h, &q)
		if !ok {
			done = append(done, q)
			continue
		}
		other := m.Vote
		other.Block.ID = v.other(h, other.Block)
		second := node.Send{To: send.To, Msg: signedVote(other, h.key())}
		if v.rng.IntN(2) == 0 {
			half := len(send.To) / 2
			send.To, second.To = send.To[:half], second.To[half:]
		}
		done = append(done, queued{effect: send}, queued{effect: second})
	}
	return done
}

// other returns the id of another block of that slot: one that somebody
// holds, if there is one.
func (v *voteTwice) other(h *host, block ledger.BlockRef) ledger.Hash {
	var ids []ledger.Hash
	for ref := range h.sim.check.ledger.Blocks() {
		if ref.Slot == block.Slot && ref.ID != block.ID {
			ids = append(ids, ref.ID)
		}
	}
	if len(ids) > 0 {
		return slices.MinFunc(ids, func(a, b ledger.Hash) int { return slices.Compare(a[:], b[:]) })
	}
	var id ledger.Hash
	for i := range id {
		id[i] = byte(v.rng.Uint32())
	}
	return id
}

// voteAnywhere is a voter without a tower: it votes for each block that its
// node comes to hold, whatever it has voted for and whoever else votes for it.
// Some of its votes show lockouts of no other slot, some deep ones.
type voteAnywhere struct{ rng *rand.Rand }

func (*voteAnywhere) String() string { return "votes for every block, outside its lockouts" }

func (v *voteAnywhere) act(h *host, wanted []queued) (done []queued) {
	for _, q := range wanted {
		if _, _, ok := ownVote(h, &q); ok {
			continue
		}
		done = append(done, q)
		report, _ := q.effect.(node.Report)
		held, ok := report.Of.(node.BlockHeld)
		if !ok {
			continue
		}
		vote := ledger.Vote{
			Account: h.sim.genesis.Validators[h.validator].VoteAccount, Authority: h.identity(),
			HasRoot: true, Block: held.Block,
			BankHash: h.sim.check.ledger.Root().BankHash, // of slot 0
		}
		if v.rng.IntN(2) == 0 {
			for slot := held.Parent.Slot; slot > 0 && len(vote.Lockouts) < consensus.LockoutsMax-1; slot-- {
				vote.Lockouts = append(vote.Lockouts, ledger.Lockout{Slot: slot, Confirmations: uint8(len(vote.Lockouts) + 2)})
			}
			slices.Reverse(vote.Lockouts)
		}
		vote.Lockouts = append(vote.Lockouts, ledger.Lockout{Slot: held.Block.Slot, Confirmations: 1})
		done = append(done, queued{effect: node.Send{To: h.others(), Msg: signedVote(vote, h.key())}})
	}
	return done
}

// replayVotes is a voter that sends old votes again, its own and others', all
// the time, and its own new ones late.
type replayVotes struct {
	rng   *rand.Rand
	heard []node.VoteMessage
}

// replaysKept bounds the votes that a replayer draws from.
const replaysKept = 256

func (*replayVotes) String() string { return "sends old votes again" }

func (v *replayVotes) hear(_ *host, m node.Message) {
	if vote, ok := m.(node.VoteMessage); ok {
		v.keep(vote)
	}
}

func (v *replayVotes) keep(m node.VoteMessage) {
	if len(v.heard) == replaysKept {
		v.heard = slices.Delete(v.heard, 0, 1)
	}
	v.heard = append(v.heard, m)
}

func (v *replayVotes) act(h *host, wanted []queued) (done []queued) {
	for _, q := range wanted {
		if _, m, ok := ownVote(h, &q); ok {
			v.keep(m)
			continue
		}
		done = append(done, q)
	}
	if len(v.heard) > 0 && v.rng.IntN(8) == 0 {
		old := v.heard[v.rng.IntN(len(v.heard))]
		done = append(done, queued{effect: node.Send{To: h.others(), Msg: old}})
	}
	return done
}

// forgeVotes is a voter that sends, beside its own votes, the same ones in the
// name of another: with its own signature in place of the other's, or for the
// other's account by its own authority.
type forgeVotes struct{ rng *rand.Rand }

func (*forgeVotes) String() string { return "forges votes" }

func (v *forgeVotes) act(h *host, wanted []queued) (done []queued) {
	for _, q := range wanted {
		done = append(done, q)
		send, m, ok := ownVote(h, &q)
		if !ok {
			continue
		}
		for i := range h.sim.genesis.Validators {
			victim := &h.sim.genesis.Validators[i]
			if i == h.validator {
				continue
			}
			forged := m.Vote
			forged.Account = victim.VoteAccount
			forged.Block.ID[0] ^= byte(v.rng.IntN(2)) // for that block, or none
			if v.rng.IntN(2) == 0 {
				forged.Authority = victim.Identity
			}
			done = append(done, queued{effect: node.Send{To: send.To, Msg: signedVote(forged, h.key())}})
		}
	}
	return done
}

// ownVote tells whether an effect sends the machine's own vote.
func ownVote(h *host, q *queued) (node.Send, node.VoteMessage, bool) {
	send, ok := q.effect.(node.Send)
	if !ok {
		return send, node.VoteMessage{}, false
	}
	m, ok := send.Msg.(node.VoteMessage)
	return send, m, ok && m.Vote.Authority == h.identity()
}

// signedVote makes a vote's transaction with whatever key.
func signedVote(v ledger.Vote, key ed25519.PrivateKey) node.VoteMessage {
	message := v.Message(v.Block.ID)
	tx, err := ledger.ParseTransaction(ledger.Sign(message.Append(nil), key))
	if err != nil {
		panic("sim: vote: " + err.Error())
	}
	return node.VoteMessage{Tx: tx, Vote: v}
}

// others returns all identities but the machine's own.
func (h *host) others() (to []ledger.Pubkey) {
	for i := range h.sim.genesis.Validators {
		if i != h.validator {
			to = append(to, h.sim.genesis.Validators[i].Identity)
		}
	}
	return to
}
