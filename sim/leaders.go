package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
)

// leaderFault is what a dishonest leader does to a block.
type leaderFault uint8

const (
	// namesGhosts names a UserBlock that nobody has; namesUnfit one that is not
	// well formed, if it knows of one.
	namesGhosts leaderFault = iota
	namesUnfit
	// namesTwice names one twice, namesEarly one whose time is not over,
	// namesLane one in a lane that there is not, namesMany 513 at once.
	namesTwice
	namesEarly
	namesLane
	namesMany
	// strangeMarker is of a kind that there is not.
	strangeMarker
	// falseReceipt says that another BankHash came of a block.
	falseReceipt
	// oversizedLeader has more FEC sets than a block may have.
	oversizedLeader
	// wrongPoH has one wrong hash.
	wrongPoH
	// dropsVotes leaves out the votes of every other account: a valid block.
	dropsVotes
	// stops sends the first half of a block.
	stops
	// inconsistentLeader has a set that decodes to different data.
	inconsistentLeader
	// twinsLeader are two or three blocks, each for as many of the nodes.
	twinsLeader
	leaderFaults
)

var leaderFaultNames = [leaderFaults]string{
	"names what nobody has", "names what is not well formed", "names one twice", "names one too early", "names a lane too high",
	"names too many", "strange marker", "false receipt", "oversized", "wrong PoH", "drops votes", "stops", "inconsistent coding", "two or three blocks",
}

// String returns the fault in words.
func (f leaderFault) String() string { return leaderFaultNames[f] }

// costs tells whether the block is certain to be lost, and with it those that
// its leader makes on it.
func (f leaderFault) costs() bool {
	return f != namesUnfit && f != falseReceipt && f != dropsVotes && f != inconsistentLeader && f != twinsLeader
}

// badLeader makes bad leader blocks: of each it draws what is wrong with it.
type badLeader struct {
	maker
	faults []leaderFault
	now    *badBlock
	// made has, by the id of each block that the node made, what was made of
	// it: the next one stands on that.
	made map[ledger.Hash]madeBlock
}

// madeBlock is a block as others got it.
type madeBlock struct{ id, lastPoH ledger.Hash }

// badBlock is a block that is being made.
type badBlock struct {
	slot   ledger.Slot
	fault  leaderFault
	remake *remake
	twins  []*remake // of twinsLeader
	done   bool      // the fault is in it
	sent   int       // batches
}

func newBadLeader(rng *rand.Rand, faults ...leaderFault) *badLeader {
	return &badLeader{maker: maker{rng: rng}, faults: faults, made: make(map[ledger.Hash]madeBlock)}
}

// String tells what it does to its blocks.
func (b *badLeader) String() string {
	if len(b.faults) == int(leaderFaults) {
		return "makes bad leader blocks"
	}
	return fmt.Sprintf("makes bad leader blocks: %v", b.faults)
}

func (b *badLeader) act(h *host, wanted []queued) []queued {
	out, sets := b.own(h, wanted, func(k ledger.SlotKey) bool { return !k.IsUser() })
	for _, set := range sets {
		out = append(out, b.send(h, set)...)
	}
	return slices.DeleteFunc(out, func(q queued) bool {
		_, m, ok := ownVote(h, &q)
		return ok && b.betrays(m.Vote.Block.ID)
	})
}

// betrays tells whether a vote is for an own block of which others got
// something else: they would ask for it, and find nothing wrong with it.
func (b *badLeader) betrays(voted ledger.Hash) bool {
	made, own := b.made[voted]
	return own && made.id != voted
}

// send returns what is done instead of sending a set of an own block.
func (b *badLeader) send(h *host, set *shred.Set) []queued {
	if b.now == nil || b.now.slot != set.Key.Slot() {
		b.now = b.begin(h, set)
	}
	block := b.now
	components := block.remake.batch(set)
	if components == nil {
		return nil
	}
	block.sent++
	if block.fault == oversizedLeader && block.slot%ledger.SlotsPerLeader == 0 { // the others of its turn stand on it
		if block.done {
			return nil
		}
		block.done = true
		return b.spreadSets(h, block.giant(set))
	}
	if block.fault == stops && block.sent > 3 {
		return nil
	}
	components = block.remake.record(b.changed(h, components))
	if block.fault == wrongPoH && !block.done {
		block.done = corrupt(components)
	}
	sets := block.remake.sets(components, set)
	if set.Last {
		b.made[set.Root] = madeBlock{sets[len(sets)-1].Root, block.remake.chain.Hash()}
	}
	switch {
	case block.fault == inconsistentLeader && !block.done && (set.Last || b.rng.IntN(3) == 0):
		block.done = true
		shreds, _ := b.forged(h, sets[len(sets)-1])
		return append(b.spreadSets(h, sets[:len(sets)-1]), b.spread(h, shreds, nil)...)
	case block.fault == twinsLeader:
		all := [][]*shred.Set{sets}
		for i, twin := range block.twins {
			all = append(all, twin.sets(twin.record(h.sim.withoutVotes(components, i+2)), set))
		}
		return b.divide(h, all)
	}
	return b.spreadSets(h, sets)
}

