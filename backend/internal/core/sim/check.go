package sim

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver/heartbeat"
	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// check holds the cores to what the protocol promises at every step.
type check struct {
	w      *World
	honest bool // no frame was forged so far
	nodes  map[*process]*known
	rested time.Duration
	light  bool // there are too many nodes to keep what each one had
	pure   bool // messages are looked at twice, to see that nobody changed them
	sent   map[core.Message]string
}

// known is what one process was told and said.
type known struct {
	heard    map[string]life          // by instance
	began    map[string]time.Duration // when each state was added
	ready    map[string]core.Readiness
	since    map[string]time.Duration    // when each state was ready
	before   map[string]map[*process]set // by key: what each ready member had when this one began, or became ready
	echo     time.Duration               // when it last heard itself
	up       time.Duration               // since when its link is up
	downSaid bool                        // the core was told that the link is down
	goodbye  bool                        // it said its last
	woke     time.Duration               // when it went on after standing still
	slept    time.Duration               // how long it stood still, until it said so
	attached bool                        // it said so once
	back     time.Duration               // when it came back, after it was away
	others   map[*process]map[string]set // what each other one had then
}

// life is what a process heard of another one.
type life struct {
	count uint64
	at    time.Duration // of its latest heartbeat
	over  bool          // it said that it leaves
}

func newCheck(w *World) *check {
	return &check{w: w, honest: true, nodes: map[*process]*known{}, sent: map[core.Message]string{}}
}

func (c *check) of(p *process) *known {
	k := c.nodes[p]
	if k == nil {
		k = &known{
			heard: map[string]life{}, began: map[string]time.Duration{}, ready: map[string]core.Readiness{}, since: map[string]time.Duration{},
			before: map[string]map[*process]set{}, downSaid: true,
		}
		c.nodes[p] = k
	}
	return k
}

// event handles what a core is about to be told.
func (c *check) event(p *process, e core.Event) {
	k := c.of(p)
	switch e := e.(type) {
	case core.LinkUp:
		k.up, k.downSaid = c.w.now, false
	case core.LinkDown:
		k.downSaid = true
	case core.StateAdded:
		k.began[e.Key] = c.w.now
		delete(k.ready, e.Key)
		k.before[e.Key] = c.snapshots(p, e.Key)
	case core.StateRemoved:
		delete(k.ready, e.Key)
		delete(k.began, e.Key)
		delete(k.before, e.Key)
	case core.Left:
		l := k.heard[e.Member.Instance]
		l.over = true
		k.heard[e.Member.Instance] = l
	case core.Received:
		if c.pure {
			if before, ok := c.sent[e.Message]; ok && before != describe(e.Message) {
				c.w.fail("a message was changed after it was sent: %s, now %s", before, describe(e.Message))
			}
		}
		l := k.heard[e.From]
		switch m := e.Message.(type) {
		case *core.Heartbeat:
			if e.From == p.instance {
				k.echo = c.w.now
				return
			}
			if m.Count > l.count {
				l.count, l.at = m.Count, c.w.now
			}
			l.over = l.over || m.Leaving
		case *core.Goodbye:
			l.over = true
		default:
			return
		}
		k.heard[e.From] = l
	}
}

// snapshots returns what each member that is ready has of key.
func (c *check) snapshots(p *process, key string) map[*process]set {
	all := map[*process]set{}
	if c.light {
		return all
	}
	for _, q := range c.w.running() {
		if q != p && c.of(q).ready[key] != core.Settling && q.states[key] != nil {
			all[q] = q.states[key].set.clone()
		}
	}
	return all
}

// effect looks at what a core asks for.
func (c *check) effect(p *process, e core.Effect) {
	switch e := e.(type) {
	case core.Note:
		c.note(p, e)
	case core.Publish:
		c.published(p, e.View)
	case core.Send:
		if a, ok := e.Message.(*core.Answer); ok {
			c.claims(p, a)
		}
	case core.Closed:
		if !c.of(p).goodbye && p.link.up && len(p.view.Members) > 1 {
			c.w.fail("%s is closed and has not said goodbye", p.instance)
		}
	}
}

