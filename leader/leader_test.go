package leader_test

import (
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/internal/testkit"
	"tutti/leader"
	"tutti/ledger"
	"tutti/shred"
	"tutti/validator"
)

func testKey(kind string, i int) ed25519.PrivateKey {
	seed := ledger.Sum([]byte(kind), binary.LittleEndian.AppendUint64(nil, uint64(i)))
	return ed25519.NewKeyFromSeed(seed[:])
}

func pub(k ed25519.PrivateKey) ledger.Pubkey { return ledger.Pubkey(k.Public().(ed25519.PublicKey)) }

func testHash(kind string, i int) ledger.Hash {
	return ledger.Sum([]byte(kind), binary.LittleEndian.AppendUint64(nil, uint64(i)))
}

// world is a cluster, and what its validators check blocks against.
type world struct {
	t       testing.TB
	params  cluster.Params
	rules   *validator.Rules
	genesis *validator.Block
}

const voters = 4

func newWorld(t testing.TB, hashesPerTick uint64) *world {
	t.Helper()
	w := &world{t: t, params: cluster.LocalParams(4)}
	w.params.HashesPerTick = hashesPerTick
	var items []cluster.Staked
	for i := range voters {
		items = append(items, cluster.Staked{
			Identity: pub(testKey("identity", i)), VoteAccount: pub(testKey("vote", i)),
			Authority: pub(testKey("identity", i)), Stake: 1,
		})
	}
	balance := func(ledger.Pubkey) ledger.Lamports { return w.params.ProposerBond }
	stakes := consensus.NewStakes(cluster.NewEpochStakes(0, items, balance, w.params.ProposerBond))
	w.rules = &validator.Rules{
		Params: &w.params,
		Stakes: func(ledger.Slot) *consensus.Stakes { return stakes },
		Signed: func(tx *ledger.Transaction) bool { return w.params.SignatureRule.VerifyTransaction(tx) },
	}
	hash := testHash("genesis", 0)
	ref := ledger.BlockRef{ID: hash}
	w.genesis = &validator.Block{
		BlockRef: ref, LastPoH: hash,
		Lineage: consensus.NewLineage(ref), Ballots: consensus.NewBallots(stakes),
	}
	return w
}

func (w *world) vote(voter int, block ledger.BlockRef) ledger.Transaction {
	w.t.Helper()
	authority := testKey("identity", voter)
	v := ledger.Vote{
		Account: pub(testKey("vote", voter)), Authority: pub(authority), Block: block,
		Lockouts: []ledger.Lockout{{Slot: block.Slot, Confirmations: 1}},
	}
	m := v.Message(block.ID)
	tx, err := ledger.ParseTransaction(ledger.Sign(m.Append(nil), authority))
	if err != nil {
		w.t.Fatal(err)
	}
	return tx
}

func (w *world) builder(slot ledger.Slot, parent *validator.Block) *leader.Builder {
	return leader.NewBuilder(leader.Config{
		Slot: slot, Parent: parent.BlockRef, ParentPoH: parent.LastPoH,
		Signer: testKey("identity", 0), ShredVersion: 9, Params: &w.params,
	})
}

func closeTick(t testing.TB, b *leader.Builder, named bool) []*shred.Set {
	t.Helper()
	sets, err := b.CloseTick(named)
	if err != nil {
		t.Fatal(err)
	}
	return sets
}

// recorder makes random records, and remembers them.
type recorder struct {
	w      *world
	rng    *rand.Rand
	parent *validator.Block
	names  []validator.Named
	votes  []ledger.Transaction
	// next is the ancestor for which each voter's next vote is.
	next [voters]*validator.Block
}

// record adds to the current tick what fits and what is legal.
func (r *recorder) record(b *leader.Builder) {
	for range r.rng.IntN(4) {
		if !b.Room() {
			return
		}
		switch r.rng.IntN(4) {
		case 0, 1:
			var txs []ledger.Transaction
			for i, block := range r.next {
				if block != nil && r.rng.IntN(8) == 0 {
					txs = append(txs, r.w.vote(i, block.BlockRef))
					r.next[i] = block.Parent
				}
			}
			if len(txs) > 0 {
				b.RecordVotes(txs)
				r.votes = append(r.votes, txs...)
			}
		case 2:
			if b.CanName() {
				r.name(b)
			}
		case 3:
			b.RecordReceipt(ledger.ExecutionReceipt{Block: r.parent.BlockRef})
		}
	}
}

