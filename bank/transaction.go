package bank

import (
	"slices"

	"tutti/bank/program"
	"tutti/cluster"
	"tutti/internal/planted"
	"tutti/ledger"
)

// What an account and a lookup table count towards the bytes that a
// transaction may load, beside data (Solana's SIMD-0186).
const (
	loadedPerAccount = 64
	loadedPerTable   = 8248
)

// standing is how an account stood before the instructions ran.
type standing struct {
	rent     program.RentState
	lamports ledger.Lamports
	length   int
	system   bool
}

// single judges and executes a transaction that stands alone.
func (x *execution) single(w *worker, j *job) {
	w.saved = w.saved[:0]
	base, priority := j.tx.BaseFee(), j.tx.Budget.PriorityFee()
	if j.outcome = x.judge(j, saturatingAdd(base, priority)); j.outcome != OK {
		if planted.Is(planted.NonceRefused) {
			x.advanceNonce(j)
		}
		return
	}
	x.charge(j, base, priority)
	if j.failure = x.execute(w, j); j.failure != nil {
		j.outcome = Failed
		x.advanceNonce(j)
	}
	x.messages[j.message] = message{true, x.block.Ref.Slot}
}

// bundle judges and executes a bundler and its members, back to back, of
// which all or none succeed (PROTOCOL section 8, Bundles).
func (x *execution) bundle(w *worker, jobs []job) {
	bundler, members := &jobs[0], jobs[1:]
	budget := ledger.ComputeBudget{UnitPrice: bundler.tx.Budget.UnitPrice}
	var base ledger.Lamports
	for i := range jobs {
		budget.UnitLimit += jobs[i].tx.Budget.UnitLimit
		base += jobs[i].tx.BaseFee()
	}
	priority := budget.PriorityFee()
	for i := range members {
		members[i].outcome = BundleAborted
	}
	if bundler.outcome = x.judge(bundler, saturatingAdd(base, priority)); bundler.outcome != OK {
		return
	}

	x.save(w, jobs)
	x.charge(bundler, bundler.tx.BaseFee(), priority)
	failure := x.execute(w, bundler)
	x.messages[bundler.message] = message{true, x.block.Ref.Slot}
	done := 0
	for ; failure == nil && done < len(members); done++ {
		if !x.member(w, &members[done]) {
			at, _ := bundler.tx.BundleInstruction()
			e := ledger.InstructionFailure(at, ledger.CustomError(uint32(done+1)))
			failure = &e
		}
	}
	if failure == nil {
		return
	}
	for i := range members[:done] {
		m := &members[i]
		if m.outcome == OK {
			x.messages[m.message] = message{}
		}
		m.outcome, m.base, m.units = BundleAborted, 0, 0
	}
	for _, s := range slices.Backward(w.saved) {
		if planted.Is(planted.BundleAtomic) {
			break
		}
		x.slots[s.slot].now = s.account // last what was saved first
	}
	x.charge(bundler, base, priority)
	x.advanceNonce(bundler)
	bundler.outcome, bundler.failure = Failed, failure
}

// member judges and executes a bundle's next member: false if that aborts
// the bundle.
func (x *execution) member(w *worker, m *job) bool {
	if m.tx.RefusesBundle() || x.judge(m, m.tx.BaseFee()) != OK {
		return false
	}
	x.charge(m, m.tx.BaseFee(), 0)
	if x.execute(w, m) != nil {
		return false
	}
	m.outcome = OK
	x.messages[m.message] = message{true, x.block.Ref.Slot}
	return true
}

// save keeps the accounts that a bundle may write, for when it aborts. What
// its lookup tables name is found again while it runs.
func (x *execution) save(w *worker, jobs []job) {
	w.saved = w.saved[:0]
	for i := range jobs {
		for k, n := range jobs[i].slots {
			if jobs[i].writable>>k&1 == 1 {
				w.saved = append(w.saved, savedAccount{n, x.slots[n].now})
			}
		}
	}
}

// judge says whether a transaction may be executed for a fee: OK, or the
// first of the outcomes that rule it out.
func (x *execution) judge(j *job, fee ledger.Lamports) Outcome {
	switch {
	case !j.tx.SignatureOK:
		return BadSignature
	case x.messages[j.message].processed && !planted.Is(planted.Duplicates):
		return Duplicate
	case j.nonce >= 0 && !x.nonceUsable(j):
		return BadNonce
	case !payable(&x.slots[j.slots[0]].now, fee):
		return Unpayable
	}
	return OK
}

// nonceUsable is Agave's check of a durable-nonce transaction: its blockhash
// is the nonce, which can be advanced in this block, and the nonce's authority
// signs the first instruction.
func (x *execution) nonceUsable(j *job) bool {
	a := &x.slots[j.slots[j.nonce]].now
	nonce, ok := program.ParseNonce(a.Data)
	value := j.tx.RecentBlockhash()
	if j.writable>>j.nonce&1 == 0 || !ok || nonce.Legacy || a.Lamports == 0 || a.Owner != ledger.SystemProgram ||
		nonce.Value != value || value == x.nextNonce {
		return false
	}
	for _, in := range j.tx.Instructions() {
		for _, i := range in.Accounts {
			if j.tx.IsSigner(int(i)) && j.tx.Key(int(i)) == nonce.Authority {
				return true
			}
		}
		break // the first instruction alone
	}
	return false
}

