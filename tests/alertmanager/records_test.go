package alertmanager_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	silences "github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/memberlist"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	_ "github.com/clusterchannel/clusterchannel/backends/redis"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// counted are records whose whole marshals and merges are counted.
type counted struct {
	*alertmanager.Records
	marshals, merges atomic.Int64
}

func (c *counted) MarshalBinary() ([]byte, error) {
	c.marshals.Add(1)
	return c.Records.MarshalBinary()
}

func (c *counted) Merge(b []byte) error {
	c.merges.Add(1)
	return c.Records.Merge(b)
}

func (c *counted) count() (n int) {
	for range c.EntryIDs() {
		n++
	}
	return n
}

// untold are records that say of some entries what nobody can merge.
type untold struct{ *counted }

var stray = backend.EntryIDOf([]byte("stray"))

func (u untold) EntryIDs() iter.Seq[backend.EntryID] {
	return func(yield func(backend.EntryID) bool) {
		if !yield(stray) {
			return
		}
		u.counted.EntryIDs()(yield)
	}
}

func (u untold) Entry(id backend.EntryID) ([]byte, error) {
	if id == stray {
		return []byte{1, 2, 3}, nil
	}
	return u.counted.Entry(id)
}

// older is a state as a node of an older version has it: it knows no entries.
type older struct {
	backend.State
	digest func() (uint64, error)
}

func (o older) Digest() (uint64, error) { return o.digest() }

// keeper is the node's own states, and their records.
type keeper struct {
	log              *nflog.Log
	silences         *silences.Silences
	entries, records *counted
}

