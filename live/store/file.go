package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tutti/ledger"
)

// The tower file holds what must not be forgotten even if the ledger is: the
// tower, the newest blocks begun, and how far the ledger was when it was
// written. The ledger is committed first, so a ledger that is behind its
// tower file has lost what was promised to last.
//
//	"tutti tower\x01" | sum 16 | commit u64 | begun slot u64 | begun UserBlockSlot u64 | tower
const (
	towerName     = "tower"
	towerPrevious = "tower.previous"
	towerMagic    = "tutti tower\x01"
)

// TowerFiles are the names, in a ledger directory, of the tower file and of
// the one before it.
var TowerFiles = []string{towerName, towerPrevious}

// memory is the content of the tower file.
type memory struct {
	commit    uint64
	begunSlot ledger.Slot
	begunUser ledger.UserSlot
	tower     []byte
}

// ErrTower is returned when the tower file is missing or damaged. Going on
// without it could contradict votes that were sent.
var ErrTower = errors.New("tower file missing or damaged")

func (m *memory) append(b []byte) []byte {
	rest := binary.LittleEndian.AppendUint64(nil, m.commit)
	rest = binary.LittleEndian.AppendUint64(rest, uint64(m.begunSlot))
	rest = binary.LittleEndian.AppendUint64(rest, uint64(m.begunUser))
	rest = append(rest, m.tower...)
	sum := checksum([]byte(towerMagic), rest)
	return append(append(append(b, towerMagic...), sum[:]...), rest...)
}

func parseMemory(b []byte) (memory, error) {
	var m memory
	if len(b) < len(towerMagic)+sumSize+24 || string(b[:len(towerMagic)]) != towerMagic {
		return m, errors.New("not a tower file")
	}
	b = b[len(towerMagic):]
	if sum := checksum([]byte(towerMagic), b[sumSize:]); string(sum[:]) != string(b[:sumSize]) {
		return m, errors.New("wrong checksum")
	}
	b = b[sumSize:]
	m.commit = binary.LittleEndian.Uint64(b)
	m.begunSlot = ledger.Slot(binary.LittleEndian.Uint64(b[8:]))
	m.begunUser = ledger.UserSlot(binary.LittleEndian.Uint64(b[16:]))
	m.tower = b[24:]
	return m, nil
}

// readMemory reads the tower file; found is false if there is none.
func readMemory(dir string) (m memory, found bool, err error) {
	path := filepath.Join(dir, towerName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err != nil {
		return m, false, fmt.Errorf("read tower: %w", err)
	}
	m, err = parseMemory(b)
	if err != nil {
		err = fmt.Errorf("%w: %s: %w; put back an undamaged copy (%s is one vote older), or never vote with this identity again",
			ErrTower, path, err, towerPrevious)
	}
	return m, true, err
}

// writeMemory replaces the tower file. When it returns the new one is
// durable, and the one before is kept beside it.
func writeMemory(dir string, m *memory) error {
	path, previous, tmp := filepath.Join(dir, towerName), filepath.Join(dir, towerPrevious), filepath.Join(dir, towerName+".tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write tower: %w", err)
	}
	_, err = f.Write(m.append(nil))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write tower: %w", err)
	}
	// A second link, so that at no moment there is no tower.
	if err := os.Remove(previous); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write tower: %w", err)
	}
	if err := os.Link(path, previous); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write tower: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write tower: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err = errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
