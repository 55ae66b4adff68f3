package backend

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// An Inspector is a ClusterChannel that shows people more than its view. What
// [Open] returns is one; a wrapper need not be.
type Inspector interface {
	// Inspect returns what is known without asking anybody: it does no I/O and
	// calls no State.
	Inspect() Inspection
}

// Inspection is what a node knows of its own doings. The caller owns it.
type Inspection struct {
	Backend  string          // Config.Backend
	Cluster  string          // Config.Cluster
	MaxFrame int             // bytes of the largest frame of the transport; 0: no limit, or not attached yet
	Native   bool            // the transport knows the members itself; else heartbeats show them
	States   []StateInfo     // sorted by key
	Said     map[string]Said // by Member.Instance; a member that said nothing yet is not in it
}

// StateInfo is what was last seen of one state.
type StateInfo struct {
	Key       string
	Queued    int       // updates that wait for Merge
	Size      int       // bytes of the last MarshalBinary
	SizeAt    time.Time // when that was; zero: never
	Digest    uint64    // the last one
	DigestAt  time.Time // when that was taken; zero: never
	Exchanged time.Time // when it was last compared with another member's; zero: never
	Resyncs   uint64    // how often this node asked another member for it
	Gaps      uint64    // how often of these because updates of a member were missing
}

// Said is the last thing that a member said.
type Said struct {
	What string // beat, update, pull or push
	Key  string // of the state that an update was for
	At   time.Time
}

// Inspect implements Inspector.
func (n *node) Inspect() Inspection {
	i := Inspection{Backend: n.cfg.Backend, Cluster: n.cfg.Cluster, Said: map[string]Said{}}
	if s, _ := n.link.current(); s != nil {
		i.MaxFrame, i.Native = s.caps.MaxFrame, s.caps.Membership
	}
	states := *n.states.Load()
	for _, key := range slices.Sorted(maps.Keys(states)) {
		i.States = append(i.States, states[key].inspect())
	}
	n.origins.mu.Lock()
	defer n.origins.mu.Unlock()
	for id, o := range n.origins.all {
		if !o.said.At.IsZero() {
			i.Said[id] = o.said
		}
	}
	return i
}

func (st *state) inspect() StateInfo {
	st.mu.Lock()
	queued := len(st.queue)
	st.mu.Unlock()
	st.seen.mu.Lock()
	defer st.seen.mu.Unlock()
	i := st.seen.info
	i.Key, i.Queued = st.key, queued
	return i
}

// stateNotes are what is noted of a state on the way.
type stateNotes struct {
	mu   sync.Mutex
	info StateInfo
}

func (s *stateNotes) note(f func(i *StateInfo, now time.Time)) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.info, now)
}

func (s *stateNotes) marshalled(size int) {
	s.note(func(i *StateInfo, now time.Time) { i.Size, i.SizeAt = size, now })
}

func (s *stateNotes) digested(sum uint64) {
	s.note(func(i *StateInfo, now time.Time) { i.Digest, i.DigestAt = sum, now })
}

func (s *stateNotes) exchange(reason string) {
	s.note(func(i *StateInfo, now time.Time) {
		i.Exchanged = now
		if reason != "" {
			i.Resyncs++
		}
		if reason == "gap" {
			i.Gaps++
		}
	})
}

// says notes what the origin said. The key is copied only where it is another.
func (o *origin) says(what string, key []byte, now time.Time) {
	o.said.What, o.said.At = what, now
	if o.said.Key != string(key) {
		o.said.Key = string(key)
	}
}

// note records that a node said something other than an update.
func (os *origins) note(id []byte, what string) {
	now := time.Now()
	os.mu.Lock()
	defer os.mu.Unlock()
	os.get(id, now).says(what, nil, now)
}

var _ Inspector = (*node)(nil)
