package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/internal/planted"
	"tutti/ledger"
	"tutti/shred"
	"tutti/validator"
)

// Recovered is what a node finds on its disk; the zero value is a first
// start.
type Recovered struct {
	// Tower is the newest TowerRecord.
	Tower []byte
	// Begun are the keys of all BegunRecords, or at least the newest of leader
	// blocks and of UserBlocks.
	Begun []ledger.SlotKey
	// Halt is the newest HaltRecord, nil if there is none.
	Halt []byte
	// Restarts are those of all RestartRecords, oldest first.
	Restarts []*cluster.Restart
	// State is that of the Root effect from which the executor goes on.
	State *RootState
	// Evidence are the EvidenceRecords from below State's root on, by key.
	Evidence []EvidenceRecord
}

// rootStateInterval is how many slots lie between two Root effects that carry
// a state, so that it need not be written for every block.
const rootStateInterval = 16

// RootState is what the consensus lane must know of a root to go on from it:
// the blocks that anchors, blockhashes and lanes reach back to, and the vote
// state of the fork (PROTOCOL section 12).
type RootState struct {
	// History ends with the root, oldest block first.
	History []PastBlock
	// Final is the highest finalised slot, as far as it was known. The own
	// tower may have rooted later ones.
	Final ledger.Slot
	// Lineage are the newest blocks of the fork as votes are checked against,
	// oldest first.
	Lineage []ledger.BlockRef
	Ballots []byte // consensus.Ballots
	// Stakes are those of the root's epoch and the next.
	Stakes [2]*cluster.EpochStakes
}

// PastBlock is a block at or below the root.
type PastBlock struct {
	Ref     ledger.BlockRef
	Height  uint64
	LastPoH ledger.Hash
	Lag     int // Λ, which bounds the UserBlocks anchored at the block
	Named   []validator.Named
}

// Root returns the block whose state it is.
func (s *RootState) Root() ledger.BlockRef { return s.History[len(s.History)-1].Ref }

// rootState describes the root of the tree.
func (n *Node) rootState() *RootState {
	root := n.forks.Root()
	s := &RootState{
		Final:   n.final,
		Lineage: root.Lineage.Refs(),
		Ballots: root.Ballots.Append(nil),
	}
	for i := range s.Stakes {
		s.Stakes[i] = n.schedule.Stakes(n.schedule.Epoch(root.Slot) + uint64(i))
	}
	for b := root; b != nil; b = b.Parent {
		s.History = append(s.History, PastBlock{Ref: b.BlockRef, Height: b.Height, LastPoH: b.LastPoH, Lag: b.Lag, Named: b.Named})
	}
	for i, j := 0, len(s.History)-1; i < j; i, j = i+1, j-1 {
		s.History[i], s.History[j] = s.History[j], s.History[i]
	}
	return s
}

// genesisState is the state of block 0 (PROTOCOL section 2).
func (n *Node) genesisState() *RootState {
	ref := ledger.BlockRef{ID: n.genesisHash}
	return &RootState{
		History: []PastBlock{{Ref: ref, LastPoH: n.genesisHash}},
		Lineage: []ledger.BlockRef{ref},
		Ballots: consensus.NewBallots(n.epochs.At(0)).Append(nil),
	}
}

// plant makes the root of a state the root of the tree: it is confirmed,
// executed and certified by definition.
func (n *Node) plant(s *RootState, bankHash ledger.Hash) (*validator.Block, error) {
	for _, e := range s.Stakes {
		if e != nil {
			n.schedule.AddEpoch(e)
		}
	}
	var root *validator.Block
	for _, p := range s.History {
		root = &validator.Block{
			BlockRef: p.Ref, Parent: root, Height: p.Height, LastPoH: p.LastPoH, Lag: p.Lag, Named: p.Named,
			Executed: true, Confirmed: true,
		}
		if planted.Is(planted.LanesLost) {
			root.Named = nil
		}
	}
	stakes := n.epochs.At(root.Slot)
	if stakes == nil {
		return nil, fmt.Errorf("state of root %v has no stakes of its epoch", root.BlockRef)
	}
	ballots, err := consensus.ParseBallots(s.Ballots, stakes)
	if err != nil {
		return nil, fmt.Errorf("state of root %v: %w", root.BlockRef, err)
	}
	root.BankHash = bankHash
	root.Lineage = consensus.NewLineage(s.Lineage...)
	root.Ballots = ballots
	root.Lag = consensus.Lag(root.Lineage, ballots)
	return root, nil
}

