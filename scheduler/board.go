package scheduler

import (
	"encoding/binary"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/clusterchannel/clusterchannel/backend"
)

const (
	retention = time.Hour      // of a group that nobody evaluates
	maxSkew   = 24 * time.Hour // of a revision before the clock of this node
	maxGroups = 20_000
)

// board is the replicated state: the latest snapshot of each group. Of two, the
// one with the higher revision wins, then the one of the greater writer, so
// that all nodes agree.
type board struct {
	deliver func([]snapshot) // called with the others' snapshots, without the lock

	mu     sync.Mutex
	groups map[string]*pinned
}

// pinned is a group's latest snapshot, and which members this node heard
// evaluating the group, and when.
type pinned struct {
	snapshot
	writers map[string]sighting
}

// sighting is by this node's own clock.
type sighting struct {
	revision int64
	at       time.Time
}

func newBoard(deliver func([]snapshot)) *board {
	return &board{deliver: deliver, groups: map[string]*pinned{}}
}

// Merge implements backend.State. An update that cannot be decoded whole
// changes nothing.
func (b *board) Merge(data []byte) error {
	fresh, err := b.take(data)
	b.deliver(fresh)
	return err
}

// take pins the snapshots that are new, and returns them.
func (b *board) take(data []byte) (fresh []snapshot, err error) {
	now := time.Now()
	said, err := decode(data, now)
	for _, s := range said {
		if b.accept(s, now) {
			fresh = append(fresh, s)
		}
	}
	return fresh, err
}

// accept pins s if it is the latest, and reports whether it was.
func (b *board) accept(s snapshot, now time.Time) bool {
	if s.expired(now) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.groups[s.Group]
	if p == nil {
		maps.DeleteFunc(b.groups, func(_ string, p *pinned) bool { return p.expired(now) })
		if len(b.groups) >= maxGroups {
			return false
		}
		p = &pinned{writers: map[string]sighting{}}
		b.groups[s.Group] = p
	}
	if s.Revision > p.writers[s.Writer].revision {
		maps.DeleteFunc(p.writers, func(_ string, w sighting) bool { return now.Sub(w.at) > retention })
		p.writers[s.Writer] = sighting{s.Revision, now}
	}
	if s.Revision < p.Revision || s.Revision == p.Revision && s.Writer <= p.Writer {
		return false
	}
	p.snapshot = s
	return true
}

// restore pins what was saved. It does not count as heard from a member.
func (b *board) restore(data []byte) error {
	fresh, err := b.take(data)
	b.mu.Lock()
	for _, p := range b.groups {
		clear(p.writers)
	}
	b.mu.Unlock()
	b.deliver(fresh)
	return err
}

// heard reports whether the member was heard evaluating the group lately.
func (b *board) heard(group, writer string, lately time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.groups[group]
	if p == nil {
		return false
	}
	w, ok := p.writers[writer]
	return ok && time.Since(w.at) < lately
}

// latest returns the group's snapshot, if there is one.
func (b *board) latest(group string) (snapshot, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.groups[group]
	if p == nil || p.expired(time.Now()) {
		return snapshot{}, false
	}
	return p.snapshot, true
}

// next is the snapshot that follows the latest one, even if a clock is behind.
func (b *board) next(group, writer string, alerts []alert) snapshot {
	last, _ := b.latest(group)
	return snapshot{Group: group, Writer: writer, Revision: max(time.Now().UnixMilli(), last.Revision+1), Alerts: alerts}
}

func (b *board) all() []snapshot {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]snapshot, 0, len(b.groups))
	for _, p := range b.groups {
		if !p.expired(now) {
			all = append(all, p.snapshot)
		}
	}
	return all
}

// MarshalBinary implements backend.State.
func (b *board) MarshalBinary() ([]byte, error) { return encode(b.all()...) }

// Digest implements backend.Digester.
func (b *board) Digest() (sum uint64, _ error) {
	for _, s := range b.all() {
		sum += xxhash.Sum64(binary.BigEndian.AppendUint64(fmt.Appendf(nil, "%q %q ", s.Group, s.Writer), uint64(s.Revision)))
	}
	return sum, nil
}

var _ backend.Digester = (*board)(nil)
