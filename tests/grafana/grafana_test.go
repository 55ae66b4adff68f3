package grafana_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/redis"
	"github.com/clusterchannel/clusterchannel/tests/grafanapeer"
)

func TestGrafanaPeersAndOursHaveOneOrder(t *testing.T) {
	m := newMesh(t, "grafana")
	seats := []*seat{
		m.peer("node-1"), m.node("node-2"), m.peer("node-10"), m.node("node-1"), m.node("node-1.a"), m.peer("Node-2"), m.node("node-1"),
	}
	m.agree(10*time.Second, seats...)
	for _, s := range seats {
		if s.peer != nil {
			if n := s.peer.ClusterSize(); n != len(seats) {
				t.Errorf("%s counts %d keys, want %d: Grafana's health score is the difference", s.name, n, len(seats))
			}
		}
	}
}

func TestGrafanaWithDefaultPeriods(t *testing.T) {
	m := newMesh(t, "")
	peer := m.peer("a", func(o *grafanapeer.Options) { o.Heartbeat, o.Scan, o.Timeout = 0, 0, 0 })
	ours := m.node("b", func(c *backend.Config) { c.Backend, c.Driver = "redis", nil })
	t.Logf("seen by both after %v", m.agree(12*time.Second, peer, ours))
	ours.set("x", 1)
	m.hold(time.Second, "x", 1, peer)
	peer.end()
	t.Logf("a leave was seen after %v", m.agree(2*time.Second, ours)) // its full state was the hint
}

// store is what Grafana replicates: real silences, and a real log of
// notifications.
type store struct {
	silences *silence.Silences
	log      *nflog.Log
}

