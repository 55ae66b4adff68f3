package wire

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// What Alertmanager's package clusterpb makes of a Part and of a FullState. The
// tests of backend memberlist hold both ends to each other.
const (
	alertmanagerPart  = "\n\x03sil\x12\x01x"
	alertmanagerState = "\n\b\n\x03nfl\x12\x01a\n\x05\n\x03sil"
)

func TestAnUpdateIsAnAlertmanagerPart(t *testing.T) {
	e := NewEncoder("alerts", "abc")
	b, start := e.AppendUpdate(e.AppendBatch(nil), "sil", []byte("x"), 7, 42)
	b, _ = e.AppendUpdate(b, "nfl", nil, 8, 43)
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
	if err := Decode(f.Updates[1], &u); err != nil || string(u.Key) != "nfl" || len(u.Data) != 0 || u.Seq != 8 || u.Sent != 43 || u.Version != Version {
		t.Fatalf("%v %+v", err, u)
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
	parts, err := DecodeParts([]byte(alertmanagerState))
	if err != nil || len(parts) != 2 || string(parts[0].Key) != "nfl" || string(parts[0].Data) != "a" || string(parts[1].Key) != "sil" || len(parts[1].Data) != 0 {
		t.Fatalf("%v %v", err, parts)
	}
}

func TestControlSurvives(t *testing.T) {
	e := NewEncoder("c", "me")
	b := e.Control(Push, Control{
		Name: "n", Addr: "a:1", Meta: map[string]string{"k": "v", "l": ""}, Interval: 500, High: 9, Hello: true,
		To: "you", ID: 3, Done: true,
		Items:  []Item{{Key: []byte("s"), Digest: 5, HasSum: true, Data: []byte{}, HasData: true}, {Key: []byte("t"), Lacking: true}},
		Vector: []Mark{{Origin: []byte("o"), Seq: 12}},
	})
	var f Frame
	if err := Decode(b, &f); err != nil {
		t.Fatal(err)
	}
	switch {
	case f.Kind != Push, string(f.Member.Name) != "n", string(f.Member.Addr) != "a:1", len(f.Member.Meta) != 2,
		f.Interval != 500, f.High != 9, !f.Hello, string(f.To) != "you", f.ID != 3, !f.Done,
		len(f.Items) != 2, !f.Items[0].HasSum, !f.Items[0].HasData, f.Items[0].Digest != 5, f.Items[1].HasData, !f.Items[1].Lacking,
		len(f.Vector) != 1, f.Vector[0].Seq != 12:
		t.Fatalf("%+v", f)
	}
}

func TestChunksMakeTheFrameAgain(t *testing.T) {
	e := NewEncoder("c", "me")
	frame := bytes.Repeat([]byte("0123456789"), 100)
	var whole []byte
	err := e.Chunks(frame, 200, "you", 1, func(b []byte) error {
		var f Frame
		if len(b) > 200 {
			t.Errorf("a chunk of %d bytes", len(b))
		}
		if err := Decode(b, &f); err != nil {
			return err
		}
		whole = append(whole, f.Chunk...)
		return nil
	})
	if err != nil || !bytes.Equal(whole, frame) {
		t.Fatalf("%v %q", err, whole)
	}
}

func TestDecodeRefuses(t *testing.T) {
	e := NewEncoder("c", "me")
	good := e.Control(Beat, Control{Name: "n"})
	for name, c := range map[string]struct {
		frame []byte
		want  error
	}{
		"truncated":    {good[:len(good)-1], ErrMalformed},
		"text":         {[]byte("GET / HTTP/1.1\r\n\r\n"), ErrMalformed},
		"wrong type":   {appendUint(nil, fieldKey, 1), ErrMalformed},
		"unknown kind": {appendUint(nil, fieldKind, 99), ErrVersion},
		"needs more":   {appendUint(nil, fieldNeeds, 1), ErrVersion},
	} {
		var f Frame
		if err := Decode(c.frame, &f); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	var f Frame
	if err := Decode(appendUint(good, protowire.Number(1999), 5), &f); err != nil {
		t.Errorf("an unknown field: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	e := NewEncoder("c", "me")
	b, start := e.AppendUpdate(e.AppendBatch(nil), "nfl", []byte("data"), 7, 42)
	f.Add(b)
	f.Add(b[start:])
	f.Add(e.Control(Push, Control{Name: "n", Items: []Item{{Key: []byte("s"), HasData: true}}, Vector: []Mark{{Origin: []byte("o"), Seq: 1}}}))
	f.Add(AppendPart(nil, "k", []byte("v")))
	f.Fuzz(func(t *testing.T, b []byte) {
		var fr Frame
		if err := Decode(b, &fr); err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
		for range Updates(b) {
			continue
		}
		if _, err := DecodeParts(b); err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
	})
}
