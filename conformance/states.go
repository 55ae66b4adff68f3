package conformance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/clusterchannel/clusterchannel/backend"
)

// set is a grow-only set of (owner, sequence number) -> bytes. Each entry has a
// checksum, so that an entry altered on its way is found.
type set struct {
	node    *node
	channel backend.Channel

	mu      sync.Mutex
	entries map[string][]byte
	next    int
	damage  error         // the first damaged update
	again   bool          // broadcast what was new, under mu, as Alertmanager's nflog does
	hold    chan struct{} // Merge waits until it is closed; nil: it does not

	held atomic.Int64 // calls of Merge that waited
}

// digestedSet is a set with a digest of its own.
type digestedSet struct{ *set }

// Digest does not depend on any order.
func (s digestedSet) Digest() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := uint64(len(s.entries))
	for key, data := range s.entries {
		sum += uint64(crc32.ChecksumIEEE(data))<<32 | uint64(crc32.ChecksumIEEE([]byte(key)))
	}
	return sum, nil
}

// addSet adds an empty set to n under key.
func (n *node) addSet(key string) *set {
	n.env.Helper()
	s := n.newSet()
	s.join(key, s)
	return s
}

func (n *node) newSet() *set { return &set{node: n, entries: map[string][]byte{}} }

// join adds state, which is s in some form, to s's node.
func (s *set) join(key string, state backend.State) {
	s.node.env.Helper()
	channel := s.node.add(key, state)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channel = channel
}

// add adds a state to n, and ends the check if it cannot.
func (n *node) add(key string, s backend.State) backend.Channel {
	n.env.Helper()
	channel, err := n.AddState(key, s, nil)
	if err != nil {
		n.env.Fatalf("%s: AddState(%q): %v", n, key, err)
	}
	return channel
}

// addSets adds an empty set to each of nodes under one key.
func addSets(key string, nodes []*node) []*set {
	sets := make([]*set, len(nodes))
	for i, n := range nodes {
		n.env.Helper()
		sets[i] = n.addSet(key)
	}
	return sets
}

// put adds an entry to this replica alone and returns it as an update for
// Merge.
func (s *set) put(data []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	key := fmt.Sprintf("%s/%d/%d", s.node.Name, s.node.ID, s.next)
	s.entries[key] = data
	return appendEntry(nil, key, data)
}

// write adds an entry and broadcasts it.
func (s *set) write(data []byte) { s.channel.Broadcast(s.put(data)) }

func appendEntry(b []byte, key string, data []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = append(b, key...)
	b = binary.AppendUvarint(b, uint64(len(data)))
	b = append(b, data...)
	return binary.BigEndian.AppendUint32(b, crc32.Update(crc32.ChecksumIEEE([]byte(key)), crc32.IEEETable, data))
}

var errDamaged = errors.New("damaged entry")

func nextEntry(b []byte) (key string, data, rest []byte, err error) {
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
	k := field()
	if err == nil {
		data = field()
	}
	if err != nil || len(b) < 4 || binary.BigEndian.Uint32(b) != crc32.Update(crc32.ChecksumIEEE(k), crc32.IEEETable, data) {
		return "", nil, nil, errDamaged
	}
	return string(k), data, b[4:], nil
}

// MarshalBinary sorts the entries, so that equal sets marshal to equal bytes.
func (s *set) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b []byte
	for _, key := range slices.Sorted(maps.Keys(s.entries)) {
		b = appendEntry(b, key, s.entries[key])
	}
	return b, nil
}

// Merge adds entries up to the first damaged one.
func (s *set) Merge(b []byte) error {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		s.held.Add(1)
		<-hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	news := false
	for rest := b; len(rest) > 0; {
		key, data, tail, err := nextEntry(rest)
		if err != nil {
			s.damage = fmt.Errorf("%s was given a damaged update of %d bytes", s.node, len(b))
			return err
		}
		if _, ok := s.entries[key]; !ok {
			s.entries[key] = bytes.Clone(data)
			news = true
		}
		rest = tail
	}
	if news && s.again && s.channel != nil {
		s.channel.Broadcast(b)
	}
	return nil
}

func (s *set) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

func (s *set) snapshot() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.entries)
}

// intact reports whether s received no damaged update.
func (s *set) intact() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.damage
}

// many entries are counted first and compared when all are there.
const many = 100

// holdAll reports whether each of sets holds the same count entries, undamaged.
func holdAll(count int, sets ...*set) error {
	for _, s := range sets {
		if n := s.len(); count > many && n < count && s.intact() == nil {
			return fmt.Errorf("%s holds %d entries of %d", s.node, n, count)
		}
	}
	all := map[string][]byte{}
	for _, s := range sets {
		maps.Copy(all, s.snapshot())
	}
	for _, s := range sets {
		if err := s.intact(); err != nil {
			return err
		}
		have := s.snapshot()
		var lacks []string
		for _, key := range slices.Sorted(maps.Keys(all)) {
			if data, ok := have[key]; !ok {
				lacks = append(lacks, key)
			} else if !bytes.Equal(data, all[key]) {
				return fmt.Errorf("%s holds other bytes under %s", s.node, key)
			}
		}
		if len(lacks) > 0 {
			return fmt.Errorf("%s lacks %d of %d entries: %s", s.node, len(lacks), len(all), strings.Join(lacks[:min(3, len(lacks))], " "))
		}
	}
	if len(all) != count {
		return fmt.Errorf("the sets hold %d entries, want %d", len(all), count)
	}
	return nil
}

// recorder keeps every update it was given. Its full state is empty of content
// and not kept.
type recorder struct {
	node    *node
	channel backend.Channel

	mu  sync.Mutex
	got [][]byte
}

const recorderState = "the full state of a recorder"

func (n *node) addRecorder(key string) *recorder {
	n.env.Helper()
	r := &recorder{node: n}
	r.channel = n.add(key, r)
	return r
}

func (r *recorder) MarshalBinary() ([]byte, error) { return []byte(recorderState), nil }

func (r *recorder) Merge(b []byte) error {
	if string(b) == recorderState {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, bytes.Clone(b))
	return nil
}

func (r *recorder) updates() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// times returns how often r was given b.
func (r *recorder) times(b []byte) int {
	n := 0
	for _, u := range r.updates() {
		if bytes.Equal(u, b) {
			n++
		}
	}
	return n
}

// given reports whether r was given each of want, and nothing else.
func (r *recorder) given(want ...[]byte) error {
	for _, b := range want {
		if r.times(b) == 0 {
			return fmt.Errorf("%s was not given %.40q, %d bytes", r.node, b, len(b))
		}
	}
	for _, u := range r.updates() {
		if !slices.ContainsFunc(want, func(b []byte) bool { return bytes.Equal(u, b) }) {
			return fmt.Errorf("%s was given %.40q, %d bytes, which nobody sent to it", r.node, u, len(u))
		}
	}
	return nil
}

// stateFuncs is a state made of two functions.
type stateFuncs struct {
	marshal func() ([]byte, error)
	merge   func([]byte) error
}

func (s stateFuncs) MarshalBinary() ([]byte, error) { return s.marshal() }
func (s stateFuncs) Merge(b []byte) error           { return s.merge(b) }

// holdMerge makes Merge wait until release is called.
func (s *set) holdMerge() (release func()) {
	c := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = c
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.hold = nil
		s.mu.Unlock()
		close(c)
	})
}

// written returns how many entries s added itself.
func (s *set) written() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}
