package reconcile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
)

// ids returns the ids of the entries from to to, which look random.
func ids(from, to int) (all []ID) {
	for i := from; i < to; i++ {
		var id ID
		binary.LittleEndian.PutUint64(id[:], mark(uint64(2*i+1)))
		binary.LittleEndian.PutUint64(id[8:], mark(uint64(2*i+2)))
		all = append(all, id)
	}
	return all
}

// counted returns ids that are alike: a service's own, with a number at the end.
func counted(from, to int) (all []ID) {
	for i := from; i < to; i++ {
		var id ID
		binary.BigEndian.PutUint64(id[8:], uint64(i))
		all = append(all, id)
	}
	return all
}

// cost is what an exchange took.
type cost struct{ rounds, asked, answered, looked int }

// exchange walks from the one set to the other, entries pieces at a time, and
// returns what each got.
func exchange(t testing.TB, here, there []ID, salt uint64, pieces int) (got, gave []ID, c cost) {
	t.Helper()
	mine, theirs := NewView(slices.Clone(here), salt), NewView(slices.Clone(there), salt)
	sketch := theirs.Sketch(uint64(mine.Len()))
	c.answered = 8 * len(sketch)
	w, err := NewWalk(mine, sketch)
	if err != nil {
		t.Fatal(err)
	}
	for {
		q := w.Next()
		if q == nil {
			return got, w.Gives(mine.Len()), c
		}
		f, err := theirs.Find(q)
		if err != nil {
			t.Fatal(err)
		}
		f.Cut(pieces)
		got = append(got, f.IDs...)
		c.rounds++
		c.looked += f.Looked
		c.asked += 16*len(q.Splits) + 18*len(q.Lists)
		for _, l := range q.Lists {
			c.asked += 8 * len(l.Places)
		}
		c.answered += 8 * (len(f.Prints) + len(f.Wants))
		if err := w.Took(&f.Reply, len(f.IDs)); err != nil {
			t.Fatal(err)
		}
		if c.rounds > 100_000 {
			t.Fatal("it does not end")
		}
	}
}

func sorted(all []ID) []ID {
	_, distinct := Digest(slices.Clone(all))
	return distinct
}

func minus(a, b []ID) []ID {
	has := map[ID]bool{}
	for _, id := range b {
		has[id] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(id ID) bool { return has[id] })
}

func TestBothGetWhatTheyLack(t *testing.T) {
	for _, of := range []func(from, to int) []ID{ids, counted} {
		for _, c := range []struct {
			name        string
			here, there []ID
		}{
			{"both empty", nil, nil},
			{"nothing here", nil, of(0, 1000)},
			{"nothing there", of(0, 1000), nil},
			{"equal", of(0, 1000), of(0, 1000)},
			{"one less", of(0, 999), of(0, 1000)},
			{"one more", of(0, 1000), of(0, 999)},
			{"one of each", of(0, 999), of(1, 1000)},
			{"nothing in common", of(0, 1000), of(1000, 3000)},
			{"half", of(0, 10_000), of(5000, 15_000)},
			{"one entry each", of(0, 1), of(1, 2)},
			{"few beside many", of(0, 3), of(2, 20_000)},
			{"many beside few", of(2, 20_000), of(0, 3)},
		} {
			for _, pieces := range []int{1, 7, MaxFound} {
				if pieces == 1 && len(c.here)+len(c.there) > 3000 {
					continue
				}
				t.Run(fmt.Sprintf("%s, %d at once", c.name, pieces), func(t *testing.T) {
					got, gave, _ := exchange(t, c.here, c.there, 42, pieces)
					if want := minus(c.there, c.here); !slices.Equal(sorted(got), sorted(want)) || len(got) != len(want) {
						t.Errorf("got %d, want %d", len(got), len(want))
					}
					if want := minus(c.here, c.there); !slices.Equal(sorted(gave), sorted(want)) || len(gave) != len(want) {
						t.Errorf("gave %d, want %d", len(gave), len(want))
					}
				})
			}
		}
	}
}

