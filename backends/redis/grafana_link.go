package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/internal/wire"
)

const (
	controlMark  = 0                      // begins what our drivers tell each other; it begins no frame
	answerWithin = 300 * time.Millisecond // for nodes of ours that have a key, before this one is attached
	returnWithin = time.Second            // the same where they may have been cut off too
)

// beatMessage is a sign of life. With hello it asks for those of all others.
func (g *grafana) beatMessage(hello bool, id uint64) []byte {
	self := g.options.Self
	return append([]byte{controlMark}, g.enc.Control(wire.Beat, wire.Control{
		Name: self.Name, Addr: self.Addr, Meta: self.Meta,
		Interval: uint64(g.roster.beatInterval() / time.Millisecond), Hello: hello, ID: id,
	})...)
}

func (g *grafana) byeMessage() []byte {
	return append([]byte{controlMark}, g.enc.Control(wire.Bye, wire.Control{Name: g.options.Self.Name})...)
}

// receive hands over what is published, until the subscription ends. Whatever
// ends it, another driver is opened, which asks anew where the servers are.
func (g *grafana) receive() {
	for {
		message, err := g.sub.Receive(g.life)
		switch m := message.(type) {
		case *goredis.Message:
			g.roster.busy()
			g.dispatch(m)
		case *goredis.Subscription:
			err = errors.New("it was made again, and messages were missed")
		}
		if err != nil {
			g.lose(fmt.Errorf("the subscription: %w", err))
			return
		}
	}
}

// dispatch goes by the channel. Those of clusters whose prefix begins with this
// one's match the pattern too: their names are no state's.
func (g *grafana) dispatch(m *goredis.Message) {
	channel, payload := strings.TrimPrefix(m.Channel, g.params.Prefix), []byte(m.Payload)
	var f wire.Frame
	switch {
	case len(payload) == 0:
	case channel == fullStateChannel:
		g.takeState(payload)
	case channel == requestChannel:
		g.takeRequest(m.Payload)
	case channel != ownChannel:
		if wire.Decode(payload, &f) == nil && f.Kind == wire.Update && string(f.Key) == channel {
			g.h.Frame(payload)
		}
	case payload[0] != controlMark:
		g.h.Frame(payload)
	case wire.Decode(payload[1:], &f) != nil || !g.roster.control(&f):
		g.h.Frame(payload) // to be counted
	}
}

// attach waits, a little, for those who are known to be there.
func (g *grafana) attach() {
	limit := answerWithin
	if g.returning {
		limit = returnWithin
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-g.roster.heard:
	case <-t.C:
	case <-g.work.Done():
		return
	}
	g.roster.attach()
}

// sendBeats sends beats, and answers those who ask for one.
func (g *grafana) sendBeats() {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-g.beatNow:
		case <-g.work.Done():
			return
		}
		t.Reset(g.roster.beatInterval())
		if err := g.publishOn(g.work, ownChannel, g.beatMessage(false, 0)); err != nil {
			g.options.Logger.Debug("a beat could not be sent", "err", err) // the missing echo tells
		}
	}
}

// watchEcho finds a link that delivers nothing.
func (g *grafana) watchEcho() {
	tick := time.NewTicker(g.timing.beat / 2)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			if silent, deaf := g.roster.deaf(now); deaf {
				g.lose(fmt.Errorf("this node has not heard itself for %v", silent.Round(time.Millisecond)))
				return
			}
		case <-g.work.Done():
			return
		}
	}
}

// watchRole finds a server that is a master no more.
func (g *grafana) watchRole() {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-g.work.Done():
			return
		}
		ctx, cancel := context.WithTimeout(g.work, timeout)
		err := g.checkRole(ctx)
		cancel()
		if err != nil {
			g.lose(err)
			return
		}
	}
}
