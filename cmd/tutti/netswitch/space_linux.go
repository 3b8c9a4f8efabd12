package netswitch

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Port is the switch's end of a TAP device. A Read and a Write of it move one
// frame.
type Port struct {
	*os.File
	space *os.File // namespace of the device; nil for that of this process
}

// NewPort makes a network namespace with a TAP device in it, or a device in
// this process' own namespace, which makes this process a neighbour of the
// others. The device has that address. The error says what the machine lacks.
func NewPort(name string, address netip.Prefix, own bool) (*Port, error) {
	if own {
		tap, err := newTAP(name, address)
		if err != nil {
			return nil, err
		}
		return &Port{File: tap}, nil
	}
	p := &Port{}
	done := make(chan error)
	go func() {
		// This thread is not unlocked: it ends with the goroutine, and nothing
		// else ever runs in its namespace by accident.
		runtime.LockOSThread()
		done <- p.make(name, address)
	}()
	if err := <-done; err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// make moves the calling thread into a new namespace.
func (p *Port) make(name string, address netip.Prefix) error {
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err != nil {
		return fmt.Errorf("make a network namespace: %w (needs root: CAP_SYS_ADMIN)", err)
	}
	if p.space, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	if err := bringUp("lo", netip.Prefix{}); err != nil {
		return err
	}
	p.File, err = newTAP(name, address)
	return err
}

// Enter moves the calling thread, which is locked to its goroutine, into the
// port's namespace, and with it the processes that the thread starts.
func (p *Port) Enter() error {
	if err := unix.Setns(int(p.space.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	return nil
}

// Close ends the device; its namespace ends with the processes in it.
func (p *Port) Close() error {
	var errs []error
	for _, f := range []*os.File{p.File, p.space} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

const tunPath = "/dev/net/tun"

// newTAP makes a device in the calling thread's namespace. It lives as long as
// the file is open.
func newTAP(name string, address netip.Prefix) (*os.File, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", tunPath, err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make TAP device %s: %w (needs root: CAP_NET_ADMIN)", name, err)
	}
	if err := bringUp(name, address); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), tunPath), nil
}

// bringUp gives a device an address, if there is one, and has it work.
func bringUp(name string, address netip.Prefix) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring up %s: %w", name, err)
	}
	defer unix.Close(fd)
	set := func(what uint, fill func(*unix.Ifreq) error) error {
		request, err := unix.NewIfreq(name)
		if err == nil {
			err = fill(request)
		}
		if err == nil {
			err = unix.IoctlIfreq(fd, what, request)
		}
		if err != nil {
			return fmt.Errorf("bring up %s: %w", name, err)
		}
		return nil
	}
	if address.IsValid() {
		ip := address.Addr().As4()
		if err := set(unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(ip[:]) }); err != nil {
			return err
		}
		mask := ^uint32(0) << (32 - address.Bits())
		if err := set(unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error {
			return r.SetInet4Addr([]byte{byte(mask >> 24), byte(mask >> 16), byte(mask >> 8), byte(mask)})
		}); err != nil {
			return err
		}
	}
	return set(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error {
		r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		return nil
	})
}
