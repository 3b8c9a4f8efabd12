package ledger

// BundleRole is a transaction's part in a bundle (PROTOCOL section 8).
type BundleRole uint8

// The parts of a bundle; the zero value is for transactions outside of one.
const (
	NoBundle BundleRole = iota
	Bundler
	Member
)

// UserTransaction is a transaction in a UserBlock, with what its place and
// its first checks have shown.
type UserTransaction struct {
	Transaction
	// Hash is the message hash.
	Hash Hash
	// Position is the number of PoH hashes since the UserBlock's seed, up to
	// and including its entry's.
	Position uint64
	// Index is its place in the UserBlock.
	Index  uint32
	Budget ComputeBudget
	Role   BundleRole
	// BundleSize is the number of members, on the bundler alone.
	BundleSize uint8
	// SignatureOK tells whether all signatures verify under the ledger's rule.
	// It means nothing before they were verified.
	SignatureOK bool
}

// UserBlock is a well-formed UserBlock (PROTOCOL section 4). Its signatures
// need not be verified before it is executed.
type UserBlock struct {
	Ref      UserBlockRef
	Proposer Pubkey
	// Anchor is the chained Merkle root of the first FEC set: the last PoH hash
	// of a block that the proposer held to be confirmed.
	Anchor       Hash
	Transactions []UserTransaction
	// Cost is the sum of its transactions' costs.
	Cost uint64
	// Payload is the sum of (size − 88) over its data shreds, in bytes.
	Payload int
}
