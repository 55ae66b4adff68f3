package backend

import (
	"crypto/sha256"
	"errors"
	"hash/maphash"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"

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

// entries is what is known of the entries of a state: their ids are put in order, and
// hashed, only when they have changed.
type entries struct {
	of   EntryState // nil: it cannot be taken apart
	seed maphash.Seed

	mu    sync.Mutex
	sum   uint64 // of the ids of set, in any order, by a key that nobody knows
	count int
	set   *reconcile.Set
	view  *reconcile.View // of set, under a salt of this node's own
	spare []EntryID       // to collect into
}

func newEntries(s State) *entries {
	of, _ := s.(EntryState)
	return &entries{of: of, seed: maphash.MakeSeed()}
}

// now returns the ids as they are now.
func (e *entries) now() (*reconcile.Set, error) {
	ids, sum := e.room(), uint64(0)
	err := contain(func() error {
		for id := range e.of.EntryIDs() {
			ids = append(ids, id)
			sum += maphash.Bytes(e.seed, id[:])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spare = ids
	if e.set == nil || e.sum != sum || e.count != len(ids) {
		e.sum, e.count, e.set, e.view = sum, len(ids), reconcile.NewSet(ids), nil
	}
	return e.set, nil
}

// told reports whether the ids were ever told.
func (e *entries) told() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.set != nil
}

// room returns the buffer to collect ids into, which nobody else has meanwhile.
func (e *entries) room() []EntryID {
	e.mu.Lock()
	defer e.mu.Unlock()
	ids := e.spare
	e.spare = nil
	return ids[:0]
}

// viewed returns a set under a salt. Of the latest one, under the own salt, for which 0
// stands, it is made once.
func (e *entries) viewed(set *reconcile.Set, salt uint64) *reconcile.View {
	if salt != 0 {
		return set.View(salt)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.set != set {
		return set.View(max(rand.Uint64(), 1))
	}
	if e.view == nil {
		e.view = set.View(max(rand.Uint64(), 1))
	}
	return e.view
}

// entrySet returns the ids of the state's entries as they are now.
func (st *state) entrySet() (*reconcile.Set, error) {
	set, err := st.entries.now()
	if err != nil {
		st.failed("entries", "the entries of a state cannot be told", err)
	}
	return set, err
}

// apart tells of a state that can be taken apart what the core wants to know.
func (st *state) apart(m core.Marshal) core.Marshalled {
	out := core.Marshalled{Job: m.Job, HasDigest: true}
	set, err := st.entrySet()
	if err != nil {
		return core.Marshalled{Job: m.Job, Err: err}
	}
	out.Digest, out.Entries = set.Digest(), uint64(set.Len())+1
	st.seen.digested(out.Digest)
	if m.OnlyDigest || slices.Contains(m.Unless, out.Digest) {
		return out
	}
	out.View = st.entries.viewed(set, m.Salt)
	return out
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
