package grafana

import (
	"cmp"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/driver/heartbeat"
)

const (
	maxRoster     = 4096             // members of either kind, and goodbyes
	skewTolerated = 10 * time.Second // before a line is logged
	maxSkew       = time.Hour        // a number further from this clock is no heartbeat
)

// roster keeps the list of members, and tells the Handler.
type roster struct {
	self   driver.Member
	key    string // of this node
	timing Timing
	logger *slog.Logger
	pace   *pace

	asked    chan struct{} // a node asks who is there
	orphans  chan struct{} // there are keys to delete
	newcomer chan struct{} // there is a new foreign member

	mu      sync.Mutex
	handler driver.Handler // nil until this node is attached
	began   time.Time
	pulse   heartbeat.Pulse
	own     map[string]*own     // other own nodes, by instance
	gone    map[string]bool     // instances that said goodbye
	foreign map[string]*foreign // Grafana's members by name, alive or not
	awaited map[string]bool     // instances to hear before this node is attached
	heard   chan struct{}       // closed once this node hears itself and those it awaits
	busyAt  time.Time           // when this node last heard anything
	hold    time.Time           // until when vanished keys still count, since all have vanished
	failed  []string            // keys to delete, of own nodes that have failed
	shown   []driver.Member
}

// own is another own node.
type own struct {
	member driver.Member
	beats  heartbeat.Member
}

// foreign is a member that is Grafana's own.
type foreign struct {
	stamp  int64     // its latest heartbeat
	until  time.Time // it is alive until then, on this node's clock
	skewed bool      // that was logged
}

func newRoster(o driver.Options, t Timing, p *pace) *roster {
	key := ownKey(o.Self)
	return &roster{
		self: o.Self, key: key, timing: t, logger: o.Logger, pace: p,
		asked: event(), orphans: event(), newcomer: event(), began: time.Now(), busyAt: time.Now(), heard: make(chan struct{}),
		own: map[string]*own{}, gone: map[string]bool{}, foreign: map[string]*foreign{}, awaited: map[string]bool{key: true},
	}
}

// take notes what an own node says about itself.
func (r *roster) take(b beat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case b.Instance == r.self.Instance && !b.Bye:
		r.echo(b.Count)
	case b.Instance == r.self.Instance:
	case b.Bye:
		r.bye(b.Instance)
	default:
		r.beat(b)
	}
}

// echo notes that this node has heard itself. Only then does it count how long
// the others were silent: a deaf node drops nobody. r.mu is held.
func (r *roster) echo(count uint64) {
	now := time.Since(r.began)
	if _, ok := r.pulse.Echo(now, count); !ok {
		return
	}
	r.pace.echo(count)
	r.answered(r.key)
	by := r.pulse.Ages(now, r.interval())
	changed := false
	for instance, m := range r.own {
		if m.beats.Age(by) {
			delete(r.own, instance)
			r.orphaned(ownKey(m.member))
			changed = true
		}
	}
	if changed {
		r.tell()
	}
}

// beat notes another node's beat. r.mu is held.
func (r *roster) beat(b beat) {
	m := b.member()
	if b.Hello {
		signal(r.asked)
		delete(r.gone, m.Instance) // its node goes on with another driver
	}
	o := r.own[m.Instance]
	if r.gone[m.Instance] || o == nil && len(r.own) >= maxRoster {
		return
	}
	if o == nil {
		o = &own{}
		r.own[m.Instance] = o
	}
	before := o.member
	o.member = m
	o.beats.Beat(time.Duration(b.Interval)*time.Millisecond, r.timing.Beat)
	r.answered(ownKey(m))
	if !reflect.DeepEqual(before, m) {
		r.tell()
	}
}

// bye notes that an own node leaves. r.mu is held.
func (r *roster) bye(instance string) {
	if len(r.gone) >= maxRoster {
		clear(r.gone)
	}
	r.gone[instance] = true
	m := r.own[instance]
	if m == nil {
		return
	}
	delete(r.own, instance)
	if r.handler != nil {
		r.handler.Left(m.member)
	}
	r.tell()
}

// stamped is a key that a scan has found, without the prefix, and the time in
// it.
type stamped struct {
	key   string
	stamp int64
}

// scanned updates the members from all keys that hold a heartbeat.
func (r *roster) scanned(keys []stamped, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := make(map[string]bool, len(keys))
	for _, k := range keys {
		switch {
		case k.key == r.key:
		case isOwnKey(k.key):
			if r.handler == nil && now.Unix()-k.stamp <= int64(2*r.timing.Heartbeat/time.Second) {
				r.awaited[k.key] = true
			}
		case len(found) < maxRoster:
			name := strings.ToValidUTF8(k.key, "\uFFFD")
			found[name] = true
			r.alive(name, k.stamp, now)
		}
	}
	for _, m := range r.own {
		delete(r.awaited, ownKey(m.member))
	}
	r.vanished(found, now)
	r.tell()
}

