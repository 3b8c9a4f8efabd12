package consensus

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"tutti/ledger"
)

// The bytes of a tower, little-endian:
//
//	"TUTTITWR" | version u16 | identity 32 | root slot u64 | root id 32 |
//	votes u8 × (slot u64 | id 32 | confirmations u8) |
//	length u16 | last vote's transaction | SHA-256 of all before
const (
	towerMagic   = "TUTTITWR"
	towerVersion = 1
	towerHead    = len(towerMagic) + 2 + 32 + 8 + 32 + 1
	towerVoteLen = 8 + 32 + 1

	// TransactionMax is the length of the longest transaction, in bytes
	// (FORMATS section 1).
	TransactionMax = 1232
	// TowerMax is the length of the longest tower, in bytes.
	TowerMax = towerHead + LockoutsMax*towerVoteLen + 2 + TransactionMax + sha256.Size
)

// ErrTowerCorrupt is the reason why bytes are no tower. A node that finds it
// must not vote.
var ErrTowerCorrupt = errors.New("tower: corrupt")

// Append appends the tower's bytes.
func (t *Tower) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, towerMagic...)
	dst = binary.LittleEndian.AppendUint16(dst, towerVersion)
	dst = append(dst, t.identity[:]...)
	dst = appendRef(dst, t.root)
	dst = append(dst, uint8(len(t.votes)))
	for _, v := range t.votes {
		dst = append(appendRef(dst, v.Block), v.Confirmations)
	}
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(t.transaction)))
	dst = append(dst, t.transaction...)
	sum := sha256.Sum256(dst[start:])
	return append(dst, sum[:]...)
}

// ParseTower reads the bytes of a tower. The error is ErrTowerCorrupt or
// names a version that this program does not know.
func ParseTower(b []byte) (*Tower, error) {
	if len(b) < towerHead+2+sha256.Size || len(b) > TowerMax || string(b[:len(towerMagic)]) != towerMagic {
		return nil, ErrTowerCorrupt
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if want := sha256.Sum256(body); string(want[:]) != string(sum) {
		return nil, ErrTowerCorrupt
	}
	body = body[len(towerMagic):]
	if v := binary.LittleEndian.Uint16(body); v != towerVersion {
		return nil, fmt.Errorf("tower: version %d, know %d", v, towerVersion)
	}
	t := &Tower{identity: ledger.Pubkey(body[2:34]), root: parseRef(body[34:])}
	n := int(body[74])
	body = body[75:]
	if n > LockoutsMax || len(body) < n*towerVoteLen+2 {
		return nil, ErrTowerCorrupt
	}
	for range n {
		t.votes = append(t.votes, TowerVote{parseRef(body), body[towerVoteLen-1]})
		body = body[towerVoteLen:]
	}
	if len(body)-2 != int(binary.LittleEndian.Uint16(body)) || len(body)-2 > TransactionMax || !ordered(t.votes) {
		return nil, ErrTowerCorrupt
	}
	if len(body) > 2 {
		t.transaction = slices.Clone(body[2:])
	}
	return t, nil
}

// ordered tells whether votes can be a tower's.
func ordered(votes []TowerVote) bool {
	for i, v := range votes {
		if v.Confirmations == 0 || v.Confirmations > LockoutsMax {
			return false
		}
		if i == 0 {
			continue
		}
		prev := votes[i-1]
		if prev.Block.Slot >= v.Block.Slot || prev.Confirmations <= v.Confirmations || prev.lockedUntil() < v.Block.Slot {
			return false
		}
	}
	return true
}

func appendRef(dst []byte, b ledger.BlockRef) []byte {
	return append(binary.LittleEndian.AppendUint64(dst, uint64(b.Slot)), b.ID[:]...)
}

func parseRef(b []byte) ledger.BlockRef {
	return ledger.BlockRef{Slot: ledger.Slot(binary.LittleEndian.Uint64(b)), ID: ledger.Hash(b[8:40])}
}
