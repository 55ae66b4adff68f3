package core

import (
	"errors"
	"testing"
	"time"
)

// A view says what is wrong with the link now.
func TestTheErrorOfALink(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	for _, err := range []error{errors.New("lost"), errors.New("refused")} {
		p.step(LinkDown{err})
		if got := p.View().Err; got != err {
			t.Errorf("%v, want %v", got, err)
		}
	}
}

// After an outage a transport's list may lack members for a while: those that were in the
// view, once, and where there is a list.
func TestAllowanceAfterAnOutage(t *testing.T) {
	for _, c := range []struct {
		what   string
		native bool
		do     func(b *node)
		want   bool
	}{
		{"a member", true, func(*node) {}, true},
		{"one that was allowed it before", true, func(b *node) { b.excused = true }, false},
		{"one that failed", true, func(b *node) { b.life = failed }, false},
		{"without a list", false, func(*node) {}, false},
	} {
		p := newPair(t, Transport{}, "s")
		p.transport.Native = c.native
		b := p.roster.get("b")
		c.do(b)
		p.heard()
		if got := b.unlisted == p.now+10*time.Second; got != c.want || !got && b.unlisted != 0 {
			t.Errorf("%s: it may be lacking until %v", c.what, b.unlisted)
		}
	}
}

// What waits in the queues is merged before a node that was away says Attached: what waits
// when the link is there, or when an own heartbeat is heard that was sent since.
func TestWhatWaitsWhenCatchingUp(t *testing.T) {
	for echo, at := range map[uint64]int{0: 0, 5: 2} {
		p := newPair(t, Transport{}, "s")
		st := p.states["s"]
		st.merged, st.pending = 3, 2
		p.startCatchUp(echo)
		st.stale = false
		seen := []uint64{st.backlog}
		p.pulse.Restart(p.now)
		for p.pulse.Count() < 6 {
			p.pulse.Beat(p.now)
		}
		for _, count := range []uint64{4, 5} {
			p.onEcho(count)
			seen = append(seen, st.backlog)
		}
		for i, backlog := range seen {
			if want := uint64(5); (i >= at) != (backlog == want) {
				t.Errorf("with heartbeat %d to be heard: step %d waits for %d", echo, i, backlog)
			}
		}
		if p.link != catchingUp || p.catchUpOpen() != 1 {
			t.Errorf("%v, %d states are open", p.link, p.catchUpOpen())
		}
	}
}

// A node that never had others waits for nobody when it is back.
func TestBackAlone(t *testing.T) {
	p := &pair{t: t, now: time.Second, Core: New(Config{
		Self: Member{Name: "a", Instance: "a"}, Heartbeat: 500 * time.Millisecond, Grace: 10 * time.Second, Settle: 10 * time.Second, Sync: time.Hour,
	}, time.Second)}
	p.step(LinkUp{})
	p.after(time.Second)
	p.step(LinkDown{errors.New("lost")})
	p.after(time.Second)
	p.step(LinkUp{})
	p.after(time.Second)
	if p.View().Status != Attached {
		t.Error("it waits for others")
	}
}

// A process that runs later than others may wait for it has stood still; one that runs a
// little late is only given that time.
func TestStandingStill(t *testing.T) {
	for _, c := range []struct {
		late         time.Duration
		stood, given bool
	}{
		{250 * time.Millisecond, false, false},
		{251 * time.Millisecond, false, true},
		{2000 * time.Millisecond, false, true},
		{2001 * time.Millisecond, true, true},
	} {
		p := newPair(t, Transport{}, "s")
		before := p.pulse.DeafAt(p.interval)
		now := p.Next() + c.late
		if got := p.Late(now); got != c.stood {
			t.Errorf("%v late: it stood still is %v", c.late, got)
		}
		p.begin(now)
		p.sent = nil
		p.stoodStill()
		p.sent = p.Effects()
		if got := notes(p, NoteStoodStill) == 1; got != c.stood {
			t.Errorf("%v late: it is noted is %v", c.late, got)
		}
		if got := p.pulse.DeafAt(p.interval) > before; got != c.given {
			t.Errorf("%v late: the time is given is %v", c.late, got)
		}
	}
	for link, again := range map[link]bool{attached: true, catchingUp: true, unheard: false, down: false} {
		p := newPair(t, Transport{}, "s")
		p.link = link
		p.begin(p.Next() + time.Minute)
		p.stoodStill()
		if got := p.catchUp.began == p.Core.now; got != again {
			t.Errorf("%v: catching up begins is %v", link, got)
		}
	}
}

// A node that stayed detached gives up who was in the view or about to leave, and looks for
// them when it is back.
func TestWhoIsGivenUp(t *testing.T) {
	for hold, want := range map[bool]int{false: 2, true: 0} {
		p := newPair(t, Transport{}, "s")
		p.cfg.Hold = hold
		for _, name := range []string{"c", "d", "e"} {
			p.joins(name)
		}
		p.leave(p.roster.get("c"), leaving)
		p.fail(p.roster.get("d"))
		p.leave(p.roster.get("e"), left)
		p.link = down
		p.sent = nil
		p.isolate()
		p.sent = p.Effects()
		for _, n := range take[Note](p) {
			if n.Kind == NoteIsolated && n.Count != uint64(want) {
				t.Errorf("hold %v: %d are given up, want %d", hold, n.Count, want)
			}
		}
		if len(p.parted) != want || p.roster.get("e").life != left {
			t.Errorf("hold %v: %d are looked for", hold, len(p.parted))
		}
	}
}

// Who was asked for a state's first exchange before an outage may answer after it.
func TestFirstExchangeAfterAnOutage(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	st := p.states["s"]
	st.ready, st.limitAt = Settling, Never
	st.search = search{open: true, at: Never, tried: []*node{p.roster.get("b")}}
	p.startCatchUp(0)
	if len(p.asked.pulls) == 0 && len(st.search.tried) != 0 {
		t.Error("who was asked is not asked again")
	}
	if st.search.at > p.now {
		t.Errorf("it goes on at %v", st.search.at)
	}
}
