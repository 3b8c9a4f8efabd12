// Package bench measures a cluster under load that it makes itself, step by
// step, whatever the cluster does: transfers are due at fixed times, and
// latency counts from there. It knows the cluster only from outside. What it
// reports is always how much was offered, accepted, landed and lost, and why.
package bench

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tutti/cmd/tutti/load"
	"tutti/cmd/tutti/setup"
	"tutti/ledger"
)

// Options say what to run.
type Options struct {
	// Devnet is the directory of a devnet that runs on this machine. Without
	// it URLs are the nodes' JSON-RPC, TPUs their QUIC addresses if the nodes
	// do not tell them, and Key pays.
	Devnet string
	URLs   []string
	TPUs   []string
	Key    ed25519.PrivateKey

	// Nearest has transfers sent only to the node that answers fastest, not to
	// all in turn.
	Nearest bool
	Rates   []int // transfers per second, of all generators together
	// Each step lasts for Duration, and Pause lies between two.
	Duration, Pause time.Duration
	Mix             load.Mix
	PricesText      string // Mix.Prices as the user named them
	Share           load.Share
	// StartAt has several generators begin together; zero: at once.
	StartAt time.Time

	// Files for the reports, if there are to be any.
	JSON, Benchstat, HTML string
	Version               string
}

// Bounds of Options.
const (
	StepsMax      = 64
	StepTimeMin   = time.Second
	StepTimeMax   = time.Hour
	PayersMin     = 2
	PayersMax     = 65_536
	GeneratorsMax = 1_000
)

const (
	// drainTime bounds how long transfers are followed after the last step.
	drainTime = 10 * time.Second
	// drainTimeShort is for a run that is interrupted.
	drainTimeShort = 2 * time.Second
	// signTime bounds the wait for transfers signed ahead.
	signTime = 20 * time.Second
	// reclaimTime bounds the return of what the payers have left.
	reclaimTime = 30 * time.Second
	pollTime    = 100 * time.Millisecond
)

func (o *Options) check() error {
	switch {
	case o.Devnet == "" && len(o.URLs) == 0:
		return setup.Errorf("no cluster is named: say --devnet DIR, or --url")
	case o.Devnet != "" && len(o.URLs)+len(o.TPUs) > 0:
		return setup.Errorf("--devnet says where the nodes are: leave out --url and --tpu")
	case o.Devnet == "" && o.Key == nil:
		return setup.Errorf("nobody pays: say --keypair FILE")
	case len(o.Rates) == 0 || len(o.Rates) > StepsMax:
		return setup.Errorf("%d steps: use 1 to %d", len(o.Rates), StepsMax)
	case o.Duration < StepTimeMin || o.Duration > StepTimeMax:
		return setup.Errorf("steps of %v: use %v to %v", o.Duration, StepTimeMin, StepTimeMax)
	case o.Pause < 0 || o.Pause > StepTimeMax:
		return setup.Errorf("pause of %v: use 0 to %v", o.Pause, StepTimeMax)
	case o.Share.Of < 1 || o.Share.Of > GeneratorsMax || o.Share.Index >= o.Share.Of:
		return setup.Errorf("generator %d of %d: use 1/%d to %d/%d", o.Share.Index+1, o.Share.Of, o.Share.Of, o.Share.Of, o.Share.Of)
	case o.Mix.Payers < max(PayersMin, int(o.Share.Of)) || o.Mix.Payers > PayersMax:
		return setup.Errorf("%d payers: use %d to %d", o.Mix.Payers, max(PayersMin, int(o.Share.Of)), PayersMax)
	case o.Devnet != "" && o.Mix.Payers > load.Payers:
		return setup.Errorf("%d payers: a devnet has %d", o.Mix.Payers, load.Payers)
	case o.Mix.HotPermille > 1000:
		return setup.Errorf("hot share of %v: use 0 to 1", float64(o.Mix.HotPermille)/1000)
	case !o.StartAt.IsZero() && o.StartAt.Before(time.Now()):
		return setup.Errorf("--start-at %s is over", o.StartAt.Format(time.RFC3339))
	}
	for _, rate := range o.Rates {
		if rate < 1 || rate > load.RateMax {
			return setup.Errorf("rate of %d transfers a second: use 1 to %d", rate, load.RateMax)
		}
	}
	for _, file := range []string{o.JSON, o.Benchstat, o.HTML} {
		if file == "" {
			continue
		}
		if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
			return setup.Errorf("%s is no directory: name files for reports in one that exists", filepath.Dir(file))
		}
	}
	return nil
}

// meter follows transfers.
type meter interface {
	load.Journal
	// run follows until ctx is done.
	run(ctx context.Context)
	// begin starts the measured span, and end says when it is over.
	begin(at time.Time)
	end(at time.Time)
	// quiet tells whether nothing more is to come.
	quiet() bool
	// progress returns how many of the followed transfers have landed, and by
	// how many blocks execution lags, -1 if that is not known.
	progress() (landed uint64, lag int)
	// finish concludes everything, after run has returned.
	finish()
}

