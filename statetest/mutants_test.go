package statetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// votes is a sound state: the largest number that was said of each name. A mutant has one
// of its faults.
type votes struct {
	fault  string
	number int64

	mu      sync.Mutex
	all     map[string]int
	log     [][]byte // of a mutant
	kept    []byte
	out     []byte
	other   sync.Mutex // of a mutant, that takes its two locks in either order
	channel backend.Channel
}

type vote struct {
	Name string
	N    int
}

func (v vote) id() backend.EntryID { return backend.EntryIDOf(v.bytes()) }

func (v vote) bytes() []byte { return fmt.Appendf(nil, "%s %d\n", v.Name, v.N) }

func (s *votes) has(fault string) bool { return s.fault == fault }

// put puts a vote where it beats what is there.
func (s *votes) put(v vote) {
	n, known := s.all[v.Name]
	switch {
	case s.has("the last one wins"), s.has("shows nothing"):
	case s.has("adds"):
		v.N += n
	case s.has("averages"):
		if known {
			v.N = (v.N + n) / 2
		}
	case known && v.N <= n:
		return
	}
	s.all[v.Name] = v.N
}

func (s *votes) change(r *rand.Rand) error {
	s.mu.Lock()
	v := vote{fmt.Sprint("n", r.IntN(5)), r.IntN(1000)}
	if !s.has("never changes") {
		s.put(v)
	}
	said := v.bytes()
	switch s.fault {
	case "never changes", "broadcasts nothing that is held":
		said = []byte{}
	case "broadcasts the names alone":
		said = vote{v.Name, 0}.bytes()
	case "broadcasts what it does not hold":
		said = vote{v.Name, v.N + 5}.bytes()
	}
	s.mu.Unlock()
	if s.channel != nil {
		s.channel.Broadcast(said)
	}
	return nil
}

func (s *votes) sorted() (all []vote) {
	for _, name := range slices.Sorted(maps.Keys(s.all)) {
		all = append(all, vote{name, s.all[name]})
	}
	return all
}

func (s *votes) content() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.sorted())
}

func (s *votes) MarshalBinary() ([]byte, error) {
	if s.has("locks in either order") {
		s.other.Lock()
		defer s.other.Unlock()
		runtime.Gosched()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.sorted()
	if s.has("marshals all but the last one") {
		all = all[:max(0, len(all)-1)]
	}
	b := []byte{}
	if s.has("marshals into one buffer") {
		b = s.out[:0]
	}
	for _, v := range all {
		b = append(b, v.bytes()...)
	}
	if s.has("marshals its log") {
		b = append(b, bytes.Join(s.log, nil)...)
	}
	if s.out = b; s.has("marshals what it does not take") {
		b = append(b, "end\n"...)
	}
	return b, nil
}

var errVote = errors.New("no vote")

func (s *votes) Merge(b []byte) error {
	s.mu.Lock()
	if s.has("keeps its lock after an error") && len(b) > 0 && !bytes.HasSuffix(b, []byte("\n")) {
		return errVote
	}
	defer s.mu.Unlock()
	if s.has("locks in either order") {
		runtime.Gosched()
		s.other.Lock()
		defer s.other.Unlock()
	}
	if s.has("keeps its argument") {
		s.kept = b
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	if s.has("merges the first entry alone") {
		lines = lines[:1]
	}
	for _, line := range lines {
		if len(line) == 0 {
			continue
		}
		var v vote
		if s.has("panics on garbage") {
			_ = line[bytes.IndexByte(line, ' '):]
		}
		if n, err := fmt.Sscanf(string(line), "%s %d\n", &v.Name, &v.N); n != 2 || err != nil || v.N < 0 || !bytes.Equal(v.bytes(), line) {
			return errVote
		}
		s.put(v)
	}
	if s.has("keeps a log") || s.has("marshals its log") {
		s.log = append(s.log, bytes.Clone(b))
	}
	return nil
}

func (s *votes) Digest() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := fnv.New64a()
	for _, v := range s.sorted() {
		if s.has("digests the names alone") {
			v.N = 0
		}
		h.Write(v.bytes())
	}
	if s.has("digests what is random") {
		return rand.Uint64(), nil
	}
	return h.Sum64(), nil
}

func (s *votes) EntryIDs() iter.Seq[backend.EntryID] {
	s.mu.Lock()
	all := s.sorted()
	s.mu.Unlock()
	if s.has("lacks an id") {
		all = all[:max(0, len(all)-1)]
	}
	return func(yield func(backend.EntryID) bool) {
		for _, v := range all {
			id := v.id()
			switch s.fault {
			case "has ids of the names alone":
				id = vote{v.Name, 0}.id()
			case "has ids of its own":
				id[0] ^= byte(s.number)
			}
			if !yield(id) {
				return
			}
		}
	}
}

func (s *votes) Entry(id backend.EntryID) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.sorted() {
		if v.id() == id || s.has("has ids of the names alone") && (vote{v.Name, 0}).id() == id {
			if s.has("loses entries") && v.Name == "n0" {
				return nil, nil
			}
			return v.bytes(), nil
		}
	}
	if s.has("has any entry") {
		return []byte("x 1\n"), nil
	}
	return nil, nil
}

