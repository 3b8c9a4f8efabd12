package node

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"tutti/cluster"
	"tutti/leader"
	"tutti/ledger"
	"tutti/shred"
)

// TestTranscripts runs the files in testdata/transcripts: what reaches one
// node, and what it does then (PROTOCOL sections 1, 4, 5 and 7). The other nodes
// are silent but for what the commands make them say.
//
//	world me=20 a=30 b=9 c=41 [execution=sync busy=50ms]
//	                            starts anew with these stakes; execution of a block
//	                            takes so long
//	do                          commands, one a line:
//	  block NAME on BLOCK [names U/LANE,…]
//	                            the slot's leader makes a block, and the node gets
//	                            all shreds; a name is its slot, and letters if there
//	                            are several
//	  user NAME on BLOCK [stale|forged]
//	                            so for a UserBlock, with the name U/LANE; its
//	                            transaction can have a blockhash that nobody knows,
//	                            or a wrong signature
//	  make NAME on BLOCK …      so for both, but the node gets nothing
//	  give NAME [N [forged]]    it gets the other shreds, or the next N of them, or
//	                            those with a wrong signature of the maker
//	  proof NAME NAME           another node sends a proof of equivocation
//	  vote VOTER:BLOCK …        others vote
//	  at SLOT[+TICK]            waits until that tick is due
//	  wait DURATION
//	  next                      the heaviest block that may be built on
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		var s *script
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "world" {
				s = newScript(t, d.CmdArgs)
				return s.schedule()
			}
			s.t = t
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				fmt.Fprintln(&out, s.do(strings.Fields(line)))
			}
			return out.String()
		})
	})
}

// script is a cluster of which node 0 alone runs, and what was made for it.
type script struct {
	*testCluster
	me     *testNode
	voters []string
	sets   map[string][]*shred.Set    // that were made, by name
	given  map[string]int             // shreds of them that the node has got
	refs   map[string]ledger.BlockRef // of a UserBlock only the id
	names  map[ledger.Hash]string     // by id
	asked  []string                   // for which UserBlocks, since the last command
	told   map[ledger.Pubkey]bool     // of an equivocation, since then
}

func newScript(t *testing.T, args []datadriven.CmdArg) *script {
	s := &script{
		sets: make(map[string][]*shred.Set), given: make(map[string]int),
		refs: make(map[string]ledger.BlockRef), names: make(map[ledger.Hash]string),
	}
	var stakes []ledger.Lamports
	execution, busy := cluster.ExecutionAsync, time.Duration(0)
	for _, a := range args {
		switch a.Key {
		case "execution":
			execution = cluster.ExecutionSync
		case "busy":
			busy = duration(t, a.Vals[0])
		default:
			stakes, s.voters = append(stakes, ledger.Lamports(number(t, a.Vals[0]))), append(s.voters, a.Key)
		}
	}
	s.testCluster = newTestCluster(t, len(stakes), func(o *cluster.Options) {
		unequal(stakes...)(o)
		o.Params.Execution = execution
	})
	for _, n := range s.nodes[1:] {
		n.down = true
	}
	s.me = s.nodes[0]
	s.me.busy = busy
	s.me.filter = s.sent
	s.name("0", s.me.forks.Root().BlockRef)
	return s
}

