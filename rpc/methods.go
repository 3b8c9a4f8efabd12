package rpc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/mr-tron/base58"

	"tutti/bank/program"
	"tutti/cluster"
	"tutti/ledger"
)

// What getVersion says: clients parse the first as a version of Agave, whose
// interface this is, to know what they may ask for.
const (
	apiVersion = "4.1.0"
	featureSet = 0x74757474 // "tutt"
	clientID   = "tutti"
)

// Bounds of single requests; they are Agave's.
const (
	statusesMax    = 256
	accountsMax    = 100
	base58Max      = 128 // bytes of account data
	slotsBehindMax = 128 // getHealth: more is unhealthy
)

// method answers one call.
type method func(s *Server, ctx context.Context, params json.RawMessage) (any, *Error)

// methods are all that are answered; any other name is -32601.
var methods = map[string]method{
	"getAccountInfo":                    (*Server).getAccountInfo,
	"getBalance":                        (*Server).getBalance,
	"getBlockHeight":                    (*Server).getBlockHeight,
	"getEpochInfo":                      (*Server).getEpochInfo,
	"getEpochSchedule":                  (*Server).getEpochSchedule,
	"getFeeForMessage":                  (*Server).getFeeForMessage,
	"getGenesisHash":                    (*Server).getGenesisHash,
	"getHealth":                         (*Server).getHealth,
	"getIdentity":                       (*Server).getIdentity,
	"getLatestBlockhash":                (*Server).getLatestBlockhash,
	"getMinimumBalanceForRentExemption": (*Server).getMinimumBalanceForRentExemption,
	"getMultipleAccounts":               (*Server).getMultipleAccounts,
	"getSignatureStatuses":              (*Server).getSignatureStatuses,
	"getSlot":                           (*Server).getSlot,
	"getTransactionCount":               (*Server).getTransactionCount,
	"getVersion":                        (*Server).getVersion,
	"isBlockhashValid":                  (*Server).isBlockhashValid,
	"requestAirdrop":                    (*Server).requestAirdrop,
	"sendTransaction":                   (*Server).sendTransaction,
}

// handle returns the handler of one HTTP request.
func (s *Server) handle(ctx context.Context) handler {
	return func(name string, params json.RawMessage) (any, *Error) {
		m, ok := methods[name]
		if !ok {
			return nil, &Error{Code: codeUnknownMethod, Message: "Method not found"}
		}
		return m(s, ctx, params)
	}
}

// The parameters, as they come in JSON.

// UnmarshalJSON reads a commitment by its name.
func (c *Commitment) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var name string
	if err := json.Unmarshal(b, &name); err != nil {
		return err
	}
	for i, n := range commitmentNames {
		if n == name {
			*c = Commitment(i)
			return nil
		}
	}
	return fmt.Errorf("unknown commitment %q", name)
}

// MarshalJSON writes the commitment's name.
func (c Commitment) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// config holds what most methods' last parameter may have.
type config struct {
	Commitment     Commitment   `json:"commitment"`
	MinContextSlot *ledger.Slot `json:"minContextSlot"`
}

func newConfig() config { return config{Commitment: Finalized} }

// point returns the state that the config asks for.
func (s *Server) point(c config) (Point, *Error) {
	p := s.State.At(c.Commitment)
	return p, c.recent(p.Slot)
}

// recent refuses a state that is older than the client asks for.
func (c config) recent(slot ledger.Slot) *Error {
	if c.MinContextSlot == nil || slot >= *c.MinContextSlot {
		return nil
	}
	return &Error{
		Code: codeMinContextSlot, Message: "Minimum context slot has not been reached",
		Data: map[string]any{"contextSlot": slot},
	}
}

func parseKey(s string) (ledger.Pubkey, *Error) {
	// A longer string cannot be a key; decoding one takes quadratic time.
	if len(s) > 44 {
		return ledger.Pubkey{}, invalidParams("Invalid param: WrongSize")
	}
	k, err := ledger.ParsePubkey(s)
	if err != nil {
		return k, invalidParams("Invalid param: %v", err)
	}
	return k, nil
}

