package program

import (
	"tutti/cluster"
	"tutti/ledger"
)

// Incinerator is the account whose lamports are destroyed at the end of a
// block.
var Incinerator = ledger.MustPubkey("1nc1nerator11111111111111111111111111111111")

// reserved are the keys that no transaction locks for writing, whatever its
// header says: Agave's list of builtin programs and sysvars, and our Bundle
// program.
var reserved = func() map[ledger.Pubkey]bool {
	m := make(map[ledger.Pubkey]bool)
	for _, k := range []ledger.Pubkey{
		ledger.SystemProgram, ledger.VoteProgram, ledger.StakeProgram,
		ledger.ComputeBudgetProgram, ledger.LookupTableProgram, ledger.BundleProgram,
		ledger.Ed25519Program, ledger.Secp256k1Program, ledger.Secp256r1Program,
		ledger.LoaderV1, ledger.LoaderV2, ledger.LoaderUpgradeable, ledger.LoaderV4,
		cluster.NativeLoader, cluster.SysvarOwner, cluster.SysvarClock,
		cluster.SysvarEpochSchedule, cluster.SysvarLastRestartSlot,
		cluster.SysvarRecentBlockhashes, cluster.SysvarRent, cluster.SysvarSlotHashes,
		cluster.SysvarSlotHistory, cluster.SysvarStakeHistory,
		ledger.MustPubkey("Config1111111111111111111111111111111111111"),
		ledger.MustPubkey("Feature111111111111111111111111111111111111"),
		ledger.MustPubkey("StakeConfig11111111111111111111111111111111"),
		ledger.MustPubkey("ZkE1Gama1Proof11111111111111111111111111111"),
		ledger.MustPubkey("ZkTokenProof1111111111111111111111111111111"),
		ledger.MustPubkey("SysvarEpochRewards1111111111111111111111111"),
		ledger.MustPubkey("SysvarFees111111111111111111111111111111111"),
		ledger.MustPubkey("SysvarRewards111111111111111111111111111111"),
		ledger.MustPubkey("Sysvar1nstructions1111111111111111111111111"),
	} {
		m[k] = true
	}
	return m
}()

// Reserved tells whether the key is a builtin program or a sysvar, which no
// transaction can write.
func Reserved(k ledger.Pubkey) bool { return reserved[k] }

// Loadable tells whether an account of that owner can be called as a program.
func Loadable(owner ledger.Pubkey) bool {
	return owner == cluster.NativeLoader || isLoader(owner)
}

func isLoader(k ledger.Pubkey) bool {
	switch k {
	case ledger.LoaderV1, ledger.LoaderV2, ledger.LoaderUpgradeable, ledger.LoaderV4:
		return true
	}
	return false
}
