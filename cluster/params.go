package cluster

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"tutti/ledger"
	"tutti/ledger/sigverify"
)

// ProposerSchedule says who may propose.
type ProposerSchedule uint8

// The proposer schedules: weighted by stake, or the slot's leader alone.
const (
	ScheduleStake ProposerSchedule = iota
	ScheduleLeader
)

// Execution says whether a validator votes before it has executed a block.
type Execution uint8

// The ways of execution: votes do not wait for it, or they do.
const (
	ExecutionAsync Execution = iota
	ExecutionSync
)

var (
	proposerScheduleNames = []string{"stake", "leader"}
	executionNames        = []string{"async", "sync"}
)

// String returns the name that stands in configuration.
func (s ProposerSchedule) String() string { return nameOf(proposerScheduleNames, uint8(s)) }

// String returns the name that stands in configuration.
func (e Execution) String() string { return nameOf(executionNames, uint8(e)) }

// ParseProposerSchedule reads "stake" or "leader".
func ParseProposerSchedule(s string) (ProposerSchedule, error) {
	v, err := valueOf(proposerScheduleNames, "proposer_schedule", s)
	return ProposerSchedule(v), err
}

// ParseExecution reads "async" or "sync".
func ParseExecution(s string) (Execution, error) {
	v, err := valueOf(executionNames, "execution", s)
	return Execution(v), err
}

func nameOf(names []string, v uint8) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%d", v)
}

func valueOf(names []string, parameter, s string) (uint8, error) {
	for i, name := range names {
		if s == name {
			return uint8(i), nil
		}
	}
	return 0, fmt.Errorf("%s is %q: use %q or %q", parameter, s, names[0], names[1])
}

// Params are the parameters of a cluster (PROTOCOL section 2). They are part
// of genesis and never change.
type Params struct {
	Proposers              int    // N
	HashesPerTick          uint64 // of the leader's PoH; 0 is low power: one hash a tick
	UserBlockHashesPerTick uint64 // of a UserBlock's PoH; 0 is low power
	TickDuration           time.Duration
	SlotsPerEpoch          uint64
	InclusionWindow        uint64 // W, in UserBlockSlots
	GraceTicks             uint64 // that a leader waits for the block before its own
	MaxCostPerSlot         uint64 // C, in compute units
	FECSetsMax             int    // of a UserBlock
	PayloadMax             int    // of a UserBlock, in bytes
	TransactionsMax        int    // of a UserBlock
	LagFull                uint64 // blocks of lag up to which a UserBlock has its full share
	LagZero                uint64 // blocks of lag from which on it has none
	Reserve                ledger.Lamports
	ProposerBond           ledger.Lamports
	ProposerSchedule       ProposerSchedule
	Execution              Execution
	Fanout                 int
	SignatureRule          sigverify.Rule
}

// LocalParams returns the defaults for a cluster of n proposers on one small
// machine.
func LocalParams(n int) Params {
	p := Params{
		Proposers:              n,
		HashesPerTick:          100,
		UserBlockHashesPerTick: 100,
		TickDuration:           6250 * time.Microsecond,
		SlotsPerEpoch:          8192,
		InclusionWindow:        1,
		GraceTicks:             32,
		MaxCostPerSlot:         48_000_000,
		LagFull:                4,
		LagZero:                32,
		Reserve:                1_000_000,
		ProposerBond:           5 * ledger.LamportsPerSOL,
		Fanout:                 200,
		SignatureRule:          sigverify.Simd0376,
	}
	p.SetUserBlockLimits()
	return p
}

// SetUserBlockLimits sets FECSetsMax, PayloadMax and TransactionsMax to the
// defaults for p.Proposers: fewer proposers make larger UserBlocks.
func (p *Params) SetUserBlockLimits() {
	if p.Proposers < 4 {
		p.FECSetsMax, p.PayloadMax, p.TransactionsMax = 192, 4<<20, 16_384
	} else {
		p.FECSetsMax, p.PayloadMax, p.TransactionsMax = 48, 1<<20, 4_096
	}
}

// UserBlockCostMax returns c = ⌊C/2N⌋, a UserBlock's share of a slot's cost.
// It does not grow when fewer than N proposers are scheduled.
func (p Params) UserBlockCostMax() uint64 {
	return p.MaxCostPerSlot / (2 * uint64(p.Proposers))
}

// Epoch returns the epoch of a slot. There is no warm-up.
func (p Params) Epoch(s ledger.Slot) uint64 { return uint64(s) / p.SlotsPerEpoch }

// FirstSlot returns the first slot of an epoch.
func (p Params) FirstSlot(epoch uint64) ledger.Slot {
	hi, lo := bits.Mul64(epoch, p.SlotsPerEpoch)
	if hi != 0 {
		return math.MaxUint64
	}
	return ledger.Slot(lo)
}

// TickTime returns when a tick is due, in Unix nanoseconds: t0 + tick · tick
// duration (PROTOCOL section 1). Ticks beyond the range of int64 are due at
// its end.
func (p Params) TickTime(t0 int64, tick uint64) int64 {
	hi, lo := bits.Mul64(tick, uint64(p.TickDuration))
	if hi != 0 || lo > uint64(math.MaxInt64-max(t0, 0)) {
		return math.MaxInt64
	}
	return t0 + int64(lo)
}

