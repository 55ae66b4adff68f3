package memberlist

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// path is the way to one member, as far as packets go. Whether they arrive is not
// known from sending them. So after a packet with a frame the member is pinged,
// which any node answers, and until it has answered, the frame is kept: it goes by
// a stream if there is no answer, and so do all further ones until there is.
type path struct {
	mu       sync.Mutex
	member   *member
	asking   bool          // keepAsking runs
	sent     uint64        // frames sent as packets so far
	waiting  []waiting     // those of them that no ping was answered after yet
	doubted  bool          // a ping was not answered soon
	missed   int           // pings in a row that were not answered
	met      bool          // it was reached at least once
	sought   bool          // it was looked for, since it was not
	rtt      time.Duration // of the last one that was
	answered time.Time     // when that was
}

// waiting is a frame that may have been lost.
type waiting struct {
	frame  []byte
	number uint64
	final  bool // it is not to be passed on by another member
}

const (
	maxWaiting  = 1024                  // frames; what is older is repaired as any loss is
	pingDelay   = 5 * time.Millisecond  // before the first, so that it delays no frame
	pingSpacing = 50 * time.Millisecond // between pings while frames are sent
	pingDoubt   = 50 * time.Millisecond // how long an answer may take, on a network with short round trips
	pingsAtOnce = 16                    // members that are pinged in a probe interval while they are silent
	pingsLost   = 3                     // pings without an answer in a row that are no chance
	pingsParted = 5                     // what else is given up by then is gone
	unmetFor    = 2                     // probe intervals after which a member is pinged that nothing was sent to
)

// haste is how fast answers come to this node at best: the least of the last round trips,
// whoever answered. On a machine that is late all are long.
type haste struct {
	mu   sync.Mutex
	last [8]time.Duration
	next int
}

func (h *haste) note(rtt time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last[h.next%len(h.last)] = rtt
	h.next++
}

// best is zero as long as too few have answered.
func (h *haste) best() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Min(h.last[:])
}

// path returns the path to a member, a new one if it has a new address.
func (s *sender) path(p *member) *path {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.paths[p.node.Name]
	if w == nil || w.member.Addr != p.Addr {
		w = &path{member: p, sought: p.foreign, answered: time.Now()}
		s.paths[p.node.Name] = w
	}
	return w
}

// packetsPass reports whether packets to a member arrive, as far as is known.
func (s *sender) packetsPass(p *member) bool {
	w := s.path(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.doubted
}

// met reports whether a member was reached at least once.
func (s *sender) met(p *member) bool {
	w := s.path(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.met
}

// answered notes that a member has answered a ping of memberlist's.
func (s *sender) answered(p *member, rtt time.Duration) { s.passed(s.path(p), 0, rtt) }

// byPacket sends frame, which stays as it is, to a member as a packet, and sees to
// it that it arrives.
func (s *sender) byPacket(p *member, frame []byte, final bool) error {
	w := s.path(p)
	w.mu.Lock()
	w.sent++
	if w.waiting = append(w.waiting, waiting{frame, w.sent, final}); len(w.waiting) > maxWaiting {
		w.waiting = w.waiting[1:]
	}
	w.mu.Unlock()
	err := s.mesh.packet(p, frame)
	s.ask(w)
	return err
}

// ask begins to ping, unless that is under way.
func (s *sender) ask(w *path) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !w.asking && !s.stopped {
		w.asking = true
		s.wg.Go(func() { s.keepAsking(w) })
	}
}

// keepAsking pings until nothing waits for an answer and packets pass, or the
// member is gone.
func (s *sender) keepAsking(w *path) {
	s.asking.Add(1)
	defer s.asking.Add(-1)
	for pause := pingDelay; s.rest(pause) && s.pingOnce(w); {
		w.mu.Lock()
		pause = pingSpacing
		if w.missed >= pingsLost {
			pause = s.mesh.settings.ProbeInterval * time.Duration(1+s.asking.Load()/pingsAtOnce)
		}
		w.mu.Unlock()
	}
}

// rest waits, and reports whether to go on.
func (s *sender) rest(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.stop:
		return false
	}
}

