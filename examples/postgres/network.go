package postgres

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// goodbye is how long the server is given to hear that a connection ends.
const goodbye = time.Second

// network holds the sockets of one driver, those too that pgx opens to cancel a
// statement and would wait for. Once it is closed there are none.
type network struct {
	dialer net.Dialer

	mu     sync.Mutex
	open   map[*socket]struct{}
	closed bool
}

// socket is one connection of a network.
type socket struct {
	net.Conn
	network *network
}

// dial is the pgconn.DialFunc of the network.
func (n *network) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	conn, err := n.dialer.DialContext(ctx, kind, address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	s := &socket{conn, n}
	if n.open == nil {
		n.open = map[*socket]struct{}{}
	}
	n.open[s] = struct{}{}
	return s, nil
}

// Close implements net.Conn.
func (s *socket) Close() error {
	s.network.mu.Lock()
	delete(s.network.open, s)
	s.network.mu.Unlock()
	return s.Conn.Close()
}

// end ends connections of pgx, with a word to the server where it still hears,
// and the network. A connection may be nil.
func (n *network) end(ctx context.Context, conns ...*pgx.Conn) {
	ctx, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	conns = slices.DeleteFunc(conns, func(c *pgx.Conn) bool { return c == nil })
	for _, c := range conns {
		_ = c.Close(ctx) // the server notices either way
	}
	n.close()
	for _, c := range conns {
		<-c.PgConn().CleanupDone()
	}
}

// close ends all connections at once, and refuses new ones.
func (n *network) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for s := range n.open {
		_ = s.Conn.Close()
	}
}