// SlotTime returns when the first tick of a slot is due, in Unix nanoseconds.
func (p Params) SlotTime(t0 int64, s ledger.Slot) int64 {
	if s > math.MaxUint64/ledger.TicksPerSlot {
		return math.MaxInt64
	}
	return p.TickTime(t0, ledger.TicksPerSlot*uint64(s))
}

// Bounds of the parameters that do not follow from others.
const (
	hashesPerTickMax   = 10_000_000
	tickDurationMin    = 100 * time.Microsecond
	tickDurationMax    = 10 * time.Second
	slotsPerEpochMax   = 1 << 24
	inclusionDistance  = 16 // PROTOCOL section 5: w − v ≤ 16
	graceTicksMax      = 4 * ledger.TicksPerSlot
	userBlockCostMin   = 10_000 // below it hardly a transfer fits
	maxCostPerSlotMax  = 1 << 48
	fecSetsLimit       = 1_024 // 32 768 shreds of a kind, Solana's limit of a slot
	fecSetPayload      = 32 * 963
	payloadMin         = 2_048 // holds one entry with the longest transaction
	transactionsLimit  = 1 << 16
	lagZeroMax         = 150 - 8 // PROTOCOL section 9: the backlog of lag_zero + 8 blocks stays within 150
	fanoutMax          = 10_000
	epochLagMultiple   = 4 // PROTOCOL section 2: slots_per_epoch ≥ 4 · lag_zero
	epochSlotsMultiple = ledger.SlotsPerLeader
)

// Validate returns an error that names the first parameter out of its range,
// and the range.
func (p Params) Validate() error {
	between := func(name string, v, lo, hi uint64) error {
		if v < lo || v > hi {
			return fmt.Errorf("%s is %d: use %d to %d", name, v, lo, hi)
		}
		return nil
	}
	number := func(name string, v, lo, hi int) error {
		if v < lo || v > hi {
			return fmt.Errorf("%s is %d: use %d to %d", name, v, lo, hi)
		}
		return nil
	}
	hashes := func(name string, v uint64) error {
		if v == 1 || v > hashesPerTickMax {
			return fmt.Errorf("%s is %d: use 0 (low power) or 2 to %d; the last hash of a tick records nothing",
				name, v, hashesPerTickMax)
		}
		return nil
	}
	for _, err := range []error{
		number("proposers", p.Proposers, 1, ledger.LanesMax),
		hashes("hashes_per_tick", p.HashesPerTick),
		hashes("userblock_hashes_per_tick", p.UserBlockHashesPerTick),
		p.validateTickDuration(),
		number("fec_sets_max", p.FECSetsMax, 1, fecSetsLimit),
		number("transactions_max", p.TransactionsMax, 1, transactionsLimit),
		between("inclusion_window", p.InclusionWindow, 1, inclusionDistance),
		between("grace", p.GraceTicks, 0, graceTicksMax),
		between("lag_zero", p.LagZero, 1, lagZeroMax),
		number("fanout", p.Fanout, 1, fanoutMax),
		between("proposer_schedule", uint64(p.ProposerSchedule), 0, uint64(ScheduleLeader)),
		between("execution", uint64(p.Execution), 0, uint64(ExecutionSync)),
		between("signature_rule", uint64(p.SignatureRule), 0, uint64(sigverify.Strict)),
	} {
		if err != nil {
			return err
		}
	}
	return p.validateRelations()
}

func (p Params) validateTickDuration() error {
	if p.TickDuration < tickDurationMin || p.TickDuration > tickDurationMax {
		return fmt.Errorf("tick_duration is %v: use %v to %v", p.TickDuration, tickDurationMin, tickDurationMax)
	}
	return nil
}

// validateRelations checks parameters against each other; each of them is in
// its own range, except those whose range is given here.
func (p Params) validateRelations() error {
	if p.LagFull >= p.LagZero {
		return fmt.Errorf("lag_full is %d: use less than lag_zero, %d", p.LagFull, p.LagZero)
	}
	least := epochLagMultiple * p.LagZero
	if p.SlotsPerEpoch < least || p.SlotsPerEpoch > slotsPerEpochMax {
		return fmt.Errorf("slots_per_epoch is %d: use %d (4 · lag_zero) to %d, or a smaller lag_zero",
			p.SlotsPerEpoch, least, slotsPerEpochMax)
	}
	if p.SlotsPerEpoch%epochSlotsMultiple != 0 {
		return fmt.Errorf("slots_per_epoch is %d: use a multiple of 4, such as %d",
			p.SlotsPerEpoch, (p.SlotsPerEpoch/epochSlotsMultiple+1)*epochSlotsMultiple)
	}
	least = 2 * uint64(p.Proposers) * userBlockCostMin
	if p.MaxCostPerSlot < least || p.MaxCostPerSlot > maxCostPerSlotMax {
		return fmt.Errorf("max_cost_per_slot is %d: use %d (%d for each of the 2 · %d UserBlocks) to %d",
			p.MaxCostPerSlot, least, userBlockCostMin, p.Proposers, uint64(maxCostPerSlotMax))
	}
	if most := p.FECSetsMax * fecSetPayload; p.PayloadMax < payloadMin || p.PayloadMax > most {
		return fmt.Errorf("payload_max is %d: use %d to %d, what %d FEC sets hold",
			p.PayloadMax, payloadMin, most, p.FECSetsMax)
	}
	if p.ProposerSchedule == ScheduleLeader && p.Proposers != 1 {
		return fmt.Errorf("proposers is %d: use 1 with proposer_schedule=leader", p.Proposers)
	}
	return nil
}
