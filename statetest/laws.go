package statetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"

	"github.com/clusterchannel/clusterchannel/backend"
)

// apart changes one of two new states until that is seen, which must not be at the other.
func apart(r *round) error {
	const most = 100
	m, err := r.member()
	if err != nil {
		return err
	}
	other, err := r.member()
	if err != nil {
		return err
	}
	before, err := other.look()
	if err != nil {
		return err
	}
	empty, err := m.look()
	if err != nil {
		return err
	}
	for range most {
		if err := m.change(r.rand); err != nil {
			return err
		}
		now, err := m.look()
		if err != nil {
			return err
		}
		untouched, err := other.look()
		switch {
		case err != nil:
			return err
		case untouched.shows(m) != before.shows(m):
			return fmt.Errorf("a change of one state is seen at another one, which should share nothing with it: it held %.400q, and holds %.400q", before.shows(m), untouched.shows(m))
		case now.shows(m) != empty.shows(m):
			return nil
		}
	}
	return fmt.Errorf("after %d calls of Change it still holds %.400q: nothing changes, or Content does not show it", most, empty.shows(m))
}

func roundTrip(r *round) error {
	for i, m := range r.members {
		again, err := r.made(r.marshalled[i])
		if err != nil {
			return err
		}
		if err := same(m, again); err != nil {
			return err
		}
	}
	return nil
}

func commutative(r *round) error {
	a, b, c := r.marshalled[0], r.marshalled[1], r.marshalled[2]
	return errors.Join(
		r.sameMade([][]byte{a, b}, [][]byte{b, a}),
		r.sameMade([][]byte{a, b, c}, [][]byte{c, b, a}),
		r.sameMade([][]byte{a, b, c}, [][]byte{b, c, a}),
	)
}

func associative(r *round) error {
	a, b, c := r.marshalled[0], r.marshalled[1], r.marshalled[2]
	first, err := r.merged(a, b)
	if err != nil {
		return err
	}
	last, err := r.merged(b, c)
	if err != nil {
		return err
	}
	return errors.Join(r.sameMade([][]byte{first, c}, [][]byte{a, last}), r.sameMade([][]byte{c, first}, [][]byte{a, b, c}))
}

func idempotent(r *round) error {
	a, b := r.marshalled[0], r.marshalled[1]
	if err := r.sameMade([][]byte{a, a}, [][]byte{a}); err != nil {
		return err
	}
	m, err := r.made(a, b)
	if err != nil {
		return err
	}
	before, err := m.look()
	if err != nil {
		return err
	}
	for _, b := range [][]byte{a, b, a, b} {
		if err := m.merge(b); err != nil {
			return err
		}
	}
	after, err := m.look()
	if text := before.differs(after); err == nil && text != "" {
		return errors.New(text)
	}
	return err
}

func broadcasts(r *round) error {
	if len(r.updates) == 0 {
		return nil
	}
	shuffled := func() [][]byte {
		all := slices.Clone(r.updates)
		all = append(all, r.updates[:len(all)/2]...) // some twice
		r.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		return all
	}
	if err := r.sameMade(shuffled(), shuffled()); err != nil {
		return err
	}
	return r.sameMade(append(slices.Clone(r.marshalled), shuffled()...), r.marshalled)
}

// carried has a state change, and another one follow by what the first broadcasts. What it
// broadcasts nothing of is left to the exchange of states.
func carried(r *round) error {
	m, err := r.member()
	if err != nil {
		return err
	}
	follower, err := r.member()
	if err != nil {
		return err
	}
	for range 10 {
		before := len(m.broadcasts())
		if err := m.change(r.rand); err != nil {
			return err
		}
		said := m.broadcasts()[before:]
		if len(said) == 0 {
			b, err := m.marshal()
			if err != nil {
				return err
			}
			said = [][]byte{b}
		}
		for _, b := range said {
			if err := follower.merge(b); err != nil {
				return err
			}
		}
		if err := same(m, follower); err != nil {
			return fmt.Errorf("%d payloads, of which the last is %.200q: %w", len(said), said[len(said)-1], err)
		}
	}
	return nil
}

