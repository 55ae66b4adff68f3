package alertmanager

import (
	"math"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// index has the records of a state that have not expired. The zero value is not usable.
type index struct {
	byKey, byID map[backend.EntryID]*record
	ids         []backend.EntryID // in any order
	records     []*record         // of ids
	sum         uint64            // of the sums of all
	earliest    int64             // nothing expires before
}

func newIndex() *index {
	return &index{byKey: map[backend.EntryID]*record{}, byID: map[backend.EntryID]*record{}, earliest: math.MaxInt64}
}

// add takes records as Merge does.
func (x *index) add(records map[backend.EntryID]*record, now time.Time) {
	for _, r := range records {
		old := x.byKey[r.key]
		if r.expires < now.UnixMilli() || old != nil && !old.stamp.Before(r.stamp) {
			continue
		}
		if old != nil {
			x.remove(old)
		}
		r.at = len(x.ids)
		x.ids, x.records = append(x.ids, r.id), append(x.records, r)
		x.byKey[r.key], x.byID[r.id] = r, r
		x.sum += r.sum
		x.earliest = min(x.earliest, r.expires)
	}
}

// remove puts the last record where r was.
func (x *index) remove(r *record) {
	last := len(x.ids) - 1
	moved := x.records[last]
	x.ids[r.at], x.records[r.at], moved.at = moved.id, moved, r.at
	x.records[last] = nil
	x.ids, x.records = x.ids[:last], x.records[:last]
	delete(x.byKey, r.key)
	delete(x.byID, r.id)
	x.sum -= r.sum
}

// expire removes what has expired.
func (x *index) expire(now time.Time) {
	if now.UnixMilli() <= x.earliest {
		return
	}
	x.earliest = math.MaxInt64
	for i := len(x.records) - 1; i >= 0; i-- { // what is moved to i was looked at
		if r := x.records[i]; r.expires < now.UnixMilli() {
			x.remove(r)
		} else {
			x.earliest = min(x.earliest, r.expires)
		}
	}
}
