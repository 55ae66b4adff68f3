package wire

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/clusterchannel/clusterchannel/internal/wire/field"
)

// What Alertmanager's package clusterpb makes of a Part and of a FullState. The
// tests of backend memberlist hold both ends to each other.
const (
	alertmanagerPart  = "\n\x03sil\x12\x01x"
	alertmanagerState = "\n\b\n\x03nfl\x12\x01a\n\x05\n\x03sil"
)

// oldBeat1 is a heartbeat of version 1.
var oldBeat1 = field.AppendBytes(field.AppendUint(field.AppendBytes(field.AppendFixed32(field.AppendUint(nil,
	101, 1), 104, ClusterHash("alerts")), 105, "abc"), 103, 2), 111, field.AppendBytes(nil, 1, "node-1"))

func TestAnUpdateIsAnAlertmanagerPart(t *testing.T) {
	e := NewEncoder("alerts", "abc")
	b, start := e.AppendUpdate(e.AppendBatch(nil), UpdateHead{Key: "sil", Incarnation: 2, Number: 7, Sent: 42}, []byte("x"))
	b, _ = e.AppendUpdate(b, UpdateHead{Key: "nfl", Number: 8, Sent: 43}, nil)
	var keys []string
	var parts [][]byte
	for key, p := range Updates(b) {
		keys, parts = append(keys, key), append(parts, p)
	}
	if !slices.Equal(keys, []string{"sil", "nfl"}) || !bytes.HasPrefix(b[start:], parts[0]) {
		t.Fatalf("updates of %q: %q", keys, parts)
	}
	// Alertmanager ignores the fields that follow, which it does not know.
	own, ok := bytes.CutPrefix(parts[0], []byte(alertmanagerPart))
	for ok && len(own) > 0 {
		number, _, n := protowire.ConsumeField(own)
		if ok = n > 0 && number > 2; ok {
			own = own[n:]
		}
	}
	if !ok {
		t.Errorf("Alertmanager does not read %q", parts[0])
	}
	var f Frame
	if err := Decode(b, &f); err != nil || f.Kind != Batch || len(f.Updates) != 2 || string(f.Origin) != "abc" || f.Cluster != ClusterHash("alerts") {
		t.Fatalf("%v %+v", err, f)
	}
	var u Frame
	if err := Decode(f.Updates[0], &u); err != nil || u.Number != 7 || u.Incarnation != 2 {
		t.Fatalf("%v %+v", err, u)
	}
	if err := Decode(f.Updates[1], &u); err != nil || string(u.Key) != "nfl" || len(u.Data) != 0 || u.Number != 8 || u.Incarnation != 0 || u.Sent != 43 || u.Version != Version {
		t.Fatalf("%v %+v", err, u)
	}
}

// An update of a batch is read in one go where it is laid out as ours are, and says the
// same as one that is read field by field, however it is laid out.
func TestUpdatesOfABatch(t *testing.T) {
	e, other := NewEncoder("c", "me"), NewEncoder("c", "you")
	update := func(e *Encoder, u UpdateHead, data string) []byte {
		b, start := e.AppendUpdate(nil, u, []byte(data))
		return b[start:]
	}
	good := update(e, UpdateHead{Key: "s", Incarnation: 3, Number: 1 << 40, Sent: 42}, "data")
	key := field.AppendBytes(nil, fieldKey, "s")
	for name, c := range map[string]struct {
		b    []byte
		fast bool
	}{
		"all fields":           {good, true},
		"no incarnation":       {update(e, UpdateHead{Key: "s", Number: 1, Sent: -1}, ""), true},
		"long":                 {update(e, UpdateHead{Key: strings.Repeat("k", 255), Number: 1}, strings.Repeat("d", 1<<20)), true},
		"of another node":      {update(other, UpdateHead{Key: "s", Number: 1, Sent: 42}, "data"), false},
		"of another cluster":   {update(NewEncoder("d", "me"), UpdateHead{Key: "s", Number: 1}, "data"), false},
		"in another order":     {append(slices.Clone(good[len(key):]), key...), false},
		"one field more":       {field.AppendUint(slices.Clone(good), 1999, 1), false},
		"another kind":         {field.AppendUint(slices.Clone(good), fieldKind, 1), false},
		"a larger incarnation": {field.AppendUint(update(e, UpdateHead{Key: "s", Number: 1}, "data"), fieldIncarnation, 1<<32), false},
		"truncated":            {good[:len(good)-1], false},
		"no time":              {field.AppendUint(append(slices.Clone(good[:len(key)+6]), e.header...), fieldNumber, 7), false},
		"nothing":              {nil, false},
	} {
		var f, fast, slow Frame
		if err := Decode(e.AppendBatch(nil), &f); err != nil {
			t.Fatal(err)
		}
		wrong := Decode(c.b, &slow)
		if err := f.DecodeUpdate(c.b, &fast); fmt.Sprint(err) != fmt.Sprint(wrong) || err == nil && !reflect.DeepEqual(fast, slow) {
			t.Errorf("%s: %v %+v, want %v %+v", name, err, fast, wrong, slow)
		}
		if f.decodeOwn(c.b, &fast) != c.fast {
			t.Errorf("%s: in one go: %v", name, !c.fast)
		}
	}
}

