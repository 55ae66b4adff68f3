package nats_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/nats"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// held is a Handler that handles no frame while it is held.
type held struct {
	driver.Handler
	hold *atomic.Pointer[chan struct{}]
}

func (h *held) Frame(b []byte) {
	if c := h.hold.Load(); c != nil {
		<-*c
	}
	h.Handler.Frame(b)
}

type heldBack struct {
	driver.Driver
	hold *atomic.Pointer[chan struct{}]
}

func (d *heldBack) Serve(ctx context.Context, h driver.Handler) error {
	return d.Driver.Serve(ctx, &held{h, d.hold})
}

// TestSlowConsumer: a node that does not keep up loses frames, which is
// counted, logged and repaired at once.
func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	s := start(t, base)
	params := map[string]string{"servers": s.Addr()}
	var stalled atomic.Pointer[chan struct{}]
	reg := prometheus.NewRegistry()
	patient := func(c *backend.Config) {
		c.Timing.Heartbeat, c.Timing.Grace = time.Second, time.Minute
	}
	a := open(t, "a", params, patient)
	slow := open(t, "slow", params, patient, func(c *backend.Config) {
		c.Registerer = reg
		c.Driver = func(ctx context.Context, o driver.Options) (driver.Driver, error) {
			d, err := nats.Open(ctx, o)
			return &heldBack{d, &stalled}, err
		}
	})
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, slow) })
	stop := make(chan struct{})
	stalled.Store(&stop)
	stranger := dial(t, s.Addr())
	for range 80 { // MiB, more than may be pending
		if err := stranger.Publish(subject("test"), make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := stranger.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		a.write(t, fmt.Sprint(i))
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		if !strings.Contains(slow.log.String(), `level=WARN msg="this node is too slow`) {
			return errors.New("the log of the slow node does not tell")
		}
		return nil
	})
	stalled.Store(nil)
	close(stop)
	testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(hold(50, a, slow), agree(a, slow)) })
	if n := metric(t, reg, "clusterchannel_frames_rejected_total"); n < 16 {
		t.Errorf("%v dropped frames are counted, of 80 MiB in frames of one, want 16 or more", n)
	}
	if n := metric(t, reg, "clusterchannel_gaps_total") + metric(t, reg, "clusterchannel_resyncs_total"); n == 0 {
		t.Error("neither a gap nor a state exchange was counted")
	}
}

// metric sums up the series of a name.
func metric(t testing.TB, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