// digests compares all states that were made, of which many are equal.
func digests(r *round) error {
	if r.members[0].digester == nil || r.members[0].Content == nil && r.members[0].entries == nil {
		return nil
	}
	byDigest, byContent := map[uint64]seen{}, map[string]seen{}
	for _, m := range r.all {
		s, err := m.look()
		if err != nil {
			return err
		}
		content := s.content + "\n" + s.ids
		if other, known := byDigest[s.digest]; known && (other.content != s.content || other.ids != s.ids) {
			return fmt.Errorf("different states have the digest %x: %w", s.digest, errors.New(other.differs(s)))
		}
		if other, known := byContent[content]; known && m.entries != nil && other.digest != s.digest {
			return fmt.Errorf("equal states have the digests %x and %x: they hold %.400q", other.digest, s.digest, s.content)
		}
		byDigest[s.digest], byContent[content] = s, s
	}
	return nil
}

func entries(r *round) error {
	for _, m := range r.members {
		if m.entries == nil {
			return nil
		}
		ids, err := m.ids()
		if err != nil {
			return err
		}
		var all [][]byte
		for _, id := range ids {
			b, err := m.entry(id)
			switch {
			case err != nil:
				return err
			case b == nil:
				return fmt.Errorf("EntryIDs yields %x, which Entry does not know", id)
			}
			all = append(all, bytes.Clone(b))
		}
		r.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		apart, err := r.made(all...)
		if err != nil {
			return err
		}
		if err := same(m, apart); err != nil {
			return fmt.Errorf("a state made of %d entries is another one: %w", len(all), err)
		}
		if err := unknown(m, r.rand); err != nil {
			return err
		}
		if err := renamed(m, r.rand); err != nil {
			return err
		}
	}
	return nil
}

// unknown asks for an entry that is not there.
func unknown(m *member, r *rand.Rand) error {
	var id backend.EntryID
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	if b, err := m.entry(id); err != nil || b != nil {
		return fmt.Errorf("of an id that nobody has, Entry returns %.100q, %v: want nil", b, err)
	}
	return nil
}

// renamed changes a copy of a state until it holds something else: then it has other ids.
func renamed(m *member, r *rand.Rand) error {
	if m.Content == nil {
		return nil
	}
	before, err := m.look()
	for i := 0; i < 10 && err == nil; i++ {
		if err = m.change(r); err != nil {
			return err
		}
		var now seen
		if now, err = m.look(); err == nil && now.content != before.content && now.ids == before.ids {
			return fmt.Errorf("the content changed from %.200q to %.200q, and no id did", before.content, now.content)
		}
		before = now
	}
	return err
}

func arguments(r *round) error {
	m, err := r.member()
	if err != nil {
		return err
	}
	for _, said := range slices.Concat(r.marshalled, r.updates) {
		b := bytes.Clone(said)
		if err := m.call("Merge", func() error { return m.State.Merge(b) }); err != nil {
			return err
		}
		before, err := m.look()
		if err != nil {
			return err
		}
		for i := range b {
			b[i] ^= 0xff
		}
		after, err := m.look()
		if err != nil {
			return err
		}
		if text := before.differs(after); text != "" {
			return fmt.Errorf("it changes as its former argument does: %s", text)
		}
	}
	var b []byte
	if err := m.call("MarshalBinary", func() (err error) { b, err = m.State.MarshalBinary(); return err }); err != nil {
		return err
	}
	before := bytes.Clone(b)
	for range 10 {
		if err := m.change(r.rand); err != nil {
			return err
		}
		if _, err := m.marshal(); err != nil {
			return err
		}
	}
	if !bytes.Equal(b, before) {
		return errors.New("what MarshalBinary returned was changed afterwards")
	}
	return nil
}

