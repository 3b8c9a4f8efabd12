package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"

	"tutti/ledger"
)

// What is stored under which key; integers in keys are big-endian, so that
// keys sort by them, and those in values little-endian.
//
//	G                                   genesis hash
//	C                                   number of the newest commit, and of the newest in
//	                                    blocks, u64; slot in which blocks has the latter
//	R                                   newest RootRecord: slot u64, id
//	H                                   newest HaltRecord
//	F count8                            RestartRecord
//	S                                   head of the account state: see State
//	A key32 ^slot8                      account as of that slot; empty if deleted
//	D slot8 B slotfield8 id32           BlockRecord
//	D slot8 C                           number of the last commit whose highest slot it was
//	D slot8 E slotfield8                EvidenceRecord
//	D later8 P id32                     executed and rooted block: link, receipts
//	D slot8 S slotfield8 index4 root32  FEC set, as shred.Set.Pack writes it
//
// slot is the leader slot, so that what was received for it lies together and is
// pruned together; later is executedLater slots after it. A value too long for one
// entry goes on in pieces, under its key with a piece number behind it.
const (
	keyGenesis = 'G'
	keyCommit  = 'C'
	keyRoot    = 'R'
	keyHalt    = 'H'
	keyRestart = 'F'
	keyState   = 'S'
	keyAccount = 'A'
	keyData    = 'D'

	kindBlock    = 'B'
	kindMark     = 'C'
	kindEvidence = 'E'
	kindExecuted = 'P'
	kindSet      = 'S'
)

const (
	dataPrefixSize  = 1 + 8 + 1
	blockKeySize    = dataPrefixSize + 8 + 32
	evidenceKeySize = dataPrefixSize + 8
	executedKeySize = dataPrefixSize + 32
	setKeySize      = dataPrefixSize + 8 + 4 + 32
	accountKeySize  = 1 + 32 + 8
	pieceSuffixSize = 2
)

// executedLater is how many slots after its own the key of an executed block
// stands. It is written once the block is rooted, with a state, and so about there
// where everything else is written at that time: among older keys badger would have
// to write what stands around them once more, as much again as what is new.
const executedLater = 48

func dataKey(slot ledger.Slot, kind byte) []byte {
	b := binary.BigEndian.AppendUint64(append(make([]byte, 0, setKeySize), keyData), uint64(slot))
	return append(b, kind)
}

// slotOf returns the slot in a dataKey.
func slotOf(key []byte) ledger.Slot { return ledger.Slot(binary.BigEndian.Uint64(key[1:])) }

func blockKey(key ledger.SlotKey, id ledger.Hash) []byte {
	b := binary.BigEndian.AppendUint64(dataKey(key.Slot(), kindBlock), uint64(key))
	return append(b, id[:]...)
}

func evidenceKey(key ledger.SlotKey) []byte {
	return binary.BigEndian.AppendUint64(dataKey(key.Slot(), kindEvidence), uint64(key))
}

func executedKey(ref ledger.BlockRef) []byte {
	return append(dataKey(ref.Slot+executedLater, kindExecuted), ref.ID[:]...)
}

func restartKey(count uint64) []byte { return binary.BigEndian.AppendUint64([]byte{keyRestart}, count) }

// setPrefix begins the keys of all sets of one block or UserBlock.
func setPrefix(key ledger.SlotKey) []byte {
	return binary.BigEndian.AppendUint64(dataKey(key.Slot(), kindSet), uint64(key))
}

func setKey(key ledger.SlotKey, index uint32, root ledger.Hash) []byte {
	return append(binary.BigEndian.AppendUint32(setPrefix(key), index), root[:]...)
}

func accountKey(key ledger.Pubkey, slot ledger.Slot) []byte {
	b := append(append(make([]byte, 0, accountKeySize), keyAccount), key[:]...)
	return binary.BigEndian.AppendUint64(b, ^uint64(slot))
}

// ErrCorrupt is returned for a stored value whose checksum is wrong, or which
// is not what its key says.
var ErrCorrupt = errors.New("corrupt value in the ledger")

func corrupt(key []byte, what string) error {
	return fmt.Errorf("%w: key %x: %s", ErrCorrupt, key, what)
}

// A value is its checksum, the number of further pieces u16, and the bytes.
// The checksum covers the key, too: a value in another's place is found out.
const (
	sumSize    = 16
	headerSize = sumSize + 2
	pieceMax   = 512 << 10
)

func checksum(key, rest []byte) (sum [sumSize]byte) {
	h := blake3.New()
	h.Write(key)
	h.Write(rest)
	copy(sum[:], h.Sum(nil))
	return sum
}

// seal makes the value that is stored under key.
func seal(key []byte, more uint16, parts ...[]byte) []byte {
	size := headerSize
	for _, p := range parts {
		size += len(p)
	}
	b := make([]byte, sumSize, size)
	b = binary.LittleEndian.AppendUint16(b, more)
	for _, p := range parts {
		b = append(b, p...)
	}
	sum := checksum(key, b[sumSize:])
	copy(b, sum[:])
	return b
}

// unseal checks a value and returns its bytes, which alias it.
func unseal(key, value []byte) (more uint16, b []byte, err error) {
	if len(value) < headerSize {
		return 0, nil, corrupt(key, "too short")
	}
	if sum := checksum(key, value[sumSize:]); string(sum[:]) != string(value[:sumSize]) {
		return 0, nil, corrupt(key, "checksum")
	}
	return binary.LittleEndian.Uint16(value[sumSize:]), value[headerSize:], nil
}

func pieceKey(key []byte, piece uint16) []byte {
	return binary.BigEndian.AppendUint16(append(make([]byte, 0, len(key)+pieceSuffixSize), key...), piece)
}
