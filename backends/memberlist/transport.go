package memberlist

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	ml "github.com/hashicorp/memberlist"
	"golang.org/x/time/rate"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/driver/loglimit"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// transport carries memberlist's packets and streams: UDP and TCP on one port,
// or TLS for both. It differs from memberlist's own in three ways: nothing of
// it is left after Shutdown, an unreachable member delays no other, and a
// refused connection is reported.
type transport struct {
	logger    *slog.Logger
	strangers *log.Logger // for what a stranger can provoke
	advertise netip.AddrPort
	ln        net.Listener
	udp       *net.UDPConn // nil with TLS
	tls       *tlsPackets  // nil without
	packets   chan *ml.Packet
	streams   chan net.Conn
	refused   func(addr string) // told when nothing listens there; must not block
	entrance  *entrance
	receiver  *receiver        // nil if messages are left to memberlist
	failures  loglimit.Limiter // of accept
	retries   *rate.Limiter    // counts failures

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]string        // open, in both directions; the address of those that this node opened
	dials   map[*dialing]struct{}      // connections that this node is opening
	awaited map[string][]chan struct{} // by address: closed when a stream to it has been handled
}

// How long making a connection may take, including the TLS handshake. Callers
// try again anyway. TCP repeats what was lost of it after a second, and then needs a
// moment for the answer.
const (
	dialTimeout    = 1200 * time.Millisecond
	dialTimeoutTLS = 3 * time.Second
)

const (
	packetBuffer  = 64 << 10 // the largest UDP packet
	receiveBuffer = 2 << 20  // of the UDP socket
)

// listen opens the port.
func listen(s settings, logger *slog.Logger, strangers *log.Logger) (*transport, error) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &transport{
		logger: logger, strangers: strangers, refused: func(string) {},
		packets: make(chan *ml.Packet), streams: make(chan net.Conn),
		entrance: &entrance{
			label: s.Label, opaque: s.keys != nil, timeout: s.TCPTimeout, sources: map[netip.Prefix]*source{},
			reject: func(driver.Reason, error) {}, leaving: func(string) {},
		},
		failures: loglimit.Limiter{Burst: 1, Every: 10 * time.Second},
		ctx:      ctx, cancel: cancel, conns: map[net.Conn]string{}, dials: map[*dialing]struct{}{}, awaited: map[string][]chan struct{}{}, retries: rate.NewLimiter(rate.Every(20*time.Millisecond), 1),
	}
	if s.tls != nil {
		var err error
		if t.tls, err = newTLSPackets(t, s.tls); err != nil {
			cancel()
			return nil, params.Bad("tls_config_file", "%v", err)
		}
	}
	if err := t.bind(s.listen); err != nil {
		cancel()
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, params.Bad("listen_address", "another process listens on %s: stop it, or choose another port (%w)", s.ListenAddress, err)
		}
		if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EINVAL) {
			return nil, params.Bad("listen_address", "%s cannot be used on this host: %w", s.ListenAddress, err)
		}
		return nil, fmt.Errorf("memberlist: %w: listen_address: %w", driver.ErrUnavailable, err)
	}
	return t, nil
}

// bind opens the sockets. A port that is free for TCP may be in use for UDP, so
// if any port will do it tries several.
func (t *transport) bind(at netip.AddrPort) error {
	tries := 1
	if at.Port() == 0 {
		tries = 10
	}
	var err error
	for range tries {
		var ln *net.TCPListener
		if ln, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at)); err != nil {
			return err
		}
		if t.tls != nil {
			t.ln = tls.NewListener(ln, t.tls.server)
			return nil
		}
		port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
		if t.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), port))); err == nil {
			t.ln = ln
			return nil
		}
		if cerr := ln.Close(); cerr != nil {
			return errors.Join(err, cerr)
		}
	}
	return err
}

// port returns the port that is listened on.
func (t *transport) port() uint16 { return t.ln.Addr().(*net.TCPAddr).AddrPort().Port() }

