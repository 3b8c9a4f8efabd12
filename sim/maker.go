package sim

import (
	"math/rand/v2"

	"tutti/ledger"
	"tutti/node"
	"tutti/poh"
	"tutti/shred"
	"tutti/turbine"
)

// maker is what dishonest makers of blocks have in common. They let the node
// make its blocks, keep them back, and send what they make of them.
type maker struct {
	rng    *rand.Rand
	tree   *turbine.Tree
	shreds []shred.Shred // of the own set that the node is sending
	last   place
	// late are effects that are kept back until then.
	late []kept
}

// place is that of a shred in a set.
type place struct {
	root     ledger.Hash
	position int
}

type kept struct {
	until  ledger.UserSlot
	effect queued
}

// own takes the sets of own blocks out of what the node wants done, and
// returns them and the rest.
func (m *maker) own(h *host, wanted []queued, pick func(ledger.SlotKey) bool) (rest []queued, sets []*shred.Set) {
	if m.tree == nil {
		m.tree = turbine.NewTree(h.sim.schedule().Stakes(0).Nodes(), h.sim.cfg.Params.Fanout)
	}
	for _, q := range wanted {
		send, _ := q.effect.(node.Send)
		s, ok := send.Msg.(node.ShredMessage)
		if !ok || !pick(s.Shred.Key()) || h.sim.check.signers.signer(s.Shred.Key()) != h.identity() {
			rest = append(rest, q)
			continue
		}
		// The shreds of a set come one after the other, each to several.
		at := place{s.Root, s.Shred.Position()}
		if at == m.last {
			continue
		}
		m.last = at
		m.shreds = append(m.shreds, s.Shred)
		if len(m.shreds) == shred.SetSize {
			set, err := shred.Assemble(m.shreds)
			if err != nil {
				panic("sim: own set: " + err.Error())
			}
			sets, m.shreds = append(sets, set), nil
		}
	}
	return rest, sets
}

// due returns the effects that were kept back until now.
func (m *maker) due(h *host) (now []queued) {
	u := h.userSlot()
	var later []kept
	for _, k := range m.late {
		if k.until <= u {
			now = append(now, k.effect)
		} else {
			later = append(later, k)
		}
	}
	m.late = later
	return now
}

// spread gives shreds to those whom an honest maker gives them, as far as
// there is nothing against it: only may be nil.
func (m *maker) spread(h *host, shreds []shred.Shred, only func(s *shred.Shred, to ledger.Pubkey) bool) (out []queued) {
	for i := range shreds {
		s := &shreds[i]
		root, err := s.Root()
		if err != nil {
			panic("sim: own shred: " + err.Error())
		}
		for _, to := range m.receivers(h, s) {
			if only == nil || only(s, to) {
				out = append(out, queued{effect: node.Send{To: []ledger.Pubkey{to}, Msg: node.ShredMessage{Shred: *s, Root: root}}})
			}
		}
	}
	return out
}

// receivers returns to whom the signer of a shred gives it: the root of its
// tree, and of a UserBlock the leaders that can record it.
func (m *maker) receivers(h *host, s *shred.Shred) (to []ledger.Pubkey) {
	if root, ok := m.tree.Root(s.Key(), s.IsData(), s.Index(), h.identity()); ok {
		to = append(to, root)
	}
	for _, l := range h.recorders(s.Key()) {
		if len(to) == 0 || l != to[0] {
			to = append(to, l)
		}
	}
	return to
}

// recorders returns the leaders that can record a UserBlock if no slot is
// skipped, without this machine's node.
func (h *host) recorders(k ledger.SlotKey) (leaders []ledger.Pubkey) {
	if !k.IsUser() {
		return nil
	}
	u, _ := k.User()
	for w := u + 1; uint64(w-u) <= h.sim.cfg.Params.InclusionWindow; w++ {
		if l := h.sim.check.signers.signer(w.Slot().Key()); l != h.identity() {
			leaders = append(leaders, l)
		}
	}
	return leaders
}

