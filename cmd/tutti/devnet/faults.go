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
	"tutti/cmd/tutti/setup"
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
	// Cut is how many validators are cut off from the others, once; 0 for
	// none. One way, they hear the others but are not heard.
	Cut    int
	OneWay bool
	// Slow has all executors take so many times their time, under a load that
	// they cannot quite bear, and measures what that does; 0 for no slowness.
	Slow float64
	// For is how long validators are cut off, or executors slow.
	For time.Duration
	// Seed decides which validators, when and for how long.
	Seed uint64
	// Control has killed validators lose their towers and start without. Run
	// then fails unless the checks notice.
	Control bool
}

// None tells whether there is nothing to bear.
func (f *Faults) None() bool {
	return f.Kills == 0 && f.Pauses == 0 && f.Pairs == 0 && f.Alls == 0 && f.Cut == 0 && f.Slow == 0
}

// FaultsMax bounds the kills and pauses of a kind.
const FaultsMax = 1_000_000

// check refuses what no devnet with these options can bear.
func (f *Faults) check(o *Options) error {
	for _, x := range []struct {
		flag  string
		count int
	}{{"kill", f.Kills}, {"pause", f.Pauses}, {"kill-two", f.Pairs}, {"kill-all", f.Alls}} {
		if x.count < 0 || x.count > FaultsMax {
			return setup.Errorf("--%s %d: use 0 to %d", x.flag, x.count, FaultsMax)
		}
	}
	switch {
	case f.Cut < 0 || f.Cut >= o.Validators:
		return setup.Errorf("%d validators cut off of %d: use fewer than there are", f.Cut, o.Validators)
	case f.Slow != 0 && (!(f.Slow >= 1) || o.Load == 0):
		return setup.Errorf("executors %v times slower under a load of %d: use 1 or more, and a load", f.Slow, o.Load)
	case f.Slow != 0 && !o.CanSlow:
		return setup.Errorf("this program has no slow executors: build it with -tags planted")
	case (f.Cut > 0 || f.Slow > 0) && f.For <= 0:
		return setup.Errorf("faults for %v: use a positive duration", f.For)
	case f.OneWay && f.Cut == 0:
		return setup.Errorf("--one-way is about validators that are cut off: say how many with --cut")
	case f.Control && f.Kills+f.Pairs+f.Alls == 0:
		return setup.Errorf("--control is about validators that are killed: say --kill, --kill-two or --kill-all")
	}
	return nil
}

const (
	waitMax          = 4 * time.Second // before a fault
	downMin, downMax = 2 * time.Second, 8 * time.Second
	pauseTime        = 10 * time.Second
	// recoverTime bounds the time from the start of a validator to its next
	// vote, and from then to the next confirmed block.
	recoverTime = 30 * time.Second
	settleTime  = time.Minute
	// rejoinTime bounds the time from the end of a cut until those that were
	// cut off vote and root with the others.
	rejoinTime = 2 * time.Minute
)

// kind is what happens to a fault's validators.
type kind int

const (
	kill kind = iota
	pause
	cut
)

// fault is one fault of a run.
type fault struct {
	name  string
	kind  kind
	nodes []int
	wait  time.Duration // before it
	down  time.Duration
}