// start begins to read what comes in.
func (t *transport) start() {
	t.wg.Go(t.accept)
	if t.udp == nil {
		return
	}
	for size := receiveBuffer; size > packetBuffer && t.udp.SetReadBuffer(size) != nil; size /= 2 {
	}
	t.wg.Go(t.receive)
}

func (t *transport) accept() {
	for {
		conn, err := t.ln.Accept()
		if err != nil {
			if t.ctx.Err() != nil {
				return
			}
			if suppressed, ok := t.failures.Allow("accept"); ok {
				t.logger.Warn("accepting a connection failed", "err", err, "suppressed", suppressed)
			}
			t.failing()
			continue
		}
		from := sourceOf(conn)
		if !t.entrance.admit(from) {
			t.entrance.reject(driver.Overflow, fmt.Errorf("%d connections of %s are open", sourceConnections, from))
			_ = conn.Close() // the peer tries again
			continue
		}
		tracked, err := t.track(conn, "")
		if err != nil {
			t.entrance.leave(from)
			return
		}
		tracked.left = sync.OnceFunc(func() { t.entrance.leave(from) })
		if t.tls != nil {
			t.wg.Go(func() { t.tls.serve(tracked) })
			continue
		}
		t.wg.Go(func() { t.deliverStream(tracked) })
	}
}

// failing delays a caller that would try again at once.
func (t *transport) failing() { _ = t.retries.Wait(t.ctx) } // it ends early if the transport does

func (t *transport) receive() {
	buf := make([]byte, packetBuffer)
	for {
		n, from, err := t.udp.ReadFrom(buf)
		now := time.Now()
		switch {
		case t.ctx.Err() != nil:
			return
		case err != nil:
			t.logger.Debug("receiving a packet failed", "err", err)
			t.failing()
		case n > 0:
			t.deliverPacket(buf[:n], from, now)
		}
	}
}

// deliverPacket does not keep b.
func (t *transport) deliverPacket(b []byte, from net.Addr, at time.Time) {
	if t.receiver != nil && t.receiver.packet(b) {
		return
	}
	if b = t.entrance.packet(b, from); b == nil {
		return
	}
	select {
	case t.packets <- &ml.Packet{Buf: bytes.Clone(b), From: from, Timestamp: at}:
	case <-t.ctx.Done():
	}
}

func (t *transport) deliverStream(conn net.Conn) {
	in := t.entrance.stream(conn)
	if in == nil {
		_ = conn.Close() // there is nobody to tell
		return
	}
	if t.receiver != nil && t.receiver.stream(conn, in) {
		return
	}
	if conn = t.entrance.forMemberlist(conn, in); conn == nil {
		return
	}
	select {
	case t.streams <- conn:
	case <-t.ctx.Done():
		_ = conn.Close() // there is nobody to tell
	}
}

// FinalAdvertiseAddr returns the address found when the driver was opened.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

func (t *transport) PacketCh() <-chan *ml.Packet { return t.packets }

func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, ml.Address{Addr: addr})
}

// WriteToAddress does not block.
func (t *transport) WriteToAddress(b []byte, a ml.Address) (time.Time, error) {
	if t.tls != nil {
		return time.Now(), t.tls.write(b, a.Addr)
	}
	to, err := netip.ParseAddrPort(a.Addr)
	if err != nil {
		return time.Time{}, fmt.Errorf("address of a member: %w", err)
	}
	_, err = t.udp.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(ml.Address{Addr: addr}, timeout)
}

// DialAddressTimeout opens a stream, which is broken after timeout unless
// memberlist sets another deadline: it sets none for what it only writes.
func (t *transport) DialAddressTimeout(a ml.Address, timeout time.Duration) (net.Conn, error) {
	deadline := time.Now().Add(timeout)
	conn, err := t.open(a.Addr, timeout)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(deadline); err != nil {
		_ = conn.Close() // it is broken already
		return nil, err
	}
	return &stream{Conn: conn, transport: t, addr: a.Addr}, nil
}