func (r *recorder) name(b *leader.Builder) {
	w := b.Section()
	var refs []ledger.UserBlockRef
	for v := max(w, 16) - 16; v < w; v++ {
		for lane := range ledger.Lane(4) {
			twice := slices.ContainsFunc(r.names, func(n validator.Named) bool { return n.Ref.U == v && n.Ref.Lane == lane })
			if twice || r.rng.IntN(4) != 0 || r.parent.Names(v, lane) || validator.Window(&r.w.params, r.parent, v, w) != nil {
				continue
			}
			ref := ledger.UserBlockRef{U: v, Lane: lane, ID: testHash("userblock", r.rng.Int())}
			refs = append(refs, ref)
			r.names = append(r.names, validator.Named{Ref: ref, Section: w})
		}
	}
	if len(refs) > 0 {
		b.RecordUserBlocks(refs)
	}
}

// TestValidAtRandom: whatever is recorded, the block is accepted by the rules
// of PROTOCOL section 5, set by set as it is made and all at once, and says
// what was recorded. SIMD-0023 "Overview": "While a leader is scheduled, they
// receive and encode votes as normal."
func TestValidAtRandom(t *testing.T) {
	rng := testkit.Rand(t)
	for _, hashes := range []uint64{100, 2, 0} {
		w := newWorld(t, hashes)
		parent := w.genesis
		for range 12 {
			parent = w.checkRandom(rng, parent, parent.Slot+1+ledger.Slot(rng.IntN(3)))
		}
	}
}

// checkRandom makes a block and returns what the validator makes of it.
func (w *world) checkRandom(rng *rand.Rand, parent *validator.Block, slot ledger.Slot) *validator.Block {
	t := w.t
	t.Helper()
	b := w.builder(slot, parent)
	r := &recorder{w: w, rng: rng, parent: parent}
	for i := range r.next {
		r.next[i] = parent
	}
	if b.Slot() != slot || b.Ticks() != 0 || b.Done() {
		t.Fatalf("a new builder for slot %d at tick %d", b.Slot(), b.Ticks())
	}
	begun := validator.Begin(w.rules, slot, parent)
	progress := begun
	var all []*shred.Set
	var fresh []validator.Named
	for !b.Done() {
		if want := slot.FirstUserSlot() + ledger.UserSlot(b.Ticks()/32); b.Section() != want {
			t.Fatalf("section %d at tick %d, want %d", b.Section(), b.Ticks(), want)
		}
		r.record(b)
		for _, set := range closeTick(t, b, rng.IntN(2) == 0) {
			if set.Last && !b.Done() {
				t.Fatalf("a last set at tick %d", b.Ticks())
			}
			chained := parent.ID
			if len(all) > 0 {
				chained = all[len(all)-1].Root
			}
			if set.Key != slot.Key() || set.Chained != chained || int(set.Index) != len(all)*shred.SetData ||
				set.Version != 9 || ledger.Slot(set.ParentOffset) != slot-parent.Slot {
				t.Fatalf("set %d: key %v, chained %v, parent offset %d", len(all), set.Key, set.Chained, set.ParentOffset)
			}
			all = append(all, set)
			var err error
			if progress, err = progress.Next(set); err != nil {
				t.Fatalf("slot %d on %d, set %d: %v", slot, parent.Slot, len(all), err)
			}
			fresh = append(fresh, progress.Fresh...)
		}
	}
	block, err := progress.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(block.Named, r.names) || !slices.Equal(fresh, r.names) {
		t.Fatalf("named %v, recorded %v", block.Named, r.names)
	}
	votes := progress.Votes()
	if len(votes) != len(r.votes) {
		t.Fatalf("%d votes, recorded %d", len(votes), len(r.votes))
	}
	for i := range votes {
		if !slices.Equal(votes[i].Tx.Raw(), r.votes[i].Raw()) {
			t.Fatalf("vote %d is another one than was recorded", i)
		}
	}
	again := begun
	for _, set := range all {
		if again, err = again.Next(set); err != nil {
			t.Fatal(err)
		}
	}
	twin, err := again.Finish()
	if err != nil || twin.BlockRef != block.BlockRef || twin.LastPoH != block.LastPoH {
		t.Fatalf("at once: %v, %v", twin, err)
	}
	if last := all[len(all)-1]; !last.Last || block.ID != last.Root {
		t.Fatalf("the last set, %v, does not give the id %v", last.Root, block.ID)
	}
	return block
}

