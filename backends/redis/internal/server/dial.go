package server

import (
	"context"
	"crypto/tls"
	"net"
)

// dialer makes all connections of a client. They end with life: go-redis cannot
// otherwise be interrupted while it waits for a reply.
type dialer struct {
	life context.Context
	tls  func(host string) (*tls.Config, error)
}

// Dialer returns the function that makes each connection. It ends with life.
func (c *Config) Dialer(life context.Context) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&dialer{life, c.TLS}).dial
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	raw, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := &socket{TCPConn: raw.(*net.TCPConn)}
	conn.release = context.AfterFunc(d.life, func() { _ = conn.TCPConn.Close() })
	if d.tls == nil {
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
	c, err := d.tls(host) // read again, so that replaced files take effect
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, c)
	return secure, secure.HandshakeContext(ctx)
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
