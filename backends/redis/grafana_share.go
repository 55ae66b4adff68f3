package redis

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

const (
	maxPart     = 16 << 20 // of what is sent to Grafana's peers: a subscriber that is 32 MiB behind is dropped
	fieldSharer = 105      // of a full state: the node of ours that published it; Grafana's peers skip it
)

// askAgain is when a node asks Grafana's peers for their full state, once it has
// found one: at once, and again for states that the service adds meanwhile.
var askAgain = []time.Duration{0, time.Second, 5 * time.Second, 15 * time.Second}

// Broadcast implements [driver.Driver]. A server that stalls cannot hold it
// beyond ctx.
func (g *grafana) Broadcast(ctx context.Context, frame []byte) error {
	if g.work.Err() != nil {
		return fmt.Errorf("redis: %w", driver.ErrClosed)
	}
	return g.publish(ctx, bytes.Clone(frame))
}

// publish sends updates on the channels of their states while there are peers of
// Grafana to hear them, and all else on the own channel. Nodes of ours hear both.
func (g *grafana) publish(ctx context.Context, frame []byte) error {
	var f wire.Frame
	if err := wire.Decode(frame, &f); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	var rest [][]byte
	if (f.Kind == wire.Update || f.Kind == wire.Batch) && g.roster.hasPeers() {
		var err error
		if rest, err = g.publishParts(ctx, frame); err != nil {
			signal(g.wanted) // Grafana's peers repair nothing by themselves
			return g.explain("PUBLISH", err)
		}
	} else {
		rest = [][]byte{frame}
	}
	for _, b := range rest {
		if err := g.publishOwn(ctx, b, string(f.To)); err != nil {
			return g.explain("PUBLISH "+g.params.Prefix+ownChannel, err)
		}
	}
	return nil
}

// publishParts publishes the updates of frame, each as a Part on its state's
// channel, and returns those that Grafana's channels cannot carry.
func (g *grafana) publishParts(ctx context.Context, frame []byte) (rest [][]byte, err error) {
	pipe, size := g.client.Pipeline(), 0
	wire.Updates(frame, func(part []byte) bool {
		var f wire.Frame
		switch {
		case wire.Decode(part, &f) != nil:
		case len(part) > maxPart || slices.Contains([]string{fullStateChannel, requestChannel, ownChannel}, string(f.Key)):
			rest = append(rest, part)
		default:
			pipe.Publish(ctx, g.params.Prefix+string(f.Key), part)
			size += len(part)
		}
		return true
	})
	if pipe.Len() == 0 {
		return rest, nil
	}
	err = g.do(ctx, func(ctx context.Context) error { _, err := pipe.Exec(ctx); return err })
	if err == nil {
		g.hold(ctx, size)
	}
	return rest, err
}

// publishOwn publishes frame on the own channel, in pieces where it is large.
func (g *grafana) publishOwn(ctx context.Context, frame []byte, to string) error {
	one := func(b []byte) error {
		err := g.publishOn(ctx, ownChannel, b)
		if err == nil {
			g.hold(ctx, len(b))
		}
		return err
	}
	if len(frame) <= maxFrame {
		return one(frame)
	}
	return g.enc.Chunks(frame, maxFrame, to, rand.Uint64(), one)
}

// share keeps Grafana's peers up to date with full states, and asks for theirs.
func (g *grafana) share() {
	turn := time.NewTicker(g.timing.fullState)
	defer turn.Stop()
	ask := time.NewTimer(0)
	ask.Stop()
	defer ask.Stop()
	asked := 0
	for {
		select {
		case <-turn.C:
			if g.roster.hasPeers() {
				g.publishState(g.work)
			}
		case <-g.wanted:
			g.publishState(g.work)
		case <-g.newcomer:
			asked = 0
			ask.Reset(askAgain[0])
			g.publishState(g.work)
		case <-ask.C:
			g.requestState()
			if asked++; asked < len(askAgain) {
				ask.Reset(askAgain[asked] - askAgain[asked-1])
			}
		case <-g.work.Done():
			return
		}
	}
}

func (g *grafana) requestState() {
	if err := g.publishOn(g.work, requestChannel, []byte(g.key)); err != nil {
		g.options.Logger.Debug("the full state could not be asked for", "err", err)
	}
}

// takeRequest answers a peer of Grafana. Nodes of ours ask by frames.
func (g *grafana) takeRequest(from string) {
	if from != g.key && !isOwnKey(from) {
		signal(g.wanted)
		signal(g.look)
	}
}

// publishState publishes this node's full state, marked as ours.
func (g *grafana) publishState(ctx context.Context) {
	state := g.h.LocalState()
	if len(state) == 0 {
		return
	}
	if len(state) > maxPart {
		g.options.Logger.Warn("the full state is too large for a channel of Redis, and is not given to Grafana's peers", "bytes", len(state), "limit", maxPart)
		return
	}
	state = protowire.AppendTag(state, fieldSharer, protowire.BytesType)
	state = protowire.AppendString(state, g.key)
	if err := g.publishOn(ctx, fullStateChannel, state); err != nil {
		g.options.Logger.Debug("the full state could not be published", "err", err) // the next turn repairs it
	}
}

// takeState takes in the full state of a peer of Grafana, which may be its last
// word. Nodes of ours compare their states by frames.
func (g *grafana) takeState(state []byte) {
	if isShared(state) {
		return
	}
	signal(g.look)
	g.h.MergeState(state)
}

// isShared tells whether a full state was published by a node of ours.
func isShared(state []byte) bool {
	for len(state) > 0 {
		num, typ, n := protowire.ConsumeTag(state)
		if n < 0 {
			return false
		}
		if num == fieldSharer {
			return true
		}
		size := protowire.ConsumeFieldValue(num, typ, state[n:])
		if size < 0 {
			return false
		}
		state = state[n+size:]
	}
	return false
}
