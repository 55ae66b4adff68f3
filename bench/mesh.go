package main

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// line carries payloads from its first node to all others.
type line interface {
	broadcast(b []byte)
	burst(all [][]byte) // as fast as the contender allows
	stores() []*store   // of all nodes, the sender's first
	close()
}

// mesh is a cluster under test, in this process.
type mesh interface {
	line
	members() []int        // as each node counts them
	where() string         // what another process needs to join
	join() (*store, error) // opens one more node; returns when it is ready
	leave() func() error   // removes the node that joined last; the result closes it
	heard() int64          // messages that the nodes received so far; 0 if the server counts them
}

// raw is a client library with nothing around it.
type raw struct {
	title string
	open  func(place, int, func() *store) (line, error) // with such stores
}

// keeping is the library whose nodes keep what arrives.
func (r raw) keeping() contender { return r.with(newStore) }

// counting is the library whose nodes note that something has arrived.
func (r raw) counting() contender { return r.with(newCounter) }

func (r raw) with(s func() *store) contender {
	return contender{title: r.title, line: func(p place, n int) (line, error) { return r.open(p, n, s) }}
}

// contender is an implementation under test.
type contender struct {
	title string
	line  func(place, int) (line, error) // for what is not a mesh
	mesh  func(place, int) (mesh, error)
	node  func(p place, where string) error // joins a mesh, in a process that will be killed
}

// open opens it for the measurements that need only a line.
func (c contender) open(p place, n int) (line, error) {
	if c.line != nil {
		return c.line(p, n)
	}
	return c.gather(p, n)
}

// gather opens a mesh and waits until its nodes see each other.
func (c contender) gather(p place, n int) (mesh, error) {
	m, err := c.mesh(p, n)
	if err != nil {
		return nil, err
	}
	if err := awaitMembers(m, n); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// place is where a contender is measured.
type place struct {
	Backend string
	Server  endpoint
}

var silent = slog.New(slog.DiscardHandler)

// await waits until done, or for at most limit.
func await(limit time.Duration, done func() bool) bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(limit)
	for !done() {
		if time.Now().After(deadline) {
			return false
		}
		<-tick.C
	}
	return true
}

// agreed reports whether all nodes count want members.
func agreed(m mesh, want int) func() bool {
	return func() bool { return !slices.ContainsFunc(m.members(), func(have int) bool { return have != want }) }
}

// rest does nothing for d.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