func TestRandomSets(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		all := ids(0, 1+r.IntN(5000))
		var here, there []ID
		only, both := r.Float64(), r.Float64()
		for _, id := range all {
			switch {
			case r.Float64() < both:
				here, there = append(here, id), append(there, id)
			case r.Float64() < only:
				here = append(here, id)
			default:
				there = append(there, id)
			}
		}
		got, gave, c := exchange(t, here, there, r.Uint64(), 1+r.IntN(300))
		if !slices.Equal(sorted(got), sorted(minus(there, here))) || !slices.Equal(sorted(gave), sorted(minus(here, there))) {
			t.Fatalf("seed %d: %+v", seed, c)
		}
	}
}

// Members of all versions have the same places.
func TestAPlaceIsAHash(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	for range 1000 {
		salt, id := r.Uint64(), ids(r.IntN(1000), 1001)[0]
		if got, want := newSalted(salt).place(&id), xxhash.Sum64(append(binary.LittleEndian.AppendUint64(nil, salt), id[:]...)); got != want {
			t.Fatalf("the place of %x under %x is %x, want %x", id, salt, got, want)
		}
	}
}

func TestASetIsOneWhateverTheOrder(t *testing.T) {
	a := ids(0, 1000)
	b := append(slices.Clone(a), a[:10]...)
	slices.Reverse(b)
	x, one := Digest(slices.Clone(a))
	if y, other := Digest(slices.Clone(b)); x != y || !slices.Equal(one, other) {
		t.Errorf("%d and %d ids have other digests", len(one), len(other))
	}
	if v, w := NewView(slices.Clone(a), 1), NewView(b, 1); !slices.Equal(v.ids, w.ids) {
		t.Errorf("%d and %d ids have other views", v.Len(), w.Len())
	}
	if y, _ := Digest(a[1:]); x == y {
		t.Error("another set has the same digest")
	}
}

// Many ids are put in order in place, and a view of them has little besides them.
func TestIDsTakeLittleRoom(t *testing.T) {
	const n = 200_000
	all := ids(0, n)
	allocated := func(f func()) int {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return int(after.TotalAlloc - before.TotalAlloc)
	}
	if room := allocated(func() { NewView(all, 7) }); room > 18*n {
		t.Errorf("a view of %d ids takes %d bytes, want 16 an id and little more", n, room)
	}
	if room := allocated(func() { Digest(all) }); room > 2*n {
		t.Errorf("a digest of %d ids takes %d bytes, want few", n, room)
	}
}

// Whatever ids look like, they are put in their order, and the digest is of them in it:
// other versions compute the same.
func TestIDsInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, of := range map[string]func(i int) (id ID){
		"random":           func(i int) ID { return ids(i, i+1)[0] },
		"counted":          func(i int) ID { return counted(i, i+1)[0] },
		"counted in front": func(i int) (id ID) { binary.LittleEndian.PutUint64(id[:], uint64(i)); return id },
		"alike in front":   func(i int) (id ID) { binary.BigEndian.PutUint64(id[5:], mark(uint64(i))); return id },
		"one of two":       func(i int) (id ID) { id[15], id[3] = byte(i%2), 7; return id },
		"far apart":        func(i int) (id ID) { id[0] = byte(i%2) << 7; binary.BigEndian.PutUint16(id[14:], uint16(i)); return id },
		"all the same":     func(int) ID { return ID{1, 2, 3} },
	} {
		for _, n := range []int{0, 1, 2, 3, 4, 5, 100, 5000} {
			var all []ID
			for i := range n {
				all = append(all, of(i))
			}
			r.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
			want := slices.Clone(all)
			slices.SortFunc(want, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
			want = slices.Compact(want)
			digest, set := Digest(all)
			sum := sha256.New()
			for _, id := range want {
				sum.Write(id[:])
			}
			if !slices.Equal(set, want) || digest != binary.LittleEndian.Uint64(sum.Sum(nil)) {
				t.Errorf("%d that are %s are not in order", n, name)
			}
		}
	}
}

