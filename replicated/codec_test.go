package replicated_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/replicated"
)

// pair is a key that JSON would not keep apart.
type pair struct {
	A string
	b string
}

type named string

type celsius struct{ degrees float64 }

func roundTrip[K comparable, V any](t *testing.T, k K, v V, equal func(a, b V) bool) {
	t.Helper()
	m := newMap[K, V](t, nil)
	must(t, m.Set(k, v))
	other := newMap[K, V](t, nil)
	merge(t, m, other)
	got, ok := other.Get(k)
	if !ok || !equal(got, v) {
		t.Errorf("%v is %v, %v, want %v", k, got, ok, v)
	}
}

func same[V comparable](a, b V) bool { return a == b }

func TestUsualCodecs(t *testing.T) {
	roundTrip(t, "", "", same)
	roundTrip(t, "\xff:a\x00", "\xff", same)
	roundTrip(t, named("x"), 5, same)
	roundTrip(t, 7, []byte("b\x00"), func(a, b []byte) bool { return string(a) == string(b) })
	roundTrip(t, struct{ A, B int }{1, 2}, map[string]int{"x": 1}, func(a, b map[string]int) bool { return a["x"] == b["x"] })
	roundTrip(t, netip.MustParseAddr("10.0.0.1"), time.Unix(1, 0), time.Time.Equal)
	roundTrip(t, true, &pair{A: "x"}, func(a, b *pair) bool { return *a == *b })
}

// What implements an encoding does so behind a pointer too.
func TestPointersToWhatHasAnEncoding(t *testing.T) {
	u, err := url.Parse("https://user:secret@host/path")
	must(t, err)
	roundTrip(t, "u", u, func(a, b *url.URL) bool { return a.String() == b.String() })
	now := time.Now()
	roundTrip(t, "t", &now, func(a, b *time.Time) bool { return a.Equal(*b) })
	roundTrip(t, "n", big.NewInt(77), func(a, b *big.Int) bool { return a.Cmp(b) == 0 })
	var none *url.URL
	if err := newMap[string, *url.URL](t, nil).Set("x", none); !errors.Is(err, replicated.ErrCodec) || !strings.Contains(err.Error(), "nil *url.URL") {
		t.Error(err)
	}
}

// withDefaults is a type that is more than was encoded.
type withDefaults struct{ Limit, Burst int }

func (w *withDefaults) UnmarshalJSON(b []byte) error {
	type plain withDefaults
	p := plain{Limit: 10}
	err := json.Unmarshal(b, &p)
	if *w = withDefaults(p); w.Limit == 0 {
		w.Limit = 10
	}
	return err
}

type inner struct{ B int }

type (
	other struct{ B int }
	twice struct {
		inner
		other
	}
)

// all is a value that JSON keeps, as far as it is meant to.
type all struct {
	inner
	*pair
	At      time.Time
	Until   *time.Time
	Name    string            `json:",omitempty"`
	Tags    []string          `json:"tags,omitempty"`
	Each    map[string][]pair `json:"each"`
	ByAddr  map[netip.Addr]int
	Bytes   []byte
	Ratio   float32
	Any     any
	Cache   func() `json:"-"`
	Other   [2]*int
	unset   int
	ByCount map[int]string
}

