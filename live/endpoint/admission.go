package endpoint

import (
	"net/netip"
	"sync"

	"tutti/ledger"
)

// Limits of connections, streams and rates (FORMATS section 7, in a simple
// form).
const (
	stakedMax         = 2000 // connections of staked identities
	unstakedMax       = 2000 // and of all others
	stakedPerKey      = 16
	unstakedPerKey    = 8
	unstakedPerIP     = 64 // loopback is exempt
	streamsMin        = 128
	streamsMax        = 512
	streamsByStake    = 99_872
	unstakedRate      = 200 // streams a second of one connection; loopback is exempt
	unstakedBurst     = 20
	unstakedFrames    = 2000    // frames a second of one peer; loopback is exempt
	stakedCapacity    = 400_000 // streams a second that staked connections share by stake
	stakeShareDivisor = 50_000  // a smaller share of the stake counts as none
)

// Staking tells an identity's stake and the total. Both are zero if nothing
// is known.
type Staking func(ledger.Pubkey) (stake, total ledger.Lamports)

// share is what an identity's stake entitles it to.
type share struct {
	staked  bool
	streams int // concurrent
	rate    int // streams a second
}

func shareOf(stake, total ledger.Lamports) share {
	if total == 0 || stake < total/stakeShareDivisor || stake == 0 {
		return share{streams: streamsMin, rate: unstakedRate}
	}
	part := float64(stake) / float64(total) // not consensus: a float will do
	return share{
		staked:  true,
		streams: min(streamsMin+int(part*streamsByStake), streamsMax),
		rate:    max(int(part*stakedCapacity), unstakedRate+1),
	}
}

// admission is the table of one protocol's incoming connections.
type admission struct {
	mu       sync.Mutex
	staked   int
	unstaked []*guest // oldest first
	byKey    map[ledger.Pubkey]int
	byIP     map[netip.Addr]int
}

// guest is one admitted connection.
type guest struct {
	key   ledger.Pubkey
	ip    netip.Addr
	share share
	close func() // called without the lock when the guest must go
}

func newAdmission() *admission {
	return &admission{byKey: map[ledger.Pubkey]int{}, byIP: map[netip.Addr]int{}}
}

// admit takes g in or says why not. It may return another guest that has to
// make room and whose close the caller calls.
func (a *admission) admit(g *guest) (pruned *guest, refused Reason, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	perKey := unstakedPerKey
	if g.share.staked {
		perKey = stakedPerKey
	}
	switch {
	case a.byKey[g.key] >= perKey:
		return nil, TooManyFromKey, false
	case !g.share.staked && !g.ip.IsLoopback() && a.byIP[g.ip] >= unstakedPerIP:
		return nil, TooManyFromIP, false
	case g.share.staked && a.staked >= stakedMax:
		return nil, TooManyInAll, false
	}
	if g.share.staked {
		a.staked++
	} else {
		if len(a.unstaked) >= unstakedMax {
			pruned = a.unstaked[0]
			a.remove(pruned)
		}
		a.unstaked = append(a.unstaked, g)
	}
	a.byKey[g.key]++
	a.byIP[g.ip]++
	return pruned, 0, true
}

// leave takes g out again; a pruned guest is out already.
func (a *admission) leave(g *guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(g)
}

func (a *admission) remove(g *guest) {
	if g.share.staked {
		a.staked--
	} else {
		found := false
		for i, other := range a.unstaked {
			if other == g {
				a.unstaked = append(a.unstaked[:i], a.unstaked[i+1:]...)
				found = true
				break
			}
		}
		if !found {
			return
		}
	}
	if a.byKey[g.key]--; a.byKey[g.key] == 0 {
		delete(a.byKey, g.key)
	}
	if a.byIP[g.ip]--; a.byIP[g.ip] == 0 {
		delete(a.byIP, g.ip)
	}
}
