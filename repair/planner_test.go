package repair

import (
	"slices"
	"testing"
	"time"

	"tutti/ledger"
)

var start = time.Unix(1_700_000_000, 0)

func peer(i byte) ledger.Pubkey { return ledger.Pubkey{i} }

// TestRetry: the same question is asked again only after a while, and until
// it is forgotten the planner knows how often.
func TestRetry(t *testing.T) {
	p := NewPlanner()
	s := Subject{Kind: Shreds, Key: 7, Root: root("a")}
	other := Subject{Kind: Spine, Key: 7, Root: root("a")}
	check := func(after time.Duration, s Subject, tries int, ok bool) {
		t.Helper()
		if n, may := p.Try(start.Add(after), s); n != tries || may != ok {
			t.Fatalf("after %v: %d tries, %v; want %d, %v", after, n, may, tries, ok)
		}
	}
	check(0, s, 0, true)
	p.Ask(start, s, 1, peer(1))
	check(0, s, 1, false)
	check(RetryAfter-1, s, 1, false)
	check(RetryAfter-1, other, 0, true)
	check(RetryAfter, s, 1, true)
	p.Ask(start.Add(RetryAfter), s, 1, peer(2))
	check(2*RetryAfter-1, s, 2, false)
	check(2*RetryAfter, s, 2, true)
	p.Forget(start.Add(RetryAfter + subjectAge - 1))
	check(RetryAfter+subjectAge, s, 2, true)
	p.Forget(start.Add(RetryAfter + subjectAge))
	check(RetryAfter+subjectAge, s, 0, true)
}

// TestBackOff: while many requests are under way, what nobody seems to have is
// asked for ever less often, so that it does not take the place of others.
func TestBackOff(t *testing.T) {
	for _, many := range []bool{false, true} {
		p := NewPlanner()
		s := Subject{Kind: Spine, Key: 7, Root: root("ghost")}
		want, at := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, []int{} // in units of RetryAfter
		if many {
			want = []int{0, 1, 2, 3, 5, 9}
		}
		for i := range 12 {
			now := start.Add(time.Duration(i) * RetryAfter)
			p.Forget(now)
			for other := range ledger.SlotKey(fewOutstanding / 4) {
				if many {
					p.Ask(now, Subject{Kind: Highest, Key: other}, 0, peer(2))
				}
			}
			if _, ok := p.Try(now, s); ok {
				p.Ask(now, s, 0, peer(1))
				at = append(at, i)
			}
		}
		if !slices.Equal(at, want) {
			t.Errorf("many under way %t: asked at %v, want %v", many, at, want)
		}
	}
}

// TestAnswered: an answer counts once, and from the peer that was asked.
func TestAnswered(t *testing.T) {
	p := NewPlanner()
	s := Subject{Kind: Shreds, Key: 7, Root: root("a")}
	first := p.Ask(start, s, 3, peer(1))
	second := p.Ask(start.Add(RetryAfter), s, 5, peer(2))
	if first != (Request{Nonce: first.Nonce, Kind: Shreds, Key: 7, Root: root("a"), Mask: 3}) || first.Nonce == second.Nonce {
		t.Fatalf("%+v, %+v", first, second)
	}
	for _, c := range []struct {
		what string
		r    Request
		from byte
		want bool
	}{
		{"from another peer", first, 2, false},
		{"never asked for", Request{Nonce: 99}, 1, false},
		{"late, while another was asked", first, 1, true},
		{"twice", first, 1, false},
		{"the second peer's", second, 2, true},
	} {
		if got, ok := p.Answered(c.r.Nonce, peer(c.from)); ok != c.want || ok && got != c.r {
			t.Errorf("%s: %+v %v", c.what, got, ok)
		}
	}
	third := p.Ask(start, s, 3, peer(1))
	p.Forget(start.Add(forgetAfter))
	if _, ok := p.Answered(third.Nonce, peer(1)); ok {
		t.Error("an answer counts although its request was forgotten")
	}
}

// TestOutstanding: no more than OutstandingMax requests are under way, until
// some are answered or forgotten.
func TestOutstanding(t *testing.T) {
	p := NewPlanner()
	for i := range OutstandingMax {
		s := Subject{Kind: Highest, Key: ledger.SlotKey(i)}
		if _, ok := p.Try(start, s); !ok {
			t.Fatalf("request %d is refused", i)
		}
		p.Ask(start, s, 0, peer(1))
	}
	next := Subject{Kind: Highest, Key: OutstandingMax}
	if _, ok := p.Try(start.Add(RetryAfter), Subject{Kind: Highest, Key: 1}); ok {
		t.Fatal("a second try, while many requests are under way")
	}
	if _, ok := p.Try(start, next); ok {
		t.Fatal("too many requests are under way")
	}
	if _, ok := p.Answered(1, peer(1)); !ok {
		t.Fatal("the first request is not under way")
	}
	if _, ok := p.Try(start, next); !ok {
		t.Fatal("an answer makes no room")
	}
	p.Ask(start, next, 0, peer(1))
	p.Forget(start.Add(subjectAge))
	if len(p.open) != 0 || len(p.subjects) != 0 {
		t.Fatalf("%d requests and %d subjects are not forgotten", len(p.open), len(p.subjects))
	}
}
