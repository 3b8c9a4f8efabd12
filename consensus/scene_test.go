package consensus

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tutti/cluster"
	"tutti/ledger"
)

// schedule is a Schedule of fixed epochs.
type schedule struct {
	slots  uint64 // of an epoch
	epochs []*cluster.EpochStakes
}

func (s schedule) Epoch(slot ledger.Slot) uint64 { return uint64(slot) / s.slots }

func (s schedule) Stakes(epoch uint64) *cluster.EpochStakes {
	if epoch >= uint64(len(s.epochs)) {
		return nil
	}
	return s.epochs[epoch]
}

// account is the vote account, and authority, of the voter with that name.
func account(name string) ledger.Pubkey {
	var k ledger.Pubkey
	copy(k[:], name)
	return k
}

// stakesOf reads "a=60 b=40".
func stakesOf(epoch uint64, list string) *cluster.EpochStakes {
	var items []cluster.Staked
	for field := range strings.FieldsSeq(list) {
		name, stake, _ := strings.Cut(field, "=")
		n, err := strconv.ParseUint(stake, 10, 64)
		if err != nil {
			panic(err)
		}
		k := account(name)
		items = append(items, cluster.Staked{Identity: k, VoteAccount: k, Authority: k, Stake: ledger.Lamports(n)})
	}
	return cluster.NewEpochStakes(epoch, items, func(ledger.Pubkey) ledger.Lamports { return 0 }, 0)
}

// oneEpoch are epochs of which only the first is of interest.
func oneEpoch(list string) *Epochs {
	return NewEpochs(schedule{1 << 62, []*cluster.EpochStakes{stakesOf(0, list)}})
}

// block reads a name like 12 or 12b: the slot, and what tells blocks of one
// slot apart.
func block(name string) ledger.BlockRef {
	digits := strings.TrimRight(name, "abcdefghijklmnopqrstuvwxyz")
	slot, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		panic(err)
	}
	b := ledger.BlockRef{Slot: ledger.Slot(slot)}
	copy(b.ID[:], name)
	return b
}

func name(b ledger.BlockRef) string { return strings.TrimRight(string(b.ID[:]), "\x00") }

func names(bs []ledger.BlockRef) string {
	var s []string
	for _, b := range bs {
		s = append(s, name(b))
	}
	return strings.Join(s, " ")
}

func value(name string) ledger.Hash { return ledger.Sum([]byte(name)) }

// scene is what a validator knows, driven by the commands of a transcript.
type scene struct {
	epochs  *Epochs
	forks   *ForkChoice
	tally   *Tally
	tower   *Tower
	agreed  *Agreement
	lineage map[ledger.BlockRef]*Lineage
	ballots map[ledger.BlockRef]*Ballots
}

func newScene(stakes ...string) *scene {
	sched := schedule{slots: 1 << 62}
	if len(stakes) > 1 {
		sched.slots = 32
	}
	for i, list := range stakes {
		sched.epochs = append(sched.epochs, stakesOf(uint64(i), list))
	}
	genesis := block("0")
	epochs := NewEpochs(sched)
	return &scene{
		epochs:  epochs,
		forks:   NewForkChoice(genesis, epochs),
		tally:   NewTally(genesis, epochs),
		tower:   NewTower(account("me"), genesis),
		agreed:  NewAgreement(genesis, value("p0"), epochs),
		lineage: map[ledger.BlockRef]*Lineage{genesis: NewLineage(genesis)},
		ballots: map[ledger.BlockRef]*Ballots{genesis: NewBallots(epochs.At(0))},
	}
}

func (s *scene) vote(b ledger.BlockRef) *Ballots { return s.ballots[b] }

// countedTower is the tower that the votes of an account show which were counted
// on a fork, above the root.
func countedTower(identity ledger.Pubkey, root ledger.BlockRef, counted *VoteState, fork Ancestry) *Tower {
	t := NewTower(identity, root)
	for _, l := range counted.Lockouts() {
		if id, ok := fork.At(l.Slot); ok && l.Slot > root.Slot {
			t.votes = append(t.votes, TowerVote{ledger.BlockRef{Slot: l.Slot, ID: id}, l.Confirmations})
		}
	}
	return t
}