// userSlot returns the UserBlockSlot that runs by the machine's clock.
func (h *host) userSlot() ledger.UserSlot {
	s := h.sim
	if at := s.now + h.skew - s.slotAt(0); at > 0 {
		return ledger.UserSlot(2 * at / (s.slotAt(1) - s.slotAt(0)))
	}
	return 0
}

// allShreds returns the 64 shreds of a set.
func allShreds(set *shred.Set) []shred.Shred {
	shreds := make([]shred.Shred, shred.SetSize)
	for i := range shreds {
		shreds[i] = set.Shred(i)
	}
	return shreds
}

// forged makes an inconsistent set of a sound one.
func (m *maker) forged(h *host, set *shred.Set) ([]shred.Shred, ledger.Hash) {
	a, b := rawsOf(set), rawsOf(set)
	ways := forgeries[:2] // those that need no other set
	if set.Index == 0 {
		other := make([]byte, len(set.Payload))
		fill(m.rng, other)
		s := shred.NewShredder(shred.Config{
			Key: set.Key, ParentOffset: set.ParentOffset, Version: set.Version, Signer: h.key(), Chained: set.Chained,
		})
		if sets, err := s.Shred(other, set.ReferenceTick, set.Last); err == nil {
			b, ways = rawsOf(sets[0]), forgeries
		}
	}
	ways[m.rng.IntN(len(ways))].forge(m.rng, &a, &b)
	root := a.sign(h.key())
	return a.parsed(), root
}

// remake is a block that is made again, record by record, with a proof of
// history of its own.
type remake struct {
	chain    *poh.Chain
	shredder *shred.Shredder
	open     []byte // payload that is no whole batch yet
}

// newRemake begins a block under key on chained, with a proof of history from
// seed.
func newRemake(h *host, key ledger.SlotKey, offset uint16, chained, seed ledger.Hash) *remake {
	p := &h.sim.cfg.Params
	hashes := p.HashesPerTick
	if key.IsUser() {
		hashes = p.UserBlockHashesPerTick
	}
	return &remake{
		chain: poh.New(seed, hashes),
		shredder: shred.NewShredder(shred.Config{
			Key: key, ParentOffset: offset, Version: h.sim.genesis.ShredVersion(), Signer: h.key(), Chained: chained,
		}),
	}
}

// batch returns the components that end with a set of the block that the node
// made, nil if its batch goes on.
func (r *remake) batch(set *shred.Set) []ledger.Component {
	r.open = append(r.open, set.Payload...)
	if !set.Complete {
		return nil
	}
	components, err := ledger.ParseBatch(r.open)
	if err != nil {
		panic("sim: own block: " + err.Error())
	}
	r.open = nil
	return components
}

// record hashes components anew. Records for which their tick has no room are
// left out.
func (r *remake) record(components []ledger.Component) (out []ledger.Component) {
	for _, c := range components {
		if c.Marker != nil {
			marker, ok := *c.Marker, false
			if marker.NumHashes, marker.Hash, ok = r.chain.Record(marker.Mixin()); ok {
				out = append(out, ledger.Component{Marker: &marker})
			}
			continue
		}
		var entries []ledger.Entry
		for _, e := range c.Entries {
			ok := true
			if len(e.Transactions) == 0 {
				e.NumHashes, e.Hash = r.chain.Tick()
			} else {
				e.NumHashes, e.Hash, ok = r.chain.Record(e.Mixin())
			}
			if ok {
				entries = append(entries, e)
			}
		}
		if len(entries) > 0 {
			out = append(out, ledger.Component{Entries: entries})
		}
	}
	return out
}

// sets makes a batch of components, in the place of one that ended with a set.
func (r *remake) sets(components []ledger.Component, like *shred.Set) []*shred.Set {
	var batch []byte
	for i := range components {
		batch = ledger.AppendComponent(batch, &components[i])
	}
	sets, err := r.shredder.Shred(batch, like.ReferenceTick, like.Last)
	if err != nil {
		panic("sim: remade block: " + err.Error())
	}
	return sets
}
