// Package leader makes leader blocks: a proof of history that holds only
// votes and markers (PROTOCOL section 5). A leader needs no bank. The package
// knows no clock and does not choose what to record: node does.
package leader

import (
	"crypto/ed25519"
	"fmt"

	"tutti/cluster"
	"tutti/ledger"
	"tutti/poh"
	"tutti/shred"
)

// A block has the ticks of all slots that were skipped since its parent, 48
// bytes each, and at most 128 FEC sets (PROTOCOL section 5), of which one holds
// those of 10 slots.
const (
	// SkipMax is how many slots a parent can lie below its block: so many leave
	// room for eight sets more.
	SkipMax = 1200
	// earlySets is how many sets a block may have before it waits with all else
	// until its end, as what is sent early leaves sets half empty: so two are left
	// for votes that come later.
	earlySets = ledger.LeaderSetsMax - reservedSets - 2
	// reservedSets are not for votes. All UserBlocks that a block can name take less
	// than one, its end one more; the others are for sets half empty.
	reservedSets = 4
	// PauseMax is how many slots a cluster may have stood still when its
	// validators are started: the rest is for them to meet in, and for what the
	// first leader has to record.
	PauseMax = 1000
)

// Config says which block a Builder makes.
type Config struct {
	Slot         ledger.Slot
	Parent       ledger.BlockRef
	ParentPoH    ledger.Hash // last PoH hash of the parent
	Signer       ed25519.PrivateKey
	ShredVersion uint16
	Params       *cluster.Params
}

// Builder makes one leader block of 64 ticks, behind the bare ticks of the
// slots skipped since its parent.
type Builder struct {
	cfg      Config
	chain    *poh.Chain
	shredder *shred.Shredder

	ticks      int // own ticks closed
	batch      []byte
	entries    []ledger.Entry // of the open component
	open       int            // bytes of batch and entries
	lastFlush  int            // ticks at the last flush
	markerTick int            // ticks at the last UserBlockEntries marker, -1: none
	receipt    bool
}

// NewBuilder starts a block and hashes the ticks of skipped slots.
func NewBuilder(cfg Config) *Builder {
	b := &Builder{
		cfg:        cfg,
		chain:      poh.New(cfg.ParentPoH, cfg.Params.HashesPerTick),
		markerTick: -1,
		shredder: shred.NewShredder(shred.Config{
			Key:          cfg.Slot.Key(),
			ParentOffset: uint16(cfg.Slot - cfg.Parent.Slot),
			Version:      cfg.ShredVersion,
			Signer:       cfg.Signer,
			Chained:      cfg.Parent.ID,
		}),
	}
	for range (cfg.Slot - cfg.Parent.Slot - 1) * ledger.TicksPerSlot {
		b.tick()
	}
	return b
}

// Slot returns the block's slot.
func (b *Builder) Slot() ledger.Slot { return b.cfg.Slot }

// Ticks returns how many of the slot's own 64 ticks are closed.
func (b *Builder) Ticks() int { return b.ticks }

// Done tells whether the block is closed.
func (b *Builder) Done() bool { return b.ticks == ledger.TicksPerSlot }

// Section returns the half of the slot in which the next record stands.
func (b *Builder) Section() ledger.UserSlot {
	return b.cfg.Slot.FirstUserSlot() + ledger.UserSlot(b.ticks/ledger.TicksPerUserSlot)
}

// Room tells whether another record fits into the current tick: its last
// hash is the tick's own (FORMATS section 1).
func (b *Builder) Room() bool {
	return b.cfg.Params.HashesPerTick == 0 || b.chain.Remaining() > 1
}

// CanName tells whether a UserBlockEntries marker may be recorded now: there
// is at most one a tick.
func (b *Builder) CanName() bool { return b.markerTick != b.ticks && b.Room() }

// VoteBytes returns how many bytes of votes the block can still take, as one
// entry, beside what else may come: its ticks, and all UserBlocks that a block can
// name.
func (b *Builder) VoteBytes() int {
	left := (ledger.LeaderSetsMax - reservedSets - b.shredder.Sets()) * shred.SetPayload
	return max(0, left-b.open-ledger.EntryHead)
}

