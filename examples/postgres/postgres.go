// Package postgres is the backend of a third party, in a module of its own: a
// bus on LISTEN and NOTIFY of PostgreSQL, for those who run that server already.
// Importing it registers it as "postgres". docs/writing-a-backend.md walks
// through it.
//
// # Parameters
//
//	address      host:port, or several separated by commas: the first that takes writes is used; default localhost:5432
//	database     nodes of a cluster use the same; alias path; default postgres
//	username     default postgres
//	password     without it PGPASSWORD and the password file of libpq are tried
//	sslmode      disable, prefer, require, verify-ca or verify-full, as libpq has it; default prefer
//	sslrootcert  file of the authorities that sign the server's certificate
//	sslcert      file of the client's certificate; needs sslkey
//	sslkey       file of its key
//
// # Delivery
//
// A frame is one transaction of as many NOTIFY as it takes: a payload has less
// than 8000 bytes, in base64. The portable layer splits what is above [MaxFrame].
// Nothing is stored. The server hands frames to all nodes in the order of its
// commits. A frame is accepted once it is committed.
//
// # Membership
//
// By heartbeat of the portable layer.
//
// # When the server is lost
//
// The driver reports the loss of either of its connections and is opened again,
// with back-off, by the portable layer. Notifications are not kept for a node
// that is away; state exchange repairs. A server that became a standby is left
// for the one of address that takes writes.
//
// # Server footprint
//
// Two connections a node, with the name of the channel as application_name: one
// listens, one notifies. No table, nothing left after Close. NOTIFY takes a lock
// of the whole server while it commits, and every listener of the database reads
// past it, whatever its channel: use a database without busy ones. Both
// connections must keep their session: a pooler between must not pool by
// transaction.
package postgres

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

func init() {
	backend.Register("postgres", driver.Backend{Open: Open, Params: Params{}})
}

// bus is one node's driver.
type bus struct {
	channel string
	handler driver.Handler
	net     *network
	listen  *pgx.Conn
	notify  *pgx.Conn
	turn    chan struct{} // holds one: the right to use notify, which Close keeps
	ctx     context.Context
	stop    context.CancelFunc
	reader  sync.WaitGroup
}

// Open is the backend's driver.OpenFunc.
func Open(ctx context.Context, o driver.Options, h driver.Handler) (driver.Driver, error) {
	config, err := parse(o)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b := &bus{channel: channel(o.Cluster), handler: h, net: &network{}, turn: make(chan struct{}, 1)}
	config.DialFunc = b.net.dial
	b.ctx, b.stop = context.WithCancel(context.Background())
	if err := b.connect(ctx, config); err != nil {
		_ = b.Close(ctx) // it has nothing to flush
		return nil, fmt.Errorf("postgres: %w", err)
	}
	h.Link(nil)
	b.reader.Go(b.read)
	return b, nil
}

// connect opens both connections, and listens before it returns: from then on
// nothing is missed.
func (b *bus) connect(ctx context.Context, config *pgx.ConnConfig) (err error) {
	if b.listen, err = pgx.ConnectConfig(ctx, config); err != nil {
		return refused(err)
	}
	if _, err = b.listen.Exec(ctx, "listen "+pgx.Identifier{b.channel}.Sanitize()); err != nil {
		return refused(err)
	}
	if b.notify, err = pgx.ConnectConfig(ctx, config); err != nil {
		return refused(err)
	}
	// Nothing of a notification is kept, so its commit need not wait for the disk.
	if _, err = b.notify.Exec(ctx, "set synchronous_commit = off"); err != nil {
		return refused(err)
	}
	return nil
}

// read hands inbound frames to the portable layer until the bus is closed or
// lost.
func (b *bus) read() {
	var in joiner
	for {
		n, err := b.listen.WaitForNotification(b.ctx)
		if err != nil {
			b.lost(err)
			return
		}
		if frame := in.add(n); frame != nil {
			b.handler.Frame(frame)
		}
	}
}

// lost says that the bus is of no use any more: the portable layer closes it and
// opens another.
func (b *bus) lost(err error) {
	if b.ctx.Err() == nil {
		b.handler.Link(fmt.Errorf("postgres: %w: %w", driver.ErrUnavailable, err))
	}
}

// Broadcast implements driver.Driver. A statement that has begun is not taken
// back when ctx ends: pgx would close the connection for it.
func (b *bus) Broadcast(ctx context.Context, frame []byte) error {
	if len(frame) > MaxFrame {
		return fmt.Errorf("postgres: %w: a frame of %d bytes; the most is %d", driver.ErrTooLarge, len(frame), MaxFrame)
	}
	select {
	case b.turn <- struct{}{}:
	case <-b.ctx.Done():
		return fmt.Errorf("postgres: %w", driver.ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
	payloads, sent := split(frame), make(chan error, 1)
	go func() { // Close waits for it: it has the turn
		defer func() { <-b.turn }()
		sent <- b.send(payloads)
	}()
	select {
	case err := <-sent:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send commits one transaction of notifications.
func (b *bus) send(payloads []string) error {
	if b.ctx.Err() != nil {
		return fmt.Errorf("postgres: %w", driver.ErrClosed)
	}
	const statement = "select pg_notify($1, payload) from unnest($2::text[]) as payload"
	_, err := b.notify.Exec(context.Background(), statement, b.channel, payloads)
	if err == nil {
		return nil
	}
	if b.notify.IsClosed() {
		b.lost(err)
	}
	return fmt.Errorf("postgres: %w: %w", driver.ErrUnavailable, err)
}

// Caps implements driver.Driver.
func (b *bus) Caps() driver.Caps { return driver.Caps{MaxFrame: MaxFrame} }

// Close implements driver.Driver. What Broadcast accepted is committed already.
func (b *bus) Close(ctx context.Context) error {
	if b.ctx.Err() != nil {
		return nil
	}
	b.stop()
	b.reader.Wait()
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		b.net.close() // it ends the statement that has the turn
		b.turn <- struct{}{}
	}
	b.net.end(ctx, b.listen, b.notify)
	return nil
}

var _ driver.Driver = (*bus)(nil)
