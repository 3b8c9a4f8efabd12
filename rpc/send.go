package rpc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"math"
	"time"

	"github.com/mr-tron/base58"

	"tutti/ledger"
	"tutti/ledger/sigverify"
)

const (
	// The text of a transaction or message of 1232 bytes.
	base58TextMax = 1683
	base64TextMax = 1644
	// submitTimeout bounds how long a client waits for the proposer.
	submitTimeout = 5 * time.Second
	// An airdrop asks for few compute units; how many tells those apart that
	// are equal otherwise, so that none is a duplicate.
	airdropUnits  = 1_000
	airdropsApart = 100_000
)

// sendConfig is the config of sendTransaction. maxRetries is taken and not
// used: a transaction stays in the proposer's pool until its blockhash is too
// old.
type sendConfig struct {
	SkipPreflight       bool         `json:"skipPreflight"`
	PreflightCommitment Commitment   `json:"preflightCommitment"`
	Encoding            string       `json:"encoding"`
	MinContextSlot      *ledger.Slot `json:"minContextSlot"`
}

// decodeWire reads base58 or base64 text of at most one packet.
func decodeWire(text, encoding, what string) ([]byte, *Error) {
	max := base64TextMax
	if encoding == "" || encoding == "base58" {
		max = base58TextMax
	}
	if len(text) > max {
		return nil, invalidParams("%s too large: %d characters, at most %d", what, len(text), max)
	}
	var b []byte
	var err error
	switch encoding {
	case "", "base58":
		b, err = base58.Decode(text)
	case "base64":
		b, err = base64.StdEncoding.DecodeString(text)
	default:
		return nil, invalidParams("unsupported encoding: %s. Supported encodings: base58, base64", encoding)
	}
	if err != nil {
		return nil, invalidParams("invalid %s encoding of a %s: %v", encoding, what, err)
	}
	return b, nil
}

// sendTransaction gives a transaction to the proposer. The checks before are
// those that its signatures and the processed state allow; execution itself
// is the cluster's, later.
func (s *Server) sendTransaction(ctx context.Context, params json.RawMessage) (any, *Error) {
	var text string
	c := sendConfig{PreflightCommitment: Finalized}
	if err := decodeParams(params, 1, &text, &c); err != nil {
		return nil, err
	}
	raw, failure := decodeWire(text, c.Encoding, "transaction")
	if failure != nil {
		return nil, failure
	}
	tx, err := ledger.ParseTransaction(raw)
	if err != nil {
		return nil, invalidParams("failed to deserialize transaction: %v", err)
	}
	if err := tx.Sanitize(); err != nil {
		return nil, invalidParams("invalid transaction: %v", err)
	}
	if !s.rule().VerifyTransaction(&tx) {
		return nil, &Error{Code: codeSignature, Message: "Transaction signature verification failure"}
	}
	if !c.SkipPreflight {
		if _, failure := s.point(config{c.PreflightCommitment, c.MinContextSlot}); failure != nil {
			return nil, failure
		}
		if failure := s.preflight(&tx); failure != nil {
			return nil, failure
		}
	}
	return s.submit(ctx, tx)
}

func (s *Server) rule() sigverify.Rule { return s.Genesis.Params.SignatureRule }

// submit hands a transaction to the proposer and returns its signature.
func (s *Server) submit(ctx context.Context, tx ledger.Transaction) (any, *Error) {
	ctx, cancel := context.WithTimeout(ctx, submitTimeout)
	defer cancel()
	if err := s.Submit(ctx, tx); err != nil {
		return nil, &Error{Code: codeRefused, Message: "Transaction refused: " + err.Error()}
	}
	signature := tx.Signature(0)
	s.State.Submitted(time.Now(), signature)
	return signature.String(), nil
}

// preflight finds, in the processed state, the reasons for which a
// transaction could never be executed or would not pay.
func (s *Server) preflight(tx *ledger.Transaction) *Error {
	budget, err := tx.ComputeBudget()
	if err != nil {
		return preflightFailure(err)
	}
	if err := tx.LocksOK(); err != nil {
		return preflightFailure(err)
	}
	if _, durable := tx.DurableNonce(); !durable && !s.State.known(tx.RecentBlockhash()) {
		return preflightFailure(ledger.TransactionError{Kind: ledger.BlockhashNotFound})
	}
	if status := s.State.Statuses([]ledger.Signature{tx.Signature(0)})[0]; status.Processed() {
		return preflightFailure(ledger.TransactionError{Kind: ledger.AlreadyProcessed})
	}
	payer, ok := s.State.At(Processed).View.Account(tx.Key(0))
	switch {
	case !ok:
		return preflightFailure(ledger.TransactionError{Kind: ledger.AccountNotFound})
	case payer.Owner != ledger.SystemProgram:
		return preflightFailure(ledger.TransactionError{Kind: ledger.InvalidAccountForFee})
	case payer.Lamports < tx.BaseFee() || payer.Lamports-tx.BaseFee() < budget.PriorityFee():
		return preflightFailure(ledger.TransactionError{Kind: ledger.InsufficientFundsForFee})
	}
	return nil
}

