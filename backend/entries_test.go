package backend_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/memory"
)

// shelf is a state of entries, which can be taken apart.
type shelf struct {
	mu       sync.Mutex
	entries  map[backend.EntryID][]byte
	marshals int
	merged   int // entries that were new
	fetched  int
	bad      []byte        // an entry that it does not take
	picky    atomic.Bool   // takes no entry of 500 bytes
	slow     time.Duration // that it takes to merge one
	panics   bool
	twice    bool
}

func newShelf(from, to, size int) *shelf {
	s := &shelf{entries: map[backend.EntryID][]byte{}}
	for i := from; i < to; i++ {
		s.put(entry(i, size))
	}
	return s
}

// entry is the entry of that number and size, behind its length.
func entry(i, size int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(size))
	b = binary.BigEndian.AppendUint64(b, uint64(i))
	return append(b, make([]byte, size-8)...)
}

func (s *shelf) put(b []byte) {
	id := backend.EntryIDOf(b)
	if s.entries[id] == nil {
		s.merged++
		s.entries[id] = b
	}
}

func (s *shelf) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marshals++
	return slices.Concat(slices.Collect(maps.Values(s.entries))...), nil
}

func (s *shelf) Merge(b []byte) error {
	if s.slow > 0 {
		<-time.After(s.slow)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(b) > 0 {
		n := 4 + int(binary.BigEndian.Uint32(b))
		if bytes.Equal(b[:n], s.bad) || s.picky.Load() && n == 504 {
			return errors.New("no such entry")
		}
		s.put(bytes.Clone(b[:n]))
		b = b[n:]
	}
	return nil
}

func (s *shelf) EntryIDs() iter.Seq[backend.EntryID] {
	return func(yield func(backend.EntryID) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.panics {
			panic("a codec that panics")
		}
		for id := range s.entries {
			if !yield(id) || s.twice && !yield(id) {
				return
			}
		}
	}
}

func (s *shelf) Entry(id backend.EntryID) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched++
	return s.entries[id], nil
}

func (s *shelf) has() (entries, marshals int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries), s.marshals
}

// letters is a driver on a bus of package memory that can also send to one member.
type letters struct {
	driver.Driver
	self   driver.Member
	in     chan []byte
	sent   *atomic.Int64 // bytes to one member, of all on that bus
	frames *atomic.Int64
	most   *atomic.Int64 // bytes of the largest frame
}

var post = struct {
	sync.Mutex
	boxes map[string]*letters // by instance
}{boxes: map[string]*letters{}}

// stamps are of what the nodes of one test send to one member.
type stamps struct{ sent, frames, most atomic.Int64 }

var postage atomic.Pointer[stamps]

func init() {
	backend.Register("letters", driver.Backend{Params: memory.Params{}, Local: true, Open: func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		d, err := memory.Open(ctx, o)
		if err != nil {
			return nil, err
		}
		c := postage.Load()
		l := &letters{Driver: d, self: o.Self, in: make(chan []byte, 1024), sent: &c.sent, frames: &c.frames, most: &c.most}
		post.Lock()
		defer post.Unlock()
		post.boxes[o.Self.Instance] = l
		return l, nil
	}})
}

func (l *letters) Caps() driver.Caps {
	caps := l.Driver.Caps()
	caps.Send = func(_ context.Context, to driver.Member, frame []byte) error {
		post.Lock()
		box := post.boxes[to.Instance]
		post.Unlock()
		if box == nil {
			return driver.ErrUnavailable
		}
		l.sent.Add(int64(len(frame)))
		l.frames.Add(1)
		l.most.Store(max(l.most.Load(), int64(len(frame))))
		box.in <- slices.Clone(frame)
		return nil
	}
	return caps
}

// oneByOne has frames handled one by one, wherever they come from.
type oneByOne struct {
	driver.Handler
	mu *sync.Mutex
}

func (h oneByOne) Frame(b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Handler.Frame(b)
}

func (l *letters) Serve(ctx context.Context, h driver.Handler) error {
	one := oneByOne{h, new(sync.Mutex)}
	var reads sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	reads.Go(func() {
		for {
			select {
			case b := <-l.in:
				one.Frame(b)
			case <-ctx.Done():
				return
			}
		}
	})
	defer reads.Wait()
	defer cancel()
	return l.Driver.Serve(ctx, one)
}

func (l *letters) Close(ctx context.Context) error {
	post.Lock()
	if post.boxes[l.self.Instance] == l {
		delete(post.boxes, l.self.Instance)
	}
	post.Unlock()
	return l.Driver.Close(ctx)
}

// inLetters runs f in virtual time on a bus whose nodes can send to one member.
func inLetters(t *testing.T, f func(t *testing.T, add func(name string, states ...backend.State) backend.ClusterChannel, c *stamps)) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		c := new(stamps)
		postage.Store(c)
		f(t, func(name string, states ...backend.State) backend.ClusterChannel {
			ch := open(t, bus, name, func(c *backend.Config) { c.Backend, c.Timing.Sync = "letters", 10*time.Second })
			for i, s := range states {
				if _, err := ch.AddState(fmt.Sprintf("s%02d", i), s, nil); err != nil {
					t.Fatal(err)
				}
			}
			return ch
		}, c)
	})
}

