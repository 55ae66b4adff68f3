package backend

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// pieces returns the pieces of a frame, decoded.
func pieces(t testing.TB, origin string, id uint64, frame []byte, size int) (all []*wire.Frame) {
	t.Helper()
	err := wire.NewEncoder("c", origin).Chunks(frame, size, nil, id, func(b []byte) error {
		f := new(wire.Frame)
		all = append(all, f)
		return wire.Decode(bytes.Clone(b), f)
	})
	if err != nil || len(all) < 2 {
		t.Fatalf("%d pieces: %v", len(all), err)
	}
	return all
}

// What begins and is never finished costs what has arrived, is bounded by its origin and
// in all, and keeps nobody else's frames from being put together.
func TestUnfinishedFrames(t *testing.T) {
	a := newAssembly()
	promised := pieces(t, "stranger", 0, make([]byte, 100<<10), 1000)[0]
	for id := range uint64(1000) {
		f := *promised
		f.ID, f.Total = id, wire.MaxFrame
		a.add(&f, 0)
	}
	if len(a.parts) != assemblyOf {
		t.Errorf("%d frames of one origin are unfinished", len(a.parts))
	}
	memory := 0
	for _, p := range a.parts {
		memory += cap(p.frame)
	}
	if most := assemblyOf * (firstRoom + firstRoom/4); memory > most {
		t.Errorf("pieces of 1 KB each that promise 256 MiB take %d bytes, want %d at most", memory, most)
	}
	for i := range 1000 {
		f := *promised
		f.Origin = fmt.Append(nil, "stranger-", i)
		a.add(&f, 0)
	}
	if len(a.parts) > assemblyFrames {
		t.Errorf("%d frames are unfinished", len(a.parts))
	}
	frame := bytes.Repeat([]byte("a member's "), 10_000)
	var whole []byte
	for _, f := range pieces(t, "member", 1, frame, 1000) {
		if o := a.add(f, 0); o.whole != nil {
			whole = o.whole
		} else if o.refuse {
			t.Fatal("a member's piece is refused")
		}
	}
	if !bytes.Equal(whole, frame) {
		t.Errorf("a member's frame is put together as %d bytes, of %d", len(whole), len(frame))
	}
	a.expire(assemblyIdle + time.Second)
	if len(a.parts) != 0 || a.bytes != 0 {
		t.Errorf("%d frames of %d bytes are kept for ever", len(a.parts), a.bytes)
	}
}