// docs/protocol.md says what a comparison costs.
func TestCosts(t *testing.T) {
	for _, c := range []struct {
		name          string
		of            func(from, to int) []ID
		entries, diff int
		rounds, bytes int
	}{
		{"one of 10,000", ids, 10_000, 1, 1, 8 << 10},
		{"ten of 250,000", ids, 250_000, 10, 2, 48 << 10},
		{"ten of 250,000, counted", counted, 250_000, 10, 2, 48 << 10},
		{"a thousand of 250,000", ids, 250_000, 1000, 12, 450 << 10},
		{"ten of 1,000,000", ids, 1_000_000, 10, 3, 64 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			there := c.of(0, c.entries)
			here := slices.Concat(there[c.diff:], c.of(c.entries, c.entries+c.diff))
			got, gave, cost := exchange(t, here, there, 3, MaxFound)
			if len(got) != c.diff || len(gave) != c.diff {
				t.Errorf("got %d, gave %d", len(got), len(gave))
			}
			t.Logf("%d rounds, %d bytes asked, %d answered", cost.rounds, cost.asked, cost.answered)
			if cost.rounds > c.rounds || cost.asked+cost.answered > c.bytes {
				t.Errorf("more than %d rounds, or %d bytes", c.rounds, c.bytes)
			}
		})
	}
}

// Who compares with one that has nothing, or little, lists little.
func TestWhatIsNotThereIsNotListed(t *testing.T) {
	all := ids(0, 100_000)
	for _, have := range []int{0, 1, 50} {
		got, gave, c := exchange(t, all, all[:have], 3, MaxFound)
		if len(got) != 0 || len(gave) != len(all)-have {
			t.Errorf("of %d: got %d, gave %d", have, len(got), len(gave))
		}
		if most := have * 8 * 200; c.asked > most {
			t.Errorf("%d bytes were asked of one that has %d, want at most %d", c.asked, have, most)
		}
	}
}

// A set of a million is put into order by one salt as by another, and whoever chose
// the entries did not know it: no bucket is long.
func TestNoChoiceOfIdsIsSlow(t *testing.T) {
	for name, of := range map[string]func(from, to int) []ID{"random": ids, "counted": counted} {
		all := of(0, 100_000)
		began := time.Now()
		v := NewView(all, rand.Uint64())
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: %v", name, took)
		}
		if !slices.IsSorted(v.places(0, v.Len())) {
			t.Errorf("%s: not in order", name)
		}
	}
}

// Whatever the other one answers, the walk ends, and has asked a bounded number of
// times: each range is split or listed once.
func TestLiesCostLittle(t *testing.T) {
	here := NewView(ids(0, 20_000), 1)
	for name, lie := range map[string]func(r *rand.Rand, q *Request, parts int) Reply{
		"all differs":           func(r *rand.Rand, q *Request, parts int) Reply { return Reply{Prints: random(r, parts)} },
		"too few fingerprints":  func(r *rand.Rand, q *Request, parts int) Reply { return Reply{Prints: random(r, max(parts-1, 0))} },
		"too many fingerprints": func(r *rand.Rand, q *Request, parts int) Reply { return Reply{Prints: random(r, parts+1)} },
		"wants all": func(r *rand.Rand, q *Request, parts int) Reply {
			reply := Reply{Prints: random(r, parts)}
			for _, l := range q.Lists {
				reply.Wants = append(reply.Wants, l.Places...)
			}
			return reply
		},
		"wants what is not": func(r *rand.Rand, q *Request, parts int) Reply {
			return Reply{Prints: random(r, parts), Wants: []uint64{r.Uint64()}}
		},
		"goes back": func(r *rand.Rand, q *Request, parts int) Reply { return Reply{Prints: random(r, parts), Next: 1} },
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 1))
			w, err := NewWalk(here, random(r, 64))
			if err != nil {
				t.Fatal(err)
			}
			listed, rounds := 0, 0
			for q := w.Next(); q != nil; q = w.Next() {
				parts := 0
				for _, s := range q.Splits {
					parts += len(s.split(fanout))
				}
				for _, l := range q.Lists {
					listed += len(l.Places)
				}
				if rounds++; rounds > 1000 {
					t.Fatal("it does not end")
				}
				reply := lie(r, q, parts)
				if err := w.Took(&reply, 0); err != nil {
					if !errors.Is(err, ErrLie) {
						t.Error(err)
					}
					return
				}
			}
			if listed > here.Len() || len(w.Gives(here.Len()+1)) > here.Len() {
				t.Errorf("%d of %d were listed, %d given", listed, here.Len(), len(w.Gives(here.Len()+1)))
			}
			t.Logf("%d rounds, %d listed", rounds, listed)
		})
	}
}

