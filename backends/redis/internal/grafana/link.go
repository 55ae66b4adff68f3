package grafana

import (
	"context"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/redis/internal/server"
)

const (
	answerWithin = 300 * time.Millisecond // wait for own nodes that have a key, before this one is attached
	returnWithin = time.Second            // the same if they may have been cut off too
)

// beat returns a beat to send now.
func (g *conn) beat() beat {
	count, interval := g.roster.next()
	m := g.self
	return beat{
		Cluster: g.cluster, Name: m.Name, Instance: m.Instance, Addr: m.Addr, Meta: m.Meta,
		Interval: interval.Milliseconds(), Count: count,
	}
}

// dispatch goes by the channel. The channels of clusters whose prefix begins
// with this one's match the pattern too; their names are not those of a state.
func (g *conn) dispatch(m *goredis.Message) {
	g.roster.busy()
	channel, payload := strings.TrimPrefix(m.Channel, g.prefix()), server.Payload(m)
	switch {
	case len(payload) == 0:
	case channel == fullStateChannel:
		g.takeState(payload)
	case channel == requestChannel:
		g.takeRequest(m.Payload)
	case channel != ownChannel:
		if key, ok := field(payload, partKey); ok && string(key) == channel {
			g.handler.Frame(payload)
		}
	case payload[0] != beatMark:
		g.handler.Frame(payload)
	default:
		g.takeBeat(payload)
	}
}

func (g *conn) takeBeat(message []byte) {
	switch b, err := decodeBeat(message); {
	case err != nil:
		g.handler.Reject(driver.Malformed, err)
	case b.Cluster != g.cluster:
		g.handler.Reject(driver.Foreign, fmt.Errorf("the node %q is of the cluster %q, under this one's prefix", b.Name, b.Cluster))
	default:
		g.roster.take(b)
	}
}

// attach waits briefly for the nodes that are known to be there.
func (g *conn) attach(ctx context.Context) error {
	limit := answerWithin
	if g.returning {
		limit = returnWithin
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-g.roster.heard:
	case <-t.C:
	case <-ctx.Done():
		return nil
	}
	g.roster.attach(g.handler)
	return nil
}

// sendBeats sends beats, and answers those who ask for one.
func (g *conn) sendBeats(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-g.roster.asked:
		case <-ctx.Done():
			return nil
		}
		b := g.beat()
		t.Reset(time.Duration(b.Interval) * time.Millisecond)
		if err := g.publishOn(ctx, ownChannel, b.encode()); err != nil {
			g.logger.Debug("a beat could not be sent", "err", err) // the missing echo will show it
		}
	}
}

// watchEcho finds a link that delivers nothing.
func (g *conn) watchEcho(ctx context.Context) error {
	period := g.timing.Beat / 2
	tick := time.NewTicker(period)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-tick.C:
			now := time.Now()
			if late := now.Sub(last) - period; late > period {
				g.roster.stoodStill(now, late)
			}
			last = now
			if silent, deaf := g.roster.deaf(now); deaf {
				return fmt.Errorf("redis: %w: this node has not heard itself for %v", driver.ErrUnavailable, silent.Round(time.Millisecond))
			}
		case <-ctx.Done():
			return nil
		}
	}
}
