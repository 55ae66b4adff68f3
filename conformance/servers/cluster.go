package servers

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Cluster is servers of one kind that serve as one. It is a conformance.Server
// that acts on all servers at once; use Members to act on one. Its methods are
// for one goroutine at a time, but for Addr and Addrs.
type Cluster struct {
	members []*Server
	joined  func(ctx context.Context, addrs []string) error // may be nil
	asked   atomic.Uint64
	failed  atomic.Uint64 // servers that FailOver has stopped
	parted  atomic.Uint64 // servers that Separate has parted
}

// StartCluster starts count servers of kind k, empty and ready: their protocol
// answers at each, and each knows the others. They run where those of [Start]
// do, and end as those do.
func StartCluster(t testing.TB, k Kind, count int, o Options) *Cluster {
	t.Helper()
	if k.Join == nil {
		t.Fatalf("servers: %s makes no cluster: its Kind has no Join", k.Name)
	}
	if o.Ready != nil {
		k.Ready, k.Joined = o.Ready, nil
	}
	sites := choose(t, k).sites(t, count)
	places := make([]Place, count)
	for i, s := range sites {
		places[i] = s.place
	}
	c := &Cluster{members: make([]*Server, count), joined: k.Joined}
	c.together(t, func(i int) {
		member := k
		member.Args = func(p Place) []string { return slices.Concat(k.Args(p), k.Join(i, places)) }
		c.members[i] = startAt(t, sites[i], member, o)
	})
	c.join(t)
	return c
}

// together runs f on all servers at once, since one may not be ready before
// most are.
func (c *Cluster) together(t testing.TB, do func(member int)) {
	t.Helper()
	var all sync.WaitGroup
	var done atomic.Int64
	for i := range c.members {
		all.Go(func() {
			do(i)
			done.Add(1)
		})
	}
	all.Wait()
	if int(done.Load()) != len(c.members) { // t has ended a goroutine that was not its own
		t.FailNow()
	}
}

// patience is how long servers that are ready may take to know each other.
const patience = 30 * time.Second

// join waits until the servers serve as one.
func (c *Cluster) join(t testing.TB) {
	t.Helper()
	if c.joined == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := c.joined(ctx, c.Addrs())
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("servers: they are no cluster after %v: %v", patience, err)
		case <-retry.C:
		}
	}
}

// Members returns the servers, each of which may be stopped, killed or paused by
// itself.
func (c *Cluster) Members() []*Server { return slices.Clone(c.members) }

// Addrs returns the addresses of all servers, in the order of Members. After
// Start they may be others.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.members))
	for i, m := range c.members {
		addrs[i] = m.Addr()
	}
	return addrs
}

// Addr returns the address of the next server each time, so that a client that
// dials again reaches another one.
func (c *Cluster) Addr() string {
	return c.members[(c.asked.Add(1)-1)%uint64(len(c.members))].Addr()
}

// Stop stops all servers at once.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	c.together(t, func(i int) { c.members[i].Stop(t) })
}

// Start brings all servers back. It returns when they serve as one again.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	c.together(t, func(i int) { c.members[i].Start(t) })
	c.join(t)
}

// FailOver stops one server, another one each time, and returns a function that
// starts it again, and returns when all serve as one. It makes a Cluster a
// nemesis.Cluster.
func (c *Cluster) FailOver(t testing.TB) (back func()) {
	t.Helper()
	s := c.members[(c.failed.Add(1)-1)%uint64(len(c.members))]
	s.Stop(t)
	return func() {
		t.Helper()
		s.Start(t)
		c.join(t)
	}
}

// Separate parts one server from the others, another one each time, and returns a
// function that connects it again. It makes a Cluster a nemesis.Network.
func (c *Cluster) Separate(t testing.TB) (heal func()) {
	t.Helper()
	member := int((c.parted.Add(1) - 1) % uint64(len(c.members)))
	c.Part(t, member)
	return func() {
		t.Helper()
		c.Heal(t, member)
		c.join(t)
	}
}

// Empty deletes what the servers, which are stopped, have stored.
func (c *Cluster) Empty(t testing.TB) {
	t.Helper()
	c.together(t, func(i int) { c.members[i].Empty(t) })
}
