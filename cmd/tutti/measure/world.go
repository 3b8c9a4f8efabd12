package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	"tutti/cluster"
	"tutti/cmd/tutti/setup"
	"tutti/ledger"
	"tutti/sim"
)

// Simulation says what is simulated: a cluster in all regions of the world,
// with clients in all of these.
type Simulation struct {
	Slots   ledger.Slot
	Load    int // transfers a second of all clients together
	Seed    uint64
	Execute time.Duration // what a validator takes to execute a transfer
}

// slotsMin leaves some seconds of transfers that have time to land.
const slotsMin = 40

// Check returns a *setup.Error for what cannot be simulated.
func (o *Simulation) Check() error {
	switch {
	case o.Slots < slotsMin:
		return setup.Errorf("--slots %d: use %d or more", o.Slots, slotsMin)
	case o.Load < 1:
		return setup.Errorf("--load %d: use 1 or more", o.Load)
	}
	return nil
}

// World is what a simulation of the world came to.
type World struct {
	Seconds    float64    `json:"seconds"` // virtual
	Validators int        `json:"validators"`
	Slots      int        `json:"slots"`
	Skipped    int        `json:"skipped_slots"`
	Messages   int        `json:"messages"`
	Bytes      int        `json:"bytes_sent"`
	BytesMax   int        `json:"bytes_sent_most"` // by one node
	Received   int        `json:"bytes_received"`
	ReceiveMax int        `json:"bytes_received_most"` // by one node
	Shreds     []int      `json:"shreds_by_depth"`     // received through Turbine
	Verified   int        `json:"signatures_verified"`
	Sent       int        `json:"sent"`        // transfers of the whole run
	CPU        float64    `json:"cpu_seconds"` // of this process
	Cities     []sim.City `json:"cities,omitempty"`
}

// progressTime is how often a simulation says how far it is.
const progressTime = 10 * time.Second

// Run runs so many validators in virtual time. If ctx is done before the end
// the error is ctx's.
func (o *Simulation) Run(ctx context.Context, validators int, params cluster.Params, progress io.Writer) (*World, error) {
	cfg := sim.DefaultConfig()
	cfg.World, cfg.Params, cfg.Validators = true, params, validators
	cfg.Slots, cfg.Seed, cfg.Load = o.Slots, o.Seed, o.Load
	cfg.Machine.ExecuteTransaction = o.Execute
	said := time.Now()
	cfg.Progress = func(slot ledger.Slot) error {
		if time.Since(said) > progressTime {
			said = time.Now()
			fmt.Fprintf(progress, "  slot %d of %d\n", slot, o.Slots)
		}
		return ctx.Err()
	}
	s, err := sim.New(cfg)
	if errors.Is(err, sim.ErrConfig) {
		return nil, setup.Errorf("%w", err)
	}
	if err != nil {
		return nil, err
	}
	cpu := processorTime()
	r, err := s.Run()
	if err != nil {
		return nil, err
	}
	w := &World{
		Seconds: r.Virtual.Seconds(), Validators: validators, Slots: r.Slots, Skipped: r.Skipped,
		Messages: r.Messages, Bytes: r.Bytes, BytesMax: slices.Max(r.World.Egress), ReceiveMax: slices.Max(r.World.Ingress),
		Shreds: r.World.Shreds, Verified: r.World.Verified, Sent: r.World.Sent, CPU: (processorTime() - cpu).Seconds(), Cities: r.World.Cities,
	}
	for _, n := range r.World.Ingress {
		w.Received += n
	}
	return w, nil
}

// processorTime is that of this process since it began.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Transfers returns how many the clients submitted, of those that had time to
// land, and how many landed.
func (w *World) Transfers() (submitted, landed int) {
	for i := range w.Cities {
		submitted += w.Cities[i].Submitted
		landed += w.Cities[i].Landed
	}
	return submitted, landed
}

// Level is what a client waits for.
type Level struct {
	Name string
	// Of returns a city's latencies, ascending.
	Of func(*sim.City) []time.Duration
}

// Levels are all that clients wait for, in the order in which they come.
var Levels = [...]Level{
	{"placed", func(c *sim.City) []time.Duration { return c.Placed }},
	{"recorded", func(c *sim.City) []time.Duration { return c.Recorded }},
	{"confirmed", func(c *sim.City) []time.Duration { return c.Confirmed }},
	{"executed", func(c *sim.City) []time.Duration { return c.Executed }},
	{"confirmed and executed", func(c *sim.City) []time.Duration { return c.Known }},
}

// All returns the latencies of all cities, ascending.
func (l *Level) All(w *World) []time.Duration {
	var all []time.Duration
	for i := range w.Cities {
		all = append(all, l.Of(&w.Cities[i])...)
	}
	slices.Sort(all)
	return all
}

// Quantile returns the latency that percent of l, ascending, do not exceed.
func Quantile(l []time.Duration, percent int) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return l[max((len(l)*percent+99)/100, 1)-1]
}
