package statetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// member is a subject without a cluster: what it broadcasts is kept.
type member struct {
	Subject
	entries  backend.EntryState // nil: it cannot be taken apart
	digester backend.Digester   // nil: it has no digest
	patience time.Duration      // how long one call may take

	mu      sync.Mutex
	updates [][]byte
}

// patience is how long one call of a state may take.
const patience = 20 * time.Second

// newMember makes a member.
func newMember(t testing.TB, maker Maker, patience time.Duration) (*member, error) {
	m := &member{Subject: maker(t), patience: patience}
	if m.Attach == nil {
		return m, m.known()
	}
	return m, m.attach(&alone{m: m})
}

// attach adds the state to a node, and notes what was added.
func (m *member) attach(node backend.ClusterChannel) error {
	seen := &adding{ClusterChannel: node}
	if err := m.call("Attach", func() error { return m.Attach(seen, "state") }); err != nil {
		return err
	}
	if seen.added != nil {
		m.State = seen.added
	}
	return m.known()
}

// known notes what the state can do.
func (m *member) known() error {
	switch {
	case m.State == nil:
		return errors.New("the maker returns no State")
	case m.Change == nil:
		return errors.New("the maker returns no Change")
	}
	m.entries, _ = m.State.(backend.EntryState)
	m.digester, _ = m.State.(backend.Digester)
	return nil
}

// adding is a node that shows what is added to it.
type adding struct {
	backend.ClusterChannel
	added backend.State
}

// AddState implements backend.ClusterChannel.
func (a *adding) AddState(key string, s backend.State, o *backend.StateOptions) (backend.Channel, error) {
	a.added = s
	return a.ClusterChannel.AddState(key, s, o)
}

func (m *member) end() {
	if m.Close != nil {
		m.Close()
	}
}

// call calls a function of the state, which may panic or hang.
func (m *member) call(what string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("%s panics: %v", what, p)
			}
		}()
		done <- f()
	}()
	limit := time.NewTimer(m.patience)
	defer limit.Stop()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	case <-limit.C:
		return fmt.Errorf("%s has not returned within %v", what, m.patience)
	}
}

func (m *member) change(r *rand.Rand) error {
	return m.call("Change", func() error { return m.Change(r) })
}

// merge merges a copy of b.
func (m *member) merge(b []byte) error {
	return m.call("Merge", func() error { return m.State.Merge(bytes.Clone(b)) })
}

func (m *member) marshal() (b []byte, err error) {
	err = m.call("MarshalBinary", func() (err error) { b, err = m.State.MarshalBinary(); return err })
	return bytes.Clone(b), err
}

func (m *member) digest() (d uint64, err error) {
	err = m.call("Digest", func() (err error) { d, err = m.digester.Digest(); return err })
	return d, err
}

// ids returns the ids of all entries, in order, each once.
func (m *member) ids() (ids []backend.EntryID, err error) {
	err = m.call("EntryIDs", func() error { ids = slices.Collect(m.entries.EntryIDs()); return nil })
	slices.SortFunc(ids, func(a, b backend.EntryID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids), err
}

func (m *member) entry(id backend.EntryID) (b []byte, err error) {
	err = m.call("Entry", func() (err error) { b, err = m.entries.Entry(id); return err })
	return b, err
}

// broadcasts returns what was broadcast.
func (m *member) broadcasts() [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.updates)
}

// seen is what there is to tell one state from another.
type seen struct {
	content string // by Subject.Content, or the bytes where there is nothing else
	ids     string
	digest  uint64
}

// look returns what a state holds.
func (m *member) look() (s seen, err error) {
	if m.Content != nil {
		if err := m.call("Content", func() error { s.content = m.Content(); return nil }); err != nil {
			return s, err
		}
	}
	if m.entries != nil {
		ids, err := m.ids()
		if err != nil {
			return s, err
		}
		s.ids = fmt.Sprintf("%x", ids)
	}
	if m.digester != nil {
		if s.digest, err = m.digest(); err != nil {
			return s, err
		}
	}
	if m.Content == nil && m.entries == nil && m.digester == nil {
		b, err := m.marshal()
		s.content = string(b)
		return s, err
	}
	return s, nil
}

// shows returns what a user sees of a state like m, or all that can be told where it has no
// Content.
func (s seen) shows(m *member) string {
	if m.Content != nil {
		return s.content
	}
	return fmt.Sprintf("%s %s %x", s.content, s.ids, s.digest)
}

// differs says in what two states differ, or nothing.
func (s seen) differs(o seen) string {
	switch {
	case s.content != o.content:
		return fmt.Sprintf("one holds %.400q, the other %.400q", s.content, o.content)
	case s.ids != o.ids:
		return fmt.Sprintf("the ids of the entries differ: %.400s and %.400s", s.ids, o.ids)
	case s.digest != o.digest:
		return fmt.Sprintf("the digests differ: %x and %x", s.digest, o.digest)
	}
	return ""
}

// alone is a node without others, as a state is attached to in Check.
type alone struct{ m *member }

// AddState implements backend.ClusterChannel.
func (a *alone) AddState(string, backend.State, *backend.StateOptions) (backend.Channel, error) {
	return kept{a.m}, nil
}

// View implements backend.ClusterChannel.
func (a *alone) View() backend.View {
	return backend.View{Members: []backend.Member{{Name: "alone", Instance: "alone"}}, Status: backend.Attached, Ready: backend.Alone}
}

// Members implements backend.ClusterChannel.
func (a *alone) Members() []backend.Member { return a.View().Members }

// Position implements backend.ClusterChannel.
func (a *alone) Position() int { return 0 }

// Watch implements backend.ClusterChannel.
func (a *alone) Watch(ctx context.Context) iter.Seq[backend.View] {
	return func(yield func(backend.View) bool) {
		if yield(a.View()) {
			<-ctx.Done()
		}
	}
}

// WaitReady implements backend.ClusterChannel.
func (a *alone) WaitReady(context.Context) error { return nil }

// Close implements backend.ClusterChannel.
func (a *alone) Close(context.Context) error { return nil }

// kept keeps what is broadcast.
type kept struct{ m *member }

// Broadcast implements backend.Channel.
func (k kept) Broadcast(b []byte) { _ = k.TryBroadcast(b) }

// TryBroadcast implements backend.Channel.
func (k kept) TryBroadcast(b []byte) error {
	k.m.mu.Lock()
	defer k.m.mu.Unlock()
	k.m.updates = append(k.m.updates, bytes.Clone(b))
	return nil
}

// Remove implements backend.Channel.
func (k kept) Remove() {}

var _ backend.ClusterChannel = (*alone)(nil)