// What JSON keeps is set, however it is put together; and what it loses is an error.
func TestWhatJSONKeeps(t *testing.T) {
	now, n := time.Now(), 5
	for name, v := range map[string]all{
		"nothing": {},
		"empty":   {Tags: []string{}, Each: map[string][]pair{}, Bytes: []byte{}, Until: &time.Time{}},
		"all": {
			inner: inner{1}, At: now, Until: &now, Name: "\u00e9", Tags: []string{"a", ""}, Each: map[string][]pair{"x": {{A: "a"}}, "y": nil},
			ByAddr: map[netip.Addr]int{netip.MustParseAddr("::1"): 1}, Bytes: []byte("\xff"), Ratio: 0.1, Any: map[string]int{"x": 1},
			Cache: func() {}, Other: [2]*int{&n}, ByCount: map[int]string{-1: "<&>"},
		},
	} {
		if err := newMap[string, all](t, nil).Set("x", v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := newMap[string, withDefaults](t, nil).Set("x", withDefaults{Burst: 5}); err != nil {
		t.Error(err)
	}
	u := &url.URL{User: url.UserPassword("user", "secret")}
	for name, c := range map[string]struct {
		set  func() error
		says string
	}{
		"an unexported field":    {func() error { return newMap[string, celsius](t, nil).Set("x", celsius{5}) }, "celsius.degrees"},
		"one of all":             {func() error { return newMap[string, all](t, nil).Set("x", all{unset: 1}) }, ".unset"},
		"one of an element":      {func() error { return newMap[string, []*pair](t, nil).Set("x", []*pair{nil, {b: "b"}}) }, "[1].b"},
		"one of a map":           {func() error { return newMap[string, map[int]pair](t, nil).Set("x", map[int]pair{1: {b: "b"}}) }, "[].b"},
		"one of two of one name": {func() error { return newMap[string, twice](t, nil).Set("x", twice{inner{1}, other{2}}) }, "another field"},
		"no UTF-8":               {func() error { return newMap[string, pair](t, nil).Set("x", pair{A: "\xff"}) }, ".A (no UTF-8)"},
		"a key that is no UTF-8": {func() error { return newMap[string, map[string]int](t, nil).Set("x", map[string]int{"\xff": 1}) }, "a key"},
		"keys that are no UTF-8": {func() error {
			return newMap[string, map[string]int](t, nil).Set("x", map[string]int{"\xff": 1, "\xfe": 2})
		}, "become one"},
		"a password of a URL":     {func() error { return newMap[string, []*url.URL](t, nil).Set("x", []*url.URL{u}) }, ".User.username"},
		"a register's as a map's": {func() error { return newRegister[celsius](t, nil).Set(celsius{5}) }, "celsius.degrees"},
	} {
		if err := c.set(); !errors.Is(err, replicated.ErrCodec) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want one that says %q", name, err, c.says)
		}
	}
}

func newRegister[V any](t *testing.T, o *replicated.Options) *replicated.Register[V] {
	t.Helper()
	r, err := replicated.NewRegister[V](o)
	must(t, err)
	t.Cleanup(r.Close)
	return r
}

func TestOwnCodec(t *testing.T) {
	o := &replicated.Options{Value: replicated.Codec{
		Marshal:   func(v any) ([]byte, error) { return json.Marshal(v.(celsius).degrees) },
		Unmarshal: func(b []byte, into any) error { return json.Unmarshal(b, &into.(*celsius).degrees) },
	}}
	m := newMap[string, celsius](t, o)
	must(t, m.Set("x", celsius{21.5}))
	if v, _ := m.Get("x"); v.degrees != 21.5 {
		t.Error(v)
	}
}

// What cannot be encoded is an error that names it, and nothing is set.
func TestWhatCannotBeEncoded(t *testing.T) {
	panics := replicated.Codec{
		Marshal:   func(any) ([]byte, error) { panic("a codec that panics") },
		Unmarshal: func([]byte, any) error { panic("a codec that panics") },
	}
	half := replicated.Codec{Marshal: json.Marshal, Unmarshal: panics.Unmarshal}
	never := errors.New("never")
	fails := replicated.Codec{Marshal: func(any) ([]byte, error) { return nil, never }, Unmarshal: json.Unmarshal}
	for name, c := range map[string]struct {
		set  func() error
		says string
	}{
		"a value that is none of JSON":     {func() error { return newMap[string, float64](t, nil).Set("x", math.NaN()) }, "NaN"},
		"a value of a function":            {func() error { return newMap[string, func()](t, nil).Set("x", nil) }, `"x"`},
		"a value that does not come back":  {func() error { return newMap[string, error](t, nil).Set("x", never) }, "decoded again"},
		"a value whose codec panics":       {func() error { return newMap[string, int](t, &replicated.Options{Value: panics}).Set("x", 1) }, "a codec that panics"},
		"a value whose codec panics later": {func() error { return newMap[string, int](t, &replicated.Options{Value: half}).Set("x", 1) }, "a codec that panics"},
		"a value whose codec fails":        {func() error { return newMap[string, int](t, &replicated.Options{Value: fails}).Set("x", 1) }, "never"},
		"a key whose codec panics":         {func() error { return newMap[int, int](t, &replicated.Options{Key: panics}).Set(77, 1) }, "77"},
		"a key that loses a field":         {func() error { return newMap[pair, int](t, nil).Set(pair{"a", "b"}, 1) }, "not the same"},
		"a key that equals nothing":        {func() error { return newMap[any, int](t, nil).Set([]int{1}, 1) }, "not the same"},
		"a key that is too long":           {func() error { return newMap[string, int](t, nil).Set(strings.Repeat("k", 1<<16), 1) }, "65536 bytes"},
		"a deletion of such a key":         {func() error { return newMap[pair, int](t, nil).Delete(pair{"a", "b"}) }, "not the same"},
		"an element that is too long":      {func() error { return newSet(t, nil).Add(strings.Repeat("k", 1<<16-1)) }, "65535 bytes"},
		"a value that panics when shown":   {func() error { return newMap[string, loud](t, nil).Set("x", loud{}) }, "not encodable"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.set()
			if !errors.Is(err, replicated.ErrCodec) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want one that says %q", err, c.says)
			}
			if len(err.Error()) > 500 {
				t.Errorf("%d bytes of error", len(err.Error()))
			}
		})
	}
}

// loud is a value that panics whatever one does with it.
type loud struct{}

func (loud) String() string               { panic("loud") }
func (loud) MarshalJSON() ([]byte, error) { panic("loud") }

// A value that does not decode is not merged, and the error names its key.
func TestAValueThatDoesNotDecode(t *testing.T) {
	o := &replicated.Options{Type: "numbers"}
	words, numbers := newMap[string, string](t, o), newMap[string, int](t, o)
	must(t, words.Set("good", "1"))
	must(t, words.Set("bad", "word"))
	b, err := words.MarshalBinary()
	must(t, err)
	if err := numbers.Merge(b); !errors.Is(err, replicated.ErrCodec) || !strings.Contains(err.Error(), `"bad"`) || !strings.Contains(err.Error(), "1 of 2") {
		t.Error(err)
	}
	if v, ok := numbers.Get("good"); v != 1 || !ok || numbers.Len() != 1 {
		t.Error(v, ok)
	}
}