// TestSkippedSlots: "the ticks of skipped slots come before", as bare ticks.
func TestSkippedSlots(t *testing.T) {
	w := newWorld(t, 100)
	for skipped := range 5 {
		slot := ledger.Slot(1 + skipped)
		b := w.builder(slot, w.genesis)
		b.RecordVotes([]ledger.Transaction{w.vote(0, w.genesis.BlockRef)})
		var payload []byte
		for !b.Done() {
			for _, set := range closeTick(t, b, true) {
				payload = append(payload, set.Payload...)
			}
		}
		components, err := ledger.ParseBatch(payload)
		if err != nil {
			t.Fatal(err)
		}
		ticks, before := 0, -1
		for _, c := range components {
			for i := range c.Entries {
				if len(c.Entries[i].Transactions) == 0 {
					ticks++
				} else if before < 0 {
					before = ticks
				}
			}
		}
		if ticks != 64*(skipped+1) || before != 64*skipped {
			t.Errorf("%d slots skipped: %d ticks, %d before the first record", skipped, ticks, before)
		}
	}
}

// TestSkipMax: a block SkipMax slots above its parent is no longer than it may be,
// whatever is named when, and with as many votes as it has room for; one that is
// full of records may lie PauseMax above it.
func TestSkipMax(t *testing.T) {
	rng := testkit.Rand(t)
	w := newWorld(t, 4)
	vote := w.vote(0, w.genesis.BlockRef)
	for _, c := range []struct {
		name  string
		named bool
		every int // so many ticks UserBlocks are named
		votes int // so many come in each tick
	}{
		{"nothing", false, ledger.TicksPerSlot + 1, 0},
		{"some now and then", false, 6, 0},
		{"some in every tick, and more could come", false, 1, 0},
		{"some in every tick, as if they were the last", true, 1, 0},
		{"votes", false, ledger.TicksPerSlot + 1, 20},
		{"all votes at once", true, ledger.TicksPerSlot + 1, 10_000},
		{"votes and UserBlocks in every tick", true, 1, 10},
		{"all votes at once, and UserBlocks", true, 1, 10_000},
		{"all votes at once, and UserBlocks, and more could come", false, 1, 10_000},
	} {
		b, sets, votes := w.builder(leader.SkipMax, w.genesis), 0, 0
		for lane := ledger.Lane(0); !b.Done(); lane++ {
			if (b.Ticks()+1)%c.every == 0 {
				b.RecordUserBlocks(slices.Repeat([]ledger.UserBlockRef{{U: b.Section() - 1, Lane: lane}}, 512/ledger.TicksPerSlot))
			}
			room := b.VoteBytes() / len(vote.Raw())
			if n := min(c.votes, room); n > 0 {
				b.RecordVotes(slices.Repeat([]ledger.Transaction{vote}, n))
				votes += n
			}
			made := len(closeTick(t, b, c.named))
			if sets += made; made > 0 && sets == made && b.Ticks() > 21 {
				t.Errorf("%s: the first sets leave after tick %d", c.name, b.Ticks())
			}
		}
		if sets > ledger.LeaderSetsMax {
			t.Errorf("%s: %d slots above its parent a block has %d sets", c.name, leader.SkipMax, sets)
		}
		if want := min(c.votes*ledger.TicksPerSlot, 150); votes < want {
			t.Errorf("%s: %d votes are recorded, want %d", c.name, votes, want)
		}
	}
	w.checkRandom(rng, w.genesis, leader.PauseMax)
}

