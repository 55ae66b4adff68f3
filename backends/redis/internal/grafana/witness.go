package grafana

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/redis/internal/server"
)

// Witness carries frames among own nodes on Grafana's wire, and sees who is
// there. The driver itself would write a heartbeat, and so be a member: a Witness
// tests each right in a way that changes nothing.
type Witness struct {
	wire  *conn
	full  error           // why the server accepts no heartbeat now
	found []driver.Member // by their heartbeats
}

// OpenWitness returns an OpenFunc that opens a Witness.
func OpenWitness(config *server.Config) driver.OpenFunc {
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		w := &Witness{wire: newConn(o, config, Timing{})}
		if err := w.wire.client.Open(ctx, func(ctx context.Context) error { return w.preflight(ctx, o.Self.Instance) }); err != nil {
			return nil, err
		}
		return w, nil
	}
}

// preflight tries all that a node does. Its SET requires a key that does not
// exist, and so writes none; the key that it deletes belongs to no node.
func (w *Witness) preflight(ctx context.Context, instance string) error {
	g, c := w.wire, w.wire.client
	key, pattern := g.prefix()+instance, g.prefix()+"*"
	for _, step := range []struct {
		what string
		try  func(ctx context.Context) error
	}{
		{"PSUBSCRIBE " + pattern, func(ctx context.Context) error { return c.Sub.PSubscribe(ctx, pattern) }},
		{"PSUBSCRIBE " + pattern, func(ctx context.Context) error { _, err := c.Sub.ReceiveTimeout(ctx, server.Timeout); return err }},
		{"HELLO", c.CheckRole},
		{"PUBLISH " + g.prefix() + ownChannel, func(ctx context.Context) error { return g.publishOn(ctx, ownChannel, nil) }},
		{"SET " + key, func(ctx context.Context) error { return c.Keys.SetXX(ctx, key, "0", time.Second).Err() }},
		{"DEL " + key, func(ctx context.Context) error { return c.Keys.Del(ctx, key).Err() }},
		{"MGET " + key, func(ctx context.Context) error { return c.Keys.MGet(ctx, key).Err() }},
		{"SCAN " + pattern, w.readMembers},
	} {
		switch err := step.try(ctx); {
		case err == nil, errors.Is(err, goredis.Nil):
		case errors.Is(err, server.ErrReplica):
			return err
		case refusesWrites(err):
			w.full = fmt.Errorf("%s: %w", step.what, err)
		default:
			return g.explain(step.what, c.Diagnose(ctx, err, g.prefix()+ownChannel))
		}
	}
	return nil
}

// readMembers finds the members whose heartbeats count.
func (w *Witness) readMembers(ctx context.Context) error {
	keys, err := w.wire.scan(ctx)
	for _, k := range keys {
		if time.Since(time.Unix(k.stamp, 0)) >= w.wire.timing.Expiry {
			continue
		}
		name := k.key
		if isOwnKey(name) {
			name = name[:strings.LastIndex(name, ownSeparator)]
		}
		w.found = append(w.found, driver.Member{Name: name})
	}
	return err
}

// ReportHeartbeat says whether the server accepts a heartbeat.
func (w *Witness) ReportHeartbeat(e driver.Examination) {
	const name, tried = "heartbeat", "see whether the server accepts writes, without making one"
	if w.full != nil {
		e.Warn(name, tried, w.full.Error(), "Grafana's peers will miss this cluster's nodes: give the server memory, or let it save")
		return
	}
	e.OK(name, tried, "it does")
}

// Caps implements [driver.Driver].
func (*Witness) Caps() driver.Caps { return driver.Caps{} }

// Serve hands over what own nodes send, except their beats, and lists the
// members whose heartbeats were found.
func (w *Witness) Serve(ctx context.Context, h driver.Handler) error {
	g := w.wire
	defer context.AfterFunc(ctx, g.client.End)()
	h.Members(w.found)
	return g.client.Receive(ctx, func(m *goredis.Message) {
		if m.Channel == g.prefix()+ownChannel && m.Payload != "" && m.Payload[0] != beatMark {
			h.Frame(server.Payload(m))
		}
	})
}

// Broadcast implements [driver.Driver].
func (w *Witness) Broadcast(ctx context.Context, frame []byte) error {
	return w.wire.publishOn(ctx, ownChannel, frame)
}

// Close implements [driver.Driver]. It says no goodbye: the witness was never a
// member.
func (w *Witness) Close(context.Context) error {
	w.wire.client.Close()
	return nil
}

var _ driver.Driver = (*Witness)(nil)
