package rpc

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"tutti/ledger"
)

// notifyTimeout is how long a client may take to read a notification before
// it is disconnected: nothing waits for slow clients.
const notifyTimeout = 10 * time.Second

// servePubSub turns a request into a WebSocket and serves its subscriptions
// until the client leaves or the server stops.
func (s *Server) servePubSub(w http.ResponseWriter, r *http.Request) {
	// Any page may subscribe, as it may call the other methods.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(bodySizeMax)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()

	requests := make(chan []byte)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer cancel()
		for {
			_, body, err := conn.Read(ctx)
			if err != nil {
				return
			}
			select {
			case requests <- body:
			case <-ctx.Done():
				return
			}
		}
	}()
	k := &socket{
		server: s, conn: conn,
		signatures: map[uint64]*signatureSubscription{}, slots: map[uint64]struct{}{},
	}
	k.run(ctx, requests)
	cancel()
	conn.CloseNow()
	<-gone
}

// socket has the subscriptions of one connection. One goroutine owns it.
type socket struct {
	server     *Server
	conn       *websocket.Conn
	signatures map[uint64]*signatureSubscription
	slots      map[uint64]struct{}
	nextSlot   uint64 // number of the next slot news to send
	// fresh are the signature subscriptions of the request just answered.
	fresh []uint64
}

type signatureSubscription struct {
	*watch
	received bool // the client wants to be told that a proposer has it
}

// run serves until ctx is done or the client does not read.
func (k *socket) run(ctx context.Context, requests <-chan []byte) {
	defer k.end()
	_, k.nextSlot = k.server.State.slotsSince(0)
	changed := k.server.State.Changed()
	for {
		var err error
		var body []byte
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case body = <-requests:
		}
		// What happened before a request is not news to what it subscribes to.
		select {
		case <-changed:
			changed = k.server.State.Changed()
			err = k.news(ctx)
		default:
		}
		if body != nil && err == nil {
			if response := answer(body, k.handle); response != nil {
				err = k.write(ctx, response)
			}
			for _, id := range k.fresh {
				if err == nil {
					err = k.tell(ctx, id)
				}
			}
			k.fresh = k.fresh[:0]
		}
		if err != nil {
			return
		}
	}
}

func (k *socket) end() {
	for _, sub := range k.signatures {
		k.server.State.unwatch(sub.watch)
	}
}

func (k *socket) write(ctx context.Context, message []byte) error {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	return k.conn.Write(ctx, websocket.MessageText, message)
}

// news sends what has happened since the last call.
func (k *socket) news(ctx context.Context) error {
	slots, next := k.server.State.slotsSince(k.nextSlot)
	k.nextSlot = next
	for _, n := range slots {
		for id := range k.slots {
			result := struct {
				Slot   ledger.Slot `json:"slot"`
				Parent ledger.Slot `json:"parent"`
				Root   ledger.Slot `json:"root"`
			}{n.slot, n.parent, n.root}
			if err := k.write(ctx, notify("slotNotification", id, result)); err != nil {
				return err
			}
		}
	}
	for id := range k.signatures {
		if err := k.tell(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// tell sends what there is to tell of a signature. A subscription ends when
// its commitment is reached.
func (k *socket) tell(ctx context.Context, id uint64) error {
	sub := k.signatures[id]
	if sub == nil {
		return nil // unsubscribed in the batch that subscribed
	}
	seen := k.server.State.look(sub.watch)
	if sub.received && seen.held {
		sub.received = false
		if err := k.write(ctx, notify("signatureNotification", id, signatureResult(seen.slot, "receivedSignature"))); err != nil {
			return err
		}
	}
	if !seen.done {
		return nil
	}
	k.server.State.unwatch(sub.watch)
	delete(k.signatures, id)
	value := struct {
		Err *ledger.TransactionError `json:"err"`
	}{seen.err}
	return k.write(ctx, notify("signatureNotification", id, signatureResult(seen.slot, value)))
}

func signatureResult(slot ledger.Slot, value any) any {
	type slotContext struct {
		Slot ledger.Slot `json:"slot"`
	}
	return struct {
		Context slotContext `json:"context"`
		Value   any         `json:"value"`
	}{slotContext{slot}, value}
}

// handle answers a request. Clients' "ping" is a notification that nobody
// answers; there are servers that it keeps connections alive at.
func (k *socket) handle(method string, params json.RawMessage) (any, *Error) {
	switch method {
	case "ping":
		return nil, nil
	case "signatureSubscribe":
		return k.subscribeSignature(params)
	case "slotSubscribe":
		if err := decodeParams(params, 0); err != nil {
			return nil, err
		}
		if err := k.room(); err != nil {
			return nil, err
		}
		id := k.server.subscriptions.Add(1)
		k.slots[id] = struct{}{}
		return id, nil
	case "signatureUnsubscribe":
		return unsubscribe(params, k.signatures, func(sub *signatureSubscription) { k.server.State.unwatch(sub.watch) })
	case "slotUnsubscribe":
		return unsubscribe(params, k.slots, func(struct{}) {})
	}
	return nil, &Error{Code: codeUnknownMethod, Message: "Method not found"}
}

// room refuses a subscription that is one too many.
func (k *socket) room() *Error {
	if len(k.signatures)+len(k.slots) < subscriptionsMax {
		return nil
	}
	return &Error{Code: codeRefused, Message: "Too many subscriptions on this connection"}
}

func (k *socket) subscribeSignature(params json.RawMessage) (any, *Error) {
	var text string
	c := struct {
		Commitment Commitment `json:"commitment"`
		Received   bool       `json:"enableReceivedNotification"`
	}{Commitment: Finalized}
	if err := decodeParams(params, 1, &text, &c); err != nil {
		return nil, err
	}
	signature, err := parseSignature(text)
	if err != nil {
		return nil, err
	}
	if err := k.room(); err != nil {
		return nil, err
	}
	id := k.server.subscriptions.Add(1)
	k.signatures[id] = &signatureSubscription{k.server.State.watch(signature, c.Commitment), c.Received}
	k.fresh = append(k.fresh, id)
	return id, nil
}

func unsubscribe[T any](params json.RawMessage, subs map[uint64]T, end func(T)) (any, *Error) {
	var id uint64
	if err := decodeParams(params, 1, &id); err != nil {
		return nil, err
	}
	sub, ok := subs[id]
	if !ok {
		return nil, invalidParams("Invalid subscription id.")
	}
	end(sub)
	delete(subs, id)
	return true, nil
}
