package node

import (
	"slices"

	"tutti/consensus"
	"tutti/ledger"
	"tutti/validator"
)

// heldUserBlock is a UserBlock of which all sets are here.
type heldUserBlock struct {
	anchor ledger.Hash
	// verdicts are by the block that is the anchor: forks can have different
	// ones with the same last PoH hash, which allow other blockhashes and costs.
	verdicts []*verdict
	block    *ledger.UserBlock // nil until it is found to be well formed
	own      bool
	counted  bool // its fees are in seenFees

	unverified int // parts whose signatures are being verified
	verified   int // signatures
}

// executable tells whether all is known of the UserBlock that execution needs.
func (h *heldUserBlock) executable() bool { return h.block != nil && h.unverified == 0 }

// verdict says whether a UserBlock is well formed on an anchor.
type verdict struct {
	anchor  *validator.Block
	pending bool
	err     error
}

// on returns the verdict for an anchor, nil if there is none.
func (h *heldUserBlock) on(anchor *validator.Block) *verdict {
	for _, v := range h.verdicts {
		if v.anchor == anchor {
			return v
		}
	}
	return nil
}

// holdUserBlock begins the check of a UserBlock whose sets are all here.
func (n *Node) holdUserBlock(k ledger.SlotKey, id ledger.Hash, own bool) {
	u, lane := k.User()
	ref := ledger.UserBlockRef{U: u, Lane: lane, ID: id}
	if n.held[ref] != nil {
		return
	}
	sets := n.collector.Chain(k, id)
	n.held[ref] = &heldUserBlock{own: own, anchor: sets[0].Chained}
	roots := make([]ledger.Hash, len(sets))
	for i := range sets {
		roots[i] = sets[i].Root
	}
	n.do(Save{Lazy: true, Records: []Record{BlockRecord{Key: k, ID: id, Roots: roots}}})
	if anchor := n.likelyAnchor(sets[0].Chained); anchor != nil {
		n.checkUserBlock(ref, anchor)
	} else {
		n.unchecked[sets[0].Chained] = append(n.unchecked[sets[0].Chained], ref)
	}
}

// likelyAnchor returns a block with that last PoH hash: on the heaviest fork
// if there is one.
func (n *Node) likelyAnchor(hash ledger.Hash) *validator.Block {
	known := n.forks.ByPoH(hash)
	if len(known) > 1 {
		if b := n.forks.Block(n.choice.Best()).Anchor(hash); b != nil {
			return b
		}
	}
	if len(known) == 0 {
		return nil
	}
	return known[0]
}

// checkUserBlock hands a UserBlock to the workers, to be checked with that
// anchor.
func (n *Node) checkUserBlock(ref ledger.UserBlockRef, anchor *validator.Block) {
	h := n.held[ref]
	k := ledger.UserKey(ref.U, ref.Lane)
	signer, _ := n.signer(k)
	h.verdicts = append(h.verdicts, &verdict{anchor: anchor, pending: true})
	n.do(Work{UserBlockJob{Anchor: anchor.BlockRef, UserBlockCheck: validator.UserBlockCheck{
		Ref:         ref,
		Proposer:    signer,
		Sets:        n.collector.Chain(k, ref.ID),
		Params:      n.params,
		Blockhashes: anchor.Blockhashes(validator.BlockhashAge),
		CostMax:     n.costMax(anchor),
		Own:         h.own,
	}}})
}

// costMax returns c′ for UserBlocks anchored at a block.
func (n *Node) costMax(anchor *validator.Block) uint64 {
	return consensus.CostMax(n.params.UserBlockCostMax(), anchor.Lag, int(n.params.LagFull), int(n.params.LagZero))
}

// userBlockChecked takes the verdict on a UserBlock.
func (n *Node) userBlockChecked(ev UserBlockChecked) {
	h := n.held[ev.Ref]
	if h == nil {
		return // pruned meanwhile
	}
	for _, v := range h.verdicts {
		if v.anchor.BlockRef == ev.Anchor {
			v.pending, v.err = false, ev.Err
		}
	}
	switch {
	case ev.Err != nil:
		n.report(UserBlockRejected{Ref: ev.Ref, Err: ev.Err})
	case h.block == nil:
		h.block = ev.Block
		n.report(UserBlockHeld{Block: ev.Block, Own: h.own})
		n.verifyUserBlock(ev.Ref, h)
	}
	blocks := n.wanting[ev.Ref]
	delete(n.wanting, ev.Ref)
	for _, b := range blocks {
		n.supply(b, ev.Ref, h)
	}
}

// signatureJobMax is how many transactions are verified in one job: enough to
// make a batch cheap, and few enough to be done in some milliseconds.
const signatureJobMax = 512

// verifyUserBlock hands the signatures of a UserBlock to the workers. Naming it
// and voting do not wait for them, only execution does (PROTOCOL section 4).
func (n *Node) verifyUserBlock(ref ledger.UserBlockRef, h *heldUserBlock) {
	if h.own || len(h.block.Transactions) == 0 {
		n.verifiedUserBlock(ref, h)
		return
	}
	for part := range slices.Chunk(h.block.Transactions, signatureJobMax) {
		h.unverified++
		n.do(Work{SignatureJob{Ref: ref, Transactions: part, Rule: n.params.SignatureRule}})
	}
}

// signaturesChecked takes the verdicts on a part of a UserBlock's signatures.
func (n *Node) signaturesChecked(ev SignaturesChecked) {
	h := n.held[ev.Ref]
	if h == nil {
		return // pruned meanwhile
	}
	h.unverified--
	h.verified += ev.Verified
	if h.unverified == 0 {
		n.verifiedUserBlock(ev.Ref, h)
	}
}

func (n *Node) verifiedUserBlock(ref ledger.UserBlockRef, h *heldUserBlock) {
	n.countFees(h)
	n.report(UserBlockVerified{Ref: ref, Verified: h.verified})
}

// supply tells a block that a UserBlock which it names is here: it is judged
// with the anchor on that block's fork.
func (n *Node) supply(b *validator.Block, ref ledger.UserBlockRef, h *heldUserBlock) {
	if n.forks.Block(b.BlockRef) != b || b.Bad != nil || b.Parent == nil {
		return
	}
	anchor := b.Parent.Anchor(h.anchor)
	if anchor == nil {
		n.reject(b, validator.ErrAnchor)
		return
	}
	switch v := h.on(anchor); {
	case v == nil:
		n.checkUserBlock(ref, anchor)
		fallthrough
	case v.pending:
		n.wanting[ref] = append(n.wanting[ref], b)
	case v.err != nil:
		n.reject(b, v.err)
	default:
		b.Missing--
		if b.Ready() {
			n.choice.SetCandidate(b.BlockRef, true)
			n.voteDue = true
		}
	}
}

// reject makes a block whose own bytes were right invalid, because of a
// UserBlock that it names.
func (n *Node) reject(b *validator.Block, err error) {
	b.Bad = err
	n.choice.SetCandidate(b.BlockRef, false)
	n.report(BlockRejected{Block: b.BlockRef, Err: err})
}