// pingOnce pings a member, and reports whether to go on.
func (s *sender) pingOnce(w *path) bool {
	w.mu.Lock()
	sent, doubt := w.sent, min(max(pingDoubt, 4*w.rtt, 4*s.haste.best()), s.mesh.settings.ProbeTimeout)
	w.mu.Unlock()
	began := time.Now()
	late := time.AfterFunc(doubt, func() {
		if time.Since(began) < 2*doubt { // else it is this node that is late
			s.rescue(w, false)
		}
	})
	rtt, err := s.mesh.roundTrip(w.member)
	late.Stop()
	if s.roster.named(w.member.node.Name) == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asking, w.waiting = false, nil
		return false
	}
	if err == nil {
		s.gate.do(func(h driver.Handler) { h.Probe(w.member.Name, rtt, nil) })
		s.passed(w, sent, rtt)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asking = len(w.waiting) > 0
		return w.asking
	}
	s.gate.do(func(h driver.Handler) {
		h.Probe(w.member.Name, 0, fmt.Errorf("memberlist: %s at %s: %w", w.member.node.Name, w.member.Addr, err))
	})
	if t := s.mesh.trans.tls; t != nil {
		t.giveUp(w.member.Addr)
	}
	s.rescue(w, true)
	s.complain(w)
	return true
}

// passed notes that a ping was answered, before which so many frames were sent.
func (s *sender) passed(w *path, sent uint64, rtt time.Duration) {
	s.haste.note(rtt)
	w.mu.Lock()
	w.doubted, w.missed, w.met, w.rtt, w.answered = false, 0, true, rtt, time.Now()
	w.waiting = slices.DeleteFunc(w.waiting, func(m waiting) bool { return m.number <= sent })
	w.mu.Unlock()
	s.silent.set(s.gate, w.member, false)
	s.parted.set(s.gate, w.member, false)
}

// complain says what kind of silence it is, once it is no chance. Somebody may have
// invented who has never answered.
func (s *sender) complain(w *path) {
	w.mu.Lock()
	missed, seek := w.missed, !w.met && !w.sought
	w.sought = w.sought || missed >= pingsLost
	w.mu.Unlock()
	if missed < pingsLost {
		return
	}
	if p := s.roster.named(w.member.node.Name); seek && p != nil {
		s.roster.vet(p)
		return
	}
	byStreams := s.mesh.knock(w.member, s.mesh.settings.ProbeTimeout)
	w.mu.Lock()
	w.met = w.met || byStreams
	w.mu.Unlock()
	s.silent.set(s.gate, w.member, byStreams)
	s.parted.set(s.gate, w.member, !byStreams && missed >= pingsParted)
}

// rescue sends by a stream what may have been lost. lost says that the ping was
// not answered in time.
func (s *sender) rescue(w *path, lost bool) {
	w.mu.Lock()
	frames := w.waiting
	w.waiting, w.doubted = nil, true
	if lost {
		w.missed++
	}
	w.mu.Unlock()
	for _, f := range frames {
		m := copied(f.frame)
		_, err := s.deliver(w.member, m, f.final)
		m.release()
		if err != nil {
			s.logger.Debug("a frame was not sent again", "to", w.member.node.Name, "err", err)
		}
	}
}

// watchPaths pings members that memberlist's own probes have not heard for too
// long, so that lost packets are known before a frame is.
func (s *sender) watchPaths() {
	tick := time.NewTicker(s.mesh.settings.ProbeInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		others := s.roster.current()
		// memberlist probes each of the others once in a round, in any order.
		overdue := time.Duration(2*len(others)+1) * s.mesh.settings.ProbeInterval
		for _, p := range others {
			w := s.path(p)
			w.mu.Lock()
			quiet := time.Since(w.answered)
			silent := quiet > overdue || !w.met && !w.sought && quiet > unmetFor*s.mesh.settings.ProbeInterval
			w.mu.Unlock()
			if silent {
				s.ask(w)
			}
		}
		for _, p := range s.roster.refusing.list() {
			if !errors.Is(s.mesh.dial(p), syscall.ECONNREFUSED) {
				s.roster.refusing.set(s.gate, p, false)
			}
		}
		s.forgetPaths()
	}
}

// forgetPaths drops the paths to who is no member any more.
func (s *sender) forgetPaths() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.paths {
		if !s.roster.holds(name) {
			delete(s.paths, name)
		}
	}
	s.silent.keep(s.gate, s.roster.holds)
	s.parted.keep(s.gate, s.roster.holds)
	s.roster.refusing.keep(s.gate, s.roster.holds)
}
