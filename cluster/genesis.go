// Package cluster says who takes part: genesis with its parameters and the
// accounts of state 0, the stakes of an epoch, the schedules of leaders and
// proposers that follow from them, and the contact records by which nodes
// find each other. It decides nothing about blocks and talks to nobody.
package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"tutti/ledger"
	"tutti/ledger/sigverify"
)

// Genesis is everything that a cluster starts from (PROTOCOL section 2). It
// must not change once its hash is in use.
type Genesis struct {
	// CreationTime is in Unix seconds, for people; T0 is what counts.
	CreationTime int64
	// T0 is when tick 0 is due, in Unix nanoseconds.
	T0         int64
	Params     Params
	Validators []Validator
	// Faucet owns the lamports that nobody else has.
	Faucet ledger.Pubkey
	// Accounts are all accounts of state 0, sorted by key.
	Accounts []GenesisAccount
}

// Validator is a validator of genesis.
type Validator struct {
	Identity    ledger.Pubkey
	VoteAccount ledger.Pubkey
	Authority   ledger.Pubkey // signs the votes
	Stake       ledger.Lamports
}

// GenesisAccount is an account of state 0.
type GenesisAccount struct {
	Key        ledger.Pubkey
	Lamports   ledger.Lamports
	Owner      ledger.Pubkey
	Executable bool
	Data       []byte
	RentEpoch  uint64
}

// ErrGenesis is returned for bytes or options that make no valid genesis.
var ErrGenesis = errors.New("genesis")

const (
	validatorsMax = 10_000
	dataSizeMax   = 10 << 20
	t0Max         = 1 << 62 // year 2116; later times still fit int64
)

// Defaults of Options.
const (
	IdentityLamports = 1_000 * ledger.LamportsPerSOL
	FaucetLamports   = 500_000_000 * ledger.LamportsPerSOL
)

// Options are what NewGenesis makes a genesis from.
type Options struct {
	Params       Params
	T0           int64 // Unix nanoseconds
	CreationTime int64 // Unix seconds; 0: T0's second
	// Validators must have identity, vote account and stake; without an
	// authority the identity signs the votes.
	Validators []Validator
	// IdentityLamports is what each identity account holds; 0: the constant
	// of the same name.
	IdentityLamports ledger.Lamports
	Faucet           ledger.Pubkey
	FaucetLamports   ledger.Lamports // 0: the constant of the same name
	// Accounts are further accounts of state 0.
	Accounts []GenesisAccount
}