func (c *check) note(p *process, n core.Note) {
	switch n.Kind {
	case core.NoteFailed:
		l := c.of(p).heard[n.Member.Instance]
		if !c.honest {
			return
		}
		if l.over {
			c.w.fail("%s counts %s as failed, which said that it leaves", p.instance, n.Member.Instance)
		}
		if silence := c.w.now - l.at; l.at > 0 && !c.w.scenario.Net.Native && silence < c.w.scenario.Timing.unfelt() {
			c.w.fail("%s counts %s as failed, which it heard %v ago", p.instance, n.Member.Instance, silence)
		}
	case core.NoteRaised:
		if c.honest {
			c.w.fail("%s raised its incarnation, and nobody lied: %s", p.instance, n.Text)
		}
	case core.NoteRejected:
		if c.honest && p.lists(n.Member.Instance) {
			c.w.fail("%s rejects what is true: %s", p.instance, n.Text)
		}
	}
}

// published looks at a new view.
func (c *check) published(p *process, v *core.View) {
	self := 0
	for i, m := range v.Members {
		if m.Instance == p.instance {
			self++
			if v.Position != i {
				c.w.fail("%s is at %d of its list, and says %d", p.instance, i, v.Position)
			}
		}
		if i > 0 && !(before(v.Members[i-1], m)) {
			c.w.fail("%s publishes a list out of order: %s, %s", p.instance, v.Members[i-1].Instance, m.Instance)
		}
	}
	if self != 1 {
		c.w.fail("%s lists itself %d times", p.instance, self)
	}
	k := c.of(p)
	if v.Status == core.Detached {
		k.slept = 0
	}
	k.attached = k.attached || v.Status == core.Attached
	old := p.view
	if old == nil {
		return
	}
	if v.Err == core.ErrCatchingUp && old.Err != core.ErrCatchingUp && k.others == nil {
		c.back(p, func(q *process) bool { return c.w.net.both(p, q) })
	}
	if old.Status == core.Detached && v.Status == core.Attached && k.others != nil {
		c.caughtUp(p, v)
		k.others = nil
	}
	same := old.Status == v.Status && old.Position == v.Position && old.Ready == v.Ready && old.Isolated == v.Isolated && old.Err == v.Err && old.Since == v.Since &&
		slices.Equal(old.Unready, v.Unready) && slices.Equal(old.Disputed, v.Disputed) && slices.EqualFunc(old.Members, v.Members, equal)
	if same {
		c.w.fail("%s publishes the view that it had", p.instance)
	}
	if v.Epoch != old.Epoch+1 {
		c.w.fail("%s publishes epoch %d after %d", p.instance, v.Epoch, old.Epoch)
	}
}

func before(a, b core.Member) bool {
	return a.Name < b.Name || a.Name == b.Name && a.Instance < b.Instance
}

func equal(a, b core.Member) bool {
	return a.Name == b.Name && a.Instance == b.Instance && a.Addr == b.Addr
}

// stateReady wants a state that is said to be synced to hold all that one of the
// ready members had that the node could ask: it was merged from it, or found equal.
func (c *check) stateReady(p *process, e core.StateReady) {
	k := c.of(p)
	if e.How == core.Synced && c.honest {
		early := false // it had time to ask one of those
		for q := range k.before[e.Key] {
			if q.phase == gone || q.states[e.Key] == nil || c.of(q).ready[e.Key] == core.TimedOut || !p.lists(q.instance) {
				continue
			}
			early = early || c.of(q).began[e.Key] < k.began[e.Key] && c.of(q).since[e.Key] < k.began[e.Key]
		}
		if early {
			if missing := p.states[e.Key].known().fallsShort(maps.Values(k.before[e.Key])); missing >= 0 {
				c.w.fail("%s says that %s is synced, and holds what no ready member had: it lacks entry %d of %s, and others of each", p.instance, e.Key, missing, c.w.entries[missing].by)
			}
		}
	}
	if !c.light && (k.ready[e.Key] == core.Settling || k.ready[e.Key] == core.TimedOut) {
		for _, q := range c.w.running() { // who is not synced yet may ask this one
			if other := c.of(q).before[e.Key]; q != p && other != nil && c.of(q).ready[e.Key] != core.Synced {
				if _, known := other[p]; !known && p.states[e.Key] != nil {
					other[p] = p.states[e.Key].set.clone()
				}
			}
		}
	}
	k.ready[e.Key] = e.How
	k.since[e.Key] = c.w.now
}

