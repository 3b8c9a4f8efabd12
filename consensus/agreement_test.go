package consensus

import (
	"fmt"
	"testing"

	"tutti/cluster"
	"tutti/internal/testkit"
	"tutti/ledger"
)

// TestState has a case for each sentence of PROTOCOL section 10. Opinions are
// stake and value; x is mine, ? another one that is not known, - silence.
func TestState(t *testing.T) {
	type said struct {
		stake ledger.Lamports
		value string
	}
	for _, c := range []struct {
		says []said
		want State
	}{
		{[]said{{67, "x"}, {33, "-"}}, Certified},
		{[]said{{66, "x"}, {34, "-"}}, Open},
		{[]said{{67, "x"}, {33, "y"}}, Certified},
		{[]said{{67, "y"}, {33, "x"}}, IAmWrong},
		{[]said{{67, "?"}, {33, "x"}}, Stalled},
		{[]said{{33, "x"}, {33, "y"}, {34, "-"}}, Open},
		{[]said{{33, "x"}, {34, "y"}, {33, "-"}}, Stalled}, // y can reach 67
		{[]said{{40, "x"}, {34, "y"}, {26, "-"}}, Halt},
		{[]said{{40, "x"}, {34, "?"}, {26, "-"}}, Halt},
		{[]said{{32, "x"}, {34, "?"}, {34, "y"}}, Stalled}, // all of it may be y
		{[]said{{32, "x"}, {34, "z"}, {34, "y"}}, Halt},
		{[]said{{60, "x"}, {40, "?"}}, Halt},
		{[]said{{32, "x"}, {34, "?"}, {34, "-"}}, Stalled},
		{[]said{{33, "y"}, {67, "-"}}, Open},
		{[]said{{34, "y"}, {66, "-"}}, Stalled}, // any value can still reach 67
		{[]said{{66, "x"}, {34, "y"}}, Halt},
		{[]said{{33, "x"}, {66, "y"}, {1, "-"}}, Stalled},
		{nil, Open},
	} {
		var opinions []Opinion
		total := ledger.Lamports(0)
		for _, s := range c.says {
			o := Opinion{Stake: s.stake, Stance: Says, Value: value(s.value)}
			switch s.value {
			case "?":
				o.Stance = Differs
			case "-":
				o.Stance = Silent
			}
			opinions = append(opinions, o)
			total += s.stake
		}
		if got := SumUp(opinions, value("x"), max(total, 100)).State(); got != c.want {
			t.Errorf("%v: %v, want %v", c.says, got, c.want)
		}
	}
}

// TestStateIsSafe: whatever the silent, the late and the unnamed turn out to
// say, a block that is certified without the late stays certified, a Halt never sees any value reach two
// thirds, and where some value still can there is no Halt.
func TestStateIsSafe(t *testing.T) {
	rng := testkit.Rand(t)
	for range 2000 {
		var opinions []Opinion
		var total ledger.Lamports
		for range 1 + rng.IntN(7) {
			o := Opinion{Stake: ledger.Lamports(1 + rng.IntN(5)), Stance: Stance(rng.IntN(3))}
			if o.Stance == Says {
				o.Value = value(string(rune('x' + rng.IntN(3))))
				o.Late = o.Value == value("x") && rng.IntN(3) == 0
			}
			opinions = append(opinions, o)
			total += o.Stake
		}
		before := SumUp(opinions, value("x"), total)
		now := before.State()
		reachable := false
		for _, all := range []string{"x", "y", "z", "w"} {
			later := make([]Opinion, len(opinions))
			for i, o := range opinions {
				if o.Stance == Silent || o.Late || o.Stance == Differs && all != "x" {
					o = Opinion{Stake: o.Stake, Stance: Says, Value: value(all)}
				}
				later[i] = o
			}
			sums := SumUp(later, value("x"), total)
			reachable = reachable || TwoThirds(sums.With, total) || TwoThirds(sums.OtherStake, total)
			if then := sums.State(); (now == Certified && before.Late == 0 || now == IAmWrong) && then != now {
				t.Fatalf("%v: %v, then %v", opinions, now, then)
			}
		}
		if now == Halt && reachable || now == Stalled && !reachable {
			t.Fatalf("%v: %v, reachable %v", opinions, now, reachable)
		}
	}
}

// chainOf are links from block 1 on, a value per block.
func chainOf(from int, prev string, values ...string) []Link {
	var links []Link
	for i, v := range values {
		slot := from + i
		links = append(links, Link{
			Block: block(fmt.Sprint(slot)), Parent: block(fmt.Sprint(slot - 1)),
			Hash: value(v), ParentHash: value(prev),
		})
		prev = v
	}
	return links
}

