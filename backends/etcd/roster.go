package etcd

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// roster is what this node knows of its cluster, across sessions.
type roster struct {
	node *node

	mu      sync.Mutex
	members map[string]driver.Member // by instance, this node included
	lease   int64                    // on this node's key, as last read; 0 where it was not there as it should be
	store   uint64                   // the etcd cluster's ID
	read    int64                    // the revision at which members were read
	seen    int64                    // the revision up to which the watch has told everything; unseen to begin at the present
	warned  bool                     // of what is not ours
}

func (r *roster) init(n *node) {
	r.node = n
	r.members = map[string]driver.Member{}
	r.seen = unseen
}

// tell hands the list of members on.
func (r *roster) tell() {
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.members))
	r.mu.Unlock()
	r.node.h.Members(all)
}

// registered tells whether this node's key was there under lease.
func (r *roster) registered(lease int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lease != 0 && r.lease == lease
}

const unseen = -1

// restart has the next watch begin at the present.
func (r *roster) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = unseen
}

// load takes the members as they are in the store, and returns how many keys
// were no members.
func (r *roster) load(seats *etcdserverpb.RangeResponse) (strange int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	header := seats.Header
	switch {
	case r.seen == unseen:
		r.seen = header.Revision
	case r.store != header.ClusterId || r.seen > header.Revision:
		r.seen = 0 // another store, or one that lost its data: all of it is new
	}
	r.store, r.read, r.lease = header.ClusterId, header.Revision, 0
	self := r.node.self
	r.members = map[string]driver.Member{self.Instance: self}
	for _, kv := range seats.Kvs {
		m, err := r.node.keys.member(kv)
		switch {
		case err != nil:
			strange++
		case m.Instance != self.Instance:
			r.members[m.Instance] = m
		case string(kv.Value) == string(r.node.record):
			r.lease = kv.Lease
		}
	}
	return strange
}

// from is the revision at which a watch begins that misses nothing.
func (r *roster) from() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen + 1
}

// change takes in what became of a member's key. It tells whether the list is
// another one now.
func (r *roster) change(ev *mvccpb.Event) (changed bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ev.Kv.ModRevision <= r.read {
		return false, nil
	}
	instance := strings.TrimPrefix(string(ev.Kv.Key), r.node.keys.members)
	if instance == r.node.self.Instance {
		if ev.Type == mvccpb.Event_DELETE || ev.Kv.Lease == 0 || string(ev.Kv.Value) != string(r.node.record) {
			return false, errKeyLost
		}
		return false, nil
	}
	var m driver.Member
	if ev.Type == mvccpb.Event_PUT {
		if m, err = r.node.keys.member(ev.Kv); err == nil {
			r.members[instance] = m
			return true, nil
		}
	}
	_, changed = r.members[instance]
	delete(r.members, instance)
	return changed, err
}

func (r *roster) sawUpTo(revision int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = max(r.seen, revision)
}

// stranger counts a key that is none of ours, and leaves it alone.
func (r *roster) stranger(key string) {
	r.mu.Lock()
	first := !r.warned
	r.warned = true
	r.mu.Unlock()
	if first {
		r.node.logger.Warn("a key below this cluster's is none of ours; it and others like it are ignored, and counted as malformed frames", "key", key)
	}
	r.node.h.Frame(nil)
}
