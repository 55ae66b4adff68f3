// Package testca signs the certificates of tests.
package testca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// Authority signs certificates.
type Authority struct {
	PEM []byte // its own certificate

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New returns an authority that signs itself.
func New(t testkit.TB) *Authority {
	t.Helper()
	a := &Authority{key: newKey(t)}
	a.cert = template()
	a.cert.IsCA, a.cert.BasicConstraintsValid, a.cert.KeyUsage = true, true, x509.KeyUsageCertSign
	a.PEM = a.sign(t, a.cert, &a.key.PublicKey)
	return a
}

// Issue returns a certificate and its key in PEM, for an hour, for either end of
// a connection, for 127.0.0.1 and the names.
func (a *Authority) Issue(t testkit.TB, names ...string) (cert, key []byte) {
	t.Helper()
	return a.IssueUntil(t, time.Now().Add(time.Hour), names...)
}

// IssueUntil is Issue with another end, which may be up to an hour ago.
func (a *Authority) IssueUntil(t testkit.TB, until time.Time, names ...string) (cert, key []byte) {
	t.Helper()
	private := newKey(t)
	c := template()
	c.NotAfter = until
	c.DNSNames, c.IPAddresses, c.KeyUsage = names, []net.IP{net.IPv4(127, 0, 0, 1)}, x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return a.sign(t, c, &private.PublicKey), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (a *Authority) sign(t testkit.TB, c *x509.Certificate, key *ecdsa.PublicKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key, a.key)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func newKey(t testkit.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return key
}

func template() *x509.Certificate {
	name := rand.Text() // so that no two authorities look the same
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}
