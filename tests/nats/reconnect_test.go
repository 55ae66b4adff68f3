package nats_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// TestHundredReconnectsLeaveNothing: connections, subscriptions and goroutines
// stay as many as there are nodes.
func TestHundredReconnectsLeaveNothing(t *testing.T) {
	s := start(t, base)
	sys := dial(t, s.Addr(), nats.UserInfo("sys", "sys"))
	p, err := netfault.Listen(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // the test is over
	patient := func(c *backend.Config) { c.Timing.Grace = time.Minute }
	a, b := open(t, "a", map[string]string{"servers": s.Addr()}, patient), open(t, "b", map[string]string{"servers": p.Addr()}, patient)
	whole := func() error {
		if err := agree(a, b); err != nil {
			return err
		}
		names, err := subscribed(sys, "test")
		if err == nil && !slices.Equal(names, []string{"a", "b"}) {
			err = fmt.Errorf("the server has subscriptions of %v", names)
		}
		all, err2 := connections(sys)
		if err == nil && err2 == nil && len(all) != 2 {
			err = fmt.Errorf("the server has %d connections", len(all))
		}
		return errors.Join(err, err2)
	}
	testkit.Eventually(t, 20*time.Second, whole)
	before := runtime.NumGoroutine()
	for i := range 100 {
		p.Set(netfault.Refuse)
		testkit.Eventually(t, 20*time.Second, func() error { return detachedSaying(b, "") })
		a.write(t, fmt.Sprint("during outage ", i))
		p.Set(netfault.Pass)
		testkit.Eventually(t, 20*time.Second, whole)
		testkit.Eventually(t, 20*time.Second, func() error { return hold(i+1, a, b) })
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		if now := runtime.NumGoroutine(); now > before+2 {
			return fmt.Errorf("%d goroutines, before %d", now, before)
		}
		return nil
	})
}
