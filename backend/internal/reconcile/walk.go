package reconcile

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

// The bounds of a request and of an answer.
const (
	MaxSketch = 1 << 10 // fingerprints of a sketch
	MaxLists  = 1 << 11 // lists in one request
	MaxListed = 1 << 13 // places in all of them
	MaxSplits = 1 << 9  // ranges to be split in one request
	MaxFound  = 1 << 13 // entries that one answer names at most

	fanout     = 16            // parts of a range that is split
	perPart    = 32            // entries of a part of a sketch, about; a range with so few is listed
	listAtOnce = MaxListed / 2 // places in one request, from where on a range is split
)

// ErrLie says that an answer is none to what was asked, or a request is none.
var ErrLie = errors.New("it cannot be true")

// Sketch returns the fingerprints of equal parts of everything, for who has
// others entries: about one for as many as are listed at once.
func (v *View) Sketch(others uint64) []uint64 {
	parts := uint64(1)
	if others > 0 && v.Len() > 0 {
		parts = min(uint64(1)<<bits.Len64(max(others, uint64(v.Len()))/perPart), MaxSketch)
	}
	prints := make([]uint64, 0, parts)
	for _, r := range Everything.split(parts) {
		prints = append(prints, v.print(r))
	}
	return prints
}

// Request is one step of a walk.
type Request struct {
	Splits []Range // whose parts' fingerprints are asked for
	Lists  []List  // in order, apart from each other
}

// List are all places that the asker has in a range, in order.
type List struct {
	Range
	Places []uint64
}

// Reply answers a request.
type Reply struct {
	Prints []uint64 // of the parts of each range to be split
	Wants  []uint64 // listed places that the answerer lacks, in order
	Next   uint64   // the first place whose entries are not answered yet; 0: all are
}

// Walk is the side of the one who asks.
type Walk struct {
	view  *View
	open  []Range // that differ, in order
	later []Range // that differ too, and have their turn when none is open any more
	asked Request
	gives []span // of the view, that the other one lacks
}

// span are the ids of a view from one on, before another.
type span struct{ from, to int }

// NewWalk begins a walk from the other's sketch.
func NewWalk(view *View, sketch []uint64) (*Walk, error) {
	n := uint64(len(sketch))
	if n == 0 || n > MaxSketch || n&(n-1) != 0 {
		return nil, fmt.Errorf("%w: a sketch of %d parts", ErrLie, n)
	}
	w := &Walk{view: view}
	w.compare(Everything.split(n), sketch)
	return w, nil
}

// compare opens those of the ranges whose fingerprints differ. Where the other one has
// nothing it lacks all that is here, without a list.
func (w *Walk) compare(ranges []Range, prints []uint64) {
	for i, r := range ranges {
		if w.view.print(r) == prints[i] {
			continue
		}
		if from, to := w.view.bounds(r); prints[i] == 0 && from < to {
			w.give(span{from, to})
			continue
		}
		if last := len(w.open) - 1; last >= 0 && w.open[last].Last+1 == r.First && w.view.count(w.open[last])+w.view.count(r) == 0 {
			w.open[last].Last = r.Last // where nothing is here, one list says so
			continue
		}
		w.open = append(w.open, r)
	}
}

// give has ids be given.
func (w *Walk) give(s span) {
	if last := len(w.gives) - 1; last >= 0 && w.gives[last].to == s.from {
		w.gives[last].to = s.to
		return
	}
	w.gives = append(w.gives, s)
}

// Begin has the walk begin at a place, and go on with what is before it. It is called
// before the first Next.
func (w *Walk) Begin(place uint64) {
	i := slices.IndexFunc(w.open, func(r Range) bool { return r.Last >= place })
	if i > 0 {
		w.open, w.later = w.open[i:], w.open[:i:i]
	}
}

// Next returns what to ask. It is nil when there is nothing left.
func (w *Walk) Next() *Request {
	if len(w.open) == 0 {
		w.open, w.later = w.later, nil
	}
	if len(w.open) == 0 {
		return nil
	}
	total := 0
	for _, r := range w.open {
		if total += w.view.count(r); total > listAtOnce {
			break
		}
	}
	w.asked = Request{}
	listed, rest := 0, []Range(nil)
	for i, r := range w.open {
		n := w.view.count(r)
		switch {
		case len(w.asked.Splits) >= MaxSplits || len(w.asked.Lists) >= MaxLists || listed > 0 && listed+n > listAtOnce:
			rest = append(rest, w.open[i:]...)
			w.open = rest
			return &w.asked
		case total > listAtOnce && n > perPart && r.Last-r.First >= fanout:
			w.asked.Splits = append(w.asked.Splits, r)
		default:
			i, j := w.view.bounds(r)
			w.asked.Lists = append(w.asked.Lists, List{r, w.view.places(i, j)})
			listed += n
		}
	}
	w.open = rest
	return &w.asked
}

