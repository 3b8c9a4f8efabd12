package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"tutti/ledger"
)

// callTimeout bounds a question to a node.
const callTimeout = 2 * time.Second

// LatestBlockhash asks a node for a blockhash of a confirmed block.
func LatestBlockhash(ctx context.Context, url string) (ledger.Hash, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var result struct {
		Value struct{ Blockhash string }
	}
	if err := Call(ctx, url, "getLatestBlockhash", `[{"commitment":"confirmed"}]`, &result); err != nil {
		return ledger.Hash{}, err
	}
	return ledger.ParseHash(result.Value.Blockhash)
}

// Call asks a node's JSON-RPC. params is JSON.
func Call(ctx context.Context, url, method, params string, result any) error {
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