// claims wants what an answer says to be in a state to be in it.
func (c *check) claims(p *process, a *core.Answer) {
	for _, it := range a.Items {
		st := p.states[it.Key]
		if st == nil || len(it.Numbers) == 0 || !c.honest {
			continue
		}
		has := st.set
		if it.Outcome == core.Data {
			has = decodeSet(it.Data)
		}
		for _, n := range it.Numbers {
			origin := c.w.byID[n.Origin]
			if origin == nil {
				continue
			}
			for _, r := range n.Ranges {
				for i := r.First; i <= min(r.Last, r.First+100_000); i++ {
					if e, ok := origin.numbers[number{it.Key, n.Incarnation, i}]; ok && !has.has(e) {
						c.w.fail("%s claims that its %s holds #%d of %s, which it lacks", p.instance, it.Key, i, n.Origin)
						return
					}
				}
			}
		}
	}
}

// verdict looks at what became of an update.
func (c *check) verdict(p *process, origin string, u update, v core.Verdict) {
	st := p.states[u.key]
	switch {
	case v != core.Own && origin == p.instance && c.honest:
		c.w.fail("%s does not know its own update %s#%d", p.instance, u.key, u.number)
	case origin == p.instance:
	case v == core.Duplicate && st != nil && !st.set.has(u.entry) && !st.waits(u.entry) && !st.refused[u] && c.honest:
		c.w.fail("%s drops %s#%d of %s as a duplicate, which it lacks", p.instance, u.key, u.number, origin)
	case v == core.Deliver && st != nil && st.arrived.has(u.entry) && c.honest:
		c.w.fail("%s is to merge %s#%d of %s, which it merged before", p.instance, u.key, u.number, origin)
	case v == core.Deliver && st != nil && st.refused[u] && c.honest:
		c.w.fail("%s is to merge %s#%d of %s, which it refused before", p.instance, u.key, u.number, origin)
	case v == core.Unknown && st != nil:
		c.w.fail("%s has %q and does not know it", p.instance, u.key)
	case v == core.Refused && c.honest:
		c.w.fail("%s refuses %s#%d of %s", p.instance, u.key, u.number, origin)
	}
}

// sends looks at a frame that is about to be sent.
func (c *check) sends(p *process, f *frame) {
	k := c.of(p)
	if k.goodbye {
		c.w.fail("%s sends %s after its goodbye", p.instance, kindOf(f.message))
	}
	if _, last := f.message.(*core.Goodbye); last {
		k.goodbye = true
	}
	if f.to == p.instance {
		c.w.fail("%s sends to itself: %s", p.instance, describe(f.message))
	}
	if c.pure {
		c.sent[f.message] = describe(f.message)
	}
}

// resumed notes that a process goes on, which stood still since then.
func (c *check) resumed(p *process, since time.Duration) {
	k := c.of(p)
	k.woke, k.slept = c.w.now, c.w.now-since
	if !k.attached {
		return // it joins: readiness says how far it is
	}
	if k.slept < c.w.scenario.Timing.Heartbeat*heartbeat.Missed {
		return // too short to be noticed, nor do others drop it
	}
	c.back(p, func(*process) bool { return true })
}

// back notes what those have that a process hears which was away.
func (c *check) back(p *process, hears func(*process) bool) {
	k := c.of(p)
	k.back, k.others = c.w.now, map[*process]map[string]set{}
	if c.light {
		return
	}
	for _, q := range c.w.running() {
		if q == p || q.view == nil || q.view.Ready == core.Settling || !hears(q) {
			continue
		}
		k.others[q] = map[string]set{}
		for _, key := range q.keys {
			k.others[q][key] = q.states[key].set.clone()
		}
	}
}

// caughtUp wants a process that was away to have, when it says that it is
// attached again, all that one of the others had when it went on.
func (c *check) caughtUp(p *process, v *core.View) {
	k := c.of(p)
	limit := time.Duration(float64(catchUpLimit) / (1 + c.w.scenario.Timing.Drift)) // by the node's own clock
	if c.w.now-k.back >= limit || !c.honest {
		return
	}
	lists := func(q *process) bool {
		return slices.ContainsFunc(v.Members, func(m core.Member) bool { return m.Instance == q.instance })
	}
	for _, q := range c.w.running() {
		if q != p && k.others[q] == nil && lists(q) {
			return // it came back meanwhile, too, and may be who was asked
		}
	}
	for _, key := range p.keys {
		var had []set
		asked := false // one of them could be
		for q, states := range k.others {
			if set, ok := states[key]; ok {
				had = append(had, set)
				asked = asked || q.phase != gone && lists(q)
			}
		}
		if missing := p.states[key].known().fallsShort(slices.Values(had)); missing >= 0 && asked {
			c.w.fail("%s was away, says that it is attached again, and its %s lacks something of each other one: entry %d", p.instance, key, missing)
		}
	}
}

