package sim

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"tutti/bank"
	"tutti/consensus"
	"tutti/ledger"
	"tutti/node"
	"tutti/shred"
)

// scene is a checker with three nodes and the blocks
//
//	0 ── 1 ── 2 ── 3 ── 4 ── … ── 40
//	     └─── 5'
//
// where 3 names the UserBlock u5/0 with one set.
type scene struct {
	*checker
	t     *testing.T
	key   ed25519.PrivateKey
	disk  *store
	tower *consensus.Tower
}

var (
	genesisRef = ledger.BlockRef{ID: ledger.Hash{1}}
	userRef    = ledger.UserBlockRef{U: 5, ID: ledger.Hash{5}}
	side       = ledger.BlockRef{Slot: 5, ID: ledger.Hash{2}}
)

func chain(slot ledger.Slot) ledger.BlockRef { return ledger.BlockRef{Slot: slot, ID: ledger.Hash{1}} }

func bankHash(slot ledger.Slot) ledger.Hash { return ledger.Hash{3, byte(slot)} }

func newScene(t *testing.T) *scene {
	s := &scene{
		checker: newChecker(genesisRef, bankHash(0), 3, true),
		t:       t,
		key:     ed25519.NewKeyFromSeed(make([]byte, 32)),
		disk:    newStore(),
	}
	s.tower = consensus.NewTower(publicKey(s.key), genesisRef)
	s.fine(s.report(0, node.BlockHeld{Block: chain(1), Parent: genesisRef, Height: 1}))
	s.fine(s.report(0, node.BlockHeld{Block: side, Parent: chain(1), Height: 2}))
	for slot := ledger.Slot(2); slot <= 40; slot++ {
		held := node.BlockHeld{Block: chain(slot), Parent: chain(slot - 1), Height: uint64(slot)}
		if slot == 3 {
			held.Entries = []ledger.UserBlockRef{userRef}
		}
		s.fine(s.report(1, held))
	}
	return s
}

func (s *scene) fine(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) broken(err error, want string) {
	s.t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		s.t.Fatalf("error is %v, want one with %q", err, want)
	}
}

// supply gives node 0 the UserBlock.
func (s *scene) supply() {
	key := ledger.UserKey(userRef.U, userRef.Lane)
	s.disk.write([]node.Record{
		node.SetRecord{Set: &shred.Set{Key: key, Root: userRef.ID}},
		node.BlockRecord{Key: key, ID: userRef.ID, Roots: []ledger.Hash{userRef.ID}},
	})
	s.fine(s.report(0, node.UserBlockHeld{Block: &ledger.UserBlock{Ref: userRef}}))
}

// cast makes node 0's next vote and saves its tower; change may spoil it.
func (s *scene) cast(block ledger.BlockRef, change func(*ledger.Vote)) node.VoteMessage {
	s.t.Helper()
	s.tower.Record(block)
	v := ledger.Vote{Account: ledger.Pubkey{9}, Authority: publicKey(s.key), BankHash: bankHash(0)}
	s.tower.Fill(&v)
	if change != nil {
		change(&v)
	}
	message := v.Message(ledger.Hash{})
	tx, err := ledger.ParseTransaction(ledger.Sign(message.Append(nil), s.key))
	s.fine(err)
	s.tower.SetTransaction(tx.Raw())
	s.disk.write([]node.Record{node.TowerRecord{Bytes: s.tower.Append(nil)}})
	return node.VoteMessage{Tx: tx, Vote: v}
}

func (s *scene) vote(block ledger.BlockRef, change func(*ledger.Vote)) error {
	s.t.Helper()
	return s.checker.vote(0, s.cast(block, change), s.disk)
}

func TestVotesUpAChain(t *testing.T) {
	s := newScene(t)
	s.supply()
	for slot := ledger.Slot(1); slot <= 40; slot++ {
		m := s.cast(chain(slot), nil)
		s.fine(s.checker.vote(0, m, s.disk))
		s.fine(s.checker.vote(0, m, s.disk)) // sent again
	}
	if got := s.nodes[0].towerRoot.Block; got != chain(9) {
		t.Errorf("root %v, want that of 40 votes", got)
	}
	if s.nodes[0].votes != 40 {
		t.Errorf("%d votes", s.nodes[0].votes)
	}
}

