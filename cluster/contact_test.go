package cluster

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tutti/internal/testkit"
	"tutti/ledger"
)

var testNow = time.Unix(0, testT0)

// contact returns the signed record of a test key pair, made age before
// testNow.
func contact(i int, age time.Duration) Contact {
	c := Contact{
		Version:      millis(testNow.Add(-age)),
		Genesis:      ledger.Hash{1},
		ShredVersion: 7,
		Addr:         "127.0.0.1:8001",
		TPU:          "[::1]:8002",
		RPC:          "node.example:8899",
		Software:     "tutti/0.1",
	}
	c.Sign(signer(i))
	return c
}

func table(own int) *Contacts { return NewContacts(contact(own, 0)) }

func insert(t *testing.T, c *Contacts, r Contact) {
	t.Helper()
	if fresh, err := c.Insert(r, testNow); !fresh || err != nil {
		t.Fatalf("insert: %v %v", fresh, err)
	}
}

// parseContact reads one record, as it stands in a message, with its signature.
func parseContact(b []byte) (Contact, error) {
	g, err := ParseGossip(append([]byte{byte(Push), 1}, b...))
	if err != nil {
		return Contact{}, err
	}
	return g.Records[0], nil
}

func TestContactRoundTrip(t *testing.T) {
	c := contact(1, 0)
	b := c.Append(nil)
	got, err := parseContact(b)
	if err != nil || got != c {
		t.Fatalf("%+v, %v", got, err)
	}
	longest := contact(1, 0)
	longest.Addr = strings.Repeat("a", AddrMax-2) + ":1"
	longest.TPU, longest.RPC, longest.PubSub = longest.Addr, longest.Addr, longest.Addr
	longest.Software = strings.Repeat("s", SoftwareMax)
	longest.Sign(signer(1))
	if b := longest.Append(nil); len(b) != ContactSizeMax {
		t.Errorf("longest record has %d bytes", len(b))
	} else if _, err := parseContact(b); err != nil {
		t.Error(err)
	}
}