// Ten of 250,000 entries of 200 bytes differ: 50 MB stay where they are.
func TestOnlyEntriesThatDifferMove(t *testing.T) {
	const n = 250_000
	inLetters(t, func(t *testing.T, add func(string, ...backend.State) backend.ClusterChannel, c *stamps) {
		a := newShelf(0, n, 196)
		b := &shelf{entries: maps.Clone(a.entries)}
		add("a", a)
		add("b", b)
		after(15 * time.Second)
		a.mu.Lock()
		b.mu.Lock()
		for i := range 5 {
			a.put(entry(n+i, 196))
			b.put(entry(n+5+i, 196))
		}
		a.mu.Unlock()
		b.mu.Unlock()
		before, frames := c.sent.Load(), c.frames.Load()
		after(15 * time.Second)
		x, marshalsA := a.has()
		y, marshalsB := b.has()
		if x != n+10 || y != n+10 {
			t.Errorf("they have %d and %d, want %d", x, y, n+10)
		}
		if sent := c.sent.Load() - before; sent > 64<<10 {
			t.Errorf("%d bytes were sent", sent)
		} else {
			t.Logf("%d bytes in %d frames", sent, c.frames.Load()-frames)
		}
		if marshalsA+marshalsB > 0 {
			t.Errorf("%d and %d whole states were marshalled", marshalsA, marshalsB)
		}
	})
}

// A comparison of equal states costs at most 1 KB, of one or of 64.
func TestEqualEntriesCostLittle(t *testing.T) {
	for _, states := range []int{1, 64} {
		t.Run(fmt.Sprint(states), func(t *testing.T) {
			inLetters(t, func(t *testing.T, add func(string, ...backend.State) backend.ClusterChannel, c *stamps) {
				var a, b []backend.State
				for i := range states {
					one := newShelf(1000*i, 1000*(i+1), 100)
					a, b = append(a, one), append(b, &shelf{entries: maps.Clone(one.entries), twice: true})
				}
				add("a", a...)
				add("b", b...)
				after(15 * time.Second)
				before := c.sent.Load()
				after(60 * time.Second) // in which each asks six times, or seven
				if sent := c.sent.Load() - before; sent > 12*1024 {
					t.Errorf("%d bytes", sent)
				} else {
					t.Logf("%d bytes an exchange", sent/12)
				}
			})
		})
	}
}

// A joiner gets a state once, in pieces, though the one that it has them from goes on
// the way.
func TestAJoinerResumesFromAnother(t *testing.T) {
	const n, size = 20_000, 996
	inLetters(t, func(t *testing.T, add func(string, ...backend.State) backend.ClusterChannel, c *stamps) {
		states := map[string]*shelf{"a": newShelf(0, n, size)}
		states["b"] = &shelf{entries: maps.Clone(states["a"].entries)}
		nodes := map[string]backend.ClusterChannel{"a": add("a", states["a"]), "b": add("b", states["b"])}
		after(15 * time.Second)
		before := c.sent.Load()
		joiner := newShelf(0, 0, size)
		joiner.slow = 50 * time.Microsecond
		ch := add("c", joiner)
		for got := 0; got < n/3; got, _ = joiner.has() {
			after(time.Millisecond)
		}
		source := "a"
		if states["b"].fetched > 0 {
			source = "b"
		}
		if err := nodes[source].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := ch.WaitReady(t.Context()); err != nil || len(ch.View().Unready) > 0 {
			t.Errorf("%v, unready are %v", err, ch.View().Unready)
		}
		got, _ := joiner.has()
		sent := c.sent.Load() - before
		if got != n || sent > n*(size+4)*115/100 {
			t.Errorf("it has %d of %d, and %d bytes were sent", got, n, sent)
		}
		if most := c.most.Load(); most > 8<<20/4 {
			t.Errorf("a frame has %d bytes", most)
		}
		t.Logf("%d bytes of %d", sent, n*(size+4))
	})
}

// An entry that one does not take stays aside, and keeps no other from being merged,
// nor the node from being ready. A state whose ids panic is one that fails.
func TestABadEntryStopsNobody(t *testing.T) {
	inLetters(t, func(t *testing.T, add func(string, ...backend.State) backend.ClusterChannel, c *stamps) {
		a, b, ill := newShelf(0, 1000, 100), newShelf(0, 0, 100), newShelf(0, 10, 100)
		b.bad, ill.panics = entry(500, 100), true
		add("a", a, ill)
		after(5 * time.Second)
		ch := add("b", b, newShelf(0, 0, 100))
		after(5 * time.Second)
		if got, _ := b.has(); got != 999 {
			t.Errorf("it has %d of 999", got)
		}
		after(15 * time.Second)
		if v := ch.View(); !slices.Equal(v.Unready, []string{"s01"}) {
			t.Errorf("unready are %v", v.Unready)
		}
	})
}

// An entry larger than a piece comes alone, and one that two members have in another
// order is the same.
func TestLargeEntries(t *testing.T) {
	inLetters(t, func(t *testing.T, add func(string, ...backend.State) backend.ClusterChannel, c *stamps) {
		a, b := newShelf(0, 3, 5<<20), newShelf(3, 100, 100)
		add("a", a)
		after(5 * time.Second)
		add("b", b)
		after(15 * time.Second)
		x, _ := a.has()
		y, _ := b.has()
		if x != 100 || y != 100 {
			t.Errorf("they have %d and %d of 100", x, y)
		}
	})
}

// digested is a shelf that also has a digest, and older one as a node of a version knows
// it that has no entries.
type digested struct{ *shelf }

func (d digested) Digest() (sum uint64, _ error) {
	for id := range d.EntryIDs() {
		sum += binary.BigEndian.Uint64(id[:])
	}
	return sum, nil
}

type older struct {
	backend.State
	backend.Digester
}

// A node of a version that knew no entries compares by the digest that it knows: it
// gets whole states until it is equal, and none afterwards, whoever asks whom.
func TestEntriesBesideAnOlderNode(t *testing.T) {
	inLetters(t, func(t *testing.T, add func(string, ...backend.State) backend.ClusterChannel, c *stamps) {
		a, b := digested{newShelf(0, 100, 100)}, digested{newShelf(50, 150, 100)}
		add("a", a)
		add("b", older{b, b})
		after(60 * time.Second)
		x, marshalsA := a.has()
		y, marshalsB := b.has()
		if x != 150 || y != 150 {
			t.Errorf("they have %d and %d of 150", x, y)
		}
		before := c.sent.Load()
		after(60 * time.Second)
		_, laterA := a.has()
		_, laterB := b.has()
		if laterA != marshalsA || laterB != marshalsB {
			t.Errorf("%d and %d whole states of equals were marshalled", laterA-marshalsA, laterB-marshalsB)
		}
		if sent := c.sent.Load() - before; sent > 12*1024 {
			t.Errorf("%d bytes of equals were sent", sent)
		}
	})
}

// What a member refuses is not moved again with each comparison, whoever asks. What it
// takes gets through meanwhile, and all of it does once it takes that too.
func TestRefusedEntriesAreNotMovedForEver(t *testing.T) {
	const n, size = 8_000, 504
	inLetters(t, func(t *testing.T, add func(string, ...backend.State) backend.ClusterChannel, c *stamps) {
		a, b := newShelf(0, n, size-4), newShelf(n, n+10, 100)
		b.picky.Store(true)
		add("a", a)
		after(5 * time.Second)
		add("b", b)
		after(60 * time.Second)
		if got, _ := b.has(); got != 10 {
			t.Errorf("it has %d, and refuses all but 10", got)
		}
		if got, _ := a.has(); got != n+10 {
			t.Errorf("the other one has %d of %d", got, n+10)
		}
		before := c.sent.Load()
		after(20 * time.Minute) // in which each asks 120 times
		if sent := c.sent.Load() - before; sent > 8*n*size {
			t.Errorf("%d bytes were sent for %d that are refused", sent, n*size)
		} else {
			t.Logf("%d bytes for %d that are refused", sent, n*size)
		}
		b.picky.Store(false)
		after(time.Hour)
		if got, _ := b.has(); got != n+10 {
			t.Errorf("it has %d of %d that it takes now", got, n+10)
		}
	})
}

// A joiner that takes longer than a period gets a state once: the others, which compare
// with it meanwhile, give it nothing that it asks for itself.
func TestASlowJoinerGetsAStateOnce(t *testing.T) {
	const n, size = 8_000, 996
	inLetters(t, func(t *testing.T, add func(string, ...backend.State) backend.ClusterChannel, c *stamps) {
		a := newShelf(0, n, size)
		add("a", a)
		add("b", &shelf{entries: maps.Clone(a.entries)})
		after(15 * time.Second)
		before := c.sent.Load()
		joiner := newShelf(n, n+10, size)
		joiner.slow = 5 * time.Millisecond
		add("c", joiner)
		after(3 * time.Minute)
		if got, _ := joiner.has(); got != n+10 {
			t.Errorf("it has %d of %d", got, n+10)
		}
		if got, _ := a.has(); got != n+10 {
			t.Errorf("who was there has %d of %d", got, n+10)
		}
		if sent := c.sent.Load() - before; sent > n*(size+4)*115/100 {
			t.Errorf("%d bytes were sent, of a state of %d", sent, n*(size+4))
		} else {
			t.Logf("%d bytes of %d", sent, n*(size+4))
		}
	})
}
