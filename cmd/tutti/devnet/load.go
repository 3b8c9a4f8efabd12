package devnet

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"tutti/ledger"
	"tutti/live/endpoint"
)

const (
	// Payers is how many accounts of genesis pay for the load.
	Payers = 1024
	// hotShare is the share of the transfers that go to one account: one in
	// so many.
	hotShare = 10
	// prices is how many compute-unit prices there are, in steps of
	// priceStep micro-lamports.
	prices, priceStep = 256, 1_000
	// transferUnits is what a transfer and two budget instructions need.
	transferUnits = 450
	// aheadMax is for how long, and signedMax how many, transactions are
	// signed before they are due.
	aheadMax  = 2 * time.Second
	signedMax = 1 << 15
	// hashAge is how old a blockhash may be for new transactions.
	hashAge = 3 * time.Second
	// sendQueue bounds what waits for a connection; what is beyond is lost.
	sendQueue   = 1 << 13
	sendTimeout = 2 * time.Second
	redialTime  = 200 * time.Millisecond
)

// transfer is a signed transaction.
type transfer struct {
	id  TxID
	raw []byte
}

// signer makes the load's transactions: each a transfer unlike all others.
type signer struct {
	keys   []ed25519.PrivateKey
	payers []ledger.Pubkey
	hot    ledger.Pubkey
	count  uint64
}

func newSigner(seed [32]byte) *signer {
	s := &signer{}
	for i := range uint32(Payers) {
		key := payerKey(seed, i)
		s.keys = append(s.keys, key)
		s.payers = append(s.payers, publicKey(key))
	}
	s.hot = publicKey(payerKey(seed, Payers))
	return s
}

// payerKey is that of a payer, or of the hot account after the last one.
func payerKey(seed [32]byte, i uint32) ed25519.PrivateKey {
	sum := ledger.Sum([]byte("tutti devnet payer"), seed[:], binary.LittleEndian.AppendUint32(nil, i))
	return ed25519.NewKeyFromSeed(sum[:])
}

func publicKey(key ed25519.PrivateKey) ledger.Pubkey {
	return ledger.Pubkey(key.Public().(ed25519.PublicKey))
}

// next signs the next transfer. Payers take turns; one transfer in hotShare
// goes to the hot account, the others to another payer; prices are spread
// evenly. Each round is shifted by one against the last, so that payers,
// prices and the hot account come to all nodes.
func (s *signer) next(blockhash ledger.Hash) transfer {
	i := s.count
	s.count++
	from := (i + i/Payers) % Payers
	to := s.hot
	if (i+i/hotShare)%hotShare != 0 {
		// Never the payer itself: the distance is 1 to Payers−1.
		to = s.payers[(from+1+i/Payers%(Payers-1))%Payers]
	}
	price := priceStep * (1 + (i+i/prices)%prices)
	m := ledger.TransferMessage(s.payers[from], to, ledger.Lamports(1+i), price, transferUnits, blockhash)
	raw := ledger.Sign(m.Append(nil), s.keys[from])
	return transfer{txID(raw[1:]), raw}
}

// sign fills out with transfers until ctx is done. fetch gets a newer
// blockhash from time to time; the old one is used until that succeeds.
func (s *signer) sign(ctx context.Context, blockhash ledger.Hash, fetch func(context.Context) (ledger.Hash, error), out chan<- transfer) {
	var newest atomic.Pointer[ledger.Hash]
	newest.Store(&blockhash)
	fetched := make(chan struct{})
	defer func() { <-fetched }()
	go func() {
		defer close(fetched)
		for sleep(ctx, hashAge) {
			if h, err := fetch(ctx); err == nil {
				newest.Store(&h)
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case out <- s.next(*newest.Load()):
		}
	}
}

// signedAhead is how many transfers are signed before they are due.
func signedAhead(rate int) int {
	return min(max(int(int64(rate)*int64(aheadMax)/int64(time.Second)), 1), signedMax)
}

// dueAt returns how long after the start the transfer with number i, from 0,
// is to be sent.
func dueAt(i uint64, rate int) time.Duration {
	r := uint64(rate)
	return time.Duration(i/r)*time.Second + time.Duration(i%r*uint64(time.Second)/r)
}

// offerAt hands transfers to senders at their due times, in turn, until ctx is
// done or the next one is due after the end, if there is one. It never waits
// for a sender: what one cannot take is lost. note is called before a
// transfer is handed on, with the time at which it was due.
func offerAt(ctx context.Context, start time.Time, end time.Duration, rate int, signed <-chan transfer,
	senders []chan []byte, note func(id TxID, due time.Time, to int),
) {
	for i := uint64(0); ; i++ {
		due := dueAt(i, rate)
		if end > 0 && due >= end {
			return
		}
		if wait := time.Until(start.Add(due)); wait > 0 && !sleep(ctx, wait) {
			return
		}
		var tx transfer
		select {
		case <-ctx.Done():
			return
		case tx = <-signed:
		}
		to := int(i % uint64(len(senders)))
		note(tx.id, start.Add(due), to)
		select {
		case senders[to] <- tx.raw:
		default:
		}
	}
}

// sleep waits and tells whether ctx is still not done.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// send sends what comes through the queue to a node over one connection,
// which is made anew when it breaks, until ctx is done.
func send(ctx context.Context, addr netip.AddrPort, key ed25519.PrivateKey, queue <-chan []byte) {
	var client *endpoint.Client
	hangUp := func() {
		if client != nil {
			_ = client.Close() // it is over either way
			client = nil
		}
	}
	defer hangUp()
	for {
		for client == nil {
			c, err := endpoint.DialTransactions(ctx, addr, key)
			if err == nil {
				client = c
			} else if !sleep(ctx, redialTime) {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-client.Done():
			hangUp()
		case tx := <-queue:
			within, cancel := context.WithTimeout(ctx, sendTimeout)
			if client.Send(within, tx) != nil {
				hangUp()
			}
			cancel()
		}
	}
}

// latestBlockhash asks a node for a blockhash of a confirmed block.
func latestBlockhash(ctx context.Context, url string) (ledger.Hash, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	var result struct {
		Value struct{ Blockhash string }
	}
	if err := call(ctx, url, "getLatestBlockhash", `[{"commitment":"confirmed"}]`, &result); err != nil {
		return ledger.Hash{}, err
	}
	return ledger.ParseHash(result.Value.Blockhash)
}

// call asks a node's JSON-RPC. params is JSON.
func call(ctx context.Context, url, method, params string, result any) error {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Result json.RawMessage
		Error  *struct{ Message string }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if answer.Error != nil {
		return fmt.Errorf("%s: %s", method, answer.Error.Message)
	}
	if err := json.Unmarshal(answer.Result, result); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}
