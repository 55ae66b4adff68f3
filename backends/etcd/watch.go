package etcd

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// stream is a watch on the keys of the cluster, but those of other nodes alone.
type stream struct {
	etcdserverpb.Watch_WatchClient
	mu sync.Mutex // of Send
}

func (w *stream) send(r *etcdserverpb.WatchRequest) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Send(r)
}

// startWatch watches from the revision after what was read, and returns once
// the server has begun too.
func (c *conn) startWatch() error {
	client, err := etcdserverpb.NewWatchClient(c.client.ActiveConnection()).Watch(c.ctx)
	if err != nil {
		return err
	}
	c.watch = &stream{Watch_WatchClient: client}
	keys := c.seat.keys
	if err := c.watchRange(keys.root, []byte(keys.to), keys.root+"*"); err != nil {
		return err
	}
	return c.watchRange(c.seat.ownKey(), nil, c.seat.ownKey())
}

// watchRange begins to watch the keys from one to the end, which is excluded; nil
// is that one alone.
func (c *conn) watchRange(from string, end []byte, name string) error {
	_ = c.watch.send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
		CreateRequest: &etcdserverpb.WatchCreateRequest{
			Key: []byte(from), RangeEnd: end, StartRevision: c.roster.revision + 1, Fragment: true,
		},
	}}) // Recv returns the reason
	for {
		r, err := c.watch.Recv()
		switch {
		case err != nil:
			return err
		case r.Canceled:
			return lacking("read", name, canceled(r))
		case r.Created:
			return nil
		default: // of the range before
			c.early = append(c.early, r)
		}
	}
}

func canceled(r *etcdserverpb.WatchResponse) error {
	if r.CompactRevision != 0 {
		return fmt.Errorf("the server has compacted events that this node has not received, at revision %d", r.CompactRevision)
	}
	return fmt.Errorf("the server ended the watch: %w", rpctypes.Error(errors.New(r.CancelReason)))
}

// receiveEvents receives from the watch.
func (c *conn) receiveEvents(driver.Handler) error {
	for {
		r, err := c.watch.Recv()
		if err != nil {
			return err
		}
		select {
		case c.events <- r:
		case <-c.ctx.Done():
			return nil
		}
	}
}

// handleEvents handles what the watch receives, and drops members whose key has
// gone.
func (c *conn) handleEvents(h driver.Handler) error {
	for _, key := range c.roster.strangers {
		reject(key, h)
	}
	for _, r := range c.early {
		if err := c.receiveResponse(r, h); err != nil {
			return err
		}
	}
	c.early = nil
	timer := time.NewTimer(revival)
	defer timer.Stop()
	for {
		changed, next := c.roster.expire()
		if changed {
			h.Members(c.roster.all())
		}
		if next > 0 {
			timer.Reset(next)
		}
		select {
		case r := <-c.events:
			if err := c.receiveResponse(r, h); err != nil {
				return err
			}
		case <-timer.C:
		case <-c.ctx.Done():
			return nil
		}
	}
}

func (c *conn) receiveResponse(r *etcdserverpb.WatchResponse, h driver.Handler) error {
	if r.Canceled {
		return canceled(r)
	}
	c.mark(&c.watched)
	if err := c.take(r.Events, h); err != nil {
		return err
	}
	for _, ev := range r.Events {
		if ev.Type == mvccpb.Event_PUT {
			c.weight.add(ev.Kv.ModRevision, len(ev.Kv.Value))
		}
	}
	c.weight.pass(r.Header.Revision)
	c.weight.tell(h)
	return nil
}

// take hands frames and changes of members on, in their order.
func (c *conn) take(events []*mvccpb.Event, h driver.Handler) error {
	keys := c.seat.keys
	changed := false
	for _, ev := range events {
		key := string(ev.Kv.Key)
		switch {
		case strings.HasPrefix(key, keys.members):
			is, err := c.roster.change(ev, h.Left)
			changed = changed || is
			switch {
			case errors.Is(err, errNoMember):
				reject(key, h)
			case err != nil:
				return err
			}
		case ev.Type == mvccpb.Event_DELETE:
		case key == c.seat.ownKey():
			if c.flow.Heard(ev.Kv.Value) {
				h.Frame(ev.Kv.Value)
			}
		case !strings.HasPrefix(key, keys.frames):
			reject(key, h)
		case key != keys.frames+c.seat.self.Instance:
			h.Frame(ev.Kv.Value)
		}
	}
	if changed {
		h.Members(c.roster.all())
	}
	return nil
}

// reject counts a key that this backend did not write. The key is left alone.
func reject(key string, h driver.Handler) {
	h.Reject(driver.Malformed, fmt.Errorf("the key %q is foreign", key))
}
