package memberlist

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// Where two members cannot reach each other, but both reach a third, that one
// passes on what they have for each other: a message within a message, which says
// whom it is for. It is passed on once.

// forwardLarge is from how many bytes on one other member alone is asked.
const forwardLarge = 16 << 10

// addressed is a control message about a node, with more.
func addressed(kind byte, name string, more []byte) []byte {
	head := binary.AppendUvarint(controlMessage(kind, ""), uint64(len(name)))
	return slices.Concat(head, []byte(name), more)
}

// addressee is the inverse of addressed.
func addressee(b []byte) (name string, more []byte, ok bool) {
	b = b[min(2, len(b)):]
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return "", nil, false
	}
	b = b[size:]
	return string(b[:n]), b[n:], true
}

// forward asks other members to pass b on to one, and reports whether any is
// asked.
func (s *sender) forward(to *member, b []byte) bool {
	n := 2
	if len(b) >= forwardLarge {
		n = 1
	}
	wrapped := addressed(controlForward, to.node.Name, b)
	asked := false
	for _, p := range some(s.roster.whoReaches(to, s.forwarders(to)), n) {
		asked = s.pass(p, wrapped) == nil || asked
	}
	return asked
}

// reachers are the members that say that they reach one.
type reachers struct {
	said  map[string]time.Time // by name: when
	asked time.Time
	word  chan struct{} // closed when one says so
}

const (
	askedReachers = 16            // members that are asked at a time
	questionRate  = askedReachers // questions a second: about one member
	questionBurst = 8 * askedReachers
	reacherFor    = 10 * time.Second // how long a word counts
)

// whoReaches returns those of some members that say that they reach p, or all of them if
// none is known to. It waits for an answer where nobody was asked lately. Who would have to
// ask about many is late itself, and asks about a few.
func (r *roster) whoReaches(p *member, all []*member) []*member {
	name := p.node.Name
	r.mu.Lock()
	if r.alive[name] == nil || len(all) == 0 {
		r.mu.Unlock()
		return all
	}
	of := r.reachers[name]
	if of == nil {
		of = &reachers{said: map[string]time.Time{}, word: make(chan struct{})}
		r.reachers[name] = of
	}
	now := time.Now()
	first, word := now.Sub(of.asked) > reacherFor, of.word
	ask := now.Sub(of.asked) > r.mesh.settings.ReconnectInterval && r.sender.questions.AllowN(now, min(len(all), askedReachers))
	if ask {
		of.asked = now
	}
	r.mu.Unlock()
	if ask {
		for _, w := range some(all, askedReachers) {
			_ = r.sender.pass(w, addressed(controlWitness, name, []byte(r.self))) // it may be lost
		}
	}
	if ask && first {
		timer := time.NewTimer(r.mesh.settings.ProbeTimeout)
		defer timer.Stop()
		select {
		case <-word:
		case <-timer.C:
		case <-r.ctx.Done():
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := slices.DeleteFunc(slices.Clone(all), func(w *member) bool { return time.Since(of.said[w.node.Name]) > reacherFor })
	if len(known) == 0 {
		return all
	}
	return known
}

// reacher notes that a member says that it reaches another one.
func (r *roster) reacher(b []byte) {
	name, who, ok := addressee(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	of := r.reachers[name]
	if !ok || of == nil || r.alive[string(who)] == nil {
		return
	}
	of.said[string(who)] = time.Now()
	close(of.word)
	of.word = make(chan struct{})
}

// forwarders are the own members that may pass something on to one: not those that
// this node cannot reach either.
func (s *sender) forwarders(to *member) []*member {
	if s.ctx.Err() != nil {
		return nil
	}
	ours, _ := s.roster.kinds()
	return slices.DeleteFunc(slices.Clone(ours), func(p *member) bool {
		return p.node.Name == to.node.Name || s.unreachable(p)
	})
}

func (s *sender) mayForward(to *member) bool { return len(s.forwarders(to)) > 0 }

// patience is how long a stream to a member may take to open before another member
// is asked.
func (s *sender) patience(p *member) time.Duration {
	w := s.path(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	least := forwardAfter
	if s.mesh.settings.tls != nil {
		least = forwardAfterTLS
	}
	return max(least, 4*w.rtt, 4*s.haste.best())
}

// passOn handles the message that forward has sent.
func (s *sender) passOn(b []byte) {
	name, message, ok := addressee(b)
	p := s.roster.named(name)
	if !ok || p == nil || len(message) > 1 && message[0] == controlMark && message[1] == controlForward {
		return
	}
	if err := s.pass(p, slices.Clone(message)); err != nil {
		s.gate.do(func(h driver.Handler) { h.Lost(p.Member, err) })
	}
}

// pass sends b, which stays as it is, to one member, by itself alone.
func (s *sender) pass(p *member, b []byte) error {
	if len(b) <= s.small && s.packetsPass(p) {
		return s.byPacket(p, b, true)
	}
	m := copied(b)
	defer m.release()
	_, err := s.deliver(p, m, true)
	return err
}

// unreachable reports whether packets to a member are lost, and the last stream could not
// be made.
func (s *sender) unreachable(p *member) bool {
	s.mu.Lock()
	c := s.couriers[p.node.Name]
	s.mu.Unlock()
	if c == nil {
		return false
	}
	f := c.failed.Load()
	return f != nil && f.addr == p.Addr && !s.packetsPass(p)
}
