package cluster

import (
	"encoding/binary"
	"math"

	"tutti/ledger"
)

// Owners of accounts that no transaction makes.
var (
	NativeLoader = ledger.MustPubkey("NativeLoader1111111111111111111111111111111")
	SysvarOwner  = ledger.MustPubkey("Sysvar1111111111111111111111111111111111111")
)

// Addresses of the sysvar accounts that state 0 holds.
var (
	SysvarClock             = ledger.MustPubkey("SysvarC1ock11111111111111111111111111111111")
	SysvarEpochSchedule     = ledger.MustPubkey("SysvarEpochSchedu1e111111111111111111111111")
	SysvarLastRestartSlot   = ledger.MustPubkey("SysvarLastRestartS1ot1111111111111111111111")
	SysvarRecentBlockhashes = ledger.MustPubkey("SysvarRecentB1ockHashes11111111111111111111")
	SysvarRent              = ledger.MustPubkey("SysvarRent111111111111111111111111111111111")
	SysvarSlotHashes        = ledger.MustPubkey("SysvarS1otHashes111111111111111111111111111")
	SysvarSlotHistory       = ledger.MustPubkey("SysvarS1otHistory11111111111111111111111111")
	SysvarStakeHistory      = ledger.MustPubkey("SysvarStakeHistory1111111111111111111111111")
)

// Sizes in bytes of account data with a fixed layout.
const (
	VoteAccountSize       = 3762
	StakeAccountSize      = 200
	SlotHashesSize        = 8 + 512*40
	RecentBlockhashesSize = 8 + 150*40
	StakeHistorySize      = 8 + 512*32
	SlotHistorySize       = 1 + 8 + slotHistorySlots/8 + 8 + 8
)

const slotHistorySlots = 1 << 20

// Rent (FORMATS section 11): an account with this many lamports for each of
// its bytes, 128 counted on top, pays none.
const (
	rentLamportsPerByteYear = 3480
	rentExemptionYears      = 2
	rentAccountOverhead     = 128
	rentBurnPercent         = 50
)

// RentExemptMinimum returns the lamports that an account with this many bytes
// of data must hold.
func RentExemptMinimum(size int) ledger.Lamports {
	return (rentAccountOverhead + ledger.Lamports(size)) * rentLamportsPerByteYear * rentExemptionYears
}

// rentEpochExempt is the rent epoch of accounts that pay no rent.
const rentEpochExempt = math.MaxUint64

func account(key, owner ledger.Pubkey, lamports ledger.Lamports, data []byte) GenesisAccount {
	return GenesisAccount{Key: key, Lamports: lamports, Owner: owner, Data: data, RentEpoch: rentEpochExempt}
}

// builtins returns the accounts of the native programs. Their data is their
// name.
func builtins() []GenesisAccount {
	var out []GenesisAccount
	for _, p := range []struct {
		key  ledger.Pubkey
		name string
	}{
		{ledger.SystemProgram, "system_program"},
		{ledger.VoteProgram, "vote_program"},
		{ledger.StakeProgram, "stake_program"},
		{ledger.ComputeBudgetProgram, "compute_budget_program"},
		{ledger.LookupTableProgram, "address_lookup_table_program"},
		{ledger.BundleProgram, "bundle_program"},
	} {
		a := account(p.key, NativeLoader, 1, []byte(p.name))
		a.Executable = true
		out = append(out, a)
	}
	return out
}

// sysvars returns the sysvar accounts of state 0, with Solana's layouts.
// RecentBlockhashes cannot hold the genesis hash, which covers it: it is
// empty, like SlotHashes and StakeHistory.
func (g *Genesis) sysvars() []GenesisAccount {
	schedule := appendEpochSchedule(nil, g.Params.SlotsPerEpoch)
	rent := appendRent(nil)
	var out []GenesisAccount
	for _, s := range []struct {
		key  ledger.Pubkey
		data []byte
	}{
		{SysvarClock, g.clock()},
		{SysvarEpochSchedule, schedule},
		{SysvarLastRestartSlot, make([]byte, 8)},
		{SysvarRecentBlockhashes, make([]byte, RecentBlockhashesSize)},
		{SysvarRent, rent},
		{SysvarSlotHashes, make([]byte, SlotHashesSize)},
		{SysvarSlotHistory, slotHistory()},
		{SysvarStakeHistory, make([]byte, StakeHistorySize)},
	} {
		out = append(out, account(s.key, SysvarOwner, RentExemptMinimum(len(s.data)), s.data))
	}
	return out
}

// clock is: slot, epoch start timestamp, epoch, leader schedule epoch, unix
// timestamp.
func (g *Genesis) clock() []byte {
	now := uint64(g.UnixTimestamp(0))
	b := appendU64(nil, 0)
	b = appendU64(b, now)
	b = appendU64(b, 0)
	b = appendU64(b, 1)
	return appendU64(b, now)
}

func appendEpochSchedule(b []byte, slotsPerEpoch uint64) []byte {
	b = appendU64(b, slotsPerEpoch)
	b = appendU64(b, slotsPerEpoch) // leader schedule slot offset
	b = append(b, 0)                // no warm-up
	b = appendU64(b, 0)             // first normal epoch
	return appendU64(b, 0)          // first normal slot
}

func appendRent(b []byte) []byte {
	b = appendU64(b, rentLamportsPerByteYear)
	b = appendU64(b, math.Float64bits(rentExemptionYears))
	return append(b, rentBurnPercent)
}

