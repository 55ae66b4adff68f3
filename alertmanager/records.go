package alertmanager

import (
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/silence"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Records makes a backend.EntryState of a state of Alertmanager's packages, whose
// snapshot is a sequence of records: two members that share it exchange the records in
// which they differ, not the whole state.
//
// An entry's id is what Merge goes by: which record it is, and when it was written. So
// two records of one moment, of which each member keeps the one that it got first, are
// no difference; and one that has expired, by this node's clock, is no entry, whether
// it was deleted or not. Where clocks are apart, a record is offered without success
// for as long as they are: from when it has expired for one until it has for the other.
//
// Nothing is marshalled for a comparison. The records are known from what was merged
// and broadcast, and read from the state at first and every 15 minutes, so that the
// state's own word counts in the end. They are held encoded, besides the state.
//
// Its methods may be called from many goroutines, but for Merge. All merges must come
// through it, and nobody else may call the state's SetBroadcast.
type Records struct {
	state broadcaster
	read  readRecord

	mu        sync.Mutex // held by the state while it broadcasts, so never while the state is called
	broadcast func([]byte)
	index     *index
	readAt    time.Time
	reading   bool
	meanwhile []map[backend.EntryID]*record // that came while it was read
}

// broadcaster is a state that says what has changed.
type broadcaster interface {
	backend.State
	SetBroadcast(func([]byte))
}

// rereadAfter is how long what is known of a state counts.
const rereadAfter = 15 * time.Minute

// NewLogRecords returns the records of a notification log.
func NewLogRecords(l *nflog.Log) (*Records, error) { return newRecords(l, readLog) }

// NewSilenceRecords returns the records of silences.
func NewSilenceRecords(s *silence.Silences) (*Records, error) { return newRecords(s, readSilence) }

func newRecords(s broadcaster, read readRecord) (*Records, error) {
	r := &Records{state: s, read: read, broadcast: func([]byte) {}, index: newIndex()}
	s.SetBroadcast(r.changed)
	if err := r.reread(); err != nil {
		return nil, fmt.Errorf("the records of a state cannot be read: %w", err)
	}
	return r, nil
}

// SetBroadcast sets what is called with each change, under the state's lock.
func (r *Records) SetBroadcast(f func([]byte)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broadcast = f
}

// changed is the state's broadcast.
func (r *Records) changed(b []byte) {
	r.note(b)
	r.mu.Lock()
	f := r.broadcast
	r.mu.Unlock()
	f(b)
}

// note takes over records that the state has taken.
func (r *Records) note(b []byte) {
	records, err := readRecords(b, r.read)
	if err != nil {
		return // the state's own word follows
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reading {
		r.meanwhile = append(r.meanwhile, records)
	}
	r.index.add(records, time.Now())
}

// reread reads the whole state, unless it was read lately.
func (r *Records) reread() error {
	if !r.begin() {
		return nil
	}
	var records map[backend.EntryID]*record
	known := false
	defer func() { r.end(records, known) }()
	b, err := r.state.MarshalBinary()
	if err == nil {
		records, err = readRecords(b, r.read)
	}
	known = err == nil
	return err
}

// begin reports whether the state is to be read, by this call alone.
func (r *Records) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reading || !r.readAt.IsZero() && time.Since(r.readAt) < rereadAfter {
		return false
	}
	r.reading = true
	return true
}

// end takes what was read in place of what was known.
func (r *Records) end(records map[backend.EntryID]*record, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known {
		r.index, r.readAt = newIndex(), time.Now()
		r.index.add(records, r.readAt)
		for _, records := range r.meanwhile {
			r.index.add(records, r.readAt)
		}
	}
	r.reading, r.meanwhile = false, nil
}

// MarshalBinary implements backend.State.
func (r *Records) MarshalBinary() ([]byte, error) { return r.state.MarshalBinary() }

// Merge implements backend.State.
func (r *Records) Merge(b []byte) error {
	if err := r.state.Merge(b); err != nil {
		return err
	}
	r.note(b)
	return nil
}

// EntryIDs implements backend.EntryState.
func (r *Records) EntryIDs() iter.Seq[backend.EntryID] {
	return func(yield func(backend.EntryID) bool) {
		_ = r.reread() // what is known still counts
		var some [512]backend.EntryID
		for x, end := r.current(); ; { // from the end: what is removed is replaced by the last one
			n := 0
			n, end = r.before(x, end, some[:])
			if n == 0 {
				return
			}
			for _, id := range some[:n] {
				if !yield(id) {
					return
				}
			}
		}
	}
}

// current returns the index as it is now, and how much it has.
func (r *Records) current() (*index, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index.expire(time.Now())
	return r.index, len(r.index.ids)
}

// before copies ids that come before end, and returns how many and where they begin.
func (r *Records) before(x *index, end int, to []backend.EntryID) (n, begin int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end = min(end, len(x.ids))
	begin = max(end-len(to), 0)
	return copy(to, x.ids[begin:end]), begin
}

// Entry implements backend.EntryState.
func (r *Records) Entry(id backend.EntryID) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index.expire(time.Now())
	if e := r.index.byID[id]; e != nil {
		return e.encoded, nil
	}
	return nil, nil
}

// Digest implements backend.Digester, for members and stores that do not know entries.
// Other than the ids it is of what the records say.
func (r *Records) Digest() (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index.expire(time.Now())
	return r.index.sum ^ uint64(len(r.index.ids))*0x9e3779b97f4a7c15, nil
}

var (
	_ backend.EntryState = (*Records)(nil)
	_ backend.Digester   = (*Records)(nil)
)
