package core

import (
	"testing"
	"time"
)

// What an exchange with this node is worth.
func TestWorth(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(p *pair)
		want Worth
	}{
		{"attached, and ready", func(*pair) {}, Whole},
		{"not attached", func(p *pair) { p.link = catchingUp }, Repairing},
		{"one state to be compared", func(p *pair) { p.states["t"].stale = true }, Repairing},
		{"one state is not ready", func(p *pair) { p.states["t"].ready = Settling }, Joining},
		{"nor is it after its limit", func(p *pair) { p.states["t"].ready = TimedOut }, Joining},
		{"that one, and not attached", func(p *pair) { p.states["t"].ready, p.link = Settling, down }, Joining},
		{"no states", func(p *pair) { p.keys = nil }, Whole},
		{"no states, and not attached", func(p *pair) { p.keys, p.link = nil, down }, Repairing},
		{"no states yet", func(p *pair) { p.keys, p.Core.ready = nil, Settling }, Joining},
	} {
		p := newPair(t, Transport{}, "s", "t")
		c.do(p)
		if got := p.worth(); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
}

// What a state's readiness may become.
func TestReadinessOfAState(t *testing.T) {
	for _, c := range []struct{ was, how, want Readiness }{
		{Settling, Synced, Synced},
		{Settling, Alone, Alone},
		{Settling, TimedOut, TimedOut},
		{TimedOut, Synced, Synced},
		{TimedOut, Alone, Alone},
		{Alone, Synced, Synced},
		{Alone, TimedOut, Alone},
		{Synced, TimedOut, Synced},
		{Synced, Alone, Synced},
	} {
		p := newPair(t, Transport{}, "s")
		p.states["s"].ready = c.was
		p.sent = nil
		p.becomeReady(p.states["s"], c.how)
		p.step(Tick{})
		told := len(take[StateReady](p)) == 1
		if got := p.states["s"].ready; got != c.want || told != (c.want != c.was) {
			t.Errorf("%v, then %v: %v, told is %v", c.was, c.how, got, told)
		}
	}
}

// The limit of a state that is added later is told by its key; those of the first ones
// together.
func TestLimitsThatAreTold(t *testing.T) {
	for was, want := range map[Readiness]string{Synced: "late", TimedOut: "late", Settling: ""} {
		p := newPair(t, Transport{}, "s")
		p.Core.ready = was
		p.step(StateAdded{Key: "late"})
		if was == Settling {
			p.step(StateAdded{Key: "other"}) // which is still waited for
		}
		p.sent = nil
		p.becomeReady(p.states["late"], TimedOut)
		p.sent = p.Effects()
		text := ""
		for _, n := range take[Note](p) {
			if n.Kind == NoteTimedOut {
				text += n.Text
			}
		}
		if text != want {
			t.Errorf("%v: %q is told", was, text)
		}
	}
}

// What a joining member had counts from the cold start on.
func TestDataOfAJoiningMember(t *testing.T) {
	for after, want := range map[time.Duration]bool{-1: false, 0: true} {
		p := newPair(t, Transport{}, "s")
		st := p.states["s"]
		st.ready, st.limitAt = Settling, Never
		p.begin(p.coldAt() + after)
		p.answeredBy(st, Joining)
		if st.cold != want || !st.fed || st.ready != Settling {
			t.Errorf("%v after the cold start: it counts is %v", after, st.cold)
		}
	}
}

// At the cold start a state is ready with what a joining member had, if nobody who is ready
// may have it.
func TestColdStart(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(p *pair, st *state, b *node)
		want bool
	}{
		{"beside a joining member", func(p *pair, st *state, b *node) { b.worth = Joining }, true},
		{"beside a ready one", func(p *pair, st *state, b *node) {}, false},
		{"that lacks it", func(p *pair, st *state, b *node) { b.lacks = map[string]bool{"s": true} }, true},
		{"beside one that was not heard", func(p *pair, st *state, b *node) { b.known = false }, false},
		{"and was asked", func(p *pair, st *state, b *node) { b.known, st.search.tried = false, []*node{b} }, true},
		{"merged from nobody", func(p *pair, st *state, b *node) { b.worth, st.cold = Joining, false }, false},
		{"before", func(p *pair, st *state, b *node) { b.worth = Joining; p.Core.now = p.coldAt() - 1 }, false},
	} {
		p := newPair(t, Transport{}, "s")
		st, b := p.states["s"], p.roster.get("b")
		st.ready, st.limitAt, st.cold = Settling, Never, true
		p.Core.now = p.coldAt()
		c.do(p, st, b)
		p.coldReady(st)
		if got := st.ready == Synced; got != c.want {
			t.Errorf("%s: it is ready is %v", c.what, got)
		}
	}
	p := newPair(t, Transport{}, "s")
	st := p.states["s"]
	st.cold, st.ready = true, Alone
	p.roster.get("b").worth = Joining
	p.Core.now = p.coldAt()
	if p.coldReady(st); st.ready != Alone {
		t.Errorf("a state that was ready alone is %v", st.ready)
	}
}

// Whoever comes while this node catches up may have what nobody else had.
func TestWhoComesWhileCatchingUp(t *testing.T) {
	for link, want := range map[link]bool{catchingUp: true, attached: false} {
		p := newPair(t, Transport{}, "s")
		p.link, p.catchUp = link, catchUp{until: Never, least: Never}
		p.states["s"].unshown = true
		p.joinedNode(p.roster.get("b"))
		if st := p.states["s"]; st.stale != want || st.compare != want || st.unshown == want {
			t.Errorf("%v: it is compared is %v", link, st.compare)
		}
	}
}

