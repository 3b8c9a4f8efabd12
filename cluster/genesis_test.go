package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"tutti/internal/testkit"
	"tutti/ledger"
	"tutti/ledger/sigverify"
)

func TestGenesisRoundTrip(t *testing.T) {
	o := testOptions(10, 20, 30)
	o.Params.HashesPerTick = 0
	o.Params.SignatureRule = sigverify.Strict
	o.Params.Execution = ExecutionSync
	o.Params.TickDuration = 2*time.Second + 7
	o.Accounts = []GenesisAccount{{Key: key("extra", 0), Lamports: 7, Data: []byte("data"), RentEpoch: 3}}
	g := newGenesis(t, o)
	back, err := ParseGenesis(g.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.Bytes(), g.Bytes()) {
		t.Fatal("genesis differs after a round trip")
	}
	if back.Params != g.Params || !slices.Equal(back.Validators, g.Validators) || back.Faucet != g.Faucet {
		t.Fatalf("%+v, want %+v", back.Params, g.Params)
	}
	if back.T0 != testT0 || back.CreationTime != testT0/int64(time.Second) {
		t.Fatalf("T0 %d, creation time %d", back.T0, back.CreationTime)
	}
	if g.Hash() != sha256.Sum256(g.Bytes()) {
		t.Fatal("the genesis hash does not cover the bytes")
	}
}

// PROTOCOL section 2: the defaults of the table.
func TestParamsDefaults(t *testing.T) {
	p := LocalParams(4)
	want := Params{
		Proposers: 4, HashesPerTick: 100, UserBlockHashesPerTick: 100, TickDuration: 6250 * time.Microsecond,
		SlotsPerEpoch: 8192, InclusionWindow: 1, GraceTicks: 32, MaxCostPerSlot: 48_000_000,
		FECSetsMax: 48, PayloadMax: 1 << 20, TransactionsMax: 4096, LagFull: 4, LagZero: 32,
		Reserve: 1_000_000, ProposerBond: 5_000_000_000, Fanout: 200,
	}
	if p != want {
		t.Errorf("local parameters %+v, want %+v", p, want)
	}
	if p.UserBlockCostMax() != 6_000_000 {
		t.Errorf("c = %d", p.UserBlockCostMax())
	}
	p = LocalParams(3)
	if p.FECSetsMax != 192 || p.PayloadMax != 4<<20 || p.TransactionsMax != 16_384 {
		t.Errorf("limits of 3 proposers %+v", p)
	}
	like := LocalParams(16) // mainnet (docs/protocol.md, section 2)
	like.HashesPerTick, like.UserBlockHashesPerTick = 62_500, 1_000
	like.SlotsPerEpoch, like.SignatureRule = 432_000, sigverify.Strict
	for n := 1; n <= 32; n++ {
		if err := LocalParams(n).Validate(); err != nil {
			t.Errorf("defaults of %d proposers: %v", n, err)
		}
	}
	if err := like.Validate(); err != nil {
		t.Error(err)
	}
}

// Every error names the parameter and what to use.
func TestParamsValidate(t *testing.T) {
	for want, change := range map[string]func(p *Params){
		"proposers is 0: use 1 to 32":                              func(p *Params) { p.Proposers = 0 },
		"proposers is 33: use 1 to 32":                             func(p *Params) { p.Proposers = 33 },
		"hashes_per_tick is 1: use 0 (low power) or 2":             func(p *Params) { p.HashesPerTick = 1 },
		"userblock_hashes_per_tick is 10000001: use":               func(p *Params) { p.UserBlockHashesPerTick = 10_000_001 },
		"tick_duration is 1µs: use 100µs to 10s":                   func(p *Params) { p.TickDuration = time.Microsecond },
		"inclusion_window is 0: use 1 to 16":                       func(p *Params) { p.InclusionWindow = 0 },
		"inclusion_window is 17: use 1 to 16":                      func(p *Params) { p.InclusionWindow = 17 },
		"grace is 257: use 0 to 256":                               func(p *Params) { p.GraceTicks = 257 },
		"lag_full is 32: use less than lag_zero, 32":               func(p *Params) { p.LagFull = 32 },
		"lag_zero is 143: use 1 to 142":                            func(p *Params) { p.LagZero = 143 },
		"slots_per_epoch is 124: use 128 (4 · lag_zero":            func(p *Params) { p.SlotsPerEpoch = 124 },
		"slots_per_epoch is 130: use a multiple of 4, such as 132": func(p *Params) { p.SlotsPerEpoch = 130 },
		"max_cost_per_slot is 79999: use 80000":                    func(p *Params) { p.MaxCostPerSlot = 79_999 },
		"fec_sets_max is 0: use 1 to 1024":                         func(p *Params) { p.FECSetsMax = 0 },
		"payload_max is 1479169: use 2048 to 1479168":              func(p *Params) { p.PayloadMax = 48*32*963 + 1 },
		"transactions_max is 0: use 1 to 65536":                    func(p *Params) { p.TransactionsMax = 0 },
		"fanout is 0: use 1 to 10000":                              func(p *Params) { p.Fanout = 0 },
		"proposer_schedule is 2: use 0 to 1":                       func(p *Params) { p.ProposerSchedule = 2 },
		"proposers is 4: use 1 with proposer_schedule=leader":      func(p *Params) { p.ProposerSchedule = ScheduleLeader },
		"execution is 2: use 0 to 1":                               func(p *Params) { p.Execution = 2 },
		"signature_rule is 2: use 0 to 1":                          func(p *Params) { p.SignatureRule = 2 },
	} {
		p := LocalParams(4)
		change(&p)
		if err := p.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q…", err, want)
		}
		o := testOptions(1)
		o.Params = p
		if _, err := NewGenesis(o); !errors.Is(err, ErrGenesis) {
			t.Errorf("genesis with bad parameters: %v", err)
		}
	}
}

