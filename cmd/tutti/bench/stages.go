package bench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tutti/bank"
	"tutti/cmd/tutti/load"
	"tutti/cmd/tutti/setup"
)

// stages says to which part of a transaction's life a function belongs, by
// the beginning of its name. Of a sample's stack the innermost function that
// is listed decides, so what a stage calls counts for it.
var stages = []struct{ prefix, stage string }{
	{"tutti/ledger/sigverify.", "verify signatures"},
	{"tutti/live/endpoint.(*Endpoint).write", "send"},
	{"tutti/live/endpoint.writeBatch", "send"},
	{"tutti/live/endpoint.", "receive"},
	{"tutti/live.(*Live).verify", "verify signatures"},
	{"tutti/live.(*verifier)", "verify signatures"},
	{"tutti/live.(*Live).receive", "receive"},
	{"tutti/node.(*Decoder)", "receive"},
	{"tutti/node.Decoder", "receive"},
	{"tutti/node.decode", "receive"},
	{"tutti/node.EncodeMessage", "send"},
	{"tutti/live.(*core).perform", "send"},
	{"tutti/live/store.", "store"},
	{"github.com/dgraph-io/", "store"},
	{"tutti/live.(*executor)", "execute"},
	{"tutti/bank.(*pool).hash", "hash state"},
	{"tutti/bank.pool.hash", "hash state"},
	{"tutti/bank.(*LtHash)", "hash state"},
	{"tutti/bank.", "execute"},
	{"tutti/bank/", "execute"},
	{"tutti/shred.Assemble", "check shreds"},
	{"tutti/shred.(*Shredder)", "make shreds"},
	{"tutti/shred.", "check shreds"},
	{"tutti/poh.", "proof of history"},
	{"tutti/validator.(*UserBlockCheck)", "check UserBlocks"},
	{"tutti/validator.", "check leader blocks"},
	{"tutti/leader.", "make leader blocks"},
	{"tutti/proposer.", "pool and UserBlocks"},
	{"tutti/node.(*Node).propose", "pool and UserBlocks"},
	{"tutti/node.(*Node).submitted", "pool and UserBlocks"},
	{"tutti/turbine.", "collect shreds"},
	{"tutti/node.(*Node).onShred", "collect shreds"},
	{"tutti/node.(*Node).lead", "make leader blocks"},
	{"tutti/node.(*Node).broadcast", "send"},
	{"tutti/node.(*Node).retransmit", "send"},
	{"tutti/node.", "consensus and the rest of node"},
	{"tutti/consensus.", "consensus and the rest of node"},
	{"tutti/cluster.", "consensus and the rest of node"},
	{"tutti/repair.", "consensus and the rest of node"},
	{"tutti/rpc.", "reports, log and RPC"},
	{"tutti/live.(*observer)", "reports, log and RPC"},
	{"tutti/live.(*metrics)", "reports, log and RPC"},
	{"tutti/live.(*Live).observe", "reports, log and RPC"},
	{"tutti/live.(*Hub)", "reports, log and RPC"},
	{"tutti/live.(*Live).tell", "reports, log and RPC"},
	{"tutti/live.", "hand over between goroutines"},
	{"github.com/quic-go/", "QUIC"},
	{"runtime.gcBgMarkWorker", "garbage collection"},
	{"runtime.bgsweep", "garbage collection"},
	{"runtime.bgscavenge", "garbage collection"},
	{"runtime.mcall", "scheduler"},
	{"runtime.mstart", "scheduler"},
	{"runtime.morestack", "scheduler"},
	{"runtime.schedule", "scheduler"},
}

// collects are the parts of Go's runtime that look after memory wherever
// they are called.
var collects = []string{"runtime.gcAssistAlloc", "runtime.mallocgc", "runtime.growslice", "runtime.newobject", "runtime.makeslice"}

const stageOther = "other"

