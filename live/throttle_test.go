package live

import (
	"testing"
	"time"
)

// A machine that can do 1000 a second, and is late while it is given more,
// ends up near that whatever is offered.
func TestThrottleFindsWhatANodeCanDo(t *testing.T) {
	for _, tc := range []struct {
		offered   int // a second
		low, high float64
	}{
		{500, 500, 500},
		{1000, 900, 1000},
		{2000, 750, 1050},
		{20_000, 750, 1050},
	} {
		var th throttle
		const capacity = 1000
		now := time.Unix(0, 0)
		backlog, taken := 0.0, 0
		step := time.Second / time.Duration(tc.offered)
		const runs, warm = 30, 10 // seconds
		for i := range tc.offered * runs {
			now = now.Add(step)
			backlog = max(0, backlog-capacity*step.Seconds())
			if th.admit(now) {
				backlog++
				if i >= tc.offered*warm {
					taken++
				}
			}
			th.note(time.Duration(backlog / capacity * float64(time.Second)))
		}
		if rate := float64(taken) / (runs - warm); rate < tc.low || rate > tc.high {
			t.Errorf("%d offered a second: %v taken, want %v to %v", tc.offered, rate, tc.low, tc.high)
		}
	}
}

// What comes over QUIC waits, is taken in batches, and none are taken while the
// verifier is busy, for whatever that takes: a second of lateness costs little
// more than that second.
func TestThrottleComesBackAfterAStall(t *testing.T) {
	for _, busy := range []time.Duration{0, 150 * time.Millisecond, 300 * time.Millisecond} {
		const offered = 1500 // a second
		var th throttle
		now := time.Unix(0, 0)
		waiting := 0
		var taken, refused [5]int // in each second
		next := now               // when the verifier looks again
		for i := range offered * len(taken) {
			now = now.Add(time.Second / offered)
			second := i / offered
			if second == 1 {
				th.note(time.Second)
			}
			if th.room(now, waiting) {
				waiting++
			} else {
				refused[second]++
			}
			if now.Before(next) {
				continue
			}
			next = now.Add(20 * time.Millisecond)
			if second == 1 && i%offered < offered/2 {
				next = now.Add(max(busy, 20*time.Millisecond))
			}
			n := th.take(now, waiting)
			waiting -= n
			taken[second] += n
		}
		if taken[0] < offered*9/10 || taken[1] > offered*2/3 || taken[3] < offered*3/4 || taken[4] < offered*9/10 || refused[0] > 0 || refused[4] > 0 {
			t.Errorf("busy for %v: taken in each second, %d offered, late in the second one: %d, refused %d", busy, offered, taken, refused)
		}
	}
}

// A node that is not late takes bursts, and what comes for long.
func TestThrottleLetsIdleNodesAlone(t *testing.T) {
	var th throttle
	now := time.Unix(0, 0)
	th.note(time.Hour) // a node that starts
	for range throttleBurst {
		if !th.admit(now) {
			t.Fatal("a burst is refused")
		}
	}
	var over throttle // QUIC
	over.note(time.Hour)
	for waiting := range throttleBurst {
		if !over.room(now, waiting) {
			t.Fatalf("a burst is refused when %d wait", waiting)
		}
	}
	refused := 0
	for i := range 200_000 { // 10 000 a second
		now = now.Add(100 * time.Microsecond)
		if i == 100_000 {
			th.note(30 * time.Millisecond) // one bad moment
		}
		if !th.admit(now) {
			refused++
		}
	}
	if refused > 1500 {
		t.Errorf("%d refused", refused)
	}
}

// A node that was late for long, and idle since, takes what comes.
func TestThrottleForgetsInASilence(t *testing.T) {
	for _, silence := range []time.Duration{10 * time.Second, 10 * time.Minute} {
		var th throttle
		now := time.Unix(0, 0)
		for range 6000 * 20 {
			now = now.Add(time.Second / 6000)
			th.note(time.Second)
			th.admit(now)
		}
		now = now.Add(silence)
		refused := 0
		for range 6000 * 3 {
			now = now.Add(time.Second / 6000)
			if !th.admit(now) {
				refused++
			}
		}
		if refused > 0 {
			t.Errorf("%d refused after %v", refused, silence)
		}
	}
}

// What piled up while a node read nothing says nothing of what clients want: a node
// that can do half of that since is late for little longer than without the pile.
func TestThrottleIsNotMisledByAPile(t *testing.T) {
	const offered, capacity = 6000, 3000 // a second
	lateFor := func(stall time.Duration) (late time.Duration) {
		var th throttle
		now := time.Unix(0, 0)
		waiting, backlog, piled := 0, 0.0, 0
		for i := range offered * 20 {
			step := time.Second / offered
			now = now.Add(step)
			at := now.Sub(time.Unix(5, 0))
			can := 2 * offered
			if at > 0 {
				can = capacity
			}
			piled++
			if at > 0 && at < stall {
				th.take(now, 0)
				continue // nothing is read
			}
			backlog = max(0, backlog-float64(can)*step.Seconds())
			for ; piled > 0; piled-- {
				if th.room(now, waiting) {
					waiting++
				}
			}
			if i%60 == 0 { // a verifier's round
				n := th.take(now, waiting)
				waiting -= n
				backlog += float64(n)
			}
			behind := time.Duration(backlog / float64(can) * float64(time.Second))
			th.note(behind)
			if behind > 200*time.Millisecond {
				late += step
			}
		}
		return late
	}
	without := lateFor(0)
	for _, stall := range []time.Duration{150 * time.Millisecond, time.Second} {
		if late := lateFor(stall); late > without+time.Second {
			t.Errorf("late for %v after a stall of %v, %v without one", late, stall, without)
		}
	}
}

// A node that had no time reads nothing of what clients send: that they seemed to
// want nothing in the moment of lateness costs no more than the moment.
func TestThrottleForgetsALateMomentWithoutClients(t *testing.T) {
	const offered = 1500 // a second
	var th throttle
	now := time.Unix(0, 0)
	waiting, most := 0, 0
	var refused [5]int // in each second
	sum := 0
	for i := range offered * len(refused) {
		now = now.Add(time.Second / offered)
		arrived := 1
		if at := now.Sub(time.Unix(2, 0)); at > 0 && at < 250*time.Millisecond {
			th.note(at)
			arrived = 0
			if at > 200*time.Millisecond {
				arrived = 5 // what piled up
			}
		}
		for range arrived {
			if th.room(now, waiting) {
				waiting++
			} else {
				refused[i/offered]++
				sum++
			}
		}
		most = max(most, waiting)
		waiting -= th.take(now, waiting)
	}
	if sum > offered/20 {
		t.Errorf("refused in each second %d, late at the beginning of the third; at most %d waited", refused, most)
	}
}
