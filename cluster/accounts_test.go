package cluster

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/stake"
	"github.com/gagliardetto/solana-go/programs/vote"
	"github.com/gagliardetto/solana-go/sysvar"

	"tutti/internal/testkit"
	"tutti/ledger"
)

func accountOf(t *testing.T, g *Genesis, k ledger.Pubkey) *GenesisAccount {
	t.Helper()
	a, ok := g.account(k)
	if !ok {
		t.Fatalf("no account %v in state 0", k)
	}
	return a
}

// Solana's own tools read the vote and stake accounts of state 0.
func TestVoteAndStakeAccountsAreSolanas(t *testing.T) {
	g := newGenesis(t, testOptions(7))
	v := g.Validators[0]
	a := accountOf(t, g, v.VoteAccount)
	state, err := vote.DecodeVoteAccount(a.Data)
	if err != nil || state.V3 == nil {
		t.Fatalf("vote account: %+v, %v", state, err)
	}
	if len(a.Data) != 3762 || a.Owner != ledger.VoteProgram || a.Lamports != RentExemptMinimum(3762) {
		t.Errorf("vote account of %d bytes, %d lamports, owner %v", len(a.Data), a.Lamports, a.Owner)
	}
	s := state.V3
	if s.NodePubkey != solana.PublicKey(v.Identity) || s.AuthorizedWithdrawer != solana.PublicKey(v.Identity) ||
		len(s.Votes) != 0 || s.RootSlot != nil || len(s.EpochCredits) != 0 || s.Commission != 0 ||
		s.PriorVoters != vote.NewPriorVotersCircBuf() {
		t.Errorf("vote state %+v", s)
	}
	voters := s.AuthorizedVoters.Voters
	if len(voters) != 1 || voters[0] != (vote.AuthorizedVoter{Pubkey: solana.PublicKey(v.Authority)}) {
		t.Errorf("authorised voters %v", voters)
	}

	a = accountOf(t, g, stakeAddress(v.VoteAccount))
	st, err := stake.DecodeStakeAccount(a.Data)
	if err != nil || !st.IsStake() {
		t.Fatalf("stake account: %+v, %v", st, err)
	}
	want := stake.Delegation{
		VoterPubkey: solana.PublicKey(v.VoteAccount), Stake: uint64(v.Stake),
		ActivationEpoch: math.MaxUint64, DeactivationEpoch: math.MaxUint64, WarmupCooldownRate: 0.25,
	}
	if len(a.Data) != 200 || st.Stake.Delegation != want || st.Flags.Bits != 0 ||
		st.Meta.RentExemptReserve != 2_282_880 || a.Lamports != v.Stake+2_282_880 {
		t.Errorf("stake account of %d lamports: %+v %+v", a.Lamports, st.Meta, st.Stake)
	}
}

// FORMATS section 11: rent-exempt minimum = (128 + size) · 6960.
func TestRentExemptMinimum(t *testing.T) {
	for size, want := range map[int]ledger.Lamports{0: 890_880, 100: 1_586_880, 82: 1_461_600, 165: 2_039_280} {
		if got := RentExemptMinimum(size); got != want {
			t.Errorf("%d bytes: %d lamports, want %d", size, got, want)
		}
	}
}

// The sysvars of state 0 have Solana's addresses, sizes and layouts.
func TestSysvarsAreSolanas(t *testing.T) {
	g := newGenesis(t, testOptions(7))
	data := func(id solana.PublicKey, size int) []byte {
		a := accountOf(t, g, ledger.Pubkey(id))
		if len(a.Data) != size || a.Owner != SysvarOwner || a.Lamports != RentExemptMinimum(size) || a.Executable {
			t.Errorf("sysvar %v: %d bytes, %d lamports, owner %v", id, len(a.Data), a.Lamports, a.Owner)
		}
		return a.Data
	}
	clock, err := sysvar.DecodeClock(data(sysvar.ClockID, 40))
	if err != nil || *clock != (sysvar.Clock{
		EpochStartTimestamp: 1_700_000_000, LeaderScheduleEpoch: 1, UnixTimestamp: 1_700_000_000,
	}) {
		t.Errorf("clock %+v, %v", clock, err)
	}
	schedule, err := sysvar.DecodeEpochSchedule(data(sysvar.EpochScheduleID, 33))
	if err != nil || *schedule != (sysvar.EpochSchedule{SlotsPerEpoch: 32, LeaderScheduleSlotOffset: 32}) {
		t.Errorf("epoch schedule %+v, %v", schedule, err)
	}
	rent, err := sysvar.DecodeRent(data(sysvar.RentID, 17))
	if err != nil || *rent != (sysvar.Rent{LamportsPerByte: 3480, ExemptionThreshold: 2, BurnPercent: 50}) {
		t.Errorf("rent %+v, %v", rent, err)
	}
	restart, err := sysvar.DecodeLastRestartSlot(data(sysvar.LastRestartSlotID, 8))
	if err != nil || restart.LastRestartSlot != 0 {
		t.Errorf("last restart slot %+v, %v", restart, err)
	}
	recent := solana.MustPublicKeyFromBase58("SysvarRecentB1ockHashes11111111111111111111")
	if !bytes.Equal(data(recent, 6008), make([]byte, 6008)) {
		t.Error("recent blockhashes are not empty")
	}
	hashes, err := sysvar.DecodeSlotHashes(data(sysvar.SlotHashesID, 20_488))
	if err != nil || len(hashes) != 0 {
		t.Errorf("slot hashes %v, %v", hashes, err)
	}
	stakes, err := sysvar.DecodeStakeHistory(data(sysvar.StakeHistoryID, 16_392))
	if err != nil || len(stakes) != 0 {
		t.Errorf("stake history %v, %v", stakes, err)
	}
	history := data(sysvar.SlotHistoryID, 131_097)
	if _, err := sysvar.DecodeSlotHistory(history); err != nil {
		t.Errorf("slot history: %v", err)
	}
	if history[9] != 1 || binary.LittleEndian.Uint64(history[131_097-8:]) != 1 {
		t.Error("slot history does not hold slot 0, or not it alone")
	}
}

