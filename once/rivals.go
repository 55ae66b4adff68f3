package once

import (
	"iter"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// rivals are the members as one call for a key knows them: in which order their turns are,
// how often each has failed, and which act. What is told of one of them takes the same
// time however many there are.
type rivals struct {
	seated bool
	epoch  uint64 // of the view that they are by
	self   string
	places map[string]int // by instance: in the order, if none has failed

	tried  map[string]attempt   // by instance, those too that are members no more
	acting map[string]time.Time // since when this call knows that one acts
	all    map[int]int          // by how often they have failed: how many members
	ahead  map[int]int          // of these, those before this node in the order
}

func newRivals() *rivals {
	return &rivals{tried: map[string]attempt{}, acting: map[string]time.Time{}}
}

// seat has the members be those of a view.
func (r *rivals) seat(v backend.View, order iter.Seq[backend.Member]) {
	r.seated, r.epoch, r.self = true, v.Epoch, v.Self().Instance
	r.places = make(map[string]int, len(v.Members))
	for m := range order {
		r.places[m.Instance] = len(r.places)
	}
	r.all, r.ahead = map[int]int{}, map[int]int{}
	for instance := range r.places {
		r.count(instance, 1)
	}
}

// count has a member count more, or less.
func (r *rivals) count(instance string, by int) {
	place, member := r.places[instance]
	if !member {
		return
	}
	failed := r.tried[instance].Failed
	tally(r.all, failed, by)
	if place < r.places[r.self] {
		tally(r.ahead, failed, by)
	}
}

func tally(counts map[int]int, of, by int) {
	if counts[of] += by; counts[of] == 0 {
		delete(counts, of)
	}
}

// note notes an attempt, and reports whether it is news.
func (r *rivals) note(instance string, a attempt) bool {
	before := r.tried[instance]
	if a == before {
		return false
	}
	r.count(instance, -1)
	r.tried[instance] = a
	r.count(instance, 1)
	delete(r.acting, instance)
	if a.Acts && instance != r.self {
		r.acting[instance] = time.Now()
	}
	return true
}

// before returns how many members are before this node: those that have failed less
// often, and of the others that have failed as often those before it in order.
func (r *rivals) before() int {
	mine := r.tried[r.self].Failed
	place := r.ahead[mine]
	for failed, members := range r.all {
		if failed < mine {
			place += members
		}
	}
	return place
}

// othersAct reports whether another member acts, and has not taken too long yet.
func (r *rivals) othersAct(limit time.Duration) bool {
	for instance, since := range r.acting {
		if _, member := r.places[instance]; member && time.Since(since) < limit {
			return true
		}
	}
	return false
}
