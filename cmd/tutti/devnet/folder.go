package devnet

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tutti/cluster"
	"tutti/cmd/tutti/load"
	"tutti/cmd/tutti/setup"
	"tutti/leader"
	"tutti/ledger"
	"tutti/live/store"
)

// Files of a devnet's directory. Each validator has a ledger directory in it,
// named v0, v1, …, with its keys.
const (
	genesisFile  = "genesis.bin"
	faucetFile   = "faucet-keypair.json"
	seedFile     = "payers.seed"
	identityFile = "identity.json"
	voteFile     = "vote-account.json"
	logFile      = "validator.log"
	socketFile   = "admin.sock"
)

// Amounts of genesis.
const (
	stake         = 1_000 * ledger.LamportsPerSOL
	payerLamports = 1_000 * ledger.LamportsPerSOL
	// accountLamports is for those that are only paid.
	accountLamports = ledger.LamportsPerSOL
)

// startDelay is the time from making a genesis to its first tick: in it the
// validators start and meet.
const startDelay = 3 * time.Second

// accountsTime is what reading and hashing so many accounts may take all
// validators of a devnet together.
func accountsTime(accounts int) time.Duration { return time.Duration(accounts) * 40 * time.Microsecond }

// folder is a devnet's directory.
type folder struct {
	dir     string
	genesis *cluster.Genesis
	seed    [32]byte
	// continued says that an earlier run made the ledger.
	continued bool
}

func nodeName(i int) string { return fmt.Sprintf("v%d", i) }

func (f *folder) node(i int, file ...string) string {
	return filepath.Join(append([]string{f.dir, nodeName(i)}, file...)...)
}

// openFolder makes a devnet's directory, or opens that of an earlier run.
// With reset all that an earlier run left is removed first.
func openFolder(o *Options) (*folder, error) {
	f := &folder{dir: o.Ledger}
	entries, err := os.ReadDir(f.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, setup.Errorf("open ledger: %w", err)
	}
	there := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == seedFile })
	switch {
	case !there && len(entries) > 0:
		return nil, setup.Errorf("%s is not empty and holds no devnet: name another directory with --ledger", f.dir)
	case there && !o.Reset:
		return f, f.open(o)
	case there:
		if err := f.remove(); err != nil {
			return nil, setup.Errorf("reset %s: %w", f.dir, err)
		}
	}
	return f, f.make(o)
}

