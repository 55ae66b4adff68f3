package persist

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cespare/xxhash/v2"

	"github.com/clusterchannel/clusterchannel/backend"
)

// kept is a state that a Store keeps. AddState gets it instead of the state
// itself, so that merges from the database and from the cluster take turns.
type kept struct {
	backend.State
	turn chan struct{} // holds a token while no merge runs

	// Guarded by the store's turn.
	place place
	seen  int64 // version of the row whose content is in State
	saved bool  // whether that row has all of State
	sum   uint64
}

func newKept(p place, s backend.State) *kept {
	k := &kept{State: s, place: p, turn: make(chan struct{}, 1)}
	k.turn <- struct{}{}
	return k
}

// Merge implements backend.State.
func (k *kept) Merge(b []byte) error {
	<-k.turn
	defer func() { k.turn <- struct{}{} }()
	return k.State.Merge(b)
}

// Digest implements backend.Digester.
func (k *kept) Digest() (uint64, error) {
	switch s := k.State.(type) {
	case backend.Digester:
		return s.Digest()
	case backend.EntryState:
		return digestOf(s.EntryIDs()), nil
	}
	b, err := k.MarshalBinary()
	return xxhash.Sum64(b), err
}

// digestOf returns a digest of ids in any order.
func digestOf(ids iter.Seq[backend.EntryID]) (sum uint64) {
	seen := map[backend.EntryID]struct{}{} // one that is yielded twice counts once
	for id := range ids {
		if _, twice := seen[id]; !twice {
			seen[id] = struct{}{}
			sum += xxhash.Sum64(id[:])
		}
	}
	return sum
}

// keptEntries is a kept state that can be taken apart.
type keptEntries struct {
	*kept
	entries backend.EntryState
}

// EntryIDs implements backend.EntryState.
func (k keptEntries) EntryIDs() iter.Seq[backend.EntryID] { return k.entries.EntryIDs() }

// Entry implements backend.EntryState.
func (k keptEntries) Entry(id backend.EntryID) ([]byte, error) { return k.entries.Entry(id) }

// shared returns what AddState gets.
func (k *kept) shared() backend.State {
	if s, ok := k.State.(backend.EntryState); ok {
		return keptEntries{k, s}
	}
	return k
}

// contain turns a panic of user code into an error.
func contain(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

// attempts bounds how often a save begins again because another node was
// faster.
const attempts = 10

var errBusy = errors.New("other nodes save all the time; this node tries again later")

// sync merges what others have saved, and saves what they have not.
func (s *Store) sync(ctx context.Context, k *kept) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	for range attempts {
		if err := s.load(ctx, k); err != nil {
			return fmt.Errorf("load: %w", err)
		}
		done, err := s.save(ctx, k)
		if err != nil {
			return fmt.Errorf("save: %w", err)
		}
		if done {
			return nil
		}
	}
	return errBusy
}

// load merges the stored row unless its content is known.
func (s *Store) load(ctx context.Context, k *kept) error {
	head, err := s.db.head(ctx, k.place)
	if err != nil {
		return err
	}
	if head.version == k.seen && (!k.saved || uint64(head.digest) == k.sum) { // a backup may have the same version
		return nil
	}
	if k.seen > 0 && head.version > 0 && k.equals(head.digest) {
		k.seen, k.sum, k.saved = head.version, uint64(head.digest), true
		return nil
	}
	r, err := s.db.read(ctx, k.place)
	if err != nil {
		return err
	}
	if reason := unusable(r); reason != "" {
		return s.reject(ctx, k, r, reason)
	}
	if r.version == 0 {
		k.seen, k.saved = 0, false
		return nil
	}
	err = contain(func() error { return k.Merge(r.data) })
	if later := (interface{ Later() bool })(nil); errors.As(err, &later) && later.Later() {
		return fmt.Errorf("%w; the row is left as it is", err)
	}
	if err != nil {
		return s.reject(ctx, k, r, err.Error())
	}
	k.seen, k.sum, k.saved = r.version, uint64(r.digest), true
	s.met.stored(k.place.key, len(r.data))
	return nil
}

// equals reports whether a row with this digest has nothing new.
func (k *kept) equals(digest int64) bool {
	var sum uint64
	err := contain(func() (err error) { sum, err = k.Digest(); return err })
	return err == nil && sum == uint64(digest)
}

// unusable returns why a row cannot be merged, or nothing.
func unusable(r row) string {
	switch {
	case r.version == 0: // there is no row
		return ""
	case r.checksum != checksum(r.data):
		return fmt.Sprintf("its %d bytes do not have the checksum that they were saved with", len(r.data))
	}
	return ""
}

func (s *Store) reject(ctx context.Context, k *kept, r row, reason string) error {
	s.log.Error("a stored state cannot be used; it is kept in clusterchannel_rejected and will be replaced",
		"key", k.place.key, "version", r.version, "reason", reason)
	if err := s.db.reject(ctx, k.place, r, reason); err != nil {
		return err
	}
	s.met.rejected.WithLabelValues(k.place.key).Inc()
	k.seen, k.saved = r.version, false
	return nil
}

// save writes the state unless the row that was loaded has all of it. It
// reports whether the state is saved; if not, another node was faster.
func (s *Store) save(ctx context.Context, k *kept) (bool, error) {
	var sum uint64
	err := contain(func() (err error) { sum, err = k.Digest(); return err })
	if err != nil {
		return false, fmt.Errorf("digest: %w", err)
	}
	if k.saved && sum == k.sum {
		return true, nil
	}
	var data []byte
	if err := contain(func() (err error) { data, err = k.MarshalBinary(); return err }); err != nil {
		return false, fmt.Errorf("marshal: %w", err)
	}
	if data == nil {
		data = []byte{} // an empty state must not be NULL
	}
	done, err := s.db.write(ctx, k.place, k.seen, int64(sum), data, s.opts.Node)
	if done {
		k.seen, k.sum, k.saved = k.seen+1, sum, true
		s.met.stored(k.place.key, len(data))
	}
	if err != nil {
		err = fmt.Errorf("%d bytes: %w", len(data), err)
	}
	return done, err
}
