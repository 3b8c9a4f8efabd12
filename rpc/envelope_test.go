package rpc

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// echo answers with its parameters; "fail" fails, "data" with data.
func echo(method string, params json.RawMessage) (any, *Error) {
	switch method {
	case "fail":
		return nil, &Error{Code: -32002, Message: "no <good>"}
	case "data":
		return nil, &Error{Code: -32002, Message: "no", Data: map[string]any{"logs": []string{}}}
	case "unencodable":
		return func() {}, nil
	}
	if params == nil {
		return method, nil
	}
	return params, nil
}

func TestEnvelope(t *testing.T) {
	const invalid = `{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid request"},"id":null}`
	const parse = `{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}`
	for _, c := range []struct{ name, in, want string }{
		{"string id", `{"jsonrpc":"2.0","id":"a","method":"m"}`, `{"jsonrpc":"2.0","result":"m","id":"a"}`},
		{"id with escapes stays", `{"jsonrpc":"2.0","id":"\u0041<\/>","method":"m"}`, `{"jsonrpc":"2.0","result":"m","id":"\u0041<\/>"}`},
		{"63-bit id", `{"jsonrpc":"2.0","id":9223372036854775807,"method":"m"}`, `{"jsonrpc":"2.0","result":"m","id":9223372036854775807}`},
		{"fractional id", `{"jsonrpc":"2.0","id":1.50e1,"method":"m"}`, `{"jsonrpc":"2.0","result":"m","id":1.50e1}`},
		{"null id", `{"jsonrpc":"2.0","id":null,"method":"m"}`, `{"jsonrpc":"2.0","result":"m","id":null}`},
		{"params", ` {"jsonrpc":"2.0","id":1,"method":"m","params":[1,"x"]} `, `{"jsonrpc":"2.0","result":[1,"x"],"id":1}`},
		{"unknown keys", `{"jsonrpc":"2.0","id":1,"method":"m","extra":{}}`, `{"jsonrpc":"2.0","result":"m","id":1}`},
		{"error without data", `{"jsonrpc":"2.0","id":1,"method":"fail"}`, `{"jsonrpc":"2.0","error":{"code":-32002,"message":"no <good>"},"id":1}`},
		{"error with data", `{"jsonrpc":"2.0","id":1,"method":"data"}`, `{"jsonrpc":"2.0","error":{"code":-32002,"message":"no","data":{"logs":[]}},"id":1}`},
		{"internal error", `{"jsonrpc":"2.0","id":1,"method":"unencodable"}`, `{"jsonrpc":"2.0","error":{"code":-32603,"message":"Internal error"},"id":1}`},
		{"notification", `{"jsonrpc":"2.0","method":"m"}`, ``},
		{"failing notification", `{"jsonrpc":"2.0","method":"fail"}`, ``},
		{"batch", `[{"jsonrpc":"2.0","id":1,"method":"m"},{"jsonrpc":"2.0","method":"m"},7,{"jsonrpc":"2.0","id":"z","method":"fail"}]`, `[{"jsonrpc":"2.0","result":"m","id":1},` + invalid + `,{"jsonrpc":"2.0","error":{"code":-32002,"message":"no <good>"},"id":"z"}]`},
		{"batch of notifications", `[{"jsonrpc":"2.0","method":"m"}]`, ``},
		{"empty batch", `[]`, invalid},
		{"nothing", ``, parse},
		{"no JSON", `{"jsonrpc":`, parse},
		{"two values", `{} {}`, parse},
		{"number", `1`, invalid},
		{"null", `null`, invalid},
		{"object id", `{"jsonrpc":"2.0","id":{},"method":"m"}`, invalid},
		{"boolean id", `{"jsonrpc":"2.0","id":true,"method":"m"}`, invalid},
		{"no version", `{"id":1,"method":"m"}`, `{"jsonrpc":"2.0","error":{"code":-32600,"message":"Unsupported JSON-RPC protocol version"},"id":1}`},
		{"version 1", `{"jsonrpc":"1.0","id":1,"method":"m"}`, `{"jsonrpc":"2.0","error":{"code":-32600,"message":"Unsupported JSON-RPC protocol version"},"id":1}`},
		{"no method", `{"jsonrpc":"2.0","id":1}`, `{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid request"},"id":1}`},
		{"method in another case", `{"jsonrpc":"2.0","id":1,"METHOD":"m"}`, `{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid request"},"id":1}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(answer([]byte(c.in), echo)); got != c.want {
				t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
			}
		})
	}
}

// The rest of a batch is refused when there is too much to answer with.
func TestEnvelopeBoundsBatches(t *testing.T) {
	const one = `{"jsonrpc":"2.0","id":1,"method":"m"}`
	long := strings.Repeat("x", responseSizeMax/2)
	calls := 0
	got := answer([]byte(`[`+one+`,`+one+`,`+one+`,`+one+`]`), func(string, json.RawMessage) (any, *Error) {
		calls++
		return long, nil
	})
	if calls != 2 || !json.Valid(got) || bytes.Count(got, []byte(`"code":-32000`)) != 2 {
		t.Errorf("%d calls, %d bytes", calls, len(got))
	}
}

func TestParams(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"all", `["a",{"commitment":"processed"}]`, ""},
		{"config left out", `["a"]`, ""},
		{"config null", `["a",null]`, ""},
		{"commitment null", `["a",{"commitment":null}]`, ""},
		{"none", ``, "Invalid params: 0 parameters given, at least 1 needed"},
		{"null", `null`, "Invalid params: 0 parameters given, at least 1 needed"},
		{"first null", `[null]`, "Invalid params: parameter 1 is null"},
		{"too many", `["a",{},{}]`, "Invalid params: 3 parameters given, at most 2 taken"},
		{"object", `{"a":1}`, "Invalid params: an array of parameters is expected"},
		{"wrong commitment", `["a",{"commitment":"max"}]`, `Invalid params: parameter 2: unknown commitment "max"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var text string
			config := newConfig()
			err := decodeParams(json.RawMessage(c.in), 1, &text, &config)
			switch {
			case err == nil && c.want != "":
				t.Errorf("no error")
			case err != nil && (err.Message != c.want || err.Code != codeInvalidParams):
				t.Errorf("got %d %s", err.Code, err.Message)
			case err == nil && text != "a":
				t.Errorf("got %q", text)
			}
		})
	}
}

