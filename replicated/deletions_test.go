package replicated_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/replicated"
)

// The deletion of an entry that was set for a time holds against a lasting one that its
// node has never seen.
func TestADeletionHoldsAgainstWhatWasNotSeen(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus, open func(string) backend.ClusterChannel) {
		a, b := attached(t, open("a"), nil), attached(t, open("b"), nil)
		after(time.Second)
		bus.Cut("a", "b", true)
		must(t, a.Set("x", "old"))
		after(time.Second)
		must(t, b.SetTTL("x", "new", 5*time.Second))
		after(time.Second)
		must(t, b.Delete("x"))
		after(20 * time.Second)
		bus.Cut("a", "b", false)
		after(2 * time.Minute)
		holds(t, a)
		holds(t, b)
	})
}

// The end of an entry holds against a lasting one that its node has never seen, once a
// node has it that has.
func TestAnEndHoldsAgainstWhatWasNotSeen(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus, open func(string) backend.ClusterChannel) {
		a, b, c := attached(t, open("a"), nil), attached(t, open("b"), nil), attached(t, open("c"), nil)
		after(time.Second)
		bus.Cut("a", "b", true)
		bus.Cut("b", "c", true)
		must(t, a.Set("x", "1"))
		after(time.Second)
		holds(t, c, "x=1")
		holds(t, b)
		must(t, b.SetTTL("x", "2", 20*time.Second))
		bus.Cut("a", "c", true)
		bus.Cut("a", "b", false)
		after(15 * time.Second)
		holds(t, a, "x=2")
		after(15 * time.Second)
		holds(t, a)
		bus.Cut("a", "c", false)
		bus.Cut("b", "c", false)
		after(2 * time.Minute)
		for _, m := range []*replicated.Map[string, string]{a, b, c} {
			holds(t, m)
		}
		if d, e, f := digest(t, a), digest(t, b), digest(t, c); d != e || e != f {
			t.Errorf("the digests are %x, %x and %x", d, e, f)
		}
	})
}

func digest(t *testing.T, d backend.Digester) uint64 {
	t.Helper()
	sum, err := d.Digest()
	must(t, err)
	return sum
}

// What entries of one key come to, and for how long it is remembered, is the same in
// whatever order and groups they come.
func TestWhatIsRememberedIsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for range 300 {
			var updates [][]byte
			for range 4 { // by nodes that have not seen each other's
				m := newMap[string, string](t, &replicated.Options{Tombstones: time.Minute})
				must(t, m.SetTTL("x", fmt.Sprint(r.IntN(2)), time.Duration(1+r.IntN(200))*time.Second))
				switch r.IntN(6) {
				case 0:
					must(t, m.Set("x", fmt.Sprint(r.IntN(2))))
				case 1:
					must(t, m.Delete("x"))
				case 2:
					must(t, m.SetTTL("x", "again", time.Duration(1+r.IntN(200))*time.Second))
				}
				b, err := m.MarshalBinary()
				must(t, err)
				updates = append(updates, b)
				if r.IntN(2) == 0 {
					after(time.Millisecond)
				}
			}
			var first uint64
			for i := range 5 {
				all, some := newMap[string, string](t, nil), newMap[string, string](t, nil)
				order := r.Perm(len(updates))
				half := r.IntN(len(updates))
				for j, n := range order {
					to := all
					if j < half {
						to = some
					}
					must(t, to.Merge(updates[n]))
				}
				merge(t, some, all)
				if sum := digest(t, all); i == 0 {
					first = sum
				} else if sum != first {
					t.Fatalf("in the order %v it is another state", order)
				}
				merge(t, all, some)
				if digest(t, some) != first {
					t.Fatal("two that have merged each other's differ")
				}
			}
		}
	})
}

// A deletion is remembered in full, also that of what would have ended soon.
func TestDeletionsAreRememberedInFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMap[string, string](t, &replicated.Options{Tombstones: time.Hour})
		must(t, m.SetTTL("x", "1", time.Second))
		must(t, m.Delete("x"))
		after(time.Hour)
		if s := m.Stats(); s.Entries != 0 || s.Tombstones != 1 {
			t.Errorf("%+v", s)
		}
		after(2 * time.Minute) // MaxAhead, and more
		if s := m.Stats(); s != (replicated.Stats{}) {
			t.Errorf("%+v", s)
		}
	})
}

// What ends by itself leaves nothing behind, however often it was set.
func TestWhatEndsLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newMap[string, string](t, nil), newMap[string, string](t, nil)
		for range 10 {
			must(t, a.SetTTL("x", "a", time.Minute))
			both(t, a, b)
			after(time.Second)
			must(t, b.SetTTL("x", "b", time.Minute))
			both(t, a, b)
			after(time.Second)
		}
		after(time.Minute)
		for _, m := range []*replicated.Map[string, string]{a, b} {
			if s := m.Stats(); s != (replicated.Stats{}) {
				t.Errorf("%+v", s)
			}
		}
	})
}

// A node whose clock is behind deletes what others have written, though by its clock the
// deletion is remembered for less than that.
func TestADeletionByAClockThatIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		behind := &wrong{by: -3 * time.Second}
		a, b := newMap[string, string](t, &replicated.Options{Tombstones: time.Second, Now: behind.now}), newMap[string, string](t, &replicated.Options{Tombstones: time.Second})
		must(t, b.Set("x", "1"))
		both(t, a, b)
		after(10 * time.Second)
		must(t, a.Delete("x"))
		both(t, a, b)
		holds(t, a)
		holds(t, b)
	})
}

// Nobody is shown twice that an entry has ended, since another member has what it is to be
// remembered for.
func TestAnEndIsShownOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, other := newMap[string, string](t, nil), newMap[string, string](t, nil)
		must(t, other.Set("x", "lasts"))
		after(time.Second)
		must(t, a.SetTTL("x", "long", time.Hour))
		must(t, a.SetTTL("x", "short", time.Second))
		var seen []string
		watching := make(chan struct{})
		go func() {
			defer close(watching)
			for c := range a.Watch(t.Context()) {
				seen = append(seen, c.Key+c.Value)
			}
		}()
		after(2 * time.Second)
		merge(t, other, a)
		after(time.Second)
		a.Close()
		<-watching
		if want := []string{"xshort", "x"}; !slices.Equal(seen, want) {
			t.Errorf("it saw %q, want %q", seen, want)
		}
		after(2 * time.Hour)
		if s := a.Stats(); s.Tombstones != 1 {
			t.Errorf("%+v", s)
		}
	})
}