// together has a state changed, merged, marshalled and taken apart at once.
func together(r *round) error {
	m, err := r.member()
	if err != nil {
		return err
	}
	said := slices.Concat(r.marshalled, r.updates)
	seed := r.rand.Uint64()
	tasks := []func(i int, r *rand.Rand) error{
		func(i int, _ *rand.Rand) error { return m.merge(said[i%len(said)]) }, // never two at once
		func(_ int, r *rand.Rand) error { return m.change(r) },
		func(int, *rand.Rand) error { _, err := m.marshal(); return err },
		func(int, *rand.Rand) error { _, err := m.look(); return err },
		func(int, *rand.Rand) error {
			if m.entries == nil {
				return nil
			}
			ids, err := m.ids()
			for _, id := range ids {
				if err == nil {
					_, err = m.entry(id)
				}
			}
			return err
		},
	}
	errs := make(chan error)
	for k, task := range tasks {
		go func() {
			own, err := rand.New(rand.NewPCG(seed, uint64(k))), error(nil)
			for i := 0; i < max(20, len(said)) && err == nil; i++ {
				err = task(i, own)
			}
			errs <- err
		}()
	}
	for range tasks {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		return err
	}
	before, err := m.look()
	if err != nil {
		return err
	}
	for _, b := range said {
		if err := m.merge(b); err != nil {
			return err
		}
	}
	after, err := m.look()
	if text := before.differs(after); err == nil && text != "" {
		return fmt.Errorf("what was merged meanwhile was lost: %s", text)
	}
	return err
}

func garbage(r *round) error {
	m, err := r.made(r.marshalled[0])
	if err != nil {
		return err
	}
	said := slices.Concat(r.marshalled, r.updates)
	for range 100 {
		b := spoiled(r.rand, said[r.rand.IntN(len(said))])
		if err := m.takes(b); err != nil {
			return fmt.Errorf("after %.200q: %w", b, err)
		}
	}
	b, err := m.marshal()
	if err != nil {
		return err
	}
	if _, err := r.made(b); err != nil {
		return err
	}
	return m.merge(r.marshalled[1])
}

// takes merges what may be anything. That it is refused is in order.
func (m *member) takes(b []byte) error {
	return m.call("Merge", func() error { _ = m.State.Merge(bytes.Clone(b)); return nil })
}

// spoiled returns b damaged in some way, or something else.
func spoiled(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	switch r.IntN(7) {
	case 0:
		return nil
	case 1:
		return random(r.IntN(64))
	case 2:
		return b[:r.IntN(len(b)+1)]
	case 3:
		return append(b, random(1+r.IntN(16))...)
	case 4:
		return append(b, b...)
	case 5:
		return b[r.IntN(len(b)+1):]
	}
	for range 1 + r.IntN(4) {
		if len(b) > 0 {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
	}
	return b
}

// growth merges what was merged before, some megabytes of it, and looks at how much more
// is held, at what is marshalled and in memory.
func growth(r *round) error {
	const amount = 4 << 20
	said := slices.Concat(r.marshalled, r.updates)
	m, err := r.made(said...)
	if err != nil {
		return err
	}
	before, err := m.marshal()
	if err != nil {
		return err
	}
	var grown int64
	for range 3 { // what other tests do meanwhile counts too, but not each time
		held := heap()
		for size := 0; size < amount; {
			for _, b := range said {
				size += max(len(b), 64)
				if err := m.State.Merge(bytes.Clone(b)); err != nil {
					return err
				}
			}
		}
		if grown = heap() - held; grown < amount/2 {
			break
		}
	}
	if grown >= amount/2 {
		return fmt.Errorf("%d bytes more are held after %d bytes were merged again", grown, amount)
	}
	after, err := m.marshal()
	if err == nil && len(after) > len(before)+len(before)/8 {
		return fmt.Errorf("MarshalBinary returned %d bytes, and %d after the same was merged again", len(before), len(after))
	}
	return err
}

func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}
