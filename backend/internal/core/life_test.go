package core

import (
	"fmt"
	"testing"
	"time"
)

// Who is not believed and goes on is counted, if it is not a backlog that comes.
func TestWhoGoesOn(t *testing.T) {
	const half = 250 * time.Millisecond
	for _, c := range []struct {
		what  string
		do    func(p *pair, b *node)
		count uint64
		want  bool // it is counted
	}{
		{"the first", func(p *pair, b *node) { b.ignoredN, b.ignoredAt = 99, p.now }, 5, true},
		{"a higher count", func(p *pair, b *node) { b.ignored, b.ignoredN, b.ignoredAt = 1, 4, p.now-half }, 5, true},
		{"the same count", func(p *pair, b *node) { b.ignored, b.ignoredN, b.ignoredAt = 1, 5, p.now-half }, 5, false},
		{"all at once", func(p *pair, b *node) { b.ignored, b.ignoredN, b.ignoredAt = 1, 4, p.now-half+1 }, 5, false},
		{"while the link is down", func(p *pair, b *node) { p.link = down }, 5, false},
		{"before this node is heard", func(p *pair, b *node) { p.link = unheard }, 5, false},
	} {
		p := newPair(t, Transport{}, "s")
		b := p.roster.get("b")
		c.do(p, b)
		before := b.ignored
		p.persists(b, c.count)
		if got := b.ignored > before; got != c.want {
			t.Errorf("%s: it is counted is %v", c.what, got)
		}
		if p.link != attached && b.ignored != 0 {
			t.Errorf("%s: %d are counted", c.what, b.ignored)
		}
	}
	for silent, want := range map[time.Duration]bool{2 * time.Second: true, 2*time.Second - 1: false} {
		p := newPair(t, Transport{}, "s")
		b := p.roster.get("b")
		b.ignored, b.ignoredN, b.ignoredAt, b.heardAt, b.since = voidAfter-1, 4, 0, p.now-silent, 0
		if got := p.persists(b, 5); got != want {
			t.Errorf("after %v in which nothing was believed: %v", silent, got)
		}
	}
}

// Who goes on after a void is believed as it is, and begins to raise itself; who was in
// the view stays there.
func TestLifeAfterAVoid(t *testing.T) {
	for was, want := range map[life]life{live: live, leaving: stranger, left: stranger, failed: failed} {
		p := newPair(t, Transport{}, "s")
		b := p.roster.get("b")
		p.roster.turn(b, was, 0)
		b.ignored, b.ignoredN, b.ignoredAt, b.heardAt, b.voided = voidAfter, 4, 0, 0, true
		p.now += time.Minute
		p.begin(p.now)
		p.ignore(b, 5)
		if b.life != want || b.voided || b.count != 0 {
			t.Errorf("%v: it is %v, voided is %v", was, b.life, b.voided)
		}
	}
	for was, want := range map[life]life{live: live, leaving: stranger, left: stranger, failed: failed} {
		p := newPair(t, Transport{}, "s")
		b := p.roster.get("b")
		p.roster.turn(b, was, 0)
		p.advance(b, 1)
		if b.life != want || b.incarnation != 1 {
			t.Errorf("%v, in a higher incarnation: it is %v", was, b.life)
		}
	}
}

// A node raises its incarnation above what was said of it, not too far, and not while it
// leaves.
func TestHowFarANodeRaises(t *testing.T) {
	for _, c := range []struct {
		what  string
		at    uint32
		above uint32
		do    func(p *pair)
		want  uint32
	}{
		{"as far as can be", 10, 10 + maxRaise, func(*pair) {}, 11 + maxRaise},
		{"farther", 10, 11 + maxRaise, func(*pair) {}, 10},
		{"by one, far above", maxRaise, maxRaise, func(*pair) {}, maxRaise + 1},
		{"below", 10, 9, func(*pair) {}, 10},
		{"while it leaves", 10, 10, func(p *pair) { p.closing = true }, 10},
		{"too often", 10, 10, func(p *pair) { p.raises = newBucket(0.001, 0) }, 10},
	} {
		p := newPair(t, Transport{}, "s")
		p.incarnation = c.at
		c.do(p)
		p.raise(c.above, "a test")
		if p.incarnation != c.want {
			t.Errorf("%s: %d, want %d", c.what, p.incarnation, c.want)
		}
	}
	p := newPair(t, Transport{}, "s")
	p.incarnation = 3
	p.sent = nil
	p.hears("a", &Goodbye{Incarnation: 2, Count: 1})
	if n := notes(p, NoteRejected); n != 0 || p.incarnation != 3 {
		t.Errorf("an old goodbye: %d are rejected, the incarnation is %d", n, p.incarnation)
	}
}