// plain, digested and parted are what a state is seen as.
type (
	plain    struct{ s *votes }
	digested struct{ plain }
)

func (p plain) MarshalBinary() ([]byte, error) { return p.s.MarshalBinary() }
func (p plain) Merge(b []byte) error           { return p.s.Merge(b) }
func (d digested) Digest() (uint64, error)     { return d.s.Digest() }

// number numbers the states.
var number atomic.Int64

// made returns a maker of states with a fault.
func made(fault string, see func(*votes) backend.State) Maker {
	all := &votes{fault: fault, all: map[string]int{}}
	return func(testing.TB) Subject {
		s := &votes{fault: fault, number: number.Add(1), all: map[string]int{}}
		if s.has("is the same for all") {
			s = all
		}
		shown := see(s)
		return Subject{
			State: shown, Change: s.change, Content: func() string {
				if s.has("shows nothing") {
					return ""
				}
				if content := s.content(); len(s.kept) == 0 || s.kept[0] == 'n' {
					return content
				}
				return "another one"
			},
			Attach: func(node backend.ClusterChannel, key string) (err error) {
				s.channel, err = node.AddState(key, shown, nil)
				return err
			},
		}
	}
}

func asParted(s *votes) backend.State   { return s }
func asDigested(s *votes) backend.State { return digested{plain{s}} }
func asPlain(s *votes) backend.State    { return plain{s} }

func TestSoundStatesPass(t *testing.T) {
	for name, see := range map[string]func(*votes) backend.State{"parted": asParted, "digested": asDigested, "plain": asPlain} {
		t.Run(name, func(t *testing.T) {
			Check(t, made("", see), nil)
			Simulate(t, made("", see), nil)
			Check(t, func(t testing.TB) Subject {
				s := made("", see)(t)
				s.Content, s.Attach = nil, nil
				return s
			}, nil)
		})
	}
}

// Each breaks one law, and is told which.
func TestMutantsFail(t *testing.T) {
	for _, m := range []struct {
		fault, law string
		see        func(*votes) backend.State
	}{
		{"is the same for all", "maker", asParted},
		{"never changes", "maker", asParted},
		{"shows nothing", "maker", asPlain},
		{"shows nothing", "maker", asParted},
		{"marshals all but the last one", "round trip", asPlain},
		{"merges the first entry alone", "round trip", asPlain},
		{"the last one wins", "commutative", asPlain},
		{"averages", "updates", asPlain},
		{"adds", "idempotent", asPlain},
		{"broadcasts what it does not hold", "updates", asPlain},
		{"broadcasts nothing that is held", "broadcast", asPlain},
		{"broadcasts the names alone", "broadcast", asParted},
		{"digests the names alone", "digest", asDigested},
		{"digests what is random", "round trip", asDigested},
		{"lacks an id", "entries", asParted},
		{"has ids of the names alone", "entries", asParted},
		{"has ids of its own", "round trip", asParted},
		{"loses entries", "entries", asParted},
		{"has any entry", "entries", asParted},
		{"keeps its argument", "arguments", asPlain},
		{"marshals into one buffer", "arguments", asPlain},
		{"marshals what it does not take", "history", asPlain},
		{"locks in either order", "together", asPlain},
		{"panics on garbage", "garbage", asPlain},
		{"keeps its lock after an error", "garbage", asPlain},
		{"keeps a log", "growth", asPlain},
		{"marshals its log", "growth", asPlain},
	} {
		t.Run(m.fault, func(t *testing.T) {
			err := check(t, made(m.fault, m.see), (&Options{Rounds: 30, Patience: time.Second}).filled())
			if err == nil || !strings.HasPrefix(err.Error(), m.law+": ") {
				t.Errorf("%.500v, want %s", err, m.law)
			}
		})
	}
}

