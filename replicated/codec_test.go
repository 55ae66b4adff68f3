package replicated_test

import (
	"encoding/json"
	"errors"
	"math"
	"net/netip"
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
