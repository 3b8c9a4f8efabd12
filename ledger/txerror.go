package ledger

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// TransactionErrorKind is a variant of Solana's TransactionError, numbered as
// bincode numbers it.
type TransactionErrorKind uint32

// The variants of TransactionError, in the order of solana-sdk
// (transaction-error/src/lib.rs). InstructionFailed is Solana's
// InstructionError, whose name is taken here by the type.
const (
	AccountInUse TransactionErrorKind = iota
	AccountLoadedTwice
	AccountNotFound
	ProgramAccountNotFound
	InsufficientFundsForFee
	InvalidAccountForFee
	AlreadyProcessed
	BlockhashNotFound
	InstructionFailed
	CallChainTooDeep
	MissingSignatureForFee
	InvalidAccountIndex
	SignatureFailure
	InvalidProgramForExecution
	SanitizeFailure
	ClusterMaintenance
	AccountBorrowOutstanding
	WouldExceedMaxBlockCostLimit
	UnsupportedVersion
	InvalidWritableAccount
	WouldExceedMaxAccountCostLimit
	WouldExceedAccountDataBlockLimit
	TooManyAccountLocks
	AddressLookupTableNotFound
	InvalidAddressLookupTableOwner
	InvalidAddressLookupTableData
	InvalidAddressLookupTableIndex
	InvalidRentPayingAccount
	WouldExceedMaxVoteCostLimit
	WouldExceedAccountDataTotalLimit
	DuplicateInstruction
	InsufficientFundsForRent
	MaxLoadedAccountsDataSizeExceeded
	InvalidLoadedAccountsDataSizeLimit
	ResanitizationNeeded
	ProgramExecutionTemporarilyRestricted
	UnbalancedTransaction
	ProgramCacheHitMaxLimit
	CommitCancelled
)

// InstructionErrorKind is a variant of Solana's InstructionError, numbered as
// bincode numbers it.
type InstructionErrorKind uint32

// The variants of InstructionError, in the order of solana-sdk
// (instruction-error/src/lib.rs).
const (
	InstructionGenericError InstructionErrorKind = iota
	InstructionInvalidArgument
	InstructionInvalidInstructionData
	InstructionInvalidAccountData
	InstructionAccountDataTooSmall
	InstructionInsufficientFunds
	InstructionIncorrectProgramId
	InstructionMissingRequiredSignature
	InstructionAccountAlreadyInitialized
	InstructionUninitializedAccount
	InstructionUnbalancedInstruction
	InstructionModifiedProgramId
	InstructionExternalAccountLamportSpend
	InstructionExternalAccountDataModified
	InstructionReadonlyLamportChange
	InstructionReadonlyDataModified
	InstructionDuplicateAccountIndex
	InstructionExecutableModified
	InstructionRentEpochModified
	InstructionNotEnoughAccountKeys
	InstructionAccountDataSizeChanged
	InstructionAccountNotExecutable
	InstructionAccountBorrowFailed
	InstructionAccountBorrowOutstanding
	InstructionDuplicateAccountOutOfSync
	InstructionCustom
	InstructionInvalidError
	InstructionExecutableDataModified
	InstructionExecutableLamportChange
	InstructionExecutableAccountNotRentExempt
	InstructionUnsupportedProgramId
	InstructionCallDepth
	InstructionMissingAccount
	InstructionReentrancyNotAllowed
	InstructionMaxSeedLengthExceeded
	InstructionInvalidSeeds
	InstructionInvalidRealloc
	InstructionComputationalBudgetExceeded
	InstructionPrivilegeEscalation
	InstructionProgramEnvironmentSetupFailure
	InstructionProgramFailedToComplete
	InstructionProgramFailedToCompile
	InstructionImmutable
	InstructionIncorrectAuthority
	InstructionBorshIoError
	InstructionAccountNotRentExempt
	InstructionInvalidAccountOwner
	InstructionArithmeticOverflow
	InstructionUnsupportedSysvar
	InstructionIllegalOwner
	InstructionMaxAccountsDataAllocationsExceeded
	InstructionMaxAccountsExceeded
	InstructionMaxInstructionTraceLengthExceeded
	InstructionBuiltinProgramsMustConsumeComputeUnits
	InstructionBailOut
)

