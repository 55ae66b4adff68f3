//go:build !race

package conformance

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// views alters every view of a channel.
func views(alter func(*backend.View)) func(context.Context, backend.Config) (backend.ClusterChannel, error) {
	return decorated(func(c *bentChannel) {
		c.view = func(v backend.View) backend.View {
			alter(&v)
			return v
		}
	})
}

func oneOfEachName(v *backend.View) {
	self := v.Self()
	v.Members = slices.DeleteFunc(v.Members, func(m backend.Member) bool { return m.Name == self.Name && m.Instance != self.Instance })
	v.Position = slices.IndexFunc(v.Members, func(m backend.Member) bool { return m.Instance == self.Instance })
}

// freezeWhenShrinking keeps the old view when a member has gone.
func freezeWhenShrinking(ctx context.Context, config backend.Config) (backend.ClusterChannel, error) {
	return decorated(func(c *bentChannel) {
		var mu sync.Mutex
		var kept backend.View
		c.view = func(v backend.View) backend.View {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range kept.Members {
				if !slices.ContainsFunc(v.Members, func(o backend.Member) bool { return o.Instance == m.Instance }) {
					return kept
				}
			}
			kept = v
			return v
		}
	})(ctx, config)
}

func shareView(ctx context.Context, config backend.Config) (backend.ClusterChannel, error) {
	return decorated(func(c *bentChannel) {
		var mu sync.Mutex
		var kept backend.View
		c.view = func(v backend.View) backend.View {
			mu.Lock()
			defer mu.Unlock()
			if kept.Epoch != v.Epoch {
				kept = v
			}
			return kept
		}
	})(ctx, config)
}

// byEar has a view without the members of whom nothing was heard for that long; or
// with those that were heard lately, whatever became of them.
func byEar(silence time.Duration, revives bool) func(context.Context, backend.Config) (backend.ClusterChannel, error) {
	return func(ctx context.Context, config backend.Config) (backend.ClusterChannel, error) {
		var mu sync.Mutex
		heard, known := map[string]time.Time{}, map[string]backend.Member{}
		config.Driver = bend(func(d *bent) {
			d.in = func(h driver.Handler, b []byte) {
				var f wire.Frame
				if wire.Decode(b, &f) == nil {
					mu.Lock()
					heard[string(f.Origin)] = time.Now()
					mu.Unlock()
				}
				h.Frame(b)
			}
		})(config.Driver)
		return views(func(v *backend.View) {
			mu.Lock()
			defer mu.Unlock()
			self := v.Self().Instance
			for _, m := range v.Members {
				known[m.Instance] = m
			}
			v.Members = slices.DeleteFunc(v.Members, func(m backend.Member) bool {
				return m.Instance != self && (revives || time.Since(heard[m.Instance]) > silence)
			})
			for id, m := range known {
				if revives && id != self && time.Since(heard[id]) <= silence {
					v.Members = append(v.Members, m)
				}
			}
			slices.SortFunc(v.Members, compareMembers)
			v.Position = slices.IndexFunc(v.Members, func(m backend.Member) bool { return m.Instance == self })
		})(ctx, config)
	}
}

// hides exports all metrics but one.
func hides(metric string) func(context.Context, backend.Config) (backend.ClusterChannel, error) {
	return func(ctx context.Context, config backend.Config) (backend.ClusterChannel, error) {
		config.Registerer = without{config.Registerer, metric}
		return backend.Open(ctx, config)
	}
}

type without struct {
	prometheus.Registerer
	metric string
}

func (r without) Register(c prometheus.Collector) error {
	descriptions := make(chan *prometheus.Desc, 100)
	c.Describe(descriptions)
	if len(descriptions) == 1 && strings.Contains((<-descriptions).String(), `"`+r.metric+`"`) {
		return nil
	}
	return r.Registerer.Register(c)
}

// broadcasts sends payloads by send.
func broadcasts(send func(backend.Channel, []byte) error) func(context.Context, backend.Config) (backend.ClusterChannel, error) {
	return decorated(func(c *bentChannel) { c.send = send })
}

// keepsRefused keeps a copy of each payload that the queue refused.
func keepsRefused(ctx context.Context, config backend.Config) (backend.ClusterChannel, error) {
	var mu sync.Mutex
	var kept [][]byte
	return broadcasts(func(c backend.Channel, b []byte) error {
		err := c.TryBroadcast(b)
		if errors.Is(err, backend.ErrQueueFull) {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, bytes.Clone(b))
		}
		return err
	})(ctx, config)
}

// thirdAlone opens the third of those that come back, which is the sixth node, in a
// cluster of its own.
func thirdAlone() func(context.Context, backend.Config) (backend.ClusterChannel, error) {
	var opened atomic.Int64
	return func(ctx context.Context, c backend.Config) (backend.ClusterChannel, error) {
		if opened.Add(1)%6 == 0 {
			c.Cluster += "-island"
		}
		return backend.Open(ctx, c)
	}
}

func decorated(bend func(*bentChannel)) func(context.Context, backend.Config) (backend.ClusterChannel, error) {
	return func(ctx context.Context, config backend.Config) (backend.ClusterChannel, error) {
		channel, err := backend.Open(ctx, config)
		if err != nil {
			return nil, err
		}
		c := &bentChannel{ClusterChannel: channel, merging: make(turn, 1)}
		bend(c)
		return c, nil
	}
}

