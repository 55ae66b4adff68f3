package backend_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// mixed is a driver with peers that are not ours.
type mixed struct {
	script
	heard bool  // our own nodes hear what these peers are handed
	err   error // of handing it to them

	mu       sync.Mutex
	updates  []string // as they were handed over: key, and whether it is a Part
	carried  int      // broadcasts that hold an update
	calls    int
	controls int
}

func (d *mixed) Caps() driver.Caps {
	return driver.Caps{Membership: true, Exchange: true, Updates: d.hand}
}

func (d *mixed) hand(_ context.Context, updates iter.Seq2[string, []byte]) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	for key, part := range updates {
		part := bytes.HasPrefix(part, fmt.Appendf(nil, "\x0a%c%s\x12", len(key), key)) // its fields 1 and 2
		d.updates = append(d.updates, fmt.Sprintf("%s %v", key, part))
	}
	return d.heard, d.err
}

func (d *mixed) Broadcast(_ context.Context, frame []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if bytes.Contains(frame, []byte("payload")) {
		d.carried++
	} else {
		d.controls++
	}
	return nil
}

// Updates go to peers that are not ours one by one, and to our own nodes unless
// they have heard them the same way.
func TestUpdatesOneByOne(t *testing.T) {
	for name, c := range map[string]struct {
		driver *mixed
		fails  bool
	}{
		"beside the broadcast":      {&mixed{heard: false}, false},
		"instead of it":             {&mixed{heard: true}, false},
		"without effect":            {&mixed{err: errors.New("no")}, true},
		"instead of it, but a part": {&mixed{heard: true, err: errors.New("some")}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := c.driver
			reg := prometheus.NewRegistry()
			config := ownDriver(func(context.Context, driver.Options) (driver.Driver, error) { return d, nil })
			config.Registerer = reg
			channel, err := backend.Open(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			keys := []string{"silences", "nflog"}
			for _, key := range keys {
				c, err := channel.AddState(key, &set{}, nil)
				if err != nil {
					t.Fatal(err)
				}
				c.Broadcast([]byte("payload " + key))
			}
			after(time.Second)
			if want := []string{"silences true", "nflog true"}; !slices.Equal(d.updates, want) {
				t.Errorf("%s: handed over were %q, want %q", name, d.updates, want)
			}
			if carried := d.carried > 0; carried == d.heard {
				t.Errorf("%s: %d broadcasts carry updates", name, d.carried)
			}
			if d.controls == 0 {
				t.Errorf("%s: nothing else was broadcast", name)
			}
			if n := publishFailures(t, reg); (n > 0) != c.fails {
				t.Errorf("%s: %v updates count as not sent", name, n)
			}
			if err := channel.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func publishFailures(t *testing.T, reg *prometheus.Registry) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "alertmanager_cluster_messages_publish_failures_total" {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// What a driver rejects is counted by its reason; one that is not known counts as
// malformed, so that the series stay few.
func TestReject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := make(seen)
		reg := prometheus.NewRegistry()
		config := ownDriver(d.open)
		config.Registerer = reg
		c, err := backend.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		h := <-d
		for _, why := range []driver.Reason{driver.Malformed, driver.Foreign, driver.Overflow, "whim", "whim"} {
			h.Reject(why, errors.New("it is foreign"))
		}
		want := `
			# HELP clusterchannel_frames_rejected_total Inbound frames that were rejected.
			# TYPE clusterchannel_frames_rejected_total counter
			clusterchannel_frames_rejected_total{cluster_name="t",reason="chunk"} 0
			clusterchannel_frames_rejected_total{cluster_name="t",reason="cluster"} 1
			clusterchannel_frames_rejected_total{cluster_name="t",reason="incarnation"} 0
			clusterchannel_frames_rejected_total{cluster_name="t",reason="instance"} 0
			clusterchannel_frames_rejected_total{cluster_name="t",reason="malformed"} 3
			clusterchannel_frames_rejected_total{cluster_name="t",reason="member"} 0
			clusterchannel_frames_rejected_total{cluster_name="t",reason="name"} 0
			clusterchannel_frames_rejected_total{cluster_name="t",reason="number"} 0
			clusterchannel_frames_rejected_total{cluster_name="t",reason="overflow"} 1
			clusterchannel_frames_rejected_total{cluster_name="t",reason="version"} 0
		`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "clusterchannel_frames_rejected_total"); err != nil {
			t.Error(err)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
