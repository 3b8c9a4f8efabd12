package validator_test

import (
	"bytes"
	"testing"

	"tutti/cluster"
	"tutti/internal/testkit"
	"tutti/ledger"
	"tutti/shred"
	"tutti/validator"
)

// FuzzProgress gives a leader block's check any batch, after a good set, in
// one piece and in two: the verdict is the same, nothing panics, and what came
// before does not change.
func FuzzProgress(f *testing.F) {
	w := newWorld(f, 3, 2, 1)
	parent := w.grow(w.genesis, 1)
	trunk := w.draft(2, parent).votes(w.vote(0, parent.BlockRef, 0, ledger.Hash{})).ticks(60).flush(false)
	begun, err := validator.Begin(w.rules, 2, parent).Next(trunk.sets[0])
	if err != nil {
		f.Fatal(err)
	}
	seed := func(make func(*draft)) {
		d := trunk.clone()
		make(d)
		f.Add(d.batch, uint16(7))
	}
	seed(func(d *draft) { d.ticks(4) })
	seed(func(d *draft) { d.votes(w.vote(1, parent.BlockRef, 0, ledger.Hash{1})).ticks(4) })
	seed(func(d *draft) {
		d.names(userRef(4, 0), userRef(4, 1)).receipt(parent.BlockRef, ledger.Hash{2}).ticks(4)
	})
	seed(func(d *draft) { d.votes(signed(f, testKey("user", 0), ledger.Hash{}, memo("x"))).ticks(4) })
	seed(func(d *draft) { d.ticks(5) })
	f.Add([]byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, batch []byte, cut uint16) {
		set := func(b []byte, complete bool) *shred.Set {
			return &shred.Set{Root: ledger.Sum(b), ParentOffset: 1, Payload: b, Complete: complete, Last: complete}
		}
		finish := func(sets ...*shred.Set) (*validator.Block, error) {
			p := begun
			for _, s := range sets {
				var err error
				if p, err = p.Next(s); err != nil {
					return nil, err
				}
			}
			return p.Finish()
		}
		before := bytes.Clone(batch)
		whole, err := finish(set(batch, true))
		at := min(int(cut), len(batch))
		_, again := finish(set(batch[:at], false), set(batch[at:], true))
		if (err == nil) != (again == nil) || err != nil && err.Error() != again.Error() {
			t.Fatalf("in one set: %v, in two: %v", err, again)
		}
		if !bytes.Equal(batch, before) || len(begun.Votes()) != 1 || len(begun.Roots()) != 1 {
			t.Fatal("the check changed its input")
		}
		if testkit.Drawn(batch) {
			testkit.Allocates(t, batch, func(b []byte) { _, _ = finish(set(b, true)) })
		}
		if err != nil {
			return
		}
		if whole.Height != 2 || whole.Parent != parent {
			t.Fatalf("block %+v", whole)
		}
		for _, n := range whole.Named {
			if err := validator.Window(&w.params, parent, n.Ref.U, n.Section); err != nil || int(n.Ref.Lane) >= w.params.Proposers {
				t.Fatalf("named %v in %d: %v", n.Ref, n.Section, err)
			}
		}
	})
}

// FuzzUserBlock gives the check of a UserBlock any payload, cut into two
// batches or none: a block that passes keeps the limits.
func FuzzUserBlock(f *testing.F) {
	params := func(p *cluster.Params) { p.UserBlockHashesPerTick, p.TransactionsMax = 4, 8 }
	seed := func(make func(*userDraft)) {
		d := newUserDraft(f, params)
		make(d)
		d.ticks(max(0, ledger.TicksPerUserSlot-d.closed)).raw()
		f.Add(d.batch, uint16(0))
		f.Add(d.batch, uint16(8+48))
	}
	a, b := user(f, 0), user(f, 1, unitPrice(4))
	seed(func(*userDraft) {})
	seed(func(d *userDraft) { d.ticks(3).entry(a, b).ticks(4).entry(user(f, 2)) })
	seed(func(d *userDraft) {
		d.entry(user(f, 5, ledger.BundleCall([]ledger.Hash{a.MessageHash(), b.MessageHash()})), a, b)
	})
	seed(func(d *userDraft) { d.entry(user(f, 0, voteCall(64))) })
	seed(func(d *userDraft) {
		d.entry(signed(f, testKey("user", 0), testHash("nonce", 0), advanceNonce(nonceOf(testLane, 0))))
	})
	f.Fuzz(func(t *testing.T, payload []byte, cut uint16) {
		d := newUserDraft(t, params)
		at := min(int(cut), len(payload))
		anchor := testHash("blockhash", 0)
		if at > 0 {
			d.check.Sets = append(d.check.Sets, &shred.Set{Chained: anchor, Payload: payload[:at], Complete: true})
		}
		d.check.Sets = append(d.check.Sets, &shred.Set{Chained: anchor, Payload: payload[at:], Complete: true, Last: true})
		before := bytes.Clone(payload)
		block, err := d.check.Check()
		if !bytes.Equal(payload, before) {
			t.Fatal("the check changed its input")
		}
		if testkit.Drawn(payload) {
			testkit.Allocates(t, payload, func([]byte) { _, _ = d.check.Check() })
		}
		if err != nil {
			return
		}
		if block.Cost > d.check.CostMax || block.Payload != len(payload) || len(block.Transactions) > 8 {
			t.Fatalf("cost %d, payload %d, %d transactions", block.Cost, block.Payload, len(block.Transactions))
		}
		seen := make(map[ledger.Hash]bool)
		var position uint64
		for i := range block.Transactions {
			tx := &block.Transactions[i]
			admissible := tx.Role == ledger.Bundler || validator.Admissible(&tx.Transaction) == nil
			if seen[tx.Hash] || !admissible || tx.Position < position || int(tx.Index) != i {
				t.Fatalf("transaction %d: %+v", i, tx)
			}
			seen[tx.Hash], position = true, tx.Position
		}
	})
}