// emptied notes that this node's own key was gone: somebody has emptied the
// server, and the others are given time to write theirs again.
func (r *roster) emptied() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handler != nil {
		r.hold = time.Now().Add(2 * r.timing.Heartbeat)
	}
}

// vanished removes the foreign members whose keys are gone: they have left,
// unless the server was emptied. r.mu is held.
func (r *roster) vanished(found map[string]bool, now time.Time) {
	if now.Before(r.hold) {
		return
	}
	emptied := !r.hold.IsZero()
	r.hold = time.Time{}
	for name, p := range r.foreign {
		if found[name] {
			continue
		}
		delete(r.foreign, name)
		if r.handler != nil && !emptied && now.Before(p.until) {
			r.handler.Left(driver.Member{Name: name})
		}
	}
}

// alive notes a heartbeat of a foreign member. It counts for as long as it does
// to Grafana; once it has been seen to move, only this node's clock decides.
// r.mu is held.
func (r *roster) alive(name string, stamp int64, now time.Time) {
	age := time.Duration(now.Unix()-stamp) * time.Second
	p := r.foreign[name]
	if p != nil && stamp <= p.stamp {
		return
	}
	moved := p != nil
	if !moved {
		p = &foreign{until: now.Add(r.timing.Expiry - max(age, 0))}
		r.foreign[name] = p
		signal(r.newcomer)
	} else {
		p.until = now.Add(r.timing.Expiry)
	}
	p.stamp = stamp
	if skewed := age < -skewTolerated || moved && age > skewTolerated+2*r.timing.Heartbeat; skewed && !p.skewed {
		p.skewed = true
		r.logger.Warn("the clock of a foreign member differs from this node's; Grafana ignores a node whose clock is late by more than expiry",
			"member", name, "late", age, "expiry", r.timing.Expiry)
	}
}

// answered notes that an own node was heard. r.mu is held.
func (r *roster) answered(key string) {
	if !r.awaited[key] {
		return
	}
	if delete(r.awaited, key); len(r.awaited) == 0 {
		close(r.heard)
	}
}

// orphaned notes the key of an own node that has failed. r.mu is held.
func (r *roster) orphaned(key string) {
	if len(r.failed) < maxRoster {
		r.failed = append(r.failed, key)
		signal(r.orphans)
	}
}

// takeOrphans returns the keys to delete.
func (r *roster) takeOrphans() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := r.failed
	r.failed = nil
	return slices.DeleteFunc(keys, func(key string) bool {
		for _, m := range r.own {
			if ownKey(m.member) == key {
				return true // it is back
			}
		}
		return false
	})
}

// attach tells the Handler that this node is attached, and whom it found.
func (r *roster) attach(h driver.Handler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handler = h
	r.tell()
	r.handler.Link(nil)
}

// tell hands over the members if they have changed. r.mu is held.
func (r *roster) tell() {
	if r.handler == nil {
		return
	}
	now := time.Now()
	all := []driver.Member{r.self}
	for _, m := range r.own {
		all = append(all, m.member)
	}
	for name, p := range r.foreign {
		if now.Before(p.until) {
			all = append(all, driver.Member{Name: name})
		}
	}
	slices.SortFunc(all, func(a, b driver.Member) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Instance, b.Instance))
	})
	if !reflect.DeepEqual(all, r.shown) {
		r.shown = all
		r.handler.Members(slices.Clone(all))
	}
}

// interval is the time between this node's beats. r.mu is held.
func (r *roster) interval() time.Duration {
	return heartbeat.Interval(r.timing.Beat, len(r.own)+1)
}

// next returns the number of the beat that leaves now, and the time until the
// next one.
func (r *roster) next() (count uint64, interval time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pulse.Beat(time.Since(r.began)), r.interval()
}

// busy notes that something was heard.
func (r *roster) busy() {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busyAt = now
}

// stoodStill notes that this process did not run for late until now: what came
// meanwhile is still to be read, so none of that time was silence.
func (r *roster) stoodStill(now time.Time, late time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pulse.StoodStill(now.Sub(r.began), late)
	r.busyAt = now
}

// deaf returns for how long this node has not heard itself, if that is too long.
// While it hears others its own beats may wait behind what they send.
func (r *roster) deaf(now time.Time) (time.Duration, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	limit := heartbeat.Missed * r.interval()
	silent := now.Sub(r.began) - r.pulse.DeafAt(0)
	return silent, silent > 2*limit || silent > limit && now.Sub(r.busyAt) > limit
}

// hasForeign reports whether there are foreign members, even ones that look
// dead: by their own clock they may be alive.
func (r *roster) hasForeign() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.foreign) > 0
}