func TestVoteViolations(t *testing.T) {
	t.Run("tower not saved", func(t *testing.T) {
		s := newScene(t)
		m := s.cast(chain(1), nil)
		s.disk.tower = nil
		s.broken(s.checker.vote(0, m, s.disk), "without a tower")
	})
	t.Run("tower of an earlier vote", func(t *testing.T) {
		s := newScene(t)
		s.fine(s.vote(chain(1), nil))
		before := s.disk.tower
		m := s.cast(chain(2), nil)
		s.disk.tower = before
		s.broken(s.checker.vote(0, m, s.disk), "before its tower is durable")
	})
	t.Run("UserBlock missing", func(t *testing.T) {
		s := newScene(t)
		s.fine(s.vote(chain(2), nil))
		s.broken(s.vote(chain(4), nil), "is missing")
	})
	t.Run("UserBlock not stored", func(t *testing.T) {
		s := newScene(t)
		s.fine(s.report(0, node.UserBlockHeld{Block: &ledger.UserBlock{Ref: userRef}}))
		s.broken(s.vote(chain(3), nil), "is not stored")
	})
	t.Run("locked out", func(t *testing.T) {
		s := newScene(t)
		s.supply()
		s.fine(s.vote(chain(2), nil))
		s.fine(s.vote(chain(3), nil)) // locks until 5, and 2 until 6
		s.broken(s.vote(side, nil), "locked out")
	})
	t.Run("lockout expired", func(t *testing.T) {
		s := newScene(t)
		s.fine(s.vote(chain(2), nil)) // locks until 4
		s.fine(s.vote(side, nil))
	})
	t.Run("older vote", func(t *testing.T) {
		s := newScene(t)
		s.fine(s.vote(chain(2), nil))
		s.tower = consensus.NewTower(publicKey(s.key), genesisRef)
		s.broken(s.vote(chain(1), nil), "after a vote")
	})
	t.Run("tower that the votes do not make", func(t *testing.T) {
		s := newScene(t)
		s.fine(s.vote(chain(1), nil))
		s.tower = consensus.NewTower(publicKey(s.key), genesisRef)
		s.broken(s.vote(chain(2), nil), "not what its votes make")
	})
	t.Run("bank slot above the slot", func(t *testing.T) {
		s := newScene(t)
		s.broken(s.vote(chain(1), func(v *ledger.Vote) { v.BankSlot = 2 }), "not on its fork")
	})
	t.Run("bank slot off the fork", func(t *testing.T) {
		s := newScene(t)
		s.broken(s.vote(side, func(v *ledger.Vote) { v.BankSlot = 3 }), "not on its fork")
	})
	t.Run("BankHash that nobody has", func(t *testing.T) {
		s := newScene(t)
		s.broken(s.vote(chain(2), func(v *ledger.Vote) { v.BankSlot = 1 }), "reports BankHash")
	})
	t.Run("waited for execution", func(t *testing.T) {
		s := newScene(t)
		s.fine(s.report(1, computed(1)))
		s.broken(s.vote(chain(1), func(v *ledger.Vote) { v.BankSlot, v.BankHash = 1, bankHash(1) }), "waited")
	})
}

// computed is a result of a block of the main chain.
func computed(slot ledger.Slot, signatures ...ledger.Signature) node.BankComputed {
	r := &bank.Result{
		Ref: chain(slot), Parent: chain(slot - 1), BankHash: bankHash(slot), ParentBankHash: bankHash(slot - 1),
	}
	for _, s := range signatures {
		r.Receipts = append(r.Receipts, bank.Receipt{Signature: s})
	}
	return node.BankComputed{Result: r}
}

