package conformance

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/netfault"
)

// env is what one check works with: nodes, a clock, and ways to break things.
type env struct {
	*watchdog
	suite   *suite
	h       Harness
	check   *check
	cluster string
	server  Server // nil where the backend has none

	mu      sync.Mutex
	nodes   []*node
	taps    []*node // those that were prepared, open or not
	proxies []*netfault.Proxy
}

// run runs the check and reports whether it passed.
func (c *check) run(t testing.TB, s *suite) bool {
	t.Helper()
	if hook := c.lacks(s.h); hook != nil {
		t.Errorf("%s needs %s: set it, or waive the check with a reason", c.name, hook.name)
		return false
	}
	e := &env{
		watchdog: &watchdog{TB: t},
		suite:    s, h: s.h, check: c,
		cluster: "conf-" + strings.ReplaceAll(c.name, "/", "-") + "-" + strings.ToLower(rand.Text()[:8]),
		server:  s.shared,
	}
	most := s.h.Timing.stretch(s.h.limit)
	e.run(c.name, most, func() {
		if c.level == fault && s.h.Server != nil {
			e.server = s.h.Server(e)
		}
		c.body(e)
	})
	failed := e.Failed()
	e.run("closing what the check has opened", most, func() {
		e.closeAll()
		e.closeProxies()
	})
	for _, n := range e.prepared() {
		for _, fault := range n.tap.broken() {
			e.Errorf("%s: a promise of package driver is broken: %s", n, fault)
		}
		if strings.Contains(n.log.String(), Secret) {
			e.Errorf("%s: the log shows the secret", n)
		}
	}
	e.finish(most)
	if failed {
		for _, n := range e.opened() {
			t.Logf("log of %s:\n%s", n, n.log.Tail(60))
		}
	}
	if e.Failed() {
		t.Logf("%s: %s. It defends\n%s", c.name, c.holds, c.rule())
	}
	return !e.Failed()
}

// limit returns the time that budget b allows.
func (e *env) limit(b budget) time.Duration { return e.suite.budgets.limits[b] }

// patience is how long to wait if the contract sets no time.
func (e *env) patience() time.Duration { return e.scaled(ceilings[detect]) }

// scaled stretches d like the budgets.
func (e *env) scaled(d time.Duration) time.Duration { return e.h.Timing.stretch(d) }

func (e *env) opened() []*node {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.nodes)
}

func (e *env) prepared() []*node {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.taps)
}

// closing is how long a channel has to close.
const closing = 5 * time.Second

func (e *env) closeAll() {
	ctx, cancel := context.WithTimeout(context.Background(), e.scaled(closing))
	defer cancel()
	var wg sync.WaitGroup
	for _, n := range e.opened() {
		wg.Go(func() {
			n.gone.Store(true)
			if err := n.Close(ctx); err != nil {
				e.Logf("close %s at the end: %v", n, err) // the server may be down
			}
		})
	}
	wg.Wait()
}

// closeProxies closes the proxies of all nodes, including those that did not
// open.
func (e *env) closeProxies() {
	e.mu.Lock()
	proxies := e.proxies
	e.proxies = nil
	e.mu.Unlock()
	for _, p := range proxies {
		_ = p.Close()
	}
}
