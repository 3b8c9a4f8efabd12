package validator_test

import (
	"bytes"
	"errors"
	"testing"

	"tutti/cluster"
	"tutti/ledger"
	"tutti/poh"
	"tutti/shred"
	"tutti/validator"
)

// TestLeaderBlockRules: PROTOCOL section 5, sentence by sentence, on a chain
// of four blocks. SIMD-0023 "Overview": the leader proposes "a PoH ledger full
// of Votes and UserBlockEntry".
func TestLeaderBlockRules(t *testing.T) {
	w := newWorld(t, 400, 300, 200)
	parent := w.grow(w.genesis, 4)
	const slot = 5
	now := ledger.Slot(slot).FirstUserSlot()
	user := signed(t, testKey("user", 0), parent.LastPoH, memo("hello"))
	voteOf := func(voter int) ledger.Transaction { return w.vote(voter, parent.BlockRef, 0, ledger.Hash{}) }
	badVote := func(change func(*ledger.Vote, *ledger.Message)) ledger.Transaction {
		authority := testKey("identity", 0)
		v := ledger.Vote{
			Account: pub(testKey("vote", 0)), Authority: pub(authority),
			Lockouts: []ledger.Lockout{{Slot: parent.Slot, Confirmations: 1}}, Block: parent.BlockRef,
		}
		change(&v, nil)
		m := v.Message(ledger.Hash{})
		change(&v, &m)
		return parse(t, ledger.Sign(m.Append(nil), authority))
	}
	message := func(change func(*ledger.Message)) ledger.Transaction {
		return badVote(func(_ *ledger.Vote, m *ledger.Message) {
			if m != nil {
				change(m)
			}
		})
	}
	stranger := func() ledger.Transaction {
		v := ledger.Vote{
			Account: pub(testKey("vote", 99)), Authority: pub(testKey("identity", 99)),
			Lockouts: []ledger.Lockout{{Slot: parent.Slot, Confirmations: 1}}, Block: parent.BlockRef,
		}
		m := v.Message(ledger.Hash{})
		return parse(t, ledger.Sign(m.Append(nil), testKey("identity", 99)))
	}
	forged := func() ledger.Transaction {
		tx := voteOf(0)
		wire := bytes.Clone(tx.Raw())
		wire[5] ^= 1
		return parse(t, wire)
	}
	marker := func(kind ledger.MarkerKind, payload []byte) ledger.Marker {
		return ledger.Marker{Version: ledger.MarkerVersion, Kind: kind, Payload: payload}
	}

	cases := []struct {
		rule  string
		ticks int // own ticks before the records
		make  func(*draft)
		err   error
	}{
		{"a bare block", 0, nil, nil},
		{"votes, markers and a receipt", 7, func(d *draft) {
			d.votes(voteOf(0), voteOf(1)).names(userRef(now-1, 0), userRef(now-1, 3)).receipt(w.genesis.BlockRef, ledger.Hash{}).votes(voteOf(2))
		}, nil},
		{"the last record stands before the last tick", 63, func(d *draft) { d.votes(voteOf(0)).names(userRef(now, 0)) }, nil},

		// "holding only votes and markers"
		{"a leader block with a user transaction is rejected", 1, func(d *draft) { d.votes(user) }, validator.ErrTransaction},
		{"a user transaction among votes", 1, func(d *draft) { d.votes(voteOf(0), user, voteOf(1)) }, validator.ErrTransaction},
		// "A vote is a legacy transaction that sanitises, with exactly one
		// instruction: Vote program, tag 64, two accounts (the second a signer),
		// data that parses as in section 7 without trailing bytes, at least one
		// lockout. Any other transaction makes the block invalid."
		{"a Solana vote, tag 14", 1, func(d *draft) {
			d.votes(signed(t, testKey("identity", 0), ledger.Hash{}, voteCall(14)))
		}, validator.ErrTransaction},
		{"a vote of two instructions", 1, func(d *draft) {
			d.votes(message(func(m *ledger.Message) { m.Instructions = append(m.Instructions, m.Instructions[0]) }))
		}, validator.ErrTransaction},
		{"a vote whose second account does not sign", 1, func(d *draft) {
			d.votes(message(func(m *ledger.Message) { m.Instructions[0].Accounts[1] = m.Instructions[0].Accounts[0] }))
		}, validator.ErrTransaction},
		{"a vote with three accounts", 1, func(d *draft) {
			d.votes(message(func(m *ledger.Message) {
				m.Instructions[0].Accounts = append(m.Instructions[0].Accounts, m.Instructions[0].Accounts[0])
			}))
		}, validator.ErrTransaction},
		{"a vote with trailing data", 1, func(d *draft) {
			d.votes(message(func(m *ledger.Message) { m.Instructions[0].Data = append(m.Instructions[0].Data, 0) }))
		}, validator.ErrTransaction},
		{"a vote of another program", 1, func(d *draft) {
			d.votes(message(func(m *ledger.Message) {
				for i := range m.Keys {
					if m.Keys[i] == ledger.VoteProgram {
						m.Keys[i] = ledger.Pubkey{9}
					}
				}
			}))
		}, validator.ErrTransaction},
		{"a vote that does not sanitise", 1, func(d *draft) {
			d.votes(message(func(m *ledger.Message) { m.Instructions[0].Program = 0 }))
		}, validator.ErrTransaction},
		{"a vote without a lockout", 1, func(d *draft) {
			d.votes(badVote(func(v *ledger.Vote, _ *ledger.Message) { v.Lockouts = nil }))
		}, validator.ErrTransaction},
		{"a vote of version 0", 1, func(d *draft) {
			tx := voteOf(0)
			m := append([]byte{0x80}, tx.Message()...)
			m = append(m, 0)
			d.votes(parse(t, ledger.Sign(m, testKey("identity", 0))))
		}, validator.ErrTransaction},
		// "Other votes stand without effect on the fork"
		{"a vote with a long extension", 1, func(d *draft) {
			d.votes(badVote(func(v *ledger.Vote, _ *ledger.Message) { v.Extension = make([]byte, 129) }))
		}, nil},
		{"a vote for another fork", 1, func(d *draft) {
			d.votes(w.vote(0, ledger.BlockRef{Slot: 4, ID: ledger.Hash{1}}, 0, ledger.Hash{}))
		}, nil},
		// "A bad signature, an account without stake, two votes of one account
		// for one slot in a block, or more than 128 FEC sets make the block
		// invalid."
		{"a bad vote signature", 1, func(d *draft) { d.votes(forged()) }, validator.ErrVoteSignature},
		{"an account without stake", 1, func(d *draft) { d.votes(stranger()) }, validator.ErrVoteStake},
		{"two votes of one account for one slot in an entry", 1, func(d *draft) {
			d.votes(voteOf(0), w.vote(0, parent.BlockRef, 3, ledger.Hash{7}))
		}, validator.ErrVoteTwice},
		{"two votes of one account for one slot, far apart", 1, func(d *draft) {
			d.votes(voteOf(1)).ticks(9).flush(false).votes(voteOf(1))
		}, validator.ErrVoteTwice},
		{"two votes of one account for two slots", 1, func(d *draft) {
			d.votes(w.vote(0, parent.Parent.BlockRef, 0, ledger.Hash{}), voteOf(0))
		}, nil},

		// "A batch is one or more components back to back, without trailing
		// bytes."
		{"a trailing byte", 1, func(d *draft) { d.votes(voteOf(0)); d.batch = append(d.batch, 0); d.flush(false) }, validator.ErrBatch},
		{"an empty batch", 1, func(d *draft) { d.flush(false).flush(false) }, validator.ErrBatch},
		{"half an entry", 1, func(d *draft) { d.votes(voteOf(0)); d.batch = d.batch[:len(d.batch)-1]; d.flush(false) }, validator.ErrBatch},
		// "Other kinds make the block invalid."
		{"an unknown kind of marker", 1, func(d *draft) { d.marker(marker(3, nil)) }, ledger.ErrMarker},
		{"kind 0", 1, func(d *draft) { d.marker(marker(0, nil)) }, ledger.ErrMarker},
		{"an unknown version of markers", 1, func(d *draft) {
			d.marker(ledger.Marker{Version: 2, Kind: ledger.KindExecutionReceipt, Payload: make([]byte, 72)})
		}, ledger.ErrMarker},
		{"a marker whose hash is wrong", 1, func(d *draft) {
			m := marker(ledger.KindUserBlockEntries, ledger.AppendUserBlockEntries(nil, []ledger.UserBlockRef{userRef(now-1, 0)}))
			m.NumHashes, m.Hash, _ = d.chain.Record(ledger.Hash{})
			d.component(ledger.Component{Marker: &m})
		}, poh.ErrInvalidEntryHash},
		// "Kind 1 UserBlockEntries: 1…512"
		{"no entry", 1, func(d *draft) { d.names() }, ledger.ErrMarker},
		{"half an entry in a marker", 1, func(d *draft) { d.marker(marker(ledger.KindUserBlockEntries, make([]byte, 41))) }, ledger.ErrMarker},
		{"513 entries", 1, func(d *draft) { d.names(make([]ledger.UserBlockRef, 513)...) }, ledger.ErrMarker},
		// "at most one such marker a tick"
		{"two UserBlockEntries in one tick", 1, func(d *draft) { d.names(userRef(now-1, 0)).votes(voteOf(0)).names(userRef(now-1, 1)) }, validator.ErrMarkers},
		{"two UserBlockEntries in two ticks", 0, func(d *draft) { d.names(userRef(now-1, 0)).ticks(1).names(userRef(now-1, 1)) }, nil},
		// "Kind 2 ExecutionReceipt: […] at most one a block"
		{"two receipts", 1, func(d *draft) {
			d.receipt(w.genesis.BlockRef, ledger.Hash{}).ticks(2).receipt(w.genesis.BlockRef, ledger.Hash{})
		}, validator.ErrMarkers},
		{"half a receipt", 1, func(d *draft) { d.marker(marker(ledger.KindExecutionReceipt, make([]byte, 71))) }, ledger.ErrMarker},

		// "An entry for v in sec(w) is legal iff 1 ≤ w − v ≤ W + k and w − v ≤ 16"
		{"an entry before its UserBlockSlot has passed", 31, func(d *draft) { d.names(userRef(now, 0)) }, validator.ErrTooEarly},
		{"as soon as it has passed", 32, func(d *draft) { d.names(userRef(now, 0)) }, nil},
		{"an entry of the future", 1, func(d *draft) { d.names(userRef(1<<40, 0)) }, validator.ErrTooEarly},
		{"within the window", 31, func(d *draft) { d.names(userRef(now-1, 0)) }, nil},
		{"after the window", 32, func(d *draft) { d.names(userRef(now-1, 0)) }, validator.ErrTooLate},
		{"long after the window", 0, func(d *draft) { d.names(userRef(0, 0)) }, validator.ErrTooLate},
		// "At most one entry per (v, lane) on a fork."
		{"twice in a marker", 1, func(d *draft) { d.names(userRef(now-1, 0), userRef(now-1, 0)) }, validator.ErrTwice},
		{"two ids of one lane", 1, func(d *draft) {
			d.names(userRef(now-1, 0), ledger.UserBlockRef{U: now - 1, Lane: 0, ID: ledger.Hash{1}})
		}, validator.ErrTwice},
		{"twice in a block", 1, func(d *draft) { d.names(userRef(now-1, 0)).ticks(1).names(userRef(now-1, 0)) }, validator.ErrTwice},
		{"one lane in two UserBlockSlots", 1, func(d *draft) { d.names(userRef(now-1, 0)).ticks(31).names(userRef(now, 0)) }, nil},
		{"a lane above N", 1, func(d *draft) { d.names(userRef(now-1, 4)) }, validator.ErrLane},

		// Section 1: "Votes and markers stand only in a block's own 64 ticks";
		// FORMATS section 1 on the ticks themselves.
		{"a record behind the last tick", 64, func(d *draft) { d.votes(voteOf(0)) }, validator.ErrTrailing},
		{"a marker behind the last tick", 64, func(d *draft) { d.names(userRef(now, 0)) }, validator.ErrTrailing},
		{"a tick of 99 hashes", 1, func(d *draft) {
			e := ledger.Entry{NumHashes: 99}
			d.component(ledger.Component{Entries: []ledger.Entry{e}})
		}, poh.ErrInvalidTickHashCount},
		{"a record in the last hash of a tick", 1, func(d *draft) {
			d.chain.Advance(99)
			e := ledger.Entry{NumHashes: 100, Transactions: []ledger.Transaction{voteOf(0)}}
			d.component(ledger.Component{Entries: []ledger.Entry{e}})
		}, poh.ErrInvalidTickHashCount},
		{"an entry with a wrong hash", 1, func(d *draft) {
			e := ledger.Entry{NumHashes: 1, Transactions: []ledger.Transaction{voteOf(0)}}
			d.component(ledger.Component{Entries: []ledger.Entry{e}})
		}, poh.ErrInvalidEntryHash},
	}
	for _, c := range cases {
		t.Run(c.rule, func(t *testing.T) {
			// The records end the first batches or stand in the only one.
			for _, split := range []bool{false, true} {
				d := w.draft(slot, parent).ticks(c.ticks)
				if c.make != nil {
					c.make(d)
				}
				if split && len(d.batch) > 0 {
					d.flush(false)
				}
				d.ticks(ledger.TicksPerSlot - d.closed)
				if len(d.batch) > 0 || len(d.sets) == 0 {
					d.flush(true)
				}
				b, err := d.check()
				if !errors.Is(err, c.err) {
					t.Fatalf("split %t: got %v, want %v", split, err, c.err)
				}
				if err == nil && (b.Parent != parent || b.Height != 5 || b.Slot != slot || b.ID != d.shredder.Root() || b.LastPoH != d.chain.Hash()) {
					t.Errorf("split %t: block %+v", split, b)
				}
			}
		})
	}
}

