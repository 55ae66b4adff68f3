package statetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Check holds a state to the laws that the documentation of the package lists. It fails t
// at the first that does not hold, with the seed of the round.
//
// Each state of a round is made by maker, and used by one goroutine at a time, but for the
// law of calls at the same time. Run it under the race detector too.
func Check(t testing.TB, maker Maker, o *Options) {
	t.Helper()
	if err := check(t, maker, o.filled()); err != nil {
		t.Fatal(err)
	}
}

func check(t testing.TB, maker Maker, o Options) error {
	if err := o.usable(maker); err != nil {
		return err
	}
	for i := range o.Rounds {
		changes := max(1, o.Changes*(i+1)/o.Rounds)
		r := newRound(t, maker, o, o.Seed+uint64(i), changes)
		err := r.run(i == o.Rounds-1)
		r.end()
		if err != nil {
			return fmt.Errorf("%w\n\nSee it again by Options{Seed: %d, Rounds: 1, Changes: %d}", err, r.seed, changes)
		}
		if i == 0 && !r.deterministic {
			t.Log("MarshalBinary is not deterministic: it returns other bytes for the same content")
		}
	}
	return nil
}

// round is one history of a few members, and what is made of it.
type round struct {
	t        testing.TB
	maker    Maker
	patience time.Duration
	seed     uint64
	changes  int
	rand     *rand.Rand

	members       []*member // that changed
	all           []*member // those, and all others that were made
	marshalled    [][]byte  // what the members marshal at the end
	updates       [][]byte  // what they broadcast
	deterministic bool
}

func newRound(t testing.TB, maker Maker, o Options, seed uint64, changes int) *round {
	return &round{t: t, maker: maker, patience: o.Patience, seed: seed, changes: changes, rand: rand.New(rand.NewPCG(seed, 1)), deterministic: true}
}

// law is one of what a state is held to.
type law struct {
	name string
	rule string
	hold func(r *round) error
}

var laws = []law{
	{"maker", "it makes empty states that share nothing, and Change changes what one holds", apart},
	{"round trip", "an empty state that merges what another one marshals is equal to it", roundTrip},
	{"commutative", "the order in which states are merged makes no difference", commutative},
	{"associative", "it makes no difference which states are merged first", associative},
	{"idempotent", "what was merged changes nothing when it is merged again", idempotent},
	{"updates", "what was broadcast is part of the state, in any order", broadcasts},
	{"broadcast", "who has what another one had before a change, and merges what that broadcasts of it, is equal to it", carried},
	{"digest", "states are equal just if their digests are", digests},
	{"entries", "the entries make the state, one by one, in any order, under the same ids on all members", entries},
	{"arguments", "Merge keeps nothing of its argument, and what MarshalBinary returned does not change", arguments},
	{"together", "calls at the same time neither hang nor panic, and lose nothing", together},
	{"garbage", "no input makes a call panic or hang, and what is merged of it others merge", garbage},
}

// run makes a history and looks at the laws, the last time also at how memory grows.
func (r *round) run(last bool) error {
	if err := r.history(); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	all := laws
	if last {
		all = append(all[:len(all):len(all)], law{"growth", "what comes again takes no more room", growth})
	}
	for _, l := range all {
		if err := l.hold(r); err != nil {
			return fmt.Errorf("%s: %s: %w", l.name, l.rule, err)
		}
	}
	return nil
}

func (r *round) end() {
	for _, m := range r.all {
		m.end()
	}
}

func (r *round) member() (*member, error) {
	m, err := newMember(r.t, r.maker, r.patience)
	if err == nil {
		r.all = append(r.all, m)
	}
	return m, err
}

// history has three members change, and now and then merge what another one has.
func (r *round) history() error {
	for range 3 {
		m, err := r.member()
		if err != nil {
			return err
		}
		r.members = append(r.members, m)
	}
	for range 3 * r.changes {
		m, other := r.members[r.rand.IntN(3)], r.members[r.rand.IntN(3)]
		if r.rand.IntN(6) > 0 {
			if err := m.change(r.rand); err != nil {
				return err
			}
			continue
		}
		b, err := other.marshal()
		if err == nil {
			err = m.merge(b)
		}
		if err != nil {
			return err
		}
	}
	for _, m := range r.members {
		b, err := m.marshal()
		if err != nil {
			return err
		}
		again, err := m.marshal()
		if err != nil {
			return err
		}
		r.deterministic = r.deterministic && bytes.Equal(b, again)
		r.marshalled = append(r.marshalled, b)
		r.updates = append(r.updates, m.broadcasts()...)
	}
	if m := r.members[0]; !r.deterministic && m.Content == nil && m.entries == nil && m.digester == nil {
		return errors.New("MarshalBinary returns other bytes for the same content, so that two states cannot be compared: make it a backend.Digester or a backend.EntryState, or give Subject.Content")
	}
	return nil
}

// made returns another state that has merged all of these, in order.
func (r *round) made(all ...[]byte) (*member, error) {
	m, err := r.member()
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		if err := m.merge(b); err != nil {
			return nil, fmt.Errorf("what another member has said is refused: %w", err)
		}
	}
	return m, nil
}

// merged returns what such a state marshals.
func (r *round) merged(all ...[]byte) ([]byte, error) {
	m, err := r.made(all...)
	if err != nil {
		return nil, err
	}
	return m.marshal()
}

// same fails unless two states are equal.
func same(a, b *member) error {
	x, err := a.look()
	if err != nil {
		return err
	}
	y, err := b.look()
	if err != nil {
		return err
	}
	if text := x.differs(y); text != "" {
		return errors.New(text)
	}
	return nil
}

// sameMade fails unless merging some in this order, and others in that, is one.
func (r *round) sameMade(these, those [][]byte) error {
	a, err := r.made(these...)
	if err != nil {
		return err
	}
	b, err := r.made(those...)
	if err != nil {
		return err
	}
	return same(a, b)
}