func number(t testing.TB, text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func duration(t testing.TB, text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// schedule tells which slots the node leads first.
func (s *script) schedule() string {
	first := s.rotation(func(first ledger.Slot) bool { return s.leader(first) == 0 })
	return fmt.Sprintf("leads slots %d to %d\n", first, first+3)
}

func (s *script) name(name string, ref ledger.BlockRef) {
	s.refs[name], s.names[ref.ID] = ref, name
}

// sent notes what the node sends, all of which is lost.
func (s *script) sent(to ledger.Pubkey, m Message) bool {
	switch m := m.(type) {
	case RepairRequest:
		if m.Key.IsUser() {
			s.asked = append(s.asked, key(m.Key))
		}
	case EvidenceMessage:
		s.told[to] = true
	}
	return false
}

// key is the name of a slot field.
func key(k ledger.SlotKey) string {
	if !k.IsUser() {
		return fmt.Sprint(k.Slot())
	}
	u, lane := k.User()
	return fmt.Sprintf("%d/%d", u, lane)
}

func (s *script) do(f []string) string {
	reports, begun, proofs := len(s.me.reports), len(s.me.disk.begun), len(s.me.proofs)
	s.asked, s.told = nil, make(map[ledger.Pubkey]bool)
	switch f[0] {
	case "make":
		s.make(f[1], s.refs[f[3]], f[4:])
		return "ok"
	case "block", "user":
		s.make(f[1], s.refs[f[3]], f[4:])
		s.give(f[1], nil)
	case "give":
		s.give(f[1], f[2:])
	case "proof":
		a, b := testShred(s.t, s.sets[f[1]][0], 0), testShred(s.t, s.sets[f[2]][0], 1)
		s.push(0, 0, Received{From: s.nodes[1].self, Msg: EvidenceMessage{A: a, B: b}})
		s.run(time.Millisecond)
	case "vote":
		for _, v := range f[1:] {
			who, block, _ := strings.Cut(v, ":")
			s.voteFor(slices.Index(s.voters, who), 0, s.refs[block])
		}
	case "at":
		slot, tick, _ := strings.Cut(f[1]+"+0", "+")
		tick, _, _ = strings.Cut(tick, "+")
		s.runTo(ledger.Slot(number(s.t, slot)), number(s.t, tick))
	case "wait":
		s.run(duration(s.t, f[1]))
	case "next":
		return s.names[s.me.buildOn().ID]
	default:
		s.t.Fatalf("unknown command %q", f[0])
	}
	out := s.happened(s.me.reports[reports:])
	if n := len(s.me.proofs) - proofs; n > 0 {
		out = append(out, fmt.Sprintf("stores %d and tells %d", n, len(s.told)))
	}
	for _, k := range s.me.disk.begun[begun:] {
		if !k.IsUser() {
			out = append(out, fmt.Sprintf("begins %d on %s", k.Slot(), s.names[s.me.leadTip.parent.ID]))
		}
	}
	slices.Sort(s.asked)
	for _, k := range slices.Compact(s.asked) {
		out = append(out, "asks for "+k)
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, "; ")
}

// make makes a block or UserBlock that the node can be given.
func (s *script) make(name string, on ledger.BlockRef, f []string) {
	parent := s.me.forks.Block(on)
	if parent == nil {
		s.t.Fatalf("%s: the node does not hold %v", name, on)
	}
	var names []ledger.UserBlockRef
	stale, forged := false, false
	for i, word := range f {
		switch word {
		case "names":
			for ub := range strings.SplitSeq(f[i+1], ",") {
				u, lane := s.place(ub)
				names = append(names, ledger.UserBlockRef{U: u, Lane: lane, ID: s.refs[ub].ID})
			}
		case "stale":
			stale = true
		case "forged":
			forged = true
		}
	}
	if strings.Contains(name, "/") {
		u, lane := s.place(name)
		if signer, _ := s.me.signer(ledger.UserKey(u, lane)); signer == s.me.self {
			s.t.Fatalf("the lane of %s is the node's own", name)
		}
		blockhash := parent.LastPoH
		if stale {
			blockhash = ledger.Sum([]byte("nobody's"))
		}
		payer := testKey("faucet", 0)
		m := ledger.TransferMessage(pub(payer), pub(testKey(name, 0)), ledger.LamportsPerSOL, 1, 450, blockhash)
		wire := ledger.Sign(m.Append(nil), payer)
		if forged {
			wire[5] ^= 1
		}
		tx, err := ledger.ParseTransaction(wire)
		if err != nil {
			s.t.Fatal(err)
		}
		var ref ledger.UserBlockRef
		ref, s.sets[name] = s.userBlockIn(u, lane, parent.LastPoH, tx)
		s.name(name, ledger.BlockRef{ID: ref.ID})
		return
	}
	slot := ledger.Slot(number(s.t, strings.TrimRight(name, letters)))
	s.sets[name] = s.signedBlock(s.me.Node, slot, parent.BlockRef, parent.LastPoH, func(b *leader.Builder) {
		if strings.TrimRight(name, letters) != name { // a twin: of a block that is on no fork, mere information
			b.RecordReceipt(ledger.ExecutionReceipt{BankHash: ledger.Sum([]byte(name))})
		}
		if len(names) > 0 {
			b.RecordUserBlocks(names)
		}
	})
	last := s.sets[name][len(s.sets[name])-1]
	s.name(name, ledger.BlockRef{Slot: slot, ID: last.Root})
}

const letters = "abcdefghijklmnopqrstuvwxyz"

// place is where a UserBlock of that name belongs.
func (s *script) place(name string) (ledger.UserSlot, ledger.Lane) {
	u, lane, _ := strings.Cut(strings.TrimRight(name, letters), "/")
	return ledger.UserSlot(number(s.t, u)), ledger.Lane(number(s.t, lane))
}

// give gives shreds to the node, as from who made them, and waits until they
// are looked at: for less than a tick.
func (s *script) give(name string, f []string) {
	var all []ShredMessage
	for _, set := range s.sets[name] {
		for i := range set.Shreds {
			all = append(all, testShred(s.t, set, i))
		}
	}
	all = all[s.given[name]:]
	forged := slices.Contains(f, "forged")
	if len(f) > 0 {
		all = all[:number(s.t, f[0])]
	}
	if !forged {
		s.given[name] += len(all)
	}
	for _, m := range all {
		if forged {
			m.Shred = m.Shred.WithSignature(ledger.Signature{1})
		}
		signer, _ := s.me.signer(m.Shred.Key())
		s.push(0, 0, Received{From: signer, Msg: m})
	}
	s.run(6 * time.Millisecond)
}

// happened tells what the node reports of it.
func (s *script) happened(reports []any) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	dropped := make(map[string]bool)
	for _, r := range reports {
		switch r := r.(type) {
		case UserBlockHeld:
			say("holds %s", s.names[r.Block.Ref.ID])
		case UserBlockRejected:
			say("%s is not well formed: %v", s.names[r.Ref.ID], reason(r.Err))
		case BlockHeld:
			if r.Own {
				s.name(fmt.Sprint(r.Block.Slot), r.Block)
				say("has made %s on %s%s", s.names[r.Block.ID], s.names[r.Parent.ID], s.list(" with ", r.Entries))
				break
			}
			missing := ""
			if r.Missing > 0 {
				missing = fmt.Sprintf(", lacks %d", r.Missing)
			}
			say("holds %s%s%s", s.names[r.Block.ID], s.list(" with ", r.Entries), missing)
		case BlockRejected:
			if name, ok := s.names[r.Block.ID]; ok { // its last set, not those before
				say("%s is invalid: %v", name, reason(r.Err))
			}
		case Voted:
			say("votes for %s", s.names[r.Block.ID])
		case Confirmed:
			say("%s is confirmed", s.names[r.Block.ID])
		case BankComputed:
			say("executes %s", s.names[r.Result.Ref.ID])
		case Equivocated:
			say("finds two of %s", key(r.Key))
		case Dropped:
			dropped[fmt.Sprintf("drops %s: %s", r.What, r.Reason)] = true
		}
	}
	return append(out, slices.Sorted(maps.Keys(dropped))...)
}

// reason is the innermost error.
func reason(err error) error {
	for inner := err; inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

// list is a list of UserBlocks.
func (s *script) list(before string, refs []ledger.UserBlockRef) string {
	var names []string
	for _, r := range refs {
		names = append(names, s.names[r.ID])
	}
	if len(names) == 0 {
		return ""
	}
	return before + strings.Join(names, ", ")
}
