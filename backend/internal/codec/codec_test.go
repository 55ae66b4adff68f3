package codec

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
	"github.com/clusterchannel/clusterchannel/internal/wire"
	"github.com/clusterchannel/clusterchannel/internal/wire/field"
)

var (
	ranges  = core.Ranges{{First: 1, Last: 1}, {First: 3, Last: 9}, {First: 1 << 40, Last: 1 << 62}}
	numbers = []core.Numbers{{Origin: "o", Incarnation: 2, Ranges: ranges}}
	last    = []core.Last{{Key: "nfl", Number: 7}, {Key: strings.Repeat("k", 255), Number: 1 << 62}}
	member  = core.Member{Name: "n", Addr: "[::1]:1", Meta: map[string]string{"zone": "eu", "empty": ""}}
	listed  = core.Member{Name: "n", Instance: "i", Addr: "a"}
	items   = []core.AnswerItem{
		{Key: "s", Outcome: core.Data, Worth: core.Whole, HasDigest: true, Digest: 5, Data: []byte("state"), Numbers: numbers},
		{Key: "empty", Outcome: core.Data, Data: []byte{}},
		{Key: "t", Outcome: core.Lacking},
		{Outcome: core.Equal, Worth: core.Repairing},
		{Key: "a", Outcome: core.Apart, Worth: core.Whole, HasDigest: true, Digest: 6, Numbers: numbers, Salt: 1 << 63, Sketch: []uint64{0, 1, 1 << 63}},
	}
	lists = []reconcile.List{{Range: reconcile.Range{First: 0, Last: 9}, Places: []uint64{3, 9}}, {Range: reconcile.Range{First: 1 << 63, Last: 1<<64 - 1}}}
)

// messages is one of each, with every field set.
var messages = []core.Message{
	&core.Heartbeat{
		Member: member, Incarnation: 3, Count: 1 << 63, Interval: 550 * time.Millisecond, Hello: true, Leaving: true, Alone: true, Brief: true, Worth: core.Repairing,
		KeySet: 1 << 63, View: core.ViewDigest{Hash: 9, Count: 3}, Numbers: last,
		Departed: []core.Departed{{Instance: "gone", Incarnation: 1, Numbers: last}},
	},
	&core.Heartbeat{Incarnation: 3, Count: 1 << 63, Like: 1<<63 - 3, Numbers: last},
	&core.Goodbye{Incarnation: 1, Count: 2, Numbers: last},
	&core.Void{Instance: "x", Incarnation: 4},
	&core.List{To: "y", Members: []core.ListMember{{Member: listed, Incarnation: 1, Count: 2, Interval: time.Second, Worth: core.Whole, KeySet: 3}}},
	&core.ListRequest{To: "y"},
	&core.Missing{To: "y", Wants: []core.Want{{Key: "s", Incarnation: 1, Numbers: ranges}}},
	&core.Kept{Incarnation: 1, Keys: []core.KeptKey{{Key: "s", Last: 9, Gone: ranges}}},
	&core.Pull{To: "y", ID: 1, HasRoot: true, Root: 2, Keys: 3, Items: []core.PullItem{
		{Key: "s", HasDigest: true, Digest: 0, Holes: numbers}, {Key: "t", All: true, Entries: 1},
	}},
	&core.Answer{For: []core.Asker{{Instance: "y", ID: 1}, {Instance: "z", ID: 2}}, Items: items, Differ: true, End: true, Sent: []string{"s"}},
	&core.Push{To: "y", Key: "s", Digest: 1, Data: []byte("state")},
	&core.Walk{To: "y", ID: 1, Key: "s", Step: 2, Room: 3, More: true, Entries: [][]byte{[]byte("entry"), {}}, Ask: reconcile.Request{
		Splits: []reconcile.Range{{First: 1, Last: 2}, {First: 3, Last: 1 << 40}}, Lists: lists,
	}},
	&core.Walked{For: core.Asker{Instance: "y", ID: 1}, Key: "s", Step: 2, Outcome: core.Apart, Gone: true, Refused: 3, Entries: [][]byte{[]byte("entry")}, Reply: reconcile.Reply{
		Prints: []uint64{0, 5}, Wants: []uint64{9}, Next: 1 << 63,
	}},
}