// simulation is the data of a preflight failure; the keys are Agave's.
type simulation struct {
	Accounts               any      `json:"accounts"`
	Err                    error    `json:"err"`
	Fee                    any      `json:"fee"`
	InnerInstructions      any      `json:"innerInstructions"`
	LoadedAccountsDataSize int      `json:"loadedAccountsDataSize"`
	LoadedAddresses        any      `json:"loadedAddresses"`
	Logs                   []string `json:"logs"`
	PostBalances           any      `json:"postBalances"`
	PostTokenBalances      any      `json:"postTokenBalances"`
	PreBalances            any      `json:"preBalances"`
	PreTokenBalances       any      `json:"preTokenBalances"`
	ReplacementBlockhash   any      `json:"replacementBlockhash"`
	ReturnData             any      `json:"returnData"`
	UnitsConsumed          uint64   `json:"unitsConsumed"`
}

func preflightFailure(err error) *Error {
	return &Error{
		Code:    codePreflight,
		Message: "Transaction simulation failed: " + err.Error(),
		Data:    simulation{Err: err, Logs: []string{}},
	}
}

// getFeeForMessage answers null when the message's blockhash is too old, or
// unknown at the commitment.
func (s *Server) getFeeForMessage(_ context.Context, params json.RawMessage) (any, *Error) {
	var text string
	c := newConfig()
	if err := decodeParams(params, 1, &text, &c); err != nil {
		return nil, err
	}
	message, failure := decodeWire(text, "base64", "message")
	if failure != nil {
		return nil, failure
	}
	tx, err := unsigned(message)
	if err != nil {
		return nil, invalidParams("failed to deserialize message: %v", err)
	}
	p, failure := s.point(c)
	if failure != nil {
		return nil, failure
	}
	if _, durable := tx.DurableNonce(); !durable && !s.State.Usable(tx.RecentBlockhash(), c.Commitment) {
		return inContext(p.Slot, nil), nil
	}
	fee := tx.BaseFee()
	// A budget that does not parse costs no priority fee; it fails later.
	if budget, err := tx.ComputeBudget(); err == nil {
		fee += min(budget.PriorityFee(), math.MaxUint64-fee)
	}
	return inContext(p.Slot, fee), nil
}

// unsigned returns the transaction of a message, with empty signatures.
func unsigned(message []byte) (ledger.Transaction, error) {
	var required int
	switch {
	case len(message) > 1 && message[0]&0x80 != 0:
		required = int(message[1])
	case len(message) > 0:
		required = int(message[0])
	}
	raw := ledger.AppendCompactU16(nil, required)
	raw = append(raw, make([]byte, required*len(ledger.Signature{}))...)
	tx, err := ledger.ParseTransaction(append(raw, message...))
	if err == nil {
		err = tx.Sanitize()
	}
	return tx, err
}

// requestAirdrop sends lamports from the faucet.
func (s *Server) requestAirdrop(ctx context.Context, params json.RawMessage) (any, *Error) {
	var text string
	var lamports ledger.Lamports
	c := struct {
		Commitment      Commitment `json:"commitment"`
		RecentBlockhash string     `json:"recentBlockhash"`
	}{Commitment: Finalized}
	if err := decodeParams(params, 2, &text, &lamports, &c); err != nil {
		return nil, err
	}
	to, failure := parseKey(text)
	if failure != nil {
		return nil, failure
	}
	if s.Faucet == nil {
		return nil, &Error{Code: codeInvalidRequest, Message: "This node has no faucet"}
	}
	blockhash := s.State.Latest(Processed).LastPoH
	if c.RecentBlockhash != "" {
		key, failure := parseKey(c.RecentBlockhash)
		if failure != nil {
			return nil, failure
		}
		blockhash = ledger.Hash(key)
	}
	from := ledger.Pubkey(s.Faucet[32:])
	units := airdropUnits + uint32(s.airdrops.Add(1)%airdropsApart)
	message := ledger.TransferMessage(from, to, lamports, 0, units, blockhash)
	tx, err := ledger.ParseTransaction(ledger.Sign(message.Append(nil), s.Faucet))
	if err != nil {
		return nil, &Error{Code: codeInternal, Message: "airdrop request failed: " + err.Error()}
	}
	if failure := s.preflight(&tx); failure != nil {
		return nil, failure
	}
	return s.submit(ctx, tx)
}
