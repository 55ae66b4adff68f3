package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// soon is how long before its end a certificate is worth a warning.
const soon = 21 * 24 * time.Hour

// Secure makes a TLS handshake with each endpoint, and checks its chain and the
// certificate that this node shows. config returns a client's configuration for
// that host, including its ServerName. begin, which may be nil, runs the
// protocol's steps before the handshake. Secure reports whether all went well.
func Secure(ctx context.Context, e driver.Examination, endpoints []string, config func(host string) (*tls.Config, error), begin func(net.Conn) error) bool {
	well := true
	for _, endpoint := range endpoints {
		tried := "handshake with " + endpoint
		host, _, err := net.SplitHostPort(endpoint)
		var t *tls.Config
		if err == nil {
			t, err = config(host)
		}
		if err != nil {
			e.Fail("tls", tried, err, "correct the file that is named")
			return false
		}
		ownCertificate(e, t)
		state, err := handshake(ctx, e, endpoint, t, begin)
		switch {
		case err != nil:
			e.Fail("tls", tried, err, fixHandshake(err))
		case t.InsecureSkipVerify:
			e.Warn("tls", tried, describe(state), "the certificate is not verified: anybody on the path can read the traffic; set tls_skip_verify to false")
			continue
		default:
			err = verify(e, tried, t, state)
		}
		well = well && err == nil
	}
	return well
}

// handshake accepts any certificate: verify says what is wrong with it.
func handshake(ctx context.Context, e driver.Examination, endpoint string, t *tls.Config, begin func(net.Conn) error) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close() //nolint:errcheck // only the handshake counts
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if begin != nil {
		if err := begin(conn); err != nil {
			return tls.ConnectionState{}, err
		}
	}
	open := t.Clone()
	open.InsecureSkipVerify = true
	secure := tls.Client(conn, open)
	if err := secure.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, err
	}
	return secure.ConnectionState(), nil
}

// verify reports whether the chain can be trusted, and for how long.
func verify(e driver.Examination, tried string, t *tls.Config, state tls.ConnectionState) error {
	chain := state.PeerCertificates
	o := x509.VerifyOptions{Roots: t.RootCAs, DNSName: t.ServerName, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	got := describe(state)
	_, err := chain[0].Verify(o)
	switch {
	case err != nil:
		e.Fail("tls", tried, fmt.Errorf("%w; %s", err, got), fixCertificate(err))
	case time.Until(chain[0].NotAfter) < soon:
		e.Warn("tls", tried, got, "the certificate expires soon: renew it")
	default:
		e.OK("tls", tried, got)
	}
	return err
}

// describe lists the chain, each certificate with its end.
func describe(state tls.ConnectionState) string {
	var chain []string
	for _, c := range state.PeerCertificates {
		chain = append(chain, fmt.Sprintf("%q by %q until %s", c.Subject, c.Issuer, c.NotAfter.UTC().Format(time.DateOnly)))
	}
	return tls.VersionName(state.Version) + "; " + strings.Join(chain, "; ")
}

// ownCertificate checks the certificate that this node shows.
func ownCertificate(e driver.Examination, t *tls.Config) {
	pair, err := ownPair(t)
	if pair == nil && err == nil {
		return
	}
	const name, tried = "certificate", "read this node's own"
	if err != nil {
		e.Fail(name, tried, err, "correct the file that is named")
		return
	}
	leaf := pair.Leaf
	if leaf == nil { // by GODEBUG=x509keypairleaf=0
		if leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			e.Fail(name, tried, err, "give another certificate")
			return
		}
	}
	got := fmt.Sprintf("%q until %s", leaf.Subject, leaf.NotAfter.UTC().Format(time.DateOnly))
	switch left := time.Until(leaf.NotAfter); {
	case left < 0:
		e.Fail(name, tried, errors.New("it has expired: "+got), "renew it")
	case left < soon:
		e.Warn(name, tried, got, "it expires soon: renew it")
	default:
		e.OK(name, tried, got)
	}
}

// ownPair returns the pair that this node shows; nil if it shows none.
func ownPair(t *tls.Config) (*tls.Certificate, error) {
	switch {
	case t.GetClientCertificate != nil:
		return t.GetClientCertificate(nil)
	case len(t.Certificates) > 0:
		return &t.Certificates[0], nil
	}
	return nil, nil
}

func fixHandshake(err error) string {
	var record tls.RecordHeaderError
	var alert *net.OpError
	switch {
	case errors.As(err, &record):
		return "what listens there does not speak TLS: turn tls off, or correct the port"
	case strings.Contains(err.Error(), "protocol version"):
		return "the two sides have no version of TLS in common: let the other side speak a newer one, or allow an older one here (tls_min_version)"
	case errors.As(err, &alert) && alert.Op == "remote error":
		return "the other side refuses: it may want a certificate from this node (tls_cert_file), or other cipher suites"
	}
	return "what listens there does not speak TLS, or only with other clients"
}

func fixCertificate(err error) string {
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "a certificate of the chain has expired, or is not valid yet: renew it, and check the clock of this host"
	case errors.As(err, &name):
		return "the certificate is for another name: dial that name, or give it as tls_server_name"
	}
	return "the authority that signed it is not trusted: give its certificate as tls_ca_file"
}
