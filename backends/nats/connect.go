package nats

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clusterchannel/clusterchannel/backend/params"
)

// Settings of the library that are no parameters.
const (
	connectTimeout = 2 * time.Second // for the dial, and again for the greeting
	writeTimeout   = 5 * time.Second // of a server that reads nothing
	pingInterval   = 1500 * time.Millisecond
	maxPings       = 2 // unanswered, and the link is lost
	retryMin       = 50 * time.Millisecond
	retryMax       = time.Second
)

// connect makes the connection. The library's callbacks hold c.
func (c *conn) connect(ctx context.Context, s settings) (*nats.Conn, error) {
	stop := context.AfterFunc(ctx, c.dialer.close)
	defer stop()
	nc, err := nats.Connect(s.urls(), append([]nats.Option{
		nats.Name(s.ClientName),
		nats.SetCustomDialer(c.dialer),
		nats.SkipHostLookup(), // the dialer looks up, within its time
		nats.Timeout(connectTimeout),
		nats.FlusherTimeout(writeTimeout),
		nats.ReconnectOnFlusherError(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1), // what is sent during an outage would leave after it, stale
		nats.CustomReconnectDelay(c.retry),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.link(lost(err)) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.link(lost(err)) }),
		nats.ReconnectHandler(c.reconnected),
		nats.ErrorHandler(c.troubled),
		nats.LameDuckModeHandler(c.leaving),
		nats.ClosedHandler(c.ended),
	}, s.access...)...)
	switch {
	case err == nil:
		return nc, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
	case errors.Is(err, nats.ErrNoServers):
		err = cmp.Or(c.dialer.failure(), err)
	}
	err = fmt.Errorf("%s%s: %s%w", params.Unnamed("servers", err), strings.Join(s.Servers, ", "), hint(err), err)
	if key := s.atFault(err); key != "" {
		return nil, params.Bad(key, "%w", err)
	}
	return nil, err
}

// urls returns the servers as the library wants them.
func (s settings) urls() string {
	return "nats://" + strings.ReplaceAll(strings.Join(s.Servers, ",nats://"), "%", "%25") // of an IPv6 zone
}

// hint says what to check, where the library's own error does not.
func hint(err error) string {
	timeout, is := errors.AsType[net.Error](err)
	switch {
	case isRefusal(err):
		return "the server refuses the credentials: "
	case errors.Is(err, nats.ErrNoInfoReceived):
		return "what answers there is no NATS server: "
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "the server does not encrypt: "
	case is && timeout.Timeout():
		return "nothing answers there as a NATS server does: "
	}
	return ""
}

// atFault returns the key that is wrong, or nothing if trying again may help.
func (s *settings) atFault(err error) string {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case isRefusal(err):
		return s.credentialsKey()
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "tls"
	case untrusted && s.TLS:
		return "tls_ca_file"
	case untrusted:
		return "tls"
	}
	return ""
}

func isRefusal(err error) bool {
	for _, refusal := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired, nats.ErrNkeysNotSupported,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// dialer makes the library's connections and cuts them. The library holds its
// lock while it dials, greets and writes; a cut is how Close, and a Broadcast
// whose context ends, get past that.
type dialer struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu   sync.Mutex
	conn net.Conn
	err  error // of the latest dial that failed
}

func newDialer() *dialer {
	d := &dialer{}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, connectTimeout)
	defer cancel()
	var nd net.Dialer
	conn, err := nd.DialContext(ctx, network, address)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.err = err
		return nil, err
	}
	d.cutLocked() // the library forgets to close a connection whose greeting failed
	d.conn = conn
	if d.ctx.Err() != nil {
		d.cutLocked()
	}
	return conn, nil
}

// cut breaks the connection; the library makes another one.
func (d *dialer) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutLocked()
}

func (d *dialer) cutLocked() {
	if d.conn != nil {
		_ = d.conn.Close() // the library may have closed it
	}
}

// close breaks the connection and allows no other.
func (d *dialer) close() {
	d.cancel()
	d.cut()
}

func (d *dialer) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}
