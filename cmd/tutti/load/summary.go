package load

import "tutti/ledger"

// Summary is what a Tracker has counted. Refused, Lost, ExecutedOK,
// ExecutedFailed, Duplicate, Unpayable and BadSignature add up to Offered: a
// transaction counts once, by its final outcome.
type Summary struct {
	Offered        uint64 `json:"offered"`
	Refused        uint64 `json:"refused"`
	Lost           uint64 `json:"lost"` // nobody refused it, and nobody executed it
	ExecutedOK     uint64 `json:"executed_ok"`
	ExecutedFailed uint64 `json:"executed_failed"`
	Duplicate      uint64 `json:"duplicate"`
	Unpayable      uint64 `json:"unpayable"`
	BadSignature   uint64 `json:"bad_signature"`

	// Recorded and Confirmed count offered transactions of which a UserBlock
	// was recorded, and of which one stands in a confirmed block.
	Recorded  uint64 `json:"recorded"`
	Confirmed uint64 `json:"confirmed"`
	// LatencyMS is measured from the time at which a transaction was to be
	// sent to the first event on a node other than the one it was sent to.
	// What did not happen counts as a minute.
	LatencyMS struct {
		Recorded  Quantiles `json:"recorded"`
		Confirmed Quantiles `json:"confirmed"`
		Executed  Quantiles `json:"executed"`
	} `json:"latency_ms"`

	// Slots counts those of the measured span, and SkippedSlots those of
	// them without a block on the confirmed chain.
	Slots        uint64 `json:"slots"`
	SkippedSlots uint64 `json:"skipped_slots"`
	// UserBlocksRecorded counts those named by confirmed blocks of the span;
	// UserBlocksMissed those that some node held and no confirmed block named
	// in time.
	UserBlocksRecorded map[ledger.Lane]uint64 `json:"userblocks_recorded"`
	UserBlocksMissed   uint64                 `json:"userblocks_missed"`
	// BankHashesCompared counts the BankHashes of nodes, for blocks of the
	// span, that could be compared with another node's; BankHashMismatches
	// those of the whole run that differ from the first that was reported.
	BankHashesCompared uint64 `json:"bank_hashes_compared"`
	BankHashMismatches uint64 `json:"bank_hash_mismatches"`
	// Unwell has the nodes that are not healthy at the end, and what they are
	// instead: node.Health in words.
	Unwell map[int]string `json:"unwell"`
}

// Ending is what became of a transaction.
type Ending string

// The endings. Landed are OK and Failed, which were executed; those from
// Unsent on are losses that nobody gave a reason for.
const (
	OK           Ending = "ok"
	Failed       Ending = "failed"
	Duplicate    Ending = "duplicate"
	Unpayable    Ending = "unpayable"
	BadSignature Ending = "bad signature"
	Refused      Ending = "refused"
	Unsent       Ending = "not sent: the connection took no more"
	Unheard      Ending = "in no UserBlock"
	Unrecorded   Ending = "in a UserBlock that was not recorded"
	Unexecuted   Ending = "recorded, but not executed"
)

// Fate is all that is known of a transaction when it is over. Times are in
// Unix nanoseconds; 0 means never.
type Fate struct {
	ID                            TxID
	At                            int64 // when it was to be sent
	Accepted                      bool  // a proposer had it
	Recorded, Confirmed, Executed int64
	Ending                        Ending
	Reason                        string // why it was refused
}

// Landed tells whether the transaction was executed.
func (f *Fate) Landed() bool { return f.Ending == OK || f.Ending == Failed }
