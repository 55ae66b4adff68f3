package core

import (
	"testing"
	"time"
)

// What a queue has no room for is asked for after a pause that grows with each overflow,
// and begins anew after a minute without one. One burst is one overflow.
func TestOverflows(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	number := uint64(0)
	drop := func() time.Duration {
		number++
		_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, number)
		p.Queued(p.now, r, false)
		return r.stream.hole.at - p.now
	}
	for i, want := range []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second} {
		if got := drop(); got != want {
			t.Errorf("overflow %d: %v, want %v", i, got, want)
		}
		p.now += want / 2
		if got := drop(); got != want/2 {
			t.Errorf("the same burst as overflow %d: %v, want %v", i, got, want/2)
		}
		p.now += want / 2
	}
	p.now = p.states["s"].fullAt + time.Minute
	if got := drop(); got != 4*time.Second {
		t.Errorf("after a minute: %v", got)
	}
	p.now += time.Minute + 1
	if got := drop(); got != 250*time.Millisecond {
		t.Errorf("after more than a minute: %v", got)
	}
	for range 20 {
		p.now = p.states["s"].fullUntil
		if got := drop(); got > maxPause {
			t.Fatalf("%v", got)
		}
	}
}

// A gap is told as many as it is, once.
func TestGapsAreCounted(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	p.sent = nil
	for _, number := range []uint64{1, 5, 7, 2} {
		_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, number)
		p.Queued(p.now, r, true)
	}
	p.announced(p.roster.get("b"), 0, Last{"s", 10})
	p.announced(p.roster.get("b"), 0, Last{"s", 10})
	var gaps []uint64
	p.step(Tick{})
	for _, n := range take[Note](p) {
		if n.Kind == NoteGap {
			gaps = append(gaps, n.Count)
		}
	}
	if len(gaps) != 3 || gaps[0] != 3 || gaps[1] != 1 || gaps[2] != 3 {
		t.Errorf("%v", gaps)
	}
}

// Queued updates are counted until they are merged; the last of those that came while this
// node was away ends its catching up.
func TestQueuedUpdatesAreCounted(t *testing.T) {
	for link, want := range map[link]bool{catchingUp: true, attached: false} {
		p := newPair(t, Transport{}, "s")
		st := p.states["s"]
		var refs []Ref
		for number := range uint64(3) {
			_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, number+1)
			p.Queued(p.now, r, true)
			refs = append(refs, r)
		}
		if st.pending != 3 {
			t.Errorf("%d are pending", st.pending)
		}
		p.link = link
		p.catchUp = catchUp{until: Never, least: Never}
		p.markBacklog()
		for i, r := range refs {
			if wake := p.UpdateMerged(p.now, r, nil); wake != (want && i == 2) {
				t.Errorf("%v, update %d: it wakes is %v", link, i, wake)
			}
		}
		if st.pending != 0 || st.merged != 3 {
			t.Errorf("%d are pending, %d merged", st.pending, st.merged)
		}
	}
}
