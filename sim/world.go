package sim

import (
	"slices"
	"time"

	"tutti/bank"
	"tutti/ledger"
	"tutti/node"
)

// accessTime is one way between a client and the node in its city that it
// asks: half of the round trip inside a region.
const accessTime = time.Millisecond

// worldTail is how many slots before the end transactions are not counted any
// more, because they may not have time to land.
const worldTail = 16

// World is what became of the clients of a Config with World, by the city
// that they are in.
type World struct {
	Cities []City
	// Egress is what each node sent, Ingress what it received, in bytes.
	Egress, Ingress []int
	// Shreds counts those that nodes received through Turbine, by their depth
	// in the tree: 0 are those that its root received from the sender.
	Shreds []int
	// Sent counts the transactions that clients sent until the end, also those
	// that had no time to land.
	Sent int
	// Verified counts the transaction signatures that nodes checked in
	// UserBlocks, all nodes together.
	Verified int
}

// City has the latencies of its clients' transactions that landed, ascending.
//
// Placed is from when a client sent one until the UserBlockSlot is over in
// which a proposer took it: that decides, with its price, the place in the
// order. The others are until the node in its city told the client of that
// level (PROTOCOL section 11), Known until it told of both Confirmed and
// Executed.
type City struct {
	Name      string
	Submitted int
	// Landed counts transactions that were executed, with success or not.
	Landed int

	Placed, Recorded, Confirmed, Executed, Known []time.Duration
}

// world follows the clients' transactions. Clients sit in all regions. Each
// sends to the scheduled proposer that its transaction reaches first, which
// is the leader where that is the only one, and asks the node nearest to it.
type world struct {
	regions []int // of nodes: region number i mod regions
	nearest []int // the node that clients of a region ask
	cities  []City
	sent    map[ledger.Hash]*journey // by message hash
	holds   map[ledger.UserBlockRef][]*journey
	egress  []int
	ingress []int
	counts  World
	next    int // region of the next client
}

// journey is a transaction on its way.
type journey struct {
	city int
	at   time.Duration
	// 0: not yet.
	placed, recorded, confirmed, executed time.Duration
}

// newWorld places machines in the regions, one after the other.
func newWorld(machines int) *world {
	w := &world{
		cities: make([]City, len(regionNames)),
		sent:   make(map[ledger.Hash]*journey),
		holds:  make(map[ledger.UserBlockRef][]*journey),
		egress: make([]int, machines), ingress: make([]int, machines),
	}
	for i := range machines {
		w.regions = append(w.regions, i%len(regionNames))
	}
	for r, name := range regionNames {
		w.cities[r].Name = name
		near := 0
		for i, region := range w.regions {
			if oneWay(r, region) < oneWay(r, w.regions[near]) {
				near = i
			}
		}
		w.nearest = append(w.nearest, near)
	}
	return w
}

// sendFromCity sends the next client's transaction, under the newest confirmed
// blockhash of the node that it asks.
func (s *Sim) sendFromCity() {
	w := s.world
	city := w.next
	w.next = (w.next + 1) % len(w.cities)
	to, travel := s.firstProposer(city)
	tx, _ := s.load.transfer(len(s.hosts), func(int) ledger.Hash { return s.hosts[w.nearest[city]].blockhash })
	s.load.tokens++
	s.counts.submitted++
	w.cities[city].Submitted++
	w.sent[tx.MessageHash()] = &journey{city: city, at: s.now}
	s.hosts[to].later(travel, node.Submitted{Tx: tx, Token: s.load.tokens})
}

// firstProposer returns the scheduled proposer that a transaction from a city
// reaches first, and how long that takes. If it would reach none in time, it
// goes to the nearest node, which forwards it.
func (s *Sim) firstProposer(city int) (to int, travel time.Duration) {
	w := s.world
	to, found := w.nearest[city], false
	travel = oneWay(city, w.regions[to])
	for i := range s.hosts {
		takes := oneWay(city, w.regions[i])
		if found && takes >= travel {
			continue
		}
		u := s.userSlotOf(s.now + takes)
		if _, ok := s.check.signers.schedule.Lane(u, s.genesis.Validators[i].Identity); ok {
			to, travel, found = i, takes, true
		}
	}
	return to, travel
}

