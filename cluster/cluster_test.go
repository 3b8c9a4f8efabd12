package cluster

import (
	"crypto/ed25519"
	"testing"

	"tutti/ledger"
)

const testT0 = 1_700_000_000_500_000_000

// key returns the i-th test key of a kind.
func key(kind string, i int) ledger.Pubkey {
	return ledger.Pubkey(ledger.Sum([]byte(kind), []byte{byte(i), byte(i >> 8)}))
}

// signer returns the i-th test key pair.
func signer(i int) ed25519.PrivateKey {
	k := key("signer", i)
	return ed25519.NewKeyFromSeed(k[:])
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
