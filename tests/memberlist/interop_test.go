// Package interop_test holds the driver against real Alertmanagers: their
// cluster package in this process, and a binary. It is apart from the driver's
// own tests because Alertmanager's Peer has nothing that ends its goroutines.
package interop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amcluster "github.com/prometheus/alertmanager/cluster"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/memberlist"
	"github.com/clusterchannel/clusterchannel/conformance/testca"
)

var hosts atomic.Int32

// newAddr returns an address on a loopback host of its own.
func newAddr() string {
	n := hosts.Add(1)
	return fmt.Sprintf("127.%d.200.%d:9094", 20+os.Getpid()%200, n)
}

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// store is what an Alertmanager replicates.
type store struct {
	silences *silence.Silences
	log      *nflog.Log
}

func newStore(t *testing.T) *store {
	t.Helper()
	s, err := silence.New(silence.Options{Retention: time.Hour, Logger: discard(), Metrics: prometheus.NewRegistry(), EventRecorder: eventrecorder.NopRecorder()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := nflog.New(nflog.Options{Retention: time.Hour, Logger: discard(), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return &store{s, l}
}

// silence adds a silence, padded to size, and returns its id.
func (s *store) silence(t *testing.T, comment string, size int) string {
	t.Helper()
	sil := &silencepb.Silence{
		MatcherSets: []*silencepb.MatcherSet{{Matchers: []*silencepb.Matcher{{Name: "alertname", Pattern: "x", Type: silencepb.Matcher_EQUAL}}}},
		StartsAt:    timestamppb.Now(), EndsAt: timestamppb.New(time.Now().Add(time.Hour)),
		CreatedBy: "test", Comment: comment + strings.Repeat(".", size),
	}
	if err := s.silences.Set(t.Context(), sil); err != nil {
		t.Fatal(err)
	}
	return sil.Id
}

// notify adds an entry to the log of notifications.
func (s *store) notify(t *testing.T, group string) {
	t.Helper()
	if err := s.log.Log(receiver, group, []uint64{1}, nil, nil, 0); err != nil {
		t.Fatal(err)
	}
}

var receiver = &nflogpb.Receiver{GroupName: "group", Integration: "webhook", Idx: 0}

// holds reports whether the silence and the entry of the log are there; empty ones
// are not looked for.
func (s *store) holds(id, group string) error {
	if id != "" {
		if _, err := s.silences.QueryOne(context.Background(), silence.QIDs(id)); err != nil {
			return fmt.Errorf("silence %s: %w", id, err)
		}
	}
	if group != "" {
		if _, err := s.log.Query(nflog.QReceiver(receiver), nflog.QGroupKey(group)); err != nil {
			return fmt.Errorf("notification of %s: %w", group, err)
		}
	}
	return nil
}

// ours is a channel of this module with a store.
type ours struct {
	backend.ClusterChannel
	*store
	addr string
}

func open(t *testing.T, name string, params map[string]string) *ours {
	t.Helper()
	return openRegistered(t, name, prometheus.NewRegistry(), params)
}

func openRegistered(t *testing.T, name string, registry *prometheus.Registry, params map[string]string) *ours {
	t.Helper()
	o := &ours{store: newStore(t), addr: newAddr()}
	all := map[string]string{"listen_address": o.addr, "label": "mesh"}
	for k, v := range params {
		all[k] = v
	}
	var err error
	o.ClusterChannel, err = backend.Open(t.Context(), backend.Config{Backend: "memberlist", Cluster: "alerts", Name: name, Params: all, Logger: discard(), Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.close(t) })
	for key, s := range map[string]backend.State{"sil": o.silences, "nfl": o.log} {
		c, err := o.AddState(key, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if key == "sil" {
			o.silences.SetBroadcast(c.Broadcast)
		} else {
			o.log.SetBroadcast(c.Broadcast)
		}
	}
	return o
}

func (o *ours) close(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := o.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// theirs is a Peer of Alertmanager with a store.
type theirs struct {
	*amcluster.Peer
	*store
	addr string
	gone atomic.Bool
}

func peer(t *testing.T, name string, tls *amcluster.TLSTransportConfig, known ...string) *theirs {
	t.Helper()
	a := &theirs{store: newStore(t), addr: newAddr()}
	var err error
	a.Peer, err = amcluster.Create(discard(), prometheus.NewRegistry(), a.addr, "", known, false,
		time.Second, amcluster.DefaultGossipInterval, amcluster.DefaultTCPTimeout, time.Second,
		amcluster.DefaultProbeTimeout, amcluster.DefaultProbeInterval, tls, true, "mesh", name)
	if err != nil {
		t.Fatal(err)
	}
	a.silences.SetBroadcast(a.AddState("sil", a.silences, prometheus.NewRegistry()).Broadcast)
	a.log.SetBroadcast(a.AddState("nfl", a.log, prometheus.NewRegistry()).Broadcast)
	if err := a.Join(time.Second, time.Hour); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.leave(t) })
	return a
}

func (a *theirs) leave(t *testing.T) {
	if a.gone.Swap(true) {
		return
	}
	if err := a.Leave(2 * time.Second); err != nil {
		t.Logf("leave of %s: %v", a.addr, err)
	}
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	const limit = 15 * time.Second
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s: %v", limit, what, err)
		}
		<-tick.C
	}
}

// sameView reports whether both kinds list the same nodes in the same order, and
// each has the position that the list gives it.
func sameView(all []*ours, others []*theirs) error {
	size := len(all) + len(others)
	var positions []int
	for _, o := range all {
		v := o.View()
		if len(v.Members) != size || v.Status != backend.Attached {
			return fmt.Errorf("%s lists %d members, and is %v: %v", v.Self().Name, len(v.Members), v.Status, v.Err)
		}
		positions = append(positions, v.Position)
	}
	for _, a := range others {
		if a.ClusterSize() != size {
			return fmt.Errorf("%s has %d members", a.Name(), a.ClusterSize())
		}
		positions = append(positions, a.Position())
		for _, o := range all {
			if m := o.Members()[a.Position()]; m.Name != a.Name() || m.Instance != "" {
				return fmt.Errorf("%s is at %d for itself, where ours have %+v", a.Name(), a.Position(), m)
			}
		}
	}
	slices.Sort(positions)
	for i, p := range positions {
		if i != p {
			return fmt.Errorf("positions are %v", positions)
		}
	}
	return nil
}

func mesh(t *testing.T, params map[string]string, tls *amcluster.TLSTransportConfig) {
	am := peer(t, "b-alertmanager", tls)
	before := am.silence(t, "before we came", 0)
	am.notify(t, "before")
	with := map[string]string{"peers": am.addr}
	for k, v := range params {
		with[k] = v
	}
	registry := prometheus.NewRegistry()
	a, c := openRegistered(t, "a", registry, with), open(t, "c", with)
	second := peer(t, "d-alertmanager", tls, a.addr)
	all, others := []*ours{a, c}, []*theirs{am, second}
	eventually(t, "one view", func() error { return sameView(all, others) })
	stores := []*store{a.store, c.store, am.store, second.store}
	everywhere := func(what, id, group string) {
		t.Helper()
		began := time.Now()
		eventually(t, what, func() error {
			for i, s := range stores {
				if err := s.holds(id, group); err != nil {
					return fmt.Errorf("node %d: %w", i, err)
				}
			}
			return nil
		})
		t.Logf("%s: everywhere after %v", what, time.Since(began).Round(time.Millisecond))
	}
	everywhere("full state", before, "before")
	for i, s := range stores {
		for _, size := range []int{0, 600, 5_000} {
			id := s.silence(t, "live", size)
			everywhere(fmt.Sprintf("a silence of %d bytes from node %d", size, i), id, "")
		}
		group := fmt.Sprintf("group %d", i)
		s.notify(t, group)
		everywhere("a notification of node "+fmt.Sprint(i), "", group)
	}
	// By push/pull, without a broadcast.
	a.silences.SetBroadcast(func([]byte) {})
	second.silences.SetBroadcast(func([]byte) {})
	everywhere("a silence of ours by push/pull", a.silence(t, "quiet", 0), "")
	everywhere("a silence of theirs by push/pull", second.silence(t, "quiet", 0), "")

	if n := counted(t, registry, "clusterchannel_undelivered_total"); n > 0 {
		t.Errorf("%v updates that arrived are counted as undelivered", n)
	}

	second.leave(t)
	eventually(t, "one view after theirs left", func() error { return sameView(all, others[:1]) })
	c.close(t)
	eventually(t, "one view after ours left", func() error { return sameView(all[:1], others[:1]) })
}

func TestMesh(t *testing.T) { mesh(t, nil, nil) }

func TestMeshTLS(t *testing.T) {
	file := testca.GossipFile(t, t.TempDir())
	config, err := amcluster.GetTLSTransportConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	mesh(t, map[string]string{"tls_config_file": file}, config)
}

// What gossip repeats is received once, and counted once.
func TestRepeatsAreNotReceived(t *testing.T) {
	am := peer(t, "b-alertmanager", nil)
	registry := prometheus.NewRegistry()
	a := openRegistered(t, "a", registry, map[string]string{"peers": am.addr})
	c := open(t, "c", map[string]string{"peers": am.addr})
	eventually(t, "one view", func() error { return sameView([]*ours{a, c}, []*theirs{am}) })
	for _, s := range []*store{am.store, c.store} {
		id := s.silence(t, "said once", 0)
		eventually(t, "a silence", func() error { return a.holds(id, "") })
	}
	<-time.After(2 * time.Second)                                                         // for as long as gossip repeats
	if n := counted(t, registry, "alertmanager_cluster_messages_received_total"); n > 3 { // c's may come in both forms at once
		t.Errorf("%v updates are counted for 2", n)
	}
	if n := counted(t, registry, "clusterchannel_duplicates_total"); n == 0 {
		t.Error("nothing was repeated")
	}
}

func TestLabelMismatchIsNamed(t *testing.T) {
	am := peer(t, "b-alertmanager", nil)
	o := open(t, "a", map[string]string{"peers": am.addr, "label": "another"})
	eventually(t, "the reason", func() error {
		v := o.View()
		if v.Status != backend.Detached || v.Err == nil || !strings.Contains(v.Err.Error(), "cluster label mismatch") {
			return fmt.Errorf("%v: %v", v.Status, v.Err)
		}
		return nil
	})
	if n := len(o.Members()); n != 1 {
		t.Errorf("%d members, want ours alone", n)
	}
}

// freeAddr returns an address of 127.0.0.1 that was free a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr).AddrPort()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(addr.Addr(), addr.Port()).String()
}

var errAbsent = errors.New("absent")
