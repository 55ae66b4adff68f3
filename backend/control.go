package backend

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/internal/wire"
)

const (
	missedBeats  = 4  // of its own interval before a member counts as failed
	stretchAbove = 10 // members, from where on heartbeats stretch
	maxTombs     = 1024
	markDelay    = 250 * time.Millisecond
	joinDelay    = time.Second // before the states of a joined member are compared, if it did not do so itself
	maxMembers   = 4096
	maxInterval  = time.Minute
)

// control owns the view. Only the control loop touches it.
type control struct {
	n *node

	native   bool // the driver has Caps.Membership
	linked   bool
	linkErr  error
	detached time.Time // since when, while not attached
	attached bool
	isolated bool // the policy has been carried out
	everUp   bool
	peers    map[string]*peer
	list     []Member // the driver's own latest list
	hasList  bool
	keepTill time.Time // until when nobody is dropped after an attachment
	tombs    []string  // instances that said goodbye

	beatID   uint64
	beats    map[uint64]time.Time // sent and not yet heard
	lastEcho time.Time            // counted
	heardAt  time.Time            // last sign that the cluster hears us, or the link's beginning
	nextBeat time.Time
	owesBeat bool
	nextSync time.Time
	joined   []string // members whose states are to be compared
	joinedAt time.Time
	aloneAt  time.Time
	markAt   time.Time
	marked   uint64
	settleAt time.Time
	ready    Readiness
	gap      bool
	conflict bool
	round    int
	since    time.Time
}

// peer is another member.
type peer struct {
	Member
	interval time.Duration // between its beats
	silence  time.Duration // that this node heard itself since it last heard the peer
}