// Took handles the reply to what Next returned, which came with so many entries.
// The error wraps ErrLie.
func (w *Walk) Took(reply *Reply, entries int) error {
	before := w.open
	w.open = nil
	prints := reply.Prints
	for _, r := range w.asked.Splits {
		parts := r.split(fanout)
		if len(prints) < len(parts) {
			return fmt.Errorf("%w: fingerprints are missing", ErrLie)
		}
		w.compare(parts, prints[:len(parts)])
		prints = prints[len(parts):]
	}
	if len(prints) > 0 {
		return fmt.Errorf("%w: %d fingerprints too many", ErrLie, len(prints))
	}
	wants := reply.Wants
	for i, l := range w.asked.Lists {
		from := 0
		if len(wants) > 0 && wants[0] <= l.Last {
			from, _ = w.view.bounds(l.Range)
		}
		for ; len(wants) > 0 && wants[0] <= l.Last; wants = wants[1:] {
			k, listed := slices.BinarySearch(l.Places, wants[0])
			if !listed || len(wants) > 1 && wants[1] <= wants[0] {
				return fmt.Errorf("%w: it wants what was not listed", ErrLie)
			}
			w.give(span{from + k, from + k + 1})
		}
		if next := reply.Next; next != 0 && next <= l.Last {
			if i == 0 && next <= l.First || entries == 0 {
				return fmt.Errorf("%w: it answers nothing of what was asked", ErrLie)
			}
			if next > l.First {
				l.First = next
			}
			w.open = append(w.open, l.Range)
		}
	}
	if len(wants) > 0 {
		return fmt.Errorf("%w: it wants what was not listed", ErrLie)
	}
	w.open = append(w.open, before...)
	slices.SortFunc(w.open, func(a, b Range) int {
		if a.First < b.First {
			return -1
		}
		return 1
	})
	w.asked = Request{}
	return nil
}

// Gives returns the next entries that the other one lacks, at most as many. They are valid
// as long as the view.
func (w *Walk) Gives(most int) (ids []ID) {
	for _, s := range w.gives {
		if ids = extend(ids, w.view.ids[s.from:min(s.to, s.from+most-len(ids))]); len(ids) == most {
			break
		}
	}
	return ids
}

// Gave notes that the first of them were handled.
func (w *Walk) Gave(n int) {
	for n > 0 && len(w.gives) > 0 {
		s := &w.gives[0]
		some := min(n, s.to-s.from)
		n -= some
		if s.from += some; s.from == s.to {
			w.gives = w.gives[1:]
		}
	}
}

// extend appends some ids of a view to others. Where they are the first they are not copied.
func extend(ids, some []ID) []ID {
	if len(ids) == 0 {
		return some[:len(some):len(some)]
	}
	return append(ids, some...)
}

// Found is what a view has for a request.
type Found struct {
	Reply
	IDs    []ID // of the entries that the asker lacks, in the order of their places; they are those of the view
	Looked int  // how many places were looked at
	view   *View
}

// Find looks up what a request asks for. The error wraps ErrLie.
func (v *View) Find(q *Request) (*Found, error) {
	f := &Found{view: v}
	if len(q.Splits) > MaxSplits || len(q.Lists) > MaxLists {
		return nil, fmt.Errorf("%w: too much is asked for", ErrLie)
	}
	for _, r := range q.Splits {
		if r.First > r.Last {
			return nil, fmt.Errorf("%w: a range that ends before it begins", ErrLie)
		}
		for _, part := range r.split(fanout) {
			f.Prints = append(f.Prints, v.print(part))
		}
	}
	for i, l := range q.Lists {
		if l.First > l.Last || i > 0 && l.First <= q.Lists[i-1].Last || !l.inOrder() {
			return nil, fmt.Errorf("%w: a list that is not in order", ErrLie)
		}
	}
	for _, l := range q.Lists {
		if !v.match(f, l) {
			break
		}
	}
	return f, nil
}

func (l List) inOrder() bool {
	for i, p := range l.Places {
		if p < l.First || p > l.Last || i > 0 && p < l.Places[i-1] {
			return false
		}
	}
	return true
}

// match compares a list with what is in its range. It reports false where that is
// more than one answer names.
func (v *View) match(f *Found, l List) bool {
	i, j := v.bounds(l.Range)
	theirs := l.Places
	for {
		lacked, end := i, min(j, i+MaxFound-len(f.IDs))
		if len(theirs) == 0 {
			i = end
		}
		for i < end && v.place(i) < theirs[0] {
			i++
		}
		f.IDs = extend(f.IDs, v.ids[lacked:i])
		f.Looked += i - lacked
		if i == end && end < j && (len(theirs) == 0 || v.place(i) < theirs[0]) {
			f.Next = v.place(i)
			return false
		}
		if len(theirs) == 0 {
			return true
		}
		f.Looked++
		listed := theirs[0]
		if i == j || v.place(i) != listed {
			f.Wants = append(f.Wants, listed)
		}
		for i < j && v.place(i) == listed {
			i++
		}
		for len(theirs) > 0 && theirs[0] == listed {
			theirs = theirs[1:]
		}
	}
}

// Cut has only the first n entries be answered, at least one.
func (f *Found) Cut(n int) {
	if n >= len(f.IDs) {
		return
	}
	f.Next = f.view.hash.place(&f.IDs[n])
	f.IDs = f.IDs[:n]
	k, _ := slices.BinarySearch(f.Wants, f.Next)
	f.Wants = f.Wants[:k]
}