// stageOf returns the stage of a stack.
func stageOf(stack []string) string {
	for _, name := range stack {
		for _, prefix := range collects {
			if strings.HasPrefix(name, prefix) {
				return "allocate"
			}
		}
		for i := range stages {
			if strings.HasPrefix(name, stages[i].prefix) {
				return stages[i].stage
			}
		}
	}
	return stageOther
}

// ProfileOptions say what Profile measures.
type ProfileOptions struct {
	Devnet  string // the directory of a devnet that runs
	Seconds int    // for how long
	// Keep is a directory for the nodes' profiles, as `go tool pprof` reads
	// them; "" for none.
	Keep string
}

// Stages is where the processor time of a devnet's validators went, that of
// all of them together.
type Stages struct {
	Executed uint64 // transactions, meanwhile
	Seconds  int
	Times    map[string]time.Duration // by stage
}

// perTx returns a time in microseconds per executed transaction.
func (s *Stages) perTx(t time.Duration) float64 {
	return float64(t.Microseconds()) / float64(max(s.Executed, 1))
}

// Profile writes where the processor time of a devnet's validators goes, per
// executed transaction and stage. A *setup.Error says that it cannot measure
// as asked.
func Profile(ctx context.Context, o ProfileOptions, out io.Writer) error {
	s, err := MeasureStages(ctx, o)
	if err == nil {
		s.print(out)
	}
	return err
}

// MeasureStages measures where the processor time of a devnet's validators
// goes. A *setup.Error says that it cannot measure as asked.
func MeasureStages(ctx context.Context, o ProfileOptions) (s Stages, err error) {
	nodes, err := load.ReadNodes(o.Devnet)
	if err != nil {
		return s, setup.Errorf("%w", err)
	}
	admins := make([]*load.Admin, len(nodes))
	for i := range nodes {
		admins[i] = load.NewAdmin(nodes[i].Socket)
		defer admins[i].Close()
	}
	before, err := processed(ctx, admins[0])
	if err != nil {
		return s, err
	}
	profiles := make([][]byte, len(nodes))
	group, within := errgroup.WithContext(ctx)
	for i, a := range admins {
		group.Go(func() (err error) {
			profiles[i], err = a.Profile(within, o.Seconds)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return s, err
	}
	after, err := processed(ctx, admins[0])
	if err != nil {
		return s, err
	}
	s = Stages{Executed: after - before, Seconds: o.Seconds, Times: map[string]time.Duration{}}
	for i, b := range profiles {
		samples, err := readProfile(b)
		if err != nil {
			return s, fmt.Errorf("%s: %w", nodes[i].Name, err)
		}
		for _, sample := range samples {
			s.Times[stageOf(sample.stack)] += sample.time
		}
		if o.Keep == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(o.Keep, nodes[i].Name+".pprof"), b, 0o644); err != nil {
			return s, fmt.Errorf("keep profile: %w", err)
		}
	}
	return s, nil
}

// processed returns how many transactions a node has executed.
func processed(ctx context.Context, a *load.Admin) (n uint64, err error) {
	stats, err := a.Stats(ctx)
	for _, o := range []bank.Outcome{bank.OK, bank.Failed} {
		n += stats.Transactions.ByOutcome[o.String()]
	}
	return n, err
}

// print writes a table, the dearest stage first.
func (s *Stages) print(out io.Writer) {
	var sum time.Duration
	names := make([]string, 0, len(s.Times))
	for name, t := range s.Times {
		sum += t
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(s.Times[b], s.Times[a]), strings.Compare(a, b))
	})
	fmt.Fprintf(out, "%d transactions in %d s, %.2f cores\n\n", s.Executed, s.Seconds, sum.Seconds()/float64(s.Seconds))
	fmt.Fprintf(out, "%-32s %10s %7s\n", "stage, of all validators", "µs per tx", "share")
	for _, name := range names {
		fmt.Fprintf(out, "%-32s %10.1f %6.1f%%\n", name, s.perTx(s.Times[name]), 100*float64(s.Times[name])/float64(max(sum, 1)))
	}
	fmt.Fprintf(out, "%-32s %10.1f %6.1f%%\n", "all", s.perTx(sum), 100.0)
}
