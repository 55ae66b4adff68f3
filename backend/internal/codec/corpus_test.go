package codec

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

var updateCorpus = flag.Bool("update", false, "write the frames of testdata/fuzz anew")

// hostile are frames of strangers, by the rows of the table Strangers in
// docs/protocol.md: each row has one or more.
func hostile() map[string][][]byte {
	me, stranger := wire.NewEncoder("c", "me"), wire.NewEncoder("c", "stranger")
	beat := func(change func(h *core.Heartbeat)) core.Message {
		h := &core.Heartbeat{Member: member, Count: 1, Interval: time.Second, Worth: core.Whole}
		change(h)
		return h
	}
	all := core.Ranges{{First: 1, Last: 1 << 62}}
	update := func(e *wire.Encoder, number uint64) []byte {
		b, start := e.AppendUpdate(e.AppendBatch(nil), wire.UpdateHead{Key: "s", Number: number}, []byte("forged"))
		return b[start:]
	}
	piece := func(e *wire.Encoder, whole int) (first []byte) {
		_ = e.Chunks(make([]byte, whole), 1000, nil, 7, func(b []byte) error {
			if first == nil {
				first = bytes.Clone(b)
			}
			return nil
		})
		return first
	}
	var names []core.ListMember
	for i := range 100 {
		names = append(names, core.ListMember{Member: core.Member{Name: fmt.Sprint("invented-", i), Instance: fmt.Sprint(i)}, Count: 1})
	}
	return map[string][][]byte{
		"heartbeat of an invented name": {Encode(stranger, beat(func(h *core.Heartbeat) { h.Interval = time.Minute }))},
		"heartbeat in a member's name":  {Encode(me, beat(func(h *core.Heartbeat) { h.Count = math.MaxUint64 }))},
		"a number far above":            {Encode(me, beat(func(h *core.Heartbeat) { h.Numbers = []core.Last{{Key: "s", Number: 1 << 40}} }))},
		"a number above 2^62": {
			Encode(me, beat(func(h *core.Heartbeat) { h.Numbers = []core.Last{{Key: "s", Number: math.MaxUint64}} })),
			update(me, 1<<62+1),
		},
		"another name for a member":     {Encode(me, beat(func(h *core.Heartbeat) { h.Member.Name = "0" }))},
		"goodbye in a member's name":    {Encode(me, &core.Goodbye{Count: 2}), Encode(me, beat(func(h *core.Heartbeat) { h.Leaving = true }))},
		"goodbye, updates of strangers": {Encode(stranger, &core.Goodbye{Count: 2}), update(stranger, 5)},
		"update in a member's name":     {update(me, 17)},
		"pull without a receiver, or of a stranger": {
			Encode(me, &core.Pull{ID: 1, Items: []core.PullItem{{Key: "s", All: true}}}),
			Encode(stranger, &core.Pull{To: "y", ID: 1, Items: []core.PullItem{{Key: "s", All: true}}}),
		},
		"pull of a member":              {Encode(me, &core.Pull{To: "y", ID: 1, HasRoot: true, Keys: math.MaxUint64, Items: []core.PullItem{{Key: "s", Holes: []core.Numbers{{Origin: "o", Ranges: all}}}}})},
		"answer that was not asked for": {Encode(stranger, &core.Answer{For: []core.Asker{{Instance: "y", ID: 1}}, End: true, Items: []core.AnswerItem{{Key: "s", Outcome: core.Data, Data: []byte("forged")}}})},
		"push":                          {Encode(me, &core.Push{To: "y", Key: "s", Data: []byte("forged")})},
		"step of a walk, of a member": {
			Encode(me, &core.Walk{To: "y", ID: 1, Key: "s", Step: 1, Room: math.MaxUint64, Ask: reconcile.Request{Lists: []reconcile.List{{Range: reconcile.Everything}}}}),
			Encode(stranger, &core.Walked{For: core.Asker{Instance: "y", ID: 1}, Key: "s", Step: 1, Outcome: core.Apart, Entries: [][]byte{[]byte("forged")}}),
		},
		"missing":                 {Encode(me, &core.Missing{To: "y", Wants: []core.Want{{Key: "s", Numbers: all}}})},
		"kept in a member's name": {Encode(me, &core.Kept{Keys: []core.KeptKey{{Key: "s", Last: 1, Gone: core.Ranges{{First: 1, Last: 1 << 29}}}}})},
		"numbers of the departed, in a member's heartbeat": {Encode(me, beat(func(h *core.Heartbeat) {
			for i := range maxDeparted {
				h.Departed = append(h.Departed, core.Departed{Instance: fmt.Sprint("gone-", i), Numbers: []core.Last{{Key: "s", Number: 1 << 40}}})
			}
		}))},
		"list request":     {Encode(me, &core.ListRequest{To: "y"})},
		"piece of a frame": {piece(stranger, 1<<20)},
		"list":             {Encode(stranger, &core.List{Members: names})},
		"void":             {Encode(stranger, &core.Void{Instance: "y", Incarnation: math.MaxUint32})},
		"answer with false numbers (of a member)": {Encode(me, &core.Answer{For: []core.Asker{{Instance: "y", ID: 1}}, Items: []core.AnswerItem{{
			Key: "s", Outcome: core.Equal, Numbers: []core.Numbers{{Origin: "o", Ranges: all}},
		}}})},
	}
}

