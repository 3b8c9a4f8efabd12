package consensus

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

// FuzzTower: no bytes make ParseTower panic, and those that it reads are
// the ones that Append writes. The checksum is put right, or nothing would
// get past it.
func FuzzTower(f *testing.F) {
	f.Add(NewTower(account("a"), block("0")).Append(nil))
	f.Add(savedTower().Append(nil))
	f.Add([]byte(towerMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParseTower(b); err != nil && len(b) >= sha256.Size {
			sum := sha256.Sum256(b[:len(b)-sha256.Size])
			b = append(b[:len(b)-sha256.Size:len(b)-sha256.Size], sum[:]...)
		}
		tw, err := ParseTower(b)
		if err != nil {
			return
		}
		if got := tw.Append(nil); !bytes.Equal(got, b) {
			t.Fatalf("read %x, wrote %x", b, got)
		}
		tw.Decide(block("9"), NewForkChoice(block("0"), oneEpoch("a=1")), newScene("a=1").vote)
	})
}
