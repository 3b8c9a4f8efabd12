package load

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"tutti/ledger"
)

const (
	// Payers is how many accounts of a devnet's genesis pay for load.
	Payers = 1024
	// HotPermille is the usual share of transfers to the hot account.
	HotPermille = 100
	// TransferUnits is what a transfer and two budget instructions need.
	TransferUnits = 450
	// AmountMax is the most that a transfer moves.
	AmountMax = 1 << 20
	// priceSteps is how many compute-unit prices a range is divided into.
	priceSteps = 256
	// golden is 2⁶⁴ divided by the golden ratio.
	golden = 0x9E3779B97F4A7C15
	// aheadMax is for how long, and signedMax how many, transactions are
	// signed before they are due.
	aheadMax  = 20 * time.Second
	signedMax = 1 << 20
	// hashAge is how old a blockhash may be for new transactions.
	hashAge = 3 * time.Second
)

// Transfer is a signed transaction.
type Transfer struct {
	ID  TxID
	Raw []byte
}

// Signature returns the transfer's signature.
func (t *Transfer) Signature() ledger.Signature { return ledger.Signature(t.Raw[1:]) }

// Mix says what a load is like.
type Mix struct {
	Payers int // accounts that pay, 2 at least
	// Accounts that are only paid, those of AccountKey. If there are any,
	// transfers are spread evenly over them.
	Accounts int
	// HotPermille is how many transfers of 1000 go to one account, the
	// others to another payer, or to one of the Accounts.
	HotPermille uint64
	Prices      Prices
}

// Prices are the prices of a compute unit, in micro-lamports, that transfers
// offer in turn. There is at least one.
type Prices []uint64

// EvenPrices are prices spread evenly from low to high.
func EvenPrices(low, high uint64) Prices {
	p := make(Prices, priceSteps)
	for k := range p {
		p[k] = low + uint64(math.Round(float64(high-low)*float64(k)/(priceSteps-1)))
	}
	return p
}

// logPrices are prices of which each exceeds the one before by the same
// factor: many are low, few are high.
func logPrices(low, high uint64) Prices {
	p := make(Prices, priceSteps)
	for k := range p {
		p[k] = uint64(math.Round(float64(low) * math.Pow(float64(high)/float64(low), float64(k)/(priceSteps-1))))
	}
	return p
}

// priceMax bounds prices: a transfer then costs half a SOL.
const priceMax = 1_000_000_000_000

// ParsePrices reads one price, LOW-HIGH for prices spread evenly, or
// log:LOW-HIGH for many that are low and few that are high.
func ParsePrices(text string) (Prices, error) {
	span, isLog := strings.CutPrefix(text, "log:")
	lowText, highText, isRange := strings.Cut(span, "-")
	if !isRange {
		highText = lowText
	}
	low, err1 := strconv.ParseUint(lowText, 10, 64)
	high, err2 := strconv.ParseUint(highText, 10, 64)
	switch {
	case err1 != nil || err2 != nil || low > high || high > priceMax || isLog && !isRange:
		return nil, fmt.Errorf("prices %q: use PRICE, LOW-HIGH or log:LOW-HIGH, in micro-lamports up to %d", text, uint64(priceMax))
	case isLog && low == 0:
		return nil, fmt.Errorf("prices %q: the lowest of log: is 1", text)
	case isLog:
		return logPrices(low, high), nil
	case isRange:
		return EvenPrices(low, high), nil
	}
	return Prices{low}, nil
}

// Share is the part of a load that one of several generators makes: the
// transfers, and the payers, whose numbers leave Index when divided by Of.
type Share struct{ Index, Of uint64 }

// Whole is the share of a generator that is alone.
var Whole = Share{0, 1}

// Source makes a load's transactions: each a transfer unlike all others. Two
// shares of one mix have no payer in common.
type Source struct {
	seed   [32]byte
	mix    Mix
	share  Share
	payers []ledger.Pubkey      // all
	keys   []ed25519.PrivateKey // the share's
	hot    ledger.Pubkey
	count  uint64
}

