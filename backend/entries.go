package backend

import (
	"crypto/sha256"
	"errors"
	"hash/maphash"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"weak"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
)

// An EntryState is a State that can be taken apart: what it holds are entries, each
// of which Merge takes by itself, and merging all of another member's is as merging
// its MarshalBinary. Two members that both have such a state under a key find in what
// the two differ and move that alone, in pieces; there is no largest state. With a
// member whose state is none, or on a transport that cannot send to one member,
// whole states are exchanged, and compared by Digest if it is a Digester too. That is
// for clusters in which some nodes are of a version where the state had no entries.
//
// Its methods may be called at any time, also while Merge runs, and an error or a
// panic in them concerns this state alone. An entry that Merge refuses stays aside:
// it is counted and logged with the state's key and the member that it came from, and
// all others are merged.
//
// What is of no consequence any more is no entry, on no member: one that has expired,
// say, though it was not deleted yet. Else members that delete at different times
// differ for as long, and give each other what Merge does not take.
type EntryState interface {
	State

	// EntryIDs yields the id of each entry. One that is there from the beginning to the
	// end is yielded; one that comes or goes meanwhile may be. The order says nothing,
	// and an id that is yielded twice counts once. It is called at each comparison, so
	// it should not marshal anything.
	EntryIDs() iter.Seq[EntryID]

	// Entry returns the entry of an id in a form that Merge takes, or nil where it is
	// not there any more. The result is not modified.
	Entry(id EntryID) ([]byte, error)
}

// EntryID names the content of an entry: entries of the same content have the same
// id on all members, others have other ids, and an entry that changes gets another one.
type EntryID = [16]byte

// EntryIDOf returns a hash of b, of which nobody can find two with the same value. It
// is the id of an entry that all members encode in the same way.
func EntryIDOf(b []byte) EntryID {
	sum := sha256.Sum256(b)
	return EntryID(sum[:16])
}

// errNoEntries says that there are no entries to be told.
var errNoEntries = errors.New("the state cannot be taken apart")

// entries is what is known of the entries of a state. Between two comparisons that is not
// their ids: these are asked for again, and put in order, only when they have changed or
// somebody walks through them.
type entries struct {
	of   EntryState // nil: it cannot be taken apart
	seed maphash.Seed

	mu     sync.Mutex
	latest tally
	view   weak.Pointer[reconcile.View] // of latest, under a salt of this node's own; who walks through it holds it
}

// tally is what the entries of a state come to.
type tally struct {
	sum     uint64 // of the ids as they are yielded, in any order, by a key that nobody knows
	yielded int
	told    bool // they were yielded at all
	digest  uint64
	count   int // without those that were yielded twice
}

func newEntries(s State) *entries {
	of, _ := s.(EntryState)
	return &entries{of: of, seed: maphash.MakeSeed()}
}

