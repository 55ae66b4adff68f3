package alertmanager_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
)

const retention = time.Hour

// openLog returns a notification log and its records.
func openLog(t testing.TB) (*nflog.Log, *alertmanager.Records) {
	t.Helper()
	l, err := nflog.New(nflog.Options{Retention: retention, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	r, err := alertmanager.NewLogRecords(l)
	if err != nil {
		t.Fatal(err)
	}
	return l, r
}

// openSilences returns silences and their records.
func openSilences(t testing.TB) (*silence.Silences, *alertmanager.Records) {
	t.Helper()
	s, err := silence.New(silence.Options{Retention: retention, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	r, err := alertmanager.NewSilenceRecords(s)
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

var receiver = &nflogpb.Receiver{GroupName: "team", Integration: "webhook"}

// notified notes a notification of a group.
func notified(t testing.TB, l *nflog.Log, group string, store *nflog.Store, expiry time.Duration) {
	t.Helper()
	if err := l.Log(receiver, group, []uint64{1, 2}, nil, store, expiry); err != nil {
		t.Fatal(err)
	}
}

// silenced sets a silence, and returns it.
func silenced(t testing.TB, s *silence.Silences, name string, lasts time.Duration) *silencepb.Silence {
	t.Helper()
	now := time.Now()
	sil := &silencepb.Silence{
		MatcherSets: []*silencepb.MatcherSet{{Matchers: []*silencepb.Matcher{{Name: "alertname", Pattern: name}}}},
		StartsAt:    timestamppb.New(now), EndsAt: timestamppb.New(now.Add(lasts)), CreatedBy: "test", Comment: name,
		Annotations: map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"},
	}
	if err := s.Set(t.Context(), sil); err != nil {
		t.Fatal(err)
	}
	return sil
}

// ids returns the ids of entries, in order.
func ids(r *alertmanager.Records) []backend.EntryID {
	return slices.SortedFunc(r.EntryIDs(), func(a, b backend.EntryID) int { return bytes.Compare(a[:], b[:]) })
}

func digest(t testing.TB, r *alertmanager.Records) uint64 {
	t.Helper()
	d, err := r.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// give gives each entry that other lacks to it, by itself.
func give(t testing.TB, r, other *alertmanager.Records) (given int) {
	t.Helper()
	has := map[backend.EntryID]bool{}
	for id := range other.EntryIDs() {
		has[id] = true
	}
	for id := range r.EntryIDs() {
		if has[id] {
			continue
		}
		b, err := r.Entry(id)
		if err != nil || b == nil {
			t.Fatalf("entry %x: %d bytes, %v", id, len(b), err)
		}
		if err := other.Merge(bytes.Clone(b)); err != nil {
			t.Fatal(err)
		}
		given++
	}
	return given
}

// expectSame checks that two are equal by everything that they are compared by.
func expectSame(t testing.TB, a, b *alertmanager.Records, entries int) {
	t.Helper()
	if x, y := ids(a), ids(b); len(x) != entries || !slices.Equal(x, y) {
		t.Errorf("%d and %d entries, want the same %d", len(x), len(y), entries)
	}
	if x, y := digest(t, a), digest(t, b); x != y {
		t.Errorf("equal states have digests %x and %x", x, y)
	}
}

// What one does is known to its records at once, and the entries that another lacks
// make the two equal, each by itself.
func TestRecordsOfTheNotificationLog(t *testing.T) {
	one, records := openLog(t)
	_, other := openLog(t)
	for i := range 40 {
		store := nflog.NewStore(nil)
		for k := range int64(5) {
			store.SetInt(fmt.Sprint("key", k), k)
		}
		notified(t, one, fmt.Sprint("group", i), store, 0)
	}
	if n := give(t, records, other); n != 40 {
		t.Errorf("%d entries were lacking, want 40", n)
	}
	expectSame(t, records, other, 40)
	notified(t, one, "group7", nil, 0)
	if n := give(t, records, other); n != 1 {
		t.Errorf("%d entries differ after one was written again", n)
	}
	if n := give(t, other, records); n != 0 {
		t.Errorf("%d entries differ that are older", n)
	}
	expectSame(t, records, other, 40)
}

func TestRecordsOfSilences(t *testing.T) {
	one, records := openSilences(t)
	_, other := openSilences(t)
	var first *silencepb.Silence
	for i := range 40 {
		if sil := silenced(t, one, fmt.Sprint("alert", i), time.Minute); i == 0 {
			first = sil
		}
	}
	give(t, records, other)
	expectSame(t, records, other, 40)
	if err := one.Expire(t.Context(), first.Id); err != nil {
		t.Fatal(err)
	}
	if n := give(t, records, other); n != 1 {
		t.Errorf("%d entries differ after a silence was expired by hand, want 1", n)
	}
	expectSame(t, records, other, 40)
}

// What a member holds from a snapshot, from a whole state, or from an update is the
// same, although each marshal has another order.
func TestRecordsAreTheSameHoweverTheyCame(t *testing.T) {
	one, records := openSilences(t)
	var updates [][]byte
	records.SetBroadcast(func(b []byte) { updates = append(updates, bytes.Clone(b)) })
	for i := range 30 {
		silenced(t, one, fmt.Sprint("alert", i), time.Minute)
	}
	whole, err := records.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	_, byState := openSilences(t)
	if err := byState.Merge(bytes.Clone(whole)); err != nil {
		t.Fatal(err)
	}
	expectSame(t, records, byState, 30)
	_, byUpdates := openSilences(t)
	for _, b := range updates {
		if err := byUpdates.Merge(b); err != nil {
			t.Fatal(err)
		}
	}
	expectSame(t, records, byUpdates, 30)
	if again, err := alertmanager.NewSilenceRecords(one); err != nil {
		t.Fatal(err)
	} else {
		expectSame(t, byState, again, 30)
	}
}

// What has expired is no entry, whoever has deleted it and who has not.
func TestExpiredRecordsAreNoEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, records := openLog(t)
		_, other := openLog(t)
		notified(t, one, "short", nil, time.Minute)
		notified(t, one, "long", nil, 0)
		give(t, records, other)
		expectSame(t, records, other, 2)
		short := ids(records)
		<-time.After(time.Minute + time.Millisecond)
		if n, err := one.GC(); n != 1 || err != nil {
			t.Fatalf("%d deleted: %v", n, err)
		}
		expectSame(t, records, other, 1) // the other one deletes later
		for _, id := range short {
			if b, err := other.Entry(id); err != nil || b != nil && !slices.Contains(ids(other), id) {
				t.Errorf("entry %x has expired, and is told: %q, %v", id, b, err)
			}
		}
		<-time.After(retention)
		expectSame(t, records, other, 0)
		notified(t, one, "short", nil, 0)
		give(t, records, other)
		expectSame(t, records, other, 1)
	})
}

// Two records of one moment, of which Merge keeps the first one, are no difference.
func TestRecordsOfOneMomentAreNoDifference(t *testing.T) {
	now := timestamppb.Now()
	of := func(alerts ...uint64) []byte {
		var b bytes.Buffer
		if _, err := protodelim.MarshalTo(&b, &nflogpb.MeshEntry{
			Entry:     &nflogpb.Entry{Receiver: receiver, GroupKey: []byte("group"), Timestamp: now, FiringAlerts: alerts},
			ExpiresAt: timestamppb.New(now.AsTime().Add(time.Hour)),
		}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	_, one := openLog(t)
	_, other := openLog(t)
	for r, b := range map[*alertmanager.Records][]byte{one: of(1), other: of(2)} {
		if err := r.Merge(b); err != nil {
			t.Fatal(err)
		}
	}
	if x, y := ids(one), ids(other); !slices.Equal(x, y) {
		t.Errorf("%x and %x differ, and no Merge makes them equal", x, y)
	}
}

// What Merge refuses is no entry, and what it takes beside it stays.
func TestRecordsThatDoNotDecode(t *testing.T) {
	one, records := openSilences(t)
	silenced(t, one, "alert", time.Minute)
	whole, err := records.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"cut off":     whole[:len(whole)-1],
		"no silence":  append(bytes.Clone(whole), 0),
		"no protobuf": append(bytes.Clone(whole), 3, 0xff, 0xff, 0xff),
		"no length":   {0x80},
	} {
		_, other := openSilences(t)
		if err := other.Merge(b); err == nil {
			t.Errorf("%s: merged", name)
		}
		if n := len(ids(other)); n != 0 {
			t.Errorf("%s: %d entries of what was refused", name, n)
		}
		if err := other.Merge(bytes.Clone(whole)); err != nil || len(ids(other)) != 1 {
			t.Errorf("%s: afterwards %d entries: %v", name, len(ids(other)), err)
		}
	}
}

// The state's own word counts in the end, whoever has changed it.
func TestRecordsAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, records := openLog(t)
		notified(t, one, "group", nil, 0)
		l, other := openLog(t)
		b, err := records.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		other.SetBroadcast(func([]byte) {})
		l.SetBroadcast(func([]byte) {}) // behind its back
		if err := l.Merge(b); err != nil {
			t.Fatal(err)
		}
		if n := len(ids(other)); n != 0 {
			t.Fatalf("%d entries: nobody said anything", n)
		}
		<-time.After(15 * time.Minute)
		expectSame(t, records, other, 1)
	})
}

// Entries that stay from the beginning to the end are yielded, while others come and go.
func TestRecordsThatChangeWhileTheyAreWalked(t *testing.T) {
	l, records := openLog(t)
	for i := range 2_000 {
		notified(t, l, fmt.Sprint("stays", i), nil, 0)
	}
	stay := ids(records)
	var changes sync.WaitGroup
	stop := make(chan struct{})
	changes.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				notified(t, l, fmt.Sprint("changes", i%50), nil, 0)
			}
		}
	})
	for range 30 {
		seen := map[backend.EntryID]bool{}
		for id := range records.EntryIDs() {
			seen[id] = true
		}
		for _, id := range stay {
			if !seen[id] {
				t.Fatalf("entry %x was there all the time, and is not yielded", id)
			}
		}
	}
	close(stop)
	changes.Wait()
	for range records.EntryIDs() {
		break
	}
}