func newAgreement(stakes string) *Agreement {
	a := NewAgreement(block("0"), value("genesis"), oneEpoch(stakes))
	for _, l := range chainOf(1, "genesis", "p1", "p2", "p3", "p4", "p5") {
		a.Executed(l)
	}
	return a
}

func (a *Agreement) say(who string, voted int, slot int, v string) {
	a.Report(account(who), ledger.Slot(voted), Value{block(fmt.Sprint(slot)), value(v)}, []byte(v))
}

func (a *Agreement) sums(t *testing.T, slot int) string {
	t.Helper()
	s, ok := a.Judge(block(fmt.Sprint(slot)))
	if !ok {
		return "unknown"
	}
	return fmt.Sprintf("%d with, %d against, %d unnamed: %v", s.With, s.Against, s.Unnamed, s.State())
}

// TestReportsSpeakForAncestors expands reports through links (PROTOCOL
// section 10).
func TestReportsSpeakForAncestors(t *testing.T) {
	a := newAgreement("a=40 b=35 c=25")
	check := func(slot int, want string) {
		t.Helper()
		if got := a.sums(t, slot); got != want {
			t.Fatalf("block %d: %s, want %s", slot, got, want)
		}
	}
	check(6, "unknown")
	a.say("a", 9, 4, "p4")
	check(5, "0 with, 0 against, 0 unnamed: open")
	check(4, "40 with, 0 against, 0 unnamed: open")
	check(1, "40 with, 0 against, 0 unnamed: open")
	// b differs at 4, from where on is not known: against me from 4 on.
	a.say("b", 9, 4, "q4")
	check(5, "0 with, 35 against, 35 unnamed: stalled")
	check(4, "40 with, 35 against, 0 unnamed: halt")
	check(3, "40 with, 0 against, 0 unnamed: open")
	if got := a.Wanted(block("2"), false); len(got) != 1 || got[0] != (Want{Value{block("4"), value("q4")}, account("b")}) {
		t.Fatal(got)
	}
	// Its links tell that it differs from 3 on.
	for _, l := range chainOf(3, "p2", "q3", "q4") {
		a.Learn(l)
	}
	check(3, "40 with, 35 against, 0 unnamed: halt")
	check(2, "75 with, 0 against, 0 unnamed: certified")
	if got := a.Wanted(block("2"), false); len(got) != 0 {
		t.Fatal(got)
	}
	// A replayed vote does not bring an old report back; a newer one does.
	a.say("b", 9, 1, "p1")
	a.say("b", 8, 4, "p4")
	check(3, "40 with, 35 against, 0 unnamed: halt")
	a.say("b", 10, 4, "p4")
	check(4, "75 with, 0 against, 0 unnamed: certified")
	// Who is ahead of me is not against me, nor is who has no stake.
	a.say("c", 11, 9, "r9")
	a.say("z", 11, 4, "q4")
	check(4, "75 with, 0 against, 0 unnamed: certified")
	if got := a.Wanted(block("4"), false); len(got) != 0 {
		t.Fatal(got)
	}
	if got := a.Wanted(block("4"), true); len(got) != 1 || got[0].Hash != value("r9") {
		t.Fatal(got)
	}
	a.Prune(block("4"))
	check(4, "75 with, 0 against, 0 unnamed: certified")
	if len(a.own) != 6 || len(a.others) != 0 {
		t.Fatal(a.own, a.others)
	}
}

// TestReportsOfOtherForks speak for the common ancestors only; a difference
// there is one for all that follows.
func TestReportsOfOtherForks(t *testing.T) {
	a := newAgreement("a=40 b=60")
	a.say("b", 9, 7, "f7")
	for _, l := range []Link{
		{Block: block("7"), Parent: block("6b"), Hash: value("f7"), ParentHash: value("f6")},
		{Block: block("6b"), Parent: block("2"), Hash: value("f6"), ParentHash: value("p2")},
	} {
		a.Learn(l)
	}
	if got := a.sums(t, 2); got != "60 with, 0 against, 0 unnamed: open" {
		t.Fatal(got)
	}
	if got := a.sums(t, 3); got != "0 with, 0 against, 0 unnamed: open" {
		t.Fatal(got)
	}
	a = newAgreement("a=40 b=60")
	a.say("b", 9, 7, "f7")
	for _, l := range []Link{
		{Block: block("7"), Parent: block("2"), Hash: value("f7"), ParentHash: value("q2")},
		{Block: block("2"), Parent: block("1"), Hash: value("q2"), ParentHash: value("p1")},
	} {
		a.Learn(l)
	}
	if got := a.sums(t, 3); got != "0 with, 60 against, 60 unnamed: stalled" {
		t.Fatal(got)
	}
	if got := a.sums(t, 2); got != "0 with, 60 against, 0 unnamed: stalled" {
		t.Fatal(got)
	}
	if got := a.sums(t, 1); got != "60 with, 0 against, 0 unnamed: open" {
		t.Fatal(got)
	}
}

