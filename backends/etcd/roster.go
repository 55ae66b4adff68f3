package etcd

import (
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// roster is the list of members: as it was read, and then as the watch reports
// it.
type roster struct {
	seat       *seat
	members    map[string]driver.Member // by instance, this node included
	vanished   map[string]time.Time     // of them, those whose key has gone, and when they go
	registered bool                     // this node's key was there as it should be
	strangers  []string                 // keys among those of members that are none
	revision   int64                    // at which all this was read
}

func newRoster(s *seat, r *etcdserverpb.RangeResponse) roster {
	roster := roster{
		seat: s, members: map[string]driver.Member{s.self.Instance: s.self}, vanished: map[string]time.Time{}, revision: r.Header.Revision,
	}
	for _, kv := range r.Kvs {
		m, leaving, err := s.keys.member(kv)
		switch {
		case err != nil:
			roster.strangers = append(roster.strangers, string(kv.Key))
		case m.Instance == s.self.Instance:
			roster.registered = kv.Lease == s.lease && string(kv.Value) == string(s.record)
		case !leaving:
			roster.members[m.Instance] = m
		}
	}
	return roster
}

func (r *roster) all() []driver.Member { return slices.Collect(maps.Values(r.members)) }

// revival is how long a member stays whose key has gone, or has been overwritten, and which has not said that
// it leaves. An etcd leader that was paused may revoke leases that were renewed elsewhere meanwhile; their
// nodes see that and write their keys again.
const revival = 400 * time.Millisecond

// change applies an event on a member's key, and hands on who leaves. It reports
// whether the list has changed.
func (r *roster) change(ev *mvccpb.Event, left func(driver.Member)) (changed bool, err error) {
	instance := strings.TrimPrefix(string(ev.Kv.Key), r.seat.keys.members)
	if instance == r.seat.self.Instance {
		if ev.Type == mvccpb.Event_DELETE || ev.Kv.Lease != r.seat.lease || string(ev.Kv.Value) != string(r.seat.record) {
			return false, errKeyLost
		}
		return false, nil
	}
	if ev.Type == mvccpb.Event_PUT {
		var m driver.Member
		var leaving bool
		switch m, leaving, err = r.seat.keys.member(ev.Kv); {
		case err == nil && leaving:
			_, is := r.members[instance]
			delete(r.members, instance)
			delete(r.vanished, instance)
			if is {
				left(m)
			}
			return is, nil
		case err == nil:
			r.members[instance] = m
			delete(r.vanished, instance)
			return true, nil
		}
	}
	if _, is := r.members[instance]; is && r.vanished[instance].IsZero() {
		r.vanished[instance] = time.Now().Add(revival)
	}
	return false, err
}

// expire drops the members whose key has gone for long enough. It reports whether
// the list has changed, and in how long there is more to drop; 0 is never.
func (r *roster) expire() (changed bool, next time.Duration) {
	now := time.Now()
	for instance, at := range r.vanished {
		left := at.Sub(now)
		switch {
		case left <= 0:
			delete(r.vanished, instance)
			delete(r.members, instance)
			changed = true
		case next == 0 || left < next:
			next = left
		}
	}
	return changed, next
}
