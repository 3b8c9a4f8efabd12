package validator_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"tutti/consensus"
	"tutti/ledger"
	"tutti/shred"
	"tutti/validator"
)

// TestTranscripts runs the files in testdata/transcripts: leader blocks and
// what the rules of PROTOCOL sections 1, 5, 7 and 9 say of them.
//
//	world a=400 b=300 [window=1] [lag=(4,32)] [cost=100]   starts anew with these stakes
//	do                                                   commands, one a line:
//	  block NAME on PARENT RECORD…    makes a leader block; a name is its slot and a letter
//	    @N                what follows stands behind N of the block's own ticks
//	    names U/LANE,…    one marker with these UserBlocks
//	    votes VOTE …      up to the next word that is no vote: ACCOUNT:BLOCK[,CHANGE…]
//	    receipt BLOCK HASH
//	    transfer | kind N | sets N | early RECORD (in the ticks of a skipped slot)
//	  grow N on PARENT                bare blocks, slot by slot
//	  anchor BLOCK on PARENT          may a child of PARENT name a UserBlock with that anchor?
//	  cost BLOCK                      what a UserBlock anchored there may cost
//
// CHANGEs of a vote: bank=SLOT hash=NAME ext=BYTES blockhash=NAME tower=SLOT+SLOT…
// by=ACCOUNT (another authority), forged, id=NAME.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		var s *script
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "world" {
				s = newScript(t, d.CmdArgs)
				return "ok\n"
			}
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				s.t = t
				fmt.Fprintln(&out, s.do(strings.Fields(line)))
			}
			return out.String()
		})
	})
}

// script is a world with named blocks.
type script struct {
	*world
	blocks map[string]*validator.Block
	names  map[ledger.BlockRef]string
	voters []string
}

