package replicated

import (
	"errors"
	"fmt"
)

// refusal is the error of a Merge that has not merged all entries that it got.
type refusal struct {
	all, bad, ahead int // entries; that are refused; that are of a time to come
	first           error
}

// note counts an entry.
func (r *refusal) note(err error) {
	r.all++
	if err == nil {
		return
	}
	r.bad++
	if errors.Is(err, ErrAhead) {
		r.ahead++
	}
	if r.first == nil {
		r.first = err
	}
}

func (r *refusal) Error() string {
	if r.all == 1 {
		return r.first.Error()
	}
	return fmt.Sprintf("%d of %d entries are refused: %v", r.bad, r.all, r.first)
}

func (r *refusal) Unwrap() error { return r.first }

// Later reports whether it is this node's clock that is wrong, and not that of a few
// writers: then the entries are merged once it is right.
func (r *refusal) Later() bool { return 2*r.ahead > r.all }
