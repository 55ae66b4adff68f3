package scheduler

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/strutil"

	"github.com/clusterchannel/clusterchannel/backend"
)

// stateKey is the key under which the states of groups are replicated.
const stateKey = "scheduler:groups"

// Scheduler evaluates rules until it is closed. Its methods may be called from
// many goroutines.
type Scheduler struct {
	opts    Options
	link    string   // to the server that is queried, for people
	linkURL *url.URL // the same
	metrics *metrics
	history *history

	board   *board          // nil if nothing is remembered
	channel backend.Channel // nil where every node evaluates
	file    *stateFile      // nil where nothing is saved

	ctx     context.Context // of all evaluations
	cancel  context.CancelFunc
	manager *rules.Manager // nil where nothing is evaluated
	run     sync.WaitGroup
	closing sync.Once

	reloading sync.Mutex
	source    source

	loaded atomic.Int64 // groups; the manager would make a scrape wait for a reload

	mu     sync.Mutex
	duties map[string]*duty // by group
}

// source is what the manager loads groups from.
type source struct{ loaded }

// New loads the rule files and begins to evaluate them. Its error names file
// and line, or the option; after it nothing is left running.
func New(opts Options) (_ *Scheduler, err error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	s := &Scheduler{opts: opts, history: newHistory(opts.HistorySize), duties: map[string]*duty{}}
	s.link = display(opts.QueryURL)
	if s.linkURL, err = url.Parse(s.link); err != nil {
		return nil, fmt.Errorf("%w: query url: %w", backend.ErrConfig, err)
	}
	s.metrics = newMetrics(s.groups, s.evaluated)
	if err := s.metrics.register(opts.Registerer); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	single := opts.SingleEvaluation && opts.Cluster != nil
	if single || opts.StateFile != "" {
		s.board = newBoard(s.deliver)
	}
	if opts.StateFile != "" {
		if s.file, err = openStateFile(opts.StateFile, s.board, opts.Logger); err != nil {
			return nil, err
		}
		s.run.Go(func() { s.file.run(s.ctx.Done()) })
	}
	if single {
		if s.channel, err = opts.Cluster.AddState(stateKey, s.board, nil); err != nil {
			return nil, fmt.Errorf("replicate %q: %w", stateKey, err)
		}
	}
	if opts.ReceiveOnly || len(opts.RuleFiles) == 0 {
		return s, nil
	}
	if err := s.manage(); err != nil {
		return nil, err
	}
	return s, s.Reload()
}

// manage starts the manager, which has no groups yet.
func (s *Scheduler) manage() error {
	ask, err := query(&s.opts)
	if err != nil {
		return err
	}
	s.manager = rules.NewManager(&rules.ManagerOptions{
		Context: s.ctx, QueryFunc: ask, NotifyFunc: s.notify, ExternalURL: s.linkURL,
		AppendableV2: discard{}, Queryable: storage.QueryableFunc(func(int64, int64) (storage.Querier, error) { return storage.NoopQuerier(), nil }),
		ResendDelay: s.opts.ResendDelay, GroupLoader: &s.source, Metrics: s.metrics.rules, Logger: s.opts.Logger,
	})
	s.run.Go(s.manager.Run)
	// The manager restores for from a storage in the groups of its first update,
	// which delays them. There is no storage.
	return s.manager.Update(s.opts.Interval, nil, labels.EmptyLabels(), s.link, s.iterate)
}

// Reload reads the rule files again, including new ones that match. Its error
// names file and line; after it the former rules stay. Pending alerts of
// unchanged rules continue.
func (s *Scheduler) Reload() (err error) {
	if s.manager == nil {
		return nil
	}
	s.reloading.Lock()
	defer s.reloading.Unlock()
	defer func() {
		s.metrics.reloaded.Set(1)
		if err != nil {
			s.metrics.reloaded.Set(0)
			s.opts.Logger.Error("the rules were not loaded; the former ones stay", "err", err)
		}
	}()
	read, paths, err := load(s.opts.RuleFiles, s.opts.parsing, s.opts.Logger)
	if err != nil {
		return err
	}
	read.slow(s.opts.MinInterval, s.opts.Logger)
	s.source.loaded = read
	if err := s.manager.Update(s.opts.Interval, paths, labels.EmptyLabels(), s.link, s.iterate); err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	s.retain()
	return nil
}

// retain forgets the groups that no longer exist.
func (s *Scheduler) retain() {
	kept := map[string]bool{}
	for _, g := range s.manager.RuleGroups() {
		kept[rules.GroupKey(g.File(), g.Name())] = true
	}
	s.loaded.Store(int64(len(kept)))
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.duties, func(key string, _ *duty) bool {
		if !kept[key] {
			s.metrics.slow.DeleteLabelValues(key)
		}
		return !kept[key]
	})
}

// groups and evaluated are the gauges' values.
func (s *Scheduler) groups() float64 { return float64(s.loaded.Load()) }

func (s *Scheduler) evaluated() (n float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.duties {
		if d.evaluates {
			n++
		}
	}
	return n
}

// notify sends a rule's alerts to this node's receiver.
func (s *Scheduler) notify(ctx context.Context, expr string, alerts ...*rules.Alert) {
	all := make([]*model.Alert, 0, len(alerts))
	for _, a := range alerts {
		end := a.ResolvedAt
		if end.IsZero() {
			end = a.ValidUntil
		}
		all = append(all, &model.Alert{
			Labels: labelSet(a.Labels), Annotations: labelSet(a.Annotations),
			StartsAt: earlier(a.FiredAt, end), EndsAt: end, GeneratorURL: s.generator(expr),
		})
	}
	s.send(ctx, all)
}

// deliver sends another node's alerts of a group to this node's receiver.
func (s *Scheduler) deliver(said []snapshot) {
	var all []*model.Alert
	for _, g := range said {
		all = append(all, g.postable(time.Now())...)
	}
	s.send(s.ctx, all)
}

func (s *Scheduler) send(ctx context.Context, alerts []*model.Alert) {
	if len(alerts) == 0 {
		return
	}
	if err := s.opts.Send(ctx, alerts...); err != nil && s.ctx.Err() == nil {
		s.metrics.sendFailures.Inc()
		s.opts.Logger.Error("the receiver refused alerts", "alerts", len(alerts), "err", err)
	}
}

func (s *Scheduler) generator(expr string) string {
	return s.link + strutil.TableLinkForExpression(expr)
}

// Close stops evaluating and removes the state from the node. It returns when
// nothing runs any more; queries in flight are cancelled.
func (s *Scheduler) Close() {
	s.closing.Do(func() {
		s.cancel()
		if s.manager != nil {
			s.manager.Stop()
		}
		s.run.Wait()
		if s.file != nil {
			s.file.save()
		}
		if s.channel != nil {
			s.channel.Remove()
		}
		s.opts.HTTPClient.CloseIdleConnections()
		s.metrics.unregister(s.opts.Registerer)
	})
}

func labelSet(l labels.Labels) model.LabelSet {
	set := make(model.LabelSet, l.Len())
	l.Range(func(l labels.Label) { set[model.LabelName(l.Name)] = model.LabelValue(l.Value) })
	return set
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
