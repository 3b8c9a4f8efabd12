package rpc

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mr-tron/base58"

	"tutti/ledger"
	"tutti/node"
)

// call sends a request by HTTP and returns result and error, as they are.
func (s *Server) call(t *testing.T, method string, params ...any) (result json.RawMessage, failure *Error) {
	t.Helper()
	if params == nil {
		params = []any{}
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		t.Fatal(err)
	}
	code, response := post(t, s.URL(), "application/json", string(body))
	if code != http.StatusOK {
		t.Fatalf("%s: status %d", method, code)
	}
	var r struct {
		Result json.RawMessage `json:"result"`
		Error  *Error          `json:"error"`
	}
	if err := json.Unmarshal([]byte(response), &r); err != nil {
		t.Fatal(err)
	}
	return r.Result, r.Error
}

var httpClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func post(t *testing.T, url, contentType, body string) (int, string) {
	t.Helper()
	r, err := httpClient.Post(url, contentType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return finish(t, r)
}

func finish(t *testing.T, r *http.Response) (int, string) {
	t.Helper()
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// shape replaces every scalar of a JSON value by its type, and says what an
// answer looks like without its numbers: clients check keys and types.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = shape(v[k])
		}
		return v
	case []any:
		for i := range v {
			v[i] = shape(v[i])
		}
		return v
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "bool"
	}
	return v
}