// remove removes what a devnet wrote, whole or not, and nothing else: a wrong
// directory loses nothing. What tells a devnet's directory goes last.
func (f *folder) remove() error {
	nodes := 0
	for ; nodes < ValidatorsMax; nodes++ {
		if _, err := os.Lstat(f.node(nodes)); err != nil {
			break
		}
	}
	for i := nodes - 1; i >= 0; i-- {
		if err := os.RemoveAll(f.node(i)); err != nil {
			return err
		}
	}
	for _, file := range []string{genesisFile, faucetFile, load.NodesFile, seedFile} {
		if err := os.Remove(filepath.Join(f.dir, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (f *folder) open(o *Options) error {
	var err error
	if f.genesis, err = readGenesis(filepath.Join(f.dir, genesisFile)); err != nil {
		return setup.Errorf("%w; --reset makes a new ledger", err)
	}
	if n := len(f.genesis.Validators); o.Validators != n {
		return setup.Errorf("%s is a ledger of %d validators: say --validators %d, or --reset for a new one", f.dir, n, n)
	}
	seed, err := os.ReadFile(filepath.Join(f.dir, seedFile))
	if err != nil || len(seed) != len(f.seed) {
		return setup.Errorf("%s has no %s of 32 bytes; --reset makes a new ledger", f.dir, seedFile)
	}
	copy(f.seed[:], seed)
	if o.Accounts > 0 && !f.has(load.AccountKey(f.seed, uint32(o.Accounts-1))) {
		return setup.Errorf("%s has fewer than %d accounts: say --reset for a new ledger", f.dir, o.Accounts)
	}
	f.continued = true
	return f.checkPause(time.Now())
}

// has tells whether genesis has an account.
func (f *folder) has(key ledger.Pubkey) bool {
	_, ok := slices.BinarySearchFunc(f.genesis.Accounts, key, func(a cluster.GenesisAccount, k ledger.Pubkey) int {
		return bytes.Compare(a.Key[:], k[:])
	})
	return ok
}

// checkPause refuses a ledger that has stood still for too long.
func (f *folder) checkPause(now time.Time) error {
	var last ledger.Slot
	s, err := store.OpenReadOnly(f.node(0))
	switch {
	case errors.Is(err, store.ErrNoLedger):
	case err != nil:
		return setup.Errorf("%w", err)
	default:
		_, last, _, _, err = s.Bounds()
		if err = errors.Join(err, s.Close()); err != nil {
			return setup.Errorf("%s: %w", f.node(0), err)
		}
	}
	slot := ledger.Slot(max(now.UnixNano()-f.genesis.T0, 0) / int64(ledger.TicksPerSlot*f.genesis.Params.TickDuration))
	if slot > last+leader.PauseMax {
		return setup.Errorf("%s has stood still for %d slots, and can be continued for %d: --reset makes a new ledger", f.dir, slot-last, leader.PauseMax)
	}
	return nil
}

func readGenesis(path string) (*cluster.Genesis, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read genesis: %w", err)
	}
	g, err := cluster.ParseGenesis(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

// make writes keys and genesis of a new devnet. Nothing is written unless it is
// one that can run; what tells a devnet's directory comes first, and genesis
// last: a directory that has one is whole.
func (f *folder) make(o *Options) error {
	rand.Read(f.seed[:])
	private := map[string]ed25519.PrivateKey{} // by file
	newKey := func(file string) ledger.Pubkey {
		seed := make([]byte, ed25519.SeedSize)
		rand.Read(seed)
		private[file] = ed25519.NewKeyFromSeed(seed)
		return publicKey(private[file])
	}
	options := cluster.Options{Params: o.Params, Faucet: newKey(filepath.Join(f.dir, faucetFile))}
	for i := range o.Validators {
		options.Validators = append(options.Validators, cluster.Validator{
			Identity: newKey(f.node(i, identityFile)), VoteAccount: newKey(f.node(i, voteFile)), Stake: stake,
		})
	}
	options.Accounts = make([]cluster.GenesisAccount, 0, load.Payers+1+o.Accounts)
	add := func(key ledger.Pubkey, lamports ledger.Lamports) {
		options.Accounts = append(options.Accounts, cluster.GenesisAccount{
			Key: key, Lamports: lamports, Owner: ledger.SystemProgram, RentEpoch: 1<<64 - 1,
		})
	}
	for i := range uint32(load.Payers + 1) { // the hot account, too
		add(publicKey(load.PayerKey(f.seed, i)), payerLamports)
	}
	for i := range uint32(o.Accounts) {
		add(load.AccountKey(f.seed, i), accountLamports)
	}
	options.T0 = time.Now().Add(startDelay + accountsTime(o.Accounts)).UnixNano()
	var err error
	if f.genesis, err = cluster.NewGenesis(options); err != nil {
		return setup.Errorf("%w", err)
	}
	if err := f.write(private); err != nil {
		return setup.Errorf("make ledger: %w", err)
	}
	return nil
}

// write writes what make made, with private keys by their files.
func (f *folder) write(private map[string]ed25519.PrivateKey) error {
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(f.dir, seedFile), f.seed[:], 0o600); err != nil {
		return err
	}
	for i := range f.genesis.Validators {
		if err := os.Mkdir(f.node(i), 0o755); err != nil {
			return err
		}
	}
	for file, key := range private {
		if err := os.WriteFile(file, cluster.FormatKeypair(key), 0o600); err != nil {
			return err
		}
	}
	raw := f.genesis.Bytes()
	for i := range f.genesis.Validators {
		if err := os.WriteFile(f.node(i, genesisFile), raw, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(f.dir, genesisFile), raw, 0o644)
}

func publicKey(key ed25519.PrivateKey) ledger.Pubkey {
	return ledger.Pubkey(key.Public().(ed25519.PublicKey))
}
