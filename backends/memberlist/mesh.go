package memberlist

import (
	"net"

	ml "github.com/hashicorp/memberlist"
)

// mesh is the way to other nodes: memberlist, and the transport below it.
type mesh struct {
	settings  settings
	transport ml.NodeAwareTransport
	list      *ml.Memberlist // nil until it is created, which calls the delegate
}

// ping reports whether p answers.
func (m *mesh) ping(p *member) bool {
	_, err := m.list.Ping(p.node.Name, &net.UDPAddr{IP: p.node.Addr, Port: int(p.node.Port)})
	return err == nil
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

// stream sends b by a stream of its own, and returns once it is handled there.
func (m *mesh) stream(p *member, b []byte) error {
	if m.settings.keys != nil {
		return m.list.SendReliable(&p.node, b)
	}
	conn, err := m.transport.DialAddressTimeout(p.node.FullAddress(), m.settings.TCPTimeout)
	if err != nil {
		return err
	}
	err = writeMessage(conn, m.settings.Label, b)
	_ = conn.Close() // what was not written is reported by Write
	return err
}

// join exchanges the lists of members, and the states, with whoever is at addr.
func (m *mesh) join(addr string) error {
	_, err := m.list.Join([]string{addr})
	return err
}