func parseSignature(s string) (ledger.Signature, *Error) {
	if len(s) > 88 {
		return ledger.Signature{}, invalidParams("Invalid param: WrongSize")
	}
	b, err := base58.Decode(s)
	if err != nil || len(b) != len(ledger.Signature{}) {
		return ledger.Signature{}, invalidParams("Invalid param: Invalid signature")
	}
	return ledger.Signature(b), nil
}

// The results.

type responseContext struct {
	Slot       ledger.Slot `json:"slot"`
	APIVersion string      `json:"apiVersion"`
}

type withContext struct {
	Context responseContext `json:"context"`
	Value   any             `json:"value"`
}

func inContext(slot ledger.Slot, value any) withContext {
	return withContext{responseContext{slot, apiVersion}, value}
}

func (s *Server) getHealth(_ context.Context, params json.RawMessage) (any, *Error) {
	if err := decodeParams(params, 0); err != nil {
		return nil, err
	}
	slots, ok := s.State.behind()
	if h, unwell := s.State.unwell(); unwell {
		return nil, &Error{
			Code: codeUnhealthy, Message: fmt.Sprintf("Node is %v: the cluster disagrees about the BankHash of block %v", h.Health, h.Block),
			Data: map[string]any{"numSlotsBehind": nil, "health": h.Health.String(), "slot": h.Block.Slot, "cause": h.Cause},
		}
	}
	switch {
	case !ok:
		return nil, &Error{Code: codeUnhealthy, Message: "Node is unhealthy", Data: map[string]any{"numSlotsBehind": nil}}
	case slots > slotsBehindMax:
		return nil, &Error{
			Code: codeUnhealthy, Message: fmt.Sprintf("Node is behind by %d slots", slots),
			Data: map[string]any{"numSlotsBehind": slots},
		}
	}
	return "ok", nil
}

func (s *Server) getVersion(_ context.Context, params json.RawMessage) (any, *Error) {
	return struct {
		Core       string `json:"solana-core"`
		FeatureSet uint32 `json:"feature-set"`
		ClientID   string `json:"client-id"`
		Tutti      string `json:"tutti"`
	}{apiVersion, featureSet, clientID, s.Version}, decodeParams(params, 0)
}

func (s *Server) getIdentity(_ context.Context, params json.RawMessage) (any, *Error) {
	return map[string]string{"identity": s.Identity.String()}, decodeParams(params, 0)
}

func (s *Server) getGenesisHash(_ context.Context, params json.RawMessage) (any, *Error) {
	return s.genesisHash, decodeParams(params, 0)
}

// atConfig is for the methods whose only parameter is the config.
func (s *Server) atConfig(params json.RawMessage) (Point, *Error) {
	c := newConfig()
	if err := decodeParams(params, 0, &c); err != nil {
		return Point{}, err
	}
	return s.point(c)
}

func (s *Server) getSlot(_ context.Context, params json.RawMessage) (any, *Error) {
	p, err := s.atConfig(params)
	return p.Slot, err
}

func (s *Server) getBlockHeight(_ context.Context, params json.RawMessage) (any, *Error) {
	p, err := s.atConfig(params)
	return p.Height, err
}

func (s *Server) getTransactionCount(_ context.Context, params json.RawMessage) (any, *Error) {
	p, err := s.atConfig(params)
	return p.Transactions, err
}

func (s *Server) getEpochInfo(_ context.Context, params json.RawMessage) (any, *Error) {
	p, err := s.atConfig(params)
	if err != nil {
		return nil, err
	}
	epoch := s.Genesis.Params.Epoch(p.Slot)
	return struct {
		AbsoluteSlot     ledger.Slot `json:"absoluteSlot"`
		BlockHeight      uint64      `json:"blockHeight"`
		Epoch            uint64      `json:"epoch"`
		SlotIndex        ledger.Slot `json:"slotIndex"`
		SlotsInEpoch     uint64      `json:"slotsInEpoch"`
		TransactionCount uint64      `json:"transactionCount"`
	}{
		p.Slot, p.Height, epoch, p.Slot - s.Genesis.Params.FirstSlot(epoch),
		s.Genesis.Params.SlotsPerEpoch, p.Transactions,
	}, nil
}