// restore takes up tower, begun blocks and proofs of the last run.
func (n *Node) restore(r Recovered) error {
	for _, k := range r.Begun {
		if planted.Is(planted.BegunLost) {
			break
		}
		if u, _ := k.User(); k.IsUser() {
			n.begunUser = max(n.begunUser, u)
		} else {
			n.begunSlot = max(n.begunSlot, k.Slot())
		}
	}
	root := n.forks.Root()
	n.tower = consensus.NewTower(n.self, root.BlockRef)
	if len(r.Halt) > 0 && !planted.Is(planted.HaltLost) {
		h, err := ParseHalt(r.Halt)
		if err != nil {
			return err
		}
		over, err := n.overcome(h)
		if err != nil {
			return err
		}
		if h.Health == Halted && !over {
			n.health, n.stoppedAt, n.halted = Halted, h.At, h
		}
	}
	if err := n.restoreProofs(r.Evidence); err != nil {
		return err
	}
	if len(r.Tower) == 0 || planted.Is(planted.TowerLost) {
		return nil
	}
	t, err := consensus.ParseTower(r.Tower)
	if err != nil {
		return err
	}
	if t.Identity() != n.self {
		return fmt.Errorf("tower of %v, but this node is %v", t.Identity(), n.self)
	}
	if err := t.Restore(root.BlockRef, placeOn(root)); err != nil {
		return err
	}
	n.tower = t
	if raw := t.Transaction(); raw != nil {
		return n.restoreVote(raw)
	}
	return nil
}

// placeOn tells where blocks at or below b stand to the fork that ends in it.
func placeOn(b *validator.Block) func(ledger.BlockRef) consensus.Place {
	return func(ref ledger.BlockRef) consensus.Place {
		switch {
		case ref.Slot < b.Lineage.Oldest():
			return consensus.TooEarly
		case b.Lineage.Has(ref):
			return consensus.OnFork
		}
		return consensus.OffFork
	}
}

// restoreVote takes up the last vote: it may not have left before the restart.
func (n *Node) restoreVote(raw []byte) error {
	tx, err := ledger.ParseTransaction(raw)
	if err != nil {
		return fmt.Errorf("tower: last vote: %w", err)
	}
	v, err := ledger.ParseVote(&tx)
	if err != nil {
		return fmt.Errorf("tower: last vote: %w", err)
	}
	n.lastVote = VoteMessage{Tx: tx, Vote: v}
	return nil
}

// loaded takes a set from the own disk. If the stakes of its epoch are not
// known yet, because a block has to be executed again first, it waits.
func (n *Node) loaded(set *shred.Set) {
	if n.epochs.At(set.Key.Slot()) == nil {
		n.early = append(n.early, set)
		return
	}
	if k := set.Key; k.Slot() >= n.floor() && (k.IsUser() || k.Slot() > n.forks.Root().Slot) {
		n.chain(set, false)
	}
}

// ErrRootState is returned for bytes that are no RootState.
var ErrRootState = errors.New("malformed root state")

const rootStateVersion = 2

// Append serialises the state: version u8, then its fields, each list with its
// length u32, little-endian.
func (s *RootState) Append(b []byte) []byte {
	b = append(b, rootStateVersion)
	b = appendCount(b, len(s.History))
	for i := range s.History {
		p := &s.History[i]
		b = appendRef(b, p.Ref)
		b = binary.LittleEndian.AppendUint64(b, p.Height)
		b = append(b, p.LastPoH[:]...)
		b = appendCount(b, p.Lag)
		b = appendCount(b, len(p.Named))
		for _, named := range p.Named {
			b = ledger.AppendUserBlockEntries(b, []ledger.UserBlockRef{named.Ref})
			b = binary.LittleEndian.AppendUint64(b, uint64(named.Section))
		}
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Final))
	b = appendCount(b, len(s.Lineage))
	for _, ref := range s.Lineage {
		b = appendRef(b, ref)
	}
	b = appendCount(b, len(s.Ballots))
	b = append(b, s.Ballots...)
	for _, e := range s.Stakes {
		b = appendStakes(b, e)
	}
	return b
}

