package sim

import (
	"slices"
	"testing"
	"time"

	"tutti/internal/testkit"
	"tutti/ledger"
	"tutti/node"
	"tutti/repair"
	"tutti/shred"
)

// The queue gives items by time, and of one time in the order of pushing.
func TestQueueAgainstSort(t *testing.T) {
	rng := testkit.Rand(t)
	for range 200 {
		var q queue
		var model []item
		for range rng.IntN(200) {
			if rng.IntN(3) > 0 {
				it := item{at: time.Duration(rng.IntN(20)), host: int32(rng.IntN(1000))}
				q.push(it)
				it.seq = q.seq - 1
				model = append(model, it)
				slices.SortStableFunc(model, func(a, b item) int { return int(a.at - b.at) })
				continue
			}
			got, ok := q.pop()
			if ok != (len(model) > 0) {
				t.Fatalf("pop is %v with %d items", ok, len(model))
			}
			if !ok {
				continue
			}
			if want := model[0]; got.at != want.at || got.seq != want.seq || got.host != want.host {
				t.Fatalf("got %+v, want %+v", got, want)
			}
			model = model[1:]
		}
	}
}

func BenchmarkQueue(b *testing.B) {
	var q queue
	for i := range 10_000 {
		q.push(item{at: time.Duration(i * 7919 % 10_000)})
	}
	for b.Loop() {
		it, _ := q.pop()
		it.at += time.Duration(it.seq*7919) % 10_000
		q.push(it)
	}
}

func TestLatencies(t *testing.T) {
	cfg := small(1)
	cfg.Network.Jitter = 0
	cfg.Network.Nudges = []Nudge{{From: 3, To: 1, By: 5}}
	n := newNetwork(&cfg, cfg.Validators, nil, nil)
	seen := make(map[time.Duration]bool)
	for from := range cfg.Validators {
		for to := range from {
			thereAt, _ := n.travel(0, from, to, 1)
			backAt, _ := n.travel(0, to, from, 1)
			there, back := thereAt[0], backAt[0]
			if from == 3 && to == 1 {
				there -= 5
			}
			if there != back || there < cfg.Network.LatencyMin || there > cfg.Network.LatencyMax {
				t.Errorf("%d to %d takes %v, back %v", from, to, there, back)
			}
			seen[there] = true
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d latencies of 10 pairs", len(seen))
	}
}

func TestJitterAndLoss(t *testing.T) {
	for _, loss := range []float64{0, 0.25, 1} {
		cfg := small(2)
		cfg.Network.Loss = loss
		n := newNetwork(&cfg, cfg.Validators, nil, nil)
		const messages = 10_000
		lost := 0
		for range messages {
			at, copies := n.travel(0, 0, 1, 1)
			if copies == 0 {
				lost++
				continue
			}
			if extra := at[0] - n.link(0, 1).latency; extra < 0 || extra >= cfg.Network.Jitter {
				t.Fatalf("jitter of %v", extra)
			}
		}
		if share := float64(lost) / messages; share < loss-0.02 || share > loss+0.02 {
			t.Errorf("%.3f lost, want %.2f", share, loss)
		}
	}
}

func TestStoreAnswersUntilPruned(t *testing.T) {
	s := newStore()
	key := ledger.Slot(10).Key()
	sets := []*shred.Set{{Key: key, Root: ledger.Hash{1}}, {Key: key, Index: 32, Root: ledger.Hash{2}}}
	for _, i := range []int{1, 0} {
		sets[i].Shreds[0] = []byte{byte(i)}
		s.write([]node.Record{node.SetRecord{Set: sets[i]}})
	}
	if s.holds(key, ledger.Hash{2}) {
		t.Error("holds a block that was not written")
	}
	s.write([]node.Record{node.BlockRecord{Key: key, ID: ledger.Hash{2}, Roots: []ledger.Hash{{1}, {2}}}})
	requests := []repair.Request{
		{Kind: repair.Spine, Key: key, Root: ledger.Hash{2}},
		{Kind: repair.Highest, Key: key},
		{Kind: repair.Shreds, Key: key, Root: ledger.Hash{1}, Mask: 1},
	}
	for _, slot := range []ledger.Slot{0, 10 + storeSlots, 11 + storeSlots} {
		s.prune(slot, storeSlots)
		held := slot <= 10+storeSlots
		for _, r := range requests {
			if _, ok := repair.Answer(s, r); ok != held {
				t.Errorf("root %d: answer to %+v: %v", slot, r, ok)
			}
		}
		if s.holds(key, ledger.Hash{2}) != held {
			t.Errorf("root %d: holds the block: %v", slot, !held)
		}
	}
	if _, ok := s.Set(ledger.Slot(11).Key(), ledger.Hash{1}); ok {
		t.Error("gave a set of another slot")
	}
}

func TestEffectsWaitForTheSave(t *testing.T) {
	cfg := small(3)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := s.hosts[0]
	h.queue = nil
	begun := func(k ledger.SlotKey) queued {
		return queued{effect: node.Save{Records: []node.Record{node.BegunRecord{Key: k}}}}
	}
	lazy := func(slot ledger.Slot) queued {
		return queued{effect: node.Save{Lazy: true, Records: []node.Record{node.EvidenceRecord{Key: slot.Key()}}}}
	}
	h.queue = []queued{lazy(1), begun(1), lazy(2), begun(2), lazy(3)}
	for want := ledger.Slot(1); want <= 3; want++ {
		var err error
		if want == 1 {
			err = h.carryOut()
		} else {
			err = h.saved()
		}
		if err != nil || len(h.disk.evidence) != int(want) || h.disk.begun[false] != ledger.SlotKey(want-1) {
			t.Fatalf("%d proofs, begun %v, error %v; want %d", len(h.disk.evidence), h.disk.begun, err, want)
		}
	}
	if len(h.queue) != 0 {
		t.Errorf("%d effects left", len(h.queue))
	}
}

// A job's result is that of running it, whoever ran it first.
func TestJobsShareResults(t *testing.T) {
	cfg := small(4)
	shredder := shred.NewShredder(shred.Config{
		Key: ledger.UserKey(4, 0), Version: 1, Signer: cfg.keypair("identity", 0),
	})
	made, err := shredder.Shred([]byte("batch"), 0, true)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]shred.Shred, shred.SetSize)
	for i := range all {
		all[i] = made[0].Shred(i)
	}
	j := newJobs(false)
	for from := 0; from <= shred.SetData; from += 8 {
		job := node.AssembleJob{Key: made[0].Key, Root: made[0].Root, Shreds: all[from : from+shred.SetData]}
		got, want := j.run(job).(node.Assembled), job.Run().(node.Assembled)
		if got.Err != nil || got.Recovered != want.Recovered || got.Key != want.Key || got.Root != want.Root ||
			!slices.EqualFunc(got.Set.Shreds[:], want.Set.Shreds[:], slices.Equal) {
			t.Errorf("shreds from %d: %+v, want %+v", from, got, want)
		}
	}
	if len(j.sets) != 1 {
		t.Errorf("%d sets are kept", len(j.sets))
	}
	j.prune(3 + jobsSlots)
	if len(j.sets) != 0 {
		t.Error("a set of an old slot is kept")
	}
}

