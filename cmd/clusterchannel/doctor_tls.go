package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/params/clienttls"
)

// soon is when a certificate that is about to expire is told.
const soon = 21 * 24 * time.Hour

// brokerTLS returns what a client is set to by a backend's parameters, nil without
// TLS.
func brokerTLS(p clienttls.Params, oldest string) func(host string) (*tls.Config, error) {
	return func(host string) (*tls.Config, error) {
		t, err := p.TLSConfig(oldest)
		if t != nil && t.ServerName == "" {
			t.ServerName = host
		}
		return t, err
	}
}

// secure makes a TLS handshake with each endpoint and looks at its chain. begin,
// if any, is what a protocol has before the handshake. It returns whether all
// went well.
func (d *doctor) secure(ctx context.Context, endpoints []string, config func(host string) (*tls.Config, error), begin func(net.Conn) error) bool {
	well := true
	for _, endpoint := range endpoints {
		host, _, _ := net.SplitHostPort(endpoint) // it was dialled before
		tried := "handshake with " + endpoint
		t, err := config(host)
		if err != nil {
			d.fail("tls", tried, err, "correct the file that is named")
			return false
		}
		d.ownCertificate(t)
		state, err := d.handshake(ctx, endpoint, t, begin)
		switch {
		case err != nil:
			d.fail("tls", tried, err, mendHandshake(err))
		case t.InsecureSkipVerify:
			d.warn("tls", tried, describe(state), "the certificate is not verified: anybody on the way can read along; set tls_skip_verify to false")
			continue
		default:
			err = d.verify(tried, t, state)
		}
		well = well && err == nil
	}
	return well
}

// handshake takes any certificate: which is wrong with one is for verify to say.
func (d *doctor) handshake(ctx context.Context, endpoint string, t *tls.Config, begin func(net.Conn) error) (tls.ConnectionState, error) {
	ctx, cancel := d.limit(ctx)
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

// verify tells whether the chain can be trusted, and for how long.
func (d *doctor) verify(tried string, t *tls.Config, state tls.ConnectionState) error {
	chain := state.PeerCertificates
	o := x509.VerifyOptions{Roots: t.RootCAs, DNSName: t.ServerName, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	got := describe(state)
	_, err := chain[0].Verify(o)
	switch {
	case err != nil:
		d.fail("tls", tried, fmt.Errorf("%w; %s", err, got), mendCertificate(err))
	case time.Until(chain[0].NotAfter) < soon:
		d.warn("tls", tried, got, "the certificate expires soon: renew it")
	default:
		d.ok("tls", tried, got)
	}
	return err
}

// describe shows the chain, each with its end.
func describe(state tls.ConnectionState) string {
	var chain []string
	for _, c := range state.PeerCertificates {
		chain = append(chain, fmt.Sprintf("%q by %q until %s", c.Subject, c.Issuer, c.NotAfter.UTC().Format(time.DateOnly)))
	}
	return tls.VersionName(state.Version) + "; " + strings.Join(chain, "; ")
}

// ownCertificate looks at the one that this node shows.
func (d *doctor) ownCertificate(t *tls.Config) {
	if t.GetClientCertificate == nil {
		return
	}
	const name, tried = "certificate", "read this node's own"
	pair, err := t.GetClientCertificate(nil)
	if err != nil {
		d.fail(name, tried, err, "correct the file that is named")
		return
	}
	leaf := pair.Leaf
	if leaf == nil { // by GODEBUG=x509keypairleaf=0
		if leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			d.fail(name, tried, err, "give another certificate")
			return
		}
	}
	got := fmt.Sprintf("%q until %s", leaf.Subject, leaf.NotAfter.UTC().Format(time.DateOnly))
	switch left := time.Until(leaf.NotAfter); {
	case left < 0:
		d.fail(name, tried, errors.New("it has expired: "+got), "renew it")
	case left < soon:
		d.warn(name, tried, got, "it expires soon: renew it")
	default:
		d.ok(name, tried, got)
	}
}

func mendHandshake(err error) string {
	var record tls.RecordHeaderError
	var alert *net.OpError
	switch {
	case errors.As(err, &record):
		return "what listens there does not speak TLS: turn tls off, or correct the port"
	case containsAny(err.Error(), "protocol version"):
		return "the two sides have no version of TLS in common: have the other one speak a newer one, or permit an older one here (tls_min_version)"
	case errors.As(err, &alert) && alert.Op == "remote error":
		return "the other side refuses: it may want a certificate of this node (tls_cert_file), or other cipher suites"
	}
	return "what listens there does not speak TLS, or speaks it with others only"
}

func mendCertificate(err error) string {
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "a certificate of the chain has expired, or is not valid yet: renew it, and mind the clock of this host"
	case errors.As(err, &name):
		return "the certificate is for another name: dial that, or give it as tls_server_name"
	}
	return "the authority that signed it is not trusted: give its certificate as tls_ca_file"
}