func appendCount(b []byte, n int) []byte { return binary.LittleEndian.AppendUint32(b, uint32(n)) }

func appendRef(b []byte, ref ledger.BlockRef) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(ref.Slot)), ref.ID[:]...)
}

func appendStakes(b []byte, e *cluster.EpochStakes) []byte {
	if e == nil {
		return append(b, 0)
	}
	b = binary.LittleEndian.AppendUint64(append(b, 1), e.Epoch)
	b = appendCount(b, len(e.Items))
	for _, it := range e.Items {
		b = append(b, it.Identity[:]...)
		b = append(b, it.VoteAccount[:]...)
		b = append(b, it.Authority[:]...)
		b = binary.LittleEndian.AppendUint64(b, uint64(it.Stake))
	}
	b = appendCount(b, len(e.Bonded))
	for _, node := range e.Bonded {
		b = append(b, node.Key[:]...)
	}
	return b
}

// ParseRootState reads exactly one state, as Append writes it.
func ParseRootState(b []byte) (*RootState, error) {
	r := stateReader{b: b}
	if v := r.take(1); r.err != nil || v[0] != rootStateVersion {
		return nil, fmt.Errorf("%w: version", ErrRootState)
	}
	s := &RootState{}
	for range r.count(8 + 32 + 8 + 32 + 4 + 4) {
		p := PastBlock{Ref: r.ref(), Height: r.u64(), LastPoH: r.hash(), Lag: int(r.u32())}
		for range r.count(8 + 2 + 32 + 8) {
			entry := r.take(8 + 2 + 32)
			section := r.u64()
			if r.err != nil {
				break
			}
			refs, err := ledger.ParseUserBlockEntries(entry)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrRootState, err)
			}
			p.Named = append(p.Named, validator.Named{Ref: refs[0], Section: ledger.UserSlot(section)})
		}
		s.History = append(s.History, p)
	}
	s.Final = ledger.Slot(r.u64())
	for range r.count(8 + 32) {
		s.Lineage = append(s.Lineage, r.ref())
	}
	s.Ballots = r.take(r.count(1))
	for i := range s.Stakes {
		s.Stakes[i] = r.stakes()
	}
	switch {
	case r.err != nil:
		return nil, r.err
	case len(s.History) == 0 || len(s.Lineage) == 0 || s.Lineage[len(s.Lineage)-1] != s.Root():
		return nil, fmt.Errorf("%w: no root", ErrRootState)
	case !bytes.Equal(s.Append(nil), b):
		return nil, fmt.Errorf("%w: not as it is written", ErrRootState)
	}
	return s, nil
}

// stateReader reads a RootState; after an error it reads zeros.
type stateReader struct {
	b   []byte
	err error
}

func (r *stateReader) take(n int) []byte {
	if r.err != nil || n > len(r.b) {
		r.err = fmt.Errorf("%w: cut short", ErrRootState)
		return make([]byte, min(n, 64))
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *stateReader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }

func (r *stateReader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }

func (r *stateReader) hash() ledger.Hash { return ledger.Hash(r.take(32)) }

func (r *stateReader) ref() ledger.BlockRef {
	return ledger.BlockRef{Slot: ledger.Slot(r.u64()), ID: r.hash()}
}

// count reads the length of a list whose items have size bytes at least.
func (r *stateReader) count(size int) int {
	n := int(r.u32())
	if r.err != nil || n > len(r.b)/size {
		r.err = fmt.Errorf("%w: list too long", ErrRootState)
		return 0
	}
	return n
}

func (r *stateReader) stakes() *cluster.EpochStakes {
	if r.take(1)[0] == 0 || r.err != nil {
		return nil
	}
	epoch := r.u64()
	var items []cluster.Staked
	for range r.count(3*32 + 8) {
		items = append(items, cluster.Staked{
			Identity: ledger.Pubkey(r.hash()), VoteAccount: ledger.Pubkey(r.hash()), Authority: ledger.Pubkey(r.hash()),
			Stake: ledger.Lamports(r.u64()),
		})
	}
	bonded := make(map[ledger.Pubkey]ledger.Lamports)
	for range r.count(32) {
		bonded[ledger.Pubkey(r.hash())] = 1
	}
	return cluster.NewEpochStakes(epoch, items, func(k ledger.Pubkey) ledger.Lamports { return bonded[k] }, 1)
}