func newKeeper(t *testing.T) *keeper {
	t.Helper()
	log, err := nflog.New(nflog.Options{Retention: time.Hour, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	sils, err := silences.New(silences.Options{Retention: time.Hour, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := alertmanager.NewLogRecords(log)
	if err != nil {
		t.Fatal(err)
	}
	records, err := alertmanager.NewSilenceRecords(sils)
	if err != nil {
		t.Fatal(err)
	}
	return &keeper{log: log, silences: sils, entries: &counted{Records: entries}, records: &counted{Records: records}}
}

// write notes n notifications and sets n silences.
func (k *keeper) write(t *testing.T, name string, n int) {
	t.Helper()
	for i := range n {
		if err := k.log.Log(&nflogpb.Receiver{GroupName: "team", Integration: "webhook"}, fmt.Sprint(name, i), []uint64{1}, nil, nil, 0); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		if err := k.silences.Set(t.Context(), &silencepb.Silence{
			MatcherSets: []*silencepb.MatcherSet{{Matchers: []*silencepb.Matcher{{Name: "alertname", Pattern: fmt.Sprint(name, i)}}}},
			StartsAt:    timestamppb.New(now), EndsAt: timestamppb.New(now.Add(time.Hour)), CreatedBy: name,
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// join gives the states a seat in a cluster. Each is shared as change says.
func (k *keeper) join(t *testing.T, c *backend.Config, name string, change func(*counted) backend.State) backend.ClusterChannel {
	t.Helper()
	own := *c
	own.Cluster, own.Name, own.Registerer, own.Logger = "alerts", name, prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	own.Timing.Sync = 500 * time.Millisecond
	ch, err := backend.Open(t.Context(), own)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ch.Close(context.Background()) })
	for key, s := range map[string]*counted{"nfl": k.entries, "sil": k.records} {
		channel, err := ch.AddState(key, change(s), nil)
		if err != nil {
			t.Fatal(err)
		}
		s.SetBroadcast(channel.Broadcast)
	}
	return ch
}

func asItIs(c *counted) backend.State { return c }

// have waits until all have n entries of both kinds.
func have(t *testing.T, n int, all ...*keeper) {
	t.Helper()
	testkit.Eventually(t, 30*time.Second, func() error {
		for i, k := range all {
			if x, y := k.entries.count(), k.records.count(); x != n || y != n {
				return fmt.Errorf("node %d has %d notifications and %d silences, want %d", i, x, y, n)
			}
		}
		return nil
	})
}

// each runs f in a cluster of each kind. config is how to join the node that it is
// given; whole says that the transport cannot send to one member.
func each(t *testing.T, f func(t *testing.T, config func(backend.ClusterChannel) *backend.Config, whole bool)) {
	t.Run("memory", func(t *testing.T) {
		bus := memory.NewBus()
		t.Cleanup(bus.Remove)
		f(t, func(backend.ClusterChannel) *backend.Config {
			return &backend.Config{Backend: "memory", Params: map[string]string{"bus": bus.Name()}}
		}, true)
	})
	t.Run("memberlist", func(t *testing.T) {
		f(t, func(seed backend.ClusterChannel) *backend.Config {
			p := map[string]string{"listen_address": "127.0.0.1:0", "advertise_address": "127.0.0.1"}
			if seed != nil {
				if err := seed.WaitReady(t.Context()); err != nil {
					t.Fatal(err)
				}
				p["peers"] = seed.View().Self().Addr
			}
			return &backend.Config{Backend: "memberlist", Params: p}
		}, false)
	})
	t.Run("redis", func(t *testing.T) {
		s := servers.Start(t, servers.Redis(), servers.Options{})
		f(t, func(backend.ClusterChannel) *backend.Config {
			return &backend.Config{Backend: "redis", Params: map[string]string{"address": s.Addr()}}
		}, false)
	})
}

// A joiner gets what it lacks record by record, and so does who is there; afterwards
// nothing moves. Nobody marshals a whole state where one member can be sent to.
func TestRecordsInACluster(t *testing.T) {
	each(t, func(t *testing.T, config func(backend.ClusterChannel) *backend.Config, whole bool) {
		a, b, c := newKeeper(t), newKeeper(t), newKeeper(t)
		a.write(t, "of a ", 300)
		b.write(t, "of b ", 20)
		seed := a.join(t, config(nil), "a", asItIs)
		b.join(t, config(seed), "b", asItIs)
		have(t, 320, a, b)
		b.write(t, "later ", 3)
		have(t, 323, a, b)
		c.join(t, config(seed), "c", asItIs)
		have(t, 323, a, b, c)
		settled(t, a, b, c)
		if n := marshals(a, b, c); n > 0 != whole {
			t.Errorf("%d whole states were marshalled", n)
		}
	})
}

// A record that a member cannot tell rightly stays aside, and all others get through.
func TestRecordsBesideOneThatDoesNotDecode(t *testing.T) {
	each(t, func(t *testing.T, config func(backend.ClusterChannel) *backend.Config, whole bool) {
		if whole {
			t.Skip("whole states are exchanged: none of them has it")
		}
		a, b := newKeeper(t), newKeeper(t)
		a.write(t, "of a ", 50)
		b.write(t, "of b ", 50)
		seed := a.join(t, config(nil), "a", func(c *counted) backend.State { return untold{c} })
		b.join(t, config(seed), "b", asItIs)
		have(t, 100, a, b)
	})
}

// A node of an older version knows no entries: it and this one exchange whole states,
// until they are equal.
func TestRecordsBesideAnOlderNode(t *testing.T) {
	each(t, func(t *testing.T, config func(backend.ClusterChannel) *backend.Config, _ bool) {
		a, b := newKeeper(t), newKeeper(t)
		a.write(t, "of a ", 50)
		b.write(t, "of b ", 50)
		seed := a.join(t, config(nil), "a", asItIs)
		b.join(t, config(seed), "b", func(c *counted) backend.State { return older{c, c.Digest} })
		have(t, 100, a, b)
		settled(t, a, b)
	})
}

func marshals(all ...*keeper) (n int64) {
	for _, k := range all {
		n += k.entries.marshals.Load() + k.records.marshals.Load()
	}
	return n
}

// settled waits until nothing is marshalled or merged for some periods.
func settled(t *testing.T, all ...*keeper) {
	t.Helper()
	moved := func() (n int64) {
		for _, k := range all {
			n += k.entries.merges.Load() + k.records.merges.Load()
		}
		return n + marshals(all...)
	}
	last, since := moved(), time.Now()
	testkit.Eventually(t, 30*time.Second, func() error {
		if now := moved(); now != last {
			last, since = now, time.Now()
		}
		if quiet := time.Since(since); quiet < 3*time.Second {
			return fmt.Errorf("%d merges and whole marshals, the last one %v ago", last, quiet)
		}
		return nil
	})
}
