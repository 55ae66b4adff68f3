package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// witness carries frames among nodes of ours on Grafana's wire, and sees who is
// there. The driver itself would write a heartbeat, and so be a member: this one
// asks for each of its rights in a way that changes nothing.
type witness struct {
	*grafana
	full  error           // why the server takes no heartbeat for now
	found []driver.Member // by their heartbeats
}

// openWitness is a driver.OpenFunc.
func openWitness(ctx context.Context, o driver.Options, h driver.Handler) (driver.Driver, error) {
	p, err := parse(o.Params)
	if err != nil {
		return nil, err
	}
	w := &witness{grafana: newGrafana(ctx, o, p, nil, h, grafanaDefaults)}
	if err := w.preflight(ctx); err != nil {
		_ = w.Close(ctx) // the error that counts is the preflight's
		return nil, err
	}
	h.Members(w.found)
	w.wg.Go(w.receive)
	return w, nil
}

// preflight asks for all that a node does. A SET of a key that must be there
// writes none, and nobody has the key that is deleted.
func (w *witness) preflight(ctx context.Context) error {
	key, pattern := w.params.Prefix+w.instance, w.params.Prefix+"*"
	for _, step := range []struct {
		what string
		try  func(ctx context.Context) error
	}{
		{"PSUBSCRIBE " + pattern, func(ctx context.Context) error { return w.sub.PSubscribe(ctx, pattern) }},
		{"PSUBSCRIBE " + pattern, func(ctx context.Context) error { _, err := w.sub.ReceiveTimeout(ctx, timeout); return err }},
		{"HELLO", w.checkRole},
		{"PUBLISH " + w.params.Prefix + ownChannel, func(ctx context.Context) error { return w.publishOn(ctx, ownChannel, nil) }},
		{"SET " + key, func(ctx context.Context) error { return w.client.SetXX(ctx, key, "0", time.Second).Err() }},
		{"DEL " + key, func(ctx context.Context) error { return w.client.Del(ctx, key).Err() }},
		{"MGET " + key, func(ctx context.Context) error { return w.client.MGet(ctx, key).Err() }},
		{"SCAN " + pattern, w.readMembers},
	} {
		switch err := step.try(ctx); {
		case err == nil, errors.Is(err, goredis.Nil):
		case errors.Is(err, errReplica):
			return err
		case refusesWrites(err):
			w.full = fmt.Errorf("%s: %w", step.what, err)
		default:
			return w.explain(step.what, w.diagnose(ctx, err))
		}
	}
	return nil
}

// readMembers finds those whose heartbeats count.
func (w *witness) readMembers(ctx context.Context) error {
	keys, err := w.scan(ctx)
	for _, k := range keys {
		if time.Since(time.Unix(k.stamp, 0)) >= w.timing.expiry {
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

// reportHeartbeat says whether the server takes one.
func (w *witness) reportHeartbeat(e driver.Examination) {
	const name, tried = "heartbeat", "see whether the server takes a write, without making one"
	if w.full != nil {
		e.Warn(name, tried, w.full.Error(), "nodes of ours go on among themselves, and Grafana's peers will miss them: give the server room, or let it save")
		return
	}
	e.OK(name, tried, "it does")
}

// receive hands over what nodes of ours send. What begins with a mark is a beat.
func (w *witness) receive() {
	for {
		message, err := w.sub.Receive(w.life)
		if err != nil {
			return
		}
		m, ok := message.(*goredis.Message)
		if ok && m.Channel == w.params.Prefix+ownChannel {
			w.h.Frame([]byte(strings.TrimPrefix(m.Payload, string(rune(controlMark)))))
		}
	}
}

// Broadcast implements [driver.Driver].
func (w *witness) Broadcast(ctx context.Context, frame []byte) error {
	return w.publishOn(ctx, ownChannel, frame)
}

// Caps implements [driver.Driver].
func (*witness) Caps() driver.Caps { return driver.Caps{} }

// Close implements [driver.Driver]. It says no goodbye, for nobody was there.
func (w *witness) Close(ctx context.Context) error {
	w.stop()
	return w.node.Close(ctx)
}

var _ driver.Driver = (*witness)(nil)