// look wants the view to be true when it is used.
func (c *check) look(p *process) {
	k, v := c.of(p), p.view
	if v == nil {
		c.w.fail("%s has published no view", p.instance)
		return
	}
	if v.Status != core.Attached {
		return
	}
	if c.knowsOthers(p) && k.slept > c.w.scenario.Timing.detect(len(v.Members)) {
		c.w.fail("%s stood still for %v and says that it is attached all along", p.instance, k.slept)
	}
	k.slept = 0
	if k.downSaid {
		c.w.fail("%s says that it is attached, and its link is down", p.instance)
	}
	deaf := c.w.now - max(k.echo, k.up, k.woke)
	if limit := c.w.scenario.Timing.detect(len(v.Members)) + time.Second; deaf > limit && !c.w.scenario.Net.Native {
		c.w.fail("%s says that it is attached, and has not heard itself for %v", p.instance, deaf)
	}
	if p.phase == leaving && c.w.now-p.closing > closeLimit {
		c.w.fail("%s was told to leave %v ago", p.instance, c.w.now-p.closing)
	}
}

// knowsOthers reports whether p lists one of those that it could miss something of
// while it stood still.
func (c *check) knowsOthers(p *process) bool {
	for q := range c.of(p).others {
		if p.lists(q.instance) {
			return true
		}
	}
	return false
}

// disagreement returns whose view is not that of all who run, or nothing.
func (c *check) disagreement() string {
	all := c.w.running()
	var want []string
	for _, p := range all {
		want = append(want, p.instance)
	}
	slices.Sort(want)
	for _, p := range all {
		v := p.view
		var have []string
		for _, m := range v.Members {
			if m.Instance != "" {
				have = append(have, m.Instance)
			}
		}
		slices.Sort(have)
		switch {
		case !slices.Equal(have, want):
			return fmt.Sprintf("%s lists %s, and there are %s", p.instance, strings.Join(have, ","), strings.Join(want, ","))
		case v.Status != core.Attached:
			return fmt.Sprintf("%s is detached: %v", p.instance, v.Err)
		case v.Isolated:
			return p.instance + " is isolated"
		case len(v.Disputed) > 0:
			return fmt.Sprintf("%s holds that views disagree: %v", p.instance, v.Disputed)
		}
	}
	return ""
}

// unready returns who is not ready, or nothing.
func (c *check) unready() string {
	for _, p := range c.w.running() {
		if p.view.Ready == core.Settling || len(p.view.Unready) > 0 {
			return fmt.Sprintf("%s is not ready: %d, without %v", p.instance, p.view.Ready, p.view.Unready)
		}
		for _, key := range p.keys {
			if how := c.of(p).ready[key]; how == core.Settling || how == core.TimedOut {
				return fmt.Sprintf("%s of %s is not ready: %d", key, p.instance, how)
			}
		}
	}
	return ""
}

// lacking returns what one lacks that another one has, or nothing.
func (c *check) lacking() string {
	unions := map[string]set{}
	for _, p := range c.w.running() {
		for _, key := range p.keys {
			union := unions[key]
			union.merge(p.states[key].set)
			unions[key] = union
		}
	}
	for _, p := range c.w.running() {
		for _, key := range p.keys {
			union := unions[key]
			for {
				e := union.minus(p.states[key].set)
				if e < 0 {
					break
				}
				said := c.w.entries[e]
				if !said.silent || c.w.scenario.Timing.Sync > 0 {
					return fmt.Sprintf("%s of %s lacks entry %d, which %s said at %v", key, p.instance, e, said.by, said.at)
				}
				union = union.clone()
				union[e/64] &^= 1 << (e % 64)
			}
		}
	}
	return ""
}

// fallsShort returns an entry of one of these sets that s lacks, if it lacks something
// of each of them, or -1.
func (s set) fallsShort(of iter.Seq[set]) int {
	missing := -1
	for had := range of {
		lacks := had.minus(s)
		if lacks < 0 {
			return -1
		}
		missing = max(missing, lacks)
	}
	return missing
}