func TestBuiltins(t *testing.T) {
	g := newGenesis(t, testOptions(7))
	for _, p := range []ledger.Pubkey{
		ledger.SystemProgram, ledger.VoteProgram, ledger.StakeProgram, ledger.ComputeBudgetProgram,
		ledger.LookupTableProgram, ledger.BundleProgram,
	} {
		if a := accountOf(t, g, p); a.Owner != NativeLoader || !a.Executable || len(a.Data) == 0 || a.Lamports != 1 {
			t.Errorf("program %v: %+v", p, a)
		}
	}
}

// A vote account that has voted is read as well as a fresh one.
func TestParseVoteAccount(t *testing.T) {
	v := VoteAccount{Node: key("n", 0), Withdrawer: key("w", 0), Authority: key("a", 0), Commission: 9}
	fresh := v.Append(nil)
	if got, ok := ParseVoteAccount(fresh); !ok || got != v {
		t.Fatalf("%+v %v, want %+v", got, ok, v)
	}
	voted := bytes.Clone(fresh[:4+32+32+1])
	voted = appendU64(voted, 31)
	voted = append(voted, make([]byte, 31*13)...)
	voted = appendU64(append(voted, 1), 3) // root slot
	voted = appendU64(voted, 2)
	for epoch, k := range []ledger.Pubkey{key("old", 0), v.Authority} {
		voted = appendU64(voted, uint64(epoch))
		voted = append(voted, k[:]...)
	}
	voted = append(voted, make([]byte, VoteAccountSize-len(voted))...)
	if state, err := vote.DecodeVoteAccount(voted); err != nil || len(state.V3.Votes) != 31 {
		t.Fatalf("solana-go reads %+v, %v", state, err)
	}
	if got, ok := ParseVoteAccount(voted); !ok || got != v {
		t.Errorf("%+v %v, want %+v", got, ok, v)
	}
	for name, data := range map[string][]byte{
		"empty":         nil,
		"zero":          make([]byte, VoteAccountSize),
		"short":         fresh[:VoteAccountSize-1],
		"other version": append([]byte{3}, fresh[1:]...),
	} {
		if _, ok := ParseVoteAccount(data); ok {
			t.Errorf("%s account accepted", name)
		}
	}
	tooMany := bytes.Clone(fresh)
	tooMany[4+32+32+1] = 32
	if _, ok := ParseVoteAccount(tooMany); ok {
		t.Error("32 lockouts accepted")
	}
}

func TestStakeAccountActive(t *testing.T) {
	const never = math.MaxUint64
	for _, c := range []struct {
		activation, deactivation, epoch uint64
		want                            bool
	}{
		{never, never, 0, true},
		{never, 3, 3, true},
		{never, 3, 4, false},
		{2, never, 2, false},
		{2, never, 3, true},
	} {
		s := StakeAccount{Activation: c.activation, Deactivation: c.deactivation}
		back, ok := ParseStakeAccount(s.Append(nil))
		if !ok || back != s || back.Active(c.epoch) != c.want {
			t.Errorf("%+v: %+v %v", c, back, ok)
		}
	}
	if _, ok := ParseStakeAccount(make([]byte, StakeAccountSize)); ok {
		t.Error("an empty stake account is delegated")
	}
}

// FuzzParseAccounts: no data of an account make its parsers panic or
// allocate much.
func FuzzParseAccounts(f *testing.F) {
	v := VoteAccount{Node: ledger.Pubkey{1}, Withdrawer: ledger.Pubkey{2}, Authority: ledger.Pubkey{3}}
	f.Add(v.Append(nil))
	s := StakeAccount{Authority: ledger.Pubkey{1}, Voter: ledger.Pubkey{2}, Stake: 3}
	f.Add(s.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			ParseVoteAccount(b)
			ParseStakeAccount(b)
			return nil
		})
	})
}
