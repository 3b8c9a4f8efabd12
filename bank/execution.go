package bank

import (
	"bytes"
	"math/bits"
	"slices"

	"tutti/bank/program"
	"tutti/internal/planted"
	"tutti/ledger"
)

// slot is an account that a block touches. Its place among the others is
// found once per key; transactions know accounts by it.
type slot struct {
	key    ledger.Pubkey
	before *Account // nil: none
	now    Account  // program.Missing() if there is none
	// fixed accounts, builtins and sysvars, are never writable.
	fixed bool
	// staked accounts are identities with stake in the block's epoch.
	staked bool
	// written and read are the latest waves so far that lock the account.
	written, read int32
}

// job is one occurrence of a transaction in a block.
type job struct {
	tx     *ledger.UserTransaction
	source *Recorded
	// slots are those of the static keys; writable has bit i if key i may be
	// written. A well-formed transaction has no more than 64.
	slots    []int32
	writable uint64
	// message is the place of its message hash in execution.messages.
	message int32
	// nonce is the place of its nonce account in slots, −1 if it lives by a
	// blockhash.
	nonce int

	outcome  Outcome
	failure  *ledger.TransactionError
	base     ledger.Lamports
	priority ledger.Lamports
	units    uint64
}

// message is what is known of a message hash: whether a transaction with it
// was processed, and the slot of the block that did.
type message struct {
	processed bool
	slot      ledger.Slot
}

// execution is the state of a block that is being executed. Everything is
// known by number, so that parallel transactions share no map.
type execution struct {
	*Bank
	block  *Block
	parent *layer
	stakes *epochStakes // of the block's epoch

	slots    []slot
	slotOf   map[ledger.Pubkey]int32
	keys     []int32 // of all jobs, one after the other
	jobs     []job
	units    []unit // block is unused, first is an index in jobs
	messages []message

	nextNonce ledger.Hash
	burned    ledger.Lamports
}

func (b *Bank) newExecution(block *Block, parent *layer, stakes *epochStakes) *execution {
	return &execution{
		Bank: b, block: block, parent: parent, stakes: stakes,
		slotOf:    make(map[ledger.Pubkey]int32),
		nextNonce: program.NextNonce(parent.LastPoH),
	}
}

// slot returns the number of an account's slot, with the account loaded.
func (x *execution) slot(key ledger.Pubkey) int32 {
	i, ok := x.slotOf[key]
	if ok {
		return i
	}
	i = int32(len(x.slots))
	x.slotOf[key] = i
	s := slot{
		key: key, before: x.state.accounts[key], now: program.Missing(),
		fixed: program.Reserved(key), staked: x.stakes.nodes[key],
	}
	if s.before != nil {
		s.now = *s.before
	}
	x.slots = append(x.slots, s)
	return i
}

// account returns an account as the block has it so far. It is good until the
// next call of slot or account.
func (x *execution) account(key ledger.Pubkey) *Account { return &x.slots[x.slot(key)].now }

// load makes jobs and units of the block's transactions, in the order of
// their execution.
func (x *execution) load() {
	x.units = order(x.block.UserBlocks)
	n := 0
	for _, u := range x.units {
		n += int(u.count)
	}
	x.jobs = make([]job, 0, n)
	x.messages = make([]message, 0, n)
	messages := make(map[ledger.Hash]int32, n)
	for i := range x.units {
		u := &x.units[i]
		source := &x.block.UserBlocks[u.block]
		txs := source.Block.Transactions[u.first : u.first+u.count]
		u.first = int32(len(x.jobs))
		for t := range txs {
			x.jobs = append(x.jobs, x.newJob(&txs[t], source, messages))
		}
	}
}

func (x *execution) newJob(tx *ledger.UserTransaction, source *Recorded, messages map[ledger.Hash]int32) job {
	j := job{tx: tx, source: source, nonce: -1}
	first := len(x.keys)
	for i := range tx.NumKeys() {
		x.keys = append(x.keys, x.slot(tx.Key(i)))
	}
	j.slots = x.keys[first:len(x.keys):len(x.keys)]
	upgrades := false
	for i := range j.slots {
		key := x.slots[j.slots[i]].key
		upgrades = upgrades || key == ledger.LoaderUpgradeable
		if tx.IsWritable(i) && !x.slots[j.slots[i]].fixed {
			j.writable |= 1 << i
		}
	}
	// A program that is called is read only, except beside the loader that
	// upgrades programs.
	if !upgrades {
		for _, in := range tx.Instructions() {
			j.writable &^= 1 << in.Program
		}
	}
	j.writable |= 1 // the payer's fee is taken in any case
	m, ok := messages[tx.Hash]
	if !ok {
		m = int32(len(x.messages))
		messages[tx.Hash] = m
		slot, processed := x.state.recent[tx.Hash]
		x.messages = append(x.messages, message{processed, slot})
	}
	j.message = m
	if key, ok := tx.DurableNonce(); ok && !x.isRecent(tx.RecentBlockhash()) {
		j.nonce = slices.Index(j.slots, x.slot(key))
	}
	return j
}

// isRecent tells whether a hash is one of the blockhashes that transactions
// of this block may use.
func (x *execution) isRecent(hash ledger.Hash) bool {
	trail := x.state.trail[max(0, len(x.state.trail)-1-duplicateWindow):]
	return slices.ContainsFunc(trail, func(p *Past) bool { return p.LastPoH == hash })
}

// run executes all units. Two that lock an account, at least one of them for
// writing, run one after the other in order: each goes into the first wave
// behind those of all before it that it conflicts with, and the units of one
// wave, which do not conflict, run at once. What lookup tables name is only
// known when it is their turn, so a unit with some has a wave of its own that
// nothing passes.
func (x *execution) run() {
	if len(x.workers) == 1 {
		for i := range x.units {
			x.runUnit(x.workers[0], x.units[i])
		}
		return
	}
	for _, wave := range x.waves() {
		x.workers.run(len(wave), func(w *worker, from, to int) {
			for _, u := range wave[from:to] {
				x.runUnit(w, u)
			}
		})
	}
}

func (x *execution) runUnit(w *worker, u unit) {
	if jobs := x.jobs[u.first : u.first+u.count]; len(jobs) == 1 {
		x.single(w, &jobs[0])
	} else {
		x.bundle(w, jobs)
	}
}

// waves returns the units by wave, in order.
func (x *execution) waves() [][]unit {
	numbers := make([]int32, len(x.units))
	var sizes []int
	var floor, last int32 // the first wave that is still open, and the last one
	for i, u := range x.units {
		jobs := x.jobs[u.first : u.first+u.count]
		wave := floor
		if slices.ContainsFunc(jobs, func(j job) bool { return j.tx.NumLookups() > 0 }) {
			wave = last + 1
			floor = wave + 1
		}
		for k := range jobs {
			wave = max(wave, x.earliest(&jobs[k]))
		}
		for k := range jobs {
			x.lock(&jobs[k], wave)
		}
		last = max(last, wave)
		for len(sizes) <= int(wave) {
			sizes = append(sizes, 0)
		}
		sizes[wave]++
		numbers[i] = wave
	}
	sorted := make([]unit, len(x.units))
	waves := make([][]unit, len(sizes))
	at := 0
	for i, n := range sizes {
		waves[i] = sorted[at : at : at+n]
		at += n
	}
	for i, u := range x.units {
		waves[numbers[i]] = append(waves[numbers[i]], u)
	}
	return waves
}

// earliest returns the first wave that has no conflict with j before it.
func (x *execution) earliest(j *job) int32 {
	var wave int32
	for i, n := range j.slots {
		s := &x.slots[n]
		wave = max(wave, s.written)
		if j.writable>>i&1 == 1 && !planted.Is(planted.ReadLock) {
			wave = max(wave, s.read)
		}
	}
	return wave
}

// lock books j's accounts: what conflicts with it comes after the wave.
func (x *execution) lock(j *job, wave int32) {
	for i, n := range j.slots {
		s := &x.slots[n]
		if j.writable>>i&1 == 1 {
			s.written = max(s.written, wave+1)
		} else {
			s.read = max(s.read, wave+1)
		}
	}
}

// changes returns what differs from the parent's state, sorted by key.
func (x *execution) changes() []AccountDelta {
	type place struct {
		prefix uint64
		slot   int32
	}
	var changed []place
	for i := range x.slots {
		s := &x.slots[i]
		if s.before == nil && s.now.Lamports == 0 || s.before != nil && s.before.Equal(&s.now) {
			continue
		}
		changed = append(changed, place{prefixOf(s.key), int32(i)})
	}
	slices.SortFunc(changed, func(a, b place) int {
		if a.prefix != b.prefix {
			if a.prefix < b.prefix {
				return -1
			}
			return 1
		}
		return bytes.Compare(x.slots[a.slot].key[:], x.slots[b.slot].key[:])
	})
	deltas := make([]AccountDelta, len(changed))
	for i, c := range changed {
		s := &x.slots[c.slot]
		deltas[i] = AccountDelta{Key: s.key, Old: s.before}
		if s.now.Lamports > 0 {
			account := s.now
			if planted.Is(planted.FlipBit) {
				account.Lamports ^= 1
			}
			deltas[i].New = &account
		}
	}
	return deltas
}

// prefixOf returns a number that sorts like the key, as far as it goes.
func prefixOf(k ledger.Pubkey) uint64 {
	var n uint64
	for _, b := range k[:8] {
		n = n<<8 | uint64(b)
	}
	return n
}

// nonceChanged tells whether the block has changed a durable nonce account.
func (s *slot) nonceChanged() bool {
	d := AccountDelta{Old: s.before, New: &s.now}
	return d.isNonce() && (s.before == nil || !s.before.Equal(&s.now))
}

// isNonce tells whether the account is or was one that can hold a durable
// nonce.
func (d *AccountDelta) isNonce() bool {
	holds := func(a *Account) bool {
		return a != nil && a.Owner == ledger.SystemProgram && len(a.Data) == program.NonceLength
	}
	return holds(d.Old) || holds(d.New)
}

// receipts returns the receipts of all jobs, and the sum of the signatures
// of those that were processed.
func (x *execution) receipts() ([]Receipt, uint64) {
	receipts := make([]Receipt, len(x.jobs))
	var signatures uint64
	for i := range x.jobs {
		j := &x.jobs[i]
		receipts[i] = Receipt{
			Outcome: j.outcome, Error: j.failure,
			MessageHash: j.tx.Hash, Signature: j.tx.Signature(0),
			U: j.source.Block.Ref.U, Lane: j.source.Block.Ref.Lane, Index: j.tx.Index,
			Fee: saturatingAdd(j.base, j.priority), Units: j.units,
		}
		if j.outcome.Processed() {
			signatures += uint64(j.tx.NumSignatures())
		}
	}
	if planted.Is(planted.ReceiptOrder) {
		slices.Reverse(receipts)
	}
	return receipts, signatures
}

func saturatingAdd(a, b ledger.Lamports) ledger.Lamports {
	sum, carry := bits.Add64(uint64(a), uint64(b), 0)
	if carry != 0 {
		return ^ledger.Lamports(0)
	}
	return ledger.Lamports(sum)
}