// Run runs a benchmark until its last step is over or ctx is done, which is
// no error. A *setup.Error says that it cannot start as asked.
func Run(ctx context.Context, o Options, out, errs io.Writer) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	c, err := connect(ctx, &o)
	if err != nil {
		return err
	}
	seed, err := payersSeed(&o)
	if err != nil {
		return err
	}
	b := &bench{options: &o, network: c, seed: seed, steps: load.Steps(o.Rates, o.Duration, o.Pause)}
	if o.Devnet == "" {
		t := newTreasury(c, &o, seed)
		fmt.Fprintf(errs, "funding %d accounts from %s\n", len(t.accounts), t.owner())
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reclaimTime)
			defer cancel()
			err = errors.Join(err, t.reclaim(ctx))
		}()
		if err := t.fund(ctx, b.transfersMax()); err != nil {
			return err
		}
	}
	b.display = newDisplay(errs, b.steps, o.Share)
	report, err := b.run(ctx)
	if err != nil {
		return err
	}
	report.text(out)
	return report.write(&o)
}

// bench is a running benchmark.
type bench struct {
	options *Options
	network *network
	seed    [32]byte
	steps   []load.Step
	display *display
}

// transfersMax is how many transfers all generators offer.
func (b *bench) transfersMax() (n uint64) {
	for _, s := range b.steps {
		n += uint64(s.Rate) * uint64(s.Duration/time.Millisecond) / 1000
	}
	return n
}

// run makes the load and returns what came of it.
func (b *bench) run(ctx context.Context) (*Report, error) {
	o := b.options
	counts := newCounts(b.steps)
	var m meter
	if o.Devnet != "" {
		m = newStreams(b.network, counts)
	} else {
		m = newSampler(b.network, counts, o.Share)
	}
	// What is under way is followed, and sent, after ctx is done.
	serving, over := context.WithCancel(context.WithoutCancel(ctx))
	defer over()
	following := make(chan struct{})
	go func() {
		defer close(following)
		m.run(serving)
	}()
	loading, endLoad := context.WithCancel(ctx)
	signed, waitSigner, err := b.sign(loading)
	if err != nil {
		endLoad()
		over()
		<-following
		return nil, err
	}
	start := time.Now()
	if o.StartAt.After(start) {
		start = o.StartAt
		load.Sleep(ctx, time.Until(start))
	}
	counts.begin(start)
	m.begin(start)
	senders, waitSenders := b.network.senders(serving, m)
	shown := b.display.follow(loading, start, m)
	schedule := load.Schedule{Start: start, Steps: b.steps, Share: o.Share}
	schedule.Run(loading, signed, senders, m)
	endLoad()
	waitSigner()
	<-shown
	ended := time.Now()
	m.end(ended)
	drain := drainTime
	if ctx.Err() != nil {
		drain = drainTimeShort
	}
	for deadline := time.Now().Add(drain); time.Now().Before(deadline) && !m.quiet(); {
		load.Sleep(serving, pollTime)
	}
	over()
	waitSenders()
	<-following
	m.finish()
	if ctx.Err() != nil {
		counts.notes = append(counts.notes, fmt.Sprintf("the run was interrupted after %v", ended.Sub(start).Round(time.Second)))
	}
	return newReport(o, b.network, counts, start), nil
}

// sign starts to sign transfers and returns when enough are signed ahead.
func (b *bench) sign(ctx context.Context) (signed chan load.Transfer, wait func(), err error) {
	blockhash, err := b.network.blockhash(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("get a blockhash: %w", err)
	}
	// At the lowest rate what is signed ahead is sent before its blockhash
	// is old.
	lowest := slices.Min(b.options.Rates)
	count := load.Count(b.steps, b.options.Share)
	signed = make(chan load.Transfer, load.SignedAhead(lowest/int(b.options.Share.Of)+1, count))
	source := load.NewSource(b.seed, b.options.Mix, b.options.Share)
	done := make(chan struct{})
	go func() {
		defer close(done)
		source.Sign(ctx, count, blockhash, b.network.blockhash, signed)
	}()
	for deadline := time.Now().Add(signTime); len(signed) < cap(signed) && time.Now().Before(deadline); {
		if !load.Sleep(ctx, pollTime) {
			break
		}
	}
	return signed, func() { <-done }, nil
}

// payersSeed returns the one from which the payers' keys come. Without a devnet it
// comes from the key that pays: a later run finds what one that was killed
// has left on its payers.
func payersSeed(o *Options) (seed [32]byte, err error) {
	if o.Devnet == "" {
		return ledger.Sum([]byte("tutti bench payers"), o.Key.Seed()), nil
	}
	b, err := os.ReadFile(filepath.Join(o.Devnet, "payers.seed"))
	if err != nil {
		return seed, setup.Errorf("%s has no payers: %w", o.Devnet, err)
	}
	if len(b) != len(seed) {
		return seed, setup.Errorf("%s: payers.seed does not have %d bytes", o.Devnet, len(seed))
	}
	return [32]byte(b), nil
}
