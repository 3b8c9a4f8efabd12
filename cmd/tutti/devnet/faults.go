package devnet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"tutti/cmd/tutti/load"
	"tutti/ledger"
	"tutti/live/store"
)

// Faults say what a devnet has to bear. Each comes when the one before is
// over and all nodes vote again.
type Faults struct {
	// Kills are of one validator each, with signal 9. It is started again on
	// its ledger after 2 to 8 seconds.
	Kills int
	// Pauses stop one validator for 10 seconds, with SIGSTOP.
	Pauses int
	// Pairs are kills of two validators at once, and Alls of all.
	Pairs, Alls int
	// Seed decides which validators, when and for how long.
	Seed uint64
	// Control has killed validators lose their towers and start without. Run
	// then fails unless the checks notice.
	Control bool
}

const (
	waitMax          = 4 * time.Second // before a fault
	downMin, downMax = 2 * time.Second, 8 * time.Second
	pauseTime        = 10 * time.Second
	// recoverTime bounds the time from the start of a validator to its next
	// vote, and from then to the next confirmed block.
	recoverTime = 30 * time.Second
	settleTime  = time.Minute
)

// fault is one fault of a run.
type fault struct {
	name  string
	nodes []int
	pause bool
	wait  time.Duration // before it
	down  time.Duration
}

// plan decides on all faults.
func (f *Faults) plan(nodes int) (faults []fault) {
	rng := rand.New(rand.NewPCG(f.Seed, 0))
	for _, kind := range []struct {
		name         string
		count, nodes int
		pause        bool
	}{
		{"kill", f.Kills, 1, false},
		{"pause", f.Pauses, 1, true},
		{"kill of two", f.Pairs, 2, false},
		{"kill of all", f.Alls, nodes, false},
	} {
		for range kind.count {
			x := fault{
				name: kind.name, pause: kind.pause,
				nodes: rng.Perm(nodes)[:min(kind.nodes, nodes)],
				wait:  time.Duration(rng.Int64N(int64(waitMax))),
				down:  downMin + time.Duration(rng.Int64N(int64(downMax-downMin))),
			}
			if x.pause {
				x.down = pauseTime
			}
			faults = append(faults, x)
		}
	}
	return faults
}

// faulty has the devnet bear its faults, and returns what was wrong. If ctx
// ends first, it is what was wrong until then.
func (r *run) faulty(ctx context.Context) error {
	f := r.options.Faults
	faults := f.plan(len(r.nodes))
	r.display.say("Faults: %d, seed %d", len(faults), f.Seed)
	var confirmed, slots int
	for i := range faults {
		x := &faults[i]
		c, s, err := r.bear(ctx, x, fmt.Sprintf("%d/%d", i+1, len(faults)))
		if err != nil {
			return errors.Join(err, r.verdict())
		}
		if len(x.nodes) == 1 {
			confirmed, slots = confirmed+c, slots+s
		}
	}
	r.conclude(ctx)
	r.mu.Lock()
	a := r.audit
	if 100*confirmed < shareMin*slots {
		a.slow = append(a.slow, fmt.Sprintf("only %d of %d slots are confirmed while one node is down", confirmed, slots))
	}
	r.display.say("Slots confirmed while one node is down: %d of %d; longest time without: %v", confirmed, slots, round(a.longest))
	r.display.say("Checked: %d confirmed blocks, %d votes, %d BankHashes; events lost: %d", len(a.chain), a.votes.count(), len(a.hashes), a.lost)
	r.mu.Unlock()
	return r.verdict()
}

// verdict is an error if the checks found anything wrong or the cluster too
// slow; in a control run, if they found nothing wrong with the votes.
func (r *run) verdict() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sayViolations()
	a := r.audit
	switch control := r.options.Faults.Control; {
	case control && a.contradictions == 0:
		return errors.New("nodes voted that had lost their towers, and no vote was found to contradict another")
	case !control && len(a.violations)+len(a.slow) > 0:
		return fmt.Errorf("%d checks failed, and %d times the cluster was too slow; the first: %s",
			len(a.violations), len(a.slow), slices.Concat(a.violations, a.slow)[0])
	}
	return nil
}