// TestLinksAreBounded, and cannot lead upwards.
func TestLinksAreBounded(t *testing.T) {
	a := newAgreement("a=100")
	up := Link{Block: block("3"), Parent: block("4"), Hash: value("u3"), ParentHash: value("u4")}
	down := Link{Block: block("4"), Parent: block("3"), Hash: value("u4"), ParentHash: value("u3")}
	a.Learn(up)
	a.Learn(down)
	a.say("a", 9, 4, "u4")
	if got := a.sums(t, 1); got != "0 with, 0 against, 0 unnamed: open" {
		t.Fatal(got)
	}
	for i := range LinksMax + 10 {
		a.Learn(Link{Block: block("5"), Parent: block("4"), Hash: value(fmt.Sprint(i))})
	}
	if len(a.others) != LinksMax {
		t.Fatal(len(a.others))
	}
}

// TestDisputed: who differs is known without judging any block, whichever
// comes first, the report or the own result.
func TestDisputed(t *testing.T) {
	a := newAgreement("a=40 b=60")
	check := func(want bool) {
		t.Helper()
		if a.Disputed() != want {
			t.Fatalf("disputed %v, want %v", !want, want)
		}
	}
	a.say("a", 9, 6, "q6")
	a.say("b", 9, 5, "p5")
	check(false)
	for _, l := range chainOf(6, "p5", "p6") {
		a.Executed(l)
	}
	check(true)
	a.say("a", 10, 6, "p6")
	check(false)
	a.say("b", 10, 5, "q5")
	check(true)
	a.Retract(account("b"))
	check(false)
	a.say("b", 10, 5, "q5") // replayed: it stays silent
	check(false)
}

// TestDiscard: results that are to be computed again say nothing meanwhile.
func TestDiscard(t *testing.T) {
	a := newAgreement("a=70 b=30")
	a.say("a", 9, 5, "q5")
	a.say("b", 9, 5, "p5")
	if got := a.sums(t, 5); got != "30 with, 70 against, 0 unnamed: I am wrong" || !a.Disputed() {
		t.Fatal(got)
	}
	if got := a.Testimonies(block("5")); len(got) != 2 || string(got[0].Signed) != "q5" || got[1].Opinion.Stake != 30 {
		t.Fatal(got)
	}
	a.Discard(block("4"))
	if got := a.sums(t, 4) + ", " + a.sums(t, 5) + ", " + a.sums(t, 3); got != "unknown, unknown, 0 with, 0 against, 0 unnamed: open" || a.Disputed() {
		t.Fatal(got)
	}
	for _, l := range chainOf(4, "p3", "p4", "q5") {
		a.Executed(l)
	}
	if got := a.sums(t, 4); got != "70 with, 0 against, 0 unnamed: certified" || !a.Disputed() {
		t.Fatal(got)
	}
}

// TestReportsAwaited: of a voter that executes much earlier a bounded number of
// values waits, and with them this node still finds that it agrees, at the
// latest some blocks later.
func TestReportsAwaited(t *testing.T) {
	for behind, want := range map[int]int{awaitedMax: 0, awaitedMax + 1: 0, awaitedMax + 9: 1, 3 * awaitedMax: 4, 10 * awaitedMax: 16} {
		a := NewAgreement(block("0"), value("genesis"), oneEpoch("a=1"))
		most := 0
		for slot := 1; slot <= behind; slot++ {
			a.say("a", slot, slot, fmt.Sprint("p", slot))
			most = max(most, len(a.reports[account("a")].awaited))
		}
		if most > awaitedMax {
			t.Fatalf("%d values wait, want %d at most", most, awaitedMax)
		}
		prev, certified, gap := "genesis", 0, 0
		for slot := 1; slot <= behind; slot++ {
			v := fmt.Sprint("p", slot)
			a.Executed(chainOf(slot, prev, v)[0])
			prev = v
			if s, _ := a.Judge(block(fmt.Sprint(slot))); s.State() == Certified {
				certified = slot
			}
			gap = max(gap, slot-certified)
		}
		if certified != behind || gap > want {
			t.Errorf("%d blocks behind: slot %d is certified, and up to %d blocks were not; want %d at most", behind, certified, gap, want)
		}
		if r := a.reports[account("a")]; len(r.awaited) > 0 {
			t.Errorf("%d values wait of a voter that is not ahead any more", len(r.awaited))
		}
	}
}

