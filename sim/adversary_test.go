package sim

import (
	"fmt"
	"testing"

	"tutti/ledger"
	"tutti/repair"
)

// hostile returns a cluster of so many nodes that runs for so many slots.
func hostile(seed uint64, validators int, slots ledger.Slot) Config {
	cfg := small(seed)
	cfg.Validators, cfg.Slots, cfg.Load = validators, slots, 40
	cfg.Params.HashesPerTick, cfg.Params.UserBlockHashesPerTick = 20, 20
	return cfg
}

// survives runs a cluster in which some are dishonest: no promise is broken,
// honest leaders lose no slot, but for the first one behind a dishonest
// leader's now and then, and what nodes keep of it is little.
func survives(t *testing.T, cfg Config, d dishonest) (*Sim, Result) {
	t.Helper()
	s, r := runWith(t, cfg, d)
	if r.HonestLost != r.HonestNext || r.HonestNext > int(cfg.Slots)/16 {
		t.Errorf("%d slots of honest leaders lost, %d of them behind a dishonest one's", r.HonestLost, r.HonestNext)
	}
	if r.Confirmed.Some == 0 || r.Confirmed.All < r.Confirmed.Some-tailSlots {
		t.Errorf("confirmed %+v of %d slots", r.Confirmed, r.Slots)
	}
	// A slot has 8 UserBlocks of one set and a block of about 6, or of 128.
	if most := 2*ledger.LeaderSetsMax + 24*int(cfg.Slots); r.Kept.Sets > most || r.Kept.Requests > repair.OutstandingMax*3/4 {
		t.Errorf("kept: %+v, want at most %d sets", r.Kept, most)
	}
	return s, r
}

// Every way to be dishonest costs a leader its slots, if that, and nobody
// else's. `tutti sim adversaries` shows it at length.
func TestAdversaries(t *testing.T) {
	for k, kinds := range adversaries[1:] {
		for i, a := range kinds {
			t.Run(a.name, func(t *testing.T) {
				t.Parallel()
				cfg, d, err := hostile(uint64(100*k+i), 5, 16).with(a)
				if err != nil {
					t.Fatal(err)
				}
				if _, r := survives(t, cfg, d); a.costs && r.Confirmed.Some == r.Slots {
					t.Error("no slot is lost")
				}
			})
		}
	}
}

// Half of all nodes lie when they are asked for shreds, in a network in which a
// quarter of all messages gets lost: it costs some time.
func TestRepairLiars(t *testing.T) {
	cfg := hostile(1, 8, 24)
	cfg.Network.Loss, cfg.Fanout = 0.25, 2
	_, honest := runWith(t, cfg, dishonest{})
	cfg, liars, err := cfg.with(adversaries[3][0])
	if err != nil {
		t.Fatal(err)
	}
	_, r := runWith(t, cfg, liars)
	if r.Repaired == 0 || r.Confirmed.All < honest.Confirmed.All/3 {
		t.Errorf("%d shreds repaired, %+v blocks confirmed; without lies %d and %+v", r.Repaired, r.Confirmed, honest.Repaired, honest.Confirmed)
	}
}

// Half of all nodes lie about where nodes can be reached, and which there are.
func TestGossipLiars(t *testing.T) {
	cfg := hostile(2, 6, 24)
	d := dishonest{behaviours: make(map[int]behaviour)}
	for i := range cfg.Validators / 2 {
		d.behaviours[2*i+1] = adversaries[3][1].of(cfg.random("liar", i))
	}
	s, r := survives(t, cfg, d)
	if r.Kept.Contacts < 50 {
		t.Errorf("%d contact records: no flood", r.Kept.Contacts)
	}
	contact := s.genesis.Validators[3].Identity
	if !s.villains.honest(1) || s.check.nodes[1].dishonest || contact == (ledger.Pubkey{}) {
		t.Error("the promises do not hold for gossip liars")
	}
}

// A dishonest leader names what dishonest proposers made, among others sets
// that decode to different data: no node votes for it, and none halts.
func TestConspiracy(t *testing.T) {
	cfg := hostile(3, 8, 24)
	d := dishonest{behaviours: map[int]behaviour{
		1: newBadProposer(cfg.random("proposer", 1), inconsistentUser, oldAnchor, unknownAnchor),
		4: newBadLeader(cfg.random("leader", 4), namesUnfit),
	}}
	s, r := survives(t, cfg, d)
	lost := 0
	for _, slot := range s.unconfirmed(r.last()) {
		if s.check.signers.signer(slot.Key()) == s.hosts[4].identity() {
			lost++
		}
	}
	if lost == 0 {
		t.Errorf("nothing that is not well formed was named: %+v", r)
	}
}

// `tutti sim --adversaries` draws all of it, with faults on top.
func TestDrawnAdversaries(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Validators = 10
	kinds, twins, all := make(map[string]bool), 0, 0
	for cfg.Seed = range 400 {
		validators := cfg.validators()
		d := drawDishonest(&cfg, validators)
		if d.none() || d.validate(validators) != nil {
			t.Errorf("seed %d: %v", cfg.Seed, &d)
		}
		twins += len(d.twins)
		for _, b := range d.behaviours {
			if s, ok := b.(several); ok {
				for _, one := range s {
					kinds[one.String()] = true
				}
			}
		}
	}
	for _, kind := range adversaries {
		all += len(kind)
	}
	if len(kinds) != all || twins < 80 {
		t.Errorf("%d twins; %d kinds of %d: %v", twins, len(kinds), all, kinds)
	}
	for _, seed := range []uint64{2} { // 0 and 1 draw liars
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			cfg := withFaults(seed)
			cfg.Adversaries, cfg.Validators, cfg.Load = true, 7, 40
			if o := RunSeed(cfg); o.Verdict != Pass {
				t.Errorf("%v\nagain: %s", o.Err, cfg.Command())
			}
		})
	}
}

// A proposer that feeds only the leader costs little, because of what leaders
// broadcast; `tutti sim feed-leader` shows it at length.
func TestFeedLeader(t *testing.T) {
	cfg := hostile(4, 6, 20)
	f, err := FeedLeader(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Missed(); err != nil {
		t.Error(err)
	}
	if f.Silent.Repaired < 3*f.Attack.Repaired || f.Silent.Confirmed <= f.Attack.Confirmed {
		t.Errorf("what leaders broadcast makes no difference: %+v", f)
	}
	f.Attack.Voted = 0.94
	if f.Missed() == nil {
		t.Error("94 % is enough")
	}
	f.Attack = f.Baseline
	f.Attack.Skipped += 2
	if f.Missed() == nil {
		t.Error("two slots of 20 are not too many")
	}
}