// TransactionError says why a transaction failed, exactly as Solana says it.
// It is comparable: errors.Is finds one that is equal in all fields.
type TransactionError struct {
	Kind TransactionErrorKind
	// Index is the instruction's for InstructionFailed and
	// DuplicateInstruction, and the account's for InsufficientFundsForRent and
	// ProgramExecutionTemporarilyRestricted; otherwise it is zero.
	Index uint8
	// Instruction is set for InstructionFailed alone.
	Instruction InstructionError
}

// InstructionError says why an instruction failed. Code is set for
// InstructionCustom alone.
type InstructionError struct {
	Kind InstructionErrorKind
	Code uint32
}

// CustomError returns a program's own error.
func CustomError(code uint32) InstructionError {
	return InstructionError{Kind: InstructionCustom, Code: code}
}

// InstructionFailure returns the error of a transaction whose instruction at
// an index failed.
func InstructionFailure(index int, err InstructionError) TransactionError {
	return TransactionError{Kind: InstructionFailed, Index: uint8(index), Instruction: err}
}

// Error returns Solana's sentence.
func (e TransactionError) Error() string {
	switch e.Kind {
	case InstructionFailed:
		return fmt.Sprintf(transactionErrors[e.Kind].text, e.Index, e.Instruction)
	case DuplicateInstruction, InsufficientFundsForRent, ProgramExecutionTemporarilyRestricted:
		return fmt.Sprintf(transactionErrors[e.Kind].text, e.Index)
	}
	return transactionErrors[e.Kind].text
}

// Error returns Solana's sentence.
func (e InstructionError) Error() string {
	if e.Kind == InstructionCustom {
		return fmt.Sprintf(instructionErrors[e.Kind].text, e.Code)
	}
	return instructionErrors[e.Kind].text
}

// AppendBincode appends the error as bincode has it.
func (e TransactionError) AppendBincode(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.Kind))
	switch e.Kind {
	case InstructionFailed:
		dst = append(dst, e.Index)
		dst = binary.LittleEndian.AppendUint32(dst, uint32(e.Instruction.Kind))
		if e.Instruction.Kind == InstructionCustom {
			dst = binary.LittleEndian.AppendUint32(dst, e.Instruction.Code)
		}
	case DuplicateInstruction, InsufficientFundsForRent, ProgramExecutionTemporarilyRestricted:
		dst = append(dst, e.Index)
	}
	return dst
}

// ParseTransactionError reads b as exactly one error in bincode.
func ParseTransactionError(b []byte) (TransactionError, error) {
	r := reader{b: b}
	e := TransactionError{Kind: TransactionErrorKind(r.u32())}
	if e.Kind > CommitCancelled {
		return TransactionError{}, fmt.Errorf("transaction error %d: %w", uint32(e.Kind), ErrEncoding)
	}
	switch e.Kind {
	case InstructionFailed:
		e.Index = r.u8()
		e.Instruction.Kind = InstructionErrorKind(r.u32())
		if e.Instruction.Kind > InstructionBailOut {
			return TransactionError{}, fmt.Errorf("instruction error %d: %w", uint32(e.Instruction.Kind), ErrEncoding)
		}
		if e.Instruction.Kind == InstructionCustom {
			e.Instruction.Code = r.u32()
		}
	case DuplicateInstruction, InsufficientFundsForRent, ProgramExecutionTemporarilyRestricted:
		e.Index = r.u8()
	}
	if err := r.end(); err != nil {
		return TransactionError{}, err
	}
	return e, nil
}

