package bench

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tutti/cluster"
	"tutti/cmd/tutti/load"
	"tutti/cmd/tutti/setup"
	"tutti/ledger"
	"tutti/live/endpoint"
)

const (
	// dials is how often a node is dialled to find out how far it is.
	dials       = 3
	dialTimeout = 3 * time.Second
	// callers is how many transfers are sent by JSON-RPC to a node at once.
	callers = 32
)

// target is a node that transfers are sent to: over QUIC, or by JSON-RPC if
// its QUIC address is not known.
type target struct {
	load.Node
	// rtt is the fastest of some QUIC handshakes, or HTTP requests: a little
	// more than one round trip.
	rtt time.Duration
}

// network is what a benchmark knows about the nodes.
type network struct {
	urls    []string // JSON-RPC
	targets []target
	nodes   []load.Node      // all of a devnet
	genesis *cluster.Genesis // of a devnet
	key     ed25519.PrivateKey
}

// connect finds the nodes, measures how far they are, and picks those that
// transfers go to.
func connect(ctx context.Context, o *Options) (*network, error) {
	c := &network{urls: o.URLs}
	var err error
	if _, c.key, err = ed25519.GenerateKey(nil); err != nil {
		return nil, fmt.Errorf("make the generator's key: %w", err)
	}
	var nodes []load.Node
	switch {
	case o.Devnet != "":
		nodes, err = c.openDevnet(o.Devnet)
	case len(o.TPUs) > 0:
		nodes, err = resolve(o.TPUs)
	default:
		nodes = c.discover(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := c.measure(ctx, nodes); err != nil {
		return nil, err
	}
	if o.Nearest {
		nearest := slices.MinFunc(c.targets, func(a, b target) int { return int(a.rtt - b.rtt) })
		c.targets = []target{nearest}
	}
	return c, nil
}

func (c *network) openDevnet(dir string) ([]load.Node, error) {
	nodes, err := load.ReadNodes(dir)
	if err != nil {
		return nil, setup.Errorf("%w", err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "genesis.bin"))
	if err != nil {
		return nil, setup.Errorf("%w", err)
	}
	if c.genesis, err = cluster.ParseGenesis(raw); err != nil {
		return nil, setup.Errorf("%s: %w", dir, err)
	}
	c.nodes = nodes
	for _, n := range nodes {
		c.urls = append(c.urls, n.RPC)
	}
	return nodes, nil
}

// resolve finds the addresses of nodes named by the user.
func resolve(names []string) (nodes []load.Node, err error) {
	for _, name := range names {
		addr, err := net.ResolveUDPAddr("udp", name)
		if err != nil {
			return nil, setup.Errorf("--tpu %s: %w", name, err)
		}
		nodes = append(nodes, load.Node{Name: name, QUIC: addr.AddrPort()})
	}
	return nodes, nil
}

// discover asks for the cluster's nodes. If nobody tells QUIC addresses,
// transfers go to the named nodes by JSON-RPC.
func (c *network) discover(ctx context.Context) (nodes []load.Node) {
	for _, url := range c.urls {
		var list []struct {
			Pubkey  string
			TPUQUIC string `json:"tpuQuic"`
			RPC     string
		}
		if load.Call(ctx, url, "getClusterNodes", "[]", &list) != nil {
			continue
		}
		for _, n := range list {
			if addr, err := netip.ParseAddrPort(n.TPUQUIC); err == nil {
				nodes = append(nodes, load.Node{Name: n.Pubkey, QUIC: addr, RPC: n.RPC})
			}
		}
		if len(nodes) > 0 {
			return nodes
		}
	}
	for _, url := range c.urls {
		nodes = append(nodes, load.Node{Name: url, RPC: url})
	}
	return nodes
}

// measure keeps the nodes that answer.
func (c *network) measure(ctx context.Context, nodes []load.Node) error {
	times := make([]time.Duration, len(nodes))
	failures := make([]error, len(nodes))
	var wait sync.WaitGroup
	for i := range nodes {
		wait.Go(func() { times[i], failures[i] = c.roundTrip(ctx, &nodes[i]) })
	}
	wait.Wait()
	for i, n := range nodes {
		if failures[i] == nil {
			c.targets = append(c.targets, target{n, times[i]})
		}
	}
	if len(c.targets) == 0 {
		return fmt.Errorf("no node answers: %w", errors.Join(failures...))
	}
	return nil
}

// roundTrip returns the time of the fastest of some requests to a node.
func (c *network) roundTrip(ctx context.Context, n *load.Node) (fastest time.Duration, err error) {
	for i := range dials {
		start := time.Now()
		if err := c.greet(ctx, n); err != nil {
			return 0, err
		}
		if took := time.Since(start); i == 0 || took < fastest {
			fastest = took
		}
	}
	return fastest, nil
}

// greet makes a connection, or a request if the node is reached by JSON-RPC.
func (c *network) greet(ctx context.Context, n *load.Node) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if !n.QUIC.IsValid() {
		var version any
		return load.Call(ctx, n.RPC, "getVersion", "[]", &version)
	}
	client, err := endpoint.DialTransactions(ctx, n.QUIC, c.key)
	if err != nil {
		return err
	}
	_ = client.Close() // it has done its work
	return nil
}

// blockhash gets one from the first node that has one.
func (c *network) blockhash(ctx context.Context) (h ledger.Hash, err error) {
	for _, url := range c.urls {
		if h, err = load.LatestBlockhash(ctx, url); err == nil {
			return h, nil
		}
	}
	return h, err
}

// call asks the nodes in turn until one answers. params is JSON.
func (c *network) call(ctx context.Context, method, params string, result any) (err error) {
	for _, url := range c.urls {
		if err = load.Call(ctx, url, method, params, result); err == nil {
			return nil
		}
	}
	return err
}

// submit sends a transaction by JSON-RPC.
func submit(ctx context.Context, url string, raw []byte) error {
	var params bytes.Buffer
	fmt.Fprintf(&params, `[%q,{"encoding":"base64","skipPreflight":true}]`, base64.StdEncoding.EncodeToString(raw))
	var signature string
	return load.Call(ctx, url, "sendTransaction", params.String(), &signature)
}

// refuser takes note of refusals, which only JSON-RPC tells the sender.
type refuser interface {
	refused(id load.TxID, reason string)
}

// senders starts a sender for each target. They stop when ctx is done, and
// wait returns when they have.
func (c *network) senders(ctx context.Context, m meter) (queues []chan load.Transfer, wait func()) {
	var group sync.WaitGroup
	for _, t := range c.targets {
		queue := make(chan load.Transfer, load.SendQueue)
		queues = append(queues, queue)
		if t.QUIC.IsValid() {
			s := load.Sender{Addr: t.QUIC, Key: c.key, Queue: queue, Unsent: m.Unsent}
			group.Go(func() { s.Run(ctx) })
			continue
		}
		r := m.(refuser) // transfers go by JSON-RPC only where a sampler follows
		for range callers {
			group.Go(func() { sendByCall(ctx, t.RPC, queue, r) })
		}
	}
	return queues, group.Wait
}

func sendByCall(ctx context.Context, url string, queue <-chan load.Transfer, r refuser) {
	for {
		select {
		case <-ctx.Done():
			return
		case tx := <-queue:
			if err := submit(ctx, url, tx.Raw); err != nil {
				r.refused(tx.ID, err.Error())
			}
		}
	}
}