func TestNetworkFaults(t *testing.T) {
	cfg := small(5)
	cfg.Network.Jitter = 0
	f := &faults{bandwidth: []float64{1e6, 1e6, 1e6, 1e6, 1e6}}
	n := newNetwork(&cfg, cfg.Validators, f.regions, f)
	latency := n.link(0, 1).latency
	at, _ := n.travel(0, 0, 1, 1000) // 1 ms up, 1 ms down
	if at[0] != latency+2*time.Millisecond {
		t.Errorf("arrives after %v with a latency of %v", at[0], latency)
	}
	if at, _ = n.travel(0, 0, 2, 1000); at[0] != n.link(0, 2).latency+3*time.Millisecond {
		t.Errorf("the second arrives after %v", at[0])
	}
	for range 1000 {
		n.travel(0, 0, 3, 1000)
	}
	if _, copies := n.travel(0, 0, 1, 1000); copies != 0 {
		t.Error("a full queue takes more")
	}
	n.link(1, 0).cloggedUntil = time.Second
	if at, _ = n.travel(0, 1, 0, 1); at[0] < time.Second+latency {
		t.Errorf("comes through a clog after %v", at[0])
	}
	n.link(1, 2).cut = 1
	if _, copies := n.travel(0, 1, 2, 1); copies != 0 {
		t.Error("comes through a cut")
	}
	n.duplicate = lossThreshold(1)
	n.reorder = lossThreshold(1)
	if at, copies := n.travel(0, 2, 1, 1); copies != 2 || at[0] == at[1] {
		t.Errorf("%d copies at %v", copies, at)
	}
}

func TestRegions(t *testing.T) {
	if oneWay(1, 7) != 107*time.Millisecond || oneWay(7, 1) != oneWay(1, 7) {
		t.Errorf("Toronto to Sydney takes %v, back %v", oneWay(1, 7), oneWay(7, 1))
	}
	for a := range roundTrips {
		for b := range a {
			if roundTrips[a][b] <= roundTrips[a][a] {
				t.Errorf("%s and %s are nearer than zones of a region", regionNames[a], regionNames[b])
			}
		}
	}
}

// A crash takes nothing away that was synced, and of the rest some.
func TestCrashOfAStore(t *testing.T) {
	lost, states := 0, 0
	for i := range 100 {
		cfg := small(uint64(i))
		s := newStore()
		key := ledger.Slot(10).Key()
		old := &shred.Set{Key: key, Root: ledger.Hash{1}}
		young := &shred.Set{Key: key, Index: 32, Root: ledger.Hash{2}}
		s.writeLazily(0, []node.Record{node.SetRecord{Set: old}})
		s.writeState(0, &savedState{node: []byte{1}})
		s.writeLazily(2*unsyncedMax, []node.Record{node.SetRecord{Set: young}})
		s.write([]node.Record{node.TowerRecord{Bytes: []byte("tower")}, node.BegunRecord{Key: key}})
		s.writeState(2*unsyncedMax, &savedState{node: []byte{2}})
		s.crash(2*unsyncedMax, cfg.random("crash", 0))
		if s.sets[old.Root] == nil || string(s.tower) != "tower" || s.begun[false] != key || s.state == nil {
			t.Fatal("what was durable is lost")
		}
		if sets := s.load(); len(sets) == 1 {
			lost++
		} else if sets[0] != old || sets[1] != young {
			t.Fatalf("sets come back in another order")
		}
		states += int(s.state.node[0]) - 1
	}
	if lost < 20 || lost > 80 || states < 20 || states > 80 {
		t.Errorf("of 100 crashes %d lost a set, %d kept a state", lost, states)
	}
}
