package ledger

// Addresses of the programs that the formats name.
var (
	SystemProgram        = Pubkey{}
	VoteProgram          = MustPubkey("Vote111111111111111111111111111111111111111")
	StakeProgram         = MustPubkey("Stake11111111111111111111111111111111111111")
	ComputeBudgetProgram = MustPubkey("ComputeBudget111111111111111111111111111111")
	LookupTableProgram   = MustPubkey("AddressLookupTab1e1111111111111111111111111")
	Ed25519Program       = MustPubkey("Ed25519SigVerify111111111111111111111111111")
	Secp256k1Program     = MustPubkey("KeccakSecp256k11111111111111111111111111111")
	Secp256r1Program     = MustPubkey("Secp256r1SigVerify1111111111111111111111111")
	LoaderV1             = MustPubkey("BPFLoader1111111111111111111111111111111111")
	LoaderV2             = MustPubkey("BPFLoader2111111111111111111111111111111111")
	LoaderUpgradeable    = MustPubkey("BPFLoaderUpgradeab1e11111111111111111111111")
	LoaderV4             = MustPubkey("LoaderV411111111111111111111111111111111111")
	// BundleProgram is SHA-256 of "tutti bundle program",
	// 2pFsP8Xf69ic5jseWvw9WFEeD9XLrkXzr3B8BWS9tA9v: nobody has a key for it
	// (PROTOCOL section 8, Bundles).
	BundleProgram = Pubkey(Sum([]byte("tutti bundle program")))
)

// isBuiltin tells whether instructions of a program count as builtin for the
// default unit limit: the programs of Agave's list that have not moved to
// bytecode, and our Bundle program.
func isBuiltin(program Pubkey) bool {
	switch program {
	case SystemProgram, VoteProgram, ComputeBudgetProgram, BundleProgram,
		Ed25519Program, Secp256k1Program, LoaderV1, LoaderV2, LoaderUpgradeable, LoaderV4:
		return true
	}
	return false
}