// RecordVotes records vote transactions as one entry.
func (b *Builder) RecordVotes(txs []ledger.Transaction) {
	e := ledger.Entry{Transactions: txs}
	e.NumHashes, e.Hash = b.mix(e.Mixin())
	b.entry(e)
	for i := range txs {
		b.open += len(txs[i].Raw())
	}
}

// RecordUserBlocks names UserBlocks: at most 512.
func (b *Builder) RecordUserBlocks(refs []ledger.UserBlockRef) {
	b.markerTick = b.ticks
	b.marker(ledger.KindUserBlockEntries, ledger.AppendUserBlockEntries(nil, refs))
}

// RecordReceipt records the newest BankHash that the leader has computed on
// this fork, once a block. It tells whether it did.
func (b *Builder) RecordReceipt(r ledger.ExecutionReceipt) bool {
	if b.receipt || !b.Room() {
		return false
	}
	b.receipt = true
	b.marker(ledger.KindExecutionReceipt, ledger.AppendExecutionReceipt(nil, r))
	return true
}

func (b *Builder) marker(kind ledger.MarkerKind, payload []byte) {
	m := ledger.Marker{Version: ledger.MarkerVersion, Kind: kind, Payload: payload}
	m.NumHashes, m.Hash = b.mix(m.Mixin())
	b.closeComponent()
	before := len(b.batch)
	b.batch = ledger.AppendComponent(b.batch, &ledger.Component{Marker: &m})
	b.open += len(b.batch) - before
}

func (b *Builder) mix(mixin ledger.Hash) (uint64, ledger.Hash) {
	n, hash, ok := b.chain.Record(mixin)
	if !ok {
		panic("leader: record where only a tick may stand")
	}
	return n, hash
}

func (b *Builder) tick() {
	n, hash := b.chain.Tick()
	b.entry(ledger.Entry{NumHashes: n, Hash: hash})
}

func (b *Builder) entry(e ledger.Entry) {
	if len(b.entries) == 0 {
		b.open += ledger.BatchHead
	}
	b.entries = append(b.entries, e)
	b.open += ledger.EntryHead
}

func (b *Builder) closeComponent() {
	if len(b.entries) > 0 {
		b.batch = ledger.AppendComponent(b.batch, &ledger.Component{Entries: b.entries})
		b.entries = nil
	}
}

// How long records wait for company before they are sent, in ticks: each set
// costs 64 shreds, however little it holds.
const (
	flushAfterMarker = 5  // since UserBlocks were named, if more are to be expected
	flushTicks       = 16 // since the last flush, or flushAfterMarker more if UserBlocks are to be expected
	endTicks         = 4  // before the end: the last set has what comes then
)

// CloseTick ends the current tick and returns the sets that are ready for
// broadcast. named says that every UserBlock which can be expected in this
// section is named, so that the marker need not wait for more. With the 64th
// tick the block is closed: its last set gives its id.
func (b *Builder) CloseTick(named bool) ([]*shred.Set, error) {
	b.tick()
	b.ticks++
	expect := 0
	if !named {
		expect = flushAfterMarker
	}
	fresh := b.markerTick >= b.lastFlush
	switch {
	case b.Done():
		return b.flush(true)
	case ledger.TicksPerSlot-b.ticks <= endTicks, b.shredder.Sets() >= earlySets:
		return nil, nil
	case fresh && b.ticks-b.markerTick >= expect, b.ticks-b.lastFlush >= flushTicks+expect:
		return b.flush(false)
	}
	return nil, nil
}

func (b *Builder) flush(last bool) ([]*shred.Set, error) {
	b.closeComponent()
	sets, err := b.shredder.Shred(b.batch, uint8(min(b.ticks, ledger.TicksPerSlot-1)), last)
	if err != nil {
		return nil, fmt.Errorf("shred block %d: %w", b.cfg.Slot, err)
	}
	b.batch, b.open, b.lastFlush = nil, 0, b.ticks
	return sets, nil
}
