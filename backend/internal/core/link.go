package core

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver/heartbeat"
)

// link is how far this node's own link to the cluster is.
type link uint8

const (
	down       link = iota // the driver is not attached
	unheard                // it says that it is, and this node has not heard itself yet (on a bus)
	unlisted               // it hears itself, and most of the others do not hear it
	catchingUp             // heard again; what came meanwhile is not merged yet
	attached               // hears and is heard
)

func (l link) String() string {
	return [...]string{"down", "unheard", "unlisted", "catching up", "attached"}[l]
}

// The errors of a view.
var (
	ErrOpening      = errors.New("opening")
	ErrDeaf         = errors.New("own heartbeats are not delivered")
	ErrCatchingUp   = errors.New("merging what came meanwhile")
	ErrUnlisted     = errors.New("most other members do not hear this node")
	ErrNameConflict = errors.New("another member has this node's name")
)

// catchUp is what is to be merged before a node that was away says Attached: all
// that came by the link until its own heartbeat was heard, and one comparison of
// each state.
type catchUp struct {
	began time.Duration
	until time.Duration // the limit
	least time.Duration // where there was nothing to compare: when it is over, unless there is by then
	echo  uint64        // the heartbeat that is to be heard; 0: it was
	nodes bool          // others were there when it began, or before this node gave them up
}

// setLink moves the link on.
func (c *Core) setLink(to link, err error) {
	if c.link == to && c.linkErr == err {
		return
	}
	was := c.link
	c.link, c.linkErr, c.changed, c.publishAt = to, err, true, 0
	switch {
	case to == attached:
		c.since, c.detachedAt, c.isolated, c.parted = c.now, Never, false, nil
	case was == attached:
		c.since, c.detachedAt = c.now, c.now
	}
}

// onLinkUp notes that the driver is attached, or attached again.
func (c *Core) onLinkUp(t Transport) {
	c.transport = t
	if t.Native {
		c.interval = c.cfg.Heartbeat
	}
	again := c.link != down
	if !again {
		c.pulse.Restart(c.now)
	}
	c.sayHello()
	for _, p := range c.roster.all {
		p.ignored = 0
		if !again {
			p.lacks = nil // it may have been given a state meanwhile
		}
	}
	switch {
	case t.Native && !again:
		c.heard()
		if c.hasList {
			c.applyList()
		}
	case !again:
		c.setLink(unheard, c.linkErr)
	default: // subscribed anew: what was sent before is missed, and nothing is forgiven
		c.compareAll("reattach")
	}
	c.beatNow()
}

func (c *Core) onLinkDown(err error) {
	if err == nil {
		err = ErrOpening
	}
	if c.link == attached {
		c.note(NoteDetached, nil, "", 0, err.Error())
	}
	c.setLink(down, err)
}

// sayHello has the next heartbeats ask who is there.
func (c *Core) sayHello() {
	c.hello = helloTimes
	if c.transport.Native {
		c.hello = 1
	}
}

// heard notes that this node is heard: the link is sound.
func (c *Core) heard() {
	if !c.wasUp {
		c.wasUp = true
		c.attach()
		c.note(NoteAttached, nil, "", 0, "")
		return
	}
	for _, p := range c.roster.all { // the others need not be back as soon as this node is
		p.beat.Excuse(c.cfg.Grace)
		if c.transport.Native && p.life == live && !p.excused {
			p.excused, p.unlisted = true, c.now+c.cfg.Grace
			c.departAt = min(c.departAt, p.unlisted)
		}
	}
	c.note(NoteReattached, nil, "", 0, "")
	c.startCatchUp(0)
}

func (c *Core) attach() {
	c.attachedAt = c.now
	c.setLink(attached, nil)
	c.readySoon()
	c.wake()
}

// wake has all that waits for a link begin.
func (c *Core) wake() {
	for _, st := range c.keys {
		c.searchSoon(st, c.now)
	}
	c.holes.at = min(c.holes.at, c.now)
}

// startCatchUp has what came meanwhile merged before this node says Attached.
func (c *Core) startCatchUp(echo uint64) {
	c.catchUp = catchUp{began: c.now, until: c.now + catchUpLimit, least: Never, echo: echo, nodes: c.anyNode() || len(c.parted) > 0}
	c.setLink(catchingUp, ErrCatchingUp)
	c.attachedAt = c.now
	if echo == 0 {
		c.markBacklog()
	}
	c.asked.abandon(c) // what was asked before shows nothing of what came since
	c.compareAll("reattach")
	for _, st := range c.keys { // a first exchange that is not over is a comparison, too
		if st.stale, st.unshown = true, false; st.ready == Settling { // who was asked before may answer now
			st.search.tried, st.search.at = nil, c.now
		}
	}
	c.wake()
	c.caughtUp()
}

// markBacklog notes what waits in the queues now, to be merged before this node
// says Attached.
func (c *Core) markBacklog() {
	for _, st := range c.keys {
		st.backlog = st.merged + uint64(st.pending)
	}
}

// caughtUp says Attached if all that came meanwhile is merged.
func (c *Core) caughtUp() {
	if c.link != catchingUp {
		return
	}
	done := c.catchUp.echo == 0 && c.catchUpOpen() == 0 && (c.anyNode() || !c.catchUp.nodes)
	done = done && c.partedAt() <= c.now
	if done && c.since == c.now && c.anyNode() { // no view has said Detached yet
		c.catchUp.least = c.now + catchUpLeast
		return
	}
	if !done && c.now < c.catchUp.until {
		c.catchUp.least = Never
		return
	}
	c.emit(Note{Kind: NoteCaughtUp, Took: c.now - c.catchUp.began, Count: uint64(c.catchUpOpen())})
	c.setLink(attached, nil)
	c.metAgain(0)
}

