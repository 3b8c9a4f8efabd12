package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"tutti/ledger"
	"tutti/rpc"
)

// Event is a line of a node's event stream. Which fields are set depends on
// the type; rpc has the list.
type Event struct {
	T    int64  `json:"t"` // Unix nanoseconds
	Type string `json:"type"`

	UserBlock
	Slot       ledger.Slot `json:"slot"`
	ParentSlot ledger.Slot `json:"parent_slot"`
	Parent     string      `json:"parent"`
	Entries    []UserBlock `json:"entries"`
	// Txs has the first 8 bytes of each transaction's first signature;
	// Outcomes has the same and a byte for the outcome.
	Txs      []byte `json:"txs"`
	Outcomes []byte `json:"outcomes"`
	BankHash string `json:"bank_hash"`
	Reason   string `json:"reason"`
	Count    uint64 `json:"count"`

	// Voter, Root and Lockouts, slots and confirmations, are those of a vote.
	Voter    string      `json:"voter"`
	Root     ledger.Slot `json:"root"`
	Lockouts [][2]uint64 `json:"lockouts"`

	// Other is a voter's BankHash that is not the node's.
	Other string `json:"other"`
	// Block is what was rejected, Key what has two blocks, and Signer who
	// signed both.
	Block  string `json:"block"`
	Key    string `json:"key"`
	Signer string `json:"signer"`
	// Health is what a node does about BankHashes that differ: node.Health in
	// words.
	Health string `json:"health"`

	Confirmed ledger.Slot `json:"confirmed"`
	Executed  ledger.Slot `json:"executed"`
	Lag       int         `json:"lag"`
}

// UserBlock names a UserBlock. In events of leader blocks only ID is set.
type UserBlock struct {
	U    ledger.UserSlot `json:"u"`
	Lane ledger.Lane     `json:"lane"`
	ID   string          `json:"id"`
}

// TxID is the first 8 bytes of a transaction's first signature: enough to
// tell a run's transactions apart.
type TxID uint64

// IDOf reads the TxID of a signature.
func IDOf(signature []byte) TxID { return TxID(binary.LittleEndian.Uint64(signature)) }

// eventSizeMax bounds a line: a block of UserBlocks full of transactions.
const eventSizeMax = 16 << 20

// Admin talks to a node through the socket in its ledger directory.
type Admin struct{ client *http.Client }

// NewAdmin returns the Admin of a socket. It connects to it only when it is
// used.
func NewAdmin(socket string) *Admin {
	var dialer net.Dialer
	return &Admin{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Close ends the connections that are not in use.
func (a *Admin) Close() { a.client.CloseIdleConnections() }

func (a *Admin) get(ctx context.Context, path string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("admin socket: %s: %s", path, response.Status)
	}
	return response.Body, nil
}

// Stats returns the node's counters.
func (a *Admin) Stats(ctx context.Context) (s rpc.Stats, err error) {
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	body, err := a.get(ctx, "/stats")
	if err != nil {
		return s, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&s); err != nil {
		return s, fmt.Errorf("admin socket: /stats: %w", err)
	}
	return s, nil
}

// Profile returns a profile of the node's processor time over the coming
// seconds, as `go tool pprof` reads it.
func (a *Admin) Profile(ctx context.Context, seconds int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+profileSlack)
	defer cancel()
	body, err := a.get(ctx, "/debug/pprof/profile?seconds="+strconv.Itoa(seconds))
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, profileMax))
	if err != nil {
		return nil, fmt.Errorf("admin socket: profile: %w", err)
	}
	return b, nil
}

const (
	profileSlack = 10 * time.Second
	profileMax   = 64 << 20
)

const (
	statsTimeout  = 2 * time.Second
	reconnectTime = 50 * time.Millisecond
)

// Follow hands the node's events to take until ctx is done, and waits for
// the node when it is not there.
func (a *Admin) Follow(ctx context.Context, take func(*Event)) {
	for ctx.Err() == nil {
		if body, err := a.get(ctx, "/events"); err == nil {
			readEvents(body, take)
			body.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnectTime):
		}
	}
}

// readEvents hands the events of a stream to take until it ends or has a
// line that is no event.
func readEvents(r io.Reader, take func(*Event)) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), eventSizeMax)
	for lines.Scan() {
		var e Event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			return
		}
		take(&e)
	}
}
