package grafanapeer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/alertmanager/cluster/clusterpb"
	"google.golang.org/protobuf/proto"
)

// Channel broadcasts the updates of one state.
type Channel struct {
	peer  *Peer
	key   string
	queue chan []byte
}

// AddState shares s under key.
func (p *Peer) AddState(key string, s State) *Channel {
	c := &Channel{peer: p, key: key, queue: make(chan []byte, p.o.Queue)}
	p.mu.Lock()
	p.states[key] = s
	p.mu.Unlock()
	p.receive(key, p.mergeUpdate)
	p.wg.Go(c.send)
	return c
}

// Broadcast queues an update. What finds the queue full is lost.
func (c *Channel) Broadcast(b []byte) {
	select {
	case c.queue <- encode(part(c.key, b)):
	default:
		c.peer.count(func(s *Stats) { s.BufferOverflows++ })
	}
}

func (c *Channel) send() {
	for {
		select {
		case b := <-c.queue:
			err := c.peer.o.Client.Publish(c.peer.ctx, c.peer.prefixed(c.key), b).Err()
			c.peer.count(func(s *Stats) {
				if err != nil {
					s.PublishErrors++
				} else {
					s.UpdatesSent++
				}
			})
		case <-c.peer.ctx.Done():
			return
		}
	}
}

// receive subscribes to a channel, and hands over what arrives. Between
// messages it does not wait: it polls, and sleeps if there is none.
func (p *Peer) receive(channel string, handle func(string)) {
	sub := p.o.Client.Subscribe(p.ctx, p.prefixed(channel))
	messages := sub.Channel()
	p.wg.Go(func() {
		defer sub.Close() //nolint:errcheck // nobody waits for its answer
		for {
			select {
			case <-p.ctx.Done():
				return
			case m, ok := <-messages:
				if !ok {
					return
				}
				handle(m.Payload)
			default:
				p.idle()
			}
		}
	})
}

func (p *Peer) idle() {
	t := time.NewTimer(p.o.ReceivePoll)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
	}
}

func (p *Peer) state(key string) State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.states[key]
}

// mergeUpdate goes by the key in the part, not by the channel.
func (p *Peer) mergeUpdate(payload string) {
	var m clusterpb.Part
	if err := proto.Unmarshal([]byte(payload), &m); err != nil {
		p.o.Logger.Error("an update that cannot be decoded", "err", err)
		return
	}
	p.count(func(s *Stats) { s.UpdatesReceived++ })
	if err := p.merge(&m); err != nil {
		p.o.Logger.Error("merging an update", "key", m.Key, "err", err)
	}
}

var errUnknown = errors.New("unknown state")

func (p *Peer) merge(m *clusterpb.Part) error {
	s := p.state(m.Key)
	if s == nil {
		p.count(func(s *Stats) { s.Unknown++ })
		return errUnknown
	}
	return s.Merge(m.Data)
}

func (p *Peer) mergeFullState(payload string) {
	var full clusterpb.FullState
	if err := proto.Unmarshal([]byte(payload), &full); err != nil {
		p.o.Logger.Error("a full state that cannot be decoded", "err", err)
		return
	}
	p.count(func(s *Stats) { s.FullStatesReceived++ })
	for _, m := range full.Parts {
		switch err := p.merge(m); {
		case errors.Is(err, errUnknown):
		case err != nil:
			p.o.Logger.Error("merging a full state", "key", m.Key, "err", err)
			return
		}
	}
}

// answer publishes the full state when another peer asks for it.
func (p *Peer) answer(from string) {
	if from != p.o.Name {
		p.publishFullState()
	}
}

func (p *Peer) publishFullState() {
	if err := p.publishFullStateTo(p.ctx); err != nil {
		p.o.Logger.Error("publishing the full state", "err", err)
	}
}

func (p *Peer) publishFullStateTo(ctx context.Context) error {
	p.mu.Lock()
	states := make(map[string]State, len(p.states))
	for key, s := range p.states {
		states[key] = s
	}
	p.mu.Unlock()
	var full clusterpb.FullState
	for key, s := range states {
		data, err := s.MarshalBinary()
		if err != nil {
			p.o.Logger.Error("encoding a state", "key", key, "err", err)
		}
		full.Parts = append(full.Parts, part(key, data))
	}
	if err := p.o.Client.Publish(ctx, p.prefixed(fullState), encode(&full)).Err(); err != nil {
		return fmt.Errorf("publish the full state: %w", err)
	}
	p.count(func(s *Stats) { s.FullStatesSent++ })
	return nil
}