// weight is the stake that lies on a block and its descendants.
func (f *ForkChoice) weight(ref ledger.BlockRef) ledger.Lamports {
	if b := f.blocks[ref]; b != nil {
		return b.weight
	}
	return 0
}

// cast makes the vote of an account for a block as its votes counted on the
// fork of parent tell it to.
func (s *scene) cast(who string, target, parent ledger.BlockRef) ledger.Vote {
	on, k := s.ballots[parent], account(who)
	var state *VoteState
	if i, ok := on.Stakes().Voter(k); ok {
		state = on.State(i)
	}
	t := countedTower(k, block("0"), state, s.lineage[parent])
	if root, ok := state.Root(); ok {
		t.root.Slot = root
	}
	if last, _ := t.Last(); target.Slot > last.Slot {
		t.Record(target)
	} else { // a vote that cannot count
		t.votes = []TowerVote{{target, 1}}
	}
	v := ledger.Vote{Account: k, Authority: k, BankSlot: target.Slot, BankHash: value(name(target))}
	t.Fill(&v)
	return v
}

// add is "block NAME on PARENT [VOTER:BLOCK | VOTER:BLOCK:BANKSLOT]…".
func (s *scene) add(args []string) string {
	b, parent := block(args[0]), block(args[2])
	var votes []ledger.Vote
	var out []string
	for _, a := range args[3:] {
		f := strings.Split(a, ":")
		v := s.cast(f[0], block(f[1]), parent)
		if len(f) > 2 {
			n, _ := strconv.Atoi(f[2])
			v.BankSlot = ledger.Slot(n)
		}
		votes = append(votes, v)
	}
	if !s.forks.Add(b, parent) {
		return "no parent"
	}
	s.forks.SetCandidate(b, true)
	next, refused := s.ballots[parent].Count(b.Slot, s.epochs.At(b.Slot), votes, s.lineage[parent])
	s.ballots[b], s.lineage[b] = next, s.lineage[parent].Extend(b)
	for i, err := range refused {
		if err != nil {
			out = append(out, fmt.Sprintf("%s: %v", args[3+i], err))
			continue
		}
		s.forks.Vote(votes[i].Account, votes[i].Block)
		s.tally.Vote(&votes[i])
	}
	out = append(out, fmt.Sprintf("executed %d lag %d", next.Executed(), Lag(s.lineage[b], next)))
	return strings.Join(out, "; ")
}

func (s *scene) towerString() string {
	var out []string
	for _, v := range s.tower.votes {
		out = append(out, fmt.Sprintf("%s(%d)", name(v.Block), v.Confirmations))
	}
	return fmt.Sprintf("root %s votes %s", name(s.tower.Root()), strings.Join(out, " "))
}

