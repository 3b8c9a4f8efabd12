package bench

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"tutti/cmd/tutti/load"
	"tutti/cmd/tutti/setup"
	"tutti/ledger"
)

const (
	// reserve is what the protocol leaves on an account that signs, and what
	// a payer needs to be admitted by every proposer (PROTOCOL section 8).
	reserve = 1_000_000 * ledger.Lamports(1)
	baseFee = 5_000 * ledger.Lamports(1)
	// batchTransfers is how many payers one transaction funds, and
	// batchesMax how many transactions are under way: all have one payer.
	batchTransfers = 18
	batchesMax     = 16
	// unitsEach is what a builtin instruction costs.
	unitsEach = 150
	// landTime is how long transactions of a round may take, and roundsMax
	// how often one may bring nothing.
	landTime  = 15 * time.Second
	roundsMax = 3
	// accountsMax is how many balances are asked for at once.
	accountsMax = 100
)

// treasury funds the payers of this generator's share from one account, and
// brings back what they have left.
type treasury struct {
	network  *network
	options  *Options
	key      ed25519.PrivateKey
	keys     []ed25519.PrivateKey
	accounts []ledger.Pubkey
	// payers is how many of the accounts pay; the hot account, if it is
	// there, is the last one and does not.
	payers int
}

func newTreasury(c *network, o *Options, seed [32]byte) *treasury {
	t := &treasury{network: c, options: o, key: o.Key}
	add := func(i int) {
		key := load.PayerKey(seed, uint32(i))
		t.keys = append(t.keys, key)
		t.accounts = append(t.accounts, publicKey(key))
	}
	for i := range o.Mix.Payers {
		if uint64(i)%o.Share.Of == o.Share.Index {
			add(i)
		}
	}
	t.payers = len(t.accounts)
	if o.Share.Index == 0 {
		add(o.Mix.Payers)
	}
	return t
}

func publicKey(key ed25519.PrivateKey) ledger.Pubkey {
	return ledger.Pubkey(key.Public().(ed25519.PublicKey))
}

func (t *treasury) owner() ledger.Pubkey { return publicKey(t.key) }

// need returns what a payer must hold for its part of a load: it pays fees,
// and what it transfers may come back later.
func (t *treasury) need(transfers uint64) ledger.Lamports {
	price := uint64(0)
	for _, p := range t.options.Mix.Prices {
		price = max(price, p)
	}
	each := baseFee + ledger.Lamports(price*load.TransferUnits/1_000_000+1) + ledger.Lamports(min(transfers, load.AmountMax))
	return reserve + ledger.Lamports(transfers/uint64(t.options.Mix.Payers)+1)*each
}

// fund brings every payer to what it needs, and returns when that is
// executed.
func (t *treasury) fund(ctx context.Context, transfers uint64) error {
	need := t.need(transfers)
	idle := 0
	for asked := false; ; asked = true {
		balances, err := t.balances(ctx, t.accounts)
		if err != nil {
			return fmt.Errorf("fund payers: %w", err)
		}
		var short []ledger.Pubkey
		var amounts, wants []ledger.Lamports
		sum := ledger.Lamports(0)
		for i, b := range balances {
			want := need
			if i >= t.payers {
				want = reserve // the hot account must only be there
			}
			if b < want {
				short, amounts, wants = append(short, t.accounts[i]), append(amounts, want-b), append(wants, want)
				sum += want - b
			}
		}
		if len(short) == 0 {
			return nil
		}
		own, err := t.balances(ctx, []ledger.Pubkey{t.owner()})
		if err != nil {
			return fmt.Errorf("fund payers: %w", err)
		}
		if fees := ledger.Lamports(len(short)/batchTransfers+1) * baseFee; !asked && own[0] < sum+fees+reserve {
			return setup.Errorf("%s holds %.3f SOL and the payers need %.3f: send it more, or use fewer --payers or lower --steps",
				t.owner(), sol(own[0]), sol(sum+fees+reserve))
		}
		n := min(len(short), batchTransfers*batchesMax)
		if err := t.pay(ctx, short[:n], amounts[:n]); err != nil {
			return fmt.Errorf("fund payers: %w", err)
		}
		if !t.changed(ctx, short[:n], func(i int, b ledger.Lamports) bool { return b >= wants[i] }) {
			if idle++; idle == roundsMax {
				return fmt.Errorf("fund payers: transfers of %s are not executed", t.owner())
			}
		}
	}
}

func sol(l ledger.Lamports) float64 { return float64(l) / float64(ledger.LamportsPerSOL) }