// frames is one frame of each kind, by what it is called in the corpus, and those of
// strangers.
func frames() map[string][]byte {
	all := map[string][]byte{}
	e := wire.NewEncoder("c", "me")
	for _, m := range messages {
		name := "kind-" + strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", m), "*core."))
		if h, ok := m.(*core.Heartbeat); ok && h.Like > 0 {
			name += "-short"
		}
		all[name] = Encode(e, m)
	}
	batch, start := e.AppendUpdate(e.AppendBatch(nil), wire.UpdateHead{Key: "s", Number: 7, Sent: 42}, []byte("data"))
	all["kind-update"], all["kind-batch"] = batch[start:], batch
	_ = e.Chunks(batch, 1, nil, 7, func(b []byte) error { // the last one is kept
		all["kind-chunk"] = bytes.Clone(b)
		return nil
	})
	for row, those := range hostile() {
		for i, b := range those {
			all[fmt.Sprintf("hostile-%s-%d", strings.NewReplacer(" ", "-", "'", "", ",", "", "(", "", ")", "", "^", "").Replace(row), i+1)] = b
		}
	}
	return all
}

// TestCorpus holds the files of testdata/fuzz to the frames, and these to the table of
// docs/protocol.md.
func TestCorpus(t *testing.T) {
	dir := "testdata/fuzz/FuzzFrame"
	want := frames()
	if *updateCorpus {
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o777)); err != nil {
			t.Fatal(err)
		}
		for name, b := range want {
			if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\n", b), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, b := range want {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", b) {
			t.Errorf("%s is another frame, or not there (%v): -update writes it", name, err)
		}
	}
	text, err := os.ReadFile("../../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Strangers\n")
	rows, known := 0, hostile()
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| frame ") {
			continue
		}
		row, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if rows++; len(known[row]) == 0 {
			t.Errorf("no frame is of the row %q", row)
		}
	}
	if rows != len(known) {
		t.Errorf("the document has %d rows, and there are frames of %d", rows, len(known))
	}
}

// FuzzFrame decodes a frame as a node does that hears it.
func FuzzFrame(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		var fr wire.Frame
		if err := wire.Decode(b, &fr); err != nil {
			if !errors.Is(err, wire.ErrMalformed) && !errors.Is(err, wire.ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		for range wire.Updates(b) {
			continue
		}
		if !fr.Kind.IsMessage() {
			return
		}
		m, err := Decode(fr.Kind, fr.Message)
		switch {
		case err != nil && !errors.Is(err, wire.ErrMalformed):
			t.Fatal(err)
		case err == nil:
			if kind, _ := Kind(m); kind != fr.Kind {
				t.Errorf("a frame of kind %d holds one of kind %d", fr.Kind, kind)
			}
		}
	})
}
