package etcd

import (
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// roster is the list of members: as it was read, and then as the watch reports
// it.
type roster struct {
	seat       *seat
	members    map[string]driver.Member // by instance, this node included
	registered bool                     // this node's key was there as it should be
	strangers  []string                 // keys among those of members that are none
	revision   int64                    // at which all this was read
}

func newRoster(s *seat, r *etcdserverpb.RangeResponse) roster {
	roster := roster{seat: s, members: map[string]driver.Member{s.self.Instance: s.self}, revision: r.Header.Revision}
	for _, kv := range r.Kvs {
		m, err := s.keys.member(kv)
		switch {
		case err != nil:
			roster.strangers = append(roster.strangers, string(kv.Key))
		case m.Instance != s.self.Instance:
			roster.members[m.Instance] = m
		default:
			roster.registered = kv.Lease == s.lease && string(kv.Value) == string(s.record)
		}
	}
	return roster
}

func (r *roster) all() []driver.Member { return slices.Collect(maps.Values(r.members)) }

// change applies an event on a member's key. It reports whether the list has
// changed.
func (r *roster) change(ev *mvccpb.Event) (changed bool, err error) {
	instance := strings.TrimPrefix(string(ev.Kv.Key), r.seat.keys.members)
	if instance == r.seat.self.Instance {
		if ev.Type == mvccpb.Event_DELETE || ev.Kv.Lease != r.seat.lease || string(ev.Kv.Value) != string(r.seat.record) {
			return false, errKeyLost
		}
		return false, nil
	}
	if ev.Type == mvccpb.Event_PUT {
		m, err := r.seat.keys.member(ev.Kv)
		if err == nil {
			r.members[instance] = m
			return true, nil
		}
		_, changed = r.members[instance]
		delete(r.members, instance)
		return changed, err
	}
	_, changed = r.members[instance]
	delete(r.members, instance)
	return changed, nil
}