// TestTicks: FORMATS section 1, "Slot validity", and PROTOCOL section 5, "A
// Solana entry stream of 64 ticks".
func TestTicks(t *testing.T) {
	w := newWorld(t, 1)
	vote := w.vote(0, w.genesis.BlockRef, 0, ledger.Hash{})
	for _, c := range []struct {
		rule string
		slot ledger.Slot
		make func(*draft)
		err  error
	}{
		{"64 ticks", 1, func(d *draft) { d.ticks(64) }, nil},
		{"63 ticks", 1, func(d *draft) { d.ticks(63) }, validator.ErrTicks},
		{"65 ticks", 1, func(d *draft) { d.ticks(65) }, validator.ErrTrailing},
		{"65 ticks in two batches", 1, func(d *draft) { d.ticks(64).flush(false).ticks(1) }, validator.ErrTrailing},
		{"63 ticks and a record", 1, func(d *draft) { d.ticks(63).votes(vote) }, validator.ErrTicks},
		{"64 ticks and a record", 1, func(d *draft) { d.ticks(64).votes(vote) }, validator.ErrTrailing},
		// "the ticks of skipped slots come before"
		{"two slots skipped", 3, func(d *draft) { d.ticks(192) }, nil},
		{"two slots skipped, one counted", 3, func(d *draft) { d.ticks(128) }, validator.ErrTicks},
		{"none skipped, but counted", 1, func(d *draft) { d.ticks(128) }, validator.ErrTrailing},
		// Section 1: "ticks of skipped slots before them are bare"
		{"a vote in the first tick of a skipped slot", 2, func(d *draft) { d.votes(vote).ticks(128) }, validator.ErrSkippedTicks},
		{"a marker in the last tick of a skipped slot", 2, func(d *draft) { d.ticks(63).names(userRef(3, 0)).ticks(65) }, validator.ErrSkippedTicks},
		{"a receipt in a skipped slot", 3, func(d *draft) { d.ticks(127).receipt(w.genesis.BlockRef, ledger.Hash{}).ticks(65) }, validator.ErrSkippedTicks},
		{"a vote in the first own tick", 3, func(d *draft) { d.ticks(128).votes(vote).ticks(64) }, nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			d := w.draft(c.slot, w.genesis)
			c.make(d)
			if _, err := d.flush(true).check(); !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
		})
	}
}

