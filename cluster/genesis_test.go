package cluster

import (
	"bytes"
	"crypto/sha256"
	"testing"
	"time"

	"tutti/ledger"
	"tutti/ledger/sigverify"
)

const testT0 = 1_700_000_000_500_000_000

// key returns the i-th test key of a kind.
func key(kind string, i int) ledger.Pubkey {
	return ledger.Pubkey(ledger.Sum([]byte(kind), []byte{byte(i), byte(i >> 8)}))
}

// testOptions are those of a cluster of validators with these stakes in SOL.
func testOptions(stakes ...uint64) Options {
	o := Options{Params: LocalParams(4), T0: testT0, Faucet: key("faucet", 0)}
	o.Params.SlotsPerEpoch, o.Params.LagZero = 32, 8
	for i, s := range stakes {
		o.Validators = append(o.Validators, Validator{
			Identity:    key("identity", i),
			VoteAccount: key("vote", i),
			Stake:       ledger.Lamports(s) * ledger.LamportsPerSOL,
		})
	}
	return o
}

func newGenesis(t testing.TB, o Options) *Genesis {
	t.Helper()
	g, err := NewGenesis(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGenesisRoundTrip(t *testing.T) {
	o := testOptions(10, 20, 30)
	o.Params.HashesPerTick = 0
	o.Params.SignatureRule = sigverify.Strict
	o.Params.Execution = ExecutionSync
	o.Accounts = []GenesisAccount{{Key: key("extra", 0), Lamports: 7, Data: []byte("data")}}
	g := newGenesis(t, o)
	back, err := ParseGenesis(g.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.Bytes(), g.Bytes()) {
		t.Fatal("genesis differs after a round trip")
	}
	if back.Params != g.Params {
		t.Fatalf("parameters %+v, want %+v", back.Params, g.Params)
	}
	if back.T0 != testT0 || back.CreationTime != testT0/int64(time.Second) {
		t.Fatalf("T0 %d, creation time %d", back.T0, back.CreationTime)
	}
	if g.Hash() != sha256.Sum256(g.Bytes()) {
		t.Fatal("the genesis hash does not cover the bytes")
	}
}