// stream is a connection that this node opened. memberlist's other end closes
// it once it has handled what it read. Close waits for that, within the
// deadline, so that what one goroutine sends arrives in order, and no faster
// than it is handled. Its error says that what was written was not handled; after
// the deadline it may be yet.
type stream struct {
	net.Conn
	transport *transport
	addr      string
	wrote     bool
}

func (s *stream) Write(b []byte) (int, error) {
	s.wrote = true
	return s.Conn.Write(b)
}

func (s *stream) Close() (err error) {
	if s.wrote {
		if _, err = io.Copy(io.Discard, s.Conn); err == nil {
			s.transport.handled(s.addr)
		}
	}
	cerr := s.Conn.Close()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return cmp.Or(err, cerr)
}

func (t *transport) open(addr string, timeout time.Duration) (net.Conn, error) {
	if t.tls != nil {
		return t.tls.stream(addr, timeout)
	}
	return t.dial(addr, min(timeout, dialTimeout))
}

// dial makes a TCP connection.
func (t *transport) dial(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	defer t.beginDial(&dialing{addr, cancel})()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if errors.Is(err, syscall.ECONNREFUSED) {
		t.refused(addr)
	}
	if err != nil {
		return nil, err
	}
	tracked, err := t.track(conn, addr)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil { // it was abandoned before it was tracked
		_ = tracked.Close() // it was never used
		return nil, err
	}
	return tracked, nil
}

// dialing is a connection that this node is opening.
type dialing struct {
	addr   string
	cancel context.CancelFunc
}

// beginDial notes that a connection is being opened, until done is called.
func (t *transport) beginDial(d *dialing) (done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dials[d] = struct{}{}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.dials, d)
	}
}

// Shutdown closes everything and waits for the goroutines.
func (t *transport) Shutdown() error {
	t.cancel()
	if t.tls != nil {
		t.tls.settle()
	}
	err := t.ln.Close()
	if t.udp != nil {
		err = errors.Join(err, t.udp.Close())
	}
	t.mu.Lock()
	open := t.conns
	t.conns = nil
	t.mu.Unlock()
	for conn := range open {
		_ = conn.Close() // the other end notices anyway
	}
	t.wg.Wait()
	return err
}

// await has handled closed when a stream to addr has been handled there, until
// the function that it returns is called.
func (t *transport) await(addr string, handled chan struct{}) (end func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.awaited[addr] = append(t.awaited[addr], handled)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.awaited[addr] = slices.DeleteFunc(t.awaited[addr], func(c chan struct{}) bool { return c == handled }); len(t.awaited[addr]) == 0 {
			delete(t.awaited, addr)
		}
	}
}

// handled notes that the node at addr has handled a stream.
func (t *transport) handled(addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.awaited[addr] {
		close(c)
	}
	delete(t.awaited, addr)
}

// abandon ends the connections that this node has opened to addr, or is opening, since
// nobody is there any more.
func (t *transport) abandon(addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for d := range t.dials {
		if d.addr == addr {
			d.cancel()
		}
	}
	for conn, at := range t.conns {
		if at == addr {
			_ = conn.Close() // there is nobody to tell
		}
	}
}

// track makes sure that conn, which leads to addr if this node has opened it, is
// closed at Shutdown at the latest.
func (t *transport) track(conn net.Conn, addr string) (*trackedConn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns == nil {
		_ = conn.Close() // it was never used
		return nil, net.ErrClosed
	}
	t.conns[conn] = addr
	return &trackedConn{Conn: conn, transport: t, left: func() {}}, nil
}

type trackedConn struct {
	net.Conn
	transport *transport
	left      func()
}

func (c *trackedConn) Close() error {
	c.transport.mu.Lock()
	delete(c.transport.conns, c.Conn)
	c.transport.mu.Unlock()
	c.left()
	return c.Conn.Close()
}

var _ ml.NodeAwareTransport = (*transport)(nil)