// What a state misses after its first exchange is asked for when it had the time to come.
func TestHolesAfterTheFirstExchange(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	st := p.states["s"]
	st.ready, st.limitAt, st.search = Settling, Never, search{open: true, at: Never}
	p.misses("s")
	p.after(time.Second)
	p.becomeReady(st, Synced)
	p.asksAfterReordering()
}

// The readiness of the node is that of its states; without states that of being attached.
func TestReadinessOfTheNode(t *testing.T) {
	for _, c := range []struct {
		states []Readiness
		want   Readiness
	}{
		{[]Readiness{Synced, Synced}, Synced},
		{[]Readiness{Alone, Alone}, Alone},
		{[]Readiness{Alone, Synced}, Synced},
		{[]Readiness{Synced, TimedOut}, TimedOut},
		{[]Readiness{TimedOut, Synced}, TimedOut},
		{[]Readiness{TimedOut, Settling}, Settling},
	} {
		p := newPair(t, Transport{}, "s", "t")
		for i, r := range c.states {
			p.keys[i].ready = r
		}
		if got := p.overall(); got != c.want {
			t.Errorf("%v: %v, want %v", c.states, got, c.want)
		}
	}
	for _, c := range []struct {
		what string
		do   func(p *pair)
		want Readiness
	}{
		{"others are there", func(*pair) {}, Synced},
		{"nobody is", func(p *pair) { p.roster.count[live] = 0; p.Core.now = p.aloneAt() }, Alone},
		{"nobody is yet", func(p *pair) { p.roster.count[live] = 0; p.Core.now = p.aloneAt() - 1 }, Settling},
		{"not attached", func(p *pair) { p.link, p.Core.now = down, p.settleBy-1 }, Settling},
		{"not attached at the limit", func(p *pair) { p.link, p.Core.now = down, p.settleBy }, TimedOut},
	} {
		p := newPair(t, Transport{})
		p.now = time.Second
		c.do(p)
		if got := p.overall(); got != c.want {
			t.Errorf("without states, %s: %v, want %v", c.what, got, c.want)
		}
	}
}

// A state that is not ready after its limit is named by the view until it is.
func TestUnreadyStatesOfAView(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	p.step(StateAdded{Key: "late"})
	late := p.states["late"]
	late.ready = Settling
	for how, want := range map[Readiness]string{TimedOut: "late"} {
		p.becomeReady(late, how)
		p.step(Tick{})
		if got := p.View().Unready; len(got) != 1 || got[0] != want {
			t.Errorf("%v: %v", how, got)
		}
	}
	p.becomeReady(late, Synced)
	p.step(Tick{})
	if got := p.View().Unready; len(got) != 0 || p.View().Ready != Alone && p.View().Ready != Synced {
		t.Errorf("%v, %v", got, p.View().Ready)
	}
	p.sent = nil
	late.ready = Settling
	p.step(StateRemoved{Key: "late"})
	p.becomeReady(late, Synced)
	p.step(Tick{})
	if told := take[StateReady](p); len(told) != 0 {
		t.Errorf("a state that is gone is told: %v", told)
	}
}

// Data makes a state ready while this node is attached, or about to be.
func TestReadyByALink(t *testing.T) {
	for link, want := range map[link]Readiness{attached: Synced, catchingUp: Synced, unlisted: Settling, unheard: Settling, down: Settling} {
		p := newPair(t, Transport{}, "s")
		st := p.states["s"]
		st.ready, st.limitAt, p.link = Settling, Never, link
		p.catchUp = catchUp{until: Never, least: Never}
		p.answeredBy(st, Whole)
		if st.ready != want || !st.fed {
			t.Errorf("%v: %v", link, st.ready)
		}
	}
}

// A node is alone after a heartbeat that nobody answers, or by a list at once.
func TestWhenANodeIsAlone(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(p *pair)
		want time.Duration
	}{
		{"on a bus", func(p *pair) {}, time.Minute + 500*time.Millisecond},
		{"by a list", func(p *pair) { p.transport.Native, p.hasList = true, true }, time.Minute},
		{"before the list", func(p *pair) { p.transport.Native = true }, time.Minute + 500*time.Millisecond},
		{"not attached yet", func(p *pair) { p.attachedAt = Never }, Never},
	} {
		p := newPair(t, Transport{}, "s")
		p.attachedAt = time.Minute
		c.do(p)
		if got := p.aloneAt(); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// Once a node is ready it stays so, whatever becomes of states that are added later.
func TestReadyForGood(t *testing.T) {
	for _, c := range []struct{ was, late, want Readiness }{
		{Synced, TimedOut, Synced},
		{Synced, Settling, Synced},
		{Alone, Settling, Alone},
		{Settling, Settling, Settling},
		{TimedOut, Synced, Synced},
		{Settling, TimedOut, TimedOut},
	} {
		p := newPair(t, Transport{}, "s")
		p.Core.ready = c.was
		p.states["s"].ready = c.late
		p.settle()
		if p.Core.ready != c.want {
			t.Errorf("%v, a state is %v: %v, want %v", c.was, c.late, p.Core.ready, c.want)
		}
	}
}
