package redis

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/params"
)

// timeout bounds each step of talking with a server: connecting, with TLS, and
// each reply.
const timeout = 3 * time.Second

// dialer makes all connections of a driver. They end with life: go-redis cannot
// otherwise be interrupted while it waits for a reply.
type dialer struct {
	life   context.Context
	params Params
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	raw, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := &socket{TCPConn: raw.(*net.TCPConn)}
	conn.release = context.AfterFunc(d.life, func() { _ = conn.TCPConn.Close() })
	if !d.params.TLS {
		return conn, nil
	}
	secure, err := d.handshake(ctx, conn, addr)
	if err != nil {
		_ = conn.Close() // the error that counts is the handshake's
		return nil, err
	}
	return secure, nil
}

func (d *dialer) handshake(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	c, err := d.params.serverTLS(host) // read again, so that replaced files take effect
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, c)
	return secure, secure.HandshakeContext(ctx)
}

// serverTLS returns the TLS configuration for a server of that host, from the
// files as they are now; nil without TLS. Its error wraps driver.ErrConfig.
func (p *Params) serverTLS(host string) (*tls.Config, error) {
	c, err := p.TLSConfigFor(host, p.TLSMinVersion)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if c == nil {
		return nil, nil
	}
	if c.CipherSuites, err = p.cipherSuites(); err != nil {
		return nil, err
	}
	return c, nil
}

// socket is a connection that life may end.
type socket struct {
	*net.TCPConn
	release func() bool
}

func (s *socket) Close() error {
	s.release()
	return s.TCPConn.Close()
}

// cipherSuites returns the numbers of the allowed suites; none when Go chooses.
func (p *Params) cipherSuites() ([]uint16, error) {
	var allowed []uint16
	suites := slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites())
	for _, name := range p.TLSCipherSuites {
		i := slices.IndexFunc(suites, func(s *tls.CipherSuite) bool { return s.Name == name })
		if i < 0 {
			return nil, params.Bad("tls_cipher_suites", "%q is not one of %s", name, suiteNames())
		}
		allowed = append(allowed, suites[i].ID)
	}
	return allowed, nil
}

func suiteNames() string {
	var names []string
	for _, s := range tls.CipherSuites() {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}