// Whatever comes in, the answer is JSON that follows the envelope's rules,
// and the ids in it came in.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":"a","method":"m","params":[1]}`))
	f.Add([]byte(`[{"jsonrpc":"2.0","id":1,"method":"fail"},{"jsonrpc":"2.0","method":"m"},[]]`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":"\u0041\ud800","method":"data"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		out := answer(in, echo)
		if out == nil {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%q\nanswered with %q", in, out)
		}
		type response struct {
			Version string          `json:"jsonrpc"`
			Result  json.RawMessage `json:"result"`
			Error   *Error          `json:"error"`
			ID      json.RawMessage `json:"id"`
		}
		responses := make([]response, 1)
		if out[0] == '[' {
			responses = nil
			if err := json.Unmarshal(out, &responses); err != nil || len(responses) == 0 {
				t.Fatalf("%q\nanswered with %q: %v", in, out, err)
			}
		} else if err := json.Unmarshal(out, &responses[0]); err != nil {
			t.Fatalf("%q\nanswered with %q: %v", in, out, err)
		}
		for _, r := range responses {
			if r.Version != "2.0" || r.ID == nil || (r.Result == nil) == (r.Error == nil) {
				t.Fatalf("%q\nanswered with %q", in, out)
			}
			if string(r.ID) != "null" && !bytes.Contains(in, r.ID) {
				t.Fatalf("id %q did not come in", r.ID)
			}
		}
	})
}
