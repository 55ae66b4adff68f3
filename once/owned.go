package once

import (
	"context"
	"iter"
	"slices"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Share is what this node owns of some keys, and what has changed hands. Who is given
// one owns its slices.
type Share struct {
	Keys   []string     // that this node owns, in the order in which they were given
	Gained []string     // of Keys, what the Share before did not have
	Lost   []string     // what the Share before had, and this one does not
	View   backend.View // the one that it is by
}

// Owned yields which of keys this node owns: first once the node is ready, and then
// whenever that changes, or the node is attached or detached. It needs no [Group]: the
// owner of a key is its [backend.View.Owner], the same on all nodes whose views agree. A
// member that comes or goes moves only its own keys.
//
// Each key has an owner at every moment, and for a moment two or none: two while views
// differ, which after a join is as long as a message takes; none from a crash until it
// is detected. A node that is detached keeps what it has, by its last view, and where
// it becomes alone it owns all, as the others do what was its; one that would rather
// have no owner than two lays its keys down while View.Status is not Attached.
//
// The sequence ends with ctx, or when c is closed: then the last Share has no Keys. A
// slow reader misses what lies between, never the latest: Gained and Lost are always to
// the Share that was yielded before. A key that is given twice counts once. For other
// keys, end it and begin again.
func Owned(ctx context.Context, c backend.ClusterChannel, keys []string) iter.Seq[Share] {
	return func(yield func(Share) bool) {
		if c.WaitReady(ctx) != nil && ctx.Err() != nil {
			return
		}
		keys := without(keys, nil)
		var last Share
		first := true
		for v := range c.Watch(ctx) {
			next := shareOf(v, keys, last.Keys)
			same := len(next.Gained)+len(next.Lost) == 0 && v.Status == last.View.Status
			if same && !first {
				continue
			}
			first, last = false, Share{Keys: slices.Clone(next.Keys), View: backend.View{Status: v.Status}}
			if !yield(next) {
				return
			}
		}
	}
}

// shareOf returns this node's share by a view, after one of the keys in before.
func shareOf(v backend.View, keys, before []string) Share {
	s := Share{View: v}
	if v.Status != backend.Closed {
		self := v.Self().Instance
		for _, key := range keys {
			if v.Owner(key).Instance == self {
				s.Keys = append(s.Keys, key)
			}
		}
	}
	s.Gained, s.Lost = without(s.Keys, before), without(before, s.Keys)
	return s
}

// without returns what is in keys and not in others, each once.
func without(keys, others []string) (rest []string) {
	has := make(map[string]bool, len(others))
	for _, key := range others {
		has[key] = true
	}
	for _, key := range keys {
		if !has[key] {
			has[key] = true
			rest = append(rest, key)
		}
	}
	return rest
}
