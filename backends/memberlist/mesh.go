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
	knocks    knocks
}

// knocks are the streams of knock that have not ended, each with the time when it began:
// one an address and probe interval, however many ask.
type knocks struct {
	sync.WaitGroup

	mu    sync.Mutex
	began map[string]time.Time // by address
}

// begin reports whether a stream to addr is to begin, as none has within so long, or the
// last one has ended.
func (k *knocks) begin(addr string, within time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if last, ok := k.began[addr]; ok && time.Since(last) < within {
		return false
	}
	if k.began == nil {
		k.began = map[string]time.Time{}
	}
	k.began[addr] = time.Now()
	return true
}

func (k *knocks) end(addr string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.began, addr)
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
// reports whether the node there has handled one in time: a host that is up, or a process
// that stands still, may take a connection, but does not do that.
func (m *mesh) knock(p *member, patience time.Duration) bool {
	handled := make(chan struct{})
	defer m.trans.await(p.Addr, handled)()
	if m.knocks.begin(p.Addr, m.settings.ProbeInterval) {
		m.knocks.Go(func() { // it ends with the transport at the latest
			defer m.knocks.end(p.Addr)
			_ = m.stream(p, nil, m.settings.TCPTimeout)
		})
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-handled:
		return true
	case <-timer.C:
		return false
	}
}

// pingFirst is for how long a ping is alone: a stream costs both sides ten times as much,
// which a machine that is late already does not have.
const pingFirst = 100 * time.Millisecond

// reach reports whether p answers a ping, or handles a stream.
func (m *mesh) reach(p *member) bool {
	alone := min(pingFirst, m.settings.ProbeTimeout/2)
	pinged := make(chan bool, 1)
	m.knocks.Go(func() { pinged <- m.ping(p) })
	timer := time.NewTimer(alone)
	defer timer.Stop()
	select {
	case answered := <-pinged:
		if answered {
			return true
		}
		pinged <- false // the packet could not be sent
	case <-timer.C:
	}
	return m.knock(p, m.settings.ProbeTimeout-alone) || <-pinged
}

// join exchanges the lists of members, and the states, with whoever is at addr.
func (m *mesh) join(addr string) error {
	_, err := m.list.Join([]string{addr})
	return err
}
