package node

import (
	"fmt"
	"slices"

	"tutti/cluster"
	"tutti/internal/planted"
	"tutti/ledger"
	"tutti/shred"
)

// proofsPerRound bounds the proofs that are sent again in one round of gossip,
// to one peer.
const proofsPerRound = 32

// repetition is where a node stands in repeating its proofs.
type repetition struct{ peer, proof int }

// foundConflict stores and spreads the proof that a signer made two blocks
// under one key.
func (n *Node) foundConflict(k ledger.SlotKey, signer ledger.Pubkey, pair *[2]shred.Shred) {
	if n.equivocating[k] {
		return
	}
	n.equivocating[k] = true
	if !planted.Is(planted.EvidenceLost) {
		n.do(Save{Lazy: true, Records: []Record{EvidenceRecord{Key: k, A: pair[0].Raw(), B: pair[1].Raw()}}})
	}
	n.report(Equivocated{Key: k, Signer: signer})
	a, errA := shredMessage(pair[0])
	b, errB := shredMessage(pair[1])
	if errA == nil && errB == nil {
		proof := EvidenceMessage{A: a, B: b}
		n.proofs = append(n.proofs, proof)
		n.do(Send{To: n.stakedPeers(), Msg: proof})
	}
}

// repeatProofs sends the next few proofs to a peer again. Each peer gets all
// in turn before the next: those that could not be reached when a proof was
// new, as during a cut, have it soon after.
func (n *Node) repeatProofs() {
	if len(n.proofs) == 0 {
		return
	}
	peers := n.stakedPeers()
	if len(peers) == 0 {
		return
	}
	at := &n.repeated
	if at.proof >= len(n.proofs) {
		at.peer, at.proof = at.peer+1, 0
	}
	to := peers[at.peer%len(peers)]
	for range proofsPerRound {
		if at.proof == len(n.proofs) {
			return
		}
		n.do(Send{To: []ledger.Pubkey{to}, Msg: n.proofs[at.proof]})
		at.proof++
	}
}

// forgetProofs drops proofs of slots up to the root: nobody takes them any
// more (the store keeps them).
func (n *Node) forgetProofs(root ledger.Slot) {
	n.proofs = slices.DeleteFunc(n.proofs, func(m EvidenceMessage) bool { return m.A.Shred.Key().Slot() <= root })
}

func shredMessage(s shred.Shred) (ShredMessage, error) {
	root, err := s.Root()
	return ShredMessage{Shred: s, Root: root}, err
}

// onEvidence checks a proof of equivocation from a peer: whoever gets it from
// here must find both signatures in it.
func (n *Node) onEvidence(from ledger.Pubkey, m EvidenceMessage) {
	a, b := &m.A.Shred, &m.B.Shred
	k := a.Key()
	if n.equivocating[k] {
		return
	}
	signer, ok := n.signer(k)
	version := cluster.VersionAt(n.genesisVersion, n.restarts, k.Slot())
	switch {
	case b.Key() != k || a.SetIndex() != b.SetIndex() || m.A.Root == m.B.Root,
		a.Version() != version || b.Version() != version,
		!ok, k.Slot() <= n.forks.Root().Slot, k.Slot() > n.slot()+slotsAhead,
		!n.signedBy(&m.A, signer), !n.signedBy(&m.B, signer):
		n.drop("evidence", "proof", from)
		return
	}
	n.foundConflict(k, signer, &[2]shred.Shred{*a, *b})
}

// restoreProofs takes up the proofs that an earlier run stored.
func (n *Node) restoreProofs(records []EvidenceRecord) error {
	for i := range records {
		r := &records[i]
		slot := r.Key.Slot()
		if slot < n.floor() {
			continue
		}
		n.equivocating[r.Key] = true
		if slot <= n.forks.Root().Slot {
			continue
		}
		proof, err := r.proof()
		if err != nil {
			return fmt.Errorf("stored proof against %s: %w", r.Key, err)
		}
		n.proofs = append(n.proofs, proof)
	}
	return nil
}

// proof returns the record as it is sent.
func (r *EvidenceRecord) proof() (m EvidenceMessage, err error) {
	for _, x := range []struct {
		raw []byte
		to  *ShredMessage
	}{{r.A, &m.A}, {r.B, &m.B}} {
		s, err := shred.Parse(x.raw)
		if err != nil {
			return m, err
		}
		if *x.to, err = shredMessage(s); err != nil {
			return m, err
		}
	}
	return m, nil
}