// pay sends the amounts to the accounts, several in a transaction.
func (t *treasury) pay(ctx context.Context, to []ledger.Pubkey, amounts []ledger.Lamports) error {
	blockhash, err := t.network.blockhash(ctx)
	if err != nil {
		return err
	}
	for len(to) > 0 {
		n := min(len(to), batchTransfers)
		calls := []ledger.Call{unitLimit(uint32(n+1) * unitsEach)}
		for i := range n {
			calls = append(calls, transfer(t.owner(), to[i], amounts[i]))
		}
		message := ledger.NewMessage(t.owner(), blockhash, calls...)
		if err := t.submit(ctx, ledger.Sign(message.Append(nil), t.key)); err != nil {
			return err
		}
		to, amounts = to[n:], amounts[n:]
	}
	return nil
}

// unitLimit is the instruction that limits a transaction's compute units.
func unitLimit(units uint32) ledger.Call {
	const setUnitLimit = 2
	return ledger.Call{Program: ledger.ComputeBudgetProgram, Data: binary.LittleEndian.AppendUint32([]byte{setUnitLimit}, units)}
}

func transfer(from, to ledger.Pubkey, amount ledger.Lamports) ledger.Call {
	const systemTransfer = 2
	data := binary.LittleEndian.AppendUint32(nil, systemTransfer)
	return ledger.Call{
		Program:  ledger.SystemProgram,
		Accounts: []ledger.AccountMeta{{Key: from, Signer: true, Writable: true}, {Key: to, Writable: true}},
		Data:     binary.LittleEndian.AppendUint64(data, uint64(amount)),
	}
}

// submit gives a transaction to the first node that takes it.
func (t *treasury) submit(ctx context.Context, raw []byte) (err error) {
	for _, url := range t.network.urls {
		if err = submit(ctx, url, raw); err == nil {
			return nil
		}
	}
	return err
}

// changed waits until the balances of all accounts are as wanted, or for
// landTime; it tells whether one of them is.
func (t *treasury) changed(ctx context.Context, accounts []ledger.Pubkey, ok func(i int, b ledger.Lamports) bool) bool {
	done := 0
	for deadline := time.Now().Add(landTime); time.Now().Before(deadline); {
		if !load.Sleep(ctx, 2*pollTime) {
			break
		}
		balances, err := t.balances(ctx, accounts)
		if err != nil {
			continue
		}
		done = 0
		for i, b := range balances {
			if ok(i, b) {
				done++
			}
		}
		if done == len(accounts) {
			break
		}
	}
	return done > 0
}

// balances asks for the balances of accounts, after what the first node that
// answers has executed.
func (t *treasury) balances(ctx context.Context, accounts []ledger.Pubkey) (list []ledger.Lamports, err error) {
	for len(accounts) > 0 {
		part := accounts[:min(len(accounts), accountsMax)]
		accounts = accounts[len(part):]
		names := make([]string, len(part))
		for i, a := range part {
			names[i] = a.String()
		}
		var answer struct {
			Value []*struct{ Lamports ledger.Lamports }
		}
		params := `[["` + strings.Join(names, `","`) + `"],{"commitment":"processed","encoding":"base64"}]`
		if err := t.network.call(ctx, "getMultipleAccounts", params, &answer); err != nil {
			return nil, err
		}
		if len(answer.Value) != len(part) {
			return nil, fmt.Errorf("getMultipleAccounts: %d accounts, asked for %d", len(answer.Value), len(part))
		}
		for _, a := range answer.Value {
			if a == nil {
				list = append(list, 0)
			} else {
				list = append(list, a.Lamports)
			}
		}
	}
	return list, nil
}

// reclaim sends back what accounts hold beyond the reserve, which the
// protocol leaves where it is.
func (t *treasury) reclaim(ctx context.Context) error {
	for idle := 0; ; {
		balances, err := t.balances(ctx, t.accounts)
		if err != nil {
			return fmt.Errorf("reclaim from payers: %w", err)
		}
		blockhash, err := t.network.blockhash(ctx)
		if err != nil {
			return fmt.Errorf("reclaim from payers: %w", err)
		}
		var left []ledger.Pubkey
		var why error
		for i, b := range balances {
			if b <= reserve+baseFee {
				continue
			}
			left = append(left, t.accounts[i])
			message := ledger.NewMessage(t.accounts[i], blockhash,
				unitLimit(2*unitsEach), transfer(t.accounts[i], t.owner(), b-reserve-baseFee))
			if err := t.submit(ctx, ledger.Sign(message.Append(nil), t.keys[i])); err != nil {
				why = err // a later round may do it
			}
		}
		if len(left) == 0 {
			return nil
		}
		if !t.changed(ctx, left, func(_ int, b ledger.Lamports) bool { return b <= reserve+baseFee }) {
			if idle++; idle == roundsMax || ctx.Err() != nil {
				err := fmt.Errorf("reclaim from payers: %d of %d still hold SOL, which the next run takes", len(left), len(t.accounts))
				return errors.Join(err, why)
			}
		}
	}
}
