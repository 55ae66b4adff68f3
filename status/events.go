package status

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Event is something that has happened.
type Event struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"` // joined, gone, attached, detached, closed, ready, position, trouble
	Text string    `json:"text"`
}

// ring keeps the latest events.
type ring struct {
	mu   sync.Mutex
	size int
	all  []Event
}

func newRing(size int) *ring { return &ring{size: size} }

func (r *ring) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == r.size {
		r.all = slices.Delete(r.all, 0, 1)
	}
	r.all = append(r.all, e)
}

// latest returns the events, the newest first.
func (r *ring) latest() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.all)
	slices.Reverse(all)
	return all
}

// compare adds what differs between two views.
func (r *ring) compare(old *backend.View, v backend.View, now time.Time) {
	if old == nil {
		old = &backend.View{Status: backend.Closed, Members: []backend.Member{v.Self()}}
	}
	say := func(kind, format string, args ...any) { r.add(Event{now, kind, fmt.Sprintf(format, args...)}) }
	for _, m := range v.Members {
		if !holds(old.Members, m) {
			say("joined", "%s joined, instance %s%s", m.Name, m.Instance, at(m.Addr))
		}
	}
	for _, m := range old.Members {
		if !holds(v.Members, m) {
			say("gone", "%s is gone, instance %s%s", m.Name, m.Instance, at(m.Addr))
		}
	}
	if v.Status != old.Status {
		say(v.Status.String(), "this node is %s%s", v.Status, why(v.Err))
	} else if v.Err != nil && (old.Err == nil || old.Err.Error() != v.Err.Error()) {
		say("trouble", "%s", v.Err)
	}
	if v.Position != old.Position {
		say("position", "this node is at position %d, was at %d", v.Position, old.Position)
	}
	if v.Ready != old.Ready {
		say("ready", "first state exchange: %s", v.Ready)
	}
}

func holds(all []backend.Member, m backend.Member) bool {
	return slices.ContainsFunc(all, func(o backend.Member) bool { return o.Instance == m.Instance && o.Name == m.Name })
}

func at(addr string) string {
	if addr == "" {
		return ""
	}
	return ", at " + addr
}

func why(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}