// inFrame returns the message that a frame carries, as who receives it sees it.
func inFrame(t testing.TB, m core.Message) (wire.Kind, []byte, wire.Frame) {
	t.Helper()
	var f wire.Frame
	if err := wire.Decode(Encode(wire.NewEncoder("c", "me"), m), &f); err != nil {
		t.Fatalf("%T: %v", m, err)
	}
	return f.Kind, f.Message, f
}

func TestMessagesSurvive(t *testing.T) {
	for _, m := range messages {
		kind, body, f := inFrame(t, m)
		got, err := Decode(kind, body)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%T: %v\n got %+v\nwant %+v", m, err, got, m)
		}
		if !kind.IsMessage() || string(f.Origin) != "me" || f.Version != wire.Version {
			t.Errorf("%T: %+v", m, f)
		}
	}
}

// A frame in two parts is the frame, and its second part is the state itself.
func TestLargeDataIsNotCopied(t *testing.T) {
	large, larger := bytes.Repeat([]byte("l"), tailBytes), bytes.Repeat([]byte("L"), 3*tailBytes)
	with := func(data []byte, first bool) core.Message {
		it := core.AnswerItem{Key: "large", Outcome: core.Data, Worth: core.Whole, HasDigest: true, Digest: 7, Data: data, Numbers: numbers}
		all := append(slices.Clone(items), it)
		if first {
			all = append([]core.AnswerItem{it, {Key: "next", Outcome: core.Data, Data: large}}, items...)
		}
		return &core.Answer{For: []core.Asker{{Instance: "y", ID: 1}}, Items: all, End: true, Sent: []string{"large"}}
	}
	for _, m := range append(slices.Clone(messages), with(large, false), with(larger, true), &core.Push{To: "y", Key: "s", Digest: 1, Data: large}) {
		e := wire.NewEncoder("c", "me")
		head, tail := EncodeOpen(e, m, func(n int) []byte { return make([]byte, 0, n) })
		if len(head) > 4096 && len(tail) < 3*tailBytes {
			t.Errorf("%T: %d bytes and %d that are not copied", m, len(head), len(tail))
		}
		var f wire.Frame
		if err := wire.Decode(slices.Concat(head, tail), &f); err != nil {
			t.Fatalf("%T: %v", m, err)
		}
		got, err := Decode(f.Kind, f.Message)
		if err != nil || !reflect.DeepEqual(sorted(got), sorted(m)) {
			t.Errorf("%T: %v\n got %+v\nwant %+v", m, err, got, m)
		}
		if p, ok := m.(*core.Push); ok && len(p.Data) > len(items[0].Data) && &tail[0] != &p.Data[0] {
			t.Error("the state is copied")
		}
		var whole []byte
		err = e.OpenChunks(nil, head, tail, 1000, nil, 1, func(b []byte) error {
			var piece wire.Frame
			if err := wire.Decode(b, &piece); err != nil {
				return err
			}
			whole = append(whole, piece.Chunk...)
			return nil
		})
		if err != nil || !bytes.Equal(whole, slices.Concat(head, tail)) {
			t.Errorf("%T in pieces: %v", m, err)
		}
	}
}

// sorted has the items of an answer in the order of their keys, which says nothing.
func sorted(m core.Message) core.Message {
	if a, ok := m.(*core.Answer); ok {
		b := *a
		b.Items = slices.Clone(a.Items)
		slices.SortFunc(b.Items, func(x, y core.AnswerItem) int { return strings.Compare(x.Key, y.Key) })
		return &b
	}
	return m
}

// A frame says whom it is for, so that the others need not decode it.
func TestFramesNameTheirReceivers(t *testing.T) {
	for _, m := range messages {
		_, _, f := inFrame(t, m)
		_, to := Kind(m)
		if !f.IsFor("y") || f.IsFor("stranger") != (len(to) == 0) {
			t.Errorf("%T is for %q", m, f.To)
		}
	}
}

func TestTheZeroValuesSurvive(t *testing.T) {
	for _, m := range []core.Message{
		&core.Heartbeat{}, &core.Goodbye{}, &core.Void{}, &core.List{}, &core.ListRequest{}, &core.Missing{}, &core.Kept{}, &core.Pull{}, &core.Answer{},
	} {
		kind, body, _ := inFrame(t, m)
		if got, err := Decode(kind, body); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%T: %v, %+v", m, err, got)
		}
	}
}