// now returns what the entries come to as they are now, and the ids if they have changed
// or are wanted: the caller may do with them what it likes.
func (e *entries) now(wanted bool) (t tally, ids []EntryID, err error) {
	was := e.tallied()
	if !wanted {
		t, err := e.pass(nil)
		if err != nil || t.alike(was) {
			return was, nil, err
		}
		was = t // about as many are collected
	}
	ids = make([]EntryID, 0, was.yielded+was.yielded/64)
	if t, err = e.pass(&ids); err != nil {
		return t, nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !t.alike(e.latest) {
		t.digest, ids = reconcile.Digest(ids)
		t.count = len(ids)
		e.latest, e.view = t, weak.Pointer[reconcile.View]{}
	}
	return e.latest, ids, nil
}

// pass has the ids yielded, and counts them. It appends them to ids unless that is nil.
func (e *entries) pass(ids *[]EntryID) (t tally, err error) {
	t.told = true
	err = contain(func() error {
		for id := range e.of.EntryIDs() {
			if ids != nil {
				*ids = append(*ids, id)
			}
			t.sum += maphash.Bytes(e.seed, id[:])
			t.yielded++
		}
		return nil
	})
	return t, err
}

// alike reports whether two are of the same entries.
func (t tally) alike(o tally) bool {
	return t.told == o.told && t.sum == o.sum && t.yielded == o.yielded
}

// tallied returns what the entries came to when they were told the last time, if they
// ever were.
func (e *entries) tallied() tally {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.latest
}

// viewed returns a view of the entries that come to t, under a salt of this node's own:
// the one that somebody walks through, or one of ids, which may be nil.
func (e *entries) viewed(t tally, ids []EntryID) (tally, *reconcile.View, error) {
	if v := e.held(t); v != nil {
		return t, v, nil
	}
	if ids == nil {
		var err error
		if t, ids, err = e.now(true); err != nil {
			return t, nil, err
		}
	}
	v := reconcile.NewView(ids, max(rand.Uint64(), 1))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.latest.alike(t) {
		e.view = weak.Make(v)
	}
	return t, v, nil
}

// held returns the view of the entries that come to t, if somebody holds it.
func (e *entries) held(t tally) *reconcile.View {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.latest.alike(t) {
		return nil
	}
	return e.view.Value()
}

// tally returns what the state's entries come to as they are now.
func (st *state) tally() (tally, error) {
	t, _, err := st.entries.now(false)
	st.untold(err)
	return t, err
}

// untold says that entries cannot be told, where that is an error.
func (st *state) untold(err error) {
	if err != nil {
		st.failed("entries", "the entries of a state cannot be told", err)
	}
}

// apart tells of a state that can be taken apart what the core wants to know.
func (st *state) apart(m core.Marshal) core.Marshalled {
	t, ids, err := st.entries.now(m.Salt != 0)
	var view *reconcile.View
	switch {
	case err != nil || m.OnlyDigest || slices.Contains(m.Unless, t.digest):
	case m.Salt != 0:
		view = reconcile.NewView(ids, m.Salt)
	default:
		t, view, err = st.entries.viewed(t, ids)
	}
	if st.untold(err); err != nil {
		return core.Marshalled{Job: m.Job, Err: err}
	}
	st.seen.digested(t.digest)
	return core.Marshalled{Job: m.Job, Digest: t.digest, HasDigest: true, Entries: uint64(t.count) + 1, View: view}
}

// fetchFor has entries fetched from a state in its turn, as the core asks.
func (n *node) fetchFor(f core.Fetch) {
	st := (*n.states.Load())[f.Key]
	gone := func() { n.engine.step(core.Fetched{Job: f.Job, Err: errGone}) }
	if st == nil || !st.doOr(0, func() { n.engine.step(st.fetched(f)) }, gone) {
		gone()
	}
}

// fetched fetches entries, until there is room for no more. What cannot be told is
// left out, as what is gone.
func (st *state) fetched(f core.Fetch) core.Fetched {
	out := core.Fetched{Job: f.Job}
	if st.entries.of == nil {
		out.Err = errNoEntries
		return out
	}
	for size := 0; out.Taken < len(f.IDs) && (size < f.Room || out.Taken == 0); out.Taken++ {
		var b []byte
		err := contain(func() (err error) { b, err = st.entries.of.Entry(f.IDs[out.Taken]); return err })
		switch {
		case err != nil:
			st.failed("entries", "an entry of a state cannot be told", err)
		case b != nil:
			if out.Entries == nil { // the others may be as large
				out.Entries = make([][]byte, 0, min(len(f.IDs), f.Room/max(len(b), 1)+1))
			}
			out.Entries = append(out.Entries, b)
			size += len(b)
		}
	}
	return out
}

// mergeEntries merges each entry by itself.
func (st *state) mergeEntries(m core.Merge) core.Merged {
	out := core.Merged{Job: m.Job}
	for _, b := range m.Entries {
		if _, err := st.merge(b, false); err != nil {
			if out.Refused++; out.Err == nil {
				out.Err = err
			}
		}
	}
	if out.Refused < len(m.Entries) {
		st.seen.exchanged()
	}
	return out
}
