package persist_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/replicated"
)

// A map outlives a stop of all nodes: what was set is there, what was deleted is not, and
// what is there for a time still is for that time. It stays one that is exchanged entry by
// entry.
func TestAMapIsKept(t *testing.T) {
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "state.db")
	bus := memory.NewBus()
	t.Cleanup(bus.Remove)
	run := func(name string, f func(m *replicated.Map[string, int], added backend.State)) {
		t.Helper()
		n := open(t, dsn, nil)
		node, err := backend.Open(t.Context(), backend.Config{
			Backend: "memory", Cluster: "t", Name: name, Params: map[string]string{"bus": bus.Name()}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		m, err := replicated.NewMap[string, int](nil)
		if err != nil {
			t.Fatal(err)
		}
		seen := &adding{ClusterChannel: node}
		if err := m.Attach(n.Keeping(t.Context(), seen), "m"); err != nil {
			t.Fatal(err)
		}
		f(m, seen.state)
		n.end(t)
		m.Close()
		if err := node.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	run("first", func(m *replicated.Map[string, int], added backend.State) {
		for i := range 1000 {
			if err := m.Set(fmt.Sprint(i), i); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Delete("7"); err != nil {
			t.Fatal(err)
		}
		if err := m.SetTTL("short", 1, 2*time.Second); err != nil {
			t.Fatal(err)
		}
		if err := m.SetTTL("long", 1, time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, ok := added.(backend.EntryState); !ok {
			t.Error("it is exchanged as a whole")
		}
	})
	run("second", func(m *replicated.Map[string, int], _ backend.State) {
		testkit.Eventually(t, 10*time.Second, func() error {
			if _, ok := m.Get("short"); ok {
				return fmt.Errorf("what was there for 2s is still there")
			}
			return nil
		})
		if s := m.Stats(); s.Entries != 1000 || s.Tombstones != 1 || s.Refused != 0 {
			t.Errorf("%+v", s)
		}
		if v, ok := m.Get("999"); v != 999 || !ok {
			t.Error(v, ok)
		}
		if _, ok := m.Get("7"); ok {
			t.Error("what was deleted is back")
		}
	})
}

// adding is a node that shows what is added to it.
type adding struct {
	backend.ClusterChannel
	state backend.State
}

func (a *adding) AddState(key string, s backend.State, o *backend.StateOptions) (backend.Channel, error) {
	a.state = s
	return a.ClusterChannel.AddState(key, s, o)
}

// A node whose clock is days behind has no use for a row now, and leaves it for when its
// clock is right. One whose clock is right does not heed the few entries of a clock that
// is ahead.
func TestARowThatIsOfATimeToCome(t *testing.T) {
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "state.db")
	run := func(by time.Duration, f func(n *node, m *replicated.Map[string, int], by *atomic.Int64)) {
		t.Helper()
		var off atomic.Int64
		off.Store(int64(by))
		n := open(t, dsn, nil)
		m, err := replicated.NewMap[string, int](&replicated.Options{Now: func() time.Time { return time.Now().Add(time.Duration(off.Load())) }})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if _, err := n.Keep(t.Context(), "m", m); err != nil {
			t.Fatal(err)
		}
		f(n, m, &off)
	}
	run(0, func(n *node, m *replicated.Map[string, int], by *atomic.Int64) {
		for i := range 10 {
			if err := m.Set(fmt.Sprint(i), i); err != nil {
				t.Fatal(err)
			}
		}
		n.end(t)
	})
	run(-48*time.Hour, func(n *node, m *replicated.Map[string, int], by *atomic.Int64) {
		if m.Len() != 0 || n.count(t, "clusterchannel_persist_rejected_total") != 0 || !strings.Contains(n.text(), "left as it is") {
			t.Errorf("it holds %d, and logged %s", m.Len(), n.text())
		}
		if err := m.Set("behind", 1); err != nil {
			t.Fatal(err)
		}
		by.Store(0)
		testkit.Eventually(t, 20*time.Second, func() error {
			if m.Len() != 11 {
				return fmt.Errorf("it holds %d", m.Len())
			}
			return nil
		})
		by.Store(int64(48 * time.Hour))
		if err := m.Set("ahead", 1); err != nil {
			t.Fatal(err)
		}
		by.Store(0)
		n.end(t)
	})
	run(0, func(n *node, m *replicated.Map[string, int], by *atomic.Int64) {
		if m.Len() != 11 || n.count(t, "clusterchannel_persist_rejected_total") != 1 {
			t.Errorf("it holds %d, and logged %s", m.Len(), n.text())
		}
		n.end(t)
	})
	run(0, func(n *node, m *replicated.Map[string, int], by *atomic.Int64) {
		if m.Len() != 11 || n.count(t, "clusterchannel_persist_rejected_total") != 0 {
			t.Errorf("it holds %d, and logged %s", m.Len(), n.text())
		}
		n.end(t)
	})
}
