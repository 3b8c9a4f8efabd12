package devnet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"

	"tutti/cmd/tutti/netswitch"
)

// network is a devnet's own network: each validator stands in a network
// namespace, and the frames between them pass through a switch in this
// process, which is a neighbour of all of them itself. Its own link is never
// disturbed.
type network struct {
	ports  []*netswitch.Port // the validators' and, last, this process'
	spans  netip.Prefix
	links  netswitch.Link // between validators that are not cut off
	on     *netswitch.Switch
	passes sync.WaitGroup
}

// Ports of every validator in its namespace.
const (
	spaceQUIC = 8001
	spaceRPC  = rpcPortDefault
)

// newNetwork makes a network of so many validators. What fails is lacking on
// this machine.
func newNetwork(validators int, links netswitch.Link) (*network, error) {
	n := &network{links: links}
	var err error
	if n.spans, err = freeSpan(); err != nil {
		return nil, err
	}
	var ports []io.ReadWriter
	for i := range validators + 1 {
		name, own := "eth0", i == validators
		if own {
			name = fmt.Sprintf("tutti%d", os.Getpid())
		}
		p, err := netswitch.NewPort(name, netip.PrefixFrom(n.address(i), n.spans.Bits()), own)
		if err != nil {
			return nil, errors.Join(err, n.close())
		}
		n.ports, ports = append(n.ports, p), append(ports, p)
	}
	n.on = netswitch.New(ports)
	for i := range validators {
		n.part([]int{i}, false, false)
	}
	n.passes.Go(n.on.Run)
	return n, nil
}

// freeSpan returns addresses that no device of this machine has, of those set
// aside for tests of networks (RFC 2544).
func freeSpan() (netip.Prefix, error) {
	taken, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("list addresses: %w", err)
	}
next:
	for third := range 256 {
		span := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(third), 0}), 24)
		for _, a := range taken {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Overlaps(span) {
				continue next
			}
		}
		return span, nil
	}
	return netip.Prefix{}, errors.New("198.18.0.0/16 has no free addresses: stop other devnets")
}

// address returns that of a port.
func (n *network) address(port int) netip.Addr {
	b := n.spans.Addr().As4()
	b[3] = byte(port + 1)
	return netip.AddrFrom4(b)
}

// part cuts validators off from all others that are not among them, or ends
// that; oneWay lets them hear the others.
func (n *network) part(nodes []int, cut, oneWay bool) {
	among := map[int]bool{}
	for _, i := range nodes {
		among[i] = true
	}
	off := n.links
	off.Cut = cut
	back := n.links
	back.Cut = cut && !oneWay
	for i := range among {
		for j := range len(n.ports) - 1 {
			if !among[j] {
				n.on.Set(i, j, off)
				n.on.Set(j, i, back)
			}
		}
	}
}

// close ends the network; the namespaces end with the last validators.
func (n *network) close() error {
	var errs []error
	for _, p := range n.ports {
		errs = append(errs, p.Close())
	}
	n.passes.Wait()
	return errors.Join(errs...)
}