func random(r *rand.Rand, n int) (all []uint64) {
	for range n {
		all = append(all, r.Uint64())
	}
	return all
}

func TestASketchIsSound(t *testing.T) {
	v := NewView(ids(0, 10), 1)
	for _, n := range []int{0, 3, MaxSketch + 1, 2 * MaxSketch} {
		if _, err := NewWalk(v, make([]uint64, n)); !errors.Is(err, ErrLie) {
			t.Errorf("%d parts: %v", n, err)
		}
	}
}

// FuzzFind has a view answer anything: it answers, or says that it is a lie, and
// looks at no more than what is there and what is asked.
func FuzzFind(f *testing.F) {
	f.Add(uint64(0), ^uint64(0), uint64(5), uint64(9), []byte("12345678"))
	f.Add(uint64(9), uint64(3), uint64(0), uint64(0), []byte{})
	v := NewView(ids(0, 500), 9)
	f.Fuzz(func(t *testing.T, a, b, c, d uint64, places []byte) {
		q := &Request{Splits: []Range{{a, b}}, Lists: []List{{Range: Range{c, d}}, {Range: Range{b, a}}}}
		for ; len(places) >= 8; places = places[8:] {
			q.Lists[0].Places = append(q.Lists[0].Places, binary.LittleEndian.Uint64(places))
		}
		found, err := v.Find(q)
		if err != nil {
			if !errors.Is(err, ErrLie) {
				t.Fatal(err)
			}
			return
		}
		if found.Looked > 2*v.Len()+len(q.Lists[0].Places) || len(found.Wants) > len(q.Lists[0].Places) {
			t.Errorf("%d looked at, %d wanted", found.Looked, len(found.Wants))
		}
		found.Cut(1)
	})
}

// FuzzTook has a walk take any answer: it goes on or says that it is a lie, and ends.
func FuzzTook(f *testing.F) {
	f.Add([]byte("1234567812345678"), uint64(3), 1)
	v := NewView(ids(0, 5000), 9)
	f.Fuzz(func(t *testing.T, b []byte, next uint64, entries int) {
		var all []uint64
		for ; len(b) >= 8 && len(all) < 1024; b = b[8:] {
			all = append(all, binary.LittleEndian.Uint64(b))
		}
		at := 0
		take := func(n int) (some []uint64) {
			for range n {
				if len(all) == 0 {
					some = append(some, 0)
					continue
				}
				some = append(some, all[at%len(all)])
				at++
			}
			return some
		}
		w, err := NewWalk(v, take(64))
		for rounds := 0; err == nil && rounds < 10_000; rounds++ {
			q := w.Next()
			if q == nil {
				return
			}
			parts := 0
			for _, s := range q.Splits {
				parts += len(s.split(fanout))
			}
			err = w.Took(&Reply{Prints: take(parts), Wants: take(rounds % 2), Next: next}, entries)
			next = next*3 + 1
		}
		if err != nil && !errors.Is(err, ErrLie) {
			t.Fatal(err)
		}
	})
}

func BenchmarkView(b *testing.B) {
	for _, n := range []int{10_000, 250_000} {
		all := ids(0, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				NewView(all, 7).Sketch(uint64(n))
			}
		})
	}
}

func BenchmarkDigest(b *testing.B) {
	for _, n := range []int{10_000, 250_000} {
		all := ids(0, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				Digest(slices.Clone(all))
			}
		})
	}
}