// NewGenesis makes a genesis and all accounts of its state 0. Errors name
// what is wrong with the options.
func NewGenesis(o Options) (*Genesis, error) {
	g := &Genesis{CreationTime: o.CreationTime, T0: o.T0, Params: o.Params, Faucet: o.Faucet}
	if g.CreationTime == 0 {
		g.CreationTime = o.T0 / int64(time.Second)
	}
	if o.IdentityLamports == 0 {
		o.IdentityLamports = IdentityLamports
	}
	if o.FaucetLamports == 0 {
		o.FaucetLamports = FaucetLamports
	}
	g.Accounts = append(g.sysvars(), builtins()...)
	g.Accounts = append(g.Accounts, account(o.Faucet, ledger.SystemProgram, o.FaucetLamports, nil))
	funded := make(map[ledger.Pubkey]bool)
	for _, v := range o.Validators {
		if v.Authority == (ledger.Pubkey{}) {
			v.Authority = v.Identity
		}
		g.Validators = append(g.Validators, v)
		if !funded[v.Identity] {
			funded[v.Identity] = true
			g.Accounts = append(g.Accounts, account(v.Identity, ledger.SystemProgram, o.IdentityLamports, nil))
		}
		g.Accounts = append(g.Accounts, v.accounts()...)
	}
	for _, a := range o.Accounts {
		a.Data = bytes.Clone(a.Data)
		g.Accounts = append(g.Accounts, a)
	}
	slices.SortFunc(g.Accounts, func(a, b GenesisAccount) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	if err := g.Validate(); err != nil {
		return nil, err
	}
	return g, nil
}

// accounts returns the validator's vote account and its stake account.
func (v Validator) accounts() []GenesisAccount {
	vote := VoteAccount{Node: v.Identity, Withdrawer: v.Identity, Authority: v.Authority}
	stake := StakeAccount{
		Authority: v.Identity, Voter: v.VoteAccount, Stake: v.Stake,
		Activation: math.MaxUint64, Deactivation: math.MaxUint64,
	}
	held, carry := bits.Add64(uint64(v.Stake), uint64(RentExemptMinimum(StakeAccountSize)), 0)
	if carry != 0 {
		held = math.MaxUint64 // refused by Validate: the supply passes 64 bits
	}
	return []GenesisAccount{
		account(v.VoteAccount, ledger.VoteProgram, RentExemptMinimum(VoteAccountSize), vote.Append(nil)),
		account(stakeAddress(v.VoteAccount), ledger.StakeProgram, ledger.Lamports(held), stake.Append(nil)),
	}
}

// UnixTimestamp returns the clock of a slot in Unix seconds, as long as T0 is
// genesis' (PROTOCOL section 8, Sysvars).
func (g *Genesis) UnixTimestamp(s ledger.Slot) int64 {
	return g.Params.SlotTime(g.T0, s) / int64(time.Second)
}

// Stakes returns the stakes of an epoch as the accounts of state 0 give them:
// right for epochs 0 and 1.
func (g *Genesis) Stakes(epoch uint64) *EpochStakes {
	return StakesFrom(epoch, func(yield func(Account) bool) {
		for _, a := range g.Accounts {
			if !yield(Account{Key: a.Key, Owner: a.Owner, Lamports: a.Lamports, Data: a.Data}) {
				return
			}
		}
	}, g.Params.ProposerBond)
}

// Validate returns an error that says what about the genesis is wrong. A
// genesis of NewGenesis or ParseGenesis is valid.
func (g *Genesis) Validate() error {
	for _, check := range []func() error{
		g.Params.Validate, g.validateT0, g.validateAccounts, g.validateFixed, g.validateValidators,
	} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrGenesis, err)
		}
	}
	return nil
}

func (g *Genesis) validateT0() error {
	if g.T0 <= 0 || g.T0 > t0Max {
		return fmt.Errorf("t0 is %d: use Unix nanoseconds from 1 to %d", g.T0, int64(t0Max))
	}
	return nil
}

func (g *Genesis) validateAccounts() error {
	var supply uint64
	for i, a := range g.Accounts {
		if i > 0 && bytes.Compare(g.Accounts[i-1].Key[:], a.Key[:]) >= 0 {
			return fmt.Errorf("account %v stands twice or out of order: give each key once", a.Key)
		}
		if a.Lamports == 0 {
			return fmt.Errorf("account %v has no lamports: give it some or leave it out", a.Key)
		}
		if len(a.Data) > dataSizeMax {
			return fmt.Errorf("account %v has %d bytes of data: use at most %d", a.Key, len(a.Data), dataSizeMax)
		}
		var carry uint64
		if supply, carry = bits.Add64(supply, uint64(a.Lamports), 0); carry != 0 {
			return errors.New("the accounts together hold more than 2⁶⁴ − 1 lamports: give them less")
		}
	}
	return nil
}

// validateFixed checks the accounts that follow from the parameters.
func (g *Genesis) validateFixed() error {
	for _, want := range append(builtins(), g.sysvars()...) {
		got, ok := g.account(want.Key)
		if !ok || got.Owner != want.Owner || got.Executable != want.Executable || !bytes.Equal(got.Data, want.Data) {
			return fmt.Errorf("account %v is not as the parameters give it: make the genesis with NewGenesis", want.Key)
		}
	}
	if a, ok := g.account(g.Faucet); !ok || a.Owner != ledger.SystemProgram {
		return fmt.Errorf("faucet %v is no system account of state 0: name a key that is used for nothing else", g.Faucet)
	}
	return nil
}