func newStore(t *testing.T) *store {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	s, err := silence.New(silence.Options{Retention: time.Hour, Logger: quiet, Metrics: prometheus.NewRegistry(), EventRecorder: eventrecorder.NopRecorder()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := nflog.New(nflog.Options{Retention: time.Hour, Logger: quiet, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return &store{s, l}
}

// write adds a silence and a notification.
func (s *store) write(t *testing.T, comment string) (id string) {
	t.Helper()
	sil := &silencepb.Silence{
		MatcherSets: []*silencepb.MatcherSet{{Matchers: []*silencepb.Matcher{{Name: "alertname", Pattern: "x", Type: silencepb.Matcher_EQUAL}}}},
		StartsAt:    timestamppb.Now(), EndsAt: timestamppb.New(time.Now().Add(time.Hour)), CreatedBy: "test", Comment: comment,
	}
	if err := s.silences.Set(t.Context(), sil); err != nil {
		t.Fatal(err)
	}
	if err := s.log.Log(receiver, comment, []uint64{1}, nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	return sil.Id
}

var receiver = &nflogpb.Receiver{GroupName: "group", Integration: "webhook"}

func (s *store) holds(ctx context.Context, id, comment string) error {
	if _, err := s.silences.QueryOne(ctx, silence.QIDs(id)); err != nil {
		return fmt.Errorf("silence %s: %w", id, err)
	}
	if _, err := s.log.Query(nflog.QReceiver(receiver), nflog.QGroupKey(comment)); err != nil {
		return fmt.Errorf("notification of %s: %w", comment, err)
	}
	return nil
}

func TestGrafanaSharesSilencesAndNotifications(t *testing.T) {
	m := newMesh(t, "grafana")
	peer, ours := m.peer("a"), m.node("b")
	theirStore, ourStore := newStore(t), newStore(t)
	theirStore.silences.SetBroadcast(peer.peer.AddState("silences:7", theirStore.silences).Broadcast)
	theirStore.log.SetBroadcast(peer.peer.AddState("notificationlog:7", theirStore.log).Broadcast)
	for key, s := range map[string]interface {
		backend.State
		SetBroadcast(func([]byte))
	}{"silences:7": ourStore.silences, "notificationlog:7": ourStore.log} {
		c, err := ours.ours.AddState(key, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.SetBroadcast(c.Broadcast)
	}
	m.agree(10*time.Second, peer, ours)
	theirs := theirStore.write(t, "theirs")
	t.Logf("a peer's update took %v", m.within(2*time.Second, func() error { return ourStore.holds(t.Context(), theirs, "theirs") }))
	id := ourStore.write(t, "ours")
	t.Logf("an own update took %v", m.within(2*time.Second, func() error { return theirStore.holds(t.Context(), id, "ours") }))
	if err := ourStore.silences.Expire(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	m.within(2*time.Second, func() error {
		sil, err := theirStore.silences.QueryOne(t.Context(), silence.QIDs(theirs))
		if err == nil && sil.EndsAt.AsTime().After(time.Now()) {
			err = errors.New("the silence is in force still")
		}
		return err
	})
}

func TestGrafanaFullStateReachesWhoJoins(t *testing.T) {
	t.Run("ours", func(t *testing.T) {
		m := newMesh(t, "grafana")
		peer := m.peer("a")
		peer.quietly("old", 1)
		m.within(5*time.Second, func() error { return listed(peer) })
		ours := m.node("b")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := ours.ours.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		if ready := ours.ours.View().Ready; ready != backend.Synced {
			t.Errorf("ready is %v, want %v", ready, backend.Synced)
		}
		m.hold(0, "old", 1, ours)
	})
	t.Run("a peer", func(t *testing.T) {
		m := newMesh(t, "grafana")
		ours := m.node("b")
		ours.quietly("old", 1)
		peer := m.peer("a", func(o *grafanapeer.Options) { o.Heartbeat, o.Scan = time.Hour, time.Hour }) // nobody knows it before it asks
		m.hold(5*time.Second, "old", 1, peer)
	})
	t.Run("both, in turn", func(t *testing.T) {
		m := newMesh(t, "grafana")
		short := quick
		short.FullState = 300 * time.Millisecond
		peer := m.peer("a", func(o *grafanapeer.Options) { o.PushPull = short.FullState })
		ours := m.nodeAt(short, "b")
		m.agree(10*time.Second, peer, ours)
		m.pass(time.Second)
		peer.quietly("theirs", 1)
		ours.quietly("ours", 1)
		m.hold(3*time.Second, "theirs", 1, ours)
		m.hold(3*time.Second, "ours", 1, peer)
	})
}

func listed(s *seat) error {
	if keys := s.peer.Members(); !slices.Contains(keys, s.key) {
		return fmt.Errorf("%s lists %q", s.name, keys)
	}
	return nil
}

func TestGrafanaLeaveIsSeen(t *testing.T) {
	m := newMesh(t, "grafana")
	reg := prometheus.NewRegistry()
	peer, leaver := m.peer("a"), m.peer("b")
	ours, second := m.node("c", func(c *backend.Config) { c.Registerer = reg }), m.node("d")
	m.agree(10*time.Second, peer, leaver, ours, second)
	leaver.quietly("its last word", 1)
	leaver.end()
	t.Logf("a peer's leave was seen by all after %v", m.agree(3*time.Second, peer, ours, second))
	m.hold(time.Second, "its last word", 1, peer, ours, second)
	second.quietly("our last word", 1)
	second.end()
	t.Logf("a leave of ours was seen by all after %v", m.agree(3*time.Second, peer, ours))
	m.hold(time.Second, "our last word", 1, peer)
	for name, want := range map[string]float64{"alertmanager_cluster_peers_left_total": 2, "clusterchannel_members_failed_total": 0} {
		if got := metric(t, reg, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// TestGrafanaDriverLeaves closes a driver alone, without the portable layer's own
// goodbye.
func TestGrafanaDriverLeaves(t *testing.T) {
	m := newMesh(t, "grafana")
	reg := prometheus.NewRegistry()
	stays := m.node("a", func(c *backend.Config) { c.Registerer = reg })
	leaves := &seat{name: "b", key: prefixed(m.prefix, "b+aaaaaaaaaaaaa")}
	o := driver.Options{
		Cluster: "alerts", Self: driver.Member{Name: "b", Instance: "aaaaaaaaaaaaa"}, Logger: m.logger("b"),
		Params: map[string]string{"address": m.addr, "wire": "grafana", "prefix": m.prefix},
	}
	d, err := redis.WithGrafanaTiming(quick)(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	serving, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- d.Serve(serving, deaf{}) }()
	m.within(10*time.Second, func() error {
		if keys, _ := stays.view(m.prefix); !slices.Equal(keys, []string{stays.key, leaves.key}) {
			return fmt.Errorf("a lists %q", keys)
		}
		return nil
	})
	end()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := d.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.agree(time.Second, stays)
	if n := metric(t, reg, "alertmanager_cluster_peers_left_total"); n != 1 {
		t.Errorf("%v members have left, want 1", n)
	}
}

// deaf is a driver.Handler that hears nothing.
type deaf struct{ driver.Handler }

func (deaf) Frame([]byte)            {}
func (deaf) Link(error)              {}
func (deaf) Members([]driver.Member) {}
func (deaf) Left(driver.Member)      {}
func (deaf) MergeState([]byte)       {}
func (deaf) LocalState() []byte      { return nil }

func metric(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no %s among %s", name, strings.Join(names, " "))
	return 0
}

func TestGrafanaCrashIsSeen(t *testing.T) {
	m := newMesh(t, "grafana")
	peer, victim := m.peer("a"), m.peer("b")
	ours, second := m.node("c"), m.node("d")
	m.agree(10*time.Second, peer, victim, ours, second)
	second.crash()
	took := m.agree(3*time.Second, peer, victim, ours)
	t.Logf("a crash of ours was seen by all after %v", took)
	if took > quick.Expiry-time.Second {
		t.Errorf("a crash of ours took %v; a key that nobody deletes counts for %v", took, quick.Expiry)
	}
	victim.crash()
	took = m.agree(quick.Expiry+3*time.Second, peer, ours)
	t.Logf("a crash of a peer was seen by all after %v", took)
	if took < quick.Expiry-2*time.Second {
		t.Errorf("a peer was dropped after %v; Grafana's peers wait %v", took, quick.Expiry)
	}
	ours.crash()
	m.within(quick.Expiry+3*time.Second, func() error {
		if keys := peer.peer.Members(); !slices.Equal(keys, []string{peer.key}) {
			return fmt.Errorf("the peer lists %q", keys)
		}
		return nil
	})
}

func TestGrafanaPrefixesKeepClustersApart(t *testing.T) {
	m := newMesh(t, "grafana")
	nested := &mesh{TB: t, addr: m.addr, prefix: "grafana:eu", client: m.client, logs: m.logs}
	near := &mesh{TB: t, addr: m.addr, prefix: "grafana-eu:", client: m.client, logs: m.logs}
	outer := []*seat{m.node("a"), m.node("eu:a")}
	inner := []*seat{nested.node("a"), nested.node("b")}
	third := []*seat{near.node("a"), near.peer("b")}
	check := func() {
		t.Helper()
		m.agree(10*time.Second, outer...)
		nested.agree(10*time.Second, inner...)
		near.agree(10*time.Second, third...)
	}
	check()
	outer[0].set("outer", 1)
	inner[0].set("inner", 1)
	third[0].set("third", 1)
	third[1].set("fourth", 1)
	m.hold(time.Second, "outer", 1, outer...)
	m.hold(time.Second, "inner", 1, inner...)
	m.hold(time.Second, "third", 1, third...)
	m.hold(time.Second, "fourth", 1, third...)
	inner[1].end()
	inner = inner[:1]
	m.pass(2 * time.Second)
	check()
	for _, s := range slices.Concat(outer, inner) {
		if s.len() != 1 {
			t.Errorf("%s holds %v", s.key, s.entries)
		}
	}
}

func TestGrafanaServerEmptied(t *testing.T) {
	m := newMesh(t, "grafana")
	peer, ours := m.peer("a"), m.node("b")
	m.agree(10*time.Second, peer, ours)
	ctx, stop := context.WithCancel(t.Context())
	var views [][]backend.Member
	var wg sync.WaitGroup
	wg.Go(func() {
		for v := range ours.ours.Watch(ctx) {
			views = append(views, v.Members)
		}
	})
	for range 3 {
		if err := m.client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		m.pass(quick.Heartbeat / 3)
	}
	m.pass(4 * quick.Heartbeat)
	stop()
	wg.Wait()
	for _, members := range views {
		if len(members) != 2 {
			t.Errorf("a view of %d members while the server was emptied", len(members))
		}
	}
	m.agree(3*time.Second, peer, ours)
}

func TestGrafanaClocksThatDiffer(t *testing.T) {
	m := newMesh(t, "grafana")
	for name, off := range map[string]time.Duration{"stale": -time.Hour / 2, "old": -2 * time.Hour} {
		m.beats(name, off)() // once
	}
	m.beats("late", -5*time.Minute)
	stop := m.beats("early", 5*time.Minute)
	ours := m.node("ours")
	sees := func(want ...string) func() error {
		return func() error {
			var names []string
			for _, member := range ours.ours.Members() {
				names = append(names, member.Name)
			}
			if !slices.Equal(names, want) {
				return fmt.Errorf("members are %q, want %q", names, want)
			}
			return nil
		}
	}
	m.within(5*time.Second, sees("early", "late", "ours"))
	if text := m.logs.String(); strings.Count(text, "the clock of a foreign member differs") != 2 {
		t.Errorf("the log does not name both clocks, once each:\n%s", text)
	}
	stop()
	m.within(quick.Expiry+3*time.Second, sees("late", "ours"))
}

// lengths is a state like Grafana's alerts:broadcast, which has no full state. It
// keeps how long the updates were.
type lengths struct {
	mu  sync.Mutex
	got []int
}

func (*lengths) MarshalBinary() ([]byte, error) { return nil, nil }

func (l *lengths) Merge(b []byte) error {
	if len(b) > 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.got = append(l.got, len(b))
	}
	return nil
}

func TestGrafanaLargeUpdates(t *testing.T) {
	m := newMesh(t, "grafana")
	slow := quick
	slow.Beat = 2 * time.Second // for a machine that is busy
	peer, a, b := m.peer("peer"), m.nodeAt(slow, "a"), m.nodeAt(slow, "b")
	states := map[string]*lengths{"peer": {}, "a": {}, "b": {}}
	const key = "alerts:broadcast"
	theirs := peer.peer.AddState(key, states["peer"])
	var send func([]byte)
	for _, s := range []*seat{b, a} {
		c, err := s.ours.AddState(key, states[s.name], nil)
		if err != nil {
			t.Fatal(err)
		}
		send = c.Broadcast
	}
	m.agree(10*time.Second, peer, a, b)
	var want []int
	for i := range 6 {
		want = append(want, 8<<20+i)
		send(make([]byte, 8<<20+i))
	}
	m.within(30*time.Second, func() error {
		for _, name := range []string{"peer", "b"} {
			l := states[name]
			l.mu.Lock()
			got := slices.Clone(l.got)
			l.mu.Unlock()
			if !slices.Equal(got, want) {
				return fmt.Errorf("%s was given updates of %d bytes, want %d", name, got, want)
			}
		}
		return nil
	})
	const other = 8<<20 + 100 // the same bytes said again within moments are the same update
	theirs.Broadcast(make([]byte, other))
	m.within(10*time.Second, func() error {
		for _, name := range []string{"a", "b"} {
			l := states[name]
			l.mu.Lock()
			got := l.got[max(len(l.got)-1, 0):]
			l.mu.Unlock()
			if !slices.Equal(got, []int{other}) {
				return fmt.Errorf("%s was last given %d bytes", name, got)
			}
		}
		return nil
	})
}

// blob is a state that only grows.
type blob struct {
	mu sync.Mutex
	b  []byte
}

func (s *blob) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b, nil
}

func (s *blob) Merge(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(b) > len(s.b) {
		s.b = bytes.Clone(b)
	}
	return nil
}

// TestGrafanaLargeState exchanges more than the server lets wait for a
// subscriber.
func TestGrafanaLargeState(t *testing.T) {
	m := newMesh(t, "grafana")
	slow := quick
	slow.Beat = 2 * time.Second // for a machine that is busy
	large, got := &blob{b: make([]byte, 50<<20)}, &blob{}
	a := m.nodeAt(slow, "a")
	if _, err := a.ours.AddState("large", large, nil); err != nil {
		t.Fatal(err)
	}
	b := m.nodeAt(slow, "b")
	if _, err := b.ours.AddState("large", got, nil); err != nil {
		t.Fatal(err)
	}
	m.within(30*time.Second, func() error {
		if b, _ := got.MarshalBinary(); len(b) != 50<<20 {
			return fmt.Errorf("b has %d bytes", len(b))
		}
		return nil
	})
}

// TestGrafanaReservedKeys uses state keys whose channels Grafana uses otherwise.
func TestGrafanaReservedKeys(t *testing.T) {
	m := newMesh(t, "grafana")
	peer, a, b := m.peer("peer"), m.node("a"), m.node("b")
	m.agree(10*time.Second, peer, a, b)
	for _, key := range []string{"full_state", "full_state:request", "clusterchannel"} {
		at, bt := newTable(), newTable()
		for s, table := range map[*seat]*table{a: at, b: bt} {
			c, err := s.ours.AddState(key, table, nil)
			if err != nil {
				t.Fatal(err)
			}
			table.send = c.Broadcast
		}
		at.set("x", 1)
		m.hold(2*time.Second, "x", 1, &seat{table: bt, name: key})
	}
	a.set("y", 1)
	m.hold(2*time.Second, "y", 1, peer, b)
	if text := m.logs.String(); strings.Contains(text, "level=ERROR") {
		t.Errorf("Grafana's peer stumbled:\n%s", text)
	}
}

// TestGrafanaUpdatesAreNotRepeated counts what reaches the states.
func TestGrafanaUpdatesAreNotRepeated(t *testing.T) {
	m := newMesh(t, "grafana")
	reg := prometheus.NewRegistry()
	peer, a, b := m.peer("peer"), m.node("a"), m.node("b", func(c *backend.Config) { c.Registerer = reg })
	m.agree(10*time.Second, peer, a, b)
	m.pass(500 * time.Millisecond)
	before := b.merged() - peer.peer.Stats().FullStatesSent
	for i := range 100 {
		a.set(fmt.Sprint(i), 1)
	}
	m.hold(2*time.Second, "99", 1, peer, b)
	m.pass(200 * time.Millisecond)
	if n := b.merged() - peer.peer.Stats().FullStatesSent - before; n != 100 {
		t.Errorf("b merged %d updates of 100", n)
	}
	if n := metric(t, reg, "clusterchannel_duplicates_total"); n != 0 {
		t.Errorf("b was given %v updates twice", n)
	}
	if stats := peer.peer.Stats(); stats.UpdatesReceived != 100 || stats.Unknown != 0 {
		t.Errorf("the peer was given %+v", stats)
	}
}

func (s *table) merged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.merges
}

// TestGrafanaMigration replaces peers of Grafana by own nodes, one by one and
// back again, while all write.
func TestGrafanaMigration(t *testing.T) {
	m := newMesh(t, "grafana")
	seats := []*seat{m.peer("a"), m.peer("b"), m.peer("c")}
	m.agree(10*time.Second, seats...)
	written := 0
	stream := func(rounds int) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range rounds {
			<-tick.C
			for _, s := range seats {
				written++
				s.set(fmt.Sprintf("%s/%d", s.name, written), written)
			}
		}
	}
	whole := func() {
		t.Helper()
		m.within(10*time.Second, func() error {
			for _, s := range seats {
				if n := s.len(); n != written {
					return fmt.Errorf("%s has %d entries, want %d", s.key, n, written)
				}
			}
			return nil
		})
	}
	replace := func(i int, by func(name string) *seat) {
		all := seats
		all[i].end()
		seats = slices.Delete(slices.Clone(all), i, i+1)
		stream(10)
		seats = all
		seats[i] = by(seats[i].name)
		stream(10)
		m.agree(10*time.Second, seats...)
		stream(20)
		whole()
	}
	stream(20)
	for i := range seats {
		replace(i, func(name string) *seat { return m.node(name) })
	}
	for i := range seats {
		replace(i, func(name string) *seat { return m.peer(name) })
	}
	t.Logf("%d entries are everywhere", written)
}
