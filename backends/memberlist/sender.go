package memberlist

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	lru "github.com/hashicorp/golang-lru/v2"
	ml "github.com/hashicorp/memberlist"
	"golang.org/x/time/rate"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// sender chooses the way of each frame: a packet where it fits and packets are
// few, else a stream; straight to every member, or in a large cluster from
// member to member.
type sender struct {
	*node
	gossip  *ml.TransmitLimitedQueue
	packets *rate.Limiter // broadcasts that go by packet
	small   int           // the largest frame that fits a packet
	seen    *lru.Cache[uint64, struct{}]

	stop chan struct{} // ends the couriers

	mu       sync.Mutex
	stopped  bool
	couriers map[string]*courier // by node name
}

const (
	packetRate    = 1000 // broadcasts a second that go by packet: above, receivers lose them
	packetBurst   = 128
	gossipQueue   = 1024                  // repeats that wait; the oldest are dropped
	patience      = 30 * time.Millisecond // how long a broadcast waits for slow members
	foreignSmall  = maxPacket / 2         // what Alertmanager sends by packet
	seenFrames    = 16 << 10
	packetMargin  = 8 // for more than one message in a packet
	crcOverhead   = 5
	aesOverhead   = 29 // version, nonce and tag
	labelOverhead = 2
)

func newSender(n *node) *sender {
	small := maxPacket - 1 - crcOverhead
	if n.Label != "" {
		small -= labelOverhead + len(n.Label)
	}
	if n.keys != nil {
		small -= aesOverhead
	}
	seen, err := lru.New[uint64, struct{}](seenFrames)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	s := &sender{
		node: n, packets: rate.NewLimiter(packetRate, packetBurst), small: small, seen: seen,
		stop: make(chan struct{}), couriers: map[string]*courier{},
	}
	s.gossip = &ml.TransmitLimitedQueue{RetransmitMult: retransmitMult, NumNodes: func() int { return len(n.roster.current()) + 1 }}
	return s
}

// broadcast sends frame to every other member.
func (s *sender) broadcast(ctx context.Context, frame []byte) error {
	others := s.roster.current()
	if len(others) > s.DirectLimit {
		s.fresh(frame)
		return s.spread(frame, others)
	}
	var wait []delivery
	var errs []error
	few := s.packets.Allow()
	byPacket := few && len(frame) <= s.small
	byStream := onDemand(frame)
	defer byStream.release()
	foreign := false
	for _, p := range others {
		if p.foreign {
			foreign = true
			continue
		}
		if byPacket {
			errs = append(errs, s.list.SendBestEffort(&p.node, frame))
			continue
		}
		d, err := s.deliver(p, byStream.message())
		wait, errs = append(wait, d), append(errs, err)
	}
	if foreign {
		errs = append(errs, s.broadcastForeign(frame, others, few))
	} else if byPacket {
		s.repeat(frame)
	}
	return errors.Join(append(errs, s.wait(ctx, wait))...)
}

// broadcastForeign sends the updates of frame to the Alertmanagers, each as they
// send their own, and has them repeated.
func (s *sender) broadcastForeign(frame []byte, others []*peer, few bool) error {
	var errs []error
	wire.Updates(frame, func(part []byte) bool {
		if few {
			s.repeat(part)
		}
		byStream := onDemand(part)
		defer byStream.release()
		for _, p := range others {
			switch {
			case !p.foreign:
			case few && len(part) <= foreignSmall:
				errs = append(errs, s.list.SendBestEffort(&p.node, part))
			default:
				_, err := s.deliver(p, byStream.message())
				errs = append(errs, err)
			}
		}
		return true
	})
	return errors.Join(errs...)
}

// repeat has frame gossiped, which repairs what packets lost.
func (s *sender) repeat(frame []byte) {
	if len(frame) > s.small-packetMargin || len(s.roster.current()) == 0 {
		return
	}
	s.gossip.QueueBroadcast(repeated(slices.Clone(frame)))
	s.gossip.Prune(gossipQueue)
}

// send sends frame to one member, and waits until it is sent. The instance says
// which; an Alertmanager has none, and is known by its name.
func (s *sender) send(ctx context.Context, to driver.Member, frame []byte) error {
	p := s.roster.find(ctx, to)
	if p == nil {
		return fmt.Errorf("memberlist: %w: %s is no live member", driver.ErrUnavailable, nodeName(to))
	}
	var wait []delivery
	var errs []error
	each := func(b []byte) bool {
		m := copied(b)
		defer m.release()
		d, err := s.deliver(p, m)
		wait, errs = append(wait, d), append(errs, err)
		return true
	}
	if p.foreign {
		wire.Updates(frame, each)
	} else {
		each(frame)
	}
	for _, d := range wait {
		errs = append(errs, d.result(ctx))
	}
	return errors.Join(errs...)
}