func TestParamNames(t *testing.T) {
	for _, v := range []ProposerSchedule{ScheduleStake, ScheduleLeader} {
		if got, err := ParseProposerSchedule(v.String()); err != nil || got != v {
			t.Errorf("%v: %v %v", v, got, err)
		}
	}
	for _, v := range []Execution{ExecutionAsync, ExecutionSync} {
		if got, err := ParseExecution(v.String()); err != nil || got != v {
			t.Errorf("%v: %v %v", v, got, err)
		}
	}
	_, err := ParseExecution("later")
	if want := `execution is "later": use "async" or "sync"`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestGenesisValidate(t *testing.T) {
	for want, change := range map[string]func(o *Options){
		"t0 is 0":                func(o *Options) { o.T0 = 0 },
		"0 validators":           func(o *Options) { o.Validators = nil },
		"has no stake":           func(o *Options) { o.Validators[1].Stake = 0 },
		"stands twice":           func(o *Options) { o.Validators[1] = o.Validators[0] },
		"stands twice or":        func(o *Options) { o.Faucet = o.Validators[0].Identity },
		"more than 2⁶⁴ − 1":      func(o *Options) { o.Validators[0].Stake = math.MaxUint64 },
		"has no lamports":        func(o *Options) { o.Accounts = []GenesisAccount{{Key: key("extra", 0)}} },
		"10485761 bytes of data": func(o *Options) { o.Accounts = []GenesisAccount{{Lamports: 1, Data: make([]byte, 10<<20+1)}} },
		"SysvarC1ock11111111": func(o *Options) {
			o.Accounts = []GenesisAccount{{Key: SysvarClock, Lamports: 1}}
		},
		"no identity holds the proposer_bond of 5000000000": func(o *Options) { o.IdentityLamports = 1 },
		"3 vote accounts have stake, 2 validators": func(o *Options) {
			extra := Validator{Identity: key("identity", 0), VoteAccount: key("hidden", 0), Stake: 5}
			extra.Authority = extra.Identity
			o.Accounts = extra.accounts()
		},
		"vote and stake accounts say otherwise": func(o *Options) {
			s := StakeAccount{Voter: key("vote", 0), Stake: 5, Activation: math.MaxUint64, Deactivation: math.MaxUint64}
			o.Accounts = []GenesisAccount{account(key("more", 0), ledger.StakeProgram, 5, s.Append(nil))}
		},
	} {
		o := testOptions(1, 2)
		change(&o)
		_, err := NewGenesis(o)
		if !errors.Is(err, ErrGenesis) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want …%s…", err, want)
		}
	}
}

// A stake account cannot lend more weight than it has lamports.
func TestStakeIsHeld(t *testing.T) {
	g := newGenesis(t, testOptions(1, 2))
	a, _ := g.account(stakeAddress(key("vote", 0)))
	s, _ := ParseStakeAccount(a.Data)
	s.Stake = math.MaxUint64
	a.Data = s.Append(nil)
	if i, ok := g.Stakes(0).Voter(key("vote", 0)); !ok || g.Stakes(0).Items[i].Stake != a.Lamports {
		t.Error("stake beyond the account's lamports counts")
	}
	if err := g.Validate(); !errors.Is(err, ErrGenesis) {
		t.Errorf("validator with another stake: %v", err)
	}
}

