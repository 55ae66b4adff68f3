package memberlist

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	amcluster "github.com/prometheus/alertmanager/cluster"
	"github.com/prometheus/alertmanager/cluster/clusterpb"
	"github.com/prometheus/common/config"
	"github.com/prometheus/exporter-toolkit/web"
	"google.golang.org/protobuf/proto"
)

// tlsPackets speaks Alertmanager's TLS transport. Every connection begins with a
// frame: a length in four bytes, little endian, and a MemberlistMessage. After
// one of kind STREAM the connection is memberlist's; one of kind PACKET is a
// packet, and more may follow.
//
// Alertmanager's own code is not used, for it keeps goroutines and connections
// after its shutdown, and waits for a peer that is away with a lock held that
// all packets to all peers need. Its reader drops what shares a TLS record with
// an earlier frame, so each frame, and whatever follows it, is written apart.
type tlsPackets struct {
	transport *transport
	server    *tls.Config
	client    *tls.Config

	mu    sync.Mutex
	links map[string]chan []byte // by address, while a goroutine writes to it
}

const (
	tlsVersion    = "v0.1.0"
	tlsMaxFrame   = packetBuffer + 1024
	tlsQueue      = 1024 // packets that wait for one peer; what does not fit is lost, as packets may be
	tlsIdle       = time.Minute
	tlsFirstFrame = 10 * time.Second
)

func newTLSPackets(t *transport, c *amcluster.TLSTransportConfig) (*tlsPackets, error) {
	server, err := web.ConfigToTLSConfig(c.TLSServerConfig)
	if err != nil {
		return nil, fmt.Errorf("tls_server_config: %w", err)
	}
	client, err := config.NewTLSConfig(c.TLSClientConfig)
	if err != nil {
		return nil, fmt.Errorf("tls_client_config: %w", err)
	}
	return &tlsPackets{transport: t, server: server, client: client, links: map[string]chan []byte{}}, nil
}

// connect makes a connection and ends the handshake.
func (p *tlsPackets) connect(addr string, timeout time.Duration) (net.Conn, error) {
	timeout = min(timeout, dialTimeoutTLS)
	deadline := time.Now().Add(timeout)
	raw, err := p.transport.dial(addr, timeout)
	if err != nil {
		return nil, err
	}
	c := p.client.Clone()
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
	if err := writeTLSFrame(conn, &clusterpb.MemberlistMessage{Version: tlsVersion, Kind: clusterpb.MemberlistMessage_STREAM}); err != nil {
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
		link = make(chan []byte, tlsQueue)
		p.links[addr] = link
		p.transport.wg.Go(func() { p.run(addr, link) })
	}
	select {
	case link <- b:
		return nil
	default:
		return fmt.Errorf("%d packets wait for %s already", tlsQueue, addr)
	}
}

// run writes the packets for one peer, until there are none for a while or the
// peer cannot be reached.
func (p *tlsPackets) run(addr string, link chan []byte) {
	err := p.pump(addr, link)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, addr)
	if lost := len(link); lost > 0 {
		p.transport.logger.Debug("packets were lost", "peer", addr, "packets", lost, "err", err)
	}
}

func (p *tlsPackets) pump(addr string, link chan []byte) error {
	conn, err := p.connect(addr, dialTimeoutTLS)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // packets may be lost
	idle := time.NewTimer(tlsIdle)
	defer idle.Stop()
	for {
		select {
		case b := <-link:
			idle.Reset(tlsIdle)
			err := conn.SetWriteDeadline(time.Now().Add(dialTimeoutTLS))
			if err == nil {
				err = writeTLSFrame(conn, &clusterpb.MemberlistMessage{
					Version: tlsVersion, Kind: clusterpb.MemberlistMessage_PACKET,
					FromAddr: p.transport.advertise.String(), Msg: b,
				})
			}
			if err != nil {
				return err
			}
		case <-idle.C:
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

func writeTLSFrame(conn net.Conn, m *clusterpb.MemberlistMessage) error {
	body, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	frame := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	_, err = conn.Write(append(frame, body...))
	return err
}

// serve reads what comes in over conn.
func (p *tlsPackets) serve(conn net.Conn) {
	if err := conn.SetDeadline(time.Now().Add(tlsFirstFrame)); err != nil {
		_ = conn.Close() // it is broken already
		return
	}
	in := bufio.NewReader(conn)
	for first := true; ; first = false {
		m, err := readTLSFrame(in)
		if err == nil && first {
			err = conn.SetDeadline(time.Time{})
		}
		if err == nil && m.Kind == clusterpb.MemberlistMessage_STREAM {
			p.transport.deliverStream(&bufferedConn{Conn: conn, in: in})
			return
		}
		var from netip.AddrPort
		if err == nil {
			from, err = netip.ParseAddrPort(m.FromAddr)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.transport.strangers.Printf("[WARN] a TLS connection was closed: %v from=%s", err, conn.RemoteAddr())
			}
			_ = conn.Close() // the peer makes another one
			return
		}
		p.transport.deliverPacket(m.Msg, net.TCPAddrFromAddrPort(from), time.Now())
	}
}

func readTLSFrame(in io.Reader) (*clusterpb.MemberlistMessage, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > tlsMaxFrame {
		return nil, fmt.Errorf("a frame of %d bytes; at most %d are valid", n, tlsMaxFrame)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(in, body); err != nil {
		return nil, err
	}
	m := &clusterpb.MemberlistMessage{}
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, err
	}
	if m.Version != tlsVersion {
		return nil, fmt.Errorf("version %q of the TLS transport; %q is spoken here", m.Version, tlsVersion)
	}
	if m.Kind == clusterpb.MemberlistMessage_PACKET && len(m.Msg) == 0 {
		return nil, errors.New("an empty packet")
	}
	return m, nil
}

// bufferedConn reads first what was read ahead.
type bufferedConn struct {
	net.Conn
	in *bufio.Reader
}

func (c *bufferedConn) Read(b []byte) (int, error) { return c.in.Read(b) }
