package sim

import (
	"math"
	"math/rand/v2"
	"time"

	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
)

// Network says how messages travel.
type Network struct {
	// Each pair of nodes has a latency drawn from LatencyMin to LatencyMax,
	// the same in both directions. Each message takes up to Jitter more.
	LatencyMin, LatencyMax, Jitter time.Duration
	// Loss is the share of messages that do not arrive, from 0 to 1.
	Loss float64
	// Nudges change the latency of single links.
	Nudges []Nudge
}

// Nudge adds to the latency of the link from one node to another.
type Nudge struct {
	From, To int
	By       time.Duration
}

// link is one direction between two nodes.
type link struct {
	latency time.Duration
	// random is the link's own, so that what happens on one link draws
	// nothing from the others.
	random rand.PCG
	// cut counts the faults that let nothing through.
	cut int
	// cloggedUntil is when what is sent now begins to travel.
	cloggedUntil time.Duration
}

// queuedMax bounds what waits for a node's bandwidth, in time; what comes
// then is lost.
const queuedMax = 500 * time.Millisecond

// network is the links between all nodes.
type network struct {
	nodes  int
	links  []link // from · nodes + to
	jitter uint64
	// A message is lost, comes twice, or late if what is drawn is below.
	loss, duplicate, reorder uint64
	// bandwidth is in bytes per second by node, nil for none to speak of. up
	// and down are when a node's line is free.
	bandwidth []float64
	up, down  []time.Duration
}

// newNetwork links so many machines, which stand in those regions: nil for
// latencies drawn from cfg.
func newNetwork(cfg *Config, machines int, regions []int, f *faults) *network {
	n := &network{
		nodes:  machines,
		links:  make([]link, machines*machines),
		jitter: uint64(cfg.Network.Jitter),
		loss:   lossThreshold(cfg.Network.Loss),
	}
	rng := cfg.random("links", 0)
	spread := uint64(cfg.Network.LatencyMax-cfg.Network.LatencyMin) + 1
	for from := range n.nodes {
		for to := range from {
			latency := cfg.Network.LatencyMin + time.Duration(rng.Uint64N(spread))
			if regions != nil {
				latency = oneWay(regions[from], regions[to])
			}
			n.link(from, to).latency = latency
			n.link(to, from).latency = latency
		}
	}
	for i := range n.links {
		n.links[i].random.Seed(rng.Uint64(), rng.Uint64())
	}
	for _, nudge := range cfg.Network.Nudges {
		n.link(nudge.From, nudge.To).latency += nudge.By
	}
	if f != nil && f.bandwidth != nil {
		n.bandwidth = f.bandwidth
		n.up, n.down = make([]time.Duration, n.nodes), make([]time.Duration, n.nodes)
	}
	return n
}

// lossThreshold scales a share to the range of uint64.
func lossThreshold(share float64) uint64 {
	if share >= 1 {
		return math.MaxUint64
	}
	return uint64(math.Ldexp(share, 64))
}

func (n *network) link(from, to int) *link { return &n.links[from*n.nodes+to] }

// travel returns when a message of some bytes arrives that is sent now: not
// at all, once or twice.
func (n *network) travel(now time.Duration, from, to, size int) (at [2]time.Duration, copies int) {
	l := n.link(from, to)
	if l.cut > 0 || n.loss > 0 && l.random.Uint64() < n.loss {
		return at, 0
	}
	sent := now
	if n.bandwidth != nil {
		sent = max(now, n.up[from])
		if sent-now > queuedMax {
			return at, 0
		}
		sent += takes(size, n.bandwidth[from])
		n.up[from] = sent
	}
	copies = 1
	if n.duplicate > 0 && l.random.Uint64() < n.duplicate {
		copies = 2
	}
	for i := range copies {
		at[i] = max(sent, l.cloggedUntil) + l.latency
		if n.jitter > 0 {
			at[i] += time.Duration(l.random.Uint64() % n.jitter)
		}
		if n.reorder > 0 && l.random.Uint64() < n.reorder {
			at[i] += time.Duration(l.random.Uint64() % uint64(reorderBy))
		}
	}
	if n.bandwidth != nil {
		free := max(at[0], n.down[to])
		if free-at[0] > queuedMax {
			return at, 0
		}
		at[0] = free + takes(size, n.bandwidth[to])
		n.down[to] = at[0]
	}
	return at, copies
}

// takes returns how long bytes take at so many bytes per second.
func takes(size int, bandwidth float64) time.Duration {
	return time.Duration(float64(size) / bandwidth * float64(time.Second))
}

// frame is a message on its way: its bytes as sent, to one node or several.
type frame struct {
	raw []byte
	// msg is what a Decoder made of raw at the first arrival: nil before, and
	// for bytes that are no message. Nobody changes a message, so that all
	// receivers share it.
	msg     node.Message
	decoded bool
	hash    ledger.Hash // of raw, for the trace: zero until it is asked for
}

// sum returns the hash of the frame's bytes.
func (f *frame) sum() ledger.Hash {
	if f.hash == (ledger.Hash{}) {
		f.hash = ledger.Sum(f.raw)
	}
	return f.hash
}

// message decodes the frame, once for all receivers.
func (f *frame) message(d *node.Decoder) (node.Message, bool) {
	if !f.decoded {
		f.decoded = true
		if msg, err := d.DecodeMessage(f.raw); err == nil {
			f.msg = msg
		}
	}
	return f.msg, f.msg != nil
}

// framesSlots is for how many slots frames of shreds are kept.
const framesSlots = 4

// frames shares the frames of shreds by their content, so that each shred is
// encoded and its proof is checked once, however many nodes pass it on.
type frames struct {
	shared map[shredInput]*frame // nil: nothing is shared
	newest ledger.Slot
}

// shredInput says which bytes a shred has: the root stands for all but the
// signatures.
type shredInput struct {
	key       ledger.SlotKey
	root      ledger.Hash
	position  int
	signature ledger.Signature
}

// of returns the frame of a message.
func (c *frames) of(m node.Message) *frame {
	s, ok := m.(node.ShredMessage)
	if !ok || c.shared == nil || s.Shred.Resigned() {
		return &frame{raw: node.EncodeMessage(make([]byte, 0, 1+shred.CodeSize), m)}
	}
	in := shredInput{s.Shred.Key(), s.Root, s.Shred.Position(), s.Shred.Signature()}
	f := c.shared[in]
	if f == nil {
		c.prune(in.key.Slot())
		f = &frame{raw: node.EncodeMessage(make([]byte, 0, 1+shred.CodeSize), m)}
		c.shared[in] = f
	}
	return f
}

// prune forgets old frames when a new slot begins.
func (c *frames) prune(newest ledger.Slot) {
	if newest <= c.newest {
		return
	}
	c.newest = newest
	for in := range c.shared {
		if in.key.Slot()+framesSlots < newest {
			delete(c.shared, in)
		}
	}
}
