package backend

import (
	"maps"
	"slices"
	"sync"

	"github.com/clusterchannel/clusterchannel/backend/internal/codec"
	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// LocalState implements driver.Handler.
func (s *session) LocalState() []byte {
	if s.over.Load() {
		return nil
	}
	n := s.node
	states := *n.states.Load()
	keys := slices.Sorted(maps.Keys(states))
	n.engine.mu.Lock()
	head := n.engine.core.Head(keys)
	n.engine.mu.Unlock()
	items := map[string]*core.AnswerItem{}
	for i := range head.Items {
		items[head.Items[i].Key] = &head.Items[i]
	}
	var b []byte
	for _, key := range keys {
		d, err := states[key].digestOf(true)
		if err != nil {
			continue
		}
		b = wire.AppendPart(b, key, d.data)
		if it := items[key]; it != nil {
			it.Digest, it.HasDigest = d.sum, d.known
		}
	}
	n.met.fullState.out(len(b))
	return wire.AppendHead(b, func(b []byte) []byte { return codec.AppendHead(b, head) })
}

// MergeState implements driver.Handler.
func (s *session) MergeState(b []byte) {
	if s.over.Load() {
		return
	}
	n := s.node
	n.met.fullState.in(1, len(b))
	parts, head, err := wire.DecodeState(b)
	if err != nil {
		n.reject("malformed", "a full state that cannot be decoded", "bytes", len(b))
		return
	}
	e := &nativeExchange{left: 1}
	if head != nil {
		if e.event.Head, err = codec.DecodeHead(head); err != nil {
			n.reject("malformed", "a full state whose head cannot be decoded", "bytes", len(b))
			return
		}
	}
	for _, p := range parts {
		if st := (*n.states.Load())[string(p.Key)]; st != nil {
			n.mergePart(e, st, slices.Clone(p.Data))
		}
	}
	e.done(n.engine)
}

// nativeExchange is a full state that is being merged: the core is told once all
// of it is.
type nativeExchange struct {
	mu    sync.Mutex
	left  int // merges to come, and the loop that starts them
	event core.Exchanged
}

func (n *node) mergePart(e *nativeExchange, st *state, data []byte) {
	e.mu.Lock()
	e.left++
	e.event.Keys = append(e.event.Keys, st.key)
	e.mu.Unlock()
	failed := func() {
		e.mu.Lock()
		e.event.Failed = append(e.event.Failed, st.key)
		e.mu.Unlock()
		e.done(n.engine)
	}
	merge := func() {
		if _, err := st.merge(data, false); err != nil {
			failed()
			return
		}
		st.seen.exchanged()
		e.done(n.engine)
	}
	if !st.doOr(len(data), merge, failed) {
		n.met.drop(st.key, "inbound_overflow")
		failed()
	}
}

func (e *nativeExchange) done(to *engine) {
	e.mu.Lock()
	e.left--
	over := e.left == 0
	event := e.event
	e.mu.Unlock()
	if over {
		to.step(event)
	}
}
