package sim

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"tutti/cluster"
	"tutti/ledger"
	"tutti/node"
	"tutti/repair"
	"tutti/shred"
)

// repairLiar keeps to the protocol but for its answers to repair requests: of
// each it draws what is wrong with it.
type repairLiar struct{ rng *rand.Rand }

// String tells what it does.
func (*repairLiar) String() string { return "answers repair requests with lies" }

func (*repairLiar) faithful() {}

func (l *repairLiar) act(h *host, wanted []queued) (out []queued) {
	for _, q := range wanted {
		if a, ok := q.effect.(node.Answer); ok {
			out = append(out, l.answer(h, a)...)
			continue
		}
		out = append(out, q)
	}
	return out
}

// answer returns what is sent instead of an answer.
func (l *repairLiar) answer(h *host, a node.Answer) []queued {
	say := func(r repair.Response) []queued {
		return []queued{{effect: node.Send{To: []ledger.Pubkey{a.To}}, frame: &frame{raw: encodeResponse(r)}}}
	}
	truth, known := repair.Answer(h.disk, a.Request)
	whole := repair.Response{Nonce: a.Request.Nonce}
	other := h.disk.any(l.rng)
	if other == nil {
		return nil
	}
	switch l.rng.IntN(7) {
	case 0: // silence
		return nil
	case 1: // shreds that have been tampered with
		if !known {
			return nil
		}
		for i, raw := range truth.Shreds {
			truth.Shreds[i] = slices.Clone(raw)
			truth.Shreds[i][dataPayloadAt+1+l.rng.IntN(600)] ^= 1
		}
		return say(truth)
	case 2: // all of another set
		whole.Shreds = other.Shreds[:]
		return say(whole)
	case 3: // the largest answer that there is
		for len(whole.Shreds) < repair.ShredsMax {
			whole.Shreds = append(whole.Shreds, other.Shreds[len(whole.Shreds)%shred.SetSize])
		}
		return say(whole)
	case 4: // an answer to another question, which perhaps another asked
		whole.Nonce++
		whole.Shreds = other.Shreds[:1]
		return say(whole)
	case 5: // the shreds, but each many times
		if !known {
			return nil
		}
		truth.Shreds = slices.Repeat(truth.Shreds[:1], 64)
		return say(truth)
	default: // no message
		raw := make([]byte, 1+l.rng.IntN(2000))
		fill(l.rng, raw)
		return []queued{{effect: node.Send{To: []ledger.Pubkey{a.To}}, frame: &frame{raw: raw}}}
	}
}

// any returns a set that is stored, nil if there is none.
func (s *store) any(rng *rand.Rand) *shred.Set {
	keys := make([]ledger.SlotKey, 0, len(s.highest))
	for k := range s.highest {
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil
	}
	slices.Sort(keys)
	return s.highest[keys[rng.IntN(len(keys))]]
}

// gossipLiar keeps to the protocol but for the contact records that it spreads.
type gossipLiar struct {
	rng  *rand.Rand
	next time.Duration
	made int
}

// How much a gossip liar sends.
const (
	lieInterval = 200 * time.Millisecond
	liesAtOnce  = 8
)

// String tells what it does.
func (*gossipLiar) String() string { return "spreads false contact records" }

func (*gossipLiar) faithful() {}

func (l *gossipLiar) act(h *host, wanted []queued) []queued {
	if h.sim.now < l.next {
		return wanted
	}
	l.next = h.sim.now + lieInterval
	to := h.sim.hosts[l.rng.IntN(len(h.sim.hosts))].identity()
	say := func(records ...cluster.Contact) {
		g := node.GossipMessage{Gossip: cluster.Gossip{Kind: cluster.Push, Records: records}}
		wanted = append(wanted, queued{effect: node.Send{To: []ledger.Pubkey{to}, Msg: g}})
	}
	own := cluster.Contact{
		Addr: "10.66.66.66:6666", Genesis: h.sim.genesis.Hash(), ShredVersion: h.sim.genesis.ShredVersion(),
		Version: uint64(h.clock().UnixMilli()),
	}
	// Another node's record with a false address: the liar cannot sign it.
	other := own
	other.Sign(h.key())
	if other.Identity = h.sim.hosts[l.rng.IntN(len(h.sim.hosts))].identity(); other.Identity != h.identity() {
		say(other)
	}
	// The own record from far in the future, which would stand for ever.
	future := own
	future.Version = 1 << 63
	future.Sign(h.key())
	say(future)
	// Nodes that do not exist.
	var crowd []cluster.Contact
	for range liesAtOnce {
		l.made++
		nobody := own
		nobody.Addr = fmt.Sprintf("10.66.%d.%d:%d", l.made>>8&255, l.made&255, 1+l.made&0x7fff)
		var seed [ed25519.SeedSize]byte
		fill(l.rng, seed[:])
		nobody.Sign(ed25519.NewKeyFromSeed(seed[:]))
		crowd = append(crowd, nobody)
	}
	say(crowd...)
	return wanted
}