func (s *Server) getEpochSchedule(_ context.Context, params json.RawMessage) (any, *Error) {
	slots := s.Genesis.Params.SlotsPerEpoch
	return struct {
		FirstNormalEpoch         uint64 `json:"firstNormalEpoch"`
		FirstNormalSlot          uint64 `json:"firstNormalSlot"`
		LeaderScheduleSlotOffset uint64 `json:"leaderScheduleSlotOffset"`
		SlotsPerEpoch            uint64 `json:"slotsPerEpoch"`
		Warmup                   bool   `json:"warmup"`
	}{0, 0, slots, slots, false}, decodeParams(params, 0)
}

func (s *Server) getLatestBlockhash(_ context.Context, params json.RawMessage) (any, *Error) {
	c := newConfig()
	if err := decodeParams(params, 0, &c); err != nil {
		return nil, err
	}
	p := s.State.Latest(c.Commitment)
	if err := c.recent(p.Slot); err != nil {
		return nil, err
	}
	return inContext(p.Slot, struct {
		Blockhash            string `json:"blockhash"`
		LastValidBlockHeight uint64 `json:"lastValidBlockHeight"`
	}{p.LastPoH.String(), p.Height + HashAge}), nil
}

func (s *Server) isBlockhashValid(_ context.Context, params json.RawMessage) (any, *Error) {
	var text string
	c := newConfig()
	if err := decodeParams(params, 1, &text, &c); err != nil {
		return nil, err
	}
	hash, err := parseKey(text)
	if err != nil {
		return nil, err
	}
	p, err := s.point(c)
	if err != nil {
		return nil, err
	}
	return inContext(p.Slot, s.State.Usable(ledger.Hash(hash), c.Commitment)), nil
}

func (s *Server) getBalance(_ context.Context, params json.RawMessage) (any, *Error) {
	var text string
	c := newConfig()
	if err := decodeParams(params, 1, &text, &c); err != nil {
		return nil, err
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, err
	}
	p, err := s.point(c)
	if err != nil {
		return nil, err
	}
	return inContext(p.Slot, p.View.Balance(key)), nil
}

// accountConfig is the config of the methods that return accounts.
type accountConfig struct {
	config
	Encoding  string     `json:"encoding"`
	DataSlice *dataSlice `json:"dataSlice"`
}

type dataSlice struct {
	Offset uint64 `json:"offset"`
	Length uint64 `json:"length"`
}

// of returns the part of data that lies in the slice.
func (d *dataSlice) of(data []byte) []byte {
	if d == nil {
		return data
	}
	from := min(d.Offset, uint64(len(data)))
	return data[from : from+min(d.Length, uint64(len(data))-from)]
}

// accountResult is an account as clients see it.
type accountResult struct {
	Data       any             `json:"data"`
	Executable bool            `json:"executable"`
	Lamports   ledger.Lamports `json:"lamports"`
	Owner      string          `json:"owner"`
	RentEpoch  uint64          `json:"rentEpoch"`
	Space      int             `json:"space"`
}

// account returns an account encoded as asked for, nil if there is none.
// Programs' data is not parsed: jsonParsed falls back to base64, as it does
// for unknown programs, and so does base64+zstd.
func (p Point) account(key ledger.Pubkey, c accountConfig) (any, *Error) {
	a, ok := p.View.Account(key)
	if !ok {
		return nil, nil
	}
	data := c.DataSlice.of(a.Data)
	r := accountResult{
		Executable: a.Executable, Lamports: a.Lamports, Owner: a.Owner.String(),
		RentEpoch: a.RentEpoch, Space: len(a.Data),
	}
	switch c.Encoding {
	case "", "base58", "binary":
		if len(data) > base58Max {
			return nil, invalidParams("Encoded binary (base 58) data should be less than 128 bytes, please use Base64 encoding.")
		}
		text := base58.Encode(data)
		r.Data = []string{text, "base58"}
		if c.Encoding != "base58" {
			r.Data = text
		}
	case "base64", "base64+zstd", "jsonParsed":
		r.Data = []string{base64.StdEncoding.EncodeToString(data), "base64"}
	default:
		return nil, invalidParams("Invalid params: unknown encoding %q", c.Encoding)
	}
	return r, nil
}

