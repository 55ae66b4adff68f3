package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// stagger is how long one server has before the next is tried beside it.
const stagger = 250 * time.Millisecond

// masters finds a server of a Cluster. Any will do, since they forward what is
// published to each other, whoever owns the slot of a channel; but one that was
// taken out of the Cluster, or has lost most masters, forwards nothing, or not to
// all.
type masters struct {
	client *Client
	at     Standing // where the node is
}

// Standing is how a server stands in its Cluster.
type Standing struct {
	Addr    string
	Masters int   // that own slots, as far as it was asked
	Alive   int   // of these, that it holds to be alive
	Denied  bool  // it must not be asked, and is trusted
	Err     error // it did not answer
}

// Among reports whether the server is with most masters.
func (c Standing) Among() bool { return c.Err == nil && c.Alive > c.Masters/2 }

// better reports whether c is the one for all nodes, where none is with most
// masters: they have to meet somewhere.
func (c Standing) better(than Standing) bool {
	return c.Err == nil && (than.Err != nil || cmp.Or(cmp.Compare(c.Alive, than.Alive), -strings.Compare(c.Addr, than.Addr)) > 0)
}

func (m *masters) find(ctx context.Context) (string, error) {
	best, failures := m.ask(ctx)
	switch {
	case best.Err == nil && best.Alive > 0:
		m.at = best
		return best.Addr, nil
	case best.Err == nil:
		failures = append(failures, m.client.Config.Explain("CLUSTER NODES at "+best.Addr, errAlone))
	}
	for _, err := range failures {
		if !errors.Is(err, driver.ErrConfig) {
			return "", fmt.Errorf("redis: %w: no server of the Cluster can be used: %v", driver.ErrUnavailable, errors.Join(failures...))
		}
	}
	return "", failures[0]
}

var errAlone = errors.New("the server is in no Cluster, or in one whose slots nobody owns")

// check leaves a server for one that is better placed.
func (m *masters) check(ctx context.Context, _ func(string, error)) error {
	now := Standing{Addr: m.at.Addr}
	if err := m.client.Command(ctx, func() error {
		now = look(ctx, m.client.Redis, m.at.Addr)
		return now.Err
	}); err != nil || now.Among() {
		return nil // a link that is down shows elsewhere
	}
	if best, _ := m.ask(ctx); best.Addr != now.Addr && (best.Among() || best.better(now)) {
		return fmt.Errorf("redis: %w: %s knows %d of %d masters of the Cluster to be alive, and %s knows more",
			driver.ErrUnavailable, now.Addr, now.Alive, now.Masters, best.Addr)
	}
	return nil
}

// ask returns the first server that is with most masters, or the best one. If it
// has an error, so have all.
func (m *masters) ask(ctx context.Context) (best Standing, failures []error) {
	addrs := slices.Clone(m.client.Config.Options.Addrs)
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	results := make(chan Standing, len(addrs))
	best.Err = driver.ErrUnavailable
	next := time.NewTimer(0)
	defer next.Stop()
	for started, pending := 0, 0; started < len(addrs) || pending > 0; {
		select {
		case <-next.C:
			if started < len(addrs) {
				addr := addrs[started]
				if !m.client.start(func() { results <- m.try(ctx, addr) }) {
					results <- Standing{Addr: addr, Err: driver.ErrClosed}
				}
				started, pending = started+1, pending+1
				next.Reset(stagger)
			}
		case c := <-results:
			pending--
			if c.Among() {
				return c, nil
			}
			if c.Err != nil {
				failures = append(failures, m.client.Config.Explain("CLUSTER INFO at "+c.Addr, c.Err))
			}
			if c.better(best) {
				best = c
			}
			next.Reset(0)
		case <-ctx.Done():
			return best, append(failures, fmt.Errorf("redis: %w: %w", driver.ErrUnavailable, ctx.Err()))
		}
	}
	return best, failures
}

func (m *masters) try(ctx context.Context, addr string) Standing {
	c := m.client.Config.to(m.client.life, addr)
	defer c.Close() //nolint:errcheck // it has answered
	return look(ctx, c, addr)
}

// look asks a server how it stands in the Cluster. One that says that all is well
// is asked no more.
func look(ctx context.Context, c *goredis.Client, addr string) Standing {
	s := Standing{Addr: addr, Masters: 1, Alive: 1}
	info, err := c.ClusterInfo(ctx).Result()
	nodes := ""
	if err == nil && !strings.Contains(info, "cluster_state:ok") {
		nodes, err = c.ClusterNodes(ctx).Result()
		t := readTopology(nodes)
		s.Masters, s.Alive = t.Masters, t.Alive
	}
	s.Denied = err != nil && strings.HasPrefix(err.Error(), "NOPERM")
	if s.Denied {
		s.Masters, s.Alive = 1, 1
		return s
	}
	s.Err = err
	return s
}