// What merges otherwise, or fails, among real nodes is found there.
func TestMutantsFailAmongNodes(t *testing.T) {
	for _, m := range []struct {
		fault, says string // nothing: it passes
		see         func(*votes) backend.State
	}{
		{"is the same for all", "maker", asParted},
		{"never changes", "maker", asParted},
		{"shows nothing", "maker", asPlain},
		{"the last one wins", "co", asDigested}, // they converge, or not; and lose something
		{"lacks an id", "converge", asParted},
		{"loses entries", "converge", asParted},
		{"digests the names alone", "converge", asDigested},
		{"marshals what it does not take", "no call fails", asDigested},
		{"panics on garbage", "", asDigested},
	} {
		t.Run(m.fault, func(t *testing.T) {
			var err error
			for seed := uint64(1); seed < 65 && err == nil; seed++ {
				synctest.Test(t, func(t *testing.T) { err = simulate(t, made(m.fault, m.see), (*SimulateOptions)(nil).filled(), seed) })
			}
			if m.says == "" && err != nil || m.says != "" && (err == nil || !strings.HasPrefix(err.Error(), m.says)) {
				t.Errorf("%.300v, want %q", err, m.says)
			}
		})
	}
}

// A seed makes the same steps again.
func TestStepsAreThoseOfTheSeed(t *testing.T) {
	steps := func(seed uint64) (text string) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, made("", asParted), (*SimulateOptions)(nil).filled(), seed)
			defer c.end()
			if err := c.run(); err != nil {
				t.Error(err)
			}
			text = c.steps.String()
		})
		return text
	}
	first := steps(7)
	if again := steps(7); again != first || len(first) < 1000 {
		t.Errorf("%s\nand then\n%s", first, again)
	}
	if steps(8) == first {
		t.Error("two seeds make the same steps")
	}
}

// What would try nothing is an error, and says what is wanted.
func TestWhatTriesNothing(t *testing.T) {
	sound := made("", asPlain)
	check := func(maker Maker, o Options) error { return check(t, maker, o.filled()) }
	simulated := func(maker Maker, o SimulateOptions) error { return o.filled().usable(maker) }
	for says, err := range map[string]error{
		"Rounds is -1, want at least 1":     check(sound, Options{Rounds: -1}),
		"Changes is -5, want at least 1":    check(sound, Options{Changes: -5}),
		"Patience is -1s, want more than 0": check(sound, Options{Patience: -time.Second}),
		"Runs is -1, want at least 1":       simulated(sound, SimulateOptions{Runs: -1}),
		"Nodes is 1, want 2 to 16":          simulated(sound, SimulateOptions{Nodes: 1}),
		"Nodes is 17, want 2 to 16":         simulated(sound, SimulateOptions{Nodes: 17}),
		"Nodes is -3, want 2 to 16":         simulated(sound, SimulateOptions{Nodes: -3}),
		"For is -1s, want more than 0":      simulated(sound, SimulateOptions{For: -time.Second}),
		"the maker is nil":                  check(nil, Options{}),
		"the maker is nil, want a function": simulated(nil, SimulateOptions{}),
		"the maker returns no State":        check(func(testing.TB) Subject { return Subject{Change: func(*rand.Rand) error { return nil }} }, Options{}),
		"the maker returns no Change":       check(func(testing.TB) Subject { return Subject{State: &random{}} }, Options{}),
	} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// A maker's state that nobody can compare is told so.
func TestAStateThatCannotBeCompared(t *testing.T) {
	err := check(t, func(testing.TB) Subject {
		s := &random{}
		return Subject{State: s, Change: func(*rand.Rand) error { return nil }}
	}, (*Options)(nil).filled())
	if err == nil || !strings.Contains(err.Error(), "Subject.Content") {
		t.Error(err)
	}
}

// random marshals differently each time.
type random struct{}

func (*random) MarshalBinary() ([]byte, error) { return json.Marshal(rand.Uint64()) }
func (*random) Merge([]byte) error             { return nil }