func TestAnAlertmanagerPartIsAnUpdate(t *testing.T) {
	var f Frame
	if err := Decode([]byte(alertmanagerPart), &f); err != nil || f.Kind != Update || f.Version != 0 || string(f.Key) != "sil" || string(f.Data) != "x" {
		t.Fatalf("%v %+v", err, f)
	}
}

func TestFullStatesAreAlertmanagers(t *testing.T) {
	ours := AppendPart(AppendPart(nil, "nfl", []byte("a")), "sil", nil)
	// An empty field may be written or left out.
	if string(ours) != alertmanagerState && string(ours) != "\n\b\n\x03nfl\x12\x01a\n\x07\n\x03sil\x12\x00" {
		t.Fatalf("%q, want %q", ours, alertmanagerState)
	}
	parts, head, err := DecodeState([]byte(alertmanagerState))
	if err != nil || head != nil || len(parts) != 2 || string(parts[0].Key) != "nfl" || string(parts[0].Data) != "a" || string(parts[1].Key) != "sil" || len(parts[1].Data) != 0 {
		t.Fatalf("%v %v %q", err, parts, head)
	}
	withHead := AppendHead(ours, func(b []byte) []byte { return append(b, "head"...) })
	if parts, head, err := DecodeState(withHead); err != nil || len(parts) != 2 || string(head) != "head" {
		t.Fatalf("%v %v %q", err, parts, head)
	}
}

// Messages within messages have lengths of one byte and of more.
func TestMessagesOfAnyLength(t *testing.T) {
	e := NewEncoder("c", "me")
	for _, n := range []int{0, 1, 127, 128, 16383, 16384, 1 << 21} {
		want := bytes.Repeat([]byte("m"), n)
		var f Frame
		b := e.Message(Push, []string{"you", "her"}, 0, func(b []byte) []byte { return append(b, want...) })
		if err := Decode(b, &f); err != nil || f.Kind != Push || !bytes.Equal(f.Message, want) || !f.IsFor("her") || f.IsFor("me") {
			t.Errorf("%d bytes: %v, %d bytes to %q", n, err, len(f.Message), f.To)
		}
	}
}