func (n *node) controlLoop() {
	now := time.Now()
	c := &control{
		n: n, peers: map[string]*peer{}, beats: map[uint64]time.Time{},
		detached: now, since: now, linkErr: errOpening, settleAt: now.Add(n.cfg.Timing.Settle), nextSync: now.Add(n.syncInterval()),
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for wake := now; ; {
		select {
		case <-n.work.Done():
			return
		case <-n.inbox.wake:
		case <-timer.C:
		}
		now = time.Now()
		c.stoodStill(now.Sub(wake))
		c.handle(n.inbox.take(), now)
		next := c.tick(now)
		c.update(now)
		wait := max(time.Until(next), time.Millisecond)
		timer.Reset(wait)
		wake = time.Now().Add(wait)
	}
}

// stoodStill takes in that the loop runs so much later than it was to: this process
// was stopped, or had no processor, and what it did not hear then says nothing of
// the link.
func (c *control) stoodStill(late time.Duration) {
	if late > c.interval()/2 {
		c.heardAt = c.heardAt.Add(late)
	}
}

func (n *node) syncInterval() time.Duration {
	return time.Duration(float64(n.cfg.Timing.Sync) * (0.9 + rand.Float64()/5))
}

// interval is the time between this node's beats.
func (c *control) interval() time.Duration {
	return c.n.cfg.Timing.Heartbeat * time.Duration(max(len(c.peers)+1, stretchAbove)) / stretchAbove
}

// handle takes in what has happened.
func (c *control) handle(ev events, now time.Time) {
	for _, l := range ev.links {
		c.onLink(l, now)
	}
	for _, d := range ev.left {
		c.drop(listID(d.Member), true)
		if d.back {
			c.tombs = slices.DeleteFunc(c.tombs, func(id string) bool { return id == d.Instance })
		} else {
			c.bury(d.Instance)
		}
	}
	if ev.hasList {
		c.list, c.hasList = ev.members, true
		c.exhume()
	}
	f := new(wire.Frame)
	for _, b := range ev.frames {
		if wire.Decode(b, f) == nil {
			c.onFrame(f, now)
		}
	}
	for _, id := range ev.echoes {
		c.onEcho(id, now)
	}
	if c.native && c.linked && c.hasList && (ev.hasList || len(ev.links) > 0) {
		c.applyList(now)
	}
	if c.native && c.linked {
		c.attach(now)
	}
	if ev.gap {
		c.gap = true
	}
	if ev.sent && c.markAt.IsZero() {
		c.markAt = now.Add(markDelay)
	}
	if ev.native && c.onlyForeign() {
		c.becomeReady(Synced)
	}
	if ev.exchanged {
		c.becomeReady(Synced)
	}
}

func (c *control) onLink(l linkEvent, now time.Time) {
	if l.err != nil {
		c.linked, c.linkErr = false, l.err
		c.detach(now)
		return
	}
	if l.session.over.Load() {
		return
	}
	c.native = l.session.caps.Membership
	again := c.linked
	c.linked = true
	c.heardAt = now
	if c.everUp { // the others need not come back as soon as this node does
		c.keepTill = now.Add(c.n.cfg.Timing.Grace)
		for id, p := range c.peers {
			p.silence = -c.n.cfg.Timing.Grace
			c.n.origins.takeHeard(id) // what was heard before the outage does not count
		}
	}
	clear(c.beats)
	switch {
	case !c.native:
		c.sendBeat(now, true)
	case c.everUp: // some may have what was sent meanwhile, and others not
		c.marked, c.markAt = math.MaxUint64, now.Add(markDelay)
	}
	if again && c.attached { // resubscribed: frames were missed
		c.n.pulls.wantAll("reattach")
	}
}

func (c *control) attach(now time.Time) {
	if c.attached {
		return
	}
	c.attached, c.isolated, c.since = true, false, now
	if c.everUp {
		c.n.met.reconnects.Inc()
		c.n.pulls.wantAll("reattach")
	} else {
		c.n.pulls.wantAll("join")
	}
	c.everUp = true
	if c.ready == Settling {
		c.aloneAt = now.Add(c.n.cfg.Timing.Heartbeat)
		if c.native && c.hasList && len(c.list) <= 1 {
			c.aloneAt = now
		}
	}
	c.n.log.Info("attached to the cluster")
}

func (c *control) detach(now time.Time) {
	if !c.attached {
		return
	}
	c.attached, c.detached, c.since = false, now, now
	c.n.log.Warn("detached from the cluster", "err", c.linkErr)
}

// onEcho takes in that this node heard one of its own beats.
func (c *control) onEcho(id uint64, now time.Time) {
	if c.native || !c.linked {
		return
	}
	if at, ok := c.beats[id]; ok {
		c.n.met.pings.WithLabelValues("server").Observe(now.Sub(at).Seconds())
		maps.DeleteFunc(c.beats, func(k uint64, _ time.Time) bool { return k <= id })
	} else {
		return // an echo of before the link was lost
	}
	c.heardAt = now
	c.attach(now)
	// A stalled link hands over many echoes at once: they are one.
	if interval := c.interval(); now.Sub(c.lastEcho) > interval/2 {
		c.lastEcho = now
		c.age(interval)
	}
}

// age adds to every peer's silence the time for which this node heard itself. A
// deaf node so drops nobody.
func (c *control) age(interval time.Duration) {
	for id, p := range c.peers {
		if c.n.origins.takeHeard(id) {
			p.silence = 0
			continue
		}
		p.silence += interval
		if p.silence > missedBeats*p.interval {
			c.drop(id, false)
		}
	}
}

func (c *control) onFrame(f *wire.Frame, now time.Time) {
	id := string(f.Origin)
	switch f.Kind {
	case wire.Beat:
		if c.n.origins.announce(f.Origin, f.High) {
			c.gap = true
		}
		c.onBeat(id, f)
	case wire.Bye:
		c.bury(id)
		c.drop(id, true)
	case wire.Pull:
		c.n.origins.note(f.Origin, "pull")
		c.n.answers.add(newRequest(f))
	case wire.Push:
		c.n.origins.note(f.Origin, "push")
		c.n.receivePush(f)
	}
}

func (c *control) onBeat(id string, f *wire.Frame) {
	if f.Hello && !c.native {
		c.owesBeat = true
	}
	if c.native || len(f.Member.Name) == 0 || slices.Contains(c.tombs, id) {
		return
	}
	m := Member{Name: string(f.Member.Name), Instance: id, Addr: string(f.Member.Addr)}
	if len(f.Member.Meta) > 0 {
		m.Meta = make(map[string]string, len(f.Member.Meta))
		for _, kv := range f.Member.Meta {
			m.Meta[string(kv[0])] = string(kv[1])
		}
	}
	interval := min(time.Duration(f.Interval)*time.Millisecond, maxInterval)
	p := c.peers[id]
	if p == nil {
		if len(c.peers) >= maxMembers || checkName(&Config{Name: m.Name}) != nil {
			return
		}
		p = &peer{}
		c.peers[id] = p
		c.join(m)
	} else if !equalMember(p.Member, m) {
		c.n.met.updated.Inc()
	}
	p.Member, p.interval = m, max(interval, c.n.cfg.Timing.Heartbeat)
	p.silence = 0
}

func equalMember(a, b Member) bool {
	return a.Name == b.Name && a.Instance == b.Instance && a.Addr == b.Addr && maps.Equal(a.Meta, b.Meta)
}

func (c *control) join(m Member) {
	c.n.met.joined.Inc()
	c.n.log.Info("member joined", "member", m.Name, "instance", m.Instance, "addr", m.Addr)
	if c.native {
		c.n.met.pings.WithLabelValues(label(m.Name)) // one series a member, from the start
	}
	if m.Instance == "" {
		return
	}
	if len(c.joined) == 0 {
		c.joinedAt = time.Now().Add(joinDelay)
	}
	c.joined = append(c.joined, m.Instance)
	if c.ready == Settling || c.ready == Alone || c.ready == TimedOut {
		c.n.pulls.wantAll("join")
	}
}

// drop removes a member that left or failed.
func (c *control) drop(id string, left bool) {
	p := c.peers[id]
	if p == nil {
		return
	}
	delete(c.peers, id)
	if left {
		c.n.met.left.Inc()
		c.n.origins.forget(p.Instance)
		c.n.log.Info("member left", "member", p.Name, "instance", p.Instance)
	} else {
		c.n.met.failed.Inc()
		c.n.log.Warn("member failed", "member", p.Name, "instance", p.Instance, "addr", p.Addr)
	}
}

// bury makes sure that a late frame does not bring back a member that left.
func (c *control) bury(id string) {
	if id == "" || slices.Contains(c.tombs, id) {
		return
	}
	if len(c.tombs) >= maxTombs {
		c.tombs = slices.Delete(c.tombs, 0, maxTombs/2)
	}
	c.tombs = append(c.tombs, id)
}

// exhume has members taken back that the driver lists again once it has listed
// all without them: their node has opened another driver.
func (c *control) exhume() {
	if !c.native {
		return
	}
	c.tombs = slices.DeleteFunc(c.tombs, func(id string) bool {
		return !slices.ContainsFunc(c.list, func(m Member) bool { return m.Instance == id })
	})
}

// applyList makes the driver's own list of members the view's. For a while
// after an attachment nobody is dropped who did not leave.
func (c *control) applyList(now time.Time) {
	listed := make(map[string]bool, len(c.list))
	for _, m := range c.list {
		if m.Instance == c.n.self.Instance {
			c.n.self.Addr = cmp.Or(m.Addr, c.n.self.Addr)
			continue
		}
		id := listID(m)
		if m.Instance != "" && slices.Contains(c.tombs, m.Instance) {
			continue
		}
		listed[id] = true
		if p := c.peers[id]; p != nil {
			if !equalMember(p.Member, m) {
				c.n.met.updated.Inc()
			}
			p.Member = m
			continue
		}
		c.peers[id] = &peer{Member: m}
		c.join(m)
	}
	for id := range c.peers {
		if !listed[id] && (now.After(c.keepTill) || !c.everUp) {
			c.drop(id, false)
		}
	}
}

// listID is the key of a member of a driver's own list: one that is not ours has
// no instance, and no name of ours begins with a slash.
func listID(m Member) string { return cmp.Or(m.Instance, "/"+m.Name) }

func (c *control) onlyForeign() bool {
	if len(c.peers) == 0 {
		return false
	}
	for _, p := range c.peers {
		if p.Instance != "" {
			return false
		}
	}
	return true
}

// tick does what is due, and returns when the next thing is.
func (c *control) tick(now time.Time) time.Time {
	next := now.Add(time.Hour)
	due := func(at time.Time) bool {
		if at.IsZero() {
			return false
		}
		if !now.Before(at) {
			return true
		}
		if at.Before(next) {
			next = at
		}
		return false
	}
	if c.linked && !c.native {
		c.tickBus(now, due)
	}
	if due(c.markAt) {
		c.markAt = time.Time{}
		if high := c.n.out.high(); c.linked && high != c.marked {
			c.sendBeat(now, false)
		}
	}
	if !c.attached && !c.isolated && due(c.detached.Add(c.n.cfg.Timing.Grace)) {
		c.isolate()
	}
	if c.native && c.linked && c.hasList && due(c.keepTill) {
		c.keepTill = time.Time{}
		c.applyList(now)
	}
	if c.ready == Settling {
		if c.attached && len(c.peers) == 0 && due(c.aloneAt) {
			c.becomeReady(Alone)
		}
		if due(c.settleAt) {
			c.becomeReady(TimedOut)
		}
	}
	if len(c.joined) > 0 && due(c.joinedAt) {
		c.compareJoined()
	}
	if due(c.nextSync) {
		c.nextSync = now.Add(c.n.syncInterval())
		next = minTime(next, c.nextSync)
		if c.attached && len(c.peers) > 0 {
			c.round++
			c.n.pulls.wantPeriodic(c.round)
		}
	}
	if c.gap && c.ready != Settling {
		ids, in := c.n.origins.gaps(now)
		c.gap = len(ids) > 0 || in > 0
		for _, id := range ids {
			c.n.pulls.wantFrom(id)
		}
		if in > 0 {
			next = minTime(next, now.Add(in))
		} else if len(ids) > 0 {
			next = minTime(next, now.Add(gapDelay))
		}
	}
	return next
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// tickBus sends this node's beat, and notices when it is not heard.
func (c *control) tickBus(now time.Time, due func(time.Time) bool) {
	interval := c.interval()
	if due(c.nextBeat) || c.owesBeat {
		c.owesBeat = false
		c.sendBeat(now, !c.attached)
	}
	due(c.nextBeat)
	if deaf := c.heardAt.Add(missedBeats * interval); due(deaf) {
		c.linked = false
		c.linkErr = fmt.Errorf("%w for %v; the link is opened again", ErrNoEcho, now.Sub(c.heardAt).Round(time.Millisecond))
		c.n.met.pingFailures.Inc()
		c.detach(now)
		c.n.link.replace()
	}
}

func (c *control) sendBeat(now time.Time, hello bool) {
	c.beatID++
	c.beats[c.beatID] = now
	if len(c.beats) > 64 {
		maps.DeleteFunc(c.beats, func(k uint64, _ time.Time) bool { return k+32 < c.beatID })
	}
	interval := c.interval()
	c.nextBeat = now.Add(interval)
	c.marked = c.n.out.high()
	c.n.out.post(c.n.enc.Control(wire.Beat, wire.Control{
		Name: c.n.self.Name, Addr: c.n.self.Addr, Meta: c.n.self.Meta,
		Interval: uint64(interval / time.Millisecond), High: c.marked, Hello: hello, ID: c.beatID,
	}))
}

// isolate carries out the policy for a node that stayed detached.
func (c *control) isolate() {
	c.isolated = true
	if c.n.cfg.OnIsolation == HoldView || len(c.peers) == 0 {
		return
	}
	c.n.log.Warn("detached for longer than grace; this node is on its own now", "grace", c.n.cfg.Timing.Grace, "members_lost", len(c.peers))
	clear(c.peers)
}

// compareJoined has the states of members that joined compared by one of those
// that were there before: after a partition nobody else would.
func (c *control) compareJoined() {
	joined := c.joined
	c.joined = nil
	lowest, target := c.n.self, ""
	for _, p := range c.peers {
		if p.Instance == "" {
			continue
		}
		if slices.Contains(joined, p.Instance) {
			if target == "" || compareMembers(p.Member, c.peers[target].Member) < 0 {
				target = p.Instance
			}
		} else if compareMembers(p.Member, lowest) < 0 {
			return
		}
	}
	if target != "" {
		c.n.pulls.wantJoined(target)
	}
}

func (c *control) becomeReady(r Readiness) {
	if c.ready == r || c.ready == Synced {
		return
	}
	first := c.ready == Settling
	c.ready = r
	if first {
		if r == TimedOut {
			c.n.log.Warn("ready without the state of the others: the settle limit passed", "settle", c.n.cfg.Timing.Settle)
		} else {
			c.n.log.Info("ready", "how", r.String())
		}
	}
}

func compareMembers(a, b Member) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Instance, b.Instance))
}