// bentChannel is a channel with a fault.
type bentChannel struct {
	backend.ClusterChannel
	view func(backend.View) backend.View
	send func(backend.Channel, []byte) error
	key  func(string) string

	apart func(bentEntries) backend.State // what becomes of a state that can be taken apart; nil: it cannot

	watchOnce, readyAtOnce, readyNoContext, closeOnce           bool
	echo, storm, oneAtATime, stopAtError, noState, noLargeState bool
	keepRemoved, loseUnderLoad, inline, neverEqual, allAnswer   bool

	echoForEver bool
	newWaits    bool // WaitReady takes long where a state is called new
	hasNew      atomic.Bool
	merged      sync.Map // what was merged

	merging turn
	stopped atomic.Bool
	sent    atomic.Int64
	closed  atomic.Bool
	closing *atomic.Bool // set when Close is called; may be nil
}

func (c *bentChannel) View() backend.View {
	v := c.ClusterChannel.View()
	if c.view != nil {
		v = c.view(v)
	}
	if c.loseUnderLoad && c.sent.Load() > 50 {
		v.Members = v.Members[v.Position : v.Position+1]
		v.Position = 0
	}
	return v
}

func (c *bentChannel) Members() []backend.Member { return c.View().Members }
func (c *bentChannel) Position() int             { return c.View().Position }

func (c *bentChannel) Watch(ctx context.Context) iter.Seq[backend.View] {
	return func(yield func(backend.View) bool) {
		for range c.ClusterChannel.Watch(ctx) {
			if !yield(c.View()) {
				return
			}
			if c.watchOnce {
				<-ctx.Done()
				return
			}
		}
	}
}

func (c *bentChannel) WaitReady(ctx context.Context) error {
	switch {
	case c.readyAtOnce:
		return nil
	case c.readyNoContext:
		return c.ClusterChannel.WaitReady(context.WithoutCancel(ctx))
	}
	if c.newWaits && c.hasNew.Load() {
		<-ctx.Done()
	}
	return c.ClusterChannel.WaitReady(ctx)
}

func (c *bentChannel) Close(ctx context.Context) error {
	if again := c.closed.Swap(true); again && c.closeOnce {
		return errors.New("closed twice")
	}
	if c.closing != nil {
		c.closing.Store(true)
	}
	return c.ClusterChannel.Close(ctx)
}

func (c *bentChannel) AddState(key string, s backend.State, o *backend.StateOptions) (backend.Channel, error) {
	if c.key != nil {
		key = c.key(key)
	}
	if key == "new" {
		c.hasNew.Store(true)
	}
	st := &bentState{State: s, owner: c}
	var handed backend.State = st
	if taken, ok := s.(backend.EntryState); ok && c.apart != nil {
		handed = c.apart(bentEntries{taken})
	}
	if c.neverEqual {
		handed = randomDigest{st}
	}
	channel, err := c.ClusterChannel.AddState(key, handed, o)
	if err != nil {
		return nil, err
	}
	if c.allAnswer { // under a key of its own, or the others' answers would be echoes of the first
		own, err := c.ClusterChannel.AddState("answers of "+c.ClusterChannel.View().Self().Instance, discard, nil)
		if err != nil {
			return nil, err
		}
		go c.answer(own, s)
	}
	if c.storm {
		st.shadow, _ = c.ClusterChannel.AddState("shadow of "+key, discard, nil)
	}
	return &bentSender{Channel: channel, owner: c, state: s}, nil
}

// discard is a state that holds nothing.
var discard = stateFuncs{func() ([]byte, error) { return nil, nil }, func([]byte) error { return nil }}

// answer broadcasts all of a state whenever another member has joined.
func (c *bentChannel) answer(channel backend.Channel, s backend.State) {
	known := len(c.Members())
	for v := range c.ClusterChannel.Watch(context.Background()) { // it ends with the channel
		if len(v.Members) > known {
			if b, err := s.MarshalBinary(); err == nil {
				channel.Broadcast(b)
			}
		}
		known = len(v.Members)
	}
}

// randomDigest is a state that no other seems to equal.
type randomDigest struct{ *bentState }

func (randomDigest) Digest() (uint64, error) { return rand.Uint64(), nil }

type bentSender struct {
	backend.Channel
	owner *bentChannel
	state backend.State
}

func (s *bentSender) Broadcast(b []byte) { _ = s.TryBroadcast(b) }

func (s *bentSender) TryBroadcast(b []byte) error {
	s.owner.sent.Add(1)
	if s.owner.echo {
		_ = s.state.Merge(bytes.Clone(b))
	}
	if s.owner.inline {
		merged := make(chan struct{})
		go func() {
			defer close(merged)
			_ = s.state.Merge(bytes.Clone(b))
		}()
		select {
		case <-merged:
		case <-time.After(10 * time.Second): // longer than the check may take, but not for ever
		}
	}
	if _, merged := s.owner.merged.Load(string(b)); merged && s.owner.echoForEver {
		return nil
	}
	if s.owner.send != nil {
		return s.owner.send(s.Channel, b)
	}
	return s.Channel.TryBroadcast(b)
}

func (s *bentSender) Remove() {
	if !s.owner.keepRemoved {
		s.Channel.Remove()
	}
}

type bentState struct {
	backend.State
	owner  *bentChannel
	shadow backend.Channel
}

func (s *bentState) Merge(b []byte) error {
	c := s.owner
	if c.oneAtATime {
		c.merging.Lock()
		defer c.merging.Unlock()
	}
	if c.stopAtError && c.stopped.Load() {
		return nil
	}
	if c.echoForEver {
		c.merged.Store(string(b), true)
	}
	err := s.State.Merge(b)
	if err != nil {
		c.stopped.Store(true)
	}
	if s.shadow != nil {
		s.shadow.Broadcast(b)
	}
	return err
}

func (s *bentState) MarshalBinary() ([]byte, error) {
	b, err := s.State.MarshalBinary()
	if s.owner.noState || s.owner.noLargeState && len(b) > 1<<20 {
		return nil, err
	}
	return b, err
}

// turn is a lock for which virtual time goes on while others wait.
type turn chan struct{}

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }
