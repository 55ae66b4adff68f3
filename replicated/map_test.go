package replicated_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/replicated"
)

// bubble runs f in virtual time; open opens a node on its bus.
func bubble(t *testing.T, f func(t *testing.T, bus *memory.Bus, open func(name string) backend.ClusterChannel)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		bus := memory.NewBus()
		t.Cleanup(bus.Remove)
		f(t, bus, func(name string) backend.ClusterChannel {
			node, err := backend.Open(t.Context(), backend.Config{
				Backend: "memory", Cluster: "t", Name: name, Params: map[string]string{"bus": bus.Name()},
				Logger: slog.New(slog.DiscardHandler), MaxPayload: 64 << 10,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := node.Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
			return node
		})
	})
}

func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// newMap returns a map that the test closes.
func newMap[K comparable, V any](t *testing.T, o *replicated.Options) *replicated.Map[K, V] {
	t.Helper()
	m, err := replicated.NewMap[K, V](o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// attached returns a map that is attached to a node.
func attached(t *testing.T, node backend.ClusterChannel, o *replicated.Options) *replicated.Map[string, string] {
	t.Helper()
	m := newMap[string, string](t, o)
	must(t, m.Attach(node, "m"))
	return m
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// holds fails unless a map holds just these pairs, which are key=value.
func holds(t *testing.T, m *replicated.Map[string, string], want ...string) {
	t.Helper()
	var got []string
	for k, v := range m.All() {
		got = append(got, k+"="+v)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("it holds %q, want %q", got, want)
	}
	if m.Len() != len(want) {
		t.Errorf("its length is %d, want %d", m.Len(), len(want))
	}
}

// merge gives all that one holds to another.
func merge(t *testing.T, from, to backend.State) {
	t.Helper()
	b, err := from.MarshalBinary()
	must(t, err)
	must(t, to.Merge(b))
}

func TestMapOfThreeNodes(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Bus, open func(string) backend.ClusterChannel) {
		a, b := attached(t, open("a"), nil), attached(t, open("b"), nil)
		must(t, a.Set("x", "1"))
		must(t, b.Set("y", "2"))
		after(time.Second)
		must(t, b.Set("x", "3"))
		must(t, a.Delete("y"))
		after(time.Second)
		c := attached(t, open("c"), nil)
		after(2 * time.Second)
		for _, m := range []*replicated.Map[string, string]{a, b, c} {
			holds(t, m, "x=3")
			if v, ok := m.Get("x"); v != "3" || !ok {
				t.Errorf("x is %q, %v", v, ok)
			}
			if v, ok := m.Get("y"); v != "" || ok {
				t.Errorf("y is %q, %v", v, ok)
			}
		}
	})
}

// What is set before a map is attached, and while its node is detached, reaches the
// others later.
func TestMapWithoutACluster(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus, open func(string) backend.ClusterChannel) {
		early := newMap[string, string](t, nil)
		must(t, early.Set("early", "1"))
		other := attached(t, open("a"), nil)
		must(t, early.Attach(open("b"), "m"))
		after(2 * time.Second)
		holds(t, other, "early=1")
		bus.Stop()
		after(30 * time.Second)
		must(t, early.Set("late", "2"))
		must(t, other.Delete("early"))
		bus.Start()
		after(time.Minute)
		holds(t, other, "late=2")
		holds(t, early, "late=2")
	})
}

func TestEntriesExpire(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Bus, open func(string) backend.ClusterChannel) {
		o := &replicated.Options{Tombstones: time.Minute}
		a, b := attached(t, open("a"), o), attached(t, open("b"), o)
		must(t, a.SetTTL("x", "1", 10*time.Second))
		must(t, a.Set("y", "lasts"))
		after(9 * time.Second)
		must(t, a.SetTTL("y", "ends", 10*time.Second))
		after(500 * time.Millisecond)
		holds(t, b, "x=1", "y=ends")
		after(time.Second)
		holds(t, b, "y=ends")
		after(10 * time.Second)
		for _, m := range []*replicated.Map[string, string]{a, b} {
			holds(t, m)
			if s := m.Stats(); s.Tombstones != 1 { // of y, which lasted before
				t.Errorf("%+v", s)
			}
			if _, ok := m.Get("y"); ok {
				t.Error("y is there")
			}
		}
		after(3 * time.Minute) // Tombstones, MaxAhead, and more
		for _, m := range []*replicated.Map[string, string]{a, b} {
			if s := m.Stats(); s.Tombstones != 0 || s.Bytes != 0 {
				t.Errorf("%+v", s)
			}
			for range m.EntryIDs() {
				t.Error("there is an entry")
			}
		}
	})
}

// A deletion, and one that comes by the end of a short value, hold against a member that
// was away with the former value; a deletion that is forgotten does not.
func TestDeletionsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, away := newMap[string, string](t, nil), newMap[string, string](t, nil)
		must(t, a.Set("x", "1"))
		must(t, a.Set("y", "2"))
		merge(t, a, away)
		must(t, a.Delete("x"))
		must(t, a.SetTTL("y", "3", time.Minute))
		after(time.Hour)
		merge(t, away, a)
		holds(t, a)
		merge(t, a, away)
		holds(t, away)

		must(t, a.Set("z", "4"))
		merge(t, a, away)
		must(t, a.Delete("z"))
		after(25 * time.Hour)
		merge(t, away, a)
		holds(t, a, "z=4")
	})
}

// wrong is a clock that is wrong.
type wrong struct {
	mu sync.Mutex
	by time.Duration
}

func (w *wrong) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.by)
}

func (w *wrong) set(by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.by = by
}

// Who has seen a write of a clock that is ahead writes later than it, and keeps its own
// clock.
func TestAClockThatIsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead := &wrong{by: 5 * time.Hour}
		a, b, c := newMap[string, string](t, &replicated.Options{Now: ahead.now}), newMap[string, string](t, nil), newMap[string, string](t, nil)
		must(t, a.Set("x", "ahead"))
		merge(t, a, b)
		if s := b.Stats(); s.Ahead != 1 {
			t.Errorf("%+v", s)
		}
		must(t, b.Set("x", "later"))
		must(t, b.Set("y", "b"))
		after(2 * time.Minute)
		must(t, c.Set("y", "c")) // two minutes later, and b's clock was moved by one at most
		for range 2 {
			merge(t, b, c)
			merge(t, c, b)
			merge(t, b, a)
		}
		for _, m := range []*replicated.Map[string, string]{a, b, c} {
			holds(t, m, "x=later", "y=c")
		}
		// The clock is put right: what it wrote can still be written, by itself too.
		ahead.set(0)
		must(t, a.Set("x", "again"))
		must(t, a.Set("z", "a"))
		merge(t, a, b)
		holds(t, b, "x=again", "y=c", "z=a")
		after(2 * time.Minute)
		must(t, c.Set("z", "c"))
		merge(t, c, a)
		holds(t, a, "x=again", "y=c", "z=c")
	})
}

// A clock that is more than a day ahead is refused until it is right.
func TestAClockOfAnotherCentury(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		future := &wrong{by: 100 * 365 * 24 * time.Hour}
		a, b := newMap[string, string](t, &replicated.Options{Now: future.now}), newMap[string, string](t, nil)
		must(t, a.Set("x", "1"))
		all, err := a.MarshalBinary()
		must(t, err)
		if err := b.Merge(all); !errors.Is(err, replicated.ErrAhead) || !strings.Contains(err.Error(), `"x"`) {
			t.Error(err)
		}
		if s := b.Stats(); s.Refused != 1 || s.Entries != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A clock that was years ahead, and is put right, holds nothing in the way.
func TestAClockThatWasYearsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		future := &wrong{by: 10 * 365 * 24 * time.Hour}
		a, b := newMap[string, string](t, &replicated.Options{Now: future.now}), newMap[string, string](t, nil)
		for _, k := range []string{"x", "y", "z"} {
			must(t, a.Set(k, "ahead"))
		}
		future.set(0)
		must(t, a.Set("x", "again"))
		must(t, a.Delete("y"))
		must(t, b.Set("z", "b"))
		both(t, b, a)
		holds(t, a, "x=again", "z=b")
		holds(t, b, "x=again", "z=b")
	})
}

// In whatever order entries come, one of them wins on all.
func TestTheSameOneWins(t *testing.T) {
	now := func() time.Time { return time.UnixMilli(1e12) } // all at one time
	var updates [][]byte
	for _, v := range []string{"1", "2", "3", ""} {
		m := newMap[string, string](t, &replicated.Options{Now: now})
		must(t, m.Set("x", cmp.Or(v, "4")))
		if v == "" {
			must(t, m.Delete("x"))
		}
		b, err := m.MarshalBinary()
		must(t, err)
		updates = append(updates, b)
	}
	var digests = map[uint64]bool{}
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 1, 3, 0, 2, 2}} {
		m := newMap[string, string](t, &replicated.Options{Now: now})
		for _, i := range order {
			must(t, m.Merge(updates[i]))
		}
		d, err := m.Digest()
		must(t, err)
		digests[d] = true
	}
	if len(digests) != 1 {
		t.Errorf("%d outcomes", len(digests))
	}
}

func TestAFullMap(t *testing.T) {
	o := &replicated.Options{MaxEntries: 2, MaxBytes: 1000}
	m, other := newMap[string, string](t, o), newMap[string, string](t, o)
	must(t, m.Set("a", "1"))
	must(t, m.Set("b", "2"))
	err := m.Set("c", "3")
	if !errors.Is(err, replicated.ErrFull) || !strings.Contains(err.Error(), `"c"`) {
		t.Error(err)
	}
	if err := m.Set("a", strings.Repeat("1", 2000)); !errors.Is(err, replicated.ErrFull) {
		t.Error(err)
	}
	must(t, m.Set("a", strings.Repeat("1", 600)))
	must(t, m.Set("a", strings.Repeat("1", 700))) // it takes the place of the former one
	grown := 701
	for ; grown < 2000 && m.Set("a", strings.Repeat("1", grown)) == nil; grown++ {
	}
	if want := 1000 - len("a") - len("b2"); grown != want+1 {
		t.Errorf("there was room for %d bytes beside others, want %d", grown-1, want)
	}
	must(t, m.Set("a", "4"))
	must(t, m.Delete("b"))
	if err := m.Set("c", "3"); !errors.Is(err, replicated.ErrFull) || !strings.Contains(err.Error(), "deletions") {
		t.Error(err)
	}
	// What two halves of a cluster wrote finds room; more does not.
	must(t, other.Set("x", "1"))
	must(t, other.Set("y", "2"))
	merge(t, other, m)
	holds(t, m, "a=4", "x=1", "y=2")
	third := newMap[string, string](t, nil)
	must(t, third.Set("z", "1"))
	all, err := third.MarshalBinary()
	must(t, err)
	if err := m.Merge(all); !errors.Is(err, replicated.ErrFull) {
		t.Error(err)
	}
}

func TestAClosedMap(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Bus, open func(string) backend.ClusterChannel) {
		node := open("a")
		m := attached(t, node, nil)
		must(t, m.Set("x", "1"))
		must(t, m.SetTTL("y", "1", time.Hour))
		watching := make(chan struct{})
		go func() {
			defer close(watching)
			for range m.Watch(t.Context()) {
			}
		}()
		synctest.Wait()
		m.Close()
		m.Close()
		<-watching
		for what, err := range map[string]error{
			"Set": m.Set("x", "2"), "SetTTL": m.SetTTL("x", "2", time.Hour), "Delete": m.Delete("x"),
			"Attach": m.Attach(node, "again"),
		} {
			if !errors.Is(err, backend.ErrClosed) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if v, ok := m.Get("x"); v != "1" || !ok {
			t.Errorf("%q, %v", v, ok)
		}
		for c := range m.Watch(t.Context()) { // what is there, and no more
			if c.Deleted {
				t.Error(c)
			}
		}
		attached(t, node, nil) // the key is free again
	})
}

// A watch of what is closed ends, also if both begin at once.
func TestAWatchOfWhatIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			m := newMap[string, string](t, nil)
			s := newSet(t, nil)
			c, err := replicated.NewCounter(nil)
			must(t, err)
			g, err := replicated.NewGrowCounter(nil)
			must(t, err)
			r, err := replicated.NewRegister[string](nil)
			must(t, err)
			var all sync.WaitGroup
			watch := func() {
				all.Go(func() {
					for range m.Watch(t.Context()) {
					}
				})
				all.Go(func() {
					for range s.Watch(t.Context()) {
					}
				})
				all.Go(func() {
					for range c.Watch(t.Context()) {
					}
				})
				all.Go(func() {
					for range g.Watch(t.Context()) {
					}
				})
				all.Go(func() {
					for range r.Watch(t.Context()) {
					}
				})
			}
			watch()
			for _, f := range []func(){m.Close, s.Close, c.Close, g.Close, r.Close} {
				all.Go(f)
			}
			all.Wait()
			watch()
			all.Wait()
		}
	})
}

// Things may be closed in any order, and a closed map can still be stored.
func TestANodeIsClosedFirst(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Bus, open func(string) backend.ClusterChannel) {
		node, other := open("a"), newMap[string, string](t, nil)
		m := attached(t, node, nil)
		must(t, m.SetTTL("x", "1", time.Minute))
		must(t, node.Close(t.Context()))
		for what, err := range map[string]error{"Set": m.Set("y", "2"), "SetTTL": m.SetTTL("y", "2", time.Hour), "Delete": m.Delete("x")} {
			if !errors.Is(err, backend.ErrClosed) { // nobody would hear of it
				t.Errorf("%s: %v", what, err)
			}
		}
		holds(t, m, "x=1")
		m.Close()
		must(t, other.Set("z", "3"))
		merge(t, other, m)
		holds(t, m, "x=1", "z=3")
		after(time.Hour)
		holds(t, m, "z=3")
	})
}

func TestAttachedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Bus, open func(string) backend.ClusterChannel) {
		m := attached(t, open("a"), nil)
		if err := m.Attach(open("b"), "m"); !errors.Is(err, backend.ErrConfig) {
			t.Error(err)
		}
	})
}

// A value above max_payload is an error, and not kept.
func TestAValueAboveMaxPayload(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Bus, open func(string) backend.ClusterChannel) {
		m := attached(t, open("a"), nil)
		must(t, m.Set("x", "1"))
		err := m.Set("x", strings.Repeat("1", 64<<10))
		if !errors.Is(err, backend.ErrTooLarge) || !strings.Contains(err.Error(), `"x"`) || !strings.Contains(err.Error(), "max_payload") {
			t.Error(err)
		}
		holds(t, m, "x=1")
	})
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]replicated.Options{
		"MaxEntries": {MaxEntries: -1}, "MaxBytes": {MaxBytes: -1}, "Tombstones": {Tombstones: time.Millisecond},
		"MaxAhead": {MaxAhead: 2 * time.Hour}, "Type": {Type: strings.Repeat("t", 256)},
		"codec of a key":   {Key: replicated.Codec{Marshal: func(any) ([]byte, error) { return nil, nil }}},
		"codec of a value": {Value: replicated.Codec{Unmarshal: func([]byte, any) error { return nil }}},
	} {
		if _, err := replicated.NewMap[string, int](&o); !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := newMap[string, string](t, nil)
	if err := m.SetTTL("x", "1", 0); !errors.Is(err, backend.ErrConfig) {
		t.Error(err)
	}
}

func TestWatch(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Bus, open func(string) backend.ClusterChannel) {
		a, b := attached(t, open("a"), nil), attached(t, open("b"), nil)
		must(t, a.Set("x", "1"))
		after(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var seen []string
		var watching sync.WaitGroup
		hold := make(chan struct{}, 100)
		watching.Go(func() {
			for c := range b.Watch(ctx) {
				mu.Lock()
				seen = append(seen, fmt.Sprintf("%s=%s %v", c.Key, c.Value, c.Deleted))
				mu.Unlock()
				<-hold
			}
		})
		synctest.Wait()
		for i := range 1000 { // it sees the first, and the last
			must(t, a.Set("y", fmt.Sprint(i)))
			if i == 0 {
				hold <- struct{}{}
				synctest.Wait()
			}
		}
		after(time.Second)
		must(t, b.Delete("x"))
		must(t, a.SetTTL("z", "1", time.Second))
		after(time.Second / 2)
		for range 50 {
			hold <- struct{}{}
		}
		after(2 * time.Second)
		cancel()
		watching.Wait()
		mu.Lock()
		defer mu.Unlock()
		want := []string{"x=1 false", "y=0 false", "y=999 false", "x= true", "z=1 false", "z= true"}
		if !slices.Equal(seen, want) {
			t.Errorf("it saw %q, want %q", seen, want)
		}
	})
}

// A watcher that never reads costs no more than a bound, and starts over.
func TestAWatcherThatFallsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMap[string, string](t, &replicated.Options{MaxEntries: 10})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		mirror, restarts := map[string]string{}, 0
		hold := make(chan struct{})
		done := make(chan struct{})
		must(t, m.Set("first", "1"))
		go func() {
			defer close(done)
			for c := range m.Watch(ctx) {
				switch {
				case c.Restart:
					clear(mirror)
					restarts++
				case c.Deleted:
					delete(mirror, c.Key)
				default:
					mirror[c.Key] = c.Value
				}
				<-hold
			}
		}()
		synctest.Wait()
		for i := range 100 {
			must(t, m.SetTTL(fmt.Sprint(i), "short", time.Second))
			after(time.Second)
		}
		must(t, m.Set("last", "2"))
		must(t, m.Delete("first"))
		close(hold)
		synctest.Wait()
		cancel()
		<-done
		if want := map[string]string{"last": "2"}; restarts != 1 || !maps.Equal(mirror, want) {
			t.Errorf("after %d restarts it has %q, want %q", restarts, mirror, want)
		}
	})
}
