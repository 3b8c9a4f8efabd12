package ledger_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// TestTransactionErrorForms has the three forms of errors as Solana's RPC,
// bincode and Display give them.
func TestTransactionErrorForms(t *testing.T) {
	failure := func(i int, k ledger.InstructionErrorKind) ledger.TransactionError {
		return ledger.InstructionFailure(i, ledger.InstructionError{Kind: k})
	}
	cases := []struct {
		err     ledger.TransactionError
		json    string
		bincode string
		text    string
	}{
		{ledger.TransactionError{Kind: ledger.AccountInUse}, `"AccountInUse"`, "00000000", "Account in use"},
		{
			ledger.TransactionError{Kind: ledger.AccountNotFound},
			`"AccountNotFound"`, "02000000",
			"Attempt to debit an account but found no record of a prior credit.",
		},
		{
			ledger.TransactionError{Kind: ledger.AlreadyProcessed},
			`"AlreadyProcessed"`, "06000000",
			"This transaction has already been processed",
		},
		{ledger.TransactionError{Kind: ledger.BlockhashNotFound}, `"BlockhashNotFound"`, "07000000", "Blockhash not found"},
		{
			ledger.TransactionError{Kind: ledger.SignatureFailure},
			`"SignatureFailure"`, "0c000000",
			"Transaction did not pass signature verification",
		},
		{
			ledger.TransactionError{Kind: ledger.TooManyAccountLocks},
			`"TooManyAccountLocks"`, "16000000",
			"Transaction locked too many accounts",
		},
		{
			ledger.InstructionFailure(0, ledger.CustomError(1)), `{"InstructionError":[0,{"Custom":1}]}`, "08000000001900000001000000",
			"Error processing Instruction 0: custom program error: 0x1",
		},
		{
			failure(3, ledger.InstructionIllegalOwner), `{"InstructionError":[3,"IllegalOwner"]}`, "080000000331000000",
			"Error processing Instruction 3: Provided owner is not allowed",
		},
		{
			failure(255, ledger.InstructionGenericError), `{"InstructionError":[255,"GenericError"]}`, "08000000ff00000000",
			"Error processing Instruction 255: generic instruction error",
		},
		{
			failure(1, ledger.InstructionBorshIoError), `{"InstructionError":[1,"BorshIoError"]}`, "08000000012c000000",
			"Error processing Instruction 1: Failed to serialize or deserialize account data",
		},
		{
			ledger.TransactionError{Kind: ledger.DuplicateInstruction, Index: 2},
			`{"DuplicateInstruction":2}`, "1e00000002",
			"Transaction contains a duplicate instruction (2) that is not allowed",
		},
		{
			ledger.TransactionError{Kind: ledger.InsufficientFundsForRent, Index: 3},
			`{"InsufficientFundsForRent":{"account_index":3}}`, "1f00000003",
			"Transaction results in an account (3) with insufficient funds for rent",
		},
		{
			ledger.TransactionError{Kind: ledger.ProgramExecutionTemporarilyRestricted, Index: 1},
			`{"ProgramExecutionTemporarilyRestricted":{"account_index":1}}`, "2300000001",
			"Execution of the program referenced by account at index 1 is temporarily restricted.",
		},
		{ledger.TransactionError{Kind: ledger.CommitCancelled}, `"CommitCancelled"`, "26000000", "CommitCancelled"},
	}
	for _, c := range cases {
		if got, err := json.Marshal(c.err); err != nil || string(got) != c.json {
			t.Errorf("JSON %s, want %s (%v)", got, c.json, err)
		}
		if got := hex.EncodeToString(c.err.AppendBincode(nil)); got != c.bincode {
			t.Errorf("%s: bincode %s, want %s", c.json, got, c.bincode)
		}
		if got := c.err.Error(); got != c.text {
			t.Errorf("%s: %q, want %q", c.json, got, c.text)
		}
		b, _ := hex.DecodeString(c.bincode)
		if got, err := ledger.ParseTransactionError(b); err != nil || got != c.err {
			t.Errorf("%s: parsed as %+v, %v", c.json, got, err)
		}
		if _, err := ledger.ParseTransactionError(append(b, 0)); !errors.Is(err, ledger.ErrTrailing) {
			t.Errorf("%s with a trailing byte: %v", c.json, err)
		}
		for n := range b {
			if _, err := ledger.ParseTransactionError(b[:n]); err == nil {
				t.Errorf("%s: first %d bytes taken", c.json, n)
			}
		}
	}
}

// TestEveryErrorHasItsForms goes through all variants.
func TestEveryErrorHasItsForms(t *testing.T) {
	seen := map[string]bool{}
	check := func(e ledger.TransactionError) {
		t.Helper()
		b := e.AppendBincode(nil)
		got, err := ledger.ParseTransactionError(b)
		if err != nil || got != e {
			t.Errorf("%x: %+v, %v", b, got, err)
		}
		text, err := json.Marshal(e)
		if err != nil || e.Error() == "" || seen[string(text)] {
			t.Errorf("%+v: %s, %v", e, text, err)
		}
		seen[string(text)] = true
		if wrapped := fmt.Errorf("wrapped: %w", e); !errors.Is(wrapped, e) {
			t.Errorf("%v is not found in what wraps it", e)
		}
	}
	for k := range ledger.CommitCancelled + 1 {
		if k != ledger.InstructionFailed {
			check(ledger.TransactionError{Kind: k})
		}
	}
	for k := range ledger.InstructionBailOut + 1 {
		check(ledger.InstructionFailure(7, ledger.InstructionError{Kind: k}))
	}
	for _, b := range [][]byte{{39, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff}, {8, 0, 0, 0, 1, 55, 0, 0, 0}} {
		if _, err := ledger.ParseTransactionError(b); !errors.Is(err, ledger.ErrEncoding) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func FuzzTransactionError(f *testing.F) {
	f.Add([]byte{7, 0, 0, 0})
	f.Add([]byte{8, 0, 0, 0, 1, 25, 0, 0, 0, 2, 0, 0, 0})
	f.Add([]byte{8, 0, 0, 0, 1, 44, 0, 0, 0})
	f.Add([]byte{31, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			e, err := ledger.ParseTransactionError(b)
			if err != nil {
				return nil
			}
			return func() []byte { return e.AppendBincode(nil) }
		})
		if e, err := ledger.ParseTransactionError(b); err == nil {
			if _, err := json.Marshal(e); err != nil || e.Error() == "" {
				t.Fatal(err)
			}
		}
	})
}
