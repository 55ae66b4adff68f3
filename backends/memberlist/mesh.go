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

// knocks are the streams of knock that have not ended: one an address at a time, however
// many ask, unless it hangs.
type knocks struct {
	sync.WaitGroup

	mu    sync.Mutex
	under map[string]*knocking // by address, the latest
}

// knocking is a stream of knock.
type knocking struct {
	began time.Time
	done  chan struct{} // is closed when it has ended
}

// share returns the stream to addr that began within so long, or a new one, for which it
// calls open, and whether it is new.
func (k *knocks) share(addr string, within time.Duration, open func()) (one *knocking, fresh bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if one = k.under[addr]; one != nil && time.Since(one.began) < within {
		return one, false
	}
	if k.under == nil {
		k.under = map[string]*knocking{}
	}
	one = &knocking{began: time.Now(), done: make(chan struct{})}
	k.under[addr] = one
	k.Go(func() {
		open()
		k.mu.Lock()
		defer k.mu.Unlock()
		close(one.done)
		if k.under[addr] == one {
			delete(k.under, addr)
		}
	})
	return one, true
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
	timer := time.NewTimer(patience)
	defer timer.Stop()
	open := func() { _ = m.stream(p, nil, m.settings.TCPTimeout) } // it ends with the transport at the latest
	one, fresh := m.knocks.share(p.Addr, m.settings.ProbeTimeout/2, open)
	for {
		ended := one.done
		if fresh {
			ended = nil // if it was not handled, another one may be
		}
		select {
		case <-handled:
			return true
		case <-ended:
			select {
			case <-handled:
				return true
			default: // before this one waited for it, perhaps
			}
			one, fresh = m.knocks.share(p.Addr, m.settings.ProbeTimeout/2, open)
		case <-timer.C:
			return false
		}
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