func TestBankViolations(t *testing.T) {
	sig := ledger.Signature{1}
	onSide := node.BankComputed{Result: &bank.Result{
		Ref: side, Parent: chain(1), BankHash: ledger.Hash{77}, ParentBankHash: bankHash(1),
		Receipts: []bank.Receipt{{Signature: sig}},
	}}
	t.Run("same on all nodes", func(t *testing.T) {
		s := newScene(t)
		for i := range 3 {
			s.fine(s.report(i, computed(1)))
			s.fine(s.report(i, computed(2, sig)))
			s.fine(s.report(i, onSide)) // another fork
		}
		if s.compared != 6 || s.mismatched != 0 {
			t.Errorf("%d compared, %d mismatched", s.compared, s.mismatched)
		}
	})
	t.Run("different", func(t *testing.T) {
		s := newScene(t)
		s.fine(s.report(0, computed(1)))
		other := computed(1)
		other.Result.BankHash = ledger.Hash{66}
		s.broken(s.report(1, other), "another node has")
	})
	t.Run("other parent", func(t *testing.T) {
		s := newScene(t)
		other := computed(1)
		other.Result.ParentBankHash = ledger.Hash{66}
		s.broken(s.report(0, other), "links to")
	})
	t.Run("processed twice on a fork", func(t *testing.T) {
		s := newScene(t)
		s.fine(s.report(0, computed(1, sig)))
		s.broken(s.report(0, computed(2, sig)), "is processed in")
	})
	t.Run("processed twice in a block", func(t *testing.T) {
		s := newScene(t)
		s.broken(s.report(0, computed(1, sig, sig)), "is processed in")
	})
	t.Run("second time as a duplicate", func(t *testing.T) {
		s := newScene(t)
		r := computed(1, sig, sig)
		r.Result.Receipts[1].Outcome = bank.Duplicate
		s.fine(s.report(0, r))
	})
	t.Run("voter has another", func(t *testing.T) {
		s := newScene(t)
		s.broken(s.report(0, node.Mismatched{}), "voter")
	})
}

func TestChainViolations(t *testing.T) {
	confirmed := func(b ledger.BlockRef) any { return node.Confirmed{Block: b} }
	rooted := func(b ledger.BlockRef) any { return node.Rooted{Block: b} }
	type told struct {
		node int
		of   any
	}
	tests := []struct {
		name, want string
		told       []told
	}{
		{"confirmed in any order", "", []told{{0, confirmed(chain(4))}, {1, confirmed(chain(2))}, {2, confirmed(chain(7))}}},
		{"confirmed conflict", "is confirmed", []told{{0, confirmed(chain(2))}, {1, confirmed(side)}}},
		{"confirmed conflict below", "is confirmed", []told{{0, confirmed(chain(7))}, {1, confirmed(side)}}},
		{"confirmed unknown", "which no node holds", []told{{0, confirmed(ledger.BlockRef{Slot: 2})}}},
		{"roots", "", []told{{0, rooted(chain(1))}, {1, rooted(chain(3))}, {0, rooted(chain(2))}}},
		{"root twice", "does not follow", []told{{0, rooted(chain(1))}, {0, rooted(chain(1))}}},
		{"root falls", "does not follow", []told{{0, rooted(chain(2))}, {0, rooted(chain(1))}}},
		{"root switches", "does not follow", []told{{0, rooted(chain(2))}, {0, rooted(side)}}},
		{"roots of two nodes", "another node's root", []told{{0, rooted(chain(2))}, {1, rooted(side)}}},
		{"block read differently", "read differently", []told{{0, node.BlockHeld{Block: side, Parent: chain(2), Height: 3}}}},
		{"height", "has height", []told{{0, node.BlockHeld{Block: ledger.BlockRef{Slot: 9}, Parent: chain(2), Height: 4}}}},
		{"orphan", "which no node holds", []told{{0, node.BlockHeld{Block: ledger.BlockRef{Slot: 9}, Parent: ledger.BlockRef{Slot: 8}}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(t)
			for i, x := range test.told {
				err := s.report(x.node, x.of)
				if i < len(test.told)-1 || test.want == "" {
					s.fine(err)
					continue
				}
				s.broken(err, test.want)
			}
		})
	}
}

func TestViolationError(t *testing.T) {
	v := &Violation{Seed: 7, At: 1500, Node: 3, What: "x"}
	if got, want := v.Error(), "seed 7, virtual time 1.5µs, node 3: x"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
