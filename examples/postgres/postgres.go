// Package postgres is a third party's backend, in its own module: a bus on
// LISTEN and NOTIFY of PostgreSQL, for those who already run that server.
// Importing it registers it as "postgres". docs/writing-a-backend.md walks
// through it.
//
// # Parameters
//
//	address      host:port, or several separated by commas: the first that accepts writes is used; default localhost:5432
//	database     nodes of a cluster use the same; alias path; default postgres
//	username     default postgres
//	password     without it PGPASSWORD and the password file of libpq are tried
//	sslmode      disable, prefer, require, verify-ca or verify-full, as in libpq; default prefer
//	sslrootcert  file of the authorities that sign the server's certificate
//	sslcert      file of the client's certificate; needs sslkey
//	sslkey       file of its key
//
// # Delivery
//
// A frame is one transaction of as many NOTIFY as it takes: a payload has less
// than 8000 bytes, in base64. The portable layer splits what is above [MaxFrame].
// Nothing is stored. The server hands frames to all nodes in the order of its
// commits, and what is for one member to that one, by a channel of its own. A frame
// is accepted once it is committed.
//
// # Membership
//
// By heartbeat of the portable layer.
//
// # When the server is lost
//
// The driver reports the loss of either of its connections and is opened again,
// with back-off, by the portable layer. Notifications are not kept for a node
// that is away; state exchange repairs. The driver leaves a server that became
// a standby for the one in address that accepts writes.
//
// # Server footprint
//
// Two connections a node, with the name of the channel as application_name: one
// listens, to the cluster's channel and to its own, one notifies. No table, nothing left after Close. NOTIFY locks the
// whole server while it commits, and every listener of the database reads it,
// whatever its channel: use a database without busy listeners. Both connections
// must keep their session: a pooler in between must not pool by transaction.
package postgres

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

var description = driver.Backend{Open: Open, Params: Params{}, Examine: examine}

func init() { backend.Register("postgres", description) }

// conn is the driver.
type conn struct {
	cluster string
	channel string // all hear it
	inbox   string // this node alone does
	listen  *pgx.Conn
	notify  *pgx.Conn
	turn    chan struct{}   // holds one: the right to use notify, which Close keeps
	life    context.Context // of all sockets
	end     context.CancelCauseFunc
}

// Open is the backend's driver.OpenFunc.
func Open(ctx context.Context, o driver.Options) (driver.Driver, error) {
	config, err := parse(o)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := &conn{cluster: o.Cluster, channel: channel(o.Cluster), inbox: inbox(o.Cluster, o.Self.Instance), turn: make(chan struct{}, 1)}
	c.life, c.end = context.WithCancelCause(context.Background())
	config.DialFunc = c.dial
	if err := c.connect(ctx, config); err != nil {
		c.release(ctx)
		return nil, fmt.Errorf("postgres: %w", refused(err))
	}
	return c, nil
}

// connect opens both connections, and listens before it returns: from then on
// nothing is missed.
func (c *conn) connect(ctx context.Context, config *pgx.ConnConfig) (err error) {
	if c.listen, err = pgx.ConnectConfig(ctx, config); err != nil {
		return err
	}
	for _, channel := range []string{c.channel, c.inbox} {
		if _, err = c.listen.Exec(ctx, "listen "+pgx.Identifier{channel}.Sanitize()); err != nil {
			return err
		}
	}
	if c.notify, err = pgx.ConnectConfig(ctx, config); err != nil {
		return err
	}
	// Nothing of a notification is kept, so its commit need not wait for the disk.
	_, err = c.notify.Exec(ctx, "set synchronous_commit = off")
	return err
}

// dial opens a socket that ends with life. pgx ends a broken connection through
// another one, and would wait for both.
func (c *conn) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	socket, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		context.AfterFunc(c.life, func() { _ = socket.Close() })
	}
	return socket, err
}

// Caps implements driver.Driver. The server's queue for a node that is behind is
// large; one that is a minute behind does not hear itself, and is opened again.
func (c *conn) Caps() driver.Caps {
	return driver.Caps{MaxFrame: MaxFrame, Linger: time.Minute, Send: c.Send}
}

// Serve hands inbound frames to the portable layer until the link is lost.
func (c *conn) Serve(ctx context.Context, h driver.Handler) error {
	h.Link(nil)
	var in joiner
	for {
		n, err := c.listen.WaitForNotification(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("postgres: %w: %w", driver.ErrUnavailable, cmp.Or(context.Cause(c.life), err))
		}
		switch frame, err := in.add(n); {
		case err != nil:
			h.Reject(driver.Malformed, err)
		case frame != nil:
			h.Frame(frame)
		}
	}
}

// Broadcast implements driver.Driver.
func (c *conn) Broadcast(ctx context.Context, frame []byte) error {
	return c.publish(ctx, c.channel, frame)
}

// Send is driver.Caps.Send: each node listens to a channel of its own too.
func (c *conn) Send(ctx context.Context, to driver.Member, frame []byte) error {
	return c.publish(ctx, inbox(c.cluster, to.Instance), frame)
}

// publish notifies a channel. A statement that has begun is not cancelled when ctx
// ends: pgx would close the connection.
func (c *conn) publish(ctx context.Context, channel string, frame []byte) error {
	if len(frame) > MaxFrame {
		return fmt.Errorf("postgres: %w: a frame of %d bytes; the most is %d", driver.ErrTooLarge, len(frame), MaxFrame)
	}
	select {
	case c.turn <- struct{}{}:
	case <-c.life.Done():
		return fmt.Errorf("postgres: %w", driver.ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
	payloads, sent := split(frame), make(chan error, 1)
	go func() { // Close waits for it: it has the turn
		defer func() { <-c.turn }()
		sent <- c.send(channel, payloads)
	}()
	select {
	case err := <-sent:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send commits one transaction of notifications.
func (c *conn) send(channel string, payloads []string) error {
	const statement = "select pg_notify($1, payload) from unnest($2::text[]) as payload"
	_, err := c.notify.Exec(context.Background(), statement, channel, payloads)
	if err == nil {
		return nil
	}
	if c.notify.IsClosed() {
		c.end(err) // Serve returns it
	}
	return fmt.Errorf("postgres: %w: %w", driver.ErrUnavailable, err)
}

// Close implements driver.Driver. What Broadcast accepted is committed already.
func (c *conn) Close(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		c.end(ctx.Err()) // it ends the statement that has the turn
		c.turn <- struct{}{}
	}
	c.release(ctx)
	return nil
}

// release closes what is open, and tells the server if that answers within a
// second.
func (c *conn) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, pg := range []*pgx.Conn{c.listen, c.notify} {
		if pg != nil {
			_ = pg.Close(ctx) // the server notices anyway
			defer func() { <-pg.PgConn().CleanupDone() }()
		}
	}
	c.end(nil)
}
