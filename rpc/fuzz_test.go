package rpc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"tutti/ledger"
)

// FuzzMethods calls every method with any parameters: the answer is JSON or an
// error with a code, and what is submitted is sane.
func FuzzMethods(f *testing.F) {
	w := newWorld(f)
	block := w.block(nil, 1, 0)
	w.all(block)
	s := &Server{
		State: w.state, Genesis: w.genesis, Faucet: keyOf(faucet), Identity: pubkeyOf(identity), Version: "0.0.0-test",
	}
	names := slices.Sorted(maps.Keys(methods))
	at := func(name string) byte { return byte(slices.Index(names, name)) }
	tx := transfer(faucet, 7, 5, 1000, block.lastPoH())
	wire, message := base64.StdEncoding.EncodeToString(tx.Raw()), base64.StdEncoding.EncodeToString(tx.Message())
	key, signature := pubkeyOf(faucet), tx.Signature(0)
	f.Add(at("getAccountInfo"), []byte(fmt.Sprintf(`[%q,{"encoding":"base64+zstd","commitment":"processed","dataSlice":{"offset":1,"length":9}}]`, key)))
	f.Add(at("getMultipleAccounts"), []byte(fmt.Sprintf(`[[%q,%q],{"encoding":"base58","minContextSlot":1}]`, key, key)))
	f.Add(at("getSignatureStatuses"), []byte(fmt.Sprintf(`[[%q],{"searchTransactionHistory":true}]`, signature)))
	f.Add(at("getMinimumBalanceForRentExemption"), []byte(`[18446744073709551615]`))
	f.Add(at("isBlockhashValid"), []byte(fmt.Sprintf(`[%q,{"commitment":"finalized"}]`, block.lastPoH())))
	f.Add(at("getFeeForMessage"), []byte(fmt.Sprintf(`[%q]`, message)))
	f.Add(at("requestAirdrop"), []byte(fmt.Sprintf(`[%q,1000000]`, key)))
	f.Add(at("sendTransaction"), []byte(fmt.Sprintf(`[%q,{"encoding":"base64","skipPreflight":true}]`, wire)))
	f.Add(at("sendTransaction"), []byte(fmt.Sprintf(`[%q,{"encoding":"base64","preflightCommitment":"processed"}]`, wire)))
	f.Add(at("getSlot"), []byte(`{"a":[null]}`))
	f.Fuzz(func(t *testing.T, which byte, params []byte) {
		s.Submit = func(_ context.Context, tx ledger.Transaction) error {
			if err := tx.Sanitize(); err != nil || !s.rule().VerifyTransaction(&tx) {
				t.Errorf("submitted %x: %v", tx.Raw(), err)
			}
			return nil
		}
		name := names[int(which)%len(names)]
		if len(params) > 0 && !json.Valid(params) {
			return // the envelope has refused it
		}
		result, failure := s.handle(t.Context())(name, params)
		if failure != nil {
			if failure.Code >= 0 || failure.Message == "" {
				t.Fatalf("%s(%s): %+v", name, params, failure)
			}
			return
		}
		if _, err := json.Marshal(result); err != nil {
			t.Fatalf("%s(%s): %v", name, params, err)
		}
	})
}
