package cluster

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tutti/ledger"
)

// Contact is a node's own statement of where it can be reached. Its signature
// covers the genesis hash, so that it means nothing to another cluster.
type Contact struct {
	Identity ledger.Pubkey
	// Version is when the record was made, in Unix milliseconds. Of two
	// records of one identity the one with the higher version counts.
	Version      uint64
	Genesis      ledger.Hash
	ShredVersion uint16
	// Addr is the QUIC endpoint for other nodes, TPU the one for clients'
	// transactions, RPC and PubSub are HTTP and WebSocket. Each is host:port;
	// all but Addr may be empty.
	Addr, TPU, RPC, PubSub string
	// Software is name and version of what the node runs, for people.
	Software  string
	Signature ledger.Signature
}

// Bounds of a contact record, in bytes.
const (
	AddrMax        = 128
	SoftwareMax    = 32
	ContactSizeMax = 1 + 32 + 8 + 32 + 2 + 4*(1+AddrMax) + 1 + SoftwareMax + 64
)

// ErrContact is returned for what cannot stand in a contact record.
var ErrContact = errors.New("contact record")

const contactFormat = 1

// contactDomain stands before what is signed. Solana reserves first byte 255
// for messages that are no transactions.
const contactDomain = "\xfftutti contact"

// Sign sets the identity and the signature.
func (c *Contact) Sign(key ed25519.PrivateKey) {
	copy(c.Identity[:], key.Public().(ed25519.PublicKey))
	copy(c.Signature[:], ed25519.Sign(key, c.signed()))
}

// Verify tells whether the identity signed the record. Nodes need not agree on
// every forgery that a record could be, so the standard library's rule does
// whatever the ledger's is.
func (c *Contact) Verify() bool {
	return ed25519.Verify(c.Identity[:], c.signed(), c.Signature[:])
}

func (c *Contact) signed() []byte { return c.appendBody([]byte(contactDomain)) }

// Append writes the record: format u8 = 1, identity, version u64, genesis
// hash, shred version u16, Addr, TPU, RPC, PubSub and Software each as u8
// length and bytes, signature.
func (c *Contact) Append(b []byte) []byte {
	return append(c.appendBody(b), c.Signature[:]...)
}

func (c *Contact) appendBody(b []byte) []byte {
	b = append(b, contactFormat)
	b = append(b, c.Identity[:]...)
	b = appendU64(b, c.Version)
	b = append(b, c.Genesis[:]...)
	b = appendU16(b, c.ShredVersion)
	for _, s := range []string{c.Addr, c.TPU, c.RPC, c.PubSub, c.Software} {
		b = append(b, uint8(len(s)))
		b = append(b, s...)
	}
	return b
}

// Validate returns an error that names an address or a text that cannot stand
// in a record.
func (c *Contact) Validate() error {
	if c.Addr == "" {
		return fmt.Errorf("%w: no node address", ErrContact)
	}
	for _, a := range []struct{ name, addr string }{
		{"node", c.Addr}, {"tpu", c.TPU}, {"rpc", c.RPC}, {"pubsub", c.PubSub},
	} {
		if a.addr != "" && !validAddr(a.addr) {
			return fmt.Errorf("%w: %s address is not host:port", ErrContact, a.name)
		}
	}
	if len(c.Software) > SoftwareMax || !printable(c.Software) {
		return fmt.Errorf("%w: software is not %d printable characters", ErrContact, SoftwareMax)
	}
	return nil
}

// readContact reads one record without checking its signature.
func readContact(r *reader) Contact {
	var c Contact
	if f := r.u8("format"); f != contactFormat {
		r.fail("format %d, want %d", f, contactFormat)
	}
	c.Identity = r.key("identity")
	c.Version = r.u64("version")
	c.Genesis = r.key("genesis")
	c.ShredVersion = r.u16("shred version")
	for _, s := range []*string{&c.Addr, &c.TPU, &c.RPC, &c.PubSub, &c.Software} {
		*s = string(r.take(uint64(r.u8("length")), "text"))
	}
	copy(c.Signature[:], r.take(64, "signature"))
	if r.err == nil {
		r.err = c.Validate()
	}
	return c
}

func validAddr(s string) bool {
	colon := strings.LastIndexByte(s, ':')
	if colon < 1 || len(s) > AddrMax || !printable(s) {
		return false
	}
	port, err := strconv.ParseUint(s[colon+1:], 10, 16)
	return err == nil && port > 0
}

// printable tells whether a string is ASCII without blanks and controls.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
