package memberlist

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// tlsPackets speaks Alertmanager's TLS transport. Every connection begins with a
// frame. After one that opens a stream the connection is memberlist's; one with a
// packet may be followed by more.
//
// Alertmanager's own code is not used: it keeps goroutines and connections
// after its shutdown, and while it waits for an unreachable member it holds a
// lock that all packets need. Its reader drops what shares a TLS record with an
// earlier frame, so each frame, and whatever follows it, is written separately.
type tlsPackets struct {
	transport *transport
	file      *tlsFile
	server    *tls.Config
	client    *tls.Config // as the file was read first

	mu    sync.Mutex
	links map[string]*tlsLink // by address, while a goroutine writes to it
}

// tlsLink is a connection for packets.
type tlsLink struct {
	packets chan []byte
	dead    chan struct{} // closed when it is given up
}

const (
	tlsQueue      = 1024 // packets that wait for one member; what does not fit is lost, as packets may be
	tlsIdle       = time.Minute
	tlsFirstFrame = 10 * time.Second
)

func newTLSPackets(t *transport, file *tlsFile) (*tlsPackets, error) {
	server, client, err := file.configs()
	if err != nil {
		return nil, err
	}
	return &tlsPackets{transport: t, file: file, server: server, client: client, links: map[string]*tlsLink{}}, nil
}

// connect makes a connection and ends the handshake.
func (p *tlsPackets) connect(addr string, timeout time.Duration) (net.Conn, error) {
	timeout = min(timeout, dialTimeoutTLS)
	deadline := time.Now().Add(timeout)
	raw, err := p.transport.dial(addr, timeout)
	if err != nil {
		return nil, err
	}
	c, err := p.file.Client.config()
	if err != nil {
		c = p.client.Clone()
	}
	if host, _, err := net.SplitHostPort(addr); err == nil && c.ServerName == "" {
		c.ServerName = host
	}
	conn := tls.Client(raw, c)
	err = conn.SetDeadline(deadline)
	if err == nil {
		err = conn.Handshake()
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = raw.Close() // the error that counts is the handshake's
		return nil, err
	}
	return conn, nil
}

// stream opens a stream.
func (p *tlsPackets) stream(addr string, timeout time.Duration) (net.Conn, error) {
	conn, err := p.connect(addr, timeout)
	if err != nil {
		return nil, err
	}
	if err := writeTLSFrame(conn, tlsFrame{kind: tlsStream}); err != nil {
		_ = conn.Close() // the error that counts is the write's
		return nil, err
	}
	return conn, nil
}

// write queues a packet. It does not block.
func (p *tlsPackets) write(b []byte, addr string) error {
	b = append([]byte(nil), b...)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.transport.ctx.Err() != nil {
		return net.ErrClosed
	}
	link := p.links[addr]
	if link == nil {
		link = &tlsLink{make(chan []byte, tlsQueue), make(chan struct{})}
		p.links[addr] = link
		p.transport.wg.Go(func() { p.run(addr, link) })
	}
	select {
	case link.packets <- b:
		return nil
	default:
		return fmt.Errorf("%d packets wait for %s already", tlsQueue, addr)
	}
}

// run writes the packets for one member, until there are none for a while or
// the member cannot be reached.
func (p *tlsPackets) run(addr string, link *tlsLink) {
	err := p.pump(addr, link)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.links[addr] == link {
		delete(p.links, addr)
	}
	if lost := len(link.packets); lost > 0 {
		p.transport.logger.Debug("packets were lost", "to", addr, "packets", lost, "err", err)
	}
}

// giveUp has further packets to addr go by another connection: a firewall may have
// forgotten the one that there is, which shows in nothing but that answers are missing.
func (p *tlsPackets) giveUp(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if link := p.links[addr]; link != nil {
		close(link.dead)
		delete(p.links, addr)
	}
}

func (p *tlsPackets) pump(addr string, link *tlsLink) error {
	conn, err := p.connect(addr, dialTimeoutTLS)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // packets may be lost
	idle := time.NewTimer(tlsIdle)
	defer idle.Stop()
	for {
		select {
		case b := <-link.packets:
			idle.Reset(tlsIdle)
			err := conn.SetWriteDeadline(time.Now().Add(dialTimeoutTLS))
			if err == nil {
				err = writeTLSFrame(conn, tlsFrame{kind: tlsPacket, from: p.transport.advertise.String(), packet: b})
			}
			if err != nil {
				return err
			}
		case <-idle.C:
			return nil
		case <-link.dead:
			return nil
		case <-p.transport.ctx.Done():
			return net.ErrClosed
		}
	}
}

// settle waits for calls of write that may still start a goroutine.
func (p *tlsPackets) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
}

// serve reads what comes in over conn.
func (p *tlsPackets) serve(conn net.Conn) {
	if err := conn.SetDeadline(time.Now().Add(tlsFirstFrame)); err != nil {
		_ = conn.Close() // it is broken already
		return
	}
	in := bufio.NewReader(conn)
	for first := true; ; first = false {
		f, err := readTLSFrame(in)
		if err == nil && first {
			err = conn.SetDeadline(time.Time{})
		}
		if err == nil && f.kind == tlsStream {
			p.transport.deliverStream(&bufferedConn{Conn: conn, in: in})
			return
		}
		var from netip.AddrPort
		if err == nil {
			from, err = netip.ParseAddrPort(f.from)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.transport.strangers.Printf("[WARN] a TLS connection was closed: %v from=%s", err, conn.RemoteAddr())
			}
			_ = conn.Close() // the other end makes another one
			return
		}
		p.transport.deliverPacket(f.packet, net.TCPAddrFromAddrPort(from), time.Now())
	}
}

// bufferedConn reads first what was read ahead.
type bufferedConn struct {
	net.Conn
	in *bufio.Reader
}

func (c *bufferedConn) Read(b []byte) (int, error) { return c.in.Read(b) }
