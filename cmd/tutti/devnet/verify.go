package devnet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"tutti/bank"
	"tutti/cmd/tutti/load"
	"tutti/cmd/tutti/replay"
	"tutti/ledger"
	"tutti/live/store"
)

// conclude notes a transaction that a node called confirmed and that no other
// reason kept from being executed.
func (a *audit) conclude(f *load.Fate) {
	switch f.Ending {
	case load.Unpayable, load.BadSignature, load.Duplicate:
	default:
		if f.Confirmed != 0 {
			a.promised = append(a.promised, promise{f.ID, f.Confirmed})
		}
	}
}

// promise is that a transaction is confirmed.
type promise struct {
	id load.TxID
	at int64
}

// verifyLedgers executes all ledgers again from genesis, once the validators
// have stopped: each must have every confirmed block on one fork, with the
// BankHash that was reported, and on that fork every transaction that was
// called confirmed.
func (r *run) verifyLedgers(ctx context.Context) {
	if ctx.Err() != nil || r.options.Faults.Control || r.options.LimitLedgerSize > 0 {
		return // asked to stop, wrong on purpose, or not whole
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.audit
	start, before := time.Now(), len(a.violations)
	for i, v := range r.nodes {
		blocks, err := r.replay(i)
		if err == nil {
			err = a.holds(blocks)
		}
		if err != nil {
			a.violated("ledger of %s: %v", v.name, err)
		}
	}
	if len(a.violations) == before {
		r.display.say("Ledgers: %d, executed again in %v; each has all confirmed blocks up to slot %d, and the %d transactions called confirmed before",
			len(r.nodes), round(time.Since(start)), a.concluded.Slot, a.promises())
	}
}

// replayed is what the replay of a stored block found.
type replayed struct {
	parent   ledger.BlockRef
	bankHash string
	txs      []load.TxID // processed
}

// replay executes a validator's ledger again.
func (r *run) replay(i int) (blocks map[ledger.BlockRef]replayed, err error) {
	s, err := store.OpenReadOnly(r.folder.node(i))
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	again, err := replay.New(r.folder.genesis, runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, err
	}
	blocks = map[ledger.BlockRef]replayed{}
	again.OnExecuted = func(x *bank.Result) {
		b := replayed{parent: x.Parent, bankHash: x.BankHash.String()}
		for k := range x.Receipts {
			if x.Receipts[k].Outcome.Processed() {
				b.txs = append(b.txs, load.IDOf(x.Receipts[k].Signature[:]))
			}
		}
		blocks[x.Ref] = b
	}
	return blocks, again.Store(s)
}

// holds checks a replayed ledger against all that was called confirmed before
// the end.
func (a *audit) holds(blocks map[ledger.BlockRef]replayed) error {
	done := map[load.TxID]bool{}
	at := a.concluded
	for _, x := range slices.Backward(a.chain) {
		b := x.Ref
		if b.Slot > a.concluded.Slot {
			continue
		}
		for at.Slot > b.Slot {
			x, ok := blocks[at]
			if !ok {
				return fmt.Errorf("%v is not there", at)
			}
			for _, tx := range x.txs {
				done[tx] = true
			}
			at = x.parent
		}
		x, ok := blocks[b]
		switch {
		case !ok || at != b:
			return fmt.Errorf("%v was confirmed, and is not on the fork of the confirmed %v", b, a.concluded)
		case a.hashes[b] != "" && a.hashes[b] != x.bankHash:
			return fmt.Errorf("%v has BankHash %.8s, and nodes said %.8s", b, x.bankHash, a.hashes[b])
		}
	}
	for x := blocks[at]; at.Slot > 0; x = blocks[at] {
		for _, tx := range x.txs {
			done[tx] = true
		}
		at = x.parent
	}
	for _, p := range a.promised {
		if p.at <= a.concludedAt && !done[p.id] {
			return fmt.Errorf("transaction %x was called confirmed, and is not there", uint64(p.id))
		}
	}
	return nil
}

// promises counts the transactions that were called confirmed before the end.
func (a *audit) promises() (n int) {
	for _, p := range a.promised {
		if p.at <= a.concludedAt {
			n++
		}
	}
	return n
}

// readBlocks takes in the leader blocks that a validator has stored: those of
// earlier runs, and those of which no event was read. The validator is not
// running.
func (r *run) readBlocks(i int) (err error) {
	s, err := store.OpenReadOnly(r.folder.node(i))
	if errors.Is(err, store.ErrNoLedger) {
		return nil // it has not run yet
	}
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for e, err := range s.Entries(0, math.MaxUint64) {
		if err != nil {
			return fmt.Errorf("slot %d: %w", e.Slot, err)
		}
		if e.Kind != store.KindBlock || e.Key.IsUser() {
			continue
		}
		b, err := e.Block()
		if err != nil {
			return fmt.Errorf("slot %d: %w", e.Slot, err)
		}
		if err := r.audit.link(ledger.BlockRef{Slot: e.Slot, ID: b.ID}, b.Parent); err != nil {
			return err
		}
	}
	return nil
}

// finishAudit judges what was open, once the validators have stopped, with
// all blocks that they have stored.
func (r *run) finishAudit(ctx context.Context) {
	if ctx.Err() != nil {
		return // asked to stop
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.audit.settle() > 0 {
		for i, v := range r.nodes {
			if err := r.readBlocks(i); err != nil {
				r.audit.violated("ledger of %s: %v", v.name, err)
			}
		}
	}
	r.audit.finish()
}