// NewSource returns a Source for the payers of a seed.
func NewSource(seed [32]byte, mix Mix, share Share) *Source {
	s := &Source{seed: seed, mix: mix, share: share}
	for i := range uint64(mix.Payers) {
		key := PayerKey(seed, uint32(i))
		s.payers = append(s.payers, publicKey(key))
		if i%share.Of == share.Index {
			s.keys = append(s.keys, key)
		}
	}
	s.hot = publicKey(PayerKey(seed, uint32(mix.Payers)))
	return s
}

// PayerKey is that of a payer, or of the hot account, which comes after the
// last one.
func PayerKey(seed [32]byte, i uint32) ed25519.PrivateKey {
	sum := ledger.Sum([]byte("tutti devnet payer"), seed[:], binary.LittleEndian.AppendUint32(nil, i))
	return ed25519.NewKeyFromSeed(sum[:])
}

// AccountKey is the address of an account that is only paid: nobody has its
// private key.
func AccountKey(seed [32]byte, i uint32) ledger.Pubkey {
	return ledger.Pubkey(ledger.Sum([]byte("tutti devnet account"), seed[:], binary.LittleEndian.AppendUint32(nil, i)))
}

func publicKey(key ed25519.PrivateKey) ledger.Pubkey {
	return ledger.Pubkey(key.Public().(ed25519.PublicKey))
}

// Next signs the next transfer. Payers and prices take turns. Each round is
// shifted by one against the last, so that payers, prices and the hot account
// come to all nodes.
func (s *Source) Next(blockhash ledger.Hash) Transfer {
	i := s.count
	s.count++
	own, all := uint64(len(s.keys)), uint64(len(s.payers))
	from := (i + i/own) % own
	to := s.hot
	switch {
	case (i+i/1000)*s.mix.HotPermille%1000 < s.mix.HotPermille:
	case s.mix.Accounts > 0:
		// Multiples of the golden ratio fill a range evenly, whatever its size.
		at, _ := bits.Mul64((i*s.share.Of+s.share.Index)*golden, uint64(s.mix.Accounts))
		to = AccountKey(s.seed, uint32(at))
	default:
		// Never the payer itself: the distance is 1 to all−1.
		to = s.payers[(from*s.share.Of+s.share.Index+1+i/own%(all-1))%all]
	}
	prices := uint64(len(s.mix.Prices))
	price := s.mix.Prices[(i+i/prices)%prices]
	m := ledger.TransferMessage(publicKey(s.keys[from]), to, ledger.Lamports(1+i%AmountMax), price, TransferUnits, blockhash)
	raw := ledger.Sign(m.Append(nil), s.keys[from])
	return Transfer{IDOf(raw[1:]), raw}
}

// Sign fills out with so many transfers, 0 for no end, or until ctx is done.
// fetch gets a newer blockhash from time to time; the old one is used until
// that succeeds.
func (s *Source) Sign(ctx context.Context, count uint64, blockhash ledger.Hash, fetch func(context.Context) (ledger.Hash, error), out chan<- Transfer) {
	ctx, stop := context.WithCancel(ctx)
	var newest atomic.Pointer[ledger.Hash]
	newest.Store(&blockhash)
	fetched := make(chan struct{})
	defer func() {
		stop()
		<-fetched
	}()
	go func() {
		defer close(fetched)
		for Sleep(ctx, hashAge) {
			if h, err := fetch(ctx); err == nil {
				newest.Store(&h)
			}
		}
	}()
	for i := uint64(0); i < count || count == 0; i++ {
		select {
		case <-ctx.Done():
			return
		case out <- s.Next(*newest.Load()):
		}
	}
}

// SignedAhead is how many transfers are to be signed before they are due, of
// count in all or without end if it is 0: then signing them takes nothing from
// a cluster on the same machine.
func SignedAhead(rate int, count uint64) int {
	ahead := min(max(uint64(rate)*uint64(aheadMax/time.Second), 1), signedMax)
	if count > 0 {
		ahead = min(ahead, count)
	}
	return int(ahead)
}

// Count returns how many transfers the steps have for a share, 0 if one never
// ends.
func Count(steps []Step, share Share) (n uint64) {
	for i := range steps {
		s := &steps[i]
		if s.Duration == 0 {
			return 0
		}
		for k := share.Index; ; k += share.Of {
			if _, ok := s.due(k); !ok {
				break
			}
			n++
		}
	}
	return n
}
