package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"tutti/ledger"
	"tutti/node"
)

// wire is a WebSocket client that reads message by message.
type wire struct {
	t    *testing.T
	conn *websocket.Conn
}

func dial(t *testing.T, url string) *wire {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return &wire{t, conn}
}

func (w *wire) send(format string, args ...any) {
	w.t.Helper()
	if err := w.conn.Write(w.t.Context(), websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) expect(format string, args ...any) {
	w.t.Helper()
	_, got, err := w.conn.Read(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if want := fmt.Sprintf(format, args...); string(got) != want {
		w.t.Fatalf("\n got %s\nwant %s", got, want)
	}
}

// silent checks that nothing was sent before the answer to a request.
func (w *wire) silent() {
	w.t.Helper()
	w.send(`{"jsonrpc":"2.0","id":"silent","method":"slotUnsubscribe","params":[0]}`)
	w.expect(`{"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid subscription id."},"id":"silent"}`)
}

const notification = `{"jsonrpc":"2.0","method":"signatureNotification","params":{"result":{"context":{"slot":%d},"value":%s},"subscription":%d}}`

func TestSignatureSubscription(t *testing.T) {
	w := newWorld(t)
	s := w.serve(accept)
	ok := transfer(faucet, alice, 5e9, 500, w.bank.Root().ID)
	failed := transfer(faucet, alice, 1e18, 501, w.bank.Root().ID)
	b := w.block(nil, 1, 0, ok, failed)
	c := dial(t, s.WebSocketURL())
	id := 0
	subscribe := func(tx ledger.Transaction, config string) {
		t.Helper()
		id++
		c.send(`{"jsonrpc":"2.0","id":%d,"method":"signatureSubscribe","params":["%s"%s]}`, 100+id, tx.Signature(0), config)
		c.expect(`{"jsonrpc":"2.0","result":%d,"id":%d}`, id, 100+id)
	}
	subscribe(ok, `,{"commitment":"processed","enableReceivedNotification":true}`) // 1
	c.silent()
	w.apply(b.userHeld())
	c.expect(notification, 0, `"receivedSignature"`, 1)
	w.apply(b.held())
	c.silent()
	w.apply(b.computed())
	c.expect(notification, 1, `{"err":null}`, 1)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"signatureUnsubscribe","params":[1]}`)
	c.expect(`{"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid subscription id."},"id":1}`)

	// At that commitment already: it fires at once, and is gone.
	subscribe(failed, `,{"commitment":"processed"}`) // 2
	c.expect(notification, 1, `{"err":{"InstructionError":[1,{"Custom":1}]}}`, 2)
	subscribe(ok, `,{"commitment":"processed","enableReceivedNotification":true}`) // 3
	c.expect(notification, 1, `"receivedSignature"`, 3)
	c.expect(notification, 1, `{"err":null}`, 3)

	// Each at its own commitment; finalized is the default.
	subscribe(ok, `,{"commitment":"confirmed"}`) // 4
	subscribe(ok, ``)                            // 5
	subscribe(ok, ``)                            // 6
	c.send(`{"jsonrpc":"2.0","id":"u","method":"signatureUnsubscribe","params":[6]}`)
	c.expect(`{"jsonrpc":"2.0","result":true,"id":"u"}`)
	w.apply(b.confirmed())
	c.silent()
	w.apply(node.Agreed{Third: 1, TwoThirds: 1})
	c.expect(notification, 1, `{"err":null}`, 4)
	c.silent()
	w.apply(b.final())
	c.expect(notification, 1, `{"err":null}`, 5)
	c.silent()
	if len(w.state.watches) != 0 {
		t.Errorf("%d signatures are still watched", len(w.state.watches))
	}
}

// "received" is also told when this node's own proposer takes a transaction.
func TestReceivedBySubmission(t *testing.T) {
	w := newWorld(t)
	s := w.serve(accept)
	tx := transfer(faucet, alice, 5e9, 500, w.bank.Root().ID)
	c := dial(t, s.WebSocketURL())
	c.send(`{"jsonrpc":"2.0","id":1,"method":"signatureSubscribe","params":["%s",{"enableReceivedNotification":true}]}`, tx.Signature(0))
	c.expect(`{"jsonrpc":"2.0","result":1,"id":1}`)
	w.state.Submitted(w.now, tx.Signature(0))
	c.expect(notification, 0, `"receivedSignature"`, 1)
	c.silent()
}

// A connection that closes leaves nothing behind.
func TestCloseEndsSubscriptions(t *testing.T) {
	w := newWorld(t)
	s := &Server{State: w.state, Genesis: w.genesis, Address: "127.0.0.1:0"}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	c := dial(t, s.WebSocketURL())
	c.send(`{"jsonrpc":"2.0","id":1,"method":"signatureSubscribe","params":["%s"]}`, ledger.Signature{1})
	c.expect(`{"jsonrpc":"2.0","result":1,"id":1}`)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(w.state.watches) != 0 {
		t.Errorf("%d signatures are still watched", len(w.state.watches))
	}
}

func TestSlotSubscription(t *testing.T) {
	w := newWorld(t)
	s := w.serve(accept)
	c := dial(t, s.WebSocketURL())
	b1 := w.block(nil, 1, 0)
	w.all(b1)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"slotSubscribe"}`)
	c.expect(`{"jsonrpc":"2.0","result":1,"id":1}`)
	c.silent()
	b2 := w.block(b1, 4, 0)
	b3 := w.block(b2, 5, 0)
	w.all(b2)
	w.all(b3)
	c.expect(`{"jsonrpc":"2.0","method":"slotNotification","params":{"result":{"slot":4,"parent":1,"root":1},"subscription":1}}`)
	c.expect(`{"jsonrpc":"2.0","method":"slotNotification","params":{"result":{"slot":5,"parent":4,"root":4},"subscription":1}}`)
	c.send(`{"jsonrpc":"2.0","id":2,"method":"slotUnsubscribe","params":[1]}`)
	c.expect(`{"jsonrpc":"2.0","result":true,"id":2}`)
	w.all(w.block(b3, 6, 0))
	c.silent()
}

