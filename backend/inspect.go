package backend

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
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
	Backend     string          // Config.Backend
	Cluster     string          // Config.Cluster
	Grace       time.Duration   // Config.Timing.Grace
	OnIsolation IsolationPolicy // Config.OnIsolation

	MaxFrame int             // bytes of the largest frame of the transport; 0: no limit, or not attached yet
	Native   bool            // the transport knows the members itself; else heartbeats tell
	States   []StateInfo     // sorted by key
	Said     map[string]Said // by Member.Instance; a member that said nothing yet is not in it

	// Strangers are the nodes of this cluster that were heard within the last minute
	// and speak another version of the protocol; the first 16.
	Strangers []Stranger

	// Troubles are what the transport reports although its link works, such as
	// servers that contradict each other, and members whose clocks are apart from
	// this node's, as far as their updates show.
	Troubles []Trouble
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
	Gaps      uint64    // how often updates of a member were found missing
}

// Said is the last thing that a member said.
type Said struct {
	What string // update, beat, goodbye, list, pull, answer, push, entries, missing or kept
	Key  string // of the state that an update was for
	At   time.Time
}

// Inspect implements Inspector.
func (n *node) Inspect() Inspection {
	i := Inspection{Backend: n.cfg.Backend, Cluster: n.cfg.Cluster, Grace: n.cfg.Timing.Grace, OnIsolation: n.cfg.OnIsolation, Said: n.said.list(), Strangers: n.strangers.list(), Troubles: n.allTroubles()}
	if s, _ := n.link.current(); s != nil {
		i.MaxFrame, i.Native = s.caps.MaxFrame, s.caps.Membership
	}
	states := *n.states.Load()
	for _, key := range slices.Sorted(maps.Keys(states)) {
		i.States = append(i.States, states[key].inspect())
	}
	return i
}

func (st *state) inspect() StateInfo {
	st.mu.Lock()
	queued := st.queue.items
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

// asked notes that this node asks another member for states: those in the pull, or
// all.
func (n *node) asked(p *core.Pull) {
	for key, st := range *n.states.Load() {
		if p.HasRoot || slices.ContainsFunc(p.Items, func(it core.PullItem) bool { return it.Key == key }) {
			st.seen.note(func(i *StateInfo, _ time.Time) { i.Resyncs++ })
		}
	}
}

// answered notes which states are equal to another member's.
func (n *node) answered(a *core.Answer) {
	states := *n.states.Load()
	for _, it := range a.Items {
		if it.Outcome != core.Equal {
			continue
		}
		if st := states[it.Key]; st != nil {
			st.seen.exchanged()
		}
		if it.Key == "" {
			for _, st := range states {
				st.seen.exchanged()
			}
		}
	}
}

func (s *stateNotes) exchanged() { s.note(func(i *StateInfo, now time.Time) { i.Exchanged = now }) }

func (s *stateNotes) gap() { s.note(func(i *StateInfo, _ time.Time) { i.Gaps++ }) }

var _ Inspector = (*node)(nil)