// Every field that means nothing, or only one thing, is checked, and so is
// every truncation.
func TestParseGenesisIsStrict(t *testing.T) {
	b := newGenesis(t, testOptions(3)).Bytes()
	tutti := bytes.LastIndex(b, []byte(tuttiMagic))
	// From the end of the accounts: processors, pools, ticks per slot, unused.
	config := tutti - (4 + 33 + 6*8 + 17 + 4*8 + 1 + 8 + 9 + 1 + 12 + 4*8)
	for name, at := range map[string]int{
		"native_instruction_processors": config,
		"rewards_pools":                 config + 8,
		"ticks_per_slot":                config + 16,
		"unused":                        config + 24,
		"target_tick_count":             config + 44,
		"fee_rate_governor":             config + 54,
		"epoch_schedule":                config + 54 + 8 + 33 + 17 + 48 + 8,
		"cluster_type":                  tutti - 4,
		"parameters of Tutti":           tutti + 5,
	} {
		changed := bytes.Clone(b)
		changed[at] ^= 2
		if _, err := ParseGenesis(changed); !errors.Is(err, ErrGenesis) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	want := "ticks_per_slot is 66: only 64 is supported"
	changed := bytes.Clone(b)
	changed[config+16] ^= 2
	if _, err := ParseGenesis(changed); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	for n := 0; n < len(b); n += 1 + n/50 {
		if _, err := ParseGenesis(b[:n]); !errors.Is(err, ErrGenesis) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	if _, err := ParseGenesis(append(bytes.Clone(b), 0)); !errors.Is(err, ErrGenesis) {
		t.Errorf("a byte too many: %v", err)
	}
}

// FORMATS section 1: hard forks are hashed in, 16 words are XORed, plus one.
func TestShredVersion(t *testing.T) {
	h := ledger.Hash{0x12, 0x34, 2: 0x01, 31: 0x07}
	if got, want := ShredVersion(h), uint16(0x1234^0x0100^0x0007+1); got != want {
		t.Errorf("version %#x, want %#x", got, want)
	}
	if got := ShredVersion(ledger.Hash{0xff, 0xff}); got != 0xffff {
		t.Errorf("version %#x does not saturate", got)
	}
	b := append([]byte{}, h[:]...)
	b = binary.LittleEndian.AppendUint64(b, 77)
	b = binary.LittleEndian.AppendUint64(b, 2)
	if got := ShredVersion(h, HardFork{Slot: 77, Count: 2}); got != ShredVersion(sha256.Sum256(b)) {
		t.Errorf("version %#x after a hard fork", got)
	}
}

// PROTOCOL sections 1 and 8: tick t is due at T0 + t · tick duration; the
// clock is the slot's first tick, rounded down to seconds.
func TestTimes(t *testing.T) {
	g := newGenesis(t, testOptions(1))
	p := g.Params
	if got := p.TickTime(testT0, 3); got != testT0+3*6_250_000 {
		t.Errorf("tick 3 is due at %d", got)
	}
	if got := p.SlotTime(testT0, 5); got != testT0+5*400_000_000 {
		t.Errorf("slot 5 begins at %d", got)
	}
	for slot, want := range map[ledger.Slot]int64{0: 1_700_000_000, 1: 1_700_000_000, 2: 1_700_000_001} {
		if got := g.UnixTimestamp(slot); got != want {
			t.Errorf("clock of slot %d is %d, want %d", slot, got, want)
		}
	}
	if p.TickTime(testT0, math.MaxUint64) != math.MaxInt64 || p.SlotTime(testT0, math.MaxUint64) != math.MaxInt64 {
		t.Error("times of absurd slots wrap")
	}
	if p.Epoch(31) != 0 || p.Epoch(32) != 1 || p.FirstSlot(2) != 64 || p.FirstSlot(math.MaxUint64) != math.MaxUint64 {
		t.Error("epochs")
	}
}

// PROTOCOL section 2: the genesis hash covers everything, so a change of the
// format would be a new cluster.
func TestGenesisGolden(t *testing.T) {
	g := newGenesis(t, testOptions(10, 20, 30))
	if got, want := g.Hash().String(), "8iU4DawksxrHcu5HUEsdZXHnRf5edKgCEhvYdZux5nxx"; got != want {
		t.Errorf("genesis hash %s, want %s", got, want)
	}
}

func FuzzParseGenesis(f *testing.F) {
	f.Add(newGenesis(f, testOptions(1)).Bytes())
	f.Add([]byte{})
	f.Add(make([]byte, 64))
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, genesisDecoder)
	})
}

func genesisDecoder(b []byte) func() []byte {
	g, err := ParseGenesis(b)
	if err != nil {
		return nil
	}
	return g.Bytes
}

// FuzzParseGenesisChanged changes a valid genesis, so that the fuzzer need
// not find one.
func FuzzParseGenesisChanged(f *testing.F) {
	valid := newGenesis(f, testOptions(1, 2)).Bytes()
	f.Add(uint32(8), []byte{1})
	f.Add(uint32(len(valid)-1), []byte{0xff})
	f.Fuzz(func(t *testing.T, at uint32, change []byte) {
		b := bytes.Clone(valid)
		for i, x := range change {
			b[(int(at)+i)%len(b)] ^= x
		}
		testkit.Decode(t, b, genesisDecoder)
	})
}
