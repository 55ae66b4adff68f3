package grafana

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/clusterchannel/clusterchannel/backends/redis/internal/server"
)

const (
	maxPart     = 16 << 20 // largest message to Grafana's peers: a subscriber 32 MiB behind is dropped
	fieldSharer = 105      // of a full state: the own node that published it; Grafana's peers skip it
)

// askAgain lists when a node asks Grafana's peers for their full state, once it
// has found a peer: at once, and again for states that the service adds
// meanwhile.
var askAgain = []time.Duration{0, time.Second, 5 * time.Second, 15 * time.Second}

// Broadcast implements [driver.Driver]. Grafana's peers do not hear the frame.
// It returns when ctx is done, even if the server stalls.
func (g *conn) Broadcast(ctx context.Context, frame []byte) error {
	if err := server.CheckSize(frame); err != nil {
		return err
	}
	if err := g.client.Publish(ctx, g.prefix()+ownChannel, frame); err != nil {
		return g.explain("PUBLISH "+g.prefix()+ownChannel, err)
	}
	g.hold(ctx, len(frame))
	return nil
}

// updates publishes each update on the channel of its state while there are
// peers of Grafana to hear it. Own nodes hear it there too, except updates that
// such a channel cannot carry.
func (g *conn) updates(ctx context.Context, updates iter.Seq2[string, []byte]) (heard bool, err error) {
	if !g.roster.hasForeign() {
		return false, nil
	}
	pipe, size, rest := g.client.Redis.Pipeline(), 0, 0
	for key, part := range updates {
		if len(part) > maxPart || slices.Contains([]string{fullStateChannel, requestChannel, ownChannel}, key) {
			rest++
			continue
		}
		pipe.Publish(ctx, g.prefix()+key, bytes.Clone(part))
		size += len(part)
	}
	if pipe.Len() > 0 {
		if err := g.do(ctx, func(ctx context.Context) error { _, err := pipe.Exec(ctx); return err }); err != nil {
			signal(g.wanted) // Grafana's peers repair nothing by themselves
			return false, g.explain("PUBLISH", err)
		}
		g.hold(ctx, size)
	}
	return rest == 0, nil
}

// share keeps Grafana's peers up to date with full states, and asks for theirs.
func (g *conn) share(ctx context.Context) error {
	turn := time.NewTicker(g.timing.FullState)
	defer turn.Stop()
	ask := time.NewTimer(0)
	ask.Stop()
	defer ask.Stop()
	asked := 0
	for {
		select {
		case <-turn.C:
			if g.roster.hasForeign() {
				g.publishState(ctx, g.fullState())
			}
		case <-g.wanted:
			g.publishState(ctx, g.fullState())
		case <-g.roster.newcomer:
			asked = 0
			ask.Reset(askAgain[0])
			g.publishState(ctx, g.fullState())
		case <-ask.C:
			g.requestState(ctx)
			if asked++; asked < len(askAgain) {
				ask.Reset(askAgain[asked] - askAgain[asked-1])
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (g *conn) requestState(ctx context.Context) {
	if err := g.publishOn(ctx, requestChannel, []byte(g.key)); err != nil {
		g.logger.Debug("the request for the full state could not be sent", "err", err)
	}
}

// takeRequest answers a peer of Grafana. Own nodes ask by frames.
func (g *conn) takeRequest(from string) {
	if from != g.key && !isOwnKey(from) {
		signal(g.wanted)
		signal(g.look)
	}
}

// fullState returns this node's full state, marked as own, or nil if there is
// none to publish.
func (g *conn) fullState() []byte {
	state := g.handler.LocalState()
	if len(state) == 0 {
		return nil
	}
	if len(state) > maxPart {
		g.logger.Warn("the full state is too large for a channel of Redis, and is not given to Grafana's peers", "bytes", len(state), "limit", maxPart)
		return nil
	}
	state = protowire.AppendTag(state, fieldSharer, protowire.BytesType)
	return protowire.AppendString(state, g.key)
}

func (g *conn) publishState(ctx context.Context, state []byte) {
	if state == nil {
		return
	}
	if err := g.publishOn(ctx, fullStateChannel, state); err != nil {
		g.logger.Debug("the full state could not be published", "err", err) // the next turn repairs it
	}
}

// takeState merges the full state of a peer of Grafana, which may be its last
// message. Own nodes compare their states by frames.
func (g *conn) takeState(state []byte) {
	if _, ours := field(state, fieldSharer); ours {
		return
	}
	signal(g.look)
	g.handler.MergeState(state)
}

// partKey is the field of a clusterpb.Part that holds the key of its state.
const partKey = 1

// field returns the first field of that number in a protobuf message that holds
// bytes or a string.
func field(message []byte, want protowire.Number) (value []byte, ok bool) {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, false
		}
		message = message[n:]
		if num == want && typ == protowire.BytesType {
			value, n = protowire.ConsumeBytes(message)
			return value, n >= 0
		}
		if n = protowire.ConsumeFieldValue(num, typ, message); n < 0 {
			return nil, false
		}
		message = message[n:]
	}
	return nil, false
}
