package sim

import (
	"math"
	"math/rand/v2"
	"time"

	"tutti/node"
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
}

// network is the links between all nodes.
type network struct {
	nodes  int
	links  []link // from · nodes + to
	jitter uint64
	loss   uint64 // a message is lost if what is drawn is below it
}

func newNetwork(cfg *Config) *network {
	n := &network{
		nodes:  cfg.Validators,
		links:  make([]link, cfg.Validators*cfg.Validators),
		jitter: uint64(cfg.Network.Jitter),
		loss:   lossThreshold(cfg.Network.Loss),
	}
	rng := cfg.random("links", 0)
	spread := uint64(cfg.Network.LatencyMax-cfg.Network.LatencyMin) + 1
	for from := range n.nodes {
		for to := range from {
			latency := cfg.Network.LatencyMin + time.Duration(rng.Uint64N(spread))
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

// travel returns how long a message takes; ok is false if it gets lost.
func (n *network) travel(from, to int) (took time.Duration, ok bool) {
	l := n.link(from, to)
	if n.loss > 0 && l.random.Uint64() < n.loss {
		return 0, false
	}
	took = l.latency
	if n.jitter > 0 {
		took += time.Duration(l.random.Uint64() % n.jitter)
	}
	return took, true
}

// frame is a message on its way: its bytes as sent, to one node or several.
type frame struct {
	raw []byte
	// msg is what a Decoder made of raw at the first arrival: nil before, and
	// for bytes that are no message. Nobody changes a message, so that all
	// receivers share it.
	msg     node.Message
	decoded bool
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