// partedAt returns until when those may show themselves that this node lost when
// it was isolated: without them it would be at another position than it will be.
// A transport with a list has said who is there.
func (c *Core) partedAt() time.Duration {
	if c.transport.Native || !slices.ContainsFunc(c.parted, func(p *node) bool { return !p.present() }) {
		return c.now
	}
	return c.catchUp.began + partedBeats*c.interval
}

// catchUpOpen counts the states whose comparison is open, or that have not
// merged what waited when it was over.
func (c *Core) catchUpOpen() (n int) {
	for _, st := range c.keys {
		if st.stale || st.merged < st.backlog {
			n++
		}
	}
	return n
}

// Late reports whether the core was to run so long ago that this process must
// have stood still. The shell asks before it answers for the view, or lets a turn
// come: where it is true it steps a Tick first, which makes the status Detached
// until what came meanwhile is merged. It allocates nothing.
func (c *Core) Late(now time.Duration) bool {
	return c.wakeAt != Never && now-c.wakeAt > c.standstill() && !c.closed
}

// standstill is how late the core must run for the process to have stood still:
// for so long that others may have dropped this node.
func (c *Core) standstill() time.Duration { return heartbeat.Missed * c.cfg.Heartbeat }

// stoodStill notes that the process did not run for a while.
func (c *Core) stoodStill() {
	if !c.Late(c.now) {
		if late := c.now - c.wakeAt; c.wakeAt != Never && late > c.cfg.Heartbeat/2 {
			c.pulse.StoodStill(c.now, late)
		}
		return
	}
	late := c.now - c.wakeAt
	c.pulse.StoodStill(c.now, late)
	c.emit(Note{Kind: NoteStoodStill, Took: late})
	c.asked.abandon(c)
	for _, st := range c.keys {
		st.limitAt += late
	}
	c.settleBy += late
	if c.link != attached && c.link != catchingUp {
		return
	}
	echo := uint64(0)
	c.sayHello()
	c.beatNow()
	if !c.transport.Native {
		echo = c.pulse.Count()
	}
	c.startCatchUp(echo)
}

// beatPause is how long after a heartbeat the next one is sent. With native
// membership they are rare marks.
func (c *Core) beatPause() time.Duration {
	switch {
	case !c.transport.Native:
		return c.interval
	case len(c.changes) > 0: // told once more
		return markAgain
	default:
		return markEvery - markEvery/10 + time.Duration(c.rand.Int64N(int64(markEvery/5)))
	}
}

// onEcho notes that this node heard its own heartbeat.
func (c *Core) onEcho(count uint64) {
	took, ok := c.pulse.Echo(c.now, count)
	if !ok || c.transport.Native || c.link == down {
		return
	}
	c.emit(Note{Kind: NoteEcho, Took: took})
	if c.link == unheard {
		c.heard()
	}
	if c.catchUp.echo != 0 && count >= c.catchUp.echo {
		c.catchUp.echo = 0
		c.markBacklog()
	}
	if by := c.pulse.Ages(c.now, c.interval); by > 0 {
		c.age(by)
	}
	c.caughtUp()
}

// age adds to every node's silence the time for which this node heard itself.
func (c *Core) age(by time.Duration) {
	var silent []*node
	for _, p := range c.roster.live {
		heard := max(p.heardAt, p.since) // by less than since it was heard
		if !p.foreign() && p.beat.Age(min(by, c.now-heard)) {
			silent = append(silent, p)
		}
	}
	for _, p := range silent {
		c.fail(p)
	}
}

func (c *Core) tickLink() {
	if c.link != down && !c.transport.Native && c.now >= c.pulse.DeafAt(c.interval) {
		err := fmt.Errorf("%w for %v", ErrDeaf, (heartbeat.Missed * c.interval).Round(time.Millisecond))
		c.note(NoteDeaf, nil, "", 0, err.Error())
		if c.link == attached {
			c.note(NoteDetached, nil, "", 0, err.Error())
		}
		c.setLink(down, err)
		c.emit(Reopen{err})
	}
	if c.link == catchingUp {
		c.caughtUp()
	}
	if c.link != attached && c.link != catchingUp && !c.isolated && c.now >= c.isolateAt() {
		c.isolate()
	}
}

func (c *Core) isolateAt() time.Duration {
	if c.detachedAt == Never || c.isolated || c.link == catchingUp {
		return Never
	}
	return c.detachedAt + c.cfg.Grace
}

func (c *Core) nextLink() time.Duration {
	at := c.isolateAt()
	if c.link != down && !c.transport.Native {
		at = min(at, c.pulse.DeafAt(c.interval))
	}
	if c.link == catchingUp {
		at = min(at, c.catchUp.until, c.catchUp.least)
		if parted := c.partedAt(); parted > c.now {
			at = min(at, parted)
		}
	}
	if c.link != down { // so that a standstill shows
		at = min(at, c.now+c.cfg.Heartbeat)
	}
	return at
}

// isolate carries out the policy for a node that stayed detached.
func (c *Core) isolate() {
	c.isolated, c.changed = true, true
	given := uint64(0)
	if !c.cfg.Hold && c.link != unlisted { // who hears the others knows that they are there
		for _, p := range c.roster.all {
			if p.life == live || p.life == leaving {
				given++
				if p.present() {
					c.parted = append(c.parted, p)
				}
				c.roster.turn(p, failed, c.now)
				c.gone(p, 0)
			}
		}
	}
	c.note(NoteIsolated, nil, "", given, "")
}
