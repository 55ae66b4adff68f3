package memberlist

import (
	"cmp"
	"net"
	"sync"
	"time"

	ml "github.com/hashicorp/memberlist"
)

// mesh is the way to other nodes: memberlist, and the transport below it.
type mesh struct {
	settings  settings
	transport ml.NodeAwareTransport
	trans     *transport     // without what a test may have wrapped around it
	list      *ml.Memberlist // nil until it is created, which calls the delegate
	knocks    sync.WaitGroup
}

// ping reports whether p answers.
func (m *mesh) ping(p *member) bool {
	_, err := m.roundTrip(p)
	return err == nil
}

// roundTrip is ping, and how long it took.
func (m *mesh) roundTrip(p *member) (time.Duration, error) {
	return m.list.Ping(p.node.Name, &net.UDPAddr{IP: p.node.Addr, Port: int(p.node.Port)})
}

// dial connects to p and sends nothing.
func (m *mesh) dial(p *member) error {
	conn, err := m.transport.DialAddressTimeout(ml.Address{Addr: p.Addr, Name: p.node.Name}, m.settings.ProbeTimeout)
	if err == nil {
		_ = conn.Close() // nothing was sent
	}
	return err
}

// packet sends b by a packet, which may be lost.
func (m *mesh) packet(p *member, b []byte) error { return m.list.SendBestEffort(&p.node, b) }

// stream sends b by a stream of its own, which is to be open within patience, and
// returns once it is handled there, or cannot be.
func (m *mesh) stream(p *member, b []byte, patience time.Duration) error {
	if m.settings.keys != nil {
		return m.list.SendReliable(&p.node, b) // has a patience of its own
	}
	conn, err := m.transport.DialAddressTimeout(p.node.FullAddress(), patience)
	if err != nil {
		return err
	}
	if err = conn.SetDeadline(time.Now().Add(m.settings.TCPTimeout)); err == nil {
		err = writeMessage(conn, m.settings.Label, b)
	}
	return cmp.Or(err, conn.Close())
}

// knock sends an empty message by a stream, which any node takes and ignores, and
// reports whether the node there has handled it: a host that is up, or a process
// that stands still, may take a connection, but does not do that.
func (m *mesh) knock(p *member) bool {
	handled := make(chan struct{})
	defer m.trans.await(p.Addr, handled)()
	m.knocks.Go(func() { _ = m.stream(p, nil, m.settings.TCPTimeout) }) // it ends with the transport at the latest
	timer := time.NewTimer(m.settings.ProbeTimeout)
	defer timer.Stop()
	select {
	case <-handled:
		return true
	case <-timer.C:
		return false
	}
}

// reach reports whether p answers a ping, or handles a stream.
func (m *mesh) reach(p *member) bool {
	pinged := make(chan bool, 1)
	m.knocks.Go(func() { pinged <- m.ping(p) })
	return m.knock(p) || <-pinged
}

// join exchanges the lists of members, and the states, with whoever is at addr.
func (m *mesh) join(addr string) error {
	_, err := m.list.Join([]string{addr})
	return err
}