// validateValidators checks that Validators says the same as the accounts.
func (g *Genesis) validateValidators() error {
	if n := len(g.Validators); n == 0 || n > validatorsMax {
		return fmt.Errorf("%d validators: use 1 to %d", n, validatorsMax)
	}
	stakes := g.Stakes(0)
	seen := make(map[ledger.Pubkey]bool)
	for _, v := range g.Validators {
		if seen[v.VoteAccount] {
			return fmt.Errorf("vote account %v stands twice: give each validator its own", v.VoteAccount)
		}
		seen[v.VoteAccount] = true
		if v.Stake == 0 {
			return fmt.Errorf("validator %v has no stake: give it some or leave it out", v.Identity)
		}
		if i, ok := stakes.Voter(v.VoteAccount); !ok || Validator(stakes.Items[i]) != v {
			return fmt.Errorf("validator %v: vote and stake accounts say otherwise", v.Identity)
		}
		if a, ok := g.account(v.Identity); !ok || a.Owner != ledger.SystemProgram {
			return fmt.Errorf("validator %v: its identity is no system account of state 0", v.Identity)
		}
	}
	if len(stakes.Bonded) == 0 {
		return fmt.Errorf("no identity holds the proposer_bond of %d lamports: fund one, or lower the bond", g.Params.ProposerBond)
	}
	if len(stakes.Items) != len(g.Validators) {
		return fmt.Errorf("%d vote accounts have stake, %d validators: name every one", len(stakes.Items), len(g.Validators))
	}
	return nil
}

func (g *Genesis) account(key ledger.Pubkey) (*GenesisAccount, bool) {
	i, ok := slices.BinarySearchFunc(g.Accounts, key, func(a GenesisAccount, k ledger.Pubkey) int {
		return bytes.Compare(a.Key[:], k[:])
	})
	if !ok {
		return nil, false
	}
	return &g.Accounts[i], true
}

// HardFork is a restart at a slot; Count numbers the forks of one slot.
type HardFork struct {
	Slot  ledger.Slot
	Count uint64
}

// ShredVersion returns the number by which shreds of different clusters, or
// of before and after a hard fork, are told apart (FORMATS section 1). The
// forks are given in order.
func ShredVersion(genesis ledger.Hash, forks ...HardFork) uint16 {
	h := genesis
	for _, f := range forks {
		h = ledger.Sum(h[:], appendU64(nil, uint64(f.Slot)), appendU64(nil, f.Count))
	}
	var v uint16
	for i := 0; i < len(h); i += 2 {
		v ^= uint16(h[i])<<8 | uint16(h[i+1])
	}
	return max(v, v+1) // saturates at 65535
}

// Hash returns the genesis hash: SHA-256 of Bytes.
func (g *Genesis) Hash() ledger.Hash { return ledger.Sum(g.Bytes()) }

// ShredVersion returns the shred version before any hard fork.
func (g *Genesis) ShredVersion() uint16 { return ShredVersion(g.Hash()) }

// Constants of GenesisConfig that mean nothing here, or only one thing.
const (
	unusedSlotsPerSegment = 1024
	lamportsPerSignature  = 5000
	feeBurnPercent        = 50
	clusterDevelopment    = 3
	tuttiMagic            = "TUTTI\x01"
	accountSizeMin        = 32 + 8 + 8 + 32 + 1 + 8
	validatorSize         = 3*32 + 8
)

// Bytes returns genesis.bin: Solana's GenesisConfig in bincode, then TUTTI\x01
// and what GenesisConfig has no room for: t0 i64, proposers u16,
// userblock_hashes_per_tick u64, inclusion_window u64, grace u64,
// max_cost_per_slot u64, fec_sets_max u32, payload_max u32, transactions_max
// u32, lag_full u64, lag_zero u64, reserve u64, proposer_bond u64,
// proposer_schedule u8, execution u8, fanout u32, signature_rule u8, faucet,
// and a u64 count of validators: identity, vote account, authority, stake u64.
func (g *Genesis) Bytes() []byte {
	size := 1024 + len(g.Validators)*validatorSize
	for i := range g.Accounts {
		size += accountSizeMin + len(g.Accounts[i].Data)
	}
	b := make([]byte, 0, size)
	b = appendU64(b, uint64(g.CreationTime))
	b = appendU64(b, uint64(len(g.Accounts)))
	for i := range g.Accounts {
		b = g.Accounts[i].append(b)
	}
	b = appendU64(b, 0) // native instruction processors: they are accounts
	b = appendU64(b, 0) // rewards pools
	b = appendU64(b, ledger.TicksPerSlot)
	b = appendU64(b, unusedSlotsPerSegment)
	b = g.Params.appendPoH(b)
	b = appendFixed(b)
	b = appendEpochSchedule(b, g.Params.SlotsPerEpoch)
	b = appendU32(b, clusterDevelopment)
	b = append(b, tuttiMagic...)
	return g.appendTutti(b)
}

