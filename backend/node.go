package backend

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/clusterchannel/clusterchannel/internal/wire"
)

const maxKeyBytes = 255

// node is the one ClusterChannel. Four goroutines serve it: link opens the
// driver and opens it again, send empties the outbox, control owns the view, and
// exchange and answer move states. Each state has a goroutine of its own.
type node struct {
	cfg     Config
	self    Member
	cluster uint32
	enc     *wire.Encoder
	log     *limitedLog
	met     *metrics

	out      *outbox
	origins  *origins
	assembly *assembly
	inbox    *inbox
	pulls    *pullQueue
	answers  *answerQueue
	link     linkState

	stateMu sync.Mutex
	states  atomic.Pointer[map[string]*state] // replaced, never modified

	view     atomic.Pointer[View] // its slices are never modified
	changeMu sync.Mutex
	changed  chan struct{} // closed and replaced at every change of view
	ready    chan struct{} // closed when the first exchange is over

	ctx      context.Context // of link, and of the drivers
	cancel   context.CancelFunc
	work     context.Context // of control, exchange and answer: ends before the goodbye
	stopWork context.CancelFunc
	workers  sync.WaitGroup
	linkDone chan struct{}

	closeOnce sync.Once
	closing   atomic.Bool
	closed    chan struct{}
	closeErr  error
}

func newNode(cfg Config) *node {
	instance := newInstance()
	n := &node{
		cfg:      cfg,
		self:     Member{Name: cfg.Name, Instance: instance, Meta: cfg.Meta},
		cluster:  wire.ClusterHash(cfg.Cluster),
		enc:      wire.NewEncoder(cfg.Cluster, instance),
		log:      newLimitedLog(cfg.Logger.With("cluster", cfg.Cluster, "node", cfg.Name, "backend", cfg.Backend)),
		origins:  newOrigins(),
		assembly: newAssembly(),
		inbox:    newInbox(),
		pulls:    newPullQueue(),
		answers:  newAnswerQueue(),
		changed:  make(chan struct{}),
		ready:    make(chan struct{}),
		linkDone: make(chan struct{}),
		closed:   make(chan struct{}),
	}
	n.out = newOutbox(n.enc, cfg.QueueItems, cfg.QueueBytes)
	n.states.Store(&map[string]*state{})
	n.link.init()
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.work, n.stopWork = context.WithCancel(n.ctx)
	n.met = newMetrics(n)
	return n
}

func newInstance() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// AddState implements ClusterChannel.
func (n *node) AddState(key string, s State, opts *StateOptions) (Channel, error) {
	switch {
	case s == nil:
		return nil, fmt.Errorf("%w: state %q is nil", ErrConfig, key)
	case key == "" || len(key) > maxKeyBytes || !utf8.ValidString(key):
		return nil, fmt.Errorf("%w: state key %q: want valid UTF-8 of 1 to %d bytes", ErrConfig, key, maxKeyBytes)
	case opts != nil && (opts.QueueItems < 0 || opts.QueueBytes < 0):
		return nil, fmt.Errorf("%w: state %q: queue_items %d, queue_bytes %d: want 0 or more", ErrConfig, key, opts.QueueItems, opts.QueueBytes)
	}
	n.stateMu.Lock()
	defer n.stateMu.Unlock()
	if n.closing.Load() {
		return nil, fmt.Errorf("%w: AddState(%q)", ErrClosed, key)
	}
	old := *n.states.Load()
	if old[key] != nil {
		return nil, fmt.Errorf("%w: state key %q is in use; remove its channel first", ErrConfig, key)
	}
	st := newState(n, key, s, opts)
	states := maps.Clone(old)
	states[key] = st
	n.states.Store(&states)
	n.workers.Go(st.work)
	n.pulls.wantKey(key)
	return st, nil
}

func (n *node) dropState(st *state) {
	n.stateMu.Lock()
	defer n.stateMu.Unlock()
	if (*n.states.Load())[st.key] != st {
		return
	}
	states := maps.Clone(*n.states.Load())
	delete(states, st.key)
	n.states.Store(&states)
}

// View implements ClusterChannel.
func (n *node) View() View { return n.view.Load().clone() }

// Members implements ClusterChannel.
func (n *node) Members() []Member { return n.View().Members }

// Position implements ClusterChannel.
func (n *node) Position() int { return n.view.Load().Position }

// Watch implements ClusterChannel.
func (n *node) Watch(ctx context.Context) iter.Seq[View] {
	return func(yield func(View) bool) {
		for {
			n.changeMu.Lock()
			changed := n.changed
			n.changeMu.Unlock()
			v := n.View()
			if ctx.Err() != nil || !yield(v) || v.Status == Closed {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// WaitReady implements ClusterChannel.
func (n *node) WaitReady(ctx context.Context) error {
	if n.closing.Load() {
		return fmt.Errorf("%w: WaitReady", ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := n.await(ctx, n.ready, nil); err != nil {
		return err
	}
	limit := time.NewTimer(n.cfg.Timing.Settle)
	defer limit.Stop()
	for _, st := range *n.states.Load() { // added since the first exchange
		if len(n.otherMembers()) == 0 {
			break
		}
		if err := n.await(ctx, st.synced, limit.C); err != nil {
			return err
		}
	}
	return nil
}

// await waits for done, or until limit.
func (n *node) await(ctx context.Context, done <-chan struct{}, limit <-chan time.Time) error {
	select {
	case <-done:
		return nil
	case <-limit:
		return nil
	case <-n.work.Done():
		return fmt.Errorf("%w: WaitReady", ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publish makes v the current view.
func (n *node) publish(v View) {
	n.changeMu.Lock()
	defer n.changeMu.Unlock()
	if old := n.view.Swap(&v); old != nil {
		for _, m := range old.Members {
			if !slices.ContainsFunc(v.Members, func(now Member) bool { return now.Name == m.Name }) {
				n.met.pings.DeleteLabelValues(label(m.Name))
			}
		}
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *node) healthScore() float64 {
	v := n.view.Load()
	score := 0.0
	if v.Status != Attached {
		score++
	}
	if v.Err != nil && v.Status == Attached {
		score++
	}
	if v.Ready == Settling || v.Ready == TimedOut {
		score++
	}
	return score
}

func (v *View) clone() View {
	c := *v
	c.Members = slices.Clone(v.Members)
	for i := range c.Members {
		c.Members[i].Meta = maps.Clone(c.Members[i].Meta)
	}
	return c
}

var _ ClusterChannel = (*node)(nil)