func TestUnchangedRecordsAllocateNothing(t *testing.T) {
	l, records := openLog(t)
	for i := range 2_000 {
		notified(t, l, fmt.Sprint(i), nil, 0)
	}
	n := testing.AllocsPerRun(10, func() {
		for range records.EntryIDs() {
		}
	})
	if n > 5 {
		t.Errorf("%v allocations to tell the ids of what has not changed", n)
	}
}

// A comparison tells 250,000 ids.
func BenchmarkRecordIDs(b *testing.B) {
	l, records := openLog(b)
	for i := range 250_000 {
		notified(b, l, fmt.Sprint(i), nil, 0)
	}
	b.ReportAllocs()
	for b.Loop() {
		for range records.EntryIDs() {
		}
	}
}

// Whatever Merge takes are entries, which another one takes as well.
func FuzzRecords(f *testing.F) {
	one, records := openSilences(f)
	silenced(f, one, "alert", time.Hour)
	whole, err := records.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(append(bytes.Clone(whole), whole...))
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, open := range []func() *alertmanager.Records{
			func() *alertmanager.Records { _, r := openSilences(t); return r },
			func() *alertmanager.Records { _, r := openLog(t); return r },
		} {
			one, other := open(), open()
			if one.Merge(bytes.Clone(b)) != nil {
				if n := len(ids(one)); n != 0 {
					t.Errorf("%d entries of what was refused", n)
				}
				continue
			}
			give(t, one, other)
			if x, y := ids(one), ids(other); !slices.Equal(x, y) {
				t.Errorf("%x, and after each was given %x", x, y)
			}
			whole, err := one.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			third := open()
			if err := third.Merge(whole); err != nil {
				t.Fatal(err)
			}
			if x, y := ids(one), ids(third); !slices.Equal(x, y) {
				t.Errorf("%x, and by the whole state %x", x, y)
			}
		}
	})
}
