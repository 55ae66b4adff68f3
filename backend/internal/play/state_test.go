package play_test

import (
	"encoding/binary"
	"errors"
	"iter"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// state is a State, which can be slow, large or ill.
type state struct {
	p       *process
	key     string
	set     set
	channel backend.Channel

	mu   sync.Mutex
	like likeness
	odd  []*[]string   // the steps that it behaves by, in order
	turn chan struct{} // closed and replaced when like changes
}

// likeness is how a state behaves.
type likeness struct {
	merge, marshal time.Duration // how long it takes at most
	refuses        float64       // part of the merges that fail
	broken         bool          // it cannot be marshalled
	hung           bool          // neither returns
	shifty         bool          // it marshals differently each time
	size           int           // bytes of ballast in each full state
	gone           float64       // part of the entries that are not there when they are fetched
}

// usual is how states are that nothing is said of.
var usual = likeness{merge: 50 * time.Microsecond, marshal: 200 * time.Microsecond}

// ballast is what a full state may hold besides entries. No entry begins with that
// bit.
const ballast = 1 << 63

var (
	errRefused = errors.New("refused")
	errDamaged = errors.New("damaged")
)

func newState(p *process, key string) *state {
	return &state{p: p, key: key, like: usual, turn: make(chan struct{})}
}

// take waits as long as the state takes for something. It reports how the state
// behaves then.
func (st *state) take(most func(l likeness) time.Duration) likeness {
	st.mu.Lock()
	d := most(st.like)
	st.mu.Unlock()
	d = d/4 + rand.N(d*3/4+1)
	select {
	case <-time.After(d):
	case <-st.p.dead:
	}
	for {
		st.mu.Lock()
		like, turn := st.like, st.turn
		st.mu.Unlock()
		if !like.hung {
			return like
		}
		select {
		case <-turn:
		case <-st.p.dead:
			return like
		}
	}
}

// Merge implements backend.State.
func (st *state) Merge(b []byte) error {
	if st.take(func(l likeness) time.Duration { return l.merge }).refuses > rand.Float64() {
		return errRefused
	}
	for ; len(b) >= 8; b = b[8:] {
		e, ok := decodeEntry(b)
		switch {
		case ok:
			st.set.add(e)
		case b[0] < 0x80: // it is no ballast
			return errDamaged
		}
	}
	return nil
}

// MarshalBinary implements backend.State. What it returns is as of the beginning.
func (st *state) MarshalBinary() ([]byte, error) {
	b := st.set.encode()
	like := st.take(func(l likeness) time.Duration { return l.marshal })
	if like.broken {
		return nil, errRefused
	}
	if like.shifty {
		b = binary.BigEndian.AppendUint64(b, ballast|rand.Uint64())
	}
	for range like.size / 8 {
		b = binary.BigEndian.AppendUint64(b, ballast)
	}
	return b, nil
}

// taken is a state that can be taken apart. The id of an entry is its number.
type taken struct{ *state }

// EntryIDs implements backend.EntryState.
func (st taken) EntryIDs() iter.Seq[backend.EntryID] {
	return func(yield func(backend.EntryID) bool) {
		for i, word := range st.set.all() {
			for ; word != 0; word &= word - 1 {
				var id backend.EntryID
				binary.BigEndian.PutUint64(id[8:], uint64(64*i+bits.TrailingZeros64(word)))
				if !yield(id) {
					return
				}
			}
		}
	}
}

// Entry implements backend.EntryState.
func (st taken) Entry(id backend.EntryID) ([]byte, error) {
	st.mu.Lock()
	like := st.like
	st.mu.Unlock()
	if like.broken {
		return nil, errRefused
	}
	if like.gone > rand.Float64() {
		return nil, nil
	}
	return encodeEntry(int(binary.BigEndian.Uint64(id[8:]))), nil
}

// behave has the state be as all steps that are not over want it.
func (st *state) behave(change func(odd []*[]string) []*[]string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.odd = change(st.odd)
	st.like = usual
	for _, args := range st.odd {
		for _, arg := range *args {
			st.like.set(arg)
		}
	}
	close(st.turn)
	st.turn = make(chan struct{})
}

// set changes what arg names. A queue has its room from the start, and a state
// without a digest is one that marshals differently each time.
func (l *likeness) set(arg string) {
	switch name, value, _ := strings.Cut(arg, "="); name {
	case "merge":
		l.merge = duration(value)
	case "marshal":
		l.marshal = duration(value)
	case "refuses":
		l.refuses = part(value)
	case "broken":
		l.broken = true
	case "hung":
		l.hung = true
	case "shifty", "undigested":
		l.shifty = true
	case "size":
		l.size = int(part(value))
	case "gone":
		l.gone = part(value)
	}
}

// encodeEntry returns an update: the entry, behind a sum of it.
func encodeEntry(e int) []byte {
	b := binary.BigEndian.AppendUint32(nil, sum(uint32(e)))
	return binary.BigEndian.AppendUint32(b, uint32(e))
}

func decodeEntry(b []byte) (e int, ok bool) {
	n := binary.BigEndian.Uint32(b[4:])
	return int(n), binary.BigEndian.Uint32(b) == sum(n)
}

func sum(e uint32) uint32 { return e * 2654435761 >> 1 }

// set is a set of entries.
type set struct {
	mu    sync.Mutex
	words []uint64
}

func (s *set) add(e int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e/64 >= len(s.words) {
		s.words = append(s.words, 0)
	}
	s.words[e/64] |= 1 << (e % 64)
}

func (s *set) all() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.words)
}

func (s *set) encode() (b []byte) {
	for i, word := range s.all() {
		for ; word != 0; word &= word - 1 {
			b = append(b, encodeEntry(64*i+bits.TrailingZeros64(word))...)
		}
	}
	return b
}

// join adds what other has to all.
func join(all, other []uint64) []uint64 {
	for len(all) < len(other) {
		all = append(all, 0)
	}
	for i, word := range other {
		all[i] |= word
	}
	return all
}

func count(words []uint64) (n int) {
	for _, word := range words {
		n += bits.OnesCount64(word)
	}
	return n
}
