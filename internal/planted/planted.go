// Package planted makes a program wrong on purpose, to see that its tests
// notice. A bug is one branch at the place of the rule that it breaks:
//
//	if planted.Is(planted.BurnLost) { … }
//
// Only a build with the tag planted has these branches; in all others Is is a
// constant, and the compiler leaves them out. One bug is active at a time: the
// one that TUTTI_PLANTED names. With TUTTI_PLANTED_NODE, the name of a ledger
// folder, it is so in that node of a devnet alone.
//
// `make bugs` plants one after the other and says which test, and which
// promise of a simulation, finds each (docs/testing.md).
package planted

// Bug is the name of a bug.
type Bug string

// The bugs. Their names begin with the package that is wrong; their comments
// are the table of `make bugs`.
const (
	// A FEC set is taken as it comes, without encoding it again.
	Reencoding Bug = "shred-reencoding"
	// An answer to a repair request may have shreds of another root.
	RepairRoot Bug = "repair-root"

	// Two thirds of the stake are enough, not only more than that.
	TwoThirds Bug = "consensus-two-thirds"
	// A third of the stake is enough, not only more than that.
	OneThird Bug = "consensus-one-third"
	// More than a third of the roots make a slot finalised.
	FinalByThird Bug = "consensus-final-by-third"
	// A tower roots its oldest vote with the fifth, not with the 32nd.
	RootEarly Bug = "consensus-root-early"
	// Votes ignore the lockouts of earlier ones.
	Lockouts Bug = "consensus-lockouts"
	// Votes leave their fork without the switch threshold.
	SwitchThreshold Bug = "consensus-switch-threshold"
	// Votes go on although nobody follows, without the threshold at depth 8.
	DepthThreshold Bug = "consensus-depth-threshold"
	// Votes go on although nobody is seen to follow the one three below.
	ShallowThreshold Bug = "consensus-shallow-threshold"
	// A vote that is seen again counts again.
	VoteTwice Bug = "consensus-vote-twice"
	// Stakes are those of the next epoch.
	StakesEpoch Bug = "consensus-stakes-epoch"
	// Two children of a block append to one slice of reports.
	SharedReports Bug = "consensus-shared-reports"
	// Fetched links of others are not followed.
	LinksIgnored Bug = "consensus-links-ignored"
	// Only the last report of a voter certifies a block, though it cannot be compared yet.
	LatestReport Bug = "consensus-latest-report"
	// Execution that lags behind does not make UserBlocks smaller.
	LagIgnored Bug = "consensus-lag-ignored"

	// Transactions are not sorted by price.
	FeeOrder Bug = "bank-fee-order"
	// Receipts come in another order than transactions were executed.
	ReceiptOrder Bug = "bank-receipt-order"
	// A message may be processed again.
	Duplicates Bug = "bank-duplicates"
	// A fork switch does not undo one account of a block.
	UndoAccount Bug = "bank-undo-account"
	// A fork switch does not undo what a block has processed.
	UndoStatus Bug = "bank-undo-status"
	// What was processed is forgotten after 149 blocks.
	StatusAge Bug = "bank-status-age"
	// What was processed before a restart is forgotten.
	StatusRestored Bug = "bank-status-restored"
	// A transaction that is refused advances its nonce.
	NonceRefused Bug = "bank-nonce-refused"
	// A nonce is advanced in bytes that other forks and readers share.
	NonceInPlace Bug = "bank-nonce-in-place"
	// The burnt half of the fees is paid out, too.
	FeeSplit Bug = "bank-fee-split"
	// The burnt half of the fees is not counted as burnt.
	BurnLost Bug = "bank-burn-lost"
	// A bit of the lamports of each account that a block writes is wrong.
	FlipBit Bug = "bank-flip-bit"
	// A BankHash links to the grandparent's.
	BankParent Bug = "bank-parent"
	// What the first members of an aborted bundle did stays.
	BundleAtomic Bug = "bank-bundle-atomic"
	// A transaction that writes does not wait for those that read.
	ReadLock Bug = "bank-read-lock"

	// The hash of a UserBlock's last tick is not verified.
	LastTick Bug = "validator-last-tick"
	// A block's sets may name another parent than its first.
	ParentOffset Bug = "validator-parent-offset"
	// An anchor may be one block older.
	AnchorDepth Bug = "validator-anchor-depth"
	// A UserBlock may be named one section later.
	WindowWide Bug = "validator-window"
	// A lane may be named again on a fork.
	LaneTwice Bug = "validator-lane-twice"
	// Two blocks that share their first sets append to one slice of entries.
	SharedEntries Bug = "validator-shared-entries"

	// A full pool takes more.
	PoolBound Bug = "proposer-pool-bound"

	// A vote leaves before the tower is durable.
	VoteUnsynced Bug = "node-vote-unsynced"
	// Shreds leave before it is durable that their block begins.
	BegunUnsynced Bug = "node-begun-unsynced"
	// A node votes for a block without holding its UserBlocks.
	VoteUnheld Bug = "node-vote-unheld"
	// The tower is not read after a restart.
	TowerLost Bug = "node-tower-lost"
	// A block that was begun before a restart is made again.
	BegunLost Bug = "node-begun-lost"
	// Lanes that were named before a restart are forgotten.
	LanesLost Bug = "node-lanes-lost"
	// A block that is no newer can become the root.
	RootBack Bug = "node-root-back"
	// Votes for other forks count when a block becomes finalised.
	FinalOtherFork Bug = "node-final-other-fork"
	// A block begins one tick early.
	TickEarly Bug = "node-tick-early"
	// A map's order decides in which order UserBlocks are named.
	MapOrder Bug = "node-map-order"
	// A leader keeps the shreds of what it names to itself.
	Rebroadcast Bug = "node-rebroadcast"
	// A shred that was passed on is passed on again.
	PassedTwice Bug = "node-passed-twice"
	// A node that has stalled votes all the same.
	StallVotes Bug = "node-stall-votes"
	// A halt is forgotten by a restart.
	HaltLost Bug = "node-halt-lost"
	// A node that is wrong gives up at once, without executing again.
	NeverBack Bug = "node-never-back"
	// The proof of an equivocation is not stored.
	EvidenceLost Bug = "node-evidence-lost"
)
