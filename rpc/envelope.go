package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// The error codes of JSON-RPC 2.0 and those of Solana's that clients act on.
const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeUnknownMethod  = -32601
	codeInvalidParams  = -32602
	codeInternal       = -32603

	codeRefused        = -32000
	codePreflight      = -32002
	codeSignature      = -32003
	codeUnhealthy      = -32005
	codeMinContextSlot = -32016
)

// Error is a JSON-RPC error. It is sent with HTTP status 200: Solana's
// clients cannot read it otherwise.
type Error struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	// Data is left out when it is nil: web3.js reads data.logs whenever the
	// key exists.
	Data any `json:"data,omitempty"`
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

func invalidParams(format string, args ...any) *Error {
	return &Error{Code: codeInvalidParams, Message: fmt.Sprintf(format, args...)}
}

// handler answers one call. Its result is encoded as JSON.
type handler func(method string, params json.RawMessage) (any, *Error)

// answer reads a request or a batch of them, calls h for each and returns
// the response, nil if all were notifications.
func answer(body []byte, h handler) []byte {
	if !json.Valid(body) {
		return fail(&Error{Code: codeParse, Message: "Parse error"})
	}
	body = bytes.TrimSpace(body)
	if body[0] != '[' {
		return answerOne(body, h)
	}
	var batch []json.RawMessage
	if err := json.Unmarshal(body, &batch); err != nil {
		return fail(&Error{Code: codeParse, Message: "Parse error"})
	}
	if len(batch) == 0 {
		return fail(&Error{Code: codeInvalidRequest, Message: "Invalid request"})
	}
	var out []byte
	for _, one := range batch {
		if len(out) > responseSizeMax {
			h = refuse
		}
		if r := answerOne(one, h); r != nil {
			if out == nil {
				out = append(out, '[')
			} else {
				out = append(out, ',')
			}
			out = append(out, r...)
		}
	}
	if out == nil {
		return nil
	}
	return append(out, ']')
}

func refuse(string, json.RawMessage) (any, *Error) {
	return nil, &Error{Code: codeRefused, Message: "Too much is asked for in one batch"}
}

// answerOne answers one request, given as valid JSON. The keys are taken out
// by hand because encoding/json ignores their case.
func answerOne(body []byte, h handler) []byte {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return fail(&Error{Code: codeInvalidRequest, Message: "Invalid request"})
	}
	id, call := fields["id"]
	if !call {
		id = json.RawMessage("null")
	}
	if !isID(id) {
		return fail(&Error{Code: codeInvalidRequest, Message: "Invalid request"})
	}
	var version, method string
	if json.Unmarshal(fields["jsonrpc"], &version) != nil || version != "2.0" {
		return respond(id, nil, &Error{Code: codeInvalidRequest, Message: "Unsupported JSON-RPC protocol version"})
	}
	if json.Unmarshal(fields["method"], &method) != nil || method == "" {
		return respond(id, nil, &Error{Code: codeInvalidRequest, Message: "Invalid request"})
	}
	result, err := h(method, fields["params"])
	if !call {
		return nil
	}
	return respond(id, result, err)
}

// isID tells whether valid JSON is what an id may be: a string, a number or
// null.
func isID(id json.RawMessage) bool {
	switch id[0] {
	case '{', '[', 't', 'f':
		return false
	}
	return true
}

func fail(err *Error) []byte { return respond(json.RawMessage("null"), nil, err) }

// respond puts a response together by hand, so that the id stays as it came,
// byte for byte: encoding/json would rewrite it.
func respond(id json.RawMessage, result any, failure *Error) []byte {
	key, value := "result", result
	if failure != nil {
		key, value = "error", any(failure)
	}
	body, err := encode(value)
	if err != nil {
		key = "error"
		body, _ = encode(&Error{Code: codeInternal, Message: "Internal error"})
	}
	out := make([]byte, 0, len(body)+len(id)+40)
	out = append(out, `{"jsonrpc":"2.0","`...)
	out = append(out, key...)
	out = append(out, `":`...)
	out = append(out, body...)
	out = append(out, `,"id":`...)
	out = append(out, id...)
	return append(out, '}')
}

// notify returns a notification of a subscription.
func notify(method string, subscription uint64, result any) []byte {
	body, err := encode(struct {
		Version string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  any    `json:"params"`
	}{"2.0", method, struct {
		Result       any    `json:"result"`
		Subscription uint64 `json:"subscription"`
	}{result, subscription}})
	if err != nil {
		panic(fmt.Sprintf("rpc: notification does not encode: %v", err))
	}
	return body
}

// encode is json.Marshal without the escapes for HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// decodeParams reads positional parameters. The first required of them must
// be there; those that are absent or null leave their target as it is.
func decodeParams(raw json.RawMessage, required int, targets ...any) *Error {
	var params []json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &params); err != nil {
			return invalidParams("Invalid params: an array of parameters is expected")
		}
	}
	if len(params) < required {
		return invalidParams("Invalid params: %d parameters given, at least %d needed", len(params), required)
	}
	if len(params) > len(targets) {
		return invalidParams("Invalid params: %d parameters given, at most %d taken", len(params), len(targets))
	}
	for i, p := range params {
		if i < required && string(p) == "null" {
			return invalidParams("Invalid params: parameter %d is null", i+1)
		}
		if err := json.Unmarshal(p, targets[i]); err != nil {
			return invalidParams("Invalid params: parameter %d: %v", i+1, err)
		}
	}
	return nil
}
