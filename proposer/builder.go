package proposer

import (
	"crypto/ed25519"
	"fmt"

	"tutti/cluster"
	"tutti/ledger"
	"tutti/poh"
	"tutti/shred"
)

// Config says which UserBlock a Builder makes.
type Config struct {
	U            ledger.UserSlot
	Lane         ledger.Lane
	Anchor       ledger.Hash
	Signer       ed25519.PrivateKey
	ShredVersion uint16
	Params       *cluster.Params
	// CostMax bounds the sum of the transactions' costs: c, scaled by the
	// anchor's lag (PROTOCOL section 9).
	CostMax uint64
}

// Builder makes one UserBlock. Its FEC sets are streamed out while it is
// built; it closes at its 32nd tick.
type Builder struct {
	cfg      Config
	chain    *poh.Chain
	shredder *shred.Shredder

	ticks   int // closed
	entries []ledger.Entry
	used    usage

	// Transactions are what the block holds, in order: they go back into the
	// pool if the block is not recorded.
	Transactions []*Pooled
	packed       map[ledger.Hash]bool // their message hashes
	nonces       map[ledger.Pubkey]bool
}

// NewBuilder starts a UserBlock.
func NewBuilder(cfg Config) *Builder {
	signer := ledger.Pubkey(cfg.Signer.Public().(ed25519.PublicKey))
	return &Builder{
		cfg:    cfg,
		chain:  poh.New(poh.UserBlockSeed(cfg.Anchor, cfg.U, signer), cfg.Params.UserBlockHashesPerTick),
		used:   usage{size: ledger.BatchHead},
		packed: make(map[ledger.Hash]bool),
		nonces: make(map[ledger.Pubkey]bool),
		shredder: shred.NewShredder(shred.Config{
			Key:     ledger.UserKey(cfg.U, cfg.Lane),
			Version: cfg.ShredVersion,
			Signer:  cfg.Signer,
			Chained: cfg.Anchor,
		}),
	}
}

// U returns the UserBlockSlot that the block is for.
func (b *Builder) U() ledger.UserSlot { return b.cfg.U }

// Lane returns the block's lane.
func (b *Builder) Lane() ledger.Lane { return b.cfg.Lane }

// Ticks returns how many of the block's 32 ticks are closed.
func (b *Builder) Ticks() int { return b.ticks }

// Done tells whether the block is closed.
func (b *Builder) Done() bool { return b.ticks == ledger.TicksPerUserSlot }

// Has tells whether the block holds a transaction with that message hash.
func (b *Builder) Has(hash ledger.Hash) bool { return b.packed[hash] }

// Uses tells whether the block holds a durable-nonce transaction of that
// nonce account.
func (b *Builder) Uses(nonce ledger.Pubkey) bool { return b.nonces[nonce] }

// usage is what a block has used of its limits.
type usage struct {
	cost  uint64
	count int
	sets  int // made
	sent  int // bytes of payload in them
	size  int // bytes of the open batch, which becomes one set
}

// flush ends the open batch.
func (u *usage) flush() { u.sets, u.sent, u.size = u.sets+1, u.sent+u.size, ledger.BatchHead }

// packing decides what of the pool goes into the current tick, exactly as
// Pack records it then.
type packing struct {
	b       *Builder
	used    usage
	records uint64 // hashes left in which an entry may stand
	entry   bool   // one is open
}

// add tells whether a transaction fits, and counts it if it does. One that
// only the part of the limits forbids that is due by now holds up all cheaper
// ones: else they would take what becomes due, tick by tick, and it would
// never fit.
func (k *packing) add(t *Pooled) Verdict {
	if t.Durable && k.b.nonces[t.Nonce] {
		return Waits
	}
	used, records, entry := k.used, k.records, k.entry
	n := len(t.Tx.Raw())
	if used.size+entryHead(entry)+n > shred.SetPayload {
		used.flush()
		entry = false
	}
	if !entry {
		if records == 0 {
			return Full
		}
		records--
	}
	used.size += entryHead(entry) + n
	used.cost += t.Cost
	used.count++
	switch {
	case !k.b.within(&used, ledger.TicksPerUserSlot):
		return Waits
	case !k.b.within(&used, k.b.ticks+1):
		return Full
	}
	k.used, k.records, k.entry = used, records, true
	if t.Durable {
		k.b.nonces[t.Nonce] = true
	}
	return Fits
}

// entryHead is the size that a transaction adds beside its own.
func entryHead(open bool) int {
	if open {
		return 0
	}
	return ledger.EntryHead
}