// Nothing in a record can be changed without its owner, and it means nothing
// outside its domain.
func TestContactSignature(t *testing.T) {
	c := contact(1, 0)
	b := c.Append(nil)
	for i := range b {
		changed := bytes.Clone(b)
		changed[i] ^= 1
		if _, err := parseContact(changed); !errors.Is(err, ErrGossip) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	bare := c
	copy(bare.Signature[:], ed25519.Sign(signer(1), c.appendBody(nil)))
	if bare.Verify() {
		t.Error("a signature without the domain is accepted")
	}
}

func TestContactRefuses(t *testing.T) {
	for name, change := range map[string]func(c *Contact){
		"no address":      func(c *Contact) { c.Addr = "" },
		"no port":         func(c *Contact) { c.TPU = "127.0.0.1" },
		"port 0":          func(c *Contact) { c.TPU = "127.0.0.1:0" },
		"port 65536":      func(c *Contact) { c.RPC = "127.0.0.1:65536" },
		"no host":         func(c *Contact) { c.RPC = ":80" },
		"a blank":         func(c *Contact) { c.PubSub = "a b:80" },
		"a control":       func(c *Contact) { c.Software = "a\nb" },
		"a long address":  func(c *Contact) { c.Addr = strings.Repeat("a", AddrMax) + ":1" },
		"a long software": func(c *Contact) { c.Software = strings.Repeat("a", SoftwareMax+1) },
	} {
		c := contact(1, 0)
		change(&c)
		c.Sign(signer(1))
		if _, err := parseContact(c.Append(nil)); !errors.Is(err, ErrGossip) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContactsInsert(t *testing.T) {
	c := table(0)
	later := contact(1, time.Minute)
	insert(t, c, contact(1, 2*time.Minute))
	insert(t, c, later)
	change := func(f func(r *Contact)) Contact {
		r := contact(2, 0)
		f(&r)
		r.Sign(signer(2))
		return r
	}
	for name, x := range map[string]struct {
		r    Contact
		want error
	}{
		"the same again":       {later, nil},
		"an older one":         {contact(1, 3*time.Minute), nil},
		"the own":              {contact(0, -time.Minute), nil},
		"another genesis":      {change(func(r *Contact) { r.Genesis[0]++ }), ErrOtherCluster},
		"another version":      {change(func(r *Contact) { r.ShredVersion++ }), ErrOtherVersion},
		"11 minutes ahead":     {contact(2, -11*time.Minute), ErrFromFuture},
		"aged, without stake":  {contact(2, ContactAge+time.Second), ErrStale},
		"the end of all times": {change(func(r *Contact) { r.Version = 1<<64 - 1 }), ErrFromFuture},
	} {
		if fresh, err := c.Insert(x.r, testNow); fresh || !errors.Is(err, x.want) {
			t.Errorf("%s: %v %v, want %v", name, fresh, err, x.want)
		}
	}
	if got, ok := c.records[later.Identity]; !ok || got != later || c.Len() != 1 {
		t.Errorf("%d records, %+v", c.Len(), got)
	}
	insert(t, c, contact(2, -9*time.Minute)) // skewed clocks are allowed
}

func TestContactsExpire(t *testing.T) {
	c := table(0)
	for i := 1; i <= 4; i++ {
		insert(t, c, contact(i, time.Duration(i)*time.Minute))
	}
	staked := contact(4, 0).Identity
	c.SetStaked([]Node{{Key: staked, Stake: 1}})
	gone := c.Expire(testNow.Add(ContactAge - 90*time.Second))
	want := []ledger.Pubkey{contact(2, 0).Identity, contact(3, 0).Identity}
	slices.SortFunc(want, func(a, b ledger.Pubkey) int { return bytes.Compare(a[:], b[:]) })
	if !slices.Equal(gone, want) || c.Len() != 2 {
		t.Errorf("forgot %v, want %v", gone, want)
	}
	if _, ok := c.records[staked]; !ok {
		t.Error("a node with stake was forgotten")
	}
}

// A full table has room for nodes with stake only; those without make it.
func TestContactsFull(t *testing.T) {
	c := table(0)
	record := func(i int, version uint64) Contact { // Insert does not look at signatures
		r := contact(0, 0)
		r.Identity, r.Version = key("crowd", i), version
		return r
	}
	now := millis(testNow)
	for i := range ContactsMax {
		insert(t, c, record(i, now-uint64(i%1000)))
	}
	if _, err := c.Insert(record(ContactsMax, now), testNow); !errors.Is(err, ErrTableFull) {
		t.Fatalf("into a full table: %v", err)
	}
	insert(t, c, record(5, now+1)) // a newer record of a known node
	newcomer := record(ContactsMax, now)
	c.SetStaked([]Node{{Key: newcomer.Identity}, {Key: key("crowd", 999)}})
	insert(t, c, newcomer)
	if c.Len() != ContactsMax {
		t.Fatalf("%d records", c.Len())
	}
	if _, ok := c.records[key("crowd", 999)]; !ok {
		t.Error("a node with stake made room")
	}
	missing := 0
	for i := range ContactsMax {
		if _, ok := c.records[key("crowd", i)]; !ok {
			if missing++; i%1000 != 998 && i%1000 != 999 {
				t.Errorf("record %d made room, though it was not the oldest", i)
			}
		}
	}
	if missing != 1 {
		t.Errorf("%d records made room", missing)
	}
	if !slices.IsSortedFunc(c.order, func(a, b ledger.Pubkey) int {
		return bytes.Compare(a[:], b[:])
	}) {
		t.Error("records are out of order")
	}
}

// News is pushed once, the own record first, in bounded messages.
func TestPush(t *testing.T) {
	rng := testkit.Rand(t)
	c := table(0)
	if to, _ := c.Push(rng); to != nil {
		t.Error("pushed to nobody")
	}
	for i := 1; i <= 100; i++ {
		insert(t, c, contact(i, 0))
	}
	var pushed []ledger.Pubkey
	for {
		to, g := c.Push(rng)
		if len(to) == 0 {
			break
		}
		if len(to) > pushPeers || len(g.Records) > GossipRecordsMax {
			t.Fatalf("%d records to %d peers", len(g.Records), len(to))
		}
		for _, r := range g.Records {
			pushed = append(pushed, r.Identity)
		}
	}
	if len(pushed) != 101 || pushed[0] != c.own.Identity {
		t.Errorf("%d records pushed", len(pushed))
	}
	insert(t, c, contact(7, -time.Second))
	if _, g := c.Push(rng); len(g.Records) != 1 || g.Records[0] != contact(7, -time.Second) {
		t.Errorf("a renewed record: %d records", len(g.Records))
	}
}

// Nodes that know only an entrypoint come to know everybody, through bytes,
// by push and by pull, and then fall silent.
func TestGossipConverges(t *testing.T) {
	rng := testkit.Rand(t)
	const n = 40
	nodes := make(map[ledger.Pubkey]*Contacts)
	var order []ledger.Pubkey
	for i := range n {
		c := table(i)
		k := c.own.Identity
		nodes[k], order = c, append(order, k)
	}
	send := func(to ledger.Pubkey, g Gossip) Gossip {
		b := g.Append(nil)
		if len(b) > GossipSizeMax {
			t.Fatalf("message of %d bytes", len(b))
		}
		got, err := ParseGossip(b)
		if err != nil {
			t.Fatal(err)
		}
		if got.Kind == PullRequest {
			answer, _ := nodes[to].Answer(got)
			return answer
		}
		if _, err := nodes[to].Apply(got, testNow); err != nil {
			t.Fatal(err)
		}
		return Gossip{}
	}
	for _, k := range order[1:] { // the first is everybody's entrypoint
		if k != order[0] {
			send(order[0], nodes[k].Greeting())
			send(k, nodes[order[0]].Greeting())
		}
	}
	complete := func() bool {
		for _, c := range nodes {
			if c.Len() != n-1 {
				return false
			}
		}
		return true
	}
	round := 0
	for ; !complete(); round++ {
		if round == 30 {
			t.Fatal("not everybody knows everybody after 30 rounds")
		}
		for _, k := range order {
			to, g := nodes[k].Push(rng)
			for _, p := range to {
				send(p, g)
			}
			to, g = nodes[k].Pull(rng)
			for _, p := range to {
				if answer := send(p, g); len(answer.Records) > 0 {
					send(k, answer)
				}
			}
		}
	}
	t.Logf("%d rounds", round)
	for _, k := range order {
		for range 20 {
			nodes[k].Push(rng)
		}
		to, g := nodes[k].Pull(rng)
		if answer, ok := nodes[to[0]].Answer(g); ok {
			t.Errorf("an answer of %d records to a node that knows all", len(answer.Records))
		}
	}
}

// The ranges of a large table's pulls cover all identities.
func TestPullRanges(t *testing.T) {
	rng := testkit.Rand(t)
	c := table(0)
	for i := range 5000 {
		r := contact(0, 0)
		r.Identity = key("crowd", i)
		insert(t, c, r)
	}
	held := make(map[ledger.Pubkey]bool)
	var at ledger.Pubkey
	for range 100 {
		_, g := c.Pull(rng)
		if g.From != at || len(g.Held) > GossipHeldMax || len(g.Append(nil)) > GossipSizeMax {
			t.Fatalf("range from %v, want %v; %d held", g.From, at, len(g.Held))
		}
		if back, err := ParseGossip(g.Append(nil)); err != nil || !slices.Equal(back.Held, g.Held) {
			t.Fatal(err)
		}
		for _, h := range g.Held {
			held[h.Identity] = true
		}
		if at = g.To; g.To == lastKey {
			break
		}
	}
	if at != lastKey || len(held) != 5001 {
		t.Errorf("ranges end at %v with %d records", at, len(held))
	}
	if _, g := c.Pull(rng); g.From != (ledger.Pubkey{}) {
		t.Error("the ranges do not start again")
	}
}

func TestParseGossipRefuses(t *testing.T) {
	pull := Gossip{Kind: PullRequest, From: ledger.Pubkey{1}, To: ledger.Pubkey{3}}
	held := func(first ...byte) (out []Held) {
		for _, b := range first {
			out = append(out, Held{Identity: ledger.Pubkey{b}})
		}
		return out
	}
	forged := contact(1, 0)
	forged.Signature[0] ^= 1
	request := func(h []Held) Gossip {
		g := pull
		g.Held = h
		return g
	}
	for name, g := range map[string]Gossip{
		"kind 0":            {},
		"out of order":      request(held(2, 1)),
		"twice":             request(held(2, 2)),
		"below the range":   request([]Held{{}}),
		"above the range":   request(held(4)),
		"too many held":     {Kind: PullRequest, To: lastKey, Held: manyHeld(GossipHeldMax + 1)},
		"too many records":  {Kind: Push, Records: slices.Repeat([]Contact{contact(1, 0)}, GossipRecordsMax+1)},
		"a wrong signature": {Kind: Push, Records: []Contact{forged}},
	} {
		if _, err := ParseGossip(g.Append(nil)); !errors.Is(err, ErrGossip) {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole := Gossip{Kind: PullResponse, Records: []Contact{contact(1, 0), contact(2, 0)}}
	b := whole.Append(nil)
	if _, err := ParseGossip(b); err != nil {
		t.Fatal(err)
	}
	for n := range b {
		if _, err := ParseGossip(b[:n]); !errors.Is(err, ErrGossip) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	if _, err := ParseGossip(append(b, 0)); !errors.Is(err, ErrGossip) {
		t.Error("a byte too many")
	}
	if _, err := ParseGossip(make([]byte, GossipSizeMax+1)); !errors.Is(err, ErrGossip) {
		t.Error("a message too long")
	}
}

func manyHeld(n int) []Held {
	out := make([]Held, n)
	for i := range out {
		out[i].Identity = ledger.Pubkey{byte(i >> 8), byte(i)}
	}
	return out
}

// FuzzContact: no bytes make the reader of records panic, and those that
// it reads are the ones that Append writes. The signature is left out.
func FuzzContact(f *testing.F) {
	c := contact(1, 0)
	f.Add(c.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			r := &reader{b: b}
			c := readContact(r)
			if r.done() != nil {
				return nil
			}
			return func() []byte { return c.Append(nil) }
		})
	})
}

// FuzzParseGossip: no bytes make the reader of messages panic, and those that
// it reads are the ones that Append writes. The signatures are left out.
func FuzzParseGossip(f *testing.F) {
	push := Gossip{Kind: Push, Records: []Contact{contact(1, 0), contact(2, 0)}}
	f.Add(push.Append(nil))
	pull := Gossip{Kind: PullRequest, To: lastKey, Held: manyHeld(3)}
	f.Add(pull.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		testkit.Decode(t, b, func(b []byte) func() []byte {
			g, err := readGossip(b)
			if err != nil {
				return nil
			}
			return func() []byte { return g.Append(nil) }
		})
		_, err := readGossip(b)
		if _, parseErr := ParseGossip(b); parseErr == nil && err != nil {
			t.Error("accepted what does not parse")
		}
	})
}
