package bench

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"tutti/cmd/tutti/load"
)

// answering starts a node that answers every call of a method with one
// result, and others with an error.
func answering(t *testing.T, method, result string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"`+method+`"`) {
			fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}`)
			return
		}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"result":%s}`, result)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// Nodes tell each other's addresses; where none does, transfers go to the
// named nodes by JSON-RPC.
func TestDiscover(t *testing.T) {
	silent := answering(t, "getVersion", `{}`)
	told := answering(t, "getClusterNodes", `[{"pubkey":"A","tpuQuic":"127.0.0.1:9","rpc":"127.0.0.1:8"},{"pubkey":"B","tpuQuic":null}]`)
	n := network{urls: []string{silent, told}}
	got := n.discover(t.Context())
	if want := (load.Node{Name: "A", QUIC: netip.MustParseAddrPort("127.0.0.1:9"), RPC: "127.0.0.1:8"}); len(got) != 1 || got[0] != want {
		t.Errorf("%+v", got)
	}
	n.urls = []string{silent}
	got = n.discover(t.Context())
	if want := (load.Node{Name: silent, RPC: silent}); len(got) != 1 || got[0] != want {
		t.Errorf("%+v", got)
	}
}

// A node that does not answer is left out; if none does, the run ends.
func TestMeasureLeavesOutTheSilent(t *testing.T) {
	up, down := answering(t, "getVersion", `{}`), answering(t, "none", `{}`)
	n := network{}
	if err := n.measure(t.Context(), []load.Node{{Name: "down", RPC: down}, {Name: "up", RPC: up}}); err != nil || len(n.targets) != 1 || n.targets[0].Name != "up" {
		t.Errorf("%+v, %v", n.targets, err)
	}
	n = network{}
	if err := n.measure(t.Context(), []load.Node{{Name: "down", RPC: down}}); err == nil {
		t.Error("a cluster without nodes was taken")
	}
}

// What the sampler understands is what nodes answer.
func TestAskAbout(t *testing.T) {
	url := answering(t, "getSignatureStatuses", `{"context":{"slot":9},"value":[null,
		{"slot":8,"confirmations":1,"status":{"Err":"AccountNotFound"},"err":"AccountNotFound","confirmationStatus":"processed","level":"executed"},
		{"slot":8,"confirmations":null,"status":{"Ok":null},"err":null,"confirmationStatus":"finalized","level":"safe"}],
		"levels":["recorded","executed","safe"]}`)
	c := newCounts(load.Steps([]int{1}, 1, 0))
	s := newSampler(&network{}, c, load.Whole)
	list := []*sample{{id: 1}, {id: 2}, {id: 3}}
	for _, x := range list {
		x.fate.At = 1 << 62 // never too old
	}
	s.askAbout(t.Context(), url, list)
	if f := list[0].fate; !f.Accepted || f.Recorded == 0 || f.Confirmed != 0 || f.Executed != 0 {
		t.Errorf("recorded: %+v", f)
	}
	if f := list[1].fate; f.Ending != load.Failed || f.Executed == 0 || f.Confirmed != 0 {
		t.Errorf("failed: %+v", f)
	}
	if f := list[2].fate; f.Ending != load.OK || f.Confirmed == 0 || !list[2].over || list[1].over {
		t.Errorf("safe: %+v", f)
	}
}
