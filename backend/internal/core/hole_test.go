package core

import (
	"fmt"
	"testing"
	"time"
)

// misses has an update of b be missing.
func (p *pair) misses(key string) *stream {
	_, r, _ := p.Receive(p.now, []byte("b"), []byte(key), 0, 2)
	p.Queued(p.now, r, true)
	p.UpdateMerged(p.now, r, nil)
	p.sent = nil
	return p.roster.get("b").streams[key]
}

// An origin is asked while there is a link, and unless this node is about to leave.
func TestWhenAnOriginIsAsked(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(p *pair)
		want bool
	}{
		{"attached", func(p *pair) {}, true},
		{"down", func(p *pair) { p.link = down }, false},
		{"unheard", func(p *pair) { p.link = unheard }, false},
		{"about to leave", func(p *pair) { p.closing = true }, false},
		{"the first exchange is to come, and may bring it", func(p *pair) {
			st := p.states["s"]
			st.ready, st.limitAt, st.search = Settling, Never, search{open: true, at: Never}
		}, false},
		{"the first exchange has brought what it has", func(p *pair) {
			st := p.states["s"]
			st.ready, st.limitAt, st.search, st.fed = Settling, Never, search{open: true, at: Never}, true
		}, true},
		{"no exchange is under way", func(p *pair) { st := p.states["s"]; st.ready, st.limitAt = Settling, Never }, true},
		{"another exchange is to come", func(p *pair) { p.states["s"].search = search{open: true, at: Never} }, true},
	} {
		p := newPair(t, Transport{}, "s")
		p.misses("s")
		c.do(p)
		p.holes.at = p.now
		p.now += reorderDelay
		p.begin(p.now)
		p.tickHoles()
		p.sent = append(p.sent, p.Effects()...)
		if got := len(take[*Missing](p)) == 1; got != c.want {
			t.Errorf("%s: asked is %v", c.what, got)
		}
	}
}

// An origin that does not answer is asked three times, then others are.
func TestAnOriginThatIsSilent(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	p.joins("c")
	s := p.misses("s")
	asked := 0
	for len(s.given) == 0 {
		p.after(100 * time.Millisecond)
		if p.now > time.Minute {
			t.Fatal("nobody else is asked")
		}
	}
	asked = len(take[*Missing](p))
	if asked != originAsks {
		t.Errorf("it is asked %d times", asked)
	}
}

// One frame asks for so many keys; the others follow.
func TestKeysInOneRequest(t *testing.T) {
	var keys []string
	for i := range maxWants + 1 {
		keys = append(keys, fmt.Sprintf("k%02d", i))
	}
	p := newPair(t, Transport{}, keys...)
	for _, key := range keys {
		p.misses(key)
	}
	p.after(reorderDelay)
	if m := take[*Missing](p); len(m) != 1 || len(m[0].Wants) != maxWants {
		t.Fatalf("%d requests", len(m))
	}
	p.after(reorderDelay - time.Millisecond)
	if m := take[*Missing](p); len(m) != 0 {
		t.Error("the others follow at once")
	}
	p.after(time.Millisecond)
	if m := take[*Missing](p); len(m) != 1 || len(m[0].Wants) != 1 {
		t.Errorf("%d requests follow", len(m))
	}
}

// What was given up is asked for once more after the moment in which it may come by itself.
func TestReopened(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	s := p.misses("s")
	p.giveUp(s, s.missing)
	p.after(time.Second)
	p.reopenLost(p.roster.get("b"))
	p.asksAfterReordering()
}

// asksAfterReordering wants what is missing asked for after the moment in which it may
// come by itself, and not before.
func (p *pair) asksAfterReordering() {
	p.t.Helper()
	p.sent = nil
	p.after(reorderDelay - time.Millisecond)
	if m := take[*Missing](p); len(m) != 0 {
		p.t.Error("it is asked for at once")
	}
	p.after(time.Millisecond)
	if m := take[*Missing](p); len(m) != 1 {
		p.t.Error("it is not asked for")
	}
}

// Who asks for what cannot be asked for is told nothing.
func TestWhatIsNotAskedFor(t *testing.T) {
	for what, want := range map[string]Want{
		"another incarnation": {"s", 7, Ranges{{1, 1}}},
		"no ranges":           {"s", 0, Ranges{{2, 1}}},
	} {
		p := newPair(t, Transport{}, "s")
		p.Assign("s", []byte("x"))
		p.sent = nil
		p.hears("b", &Missing{To: "a", Wants: []Want{want}})
		if kept := take[*Kept](p); len(kept) != 0 {
			t.Errorf("%s: %v", what, kept)
		}
	}
}
