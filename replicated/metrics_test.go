package replicated_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/replicated"
)

// gathered returns the values of what is registered, by name and reason.
func gathered(t *testing.T, from prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name, labels := strings.TrimPrefix(f.GetName(), "clusterchannel_replicated_"), map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["cluster_name"] != "t" || labels["key"] != "quotas" {
				t.Errorf("%s has the labels %v", f.GetName(), labels)
			}
			if reason := labels["reason"]; reason != "" {
				name += " " + reason
			}
			all[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return all
}

func TestMetrics(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus, open func(string) backend.ClusterChannel) {
		registry, node := prometheus.NewRegistry(), open("a")
		o := &replicated.Options{
			MaxEntries: 4, MaxBytes: 1000, Registerer: registry,
			Value: replicated.Codec{
				Marshal: func(v any) ([]byte, error) { return []byte(v.(string)), nil },
				Unmarshal: func(b []byte, into any) error {
					if string(b) == "bad" {
						panic("bad")
					}
					*into.(*string) = string(b)
					return nil
				},
			},
		}
		m := newMap[string, string](t, o)
		must(t, m.Attach(node, "quotas"))
		must(t, m.Set("alice", "12345"))
		must(t, m.Set("bob", "1"))
		must(t, m.Delete("bob"))
		now := uint64(time.Now().UnixMilli())
		at := func(later time.Duration) uint64 { return (now + uint64(later.Milliseconds())) << 16 }
		for _, u := range [][]byte{
			{2, 0}, update("set of string"), {1},
			update(mapTag,
				raw(at(2*time.Minute), lasting, nil, "carol", "1"), // not believed
				raw(at(48*time.Hour), lasting, nil, "x", "1"), raw(at(0), 3, nil, "x", "1"), raw(at(0), 4, nil, "x", "1"),
				raw(at(0), lasting, nil, "x", "bad"), raw(at(0), lasting, nil, "x", strings.Repeat("1", 2000))),
		} {
			if m.Merge(u) == nil {
				t.Errorf("%q is merged", u)
			}
		}
		want := map[string]float64{
			"entries": 2, "tombstones": 1, "bytes": 19, "full_ratio": 0.75, "ahead_total": 1, "refused_total malformed": 1,
			"refused_total version": 3, "refused_total type": 1, "refused_total ahead": 1, "refused_total full": 1, "refused_total codec": 1,
		}
		if have := gathered(t, registry); !maps.Equal(have, want) {
			t.Errorf("%v, want %v", have, want)
		}
		if s := m.Stats(); s.Refused != 8 {
			t.Errorf("%+v", s)
		}
		again := newMap[string, string](t, o)
		if err := again.Attach(node, "quotas"); !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), "quotas") {
			t.Errorf("a second one under one key: %v", err)
		}
		other := open("b")
		if err := again.Attach(other, "quotas"); !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), `metrics of key "quotas"`) {
			t.Errorf("another node's in one registry: %v", err)
		}
		m.Close()
		must(t, again.Attach(other, "quotas")) // the one before left nothing
		m.Close()
		if have := gathered(t, registry); len(have) == 0 {
			t.Error("the one before takes away the metrics of the next")
		}
		again.Close()
		if have := gathered(t, registry); len(have) > 0 {
			t.Errorf("after Close there is %v", have)
		}
	})
}
