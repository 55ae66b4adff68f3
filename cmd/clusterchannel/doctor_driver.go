package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// nonce is a text that nobody else has.
func nonce() string { return strings.ToLower(rand.Text()[:10]) }

// observer is a driver of its own, with no portable layer above: it says nothing
// by itself, so the members do not hear of it.
type observer struct {
	driver.Driver
	*listener
	cluster  string
	instance string
}

// open opens the driver of config.
func (d *doctor) open(ctx context.Context, config backend.Config, open driver.OpenFunc) (*observer, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	o := d.options(config)
	l := &listener{self: o.Self.Instance, heard: make(chan uint64, 1), members: map[string]bool{}}
	drv, err := open(ctx, o, l)
	if err != nil {
		return nil, err
	}
	return &observer{Driver: drv, listener: l, cluster: o.Cluster, instance: o.Self.Instance}, nil
}

func (o *observer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), shutDownTimeout)
	defer cancel()
	_ = o.Close(ctx) // nothing of it is wanted any more
}

// probe returns a frame that every member knows and passes over, for it is
// addressed to the doctor alone, and the number in it.
func probe(cluster, instance string) ([]byte, uint64) {
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err) // there is no such error
	}
	id := n.Uint64() + 1
	return wire.NewEncoder(cluster, instance).Control(wire.Pull, wire.Control{To: instance, ID: id}), id
}

// hear sends a frame with a nonce over the cluster's own way and waits for it,
// then says who else is heard.
func (d *doctor) hear(ctx context.Context, o *observer) {
	frame, id := probe(o.cluster, o.instance)
	const tried = "send a frame with a nonce to the cluster and hear it"
	began := time.Now()
	ctx, cancel := d.limit(ctx)
	defer cancel()
	if err := o.Broadcast(ctx, frame); err != nil {
		d.fail("delivery", tried, err, mend(err, "the server took the connection, but not the frame"))
		return
	}
	for {
		select {
		case got := <-o.heard:
			if got != id {
				continue
			}
			d.ok("delivery", tried, fmt.Sprintf("heard after %v", time.Since(began).Round(10*time.Microsecond)))
			d.listen(ctx, o)
			return
		case <-ctx.Done():
			d.fail("delivery", tried, errors.New("it was taken, and is not delivered"),
				"mind what stands between: a proxy that answers for the server, servers that are not one cluster, or a full output buffer")
			return
		}
	}
}

// listenFor is longer than the interval of a heartbeat in a cluster of ten.
const listenFor = 1200 * time.Millisecond

// listen says whom it hears.
func (d *doctor) listen(ctx context.Context, o *observer) {
	timer := time.NewTimer(listenFor)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	d.members("listen for the members' heartbeats", o.names())
}

// members says who is there.
func (d *doctor) members(tried string, names []string) {
	if len(names) == 0 {
		d.ok("members", tried, "nobody: no node is in this cluster now, or the cluster is named otherwise there")
		return
	}
	slices.Sort(names)
	d.ok("members", tried, fmt.Sprintf("%d: %s", len(names), strings.Join(names, ", ")))
}

// listener is the Handler of an observer.
type listener struct {
	self  string
	heard chan uint64 // the nonces of own frames

	mu      sync.Mutex
	members map[string]bool
}

func (l *listener) Frame(b []byte) {
	var f wire.Frame
	if wire.Decode(b, &f) != nil {
		return
	}
	if string(f.Origin) == l.self {
		select {
		case l.heard <- f.ID:
		default: // one is enough
		}
		return
	}
	if f.Kind == wire.Beat && len(f.Member.Name) > 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.members[string(f.Member.Name)] = true
	}
}

func (l *listener) names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.members))
}

// Members adds to those who were heard.
func (l *listener) Members(all []driver.Member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range all {
		if m.Instance != l.self {
			l.members[m.Name] = true
		}
	}
}

func (*listener) Link(error)                         {}
func (*listener) Left(driver.Member)                 {}
func (*listener) Probe(string, time.Duration, error) {}
func (*listener) LocalState() []byte                 { return nil }
func (*listener) MergeState([]byte)                  {}

var _ driver.Handler = (*listener)(nil)
