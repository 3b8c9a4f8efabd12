package sim

import (
	"math/rand/v2"
	"slices"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
	"tutti/node"
)

// voters returns a cluster of seven equal voters, which is quick to run.
func voters(seed uint64) Config {
	cfg := small(seed)
	cfg.Validators, cfg.Load = 7, 5
	cfg.Params.HashesPerTick, cfg.Params.UserBlockHashesPerTick = 0, 0
	cfg.stakes = slices.Repeat([]ledger.Lamports{stakeMin}, cfg.Validators)
	return cfg
}

// Whatever two of seven voters send, the others go on as if nothing were, and
// what they promise holds.
func TestDishonestVoters(t *testing.T) {
	rng := func(i uint64) *rand.Rand { return rand.New(rand.NewPCG(9, i)) }
	for _, two := range [][2]behaviour{
		{&voteTwice{rng(0)}, &voteTwice{rng(1)}},
		{&voteAnywhere{rng(2)}, &voteAnywhere{rng(3)}},
		{&replayVotes{rng: rng(4)}, &replayVotes{rng: rng(5)}},
		{&forgeVotes{rng(6)}, &forgeVotes{rng(7)}},
	} {
		t.Run(two[0].String(), func(t *testing.T) {
			sent := 0
			count := func(b behaviour) behaviour {
				spy := scripted(func(h *host, wanted []queued) []queued {
					done := b.act(h, wanted)
					for _, q := range done {
						if send, ok := q.effect.(node.Send); ok {
							if _, ok := send.Msg.(node.VoteMessage); ok {
								sent++
							}
						}
					}
					return done
				})
				return heardBy{spy, b}
			}
			s, r := runWith(t, voters(4), dishonest{behaviours: map[int]behaviour{2: count(two[0]), 5: count(two[1])}})
			if r.Confirmed.All < 19 || r.Rejected > 0 || r.Conflicts > 0 {
				t.Errorf("%+v", r)
			}
			if sent < 30 {
				t.Errorf("%d votes were sent", sent)
			}
			if s.check.votes.Count() > 5*20 {
				t.Errorf("%d votes of five honest voters", s.check.votes.Count())
			}
		})
	}
}

// heardBy is a behaviour that is watched, and hears what it would.
type heardBy struct {
	scripted
	watched behaviour
}

func (b heardBy) hear(h *host, m node.Message) {
	if l, ok := b.watched.(listener); ok {
		l.hear(h, m)
	}
}

// A twin makes forks, and a voter without a tower votes for all of them.
func TestVoterOnEveryFork(t *testing.T) {
	cfg := voters(5)
	twin, voter := dishonestTwin(t, cfg), 0
	if twin == voter {
		voter = 1
	}
	rng := testkit.Rand(t)
	_, r := runWith(t, cfg, dishonest{twins: []int{twin}, behaviours: map[int]behaviour{voter: &voteAnywhere{rng}}})
	if r.Abandoned == 0 || r.Confirmed.All < 14 {
		t.Errorf("%+v", r)
	}
}

// dishonestTwin returns who leads in slot 8.
func dishonestTwin(t *testing.T, cfg Config) int {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s.leader(8)
}

// Counting votes that nobody sent, or twice, is noticed.
func TestCountedVotes(t *testing.T) {
	x := newScene(t)
	account := x.genesis.Validators[0].VoteAccount
	x.fine(x.vote(0, x.cast(x.ref(1)), x.disk()))
	seen := func(slot ledger.Slot) node.VoteSeen { return node.VoteSeen{Voter: account, Block: x.ref(slot)} }
	x.fine(x.report(1, seen(1)))
	x.fine(x.report(2, seen(1)))
	x.broken(x.report(1, seen(1)), "again")
	x.broken(x.report(1, seen(2)), "has not sent")
	x.broken(x.report(1, seen(9)), "which no node holds")
	x.villains[account] = true
	x.fine(x.report(1, seen(2)))
}