func TestAnIdleHeartbeatIsSmall(t *testing.T) {
	h := &core.Heartbeat{
		Member: core.Member{Name: "node-1"}, Count: 100000, Interval: 500 * time.Millisecond, Worth: core.Whole,
		KeySet: 1 << 63, View: core.ViewDigest{Hash: 1 << 63, Count: 3},
		Numbers: []core.Last{{Key: "nfl", Number: 100}, {Key: "sil", Number: 100}},
	}
	full := len(Encode(wire.NewEncoder("alerts", "abcdefghijklm"), h))
	short := len(Encode(wire.NewEncoder("alerts", "abcdefghijklm"), &core.Heartbeat{Count: 100003, Like: 100000}))
	t.Logf("a full one has %d bytes, a short one %d", full, short)
	if full > 120 || short > 45 {
		t.Errorf("a full one has %d bytes, a short one %d", full, short)
	}
}

// docs/protocol.md says what a comparison of equal states costs.
func TestAPullOfEqualStatesIsSmall(t *testing.T) {
	pull := &core.Pull{To: "abcdefghijklm", ID: 100000, HasRoot: true, Root: 1 << 63, Keys: 1000}
	if n := len(Encode(wire.NewEncoder("alerts", "abcdefghijklm"), pull)); n > 90 {
		t.Errorf("%d bytes", n)
	} else {
		t.Logf("%d bytes", n)
	}
}

func TestHeadSurvives(t *testing.T) {
	want := &core.Head{Instance: "me", View: core.ViewDigest{Hash: 1, Count: 2}, Items: items}
	state := wire.AppendHead(wire.AppendPart(nil, "nfl", []byte("a")), func(b []byte) []byte { return AppendHead(b, want) })
	parts, head, err := wire.DecodeState(state)
	if err != nil || len(parts) != 1 {
		t.Fatal(err, parts)
	}
	if got, err := DecodeHead(head); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %+v", err, got)
	}
	if _, err := DecodeHead(nil); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a head without an instance: %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	many := func(n int, num field.Number, one []byte) (b []byte) {
		for range n {
			b = field.AppendBytes(b, num, one)
		}
		return b
	}
	text := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	set := func(values ...uint64) []byte {
		var b []byte
		for _, v := range values {
			b = append(b, field.AppendUint(nil, 1, v)[1:]...)
		}
		return field.AppendBytes(field.AppendBytes(nil, 1, "k"), 3, b)
	}
	zero := field.AppendBytes(field.AppendBytes(nil, 1, "k"), 3, []byte{0, 0})
	last := field.AppendBytes(nil, 1, "k")
	for name, c := range map[string]struct {
		kind wire.Kind
		body []byte
	}{
		"no message":             {wire.Update, nil},
		"damaged":                {wire.Heartbeat, []byte{0xff}},
		"long name":              {wire.Heartbeat, field.AppendBytes(nil, 1, field.AppendBytes(nil, 1, text(maxName+1)))},
		"long address":           {wire.Heartbeat, field.AppendBytes(nil, 1, field.AppendBytes(nil, 2, text(maxAddr+1)))},
		"name that is no text":   {wire.Heartbeat, field.AppendBytes(nil, 1, field.AppendBytes(nil, 1, "\xff"))},
		"meta without a key":     {wire.Heartbeat, field.AppendBytes(nil, 1, field.AppendBytes(nil, 3, field.AppendBytes(nil, 2, "v")))},
		"like one to come":       {wire.Heartbeat, field.AppendUint(field.AppendUint(nil, 3, 7), 14, 7)},
		"long interval":          {wire.Heartbeat, field.AppendUint(nil, 4, maxInterval+1)},
		"unknown worth":          {wire.Heartbeat, field.AppendUint(nil, 7, 3)},
		"large incarnation":      {wire.Heartbeat, field.AppendUint(nil, 2, 1<<32)},
		"neither true nor false": {wire.Heartbeat, field.AppendUint(nil, 5, 2)},
		"many departed":          {wire.Heartbeat, many(maxDeparted+1, 11, field.AppendBytes(nil, 1, "i"))},
		"many numbers":           {wire.Goodbye, many(maxNumbers+1, 3, last)},
		"number of no key":       {wire.Goodbye, field.AppendBytes(nil, 3, field.AppendUint(nil, 2, 1))},
		"long key":               {wire.Push, field.AppendBytes(nil, 2, text(maxKey+1))},
		"push of no key":         {wire.Push, field.AppendBytes(nil, 4, "data")},
		"long instance":          {wire.Pull, field.AppendBytes(nil, 1, text(maxInstance+1))},
		"many askers":            {wire.Answer, many(maxAskers+1, 1, field.AppendBytes(nil, 1, "i"))},
		"asker without a name":   {wire.Answer, field.AppendBytes(nil, 1, "")},
		"item of no key":         {wire.Answer, field.AppendBytes(nil, 2, field.AppendUint(nil, 2, uint64(core.Data)))},
		"unknown outcome":        {wire.Answer, field.AppendBytes(nil, 2, field.AppendUint(last, 2, 6))},
		"many members":           {wire.List, many(maxMembers+1, 2, field.AppendBytes(nil, 1, field.AppendBytes(nil, 4, "i")))},
		"member without a name":  {wire.List, field.AppendBytes(nil, 2, "")},
		"numbers from nought":    {wire.Missing, field.AppendBytes(nil, 2, zero)},
		"numbers that touch":     {wire.Missing, field.AppendBytes(nil, 2, set(5, 1, 1, 1))},
		"numbers beyond the end": {wire.Missing, field.AppendBytes(nil, 2, set(2, 1<<64-1))},
		"half a word":            {wire.Walked, field.AppendBytes(nil, 5, make([]byte, 12))},
		"a sketch too large":     {wire.Answer, field.AppendBytes(nil, 2, field.AppendBytes(nil, 8, make([]byte, 8*(reconcile.MaxSketch+1))))},
		"a list without a range": {wire.Walk, field.AppendBytes(field.AppendBytes(nil, 3, "k"), 7, field.AppendBytes(nil, 2, make([]byte, 8)))},
		"a step of no state":     {wire.Walk, field.AppendBytes(nil, 1, "y")},
		"half a range":           {wire.Missing, field.AppendBytes(nil, 2, set(2))},
	} {
		if m, err := Decode(c.kind, c.body); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %+v, %v, want ErrMalformed", name, m, err)
		}
	}
}

