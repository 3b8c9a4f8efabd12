package consensus

import (
	"crypto/sha256"
	"slices"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

// FuzzTower: no bytes make ParseTower panic, and those that it reads are
// the ones that Append writes. The checksum is put right, or nothing would
// get past it.
func FuzzTower(f *testing.F) {
	f.Add(NewTower(account("a"), block("0")).Append(nil))
	f.Add(savedTower().Append(nil))
	f.Add([]byte(towerMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			body := b[:max(0, len(b)-sha256.Size)]
			sum := sha256.Sum256(body)
			tw, err := ParseTower(slices.Concat(body, sum[:min(len(b), len(sum))]))
			if err != nil {
				return nil
			}
			return func() []byte {
				again := tw.Append(nil)
				tw.Decide(block("9"), NewForkChoice(block("0"), oneEpoch("a=1")), newScene("a=1").vote)
				return append(again[:len(again)-sha256.Size], b[len(body):]...)
			}
		})
	})
}

// FuzzBallots: no bytes make ParseBallots panic, those that it reads are the
// ones that Append writes, and what it makes of them can count votes.
func FuzzBallots(f *testing.F) {
	stakes := oneEpoch("a=3 b=2 c=1").At(0)
	fork := line(0, 40)
	vote := voteOf(0, tower(5, 1))
	vote.Account, vote.Authority = account("a"), account("a")
	b, _ := NewBallots(oneEpoch("a=3 z=2").At(0)).Count(30, oneEpoch("a=3 z=2").At(0), []ledger.Vote{vote}, fork)
	f.Add(NewBallots(stakes).Append(nil))
	f.Add(b.in(NewStakes(stakesOf(1, "a=3 b=2 c=1"))).Append(nil))
	f.Add(b.in(NewStakes(stakesOf(1, "b=2 c=1"))).Append(nil))
	newer := voteOf(0, tower(40, 1))
	newer.Account, newer.Authority = account("a"), account("a")
	f.Fuzz(func(t *testing.T, data []byte) {
		testkit.Decode(t, data, func(data []byte) func() []byte {
			b, err := ParseBallots(data, stakes)
			if err != nil {
				return nil
			}
			return func() []byte {
				b.Count(41, stakes, []ledger.Vote{vote, newer}, fork)
				b.Reported(7, stakes)
				return b.Append(nil)
			}
		})
	})
}