// plan decides on all faults.
func (f *Faults) plan(nodes int) (faults []fault) {
	rng := rand.New(rand.NewPCG(f.Seed, 0))
	for _, k := range []struct {
		name         string
		kind         kind
		count, nodes int
	}{
		{"kill", kill, f.Kills, 1},
		{"pause", pause, f.Pauses, 1},
		{"kill of two", kill, f.Pairs, 2},
		{"kill of all", kill, f.Alls, nodes},
		{"cut", cut, min(f.Cut, 1), f.Cut},
	} {
		for range k.count {
			x := fault{
				name: k.name, kind: k.kind,
				nodes: rng.Perm(nodes)[:min(k.nodes, nodes)],
				wait:  time.Duration(rng.Int64N(int64(waitMax))),
				down:  downMin + time.Duration(rng.Int64N(int64(downMax-downMin))),
			}
			switch x.kind {
			case pause:
				x.down = pauseTime
			case cut:
				x.down = f.For
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
	if len(faults) > 0 {
		r.display.say("Faults: %d, seed %d", len(faults), f.Seed)
	}
	var confirmed, slots int
	for i := range faults {
		x := &faults[i]
		c, s, err := r.bear(ctx, x, fmt.Sprintf("%d/%d", i+1, len(faults)))
		if err != nil {
			return err
		}
		if len(x.nodes) == 1 {
			confirmed, slots = confirmed+c, slots+s
		}
	}
	if f.Slow > 0 {
		if err := r.lagging(ctx); err != nil {
			return err
		}
	}
	r.conclude(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.audit
	if 100*confirmed < shareMin*slots {
		a.slow = append(a.slow, fmt.Sprintf("only %d of %d slots are confirmed while one node is down", confirmed, slots))
	}
	if slots > 0 {
		r.display.say("Slots confirmed while one node is down: %d of %d", confirmed, slots)
	}
	r.display.say("Longest time without a confirmed block: %v, of which %v are slots of leaders that were down; %d are longer than %v", round(a.longest), round(a.dead), a.gaps, gapMax)
	r.display.say("Checked: %d confirmed blocks, %d votes, %d BankHashes; events lost: %d", len(a.chain), a.heard.Count(), len(a.hashes), a.lost)
	return nil
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
	case !control && len(a.violations)+len(a.slow)+len(a.unchecked) > 0:
		return fmt.Errorf("%d checks failed, %d could not be made, and %d times the cluster was too slow; the first: %s",
			len(a.violations), len(a.unchecked), len(a.slow), slices.Concat(a.violations, a.unchecked, a.slow)[0])
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
	if x.kind == cut && !r.options.Faults.OneWay {
		r.audit.sever(x.nodes, from)
	}
	r.mu.Unlock()
	release, err := r.takeDown(x)
	if err != nil {
		return 0, 0, err
	}
	slept := load.Sleep(ctx, x.down)
	release()
	if !slept && x.kind == kill {
		return 0, 0, nil
	}
	r.mu.Lock()
	to := time.Now().UnixNano()
	r.audit.comeUp(to)
	r.mu.Unlock()
	if err := r.bringUp(ctx, x); err != nil || ctx.Err() != nil {
		return 0, 0, err
	}
	took := ""
	if x.kind == cut {
		took, err = r.rejoin(ctx, x, before)
	} else {
		took, err = r.recover(ctx, x, before)
	}
	if err != nil || ctx.Err() != nil {
		return 0, 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.audit.recovered()
	r.audit.settle()
	confirmed, slots = r.audit.share(from, to)
	r.display.say("%s %s: %s down for %v, %d of %d slots confirmed, %s",
		number, x.name, strings.Join(names, ", "), round(time.Duration(to-from)), confirmed, slots, took)
	r.sayViolations()
	return confirmed, slots, nil
}

// recover waits until a fault's nodes have voted for blocks of later slots
// than the fault's, and another block is confirmed. It says how long it took
// until all had voted.
func (r *run) recover(ctx context.Context, x *fault, slot ledger.Slot) (took string, err error) {
	start := time.Now()
	for _, i := range x.nodes {
		account := r.folder.genesis.Validators[i].VoteAccount
		if !r.await(ctx, recoverTime, func() bool { return r.audit.lastVote(account) > slot }) && ctx.Err() == nil {
			return "", fmt.Errorf("%s does not vote within %v after its %s: see %s", r.nodes[i].name, recoverTime, x.name, r.folder.node(i, logFile))
		}
	}
	took = fmt.Sprintf("votes again after %v", round(time.Since(start)))
	r.mu.Lock()
	top := max(r.audit.top, r.audit.slotAt(start.UnixNano()))
	r.mu.Unlock()
	if !r.await(ctx, recoverTime, func() bool { return r.audit.top > top }) && ctx.Err() == nil {
		return "", fmt.Errorf("no block is confirmed within %v after a %s", recoverTime, x.name)
	}
	return took, nil
}

// rejoin waits until all that were cut off from a slot on have voted for
// blocks of now which are confirmed, and have rooted blocks that the others
// made since the cut. It says how long that took.
func (r *run) rejoin(ctx context.Context, x *fault, slot ledger.Slot) (took string, err error) {
	start := time.Now()
	now := r.slotAt(start)
	var votes, roots time.Duration
	var missing []string
	if !r.await(ctx, rejoinTime, func() bool {
		missing = nil
		voted, rooted := true, true
		for _, i := range x.nodes {
			if !r.audit.agrees(r.folder.genesis.Validators[i].VoteAccount, now) {
				voted, missing = false, append(missing, r.nodes[i].name)
			}
			rooted = rooted && r.audit.roots[i] > slot
		}
		if voted && votes == 0 {
			votes = time.Since(start)
		}
		if rooted && roots == 0 {
			roots = time.Since(start)
		}
		return votes > 0 && roots > 0
	}) && ctx.Err() == nil {
		return "", fmt.Errorf("%v after a cut not all root with the others; without a vote for their blocks: %v", rejoinTime, missing)
	}
	return fmt.Sprintf("all vote with the others after %v and root after %v", round(votes), round(roots)), nil
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
	if x.kind == cut {
		r.network.part(x.nodes, true, r.options.Faults.OneWay)
		return release, nil
	}
	for _, i := range x.nodes {
		p := r.nodes[i].process()
		signal := syscall.SIGKILL
		if x.kind == pause {
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
		if x.kind == pause {
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
	if x.kind == cut {
		r.network.part(x.nodes, false, false)
		return nil
	}
	for _, i := range x.nodes {
		v := r.nodes[i]
		if x.kind == pause {
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
	r.audit.concludedAt = time.Now().UnixNano()
	r.mu.Unlock()
	kept := r.await(ctx, settleTime, func() bool {
		return r.audit.settle() == 0 && r.audit.kept(top) == ""
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok := r.audit.newest(top); ok {
		r.audit.concluded = b.Ref
	}
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
	for _, v := range r.audit.unchecked[r.said.unchecked:] {
		r.display.say("Not checked: %s", v)
	}
	r.said.violations, r.said.slow, r.said.unchecked = len(r.audit.violations), len(r.audit.slow), len(r.audit.unchecked)
}
