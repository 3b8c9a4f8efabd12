//go:build !linux

package netswitch

import (
	"errors"
	"net/netip"
	"os"
)

// Port is a device of a network namespace.
type Port struct{ *os.File }

// NewPort fails: only Linux has network namespaces.
func NewPort(string, netip.Prefix, bool) (*Port, error) {
	return nil, errors.New("network namespaces need Linux")
}

// Enter is for the ports that NewPort makes.
func (p *Port) Enter() error { return errors.ErrUnsupported }
