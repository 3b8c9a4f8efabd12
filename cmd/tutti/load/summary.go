package load

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"tutti/ledger"
)

// Summary is what a Tracker has counted. Refused, Lost, ExecutedOK,
// ExecutedFailed, Duplicate, Unpayable and BadSignature add up to Offered, as
// the endings of Outcomes do: a transaction counts once, by its final outcome.
type Summary struct {
	Outcomes
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

// Endings are all of them, in the order in which reports name them.
var Endings = []Ending{OK, Failed, Duplicate, Unpayable, BadSignature, Refused, Unsent, Unheard, Unrecorded, Unexecuted}

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

// Outcomes counts what became of transactions.
type Outcomes struct {
	Accepted uint64            `json:"accepted"` // a proposer had them
	Endings  map[Ending]uint64 `json:"endings"`
	Refusals map[string]uint64 `json:"refusals"` // by the node's reason
}

// NewOutcomes returns the counts of no transactions.
func NewOutcomes() Outcomes {
	return Outcomes{Endings: map[Ending]uint64{}, Refusals: map[string]uint64{}}
}

// refusalsMax bounds the reasons that are counted apart.
const refusalsMax = 32

var digits = regexp.MustCompile(`[0-9]+`)

// Add counts a transaction. Reasons that differ in numbers only are one.
func (o *Outcomes) Add(f *Fate) {
	if f.Accepted {
		o.Accepted++
	}
	o.Endings[f.Ending]++
	if f.Ending == Refused {
		reason := digits.ReplaceAllString(f.Reason, "N")
		if _, ok := o.Refusals[reason]; !ok && len(o.Refusals) >= refusalsMax {
			reason = "other reasons"
		}
		o.Refusals[reason]++
	}
}

// Landed counts those that were executed, with success or not.
func (o *Outcomes) Landed() uint64 { return o.Endings[OK] + o.Endings[Failed] }

// lost counts those that landed nowhere and were not refused.
func (o *Outcomes) lost() (n uint64) {
	for _, e := range []Ending{Unsent, Unheard, Unrecorded, Unexecuted} {
		n += o.Endings[e]
	}
	return n
}

// NotLanded says how many others ended how, and why some were refused.
func (o *Outcomes) NotLanded() (list []string) {
	for _, e := range Endings[2:] {
		if n := o.Endings[e]; n > 0 && e != Refused {
			list = append(list, fmt.Sprintf("%d %s", n, e))
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(o.Refusals)) {
		list = append(list, fmt.Sprintf("%d refused (%s)", o.Refusals[reason], reason))
	}
	return list
}
