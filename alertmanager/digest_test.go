package alertmanager

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func join(records ...string) (b []byte) {
	for _, r := range records {
		b = append(binary.AppendUvarint(b, uint64(len(r))), r...)
	}
	return b
}

func digestOf(t *testing.T, records ...string) uint64 {
	t.Helper()
	d, err := recordsDigest(join(records...))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRecordsDigestIgnoresOrder(t *testing.T) {
	records := []string{"", "a", "bb", "bb", string(make([]byte, 300))}
	want := digestOf(t, records...)
	for range 20 {
		rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		if got := digestOf(t, records...); got != want {
			t.Fatalf("the digest of %q is %x, in another order it was %x", records, got, want)
		}
	}
}

func TestRecordsDigestTellsContentsApart(t *testing.T) {
	seen := map[uint64][]string{}
	for _, records := range [][]string{nil, {""}, {"", ""}, {"a"}, {"b"}, {"a", "b"}, {"ab"}, {"a", "a"}, {"a", "a", "b"}, {"a", ""}} {
		d := digestOf(t, records...)
		if other, ok := seen[d]; ok {
			t.Errorf("%q and %q have one digest", records, other)
		}
		seen[d] = records
	}
}

func TestRecordsDigestOfDamagedInput(t *testing.T) {
	whole := join("first", "second")
	for name, b := range map[string][]byte{
		"cut in a record":       whole[:len(whole)-1],
		"cut after a length":    whole[:len("first")+2],
		"length beyond the end": {5, 'a'},
		"endless length":        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"cut in a length":       {0x80},
		"huge length":           binary.AppendUvarint(nil, 1<<63),
	} {
		if d, err := recordsDigest(b); err == nil {
			t.Errorf("%s: digest %x, want an error", name, d)
		}
	}
}

// Two instances with the same silences have one digest, however often and in
// whichever order they marshal.
func TestDigestOfSilences(t *testing.T) {
	open := func() *silence.Silences {
		s, err := silence.New(silence.Options{
			Retention: time.Hour, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	digest := func(s *silence.Silences) uint64 {
		d, err := digested{s}.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	one, two := open(), open()
	now := time.Now()
	for i := range 8 {
		if err := one.Set(t.Context(), &silencepb.Silence{
			MatcherSets: []*silencepb.MatcherSet{{Matchers: []*silencepb.Matcher{{Name: "alertname", Pattern: fmt.Sprint(i)}}}},
			StartsAt:    timestamppb.New(now), EndsAt: timestamppb.New(now.Add(time.Hour)), CreatedBy: "test",
		}); err != nil {
			t.Fatal(err)
		}
	}
	if digest(one) == digest(two) {
		t.Fatal("eight silences and none have one digest")
	}
	b, err := one.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if err := two.Merge(b); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if x, y := digest(one), digest(two); x != y {
			t.Fatalf("the same silences have digests %x and %x", x, y)
		}
	}
}

// Two sound inputs can be joined in either order, and have one digest.
func FuzzRecordsDigest(f *testing.F) {
	f.Add(join("a"), join("", "bb"))
	f.Add([]byte{0x80}, []byte{5, 'a'})
	f.Add([]byte{}, binary.AppendUvarint(nil, 1<<63))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		_, errA := recordsDigest(a)
		_, errB := recordsDigest(b)
		if errA != nil || errB != nil {
			return
		}
		ab, err := recordsDigest(append(a[:len(a):len(a)], b...))
		if err != nil {
			t.Fatalf("both halves are sound, but joined: %v", err)
		}
		if ba, err := recordsDigest(append(b[:len(b):len(b)], a...)); err != nil || ba != ab {
			t.Fatalf("digests %x and %x (%v)", ab, ba, err)
		}
	})
}
