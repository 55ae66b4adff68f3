// Package heartbeat is the arithmetic of membership by heartbeats: when a node
// beats, when it must conclude that nobody hears it, and when another one
// counts as failed. Its types are values without locks, clocks or I/O; they are
// used under whatever lock guards the rest of a roster.
//
// Two ideas carry it. A node that publishes to a bus hears itself, so its own
// echo shows that the bus delivers. And another node's silence is measured only
// while this node hears itself: so a deaf node drops nobody, and an outage of
// the bus ages nobody.
//
// Time is the time since any fixed moment on the node's own monotonic clock.
package heartbeat

import "time"

const (
	// Missed is how many of its own intervals a node may be silent.
	Missed = 4
	// StretchAbove is the number of members above which intervals stretch.
	StretchAbove = 10
	// MaxInterval is the longest announced interval that is believed.
	MaxInterval = time.Minute
	// Settled is how many heartbeats make a node count for the stretching of
	// intervals: names that somebody invents once must not slow detection down.
	Settled = 3
)

// Interval returns the time between heartbeats in a cluster of n members. Above
// StretchAbove it grows with n, so that what each node hears does not.
func Interval(base time.Duration, n int) time.Duration {
	return min(base*time.Duration(max(n, StretchAbove))/StretchAbove, max(base, MaxInterval))
}

// Pulse is a node's own heartbeats and their echoes. The zero value has not
// beaten yet.
type Pulse struct {
	count   uint64
	sent    [64]time.Duration // of the latest counts, by count
	echoed  uint64            // the highest count heard again, or given up
	heardAt time.Duration
	sentAt  time.Duration    // of the heartbeat heard last
	aged    [2]time.Duration // when the others last grew older: of the heartbeat, and of its echo
}

// Beat returns the count of the next heartbeat, which leaves now.
func (p *Pulse) Beat(now time.Duration) uint64 {
	p.count++
	p.sent[p.count%uint64(len(p.sent))] = now
	return p.count
}

// Count returns the count of the last heartbeat.
func (p *Pulse) Count() uint64 { return p.count }

// Reset starts the count again, as for a new incarnation.
func (p *Pulse) Reset() { p.count, p.echoed = 0, 0 }

// Restart forgets the heartbeats under way: their echoes say nothing about a
// link that has just come up.
func (p *Pulse) Restart(now time.Duration) { p.echoed, p.heardAt = p.count, now }

// Echo notes that the heartbeat with this count was heard, and returns how long
// it took. It reports false for one that was not sent, or not since the last
// Restart, or was heard before.
func (p *Pulse) Echo(now time.Duration, count uint64) (took time.Duration, ok bool) {
	if count <= p.echoed || count > p.count {
		return 0, false
	}
	p.echoed, p.heardAt = count, now
	p.sentAt = p.sent[max(count, p.count-min(p.count, uint64(len(p.sent))-1))%uint64(len(p.sent))]
	return now - p.sentAt, true
}

// Ages returns by how much the echo that was just heard ages the other nodes.
// It is the time since the last echo that did, as sent or as heard, whichever
// is shorter, and at most an interval. So extra heartbeats age nobody faster,
// and a stalled link that delivers many echoes at once ages nobody.
func (p *Pulse) Ages(now, interval time.Duration) time.Duration {
	by := min(p.sentAt-p.aged[0], now-p.aged[1], interval)
	p.aged = [2]time.Duration{p.sentAt, now}
	return max(by, 0)
}

// DeafAt returns when this node must conclude that the bus does not deliver,
// unless it hears itself before.
func (p *Pulse) DeafAt(interval time.Duration) time.Duration { return p.heardAt + Missed*interval }

// StoodStill compensates for a pause of the process, which did not run for late
// until now: in that time it could not hear, so the time must not count as
// silence.
func (p *Pulse) StoodStill(now, late time.Duration) {
	p.heardAt, p.aged[1] = min(p.heardAt+late, now), min(p.aged[1]+late, now)
}

// Member tracks the heartbeats of another member. The zero value has heard none.
type Member struct {
	interval time.Duration // between its heartbeats
	silent   time.Duration // for which this node heard itself since it last heard the member
	beats    uint8         // heard, up to Settled
	excused  bool          // since it was last heard
}

// Announced notes what another node says about this one: it is there, and beats
// that often. The node itself was not heard.
func (m *Member) Announced(interval, base time.Duration) {
	m.interval = min(max(interval, base), max(base, MaxInterval))
}

// Beat notes a heartbeat of the node, which announces the time until its next.
func (m *Member) Beat(interval, base time.Duration) {
	m.Announced(interval, base)
	m.beats = min(m.beats+1, Settled)
	m.Heard()
}

// Heard notes any other sign of life of the node.
func (m *Member) Heard() { m.silent, m.excused = 0, false }

// Settled reports whether the node was heard often enough to count for the
// stretching of intervals.
func (m *Member) Settled() bool { return m.beats >= Settled }

// Age adds the time for which this node heard itself. It reports whether the
// other node has been silent for too long.
func (m *Member) Age(by time.Duration) (failed bool) {
	m.silent += by
	return m.silent > Missed*m.interval
}

// Excuse allows the other node a silence of up to allowance more: after an
// outage it need not be back as soon as this node is. It is allowed once, until
// the node is heard again.
func (m *Member) Excuse(allowance time.Duration) {
	if !m.excused {
		m.silent, m.excused = min(m.silent, -allowance), true
	}
}

// Interval returns the time between the node's heartbeats, as announced.
func (m *Member) Interval() time.Duration { return m.interval }
