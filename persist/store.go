package persist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// Options say where states are kept. DSN is required.
type Options struct {
	// DSN is the database; see the package's documentation. It is never logged.
	DSN string

	// Cluster is the name of the cluster. States with the same cluster name and
	// key are the same state.
	Cluster string

	// Node names this node in the column saved_by, for people.
	Node string

	// Interval is how often a changed state is saved; default 30s.
	Interval time.Duration

	// Timeout bounds each load and each save; default 10s.
	Timeout time.Duration

	// Logger receives what an operator should know; default slog.Default.
	Logger *slog.Logger

	// Registerer receives the metrics; nil for none.
	Registerer prometheus.Registerer
}

// Store keeps states. Its methods may be called from many goroutines.
type Store struct {
	opts Options
	log  *slog.Logger
	db   *database
	met  *metrics

	cancel context.CancelFunc
	done   sync.WaitGroup
	close  sync.Once
	closed error

	failed   chan struct{} // holds a token when run is to try again sooner
	turn     chan struct{} // holds a token while no load or save runs
	migrated bool          // guarded by turn

	mu   sync.Mutex
	kept []*kept
}

const backoffMax = time.Minute

// Open prepares a Store. It dials nothing: a database that is away is no error.
// An unusable option is an error that wraps backend.ErrConfig.
func Open(o Options) (*Store, error) {
	if err := cmp.Or(
		params.OrDefault("interval", &o.Interval, 30*time.Second),
		params.OrDefault("timeout", &o.Timeout, 10*time.Second),
	); err != nil {
		return nil, fmt.Errorf("persist: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	db, err := connect(o.DSN)
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, log: o.Logger.With("component", "persist"), db: db, turn: make(chan struct{}, 1), failed: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	if kind := sharedFileSystem(db.file); db.file != "" && kind != "" {
		s.log.Warn("the database is on a file system where locks may not hold; give it a disk of this host, one file a node", "file", db.file, "kind", kind)
	}
	if s.met, err = newMetrics(o.Registerer, o.Cluster); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.done.Go(func() { s.run(ctx) })
	return s, nil
}

// Keep loads a state, and saves it from now on. Pass what it returns to
// ClusterChannel.AddState instead of st; call st's Merge from nowhere else. It is a
// backend.EntryState if st is one. A
// database that does not answer within ctx and Options.Timeout is no error: it
// is logged and counted, and what is stored is merged later. The error wraps
// backend.ErrConfig if key is empty or kept already, and backend.ErrClosed
// after Close.
func (s *Store) Keep(ctx context.Context, key string, st backend.State) (backend.State, error) {
	if key == "" {
		return nil, fmt.Errorf("persist: %w: the key of a state is empty", backend.ErrConfig)
	}
	k := newKept(placeOf(s.opts.Cluster, key), st)
	s.mu.Lock()
	if slices.ContainsFunc(s.kept, func(o *kept) bool { return o.place.id == k.place.id }) {
		s.mu.Unlock()
		return nil, fmt.Errorf("persist: %w: state %q is kept already", backend.ErrConfig, key)
	}
	s.kept = append(s.kept, k)
	s.mu.Unlock()
	err := s.attempt(ctx, k)
	if errors.Is(err, backend.ErrClosed) {
		return nil, err
	}
	if err != nil {
		select {
		case s.failed <- struct{}{}:
		default:
		}
	}
	return k.shared(), nil
}

// Keeping returns node with an AddState that keeps each state under its key, by Keep,
// before it is added: for what adds its state by itself, such as the types of package
// replicated. ctx bounds each load.
func (s *Store) Keeping(ctx context.Context, node backend.ClusterChannel) backend.ClusterChannel {
	kept := keeping{node, ctx, s}
	if i, ok := node.(backend.Inspector); ok {
		return struct {
			keeping
			backend.Inspector
		}{kept, i}
	}
	return kept
}

// keeping is a node whose states a Store keeps.
type keeping struct {
	backend.ClusterChannel
	ctx   context.Context
	store *Store
}

// AddState implements backend.ClusterChannel.
func (k keeping) AddState(key string, st backend.State, o *backend.StateOptions) (backend.Channel, error) {
	kept, err := k.store.Keep(k.ctx, key, st)
	if err != nil {
		return nil, err
	}
	return k.ClusterChannel.AddState(key, kept, o)
}

// Close saves what has changed, within ctx, and frees everything. Its error
// names the states that are not saved. Further calls return the same.
func (s *Store) Close(ctx context.Context) error {
	s.close.Do(func() {
		s.cancel()
		s.done.Wait()
		var errs []error
		for _, k := range s.all() {
			errs = append(errs, s.attempt(ctx, k))
		}
		<-s.turn // for good
		errs = append(errs, s.db.Close())
		s.met.unregister()
		s.closed = errors.Join(errs...)
		close(s.turn)
	})
	return s.closed
}

func (s *Store) all() []*kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.kept)
}

// run saves every interval, and after a failure sooner.
func (s *Store) run(ctx context.Context) {
	backoff := time.Second
	for {
		wait := s.opts.Interval
		if s.failing() {
			wait = min(wait, time.Duration(float64(backoff)*(0.5+rand.Float64()/2)))
			backoff = min(2*backoff, backoffMax)
		} else {
			backoff = time.Second
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.failed:
			timer.Stop()
			continue
		case <-ctx.Done():
			timer.Stop()
			return
		}
		for _, k := range s.all() {
			_ = s.attempt(ctx, k) // logged and counted there
		}
	}
}

func (s *Store) failing() bool { return s.met.failing() }

// attempt syncs one state, and logs and counts the outcome.
func (s *Store) attempt(ctx context.Context, k *kept) error {
	select {
	case _, open := <-s.turn:
		if !open {
			return fmt.Errorf("persist: %w", backend.ErrClosed)
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.turn <- struct{}{} }()
	limited, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	err := s.db.explain(s.sync(limited, k))
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("not within %v: %w; raise the timeout, or find out why the database is slow", s.opts.Timeout, err)
	}
	if err != nil {
		s.migrated = false // the database that comes back may be another one
	}
	if ctx.Err() != nil && err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err() // it was interrupted, not refused
	}
	if before := s.met.outcome(k.place.key, err); err != nil && !before {
		s.log.Error("a state could not be saved; still trying", "key", k.place.key, "err", err)
	} else if err == nil && before {
		s.log.Info("a state is saved again", "key", k.place.key)
	}
	if err != nil {
		return fmt.Errorf("persist: %s: %w", k.place.key, err)
	}
	return nil
}

// prepare migrates the schema, at first and after each failure.
func (s *Store) prepare(ctx context.Context) error {
	if s.migrated {
		return nil
	}
	if err := s.db.migrate(ctx); err != nil {
		return err
	}
	s.migrated = true
	return nil
}
