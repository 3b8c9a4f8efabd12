package endpoint

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"tutti/ledger"
)

// Application protocols (PROTOCOL section 6).
const (
	// ALPNNode is spoken between validators.
	ALPNNode = "tutti-node/1"
	// ALPNTransactions is Solana's: one transaction per unidirectional
	// stream.
	ALPNTransactions = "solana-tpu"
)

// The certificate is Solana's: 249 fixed bytes around the public key
// (FORMATS section 7). Its signature is 64 bytes of 0xFF, which nobody
// checks: that the peer holds the key is proved by TLS 1.3's
// CertificateVerify. crypto/tls takes it as it is, so no certificate has to
// be made.
var (
	certificateHead = []byte{
		0x30, 0x81, 0xf6, // certificate
		0x30, 0x81, 0xa9, // to be signed
		0xa0, 0x03, 0x02, 0x01, 0x02, // version 3
		0x02, 0x08, 1, 1, 1, 1, 1, 1, 1, 1, // serial number
		0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, // Ed25519
		0x30, 0x16, 0x31, 0x14, 0x30, 0x12, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x0b, // issuer, common name
		'S', 'o', 'l', 'a', 'n', 'a', ' ', 'n', 'o', 'd', 'e',
		0x30, 0x20, // validity
		0x17, 0x0d, '7', '0', '0', '1', '0', '1', '0', '0', '0', '0', '0', '0', 'Z',
		0x18, 0x0f, '4', '0', '9', '6', '0', '1', '0', '1', '0', '0', '0', '0', '0', '0', 'Z',
		0x30, 0x00, // empty subject
		0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, // public key
	}
	certificateTail = []byte{
		0xa3, 0x29, 0x30, 0x27, // extensions
		0x30, 0x17, 0x06, 0x03, 0x55, 0x1d, 0x11, 0x01, 0x01, 0xff, 0x04, 0x0d, 0x30, 0x0b, 0x82, 0x09,
		'l', 'o', 'c', 'a', 'l', 'h', 'o', 's', 't',
		0x30, 0x0c, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x02, 0x30, 0x00, // no authority
		0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, // Ed25519
		0x03, 0x41, 0x00, // signature follows
	}
)

// ErrIdentity is returned when a peer's certificate does not carry the
// expected Ed25519 key.
var ErrIdentity = errors.New("wrong peer identity")

// Certificate returns the DER bytes of the certificate that carries key
// (FORMATS section 7).
func Certificate(key ledger.Pubkey) []byte {
	der := slices.Concat(certificateHead, key[:], certificateTail)
	for range ed25519.SignatureSize {
		der = append(der, 0xff)
	}
	return der
}

// identity returns the key of the one certificate that the peer showed.
func identity(state tls.ConnectionState) (ledger.Pubkey, error) {
	var key ledger.Pubkey
	if n := len(state.PeerCertificates); n != 1 {
		return key, fmt.Errorf("%w: %d certificates, want 1", ErrIdentity, n)
	}
	return certificateKey(state.PeerCertificates[0])
}

func certificateKey(cert *x509.Certificate) (ledger.Pubkey, error) {
	var key ledger.Pubkey
	pub, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok {
		return key, fmt.Errorf("%w: certificate with a key of type %T, want Ed25519", ErrIdentity, cert.PublicKey)
	}
	copy(key[:], pub)
	return key, nil
}

// baseTLS is what server and client have in common.
func baseTLS(key ed25519.PrivateKey) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{{
			Certificate: [][]byte{Certificate(ledger.Pubkey(key.Public().(ed25519.PublicKey)))},
			PrivateKey:  key,
		}},
		MinVersion:             tls.VersionTLS13,
		CurvePreferences:       []tls.CurveID{tls.X25519},
		SessionTicketsDisabled: true,
	}
}

// serverTLS demands a certificate of every client.
func serverTLS(key ed25519.PrivateKey) *tls.Config {
	c := baseTLS(key)
	c.NextProtos = []string{ALPNNode, ALPNTransactions}
	c.ClientAuth = tls.RequireAnyClientCert
	c.VerifyConnection = func(state tls.ConnectionState) error {
		_, err := identity(state)
		return err
	}
	return c
}

// clientTLS pins the server's key to want, unless that is nil. There is no
// chain to verify: the key is the identity.
func clientTLS(key ed25519.PrivateKey, alpn string, addr netip.AddrPort, want *ledger.Pubkey) *tls.Config {
	c := baseTLS(key)
	c.NextProtos = []string{alpn}
	c.ServerName = fmt.Sprintf("%s.%d.sol", addr.Addr().Unmap(), addr.Port())
	if !addr.Addr().Unmap().Is4() {
		c.ServerName = "node.sol" // an IPv6 address is no host name
	}
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(state tls.ConnectionState) error {
		got, err := identity(state)
		if err == nil && want != nil && got != *want {
			err = fmt.Errorf("%w: %s, want %s", ErrIdentity, got, *want)
		}
		return err
	}
	return c
}
