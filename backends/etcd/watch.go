package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// stream is a watch on all keys of the cluster.
type stream struct {
	etcdserverpb.Watch_WatchClient
	stop context.CancelFunc
	mu   sync.Mutex // of Send
}

func (w *stream) send(r *etcdserverpb.WatchRequest) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Send(r)
}

// startWatch begins to watch where the roster ends, and returns once the server
// has begun too. It takes the place of an earlier watch: on a stream of which one
// watch was canceled the server tells no progress any more.
func (s *session) startWatch() error {
	ctx, stop := context.WithCancel(s.ctx)
	client, err := etcdserverpb.NewWatchClient(s.client.ActiveConnection()).Watch(ctx)
	if err != nil {
		stop()
		return err
	}
	w := &stream{Watch_WatchClient: client, stop: stop}
	if old := s.watch.Swap(w); old != nil {
		old.stop()
	}
	keys := s.node.keys
	_ = w.send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
		CreateRequest: &etcdserverpb.WatchCreateRequest{
			Key: []byte(keys.root), RangeEnd: end(keys.root), StartRevision: s.node.roster.from(), Fragment: true,
		},
	}}) // Recv tells why it failed
	for {
		r, err := w.Recv()
		switch {
		case err != nil:
			return err
		case r.Canceled && r.CompactRevision == 0:
			return canceled(r)
		case r.Created:
			return nil
		}
	}
}

func canceled(r *etcdserverpb.WatchResponse) error {
	return rpctypes.Error(errors.New(r.CancelReason))
}

// receiveEvents takes in what the watch tells.
func (s *session) receiveEvents() error {
	n := s.node
	for {
		r, err := s.watch.Load().Recv()
		if err != nil {
			return err
		}
		s.mark(&s.watched)
		s.spoken.Store(true)
		switch {
		case r.CompactRevision != 0:
			if err := s.catchUp(r.CompactRevision); err != nil {
				return err
			}
		case r.Canceled:
			return fmt.Errorf("the server ended the watch: %w", canceled(r))
		default:
			if err := s.take(r.Events); err != nil {
				return err
			}
			if last := len(r.Events) - 1; last >= 0 && !r.Fragment {
				n.roster.sawUpTo(r.Events[last].Kv.ModRevision)
			}
		}
	}
}

// catchUp reads what is there, since what happened before was compacted away
// while this node was off, and watches from there. Frames were missed.
func (s *session) catchUp(compacted int64) error {
	n := s.node
	n.logger.Info("the server has compacted what this node had missed; members are read anew", "compact_revision", compacted)
	n.roster.restart()
	for _, step := range []func() error{s.read, s.register, s.startWatch} {
		if err := step(); err != nil {
			return err
		}
	}
	n.roster.tell()
	n.h.Link(nil)
	return nil
}

// take hands frames and changes of members on, in their order.
func (s *session) take(events []*mvccpb.Event) error {
	n := s.node
	changed := false
	for _, ev := range events {
		key := string(ev.Kv.Key)
		switch {
		case strings.HasPrefix(key, n.keys.members):
			c, err := n.roster.change(ev)
			changed = changed || c
			switch {
			case errors.Is(err, errNoMember):
				n.roster.stranger(key)
			case err != nil:
				return err
			}
		case ev.Type == mvccpb.Event_DELETE:
		case !strings.HasPrefix(key, n.keys.frames):
			n.roster.stranger(key)
		case key != n.keys.frames+n.self.Instance:
			n.h.Frame(ev.Kv.Value)
		}
	}
	if changed {
		n.roster.tell()
	}
	return nil
}
