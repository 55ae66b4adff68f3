package nemesis

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"slices"
	"sync"

	"github.com/clusterchannel/clusterchannel/backend"
)

// The states of each node: one that marshals in any order, one with a digest, one
// that broadcasts what it was given, as Alertmanager's notification log does, and
// the record of what was delivered.
const (
	plain     = "s"
	digested  = "t"
	echoing   = "u"
	delivered = "delivered"
)

// keys are the states that steps may disturb.
var (
	keys    = []string{plain, digested, echoing}
	allKeys = []string{plain, digested, echoing, delivered}
)

// deedSize is how many bytes the entry of what was done has.
const deedSize = 1

// set is a grow-only set of entries, each of which was written once.
type set struct {
	key      string
	audience audience

	mu      sync.Mutex
	entries map[string][]byte
	channel backend.Channel // nil before AddState and after Remove
	mood    mood
	calm    chan struct{} // closed when mood changes
}

// mood is what Merge does besides merging.
type mood int

const (
	willing mood = iota
	blocks
	panics
	refuses
)

var errUnwilling = errors.New("nemesis lets Merge fail")

func newSet(key string, to audience) *set {
	return &set{key: key, audience: to, entries: map[string][]byte{}, calm: make(chan struct{})}
}

// state returns s as the node adds it.
func (s *set) state() backend.State {
	if s.key == digested {
		return digestedSet{s}
	}
	return s
}

// digestedSet is a set with a digest of its own, which does not depend on any
// order.
type digestedSet struct{ *set }

// Digest implements backend.Digester.
func (s digestedSet) Digest() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := uint64(len(s.entries)) << 32
	for name := range s.entries {
		sum += uint64(crc32.ChecksumIEEE([]byte(name)))
	}
	return sum, nil
}

// write adds an entry of so many bytes and broadcasts it.
func (s *set) write(name string, size int) {
	data := content(name, size)
	s.mu.Lock()
	s.entries[name] = data
	channel := s.channel
	s.mu.Unlock()
	if channel != nil {
		channel.Broadcast(appendEntry(nil, name, data))
	}
}

func (s *set) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.entries[name]
	return ok
}

// MarshalBinary implements backend.State. Equal sets marshal to equal bytes.
func (s *set) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(s.entries)) {
		b = appendEntry(b, name, s.entries[name])
	}
	return b, nil
}

// Merge implements backend.State.
func (s *set) Merge(b []byte) error {
	s.mu.Lock()
	mood, calm := s.mood, s.calm
	s.mu.Unlock()
	switch mood {
	case blocks:
		<-calm
	case panics:
		panic("nemesis lets Merge panic")
	case refuses:
		return errUnwilling
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	news := false
	for rest := b; len(rest) > 0; {
		name, data, tail, err := nextEntry(rest)
		if err != nil {
			s.audience.damaged(s.key)
			return err
		}
		if _, known := s.entries[name]; !known {
			s.audience.got(s.key, name, crc32.ChecksumIEEE(data))
			s.entries[name] = bytes.Clone(data)
			news = true
		}
		rest = tail
	}
	if news && s.key == echoing && s.channel != nil {
		s.channel.Broadcast(b)
	}
	return nil
}

// be makes Merge behave so from now on.
func (s *set) be(m mood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.calm)
	s.mood, s.calm = m, make(chan struct{})
}

// content returns the bytes of an entry: about so many.
func content(name string, size int) []byte {
	return bytes.Repeat([]byte(name+" "), 1+size/(len(name)+1))
}

func appendEntry(b []byte, name string, data []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(name)))
	b = append(b, name...)
	b = binary.AppendUvarint(b, uint64(len(data)))
	return append(b, data...)
}

var errDamaged = errors.New("damaged entry")

func nextEntry(b []byte) (name string, data, rest []byte, err error) {
	field := func() []byte {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			err = errDamaged
			return nil
		}
		f := b[size : size+int(n)]
		b = b[size+int(n):]
		return f
	}
	n := field()
	if err == nil {
		data = field()
	}
	return string(n), data, b, err
}