// slotHistory is a bit vector of the last 2²⁰ slots in which slot 0 is set:
// option tag, words, bits, next slot.
func slotHistory() []byte {
	b := make([]byte, 0, SlotHistorySize)
	b = append(b, 1)
	b = appendU64(b, slotHistorySlots/64)
	b = appendU64(b, 1)
	b = append(b, make([]byte, slotHistorySlots/8-8)...)
	b = appendU64(b, slotHistorySlots)
	return appendU64(b, 1)
}

// VoteAccount is what a vote account says about who votes.
type VoteAccount struct {
	Node       ledger.Pubkey // identity
	Withdrawer ledger.Pubkey
	Authority  ledger.Pubkey // the newest authorised voter
	Commission uint8
}

const (
	voteStateV3     = 2 // tag of VoteStateVersions
	priorVoters     = 32
	priorVoterSize  = 32 + 8 + 8
	landedVoteSize  = 1 + 8 + 4
	epochVoterSize  = 8 + 32
	voteLockoutsMax = 31
)

// Append writes the account as Solana's vote state of version V3 without
// votes or credits, VoteAccountSize bytes.
func (v *VoteAccount) Append(b []byte) []byte {
	end := len(b) + VoteAccountSize
	b = appendU32(b, voteStateV3)
	b = append(b, v.Node[:]...)
	b = append(b, v.Withdrawer[:]...)
	b = append(b, v.Commission)
	b = appendU64(b, 0) // votes
	b = append(b, 0)    // root slot: none
	b = appendU64(b, 1) // authorised voters: since epoch 0
	b = appendU64(b, 0)
	b = append(b, v.Authority[:]...)
	b = append(b, make([]byte, priorVoters*priorVoterSize)...)
	b = appendU64(b, priorVoters-1) // the ring's position while it is empty
	b = append(b, 1)
	b = appendU64(b, 0) // epoch credits
	b = appendU64(b, 0) // last timestamp: slot, time
	b = appendU64(b, 0)
	return append(b, make([]byte, end-len(b))...)
}

// ParseVoteAccount reads a vote account's data; ok is false if it is not an
// initialised vote state of version V3.
func ParseVoteAccount(data []byte) (v VoteAccount, ok bool) {
	r := reader{b: data}
	if len(data) != VoteAccountSize || r.u32("version") != voteStateV3 {
		return v, false
	}
	v.Node = r.key("node")
	v.Withdrawer = r.key("withdrawer")
	v.Commission = r.u8("commission")
	votes := r.u64("votes")
	if votes > voteLockoutsMax {
		return v, false
	}
	r.take(votes*landedVoteSize, "votes")
	if r.u8("root") != 0 {
		r.u64("root")
	}
	voters := r.count(r.u64("voters"), epochVoterSize, "voters")
	for range voters { // sorted by epoch: the last is the newest
		r.u64("epoch")
		v.Authority = r.key("voter")
	}
	return v, r.err == nil && voters > 0
}

// StakeAccount is a delegation of stake to a vote account.
type StakeAccount struct {
	Authority    ledger.Pubkey // staker and withdrawer
	Voter        ledger.Pubkey // vote account
	Stake        ledger.Lamports
	Activation   uint64 // epoch; the highest number for stake of genesis
	Deactivation uint64 // epoch; the highest number for never
}

const stakeStateDelegated = 2 // tag of StakeStateV2

// Append writes the account as Solana's StakeStateV2::Stake without lockup,
// StakeAccountSize bytes.
func (s *StakeAccount) Append(b []byte) []byte {
	end := len(b) + StakeAccountSize
	b = appendU32(b, stakeStateDelegated)
	b = appendU64(b, uint64(RentExemptMinimum(StakeAccountSize)))
	b = append(b, s.Authority[:]...)
	b = append(b, s.Authority[:]...)
	b = append(b, make([]byte, 8+8+32)...) // lockup: time, epoch, custodian
	b = append(b, s.Voter[:]...)
	b = appendU64(b, uint64(s.Stake))
	b = appendU64(b, s.Activation)
	b = appendU64(b, s.Deactivation)
	b = appendU64(b, math.Float64bits(0.25)) // warm-up rate, unused
	b = appendU64(b, 0)                      // credits observed
	return append(b, make([]byte, end-len(b))...)
}

// ParseStakeAccount reads a stake account's data; ok is false if it is not
// delegated.
func ParseStakeAccount(data []byte) (s StakeAccount, ok bool) {
	if len(data) != StakeAccountSize || binary.LittleEndian.Uint32(data) != stakeStateDelegated {
		return s, false
	}
	copy(s.Authority[:], data[12:])
	d := data[124:]
	copy(s.Voter[:], d)
	s.Stake = ledger.Lamports(binary.LittleEndian.Uint64(d[32:]))
	s.Activation = binary.LittleEndian.Uint64(d[40:])
	s.Deactivation = binary.LittleEndian.Uint64(d[48:])
	return s, true
}

// Active tells whether the stake counts in an epoch: all of it from the epoch
// after its activation up to that of its deactivation. There is no warm-up.
func (s *StakeAccount) Active(epoch uint64) bool {
	return (s.Activation == math.MaxUint64 || s.Activation < epoch) && epoch <= s.Deactivation
}

// stakeAddress is where NewGenesis puts the stake of a vote account.
func stakeAddress(voteAccount ledger.Pubkey) ledger.Pubkey {
	return ledger.Pubkey(ledger.Sum([]byte("tutti stake"), voteAccount[:]))
}
