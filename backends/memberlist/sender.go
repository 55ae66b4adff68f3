package memberlist

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	lru "github.com/hashicorp/golang-lru/v2"
	ml "github.com/hashicorp/memberlist"
	"golang.org/x/time/rate"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// sender chooses how to send each frame: as a packet if it fits and packets are
// few, else by a stream; straight to every member, or in a large cluster from
// member to member.
type sender struct {
	mesh      *mesh
	roster    *roster
	gate      *gate
	logger    *slog.Logger
	ctx       context.Context // while frames are passed on
	gossip    *ml.TransmitLimitedQueue
	packets   *rate.Limiter // broadcasts that go by packet
	echoes    *rate.Limiter // streams that are opened for those who ask
	parts     *rate.Limiter // the same to Alertmanagers
	questions *rate.Limiter // who reaches a member
	small     int           // the largest frame that fits a packet
	silent    *complaint    // of members that streams reach and packets do not
	parted    *complaint    // of members that neither reaches
	seen      *lru.Cache[uint64, struct{}]
	haste     haste
	asking    atomic.Int64 // paths that are pinged

	stop chan struct{}  // ends the couriers
	wg   sync.WaitGroup // waits for them

	mu       sync.Mutex
	stopped  bool
	couriers map[string]*courier // by node name
	paths    map[string]*path    // likewise
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

func newSender(c *conn) *sender {
	small := maxPacket - 1 - crcOverhead
	if c.mesh.settings.Label != "" {
		small -= labelOverhead + len(c.mesh.settings.Label)
	}
	if c.mesh.settings.keys != nil {
		small -= aesOverhead
	}
	seen, err := lru.New[uint64, struct{}](seenFrames)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	s := &sender{
		mesh: &c.mesh, roster: c.roster, gate: &c.gate, logger: c.logger, ctx: c.ctx, packets: rate.NewLimiter(packetRate, packetBurst), echoes: rate.NewLimiter(echoRate, echoBurst), parts: rate.NewLimiter(packetRate, packetBurst), questions: rate.NewLimiter(questionRate, questionBurst), small: small, seen: seen, silent: silence(c.mesh.settings), parted: partition(),
		stop: make(chan struct{}), couriers: map[string]*courier{}, paths: map[string]*path{},
	}
	s.gossip = &ml.TransmitLimitedQueue{RetransmitMult: retransmitMult, NumNodes: func() int { return len(c.roster.current()) + 1 }}
	return s
}

// broadcast sends frame to every other own member.
func (s *sender) broadcast(ctx context.Context, frame []byte) error {
	ours, foreign := s.roster.kinds()
	if len(ours)+len(foreign) > s.mesh.settings.DirectLimit {
		s.fresh(frame)
		return s.spread(frame, ours, len(foreign) > 0)
	}
	var wait []delivery
	var errs []error
	few := s.packets.Allow() && len(frame) <= s.small
	byStream := onDemand(frame)
	defer byStream.release()
	var kept []byte
	if few {
		kept = slices.Clone(frame)
	}
	for _, p := range ours {
		if few && s.packetsPass(p) {
			errs = append(errs, s.byPacket(p, kept, false))
			continue
		}
		d, err := s.deliver(p, byStream.message(), false)
		wait, errs = append(wait, d), append(errs, err)
	}
	if few && len(foreign) == 0 {
		s.repeat(kept)
	}
	return errors.Join(append(errs, s.wait(ctx, wait))...)
}

// updates sends updates to the Alertmanagers, in their own format, and queues
// them for repetition, to own nodes too. In a large cluster some Alertmanagers
// get them directly, and the others by repetition.
func (s *sender) updates(updates iter.Seq2[string, []byte]) error {
	ours, foreign := s.roster.kinds()
	if len(foreign) == 0 {
		return nil
	}
	if others := len(ours) + len(foreign); others > s.mesh.settings.DirectLimit {
		foreign = some(foreign, fanout(others))
	}
	few := s.parts.Allow()
	var errs []error
	for _, part := range updates {
		if few {
			s.repeat(slices.Clone(part))
		}
		var kept []byte
		byStream := onDemand(part)
		for _, p := range foreign {
			if few && len(part) <= foreignSmall && s.packetsPass(p) {
				if kept == nil {
					kept = slices.Clone(part)
				}
				errs = append(errs, s.byPacket(p, kept, false))
				continue
			}
			_, err := s.deliver(p, byStream.message(), false)
			errs = append(errs, err)
		}
		byStream.release()
	}
	return errors.Join(errs...)
}

// repeat queues frame, which stays as it is, for gossip, which repairs lost packets.
func (s *sender) repeat(frame []byte) {
	if len(frame) > s.small-packetMargin || len(s.roster.current()) == 0 {
		return
	}
	s.gossip.QueueBroadcast(repeated(frame))
	s.gossip.Prune(gossipQueue)
}

// send sends frame to one own member, and waits until it is sent.
func (s *sender) send(ctx context.Context, to driver.Member, frame []byte) error {
	p := s.roster.find(ctx, to.Instance)
	if p == nil {
		return fmt.Errorf("memberlist: %w: %s is no live member", driver.ErrUnavailable, nodeName(to))
	}
	m := newMessage(2 + len(frame))
	defer m.release()
	if ours, foreign := s.roster.kinds(); len(ours)+len(foreign) > s.mesh.settings.DirectLimit { // else it is passed on
		_, _ = m.buf.Write(controlMessage(controlDirect, "")) // never fails
	}
	_, _ = m.buf.Write(frame) // likewise
	d, err := s.deliver(p, m, false)
	if err != nil {
		return err
	}
	return d.result(ctx)
}

// fresh reports whether frame was not seen lately, and remembers it.
func (s *sender) fresh(frame []byte) bool {
	seen, _ := s.seen.ContainsOrAdd(xxhash.Sum64(frame), struct{}{})
	return !seen
}

// fanout returns how many of the others get a frame that is for all.
func fanout(others int) int { return int(math.Ceil(math.Log(float64(others+1)))) + 2 }

// some returns n of all, at random.
func some(all []*member, n int) []*member {
	chosen := make([]*member, 0, n)
	for _, i := range rand.Perm(len(all))[:min(n, len(all))] {
		chosen = append(chosen, all[i])
	}
	return chosen
}

// spread sends frame to some own members, which do the same once, so that all
// have it with high probability; the rest is repaired.
func (s *sender) spread(frame []byte, ours []*member, foreign bool) error {
	few := s.packets.Allow()
	byStream := onDemand(frame)
	defer byStream.release()
	var errs []error
	for _, p := range some(ours, fanout(len(ours))) {
		if few && len(frame) <= s.small && s.packetsPass(p) {
			errs = append(errs, s.mesh.packet(p, frame))
			continue
		}
		_, err := s.deliver(p, byStream.message(), false)
		errs = append(errs, err)
	}
	if few && !foreign {
		s.repeat(slices.Clone(frame))
	}
	return errors.Join(errs...)
}

// relay passes a received frame on, once, in a large cluster.
func (s *sender) relay(frame []byte) {
	ours, foreign := s.roster.kinds()
	if len(ours)+len(foreign) <= s.mesh.settings.DirectLimit || s.ctx.Err() != nil || !s.fresh(frame) {
		return
	}
	if err := s.spread(frame, ours, len(foreign) > 0); err != nil {
		s.logger.Debug("a frame was not passed on to some members", "err", err)
	}
}

// hint sends own nodes a message that may be lost, unless packets to one are lost.
func (s *sender) hint(message []byte) {
	ours, _ := s.roster.kinds()
	for _, p := range ours {
		if !s.packetsPass(p) {
			if err := s.pass(p, message); err != nil {
				s.logger.Debug("a hint was not sent", "to", p.node.Name, "err", err)
			}
			continue
		}
		if err := s.mesh.packet(p, message); err != nil {
			s.logger.Debug("a hint was not sent", "to", p.node.Name, "err", err)
		}
	}
}

// deliver queues m for a stream to p. A final message is not passed on by another
// member.
func (s *sender) deliver(p *member, m *message, final bool) (delivery, error) {
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
	return c.queue(m, final)
}

// readdress has what is on its way to a member, or queued, sent to its new address.
func (s *sender) readdress(p *member) {
	s.mu.Lock()
	c := s.couriers[p.node.Name]
	s.mu.Unlock()
	if c == nil {
		return
	}
	if old := c.member.Swap(p); old.Addr != p.Addr {
		s.mesh.trans.abandon(old.Addr)
	}
}

// wait returns once all members that are not slow have the frame, or after
// patience. It marks the rest as slow: later broadcasts do not wait for them
// until they have caught up.
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

// goodbye sends what is queued and then the goodbye, as far as ctx allows.
func (s *sender) goodbye(ctx context.Context) {
	most := s.mesh.settings.TCPTimeout
	if deadline, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(deadline)*3/4) // the rest of the time is for gossiping the goodbye
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	news := controlMessage(controlGoodbye, s.roster.self)
	m := copied(news)
	defer m.release()
	var wait []delivery
	ours, _ := s.roster.kinds()
	for _, p := range ours {
		if d, err := s.deliver(p, m, false); err == nil {
			wait = append(wait, d)
		}
	}
	delivered := true
	for _, d := range wait {
		if err := d.result(ctx); err != nil {
			delivered = false
			s.logger.Debug("the goodbye was not delivered", "to", d.courier.name(), "err", err)
		}
	}
	if !delivered {
		s.hint(news)
	}
}

// retell is for how long a member that has joined is told of the ghosts, after pauses
// that grow: it may not know them yet when it is told first.
const retell = time.Second

// tellGhosts says the goodbyes of ghosts again, to a member that has joined.
func (s *sender) tellGhosts(p *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.wg.Go(func() {
		for pause := 10 * time.Millisecond; pause < retell; pause *= 2 {
			for _, name := range s.roster.ghosts() {
				m := copied(controlMessage(controlGoodbye, name))
				if _, err := s.deliver(p, m, true); err != nil {
					s.logger.Debug("a goodbye was not told again", "of", name, "to", p.node.Name, "err", err)
				}
				m.release()
			}
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-s.stop:
				timer.Stop()
				return
			}
		}
	})
}

// end ends the couriers.
func (s *sender) end() {
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