func TestChunksMakeTheFrameAgain(t *testing.T) {
	e := NewEncoder("c", "me")
	frame := bytes.Repeat([]byte("0123456789"), 100)
	behind := func(room int) []byte { return append(make([]byte, room), frame...) }
	for how, cut := range map[string]func(send func([]byte) error) error{
		"copied":            func(send func([]byte) error) error { return e.Chunks(frame, 200, []string{"you"}, 1, send) },
		"cut":               func(send func([]byte) error) error { return e.Cut(behind(e.Headroom()), e.Headroom(), 200, 1, send) },
		"cut, far behind":   func(send func([]byte) error) error { return e.Cut(behind(1000), 1000, 200, 1, send) },
		"cut without room":  func(send func([]byte) error) error { return e.Cut(behind(0), 0, 200, 1, send) },
		"cut with too much": func(send func([]byte) error) error { return e.Cut(behind(10), 10, 5000, 1, send) },
	} {
		var whole []byte
		err := cut(func(b []byte) error {
			var f Frame
			if len(b) > 200 && !strings.HasSuffix(how, "much") {
				t.Errorf("%s: a chunk of %d bytes", how, len(b))
			}
			if err := Decode(b, &f); err != nil {
				return err
			}
			whole = append(whole, f.Chunk...)
			return nil
		})
		if err != nil || !bytes.Equal(whole, frame) {
			t.Fatalf("%s: %v %q", how, err, whole)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	e := NewEncoder("c", "me")
	good := e.Message(Heartbeat, nil, 0, func(b []byte) []byte { return b })
	newer := field.AppendUint(nil, fieldVersion, Version+1)
	for name, c := range map[string]struct {
		frame []byte
		want  error
	}{
		"truncated":    {good[:len(good)-1], ErrMalformed},
		"text":         {[]byte("GET / HTTP/1.1\r\n\r\n"), ErrMalformed},
		"wrong type":   {field.AppendUint(nil, fieldKey, 1), ErrMalformed},
		"unknown kind": {field.AppendUint(newer, fieldKind, 99), ErrVersion},
		"needs more":   {field.AppendUint(newer, fieldNeeds, NumbersByKey|2), ErrVersion},
		"version 1":    {oldBeat1, ErrVersion},
	} {
		var f Frame
		if err := Decode(c.frame, &f); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	var f Frame
	for name, b := range map[string][]byte{
		"an unknown field":                        field.AppendUint(slices.Clone(good), 1999, 5),
		"a newer version that needs nothing else": field.AppendUint(newer, fieldNeeds, NumbersByKey),
	} {
		if err := Decode(b, &f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A node of version 1 can be named, and counts a frame of ours for one of another
// version: it refuses any frame that needs something.
func TestVersion1IsNamed(t *testing.T) {
	var f Frame
	if err := Decode(oldBeat1, &f); !errors.Is(err, ErrVersion) || f.Version != 1 || string(f.Origin) != "abc" || f.OldName() != "node-1" || f.Cluster != ClusterHash("alerts") {
		t.Errorf("%v %+v %q", err, f, f.OldName())
	}
	e := NewEncoder("c", "me")
	batch, start := e.AppendUpdate(e.AppendBatch(nil), UpdateHead{Key: "s", Number: 1}, nil)
	for name, b := range map[string][]byte{
		"a batch": batch, "an update": batch[start:], "a message": e.Message(Goodbye, nil, 0, func(b []byte) []byte { return b }),
	} {
		if err := Decode(b, &f); err != nil || f.Needs == 0 {
			t.Errorf("%s: %v, needs %d", name, err, f.Needs)
		}
	}
}

func FuzzDecode(f *testing.F) {
	e := NewEncoder("c", "me")
	b, start := e.AppendUpdate(e.AppendBatch(nil), UpdateHead{Key: "nfl", Number: 7, Sent: 42}, []byte("data"))
	f.Add(b)
	f.Add(b[start:])
	f.Add(e.Message(Pull, []string{"you"}, 0, func(b []byte) []byte { return append(b, "message"...) }))
	f.Add(AppendHead(AppendPart(nil, "k", []byte("v")), func(b []byte) []byte { return append(b, "head"...) }))
	f.Add([]byte(alertmanagerState))
	f.Add(oldBeat1)
	f.Fuzz(func(t *testing.T, b []byte) {
		var fr Frame
		if err := Decode(b, &fr); err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
		_, _ = fr.OldName(), fr.IsFor("x")
		for _, b := range fr.Updates {
			var fast, slow Frame
			if err := Decode(b, &slow); (fr.DecodeUpdate(b, &fast) == nil) != (err == nil) || err == nil && !reflect.DeepEqual(fast, slow) {
				t.Fatalf("%+v, want %v %+v", fast, err, slow)
			}
		}
		for range Updates(b) {
			continue
		}
		if _, _, err := DecodeState(b); err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
	})
}