func (s *Server) getAccountInfo(_ context.Context, params json.RawMessage) (any, *Error) {
	var text string
	c := accountConfig{config: newConfig()}
	if err := decodeParams(params, 1, &text, &c); err != nil {
		return nil, err
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, err
	}
	p, err := s.point(c.config)
	if err != nil {
		return nil, err
	}
	value, err := p.account(key, c)
	return inContext(p.Slot, value), err
}

func (s *Server) getMultipleAccounts(_ context.Context, params json.RawMessage) (any, *Error) {
	var texts []string
	c := accountConfig{config: newConfig(), Encoding: "base64"}
	if err := decodeParams(params, 1, &texts, &c); err != nil {
		return nil, err
	}
	if len(texts) > accountsMax {
		return nil, invalidParams("Too many inputs provided; max %d", accountsMax)
	}
	p, err := s.point(c.config)
	if err != nil {
		return nil, err
	}
	values := make([]any, len(texts))
	for i, text := range texts {
		key, err := parseKey(text)
		if err != nil {
			return nil, err
		}
		if values[i], err = p.account(key, c); err != nil {
			return nil, err
		}
	}
	return inContext(p.Slot, values), nil
}

func (s *Server) getMinimumBalanceForRentExemption(_ context.Context, params json.RawMessage) (any, *Error) {
	var length uint64
	c := newConfig()
	if err := decodeParams(params, 1, &length, &c); err != nil {
		return nil, err
	}
	if length > program.DataMax {
		return nil, invalidParams("Invalid params: no account has %d bytes", length)
	}
	return cluster.RentExemptMinimum(int(length)), nil
}

// statusResult is a transaction's status. Level is ours: it says more than
// confirmationStatus.
type statusResult struct {
	Slot               ledger.Slot     `json:"slot"`
	Confirmations      *uint64         `json:"confirmations"`
	Status             executionResult `json:"status"`
	Err                *ledgerError    `json:"err"`
	ConfirmationStatus Commitment      `json:"confirmationStatus"`
	Level              Level           `json:"level"`
}

type ledgerError = ledger.TransactionError

// executionResult encodes as Rust's Result does: {"Ok":null} or {"Err":…}.
type executionResult struct{ err *ledgerError }

// MarshalJSON implements json.Marshaler.
func (r executionResult) MarshalJSON() ([]byte, error) {
	if r.err == nil {
		return []byte(`{"Ok":null}`), nil
	}
	return json.Marshal(map[string]any{"Err": r.err})
}

// getSignatureStatuses answers null until this node has executed a
// transaction, because clients take any status for an execution. How far
// transactions have come before is in levels, beside value.
func (s *Server) getSignatureStatuses(_ context.Context, params json.RawMessage) (any, *Error) {
	var texts []string
	var c struct {
		SearchTransactionHistory bool `json:"searchTransactionHistory"`
	}
	if err := decodeParams(params, 1, &texts, &c); err != nil {
		return nil, err
	}
	if len(texts) > statusesMax {
		return nil, invalidParams("Too many inputs provided; max %d", statusesMax)
	}
	signatures := make([]ledger.Signature, len(texts))
	for i, text := range texts {
		var err *Error
		if signatures[i], err = parseSignature(text); err != nil {
			return nil, err
		}
	}
	slot := s.State.At(Processed).Slot
	values := make([]*statusResult, len(texts))
	levels := make([]*Level, len(texts))
	for i, status := range s.State.Statuses(signatures) {
		if status.Level != Unknown {
			levels[i] = &status.Level
		}
		if !status.Processed() {
			continue
		}
		values[i] = &statusResult{
			Slot: status.Slot, Status: executionResult{status.Err}, Err: status.Err,
			ConfirmationStatus: status.Commitment, Level: status.Level,
		}
		if status.Commitment != Finalized {
			values[i].Confirmations = &status.Confirmations
		}
	}
	return struct {
		withContext
		Levels []*Level `json:"levels"`
	}{inContext(slot, values), levels}, nil
}
