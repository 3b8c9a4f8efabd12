package replay

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"tutti/cluster"
	"tutti/consensus"
	"tutti/invariant"
	"tutti/leader"
	"tutti/ledger"
	"tutti/shred"
)

// world is a cluster of one validator that leads all slots.
type world struct {
	t       *testing.T
	genesis *cluster.Genesis
	key     ed25519.PrivateKey
	account ledger.Pubkey
	replay  *Replay
	tip     ledger.BlockRef
	poh     ledger.Hash
	skip    ledger.Slot // slots before the next block
}

func newWorld(t *testing.T) *world {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	w := &world{t: t, key: key, account: ledger.Pubkey{7}}
	g, err := cluster.NewGenesis(cluster.Options{
		Params: cluster.LocalParams(4), T0: 1, Faucet: ledger.Pubkey{9},
		Validators: []cluster.Validator{{
			Identity: ledger.Pubkey(key.Public().(ed25519.PublicKey)), VoteAccount: w.account, Stake: ledger.LamportsPerSOL,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.genesis, w.tip, w.poh = g, ledger.BlockRef{ID: g.Hash()}, g.Hash()
	if w.replay, err = New(g, 1); err != nil {
		t.Fatal(err)
	}
	return w
}

// block has the replay take the next block, with those votes in it.
func (w *world) block(votes ...ledger.Vote) error {
	w.t.Helper()
	slot := w.tip.Slot + 1 + w.skip
	w.skip = 0
	b := leader.NewBuilder(leader.Config{
		Slot: slot, Parent: w.tip, ParentPoH: w.poh, Signer: w.key,
		ShredVersion: w.genesis.ShredVersion(), Params: &w.genesis.Params,
	})
	var txs []ledger.Transaction
	for _, v := range votes {
		v.Authority = ledger.Pubkey(w.key.Public().(ed25519.PublicKey))
		m := v.Message(v.Block.ID)
		tx, err := ledger.ParseTransaction(ledger.Sign(m.Append(nil), w.key))
		if err != nil {
			w.t.Fatal(err)
		}
		txs = append(txs, tx)
	}
	if len(txs) > 0 {
		b.RecordVotes(txs)
	}
	var sets []*shred.Set
	for !b.Done() {
		more, err := b.CloseTick(true)
		if err != nil {
			w.t.Fatal(err)
		}
		sets = append(sets, more...)
	}
	if err := w.replay.Slot(slot, sets); err != nil {
		return err
	}
	w.tip = ledger.BlockRef{Slot: slot, ID: sets[len(sets)-1].Root}
	w.poh = w.replay.forks.Block(w.tip).LastPoH
	return nil
}

// tower is one that has not voted yet.
func (w *world) tower() *consensus.Tower {
	return consensus.NewTower(ledger.Pubkey{}, ledger.BlockRef{ID: w.genesis.Hash()})
}

// vote is an honest one for the newest block.
func (w *world) vote(tower *consensus.Tower) (v ledger.Vote) {
	tower.Record(w.tip)
	v.Account = w.account
	tower.Fill(&v)
	b := w.replay.forks.Block(w.tip)
	v.BankSlot, v.BankHash = b.Slot, b.BankHash
	return v
}

func (w *world) fine(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) broken(err error, want string) {
	w.t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		w.t.Fatalf("error is %v, want one with %q", err, want)
	}
}

func TestReplay(t *testing.T) {
	w := newWorld(t)
	tower := w.tower()
	w.fine(w.block())
	for range 40 {
		w.fine(w.block(w.vote(tower)))
	}
	w.fine(w.replay.end())
	r := w.replay.Report()
	var supply ledger.Lamports
	for i := range w.genesis.Accounts {
		supply += w.genesis.Accounts[i].Lamports
	}
	if r.Executed != 41 || r.Last != w.tip || r.Votes != 40 || r.Towers != 40 || r.Voters != 1 || r.Supply != supply {
		t.Errorf("%+v; %d lamports in genesis", r, supply)
	}
}

// TestReplayOfLostTower: the votes in the blocks break a lockout, one after
// the other and, what only the forks show, once they are settled.
func TestReplayOfLostTower(t *testing.T) {
	w := newWorld(t)
	tower := w.tower()
	w.fine(w.block())
	w.fine(w.block(w.vote(tower)))
	w.fine(w.block(w.vote(tower)))
	w.broken(w.block(w.vote(w.tower())), "forgets the vote for slot 1")

	w = newWorld(t)
	tower = w.tower()
	w.fine(w.block())
	w.skip = 1
	w.fine(w.block())
	v := w.vote(tower)
	v.Lockouts = append([]ledger.Lockout{{Slot: 2, Confirmations: 2}}, v.Lockouts...)
	w.fine(w.block(v))
	w.broken(w.replay.end(), "slot 2, which is not on that fork")
}

// TestReplayIsChecked: what the bank computes is held against another state of
// genesis, from which it does not follow.
func TestReplayIsChecked(t *testing.T) {
	w := newWorld(t)
	w.replay.checked = invariant.New(w.genesis, ledger.Hash{1})
	w.broken(w.block(), "links to")
}