// TestReportsAgainst: what a voter reported before, and not again, is never held
// against anybody. v, then w, were wrong for a while, went back and agree; never
// both at once.
func TestReportsAgainst(t *testing.T) {
	a := NewAgreement(block("0"), value("genesis"), oneEpoch("me=5 c=50 v=25 w=20"))
	a.Executed(chainOf(1, "genesis", "p1")[0])
	for _, r := range []struct {
		who         string
		voted, slot int
		value       string
	}{
		{"c", 3, 2, "p2"},
		{"w", 3, 2, "p2"},
		{"v", 3, 2, "x2"},
		{"c", 6, 5, "p5"},
		{"v", 6, 5, "p5"}, // it has executed 2 to 5 again
		{"w", 7, 3, "y3"},
		{"c", 9, 8, "p8"},
		{"v", 9, 8, "p8"},
		{"w", 9, 8, "p8"}, // it has executed 3 to 8 again
	} {
		a.say(r.who, r.voted, r.slot, r.value)
	}
	for _, l := range chainOf(2, "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8") {
		a.Executed(l)
		for slot := 1; slot <= int(l.Block.Slot); slot++ {
			if s, _ := a.Judge(block(fmt.Sprint(slot))); s.Against > 0 || s.State() > Certified {
				t.Errorf("block %d is executed; block %d: %s", l.Block.Slot, slot, a.sums(t, slot))
			}
		}
		if a.Disputed() {
			t.Errorf("block %d is executed: disputed", l.Block.Slot)
		}
	}
	if got := a.sums(t, 8); got != "95 with, 0 against, 0 unnamed: certified" {
		t.Errorf("block 8: %s", got)
	}
}

// TestReportsAwaitedAreDropped: what has waited counts no more if the voter goes
// back or to another fork, if this node does, or if the voter's next report
// differs. Of others, new in an epoch, it is kept.
func TestReportsAwaitedAreDropped(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(a *Agreement)
		want string // of block 2
	}{
		{"nothing", func(*Agreement) {}, "70 with, 0 against, 0 unnamed: certified"},
		{"the same again", func(a *Agreement) { a.say("a", 9, 4, "p4") }, "70 with, 0 against, 0 unnamed: certified"},
		{"a later one", func(a *Agreement) { a.say("a", 9, 6, "p6") }, "70 with, 0 against, 0 unnamed: certified"},
		{"back", func(a *Agreement) { a.say("a", 9, 2, "x2") }, "0 with, 70 against, 0 unnamed: I am wrong"},
		{"to another fork", func(a *Agreement) {
			a.Report(account("a"), 9, Value{block("2x"), value("z2")}, nil)
		}, "0 with, 0 against, 0 unnamed: open"},
		{"agreed with, then differs", func(a *Agreement) {
			a.Executed(chainOf(2, "p1", "p2")[0])
			a.say("a", 9, 5, "x5")
			for _, l := range chainOf(3, "p2", "p3", "p4", "p5") {
				a.Executed(l)
			}
		}, "0 with, 0 against, 0 unnamed: open"},
		{"agreed with, then to another fork", func(a *Agreement) {
			a.Executed(chainOf(2, "p1", "p2")[0])
			a.Report(account("a"), 9, Value{block("2x"), value("z2")}, nil)
		}, "0 with, 0 against, 0 unnamed: open"},
		{"agreed with, then differed, then who knows", func(a *Agreement) {
			a.say("a", 9, 6, "p6")
			for _, l := range chainOf(2, "p1", "p2", "y3", "y4") {
				a.Executed(l)
			}
		}, "0 with, 0 against, 0 unnamed: open"},
		{"executed again, differently", func(a *Agreement) {
			a.Executed(chainOf(2, "p1", "p2")[0])
			a.Discard(block("2"))
			a.Executed(chainOf(2, "p1", "y2")[0])
		}, "0 with, 0 against, 0 unnamed: open"},
		{"retracted", func(a *Agreement) { a.Retract(account("a")) }, "0 with, 0 against, 0 unnamed: open"},
	} {
		a := NewAgreement(block("0"), value("genesis"), oneEpoch("a=70 b=30"))
		a.Executed(chainOf(1, "genesis", "p1")[0])
		a.say("a", 3, 2, "p2")
		a.say("a", 5, 4, "p4")
		c.then(a)
		if _, executed := a.own[block("2")]; !executed {
			a.Executed(chainOf(2, "p1", "p2")[0])
		}
		if got := a.sums(t, 2); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}

	a := NewAgreement(block("0"), value("genesis"), NewEpochs(schedule{
		10,
		[]*cluster.EpochStakes{stakesOf(0, "me=30 a=70"), stakesOf(1, "me=30 n=70")},
	}))
	a.say("a", 9, 8, "x8")
	prev := "genesis"
	for slot := 1; slot <= 11; slot++ {
		v := fmt.Sprint("p", slot)
		a.Executed(chainOf(slot, prev, v)[0])
		prev = v
	}
	a.say("n", 13, 12, "p12")
	a.say("n", 14, 13, "p13")
	a.Prune(block("5"))
	a.Executed(chainOf(12, prev, "p12")[0])
	if got := a.sums(t, 12); got != "70 with, 0 against, 0 unnamed: certified" {
		t.Errorf("an account of the next epoch: %s", got)
	}
	if !a.Disputed() {
		t.Error("an account of the last epoch differs")
	}
	a.Prune(block("11"))
	if a.Disputed() {
		t.Error("what an account reported that has no stake any more is kept")
	}
}

