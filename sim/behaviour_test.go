package sim

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"tutti/ledger"
	"tutti/node"
)

// scripted is a behaviour made of a function.
type scripted func(h *host, wanted []queued) []queued

func (s scripted) act(h *host, wanted []queued) []queued { return s(h, wanted) }
func (scripted) String() string                          { return "plays a script" }

// runWith runs a cluster in which some are dishonest and nothing may go wrong.
func runWith(t *testing.T, cfg Config, d dishonest) (*Sim, Result) {
	t.Helper()
	s, err := newSim(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Run()
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

// A behaviour can drop, redirect and add what its node wants done, bytes that
// are no message among it; the others do without.
func TestBehaviour(t *testing.T) {
	cfg := small(1)
	dropped, added := 0, 0
	silent := scripted(func(h *host, wanted []queued) []queued {
		wanted = slices.DeleteFunc(wanted, func(q queued) bool {
			send, ok := q.effect.(node.Send)
			if !ok {
				return false
			}
			_, vote := send.Msg.(node.VoteMessage)
			if vote {
				dropped++
			}
			return vote
		})
		added++
		to := []ledger.Pubkey{h.sim.hosts[added%2].identity()}
		return append(wanted, queued{effect: node.Send{To: to}, frame: &frame{raw: []byte("no message")}})
	})
	s, r := runWith(t, cfg, dishonest{behaviours: map[int]behaviour{4: silent}})
	if dropped == 0 || added == 0 || r.Confirmed.All < 18 || r.Dishonest != "node 4 plays a script" {
		t.Errorf("%d votes dropped, %d frames added, %+v", dropped, added, r)
	}
	if len(s.check.nodes[4].own) > 0 {
		t.Error("the checks look at what a dishonest node sends")
	}
	dropped, added = 0, 0
	again, err := newSim(cfg, dishonest{behaviours: map[int]behaviour{4: silent}})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := again.Run(); got.Trace != r.Trace {
		t.Error("another trace in the second run")
	}
}

// A third of the stake is too much to be dishonest.
func TestDishonestStake(t *testing.T) {
	cfg := small(1)
	cfg.Validators = 3
	_, err := newSim(cfg, dishonest{twins: []int{0, 1}})
	if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "dishonest") {
		t.Errorf("error is %v", err)
	}
}

// Both machines of a twin hear and speak for one identity. What it signs twice
// is seen and proven.
func TestTwin(t *testing.T) {
	cfg := small(2)
	s, r := runWith(t, cfg, dishonest{twins: []int{2}})
	if len(s.hosts) != 6 || s.hosts[5].identity() != s.hosts[2].identity() || s.hosts[5].disk == s.hosts[2].disk {
		t.Fatalf("%d machines", len(s.hosts))
	}
	proofs := 0
	for _, h := range s.hosts {
		proofs += len(h.disk.evidence)
	}
	if proofs == 0 || r.Confirmed.All < 12 || s.hosts[5].node == nil {
		t.Errorf("%d proofs, %+v", proofs, r)
	}
}