// fresh tells whether frame was not seen lately, and takes note of it.
func (s *sender) fresh(frame []byte) bool {
	seen, _ := s.seen.ContainsOrAdd(xxhash.Sum64(frame), struct{}{})
	return !seen
}

// spread sends frame to some members, who do the same once; so that all have it
// with high probability, and the rest is repaired.
func (s *sender) spread(frame []byte, others []*peer) error {
	fanout := int(math.Ceil(math.Log(float64(len(others)+1)))) + 2
	few := s.packets.Allow()
	byStream := onDemand(frame)
	defer byStream.release()
	var errs []error
	var foreign []*peer
	for _, i := range rand.Perm(len(others)) {
		p := others[i]
		switch {
		case p.foreign:
			foreign = append(foreign, p)
		case fanout == 0:
		case few && len(frame) <= s.small:
			fanout--
			errs = append(errs, s.list.SendBestEffort(&p.node, frame))
		default:
			fanout--
			_, err := s.deliver(p, byStream.message())
			errs = append(errs, err)
		}
	}
	if len(foreign) > 0 {
		errs = append(errs, s.broadcastForeign(frame, foreign[:min(len(foreign), 1)], few))
	} else if few {
		s.repeat(frame)
	}
	return errors.Join(errs...)
}

// relay sends a frame on that came in, in a large cluster, once.
func (s *sender) relay(frame []byte) {
	others := s.roster.current()
	if len(others) <= s.DirectLimit || s.ctx.Err() != nil || !s.fresh(frame) {
		return
	}
	if err := s.spread(frame, others); err != nil {
		s.logger.Debug("a frame was not passed on to some members", "err", err)
	}
}

// hint tells our own kind something that it need not hear.
func (s *sender) hint(message []byte) {
	for _, p := range s.roster.current() {
		if p.foreign {
			continue
		}
		if err := s.list.SendBestEffort(&p.node, message); err != nil {
			s.logger.Debug("a hint was not sent", "to", p.node.Name, "err", err)
		}
	}
}

// deliver queues m for a stream to p.
func (s *sender) deliver(p *peer, m *message) (delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return delivery{}, fmt.Errorf("memberlist: %w", driver.ErrClosed)
	}
	c := s.couriers[p.node.Name]
	if c == nil {
		c = newCourier(s, p)
		s.couriers[p.node.Name] = c
		s.wg.Go(c.run)
	}
	return c.queue(m)
}

// wait returns once all members have their frame that are not slow, and at most
// patience later. Who is slow then is not waited for until it has caught up.
func (s *sender) wait(ctx context.Context, all []delivery) error {
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errSlow)
	defer cancel()
	var errs []error
	for _, d := range all {
		if d.courier == nil || d.courier.behind.Load() {
			continue
		}
		err := d.result(ctx)
		if errors.Is(err, errSlow) {
			d.courier.behind.Store(true)
			err = nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

var errSlow = errors.New("a member is slow")

// goodbye sends what is queued and then the news of leaving, as far as ctx
// allows, and ends the couriers.
func (s *sender) goodbye(ctx context.Context) {
	most := s.TCPTimeout
	if deadline, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(deadline)*3/4) // the rest is for the gossip of it
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	news := controlMessage(controlGoodbye, s.roster.self)
	m := copied(news)
	defer m.release()
	var wait []delivery
	for _, p := range s.roster.current() {
		if p.foreign {
			continue
		}
		if d, err := s.deliver(p, m); err == nil {
			wait = append(wait, d)
		}
	}
	delivered := true
	for _, d := range wait {
		if err := d.result(ctx); err != nil {
			delivered = false
			s.logger.Debug("the news of leaving was not delivered", "to", d.courier.peer.node.Name, "err", err)
		}
	}
	if !delivered {
		s.hint(news)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	close(s.stop)
}

// repeated is a frame in the gossip queue.
type repeated []byte

func (r repeated) Invalidates(ml.Broadcast) bool { return false }
func (r repeated) Message() []byte               { return r }
func (r repeated) Finished()                     {}
func (r repeated) UniqueBroadcast()              {}

var _ ml.UniqueBroadcast = repeated(nil)
