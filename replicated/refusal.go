package replicated

import (
	"errors"
	"fmt"
)

// The reasons for which entries are refused.
const (
	reasonMalformed = "malformed"
	reasonVersion   = "version"
	reasonType      = "type"
	reasonAhead     = "ahead"
	reasonFull      = "full"
	reasonCodec     = "codec"
)

var reasons = []string{reasonMalformed, reasonVersion, reasonType, reasonAhead, reasonFull, reasonCodec}

// reasonOf returns why an entry is refused.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, ErrVersion):
		return reasonVersion
	case errors.Is(err, ErrType):
		return reasonType
	case errors.Is(err, ErrAhead):
		return reasonAhead
	case errors.Is(err, ErrFull):
		return reasonFull
	case errors.Is(err, ErrMalformed):
		return reasonMalformed
	}
	return reasonCodec // of the caller, or a panic of it
}

// refusal is the error of a Merge that has not merged all entries that it got.
type refusal struct {
	all, bad, ahead int // entries; that are refused; that are of a time to come
	by              map[string]int
	first           error
}

// note counts an entry.
func (r *refusal) note(err error) {
	r.all++
	if err == nil {
		return
	}
	r.bad++
	if r.by == nil {
		r.by = map[string]int{}
	}
	r.by[reasonOf(err)]++
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
