package ledger_test

import (
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

func TestSlotKeys(t *testing.T) {
	rng := testkit.Rand(t)
	for range 1000 {
		u, lane := ledger.UserSlot(rng.Uint64()>>16), ledger.Lane(rng.IntN(ledger.LanesMax))
		k := ledger.UserKey(u, lane)
		gotU, gotLane := k.User()
		if !k.IsUser() || gotU != u || gotLane != lane || k.Slot() != u.Slot() {
			t.Fatalf("u %d, lane %d: %v", u, lane, k)
		}
		s := ledger.Slot(rng.Uint64() >> 1)
		if k := s.Key(); k.IsUser() || k.Slot() != s {
			t.Fatalf("slot %d: %v", s, k)
		}
	}
	// 1<<63 | lane<<48 | u (PROTOCOL section 4).
	if k := ledger.UserKey(7, 3); k != 0x8003_0000_0000_0007 {
		t.Errorf("%#x", uint64(k))
	}
}

func TestKeysInBase58(t *testing.T) {
	const vote = "Vote111111111111111111111111111111111111111"
	k, err := ledger.ParsePubkey(vote)
	if err != nil || k != ledger.VoteProgram || k.String() != vote {
		t.Errorf("%v, %v", k, err)
	}
	if s := ledger.SystemProgram.String(); s != "11111111111111111111111111111111" {
		t.Errorf("system program %s", s)
	}
	for _, bad := range []string{"", "1", vote + "1", vote[1:], "0" + vote[1:], "l" + vote[1:]} {
		if _, err := ledger.ParsePubkey(bad); err == nil {
			t.Errorf("%q is a key", bad)
		}
		if _, err := ledger.ParseHash(bad); err == nil {
			t.Errorf("%q is a hash", bad)
		}
	}
}

// TestBundleProgram: its address is the hash that its comment says.
func TestBundleProgram(t *testing.T) {
	if ledger.BundleProgram != ledger.Pubkey(ledger.Sum([]byte("tutti "), []byte("bundle program"))) {
		t.Error(ledger.BundleProgram)
	}
	t.Log(ledger.BundleProgram)
}

// FuzzBase58: no text makes the parsers of keys and hashes panic, and what
// they read is what String writes.
func FuzzBase58(f *testing.F) {
	for _, s := range []string{"11111111111111111111111111111111", key(3).String(), "", "0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ledger.ParsePubkey(s)
		h, errHash := ledger.ParseHash(s)
		if (err == nil) != (errHash == nil) {
			t.Fatalf("%q is one of key and hash: %v, %v", s, err, errHash)
		}
		if err == nil && (k.String() != s || h.String() != s) {
			t.Fatalf("%q is written %s", s, k)
		}
	})
}
