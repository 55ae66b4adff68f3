package nemesis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
)

// agent is a seat in this process.
type agent struct {
	channel  backend.ClusterChannel
	audience audience
	tap      *tap
	reg      *prometheus.Registry
	sets     map[string]*set // by key
	ending   atomic.Bool
	cancel   context.CancelFunc
	watching sync.WaitGroup
}

// opener opens a node, as backend.Open does.
type opener func(context.Context, backend.Config) (backend.ClusterChannel, error)

// openAgent opens a node through the tap, and adds its states.
func openAgent(open opener, s settings, t *tap, log io.Writer, to audience) (*agent, error) {
	a := &agent{audience: to, tap: t, reg: prometheus.NewRegistry(), sets: map[string]*set{}}
	c := s.config()
	c.Registerer, c.Driver = a.reg, t.open
	c.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if a.channel, err = open(context.Background(), c); err != nil {
		return nil, err
	}
	to.viewed(a.channel.View())
	for _, key := range allKeys {
		a.sets[key] = newSet(key, to)
		if err := a.add(key); err != nil {
			return nil, errors.Join(err, a.close(closing))
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.watching.Go(func() {
		for v := range a.channel.Watch(ctx) {
			to.viewed(v)
		}
	})
	return a, nil
}

func (a *agent) put(key, name string, size int) { a.sets[key].write(name, size) }

func (a *agent) act(ctx context.Context, name string, turn time.Duration) (bool, error) {
	if err := backend.WaitTurn(ctx, a.channel, turn); err != nil {
		return false, err
	}
	if a.sets[delivered].has(name) {
		return false, nil
	}
	a.put(delivered, name, deedSize)
	return true, nil
}

func (a *agent) be(key string, m mood) { a.sets[key].be(m) }

func (a *agent) add(key string) error {
	s := a.sets[key]
	s.mu.Lock()
	there := s.channel != nil
	s.mu.Unlock()
	if there || a.ending.Load() {
		return nil
	}
	channel, err := a.channel.AddState(key, s.state(), nil)
	if err != nil {
		if a.ending.Load() {
			return nil
		}
		return fmt.Errorf("AddState(%q): %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channel = channel
	return nil
}

func (a *agent) remove(key string) {
	s := a.sets[key]
	s.mu.Lock()
	channel := s.channel
	s.channel = nil
	s.mu.Unlock()
	if channel != nil {
		channel.Remove()
	}
}

func (a *agent) reopen() { a.tap.giveUp() }

func (a *agent) befall(c condition) { a.tap.set(c) }

func (a *agent) figures() (f figures, err error) {
	families, err := a.reg.Gather()
	for _, family := range families {
		f.Series += len(family.GetMetric())
		for _, m := range family.GetMetric() {
			switch family.GetName() {
			case "alertmanager_cluster_peers_left_total":
				f.Left += m.GetCounter().GetValue()
			case "clusterchannel_members_failed_total":
				f.Failed += m.GetCounter().GetValue()
			}
		}
	}
	return f, err
}

func (a *agent) close(limit time.Duration) error {
	a.ending.Store(true)
	for _, s := range a.sets {
		s.be(willing) // a Merge that blocks would outlive the node
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := a.channel.Close(ctx)
	if a.cancel != nil {
		a.cancel()
	}
	a.watching.Wait()
	return err
}