// TestSections: PROTOCOL section 1, "one preceded by i of the 64 is in
// sec(2s + ⌊i/32⌋)", whether slots before were skipped or not.
func TestSections(t *testing.T) {
	w := newWorld(t, 1)
	for _, slot := range []ledger.Slot{1, 2, 4} {
		for i := range ledger.TicksPerSlot {
			want := 2*ledger.UserSlot(slot) + ledger.UserSlot(i/32)
			b, err := w.block(slot, w.genesis, i, func(d *draft) { d.names(userRef(want-1, 2)) })
			if err != nil {
				t.Fatalf("slot %d, behind tick %d: %v", slot, i, err)
			}
			if len(b.Named) != 1 || b.Named[0] != (validator.Named{Ref: userRef(want-1, 2), Section: want}) {
				t.Errorf("slot %d, behind tick %d: %v", slot, i, b.Named)
			}
		}
	}
}

// TestVotesCountOnTheFork: "A vote counts on a fork iff […] Other votes stand
// without effect on the fork"; its own rules are consensus'.
func TestVotesCountOnTheFork(t *testing.T) {
	w := newWorld(t, 400, 300, 200)
	parent := w.grow(w.genesis, 3)
	b, err := w.block(4, parent, 5, func(d *draft) {
		d.votes(w.vote(0, parent.BlockRef, 2, ledger.Hash{1}),
			w.vote(1, parent.BlockRef, 1, ledger.Hash{2}),
			w.vote(2, ledger.BlockRef{Slot: 3, ID: ledger.Hash{3}}, 2, ledger.Hash{}))
	})
	if err != nil {
		t.Fatal(err)
	}
	voter := func(i int) int {
		n, ok := w.stakes.Voter(pub(testKey("vote", i)))
		if !ok {
			t.Fatal("no stake")
		}
		return n
	}
	for i, want := range []ledger.Slot{3, 3, 0} {
		if got, _ := b.Ballots.State(voter(i)).Last(); got != want {
			t.Errorf("last vote of %d: %d, want %d", i, got, want)
		}
	}
	if !b.Descends(parent.BlockRef) || !b.Lineage.Has(parent.BlockRef) || b.Lineage.Block(0) != b.BlockRef {
		t.Error("the block's lineage is not its parent's, extended")
	}
	// Section 9: e(b) = 1, "votes in b included"; blocks 2, 3 and 4 follow it.
	if b.Ballots.Executed() != 1 || b.Lag != 3 {
		t.Errorf("executed %d, lag %d", b.Ballots.Executed(), b.Lag)
	}
}

// TestReceipt: "An ExecutionReceipt makes the block invalid if it differs from
// the value that accounts with > 2/3 of the stake of the block's epoch
// reported in votes counted on this fork up to and including its parent".
// SIMD-0023 "BankHash": each validator "will be able to verify the BankHash
// values created by block producers".
func TestReceipt(t *testing.T) {
	w := newWorld(t, 2, 2, 2)
	value, other := ledger.Hash{1}, ledger.Hash{2}
	one := w.grow(w.genesis, 1)
	two := w.grow(one, 1)
	report := func(parent *validator.Block, votes ...ledger.Transaction) *validator.Block {
		t.Helper()
		b, err := w.block(parent.Slot+1, parent, 3, func(d *draft) { d.votes(votes...) })
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	vote := func(voter int, h ledger.Hash) ledger.Transaction { return w.vote(voter, two.BlockRef, 1, h) }
	exactly := report(two, vote(0, value), vote(1, value)) // 2/3, not more
	all := report(exactly, vote(2, value))
	foreign := ledger.BlockRef{Slot: 1, ID: ledger.Hash{9}}
	split := report(report(two, vote(0, value), vote(1, other)), vote(2, value))
	for _, c := range []struct {
		rule   string
		parent *validator.Block
		block  ledger.BlockRef
		hash   ledger.Hash
		err    error
	}{
		{"nobody has reported: information", two, one.BlockRef, other, nil},
		{"two thirds are not more than two thirds", exactly, one.BlockRef, other, nil},
		{"the reported value", all, one.BlockRef, value, nil},
		{"another value", all, one.BlockRef, other, validator.ErrReceipt},
		{"another value, grandchildren later", w.grow(all, 3), one.BlockRef, other, validator.ErrReceipt},
		{"of a block that is not this fork's", all, foreign, other, nil},
		{"of a block without reports", all, two.BlockRef, other, nil},
		{"two values", split, one.BlockRef, ledger.Hash{3}, nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			_, err := w.block(c.parent.Slot+1, c.parent, 0, func(d *draft) { d.receipt(c.block, c.hash) })
			if !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
		})
	}
	for _, c := range []struct {
		rule    string
		restart cluster.Restart
		err     error
	}{
		{"reported before a restart from an older block", cluster.Restart{First: all.Slot + 1}, nil},
		{"reported before the restart, of its block", cluster.Restart{Block: one.BlockRef, First: all.Slot + 1}, validator.ErrReceipt},
		{"a block from before the restart", cluster.Restart{First: all.Slot + 2}, validator.ErrReceipt},
		{"since the restart", cluster.Restart{First: one.Slot}, validator.ErrReceipt},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w.rules.Restarts = []*cluster.Restart{&c.restart}
			defer func() { w.rules.Restarts = nil }()
			_, err := w.block(all.Slot+1, all, 0, func(d *draft) { d.receipt(one.BlockRef, other) })
			if !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
		})
	}
	t.Run("votes of the block itself do not count", func(t *testing.T) {
		_, err := w.block(exactly.Slot+1, exactly, 0, func(d *draft) {
			d.votes(vote(2, value)).receipt(one.BlockRef, other)
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestEntriesTwiceOnAFork: "At most one entry per (v, lane) on a fork", also
// when the window is wide.
func TestEntriesTwiceOnAFork(t *testing.T) {
	w := newWorld(t, 1)
	ref := userRef(3, 1) // second half of slot 1
	one := w.grow(w.genesis, 1)
	named, err := w.block(2, one, 0, func(d *draft) { d.names(ref) })
	if err != nil {
		t.Fatal(err)
	}
	if !named.Names(3, 1) || named.Names(3, 0) || named.Names(2, 1) || one.Names(3, 1) {
		t.Error("Names does not tell what the block named")
	}
	w.params.InclusionWindow = 6
	for _, parent := range []*validator.Block{named, w.grow(named, 1)} {
		slot := parent.Slot + 1
		if _, err := w.block(slot, parent, 0, func(d *draft) { d.names(ref) }); !errors.Is(err, validator.ErrTwice) {
			t.Errorf("slot %d: got %v", slot, err)
		}
		if _, err := w.block(slot, parent, 0, func(d *draft) { d.names(userRef(3, 0)) }); err != nil {
			t.Errorf("slot %d: another lane: %v", slot, err)
		}
	}
	// On another fork it was not named.
	if _, err := w.block(3, one, 0, func(d *draft) { d.names(ref) }); err != nil {
		t.Error(err)
	}
}

// TestLagStopsEntries: PROTOCOL section 9, "A block whose parent has Λ ≥
// lag_zero names no UserBlock: votes only, until execution has caught up."
func TestLagStopsEntries(t *testing.T) {
	w := newWorld(t, 2, 1, 1)
	w.params.LagFull, w.params.LagZero = 2, 4
	parent := w.grow(w.genesis, 3)
	for want := 3; want <= 5; want++ {
		if parent.Lag != want {
			t.Fatalf("lag of slot %d: %d, want %d", parent.Slot, parent.Lag, want)
		}
		slot := parent.Slot + 1
		_, err := w.block(slot, parent, 0, func(d *draft) { d.names(userRef(slot.FirstUserSlot()-1, 0)) })
		if got := errors.Is(err, validator.ErrLag); got != (want >= 4) || !got && err != nil {
			t.Errorf("parent's lag %d: %v", want, err)
		}
		parent = w.grow(parent, 1)
	}
	// Hash values play no part: three different reports, and it goes on.
	voted := parent.Parent.BlockRef
	caught, err := w.block(parent.Slot+1, parent, 0, func(d *draft) {
		for i := range 3 {
			d.votes(w.vote(i, voted, voted.Slot, ledger.Hash{byte(i)}))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slot := caught.Slot + 1
	if _, err := w.block(slot, caught, 0, func(d *draft) { d.names(userRef(slot.FirstUserSlot()-1, 0)) }); err != nil {
		t.Errorf("lag %d: %v", caught.Lag, err)
	}
}

// TestSetsMax: "more than 128 FEC sets make the block invalid".
func TestSetsMax(t *testing.T) {
	w := newWorld(t, 1)
	w.params.HashesPerTick = 0
	for _, n := range []int{128, 129} {
		d := w.draft(1, w.genesis)
		for i := range 64 { // two sets a tick: an entry and the tick
			d.votes(w.vote(0, ledger.BlockRef{Slot: ledger.Slot(100 + i)}, 0, ledger.Hash{})).flush(false)
			if i == 63 && n == 129 {
				d.votes(w.vote(0, ledger.BlockRef{Slot: 200}, 0, ledger.Hash{})).flush(false)
			}
			d.ticks(1).flush(i == 63)
		}
		if len(d.sets) != n {
			t.Fatalf("%d sets, want %d", len(d.sets), n)
		}
		_, err := d.check()
		if n == 128 && err != nil || n == 129 && !errors.Is(err, validator.ErrTooManySets) {
			t.Errorf("%d sets: %v", n, err)
		}
	}
}

// TestSetsOfABlock: what Progress asks of the sets themselves.
func TestSetsOfABlock(t *testing.T) {
	w := newWorld(t, 1)
	one := w.grow(w.genesis, 1)
	good := func() *draft { return w.draft(2, one).ticks(30).flush(false).ticks(34).flush(true) }
	tampered := func(i int, change func(*shred.Set)) *draft {
		d := good()
		set := *d.sets[i]
		change(&set)
		d.sets[i] = &set
		return d
	}
	for _, c := range []struct {
		rule string
		d    *draft
		err  error
	}{
		{"two sets", good(), nil},
		{"the first names another parent", tampered(0, func(s *shred.Set) { s.ParentOffset = 2 }), validator.ErrParentOffset},
		{"the second names another parent", tampered(1, func(s *shred.Set) { s.ParentOffset = 2 }), validator.ErrParentOffset},
		{"the last batch is open", tampered(1, func(s *shred.Set) { s.Complete, s.Last = false, false }), validator.ErrBatch},
		{"the second continues the batch of the first", tampered(0, func(s *shred.Set) { s.Complete = false }), nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if _, err := c.d.check(); !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
		})
	}
	t.Run("the last set is missing", func(t *testing.T) {
		d := good()
		d.sets = d.sets[:1]
		if _, err := d.check(); !errors.Is(err, validator.ErrTicks) {
			t.Fatal(err)
		}
	})
}

// TestProgressIsImmutable: two blocks of one slot share their first sets
// (equivocation); what one goes on with must not show in the other, nor in
// what both began with.
func TestProgressIsImmutable(t *testing.T) {
	w := newWorld(t, 5, 4, 3, 2, 1)
	parent := w.grow(w.genesis, 1)
	vote := func(i int) ledger.Transaction { return w.vote(i, parent.BlockRef, 0, ledger.Hash{}) }
	next := func(p validator.Progress, sets ...*shred.Set) validator.Progress {
		t.Helper()
		for _, s := range sets {
			var err error
			if p, err = p.Next(s); err != nil {
				t.Fatal(err)
			}
		}
		return p
	}
	trunk := w.draft(2, parent)
	trunk.votes(vote(0)).names(userRef(3, 0)).ticks(1).flush(false)
	trunk.votes(vote(1)).names(userRef(3, 1)).ticks(1).flush(false)
	// With three entries a slice has room for a fourth.
	trunk.ticks(30).names(userRef(4, 0)).ticks(1).flush(false)
	// Each branch is a batch of two sets, so that the open one is shared, too.
	branch := func(voter int, lane ledger.Lane) *draft {
		d := trunk.clone()
		d.sets = nil
		d.votes(vote(voter)).names(userRef(4, lane)).ticks(1).flush(false)
		return d.ticks(30).flush(true)
	}
	begun := next(validator.Begin(w.rules, 2, parent), trunk.sets...)
	a, b := branch(2, 2), branch(3, 3)
	pa := next(begun, a.sets[0])
	pb := next(begun, b.sets[0])
	if len(begun.Votes()) != 2 || len(begun.Roots()) != 3 {
		t.Fatalf("what both began with has %d votes and %d sets", len(begun.Votes()), len(begun.Roots()))
	}
	for _, c := range []struct {
		name  string
		p     validator.Progress
		d     *draft
		voter int
		lane  ledger.Lane
	}{{"first", pa, a, 2, 2}, {"second", pb, b, 3, 3}} {
		if len(c.p.Fresh) != 1 || c.p.Fresh[0].Ref != userRef(4, c.lane) || len(c.p.FreshVotes) != 1 || c.p.Verified != 3 {
			t.Errorf("%s: fresh %v", c.name, c.p.Fresh)
		}
		p := next(c.p, c.d.sets[1:]...)
		block, err := p.Finish()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if len(block.Named) != 4 || block.Named[3].Ref != userRef(4, c.lane) || block.Named[1].Ref != userRef(3, 1) {
			t.Errorf("%s: named %v", c.name, block.Named)
		}
		votes := p.Votes()
		if len(votes) != 3 || votes[2].Vote.Account != pub(testKey("vote", c.voter)) {
			t.Errorf("%s: %d votes, the last of %v", c.name, len(votes), votes[len(votes)-1].Vote.Account)
		}
		if block.ID != c.d.shredder.Root() || p.Roots()[0] != trunk.sets[0].Root {
			t.Errorf("%s: roots %v", c.name, p.Roots())
		}
	}
}

// TestOpenBatchIsNotShared continues one open batch in two ways.
func TestOpenBatchIsNotShared(t *testing.T) {
	w := newWorld(t, 1)
	d := w.draft(1, w.genesis).ticks(64).flush(true)
	payload := d.sets[0].Payload
	set := func(name string, part []byte, complete bool) *shred.Set {
		return &shred.Set{Root: testHash(name, 0), ParentOffset: 1, Payload: part, Complete: complete}
	}
	bad := bytes.Clone(payload)
	bad[len(bad)-1] ^= 1
	begun, err := validator.Begin(w.rules, 1, w.genesis).Next(set("first", payload[:100], false))
	if err != nil {
		t.Fatal(err)
	}
	right, err := begun.Next(set("right", payload[100:200], false))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := begun.Next(set("wrong", bad[100:200:len(bad)], false)); err != nil {
		t.Fatal(err)
	}
	if _, err := begun.Next(set("bad", bad[100:], true)); !errors.Is(err, poh.ErrInvalidTickHashCount) && !errors.Is(err, validator.ErrBatch) {
		t.Fatalf("a changed end: %v", err)
	}
	right, err = right.Next(set("end", payload[200:], true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := right.Finish(); err != nil {
		t.Fatal(err)
	}
}

// TestEpochStopsEntries: PROTOCOL section 10, "If at the middle of E (≥ 1) not
// > 2/3 of stake has rep ≥ that block", the last one of E−1, "blocks name no
// UserBlock until it has".
func TestEpochStopsEntries(t *testing.T) {
	w := newWorld(t, 1, 1, 1)
	w.params.SlotsPerEpoch, w.params.LagFull, w.params.LagZero = 32, 4, 8
	block := func(slot ledger.Slot, parent *validator.Block, reports *validator.Block) *validator.Block {
		t.Helper()
		b, err := w.block(slot, parent, 0, func(d *draft) {
			for i := range 3 {
				if reports != nil {
					d.votes(w.vote(i, parent.BlockRef, reports.Slot, ledger.Hash{}))
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	names := func(slot ledger.Slot, parent *validator.Block, want error) {
		t.Helper()
		_, err := w.block(slot, parent, 0, func(d *draft) { d.names(userRef(slot.FirstUserSlot()-1, 0)) })
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("slot %d on %d, whose lag is %d: %v, want %v", slot, parent.Slot, parent.Lag, err, want)
		}
	}
	early := block(13, w.genesis, nil) // nobody has executed anything
	names(16, early, nil)              // epoch 0 waits for nothing
	before := block(29, early, early)
	last := block(31, before, before)
	first := block(33, last, before)
	names(47, first, nil)
	names(48, first, validator.ErrEpoch)
	other := block(50, first, before)
	names(51, other, validator.ErrEpoch)
	caught := block(51, other, last)
	names(52, caught, nil)
	names(79, caught, nil)
	names(80, caught, validator.ErrEpoch) // of epoch 1, blocks 33 to 51 are not reported
}