func newScript(t *testing.T, args []datadriven.CmdArg) *script {
	var stakes []ledger.Lamports
	var voters []string
	for _, a := range args {
		if len(a.Key) == 1 {
			n, err := strconv.ParseUint(a.Vals[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			stakes, voters = append(stakes, ledger.Lamports(n)), append(voters, a.Key)
		}
	}
	s := &script{world: newWorld(t, stakes...), voters: voters}
	s.params.HashesPerTick = 16
	for _, a := range args {
		n := make([]uint64, 2)
		for i, v := range a.Vals {
			n[i], _ = strconv.ParseUint(v, 10, 64)
		}
		switch a.Key {
		case "window":
			s.params.InclusionWindow = n[0]
		case "lag":
			s.params.LagFull, s.params.LagZero = n[0], n[1]
		case "cost":
			s.params.MaxCostPerSlot = 2 * n[0] * uint64(s.params.Proposers)
		}
	}
	s.blocks = map[string]*validator.Block{"0": s.genesis}
	s.names = map[ledger.BlockRef]string{s.genesis.BlockRef: "0"}
	return s
}

func (s *script) voter(name string) int {
	i := slices.Index(s.voters, name)
	if i < 0 {
		return 99 // without stake
	}
	return i
}

func (s *script) slotOf(name string) ledger.Slot {
	n, err := strconv.ParseUint(strings.TrimRight(name, "abcdefghijklmnopqrstuvwxyz"), 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return ledger.Slot(n)
}

// ref returns a block that was made, or one of that slot that nobody made.
func (s *script) ref(name string) ledger.BlockRef {
	if b := s.blocks[name]; b != nil {
		return b.BlockRef
	}
	return ledger.BlockRef{Slot: s.slotOf(name), ID: ledger.Sum([]byte(name))}
}

// cast makes the vote of an account for a block as its votes counted on the
// parent's fork tell it to, then changes it.
func (s *script) cast(text string, parent *validator.Block) (tx ledger.Transaction, v ledger.Vote) {
	head, changes, _ := strings.Cut(text, ",")
	who, target, _ := strings.Cut(head, ":")
	key := testKey("identity", s.voter(who))
	account, block := pub(testKey("vote", s.voter(who))), s.ref(target)
	var state *consensus.VoteState
	if i, ok := s.stakes.Voter(account); ok {
		state = parent.Ballots.State(i)
	}
	v.HasRoot, v.Block = true, block
	if last, _ := state.Last(); block.Slot > last {
		v.Lockouts = push(state.Lockouts(), block.Slot)
	} else {
		v.Lockouts = []ledger.Lockout{{Slot: block.Slot, Confirmations: 1}}
	}
	v.Account, v.Authority = account, pub(key)
	blockhash, forged := block.ID, false
	for change := range strings.SplitSeq(changes, ",") {
		what, value, _ := strings.Cut(change, "=")
		n, _ := strconv.ParseUint(value, 10, 64)
		switch what {
		case "bank":
			v.BankSlot = ledger.Slot(n)
		case "hash":
			v.BankHash = ledger.Sum([]byte(value))
		case "ext":
			v.Extension = make([]byte, n)
		case "id":
			v.Block.ID = ledger.Sum([]byte(value))
		case "blockhash":
			blockhash = ledger.Sum([]byte(value))
		case "by":
			key = testKey("identity", s.voter(value))
			v.Authority = pub(key)
		case "tower":
			v.Lockouts = nil
			for i, slot := range strings.Split(value, "+") {
				left := len(strings.Split(value, "+")) - i
				v.Lockouts = append(v.Lockouts, ledger.Lockout{Slot: s.slotOf(slot), Confirmations: uint8(left)})
			}
		case "forged":
			forged = true
		}
	}
	m := v.Message(blockhash)
	wire := ledger.Sign(m.Append(nil), key)
	if forged {
		wire[5] ^= 1
	}
	return parse(s.t, wire), v
}

// push returns lockouts after a vote for a slot (FORMATS section 8), of a tower
// that is too low to root anything.
func push(lockouts []ledger.Lockout, slot ledger.Slot) []ledger.Lockout {
	n := len(lockouts)
	for n > 0 && lockouts[n-1].Slot+1<<lockouts[n-1].Confirmations < slot {
		n--
	}
	next := append(slices.Clone(lockouts[:n]), ledger.Lockout{Slot: slot, Confirmations: 1})
	for i := range next {
		if len(next) > i+int(next[i].Confirmations) {
			next[i].Confirmations++
		}
	}
	return next
}

func (s *script) do(f []string) string {
	switch f[0] {
	case "block":
		return s.block(f[1], s.blocks[f[3]], f[4:])
	case "grow":
		n, _ := strconv.Atoi(f[1])
		out, on := "", f[3]
		for range n {
			next := strconv.Itoa(int(s.slotOf(on)) + 1)
			out, on = s.block(next, s.blocks[on], nil), next
		}
		return out
	case "anchor":
		if s.blocks[f[3]].Anchor(s.blocks[f[1]].LastPoH) == s.blocks[f[1]] {
			return "yes"
		}
		return "no"
	case "cost":
		p := &s.params
		share := p.MaxCostPerSlot / uint64(2*p.Proposers)
		return fmt.Sprint(consensus.CostMax(share, s.blocks[f[1]].Lag, int(p.LagFull), int(p.LagZero)))
	}
	s.t.Fatalf("unknown command %q", f[0])
	return ""
}

// record puts the records that the words tell into a draft.
func (s *script) record(d *draft, f []string) (votes []ledger.Vote, texts []string) {
	for len(f) > 0 {
		word, n := f[0], 0
		if f = f[1:]; len(f) > 0 {
			n, _ = strconv.Atoi(f[0])
		}
		switch {
		case word[0] == '@':
			own, _ := strconv.Atoi(word[1:])
			d.ticks(d.skipped() + own - d.closed)
			continue
		case word == "votes":
			var txs []ledger.Transaction
			for len(f) > 0 && strings.Contains(f[0], ":") {
				tx, v := s.cast(f[0], d.parent)
				txs, votes, texts = append(txs, tx), append(votes, v), append(texts, f[0])
				f = f[1:]
			}
			d.votes(txs...)
			continue
		case word == "transfer":
			d.votes(signed(s.t, testKey("user", 0), d.parent.LastPoH, memo("hello")))
			continue
		case word == "early":
			continue // no ticks before it
		case word == "names":
			var refs []ledger.UserBlockRef
			for text := range strings.SplitSeq(f[0], ",") {
				var ref ledger.UserBlockRef
				if _, err := fmt.Sscanf(text, "%d/%d", &ref.U, &ref.Lane); err != nil {
					s.t.Fatal(err)
				}
				ref.ID = ledger.Sum([]byte(text))
				refs = append(refs, ref)
			}
			d.names(refs...)
		case word == "receipt":
			d.receipt(s.ref(f[0]), ledger.Sum([]byte(f[1])))
			f = f[1:]
		case word == "kind":
			d.marker(ledger.Marker{Version: ledger.MarkerVersion, Kind: ledger.MarkerKind(n), Payload: make([]byte, 72)})
		case word == "sets":
			for range n - 1 {
				d.votes(s.world.vote(0, ledger.BlockRef{Slot: ledger.Slot(1000 + len(d.sets))}, 0, ledger.Hash{})).flush(false)
				if len(d.sets)%2 == 0 {
					d.ticks(1)
				}
			}
		default:
			s.t.Fatalf("unknown record %q", word)
		}
		f = f[1:]
	}
	return votes, texts
}

// block makes a block and says what the rules do.
func (s *script) block(name string, parent *validator.Block, f []string) string {
	d := s.draft(s.slotOf(name), parent)
	d.shredder = shred.NewShredder(shred.Config{
		Key: d.slot.Key(), ParentOffset: uint16(d.slot - parent.Slot), Chained: parent.ID,
		Signer: testKey("identity", 0), Version: uint16(name[len(name)-1]), // blocks of one slot and content differ
	})
	if len(f) == 0 || f[0] != "early" {
		d.ticks(d.skipped())
	}
	votes, texts := s.record(d, f)
	d.ticks(d.skipped() + ledger.TicksPerSlot - d.closed)
	b, err := d.flush(true).check()
	if err != nil {
		return "invalid: " + reason(err)
	}
	s.blocks[name], s.names[b.BlockRef] = b, name
	out := []string{"ok"}
	for _, n := range b.Named {
		out = append(out, fmt.Sprintf("%d/%d in section %d", n.Ref.U, n.Ref.Lane, n.Section))
	}
	_, refused := parent.Ballots.Count(b.Slot, s.stakes, votes, parent.Lineage)
	for i, err := range refused {
		if err == nil {
			out = append(out, texts[i]+" counts")
		} else {
			out = append(out, texts[i]+" does not count: "+strings.TrimPrefix(err.Error(), "vote: "))
		}
	}
	return strings.Join(append(out, fmt.Sprintf("e %d lag %d", b.Ballots.Executed(), b.Lag)), "; ")
}

// reason is the innermost error's text.
func reason(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