// TestReportsDoubtful: a node that executes late and wrongly knows that a report
// differed, though the voter has gone on, until one can be compared again.
func TestReportsDoubtful(t *testing.T) {
	a := NewAgreement(block("0"), value("genesis"), oneEpoch("a=70 b=30"))
	doubtful := func(when string, want bool) {
		t.Helper()
		if a.Doubtful() != want {
			t.Errorf("%s: doubtful is %v", when, !want)
		}
	}
	a.say("a", 3, 2, "x2")
	a.say("a", 4, 3, "x3")
	for _, l := range chainOf(1, "genesis", "p1", "p2") {
		doubtful("before "+string(rune('0'+l.Block.Slot)), false)
		a.Executed(l)
	}
	doubtful("2 differs, and 3 is reported", true)
	a.say("a", 5, 4, "x4")
	doubtful("4 is reported", true)
	a.Executed(chainOf(3, "p2", "p3")[0])
	doubtful("3 differs as well", true)
	a.Executed(chainOf(4, "p3", "x4")[0])
	doubtful("the last one is the same", false)
	a.say("a", 6, 4, "x4")
	doubtful("it says so again", false)

	a = NewAgreement(block("0"), value("genesis"), oneEpoch("a=70 b=30"))
	a.Executed(chainOf(1, "genesis", "p1")[0])
	a.say("a", 2, 1, "x1")
	if !a.Disputed() || a.Doubtful() {
		t.Error("the last one differs, which is a dispute")
	}
	a.say("a", 3, 2, "x2")
	doubtful("it differed, and who knows", true)
	a.say("a", 4, 3, "p3")
	a.Executed(chainOf(2, "p1", "x2")[0])
	doubtful("one is the same", false)
	a.Retract(account("a"))
	doubtful("retracted", false)
}

// TestLateAgainstLinks: an earlier report counts for nothing where links show
// that the last one differs, nor if it was reported before one that differs.
func TestLateAgainstLinks(t *testing.T) {
	a := NewAgreement(block("0"), value("genesis"), oneEpoch("a=70 b=30"))
	for _, l := range chainOf(1, "genesis", "p1", "p2", "p3", "p4") {
		a.Executed(l)
	}
	a.say("a", 5, 4, "p4")
	a.say("a", 6, 6, "q6")
	check := func(slot int, want string) {
		t.Helper()
		if got := a.sums(t, slot); got != want {
			t.Errorf("block %d: %s, want %s", slot, got, want)
		}
	}
	check(4, "70 with, 0 against, 0 unnamed: certified")
	for _, l := range chainOf(4, "q3", "q4", "q5", "q6") {
		a.Learn(l)
	}
	check(3, "0 with, 70 against, 0 unnamed: I am wrong")
	check(4, "0 with, 70 against, 0 unnamed: I am wrong")
	check(2, "0 with, 0 against, 0 unnamed: open")

	for _, last := range []struct {
		slot int
		v    string
	}{{4, "x4"}, {6, "p6"}} { // the second comes after the first
		a := NewAgreement(block("0"), value("genesis"), oneEpoch("a=70 b=30"))
		for _, l := range chainOf(1, "genesis", "p1", "p2", "p3", "p4") {
			a.Executed(l)
		}
		a.say("a", 3, 2, "p2")
		a.say("a", 4, 4, "x4")
		if last.slot > 4 {
			a.say("a", 7, last.slot, last.v)
		}
		if got := a.sums(t, 2); got != "0 with, 0 against, 0 unnamed: open" {
			t.Errorf("block 2, and the last report is of %d: %s", last.slot, got)
		}
	}
}
