package sim

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"

	"tutti/ledger"
	"tutti/shred"
	"tutti/turbine"
)

// Verdicts is what many nodes made of forged sets, each node of other shreds.
type Verdicts struct {
	// Sets were forged, of which so many in each of the Ways; the last way is
	// no forgery, to see that sound sets pass.
	Sets int
	Ways []Way
	// Nodes judged them: each got 32 to 64 shreds of a set, in any order.
	Nodes int
	// Split are sets of which not all nodes said the same, Fooled those that
	// were forged and taken, or sound and refused.
	Split, Fooled int
}

// Way is a way to forge sets, and how many were forged so.
type Way struct {
	Name string
	Sets int
}

// String lists the figures for people.
func (v *Verdicts) String() string {
	s := fmt.Sprintf("%d sets, %d verdicts: %d sets with more than one verdict, %d with a wrong one\n", v.Sets, v.Nodes, v.Split, v.Fooled)
	for _, w := range v.Ways {
		s += fmt.Sprintf("  %5d %s\n", w.Sets, w.Name)
	}
	return s
}

// nodesPerSet is how many nodes judge each forged set.
const nodesPerSet = 16

// JudgeForgeries forges so many FEC sets, whose shreds all have proofs that
// lead to the signed root, and lets nodes judge each of them by shreds of their
// own choice: PROTOCOL section 4, rule 2, says that all come to one verdict.
func JudgeForgeries(seed uint64, sets int) (Verdicts, error) {
	cfg := Config{Seed: seed}
	rng := cfg.random("forgeries", 0)
	v := Verdicts{Sets: sets}
	for _, f := range forgeries {
		v.Ways = append(v.Ways, Way{Name: f.name})
	}
	v.Ways = append(v.Ways, Way{Name: "not forged"})
	for i := range sets {
		way := i % len(v.Ways)
		v.Ways[way].Sets++
		set, err := soundPair(rng, cfg.keypair("signer", i))
		if err != nil {
			return v, err
		}
		forged, sound := set[0], way == len(forgeries)
		if !sound {
			forgeries[way].forge(rng, &forged, &set[1])
		}
		root := forged.sign(cfg.keypair("signer", i))
		said := [2]int{}
		for range nodesPerSet {
			taken, err := judgeForgery(rng, forged.parsed(), root)
			if err != nil {
				return v, fmt.Errorf("set %d, %s: %w", i, v.Ways[way].Name, err)
			}
			v.Nodes++
			if taken {
				said[1]++
			} else {
				said[0]++
			}
		}
		if said[0] > 0 && said[1] > 0 {
			v.Split++
		}
		if sound && said[0] > 0 || !sound && said[1] > 0 {
			v.Fooled++
		}
	}
	return v, nil
}

// soundPair makes two sound sets for one place in a block, with other data: the
// first or a later one, the last or not, of a leader block or a UserBlock.
func soundPair(rng *rand.Rand, signer ed25519.PrivateKey) (pair [2]raws, err error) {
	c := shred.Config{Key: ledger.Slot(1 + rng.IntN(1000)).Key(), ParentOffset: 1, Version: uint16(rng.Uint32()), Signer: signer}
	if rng.IntN(2) == 0 {
		c.Key, c.ParentOffset = ledger.UserKey(ledger.UserSlot(rng.IntN(1000)), ledger.Lane(rng.IntN(4))), 0
	}
	fill(rng, c.Chained[:])
	before, last := make([]byte, rng.IntN(3)*20_000), rng.IntN(2) == 0
	fill(rng, before)
	for i := range pair {
		s := shred.NewShredder(c)
		if len(before) > 0 {
			if _, err := s.Shred(before, 1, false); err != nil {
				return pair, err
			}
		}
		data := make([]byte, shred.SetData*800+rng.IntN(shred.SetData*90))
		fill(rng, data)
		sets, err := s.Shred(data, uint8(rng.IntN(64)), last)
		if err != nil {
			return pair, err
		}
		pair[i] = rawsOf(sets[0])
	}
	return pair, nil
}

func fill(rng *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}

// judgeForgery is one node: it gets 32 or more of the shreds in an order of its
// own, through its collector, and decodes what it has when that says so. It
// tells whether the node takes the set. Decoding all that came must tell the
// same.
func judgeForgery(rng *rand.Rand, shreds []shred.Shred, root ledger.Hash) (taken bool, err error) {
	rng.Shuffle(len(shreds), func(i, j int) { shreds[i], shreds[j] = shreds[j], shreds[i] })
	got := shreds[:shred.SetData+rng.IntN(len(shreds)-shred.SetData+1)]
	c := turbine.NewCollector(turbine.Limits{UserSetsMax: 192, SetsMax: 16})
	key := got[0].Key()
	judged := false
	for _, s := range got {
		to, err := s.Root()
		if err != nil || to != root {
			return false, fmt.Errorf("the proof of shred %d leads to %v, not to %v: %w", s.Position(), to, root, err)
		}
		in := c.Insert(s, root)
		switch {
		case in.Drop == turbine.DropFailed:
			judged = true
		case len(in.Ready) > 0:
			judged = true
			set, err := shred.Assemble(in.Ready)
			if err != nil {
				c.Failed(root)
				continue
			}
			c.Assembled(set)
			taken = true
		}
	}
	if _, kept := c.Set(key, root); kept != taken {
		return false, fmt.Errorf("assembled %t, collected %t", taken, kept)
	}
	if !judged {
		return false, errors.New("no verdict")
	}
	switch _, err := shred.Assemble(got); {
	case err == nil != taken:
		return false, fmt.Errorf("taken of 32 shreds %t, of %d shreds: %w", taken, len(got), err)
	case err != nil && !errors.Is(err, shred.ErrInconsistent):
		return false, err
	}
	return taken, nil
}