// A goodbye is believed of the incarnation that the node is in or a higher one, whatever
// its count.
func TestGoodbyes(t *testing.T) {
	for _, c := range []struct {
		what        string
		from        string
		goodbye     Goodbye
		life        life
		incarnation uint32
	}{
		{"of a member", "b", Goodbye{Incarnation: 3, Count: 9}, left, 3},
		{"without a count", "b", Goodbye{Incarnation: 3}, left, 3},
		{"of a higher incarnation", "b", Goodbye{Incarnation: 4, Count: 1}, left, 4},
		{"of a former one", "b", Goodbye{Incarnation: 2, Count: 99}, live, 3},
		{"of nobody that is known", "x", Goodbye{Incarnation: 1, Count: 1}, left, 1},
	} {
		p := newPair(t, Transport{}, "s")
		b := p.roster.get("b")
		b.incarnation, b.count = 3, 5
		p.hears(c.from, &c.goodbye)
		n := p.roster.get(c.from)
		if n == nil || n.life != c.life || n.incarnation != c.incarnation {
			t.Errorf("%s: %+v", c.what, n)
		}
		if b.ignored != 0 {
			t.Errorf("%s: it counts as a heartbeat that was not believed", c.what)
		}
	}
}

// Who is about to leave can be asked until it has left; only who has left needs the place
// of a departed one.
func TestLeavingIsNotLeft(t *testing.T) {
	for how, c := range map[life]struct{ pulls, forgotten int }{leaving: {1, 0}, left: {0, 1}} {
		p := newPair(t, Transport{}, "s")
		p.pull()
		for i := range maxDeparted {
			p.roster.turn(p.roster.add(Member{Instance: fmt.Sprint(i)}), left, 0)
		}
		known := len(p.roster.all)
		p.leave(p.roster.get("b"), how)
		if pulls, forgotten := len(p.asked.pulls), known-len(p.roster.all); pulls != c.pulls || forgotten != c.forgotten {
			t.Errorf("%v: %d exchanges are under way, %d are forgotten", how, pulls, forgotten)
		}
	}
}

// Who is gone is met no more; the others are.
func TestMeetingWhoIsGone(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	p.joins("c")
	b, c := p.roster.get("b"), p.roster.get("c")
	p.joined = []*node{b, c}
	p.fail(b)
	if len(p.joined) != 1 || p.joined[0] != c {
		t.Errorf("%d are met", len(p.joined))
	}
}

// A stranger is forgotten a minute after its last word, the departed after ten.
func TestForgetting(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(p *pair)
		name string
		kept time.Duration
	}{
		{"a stranger", func(p *pair) { p.Receive(p.now, []byte("x"), []byte("s"), 0, 1) }, "x", strangerFor},
		{"a stranger that goes on", func(p *pair) {
			p.Receive(p.now, []byte("x"), []byte("s"), 0, 1)
			p.after(30 * time.Second)
			p.Receive(p.now, []byte("x"), []byte("s"), 0, 2)
		}, "x", strangerFor},
		{"who has left", func(p *pair) { p.hears("b", &Goodbye{Count: 9}) }, "b", departedFor},
		{"who is leaving", func(p *pair) { p.leave(p.roster.get("b"), leaving) }, "b", departedFor},
	} {
		p := newPair(t, Transport{}, "s")
		c.do(p)
		p.after(c.kept)
		if p.roster.get(c.name) == nil {
			t.Errorf("%s is forgotten too early", c.what)
		}
		p.after(time.Second + time.Millisecond)
		if p.roster.get(c.name) != nil {
			t.Errorf("%s is not forgotten", c.what)
		}
	}
}