// TestFlush: when a set is made. A marker waits a few ticks for company
// unless all that can be expected is named; votes wait longer.
func TestFlush(t *testing.T) {
	w := newWorld(t, 100)
	ref := func(u ledger.UserSlot, lane ledger.Lane) ledger.UserBlockRef {
		return ledger.UserBlockRef{U: u, Lane: lane, ID: testHash("userblock", int(u)<<8|int(lane))}
	}
	for _, c := range []struct {
		name    string
		markers []int // ticks behind which UserBlocks are named
		named   int   // tick from which on all are
		want    []int // ticks closed when sets come out
	}{
		{"nothing", nil, 0, []int{16, 32, 48, 64}},
		{"all are named at once", []int{0}, 0, []int{1, 17, 33, 49, 64}},
		{"all are named in the second tick", []int{0, 1}, 1, []int{2, 18, 34, 50, 64}},
		{"nothing is named and something could be", nil, 64, []int{21, 42, 64}},
		{"more could come", []int{4}, 64, []int{9, 30, 51, 64}},
		{"more comes, and could", []int{4, 6}, 64, []int{11, 32, 53, 64}},
		{"the last of a section as votes would go", []int{0, 3, 32, 36}, 36, []int{8, 29, 37, 53, 64}},
		{"both sections", []int{0, 32}, 0, []int{1, 17, 33, 49, 64}},
		{"in the last tick", []int{63}, 0, []int{16, 32, 48, 64}},
		{"in every tick", []int{0, 1, 2, 3}, 0, []int{1, 2, 3, 4, 20, 36, 52, 64}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := w.builder(1, w.genesis)
			var got []int
			for lane := ledger.Lane(0); !b.Done(); {
				if slices.Contains(c.markers, b.Ticks()) {
					if !b.CanName() {
						t.Fatal("may not name")
					}
					b.RecordUserBlocks([]ledger.UserBlockRef{ref(b.Section()-1, lane)})
					lane++
					if b.CanName() {
						t.Error("may name twice in a tick")
					}
				}
				if sets := closeTick(t, b, b.Ticks() >= c.named); len(sets) > 0 {
					got = append(got, b.Ticks())
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("sets after ticks %v, want %v", got, c.want)
			}
		})
	}
}

// TestRoom: the last hash of a tick is the tick's own, and a receipt is
// recorded once a block.
func TestRoom(t *testing.T) {
	w := newWorld(t, 3)
	b := w.builder(1, w.genesis)
	receipt := ledger.ExecutionReceipt{Block: w.genesis.BlockRef}
	if !b.Room() || !b.RecordReceipt(receipt) || b.RecordReceipt(receipt) {
		t.Error("a receipt is recorded once")
	}
	if !b.CanName() {
		t.Error("no room for a second record in a tick of three hashes")
	}
	b.RecordVotes([]ledger.Transaction{w.vote(0, w.genesis.BlockRef)})
	if b.Room() || b.CanName() || b.RecordReceipt(receipt) {
		t.Error("room where only the tick may stand")
	}
	closeTick(t, b, false)
	if !b.Room() || !b.CanName() || b.RecordReceipt(receipt) {
		t.Error("the next tick")
	}
}

// TestVoteBytes: what is recorded is no longer there for votes.
func TestVoteBytes(t *testing.T) {
	w := newWorld(t, 100)
	b := w.builder(1, w.genesis)
	vote := w.vote(0, w.genesis.BlockRef)
	before := b.VoteBytes()
	b.RecordVotes([]ledger.Transaction{vote})
	if got := before - b.VoteBytes(); got != ledger.BatchHead+ledger.EntryHead+len(vote.Raw()) {
		t.Errorf("a vote of %d bytes takes %d", len(vote.Raw()), got)
	}
	before = b.VoteBytes()
	refs := make([]ledger.UserBlockRef, ledger.UserBlockEntriesMax)
	b.RecordUserBlocks(refs)
	if got, least := before-b.VoteBytes(), len(ledger.AppendUserBlockEntries(nil, refs)); got < least || got > least+100 {
		t.Errorf("a marker with %d bytes of names takes %d", least, got)
	}
}

// TestManyVotes: as many votes as a large cluster makes stay within the 128 FEC
// sets of a block, and in sets of their own size.
func TestManyVotes(t *testing.T) {
	w := newWorld(t, 100)
	b := w.builder(1, w.genesis)
	vote := w.vote(0, w.genesis.BlockRef)
	sets := 0
	for !b.Done() {
		b.RecordVotes(slices.Repeat([]ledger.Transaction{vote}, 100))
		sets += len(closeTick(t, b, true))
	}
	if want := 64*100*len(vote.Raw())/(shred.SetData*963) + 8; sets > want || want > ledger.LeaderSetsMax {
		t.Errorf("6400 votes in %d sets, want at most %d", sets, want)
	}
}

func BenchmarkBuilder(b *testing.B) {
	w := newWorld(b, 100)
	votes := []ledger.Transaction{w.vote(0, w.genesis.BlockRef), w.vote(1, w.genesis.BlockRef)}
	for b.Loop() {
		x := w.builder(1, w.genesis)
		for !x.Done() {
			x.RecordVotes(votes)
			closeTick(b, x, true)
		}
	}
}