func (a *GenesisAccount) append(b []byte) []byte {
	b = append(b, a.Key[:]...)
	b = appendU64(b, uint64(a.Lamports))
	b = appendU64(b, uint64(len(a.Data)))
	b = append(b, a.Data...)
	b = append(b, a.Owner[:]...)
	b = append(b, boolByte(a.Executable))
	return appendU64(b, a.RentEpoch)
}

// appendPoH writes PohConfig: tick duration, no tick count, hashes per tick.
func (p Params) appendPoH(b []byte) []byte {
	b = appendU64(b, uint64(p.TickDuration/time.Second))
	b = appendU32(b, uint32(p.TickDuration%time.Second))
	b = append(b, 0)
	if p.HashesPerTick == 0 {
		return append(b, 0)
	}
	return appendU64(append(b, 1), p.HashesPerTick)
}

// appendFixed writes the fields between PohConfig and EpochSchedule: the
// compatibility field, fees that never move, rent, and no inflation.
func appendFixed(b []byte) []byte {
	b = appendU64(b, 0)
	b = appendU64(b, lamportsPerSignature)
	b = appendU64(b, 0) // target signatures per slot: fees do not adapt
	b = appendU64(b, lamportsPerSignature)
	b = appendU64(b, lamportsPerSignature)
	b = append(b, feeBurnPercent)
	b = appendRent(b)
	return append(b, make([]byte, 6*8)...)
}

func (g *Genesis) appendTutti(b []byte) []byte {
	p := &g.Params
	b = appendU64(b, uint64(g.T0))
	b = appendU16(b, uint16(p.Proposers))
	b = appendU64(b, p.UserBlockHashesPerTick)
	b = appendU64(b, p.InclusionWindow)
	b = appendU64(b, p.GraceTicks)
	b = appendU64(b, p.MaxCostPerSlot)
	b = appendU32(b, uint32(p.FECSetsMax))
	b = appendU32(b, uint32(p.PayloadMax))
	b = appendU32(b, uint32(p.TransactionsMax))
	b = appendU64(b, p.LagFull)
	b = appendU64(b, p.LagZero)
	b = appendU64(b, uint64(p.Reserve))
	b = appendU64(b, uint64(p.ProposerBond))
	b = append(b, uint8(p.ProposerSchedule), uint8(p.Execution))
	b = appendU32(b, uint32(p.Fanout))
	b = append(b, uint8(p.SignatureRule))
	b = append(b, g.Faucet[:]...)
	b = appendU64(b, uint64(len(g.Validators)))
	for _, v := range g.Validators {
		b = append(b, v.Identity[:]...)
		b = append(b, v.VoteAccount[:]...)
		b = append(b, v.Authority[:]...)
		b = appendU64(b, uint64(v.Stake))
	}
	return b
}

// ParseGenesis reads genesis.bin. Every genesis has exactly one form of
// bytes; any other is refused with the field that differs.
func ParseGenesis(b []byte) (*Genesis, error) {
	r := &reader{b: b}
	g := &Genesis{}
	g.readConfig(r)
	g.readTutti(r)
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGenesis, err)
	}
	if err := g.Validate(); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *Genesis) readConfig(r *reader) {
	g.CreationTime = int64(r.u64("creation_time"))
	n := r.count(r.u64("accounts"), accountSizeMin, "accounts")
	if n > 0 {
		g.Accounts = make([]GenesisAccount, n)
	}
	for i := range g.Accounts {
		g.Accounts[i].read(r)
	}
	r.want("native_instruction_processors", 0, r.u64("native_instruction_processors"))
	r.want("rewards_pools", 0, r.u64("rewards_pools"))
	r.want("ticks_per_slot", ledger.TicksPerSlot, r.u64("ticks_per_slot"))
	r.want("unused", unusedSlotsPerSegment, r.u64("unused"))
	g.readPoH(r)
	r.bytes("fee_rate_governor, rent or inflation", appendFixed(nil))
	g.Params.SlotsPerEpoch = r.u64("slots_per_epoch")
	r.bytes("epoch_schedule", appendEpochSchedule(nil, g.Params.SlotsPerEpoch)[8:])
	r.want("cluster_type", clusterDevelopment, uint64(r.u32("cluster_type")))
}

