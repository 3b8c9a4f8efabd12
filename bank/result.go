package bank

import (
	"encoding/binary"

	"tutti/bank/program"
	"tutti/cluster"
	"tutti/ledger"
)

// Account is what stands under a key. A pointer to one, once given out, points
// to a value that never changes.
type Account = program.Account

// Block is a leader block as execution sees it: votes and markers have done
// their part, and the bodies of all UserBlocks that it names are here.
type Block struct {
	Ref, Parent ledger.BlockRef
	// LastPoH is the hash of the block's last tick.
	LastPoH ledger.Hash
	// UserBlocks are in the order of the leader's PoH.
	UserBlocks []Recorded
}

// Recorded is a UserBlock that a leader block names.
type Recorded struct {
	// Section is the UserBlockSlot in whose half of the slot the entry stands.
	Section ledger.UserSlot
	Block   *ledger.UserBlock
	// Anchor is the block whose last PoH hash the UserBlock is anchored to.
	Anchor ledger.BlockRef
}

// Outcome is what became of one occurrence of a transaction, numbered as
// receipts have it (PROTOCOL section 8).
type Outcome uint8

// The outcomes. Only OK and Failed pay a fee and count as processed; the
// others change nothing for the users.
const (
	OK Outcome = iota
	Failed
	Duplicate
	BadSignature
	Unpayable
	BundleAborted
	BadNonce
)

var outcomes = [...]string{
	OK: "ok", Failed: "failed", Duplicate: "duplicate", BadSignature: "bad signature",
	Unpayable: "unpayable", BundleAborted: "bundle aborted", BadNonce: "bad nonce",
}

// String returns the outcome's name in the protocol.
func (o Outcome) String() string {
	if int(o) < len(outcomes) {
		return outcomes[o]
	}
	return "unknown"
}

// Processed tells whether the transaction counts as processed: it has paid,
// and its message can not be processed again for 150 blocks.
func (o Outcome) Processed() bool { return o <= Failed }

// Receipt says what became of one occurrence of a transaction.
type Receipt struct {
	Outcome Outcome
	// Error says why the transaction Failed; it is nil for the other outcomes.
	Error       *ledger.TransactionError
	MessageHash ledger.Hash
	// Signature is the transaction's first; the leaf does not cover it.
	Signature ledger.Signature
	U         ledger.UserSlot
	Lane      ledger.Lane
	Index     uint32 // in the UserBlock
	Fee       ledger.Lamports
	Units     uint64 // compute units used
}

// Leaf returns the receipt's leaf in the receipts tree (PROTOCOL section 8).
func (r *Receipt) Leaf() ledger.Hash {
	var failure []byte
	if r.Error != nil {
		failure = r.Error.AppendBincode(make([]byte, 0, 16))
	}
	b := make([]byte, 0, 128)
	b = append(b, leafPrefix, 1, byte(r.Outcome))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(failure)))
	b = append(b, failure...)
	b = append(b, r.MessageHash[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.U))
	b = binary.LittleEndian.AppendUint16(b, uint16(r.Lane))
	b = binary.LittleEndian.AppendUint32(b, r.Index)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Fee))
	b = binary.LittleEndian.AppendUint64(b, r.Units)
	return ledger.Sum(b)
}

// AccountDelta is an account that a block has changed; nil stands for none.
type AccountDelta struct {
	Key      ledger.Pubkey
	Old, New *Account
}

// Leaf returns the account's leaf in the delta tree (PROTOCOL section 8).
func (d *AccountDelta) Leaf() ledger.Hash { return deltaLeaf(d.Key, AccountHash(d.Key, d.New)) }

func deltaLeaf(key ledger.Pubkey, account ledger.Hash) ledger.Hash {
	var b [65]byte
	b[0] = leafPrefix
	copy(b[1:], key[:])
	copy(b[33:], account[:])
	return ledger.Sum(b[:])
}

// Link is what a BankHash is made of, so that a chain of links can be checked
// from the hash of its last block alone.
type Link struct {
	Parent     ledger.Hash // the parent's BankHash
	Signatures uint64      // of transactions that were ok or failed
	LastPoH    ledger.Hash
	Receipts   ledger.Hash // root of the receipts tree
	Delta      ledger.Hash // root of the delta tree
	Accounts   ledger.Hash // SHA-256 of the accounts lattice hash
	HardForks  uint64      // sum of the counts mixed in; 0 is none
}

// BankHash returns the hash of the block that the link is of (PROTOCOL
// section 8; hard forks as in FORMATS section 9).
func (l *Link) BankHash() ledger.Hash {
	b := make([]byte, 0, 4*32+8)
	b = append(b, l.Parent[:]...)
	b = binary.LittleEndian.AppendUint64(b, l.Signatures)
	b = append(b, l.LastPoH[:]...)
	b = append(b, l.Receipts[:]...)
	b = append(b, l.Delta[:]...)
	inner := ledger.Sum(b)
	hash := ledger.Sum(inner[:], l.Accounts[:])
	if l.HardForks > 0 {
		hash = ledger.Sum(hash[:], binary.LittleEndian.AppendUint64(nil, l.HardForks))
	}
	return hash
}

// LinkSize is the length of a link as Append writes it, in bytes.
const LinkSize = 5*32 + 2*8

// Append writes the link: parent's BankHash, signatures u64, last PoH hash,
// receipts root, delta root, accounts hash, hard forks u64.
func (l *Link) Append(b []byte) []byte {
	b = append(b, l.Parent[:]...)
	b = binary.LittleEndian.AppendUint64(b, l.Signatures)
	b = append(b, l.LastPoH[:]...)
	b = append(b, l.Receipts[:]...)
	b = append(b, l.Delta[:]...)
	b = append(b, l.Accounts[:]...)
	return binary.LittleEndian.AppendUint64(b, l.HardForks)
}

// ParseLink reads a link from the first LinkSize bytes.
func ParseLink(b []byte) Link {
	return Link{
		Parent:     ledger.Hash(b[:32]),
		Signatures: binary.LittleEndian.Uint64(b[32:]),
		LastPoH:    ledger.Hash(b[40:72]),
		Receipts:   ledger.Hash(b[72:104]),
		Delta:      ledger.Hash(b[104:136]),
		Accounts:   ledger.Hash(b[136:168]),
		HardForks:  binary.LittleEndian.Uint64(b[168:LinkSize]),
	}
}

// Result is what Execute has found out about a block.
type Result struct {
	Ref, Parent              ledger.BlockRef
	Height                   uint64 // number of blocks before it on its fork
	BankHash, ParentBankHash ledger.Hash
	Link                     Link
	// Receipts are in the order of execution, one for every occurrence.
	Receipts []Receipt
	// Processed and Nonces are those of the block's Past.
	Processed []ledger.Hash
	Nonces    []ledger.Pubkey
	// Written are the accounts that differ from those of the parent's state,
	// sysvars included, sorted by key.
	Written []AccountDelta
	// View is the state after the block.
	View *View
	// Burned is what the block took out of existence: half of the base fees,
	// deposits that could not be made, bills, and what was sent to the
	// incinerator.
	Burned ledger.Lamports
	// SignatureCount is the number of signatures of ok and failed transactions.
	SignatureCount uint64
	// Stakes are those of the epochs that the block's parent was the last to
	// decide: set on the first block of an epoch alone, usually one, of the
	// epoch after it (PROTOCOL section 10).
	Stakes []*cluster.EpochStakes
}