// advanceNonce advances the nonce of a durable transaction that failed.
func (x *execution) advanceNonce(j *job) {
	if j.nonce < 0 {
		return
	}
	a := &x.slots[j.slots[j.nonce]].now
	nonce, _ := program.ParseNonce(a.Data)
	nonce.Value, nonce.LamportsPerSignature = x.nextNonce, uint64(ledger.FeePerSignature)
	if planted.Is(planted.NonceInPlace) {
		nonce.Append(a.Data[:0])
		return
	}
	a.Data = nonce.Append(nil)
}

// payable tells whether an account can pay a fee: it exists, is the System
// program's, plain or a nonce account, and has the fee to spare, in the last
// case above its rent; and what is left does not make it rent-paying.
func payable(a *Account, fee ledger.Lamports) bool {
	if a.Lamports == 0 || a.Owner != ledger.SystemProgram {
		return false
	}
	kept := ledger.Lamports(0)
	if len(a.Data) > 0 {
		if _, ok := program.ParseNonce(a.Data); !ok || len(a.Data) != program.NonceLength {
			return false
		}
		kept = cluster.RentExemptMinimum(len(a.Data))
	}
	if a.Lamports < kept || a.Lamports-kept < fee {
		return false
	}
	after := *a
	after.Lamports -= fee
	return program.RentStateOf(a).MayBecome(program.RentStateOf(&after))
}

// charge takes a fee from a payer who was judged able to pay it.
func (x *execution) charge(j *job, base, priority ledger.Lamports) {
	j.base, j.priority = base, priority
	payer := &x.slots[j.slots[0]].now
	payer.Lamports -= saturatingAdd(base, priority)
	if payer.Lamports == 0 {
		*payer = program.Missing()
	}
}

// execute runs the transaction's instructions and keeps what they did if all
// succeed; else it returns why not. It sets j.units.
func (x *execution) execute(w *worker, j *job) *ledger.TransactionError {
	j.units = 0
	if err := x.resolve(w, j); err != nil {
		return err
	}
	if err := x.loadable(w, j); err != nil {
		return err
	}
	c := &w.context
	limit := uint64(j.tx.Budget.UnitLimit)
	c.Reset(limit)
	c.Blockhash = x.parent.LastPoH
	w.before = w.before[:0]
	for i, n := range w.slots {
		a := &x.slots[n].now
		c.Load(x.slots[n].key, *a, i < len(j.slots) && j.tx.IsSigner(i), w.writable[i])
		w.before = append(w.before, standing{
			program.RentStateOf(a), a.Lamports, len(a.Data), a.Owner == ledger.SystemProgram,
		})
	}
	for i, in := range j.tx.Instructions() {
		if err := c.Call(in); err != nil {
			j.units = limit - c.UnitsLeft()
			e := ledger.InstructionFailure(i, err.(ledger.InstructionError))
			return &e
		}
	}
	j.units = limit - c.UnitsLeft()
	if i := x.poor(w, j); i >= 0 {
		return &ledger.TransactionError{Kind: ledger.InsufficientFundsForRent, Index: uint8(i)}
	}
	for i, n := range w.slots {
		if !w.writable[i] {
			continue
		}
		if a := c.Loaded(i); a.Lamports > 0 {
			x.slots[n].now = *a
		} else {
			x.slots[n].now = program.Missing()
		}
	}
	return nil
}

// loadable checks the bytes that the transaction loads, and its programs.
func (x *execution) loadable(w *worker, j *job) *ledger.TransactionError {
	bytes := loadedPerTable * j.tx.NumLookups()
	for _, n := range w.slots {
		if a := &x.slots[n].now; a.Lamports > 0 {
			bytes += loadedPerAccount + len(a.Data)
		}
	}
	if bytes > int(j.tx.Budget.LoadedBytes) {
		return &ledger.TransactionError{Kind: ledger.MaxLoadedAccountsDataSizeExceeded}
	}
	for _, in := range j.tx.Instructions() {
		switch a := &x.slots[j.slots[in.Program]].now; {
		case a.Lamports == 0:
			return &ledger.TransactionError{Kind: ledger.ProgramAccountNotFound}
		case !program.Loadable(a.Owner):
			return &ledger.TransactionError{Kind: ledger.InvalidProgramForExecution}
		}
	}
	return nil
}

// poor returns the first account that the transaction leaves with too little:
// by Agave's rent check, then by the reserve; −1 if there is none.
func (x *execution) poor(w *worker, j *job) int {
	for i, n := range w.slots {
		after := program.RentStateOf(w.context.Loaded(i))
		if w.writable[i] && !w.before[i].rent.MayBecome(after) && x.slots[n].key != program.Incinerator {
			return i
		}
	}
	for i := range j.tx.NumRequiredSignatures() {
		if x.belowReserve(w, j, i) {
			return i
		}
	}
	return -1
}

// belowReserve tells whether a signer that was system-owned has less than its
// reserve left, or gave away or allocated an account that held something
// (PROTOCOL section 8, Reserve); for staked identities the reserve is the
// proposer bond too. An account that held less than its reserve must keep what
// it held.
func (x *execution) belowReserve(w *worker, j *job, i int) bool {
	before, after := &w.before[i], w.context.Loaded(i)
	if !before.system {
		return false
	}
	if reserve := x.params.Reserve; reserve > 0 {
		if after.Lamports < min(reserve, before.lamports) {
			return true
		}
		if before.lamports > 0 && (after.Owner != ledger.SystemProgram || len(after.Data) != before.length) {
			return true
		}
	}
	return x.slots[j.slots[i]].staked && after.Lamports < min(x.params.ProposerBond, before.lamports)
}
