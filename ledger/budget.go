package ledger

import (
	"math"
	"math/bits"
)

// Limits and defaults of a compute budget (FORMATS section 11).
const (
	unitLimitMax       = 1_400_000
	unitsPerBuiltin    = 3_000
	unitsPerOther      = 200_000
	heapBytesMin       = 32 << 10
	heapBytesMax       = 256 << 10
	loadedBytesMax     = 64 << 20
	microLamports      = 1_000_000
	costPerSignature   = 720
	costPerWritable    = 300
	bytesPerUnitOfCost = 4
)

// Tags of the ComputeBudget program's instructions.
const (
	requestHeapFrame    = 1
	setUnitLimit        = 2
	setUnitPrice        = 3
	setLoadedBytesLimit = 4
)

// FeePerSignature is the base fee of one signature.
const FeePerSignature Lamports = 5000

// ComputeBudget is what a transaction asks for: compute units, their price in
// micro-lamports, heap, and bytes of loaded accounts.
type ComputeBudget struct {
	UnitLimit   uint32
	UnitPrice   uint64
	HeapBytes   uint32
	LoadedBytes uint32
}

// ComputeBudget reads the compute-budget instructions of a sanitised
// transaction (FORMATS section 11). Its error is a TransactionError.
func (t *Transaction) ComputeBudget() (ComputeBudget, error) {
	b := ComputeBudget{HeapBytes: heapBytesMin, LoadedBytes: loadedBytesMax}
	var seen [setLoadedBytesLimit + 1]bool
	var units uint32
	heapIndex := 0
	for i, in := range t.Instructions() {
		program := t.Key(int(in.Program))
		if isBuiltin(program) {
			units += unitsPerBuiltin
		} else {
			units += unitsPerOther
		}
		if program != ComputeBudgetProgram {
			continue
		}
		r := reader{b: in.Data}
		tag, wide := r.u8(), uint64(0)
		if tag == setUnitPrice {
			wide = r.u64()
		} else {
			wide = uint64(r.u32())
		}
		if r.err != nil || tag < requestHeapFrame || tag > setLoadedBytesLimit {
			return b, invalidBudget(i)
		}
		if seen[tag] {
			return b, TransactionError{Kind: DuplicateInstruction, Index: uint8(i)}
		}
		seen[tag] = true
		switch tag {
		case requestHeapFrame:
			b.HeapBytes, heapIndex = uint32(wide), i
		case setUnitLimit:
			b.UnitLimit = uint32(wide)
		case setUnitPrice:
			b.UnitPrice = wide
		case setLoadedBytesLimit:
			b.LoadedBytes = uint32(wide)
		}
	}
	if b.HeapBytes < heapBytesMin || b.HeapBytes > heapBytesMax || b.HeapBytes%1024 != 0 {
		return b, invalidBudget(heapIndex)
	}
	if b.LoadedBytes == 0 {
		return b, TransactionError{Kind: InvalidLoadedAccountsDataSizeLimit}
	}
	if !seen[setUnitLimit] {
		b.UnitLimit = units
	}
	b.UnitLimit = min(b.UnitLimit, unitLimitMax)
	b.LoadedBytes = min(b.LoadedBytes, loadedBytesMax)
	return b, nil
}

func invalidBudget(instruction int) TransactionError {
	return InstructionFailure(instruction, InstructionError{Kind: InstructionInvalidInstructionData})
}

// PriorityFee returns price × units in lamports, rounded up, at most 1<<64-1.
func (b ComputeBudget) PriorityFee() Lamports {
	hi, lo := bits.Mul64(b.UnitPrice, uint64(b.UnitLimit))
	lo, carry := bits.Add64(lo, microLamports-1, 0)
	hi += carry
	if hi >= microLamports {
		return math.MaxUint64
	}
	fee, _ := bits.Div64(hi, lo, microLamports)
	return Lamports(fee)
}

// BaseFee returns the fee for a sanitised transaction's signatures, those
// that its precompile instructions verify included.
func (t *Transaction) BaseFee() Lamports {
	n := t.NumSignatures()
	for _, in := range t.Instructions() {
		switch t.Key(int(in.Program)) {
		case Ed25519Program, Secp256k1Program, Secp256r1Program:
			if len(in.Data) > 0 {
				n += int(in.Data[0])
			}
		}
	}
	return FeePerSignature * Lamports(n)
}

// Cost returns what a sanitised transaction weighs against the limits of a
// UserBlock (PROTOCOL section 4 (5)).
func (t *Transaction) Cost(b ComputeBudget) uint64 {
	return uint64(b.UnitLimit) +
		costPerSignature*uint64(t.NumSignatures()) +
		costPerWritable*uint64(t.NumWritable()) +
		uint64(len(t.raw))/bytesPerUnitOfCost
}