// MarshalJSON writes the error as Solana's RPC does: a variant's name, or an
// object of the name and what it carries.
func (e TransactionError) MarshalJSON() ([]byte, error) {
	name := transactionErrors[e.Kind].name
	switch e.Kind {
	case InstructionFailed:
		return json.Marshal(map[string]any{name: []any{e.Index, e.Instruction}})
	case DuplicateInstruction:
		return json.Marshal(map[string]any{name: e.Index})
	case InsufficientFundsForRent, ProgramExecutionTemporarilyRestricted:
		return json.Marshal(map[string]any{name: map[string]any{"account_index": e.Index}})
	}
	return json.Marshal(name)
}

// MarshalJSON writes the error as Solana's RPC does.
func (e InstructionError) MarshalJSON() ([]byte, error) {
	name := instructionErrors[e.Kind].name
	if e.Kind == InstructionCustom {
		return json.Marshal(map[string]any{name: e.Code})
	}
	return json.Marshal(name)
}

// errorText is a variant's name and its sentence, a format where the variant
// carries something.
type errorText struct{ name, text string }

var transactionErrors = [...]errorText{
	AccountInUse:                          {"AccountInUse", "Account in use"},
	AccountLoadedTwice:                    {"AccountLoadedTwice", "Account loaded twice"},
	AccountNotFound:                       {"AccountNotFound", "Attempt to debit an account but found no record of a prior credit."},
	ProgramAccountNotFound:                {"ProgramAccountNotFound", "Attempt to load a program that does not exist"},
	InsufficientFundsForFee:               {"InsufficientFundsForFee", "Insufficient funds for fee"},
	InvalidAccountForFee:                  {"InvalidAccountForFee", "This account may not be used to pay transaction fees"},
	AlreadyProcessed:                      {"AlreadyProcessed", "This transaction has already been processed"},
	BlockhashNotFound:                     {"BlockhashNotFound", "Blockhash not found"},
	InstructionFailed:                     {"InstructionError", "Error processing Instruction %d: %v"},
	CallChainTooDeep:                      {"CallChainTooDeep", "Loader call chain is too deep"},
	MissingSignatureForFee:                {"MissingSignatureForFee", "Transaction requires a fee but has no signature present"},
	InvalidAccountIndex:                   {"InvalidAccountIndex", "Transaction contains an invalid account reference"},
	SignatureFailure:                      {"SignatureFailure", "Transaction did not pass signature verification"},
	InvalidProgramForExecution:            {"InvalidProgramForExecution", "This program may not be used for executing instructions"},
	SanitizeFailure:                       {"SanitizeFailure", "Transaction failed to sanitize accounts offsets correctly"},
	ClusterMaintenance:                    {"ClusterMaintenance", "Transactions are currently disabled due to cluster maintenance"},
	AccountBorrowOutstanding:              {"AccountBorrowOutstanding", "Transaction processing left an account with an outstanding borrowed reference"},
	WouldExceedMaxBlockCostLimit:          {"WouldExceedMaxBlockCostLimit", "Transaction would exceed max Block Cost Limit"},
	UnsupportedVersion:                    {"UnsupportedVersion", "Transaction version is unsupported"},
	InvalidWritableAccount:                {"InvalidWritableAccount", "Transaction loads a writable account that cannot be written"},
	WouldExceedMaxAccountCostLimit:        {"WouldExceedMaxAccountCostLimit", "Transaction would exceed max account limit within the block"},
	WouldExceedAccountDataBlockLimit:      {"WouldExceedAccountDataBlockLimit", "Transaction would exceed account data limit within the block"},
	TooManyAccountLocks:                   {"TooManyAccountLocks", "Transaction locked too many accounts"},
	AddressLookupTableNotFound:            {"AddressLookupTableNotFound", "Transaction loads an address table account that doesn't exist"},
	InvalidAddressLookupTableOwner:        {"InvalidAddressLookupTableOwner", "Transaction loads an address table account with an invalid owner"},
	InvalidAddressLookupTableData:         {"InvalidAddressLookupTableData", "Transaction loads an address table account with invalid data"},
	InvalidAddressLookupTableIndex:        {"InvalidAddressLookupTableIndex", "Transaction address table lookup uses an invalid index"},
	InvalidRentPayingAccount:              {"InvalidRentPayingAccount", "Transaction leaves an account with a lower balance than rent-exempt minimum"},
	WouldExceedMaxVoteCostLimit:           {"WouldExceedMaxVoteCostLimit", "Transaction would exceed max Vote Cost Limit"},
	WouldExceedAccountDataTotalLimit:      {"WouldExceedAccountDataTotalLimit", "Transaction would exceed total account data limit"},
	DuplicateInstruction:                  {"DuplicateInstruction", "Transaction contains a duplicate instruction (%d) that is not allowed"},
	InsufficientFundsForRent:              {"InsufficientFundsForRent", "Transaction results in an account (%d) with insufficient funds for rent"},
	MaxLoadedAccountsDataSizeExceeded:     {"MaxLoadedAccountsDataSizeExceeded", "Transaction exceeded max loaded accounts data size cap"},
	InvalidLoadedAccountsDataSizeLimit:    {"InvalidLoadedAccountsDataSizeLimit", "LoadedAccountsDataSizeLimit set for transaction must be greater than 0."},
	ResanitizationNeeded:                  {"ResanitizationNeeded", "ResanitizationNeeded"},
	ProgramExecutionTemporarilyRestricted: {"ProgramExecutionTemporarilyRestricted", "Execution of the program referenced by account at index %d is temporarily restricted."},
	UnbalancedTransaction:                 {"UnbalancedTransaction", "Sum of account balances before and after transaction do not match"},
	ProgramCacheHitMaxLimit:               {"ProgramCacheHitMaxLimit", "Program cache hit max limit"},
	CommitCancelled:                       {"CommitCancelled", "CommitCancelled"},
}

var instructionErrors = [...]errorText{
	InstructionGenericError:                           {"GenericError", "generic instruction error"},
	InstructionInvalidArgument:                        {"InvalidArgument", "invalid program argument"},
	InstructionInvalidInstructionData:                 {"InvalidInstructionData", "invalid instruction data"},
	InstructionInvalidAccountData:                     {"InvalidAccountData", "invalid account data for instruction"},
	InstructionAccountDataTooSmall:                    {"AccountDataTooSmall", "account data too small for instruction"},
	InstructionInsufficientFunds:                      {"InsufficientFunds", "insufficient funds for instruction"},
	InstructionIncorrectProgramId:                     {"IncorrectProgramId", "incorrect program id for instruction"},
	InstructionMissingRequiredSignature:               {"MissingRequiredSignature", "missing required signature for instruction"},
	InstructionAccountAlreadyInitialized:              {"AccountAlreadyInitialized", "instruction requires an uninitialized account"},
	InstructionUninitializedAccount:                   {"UninitializedAccount", "instruction requires an initialized account"},
	InstructionUnbalancedInstruction:                  {"UnbalancedInstruction", "sum of account balances before and after instruction do not match"},
	InstructionModifiedProgramId:                      {"ModifiedProgramId", "instruction illegally modified the program id of an account"},
	InstructionExternalAccountLamportSpend:            {"ExternalAccountLamportSpend", "instruction spent from the balance of an account it does not own"},
	InstructionExternalAccountDataModified:            {"ExternalAccountDataModified", "instruction modified data of an account it does not own"},
	InstructionReadonlyLamportChange:                  {"ReadonlyLamportChange", "instruction changed the balance of a read-only account"},
	InstructionReadonlyDataModified:                   {"ReadonlyDataModified", "instruction modified data of a read-only account"},
	InstructionDuplicateAccountIndex:                  {"DuplicateAccountIndex", "instruction contains duplicate accounts"},
	InstructionExecutableModified:                     {"ExecutableModified", "instruction changed executable bit of an account"},
	InstructionRentEpochModified:                      {"RentEpochModified", "instruction modified rent epoch of an account"},
	InstructionNotEnoughAccountKeys:                   {"NotEnoughAccountKeys", "insufficient account keys for instruction"},
	InstructionAccountDataSizeChanged:                 {"AccountDataSizeChanged", "program other than the account's owner changed the size of the account data"},
	InstructionAccountNotExecutable:                   {"AccountNotExecutable", "instruction expected an executable account"},
	InstructionAccountBorrowFailed:                    {"AccountBorrowFailed", "instruction tries to borrow reference for an account which is already borrowed"},
	InstructionAccountBorrowOutstanding:               {"AccountBorrowOutstanding", "instruction left account with an outstanding borrowed reference"},
	InstructionDuplicateAccountOutOfSync:              {"DuplicateAccountOutOfSync", "instruction modifications of multiply-passed account differ"},
	InstructionCustom:                                 {"Custom", "custom program error: %#x"},
	InstructionInvalidError:                           {"InvalidError", "program returned invalid error code"},
	InstructionExecutableDataModified:                 {"ExecutableDataModified", "instruction changed executable accounts data"},
	InstructionExecutableLamportChange:                {"ExecutableLamportChange", "instruction changed the balance of an executable account"},
	InstructionExecutableAccountNotRentExempt:         {"ExecutableAccountNotRentExempt", "executable accounts must be rent exempt"},
	InstructionUnsupportedProgramId:                   {"UnsupportedProgramId", "Unsupported program id"},
	InstructionCallDepth:                              {"CallDepth", "Cross-program invocation call depth too deep"},
	InstructionMissingAccount:                         {"MissingAccount", "An account required by the instruction is missing"},
	InstructionReentrancyNotAllowed:                   {"ReentrancyNotAllowed", "Cross-program invocation reentrancy not allowed for this instruction"},
	InstructionMaxSeedLengthExceeded:                  {"MaxSeedLengthExceeded", "Length of the seed is too long for address generation"},
	InstructionInvalidSeeds:                           {"InvalidSeeds", "Provided seeds do not result in a valid address"},
	InstructionInvalidRealloc:                         {"InvalidRealloc", "Failed to reallocate account data"},
	InstructionComputationalBudgetExceeded:            {"ComputationalBudgetExceeded", "Computational budget exceeded"},
	InstructionPrivilegeEscalation:                    {"PrivilegeEscalation", "Cross-program invocation with unauthorized signer or writable account"},
	InstructionProgramEnvironmentSetupFailure:         {"ProgramEnvironmentSetupFailure", "Failed to create program execution environment"},
	InstructionProgramFailedToComplete:                {"ProgramFailedToComplete", "Program failed to complete"},
	InstructionProgramFailedToCompile:                 {"ProgramFailedToCompile", "Program failed to compile"},
	InstructionImmutable:                              {"Immutable", "Account is immutable"},
	InstructionIncorrectAuthority:                     {"IncorrectAuthority", "Incorrect authority provided"},
	InstructionBorshIoError:                           {"BorshIoError", "Failed to serialize or deserialize account data"},
	InstructionAccountNotRentExempt:                   {"AccountNotRentExempt", "An account does not have enough lamports to be rent-exempt"},
	InstructionInvalidAccountOwner:                    {"InvalidAccountOwner", "Invalid account owner"},
	InstructionArithmeticOverflow:                     {"ArithmeticOverflow", "Program arithmetic overflowed"},
	InstructionUnsupportedSysvar:                      {"UnsupportedSysvar", "Unsupported sysvar"},
	InstructionIllegalOwner:                           {"IllegalOwner", "Provided owner is not allowed"},
	InstructionMaxAccountsDataAllocationsExceeded:     {"MaxAccountsDataAllocationsExceeded", "Accounts data allocations exceeded the maximum allowed per transaction"},
	InstructionMaxAccountsExceeded:                    {"MaxAccountsExceeded", "Max accounts exceeded"},
	InstructionMaxInstructionTraceLengthExceeded:      {"MaxInstructionTraceLengthExceeded", "Max instruction trace length exceeded"},
	InstructionBuiltinProgramsMustConsumeComputeUnits: {"BuiltinProgramsMustConsumeComputeUnits", "Builtin programs must consume compute units"},
	InstructionBailOut:                                {"BailOut", "Block production bailed out"},
}
