package sim

import (
	"crypto/ed25519"
	"math/rand/v2"
	"time"

	"tutti/cluster"
	"tutti/ledger"
)

// What clients send.
const (
	payerLamports = 10 * ledger.LamportsPerSOL
	// unitLimit is what a transfer asks for; it uses less.
	unitLimit = 1000
	// unitPriceMax is in micro-lamports; with unitLimit it makes up to 2000
	// lamports of priority fee.
	unitPriceMax = 2_000_000
	// Of overdrawnEvery transactions one moves more than there is, and one of
	// resentEvery is sent to a second node as well.
	overdrawnEvery = 50
	resentEvery    = 100
)

// load is the clients: transfers between accounts of genesis.
type load struct {
	random *rand.Rand
	every  time.Duration // on average; 0: no clients
	payers []ed25519.PrivateKey
	keys   []ledger.Pubkey
	tokens uint64
}

// newLoad returns clients with enough payers that none has more under way
// than the reserve allows it.
func newLoad(cfg *Config) *load {
	l := &load{random: cfg.random("load", 0)}
	if cfg.Load == 0 {
		return l
	}
	l.every = time.Second / time.Duration(cfg.Load)
	for i := range 16 + cfg.Load {
		key := cfg.keypair("payer", i)
		l.payers = append(l.payers, key)
		l.keys = append(l.keys, publicKey(key))
	}
	return l
}

// accounts returns the payers' accounts.
func (l *load) accounts() []cluster.GenesisAccount {
	accounts := make([]cluster.GenesisAccount, len(l.keys))
	for i, key := range l.keys {
		accounts[i] = cluster.GenesisAccount{Key: key, Lamports: payerLamports, Owner: ledger.SystemProgram}
	}
	return accounts
}

// pause returns how long it is to the next transaction.
func (l *load) pause() time.Duration {
	return time.Duration(l.random.Uint64N(2*uint64(l.every) + 1))
}

// transfer returns a signed transaction, and to which nodes it goes.
func (l *load) transfer(nodes int, blockhash func(node int) ledger.Hash) (tx ledger.Transaction, to []int) {
	from := l.random.IntN(len(l.keys))
	into := l.random.IntN(len(l.keys))
	lamports := 1 + ledger.Lamports(l.random.Uint64N(1000))
	if l.random.IntN(overdrawnEvery) == 0 {
		lamports = ledger.LamportsPerSOL * 1_000_000
	}
	price := l.random.Uint64N(unitPriceMax)
	to = append(to, l.random.IntN(nodes))
	if l.random.IntN(resentEvery) == 0 {
		to = append(to, l.random.IntN(nodes))
	}
	m := ledger.TransferMessage(l.keys[from], l.keys[into], lamports, price, unitLimit, blockhash(to[0]))
	tx, err := ledger.ParseTransaction(ledger.Sign(m.Append(nil), l.payers[from]))
	if err != nil {
		panic("sim: own transaction: " + err.Error())
	}
	return tx, to
}