func (a *GenesisAccount) read(r *reader) {
	a.Key = r.key("account key")
	a.Lamports = ledger.Lamports(r.u64("account lamports"))
	a.Data = bytes.Clone(r.take(r.u64("account data"), "account data"))
	a.Owner = r.key("account owner")
	a.Executable = r.bool("account executable")
	a.RentEpoch = r.u64("account rent_epoch")
}

func (g *Genesis) readPoH(r *reader) {
	seconds, nanos := r.u64("tick_duration"), r.u32("tick_duration")
	if seconds > uint64(tickDurationMax/time.Second) || nanos >= uint32(time.Second) {
		r.fail("tick_duration is %d s and %d ns: use %v to %v", seconds, nanos, tickDurationMin, tickDurationMax)
		return
	}
	g.Params.TickDuration = time.Duration(seconds)*time.Second + time.Duration(nanos)
	r.want("target_tick_count", 0, uint64(r.u8("target_tick_count")))
	if r.bool("hashes_per_tick") {
		if g.Params.HashesPerTick = r.u64("hashes_per_tick"); g.Params.HashesPerTick == 0 {
			r.fail("hashes_per_tick is 0 but present: leave it out for low power")
		}
	}
}

func (g *Genesis) readTutti(r *reader) {
	p := &g.Params
	r.bytes("parameters of Tutti", []byte(tuttiMagic))
	g.T0 = int64(r.u64("t0"))
	p.Proposers = int(r.u16("proposers"))
	p.UserBlockHashesPerTick = r.u64("userblock_hashes_per_tick")
	p.InclusionWindow = r.u64("inclusion_window")
	p.GraceTicks = r.u64("grace")
	p.MaxCostPerSlot = r.u64("max_cost_per_slot")
	p.FECSetsMax = int(r.u32("fec_sets_max"))
	p.PayloadMax = int(r.u32("payload_max"))
	p.TransactionsMax = int(r.u32("transactions_max"))
	p.LagFull = r.u64("lag_full")
	p.LagZero = r.u64("lag_zero")
	p.Reserve = ledger.Lamports(r.u64("reserve"))
	p.ProposerBond = ledger.Lamports(r.u64("proposer_bond"))
	p.ProposerSchedule = ProposerSchedule(r.u8("proposer_schedule"))
	p.Execution = Execution(r.u8("execution"))
	p.Fanout = int(r.u32("fanout"))
	p.SignatureRule = sigverify.Rule(r.u8("signature_rule"))
	g.Faucet = r.key("faucet")
	n := r.count(r.u64("validators"), validatorSize, "validators")
	for range n {
		g.Validators = append(g.Validators, Validator{
			Identity:    r.key("validator identity"),
			VoteAccount: r.key("validator vote account"),
			Authority:   r.key("validator authority"),
			Stake:       ledger.Lamports(r.u64("validator stake")),
		})
	}
}

// want refuses a field with any value but one.
func (r *reader) want(field string, want, got uint64) {
	if r.err == nil && got != want {
		r.fail("%s is %d: only %d is supported", field, got, want)
	}
}

// bytes refuses anything but the bytes that must stand here.
func (r *reader) bytes(field string, want []byte) {
	if got := r.take(uint64(len(want)), field); r.err == nil && !bytes.Equal(got, want) {
		r.fail("%s: not the only supported value; make the genesis with NewGenesis", field)
	}
}

func (r *reader) bool(field string) bool {
	v := r.u8(field)
	if v > 1 {
		r.fail("%s is %d: not a boolean", field, v)
	}
	return v == 1
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}