// userSlotOf returns the UserBlockSlot of a virtual time, 0 before T0.
func (s *Sim) userSlotOf(at time.Duration) ledger.UserSlot {
	tick := max(at-t0After, 0) / s.cfg.Params.TickDuration
	return ledger.UserSlot(tick / ledger.TicksPerUserSlot)
}

// told takes what a node says.
func (w *world) told(s *Sim, i int, of any) {
	switch r := of.(type) {
	case node.ShredSeen:
		if r.Repaired {
			return
		}
		for len(w.counts.Shreds) <= r.Depth {
			w.counts.Shreds = append(w.counts.Shreds, 0)
		}
		w.counts.Shreds[r.Depth]++
	case node.UserBlockVerified:
		w.counts.Verified += r.Verified
	case node.UserBlockHeld:
		if _, ok := w.holds[r.Block.Ref]; ok {
			return
		}
		var on []*journey
		for k := range r.Block.Transactions {
			if j := w.sent[r.Block.Transactions[k].Hash]; j != nil {
				on = append(on, j)
			}
		}
		w.holds[r.Block.Ref] = on
		for _, j := range on {
			if j.placed == 0 {
				j.placed = s.slotAt(0) + time.Duration(r.Block.Ref.U+1)*ledger.TicksPerUserSlot*s.cfg.Params.TickDuration - j.at
			}
		}
	case node.UserBlockRecorded:
		w.reach(s.now, i, w.holds[r.Ref], func(j *journey) *time.Duration { return &j.recorded })
	case node.Confirmed:
		for _, entry := range s.check.ledger.Blocks()[r.Block].Entries {
			w.reach(s.now, i, w.holds[entry], func(j *journey) *time.Duration { return &j.confirmed })
		}
	case node.BankComputed:
		for k := range r.Result.Receipts {
			receipt := &r.Result.Receipts[k]
			if receipt.Outcome != bank.OK && receipt.Outcome != bank.Failed {
				continue
			}
			if j := w.sent[receipt.MessageHash]; j != nil {
				w.reach(s.now, i, []*journey{j}, func(j *journey) *time.Duration { return &j.executed })
			}
		}
	}
}

// reach notes that a node tells the clients who ask it of a level.
func (w *world) reach(now time.Duration, i int, on []*journey, level func(*journey) *time.Duration) {
	for _, j := range on {
		if at := level(j); w.nearest[j.city] == i && *at == 0 {
			*at = now + accessTime - j.at
		}
	}
}

// result sums up. Of the transactions of the last slots it leaves out those
// that had no time to land.
func (w *world) result(until time.Duration) *World {
	r := w.counts
	r.Cities, r.Egress, r.Ingress, r.Sent = slices.Clone(w.cities), w.egress, w.ingress, len(w.sent)
	for i := range r.Cities {
		r.Cities[i].Submitted = 0
	}
	for _, j := range w.sent {
		if j.at > until {
			continue
		}
		c := &r.Cities[j.city]
		c.Submitted++
		if j.executed == 0 {
			continue
		}
		c.Landed++
		for to, at := range map[*[]time.Duration]time.Duration{
			&c.Placed: j.placed, &c.Recorded: j.recorded, &c.Confirmed: j.confirmed, &c.Executed: j.executed,
		} {
			if at > 0 {
				*to = append(*to, at)
			}
		}
		if j.confirmed > 0 {
			c.Known = append(c.Known, max(j.confirmed, j.executed))
		}
	}
	for i := range r.Cities {
		c := &r.Cities[i]
		for _, l := range [][]time.Duration{c.Placed, c.Recorded, c.Confirmed, c.Executed, c.Known} {
			slices.Sort(l)
		}
	}
	return &r
}