// within tells whether the block may have used so much by the end of so many
// ticks: of each limit the same part as of its ticks, so that a dear
// transaction which arrives late still finds room. Room for the ticks that are
// missing is set aside.
func (b *Builder) within(u *usage, ticks int) bool {
	p := b.cfg.Params
	share := func(limit uint64) uint64 { return limit * uint64(ticks) / ledger.TicksPerUserSlot }
	const reserved = ledger.TicksPerUserSlot*ledger.EntryHead + 2*ledger.BatchHead
	left := (ledger.TicksPerUserSlot - b.ticks) * ledger.EntryHead
	payload := min(p.PayloadMax, p.FECSetsMax*shred.SetPayload) - reserved
	lastSet := u.sets+1 >= p.FECSetsMax
	return u.cost <= share(b.cfg.CostMax) &&
		u.count <= int(share(uint64(p.TransactionsMax))) &&
		u.sent+u.size <= int(share(uint64(payload)))+b.ticks*ledger.EntryHead &&
		u.sets < p.FECSetsMax && (!lastSet || u.size+left <= shred.SetPayload)
}

// Pack records transactions of the pool, dearest first, as far as the limits
// and the time passed allow. expiry judges a transaction by its blockhash.
// The sets that became full are returned for broadcast.
func (b *Builder) Pack(pool *Pool, expiry func(*Pooled) Verdict) ([]*shred.Set, error) {
	k := packing{b: b, used: b.used, records: b.recordsLeft()}
	taken := pool.Take(func(t *Pooled) Verdict {
		if b.packed[t.Hash] {
			return Expired // sent again, meanwhile
		}
		if v := expiry(t); v != Fits {
			return v
		}
		return k.add(t)
	})
	var out []*shred.Set
	for len(taken) > 0 {
		// One entry takes what fits into the open batch, which fills one set.
		n, size := 0, b.used.size+ledger.EntryHead
		for n < len(taken) && size+len(taken[n].Tx.Raw()) <= shred.SetPayload {
			size += len(taken[n].Tx.Raw())
			n++
		}
		if n > 0 {
			b.record(taken[:n])
			taken = taken[n:]
		}
		if len(taken) > 0 {
			sets, err := b.flush(false)
			if err != nil {
				return nil, err
			}
			out = append(out, sets...)
		}
	}
	return out, nil
}

// recordsLeft bounds the number of entries of this tick: its last hash is
// the tick's own (FORMATS section 1).
func (b *Builder) recordsLeft() uint64 {
	if b.cfg.Params.UserBlockHashesPerTick == 0 {
		return uint64(b.cfg.Params.TransactionsMax)
	}
	return b.chain.Remaining() - 1
}

func (b *Builder) record(txs []*Pooled) {
	e := ledger.Entry{Transactions: make([]ledger.Transaction, len(txs))}
	b.used.size += ledger.EntryHead
	for i, t := range txs {
		b.packed[t.Hash] = true
		e.Transactions[i] = t.Tx
		b.used.cost += t.Cost
		b.used.size += len(t.Tx.Raw())
	}
	b.used.count += len(txs)
	var ok bool
	if e.NumHashes, e.Hash, ok = b.chain.Record(e.Mixin()); !ok {
		panic("proposer: record where only a tick may stand")
	}
	b.entries = append(b.entries, e)
	b.Transactions = append(b.Transactions, txs...)
}

// CloseTick ends the current tick. With the 32nd the block is closed: its
// last set is returned, which gives the block's id.
func (b *Builder) CloseTick() ([]*shred.Set, error) {
	var out []*shred.Set
	if b.used.size+ledger.EntryHead > shred.SetPayload {
		sets, err := b.flush(false)
		if err != nil {
			return nil, err
		}
		out = sets
	}
	n, hash := b.chain.Tick()
	b.entries = append(b.entries, ledger.Entry{NumHashes: n, Hash: hash})
	b.used.size += ledger.EntryHead
	b.ticks++
	if !b.Done() {
		return out, nil
	}
	sets, err := b.flush(true)
	return append(out, sets...), err
}

// flush shreds the entries that have not been sent.
func (b *Builder) flush(last bool) ([]*shred.Set, error) {
	batch := ledger.AppendEntries(make([]byte, 0, b.used.size), b.entries)
	sets, err := b.shredder.Shred(batch, uint8(min(b.ticks, ledger.TicksPerSlot-1)), last)
	if err != nil {
		return nil, fmt.Errorf("shred UserBlock %d/%d: %w", b.cfg.U, b.cfg.Lane, err)
	}
	b.used.flush()
	b.entries = nil
	return sets, nil
}