func (s *scene) do(line string) string {
	f := strings.Fields(line)
	cmd, args := f[0], f[1:]
	switch cmd {
	case "block":
		return s.add(args)
	case "chain": // chain FROM TO VOTER…: blocks, each with votes for its parent
		from, to := block(args[0]).Slot, block(args[1]).Slot
		out := ""
		for slot := from; slot <= to; slot++ {
			parent := strconv.Itoa(int(slot) - 1)
			line := []string{strconv.Itoa(int(slot)), "on", parent}
			for _, v := range args[2:] {
				line = append(line, v+":"+parent)
			}
			out = s.add(line)
		}
		return out
	case "seen":
		for _, a := range args {
			who, b, _ := strings.Cut(a, ":")
			s.forks.Vote(account(who), block(b))
			if s.tally.Vote(&ledger.Vote{Account: account(who), Block: block(b)}) {
				return "confirmed " + b
			}
		}
		return "ok"
	case "drop", "take":
		s.forks.SetCandidate(block(args[0]), cmd == "take")
		return "best " + name(s.forks.Best())
	case "best":
		if len(args) == 0 {
			return name(s.forks.Best())
		}
		b, ok := s.forks.BestOn(block(args[0]))
		if !ok {
			return "none"
		}
		return name(b)
	case "weight":
		return strconv.Itoa(int(s.forks.weight(block(args[0]))))
	case "root":
		pruned, ok := s.forks.SetRoot(block(args[0]))
		return fmt.Sprintf("%v, pruned %s", ok, names(pruned))
	case "decide":
		d := s.tower.Decide(block(args[0]), s.forks, s.vote)
		return d.String()
	case "followed":
		b := block(args[0])
		return strconv.FormatBool(s.tower.Followed(b, s.ballots[b].Stakes(), s.forks))
	case "switch":
		d := s.tower.Switch(block(args[0]), s.forks, s.vote)
		return d.String()
	case "lockedout": // lockedout BLOCK SLOT
		slot, _ := strconv.Atoi(args[1])
		return strconv.FormatBool(s.tower.LockedOut(block(args[0]), ledger.Slot(slot), s.forks))
	case "candidates":
		return cmp.Or(names(s.forks.Candidates(block(args[0]).Slot)), "none")
	case "vote": // without asking
		for _, a := range args {
			if root, ok := s.tower.Record(block(a)); ok {
				s.forks.SetRoot(root)
			}
		}
		return s.towerString()
	case "executed", "learn": // executed BLOCK on PARENT VALUE; learn … VALUE PARENT'S
		b, parent := block(args[0]), block(args[2])
		l := Link{Block: b, Parent: parent, Hash: value(args[3])}
		if cmd == "learn" {
			l.ParentHash = value(args[4])
			s.agreed.Learn(l)
			return "ok"
		}
		l.ParentHash = s.agreed.own[parent].Hash
		s.agreed.Executed(l)
		return "ok"
	case "report": // report VOTER:VOTED SLOT:BLOCK:VALUE…
		for _, a := range args {
			f := strings.Split(a, ":")
			voted, _ := strconv.Atoi(f[1])
			s.agreed.Report(account(f[0]), ledger.Slot(voted), Value{block(f[2]), value(f[3])}, []byte(a))
		}
		return "ok"
	case "retract":
		s.agreed.Retract(account(args[0]))
		return "ok"
	case "discard":
		s.agreed.Discard(block(args[0]))
		return "ok"
	case "judge":
		var out []string
		for _, a := range args {
			sums, ok := s.agreed.Judge(block(a))
			if !ok {
				out = append(out, a+": not executed")
				continue
			}
			with := fmt.Sprint(sums.With)
			if sums.Late > 0 {
				with += fmt.Sprintf(" with, %d of it late", sums.Late)
			} else {
				with += " with"
			}
			out = append(out, fmt.Sprintf("%s: %s, %d against, %d of it unnamed, of %d: %v",
				a, with, sums.Against, sums.Unnamed, sums.Total, sums.State()))
		}
		return strings.Join(out, "\n")
	case "wanted": // wanted BLOCK [all]: the links that would tell more
		var out []string
		for _, w := range s.agreed.Wanted(block(args[0]), len(args) > 1) {
			out = append(out, fmt.Sprintf("%s of %s", name(w.Block), strings.TrimRight(string(w.Account[:]), "\x00")))
		}
		return cmp.Or(strings.Join(out, ", "), "none")
	case "restore": // restore ROOT on=BLOCKS early=BLOCKS
		at := make(map[ledger.BlockRef]Place)
		for _, a := range args[1:] {
			kind, list, _ := strings.Cut(a, "=")
			for b := range strings.SplitSeq(list, ",") {
				at[block(b)] = map[string]Place{"on": OnFork, "early": TooEarly}[kind]
			}
		}
		if err := s.tower.Restore(block(args[0]), func(b ledger.BlockRef) Place { return at[b] }); err != nil {
			return err.Error()
		}
		return s.towerString()
	}
	return "unknown command " + cmd
}

// run performs the lines of a transcript's command.
func (s *scene) run(t *testing.T, input string) string {
	t.Helper()
	var out []string
	for line := range strings.SplitSeq(strings.TrimSpace(input), "\n") {
		out = append(out, s.do(line))
	}
	return strings.Join(slices.Concat(out, []string{""}), "\n")
}
