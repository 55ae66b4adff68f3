package alertmanager

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"

	"github.com/clusterchannel/clusterchannel/backend"
)

// resend is how long it takes until an instance that came back has been told of
// every alert: Prometheus tells of each again once a minute.
const resend = time.Minute

// deaf is for how long after an instance came back an alert may begin of which it is
// not told: it is among the members before it takes alerts. By its own clock it is
// twice that, as the others may see it late.
const deaf = time.Second

// yield is for how long an instance that started lately lets the others go first with
// an alert that began before: they did not wait for it, and may be sending.
const yield = 2 * time.Second

// turns has each flush wait for its turn, after inhibition and silences and before
// what was sent already is looked up. Alertmanager's own stage reads the position
// once: if a restarted instance came back in front meanwhile, two would be at the
// same turn, and both would send. The turn of an alert is behind those who may know
// of it. It is the same Turn as that of package once, which tells what was done by a
// state of its own; here the notification log does, which Alertmanagers share.
type turns struct {
	cluster backend.ClusterChannel
	turn    time.Duration
	back    *comebacks
	started time.Time
}

// Exec implements notify.Stage.
func (t turns) Exec(ctx context.Context, _ *slog.Logger, alerts ...*alert.Alert) (context.Context, []*alert.Alert, error) {
	began := time.Now()
	for _, a := range alerts {
		if a.StartsAt.Before(began) {
			began = a.StartsAt
		}
	}
	t.yield(ctx, began)
	behind := func(v backend.View) (int, bool) { return v.Position - t.back.inFront(v, began), false }
	_ = backend.NewTurn(t.cluster, t.turn).Wait(ctx, behind) // without a cluster all is sent
	return ctx, alerts, ctx.Err()
}

// yield lets the others go first with an alert that began before this instance did.
func (t turns) yield(ctx context.Context, began time.Time) {
	if !began.Before(t.started.Add(2*deaf)) || time.Since(t.started) > resend || len(t.cluster.View().Members) < 2 {
		return
	}
	timer := time.NewTimer(yield)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// before puts the wait before the last stage of each receiver, which sends.
func (t turns) before(routing notify.RoutingStage) notify.RoutingStage {
	for receiver, stage := range routing {
		stages, ok := stage.(notify.MultiStage)
		if !ok {
			routing[receiver] = notify.MultiStage{t, stage}
			continue
		}
		routing[receiver] = slices.Insert(slices.Clone(stages), len(stages)-1, notify.Stage(t))
	}
	return routing
}

// comebacks are instances that came back under the name of one that was among
// the members shortly before, or still is: that restarted. Such an instance knows of no alert
// that began before, until it is told of it again, and so nobody waits for it.
// Where instances are known by their order of joining, as Alertmanager's, it would
// be the last.
type comebacks struct {
	mu      sync.Mutex
	present []backend.Member
	gone    map[string]departure // the last of each name
	at      map[string]time.Time // when an instance came back
}

// departure is an instance that left the members.
type departure struct {
	instance string
	at       time.Time
}

func newComebacks() *comebacks {
	return &comebacks{gone: map[string]departure{}, at: map[string]time.Time{}}
}

// watch follows the views of the cluster until ctx is done.
func (c *comebacks) watch(ctx context.Context, cluster backend.ClusterChannel) {
	for v := range cluster.Watch(ctx) {
		c.see(v, time.Now())
	}
}

// see handles a view.
func (c *comebacks) see(v backend.View, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.gone, func(_ string, d departure) bool { return now.Sub(d.at) > resend })
	maps.DeleteFunc(c.at, func(_ string, at time.Time) bool { return now.Sub(at) > resend })
	for _, m := range c.present {
		if !has(v.Members, m) {
			c.gone[m.Name] = departure{m.Instance, now}
		}
	}
	for _, m := range v.Members {
		if has(c.present, m) {
			continue
		}
		d, ok := c.gone[m.Name]
		if ok && d.instance != m.Instance || slices.ContainsFunc(c.present, func(o backend.Member) bool { return o.Name == m.Name }) {
			c.at[m.Instance] = now
		}
	}
	c.present = v.Members
}

func has(members []backend.Member, m backend.Member) bool {
	return slices.ContainsFunc(members, func(o backend.Member) bool { return o.Instance == m.Instance })
}

// inFront returns how many of those before this instance came back after an alert
// began, and so lately that they may not know of it.
func (c *comebacks) inFront(v backend.View, began time.Time) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range v.Members[:min(v.Position, len(v.Members))] {
		if at, ok := c.at[m.Instance]; ok && began.Before(at.Add(deaf)) && time.Since(at) < resend {
			n++
		}
	}
	return n
}