func shapeOf(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	b, err := json.Marshal(shape(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func accept(context.Context, ledger.Transaction) error { return nil }

// Every method's keys, present and absent. Keys are sorted.
func TestShapes(t *testing.T) {
	w := newWorld(t)
	ok := transfer(faucet, alice, 5e9, 500, w.bank.Root().ID)
	b1 := w.block(nil, 1, 0, ok)
	failed := transfer(alice, bob, 7e9, 500, b1.lastPoH())
	b2 := w.block(b1, 2, 0, failed)
	w.all(b1)
	w.apply(b2.userHeld(), b2.held(), b2.computed(), node.Head{Slot: 2})
	s := w.serve(accept)

	key, none := pubkeyOf(alice).String(), pubkeyOf(99).String()
	message := ledger.TransferMessage(pubkeyOf(alice), pubkeyOf(bob), 1, 0, 0, b1.lastPoH())
	stale := ledger.TransferMessage(pubkeyOf(alice), pubkeyOf(bob), 1, 0, 0, ledger.Hash{1})
	const inContext = `{"context":{"apiVersion":"string","slot":"number"},"value":`
	const accountOf = `{"data":%s,"executable":"bool","lamports":"number","owner":"string","rentEpoch":"number","space":"number"}`
	processed := map[string]string{"commitment": "processed"}
	for _, c := range []struct {
		method string
		params []any
		want   string
	}{
		{"getHealth", nil, `"string"`},
		{"getVersion", nil, `{"client-id":"string","feature-set":"number","solana-core":"string","tutti":"string"}`},
		{"getIdentity", nil, `{"identity":"string"}`},
		{"getGenesisHash", nil, `"string"`},
		{"getSlot", nil, `"number"`},
		{"getSlot", []any{processed}, `"number"`},
		{"getBlockHeight", nil, `"number"`},
		{"getTransactionCount", nil, `"number"`},
		{"getEpochInfo", nil, `{"absoluteSlot":"number","blockHeight":"number","epoch":"number","slotIndex":"number","slotsInEpoch":"number","transactionCount":"number"}`},
		{"getEpochSchedule", nil, `{"firstNormalEpoch":"number","firstNormalSlot":"number","leaderScheduleSlotOffset":"number","slotsPerEpoch":"number","warmup":"bool"}`},
		{"getLatestBlockhash", nil, inContext + `{"blockhash":"string","lastValidBlockHeight":"number"}}`},
		{"isBlockhashValid", []any{b1.lastPoH().String()}, inContext + `"bool"}`},
		{"getBalance", []any{key}, inContext + `"number"}`},
		{"getAccountInfo", []any{none}, inContext + `null}`},
		{"getAccountInfo", []any{key}, inContext + fmt.Sprintf(accountOf, `"string"`) + `}`},
		{"getAccountInfo", []any{key, map[string]string{"encoding": "base58"}}, inContext + fmt.Sprintf(accountOf, `["string","string"]`) + `}`},
		{"getAccountInfo", []any{key, map[string]string{"encoding": "jsonParsed"}}, inContext + fmt.Sprintf(accountOf, `["string","string"]`) + `}`},
		{"getMultipleAccounts", []any{[]string{key, none}}, inContext + `[` + fmt.Sprintf(accountOf, `["string","string"]`) + `,null]}`},
		{"getMinimumBalanceForRentExemption", []any{0}, `"number"`},
		{"getFeeForMessage", []any{base64.StdEncoding.EncodeToString(message.Append(nil))}, inContext + `"number"}`},
		{"getFeeForMessage", []any{base64.StdEncoding.EncodeToString(stale.Append(nil))}, inContext + `null}`},
		{"requestAirdrop", []any{key, 1000}, `"string"`},
		{
			"getSignatureStatuses",
			[]any{[]string{ok.Signature(0).String(), failed.Signature(0).String(), ledger.Signature{7}.String()}, map[string]bool{"searchTransactionHistory": true}},
			`{"context":{"apiVersion":"string","slot":"number"},"levels":["string","string",null],"value":[` +
				`{"confirmationStatus":"string","confirmations":null,"err":null,"level":"string","slot":"number","status":{"Ok":null}},` +
				`{"confirmationStatus":"string","confirmations":"number","err":{"InstructionError":["number",{"Custom":"number"}]},"level":"string","slot":"number","status":{"Err":{"InstructionError":["number",{"Custom":"number"}]}}},` +
				`null]}`,
		},
	} {
		t.Run(c.method, func(t *testing.T) {
			result, failure := s.call(t, c.method, c.params...)
			if failure != nil {
				t.Fatalf("%d %s", failure.Code, failure.Message)
			}
			if got := shapeOf(t, result); got != c.want {
				t.Errorf("%s\n got %s\nwant %s", result, got, c.want)
			}
		})
	}
}

// The values behind the shapes.
func TestValues(t *testing.T) {
	w := newWorld(t)
	b1 := w.block(nil, 1, 0, transfer(faucet, alice, 5e9, 500, w.bank.Root().ID))
	b2 := w.block(b1, 4, 0, transfer(faucet, alice, 5e9, 501, w.bank.Root().ID))
	w.all(b1)
	w.apply(b2.held(), b2.confirmed(), b2.computed())
	s := w.serve(accept)
	key := pubkeyOf(alice).String()
	processed := map[string]any{"commitment": "processed"}
	rentMinimum, _ := s.call(t, "getMinimumBalanceForRentExemption", 165)
	if string(rentMinimum) != "2039280" {
		t.Errorf("rent of 165 bytes: %s", rentMinimum)
	}
	for _, c := range []struct {
		method string
		params []any
		want   string
	}{
		{"getHealth", nil, `"ok"`},
		{"getGenesisHash", nil, `"` + w.genesis.Hash().String() + `"`},
		{"getIdentity", nil, `{"identity":"` + pubkeyOf(identity).String() + `"}`},
		{"getSlot", nil, `1`},
		{"getSlot", []any{processed}, `4`},
		{"getBlockHeight", []any{processed}, `2`},
		{"getEpochInfo", []any{processed}, `{"absoluteSlot":4,"blockHeight":2,"epoch":0,"slotIndex":4,"slotsInEpoch":8192,"transactionCount":2}`},
		{"getBalance", []any{key}, `{"context":{"slot":1,"apiVersion":"4.1.0"},"value":5000000000}`},
		{"getBalance", []any{key, processed}, `{"context":{"slot":4,"apiVersion":"4.1.0"},"value":10000000000}`},
		{"getLatestBlockhash", nil, `{"context":{"slot":1,"apiVersion":"4.1.0"},"value":{"blockhash":"` + b1.lastPoH().String() + `","lastValidBlockHeight":151}}`},
		{"getLatestBlockhash", []any{processed}, `{"context":{"slot":4,"apiVersion":"4.1.0"},"value":{"blockhash":"` + b2.lastPoH().String() + `","lastValidBlockHeight":152}}`},
		{"getAccountInfo", []any{key}, `{"context":{"slot":1,"apiVersion":"4.1.0"},"value":{"data":"","executable":false,"lamports":5000000000,"owner":"11111111111111111111111111111111","rentEpoch":18446744073709551615,"space":0}}`},
		{"getAccountInfo", []any{"SysvarRent111111111111111111111111111111111", map[string]any{"encoding": "base64", "dataSlice": map[string]int{"offset": 0, "length": 2}}}, `{"context":{"slot":1,"apiVersion":"4.1.0"},"value":{"data":["mA0=","base64"],"executable":false,"lamports":1009200,"owner":"Sysvar1111111111111111111111111111111111111","rentEpoch":18446744073709551615,"space":17}}`},
	} {
		result, failure := s.call(t, c.method, c.params...)
		if failure != nil {
			t.Errorf("%s: %d %s", c.method, failure.Code, failure.Message)
		} else if string(result) != c.want {
			t.Errorf("%s %v\n got %s\nwant %s", c.method, c.params, result, c.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	b1 := w.block(nil, 1, 0, transfer(faucet, alice, 5e9, 500, w.bank.Root().ID))
	w.all(b1)
	submit := func(_ context.Context, tx ledger.Transaction) error { return errors.New("pool is full") }
	s := w.serve(submit)
	wire := func(tx ledger.Transaction) string { return base64.StdEncoding.EncodeToString(tx.Raw()) }
	base64Config := map[string]any{"encoding": "base64"}
	skip := map[string]any{"encoding": "base64", "skipPreflight": true}
	good := transfer(alice, bob, 1e9, 500, b1.lastPoH())
	forged := slices.Clone(good.Raw())
	forged[5] ^= 1
	processed := transfer(faucet, alice, 5e9, 500, w.bank.Root().ID)
	const simulation = "Transaction simulation failed: "
	for _, c := range []struct {
		name, method string
		params       []any
		code         int
		message      string
	}{
		{"unknown method", "getRecentBlockhash", nil, -32601, "Method not found"},
		{"no key", "getBalance", nil, -32602, "Invalid params: 0 parameters given, at least 1 needed"},
		{"wrong key", "getBalance", []any{"abc"}, -32602, ""},
		{"long key", "getBalance", []any{strings.Repeat("1", 1000)}, -32602, "Invalid param: WrongSize"},
		{"later slot", "getBalance", []any{pubkeyOf(alice).String(), map[string]any{"minContextSlot": 9}}, -32016, "Minimum context slot has not been reached"},
		{"later slot", "getLatestBlockhash", []any{map[string]any{"minContextSlot": 9}}, -32016, "Minimum context slot has not been reached"},
		{"too many statuses", "getSignatureStatuses", []any{make([]string, 257)}, -32602, "Too many inputs provided; max 256"},
		{"wrong signature", "getSignatureStatuses", []any{[]string{"1"}}, -32602, "Invalid param: Invalid signature"},
		{"too many accounts", "getMultipleAccounts", []any{make([]string, 101)}, -32602, "Too many inputs provided; max 100"},
		{"base58 of long data", "getAccountInfo", []any{"SysvarC1ock11111111111111111111111111111111", map[string]any{"encoding": "base58"}}, 0, ""},
		{"base58 of longer data", "getAccountInfo", []any{pubkeyOf(voteAccount).String()}, -32602, "Encoded binary (base 58) data should be less than 128 bytes, please use Base64 encoding."},
		{"no transaction", "sendTransaction", []any{"AA==", base64Config}, -32602, ""},
		{"wrong encoding", "sendTransaction", []any{"AA", map[string]any{"encoding": "hex"}}, -32602, ""},
		{"no base64", "sendTransaction", []any{"!!", base64Config}, -32602, ""},
		{"too long", "sendTransaction", []any{strings.Repeat("A", 1700), base64Config}, -32602, ""},
		{"transaction version 1", "sendTransaction", []any{base64.StdEncoding.EncodeToString(append([]byte{0x81}, make([]byte, 300)...)), base64Config}, -32602, ""},
		{"forged", "sendTransaction", []any{base64.StdEncoding.EncodeToString(forged), skip}, -32003, "Transaction signature verification failure"},
		{"unknown blockhash", "sendTransaction", []any{wire(transfer(alice, bob, 1, 500, ledger.Hash{1})), base64Config}, -32002, simulation + "Blockhash not found"},
		{"processed already", "sendTransaction", []any{wire(processed), base64Config}, -32002, simulation + "This transaction has already been processed"},
		{"no payer", "sendTransaction", []any{wire(transfer(bob, alice, 1, 500, b1.lastPoH())), base64Config}, -32002, simulation + "Attempt to debit an account but found no record of a prior credit."},
		{"full pool", "sendTransaction", []any{wire(good), base64Config}, -32000, "Transaction refused: pool is full"},
		{"full pool, base58", "sendTransaction", []any{base58.Encode(good.Raw())}, -32000, "Transaction refused: pool is full"},
		{"airdrop of nothing", "requestAirdrop", []any{pubkeyOf(alice).String()}, -32602, ""},
		{"airdrop into a full pool", "requestAirdrop", []any{pubkeyOf(alice).String(), 1}, -32000, "Transaction refused: pool is full"},
		{"message", "getFeeForMessage", []any{"AAAA"}, -32602, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			result, failure := s.call(t, c.method, c.params...)
			switch {
			case failure == nil && c.code != 0:
				t.Errorf("answered with %s", result)
			case failure != nil && (failure.Code != c.code || c.message != "" && failure.Message != c.message):
				t.Errorf("got %d %s", failure.Code, failure.Message)
			case failure != nil && (failure.Data != nil) != (c.code == -32002 || c.code == -32016):
				t.Errorf("data %v", failure.Data)
			}
		})
	}
	result, failure := s.call(t, "sendTransaction", wire(transfer(bob, alice, 1, 500, b1.lastPoH())), base64Config)
	if failure == nil {
		t.Fatalf("answered with %s", result)
	}
	data, _ := json.Marshal(failure.Data)
	const want = `{"accounts":null,"err":"string","fee":null,"innerInstructions":null,"loadedAccountsDataSize":"number","loadedAddresses":null,"logs":[],"postBalances":null,"postTokenBalances":null,"preBalances":null,"preTokenBalances":null,"replacementBlockhash":null,"returnData":null,"unitsConsumed":"number"}`
	if got := shapeOf(t, data); got != want {
		t.Errorf("data of a preflight failure\n got %s\nwant %s", got, want)
	}
}

// Transport rules (CLIENTS section 1.3 of the specification).
func TestHTTP(t *testing.T) {
	w := newWorld(t)
	s := w.serve(accept)
	const body = `{"jsonrpc":"2.0","id":"x","method":"getSlot"}`
	for _, c := range []struct {
		name, method, path, contentType, body string
		status                                int
		want                                  string
	}{
		{"post", "POST", "/", "application/json", body, 200, `{"jsonrpc":"2.0","result":0,"id":"x"}`},
		{"charset", "POST", "/", "application/json; charset=utf-8", body, 200, `{"jsonrpc":"2.0","result":0,"id":"x"}`},
		{"batch", "POST", "/", "application/json", "[" + body + "]", 200, `[{"jsonrpc":"2.0","result":0,"id":"x"}]`},
		{"error", "POST", "/", "application/json", "x", 200, `{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}`},
		{"notification", "POST", "/", "application/json", `{"jsonrpc":"2.0","method":"getSlot"}`, 204, ""},
		{"text", "POST", "/", "text/plain", body, 415, ""},
		{"no type", "POST", "/", "", body, 415, ""},
		{"get", "GET", "/", "", "", 405, ""},
		{"put", "PUT", "/", "application/json", body, 405, ""},
		{"too large", "POST", "/", "application/json", strings.Repeat(" ", bodySizeMax+1), 413, ""},
		{"largest", "POST", "/", "application/json", body + strings.Repeat(" ", bodySizeMax-len(body)), 200, `{"jsonrpc":"2.0","result":0,"id":"x"}`},
		{"health", "GET", "/health", "", "", 200, "unknown"},
		{"preflight", "OPTIONS", "/", "", "", 200, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := http.NewRequest(c.method, s.URL()+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.contentType != "" {
				r.Header.Set("Content-Type", c.contentType)
			}
			response, err := httpClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if got := response.Header.Get("Access-Control-Allow-Origin"); got != "*" {
				t.Errorf("allows origin %q", got)
			}
			if allowed := response.Header.Get("Access-Control-Allow-Headers"); c.method == "OPTIONS" &&
				(!strings.Contains(allowed, "content-type") || !strings.Contains(allowed, "solana-client")) {
				t.Errorf("allows headers %q", allowed)
			}
			status, got := finish(t, response)
			if status != c.status || c.status < 300 && got != c.want {
				t.Errorf("status %d, %q", status, got)
			}
		})
	}
}

func TestHealth(t *testing.T) {
	w := newWorld(t)
	s := w.serve(accept)
	check := func(text, data string) {
		t.Helper()
		r, err := httpClient.Get(s.URL() + "/health")
		if err != nil {
			t.Fatal(err)
		}
		if _, got := finish(t, r); got != text {
			t.Errorf("health %q, want %q", got, text)
		}
		result, failure := s.call(t, "getHealth")
		if data == "" {
			if string(result) != `"ok"` {
				t.Errorf("getHealth: %s, %v", result, failure)
			}
			return
		}
		got, _ := json.Marshal(failure.Data)
		if failure.Code != codeUnhealthy || string(got) != data {
			t.Errorf("getHealth: %d %s", failure.Code, got)
		}
	}
	check("unknown", `{"numSlotsBehind":null}`)
	w.apply(node.Head{Slot: 200})
	check("behind", `{"numSlotsBehind":200}`)
	w.all(w.block(nil, 100, 0))
	w.apply(node.Head{Slot: 200})
	check("ok", "")
	w.apply(node.HealthChanged{Health: node.Halted, Block: ledger.BlockRef{Slot: 7}, Cause: "why"})
	check("halted", `{"cause":"why","health":"halted","numSlotsBehind":null,"slot":7}`)
	w.apply(node.HealthChanged{})
	check("ok", "")
}

// Two equal requests are two transactions.
func TestAirdropsDiffer(t *testing.T) {
	w := newWorld(t)
	s := w.serve(accept)
	first, _ := s.call(t, "requestAirdrop", pubkeyOf(alice).String(), 1)
	second, _ := s.call(t, "requestAirdrop", pubkeyOf(alice).String(), 1)
	if len(first) < 80 || bytes.Equal(first, second) {
		t.Errorf("%s %s", first, second)
	}
}

func TestNoFaucet(t *testing.T) {
	w := newWorld(t)
	s := w.serve(accept)
	s.Faucet = nil
	if _, failure := s.call(t, "requestAirdrop", pubkeyOf(alice).String(), 1); failure == nil || failure.Code != codeInvalidRequest {
		t.Errorf("%v", failure)
	}
}

// A taken port is an error before anything is served.
func TestPortTaken(t *testing.T) {
	w := newWorld(t)
	s := w.serve(accept)
	again := &Server{State: w.state, Genesis: w.genesis, Address: s.web.Addr().String()}
	if err := again.Run(context.Background()); err == nil {
		t.Error("two servers on one port")
	}
	for _, address := range []string{"127.0.0.1", "127.0.0.1:65535", "127.0.0.1:http"} {
		if err := (&Server{Genesis: w.genesis, Address: address}).Listen(); err == nil {
			t.Errorf("listens on %s", address)
		}
	}
}