// All lists of one message have one bound, however they lie in each other.
func TestListsHaveABoundTogether(t *testing.T) {
	holes := make([]core.Numbers, 100)
	for i := range holes {
		holes[i] = core.Numbers{Origin: "o", Ranges: core.Ranges{{First: 1, Last: 1}}}
	}
	pull := &core.Pull{}
	for range maxElements / 200 {
		pull.Items = append(pull.Items, core.PullItem{Key: "k", Holes: holes})
	}
	kind, body, _ := inFrame(t, pull)
	if _, err := Decode(kind, body); !errors.Is(err, wire.ErrMalformed) {
		t.Error(err)
	}
}

// FuzzDecode holds the decoder to its errors, and to giving back what it read.
func FuzzDecode(f *testing.F) {
	for _, m := range messages {
		kind, body, _ := inFrame(f, m)
		f.Add(uint8(kind), body)
	}
	f.Add(uint8(wire.Missing), field.AppendBytes(nil, 2, field.AppendBytes(field.AppendBytes(nil, 1, "k"), 3, bytes.Repeat([]byte{0xff}, 40))))
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		m, err := Decode(wire.Kind(kind), b)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		again, body, _ := inFrame(t, m)
		if same, err := Decode(again, body); err != nil || again != wire.Kind(kind) || !reflect.DeepEqual(same, m) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, same, m)
		}
	})
}

// FuzzDecodeHead does the same for the head of a full state.
func FuzzDecodeHead(f *testing.F) {
	f.Add(AppendHead(nil, &core.Head{Instance: "me", View: core.ViewDigest{Hash: 1, Count: 2}, Items: items}))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := DecodeHead(b)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if same, err := DecodeHead(AppendHead(nil, h)); err != nil || !reflect.DeepEqual(same, h) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, same, h)
		}
	})
}