// bear carries out one fault. It returns how many slots were confirmed
// meanwhile, of how many.
func (r *run) bear(ctx context.Context, x *fault, number string) (confirmed, slots int, err error) {
	if !load.Sleep(ctx, x.wait) {
		return 0, 0, nil
	}
	var names []string
	for _, i := range x.nodes {
		names = append(names, r.nodes[i].name)
	}
	r.mu.Lock()
	from := time.Now().UnixNano()
	before := r.audit.slotAt(from)
	r.audit.goDown(x.nodes, from)
	r.mu.Unlock()
	release, err := r.takeDown(x)
	if err != nil {
		return 0, 0, err
	}
	slept := load.Sleep(ctx, x.down)
	release()
	if !slept && !x.pause {
		return 0, 0, nil
	}
	r.mu.Lock()
	to := time.Now().UnixNano()
	r.audit.comeUp(to)
	r.mu.Unlock()
	if err := r.bringUp(ctx, x); err != nil || ctx.Err() != nil {
		return 0, 0, err
	}
	took, err := r.recover(ctx, x, before)
	if err != nil || ctx.Err() != nil {
		return 0, 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.audit.recovered()
	r.audit.settle()
	confirmed, slots = r.audit.share(from, to)
	r.display.say("%s %s: %s down for %v, %d of %d slots confirmed, votes again after %v",
		number, x.name, strings.Join(names, ", "), round(time.Duration(to-from)), confirmed, slots, round(took))
	r.sayViolations()
	return confirmed, slots, nil
}

// recover waits until a fault's nodes have voted for blocks of later slots
// than the fault's, and another block is confirmed. It returns how long it
// took until all had voted.
func (r *run) recover(ctx context.Context, x *fault, slot ledger.Slot) (took time.Duration, err error) {
	start := time.Now()
	for _, i := range x.nodes {
		account := r.folder.genesis.Validators[i].VoteAccount.String()
		if !r.await(ctx, recoverTime, func() bool { return r.audit.votes.last(account) > slot }) && ctx.Err() == nil {
			return 0, fmt.Errorf("%s does not vote within %v after its %s: see %s", r.nodes[i].name, recoverTime, x.name, r.folder.node(i, logFile))
		}
	}
	took = time.Since(start)
	r.mu.Lock()
	top := max(r.audit.top, r.audit.slotAt(start.UnixNano()))
	r.mu.Unlock()
	if !r.await(ctx, recoverTime, func() bool { return r.audit.top > top }) && ctx.Err() == nil {
		return 0, fmt.Errorf("no block is confirmed within %v after a %s", recoverTime, x.name)
	}
	return took, nil
}

// takeDown stops the processes of a fault's nodes, and holds the ports of
// those that end until release is called.
func (r *run) takeDown(x *fault) (release func(), err error) {
	var held []func()
	release = func() {
		for _, f := range held {
			f()
		}
	}
	for _, i := range x.nodes {
		p := r.nodes[i].process()
		signal := syscall.SIGKILL
		if x.pause {
			signal = syscall.SIGSTOP
		} else {
			p.expected.Store(true)
		}
		if err := p.cmd.Process.Signal(signal); err != nil {
			release()
			return nil, fmt.Errorf("%s of %s: %w", x.name, r.nodes[i].name, err)
		}
	}
	for _, i := range x.nodes {
		if x.pause {
			break
		}
		<-r.nodes[i].process().done
		f, err := r.nodes[i].holdPorts()
		if err != nil {
			release()
			return nil, err
		}
		held = append(held, f)
	}
	return release, nil
}

// bringUp lets a fault's nodes go on.
func (r *run) bringUp(ctx context.Context, x *fault) error {
	for _, i := range x.nodes {
		v := r.nodes[i]
		if x.pause {
			if err := v.process().cmd.Process.Signal(syscall.SIGCONT); err != nil {
				return fmt.Errorf("end %s of %s: %w", x.name, v.name, err)
			}
			continue
		}
		var more []string
		if r.options.Faults.Control {
			if err := r.loseTower(ctx, i); err != nil {
				return err
			}
			more = []string{"--no-require-tower"}
		}
		if err := r.start(i, more...); err != nil {
			return err
		}
	}
	return nil
}

// loseTower deletes the tower of a validator that is down, and checks that it
// does not start without it.
func (r *run) loseTower(ctx context.Context, i int) error {
	for _, name := range store.TowerFiles {
		if err := os.Remove(r.folder.node(i, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("lose tower: %w", err)
		}
	}
	p, err := r.nodes[i].start(r.arguments(i))
	if err != nil {
		return err
	}
	p.expected.Store(true)
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil
	case <-time.After(recoverTime):
	}
	if !r.nodes[i].ended() || p.cmd.ProcessState.ExitCode() != exitSetup {
		return fmt.Errorf("%s starts without its tower", r.nodes[i].name)
	}
	return nil
}

// conclude waits until every node has executed what is confirmed now.
func (r *run) conclude(ctx context.Context) {
	r.mu.Lock()
	top := r.audit.top
	r.mu.Unlock()
	kept := r.await(ctx, settleTime, func() bool {
		return r.audit.settle() == 0 && r.audit.kept(top) == ""
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if why := r.audit.kept(top); !kept && why != "" && ctx.Err() == nil {
		r.audit.violated("%s", why)
	}
}

// sayViolations shows what was found since the last time.
func (r *run) sayViolations() {
	for _, v := range r.audit.violations[r.said.violations:] {
		r.display.say("Wrong: %s", v)
	}
	for _, v := range r.audit.slow[r.said.slow:] {
		r.display.say("Slow: %s", v)
	}
	r.said.violations, r.said.slow = len(r.audit.violations), len(r.audit.slow)
}
