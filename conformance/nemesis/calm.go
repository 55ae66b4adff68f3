package nemesis

import (
	"slices"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/internal/canary"
)

// troubles know what is befalling whom, and until when that may show. The empty name
// is that of the server, and so of all.
type troubles struct {
	canary *canary.Canary
	lasts  time.Duration // how long a fault may show after it is over

	mu     sync.Mutex
	active map[string]int
	over   map[string]time.Duration // on the canary's clock
}

func newTroubles(c *canary.Canary, lasts time.Duration) *troubles {
	return &troubles{canary: c, lasts: lasts, active: map[string]int{}, over: map[string]time.Duration{}}
}

// begin notes that something befalls those of names until end is called.
func (t *troubles) begin(names ...string) (end func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		t.active[name]++
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, name := range names {
			t.active[name]--
			t.over[name] = t.canary.Now() + t.lasts
		}
	}
}

// spare reports whether nothing befalls name, nor all, nor may still show.
func (t *troubles) spare(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.canary.Now()
	for _, who := range []string{name, ""} {
		if t.active[who] > 0 || now < t.over[who] {
			return false
		}
	}
	return true
}

// befalls returns whom a step befalls, so that their links may suffer. What a state
// does is no excuse.
func (s Step) befalls() []string {
	switch s.Args[0] {
	case "block", "panic", "refuse", "flood", "large", "remove":
		return nil
	case "server":
		return []string{""}
	}
	return s.Args[1:]
}

// steady looks at a view of n. If nothing befell n, nor some others, it is attached, and
// lists them. Who lost all others may say that it is detached.
func (w *world) steady(n *node, v backend.View) {
	if n.ending.Load() || !w.troubles.spare(n.Name) {
		return
	}
	if w.late(time.Now().Add(-w.bounds.detect)) > w.timing.Heartbeat {
		return // heartbeats may have been late
	}
	var others []*node
	for _, m := range w.alive() {
		if m != n && !m.ending.Load() && w.troubles.spare(m.Name) {
			others = append(others, m)
		}
	}
	if len(others) == 0 {
		return
	}
	w.judged(steady)
	if v.Status != backend.Attached {
		w.fail(steady, "nothing befell %s and %s: %s", n, others[0], show(v))
		return
	}
	for _, m := range others {
		self := m.member()
		if !slices.ContainsFunc(v.Members, func(o backend.Member) bool { return compare(o, self) == 0 }) {
			w.fail(steady, "nothing befell %s, and %s does not list it: %s", m, n, show(v))
			return
		}
	}
}
