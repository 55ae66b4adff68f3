package backend

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

const maxKeyBytes = 255

// node is the one ClusterChannel: a shell around the core. Four goroutines serve
// it: the engine's carries out what the core wants done, link opens the driver and
// opens it again, send hands updates and small messages to it, and bulk what is
// large. Each state has a goroutine of its own.
type node struct {
	cfg     Config
	self    Member
	cluster uint32
	enc     *wire.Encoder
	log     *limitedLog
	met     *metrics

	engine    *engine
	out       *outbox
	mail      *mail
	assembly  *assembly
	link      linkState
	said      said
	strangers strangers
	troubles  troubles
	clocks    clocks

	stateMu sync.Mutex
	states  atomic.Pointer[map[string]*state] // replaced, never modified

	ready     chan struct{} // closed when the view is not Settling any more
	readyOnce sync.Once
	left      chan struct{} // closed when the core has said all
	bye       *core.Goodbye // the last message, before left is closed

	ctx      context.Context // of link, and of the drivers
	cancel   context.CancelFunc
	work     context.Context // of all else: ends before the goodbye
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
		assembly: newAssembly(),
		mail:     newMail(),
		ready:    make(chan struct{}),
		left:     make(chan struct{}),
		linkDone: make(chan struct{}),
		closed:   make(chan struct{}),
	}
	n.states.Store(&map[string]*state{})
	n.link.init()
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.work, n.stopWork = context.WithCancel(n.ctx)
	n.engine = newEngine(core.Config{
		Self:      core.Member(n.self),
		Heartbeat: cfg.Timing.Heartbeat,
		Grace:     cfg.Timing.Grace,
		Settle:    cfg.Timing.Settle,
		Sync:      cfg.Timing.Sync,
		Hold:      cfg.OnIsolation == HoldView,
		Seed:      newSeed(),
	}, n.adopt)
	n.out = newOutbox(n.enc, cfg.QueueItems, cfg.QueueBytes, n.engine.assign)
	n.met = newMetrics(n)
	return n
}

func newInstance() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func newSeed() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// assign gives an update its number.
func (e *engine) assign(key string, data []byte) (incarnation uint32, number uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.core.Assign(key, data)
}

// AddState implements ClusterChannel.
func (n *node) AddState(key string, s State, opts *StateOptions) (Channel, error) {
	switch {
	case s == nil:
		return nil, fmt.Errorf("%w: state %q is nil", ErrConfig, key)
	case key == "" || len(key) > maxKeyBytes || !utf8.ValidString(key):
		return nil, fmt.Errorf("%w: state key %q: want valid UTF-8 of 1 to %d bytes", ErrConfig, key, maxKeyBytes)
	case opts != nil && (opts.QueueItems < 0 || opts.QueueBytes < 0 || opts.QueueItems > maxQueueItems || opts.QueueBytes > maxQueueBytes):
		return nil, fmt.Errorf("%w: state %q: queue_items %d, queue_bytes %d: want 0 to %d, and 0 to %d", ErrConfig, key, opts.QueueItems, opts.QueueBytes, maxQueueItems, maxQueueBytes)
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
	n.engine.step(core.StateAdded{Key: key, Queue: st.opts.QueueItems})
	return st, nil
}

func (n *node) dropState(st *state) (was bool) {
	n.stateMu.Lock()
	defer n.stateMu.Unlock()
	if (*n.states.Load())[st.key] != st {
		return false
	}
	states := maps.Clone(*n.states.Load())
	delete(states, st.key)
	n.states.Store(&states)
	n.engine.step(core.StateRemoved{Key: st.key})
	return true
}

// View implements ClusterChannel.
func (n *node) View() View { return n.viewOf(n.engine.current()) }

// Members implements ClusterChannel.
func (n *node) Members() []Member { return n.View().Members }

// Position implements ClusterChannel.
func (n *node) Position() int { return n.engine.current().Position }

// Watch implements ClusterChannel.
func (n *node) Watch(ctx context.Context) iter.Seq[View] {
	return func(yield func(View) bool) {
		for {
			changed := n.engine.watch()
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
	never := make(chan struct{})
	if err := n.await(ctx, n.ready, never); err != nil {
		return err
	}
	for _, st := range *n.states.Load() { // each has its limit, from when it was added
		if err := n.await(ctx, st.ready, st.stop); err != nil {
			return err
		}
	}
	return nil
}

// await waits for done, or until there is nothing to wait for.
func (n *node) await(ctx context.Context, done, gone <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-gone:
		if n.closing.Load() {
			return fmt.Errorf("%w: WaitReady", ErrClosed)
		}
		return nil
	case <-n.work.Done():
		return fmt.Errorf("%w: WaitReady", ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
}

var _ ClusterChannel = (*node)(nil)
