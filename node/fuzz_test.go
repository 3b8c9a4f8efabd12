package node

import (
	"bytes"
	"testing"
	"time"

	"tutti/bank"
	"tutti/cluster"
	"tutti/consensus"
	"tutti/internal/testkit"
	"tutti/ledger"
	"tutti/repair"
	"tutti/shred"
	"tutti/validator"
)

// testSets are the sets of a block with that slot field, of one batch.
func testSets(t testing.TB, key ledger.SlotKey, signer int, batch string) []*shred.Set {
	t.Helper()
	c := shred.Config{Key: key, Version: 1, Signer: testKey("identity", signer), Chained: ledger.Sum([]byte("chained"))}
	if !key.IsUser() {
		c.ParentOffset = 1
	}
	sets, err := shred.NewShredder(c).Shred([]byte(batch), 63, true)
	if err != nil {
		t.Fatal(err)
	}
	return sets
}

func testTransaction(t testing.TB, m ledger.Message) ledger.Transaction {
	t.Helper()
	tx, err := ledger.ParseTransaction(ledger.Sign(m.Append(nil), testKey("identity", 0)))
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func testShred(t testing.TB, s *shred.Set, i int) ShredMessage {
	t.Helper()
	m, err := shredMessage(s.Shred(i))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// testMessages are messages of every kind.
func testMessages(t testing.TB) []Message {
	self := pub(testKey("identity", 0))
	transfer := ledger.TransferMessage(self, pub(testKey("payee", 0)), 1, 1, 450, ledger.Sum([]byte("blockhash")))
	vote := ledger.Vote{
		Account: pub(testKey("vote", 0)), Authority: self, Block: ledger.BlockRef{Slot: 5, ID: ledger.Sum([]byte("5"))},
		HasRoot: true, Root: 1, Lockouts: []ledger.Lockout{{Slot: 4, Confirmations: 2}, {Slot: 5, Confirmations: 1}},
		BankSlot: 3, BankHash: ledger.Sum([]byte("bank 3")), Extension: []byte("more"),
	}
	contact := cluster.Contact{Version: 7, Genesis: ledger.Sum([]byte("genesis")), ShredVersion: 1, Addr: "127.0.0.1:8000", RPC: "127.0.0.1:8899"}
	contact.Sign(testKey("identity", 0))

	block := testSets(t, ledger.Slot(9).Key(), 0, "block")
	user := testSets(t, ledger.UserKey(18, 1), 0, "a UserBlock")
	twin := testSets(t, ledger.UserKey(18, 1), 0, "its twin")
	last := block[len(block)-1]
	messages := []Message{
		VoteMessage{Tx: testTransaction(t, vote.Message(vote.Block.ID)), Vote: vote},
		TransactionMessage{Tx: testTransaction(t, transfer)},
		RepairResponse{Nonce: 3},
		RepairResponse{Nonce: 4, Shreds: []ShredMessage{testShred(t, last, 0), testShred(t, block[0], 63)}},
		GossipMessage{cluster.Gossip{Kind: cluster.Push, Records: []cluster.Contact{contact}}},
		GossipMessage{cluster.Gossip{Kind: cluster.PullResponse, Records: []cluster.Contact{contact, contact}}},
		GossipMessage{cluster.Gossip{Kind: cluster.PullRequest, To: ledger.Pubkey{255}, Held: []cluster.Held{{Identity: contact.Identity, Version: 7}}}},
		EvidenceMessage{A: testShred(t, user[0], 1), B: testShred(t, twin[0], 40)},
	}
	report := ledger.Report{Genesis: ledger.Sum([]byte("genesis")), Account: vote.Account, At: 7, Block: vote.Block, BankHash: vote.BankHash}
	report.Sign(testKey("identity", 0))
	older := bank.Link{Signatures: 2, HardForks: 3}
	newer := bank.Link{Parent: older.BankHash(), LastPoH: ledger.Hash{1}}
	value := consensus.Value{Block: vote.Block, Hash: newer.BankHash()}
	messages = append(messages, ReportMessage{report}, LinksRequest{value}, LinksResponse{value, []bank.Link{newer, older}})
	for _, s := range []*shred.Set{last, block[0], user[0]} {
		messages = append(messages, testShred(t, s, 31), testShred(t, s, 32))
	}
	for kind := repair.Spine; kind <= repair.Highest; kind++ {
		messages = append(messages, RepairRequest{repair.Request{Nonce: 2, Kind: kind, Key: user[0].Key, Root: user[0].Root, Mask: 1}})
	}
	return messages
}

// TestMessages: messages of every kind survive the way to a peer, and no
// prefix of one, nor one with a byte more, is taken for a message.
func TestMessages(t *testing.T) {
	d := &Decoder{}
	for _, m := range testMessages(t) {
		b := EncodeMessage(nil, m)
		got, err := d.DecodeMessage(b)
		if err != nil {
			t.Errorf("%T: %v", m, err)
			continue
		}
		if again := EncodeMessage(nil, got); !bytes.Equal(again, b) {
			t.Errorf("%T: sent %x, sent on %x", m, b, again)
		}
		if v, ok := got.(VoteMessage); ok && v.Vote.BankSlot != 3 {
			t.Errorf("vote: %+v", v.Vote)
		}
		for n := range len(b) {
			if got, err := d.DecodeMessage(b[:n]); err == nil {
				t.Errorf("%T: %d of %d bytes are read as %T", m, n, len(b), got)
			}
		}
		if got, err := d.DecodeMessage(append(b, 0)); err == nil {
			t.Errorf("%T: with a byte more it is read as %T", m, got)
		}
	}
	if _, err := d.DecodeMessage(make([]byte, MessageSizeMax+1)); err == nil {
		t.Error("a message above MessageSizeMax is read")
	}
}

// TestMessagesForged: a signature, and a Merkle proof, is checked before any
// node sees the message.
func TestMessagesForged(t *testing.T) {
	for _, m := range testMessages(t) {
		b := EncodeMessage(nil, m)
		switch m := m.(type) {
		case VoteMessage, TransactionMessage:
			b[3] ^= 1 // in the first signature
		case GossipMessage:
			if m.Kind == cluster.PullRequest {
				continue
			}
			b[len(b)-1] ^= 1
		case ReportMessage, LinksResponse:
			b[len(b)-1] ^= 1
		case RepairResponse, ShredMessage, RepairRequest, EvidenceMessage, LinksRequest:
			continue // their roots are signed, which the node checks
		}
		if got, err := (&Decoder{}).DecodeMessage(b); err == nil {
			t.Errorf("a forged %T is read: %+v", m, got)
		}
	}
}

// FuzzMessage: no frame makes DecodeMessage panic, and what it reads is what
// EncodeMessage writes, with bounds on what it holds.
func FuzzMessage(f *testing.F) {
	for _, m := range testMessages(f) {
		f.Add(EncodeMessage(nil, m))
	}
	d := &Decoder{}
	decode := func(b []byte) (Message, func() []byte) {
		m, err := d.DecodeMessage(b)
		if err != nil {
			return nil, nil
		}
		return m, func() []byte { return EncodeMessage(nil, m) }
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			_, encode := decode(b)
			return encode
		})
		m, _ := decode(b)
		switch m := m.(type) {
		case RepairResponse:
			if len(m.Shreds) > repair.ShredsMax {
				t.Fatalf("%d shreds", len(m.Shreds))
			}
		case GossipMessage:
			if len(m.Records) > cluster.GossipRecordsMax || len(m.Held) > cluster.GossipHeldMax {
				t.Fatalf("%d records, %d held", len(m.Records), len(m.Held))
			}
		}
	})
}

// FuzzRootState: no bytes make ParseRootState panic, and those that it reads
// are the ones that Append writes.
func FuzzRootState(f *testing.F) {
	c := newTestCluster(f, 2, nil)
	f.Add(c.nodes[0].genesisState().Append(nil))
	c.run(time.Second)
	n := c.nodes[0]
	state := n.rootState()
	f.Add(state.Append(nil))
	state.History[0].Named = []validator.Named{{Ref: ledger.UserBlockRef{U: 3, Lane: 1, ID: ledger.Sum([]byte("a"))}, Section: 4}}
	f.Add(state.Append(nil))
	state.Stakes[1] = nil
	f.Add(state.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			s, err := ParseRootState(b)
			if err != nil {
				return nil
			}
			return func() []byte {
				// What a node makes of it at its start.
				consensus.NewLineage(s.Lineage...).At(3)
				if stakes := n.epochs.At(s.Root().Slot); stakes != nil {
					_, _ = consensus.ParseBallots(s.Ballots, stakes)
				}
				return s.Append(nil)
			}
		})
	})
}