// The RPC port takes WebSockets, too; "ping" has no answer; other methods
// have one.
func TestWebSocketEnvelope(t *testing.T) {
	w := newWorld(t)
	s := w.serve(accept)
	c := dial(t, strings.Replace(s.URL(), "http", "ws", 1))
	c.send(`{"jsonrpc":"2.0","method":"ping"}`)
	c.send(`{"jsonrpc":"2.0","method":"ping","params":null}`)
	c.silent()
	c.send(`{"jsonrpc":"2.0","id":1,"method":"getSlot"}`)
	c.expect(`{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":1}`)
	c.send(`x`)
	c.expect(`{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}`)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"signatureSubscribe","params":["xyz"]}`)
	c.expect(`{"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid param: Invalid signature"},"id":1}`)
	c.send(`[{"jsonrpc":"2.0","id":1,"method":"slotSubscribe"},{"jsonrpc":"2.0","id":2,"method":"slotUnsubscribe","params":[1]}]`)
	c.expect(`[{"jsonrpc":"2.0","result":1,"id":1},{"jsonrpc":"2.0","result":true,"id":2}]`)
	if err := c.conn.Ping(c.conn.CloseRead(t.Context())); err != nil {
		t.Errorf("control ping: %v", err)
	}
}

// What is no WebSocket is refused on the WebSocket port.
func TestPubSubPortIsForWebSockets(t *testing.T) {
	w := newWorld(t)
	s := w.serve(accept)
	status, _ := post(t, "http://"+s.pubsub.Addr().String(), "application/json", "{}")
	if status != http.StatusUpgradeRequired {
		t.Errorf("status %d", status)
	}
}

func TestSubscriptionsAreBounded(t *testing.T) {
	k := &socket{
		server:     &Server{State: newWorld(t).state},
		signatures: map[uint64]*signatureSubscription{}, slots: map[uint64]struct{}{},
	}
	for range subscriptionsMax {
		if _, err := k.handle("slotSubscribe", nil); err != nil {
			t.Fatal(err)
		}
	}
	params, _ := json.Marshal([]string{ledger.Signature{}.String()})
	for _, method := range []string{"slotSubscribe", "signatureSubscribe"} {
		if _, err := k.handle(method, params[:0]); method == "slotSubscribe" && (err == nil || err.Code != codeRefused) {
			t.Errorf("%s: %v", method, err)
		}
	}
	if _, err := k.handle("signatureSubscribe", params); err == nil || err.Code != codeRefused {
		t.Errorf("signatureSubscribe: %v", err)
	}
}