// update publishes the view if it has changed.
func (c *control) update(now time.Time) {
	old := c.n.view.Load()
	v := View{Status: Detached, Since: c.since, Err: c.linkErr, Ready: c.ready, Epoch: old.Epoch}
	conflict := false
	v.Members = append(make([]Member, 0, len(c.peers)+1), c.n.self)
	for _, p := range c.peers {
		v.Members = append(v.Members, p.Member)
		conflict = conflict || p.Name == c.n.self.Name && p.Instance != ""
	}
	slices.SortFunc(v.Members, compareMembers)
	v.Position = slices.IndexFunc(v.Members, func(m Member) bool { return m.Instance == c.n.self.Instance })
	if c.attached {
		v.Status, v.Err = Attached, nil
	}
	if conflict {
		err := fmt.Errorf("%w: another live member is named %q too; both stay, at two positions; give one another name", ErrNameConflict, c.n.self.Name)
		if !c.conflict {
			c.n.met.conflicts.Inc()
			c.n.log.Warn("name conflict", "err", err)
		}
		if v.Err == nil {
			v.Err = err
		}
	}
	c.conflict = conflict
	if v.Status == old.Status && v.Ready == old.Ready && sameError(v.Err, old.Err) && slices.EqualFunc(v.Members, old.Members, equalMember) {
		return
	}
	v.Epoch++
	c.n.publish(v)
	if old.Ready == Settling && v.Ready != Settling {
		close(c.n.ready) // once the view says so too
	}
}

func sameError(a, b error) bool {
	return a == nil && b == nil || a != nil && b != nil && (errors.Is(a, b) || a.Error() == b.Error())
}

// otherMembers returns the members that can answer a pull, in order.
func (n *node) otherMembers() []Member {
	v := n.view.Load()
	others := make([]Member, 0, len(v.Members))
	for _, m := range v.Members {
		if m.Instance != "" && m.Instance != n.self.Instance {
			others = append(others, m)
		}
	}
	return others
}