func (b *badLeader) spreadSets(h *host, sets []*shred.Set) (out []queued) {
	for _, set := range sets {
		out = append(out, b.spread(h, allShreds(set), nil)...)
	}
	return out
}

// begin draws what is wrong with a block. It stands on what others got of its
// parent.
func (b *badLeader) begin(h *host, first *shred.Set) *badBlock {
	slot := first.Key.Slot()
	parent := madeBlock{id: first.Chained}
	if made, ok := b.made[parent.id]; ok {
		parent = made
	} else if x := h.sim.check.ledger.Blocks()[ledger.BlockRef{Slot: slot - ledger.Slot(first.ParentOffset), ID: parent.id}]; x != nil {
		parent.lastPoH = x.LastPoH
	}
	begin := func() *remake { return newRemake(h, first.Key, first.ParentOffset, parent.id, parent.lastPoH) }
	block := &badBlock{slot: slot, fault: b.faults[b.rng.IntN(len(b.faults))], remake: begin()}
	if block.fault == twinsLeader {
		for range 1 + b.rng.IntN(2) {
			block.twins = append(block.twins, begin())
		}
	}
	return block
}

// changed returns the components of a batch with the block's fault in them.
func (b *badLeader) changed(h *host, components []ledger.Component) []ledger.Component {
	block := b.now
	if block.fault == dropsVotes {
		return h.sim.withoutVotes(components, 2)
	}
	for i := range components {
		m := components[i].Marker
		if block.done || m == nil {
			continue
		}
		if changed := b.marker(h, *m); changed != nil {
			block.done = true
			components[i].Marker = changed
		}
	}
	return components
}

// marker returns the marker with the block's fault in it, nil if it goes as it
// is.
func (b *badLeader) marker(h *host, m ledger.Marker) *ledger.Marker {
	if m.Kind == ledger.KindExecutionReceipt {
		if b.now.fault != falseReceipt {
			return nil
		}
		m.Payload = slices.Clone(m.Payload)
		m.Payload[len(m.Payload)-1] ^= 1
		return &m
	}
	refs, err := ledger.ParseUserBlockEntries(m.Payload)
	if err != nil {
		panic("sim: own marker: " + err.Error())
	}
	switch b.now.fault {
	case namesGhosts:
		fill(b.rng, refs[0].ID[:])
	case namesUnfit:
		at := slices.IndexFunc(h.sim.unfit, func(r ledger.UserBlockRef) bool { return r.U == refs[0].U })
		if at < 0 {
			return nil
		}
		unfit := h.sim.unfit[at]
		refs = slices.DeleteFunc(refs, func(r ledger.UserBlockRef) bool { return r.U == unfit.U && r.Lane == unfit.Lane })
		refs = append(refs, unfit)
	case namesTwice:
		refs = append(refs, refs[0])
	case namesEarly:
		refs[0].U++
	case namesLane:
		refs[0].Lane = ledger.Lane(h.sim.cfg.Params.Proposers)
	case namesMany:
		for len(refs) <= ledger.UserBlockEntriesMax {
			refs = append(refs, refs[0])
		}
	case strangeMarker:
		m.Kind = 77
	default:
		return nil
	}
	m.Payload = ledger.AppendUserBlockEntries(nil, refs)
	return &m
}

// withoutVotes leaves out the votes of every n-th account.
func (s *Sim) withoutVotes(components []ledger.Component, n int) (out []ledger.Component) {
	for _, c := range components {
		var entries []ledger.Entry
		for _, e := range c.Entries {
			votes := len(e.Transactions)
			e.Transactions = slices.DeleteFunc(slices.Clone(e.Transactions), func(tx ledger.Transaction) bool {
				v, err := ledger.ParseVote(&tx)
				return err == nil && s.index[v.Authority]%n == 0
			})
			if votes == 0 || len(e.Transactions) > 0 {
				entries = append(entries, e)
			}
		}
		if c.Marker != nil || len(entries) > 0 {
			out = append(out, ledger.Component{Marker: c.Marker, Entries: entries})
		}
	}
	return out
}

// corrupt changes the hash of one entry. It tells whether there was one.
func corrupt(components []ledger.Component) bool {
	for _, c := range components {
		if len(c.Entries) > 0 {
			c.Entries[0].Hash[0] ^= 1
			return true
		}
	}
	return false
}

// giant returns a block of one batch that has more FEC sets than a block may
// have.
func (b *badBlock) giant(like *shred.Set) []*shred.Set {
	sets, err := b.remake.shredder.Shred(make([]byte, (ledger.LeaderSetsMax+1)*shred.SetData*shred.DataSize), like.ReferenceTick, true)
	if err != nil {
		panic("sim: own block: " + err.Error())
	}
	return sets
}

// divide gives each node the sets of one of the blocks, in turn.
func (b *badLeader) divide(h *host, blocks [][]*shred.Set) (out []queued) {
	for i, v := range h.sim.genesis.Validators {
		if v.Identity == h.identity() {
			continue
		}
		for _, set := range blocks[i%len(blocks)] {
			for _, s := range allShreds(set) {
				m := node.ShredMessage{Shred: s, Root: set.Root}
				out = append(out, queued{effect: node.Send{To: []ledger.Pubkey{v.Identity}, Msg: m}})
			}
		}
	}
	return out
}
