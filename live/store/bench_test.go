package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
)

// BenchmarkSave stores the UserBlocks of a slot of four proposers, with so
// many bytes of payload in each, as a node does: lazily, with one firm record
// behind them. Processor time is for each KiB of payload, all of badger's
// flushing and compacting included.
func BenchmarkSave(b *testing.B) {
	const userBlocks = 8
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{4 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("payload=%dKiB", size>>10), func(b *testing.B) {
			s := openTest(b, testOptions(b.TempDir())).run()
			defer s.stop()
			slot := ledger.UserSlot(1)
			b.ReportAllocs()
			b.StopTimer()
			var cost testkit.CPU
			for range b.N {
				var saves [][]node.Record
				for lane := range ledger.Lane(userBlocks) {
					sh := shred.NewShredder(shred.Config{Key: ledger.UserKey(slot, lane), Version: 1, Signer: signer})
					payload := make([]byte, size)
					for i := range payload {
						payload[i] = byte(rng.Uint32())
					}
					sets, err := sh.Shred(payload, 0, true)
					if err != nil {
						b.Fatal(err)
					}
					saves = append(saves, records(sets))
				}
				slot += 2
				b.StartTimer()
				cost.Start()
				for _, r := range saves {
					s.Save(r, true, nil)
				}
				s.save()
				cost.Stop()
				b.StopTimer()
			}
			cost.Report(b, "KiB", userBlocks*size>>10)
		})
	}
}
