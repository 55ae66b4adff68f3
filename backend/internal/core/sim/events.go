package sim

import "time"

// events is what is to happen, soonest first, and in the order of adding where
// the time is the same.
type events struct {
	heap  []event
	count uint64
}

type event struct {
	at    time.Duration
	order uint64
	do    func()
}

func (e event) before(o event) bool { return e.at < o.at || e.at == o.at && e.order < o.order }

func (q *events) add(at time.Duration, do func()) {
	q.count++
	e := event{at, q.count, do}
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(q.heap[parent]) {
			break
		}
		q.heap[i] = q.heap[parent]
		i = parent
	}
	q.heap[i] = e
}

// next takes out the first event, if it is due by t.
func (q *events) next(t time.Duration) (event, bool) {
	if len(q.heap) == 0 || q.heap[0].at > t {
		return event{}, false
	}
	first := q.heap[0]
	last := len(q.heap) - 1
	e := q.heap[last]
	q.heap[last] = event{}
	q.heap = q.heap[:last]
	if last == 0 {
		return first, true
	}
	i := 0
	for {
		child := 4*i + 1
		if child >= last {
			break
		}
		for c := child + 1; c < min(child+4, last); c++ {
			if q.heap[c].before(q.heap[child]) {
				child = c
			}
		}
		if !q.heap[child].before(e) {
			break
		}
		q.heap[i] = q.heap[child]
		i = child
	}
	q.heap[i] = e
	return first, true
}
